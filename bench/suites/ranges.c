/* SPDX-License-Identifier: MIT */
/* The cases of ranges.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arch/host.h"
#include "bench/suites/ranges.h"

#define NR_RANGES 1024 /* drawn in advance, taken in turn; each once before anything is timed */

#define FIX_ALIGN   (32UL << 10)
#define MAX_SHIFT   26 /* of align_shift; beyond, the region has few places or none */
#define HOLES	    1024
#define BUSY_LIST   10000
#define BUSY_PAGES  100
#define SPARE_BYTES (64UL << 20) /* beside very many areas: for the checks, and what is lazy */

struct range {
	size_t size, align; /* bytes; align PAGE_SIZE: the plain call */
};

/* A kind of case; its suite is what the case's arg points to. */
struct range_kind {
	struct object_suite suite;
	const char *name;
	struct range (*draw)(uint64_t *random, unsigned int turn);
	bool aligned; /* through aligned_alloc */
	bool written; /* whole */
	bool pairs;   /* two at a time */
	bool holes;   /* of what is held, every other one is free */
	bool quick;
	bool lives;	 /* comes with areas held, too */
	size_t max_size; /* checks are of so many bytes */
	unsigned int nr_live;
};

struct range_thread {
	struct object_thread *objects;
	size_t bytes; /* of this mapping */
	unsigned int next, nr_live;
	struct range ranges[NR_RANGES];
	void *live[];
};

static const struct range_kind *kind_of(const struct bench_case *c)
{
	return container_of((const struct object_suite *)c->arg, struct range_kind, suite);
}

static const char *hold(struct bench_case *c, struct range_thread *state, unsigned int nr)
{
	range_size = PAGE_SIZE;
	for (; state->nr_live < nr; state->nr_live++) {
		state->live[state->nr_live] = c->peer->alloc(PAGE_SIZE);
		if (!state->live[state->nr_live])
			return case_no_memory(c, "for area %u of %u", state->nr_live, nr);
	}
	for (unsigned int i = 0; kind_of(c)->holes && i < nr; i += 2) {
		c->peer->free(state->live[i]);
		state->live[i] = NULL;
	}
	return NULL;
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	const struct range_kind *kind = kind_of(c);
	unsigned int nr_live = kind->nr_live / (unsigned int)c->threads;
	size_t bytes = sizeof(struct range_thread) + nr_live * sizeof(void *);
	uint64_t random = (c->seed ^ (uint64_t)(thread + 1) * 0x9E3779B97F4A7C15UL) | 1;
	struct object_thread *objects;
	struct range_thread *state;
	const char *error = objects_thread_begin(c, thread, &objects);

	*out = NULL;
	if (!objects)
		return error;
	state = harness_alloc(bytes, true, false);
	if (!state) {
		objects_thread_end(c, thread, objects);
		return error_line("no memory for the harness");
	}
	state->objects = objects;
	state->bytes = bytes;
	for (unsigned int i = 0; i < NR_RANGES; i++)
		state->ranges[i] = kind->draw(&random, i);
	*out = state;
	if (!error)
		error = hold(c, state, nr_live);
	if (!error)
		c->ops->run(c, thread, state, NR_RANGES / c->ops->ops_per_batch);
	range_size = 0;
	return error;
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct range_thread *state = arg;
	struct object_thread *objects = state ? state->objects : NULL;

	if (!state)
		return objects_thread_end(c, thread, NULL);
	range_size = PAGE_SIZE;
	for (unsigned int i = 0; i < state->nr_live; i++)
		if (state->live[i])
			c->peer->free(state->live[i]);
	range_size = 0;
	harness_free(state, state->bytes);
	return objects_thread_end(c, thread, objects);
}

/* One area by the case's call. */
static inline void *get(const struct bench_case *c, const struct range_kind *kind,
			const struct range *range)
{
	void *object = kind->aligned ? c->peer->aligned_alloc(range->align, range->size)
				     : c->peer->alloc(range->size);

	if (unlikely(!object))
		return NULL;
	if (kind->written) {
		memset(object, 0, range->size);
		compiler_barrier(object);
	} else {
		touch(object, range->size, 0);
	}
	return object;
}

static inline void put(const struct bench_case *c, const struct range *range, void *object)
{
	range_size = range->size;
	c->peer->free(object);
}

static void run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	const struct range_kind *kind = kind_of(c);
	struct range_thread *state = arg;

	(void)thread;
	while (n--) {
		const struct range *range = &state->ranges[state->next++ % NR_RANGES];
		void *object = get(c, kind, range);

		if (unlikely(!object)) {
			state->objects->failed = true;
			break;
		}
		put(c, range, object);
	}
	range_size = 0;
}

static void pairs_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	const struct range_kind *kind = kind_of(c);
	struct range_thread *state = arg;

	(void)thread;
	while (n--) {
		const struct range *range = &state->ranges[state->next % NR_RANGES];
		void *first = get(c, kind, range), *second = get(c, kind, range + 1);

		state->next += 2;
		if (first)
			put(c, range, first);
		if (second)
			put(c, range + 1, second);
		if (unlikely(!first || !second)) {
			state->objects->failed = true;
			break;
		}
	}
	range_size = 0;
}

#define RANGE_OPS(run_fn, ops)                                                                     \
	{                                                                                          \
		.ops_per_batch = ops, .prepare = objects_prepare, .thread_begin = begin,           \
		.run = run_fn, .thread_end = end, .finish = objects_finish                         \
	}

static const struct case_ops range_ops = RANGE_OPS(run, 1),
			     range_pair_ops = RANGE_OPS(pairs_run, 2);

static struct range draw_page(uint64_t *random, unsigned int turn)
{
	(void)random;
	(void)turn;
	return (struct range){PAGE_SIZE, PAGE_SIZE};
}

static struct range draw_size(uint64_t *random, unsigned int turn)
{
	(void)turn;
	return (struct range){(bench_random(random) % 100 + 1) * PAGE_SIZE, PAGE_SIZE};
}

static struct range draw_busy(uint64_t *random, unsigned int turn)
{
	(void)random;
	return (struct range){(turn % 2 ? 1 : BUSY_PAGES) * PAGE_SIZE, PAGE_SIZE};
}

static struct range draw_fix_align(uint64_t *random, unsigned int turn)
{
	(void)random;
	(void)turn;
	return (struct range){5 * PAGE_SIZE, FIX_ALIGN};
}

static struct range draw_size_align(uint64_t *random, unsigned int turn)
{
	size_t align = 1UL << bench_random(random) % 23;

	(void)turn;
	return (struct range){(bench_random(random) % 10 + 1) * PAGE_SIZE,
			      max_t(size_t, align, PAGE_SIZE)};
}

static struct range draw_shift(uint64_t *random, unsigned int turn)
{
	(void)random;
	return (struct range){PAGE_SIZE, PAGE_SIZE << turn % (MAX_SHIFT - PAGE_SHIFT + 1)};
}

static int node_of(const void *object)
{
	struct page *page = vmalloc_to_page(object);

	return page ? page->nid : NUMA_NO_NODE;
}

#define HOOKS .suite = {.touch_stride = PAGE_SIZE, .node_of = node_of}
#define LIVES(kind_name, draw_fn, size, nr, is_quick)                                              \
	{                                                                                          \
		HOOKS, .name = kind_name "_" #nr, .draw = draw_fn, .max_size = size,               \
		       .nr_live = nr, .quick = is_quick, .lives = true                             \
	}

static const struct range_kind kinds[] = {
	{HOOKS, .name = "fix_size", .draw = draw_page, .max_size = PAGE_SIZE, .quick = true},
	LIVES("fix_size", draw_page, PAGE_SIZE, 1000, true),
	LIVES("fix_size", draw_page, PAGE_SIZE, 10000, true),
	LIVES("fix_size", draw_page, PAGE_SIZE, 25000, true),
	LIVES("fix_size", draw_page, PAGE_SIZE, 100000, true),
	LIVES("fix_size", draw_page, PAGE_SIZE, 1000000, false),
	{HOOKS, .name = "random_size", .draw = draw_size, .max_size = 100 * PAGE_SIZE,
	 .quick = true},
	LIVES("random_size", draw_size, 100 * PAGE_SIZE, 1000, true),
	LIVES("random_size", draw_size, 100 * PAGE_SIZE, 10000, true),
	LIVES("random_size", draw_size, 100 * PAGE_SIZE, 25000, true),
	LIVES("random_size", draw_size, 100 * PAGE_SIZE, 100000, true),
	LIVES("random_size", draw_size, 100 * PAGE_SIZE, 1000000, false),
	{HOOKS, .name = "full_fit", .draw = draw_page, .max_size = PAGE_SIZE, .nr_live = HOLES * 2,
	 .holes = true},
	{HOOKS, .name = "long_busy_list", .draw = draw_busy, .max_size = BUSY_PAGES * PAGE_SIZE,
	 .nr_live = BUSY_LIST, .pairs = true, .quick = true},
	{HOOKS, .name = "long_busy_list_1000", .draw = draw_busy, .lives = true,
	 .max_size = BUSY_PAGES * PAGE_SIZE, .nr_live = 1000, .pairs = true, .quick = true},
	{HOOKS, .name = "long_busy_list_25000", .draw = draw_busy, .lives = true,
	 .max_size = BUSY_PAGES * PAGE_SIZE, .nr_live = 25000, .pairs = true, .quick = true},
	{HOOKS, .name = "long_busy_list_100000", .draw = draw_busy, .lives = true,
	 .max_size = BUSY_PAGES * PAGE_SIZE, .nr_live = 100000, .pairs = true},
	{HOOKS, .name = "long_busy_list_1000000", .draw = draw_busy, .lives = true,
	 .max_size = BUSY_PAGES * PAGE_SIZE, .nr_live = 1000000, .pairs = true},
	{HOOKS, .name = "fix_align", .draw = draw_fix_align, .max_size = 5 * PAGE_SIZE,
	 .aligned = true, .written = true},
	{HOOKS, .name = "random_size_align", .draw = draw_size_align, .max_size = 10 * PAGE_SIZE,
	 .aligned = true, .written = true},
	{HOOKS, .name = "align_shift", .draw = draw_shift, .max_size = PAGE_SIZE, .aligned = true,
	 .written = true},
};

/* What an allocator cannot do, or the host does not allow kmm to. */
static const char *refuse(const struct bench_env *env, const struct object_cases *cases,
			  const struct object_peer *peer)
{
	const struct range_kind *kind = container_of(cases->object_suite, struct range_kind, suite);
	unsigned long max_mappings = host_max_mappings();
	u64 shared_bytes;

	if (kind->aligned && !peer->aligned_alloc)
		return "it has no aligned_alloc";
	if (strcmp(peer->name, "kmm"))
		/* Held areas are kmm's question: are more of them dearer? */
		return kind->lives && !env->full ? "" : NULL;
	shared_bytes = env->machine->config.shared_bytes;
	if (kind->nr_live > max_mappings / 8 * 7 / 2 - 2 * BUSY_PAGES && !host_has_guards())
		return error_line("the host allows a process %lu mappings, and has no guard pages "
				  "without them (Linux 6.15)",
				  max_mappings);
	if (kind->nr_live * PAGE_SIZE > shared_bytes / 2 &&
	    kind->nr_live * PAGE_SIZE + SPARE_BYTES > shared_bytes)
		return error_line("too little memory: %u areas, %llu MiB that can be mapped",
				  kind->nr_live, (unsigned long long)shared_bytes >> 20);
	return NULL;
}

int range_cases_add(const struct bench_env *env, struct case_list *list,
		    const struct object_cases *like)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct object_cases cases = *like;

		if (!kinds[i].quick && !env->full)
			continue;
		cases.name = kinds[i].name;
		cases.ops = kinds[i].pairs ? &range_pair_ops : &range_ops;
		cases.object_suite = &kinds[i].suite;
		cases.mmap = &mmap_ranges_table;
		cases.size_bytes = kinds[i].max_size;
		cases.count = 1;
		cases.threads = env->full ? 0 : 1;
		cases.one_placement = true;
		cases.aa = false;
		cases.refuse = refuse;
		if (object_cases_add(env, list, &cases))
			return -ENOMEM;
	}
	return 0;
}

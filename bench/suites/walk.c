/* SPDX-License-Identifier: MIT */
/*
 * Suite walk: translations through kmm's page tables, in software. One operation is one walk, of
 * map one page mapped and unmapped.
 *
 *	hot	64 pages in turn: the four entries of each walk are in the first-level cache;
 *		oracle: the walk by the manual, with rights
 *	access	the same with rights, accessed and dirty bits, by the format's own code
 *	random	pages of the whole range at random; size is the range in bytes. The last level's
 *		entries take 1/512 of it: compare with floor's lines of that footprint. Walks do not
 *		depend on each other, so the processor overlaps some
 *	chain	the same, each address from the last one's frame: compare with pointer_chase
 *	batch	the same as random, 1024 to a call; batch_la57: in five levels
 *	sorted	a call's addresses ascending, 1 to 64 pages from one to the next
 *	zipf	pages by a Zipf law of exponent 1: the octaves of ranks, 2^k to 2^(k+1), each as
 *		often as any other, strewn over the range; zipf_batch: 1024 to a call
 *	map	4096 pages of 4 KiB mapped and unmapped, tables made and freed
 *
 * Pages are 4 KiB, each mapped to the frame of its own number plus a constant, so that every
 * translation is checked by a subtraction in the timed loop. The frames need not exist: a walk
 * reads tables, not memory.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/suites/lines.h"
#include "bench/suites/suites.h"
#include "virt/oracle.h"

#define WALK_PFN_SHIFT 0x12345UL
#define HOT_PAGES      64
#define BATCH	       1024
#define LANES	       4
#define MAP_PAGES      4096

static uint64_t free_pages_before; /* the one case that runs */

struct walk_thread {
	uint64_t random;
	uint64_t lanes[LANES]; /* batches' own, see batch_next */
	bool drawn;	       /* va is the next call's */
	uint64_t nr_wrong;     /* walks that gave nothing, or another frame */
	uint64_t page;	       /* chain: the next */
	uint64_t va[BATCH];
	struct pgtable_walk walks[BATCH];
};

static uint64_t count_free_pages(struct kmm *machine)
{
	struct free_area_counts counts;

	count_free_areas(machine, NUMA_NO_NODE, &counts);
	return counts.nr_buddy_pages + counts.nr_pcp_pages;
}

static const char *prepare_format(struct bench_case *c, const struct pgtable_format *format)
{
	uint64_t nr_pages = c->size_bytes >> PAGE_SHIFT;
	struct pgtable *table;
	int status;

	c->arg = NULL;
	if (kmm_attach(c->env->machine, 0) < 0)
		return error_line("cannot attach to CPU 0");
	free_pages_before = count_free_pages(c->env->machine);
	status = pgtable_create(format, &table);
	if (status)
		return error_line("no page table: %s", strerror(-status));
	c->arg = table;
	status = pgtable_map(table, WALK_BASE, (WALK_BASE >> PAGE_SHIFT) + WALK_PFN_SHIFT, nr_pages,
			     PTE_WRITE, false);
	return status ? error_line("cannot map %llu pages: %s", (unsigned long long)nr_pages,
				   strerror(-status))
		      : NULL;
}

static const char *prepare(struct bench_case *c)
{
	return prepare_format(c, &pgtable_x86_64);
}

static const char *prepare_la57(struct bench_case *c)
{
	return prepare_format(c, &pgtable_la57);
}

static const char *finish(struct bench_case *c)
{
	uint64_t free_pages;

	if (!c->arg)
		return NULL;
	pgtable_destroy(c->arg);
	c->arg = NULL;
	free_pages = count_free_pages(c->env->machine);
	if (free_pages != free_pages_before)
		return error_line("%lld pages leaked", (long long)(free_pages_before - free_pages));
	return NULL;
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	const char *error = thread_pin(c, thread);
	struct walk_thread *state;

	*out = NULL;
	if (error)
		return error;
	state = harness_alloc(sizeof(*state), true, false);
	if (!state)
		return error_line("no memory for the harness");
	state->random = c->seed + (uint64_t)thread * 0x9E3779B97F4A7C15UL;
	for (uint64_t lane = 0; lane < LANES; lane++)
		state->lanes[lane] = lines_scramble(state->random + lane);
	*out = state;
	c->ops->run(c, thread, state, 1 + 100000 / c->ops->ops_per_batch);
	return NULL;
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct walk_thread *state = arg;
	const char *error = NULL;

	(void)thread;
	if (state && state->nr_wrong)
		error = error_line("%llu translations were wrong",
				   (unsigned long long)state->nr_wrong);
	harness_free(state, sizeof(*state));
	thread_unpin(c);
	return error;
}

static inline uint64_t walk_page(const struct pgtable *table, uint64_t page)
{
	uint64_t vpn = (WALK_BASE >> PAGE_SHIFT) + page;
	struct pgtable_walk result;

	return !pgtable_walk(table, vpn << PAGE_SHIFT, &result) ||
	       result.pfn - vpn != WALK_PFN_SHIFT;
}

static void hot_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct walk_thread *state = arg;
	const struct pgtable *table = c->arg;
	uint64_t nr_wrong = 0;

	(void)thread;
	for (uint64_t i = 0; i < n; i++)
		nr_wrong += walk_page(table, i % HOT_PAGES);
	state->nr_wrong += nr_wrong;
}

static void random_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct walk_thread *state = arg;
	const struct pgtable *table = c->arg;
	uint64_t mask = (c->size_bytes >> PAGE_SHIFT) - 1, random = state->random, nr_wrong = 0;

	(void)thread;
	for (uint64_t i = 0; i < n; i++) {
		random = lines_next_random(random);
		nr_wrong += walk_page(table, (random >> 20) & mask);
	}
	state->random = random;
	state->nr_wrong += nr_wrong;
}

static inline uint64_t walk_is_wrong(uint64_t vpn, const struct pgtable_walk *walk)
{
	return !walk->present || walk->pfn - vpn != WALK_PFN_SHIFT;
}

/* The same pages as hot, by a walk that looks at rights and sets bits; constant in each caller. */
static inline __attribute__((always_inline)) void
write_run(struct bench_case *c, struct walk_thread *state, uint64_t n,
	  bool (*access)(struct pgtable *table, u64 va, u32 access, struct pgtable_walk *walk))
{
	struct pgtable_walk walk;
	uint64_t nr_wrong = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t vpn = (WALK_BASE >> PAGE_SHIFT) + i % HOT_PAGES;

		access(c->arg, vpn << PAGE_SHIFT, X86_PF_WRITE, &walk);
		nr_wrong += walk_is_wrong(vpn, &walk);
	}
	state->nr_wrong += nr_wrong;
}

static void oracle_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	(void)thread;
	write_run(c, arg, n, pgtable_oracle);
}

static void access_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	(void)thread;
	write_run(c, arg, n, pgtable_access);
}

/* The frame found is part of the next address, so no walk begins before the last one's end. */
static void chain_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct walk_thread *state = arg;
	const struct pgtable *table = c->arg;
	uint64_t mask = (c->size_bytes >> PAGE_SHIFT) - 1, random = state->random;
	uint64_t page = state->page, nr_wrong = 0;

	(void)thread;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t vpn = (WALK_BASE >> PAGE_SHIFT) + page;
		struct pgtable_walk walk;

		pgtable_walk(table, vpn << PAGE_SHIFT, &walk);
		nr_wrong += walk_is_wrong(vpn, &walk);
		random = lines_next_random(random);
		page = ((random >> 20) + walk.pfn) & mask;
	}
	state->random = random;
	state->page = page;
	state->nr_wrong += nr_wrong;
}

/* Rank 2^k + something below 2^k, k any octave of the range: the probability of a rank falls as its
 * reciprocal. An odd factor strews the ranks over the range, one to one. */
static inline uint64_t zipf_page(uint64_t random, unsigned int octaves, uint64_t mask)
{
	uint64_t octave = 1UL << ((random >> 32) * octaves >> 32);
	uint64_t rank = octave | ((random >> 8) & (octave - 1));

	return rank * 0x9E3779B97F4A7C15UL & mask;
}

static inline unsigned int octaves_of(const struct bench_case *c)
{
	return (unsigned int)(63 - __builtin_clzl(c->size_bytes >> PAGE_SHIFT));
}

static void zipf_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct walk_thread *state = arg;
	const struct pgtable *table = c->arg;
	uint64_t mask = (c->size_bytes >> PAGE_SHIFT) - 1, random = state->random, nr_wrong = 0;
	unsigned int octaves = octaves_of(c);

	(void)thread;
	for (uint64_t i = 0; i < n; i++) {
		random = lines_next_random(random);
		nr_wrong += walk_page(table, zipf_page(random, octaves, mask));
	}
	state->random = random;
	state->nr_wrong += nr_wrong;
}

enum order { ORDER_RANDOM, ORDER_ZIPF, ORDER_SORTED };

struct draw {
	enum order order;
	unsigned int octaves;
	uint64_t mask, page;
};

static inline __attribute__((always_inline)) uint64_t draw_va(struct draw *draw, uint64_t *random)
{
	*random = lines_next_random(*random);
	if (draw->order == ORDER_RANDOM)
		draw->page = (*random >> 20) & draw->mask;
	else if (draw->order == ORDER_ZIPF)
		draw->page = zipf_page(*random, draw->octaves, draw->mask);
	else
		draw->page = (draw->page + 1 + (*random >> 58)) & draw->mask;
	return WALK_BASE + (draw->page << PAGE_SHIFT);
}

/*
 * The last call's results are looked at, and the next call's addresses drawn, in one loop, for
 * neither waits for memory and what they take is counted with the walks. Four generators take
 * turns: one alone would make each address wait for the last. Returns how many were wrong.
 */
static inline __attribute__((always_inline)) uint64_t
batch_next(struct walk_thread *state, const struct bench_case *c, enum order order)
{
	struct draw draw = {order, octaves_of(c), (c->size_bytes >> PAGE_SHIFT) - 1, state->page};
	uint64_t random[LANES], nr_wrong = 0;

	for (int lane = 0; lane < LANES; lane++)
		random[lane] = state->lanes[lane];
	for (int i = 0; i < BATCH; i += LANES) {
#pragma GCC unroll 4
		for (int lane = 0; lane < LANES; lane++) {
			uint64_t *va = &state->va[i + lane];

			nr_wrong += walk_is_wrong(*va >> PAGE_SHIFT, &state->walks[i + lane]);
			*va = draw_va(&draw, &random[lane]);
		}
	}
	for (int lane = 0; lane < LANES; lane++)
		state->lanes[lane] = random[lane];
	state->page = draw.page;
	return nr_wrong;
}

static inline __attribute__((always_inline)) void
batch_run_order(struct bench_case *c, struct walk_thread *state, uint64_t n, enum order order)
{
	const struct pgtable *table = c->arg;
	uint64_t nr_wrong = 0;

	if (!state->drawn)
		batch_next(state, c, order); /* there are no results yet */
	state->drawn = true;
	for (uint64_t i = 0; i < n; i++) {
		pgtable_walk_batch(table, state->va, BATCH, state->walks);
		nr_wrong += batch_next(state, c, order);
	}
	state->nr_wrong += nr_wrong;
}

static void batch_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	(void)thread;
	batch_run_order(c, arg, n, ORDER_RANDOM);
}

static void sorted_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	(void)thread;
	batch_run_order(c, arg, n, ORDER_SORTED);
}

static void zipf_batch_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	(void)thread;
	batch_run_order(c, arg, n, ORDER_ZIPF);
}

/* Beside what prepare mapped, a range for each thread. */
static void map_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	uint64_t va = WALK_BASE + ALIGN_UP(c->size_bytes, 1UL << 30) + ((uint64_t)thread << 30);
	struct walk_thread *state = arg;
	struct pgtable *table = c->arg;

	for (uint64_t i = 0; i < n; i++) {
		state->nr_wrong += pgtable_map(table, va, (va >> PAGE_SHIFT) + WALK_PFN_SHIFT,
					       MAP_PAGES, PTE_WRITE, false) != 0;
		state->nr_wrong +=
			walk_page(table, ((va - WALK_BASE) >> PAGE_SHIFT) + i % MAP_PAGES);
		state->nr_wrong += pgtable_unmap(table, va, MAP_PAGES) != 0;
	}
}

#define WALK_OPS(case, per_run, preparation)                                                       \
	static const struct case_ops case##_ops = {                                                \
		.ops_per_batch = per_run,                                                          \
		.prepare = preparation,                                                            \
		.thread_begin = begin,                                                             \
		.run = case##_run,                                                                 \
		.thread_end = end,                                                                 \
		.finish = finish,                                                                  \
	}

#define batch_la57_run batch_run
WALK_OPS(hot, 1, prepare);
WALK_OPS(oracle, 1, prepare);
WALK_OPS(access, 1, prepare);
WALK_OPS(random, 1, prepare);
WALK_OPS(chain, 1, prepare);
WALK_OPS(zipf, 1, prepare);
WALK_OPS(batch, BATCH, prepare);
WALK_OPS(batch_la57, BATCH, prepare_la57);
WALK_OPS(sorted, BATCH, prepare);
WALK_OPS(zipf_batch, BATCH, prepare);
WALK_OPS(map, MAP_PAGES, prepare);

static int enumerate(const struct bench_env *env, struct case_list *list)
{
	const uint64_t hot_bytes = HOT_PAGES * PAGE_SIZE, all_bytes = walk_mapped_bytes(env);
	const struct {
		const char *name, *allocator;
		const struct case_ops *ops;
		uint64_t bytes;
	} cases[] = {
		{"hot", "kmm", &hot_ops, hot_bytes},
		{"hot", "kmm-aa", &hot_ops, hot_bytes},
		{"hot", "oracle", &oracle_ops, hot_bytes},
		{"access", "kmm", &access_ops, hot_bytes},
		{"random", "kmm", &random_ops, all_bytes},
		{"chain", "kmm", &chain_ops, all_bytes},
		{"batch", "kmm", &batch_ops, all_bytes},
		{"batch_la57", "kmm", &batch_la57_ops, all_bytes},
		{"sorted", "kmm", &sorted_ops, all_bytes},
		{"zipf", "kmm", &zipf_ops, all_bytes},
		{"zipf_batch", "kmm", &zipf_batch_ops, all_bytes},
		{"map", "kmm", &map_ops, hot_bytes},
	};
	int threads[2], nr = thread_counts(env, threads);

	if (!env->machine)
		return 0;
	for (int i = 0; i < nr; i++) {
		for (size_t j = 0; j < ARRAY_SIZE(cases); j++) {
			struct bench_case *c;

			/* It sets the accessed bits as if nobody else did. */
			if (cases[j].ops == &oracle_ops && threads[i] > 1)
				continue;
			c = case_add(env, list, "walk", cases[j].name, cases[j].allocator,
				     cases[j].ops, threads[i]);
			if (!c)
				return -ENOMEM;
			c->size_bytes = cases[j].bytes;
			snprintf(c->size, sizeof(c->size), "%llu",
				 (unsigned long long)cases[j].bytes);
		}
	}
	return 0;
}

const struct suite walk_bench_suite = {
	.name = "walk",
	.summary = "translations through page tables in software: hot, access, random, chain,\n"
		   "             batch, batch_la57, sorted, zipf, zipf_batch; and map",
	.enumerate = enumerate,
};

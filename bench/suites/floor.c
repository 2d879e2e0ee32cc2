/* SPDX-License-Identifier: MIT */
/*
 * Suite floor: what no allocator and no page walk can beat on this machine.
 *
 *	list_pair		pop, touch, push: a thread-local linked list behind the same kind
 *				of function table as any allocator
 *	atomic_add		one locked add to a line that no other thread uses
 *	random_gather		one word of a random cache line, each independent of the last
 *	pointer_chase		one word of a random cache line, found in the last
 *	mmap_touch_munmap	the host's own: map, write a word in each page, unmap
 *
 * Lines are those of one array of huge pages, shared by all threads and read only: word 0 of line i
 * is i, word 1 is the next line of one cycle through all lines in a pseudo-random order. size is
 * the array's footprint in bytes.
 */
#include <errno.h>
#include <stdio.h>

#include "arch/host.h"
#include "bench/suites/lines.h"
#include "bench/suites/objects.h"
#include "bench/suites/suites.h"

static const char *list_setup(struct bench_case *c, int thread)
{
	(void)c;
	(void)thread;
	return list_stock() ? error_line("no memory for the list") : NULL;
}

static const char *list_teardown(struct bench_case *c, int thread)
{
	int nr = list_unstock();

	(void)c;
	(void)thread;
	return nr == LIST_STOCK ? NULL
				: error_line("%d objects in the list, not %d", nr, LIST_STOCK);
}

static const struct object_suite list_suite = {.thread_setup = list_setup,
					       .thread_teardown = list_teardown};
static const struct object_suite mmap_suite = {.touch_stride = PAGE_SIZE};

/* State of a thread in the cases that allocate nothing. */
struct floor_thread {
	uint64_t counter CACHELINE_ALIGNED;
	uint64_t nr_done;
	uint64_t random; /* of random_gather */
	uint64_t start;	 /* of pointer_chase: place in the cycle */
	uint64_t line;
	uint64_t difference; /* between lines read and lines wanted */
};

static const char *begin(struct bench_case *c, int thread, void **out)
{
	const char *error = thread_pin(c, thread);
	struct floor_thread *state;

	*out = NULL;
	if (error)
		return error;
	state = harness_alloc(sizeof(*state), true, false);
	if (!state)
		return error_line("no memory for the harness");
	state->random = c->seed + (uint64_t)thread * 0x9E3779B97F4A7C15UL;
	state->start = lines_scramble((uint64_t)thread + 1);
	state->line = lines_count() ? lines_at(state->start) : 0;
	*out = state;
	c->ops->run(c, thread, state, 10000);
	return NULL;
}

static const char *end(struct bench_case *c, void *arg, const char *error)
{
	harness_free(arg, sizeof(struct floor_thread));
	thread_unpin(c);
	return error;
}

static void atomic_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct floor_thread *state = arg;

	(void)c;
	(void)thread;
	for (uint64_t i = 0; i < n; i++)
		__atomic_fetch_add(&state->counter, 1, __ATOMIC_SEQ_CST);
	state->nr_done += n;
}

static const char *atomic_end(struct bench_case *c, int thread, void *arg)
{
	struct floor_thread *state = arg;
	const char *error = NULL;

	(void)thread;
	if (state && state->counter != state->nr_done)
		error = error_line("%llu adds counted %llu", (unsigned long long)state->nr_done,
				   (unsigned long long)state->counter);
	return end(c, arg, error);
}

static const char *lines_prepare(struct bench_case *c)
{
	return lines_make(c->size_bytes) ? error_line("no memory for %zu bytes", c->size_bytes)
					 : NULL;
}

static const char *no_finish(struct bench_case *c)
{
	(void)c;
	return NULL;
}

static void gather_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct floor_thread *state = arg;
	const struct line *lines = lines_array();
	uint64_t mask = lines_count() - 1, random = state->random, difference = 0;

	(void)c;
	(void)thread;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t wanted;

		random = lines_next_random(random);
		wanted = (random >> 20) & mask;
		difference |= lines[wanted].number ^ wanted;
	}
	state->random = random;
	state->difference |= difference;
}

static const char *gather_end(struct bench_case *c, int thread, void *arg)
{
	struct floor_thread *state = arg;
	const char *error = NULL;

	(void)thread;
	if (state && state->difference)
		error = error_line("a line did not hold its number");
	return end(c, arg, error);
}

static void chase_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct floor_thread *state = arg;
	const struct line *lines = lines_array();
	uint64_t line = state->line;

	(void)c;
	(void)thread;
	for (uint64_t i = 0; i < n; i++)
		line = lines[line].next;
	state->line = line;
	state->nr_done += n;
}

/* The cycle is known: after so many steps there is but one line to be at. */
static const char *chase_end(struct bench_case *c, int thread, void *arg)
{
	struct floor_thread *state = arg;
	const char *error = NULL;

	(void)thread;
	if (state && state->line != lines_at(state->start + state->nr_done))
		error = error_line("the chase came to line %llu, not %llu",
				   (unsigned long long)state->line,
				   (unsigned long long)lines_at(state->start + state->nr_done));
	return end(c, arg, error);
}

static const char *atomic_prepare(struct bench_case *c)
{
	(void)c;
	return NULL;
}

static const struct case_ops atomic_ops = {
	.ops_per_batch = 1,
	.prepare = atomic_prepare,
	.thread_begin = begin,
	.run = atomic_run,
	.thread_end = atomic_end,
	.finish = no_finish,
};

static const struct case_ops gather_ops = {
	.ops_per_batch = 1,
	.prepare = lines_prepare,
	.thread_begin = begin,
	.run = gather_run,
	.thread_end = gather_end,
	.finish = no_finish,
};

static const struct case_ops chase_ops = {
	.ops_per_batch = 1,
	.prepare = lines_prepare,
	.thread_begin = begin,
	.run = chase_run,
	.thread_end = chase_end,
	.finish = no_finish,
};

static int add(const struct bench_env *env, struct case_list *list, const char *name,
	       const struct case_ops *ops, size_t bytes)
{
	int threads[2], nr = thread_counts(env, threads);

	for (int i = 0; i < nr; i++) {
		struct bench_case *c = case_add(env, list, "floor", name, "floor", ops, threads[i]);

		if (!c)
			return -ENOMEM;
		c->size_bytes = bytes;
		snprintf(c->size, sizeof(c->size), "%zu", bytes);
	}
	return 0;
}

static int add_objects(const struct bench_env *env, struct case_list *list, const char *name,
		       const struct object_suite *suite, const struct object_peer *table,
		       size_t bytes)
{
	int threads[2], nr = thread_counts(env, threads);

	for (int i = 0; i < nr; i++) {
		struct bench_case *c = case_add(env, list, "floor", name, table->name,
						pattern_ops(PATTERN_PAIR), threads[i]);

		if (!c)
			return -ENOMEM;
		c->peer = table;
		c->arg = (void *)suite;
		c->count = 1;
		c->size_bytes = bytes;
		snprintf(c->size, sizeof(c->size), "%zu", bytes);
	}
	return 0;
}

static int enumerate(const struct bench_env *env, struct case_list *list)
{
	size_t footprints[3];
	int nr = lines_footprints(env, footprints);

	if (add_objects(env, list, "list_pair", &list_suite, &list_table, LIST_OBJECT_SIZE) ||
	    add(env, list, "atomic_add", &atomic_ops, sizeof(uint64_t)) ||
	    add_objects(env, list, "mmap_touch_munmap", &mmap_suite, &mmap_table, 4096) ||
	    add_objects(env, list, "mmap_touch_munmap", &mmap_suite, &mmap_table, 65536))
		return -ENOMEM;
	for (int i = 0; i < nr; i++)
		if (add(env, list, "random_gather", &gather_ops, footprints[i]) ||
		    add(env, list, "pointer_chase", &chase_ops, footprints[i]))
			return -ENOMEM;
	return 0;
}

const struct suite floor_bench_suite = {
	.name = "floor",
	.summary = "what no allocator can beat: a list, an atomic, random lines, the host's mmap",
	.enumerate = enumerate,
};

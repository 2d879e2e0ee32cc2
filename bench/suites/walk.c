/* SPDX-License-Identifier: MIT */
/*
 * Suite walk: translations through kmm's page tables, in software. One operation is one walk.
 *
 *	hot	64 pages in turn: the four entries of each walk are in the first-level cache
 *	random	pages of the whole range at random; size is the range in bytes. The last level's
 *		entries take 1/512 of it: compare with floor's lines of that footprint
 *
 * Pages are 4 KiB, each mapped to the frame of its own number plus a constant, so that every
 * translation is checked by a subtraction in the timed loop. The frames need not exist: a walk reads
 * tables, not memory.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/suites/lines.h"
#include "bench/suites/suites.h"

#define WALK_PFN_SHIFT 0x12345UL
#define HOT_PAGES      64

static uint64_t free_pages_before; /* the one case that runs */

struct walk_thread {
	uint64_t random;
	uint64_t nr_wrong; /* walks that gave nothing, or another frame */
};

static uint64_t count_free_pages(struct kmm *machine)
{
	struct free_area_counts counts;

	count_free_areas(machine, NUMA_NO_NODE, &counts);
	return counts.nr_buddy_pages + counts.nr_pcp_pages;
}

static const char *prepare(struct bench_case *c)
{
	uint64_t nr_pages = c->size_bytes >> PAGE_SHIFT;
	struct pgtable *table;
	int status;

	c->arg = NULL;
	if (kmm_attach(c->env->machine, 0) < 0)
		return error_line("cannot attach to CPU 0");
	free_pages_before = count_free_pages(c->env->machine);
	status = pgtable_create(&pgtable_x86_64, &table);
	if (status)
		return error_line("no page table: %s", strerror(-status));
	c->arg = table;
	status = pgtable_map(table, WALK_BASE, (WALK_BASE >> PAGE_SHIFT) + WALK_PFN_SHIFT, nr_pages,
			     PTE_WRITE, false);
	return status ? error_line("cannot map %llu pages: %s", (unsigned long long)nr_pages,
				   strerror(-status))
		      : NULL;
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
	*out = state;
	c->ops->run(c, thread, state, 100000);
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

static const struct case_ops hot_ops = {
	.ops_per_batch = 1,
	.prepare = prepare,
	.thread_begin = begin,
	.run = hot_run,
	.thread_end = end,
	.finish = finish,
};

static const struct case_ops random_ops = {
	.ops_per_batch = 1,
	.prepare = prepare,
	.thread_begin = begin,
	.run = random_run,
	.thread_end = end,
	.finish = finish,
};

static int enumerate(const struct bench_env *env, struct case_list *list)
{
	int threads[2], nr = thread_counts(env, threads);

	if (!env->machine)
		return 0;
	for (int i = 0; i < nr; i++) {
		const struct {
			const char *name, *allocator;
			const struct case_ops *ops;
			uint64_t bytes;
		} cases[] = {
			{"hot", "kmm", &hot_ops, HOT_PAGES * PAGE_SIZE},
			{"hot", "kmm-aa", &hot_ops, HOT_PAGES * PAGE_SIZE},
			{"random", "kmm", &random_ops, walk_mapped_bytes(env)},
		};

		for (size_t j = 0; j < ARRAY_SIZE(cases); j++) {
			struct bench_case *c =
				case_add(env, list, "walk", cases[j].name, cases[j].allocator,
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
	.summary = "translations through page tables in software: hot, random",
	.enumerate = enumerate,
};

/* SPDX-License-Identifier: MIT */
/*
 * Suite page: blocks of 2^order pages. kmm through __get_free_pages and free_pages; peers with
 * objects of as many bytes; the host with mmap and munmap. size is the order. pair and repeat touch
 * the first word of the block.
 *
 * Cases that fill memory fill as much as kmm's machine has, of every allocator; with --quick of kmm and
 * page peers only. What each case does is in page_cases.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/suites/page_cases.h"
#include "bench/suites/slots.h"
#include "bench/suites/suites.h"
#include "bench/suites/xcpu.h"

#define STRESS_COUNT	 512
#define STRESS_BYTES	 (32UL << 10) /* of one of its blocks, on average and more */
#define STRESS_OPS	 10000000
#define STRESS_OPS_QUICK 100000
#define REPETITIONS	 9 /* of most runs */

int page_node_of(const void *object)
{
	return virt_to_page(object)->nid;
}

/* Frames held for others (a slab, a page table) must not come or go while pages are counted. */
const char *page_setup(struct bench_case *c)
{
	if (c->env->machine)
		kmm_drain(c->env->machine);
	return NULL;
}

const struct object_suite page_suite = {.setup = page_setup, .node_of = page_node_of};

/* What all cases of the suite have in common; count is 1. */
static struct object_cases cases_of(const struct bench_env *env, const char *name,
				    const struct case_ops *ops, const char *size,
				    unsigned int order)
{
	return (struct object_cases){
		.suite = "page",
		.name = name,
		.ops = ops,
		.object_suite = &page_suite,
		.kmm = kmm_page_tables,
		.mmap = &mmap_pages_table,
		.size = size,
		.size_bytes = PAGE_SIZE << order,
		.order = order,
		.count = 1,
		.memory_bytes = node_memory_bytes(env),
		.one_placement = order != 0 && !env->full,
	};
}

static int add(const struct bench_env *env, struct case_list *list, const char *name,
	       enum pattern pattern, unsigned int order, int threads)
{
	struct object_cases cases;
	char size[8];

	snprintf(size, sizeof(size), "%u", order);
	cases = cases_of(env, name, pattern_ops(pattern), size, order);
	cases.threads = threads;
	if (pattern != PATTERN_PAIR) {
		cases.count = batch_count(env, cases.size_bytes, node_memory_bytes(env));
		cases.mmap = env->full ? cases.mmap : NULL;
	}
	cases.aa = order == 0 && pattern != PATTERN_BULK;
	return object_cases_add(env, list, &cases);
}

/* Of a power of two: as large as BATCH_COUNT and larger. */
static int threadtest_count(const struct bench_env *env, size_t object_bytes)
{
	int count = batch_count(env, object_bytes, node_memory_bytes(env));

	return count == BATCH_COUNT ? 4 * batch_count(env, 4 * object_bytes, node_memory_bytes(env))
				    : count;
}

static int add_churn(const struct bench_env *env, struct case_list *list, unsigned int order)
{
	struct object_cases cases;
	char size[8];

	snprintf(size, sizeof(size), "%u", order);
	cases = cases_of(env, "repeat", &repeat_ops, size, order);
	cases.one_placement = true;
	if (object_cases_add(env, list, &cases))
		return -ENOMEM;
	cases.name = "occupancy";
	cases.ops = &occupancy_ops;
	cases.mmap = env->full ? cases.mmap : NULL;
	cases.count = batch_count(env, cases.size_bytes, node_memory_bytes(env));
	if (object_cases_add(env, list, &cases))
		return -ENOMEM;
	cases.name = "threadtest";
	cases.ops = pattern_ops(PATTERN_BULK);
	cases.count = threadtest_count(env, cases.size_bytes);
	cases.threads = env->nr_threads_max;
	return object_cases_add(env, list, &cases);
}

static const char *xcpu_refused(const struct bench_env *env, const struct object_cases *cases,
				const struct object_peer *peer)
{
	(void)env;
	(void)peer;
	return cases->count < 2 * XCPU_CHUNK ? "a ring of 512 blocks would not fit" : NULL;
}

static int add_xcpu(const struct bench_env *env, struct case_list *list, unsigned int order)
{
	struct object_cases cases;
	char size[8];

	snprintf(size, sizeof(size), "%u", order);
	cases = cases_of(env, "xcpu", &xcpu_ops, size, order);
	cases.one_placement = true;
	cases.threads = 2;
	cases.mmap = env->full ? cases.mmap : NULL;
	cases.count =
		(int)min_t(uint64_t, node_memory_bytes(env) / 2 / cases.size_bytes, BATCH_COUNT);
	cases.count -= cases.count % XCPU_CHUNK;
	cases.refuse = xcpu_refused;
	return object_cases_add(env, list, &cases);
}

static const unsigned int main_steps[] = {0, 50, 90, 95};

static bool is_main_step(const struct object_suite *suite)
{
	for (size_t i = 0; i < ARRAY_SIZE(main_steps); i++)
		if (suite == fill_suite(main_steps[i]))
			return true;
	return false;
}

#define MIN_BATCH 16 /* blocks that every check takes, too */

static uint64_t bytes_left(const struct bench_env *env, const struct object_suite *fill)
{
	return node_memory_bytes(env) / 100 * (100 - fill_percent(fill));
}

/* Malloc libraries are filled with as many live objects, where the host has the memory: jemalloc and
 * mimalloc at the main steps of order 0, and only with --full, because it takes many seconds. */
static const char *fill_refused(const struct bench_env *env, const struct object_cases *cases,
				const struct object_peer *peer)
{
	bool library = !peer->free_order && env->machine;

	if (library && (cases->order || !is_main_step(cases->object_suite)))
		return "";
	if (library && strcmp(peer->name, "jemalloc") && strcmp(peer->name, "mimalloc"))
		return "only jemalloc and mimalloc are filled";
	if (library && !env->full)
		return "filled with --full only";
	if (MIN_BATCH * cases->size_bytes * (uint64_t)env->nr_threads_max >
	    bytes_left(env, cases->object_suite) / 2)
		return "too little memory is left";
	return page_fill_refused(env, peer, page_memory_bytes(env));
}

static const char *fill_name(unsigned int percent, enum pattern pattern)
{
	static const char *const patterns[] = {
		[PATTERN_BULK] = "bulk", [PATTERN_SHUFFLE] = "shuffle", [PATTERN_PAIR] = "pair"};
	static char names[FILL_STEPS][ARRAY_SIZE(patterns)][16];
	char *name = names[percent / 5][pattern];

	snprintf(name, sizeof(names[0][0]), "fill%u/%s", percent, patterns[pattern]);
	return name;
}

static int add_fill(const struct bench_env *env, struct case_list *list, unsigned int percent,
		    enum pattern pattern, unsigned int order)
{
	struct object_cases cases;
	char size[8];

	snprintf(size, sizeof(size), "%u", order);
	cases = cases_of(env, fill_name(percent, pattern), pattern_ops(pattern), size, order);
	cases.object_suite = fill_suite(percent);
	cases.one_placement = true;
	cases.threads = env->full ? 0 : 1;
	cases.refuse = fill_refused;
	if (order || !is_main_step(cases.object_suite))
		cases.mmap = NULL;
	if (pattern != PATTERN_PAIR)
		cases.count =
			batch_count(env, cases.size_bytes, bytes_left(env, cases.object_suite));
	return object_cases_add(env, list, &cases);
}

/* Quick: 95 %, order 0. Full: all steps at order 0, the main ones at the others. */
static int add_fills(const struct bench_env *env, struct case_list *list, unsigned int order)
{
	static const enum pattern patterns[] = {PATTERN_PAIR, PATTERN_BULK, PATTERN_SHUFFLE};

	for (unsigned int percent = 0; percent < 5 * FILL_STEPS; percent += 5) {
		if (env->full ? order && !is_main_step(fill_suite(percent))
			      : percent != 95 || order)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(patterns); i++)
			if (add_fill(env, list, percent, patterns[i], order))
				return -ENOMEM;
	}
	return 0;
}

static int add_stress(const struct bench_env *env, struct case_list *list)
{
	uint64_t ops = (env->full ? STRESS_OPS : STRESS_OPS_QUICK) / REPETITIONS + 1;
	struct object_cases cases = cases_of(env, "stress", &stress_ops, "0-10", 0);

	cases.one_placement = true;
	cases.threads = env->nr_threads_max;
	cases.mmap = NULL; /* minutes of page faults */
	cases.count = (int)min_t(int, STRESS_COUNT,
				 batch_count(env, STRESS_BYTES, node_memory_bytes(env) / 2));
	cases.most_order = MAX_PAGE_ORDER;
	cases.ops_per_batch = ops / (uint64_t)env->nr_threads_max + 1;
	cases.note = "contents checked";
	return object_cases_add(env, list, &cases);
}

static const char *ageing_refused(const struct bench_env *env, const struct object_cases *cases,
				  const struct object_peer *peer)
{
	bool library = !peer->free_order && env->machine;

	(void)cases;
	if (library && !env->full)
		return "filled with --full only";
	return page_fill_refused(env, peer, page_memory_bytes(env));
}

static int add_ageing(const struct bench_env *env, struct case_list *list)
{
	struct object_cases cases = cases_of(env, "ageing", &ageing_ops, "0", 0);

	cases.object_suite = ageing_plain;
	cases.one_placement = true;
	cases.threads = env->nr_threads_max;
	cases.ops_per_batch = 1;
	cases.note = "contents checked";
	cases.refuse = ageing_refused;
	if (object_cases_add(env, list, &cases))
		return -ENOMEM;
	cases.name = "ageing_mixed";
	cases.object_suite = ageing_mixed;
	cases.most_order = AGEING_MIXED_ORDER;
	cases.size = "0-4";
	return object_cases_add(env, list, &cases);
}

/* Quick: pair at every order with one thread; all threads, and the batches (without mmap), at
 * orders 0, 3 and 9; the other cases at order 0. */
static int enumerate(const struct bench_env *env, struct case_list *list)
{
	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
		bool chosen = order == 0 || order == 3 || order == 9;
		int threads = chosen || env->full ? 0 : 1;

		if (add(env, list, "pair", PATTERN_PAIR, order, threads))
			return -ENOMEM;
		if (!chosen && !env->full)
			continue;
		if (add(env, list, "bulk", PATTERN_BULK, order, threads) ||
		    add(env, list, "shuffle", PATTERN_SHUFFLE, order, threads))
			return -ENOMEM;
		if (order && !env->full)
			continue;
		if (add_churn(env, list, order) || add_fills(env, list, order) ||
		    (chosen && add_xcpu(env, list, order)))
			return -ENOMEM;
	}
	return add_stress(env, list) || add_ageing(env, list) ? -ENOMEM : 0;
}

const struct suite page_bench_suite = {
	.name = "page",
	.summary = "blocks of 2^order pages: pair, bulk, shuffle, repeat, occupancy, threadtest,\n"
		   "             xcpu, fillNN/pair and others with NN % in use, stress, ageing",
	.enumerate = enumerate,
};

/* SPDX-License-Identifier: MIT */
/*
 * Suite page: blocks of 2^order pages. kmm through __get_free_pages and free_pages; peers with
 * objects of as many bytes; the host with mmap and munmap. size is the order. pair touches the
 * first word of the block.
 */
#include <errno.h>
#include <stdio.h>

#include "bench/suites/objects.h"
#include "bench/suites/suites.h"

static int node_of(const void *object)
{
	return virt_to_page(object)->nid;
}

/* Frames held for others (a slab, a page table) must not come or go while pages are counted. */
static const char *setup(struct bench_case *c)
{
	if (c->env->machine)
		kmm_drain(c->env->machine);
	return NULL;
}

static const struct object_suite page_suite = {.setup = setup, .node_of = node_of};

static int add(const struct bench_env *env, struct case_list *list, const char *name,
	       enum pattern pattern, unsigned int order, int threads)
{
	size_t bytes = PAGE_SIZE << order;
	int count = pattern == PATTERN_PAIR ? 1 : batch_count(env, bytes, node_memory_bytes(env));
	char size[8];
	struct object_cases cases = {
		.suite = "page",
		.name = name,
		.ops = pattern_ops(pattern),
		.object_suite = &page_suite,
		.kmm = kmm_page_tables,
		.mmap = pattern == PATTERN_PAIR || env->full ? &mmap_table : NULL,
		.size = size,
		.size_bytes = bytes,
		.order = order,
		.count = count,
		.threads = threads,
		.one_placement = order != 0 && !env->full,
		.aa = order == 0 && pattern != PATTERN_BULK,
	};

	snprintf(size, sizeof(size), "%u", order);
	return object_cases_add(env, list, &cases);
}

/* Quick: pair at every order with one thread; all threads, and the batches (without mmap), at
 * orders 0, 3 and 9. */
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
	}
	return 0;
}

const struct suite page_bench_suite = {
	.name = "page",
	.summary = "blocks of 2^order pages: pair, bulk, shuffle",
	.enumerate = enumerate,
};

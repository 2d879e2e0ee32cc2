/* SPDX-License-Identifier: MIT */
/*
 * Suite kmalloc: objects by size. kmm through kmalloc and kfree; peers with malloc and free. mixed
 * takes sizes of 8 to 2048 bytes; xcpu allocates on one CPU and frees on another (xcpu.c).
 */
#include <errno.h>
#include <stdio.h>

#include "bench/suites/objects.h"
#include "bench/suites/suites.h"
#include "bench/suites/xcpu.h"

static int node_of(const void *object)
{
	return virt_to_page(object)->nid;
}

static const struct object_suite kmalloc_suite = {.node_of = node_of};

static int add(const struct bench_env *env, struct case_list *list, const char *name,
	       enum pattern pattern, size_t size_bytes)
{
	bool pair = pattern == PATTERN_PAIR, mixed = pattern == PATTERN_MIXED;
	struct object_cases cases = {
		.suite = "kmalloc",
		.name = name,
		.ops = pattern_ops(pattern),
		.object_suite = &kmalloc_suite,
		.kmm = kmm_kmalloc_tables,
		.size = mixed ? "8-2048" : NULL,
		.size_bytes = size_bytes,
		.count = pair ? 1 : BATCH_COUNT,
		.one_placement = size_bytes != 64 && !env->full,
		.aa = size_bytes == 64 && pattern != PATTERN_BULK,
	};

	return object_cases_add(env, list, &cases);
}

static int add_xcpu(const struct bench_env *env, struct case_list *list)
{
	struct object_cases cases = {
		.suite = "kmalloc",
		.name = "xcpu",
		.ops = &xcpu_ops,
		.object_suite = &kmalloc_suite,
		.kmm = kmm_kmalloc_tables,
		.size_bytes = 64,
		.count = 1,
		.threads = 2,
		.one_placement = true,
	};

	return object_cases_add(env, list, &cases);
}

static int enumerate(const struct bench_env *env, struct case_list *list)
{
	static const size_t sizes[] = {64, 256, 1024};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		if (add(env, list, "pair", PATTERN_PAIR, sizes[i]) ||
		    add(env, list, "bulk", PATTERN_BULK, sizes[i]) ||
		    add(env, list, "shuffle", PATTERN_SHUFFLE, sizes[i]))
			return -ENOMEM;
	if (add(env, list, "mixed", PATTERN_MIXED, MIXED_MAX) || add_xcpu(env, list))
		return -ENOMEM;
	return 0;
}

const struct suite kmalloc_bench_suite = {
	.name = "kmalloc",
	.summary = "objects by size: pair, bulk, shuffle, mixed, xcpu",
	.enumerate = enumerate,
};

/* SPDX-License-Identifier: MIT */
/*
 * Suite kmalloc: objects by size. kmm through kmalloc and kfree; peers with malloc and free. mixed,
 * larson and churn draw the sizes of their objects (objects.h, slots.h).
 */
#include <errno.h>
#include <stdio.h>

#include "bench/suites/fleet.h"
#include "bench/suites/objects.h"
#include "bench/suites/slots.h"
#include "bench/suites/suites.h"

static int node_of(const void *object)
{
	return virt_to_page(object)->nid;
}

static const struct object_suite kmalloc_suite = {.node_of = node_of};
static const struct object_suite mixed_suite = {.draw_size = mixed_size, .node_of = node_of};
static const struct object_suite larson_suite = {.draw_size = larson_size, .node_of = node_of};
static const struct object_suite churn_suite = {.draw_size = churn_size, .node_of = node_of};

static int add(const struct bench_env *env, struct case_list *list, const char *name,
	       enum pattern pattern, size_t size_bytes)
{
	bool pair = pattern == PATTERN_PAIR, mixed = pattern == PATTERN_MIXED;
	struct object_cases cases = {
		.suite = "kmalloc",
		.name = name,
		.ops = pattern_ops(pattern),
		.object_suite = mixed ? &mixed_suite : &kmalloc_suite,
		.kmm = kmm_kmalloc_tables,
		.size = mixed ? "8-2048" : NULL,
		.size_bytes = size_bytes,
		.count = pair ? 1 : BATCH_COUNT,
		.one_placement = size_bytes != 64 && !env->full,
		.aa = size_bytes == 64 && pattern != PATTERN_BULK,
	};

	return object_cases_add(env, list, &cases);
}

static int add_drawn(const struct bench_env *env, struct case_list *list)
{
	struct object_cases larson = {
		.suite = "kmalloc",
		.name = "larson",
		.ops = &larson_ops,
		.object_suite = &larson_suite,
		.kmm = kmm_kmalloc_tables,
		.size = "8-1024",
		.size_bytes = LARSON_MAX,
		.count = BATCH_COUNT,
		.threads = max_t(int, env->nr_threads_max, 2),
		.one_placement = true,
		.memory = true,
	};
	struct object_cases churn = larson;

	churn.name = "churn";
	churn.ops = &churn_ops;
	churn.object_suite = &churn_suite;
	churn.size = "16-32768";
	churn.size_bytes = CHURN_MAX;
	churn.threads = 0;
	return object_cases_add(env, list, &larson) || object_cases_add(env, list, &churn) ? -ENOMEM
											   : 0;
}

static int enumerate(const struct bench_env *env, struct case_list *list)
{
	static const size_t sizes[] = {64, 256, 1024};
	static const struct object_cases like = {
		.suite = "kmalloc", .object_suite = &kmalloc_suite, .kmm = kmm_kmalloc_tables};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (add(env, list, "pair", PATTERN_PAIR, sizes[i]) ||
		    add(env, list, "bulk", PATTERN_BULK, sizes[i]) ||
		    add(env, list, "shuffle", PATTERN_SHUFFLE, sizes[i]))
			return -ENOMEM;
		if ((i == 0 || env->full) && object_cases_add_more(env, list, &like, sizes[i]))
			return -ENOMEM;
	}
	if (add(env, list, "mixed", PATTERN_MIXED, MIXED_MAX) || add_drawn(env, list))
		return -ENOMEM;
	return object_cases_add_falseshare(env, list, &like) || fleet_cases_add(env, list, &like)
		       ? -ENOMEM
		       : 0;
}

const struct suite kmalloc_bench_suite = {
	.name = "kmalloc",
	.summary = "objects by size: the same, and mixed, larson, churn, fleet",
	.enumerate = enumerate,
};

/* SPDX-License-Identifier: MIT */
/*
 * Suite slab: objects of one size. kmm through kmem_cache_alloc and kmem_cache_free on a cache that
 * the case makes and destroys; peers with malloc and free.
 */
#include <errno.h>
#include <stdio.h>

#include "bench/suites/freelist.h"
#include "bench/suites/objects.h"
#include "bench/suites/suites.h"

static int node_of(const void *object)
{
	return virt_to_page(object)->nid;
}

static bool uses_cache(const struct bench_case *c)
{
	for (int place = 0; place < NR_PLACEMENTS; place++)
		if (c->peer == &kmm_slab_tables[place])
			return true;
	return false;
}

static const char *setup(struct bench_case *c)
{
	char name[24];

	if (!uses_cache(c))
		return NULL;
	snprintf(name, sizeof(name), "bench-%zu", c->size_bytes);
	kmm_target.cache =
		kmem_cache_create(name, (unsigned int)c->size_bytes, 0, SLAB_NO_MERGE, NULL);
	return kmm_target.cache ? NULL : error_line("cannot make the cache %s", name);
}

static const char *teardown(struct bench_case *c)
{
	struct kmem_cache *cache = kmm_target.cache;

	if (!uses_cache(c))
		return NULL;
	kmm_target.cache = NULL;
	kmm_drain(c->env->machine);
	if (cache && kmem_cache_destroy(cache))
		return error_line("the cache cannot be destroyed: objects leaked");
	return NULL;
}

static const struct object_suite slab_suite = {
	.setup = setup, .teardown = teardown, .node_of = node_of};

static int enumerate(const struct bench_env *env, struct case_list *list)
{
	static const struct {
		const char *name;
		enum pattern pattern;
	} patterns[] = {
		{"pair", PATTERN_PAIR}, {"bulk", PATTERN_BULK}, {"shuffle", PATTERN_SHUFFLE}};
	static const size_t sizes[] = {64, 256, 1024};
	static const struct object_cases like = {
		.suite = "slab", .object_suite = &slab_suite, .kmm = kmm_slab_tables};

	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
			struct object_cases cases = {
				.suite = "slab",
				.name = patterns[i].name,
				.ops = pattern_ops(patterns[i].pattern),
				.object_suite = &slab_suite,
				.kmm = kmm_slab_tables,
				.size_bytes = sizes[j],
				.count = patterns[i].pattern == PATTERN_PAIR ? 1 : BATCH_COUNT,
				.one_placement = sizes[j] != 64 && !env->full,
				.aa = sizes[j] == 64 && patterns[i].pattern != PATTERN_BULK,
			};

			if (object_cases_add(env, list, &cases))
				return -ENOMEM;
		}
	}
	for (size_t j = 0; j < (env->full ? ARRAY_SIZE(sizes) : 1); j++)
		if (object_cases_add_more(env, list, &like, sizes[j]))
			return -ENOMEM;
	return object_cases_add_falseshare(env, list, &like) || freelist_cases_add(env, list, &like)
		       ? -ENOMEM
		       : 0;
}

const struct suite slab_bench_suite = {
	.name = "slab",
	.summary = "objects of one size from a cache: pair, bulk, shuffle, bulk_api, bulk_api16,\n"
		   "             repeat, occupancy, threadtest, xcpu, remote, falseshare,\n"
		   "             falseshare_passive, freelist, freelist_runs",
	.enumerate = enumerate,
};

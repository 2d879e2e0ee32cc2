/* SPDX-License-Identifier: MIT */
/*
 * Suite vmalloc: ranges of whole pages, mapped. kmm through vmalloc and vfree; the host with mmap
 * and munmap; peers with malloc and free of as many bytes. pair and shuffle write one word in each
 * page of what they get: kmm maps memory at once, the others promise it, and a promise is no
 * mapping. The rest are the kernel's own cases (ranges.h).
 */
#include <errno.h>
#include <stdio.h>

#include "bench/suites/ranges.h"
#include "bench/suites/suites.h"

#define SHUFFLE_COUNT 1024	   /* more would be a test of the host's limit of mappings */
#define SHUFFLE_BYTES (64UL << 20) /* of a thread: each page may cost the host a fault */

static int node_of(const void *object)
{
	struct page *page = vmalloc_to_page(object);

	return page ? page->nid : NUMA_NO_NODE;
}

static const struct object_suite vmalloc_suite = {.touch_stride = PAGE_SIZE, .node_of = node_of};

/* Frames that vmalloc can have on the smallest node: the shared zone is a part of each. */
static uint64_t shared_memory_bytes(const struct bench_env *env)
{
	return env->machine ? env->machine->config.shared_bytes : 1UL << 30;
}

static int enumerate(const struct bench_env *env, struct case_list *list)
{
	static const size_t sizes[] = {4096, 65536, 1048576, 4194304};
	struct object_cases ranges = {.suite = "vmalloc", .kmm = kmm_vmalloc_tables};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		int fit = batch_count(env, sizes[i], shared_memory_bytes(env));
		bool large = sizes[i] > 1048576;
		int most = (int)min_t(size_t, SHUFFLE_COUNT, SHUFFLE_BYTES / sizes[i]);
		struct object_cases cases = {
			.suite = "vmalloc",
			.name = "pair",
			.ops = pattern_ops(PATTERN_PAIR),
			.object_suite = &vmalloc_suite,
			.kmm = kmm_vmalloc_tables,
			.mmap = &mmap_table,
			.size_bytes = sizes[i],
			.count = 1,
			/* Tens of milliseconds for the host to map and unmap a few of them. */
			.threads = large && !env->full ? 1 : 0,
			.one_placement = sizes[i] != 4096 && !env->full,
			.memory_bytes = shared_memory_bytes(env),
			.aa = sizes[i] == 4096,
		};

		if (object_cases_add(env, list, &cases))
			return -ENOMEM;
		if (large && !env->full)
			continue;
		cases.name = "shuffle";
		cases.count = fit < most ? fit : most;
		cases.ops = pattern_ops(PATTERN_SHUFFLE);
		if (object_cases_add(env, list, &cases))
			return -ENOMEM;
	}
	if (range_cases_add(env, list, &ranges) || map_unmap_cases_add(env, list))
		return -ENOMEM;
	return map_ram_cases_add(env, list);
}

const struct suite vmalloc_bench_suite = {
	.name = "vmalloc",
	.summary = "mapped ranges of pages: pair, shuffle, fix_size, random_size, long_busy_list,\n"
		   "             vm_map_ram, map_unmap, with --full full_fit, fix_align, "
		   "random_size_align, "
		   "align_shift",
	.enumerate = enumerate,
};

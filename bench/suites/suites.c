/* SPDX-License-Identifier: MIT */
/* The suites, in the order of --help and of the results. */
#include "bench/suite.h"
#include "bench/suites/suites.h"

const struct suite *const suites[] = {
	&floor_bench_suite,
	&page_bench_suite,
	&slab_bench_suite,
	&kmalloc_bench_suite,
	&vmalloc_bench_suite,
	&walk_bench_suite,
	&tlb_bench_suite,
	&tree_bench_suite,
	NULL,
};

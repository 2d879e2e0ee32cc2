/* SPDX-License-Identifier: MIT */
/* The suites by name, for suites.c. */
#ifndef KMM_BENCH_SUITES_SUITES_H
#define KMM_BENCH_SUITES_SUITES_H

#include "bench/suite.h"

extern const struct suite floor_bench_suite, page_bench_suite, slab_bench_suite,
	kmalloc_bench_suite, vmalloc_bench_suite, walk_bench_suite, tlb_bench_suite, tree_bench_suite;

#endif

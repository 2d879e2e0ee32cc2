/* SPDX-License-Identifier: MIT */
/* The table that ends `kmm bench` on the terminal. */
#ifndef KMM_BENCH_SUMMARY_H
#define KMM_BENCH_SUMMARY_H

#include <stdio.h>

#include "bench/results/results.h"

/*
 * Print ns per operation of pair, shuffle and mixed, one line a suite, case, size and thread count
 * and one column an allocator; the ratio of kmm to jemalloc with its verdict; the noise floor;
 * which cases have no figures, and why; and where the run is.
 */
void summary_print(const struct results *results, FILE *out);

#endif

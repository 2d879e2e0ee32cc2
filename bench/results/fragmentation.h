/* SPDX-License-Identifier: MIT */
/*
 * How fragmented memory is, as numbers. Pure functions of what count_free_areas() counted; the
 * indices are those of the kernel (mm/vmstat.c, /sys/kernel/debug/extfrag), as fractions instead of
 * thousandths.
 */
#ifndef KMM_BENCH_FRAGMENTATION_H
#define KMM_BENCH_FRAGMENTATION_H

#include "phys/page_alloc.h"

/* The share of free memory that an allocation of this order cannot use: 0 all of it is in blocks
 * large enough, 1 none is (also when nothing is free). */
double unusable_free_index(const struct free_area_counts *free, unsigned int order);

/* Why an allocation of this order would fail: near 0 for lack of memory, near 1 for fragmentation;
 * -1 it would not fail; 0 nothing is free at all. */
double fragmentation_index(const struct free_area_counts *free, unsigned int order);

/* The share of free memory, per-CPU lists included, that is in free, aligned blocks of 2 MiB of the
 * buddy's; NAN when nothing is free. */
double huge_free_ratio(const struct free_area_counts *free);

/* The share of what was handed out that nobody had asked for; NAN when nothing is allocated. */
double internal_fragmentation(u64 requested_bytes, u64 allocated_bytes);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * See fragmentation.h. With F free pages in B free blocks, which can supply S blocks of order j:
 *
 *	unusable_free_index(j)	(F - S * 2^j) / F
 *	fragmentation_index(j)	0 if B = 0; -1 if S > 0; else 1 - (1 + F / 2^j) / B
 *
 * Free means in the buddy's lists, as in the kernel: what per-CPU lists hold is not counted. Only
 * huge_free_ratio counts it as free, and as no part of any 2 MiB.
 */
#include "bench/results/fragmentation.h"

#include <math.h>

/* Blocks of `order` that the free lists can supply, larger ones cut up. */
static u64 suitable_blocks(const struct free_area_counts *free, unsigned int order)
{
	u64 blocks = 0;

	for (unsigned int o = order; o < NR_PAGE_ORDERS; o++)
		blocks += free->nr_blocks[o] << (o - order);
	return blocks;
}

double unusable_free_index(const struct free_area_counts *free, unsigned int order)
{
	if (!free->nr_buddy_pages)
		return 1;
	return (double)(free->nr_buddy_pages - (suitable_blocks(free, order) << order)) /
	       (double)free->nr_buddy_pages;
}

double fragmentation_index(const struct free_area_counts *free, unsigned int order)
{
	u64 blocks = 0;

	for (unsigned int o = 0; o < NR_PAGE_ORDERS; o++)
		blocks += free->nr_blocks[o];
	if (!blocks)
		return 0;
	if (suitable_blocks(free, order))
		return -1;
	return 1 - (1 + (double)free->nr_buddy_pages / (double)(1UL << order)) / (double)blocks;
}

double huge_free_ratio(const struct free_area_counts *free)
{
	u64 nr_free = free->nr_buddy_pages + free->nr_pcp_pages;

	if (!nr_free)
		return NAN;
	return (double)(suitable_blocks(free, HPAGE_ORDER) << HPAGE_ORDER) / (double)nr_free;
}

double internal_fragmentation(u64 requested_bytes, u64 allocated_bytes)
{
	return allocated_bytes ? 1 - (double)requested_bytes / (double)allocated_bytes : NAN;
}

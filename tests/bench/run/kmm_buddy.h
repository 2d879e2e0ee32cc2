/* SPDX-License-Identifier: MIT */
/*
 * What phys/buddy.h says of how a block is chosen, written down once more and slowly: from a flag a
 * page and, for each pageblock, when it came to the list it is on. Without memory that the host has
 * back, and fresh pageblocks.
 *
 *	of the type's pageblocks in use	the fullest (in steps of 32 pages) that has such a block; of
 *					equally full ones that whose largest block is smallest, then
 *					that which came to its list last
 *	else				a whole one, a single one before a pair's; then of another type
 *	else				of another type the largest block, in the emptiest pageblock
 *	in the pageblock		the smallest block that serves, the highest such; its low end
 */
#ifndef TESTS_BENCH_RUN_KMM_BUDDY_H
#define TESTS_BENCH_RUN_KMM_BUDDY_H

#include "phys/gfp.h"
#include "phys/page_alloc.h"
#include "phys/pageblock.h"

struct slow_pageblock {
	enum migratetype type;
	u32 nr_free;
	int order; /* of its largest free block; -1: none; of the upper one of a pair: -1, too */
	u32 fill;  /* nr_free / 32 */
	u64 listed_at; /* when it came to the list of its type, order and fill */
};

struct kmm_buddy {
	u32 nr_pages, nr_blocks;
	bool *is_free; /* of each page */
	struct slow_pageblock *blocks;
	u64 now;
};

/* Pages [0, nr_pages), none free, and types: of pageblocks of 2^type_order pages. */
void kmm_buddy_init(struct kmm_buddy *buddy, u32 nr_pages, const u8 *types,
		    unsigned int type_order);
void kmm_buddy_destroy(struct kmm_buddy *buddy);
/* The first page of a block, or ~0U. */
u32 kmm_buddy_take(struct kmm_buddy *buddy, unsigned int order, enum migratetype type);
void kmm_buddy_give(struct kmm_buddy *buddy, u32 pfn, unsigned int order);

#endif

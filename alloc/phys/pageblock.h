/* SPDX-License-Identifier: MIT */
/*
 * One pageblock, 2 MiB of frames: which are free, as a bit a frame in one cache line, and what
 * follows from that. Transitions of a plain value: no locks, no lists, no struct page.
 *
 *	frame  0   1   2   3   4   5   6   7  ..
 *	bit    0   0   0   1   1   1   1   1  ..
 *	     |   A   | B | f |       f       |        A, B allocated; nr[0] = 1, nr[2] = 1 ...
 *
 * Its free blocks, as a buddy allocator would have them, are the largest aligned runs of set bits:
 * buddies merge by being next to each other, and only the number of blocks of each order is kept.
 *
 * Invariant: nr_free == bits set == sum of nr[o] << o; nr[o] counts the maximal free blocks of
 * order o; bit o of `orders` is set exactly if nr[o] != 0.
 */
#ifndef KMM_PHYS_PAGEBLOCK_H
#define KMM_PHYS_PAGEBLOCK_H

#include "base/bits.h"
#include "base/compiler.h"
#include "base/list.h"
#include "base/types.h"

#define PAGEBLOCK_ORDER	   HPAGE_ORDER
#define PAGEBLOCK_NR_PAGES (1UL << PAGEBLOCK_ORDER)
#define PAGEBLOCK_WORDS	   (PAGEBLOCK_NR_PAGES / 64)

struct pageblock {
	u64 free[PAGEBLOCK_WORDS] CACHELINE_ALIGNED; /* bit i: frame i of the pageblock is free */

	u16 nr[PAGEBLOCK_ORDER +
	       1];   /* maximal free blocks by order; nr[9]: it is free as a whole */
	u16 orders;  /* bit o: nr[o] != 0 */
	u16 nr_free; /* frames */

	/* The buddy's (phys/buddy.h): */
	u8 migratetype; /* what it is for */
	u8 order, fill; /* the list it is on, or PAGEBLOCK_UNLISTED */
	struct list_head list;
};

_Static_assert(sizeof(struct pageblock) == 2 * CACHELINE_SIZE, "a line of bits, a line of counts");

#define PAGEBLOCK_UNLISTED 0xff

/* Order of the largest free block; undefined when nothing is free. */
static inline unsigned int pageblock_largest(const struct pageblock *block)
{
	return __fls(block->orders);
}

static inline bool pageblock_is_whole(const struct pageblock *block)
{
	return block->nr_free == PAGEBLOCK_NR_PAGES;
}

/*
 * Take up to nr blocks of an order (at most PAGEBLOCK_ORDER), out of the smallest free blocks that
 * serve. Their first frames, counted from the pageblock's, go to frames[]. Returns how many;
 * *nr_split grows by the blocks cut in two.
 */
unsigned int pageblock_take(struct pageblock *block, unsigned int order, unsigned int nr,
			    u16 *frames, u64 *nr_split);

/* Give a block back: `frame` is its first, a multiple of 2^order. Returns how often it merged;
 * stops the program if any of its frames is free already. */
unsigned int pageblock_give(struct pageblock *block, unsigned int frame, unsigned int order);

/* Whether all frames of an aligned block are free. */
bool pageblock_is_free(const struct pageblock *block, unsigned int frame, unsigned int order);

/* The maximal free blocks by order, counted frame by frame. Slow; for checks. */
void pageblock_recount(const struct pageblock *block, u16 nr[PAGEBLOCK_ORDER + 1]);

#endif

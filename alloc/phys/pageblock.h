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
 *
 * What the host has back of it is a bit a group of 16 frames, 64 KiB (phys/release.c).
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
	bool blank;	/* buddy_take_run(): it was taken whole, and had no memory */
	struct list_head list;
	u32 released; /* groups that are free, and without memory: they read as zeros */
	u32 recent;   /* groups into which something was freed since ageing last came by */
	u64 whole;    /* of each 64th: bit i: the i-th pageblock from here on is free as a whole */
};

_Static_assert(sizeof(struct pageblock) == 2 * CACHELINE_SIZE, "a line of bits, a line of counts");

#define PAGEBLOCK_UNLISTED 0xff

#define GROUP_ORDER	 4 /* frames are given back to the host by so many */
#define GROUP_NR_PAGES	 (1U << GROUP_ORDER)
#define PAGEBLOCK_GROUPS (PAGEBLOCK_NR_PAGES >> GROUP_ORDER)
#define ALL_GROUPS	 0xffffffffU

_Static_assert(PAGEBLOCK_GROUPS == 32, "a bit a group in a word");

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

/* The groups that a block lies in. */
static inline u32 pageblock_groups(unsigned int frame, unsigned int order)
{
	const u64 mask = order <= GROUP_ORDER ? 1 : (1ULL << (1U << (order - GROUP_ORDER))) - 1;

	return (u32)(mask << (frame >> GROUP_ORDER));
}

/* The groups all of whose frames are free. */
u32 pageblock_free_groups(const struct pageblock *block);

/* Make frames (a bit each) free, none of which is, or the other way round, whatever blocks that
 * breaks or makes. */
void pageblock_set_free(struct pageblock *block, const u64 frames[PAGEBLOCK_WORDS], bool free);

/* The first of nr (1 to 512) free frames in a row, which need not be a block: the lowest;
 * PAGEBLOCK_NR_PAGES if there are none. */
unsigned int pageblock_find_run(const struct pageblock *block, unsigned int nr);

/* Take these, all of which are free. */
void pageblock_take_run(struct pageblock *block, unsigned int frame, unsigned int nr);

/* Whether all frames of an aligned block are free. */
bool pageblock_is_free(const struct pageblock *block, unsigned int frame, unsigned int order);

/* The maximal free blocks by order, counted frame by frame. Slow; for checks. */
void pageblock_recount(const struct pageblock *block, u16 nr[PAGEBLOCK_ORDER + 1]);

#endif

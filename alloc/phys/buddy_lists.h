/* SPDX-License-Identifier: MIT */
/*
 * The lists of a buddy allocator's pageblocks, for the files that move pageblocks between them:
 * buddy.c (blocks), buddy_part.c and buddy_run.c (runs), buddy_release.c (memory that the host has
 * back). See buddy.h for which list a pageblock belongs on. The caller holds the zone's lock.
 */
#ifndef KMM_PHYS_BUDDY_LISTS_H
#define KMM_PHYS_BUDDY_LISTS_H

#include "phys/buddy.h"

static inline struct page *first_page(const struct buddy *buddy, const struct pageblock *block)
{
	return buddy->mem_map +
	       ((buddy->first_block + (unsigned long)(block - buddy->blocks)) << PAGEBLOCK_ORDER);
}

/* The other half of the 4 MiB; NULL where the range ends before it. */
static inline struct pageblock *buddy_of(const struct buddy *buddy, const struct pageblock *block)
{
	unsigned long number = buddy->first_block + (unsigned long)(block - buddy->blocks);
	unsigned long other = (number ^ 1) - buddy->first_block;

	return other < buddy->nr_blocks ? buddy->blocks + other : NULL;
}

/* Of pageblocks that are free as a whole those with all of their memory are taken first, and those
 * without any last: so what is needed only now and then is always the same. */
static inline enum whole_fill whole_fill(const struct pageblock *block)
{
	if (!block->released)
		return WHOLE_HELD;
	return block->released == ALL_GROUPS ? WHOLE_RELEASED : WHOLE_PART;
}

/* Of a pair the better half, which is taken first. */
static inline enum whole_fill pair_fill(const struct pageblock *lower)
{
	return min_t(enum whole_fill, whole_fill(lower), whole_fill(lower + 1));
}

/* Which list of its order is for a pageblock that is free in part. */
static inline unsigned int part_fill(const struct pageblock *block)
{
	return (block->nr_free >> FILL_SHIFT) + (block->released ? FILL_RELEASED : 0U);
}

/* In the map that runs are looked for in: a pageblock is free as a whole now, or no more. */
static inline void note_whole(struct buddy *buddy, const struct pageblock *block, bool whole)
{
	const unsigned long i = (unsigned long)(block - buddy->blocks);
	u64 *word = &buddy->blocks[ALIGN_DOWN(i, 64UL)].whole, bit = 1UL << i % 64;

	*word = whole ? *word | bit : *word & ~bit;
}

static inline void unlist(struct buddy *buddy, struct pageblock *block)
{
	struct free_area *area = &buddy->area[block->migratetype];

	list_del(&block->list);
	if (list_empty(&area->list[block->order][block->fill]))
		area->nonempty[block->order] &= ~(1U << block->fill);
	block->order = PAGEBLOCK_UNLISTED;
}

static inline void enlist(struct buddy *buddy, struct pageblock *block, unsigned int order,
			  unsigned int fill)
{
	struct free_area *area = &buddy->area[block->migratetype];

	block->order = (u8)order;
	block->fill = (u8)fill;
	list_add(&block->list, &area->list[order][fill]);
	area->nonempty[order] |= 1U << fill;
}

/* List a pageblock that has become free as a whole: with its buddy, if that is free too. */
static inline void list_whole(struct buddy *buddy, struct pageblock *block)
{
	struct pageblock *other = buddy_of(buddy, block);

	note_whole(buddy, block, true);
	if (!other || !pageblock_is_whole(other)) {
		enlist(buddy, block, PAGEBLOCK_ORDER, whole_fill(block));
		return;
	}
	unlist(buddy, other);
	block = block < other ? block : other;
	enlist(buddy, block, MAX_PAGE_ORDER, pair_fill(block));
	buddy->nr_merge++;
}

/* Take a pageblock that is free as a whole off its list; a buddy listed with it stays. */
static inline void unlist_whole(struct buddy *buddy, struct pageblock *block)
{
	/* Its lower buddy may be listed for both. */
	struct pageblock *listed = block->order == PAGEBLOCK_UNLISTED ? block - 1 : block;
	bool pair = listed->order == MAX_PAGE_ORDER;

	note_whole(buddy, block, false);
	unlist(buddy, listed);
	if (pair) {
		struct pageblock *rest = block == listed ? listed + 1 : listed;

		enlist(buddy, rest, PAGEBLOCK_ORDER, whole_fill(rest));
		buddy->nr_split++;
	}
}

/* Move a pageblock to the list that it belongs on now. */
static inline void relist(struct buddy *buddy, struct pageblock *block)
{
	unsigned int order, fill;

	if (unlikely(!block->nr_free)) {
		if (block->order != PAGEBLOCK_UNLISTED)
			unlist(buddy, block);
		return;
	}
	if (unlikely(pageblock_is_whole(block))) {
		if (block->order != PAGEBLOCK_UNLISTED)
			unlist(buddy, block);
		list_whole(buddy, block);
		return;
	}
	order = pageblock_largest(block);
	fill = part_fill(block);
	if (block->order == order && block->fill == fill)
		return;
	if (block->order != PAGEBLOCK_UNLISTED)
		unlist(buddy, block);
	enlist(buddy, block, order, fill);
}

/* List the first pair of fresh pageblocks; false if there is none. */
bool list_fresh(struct buddy *buddy);

/* Frames were taken out of a pageblock some of which had no memory: it will have. */
void forget_released_slow(struct buddy *buddy, struct pageblock *block);

static inline void forget_released(struct buddy *buddy, struct pageblock *block)
{
	if (unlikely(block->released))
		forget_released_slow(buddy, block);
}

#endif

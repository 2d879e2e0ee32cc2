/* SPDX-License-Identifier: MIT */
/* Runs of frames longer than a block; see buddy.h. The caller holds the zone's lock. */
#include "base/bits.h"
#include "phys/buddy_lists.h"

/* The first of nr pageblocks in a row that are free as a whole; NULL if there are none. */
static struct pageblock *find_run(const struct buddy *buddy, unsigned long nr)
{
	unsigned long run = 0;

	for (unsigned long i = 0; i < buddy->nr_blocks; i++) {
		if (buddy_is_fresh(buddy, i)) {
			run += buddy->fresh_end - i;
			i = buddy->fresh_end - 1;
		} else {
			run = pageblock_is_whole(&buddy->blocks[i]) ? run + 1 : 0;
		}
		if (run >= nr)
			return &buddy->blocks[i + 1 - run];
	}
	return NULL;
}

/* Take the first nr frames of a pageblock that is free as a whole. */
static void take_first(struct buddy *buddy, struct pageblock *block, unsigned int nr,
		       enum migratetype type)
{
	u16 frame;

	unlist_whole(buddy, block);
	pageblock_take(block, PAGEBLOCK_ORDER, 1, &frame, &buddy->nr_split);
	block->migratetype = (u8)type;
	for (unsigned int rest = nr; rest < PAGEBLOCK_NR_PAGES; rest += 1U << __ffs(rest)) {
		pageblock_give(block, rest, __ffs(rest));
		buddy->nr_split++;
	}
	block->blank = nr == PAGEBLOCK_NR_PAGES && block->released == ALL_GROUPS;
	forget_released(buddy, block);
	relist(buddy, block);
}

struct page *buddy_take_run(struct buddy *buddy, unsigned long nr_pages, enum migratetype type)
{
	const unsigned long nr = (nr_pages + PAGEBLOCK_NR_PAGES - 1) >> PAGEBLOCK_ORDER;
	struct pageblock *first = nr_pages <= buddy->nr_pages ? find_run(buddy, nr) : NULL;

	if (!first)
		return NULL;
	while (buddy_is_fresh(buddy, (unsigned long)(first - buddy->blocks) + nr - 1))
		list_fresh(buddy);
	for (unsigned long i = 0, left = nr_pages; i < nr; i++, left -= PAGEBLOCK_NR_PAGES)
		take_first(buddy, first + i, min_t(unsigned long, left, PAGEBLOCK_NR_PAGES), type);
	WRITE_ONCE(buddy->nr_pages, buddy->nr_pages - nr_pages);
	return first_page(buddy, first);
}

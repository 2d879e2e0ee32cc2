/* SPDX-License-Identifier: MIT */
/*
 * Runs of frames that are no power of two and shorter than a pageblock; see buddy.h. Cut out of
 * blocks, each would leave what its block has more, and memory would fill with holes of these lengths:
 * runs of nine and ten frames left a fifth of a heap in holes of six and seven. So they are looked
 * for in the pageblocks' bits, where one may begin right behind another. The caller holds the zone's
 * lock.
 */
#include "base/bits.h"
#include "phys/buddy_lists.h"

#define LOOKS 8 /* at pageblocks that may have no such run */

/* Lists of fills whose pageblocks have too few free frames. */
static u32 too_full(unsigned int nr)
{
	const u32 fills = (1U << (nr >> FILL_SHIFT)) - 1;

	return fills | fills << FILL_RELEASED;
}

/* The fullest pageblocks first, as an allocation of a block would; *frame: where in it. */
static struct pageblock *find_part(struct free_area *area, unsigned int nr, unsigned int *frame)
{
	/* 2^(k + 1) - 1 frames in a row have an aligned block of order k among them; and a block that
	 * is large enough has them. */
	const unsigned int least = __fls(nr + 1) - 1, sure = get_order((size_t)nr << PAGE_SHIFT);
	unsigned int looks = 0;
	u32 fills = 0;

	for (unsigned int order = least; order < PAGEBLOCK_ORDER; order++)
		fills |= area->nonempty[order];
	for (fills &= ~too_full(nr); fills; fills &= fills - 1)
		for (unsigned int order = least; order < PAGEBLOCK_ORDER; order++) {
			struct pageblock *block;

			list_for_each_entry(block, &area->list[order][__ffs(fills)], list) {
				if (order < sure && looks++ >= LOOKS)
					break;
				*frame = pageblock_find_run(block, nr);
				if (*frame < PAGEBLOCK_NR_PAGES)
					return block;
			}
		}
	return NULL;
}

struct page *buddy_take_part(struct buddy *buddy, unsigned int nr_pages, enum migratetype type)
{
	struct pageblock *block;
	unsigned int frame;

	block = find_part(&buddy->area[type], nr_pages, &frame);
	if (!block)
		return NULL;
	pageblock_take_run(block, frame, nr_pages);
	buddy->nr_split++;
	forget_released(buddy, block);
	relist(buddy, block);
	WRITE_ONCE(buddy->nr_pages, buddy->nr_pages - nr_pages);
	return first_page(buddy, block) + frame;
}

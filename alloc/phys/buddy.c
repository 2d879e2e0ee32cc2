/* SPDX-License-Identifier: MIT */
/* The buddy allocator: lists of pageblocks, and what they serve; see buddy.h for what it keeps
 * true. No locks: the caller holds the zone's. */
#include "base/bits.h"
#include "base/check.h"
#include "base/compiler.h"
#include "phys/buddy_lists.h"

/* Where else to look for a block, in this order (6.1: fallbacks[]). */
static const enum migratetype fallbacks[NR_MIGRATETYPES][NR_MIGRATETYPES - 1] = {
	[MIGRATE_UNMOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
	[MIGRATE_MOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
	[MIGRATE_RECLAIMABLE] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE},
};

void buddy_init(struct buddy *buddy, struct page *mem_map, struct pageblock *blocks,
		unsigned long start_pfn, unsigned long end_pfn, unsigned long fresh_start,
		unsigned long fresh_end)
{
	const unsigned long first_block = start_pfn >> PAGEBLOCK_ORDER;
	const unsigned long nr_fresh = fresh_end - fresh_start;

	*buddy = (struct buddy){
		.mem_map = mem_map,
		.area = buddy->area,
		.blocks = blocks,
		.start_pfn = start_pfn,
		.end_pfn = end_pfn,
		.first_block = first_block,
		.nr_blocks = nr_pageblocks(start_pfn, end_pfn),
		.nr_pages = nr_fresh,
		.nr_released = nr_fresh,
	};
	if (nr_fresh) {
		buddy->fresh = (fresh_start >> PAGEBLOCK_ORDER) - first_block;
		buddy->fresh_end = (fresh_end >> PAGEBLOCK_ORDER) - first_block;
	}
	for (enum migratetype type = 0; type < NR_MIGRATETYPES; type++)
		for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
			buddy->area[type].nonempty[order] = 0;
			for (unsigned int fill = 0; fill < NR_FILLS; fill++)
				INIT_LIST_HEAD(&buddy->area[type].list[order][fill]);
		}
	for (unsigned long i = 0; i < buddy->nr_blocks; i++) {
		if (buddy_is_fresh(buddy, i)) {
			i = buddy->fresh_end - 1;
			continue;
		}
		blocks[i].migratetype = MIGRATE_MOVABLE;
		blocks[i].order = PAGEBLOCK_UNLISTED;
	}
}

bool list_fresh(struct buddy *buddy)
{
	static const u64 all[PAGEBLOCK_WORDS] = {~0ULL, ~0ULL, ~0ULL, ~0ULL,
						 ~0ULL, ~0ULL, ~0ULL, ~0ULL};
	struct pageblock *block = &buddy->blocks[buddy->fresh];

	if (buddy->fresh == buddy->fresh_end)
		return false;
	for (int i = 0; i < 2; i++) {
		pageblock_set_free(&block[i], all, true);
		block[i].released = ALL_GROUPS;
		block[i].migratetype = MIGRATE_MOVABLE;
		block[i].order = PAGEBLOCK_UNLISTED;
		note_whole(buddy, &block[i], true);
	}
	buddy->fresh += 2;
	enlist(buddy, block, MAX_PAGE_ORDER, WHOLE_RELEASED);
	return true;
}

/*
 * Choice of a pageblock
 */

static struct pageblock *first_on(struct free_area *area, unsigned int order, unsigned int fill)
{
	return list_first_entry(&area->list[order][fill], struct pageblock, list);
}

/* The fullest pageblock of an area that has a block of the order and is in use, in part; of equally
 * full ones that with the smallest such block. NULL if there is none. */
static inline struct pageblock *area_fullest(struct free_area *area, unsigned int order)
{
	unsigned int fill, o = order;
	u32 fills = 0;

	for (; o < PAGEBLOCK_ORDER; o++)
		fills |= area->nonempty[o];
	if (!fills)
		return NULL;
	fill = __ffs(fills);
	o = order;
	while (!(area->nonempty[o] & 1U << fill))
		o++;
	return first_on(area, o, fill);
}

/* A pageblock of an area that is free as a whole, or a pair of them; the smaller first. */
static struct pageblock *area_whole(struct free_area *area, unsigned int order,
				    enum whole_fill fill)
{
	for (unsigned int o = max_t(unsigned int, order, PAGEBLOCK_ORDER); o <= MAX_PAGE_ORDER; o++)
		if (area->nonempty[o] & 1U << fill)
			return first_on(area, o, fill);
	return NULL;
}

/* The emptiest pageblock of an area with a free block of exactly this largest order, below a whole
 * one's. */
static struct pageblock *area_emptiest(struct free_area *area, unsigned int order)
{
	const u32 fills = area->nonempty[order];
	unsigned int fill;

	if (!fills)
		return NULL;
	fill = __fls((fills | fills >> FILL_RELEASED) & ((1U << FILL_RELEASED) - 1));
	return first_on(area, order, fills >> fill & 1 ? fill : fill + FILL_RELEASED);
}

static void claim(struct buddy *buddy, struct pageblock *block, enum migratetype type)
{
	unsigned int order = block->order, fill = block->fill;

	unlist(buddy, block);
	block->migratetype = (u8)type;
	enlist(buddy, block, order, fill);
	buddy->nr_steal_block++;
}

/*
 * No pageblock of the type serves: find one of another. As in the kernel the largest free block is
 * looked for, so that what follows can be served from the same pageblock; if at least half of that
 * is free it changes its type. (The kernel also counts frames in use that are of the wanted type;
 * here nobody knows them.) A movable allocation that cannot make a pageblock its own takes the
 * fullest instead: it will go away again, and a large block had better stay.
 */
static struct pageblock *steal_part(struct buddy *buddy, enum migratetype type, unsigned int order)
{
	const enum migratetype *others = fallbacks[type];

	for (unsigned int o = PAGEBLOCK_ORDER; o-- > order;)
		for (unsigned int i = 0; i < NR_MIGRATETYPES - 1; i++) {
			struct pageblock *block = area_emptiest(&buddy->area[others[i]], o);

			if (!block)
				continue;
			if (block->nr_free >= PAGEBLOCK_NR_PAGES / 2 &&
			    (o >= PAGEBLOCK_ORDER / 2 || type != MIGRATE_MOVABLE))
				claim(buddy, block, type);
			else if (type == MIGRATE_MOVABLE)
				block = area_fullest(&buddy->area[others[i]], order);
			return block;
		}
	return NULL;
}

/* The same of pageblocks that are free as a whole. */
static struct pageblock *steal_whole(struct buddy *buddy, enum migratetype type, unsigned int order,
				     enum whole_fill fill)
{
	const enum migratetype *others = fallbacks[type];

	for (unsigned int o = MAX_PAGE_ORDER; o >= PAGEBLOCK_ORDER && o >= order; o--)
		for (unsigned int i = 0; i < NR_MIGRATETYPES - 1; i++) {
			struct free_area *area = &buddy->area[others[i]];
			struct pageblock *block;

			if (!(area->nonempty[o] & 1U << fill))
				continue;
			block = first_on(area, o, fill);
			claim(buddy, block, type);
			return block;
		}
	return NULL;
}

/* No pageblock that is in use serves. One that has memory is worth more than one of the type. */
static struct pageblock *choose_slow(struct buddy *buddy, enum migratetype type, unsigned int order)
{
	for (enum whole_fill fill = WHOLE_HELD; fill <= WHOLE_RELEASED; fill++) {
		struct pageblock *block = area_whole(&buddy->area[type], order, fill);

		if (!block)
			block = steal_whole(buddy, type, order, fill);
		if (block)
			return block;
	}
	/* A fresh one is found at the second look. */
	return list_fresh(buddy) ? choose_slow(buddy, type, order) : steal_part(buddy, type, order);
}

static inline struct pageblock *choose(struct buddy *buddy, enum migratetype type,
				       unsigned int order)
{
	struct pageblock *block = area_fullest(&buddy->area[type], order);

	return block ? block : choose_slow(buddy, type, order);
}

/*
 * Take and give
 */

/* Up to nr blocks of order 10, each two pageblocks. */
static unsigned int take_pairs(struct buddy *buddy, enum migratetype type, unsigned int nr,
			       struct page **pages)
{
	unsigned int taken = 0;
	u16 frame;

	while (taken < nr) {
		struct pageblock *block = choose(buddy, type, MAX_PAGE_ORDER);

		if (!block)
			break;
		unlist(buddy, block);
		block[1].migratetype = block->migratetype;
		for (int i = 0; i < 2; i++) {
			note_whole(buddy, &block[i], false);
			pageblock_take(&block[i], PAGEBLOCK_ORDER, 1, &frame, &buddy->nr_split);
			forget_released(buddy, &block[i]);
		}
		pages[taken++] = first_page(buddy, block);
	}
	return taken;
}

/* Take a listed pageblock that is free as a whole, or its buddy, off the list: that which has more
 * memory. */
static struct pageblock *take_off_whole(struct buddy *buddy, struct pageblock *block)
{
	struct pageblock *upper = block + 1;

	if (block->order == MAX_PAGE_ORDER && whole_fill(block) > whole_fill(upper)) {
		upper->migratetype = block->migratetype;
		block = upper;
	}
	unlist_whole(buddy, block);
	return block;
}

static unsigned int take_from(struct buddy *buddy, struct pageblock *block, unsigned int order,
			      unsigned int nr, struct page **pages)
{
	struct page *base;
	u16 frames[PAGEBLOCK_NR_PAGES];
	unsigned int taken;

	if (pageblock_is_whole(block))
		block = take_off_whole(buddy, block);
	base = first_page(buddy, block);
	taken = pageblock_take(block, order, nr, frames, &buddy->nr_split);
	forget_released(buddy, block);
	relist(buddy, block);
	for (unsigned int i = 0; i < taken; i++)
		pages[i] = base + frames[i];
	return taken;
}

unsigned int buddy_take(struct buddy *buddy, unsigned int order, enum migratetype type,
			unsigned int nr, struct page **pages)
{
	unsigned int taken = 0;

	if (order > PAGEBLOCK_ORDER)
		taken = take_pairs(buddy, type, nr, pages);
	else
		while (taken < nr) {
			struct pageblock *block = choose(buddy, type, order);
			unsigned int got;

			if (!block)
				break;
			got = take_from(buddy, block, order, nr - taken, pages + taken);
			if (block->migratetype != type)
				buddy->nr_steal_page += got;
			taken += got;
		}
	WRITE_ONCE(buddy->nr_pages, buddy->nr_pages - ((unsigned long)taken << order));
	return taken;
}

static inline void give_to(struct buddy *buddy, struct pageblock *block, unsigned int frame,
			   unsigned int order)
{
	block->recent |= pageblock_groups(frame, order);
	buddy->nr_merge += pageblock_give(block, frame, order);
	relist(buddy, block);
}

void buddy_give(struct buddy *buddy, const struct page *page, unsigned int order)
{
	unsigned long pfn = (unsigned long)(page - buddy->mem_map);
	struct pageblock *block = pfn_to_pageblock(buddy, pfn);

	WRITE_ONCE(buddy->nr_pages, buddy->nr_pages + (1UL << order));
	if (likely(order <= PAGEBLOCK_ORDER)) {
		give_to(buddy, block, pfn % PAGEBLOCK_NR_PAGES, order);
		return;
	}
	give_to(buddy, block, 0, PAGEBLOCK_ORDER);
	give_to(buddy, block + 1, 0, PAGEBLOCK_ORDER);
	buddy->nr_merge--; /* the two had not been cut */
}

void buddy_give_range(struct buddy *buddy, unsigned long start_pfn, unsigned long end_pfn)
{
	while (start_pfn < end_pfn) {
		unsigned int order =
			min_t(unsigned int, PAGEBLOCK_ORDER, ilog2(end_pfn - start_pfn));

		if (start_pfn)
			order = min_t(unsigned int, order, __ffs(start_pfn));
		buddy_give(buddy, buddy->mem_map + start_pfn, order);
		start_pfn += 1UL << order;
	}
}

void buddy_add_range(struct buddy *buddy, unsigned long start_pfn, unsigned long end_pfn)
{
	KMM_BUG_ON(start_pfn < buddy->start_pfn || end_pfn > buddy->end_pfn,
		   "frames %lu-%lu are not in the zone's %lu-%lu", start_pfn, end_pfn,
		   buddy->start_pfn, buddy->end_pfn);
	buddy_give_range(buddy, start_pfn, end_pfn);
}

/*
 * Questions
 */

bool buddy_would_break(struct buddy *buddy, unsigned int order, enum migratetype type)
{
	return order < PAGEBLOCK_ORDER && !area_fullest(&buddy->area[type], order);
}

bool buddy_used_frames(const struct buddy *buddy, unsigned long pfn, u64 used[PAGEBLOCK_WORDS])
{
	const struct pageblock *block = pfn_to_pageblock(buddy, pfn);

	if (buddy_is_fresh(buddy, (unsigned long)(block - buddy->blocks)))
		return false;
	for (unsigned int i = 0; i < PAGEBLOCK_WORDS; i++)
		used[i] = ~block->free[i];
	return !pageblock_is_whole(block);
}

bool buddy_is_free(const struct buddy *buddy, unsigned long pfn, unsigned int order)
{
	const struct pageblock *block = pfn_to_pageblock(buddy, pfn);

	if (buddy_is_fresh(buddy, (unsigned long)(block - buddy->blocks)))
		return true;
	if (order <= PAGEBLOCK_ORDER)
		return pageblock_is_free(block, pfn % PAGEBLOCK_NR_PAGES, order);
	return pageblock_is_whole(block) && pageblock_is_whole(block + 1);
}

void buddy_count(const struct buddy *buddy, enum migratetype type,
		 unsigned long nr_blocks[NR_PAGE_ORDERS])
{
	for (unsigned long i = 0; i < buddy->nr_blocks; i++) {
		const struct pageblock *block = &buddy->blocks[i];

		if (buddy_is_fresh(buddy, i)) {
			i = buddy->fresh_end - 1;
			continue;
		}
		if (type != NR_MIGRATETYPES && block->migratetype != type)
			continue;
		if (pageblock_is_whole(block)) {
			/* Listed with its buddy: one block of order 10, counted with the lower. */
			if (block->order != PAGEBLOCK_UNLISTED)
				nr_blocks[block->order]++;
			continue;
		}
		for (unsigned int o = 0; o < PAGEBLOCK_ORDER; o++)
			nr_blocks[o] += block->nr[o];
	}
	if (type == NR_MIGRATETYPES || type == MIGRATE_MOVABLE)
		nr_blocks[MAX_PAGE_ORDER] += (buddy->fresh_end - buddy->fresh) / 2;
}

void buddy_count_pageblocks(const struct buddy *buddy, unsigned long nr[NR_MIGRATETYPES])
{
	for (unsigned long i = 0; i < buddy->nr_blocks; i++)
		if (!buddy_is_fresh(buddy, i))
			nr[buddy->blocks[i].migratetype]++;
	nr[MIGRATE_MOVABLE] += buddy->fresh_end - buddy->fresh;
}

/* SPDX-License-Identifier: MIT */
/* The buddy allocator: lists of pageblocks, and what they serve; see buddy.h for what it keeps true.
 * No locks: the caller holds the zone's. */
#include "phys/buddy.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/compiler.h"

/* Where else to look for a block, in this order (6.1: fallbacks[]). */
static const enum migratetype fallbacks[NR_MIGRATETYPES][NR_MIGRATETYPES - 1] = {
	[MIGRATE_UNMOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
	[MIGRATE_MOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
	[MIGRATE_RECLAIMABLE] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE},
};

void buddy_init(struct buddy *buddy, struct page *mem_map, struct pageblock *blocks,
		unsigned long start_pfn, unsigned long end_pfn)
{
	*buddy = (struct buddy){
		.mem_map = mem_map,
		.blocks = blocks,
		.start_pfn = start_pfn,
		.end_pfn = end_pfn,
		.first_block = start_pfn >> PAGEBLOCK_ORDER,
		.nr_blocks = nr_pageblocks(start_pfn, end_pfn),
	};
	for (enum migratetype type = 0; type < NR_MIGRATETYPES; type++)
		for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++)
			for (unsigned int fill = 0; fill < NR_FILLS; fill++)
				INIT_LIST_HEAD(&buddy->area[type].list[order][fill]);
	for (unsigned long i = 0; i < buddy->nr_blocks; i++) {
		blocks[i].migratetype = MIGRATE_MOVABLE;
		blocks[i].order = PAGEBLOCK_UNLISTED;
	}
}

static inline struct page *first_page(const struct buddy *buddy, const struct pageblock *block)
{
	return buddy->mem_map +
	       ((buddy->first_block + (unsigned long)(block - buddy->blocks)) << PAGEBLOCK_ORDER);
}

/* The other half of the 4 MiB; NULL where the range ends before it. */
static struct pageblock *buddy_of(const struct buddy *buddy, const struct pageblock *block)
{
	unsigned long number = buddy->first_block + (unsigned long)(block - buddy->blocks);
	unsigned long other = (number ^ 1) - buddy->first_block;

	return other < buddy->nr_blocks ? buddy->blocks + other : NULL;
}

/*
 * Lists
 */

static void unlist(struct buddy *buddy, struct pageblock *block)
{
	struct free_area *area = &buddy->area[block->migratetype];

	list_del(&block->list);
	if (list_empty(&area->list[block->order][block->fill]))
		area->nonempty[block->order] &= (u16) ~(1U << block->fill);
	block->order = PAGEBLOCK_UNLISTED;
}

static void enlist(struct buddy *buddy, struct pageblock *block, unsigned int order,
		   unsigned int fill)
{
	struct free_area *area = &buddy->area[block->migratetype];

	block->order = (u8)order;
	block->fill = (u8)fill;
	list_add(&block->list, &area->list[order][fill]);
	area->nonempty[order] |= (u16)(1U << fill);
}

/* List a pageblock that has become free as a whole: with its buddy, if that is free too. */
static void list_whole(struct buddy *buddy, struct pageblock *block)
{
	struct pageblock *other = buddy_of(buddy, block);

	if (!other || !pageblock_is_whole(other)) {
		enlist(buddy, block, PAGEBLOCK_ORDER, 0);
		return;
	}
	unlist(buddy, other);
	enlist(buddy, block < other ? block : other, MAX_PAGE_ORDER, 0);
	buddy->nr_merge++;
}

/* Take a pageblock that is free as a whole off its list; a buddy listed with it stays. listed: itself,
 * or the lower of the two. */
static void unlist_whole(struct buddy *buddy, struct pageblock *listed, struct pageblock *block)
{
	bool pair = listed->order == MAX_PAGE_ORDER;

	unlist(buddy, listed);
	if (pair) {
		enlist(buddy, block == listed ? listed + 1 : listed, PAGEBLOCK_ORDER, 0);
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
	fill = block->nr_free >> FILL_SHIFT;
	if (block->order == order && block->fill == fill)
		return;
	if (block->order != PAGEBLOCK_UNLISTED)
		unlist(buddy, block);
	enlist(buddy, block, order, fill);
}

/*
 * Choice of a pageblock
 */

static struct pageblock *first_on(struct free_area *area, unsigned int order, unsigned int fill)
{
	return list_first_entry(&area->list[order][fill], struct pageblock, list);
}

/* The fullest pageblock of an area that has a block of the order; of equally full ones that with
 * the smallest such block. NULL if there is none. */
static struct pageblock *area_fullest(struct free_area *area, unsigned int order)
{
	u32 fills = 0;

	for (unsigned int o = order; o < PAGEBLOCK_ORDER; o++)
		fills |= area->nonempty[o];
	if (fills) {
		unsigned int fill = __ffs(fills), o = order;

		while (!(area->nonempty[o] & 1U << fill))
			o++;
		return first_on(area, o, fill);
	}
	for (unsigned int o = max_t(unsigned int, order, PAGEBLOCK_ORDER); o <= MAX_PAGE_ORDER; o++)
		if (area->nonempty[o])
			return first_on(area, o, 0);
	return NULL;
}

/* The emptiest pageblock of an area with a free block of exactly this largest order. */
static struct pageblock *area_emptiest(struct free_area *area, unsigned int order)
{
	return area->nonempty[order] ? first_on(area, order, __fls(area->nonempty[order])) : NULL;
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
static struct pageblock *steal(struct buddy *buddy, enum migratetype type, unsigned int order)
{
	const enum migratetype *others = fallbacks[type];

	for (unsigned int o = NR_PAGE_ORDERS; o-- > order;)
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
		struct pageblock *block = area_fullest(&buddy->area[type], MAX_PAGE_ORDER);

		if (!block)
			block = steal(buddy, type, MAX_PAGE_ORDER);
		if (!block)
			break;
		unlist(buddy, block);
		block[1].migratetype = block->migratetype;
		for (int i = 0; i < 2; i++)
			pageblock_take(&block[i], PAGEBLOCK_ORDER, 1, &frame, &buddy->nr_split);
		pages[taken++] = first_page(buddy, block);
	}
	return taken;
}

static unsigned int take_from(struct buddy *buddy, struct pageblock *block, unsigned int order,
			      unsigned int nr, struct page **pages)
{
	struct page *base = first_page(buddy, block);
	u16 frames[PAGEBLOCK_NR_PAGES];
	unsigned int taken;

	if (pageblock_is_whole(block))
		unlist_whole(buddy, block, block);
	taken = pageblock_take(block, order, nr, frames, &buddy->nr_split);
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
			struct pageblock *block = area_fullest(&buddy->area[type], order);
			unsigned int got;

			if (!block)
				block = steal(buddy, type, order);
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
 * Runs
 */

/* The first of nr pageblocks in a row that are free as a whole; NULL if there are none. */
static struct pageblock *find_run(const struct buddy *buddy, unsigned long nr)
{
	unsigned long run = 0;

	for (unsigned long i = 0; i < buddy->nr_blocks; i++) {
		run = pageblock_is_whole(&buddy->blocks[i]) ? run + 1 : 0;
		if (run == nr)
			return &buddy->blocks[i + 1 - nr];
	}
	return NULL;
}

/* Take the first nr frames of a pageblock that is free as a whole. */
static void take_first(struct buddy *buddy, struct pageblock *block, unsigned int nr,
		       enum migratetype type)
{
	u16 frame;

	if (block->order == PAGEBLOCK_UNLISTED) /* its lower buddy is listed for both */
		unlist_whole(buddy, block - 1, block);
	else
		unlist_whole(buddy, block, block);
	pageblock_take(block, PAGEBLOCK_ORDER, 1, &frame, &buddy->nr_split);
	block->migratetype = (u8)type;
	for (unsigned int rest = nr; rest < PAGEBLOCK_NR_PAGES; rest += 1U << __ffs(rest)) {
		pageblock_give(block, rest, __ffs(rest));
		buddy->nr_split++;
	}
	relist(buddy, block);
}

struct page *buddy_take_run(struct buddy *buddy, unsigned long nr_pages, enum migratetype type)
{
	const unsigned long nr = (nr_pages + PAGEBLOCK_NR_PAGES - 1) >> PAGEBLOCK_ORDER;
	struct pageblock *first = nr_pages <= buddy->nr_pages ? find_run(buddy, nr) : NULL;

	if (!first)
		return NULL;
	for (unsigned long i = 0, left = nr_pages; i < nr; i++, left -= PAGEBLOCK_NR_PAGES)
		take_first(buddy, first + i, min_t(unsigned long, left, PAGEBLOCK_NR_PAGES), type);
	WRITE_ONCE(buddy->nr_pages, buddy->nr_pages - nr_pages);
	return first_page(buddy, first);
}

/*
 * Questions
 */

bool buddy_used_frames(const struct buddy *buddy, unsigned long pfn, u64 used[PAGEBLOCK_WORDS])
{
	const struct pageblock *block = pfn_to_pageblock(buddy, pfn);

	for (unsigned int i = 0; i < PAGEBLOCK_WORDS; i++)
		used[i] = ~block->free[i];
	return !pageblock_is_whole(block);
}

bool buddy_is_free(const struct buddy *buddy, unsigned long pfn, unsigned int order)
{
	const struct pageblock *block = pfn_to_pageblock(buddy, pfn);

	if (order <= PAGEBLOCK_ORDER)
		return pageblock_is_free(block, pfn % PAGEBLOCK_NR_PAGES, order);
	return pageblock_is_whole(block) && pageblock_is_whole(block + 1);
}

void buddy_count(const struct buddy *buddy, enum migratetype type,
		 unsigned long nr_blocks[NR_PAGE_ORDERS])
{
	for (unsigned long i = 0; i < buddy->nr_blocks; i++) {
		const struct pageblock *block = &buddy->blocks[i];

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
}

void buddy_count_pageblocks(const struct buddy *buddy, unsigned long nr[NR_MIGRATETYPES])
{
	for (unsigned long i = 0; i < buddy->nr_blocks; i++)
		nr[buddy->blocks[i].migratetype]++;
}

/* SPDX-License-Identifier: MIT */
/* See kmm_buddy.h. */
#include "tests/bench/run/kmm_buddy.h"

#include <stdlib.h>
#include <string.h>

#define NONE (~0U)

static const enum migratetype others[NR_MIGRATETYPES][NR_MIGRATETYPES - 1] = {
	[MIGRATE_UNMOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
	[MIGRATE_MOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
	[MIGRATE_RECLAIMABLE] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE},
};

void kmm_buddy_init(struct kmm_buddy *b, u32 nr_pages, const u8 *types, unsigned int type_order)
{
	*b = (struct kmm_buddy){.nr_pages = nr_pages,
				.nr_blocks = (u32)((nr_pages - 1) >> PAGEBLOCK_ORDER) + 1};
	b->is_free = calloc((u64)b->nr_blocks << PAGEBLOCK_ORDER, sizeof(*b->is_free));
	b->blocks = calloc(b->nr_blocks, sizeof(*b->blocks));
	if (!b->is_free || !b->blocks)
		abort();
	for (u32 i = 0; i < b->nr_blocks; i++) {
		b->blocks[i].type = (enum migratetype)types[(i << PAGEBLOCK_ORDER) >> type_order];
		b->blocks[i].order = -1;
	}
}

void kmm_buddy_destroy(struct kmm_buddy *b)
{
	free(b->is_free);
	free(b->blocks);
}

static bool all_free(const struct kmm_buddy *b, u32 pfn, unsigned int order)
{
	return memchr(b->is_free + pfn, false, 1U << order) == NULL;
}

/* The order of the largest block that begins at a free page. */
static unsigned int order_at(const struct kmm_buddy *b, u32 pfn)
{
	unsigned int order = 0;

	while (order < PAGEBLOCK_ORDER && !(pfn & 1U << order) &&
	       all_free(b, pfn + (1U << order), order))
		order++;
	return order;
}

/* Of a pageblock's free blocks the last one of the smallest order that serves goes to *at, if there is
 * one; returned is the largest order, or -1. */
static int look(const struct kmm_buddy *b, u32 block, unsigned int wanted, u32 *at)
{
	const u32 start = block << PAGEBLOCK_ORDER, end = start + PAGEBLOCK_NR_PAGES;
	unsigned int best = PAGEBLOCK_ORDER + 1;
	int largest = -1;

	for (u32 pfn = start; pfn < end;) {
		unsigned int order;

		if (!b->is_free[pfn]) {
			pfn++;
			continue;
		}
		order = order_at(b, pfn);
		largest = max_t(int, largest, (int)order);
		if (order >= wanted && order <= best) {
			best = order;
			*at = pfn;
		}
		pfn += 1U << order;
	}
	return largest;
}

static bool is_whole(const struct kmm_buddy *b, u32 block)
{
	return block < b->nr_blocks && b->blocks[block].nr_free == PAGEBLOCK_NR_PAGES;
}

static void set_list(struct kmm_buddy *b, u32 number, int order)
{
	struct slow_pageblock *block = &b->blocks[number];
	const u32 fill = order >= (int)PAGEBLOCK_ORDER ? 0 : block->nr_free / 32;

	if (block->order == order && block->fill == fill)
		return;
	block->order = order;
	block->fill = fill;
	block->listed_at = ++b->now;
}

/* A pageblock has changed, and its buddy may be listed with it now, or no more. */
static void relist(struct kmm_buddy *b, u32 number)
{
	u32 other = number ^ 1, at;

	if (is_whole(b, number) && is_whole(b, other)) {
		set_list(b, number | 1, -1);
		set_list(b, number & ~1U, MAX_PAGE_ORDER);
		return;
	}
	set_list(b, number, look(b, number, 0, &at));
	if (is_whole(b, other))
		set_list(b, other, PAGEBLOCK_ORDER);
}

/* On a list, is a better than the best so far, if there is one? */
static bool came_later(const struct kmm_buddy *b, u32 number, u32 best)
{
	return best == NONE || b->blocks[number].listed_at > b->blocks[best].listed_at;
}

static u32 fullest(const struct kmm_buddy *b, unsigned int order, enum migratetype type)
{
	u32 best = NONE;

	for (u32 i = 0; i < b->nr_blocks; i++) {
		const struct slow_pageblock *block = &b->blocks[i], *than;

		if (block->type != type || block->order < (int)order ||
		    block->order >= (int)PAGEBLOCK_ORDER)
			continue;
		than = best == NONE ? NULL : &b->blocks[best];
		if (!than || block->fill < than->fill ||
		    (block->fill == than->fill &&
		     (block->order < than->order ||
		      (block->order == than->order && came_later(b, i, best)))))
			best = i;
	}
	return best;
}

/* Listed with exactly this order, and of the largest fill; of whole ones there is but one fill. */
static u32 emptiest(const struct kmm_buddy *b, unsigned int order, enum migratetype type)
{
	u32 best = NONE;

	for (u32 i = 0; i < b->nr_blocks; i++) {
		const struct slow_pageblock *block = &b->blocks[i];

		if (block->type != type || block->order != (int)order)
			continue;
		if (best == NONE || block->fill > b->blocks[best].fill ||
		    (block->fill == b->blocks[best].fill && came_later(b, i, best)))
			best = i;
	}
	return best;
}

static void claim(struct kmm_buddy *b, u32 number, enum migratetype type)
{
	b->blocks[number].type = type;
	b->blocks[number].listed_at = ++b->now;
}

static u32 choose_whole(struct kmm_buddy *b, unsigned int order, enum migratetype type)
{
	const unsigned int least = max_t(unsigned int, order, PAGEBLOCK_ORDER);
	u32 found;

	for (unsigned int o = least; o <= MAX_PAGE_ORDER; o++)
		if ((found = emptiest(b, o, type)) != NONE)
			return found;
	for (unsigned int o = MAX_PAGE_ORDER; o >= least; o--)
		for (int i = 0; i < NR_MIGRATETYPES - 1; i++)
			if ((found = emptiest(b, o, others[type][i])) != NONE) {
				claim(b, found, type);
				return found;
			}
	return NONE;
}

static u32 choose_other(struct kmm_buddy *b, unsigned int order, enum migratetype type)
{
	for (unsigned int o = PAGEBLOCK_ORDER; o-- > order;)
		for (int i = 0; i < NR_MIGRATETYPES - 1; i++) {
			u32 found = emptiest(b, o, others[type][i]);

			if (found == NONE)
				continue;
			if (b->blocks[found].nr_free >= PAGEBLOCK_NR_PAGES / 2 &&
			    (o >= PAGEBLOCK_ORDER / 2 || type != MIGRATE_MOVABLE)) {
				claim(b, found, type);
				return found;
			}
			return type == MIGRATE_MOVABLE ? fullest(b, order, others[type][i]) : found;
		}
	return NONE;
}

static void set_free(struct kmm_buddy *b, u32 pfn, unsigned int order, bool free)
{
	memset(b->is_free + pfn, free, 1U << order);
	for (u32 i = 0; i < 1U << order; i += PAGEBLOCK_NR_PAGES) {
		const u32 nr = min_t(u32, 1U << order, PAGEBLOCK_NR_PAGES);

		b->blocks[(pfn + i) >> PAGEBLOCK_ORDER].nr_free += free ? nr : -nr;
	}
	for (u32 i = 0; i < 1U << order; i += PAGEBLOCK_NR_PAGES)
		relist(b, (pfn + i) >> PAGEBLOCK_ORDER);
}

u32 kmm_buddy_take(struct kmm_buddy *b, unsigned int order, enum migratetype type)
{
	u32 number = fullest(b, order, type), pfn = NONE;

	if (number == NONE)
		number = choose_whole(b, order, type);
	if (number == NONE)
		number = choose_other(b, order, type);
	if (number == NONE)
		return NONE;
	if (order > PAGEBLOCK_ORDER) {
		b->blocks[number + 1].type = b->blocks[number].type;
		pfn = number << PAGEBLOCK_ORDER;
	} else {
		look(b, number, order, &pfn);
	}
	set_free(b, pfn, order, false);
	return pfn;
}

void kmm_buddy_give(struct kmm_buddy *b, u32 pfn, unsigned int order)
{
	set_free(b, pfn, order, true);
}

/* SPDX-License-Identifier: MIT */
/* A buddy allocator over an array of struct pages that stand for no memory, and what owners do. */
#ifndef TESTS_PHYS_BUDDY_FRAMES_H
#define TESTS_PHYS_BUDDY_FRAMES_H

#include "phys/buddy.h"

#define NR_FRAMES 8192UL
#define NR_BLOCKS (NR_FRAMES / PAGEBLOCK_NR_PAGES)

static struct page frames[NR_FRAMES];
static struct pageblock blocks[NR_BLOCKS];
static struct free_area area[NR_MIGRATETYPES];
static struct buddy buddy = {.area = area};

static inline unsigned long pfn_of(const struct page *page)
{
	return (unsigned long)(page - frames);
}

/* Some place and node: they are the owner's, and the buddy leaves them alone. */
static inline u32 kind_of(enum page_type type, unsigned int order)
{
	return page_kind(2, 3, type, order);
}

static inline void mark_allocated(struct page *page, unsigned int order)
{
	page->state = page_state(kind_of(PG_TYPE_ALLOC, order));
}

static inline struct page *take_type(unsigned int order, enum migratetype type)
{
	struct page *page;

	if (!buddy_take(&buddy, order, type, 1, &page))
		return NULL;
	mark_allocated(page, order);
	return page;
}

static inline struct page *take(unsigned int order)
{
	return take_type(order, MIGRATE_MOVABLE);
}

static inline void give(struct page *page, unsigned int order)
{
	page_set_type(page, PG_TYPE_FREE);
	buddy_give(&buddy, page, order);
}

#endif

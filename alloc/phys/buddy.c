/* SPDX-License-Identifier: MIT */
/*
 * The buddy allocator; see buddy.h for what it keeps true. No locks: the caller holds the zone's.
 *
 * A neighbour's head is read to see whether it is free while its owner may be writing it (an
 * allocated head changes type without the zone's lock). Only a holder of the lock writes
 * PG_TYPE_BUDDY or takes it away, so the answer to "is it free" cannot change under us; READ_ONCE
 * and WRITE_ONCE keep the access single.
 */
#include "phys/buddy.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/compiler.h"

static inline u32 kind_of(const struct buddy *buddy, enum page_type type, unsigned int order)
{
	return buddy->place | page_kind(0, 0, type, order);
}

static inline unsigned long pfn_of(const struct buddy *buddy, const struct page *page)
{
	return (unsigned long)(page - buddy->mem_map);
}

void buddy_init(struct buddy *buddy, struct page *mem_map, unsigned long start_pfn,
		unsigned long end_pfn, u32 place)
{
	*buddy = (struct buddy){
		.mem_map = mem_map,
		.start_pfn = start_pfn,
		.end_pfn = end_pfn,
		.place = place,
	};
	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++)
		INIT_LIST_HEAD(&buddy->area[order].list);
}

/* Put a block on its list, as it is. */
static inline void area_add(struct buddy *buddy, struct page *page, unsigned int order)
{
	struct free_area *area = &buddy->area[order];

	WRITE_ONCE(page->kind, kind_of(buddy, PG_TYPE_BUDDY, order));
	list_add(&page->lru, &area->list);
	area->nr_free++;
	buddy->nonempty |= 1U << order;
}

static inline void area_del(struct buddy *buddy, struct page *page, unsigned int order)
{
	struct free_area *area = &buddy->area[order];

	list_del(&page->lru);
	if (--area->nr_free == 0)
		buddy->nonempty &= ~(1U << order);
}

/* Take the first block of at least `order` frames off its list; its own order is in *found. */
static struct page *area_take_smallest(struct buddy *buddy, unsigned int order, unsigned int *found)
{
	u32 candidates = buddy->nonempty >> order;
	struct page *page;

	if (!candidates)
		return NULL;
	*found = order + __ffs(candidates);
	page = list_first_entry(&buddy->area[*found].list, struct page, lru);
	area_del(buddy, page, *found);
	return page;
}

/*
 * Cut a block of order `from` down to `to`; the upper halves become free blocks:
 *
 *	|              from               |
 *	|  to  | free |    free           |
 */
static void split_down(struct buddy *buddy, struct page *page, unsigned int from, unsigned int to)
{
	buddy->nr_split += from - to;
	while (from > to) {
		from--;
		area_add(buddy, page + (1UL << from), from);
	}
}

struct page *buddy_take(struct buddy *buddy, unsigned int order)
{
	unsigned int found;
	struct page *page = area_take_smallest(buddy, order, &found);

	if (!page)
		return NULL;
	split_down(buddy, page, found, order);
	buddy->nr_pages -= 1UL << order;
	WRITE_ONCE(page->kind, kind_of(buddy, PG_TYPE_ALLOC, order));
	return page;
}

unsigned int buddy_take_bulk(struct buddy *buddy, unsigned int order, unsigned int nr,
			     struct page **pages)
{
	const u32 kind = kind_of(buddy, PG_TYPE_PCP, order);
	unsigned int taken = 0;

	while (taken < nr) {
		unsigned int found, want, units;
		struct page *page = area_take_smallest(buddy, order, &found);

		if (!page)
			break;
		/* The largest part of it that is not more than what is missing. */
		want = min_t(unsigned int, found, order + ilog2(nr - taken));
		split_down(buddy, page, found, want);
		units = 1U << (want - order);
		buddy->nr_split += units - 1;
		for (unsigned int i = units; i-- > 0;) {
			struct page *head = page + ((unsigned long)i << order);

			WRITE_ONCE(head->kind, kind);
			pages[taken++] = head;
		}
	}
	buddy->nr_pages -= (unsigned long)taken << order;
	return taken;
}

void buddy_give(struct buddy *buddy, struct page *page, unsigned int order)
{
	unsigned long pfn = pfn_of(buddy, page);

	buddy->nr_pages += 1UL << order;
	while (order < MAX_PAGE_ORDER) {
		unsigned long other_pfn = pfn ^ (1UL << order);
		struct page *other = buddy->mem_map + other_pfn;

		if (other_pfn < buddy->start_pfn || other_pfn + (1UL << order) > buddy->end_pfn)
			break;
		if (READ_ONCE(other->kind) != kind_of(buddy, PG_TYPE_BUDDY, order))
			break;
		area_del(buddy, other, order);
		/* The upper of the two is a head no longer; the lower one's kind is written
		 * below. */
		WRITE_ONCE(buddy->mem_map[pfn | other_pfn].kind, buddy->place);
		pfn &= other_pfn;
		order++;
		buddy->nr_merge++;
	}
	area_add(buddy, buddy->mem_map + pfn, order);
}

void buddy_add_range(struct buddy *buddy, unsigned long start_pfn, unsigned long end_pfn)
{
	KMM_BUG_ON(start_pfn < buddy->start_pfn || end_pfn > buddy->end_pfn,
		   "frames %lu-%lu are not in the zone's %lu-%lu", start_pfn, end_pfn,
		   buddy->start_pfn, buddy->end_pfn);
	while (start_pfn < end_pfn) {
		unsigned int order =
			min_t(unsigned int, MAX_PAGE_ORDER, ilog2(end_pfn - start_pfn));
		unsigned long nr;

		if (start_pfn)
			order = min_t(unsigned int, order, __ffs(start_pfn));
		nr = 1UL << order;
		for (unsigned long pfn = start_pfn; pfn < start_pfn + nr; pfn++)
			buddy->mem_map[pfn].kind = buddy->place;
		buddy_give(buddy, buddy->mem_map + start_pfn, order);
		start_pfn += nr;
	}
}

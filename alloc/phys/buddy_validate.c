/* SPDX-License-Identifier: MIT */
/*
 * The slow checker beside buddy.c: recounts a range of frames from its struct pages and from its
 * lists, and stops the program at the first difference. The caller holds the zone's lock, and
 * nothing else runs.
 */
#include "base/check.h"
#include "phys/buddy.h"

void buddy_validate_lists(const struct buddy *buddy, const char *name)
{
	unsigned long nr_pages = 0;

	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
		const struct free_area *area = &buddy->area[order];
		const u32 kind = buddy->place | page_kind(0, 0, PG_TYPE_BUDDY, order);
		const struct list_head *node = &area->list;
		unsigned long nr = 0;

		do {
			KMM_BUG_ON(node->next->prev != node, "%s: order %u: broken list", name,
				   order);
			node = node->next;
			if (node == &area->list)
				break;
			const struct page *page = list_entry(node, struct page, lru);
			unsigned long pfn = (unsigned long)(page - buddy->mem_map);

			KMM_BUG_ON(pfn < buddy->start_pfn || pfn >= buddy->end_pfn,
				   "%s: order %u: frame %lu is of another zone", name, order, pfn);
			KMM_BUG_ON(page->kind != kind,
				   "%s: frame %lu on the list of order %u is %#x, not %#x", name,
				   pfn, order, page->kind, kind);
			nr++;
		} while (nr <= area->nr_free);
		KMM_BUG_ON(nr != area->nr_free,
			   "%s: order %u: %lu blocks or more on the list, %lu counted", name, order,
			   nr, area->nr_free);
		KMM_BUG_ON(!!(buddy->nonempty & 1U << order) != !!nr,
			   "%s: order %u: nonempty is %#x with %lu blocks", name, order,
			   buddy->nonempty, nr);
		nr_pages += nr << order;
	}
	KMM_BUG_ON(nr_pages != buddy->nr_pages, "%s: %lu frames on the lists, %lu counted", name,
		   nr_pages, buddy->nr_pages);
}

static bool is_free_block(const struct buddy *buddy, unsigned long pfn, unsigned int order)
{
	return pfn >= buddy->start_pfn && pfn + (1UL << order) <= buddy->end_pfn &&
	       buddy->mem_map[pfn].type == PG_TYPE_BUDDY && buddy->mem_map[pfn].order == order;
}

static void check_block(const struct buddy *buddy, const char *name, unsigned long pfn)
{
	const struct page *page = buddy->mem_map + pfn;
	unsigned int order = page->order;
	unsigned long nr = 1UL << (order & 31);

	KMM_BUG_ON(order > MAX_PAGE_ORDER, "%s: frame %lu heads a block of order %u", name, pfn,
		   order);
	KMM_BUG_ON(pfn & (nr - 1), "%s: frame %lu, order %u: not aligned", name, pfn, order);
	KMM_BUG_ON(pfn + nr > buddy->end_pfn, "%s: frame %lu, order %u: beyond the zone", name, pfn,
		   order);
	for (unsigned long i = 1; i < nr; i++)
		KMM_BUG_ON(page[i].type != PG_TYPE_NONE && page[i].type != PG_TYPE_TAIL &&
				   !(page->type == PG_TYPE_SLAB && page[i].type == PG_TYPE_SLAB),
			   "%s: frame %lu is of type %u inside the block of order %u at %lu", name,
			   pfn + i, page[i].type, order, pfn);
	if (page->type == PG_TYPE_BUDDY && order < MAX_PAGE_ORDER)
		KMM_BUG_ON(is_free_block(buddy, pfn ^ nr, order),
			   "%s: frames %lu and %lu, order %u: not merged", name, pfn, pfn ^ nr,
			   order);
}

unsigned long buddy_validate(const struct buddy *buddy, const char *name, unsigned long nr_managed)
{
	unsigned long nr_blocks_of[PG_TYPE_TABLE + 1] = {0}; /* in frames */
	unsigned long pfn = buddy->start_pfn;
	unsigned long nr_free, nr_seen;

	buddy_validate_lists(buddy, name);
	while (pfn < buddy->end_pfn) {
		const struct page *page = buddy->mem_map + pfn;

		KMM_BUG_ON((page->kind & 0xffff) != buddy->place,
			   "%s: frame %lu says zone %u of node %u", name, pfn, page->zone,
			   page->nid);
		KMM_BUG_ON(page->type == PG_TYPE_NONE || page->type == PG_TYPE_TAIL ||
				   page->type > PG_TYPE_TABLE,
			   "%s: frame %lu of type %u begins no block", name, pfn, page->type);
		if (page->type != PG_TYPE_RESERVED)
			check_block(buddy, name, pfn);
		nr_blocks_of[page->type] += 1UL << page->order;
		pfn += 1UL << page->order;
	}
	nr_free = nr_blocks_of[PG_TYPE_BUDDY];
	nr_seen = buddy->end_pfn - buddy->start_pfn - nr_blocks_of[PG_TYPE_RESERVED];
	KMM_BUG_ON(nr_free != buddy->nr_pages, "%s: %lu frames in free blocks, %lu counted", name,
		   nr_free, buddy->nr_pages);
	KMM_BUG_ON(nr_seen != nr_managed, "%s: %lu frames are not reserved, %lu are managed", name,
		   nr_seen, nr_managed);
	return nr_blocks_of[PG_TYPE_PCP];
}

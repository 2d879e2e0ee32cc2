/* SPDX-License-Identifier: MIT */
/*
 * The slow checker beside buddy.c: recounts a range of frames from its bits, its lists and its
 * struct pages, and stops the program at the first difference. The caller holds the zone's lock,
 * and nothing else runs.
 */
#include "base/check.h"
#include "phys/buddy_lists.h"

static unsigned long number_of(const struct buddy *buddy, const struct pageblock *block)
{
	return buddy->first_block + (unsigned long)(block - buddy->blocks);
}

/* The list that a pageblock belongs on, from its bits alone. */
static unsigned int order_wanted(const struct buddy *buddy, const struct pageblock *block)
{
	unsigned long number = number_of(buddy, block), other = (number ^ 1) - buddy->first_block;

	if (!block->nr_free)
		return PAGEBLOCK_UNLISTED;
	if (!pageblock_is_whole(block))
		return pageblock_largest(block);
	if (other >= buddy->nr_blocks || !pageblock_is_whole(&buddy->blocks[other]))
		return PAGEBLOCK_ORDER;
	return number & 1 ? PAGEBLOCK_UNLISTED : MAX_PAGE_ORDER;
}

static unsigned long check_counts(const struct buddy *buddy, const struct pageblock *block,
				  const char *name)
{
	const unsigned long number = number_of(buddy, block), i = number - buddy->first_block;
	u16 nr[PAGEBLOCK_ORDER + 1];
	unsigned int nr_free = 0;

	pageblock_recount(block, nr);
	for (unsigned int o = 0; o <= PAGEBLOCK_ORDER; o++) {
		KMM_BUG_ON(nr[o] != block->nr[o],
			   "%s: pageblock %lu has %u free blocks of order %u, %u counted", name,
			   number, nr[o], o, block->nr[o]);
		KMM_BUG_ON(!!(block->orders & 1U << o) != !!nr[o],
			   "%s: pageblock %lu: orders is %#x", name, number, block->orders);
		nr_free += (unsigned int)nr[o] << o;
	}
	KMM_BUG_ON(nr_free != block->nr_free, "%s: pageblock %lu has %u free frames, %u counted",
		   name, number, nr_free, block->nr_free);
	KMM_BUG_ON(block->migratetype >= NR_MIGRATETYPES, "%s: pageblock %lu of migratetype %u",
		   name, number, block->migratetype);
	KMM_BUG_ON((buddy->blocks[ALIGN_DOWN(i, 64UL)].whole >> i % 64 & 1) !=
			   pageblock_is_whole(block),
		   "%s: pageblock %lu has %u free frames, and its bit in the map is wrong", name,
		   number, nr_free);
	KMM_BUG_ON(block->released & ~pageblock_free_groups(block),
		   "%s: pageblock %lu: groups %#x are said to be without memory, %#x are free",
		   name, number, block->released, pageblock_free_groups(block));
	KMM_BUG_ON(block->order != order_wanted(buddy, block),
		   "%s: pageblock %lu is on the list of order %u, not %u", name, number,
		   block->order, order_wanted(buddy, block));
	return nr_free;
}

/* Where on the list of its order. */
static unsigned int fill_wanted(const struct pageblock *block)
{
	if (!pageblock_is_whole(block))
		return part_fill(block);
	return block->order == MAX_PAGE_ORDER ? pair_fill(block) : whole_fill(block);
}

static unsigned long check_list(const struct buddy *buddy, enum migratetype type,
				unsigned int order, unsigned int fill, const char *name)
{
	const struct free_area *area = &buddy->area[type];
	const struct list_head *head = &area->list[order][fill], *node = head;
	unsigned long nr = 0;

	for (;; nr++) {
		const struct pageblock *block;

		KMM_BUG_ON(node->next->prev != node, "%s: order %u, fill %u: broken list", name,
			   order, fill);
		node = node->next;
		if (node == head)
			break;
		block = list_entry(node, struct pageblock, list);
		KMM_BUG_ON(block < buddy->blocks || block >= buddy->blocks + buddy->nr_blocks,
			   "%s: order %u, fill %u: a pageblock of another zone", name, order, fill);
		KMM_BUG_ON(block->migratetype != type || block->order != order ||
				   block->fill != fill || fill_wanted(block) != fill,
			   "%s: pageblock %lu is on the list of another type, order or fill", name,
			   number_of(buddy, block));
		KMM_BUG_ON(nr > buddy->nr_blocks, "%s: order %u, fill %u: a list without end", name,
			   order, fill);
	}
	KMM_BUG_ON(!!(area->nonempty[order] & 1U << fill) != !!nr,
		   "%s: order %u: nonempty is %#x with %lu pageblocks of fill %u", name, order,
		   area->nonempty[order], nr, fill);
	return nr;
}

void buddy_validate_lists(const struct buddy *buddy, const char *name)
{
	unsigned long nr_pages = 0, nr_listed = 0, nr_wanted = 0, nr_released = 0;

	for (unsigned long i = 0; i < buddy->nr_blocks; i++) {
		if (buddy_is_fresh(buddy, i)) {
			nr_pages += PAGEBLOCK_NR_PAGES;
			nr_released += PAGEBLOCK_NR_PAGES;
			continue;
		}
		nr_pages += check_counts(buddy, &buddy->blocks[i], name);
		nr_wanted += buddy->blocks[i].order != PAGEBLOCK_UNLISTED;
		nr_released += (unsigned long)hweight64(buddy->blocks[i].released) << GROUP_ORDER;
	}
	for (enum migratetype type = 0; type < NR_MIGRATETYPES; type++)
		for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++)
			for (unsigned int fill = 0; fill < NR_FILLS; fill++)
				nr_listed += check_list(buddy, type, order, fill, name);
	KMM_BUG_ON(nr_listed != nr_wanted, "%s: %lu pageblocks on lists, %lu say so", name,
		   nr_listed, nr_wanted);
	KMM_BUG_ON(nr_pages != buddy->nr_pages, "%s: %lu frames are free, %lu counted", name,
		   nr_pages, buddy->nr_pages);
	KMM_BUG_ON(nr_released != buddy->nr_released,
		   "%s: %lu frames are without memory, %lu counted", name, nr_released,
		   buddy->nr_released);
}

static bool is_head(const struct page *page)
{
	return page->type == PG_TYPE_ALLOC || page->type == PG_TYPE_HEAD ||
	       page->type == PG_TYPE_SLAB || page->type == PG_TYPE_TABLE ||
	       page->type == PG_TYPE_CONTIG;
}

static unsigned long nr_frames_of(const struct page *page)
{
	return page->type == PG_TYPE_CONTIG ? page->nr_contig : 1UL << (page->order & 31);
}

static void check_allocated(const struct buddy *buddy, const char *name, unsigned long pfn)
{
	const struct page *page = buddy->mem_map + pfn;
	const unsigned int order = page->order;
	const unsigned long nr = nr_frames_of(page);
	const bool block = page->type != PG_TYPE_CONTIG;

	KMM_BUG_ON(order > MAX_PAGE_ORDER, "%s: frame %lu heads a block of order %u", name, pfn,
		   order);
	KMM_BUG_ON(block && pfn & (nr - 1), "%s: frame %lu, order %u: not aligned", name, pfn,
		   order);
	KMM_BUG_ON(pfn + nr > buddy->end_pfn, "%s: frame %lu, order %u: beyond the zone", name, pfn,
		   order);
	for (unsigned long i = 0; i < nr; i++) {
		KMM_BUG_ON(buddy_is_free(buddy, pfn + i, 0),
			   "%s: frame %lu is free, and in the allocated block of order %u at %lu",
			   name, pfn + i, order, pfn);
		KMM_BUG_ON(i && is_head(page + i) &&
				   !(page->type == PG_TYPE_SLAB && page[i].type == PG_TYPE_SLAB),
			   "%s: frame %lu is of type %u inside the block of order %u at %lu", name,
			   pfn + i, page[i].type, order, pfn);
	}
}

unsigned long buddy_validate(const struct buddy *buddy, const char *name, unsigned long nr_managed)
{
	const unsigned long nr_kept = buddy->end_pfn - buddy->start_pfn - nr_managed;
	unsigned long pfn = buddy->start_pfn, nr_elsewhere = 0;

	buddy_validate_lists(buddy, name);
	while (pfn < buddy->end_pfn) {
		const struct page *page = buddy->mem_map + pfn;

		if (buddy_is_fresh(buddy, (pfn >> PAGEBLOCK_ORDER) - buddy->first_block)) {
			pfn = (buddy->first_block + buddy->fresh_end) << PAGEBLOCK_ORDER;
			continue;
		}
		if (is_head(page)) {
			check_allocated(buddy, name, pfn);
			pfn += nr_frames_of(page);
			continue;
		}
		nr_elsewhere += !buddy_is_free(buddy, pfn, 0);
		KMM_BUG_ON(page->type > PG_TYPE_TAIL, "%s: frame %lu of type %u begins no block",
			   name, pfn, page->type);
		pfn++;
	}
	KMM_BUG_ON(nr_elsewhere < nr_kept, "%s: %lu frames have no use, boot keeps %lu", name,
		   nr_elsewhere, nr_kept);
	return nr_elsewhere - nr_kept;
}

/* SPDX-License-Identifier: MIT */
/*
 * The binary buddy allocator of one range of frames: free blocks of 2^0 .. 2^MAX_PAGE_ORDER frames,
 * a list an order, aligned to their size in frame numbers. A plain data structure without a lock or
 * a thought of who calls it; a zone (phys/zone.h) puts one behind its lock.
 *
 *	pfn    0   1   2   3   4   5   6   7
 *	     |   A   | B | f |       f       |   A, B allocated; f free, of order 0 and 2
 *
 * Invariant: nr_pages == sum of area[order].nr_free << order; every block in area[order] has a head
 * of PG_TYPE_BUDDY and that order; no two free blocks of one order are buddies (they would have
 * been merged); bit `order` of `nonempty` is set exactly if area[order] has a block.
 *
 * After Knuth, TAOCP vol. 1, 2.5 C, and mm/page_alloc.c (6.1), from which it differs in taking a
 * batch of small blocks by cutting up one large block at once, not one by one through the lists.
 */
#ifndef KMM_PHYS_BUDDY_H
#define KMM_PHYS_BUDDY_H

#include "base/list.h"
#include "base/types.h"
#include "phys/page.h"

struct free_area {
	struct list_head list; /* of heads, through page->lru; the most recently freed first */
	unsigned long nr_free; /* blocks */
};

struct buddy {
	/* Set by buddy_init, then constant. */
	struct page *mem_map; /* of frame 0 */
	unsigned long start_pfn, end_pfn;
	u32 place; /* page_kind() of a frame of this range, with type and order 0 */

	/* The zone's lock protects: */
	u32 nonempty;
	struct free_area area[NR_PAGE_ORDERS];
	unsigned long nr_pages; /* free frames */
	u64 nr_split, nr_merge; /* blocks cut in two, pairs joined; since init */
};

/* Make an empty allocator of the frames [start_pfn, end_pfn), whose struct pages say `place` and
 * PG_TYPE_RESERVED. */
void buddy_init(struct buddy *buddy, struct page *mem_map, unsigned long start_pfn,
		unsigned long end_pfn, u32 place);

/* Add frames of the range that boot does not keep: the fewest aligned blocks that cover [start_pfn,
 * end_pfn). */
void buddy_add_range(struct buddy *buddy, unsigned long start_pfn, unsigned long end_pfn);

/* Take one block of the smallest size that serves, its head of PG_TYPE_ALLOC; NULL if there is
 * none. */
struct page *buddy_take(struct buddy *buddy, unsigned int order);

/* Take up to nr blocks into pages[], heads of PG_TYPE_PCP; neighbours come in descending order of
 * address, so that popping from the end ascends. Returns how many. */
unsigned int buddy_take_bulk(struct buddy *buddy, unsigned int order, unsigned int nr,
			     struct page **pages);

/* Give one block back, merging it with its buddies as far as they are free and inside the range.
 * The caller has checked that it is the head of an allocated block of that order. */
void buddy_give(struct buddy *buddy, struct page *page, unsigned int order);

/* The lists and their counts alone, in O(free blocks); stops the program likewise. */
void buddy_validate_lists(const struct buddy *buddy, const char *name);

/* Recount everything from first principles, in O(frames); stops the program with what differs.
 * `name` is for the message. Returns the frames that are heads' or parts of PG_TYPE_PCP blocks. */
unsigned long buddy_validate(const struct buddy *buddy, const char *name, unsigned long nr_managed);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Contiguous memory that is no power of two: a block with its end given back.
 *
 *	alloc_pages_exact(11 pages)	| 0 1 2 3 4 5 6 7 8 9 10 | 11 | 12 .. 15 |
 *					  order-0 frames           free blocks
 *
 * The frames kept are split, each a block of order 0. While they belong together each one's `head`
 * is the first of them, which no other frame that heads a block has; free_pages_exact() so finds a
 * size that is not the one asked for, in lines that it writes anyway.
 *
 * No locks but the zone's, inside of __free_pages().
 *
 * A run is the same without being split to frames: the end is given back, and what stays is the
 * blocks that are the bits of its size, the largest first. It costs as many steps as there are
 * bits, both ways, and its owner keeps the size.
 *
 *	alloc_page_run(11)		| 0 .. 7         | 8 9 | 10 | 11 | 12 .. 15 |
 *					  order 3          1     0    free
 *
 * After mm/page_alloc.c (6.1), which gives the end back frame by frame.
 */
#include "base/bits.h"
#include "base/check.h"
#include "phys/alloc.h"
#include "phys/page_alloc.h"

/* Cut an allocated block of 2^order frames into blocks of order `to`; the first keeps its
 * references and flags, the others get one reference each. */
static void split_block(struct page *page, unsigned int order, unsigned int to)
{
	const u32 kind = page_kind(page->place & ~PLACE_FLAGGED, page->nid, PG_TYPE_ALLOC, to);

	for (unsigned long i = 1UL << to; i < 1UL << order; i += 1UL << to)
		WRITE_ONCE(page[i].state, page_state(kind));
	WRITE_ONCE(page->order, (u8)to);
}

void split_page(struct page *page, unsigned int order)
{
	KMM_BUG_ON(page->type != PG_TYPE_ALLOC || page->order != order,
		   "frame %lu, split as a block of order %u, is of type %u and order %u",
		   page_to_pfn(page), order, page->type, page->order);
	split_block(page, order, 0);
}

/* Frames that hold size bytes. */
static unsigned long nr_frames_of(size_t size)
{
	return (size >> PAGE_SHIFT) + ((size & ~PAGE_MASK) != 0);
}

/*
 * Keep the first nr frames of a block, and give the rest back in the largest blocks there are: the
 * block is halved as long as one half lies behind the end. What is kept is a block for each bit of
 * nr, the largest first.
 */
static void trim_block(struct page *page, unsigned int order, unsigned long nr)
{
	unsigned long left = nr;

	while (left < 1UL << order) {
		order--;
		split_block(page, order + 1, order);
		if (left <= 1UL << order) {
			__free_pages(page + (1UL << order), order);
		} else {
			page += 1UL << order;
			left -= 1UL << order;
		}
	}
}

/* Split each block of a run to single frames. */
static void split_run(struct page *page, unsigned long nr)
{
	for (; nr; page += 1UL << __fls(nr), nr -= 1UL << __fls(nr))
		split_block(page, __fls(nr), 0);
}

struct page *alloc_page_run_node(int nid, unsigned long nr, unsigned int align_order, gfp_t gfp)
{
	unsigned int order = max_t(unsigned int, get_order(nr << PAGE_SHIFT), align_order);
	struct page *page;

	if (!nr || nr > MAX_ORDER_NR_PAGES)
		return NULL;
	page = alloc_pages_node(nid, gfp & ~(__GFP_COMP | __GFP_HIGHMEM), order);
	if (page)
		trim_block(page, order, nr);
	return page;
}

struct page *alloc_page_run(unsigned long nr, unsigned int align_order, gfp_t gfp)
{
	return alloc_page_run_node(NUMA_NO_NODE, nr, align_order, gfp);
}

void shrink_page_run(struct page *page, unsigned long nr, unsigned long keep)
{
	while (nr) {
		unsigned int order = __fls(nr);
		unsigned long here = min_t(unsigned long, keep, 1UL << order);

		if (!here)
			__free_pages(page, order);
		else if (here < 1UL << order)
			trim_block(page, order, here);
		page += 1UL << order;
		nr -= 1UL << order;
		keep -= here;
	}
}

void *alloc_pages_exact_nid(int nid, size_t size, gfp_t gfp)
{
	unsigned int order = get_order(size);
	struct page *page;

	if (!size)
		return NULL;
	gfp &= ~(__GFP_COMP | __GFP_HIGHMEM);
	page = alloc_pages_node(nid, gfp, order);
	if (!page)
		return NULL;
	if (!page_address(page)) {
		__free_pages(page, order);
		return NULL;
	}
	trim_block(page, order, nr_frames_of(size));
	split_run(page, nr_frames_of(size));
	for (unsigned long i = 0; i < nr_frames_of(size); i++)
		WRITE_ONCE(page[i].head, page);
	return page_address(page);
}

void *alloc_pages_exact(size_t size, gfp_t gfp)
{
	return alloc_pages_exact_nid(NUMA_NO_NODE, size, gfp);
}

/* Is page the first of nr frames that were allocated together, and no more? */
static bool is_exact(const struct page *page, unsigned long nr)
{
	const struct kmm_cpu *cpu = cpu_get();
	unsigned long room = cpu->nr_frames - page_to_pfn(page);

	if (!nr || nr > room)
		return false;
	for (unsigned long i = 0; i < nr; i++)
		if (READ_ONCE(page[i].head) != page)
			return false;
	/* That one is somebody else's, who may be writing to it. */
	return nr == room || READ_ONCE(page[nr].head) != page;
}

void free_pages_exact(void *addr, size_t size)
{
	unsigned long nr = nr_frames_of(size);
	struct page *page;

	if (!addr)
		return;
	KMM_BUG_ON(!virt_addr_valid(addr) || (unsigned long)addr & ~PAGE_MASK,
		   "free of %p, %zu bytes: not the start of a page of this machine", addr, size);
	page = virt_to_page(addr);
	KMM_BUG_ON(READ_ONCE(page->head) != page,
		   "free of %p, %zu bytes: no such memory starts there, or it is free already",
		   addr, size);
	KMM_BUG_ON(!is_exact(page, nr), "free of %p: it was not allocated with %zu bytes", addr,
		   size);
	for (unsigned long i = 0; i < nr; i++) {
		WRITE_ONCE(page[i].head, NULL);
		__free_pages(page + i, 0);
	}
}

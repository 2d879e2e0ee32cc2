/* SPDX-License-Identifier: MIT */
/*
 * Linux's buddy allocator as release 6.1 has it, modelled: which block it takes, and where on its
 * lists one that is freed goes. Written from what mm/page_alloc.c does, for one zone, without per-CPU
 * lists, reserves and reclaim. linux_buddy_test shows that it ends as a real kernel did, list by list.
 *
 *	free_list[order][type]	head -> block -> block -> tail
 *
 *	take	the head of the smallest order that serves; the halves that are left go to heads
 *	give	merged, to the head; to the tail where the next buddy is free, which may soon merge
 *	steal	from the largest block of another type, whose pageblock's free blocks move along to the
 *		tails, and the pageblock itself if half of it is free or of the wanted kind
 *
 * A step from Linux to kmm can be made at a time (struct linux_policy), to see what each does.
 */
#ifndef TESTS_BENCH_RUN_LINUX_BUDDY_H
#define TESTS_BENCH_RUN_LINUX_BUDDY_H

#include "phys/gfp.h"
#include "phys/page_alloc.h"

#define NO_BLOCK (~0U)

struct linux_policy {
	unsigned int pageblock_order; /* Linux: 9 or 10, as it is configured; kmm: 9 */
	/* Free blocks are of the type of their pageblock, always, and a pageblock changes its type if
	 * half of it is free, whatever the rest is for. */
	bool own_type;
};

struct linux_page {
	u32 prev, next; /* on its list; numbers from nr_pages on are heads */
	u8 order;	/* of the free block that begins here, or NOT_FREE */
	u8 type;	/* of the list */
};

struct linux_buddy {
	struct linux_policy policy;
	u32 nr_pages;
	struct linux_page *pages; /* and the heads behind them */
	u8 *types;		  /* of pageblocks, by pfn >> pageblock_order */
};

/* Pages [0, nr_pages), none free, and types: of pageblocks of 2^type_order pages. */
void linux_buddy_init(struct linux_buddy *buddy, struct linux_policy policy, u32 nr_pages,
		      const u8 *types, unsigned int type_order);
void linux_buddy_destroy(struct linux_buddy *buddy);
/* A block that is free at the start, behind those before it on its list. */
void linux_buddy_add(struct linux_buddy *buddy, u32 pfn, unsigned int order, enum migratetype type);

/* The first page of a block, or NO_BLOCK. */
u32 linux_buddy_take(struct linux_buddy *buddy, unsigned int order, enum migratetype type);
void linux_buddy_give(struct linux_buddy *buddy, u32 pfn, unsigned int order);

/* The block behind pfn on the list of an order and type, the first if pfn is NO_BLOCK; NO_BLOCK: none. */
u32 linux_buddy_next(const struct linux_buddy *buddy, unsigned int order, enum migratetype type,
		     u32 pfn);
void linux_buddy_count(const struct linux_buddy *buddy, unsigned long nr[NR_PAGE_ORDERS]);

#endif

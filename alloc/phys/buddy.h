/* SPDX-License-Identifier: MIT */
/*
 * The buddy allocator of one range of frames: free blocks of 2^0 .. 2^MAX_PAGE_ORDER frames,
 * aligned to their size in frame numbers. A plain data structure without a lock or a thought of who
 * calls it; a zone (phys/zone.h) puts one behind its lock. It never touches a struct page.
 *
 * What is free is a bit a frame in the descriptors of pageblocks (2 MiB; phys/pageblock.h).
 *
 * A pageblock with free frames is on one list: of its migratetype, of its largest free block's
 * order, and of how full it is. An allocation takes from the fullest pageblock that can serve it,
 * and there from the smallest free block that serves. So holes in full pageblocks are filled before
 * emptier ones are touched, these get time to become free as a whole, and a churn that frees at
 * random sorts memory into full and free pageblocks instead of wearing all of them out alike: what
 * churns leaves an emptier pageblock and does not come back to it.
 *
 * What ageing taught. Fill 90 % of memory with single frames, free a random half, then again and
 * again free a random 10 % of what is live and allocate as much; look at the share of free memory
 * that is in whole pageblocks. Lists of blocks by order, the most recently freed first, keep it
 * where the random half left it, because holes are refilled wherever they happen to be. With the
 * fullest pageblock first, one that is not refilled loses a tenth of its frames in each round, and
 * after some sixty is free: live frames gather in as few pageblocks as hold them. Three things
 * stood in the way, all of them outside of this file:
 *
 *	- Per-CPU lists hand frames out again before the buddy sees them. A list as long as the
 *	  round's frees undoes all sorting; one of a tenth of it delays it by a tenth. So lists grow
 *	  only where that spares the zone altogether (phys/pcp.h).
 *	- Frames that lie on a list nobody takes from keep a pageblock broken each: a thousand of them,
 *	  freed at random in a zone that was only a fallback, were a third of all free memory. So idle
 *	  lists are emptied.
 *	- Blocks that live long among blocks that do not: no choice of a place helps against that as
 *	  long as nobody says which is which. That is what migratetypes are for.
 *
 * Two free pageblocks that are buddies are one block of order 10, and only the lower one is listed.
 *
 * Memory can go back to the host while it is free. The buddy keeps account of it, a bit for each 16
 * frames: they are `released` until one of them is taken. Of pageblocks that are free as a whole
 * those with memory are taken first; of others those all of whose free frames have memory.
 *
 * Descriptors cost memory too, so those of one range of pageblocks that nobody has used since boot
 * are not even written to: the `fresh` ones, which are free as a whole and released. A pair of them
 * is listed when no other pageblock that is free as a whole is.
 *
 * Invariant (with the fresh ones in it as what they stand for): nr_pages == sum of nr_free of all
 * pageblocks; nr_released == 16 * sum of the bits of their `released`, each of a group whose frames
 * are all free; a pageblock is on the list that its migratetype, orders and nr_free say, except
 * where nothing is free, or its lower buddy is listed for both; bit f of nonempty[o] is set exactly
 * if list[o][f] has a pageblock; bit i % 64 of blocks[i - i % 64].whole is set exactly if blocks[i]
 * is free as a whole and not fresh.
 *
 * After Knuth, TAOCP vol. 1, 2.5 C; mm/page_alloc.c (6.1) for migratetypes and their fallback; and
 * LLFree (Wrenger et al., USENIX ATC 2023) for a bit a frame and a counter a 2 MiB block. From the
 * kernel it differs in having no lists of small blocks, which are what scatters allocations over
 * all of memory, and cost a cache line a block to touch.
 */
#ifndef KMM_PHYS_BUDDY_H
#define KMM_PHYS_BUDDY_H

#include "base/list.h"
#include "base/types.h"
#include "phys/gfp.h"
#include "phys/page.h"
#include "phys/pageblock.h"

/* Lists of pageblocks by free frames: fill 0 has 1 to 31 of them, 15 has 480 to 511. Those some of
 * whose free frames have no memory come after all others: 16 to 31. */
#define NR_FILLS      32
#define FILL_SHIFT    5
#define FILL_RELEASED 16

/* How much memory there is behind pageblocks that are free as a whole. */
enum whole_fill { WHOLE_HELD, WHOLE_PART, WHOLE_RELEASED };

/* The pageblocks of one migratetype that have something free. */
struct free_area {
	u32 nonempty[NR_PAGE_ORDERS]; /* bit f: list[o][f] has a pageblock */
	/* Of orders 9 and 10, which are free as a whole, by enum whole_fill. */
	struct list_head list[NR_PAGE_ORDERS][NR_FILLS];
};

/* One list makes the fields, the sums and the text. */
#define BUDDY_COUNTERS(X)                                                                            \
	X(split)       /* blocks cut in two */                                                       \
	X(merge)       /* buddies joined */                                                          \
	X(steal_block) /* pageblocks that changed their migratetype, for want of one of the other */ \
	X(steal_page) /* blocks taken from a pageblock of another migratetype */                     \
	X(release)    /* frames whose memory went back to the host */                                \
	X(reuse)      /* taken while they had none, at first or again; 512 at once if huge */

struct buddy {
	/* Set before buddy_init: NR_MIGRATETYPES of them, which the zone's lock protects. They are
	 * large, and most zones there could be have no frames. */
	struct free_area *area;

	/* Set by buddy_init, then constant. */
	struct page *mem_map; /* of frame 0 */
	struct pageblock *blocks;
	unsigned long start_pfn, end_pfn;
	unsigned long first_block; /* the number (pfn >> PAGEBLOCK_ORDER) of blocks[0] */
	unsigned long nr_blocks;
	unsigned long fresh_end; /* see fresh */
	bool huge;		 /* the host's memory comes 2 MiB at a time */

	/* The zone's lock protects: */
	unsigned long fresh;	   /* blocks[fresh .. fresh_end) are pairs that were never listed */
	unsigned long nr_pages;	   /* free frames; may be read without the lock */
	unsigned long nr_released; /* of these, without memory; may be read without, too */
	unsigned long nr_isolated; /* frames that are neither free nor anybody's, for a moment */
#define X(name) u64 nr_##name;
	BUDDY_COUNTERS(X)
#undef X
};

/* Pageblocks that a range of frames touches. */
static inline unsigned long nr_pageblocks(unsigned long start_pfn, unsigned long end_pfn)
{
	return ((end_pfn - 1) >> PAGEBLOCK_ORDER) - (start_pfn >> PAGEBLOCK_ORDER) + 1;
}

/* The pageblock of a frame of the range. */
static inline struct pageblock *pfn_to_pageblock(const struct buddy *buddy, unsigned long pfn)
{
	return &buddy->blocks[(pfn >> PAGEBLOCK_ORDER) - buddy->first_block];
}

/* Make an allocator of the frames [start_pfn, end_pfn), which are not none. buddy->area is set.
 * blocks: nr_pageblocks() of them, zeroed. Frames [fresh_start, fresh_end), which may be none and
 * are multiples of 4 MiB, are free and have never had memory; no others are free. All pageblocks
 * are movable at first, as the kernel's. */
void buddy_init(struct buddy *buddy, struct page *mem_map, struct pageblock *blocks,
		unsigned long start_pfn, unsigned long end_pfn, unsigned long fresh_start,
		unsigned long fresh_end);

/* Is blocks[i] one that was never listed? */
static inline bool buddy_is_fresh(const struct buddy *buddy, unsigned long i)
{
	return i - buddy->fresh < buddy->fresh_end - buddy->fresh;
}

/* Add the frames [start_pfn, end_pfn) of the range, which boot does not keep. */
void buddy_add_range(struct buddy *buddy, unsigned long start_pfn, unsigned long end_pfn);

/*
 * Take up to nr blocks into pages[]; neighbours come in descending order of address, so that
 * popping from the end ascends. Pageblocks of migratetype come first; when they cannot serve,
 * others are stolen from. Returns how many.
 */
unsigned int buddy_take(struct buddy *buddy, unsigned int order, enum migratetype migratetype,
			unsigned int nr, struct page **pages);

/* Would the next block of this order, smaller than a pageblock, come out of one that is free as a
 * whole, or of another migratetype's? */
bool buddy_would_break(struct buddy *buddy, unsigned int order, enum migratetype migratetype);

/* Give one block of the range back. Stops the program if one of its frames is free already. */
void buddy_give(struct buddy *buddy, const struct page *page, unsigned int order);

/* Take nr_pages frames in a row, from the start of the first pageblock that has enough of them free
 * behind it: pageblocks that are free as a whole, one at least, and become of the migratetype, and
 * of the next one what is left, which may be in use behind that. The first frame, or NULL. Of those
 * that are taken whole, `blank` says which read as zeros until they are written to; it may be read
 * without the lock while they are the taker's. O(pageblocks / 64 + rows of free ones). */
struct page *buddy_take_run(struct buddy *buddy, unsigned long nr_pages,
			    enum migratetype migratetype);

/* Take nr_pages (1 to 511) frames in a row, wherever they begin, out of a pageblock of the
 * migratetype that is in use: the fullest that has them, but that of those that may have none only
 * eight are looked at. The first frame, or NULL. */
struct page *buddy_take_part(struct buddy *buddy, unsigned int nr_pages,
			     enum migratetype migratetype);

/* Give the frames [start_pfn, end_pfn) back, none of which is free. */
void buddy_give_range(struct buddy *buddy, unsigned long start_pfn, unsigned long end_pfn);

/* The frames of the pageblock of a frame that are not free, a bit each, to used[]; false: none. */
bool buddy_used_frames(const struct buddy *buddy, unsigned long pfn, u64 used[PAGEBLOCK_WORDS]);

/*
 * Memory that goes back to the host. Frames are isolated from the rest, so that nobody takes them
 * while the host is at it and the lock is not held, and then given back.
 */
enum buddy_choice {
	CHOOSE_WHOLE,  /* pageblocks that are free as a whole */
	CHOOSE_GROUPS, /* every free group */
	CHOOSE_PAGES,  /* every free frame */
	CHOOSE_AGED, /* every free group into which nothing was freed since it was last looked at */
};
struct buddy_isolated {
	struct pageblock *block;
	unsigned long pfn; /* its first frame */
	unsigned long nr_pages;
	u64 frames[PAGEBLOCK_WORDS]; /* bit i: frame pfn + i */
};

/*
 * Choose frames of a pageblock that have memory, and isolate them if they are most_pages or fewer
 * (with CHOOSE_GROUPS: so many groups of them); returns how many, and 0 if there are none. With
 * CHOOSE_AGED the pageblock has been looked at.
 */
unsigned long buddy_isolate(struct buddy *buddy, struct pageblock *block, enum buddy_choice choice,
			    unsigned long most_pages, struct buddy_isolated *isolated);
/* The end of that. released: the host has their memory back. */
void buddy_unisolate(struct buddy *buddy, const struct buddy_isolated *isolated, bool released);

/* Frames [start_pfn, end_pfn) of the range are free and have never had memory. For boot. */
void buddy_set_released(struct buddy *buddy, unsigned long start_pfn, unsigned long end_pfn);

/* Whether all frames of an aligned block inside the range are free. */
bool buddy_is_free(const struct buddy *buddy, unsigned long pfn, unsigned int order);

/* Add to nr_blocks[] the free blocks by order of the pageblocks of one migratetype, or of all
 * (NR_MIGRATETYPES). O(pageblocks). */
void buddy_count(const struct buddy *buddy, enum migratetype migratetype,
		 unsigned long nr_blocks[NR_PAGE_ORDERS]);
/* Add to nr[] the pageblocks by migratetype. O(pageblocks). */
void buddy_count_pageblocks(const struct buddy *buddy, unsigned long nr[NR_MIGRATETYPES]);

/* Recount the pageblocks from their bits, and look for each on its list, in O(pageblocks); stops
 * the program with what differs. `name` is for the message. */
void buddy_validate_lists(const struct buddy *buddy, const char *name);

/* The same, and every frame's struct page, in O(frames). nr_managed: frames that were added, and so
 * are not boot's. Returns how many of these are neither free nor in an allocated block: those of
 * per-CPU lists. */
unsigned long buddy_validate(const struct buddy *buddy, const char *name, unsigned long nr_managed);

#endif

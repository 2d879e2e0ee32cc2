/* SPDX-License-Identifier: MIT */
/*
 * Page flags: what reclaim, the page cache and swap say of a frame, a bit each in page->flags; and
 * what follows from page->type (head, tail, slab, page table).
 *
 *	PageDirty(page)				is it?
 *	SetPageDirty(page), ClearPageDirty(page)	atomic; others may change other flags
 *	TestSetPageDirty(page), ...			the same, and was it before?
 *	__SetPageDirty(page), __ClearPageDirty(page)	not atomic: for who has the frame alone
 *
 * A compound block has one set of flags, its head's: on a tail every function works on the head.
 * Whoever changes a flag has a reference, or the frame is not to be freed for another reason.
 *
 * Order: a test is an acquire and a change a release, so that who sees PageUptodate sees the
 * contents; test-and-change is both.
 *
 * Of an allocated block all flags are clear at first. When it is freed those of
 * PAGE_FLAGS_CHECK_AT_FREE must be clear again (each says that somebody still has the frame: the
 * program stops); the others are cleared then. In a block that is not compound this is so of the
 * first frame alone, and the others are to have no flags before split_page().
 *
 * After include/linux/page-flags.h (6.1), whose names these are. It differs in that the zone and
 * node are not in the word, and in PG_head and PG_slab, which are types here.
 */
#ifndef KMM_PHYS_PAGE_FLAGS_H
#define KMM_PHYS_PAGE_FLAGS_H

#include "base/compiler.h"
#include "base/types.h"
#include "phys/page.h"

/* X(bit's name, name in functions). */
#define PAGE_FLAGS(X)                                                                              \
	X(locked, Locked)	      /* one holder has the contents to itself, as during I/O */   \
	X(referenced, Referenced)     /* used since reclaim last looked */                         \
	X(uptodate, Uptodate)	      /* the contents are what the backing store has, or newer */  \
	X(dirty, Dirty)		      /* ... and newer */                                          \
	X(lru, LRU)		      /* on one of the LRU lists */                                \
	X(active, Active)	      /* on the active one, or to go there */                      \
	X(workingset, Workingset)     /* came back soon after it was evicted */                    \
	X(error, Error)		      /* its I/O failed */                                         \
	X(reserved, Reserved)	      /* not the allocator's to use or free */                     \
	X(private, Private)	      /* page->private holds something of a file system's */       \
	X(writeback, Writeback)	      /* is being written to its backing store */                  \
	X(mappedtodisk, MappedToDisk) /* has blocks on disk */                                     \
	X(reclaim, Reclaim)	      /* to be freed as soon as it is written */                   \
	X(swapbacked, SwapBacked)     /* its backing store is swap: anonymous memory, shmem */     \
	X(swapcache, SwapCache)	      /* has a place in swap; page->private says which */          \
	X(unevictable, Unevictable)   /* not to be reclaimed: reclaim need not look at it */       \
	X(mlocked, Mlocked)	      /* ... because a process has locked it in memory */

enum pageflags {
#define PAGE_FLAG_BIT(name, Name) PG_##name,
	PAGE_FLAGS(PAGE_FLAG_BIT)
#undef PAGE_FLAG_BIT
		NR_PAGEFLAGS
};

_Static_assert(NR_PAGEFLAGS <= 32, "page->flags has 32 bits");

#define PAGE_FLAG(bit) (1U << (bit))

#define PAGE_FLAGS_CHECK_AT_FREE                                                                   \
	(PAGE_FLAG(PG_locked) | PAGE_FLAG(PG_lru) | PAGE_FLAG(PG_active) |                         \
	 PAGE_FLAG(PG_reserved) | PAGE_FLAG(PG_private) | PAGE_FLAG(PG_writeback) |                \
	 PAGE_FLAG(PG_unevictable) | PAGE_FLAG(PG_mlocked))

/*
 * What page->type says
 */

/* Is it a frame of a compound block, but not the first? */
static inline bool PageTail(const struct page *page)
{
	return READ_ONCE(page->type) == PG_TYPE_TAIL;
}

/* Where a page's flags are. */
static inline u32 *page_flags_of(struct page *page)
{
	return &compound_head(page)->flags;
}

/* The same, to set one: first, the block's free must go by way of the flags. */
static inline u32 *page_flags_mark(struct page *page)
{
	page = compound_head(page);
	if (!(READ_ONCE(page->place) & PLACE_FLAGGED))
		__atomic_fetch_or(&page->state, PLACE_FLAGGED, __ATOMIC_RELAXED);
	return &page->flags;
}

static inline u32 page_flags_load(const struct page *page)
{
	return __atomic_load_n(&compound_head(page)->flags, __ATOMIC_ACQUIRE);
}

/* Of a slab, any frame. */
static inline bool PageSlab(const struct page *page)
{
	return READ_ONCE(compound_head(page)->type) == PG_TYPE_SLAB;
}

/* Does it hold a page table? */
static inline bool PageTable(const struct page *page)
{
	return READ_ONCE(page->type) == PG_TYPE_TABLE;
}

/* Is it the first frame of a compound block? A slab is one if it has more than one frame. */
static inline bool PageHead(const struct page *page)
{
	unsigned int type = READ_ONCE(page->type);

	return type == PG_TYPE_HEAD || (type == PG_TYPE_SLAB && READ_ONCE(page->order));
}

static inline bool PageCompound(const struct page *page)
{
	return PageHead(page) || PageTail(page);
}

/* Order, frames and bytes of a compound block, by its head. Any other frame, a tail too, is of
 * order 0 here. */
static inline unsigned int compound_order(const struct page *page)
{
	return PageHead(page) ? READ_ONCE(page->order) : 0;
}

static inline unsigned long compound_nr(const struct page *page)
{
	return 1UL << compound_order(page);
}

static inline unsigned long page_size(const struct page *page)
{
	return PAGE_SIZE << compound_order(page);
}

/*
 * Flags
 */

#define PAGE_FLAG_FUNCTIONS(name, Name)                                                            \
	static inline bool Page##Name(const struct page *page)                                     \
	{                                                                                          \
		return page_flags_load(page) & PAGE_FLAG(PG_##name);                               \
	}                                                                                          \
	static inline void SetPage##Name(struct page *page)                                        \
	{                                                                                          \
		__atomic_fetch_or(page_flags_mark(page), PAGE_FLAG(PG_##name), __ATOMIC_RELEASE);  \
	}                                                                                          \
	static inline void ClearPage##Name(struct page *page)                                      \
	{                                                                                          \
		__atomic_fetch_and(page_flags_of(page), ~PAGE_FLAG(PG_##name), __ATOMIC_RELEASE);  \
	}                                                                                          \
	static inline bool TestSetPage##Name(struct page *page)                                    \
	{                                                                                          \
		return __atomic_fetch_or(page_flags_mark(page), PAGE_FLAG(PG_##name),              \
					 __ATOMIC_ACQ_REL) &                                       \
		       PAGE_FLAG(PG_##name);                                                       \
	}                                                                                          \
	static inline bool TestClearPage##Name(struct page *page)                                  \
	{                                                                                          \
		return __atomic_fetch_and(page_flags_of(page), ~PAGE_FLAG(PG_##name),              \
					  __ATOMIC_ACQ_REL) &                                      \
		       PAGE_FLAG(PG_##name);                                                       \
	}                                                                                          \
	static inline void __SetPage##Name(struct page *page)                                      \
	{                                                                                          \
		WRITE_ONCE(*page_flags_mark(page), page_flags_load(page) | PAGE_FLAG(PG_##name));  \
	}                                                                                          \
	static inline void __ClearPage##Name(struct page *page)                                    \
	{                                                                                          \
		WRITE_ONCE(*page_flags_of(page), page_flags_load(page) & ~PAGE_FLAG(PG_##name));   \
	}

PAGE_FLAGS(PAGE_FLAG_FUNCTIONS)
#undef PAGE_FLAG_FUNCTIONS

#endif

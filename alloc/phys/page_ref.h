/* SPDX-License-Identifier: MIT */
/*
 * References to a block: how many have a use for it. The allocator gives a block out with one, its
 * owner's; who drops the last frees it, with the order it was allocated with.
 *
 *	alloc_pages	1
 *	get_page	+1	by who has a reference, or keeps one from being dropped (a lock)
 *	put_page	-1	the last frees the block
 *	__free_pages	-1	the same, and the caller's order must be the block's
 *
 * The count is the head's: on a tail of a compound block every function works on the head, but for
 * those named page_ref_..., set_page_count and init_page_count, which take the frame as it is. A
 * block that is not compound has a count on its first frame only.
 *
 * What differs from the kernel: __free_pages frees without an atomic operation when it finds a
 * count of one, as nobody else can then have a reference to take another from. So
 * get_page_unless_zero(), which needs none, is for frames that are freed by put_page() alone while
 * others may find them. And __free_pages of a block that is not compound leaves all of it, not its
 * first frame, to the other references.
 *
 * Order: dropping a reference is a release, and dropping the last an acquire too, so that what
 * others did to the frame is done before it is freed. Taking one orders nothing.
 *
 * All operations are on the whole word `state`, of which the count is the upper half: the free fast
 * path reads it whole.
 *
 * After include/linux/page_ref.h and mm.h (6.1).
 */
#ifndef KMM_PHYS_PAGE_REF_H
#define KMM_PHYS_PAGE_REF_H

#include "base/compiler.h"
#include "base/types.h"
#include "phys/page.h"

KMM_BEGIN_DECLS

#define PAGE_REF_SHIFT 32 /* of the count in page->state */

/* Stop the program: a reference taken or dropped where there is none, count being what was
 * found. */
KMM_COLD KMM_API __attribute__((noreturn)) void page_ref_refuse(const struct page *page, s32 count);

/* Free a block whose last reference is gone. */
KMM_API void __put_page(struct page *head);

static inline s32 page_ref_count(const struct page *page)
{
	return READ_ONCE(page->refcount);
}

static inline s32 page_count(const struct page *page)
{
	return page_ref_count(compound_head(page));
}

/* For who has the frame alone. */
static inline void set_page_count(struct page *page, s32 count)
{
	WRITE_ONCE(page->refcount, count);
}

static inline void init_page_count(struct page *page)
{
	set_page_count(page, 1);
}

static inline s32 page_ref_add_return(struct page *page, s32 nr)
{
	u64 state = __atomic_add_fetch(&page->state, (u64)nr << PAGE_REF_SHIFT, __ATOMIC_RELAXED);

	return (s32)(state >> PAGE_REF_SHIFT);
}

static inline s32 page_ref_sub_return(struct page *page, s32 nr)
{
	u64 state = __atomic_sub_fetch(&page->state, (u64)nr << PAGE_REF_SHIFT, __ATOMIC_ACQ_REL);

	return (s32)(state >> PAGE_REF_SHIFT);
}

static inline void page_ref_add(struct page *page, s32 nr)
{
	page_ref_add_return(page, nr);
}

static inline void page_ref_sub(struct page *page, s32 nr)
{
	page_ref_sub_return(page, nr);
}

static inline void page_ref_inc(struct page *page)
{
	page_ref_add_return(page, 1);
}

static inline void page_ref_dec(struct page *page)
{
	page_ref_sub_return(page, 1);
}

static inline s32 page_ref_inc_return(struct page *page)
{
	return page_ref_add_return(page, 1);
}

static inline s32 page_ref_dec_return(struct page *page)
{
	return page_ref_sub_return(page, 1);
}

/* Drop nr references; true if they were the last. */
static inline bool page_ref_sub_and_test(struct page *page, s32 nr)
{
	return page_ref_sub_return(page, nr) == 0;
}

static inline bool page_ref_dec_and_test(struct page *page)
{
	return page_ref_sub_and_test(page, 1);
}

/* Take nr references unless there are `unless` exactly; true if taken. */
static inline bool page_ref_add_unless(struct page *page, s32 nr, s32 unless)
{
	u64 state = READ_ONCE(page->state);

	while ((s32)(state >> PAGE_REF_SHIFT) != unless)
		if (__atomic_compare_exchange_n(&page->state, &state,
						state + ((u64)nr << PAGE_REF_SHIFT), false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return true;
	return false;
}

/* If all references are the caller's `count`, make them 0, so that nobody can take another; true if
 * so. */
static inline bool page_ref_freeze(struct page *page, s32 count)
{
	u64 state = READ_ONCE(page->state);

	while ((s32)(state >> PAGE_REF_SHIFT) == count)
		if (__atomic_compare_exchange_n(&page->state, &state, (u32)state, false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return true;
	return false;
}

/* The end of that. */
static inline void page_ref_unfreeze(struct page *page, s32 count)
{
	__atomic_add_fetch(&page->state, (u64)count << PAGE_REF_SHIFT, __ATOMIC_RELEASE);
}

/* Take a reference. Stops the program if nobody has one. One atomic addition. */
static inline void get_page(struct page *page)
{
	s32 count;

	page = compound_head(page);
	count = page_ref_inc_return(page);
	if (unlikely(count <= 1))
		page_ref_refuse(page, count - 1);
}

/* Drop a reference; true if it was the last, and the caller then frees the block. Stops the program
 * if there was none. Not for tails. One atomic subtraction. */
static inline bool put_page_testzero(struct page *page)
{
	s32 count = page_ref_dec_return(page);

	if (unlikely(count < 0))
		page_ref_refuse(page, count + 1);
	return count == 0;
}

/* Is there one reference only? It is the caller's then, and the free needs no atomic operation. */
static inline bool page_ref_last(const struct page *page)
{
	return __atomic_load_n(&page->state, __ATOMIC_ACQUIRE) >> PAGE_REF_SHIFT == 1;
}

/* Drop a reference, and free the block if it was the last. */
static inline void put_page(struct page *page)
{
	page = compound_head(page);
	if (put_page_testzero(page))
		__put_page(page);
}

/* Take a reference if anybody has one; true if taken. See above for which frames. */
static inline bool get_page_unless_zero(struct page *page)
{
	struct page *head = compound_head(page);

	if (!page_ref_add_unless(head, 1, 0))
		return false;
	/* Meanwhile the block may have been freed, and the head begin another. */
	if (likely(compound_head(page) == head))
		return true;
	put_page(head);
	return false;
}

KMM_END_DECLS
#endif

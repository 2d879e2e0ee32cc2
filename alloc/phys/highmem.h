/* SPDX-License-Identifier: MIT */
/*
 * Addresses for frames that the direct map does not cover: HighMem of the i386 layout. A frame of
 * any other zone has its address already, and all of this is page_address() for it.
 *
 *	kmap		a window of the machine's: any thread may use it until as many kunmaps
 *	kmap_local_page	a window of this CPU slot's: for a few lines of code in one thread
 *
 * Both cost a call to the host for a frame that has no window, and kmap a lock besides. They can
 * fail, which the kernel's cannot: it sleeps until a window comes free. What is no struct page of
 * the machine stops the program.
 *
 * After include/linux/highmem.h (6.1).
 */
#ifndef KMM_PHYS_HIGHMEM_H
#define KMM_PHYS_HIGHMEM_H

#include "base/compiler.h"
#include "base/types.h"

KMM_BEGIN_DECLS

#define LAST_PKMAP 1024 /* windows of kmap, of a page each */
#define KM_MAX_IDX 16	/* kmap_local_pages at a time in one slot */

/* Is it a frame without a place in the direct map? */
KMM_API bool PageHighMem(const struct page *page);

/*
 * An address for the frame until kunmap() has been called as often; the same one for every caller
 * in the meantime, and what page_address() says. One frame: of a larger block each has a window of
 * its own. NULL when all LAST_PKMAP windows are in use or the host refuses. Takes the kmap lock
 * (RANK_KMAP); for a lowmem frame nothing, and cannot fail.
 *
 * A window whose last user is gone stays as it is, and is there for the next kmap of the same
 * frame; it is taken down when the search for a free one comes round.
 */
KMM_API void *kmap(struct page *page);
/* Stops the program if the frame is not kmapped. Nothing for a lowmem frame. */
KMM_API void kunmap(struct page *page);

/*
 * An address for the frame, for the calling thread, until kunmap_local(). They nest, KM_MAX_IDX
 * deep, and end last made first; either's violation stops the program. In between the thread must
 * not attach to another CPU. No lock. NULL when the host refuses.
 */
KMM_API void *kmap_local_page(struct page *page);
/* addr: any address in the page. */
KMM_API void kunmap_local(const void *addr);

/* The older names of the two. */
#define kmap_atomic(page)   kmap_local_page(page)
#define kunmap_atomic(addr) kunmap_local(addr)

/* Take all windows of kmap down that nobody uses. */
KMM_API void kmap_flush_unused(void);

/* Fill a frame with zeros. 0, or -ENOMEM when it can have no window. */
KMM_API int clear_highpage(struct page *page);

KMM_END_DECLS
#endif

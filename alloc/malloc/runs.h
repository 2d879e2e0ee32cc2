/* SPDX-License-Identifier: MIT */
/*
 * Runs of pages, for what is larger than slab's largest object, and not so large that a mapping of its
 * own is no loss. The caller has entered the heap.
 */
#ifndef KMM_MALLOC_RUNS_H
#define KMM_MALLOC_RUNS_H

#include "base/types.h"

#define RUN_BLOCK_BYTES                                                                            \
	(PAGE_SIZE << MAX_PAGE_ORDER) /* the longest that is part of a block of pages */
#define RUN_MAX_BYTES (64UL << 20)    /* the longest */

/*
 * size bytes (1 to RUN_MAX_BYTES), rounded up to whole pages, and to an eighth up to RUN_BLOCK_BYTES.
 * NULL for no memory, or an alignment beyond RUN_BLOCK_BYTES; HPAGE_SIZE for longer ones.
 */
void *run_alloc(size_t size, size_t align);

/* Bytes of the run that begins at addr, whose frame is page; 0 if none does, or it is free. */
size_t run_size(const struct page *page, const void *addr);

/* One that this CPU has at hand; NULL if it has none. size is at most RUN_BLOCK_BYTES. For any thread at
 * any time, as malloc's fast path; so is the next, which is false of what is no run, or has no room. */
void *run_at_hand(size_t size);
bool run_keep(void *addr);

/* Give a run back; run_size() is not 0. at_hand: this CPU may keep it for the next that wants its
 * length. */
void run_free(struct page *page, void *addr, bool at_hand);

/* Give back what it has behind its first size bytes. */
void run_shrink(struct page *page, const void *addr, size_t size);

/* Bytes of all runs that are allocated. */
u64 runs_bytes(void);

#endif

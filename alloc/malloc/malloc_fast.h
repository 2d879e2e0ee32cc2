/* SPDX-License-Identifier: MIT */
/* The fast paths that malloc and free share with the C++ operators. */
#ifndef KMM_MALLOC_MALLOC_FAST_H
#define KMM_MALLOC_MALLOC_FAST_H

#include "malloc/heap.h"
#include "slab/fast.h"

/* An object that this CPU has at hand; false if there is none, or size is 0 or no class's. */
static inline bool malloc_at_hand(size_t size, void **addr)
{
	return likely(size <= KMALLOC_MAX_CACHE_SIZE) &&
	       likely(kmalloc_pop(this_cpu, (size + 15) / 16 * 2, addr));
}

static inline void *malloc_fast(size_t size)
{
	void *addr;

	if (likely(malloc_at_hand(size, &addr)))
		return addr;
	return heap_alloc(size, MIN_ALIGN, false);
}

static inline void free_fast(void *addr)
{
	if (unlikely(!kfree_push(this_cpu, addr)))
		heap_free(addr, __builtin_return_address(0));
}

#endif

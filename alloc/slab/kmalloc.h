/* SPDX-License-Identifier: MIT */
/*
 * kmalloc: objects by size. Caches kmalloc-8, 16, 32, 64, 96, 128, 192, 256, 512, 1k, 2k, 4k, 8k,
 * as mm/slab_common.c (6.1) has them; larger sizes come from the page allocator, up to 4 MiB.
 *
 * Unlike the kernel's there are no caches of their own for __GFP_DMA, so up to the largest cache it
 * is no promise: memory that must be low comes from alloc_pages.
 */
#ifndef KMM_SLAB_KMALLOC_H
#define KMM_SLAB_KMALLOC_H

#include "slab/slab.h"

KMM_BEGIN_DECLS

#define KMALLOC_MAX_CACHE_SIZE 8192UL
#define KMALLOC_MAX_SIZE       (PAGE_SIZE << MAX_PAGE_ORDER)
#define ZERO_SIZE_PTR	       ((void *)16)

/*
 * size bytes, aligned to 8, and to size when it is a power of two. size 0 gives ZERO_SIZE_PTR,
 * which may be freed but not written. NULL for no memory, or a size beyond KMALLOC_MAX_SIZE.
 */
KMM_API void *kmalloc(size_t size, gfp_t gfp);
KMM_API void *kmalloc_node(size_t size, gfp_t gfp, int nid);
KMM_API void *kzalloc(size_t size, gfp_t gfp);
/*
 * Free what any of these gave. NULL and ZERO_SIZE_PTR do nothing; a pointer that is none of theirs
 * stops the program.
 */
KMM_API void kfree(const void *object);
/* Usable bytes of what they gave; 0 for NULL and ZERO_SIZE_PTR. */
KMM_API size_t ksize(const void *object);

KMM_END_DECLS
#endif

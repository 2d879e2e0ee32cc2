/* SPDX-License-Identifier: MIT */
/*
 * kmalloc: objects by size. Caches kmalloc-8, 16, 32, 64, 96, 128, 192, 256, 512, 1k, 2k, 4k, 8k, as
 * mm/slab_common.c (6.1) has them; larger sizes are powers of two of pages from the page allocator,
 * up to 64 MiB where the kernel ends at 4. With kmm_config.kmalloc_classes fine ones: kmalloc-8, 16,
 * 24, 32 ... 128, then eight sizes to each doubling up to kmalloc-32k; larger sizes are whole pages.
 *
 * With __GFP_DMA it is dma-kmalloc-8 ... and their memory lies in the DMA zone; with
 * __GFP_RECLAIMABLE kmalloc-rcl-8 ...; both together count as the first. These have the kernel's
 * sizes, always.
 */
#ifndef KMM_SLAB_KMALLOC_H
#define KMM_SLAB_KMALLOC_H

#include "slab/slab.h"

KMM_BEGIN_DECLS

#define KMALLOC_MAX_CACHE_SIZE 32768UL /* with fine classes; 8192 with the kernel's */
#define KMALLOC_MAX_SIZE       (64UL << 20)
#define ZERO_SIZE_PTR	       ((void *)16)

/*
 * size bytes, aligned to 8, to size when it is a power of two, and with fine classes up to 32 KiB to
 * the largest power of two that divides size, and on a plain machine beyond 8 bytes to 16 at least;
 * beyond 32 KiB to a page at least, beyond 4 MiB to 2 MiB. size 0 gives ZERO_SIZE_PTR, as in the kernel: it is not NULL, so not an error; it may be freed but not written,
 * and ksize() of it is 0. NULL for no memory, or a size beyond KMALLOC_MAX_SIZE. kzalloc: zeroed.
 * _node: on node nid if it can be had.
 */
KMM_API void *kmalloc(size_t size, gfp_t gfp);
KMM_API void *kmalloc_node(size_t size, gfp_t gfp, int nid);
KMM_API void *kzalloc(size_t size, gfp_t gfp);
static inline void *kzalloc_node(size_t size, gfp_t gfp, int nid)
{
	return kmalloc_node(size, gfp | __GFP_ZERO, nid);
}
/* An array of n times size bytes; kcalloc: zeroed. NULL also when the product overflows. */
static inline void *kmalloc_array_node(size_t n, size_t size, gfp_t gfp, int nid)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? NULL : kmalloc_node(bytes, gfp, nid);
}
static inline void *kmalloc_array(size_t n, size_t size, gfp_t gfp)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? NULL : kmalloc(bytes, gfp);
}
static inline void *kcalloc_node(size_t n, size_t size, gfp_t gfp, int nid)
{
	return kmalloc_array_node(n, size, gfp | __GFP_ZERO, nid);
}
static inline void *kcalloc(size_t n, size_t size, gfp_t gfp)
{
	return kmalloc_array(n, size, gfp | __GFP_ZERO);
}
/*
 * Give an object a new size: the same address while size fits into ksize(object), and so whenever
 * it shrinks (with fine classes, whole pages that it needs no longer are freed, if they are a
 * quarter of it); else a new one, with all ksize() bytes of the old one copied and that freed. object
 * NULL or ZERO_SIZE_PTR: as kmalloc. size 0: frees, and returns ZERO_SIZE_PTR. NULL for no memory,
 * and object is as it was. __GFP_ZERO zeroes what a new one has behind the copy, and nothing of one
 * that stays.
 */
KMM_API void *krealloc(const void *object, size_t size, gfp_t gfp);
/* The same for n times size bytes; NULL when the product overflows, and object is as it was. */
static inline void *krealloc_array(void *object, size_t n, size_t size, gfp_t gfp)
{
	size_t bytes;

	return __builtin_mul_overflow(n, size, &bytes) ? NULL : krealloc(object, bytes, gfp);
}
/*
 * Free what any of these gave. NULL and ZERO_SIZE_PTR do nothing; a pointer that is none of theirs
 * stops the program.
 */
KMM_API void kfree(const void *object);
/* kfree of nr of them. */
KMM_API void kfree_bulk(size_t nr, void **objects);
/* kfree after zeroing all ksize() bytes, which no compiler leaves out. */
KMM_API void kfree_sensitive(const void *object);
/*
 * Usable bytes of what they gave; 0 for NULL and ZERO_SIZE_PTR. With SLAB_RED_ZONE only what was
 * asked for may be used, until ksize() says the rest may.
 */
KMM_API size_t ksize(const void *object);

KMM_END_DECLS
#endif

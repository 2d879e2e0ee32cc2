/* SPDX-License-Identifier: MIT */
/*
 * The fast paths of kmem_cache_alloc, kmem_cache_free, kmalloc and kfree, inline. The functions are
 * these and nothing else; a caller within the tree that is itself called as often (malloc, a
 * benchmark's table of functions) saves a jump, and the tests of what it passes as constants.
 *
 * They touch this CPU's magazine, the cache's first line or the slot's size table, and in a free the
 * object's struct page. They take no lock, do no atomic operation, and touch no object. All that is
 * not so ends in a jump to a function of slab.c or kmalloc.c; what that may be, and what a caller's
 * bug meets, is said there.
 */
#ifndef KMM_SLAB_FAST_H
#define KMM_SLAB_FAST_H

#include "slab/cache.h"

static inline void *kmem_cache_alloc_inline(struct kmem_cache *cache, gfp_t gfp)
{
	void *object;

	if (KMM_DEBUG)
		cache_cpu(cache);
	if (unlikely(gfp & CACHE_GFP_SPECIAL))
		return cache_alloc_special(cache, gfp);
	if (likely(magazine_pop(cache_magazine(cache, this_cpu), &object)))
		return object;
	return cache_alloc_slow(cache, gfp);
}

static inline void kmem_cache_free_inline(struct kmem_cache *cache, void *object)
{
	struct kmm_cpu *cpu = this_cpu;
	struct magazine *mag = cache_magazine(cache, cpu);
	struct page *page;

	if (KMM_DEBUG)
		cache_check_free(cache, object);
	if (likely(cpu_frame(cpu, object, &page)) && likely(READ_ONCE(page->slab_key) == mag->key) &&
	    likely(magazine_push(mag, object)))
		return;
	cache_free_slow(cache, object);
}

/* Entry 0 of a size table leads to the slot itself, of which the low bits of direct_map are then the
 * number of objects; they are 0 as it is a multiple of HPAGE_SIZE at least. */
_Static_assert(offsetof(struct magazine, state) == offsetof(struct kmm_cpu, direct_map) &&
		       !(HPAGE_SIZE & 0xffff),
	       "entry 0 meets a number that is 0");

/*
 * Half of kmalloc: an object of the class of index * 8 bytes, up to KMALLOC_MAX_CACHE_SIZE. False when
 * the slot has none at hand, and for index 0.
 */
static inline bool kmalloc_pop(struct kmm_cpu *cpu, size_t index, void **object)
{
	const u16 *table = percpu_ptr(cpu, cpu->kmalloc_table);

	return magazine_pop(percpu_ptr(cpu, (size_t)table[index] * MAGAZINE_ALIGN), object);
}

static inline void *kmalloc_inline(size_t size, gfp_t gfp)
{
	void *object;

	if (unlikely(size > KMALLOC_MAX_CACHE_SIZE) || unlikely(gfp & KMALLOC_GFP_SPECIAL))
		return kmalloc_slow(size, gfp);
	if (likely(kmalloc_pop(this_cpu, (size + 7) / 8, &object)))
		return object;
	return kmalloc_slow(size, gfp);
}

/*
 * A frame that is in no slab has key 0. That leads to the slot itself, where what is not 0 lies in
 * the place of a key; but in the detached slot, which is all zeros and so takes nothing.
 */
_Static_assert(offsetof(struct magazine, key) == offsetof(struct kmm_cpu, kmalloc_table),
	       "key 0 meets an offset that is not 0");

/* Half of kfree: false when the slot has no room for the object, or it is none of a cache's here. What
 * is in another slot's slab costs a call. */
static inline bool kfree_push(struct kmm_cpu *cpu, void *object)
{
	struct magazine *mag;
	struct page *page;
	u32 key;

	if (unlikely(!cpu_frame(cpu, object, &page)))
		return false;
	key = READ_ONCE(page->slab_key);
	if (KMM_DEBUG && key)
		cache_check_free(page->slab_cache, object);
	mag = percpu_ptr(cpu, slab_key_offset(key));
	return likely(mag->key == key) ? likely(magazine_push(mag, object))
				       : kfree_foreign(cpu, page, key, object);
}

static inline void kfree_inline(void *object)
{
	if (unlikely(!kfree_push(this_cpu, object)))
		kfree_slow(object);
}

#endif

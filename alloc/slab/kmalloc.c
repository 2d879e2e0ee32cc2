/* SPDX-License-Identifier: MIT */
/*
 * kmalloc: a cache for each size class (kmalloc_classes.c), and pages beyond the largest
 * (kmalloc_large.c).
 *
 * The class of a size is looked up, not computed: each slot has a table, indexed by (size + 7) / 8,
 * of where in the slot the magazine of that class lies. So an allocation goes from the size to the
 * magazine in one load, whatever the classes are, and a free does from the key in the object's
 * struct page; neither looks at the cache.
 *
 *	slot:  | struct kmm_cpu | ... | u16 by size: offset / 128 | ... | magazine | magazine |
 *	            kmalloc_table -----^                      \____________^
 *
 * The table is as long for each set of classes, and zeros where the slot has not used a class yet, or
 * there is none, and for size 0. Zero is the offset of the slot itself, which taken for a magazine is
 * an empty one; so is the detached slot, of zeros. Objects of other kinds of pages than the normal are
 * not in the table.
 */
#include <string.h>

#include "slab/cache.h"
#include "slab/fast.h"

static enum kmalloc_type gfp_type(gfp_t gfp)
{
	if (likely(!(gfp & (__GFP_DMA | __GFP_RECLAIMABLE))))
		return KMALLOC_NORMAL;
	return gfp & __GFP_DMA ? KMALLOC_DMA : KMALLOC_RECLAIM;
}

/*
 * The cache of a size from 1, on this thread's machine; NULL where there is none, and the object is
 * pages.
 */
static struct kmem_cache *size_cache(size_t size, gfp_t gfp)
{
	struct kmm *machine = cpu_get()->machine;

	return size <= KMALLOC_MAX_CACHE_SIZE ? kmalloc_cache(machine, gfp_type(gfp), size) : NULL;
}

/* See that the slot finds a size the short way from now on. */
static inline void open_class(size_t size)
{
	struct kmm_cpu *cpu = this_cpu;
	const u16 *table = percpu_ptr(cpu, cpu->kmalloc_table);

	if (unlikely(!table[(size + 7) / 8]))
		kmalloc_open_class(cpu, size);
}

/* Zero size, large, KMALLOC_GFP_SPECIAL, an empty magazine, or a thread that is not attached. */
void *kmalloc_slow(size_t size, gfp_t gfp)
{
	struct kmem_cache *cache;

	if (!size)
		return ZERO_SIZE_PTR;
	cache = size_cache(size, gfp);
	if (!cache)
		return kmalloc_large(size, gfp, NUMA_NO_NODE);
	if (unlikely(cache->flags & SLAB_RED_ZONE))
		return cache_alloc_sized(cache, gfp, NUMA_NO_NODE, size,
					 __builtin_return_address(0));
	if (likely(gfp_type(gfp) == KMALLOC_NORMAL))
		open_class(size);
	return kmem_cache_alloc(cache, gfp);
}

void *kmalloc(size_t size, gfp_t gfp)
{
	return kmalloc_inline(size, gfp);
}

void *kmalloc_node(size_t size, gfp_t gfp, int nid)
{
	struct kmem_cache *cache;

	if (!size)
		return ZERO_SIZE_PTR;
	cache = size_cache(size, gfp);
	if (!cache)
		return kmalloc_large(size, gfp, nid);
	if (unlikely(cache->flags & SLAB_RED_ZONE))
		return cache_alloc_sized(cache, gfp, nid, size, __builtin_return_address(0));
	return kmem_cache_alloc_node(cache, gfp, nid);
}

void *kzalloc(size_t size, gfp_t gfp)
{
	return kmalloc(size, gfp | __GFP_ZERO);
}

static bool is_null(const void *object)
{
	return !object || object == ZERO_SIZE_PTR;
}

/* NULL, large, full, another node's or slot's, not attached, or a mistake. */
void kfree_slow(void *object)
{
	struct kmm_cpu *cpu;
	struct page *page;

	if (is_null(object))
		return;
	cpu = cpu_get();
	KMM_BUG_ON(!cpu_frame(cpu, object, &page), "%p is not of this machine's memory", object);
	if (page->slab_cache)
		cache_free_slow(page->slab_cache, object);
	else
		kfree_large(cpu, page, object);
}

/*
 * An object of another slot's slab, whose page has this key, into the remote magazine: false when that is
 * not open or is full, or the slab is nobody's or this slot's.
 */
bool kfree_foreign(struct kmm_cpu *cpu, const struct page *page, u32 key, void *object)
{
	const u32 owner = slab_key_owner(key);
	struct magazine *mag;

	if (!owner || owner == cpu_owner(cpu))
		return false;
	mag = cache_remote_magazine(page->slab_cache, cpu);
	if (!magazine_push(mag, object))
		return false;
	WRITE_ONCE(mag->slow_frees, mag->slow_frees + 1);
	return true;
}

void kfree(const void *object)
{
	kfree_inline((void *)(uintptr_t)object);
}

/* Usable bytes of what kmalloc gave, and the page it begins in; 0 for what is nothing. */
static size_t room_of(const void *object, struct page **page)
{
	if (is_null(object))
		return 0;
	KMM_BUG_ON(!cpu_frame(cpu_get(), object, page), "%p is not of this machine's memory",
		   object);
	if ((*page)->slab_cache)
		return READ_ONCE((*page)->slab_cache->object_size);
	return large_size(*page, object);
}

size_t ksize(const void *object)
{
	struct page *page = NULL;
	size_t size = room_of(object, &page);

	/* Whoever asks may use it all. */
	if (page && page->slab_cache && unlikely(page->slab_cache->flags & SLAB_RED_ZONE))
		slab_debug_resize(page->slab_cache, (void *)(uintptr_t)object, size);
	return size;
}

/* An object that begins in page, and has room for size bytes. */
static void *resize(struct page *page, void *object, size_t size)
{
	if (!page->slab_cache)
		large_shrink(page, object, size);
	else if (unlikely(page->slab_cache->flags & SLAB_RED_ZONE))
		slab_debug_resize(page->slab_cache, object, size);
	return object;
}

void *krealloc(const void *object, size_t size, gfp_t gfp)
{
	struct page *page = NULL;
	size_t old_size;
	void *new_object;

	if (!size) {
		kfree(object);
		return ZERO_SIZE_PTR;
	}
	old_size = room_of(object, &page);
	if (old_size >= size)
		return resize(page, (void *)(uintptr_t)object, size);
	if (old_size && page->slab_cache)
		old_size = slab_debug_asked(page->slab_cache, object);
	new_object = kmalloc(size, gfp);
	if (new_object && old_size) {
		memcpy(new_object, object, old_size);
		kfree(object);
	}
	return new_object;
}

void kfree_sensitive(const void *object)
{
	void *bytes = (void *)(uintptr_t)object;

	if (is_null(object))
		return;
	memset(bytes, 0, ksize(object));
	/* So that the compiler takes the zeros for read. */
	__asm__ volatile("" : : "r"(bytes) : "memory");
	kfree(object);
}

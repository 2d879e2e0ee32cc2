/* SPDX-License-Identifier: MIT */
/*
 * kmalloc: a cache for each size class, and blocks of pages beyond the largest.
 *
 * The class of a size is looked up, not computed: each slot has a table, indexed by (size + 7) / 8,
 * of where in the slot the magazine of that class lies. So an allocation goes from the size to the
 * magazine in one load, whatever the classes are, and a free does from the key in the object's
 * struct page; neither looks at the cache.
 *
 *	slot:  | struct kmm_cpu | ... | u16 by size: offset / 64 | ... | magazine | magazine |
 *	            kmalloc_table -----^                      \____________^
 *
 * Classes are those of mm/slab_common.c (6.1): powers of two from 8 to 8192, and 96 and 192; three
 * times, for three kinds of pages, of which the size table knows the first. The
 * detached slot is zeros, in which every size leads to an empty magazine. Size 0 leads to one that
 * is never opened.
 *
 * A block of pages is marked by `private` in its struct page, so that a second free, or a free of
 * pages that did not come from here, is seen.
 */
#include <errno.h>
#include <string.h>

#include "phys/page_alloc.h"
#include "slab/cache.h"
#include "slab/fast.h"

#define LARGE_KMALLOC 0x6c61726765UL /* page->private of a block that kmalloc gave out */

#define CLASS(text, bytes)                                                                         \
	{                                                                                          \
		{"kmalloc-" text, "kmalloc-rcl-" text, "dma-kmalloc-" text}, bytes                 \
	}

static const struct {
	const char *names[NR_KMALLOC_TYPES];
	unsigned int size;
} classes[NR_KMALLOC_CACHES] = {
	CLASS("8", 8),	   CLASS("16", 16),   CLASS("32", 32),	 CLASS("64", 64),
	CLASS("96", 96),   CLASS("128", 128), CLASS("192", 192), CLASS("256", 256),
	CLASS("512", 512), CLASS("1k", 1024), CLASS("2k", 2048), CLASS("4k", 4096),
	CLASS("8k", 8192),
};

static const slab_flags_t type_flags[NR_KMALLOC_TYPES] = {
	[KMALLOC_RECLAIM] = SLAB_RECLAIM_ACCOUNT,
	[KMALLOC_DMA] = SLAB_CACHE_DMA,
};

_Static_assert(PERCPU_SIZE / CACHELINE_SIZE - 1 <= UINT16_MAX, "magazine offsets fit the size table");

/* Give a slot its size table. */
void kmalloc_cpu_init(struct slab *slab, struct kmm_cpu *cpu)
{
	struct kmem_cache **caches = slab->kmalloc_caches[KMALLOC_NORMAL];
	u16 *table = percpu_ptr(cpu, slab->size_table);

	table[0] = (u16)(slab->closed_magazine / CACHELINE_SIZE);
	for (unsigned int i = 1; i < KMALLOC_TABLE_SIZE; i++)
		table[i] = (u16)(caches[slab->kmalloc_class[i]]->mag_offset / CACHELINE_SIZE);
	cpu->kmalloc_table = slab->size_table;
}

static int boot_type(struct kmm *machine, enum kmalloc_type type)
{
	for (unsigned int i = 0; i < NR_KMALLOC_CACHES; i++) {
		unsigned int size = classes[i].size;
		/* A slab starts at a multiple of its size, so that more than a page is no waste. */
		struct kmem_cache *cache =
			cache_create_boot(machine, classes[i].names[type], size,
					  is_power_of_2(size) ? size : 0, type_flags[type]);

		if (!cache)
			return -ENOMEM;
		machine->slab->kmalloc_caches[type][i] = cache;
	}
	return 0;
}

/* Make the caches. 0 or -ENOMEM, with those made so far on the list. */
int kmalloc_boot(struct kmm *machine)
{
	struct slab *slab = machine->slab;

	for (unsigned int type = 0; type < NR_KMALLOC_TYPES; type++) {
		int err = boot_type(machine, (enum kmalloc_type)type);

		if (err)
			return err;
	}
	for (unsigned int i = 1, nr = 0; i < KMALLOC_TABLE_SIZE; i++) {
		while (classes[nr].size < i * 8)
			nr++;
		slab->kmalloc_class[i] = (u8)nr;
	}
	return 0;
}

static struct slab_cpu *slab_cpu(struct kmm_cpu *cpu)
{
	return percpu_ptr(cpu, cpu->machine->slab->cpu_counters);
}

static KMM_COLD void *kmalloc_large(size_t size, gfp_t gfp, int nid)
{
	struct page *page;

	if (size > KMALLOC_MAX_SIZE)
		return NULL;
	gfp &= ~(__GFP_HIGHMEM | __GFP_MOVABLE | __GFP_SHARED);
	page = alloc_pages_node(nid, gfp, get_order(size));
	if (!page)
		return NULL;
	page->private = LARGE_KMALLOC;
	slab_cpu(cpu_get())->large_allocs++;
	return page_address(page);
}

static KMM_COLD void kfree_large(struct kmm_cpu *cpu, struct page *page, void *object)
{
	KMM_BUG_ON(page->type != PG_TYPE_ALLOC || page->private != LARGE_KMALLOC ||
			   !IS_ALIGNED((unsigned long)object, PAGE_SIZE),
		   "%p is not from kmalloc, or freed already", object);
	page->private = 0;
	slab_cpu(cpu)->large_frees++;
	__free_pages(page, page->order);
}

static enum kmalloc_type gfp_type(gfp_t gfp)
{
	if (likely(!(gfp & (__GFP_DMA | __GFP_RECLAIMABLE))))
		return KMALLOC_NORMAL;
	return gfp & __GFP_DMA ? KMALLOC_DMA : KMALLOC_RECLAIM;
}

/* The cache of a size from 1 to KMALLOC_MAX_CACHE_SIZE, on this thread's machine. */
static struct kmem_cache *size_cache(size_t size, gfp_t gfp)
{
	struct slab *slab = cpu_get()->machine->slab;

	return slab->kmalloc_caches[gfp_type(gfp)][slab->kmalloc_class[(size + 7) / 8]];
}

/* Zero size, large, KMALLOC_GFP_SPECIAL, an empty magazine, or a thread that is not attached. */
void *kmalloc_slow(size_t size, gfp_t gfp)
{
	if (!size)
		return ZERO_SIZE_PTR;
	if (size > KMALLOC_MAX_CACHE_SIZE)
		return kmalloc_large(size, gfp, NUMA_NO_NODE);
	return kmem_cache_alloc(size_cache(size, gfp), gfp);
}

void *kmalloc(size_t size, gfp_t gfp)
{
	return kmalloc_inline(size, gfp);
}

void *kmalloc_node(size_t size, gfp_t gfp, int nid)
{
	if (!size)
		return ZERO_SIZE_PTR;
	if (size > KMALLOC_MAX_CACHE_SIZE)
		return kmalloc_large(size, gfp, nid);
	return kmem_cache_alloc_node(size_cache(size, gfp), gfp, nid);
}

void *kzalloc(size_t size, gfp_t gfp)
{
	return kmalloc(size, gfp | __GFP_ZERO);
}

static bool is_null(const void *object)
{
	return !object || object == ZERO_SIZE_PTR;
}

/* NULL, large, full, another node's, not attached, or a mistake. */
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

void kfree(const void *object)
{
	kfree_inline((void *)(uintptr_t)object);
}

size_t ksize(const void *object)
{
	struct page *page;

	if (is_null(object))
		return 0;
	KMM_BUG_ON(!cpu_frame(cpu_get(), object, &page), "%p is not of this machine's memory",
		   object);
	if (page->slab_cache)
		return READ_ONCE(page->slab_cache->object_size);
	KMM_BUG_ON(page->type != PG_TYPE_ALLOC || page->private != LARGE_KMALLOC,
		   "%p is not from kmalloc", object);
	return PAGE_SIZE << page->order;
}

void *krealloc(const void *object, size_t size, gfp_t gfp)
{
	size_t old_size;
	void *new_object;

	if (!size) {
		kfree(object);
		return ZERO_SIZE_PTR;
	}
	old_size = ksize(object);
	if (old_size >= size)
		return (void *)(uintptr_t)object;
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

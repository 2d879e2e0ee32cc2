/* SPDX-License-Identifier: MIT */
/*
 * One slab: a compound block of pages cut into objects of one cache.
 *
 *	| object 0 | object 1 | ... | object n-1 | waste | bitmap, if n > 64 |
 *
 * Bit i of the bitmap is set while object i lies free in the slab; with 64 objects or fewer the
 * bitmap is in struct page itself, so that giving an object back touches no line of the slab.
 * Invariant:
 *
 *	inuse + (bits set) == objects
 *
 * Every frame of the block has slab_cache, slab_key and head set (the first one's head is itself),
 * so that an object's cache and slab are found from its own frame. The node's lock protects inuse
 * and the bitmap.
 *
 * Orders are chosen after calculate_order() of mm/slub.c (6.1): the smallest with little waste and
 * enough objects, and then with less and less of both. kmalloc's fine classes would gain nothing if
 * their slabs wasted what they save: there little waste comes first, and orders may be larger.
 */
#include <errno.h>

#include "phys/page_alloc.h"
#include "slab/cache.h"

#define MIN_OBJECTS	 16 /* that make a slab worth its handling */
#define COSTLY_ORDER	 3  /* the largest that is asked for only to waste less */
#define TIGHT_ORDER	 5  /* the same for kmalloc's fine classes */
#define RECIPROCAL_SHIFT 44

/* Objects that a slab of this order holds, with its bitmap. */
unsigned int slab_objects(const struct kmem_cache *cache, unsigned int order)
{
	unsigned long bytes = PAGE_SIZE << order;
	unsigned long nr = bytes / cache->size;

	while (nr > 64 && nr * cache->size + ALIGN_UP(nr, 64) / 8 > bytes)
		nr--;
	return (unsigned int)nr;
}

static bool order_fits(const struct kmem_cache *cache, unsigned int order, unsigned int min_objects,
		       unsigned int waste_fraction)
{
	unsigned long bytes = PAGE_SIZE << order;
	unsigned int nr = slab_objects(cache, order);

	return nr >= min_objects &&
	       (bytes - (unsigned long)nr * cache->size) * waste_fraction <= bytes;
}

static unsigned int choose_order(const struct kmem_cache *cache)
{
	for (unsigned int min_objects = MIN_OBJECTS; min_objects >= 2; min_objects /= 2)
		for (unsigned int fraction = 16; fraction >= 4; fraction /= 2)
			for (unsigned int order = 0; order <= COSTLY_ORDER; order++)
				if (order_fits(cache, order, min_objects, fraction))
					return order;
	return get_order(cache->size);
}

static unsigned long waste(const struct kmem_cache *cache, unsigned int order)
{
	return (PAGE_SIZE << order) - (unsigned long)slab_objects(cache, order) * cache->size;
}

/*
 * At most a sixteenth of waste, where a slab of some objects has that. Of large ones a slab is the less
 * the better, as there are many classes and few objects of each: an eighth, or what is least.
 */
static unsigned int choose_tight_order(const struct kmem_cache *cache)
{
	unsigned int best = get_order(cache->size);

	/* Of large objects as few as can be: a page that is free goes back the sooner. */
	for (unsigned int order = best; order <= COSTLY_ORDER; order++)
		if (order_fits(cache, order, cache->size >= PAGE_SIZE ? 1 : MIN_OBJECTS, 16))
			return order;
	for (unsigned int nr = MIN_OBJECTS / 2; nr >= 4; nr /= 2)
		for (unsigned int order = 0; order <= COSTLY_ORDER; order++)
			if (order_fits(cache, order, nr, 16))
				return order;
	for (unsigned int order = best; order <= TIGHT_ORDER; order++) {
		if (order_fits(cache, order, 2, 8))
			return order;
		if (waste(cache, order) << best < waste(cache, best) << order)
			best = order;
	}
	return best;
}

/* Fill in what follows from size and align. 0, or -EINVAL when no block holds an object. */
int slab_geometry(struct kmem_cache *cache)
{
	if (cache->size > PAGE_SIZE << MAX_PAGE_ORDER)
		return -EINVAL;
	cache->order = (u8)(cache_is_fine(cache) ? choose_tight_order(cache) : choose_order(cache));
	cache->min_order = (u8)get_order(cache->size);
	/* Exact for offsets below 2^22 and size above 0, as offset * size < 2^44. */
	cache->reciprocal = ((1UL << RECIPROCAL_SHIFT) + cache->size - 1) / cache->size;
	return 0;
}

static KMM_COLD __attribute__((noreturn)) void not_an_object(const struct kmem_cache *cache,
							     struct page *slab, const void *addr)
{
	char *first = slab_first(cache, slab), who[WHO_SIZE] = "";
	unsigned long offset = (unsigned long)addr - (unsigned long)slab_base(cache, slab);
	unsigned long index = offset / cache->size;
	char *object = first + index * cache->size;

	KMM_BUG("%p is not the start of an object of cache %s (%u bytes each from %p): offset %ld "
		"in object %lu of %u%s",
		addr, cache->name, cache->size, (void *)first, (long)((const char *)addr - object),
		index, slab->objects,
		index < slab->objects ? slab_debug_who(cache, object, who) : who);
}

/* The number of an object in its slab. Stops the program at an address that no object starts at. */
unsigned int slab_page_index(const struct kmem_cache *cache, struct page *slab, const void *object)
{
	unsigned long offset = (unsigned long)object - (unsigned long)slab_first(cache, slab);
	unsigned int index = (unsigned int)((offset * cache->reciprocal) >> RECIPROCAL_SHIFT);

	if (unlikely(index >= slab->objects || (unsigned long)index * cache->size != offset))
		not_an_object(cache, slab, object);
	return index;
}

static void slab_page_format(struct kmem_cache *cache, struct page *slab)
{
	char *base = slab_base(cache, slab);
	unsigned int nr = slab_objects(cache, slab->order);
	unsigned int words = (nr + 63) / 64;
	u64 *bits;

	slab->objects = (u16)nr;
	slab->inuse = 0;
	if (nr > 64)
		slab->slab_bitmap = (u64 *)(base + (PAGE_SIZE << slab->order)) - words;
	bits = slab_bits(slab);
	for (unsigned int i = 0; i < words; i++)
		bits[i] = ~0UL;
	if (nr % 64)
		bits[words - 1] = (1UL << nr % 64) - 1;
	if (!cache->ctor && !(cache->flags & SLAB_DEBUG_FLAGS))
		return;
	for (unsigned int i = 0; i < nr; i++) {
		void *object = slab_first(cache, slab) + (unsigned long)i * cache->size;

		if (cache->flags & SLAB_DEBUG_FLAGS)
			slab_debug_new(cache, object);
		if (cache->ctor)
			cache->ctor(object);
	}
}

/*
 * A new slab near node nid, all of its objects constructed and free, on no list. Falls back to the
 * smallest order that holds an object. Takes no lock of slab's. NULL when the page allocator has
 * nothing.
 */
struct page *slab_page_new(struct kmem_cache *cache, gfp_t gfp, int nid)
{
	unsigned int order = cache->order;
	struct page *slab = NULL;

	gfp &= ~(__GFP_ZERO | GFP_ZONEMASK | GFP_MOVABLE_MASK);
	gfp |= __GFP_COMP | cache->gfp;
	if (order > cache->min_order)
		slab = alloc_pages_node(nid, gfp_easy(gfp) | __GFP_NOMEMALLOC, order);
	if (!slab) {
		order = cache->min_order;
		slab = alloc_pages_node(nid, gfp, order);
	}
	if (!slab)
		return NULL;

	page_set_type(slab, PG_TYPE_SLAB);
	for (unsigned long i = 0; i < 1UL << order; i++) {
		slab[i].slab_cache = cache;
		slab[i].slab_key = slab_own_key(cache, this_cpu, slab->nid);
		WRITE_ONCE(slab[i].head, slab);
	}
	slab_page_format(cache, slab);
	return slab;
}

/* Give an empty slab that is on no list back to the page allocator. */
void slab_page_release(struct kmem_cache *cache, struct page *slab)
{
	unsigned int order = slab->order;

	KMM_DEBUG_ON(slab->inuse, "slab of cache %s released with %u objects in use", cache->name,
		     slab->inuse);
	if (cache->flags & SLAB_DEBUG_FLAGS)
		slab_debug_check(cache, slab);
	for (unsigned long i = 0; i < 1UL << order; i++) {
		slab[i].slab_cache = NULL;
		slab[i].slab_key = 0;
	}
	WRITE_ONCE(slab->head, NULL);
	slab->private = 0;
	page_set_type(slab, order ? PG_TYPE_HEAD : PG_TYPE_ALLOC);
	__free_pages(slab, order);
}

/*
 * Move up to want free objects, those of the lowest addresses, into the array; returns how many. In
 * descending order, because a magazine hands out its last entry first, and ascending addresses are
 * what the user's prefetcher likes.
 */
unsigned int slab_page_take(struct kmem_cache *cache, struct page *slab, void **objects,
			    unsigned int want)
{
	char *base = slab_first(cache, slab);
	u64 *bits = slab_bits(slab);
	unsigned int nr = min_t(unsigned int, want, slab->objects - slab->inuse), left = nr;

	for (unsigned int word = 0; left; word++) {
		u64 free = bits[word];

		for (; free && left; free &= free - 1)
			objects[--left] =
				base + (unsigned long)(word * 64 + __ffs(free)) * cache->size;
		bits[word] = free;
	}
	slab->inuse += (u16)nr;
	return nr;
}

/* Lay one object back. Stops the program if it lies there already, or is not one. */
void slab_page_put(struct kmem_cache *cache, struct page *slab, void *object)
{
	unsigned int i = slab_page_index(cache, slab, object);
	u64 *word = &slab_bits(slab)[i / 64];
	u64 bit = 1UL << i % 64;
	char who[WHO_SIZE];

	KMM_BUG_ON(*word & bit, "object %p of cache %s freed twice%s", object, cache->name,
		   slab_debug_who(cache, object, who));
	*word |= bit;
	slab->inuse--;
}

/* SPDX-License-Identifier: MIT */
/*
 * The slow checker: recounts each cache from its slabs up, and looks at every object that waits in
 * a depot or a magazine. Stops the program with what differs. Nothing else may use the machine
 * meanwhile.
 *
 * Objects that wait are laid into their slabs for the time of the check and taken out again, so
 * that one which waits in two places, or is free as well, is found by its bit.
 */
#include "slab/cache.h"

static struct page *slab_of(const struct kmem_cache *cache, const void *object)
{
	const struct kmm *machine = cache->machine;
	unsigned long pfn =
		((unsigned long)object - (unsigned long)machine->direct_map) >> PAGE_SHIFT;

	KMM_BUG_ON(pfn >= machine->nr_frames || machine->mem_map[pfn].slab_cache != cache,
		   "cache %s: %p waits in it, and is not its own", cache->name, object);
	return machine->mem_map[pfn].head;
}

static void mark(struct kmem_cache *cache, void *object, int nid)
{
	struct page *slab = slab_of(cache, object);

	KMM_BUG_ON(nid != NUMA_NO_NODE && slab->nid != nid,
		   "cache %s: %p of node %u waits on node %d", cache->name, object, slab->nid, nid);
	slab_page_put(cache, slab, object);
}

static void unmark(struct kmem_cache *cache, void *object)
{
	struct page *slab = slab_of(cache, object);
	unsigned int i = slab_page_index(cache, slab, object);

	slab_bits(slab)[i / 64] &= ~(1UL << i % 64);
	slab->inuse++;
}

static void mark_magazine(struct kmem_cache *cache, struct magazine *mag, bool remote, void *arg)
{
	(void)arg;
	KMM_BUG_ON((mag->key && slab_key_offset(mag->key) != cache->mag_offset) ||
			   (mag->capacity && mag->top != (&mag->bottom)[magazine_nr(mag)]) ||
			   magazine_nr(mag) > (remote ? cache->remote_capacity : cache->mag_max),
		   "cache %s: a magazine of %u objects, capacity %u", cache->name, magazine_nr(mag),
		   mag->capacity);
	for (unsigned int i = 0; i < magazine_nr(mag); i++)
		mark(cache, mag->objects[i], NUMA_NO_NODE);
}

static void unmark_magazine(struct kmem_cache *cache, struct magazine *mag, bool remote, void *arg)
{
	(void)remote;
	(void)arg;
	for (unsigned int i = 0; i < magazine_nr(mag); i++)
		unmark(cache, mag->objects[i]);
}

/*
 * Fields of one slab's frames, and its bitmap against its count; with its node's lock. Returns free
 * objects.
 */
unsigned int slab_page_check(struct kmem_cache *cache, struct page *slab, int nid)
{
	unsigned int nr_free = 0, words = (slab->objects + 63U) / 64;
	const u64 *bits = slab_bits(slab);
	const u32 owner = slab_key_owner(slab->slab_key);

	KMM_BUG_ON(slab->type != PG_TYPE_SLAB || slab->nid != nid,
		   "cache %s: slab %p has type %u, node %u", cache->name, (void *)slab, slab->type,
		   slab->nid);
	KMM_BUG_ON(slab->objects != slab_objects(cache, slab->order),
		   "cache %s: slab %p has %u objects", cache->name, (void *)slab, slab->objects);
	for (unsigned long i = 0; i < 1UL << slab->order; i++)
		KMM_BUG_ON(slab[i].slab_cache != cache || slab[i].head != slab ||
				   slab[i].slab_key != (slab_key(cache, nid) | owner) ||
				   !owner == cache->owned,
			   "cache %s: frame %lu of slab %p is marked wrong", cache->name, i,
			   (void *)slab);
	for (unsigned int w = 0; w < words; w++)
		nr_free += hweight64(bits[w]);
	KMM_BUG_ON(slab->objects % 64 && bits[words - 1] >> slab->objects % 64,
		   "cache %s: slab %p has free objects past its end", cache->name, (void *)slab);
	KMM_BUG_ON(nr_free + slab->inuse != slab->objects,
		   "cache %s: slab %p has %u free, %u in use of %u", cache->name, (void *)slab,
		   nr_free, slab->inuse, slab->objects);
	return nr_free;
}

static bool fill_is_right(const struct page *slab, int fill)
{
	if (fill == FILL_EMPTY)
		return slab->inuse == 0;
	if (fill == FILL_FULL)
		return slab->inuse == slab->objects;
	return slab->inuse && slab->inuse < slab->objects &&
	       4U * slab->inuse / slab->objects == (unsigned int)(fill - FILL_PARTIAL);
}

static void check_node(struct kmem_cache *cache, int nid)
{
	struct cache_node *node = cache->nodes[nid];
	u64 nr_slabs = 0, nr_pages = 0, nr_objects = 0, nr_free = 0, nr_empty = 0;

	for (int fill = 0; fill < NR_SLAB_FILLS; fill++) {
		struct page *slab;

		list_for_each_entry(slab, &node->slabs[fill], slab_list) {
			KMM_BUG_ON(!fill_is_right(slab, fill),
				   "cache %s: slab %p, %u of %u in use, on list %d", cache->name,
				   (void *)slab, slab->inuse, slab->objects, fill);
			nr_free += slab_page_check(cache, slab, nid);
			if (cache->flags & SLAB_DEBUG_FLAGS)
				slab_debug_check(cache, slab);
			nr_objects += slab->objects;
			nr_slabs++;
			nr_pages += 1UL << slab->order;
			nr_empty += fill == FILL_EMPTY;
		}
	}
	KMM_BUG_ON(
		nr_slabs != node->nr_slabs || nr_pages != node->nr_pages ||
			nr_objects != node->nr_objects || nr_free != node->nr_free ||
			nr_empty != node->nr_empty,
		"cache %s, node %d: %lu slabs, %lu pages, %lu objects, %lu free, %lu empty slabs "
		"counted as %lu, %lu, %lu, %lu, %u",
		cache->name, nid, nr_slabs, nr_pages, nr_objects, nr_free, nr_empty, node->nr_slabs,
		node->nr_pages, node->nr_objects, node->nr_free, node->nr_empty);
	KMM_BUG_ON(node->depot_nr > node->depot_capacity ||
			   node->depot_capacity > cache->depot_max ||
			   node->depot_low > node->depot_nr,
		   "cache %s, node %d: depot of %u objects, low %u, capacity %u, limit %u",
		   cache->name, nid, node->depot_nr, node->depot_low, node->depot_capacity,
		   cache->depot_max);
}

static void check_cache(struct kmem_cache *cache)
{
	for (u32 nid = 0; nid < cache->nr_nodes; nid++) {
		lock_acquire(&cache->nodes[nid]->lock);
		check_node(cache, (int)nid);
		for (u32 i = 0; i < cache->nodes[nid]->depot_nr; i++)
			mark(cache, cache->nodes[nid]->depot[i], (int)nid);
		lock_release(&cache->nodes[nid]->lock);
	}
	for_each_magazine(cache, mark_magazine, NULL);
	for_each_magazine(cache, unmark_magazine, NULL);
	for (u32 nid = 0; nid < cache->nr_nodes; nid++)
		for (u32 i = 0; i < cache->nodes[nid]->depot_nr; i++)
			unmark(cache, cache->nodes[nid]->depot[i]);
}

void slab_validate(struct kmm *machine)
{
	struct kmem_cache *cache;

	lock_acquire(&machine->slab->lock);
	list_for_each_entry(cache, &machine->slab->caches, list)
		check_cache(cache);
	lock_release(&machine->slab->lock);
}

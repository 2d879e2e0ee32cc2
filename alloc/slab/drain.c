/* SPDX-License-Identifier: MIT */
/*
 * What caches hold back is given back: magazines and depots to the slabs, empty slabs to the page
 * allocator. Of one cache (shrink, before destroy) or of all (drain, reap, age).
 *
 * Locks: slab->lock around the list of caches; a node's lock may be taken inside.
 */
#include <errno.h>

#include "phys/page_alloc.h"
#include "slab/cache.h"

/* Empty every slot's magazines, and the depots; the cache is not in use. Returns slabs left. */
u64 cache_drain_all(struct kmem_cache *cache)
{
	u64 nr_slabs = 0;

	for (struct kmm_cpu *cpu = cpu_first(cache->machine); cpu;
	     cpu = cpu_next(cache->machine, cpu))
		cache_flush_slot(cache, cpu);
	for (u32 nid = 0; nid < cache->nr_nodes; nid++) {
		node_drain(cache, (int)nid);
		nr_slabs += cache->nodes[nid]->nr_slabs;
	}
	return nr_slabs;
}

static void drain_cache(struct kmem_cache *cache, struct kmm_cpu *cpu)
{
	cache_flush_slot(cache, cpu);
	for (u32 nid = 0; nid < cache->nr_nodes; nid++)
		node_drain(cache, (int)nid);
}

/* kmm_drain(), and before a slot goes to a thread of another node: its magazines then are opened
 * again, for objects of that node. Memory that was never used stays untouched. */
void slab_cpu_drain(struct kmm *machine, struct kmm_cpu *cpu)
{
	struct kmem_cache *cache;

	lock_acquire(&machine->slab->lock);
	list_for_each_entry(cache, &machine->slab->caches, list) {
		struct magazine *mag = cache_magazine(cache, cpu);

		drain_cache(cache, cpu);
		if (mag->capacity)
			magazine_close(mag);
	}
	lock_release(&machine->slab->lock);
}

/* Pages that a cache's nodes have given back, at least; and those that their depots would. */
static void count_pages(struct kmem_cache *cache, u64 *given, u64 *depots)
{
	for (u32 nid = 0; nid < cache->nr_nodes; nid++) {
		struct cache_node *node = cache->nodes[nid];

		lock_acquire(&node->lock);
		*given += node->slab_release << cache->min_order;
		if (node->depot_capacity)
			*depots += 1UL << get_order(node->depot_capacity * sizeof(void *));
		lock_release(&node->lock);
	}
}

/*
 * Direct reclaim: all that this CPU and the depots hold back. The caller holds no lock; its own
 * magazines, which it may be about to fill, stay open. Returns how many pages that was, roughly;
 * 0: none.
 */
unsigned long slab_reap(struct kmm *machine)
{
	u64 before = 0, after = 0, depots = 0, left = 0;
	struct kmem_cache *cache;

	lock_acquire(&machine->slab->lock);
	list_for_each_entry(cache, &machine->slab->caches, list) {
		count_pages(cache, &before, &depots);
		drain_cache(cache, cpu_get());
		count_pages(cache, &after, &left);
	}
	lock_release(&machine->slab->lock);
	return after - before + depots;
}

/* Give back what depots hold that nobody has used since the last call. Takes slab->lock. */
void slab_age(struct kmm *machine)
{
	struct kmem_cache *cache;

	lock_acquire(&machine->slab->lock);
	list_for_each_entry(cache, &machine->slab->caches, list)
		for (u32 nid = 0; nid < cache->nr_nodes; nid++)
			node_age(cache, (int)nid);
	lock_release(&machine->slab->lock);
}

int kmem_cache_shrink(struct kmem_cache *cache)
{
	struct kmm *machine = cache->machine;
	u64 nr_slabs = 0;

	cache_flush_slot(cache, cache_cpu(cache));
	lock_acquire(&machine->slots_lock);
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
		if (!cpu->owned)
			cache_flush_slot(cache, cpu);
	lock_release(&machine->slots_lock);
	for (u32 nid = 0; nid < cache->nr_nodes; nid++) {
		struct cache_node *node = cache->nodes[nid];

		node_drain(cache, (int)nid);
		lock_acquire(&node->lock);
		nr_slabs += node->nr_slabs;
		lock_release(&node->lock);
	}
	return nr_slabs ? -EBUSY : 0;
}

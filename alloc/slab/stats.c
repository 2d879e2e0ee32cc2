/* SPDX-License-Identifier: MIT */
/*
 * What can be said of the caches, and the slow checker of all of it.
 *
 * Counters of fast paths cost nothing there: a magazine counts what is taken out of it, and what
 * was put in follows, as what is moved in bulk is counted by the node:
 *
 *	put by users - taken by users == in magazines now - moved in from nodes + moved out to nodes
 *
 * where both users' and nodes' numbers leave out what went past the magazines, and what was lost in
 * magazines counts as in them.
 *
 * Slots of running threads are read as they are, so sums are exact only when nothing runs: what is
 * being moved may be counted on one side of the equation and not yet on the other.
 */
#include "slab/cache.h"

/* Visit each magazine of a cache in each slot. */
void for_each_magazine(struct kmem_cache *cache,
		       void (*visit)(struct kmem_cache *, struct magazine *, bool remote,
				     void *arg),
		       void *arg)
{
	if (!cache->mag_capacity)
		return;
	for (struct kmm_cpu *cpu = cpu_first(cache->machine); cpu;
	     cpu = cpu_next(cache->machine, cpu)) {
		visit(cache, cache_magazine(cache, cpu), false, arg);
		if (cache->remote_capacity)
			visit(cache, cache_remote_magazine(cache, cpu), true, arg);
	}
}

static void add_nr(struct kmem_cache *cache, struct magazine *mag, bool remote, void *arg)
{
	(void)cache;
	(void)remote;
	*(u64 *)arg += magazine_nr(mag);
}

/* Fill in info. Takes the node locks in turn. */
void cache_info(struct kmem_cache *cache, struct slab_info *info)
{
	u64 idle = 0;

	*info = (struct slab_info){
		.name = cache->name,
		.objsize = cache->size,
		.usable_bytes = kmem_cache_size(cache),
		.objperslab = slab_objects(cache, cache->order),
		.pagesperslab = 1U << cache->order,
		.limit = cache->mag_capacity,
		.batchcount = cache->batch,
	};
	for_each_magazine(cache, add_nr, &idle);
	for (u32 nid = 0; nid < cache->nr_nodes; nid++) {
		struct cache_node *node = cache->nodes[nid];

		lock_acquire(&node->lock);
		idle += node->nr_free + node->depot_nr;
		info->num_objs += node->nr_objects;
		info->num_slabs += node->nr_slabs;
		info->slab_bytes += node->nr_pages << PAGE_SHIFT;
		info->active_slabs += node->nr_slabs - node->nr_empty;
		for (int fill = FILL_PARTIAL; fill < FILL_FULL; fill++) {
			struct page *slab;

			list_for_each_entry(slab, &node->slabs[fill], slab_list)
				info->partial_slabs++;
		}
		lock_release(&node->lock);
	}
	info->active_objs = info->num_objs - min_t(u64, idle, info->num_objs);
}

void slab_for_each(struct kmm *machine, void (*visit)(const struct slab_info *, void *arg),
		   void *arg)
{
	struct kmem_cache *cache;

	lock_acquire(&machine->slab->lock);
	list_for_each_entry(cache, &machine->slab->caches, list) {
		struct slab_info info;

		cache_info(cache, &info);
		visit(&info, arg);
	}
	lock_release(&machine->slab->lock);
}

void slab_for_each_lock(struct kmm *machine,
			void (*visit)(const char *name, const struct lock_stats *, void *arg),
			void *arg)
{
	struct kmem_cache *cache;

	lock_acquire(&machine->slab->lock);
	visit(machine->slab->lock.name, &machine->slab->lock.stats, arg);
	list_for_each_entry(cache, &machine->slab->caches, list)
		for (u32 nid = 0; nid < cache->nr_nodes; nid++) {
			struct lock *lock = &cache->nodes[nid]->lock;
			struct lock_stats stats;

			lock_acquire(lock);
			stats = lock->stats;
			lock_release(lock);
			visit(lock->name, &stats, arg);
		}
	lock_release(&machine->slab->lock);
}

struct traffic {
	u64 taken, in, slow_allocs, slow_frees, remote;
};

static void add_traffic(struct kmem_cache *cache, struct magazine *mag, bool remote, void *arg)
{
	struct traffic *sum = arg;

	(void)cache;
	sum->taken += magazine_taken(mag);
	sum->in += magazine_nr(mag);
	sum->slow_allocs += READ_ONCE(mag->slow_allocs);
	sum->slow_frees += READ_ONCE(mag->slow_frees);
	sum->remote += remote ? READ_ONCE(mag->slow_frees) : 0;
}

/* Add a cache's counters to *sum. */
void cache_count(struct kmem_cache *cache, struct slab_counters *sum)
{
	struct traffic t = {0};
	u64 direct_allocs = READ_ONCE(cache->direct_allocs);
	u64 direct_frees = READ_ONCE(cache->direct_frees);
	u64 moved_in = -direct_allocs, moved_out = -direct_frees;
	s64 freed;

	for_each_magazine(cache, add_traffic, &t);
	for (u32 nid = 0; nid < cache->nr_nodes; nid++) {
		struct cache_node *node = cache->nodes[nid];

		lock_acquire(&node->lock);
		moved_in += node->nr_taken;
		moved_out += node->nr_put;
		sum->slab_new += node->slab_new;
		sum->slab_release += node->slab_release;
		lock_release(&node->lock);
	}
	sum->alloc_fast += t.taken - min_t(u64, t.slow_allocs, t.taken);
	sum->alloc_slow += t.slow_allocs + direct_allocs;
	freed = (s64)(t.taken + t.in + cache->nr_lost + moved_out - moved_in - t.slow_frees);
	sum->free_fast += (u64)max_t(s64, freed, 0);
	sum->free_slow += t.slow_frees + direct_frees;
	sum->alloc_direct += direct_allocs;
	sum->free_direct += direct_frees;
	sum->free_remote += t.remote;
}

void slab_count(struct kmm *machine, struct slab_counters *sum)
{
	struct kmem_cache *cache;

	lock_acquire(&machine->slab->lock);
	*sum = machine->slab->ended;
	list_for_each_entry(cache, &machine->slab->caches, list)
		cache_count(cache, sum);
	lock_release(&machine->slab->lock);
}

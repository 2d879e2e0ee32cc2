/* SPDX-License-Identifier: MIT */
/*
 * The layer as boot.c sees it: boot, a new slot, drain, shutdown.
 *
 * Caches are made of objects of two caches: struct kmem_cache, and struct cache_node on each node.
 * These two cannot come out of themselves, so their structs lie in the pages of the layer's root
 * (mm/slub.c does the same with boot_kmem_cache, and moves it out later; here it stays).
 *
 *	| struct slab | cache cache | node cache | nodes of the first | nodes of the second |
 *
 * Shutdown is the only time at which leaks are counted: slabs with live objects are left to the
 * page allocator, which counts their pages; all else of the layer is given back to it.
 */
#include <errno.h>

#include "arch/topology.h"
#include "phys/page_alloc.h"
#include "phys/phys.h"
#include "slab/cache.h"

/* Where things lie in the root's pages. */
struct root_layout {
	size_t caches[2], nodes[2], end;
};

static struct root_layout root_layout(u32 nr_nodes)
{
	struct root_layout at = {.end = ALIGN_UP(sizeof(struct slab), (size_t)CACHELINE_SIZE)};

	for (int i = 0; i < 2; i++) {
		at.caches[i] = at.end;
		at.end += cache_struct_size(nr_nodes);
	}
	for (int i = 0; i < 2; i++) {
		at.nodes[i] = at.end;
		at.end += nr_nodes * sizeof(struct cache_node);
	}
	return at;
}

/* One of the two first caches, at its place in the root. 0 or -errno. */
static int root_cache(struct kmm *machine, const struct root_layout *at, int which,
		      const char *name, size_t size)
{
	char *root = (char *)machine->slab;
	struct kmem_cache *cache = (struct kmem_cache *)(root + at->caches[which]);
	struct cache_node *nodes = (struct cache_node *)(root + at->nodes[which]);
	int err;

	cache->name = name;
	cache->boot = true;
	err = cache_init(cache, machine, (unsigned int)size, 0, SLAB_HWCACHE_ALIGN | SLAB_NO_MERGE,
			 NULL);
	for (u32 nid = 0; !err && nid < cache->nr_nodes; nid++) {
		err = node_init(&nodes[nid], cache);
		if (!err)
			cache->nodes[nid] = &nodes[nid];
	}
	if (!err)
		list_add_tail(&cache->list, &machine->slab->caches);
	return err;
}

static void root_cache_end(struct kmem_cache *cache)
{
	for (u32 nid = 0; nid < cache->nr_nodes && cache->nodes[nid]; nid++)
		lock_destroy(&cache->nodes[nid]->lock);
	if (cache->mag_offset)
		cache_close_magazines(cache);
}

static int percpu_parts(struct kmm *machine, struct slab *slab)
{
	slab->closed_magazine = (u32)percpu_alloc(
		machine, ALIGN_UP(sizeof(struct magazine), MAGAZINE_ALIGN), MAGAZINE_ALIGN);
	slab->cpu_counters = (u32)percpu_alloc(machine, sizeof(struct slab_cpu), CACHELINE_SIZE);
	slab->size_table =
		(u32)percpu_alloc(machine, KMALLOC_TABLE_SIZE * sizeof(u16), CACHELINE_SIZE);
	return slab->closed_magazine && slab->cpu_counters && slab->size_table ? 0 : -ENOMEM;
}

/*
 * What is live in a cache at the end. Slabs that hold it stay with the page allocator, as pages in
 * use.
 */
static void count_leaks(struct kmem_cache *cache, struct kmm_leaks *leaks)
{
	struct slab_info info;

	cache_drain_all(cache);
	cache_info(cache, &info);
	leaks->objects += info.active_objs;
	leaks->object_bytes += info.active_objs * cache->object_size;
}

/* End the caches of one kind: the user's, then kmalloc's, which the user's names came from. */
static void end_caches(struct slab *slab, bool boot, struct kmm_leaks *leaks)
{
	struct kmem_cache *cache, *next;

	list_for_each_entry_safe(cache, next, &slab->caches, list) {
		if (cache->boot != boot || cache == slab->cache_cache || cache == slab->node_cache)
			continue;
		count_leaks(cache, leaks);
		list_del(&cache->list);
		cache_release(cache);
	}
}

/* The page allocator asks (phys/phys.h). What there is lies on any node. */
static unsigned long slab_reclaim(struct kmm *machine, int nid, gfp_t gfp, unsigned int order)
{
	(void)nid;
	(void)gfp;
	(void)order;
	return slab_reap(machine);
}

static const struct reclaim_ops slab_reclaim_ops = {.reclaim = slab_reclaim};

static void slab_shutdown(struct kmm *machine, struct kmm_leaks *leaks)
{
	struct slab *slab = machine->slab;
	unsigned int order;

	if (!slab)
		return;
	phys_set_reclaim_ops(machine, NULL);
	if (KMM_PARANOID)
		slab_validate(machine);
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu)) {
		struct slab_cpu *counters = percpu_ptr(cpu, slab->cpu_counters);

		if (slab->cpu_counters)
			leaks->large_kmallocs += counters->large_allocs - counters->large_frees;
	}
	end_caches(slab, false, leaks);
	end_caches(slab, true, leaks);
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
		cpu->kmalloc_table = 0;
	if (slab->cache_cache && slab->node_cache) {
		/*
		 * Structs of cache_cache lie in no other cache, those of node_cache neither:
		 * nothing is live.
		 */
		cache_drain_all(slab->cache_cache);
		cache_drain_all(slab->node_cache);
	}
	if (slab->cache_cache)
		root_cache_end(slab->cache_cache);
	if (slab->node_cache)
		root_cache_end(slab->node_cache);
	lock_destroy(&slab->lock);
	order = slab->block_order;
	machine->slab = NULL;
	free_pages((unsigned long)slab, order);
}

static int slab_boot(struct kmm *machine)
{
	u32 nr_nodes = topology_nr_nodes(machine->topology);
	struct root_layout at = root_layout(nr_nodes);
	unsigned int order = get_order(at.end);
	struct slab *slab = (struct slab *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, order);
	struct kmm_leaks nothing = {0};
	int err;

	if (!slab)
		return -ENOMEM;
	err = lock_init(&slab->lock, "slab caches", RANK_CACHE_LIST, machine->config.lock_kind);
	if (err) {
		free_pages((unsigned long)slab, order);
		return err;
	}
	INIT_LIST_HEAD(&slab->caches);
	slab->nr_nodes = nr_nodes;
	slab->block_order = order;
	machine->slab = slab;
	slab->cache_cache = (struct kmem_cache *)((char *)slab + at.caches[0]);
	slab->node_cache = (struct kmem_cache *)((char *)slab + at.caches[1]);

	err = percpu_parts(machine, slab);
	if (!err)
		err = root_cache(machine, &at, 0, "kmem_cache", cache_struct_size(nr_nodes));
	if (!err)
		err = root_cache(machine, &at, 1, "kmem_cache_node", sizeof(struct cache_node));
	if (!err)
		err = kmalloc_boot(machine);
	if (err)
		slab_shutdown(machine, &nothing);
	else
		phys_set_reclaim_ops(machine, &slab_reclaim_ops);
	return err;
}

static void slab_cpu_init(struct kmm *machine, struct kmm_cpu *cpu)
{
	/* Written to, so that its page is not got from the host twice: once read, as zeros, and then. */
	*(u16 *)percpu_ptr(cpu, machine->slab->size_table) = 0;
	cpu->kmalloc_table = machine->slab->size_table;
}

static void slab_cpu_forget(struct kmm *machine, struct kmm_cpu *cpu)
{
	struct kmem_cache *cache;

	list_for_each_entry(cache, &machine->slab->caches, list)
		cache_forget_slot(cache, cpu);
}

const struct kmm_layer slab_layer = {
	.name = "slab",
	.boot = slab_boot,
	.cpu_init = slab_cpu_init,
	.cpu_drain = slab_cpu_drain,
	.age = slab_age,
	.cpu_forget = slab_cpu_forget,
	.shutdown = slab_shutdown,
};

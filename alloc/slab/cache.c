/* SPDX-License-Identifier: MIT */
/*
 * The life of a cache: create, tune, merge, destroy. layer.c makes the first two in a way of its own;
 * drain.c gives back what caches hold.
 *
 * Locks: slab->lock around the list of caches; a node's lock may be taken inside.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "arch/topology.h"
#include "phys/page_alloc.h"
#include "slab/cache.h"

#define MAGAZINE_SIZE	   2048UL	 /* at most, its header included */
#define MAGAZINE_BYTES	   (128UL << 10) /* of objects that a magazine may hold back */
#define MAGAZINE_MAX	   ((MAGAZINE_SIZE - sizeof(struct magazine)) / sizeof(void *))
#define TIDE_BYTES	   (4UL << 20) /* the same of one that has grown */
#define TIDE_MAX	   ((40960 - sizeof(struct magazine)) / sizeof(void *))
#define FINE_SHARE	   8 /* eight fine classes together hold back what one other does */
#define REMOTE_MAX	   ((512 - sizeof(struct magazine)) / sizeof(void *))
#define APART_BYTES	   (256UL << 10) /* free in slabs of others before a slot takes of these */
#define APART_SLABS	   4
#define DEPOT_BYTES	   (4UL << 20)	 /* of objects that a depot may hold back */
#define DEPOT_MEMORY_SHARE 256		 /* and never more than this part of a node */
#define DEPOT_MAX	   16384UL	 /* objects in a depot */
#define EMPTY_BYTES	   (128UL << 10) /* of empty slabs that a node keeps */
#define EMPTY_MAX	   8

#define SLAB_PAGE_FLAGS (SLAB_RECLAIM_ACCOUNT | SLAB_CACHE_DMA) /* decide of which pages it is */
#define SLAB_USER_FLAGS                                                                            \
	(SLAB_HWCACHE_ALIGN | SLAB_PANIC | SLAB_NO_MERGE | SLAB_PAGE_FLAGS | SLAB_DEBUG_FLAGS)
#define LIVE_LINES 8 /* objects named by a destroy that is refused */

/* Bytes of a struct kmem_cache on a machine of nr_nodes nodes. */
size_t cache_struct_size(u32 nr_nodes)
{
	return ALIGN_UP(offsetof(struct kmem_cache, nodes) + nr_nodes * sizeof(struct cache_node *),
			(size_t)CACHELINE_SIZE);
}

/* The least alignment, given that a cache line must not be shared more than the size forces. */
static unsigned int cache_align(unsigned int size, unsigned int align, slab_flags_t flags)
{
	unsigned int line = CACHELINE_SIZE;

	if (flags & SLAB_HWCACHE_ALIGN) {
		while (size <= line / 2 && line > 8)
			line /= 2;
		align = max_t(unsigned int, align, line);
	}
	return max_t(unsigned int, align, sizeof(void *));
}

/*
 * Half a magazine is moved at once; in objects that fill pairs of cache lines, so that two CPUs that
 * share a new slab share no line of it, nor lines that the processor fetches together.
 */
static u16 batch_of(const struct kmem_cache *cache)
{
	const u32 pair = 2 * CACHELINE_SIZE;
	u32 unit = pair / min_t(u32, pair, cache->size & -cache->size);
	u32 batch = max_t(u32, 1, cache->mag_capacity / 2);

	return (u16)(batch < unit ? batch : batch - batch % unit);
}

/* How many objects may wait where. */
static void cache_tune(struct kmem_cache *cache)
{
	unsigned long slab_bytes = PAGE_SIZE << cache->order;
	unsigned long node_bytes = cache->machine->nr_frames / cache->nr_nodes * PAGE_SIZE;
	unsigned long nr_cpus_a_node = max_t(
		unsigned long, 1, topology_nr_cpus(cache->machine->topology) / cache->nr_nodes);
	unsigned int share = cache_is_fine(cache) ? FINE_SHARE : 1;
	unsigned long depot_bytes =
		min_t(unsigned long, DEPOT_BYTES, node_bytes / DEPOT_MEMORY_SHARE) / share;
	unsigned long apart_bytes =
		min_t(unsigned long, APART_BYTES, node_bytes / DEPOT_MEMORY_SHARE) / share;
	unsigned long cpu_share = node_bytes / DEPOT_MEMORY_SHARE / nr_cpus_a_node;
	unsigned long hold = MAGAZINE_BYTES / share / cache->size;

	cache->mag_capacity =
		(u16)max_t(unsigned long, 1, min_t(unsigned long, MAGAZINE_MAX, hold));
	cache->batch = batch_of(cache);
	cache->mag_max = (u16)max_t(
		unsigned long, cache->mag_capacity,
		min_t(unsigned long, TIDE_MAX,
		      min_t(unsigned long, TIDE_BYTES, cpu_share) / share / cache->size));
	cache->owned = cache->size < CACHELINE_SIZE;
	if (cache->nr_nodes > 1 || cache->owned)
		cache->remote_capacity = (u16)min_t(unsigned long, REMOTE_MAX,
						    max_t(unsigned long, 2, cache->mag_capacity));
	cache->depot_max = (u32)min_t(unsigned long, DEPOT_MAX, depot_bytes / cache->size);
	if (cache->depot_max < cache->batch)
		cache->depot_max = 0;
	cache->apart = (u32)max_t(unsigned long, apart_bytes / cache->size,
				  APART_SLABS * slab_objects(cache, cache->order));
	cache->max_empty =
		(u32)max_t(unsigned long, cache_is_fine(cache) ? 0 : 1,
			   min_t(unsigned long, EMPTY_MAX, EMPTY_BYTES / share / slab_bytes));
}

static size_t magazine_bytes(unsigned int capacity)
{
	return ALIGN_UP(sizeof(struct magazine) + capacity * sizeof(void *),
			(size_t)CACHELINE_SIZE);
}

/* Of its remote magazine, which lies before the other: that one is long, and of its end little is
 * touched. */
static size_t remote_bytes(const struct kmem_cache *cache)
{
	return cache->remote_capacity
		       ? ALIGN_UP(magazine_bytes(cache->remote_capacity), MAGAZINE_ALIGN)
		       : 0;
}

/* Bytes of a cache's magazines in each slot. */
static size_t cache_percpu_bytes(const struct kmem_cache *cache)
{
	return remote_bytes(cache) + magazine_bytes(cache->mag_max);
}

/* What caches are made of is wanted too seldom for the pages that magazines would cost. */
static bool wants_magazines(const struct kmem_cache *cache)
{
	const struct slab *slab = cache->machine->slab;

	return !(cache->flags & SLAB_DEBUG_FLAGS) && cache != slab->cache_cache &&
	       cache != slab->node_cache;
}

/*
 * Room in the slots for its magazines; without it, and for debugging, the cache works without them.
 * Takes slots_lock.
 */
static void cache_open_magazines(struct kmem_cache *cache)
{
	const bool wanted = wants_magazines(cache);
	size_t offset = 0;

	if (wanted)
		offset = percpu_alloc(cache->machine, cache_percpu_bytes(cache), MAGAZINE_ALIGN);
	if (!offset && wanted) {
		cache->mag_max = cache->mag_capacity;
		offset = percpu_alloc(cache->machine, cache_percpu_bytes(cache), MAGAZINE_ALIGN);
	}
	if (!offset) {
		cache->mag_offset = cache->machine->slab->closed_magazine;
		cache->mag_capacity = cache->mag_max = 0;
		cache->remote_capacity = 0;
		cache->owned = false;
		/* Without a batch there is no use in a depot, and slabs find double frees. */
		cache->depot_max = 0;
		return;
	}
	cache->remote_offset = (u32)offset;
	cache->mag_offset = (u32)(offset + remote_bytes(cache));
}

static void wipe_magazine(struct magazine *mag)
{
	if (mag->widest)
		memset(mag, 0, magazine_bytes(mag->widest));
}

/* Give that room back, as zeros. No slot's owner may be using the cache. */
void cache_close_magazines(struct kmem_cache *cache)
{
	size_t bytes = cache_percpu_bytes(cache);

	if (!cache->mag_capacity)
		return;
	for (struct kmm_cpu *cpu = cpu_first(cache->machine); cpu;
	     cpu = cpu_next(cache->machine, cpu)) {
		/* Untouched memory stays untouched. */
		wipe_magazine(cache_magazine(cache, cpu));
		if (cache->remote_capacity)
			wipe_magazine(cache_remote_magazine(cache, cpu));
	}
	percpu_free(cache->machine, cache->remote_offset, bytes);
}

/* Fill in a zeroed cache, all but its nodes and its name. 0 or -errno. */
int cache_init(struct kmem_cache *cache, struct kmm *machine, unsigned int size, unsigned int align,
	       slab_flags_t flags, void (*ctor)(void *))
{
	int err;

	cache->machine = machine;
	cache->nr_nodes = machine->slab->nr_nodes;
	cache->object_size = size;
	cache->align = cache_align(size, align, flags);
	cache->flags = flags;
	cache->gfp = (flags & SLAB_RECLAIM_ACCOUNT ? __GFP_RECLAIMABLE : 0) |
		     (flags & SLAB_CACHE_DMA ? __GFP_DMA : 0);
	cache->ctor = ctor;
	cache->nr_users = 1;
	slab_debug_layout(cache);
	INIT_LIST_HEAD(&cache->list);
	err = slab_geometry(cache);
	if (err)
		return err;
	cache_tune(cache);
	cache_open_magazines(cache);
	return 0;
}

static int cache_make_nodes(struct kmem_cache *cache)
{
	struct kmem_cache *node_cache = cache->machine->slab->node_cache;

	for (u32 nid = 0; nid < cache->nr_nodes; nid++) {
		struct cache_node *node =
			kmem_cache_alloc_node(node_cache, GFP_KERNEL | __GFP_ZERO, (int)nid);
		int err;

		if (!node)
			return -ENOMEM;
		err = node_init(node, cache);
		if (err) {
			kmem_cache_free(node_cache, node);
			return err;
		}
		cache->nodes[nid] = node;
	}
	return 0;
}

/* Free the structs of a cache that is on no list and has no slabs, however far its making came. */
void cache_release(struct kmem_cache *cache)
{
	struct slab *slab = cache->machine->slab;

	for (u32 nid = 0; nid < cache->nr_nodes && cache->nodes[nid]; nid++) {
		lock_destroy(&cache->nodes[nid]->lock);
		kmem_cache_free(slab->node_cache, cache->nodes[nid]);
	}
	if (cache->mag_offset)
		cache_close_magazines(cache);
	if (!cache->boot)
		kfree(cache->name);
	kmem_cache_free(slab->cache_cache, cache);
}

/* Put it on the list, unless its name is there. Takes slab->lock. */
static int cache_publish(struct kmem_cache *cache)
{
	struct slab *slab = cache->machine->slab;
	struct kmem_cache *other;
	int err = 0;

	lock_acquire(&slab->lock);
	/* The layer's own names differ from each other; a late one may find a user's of its name. */
	if (!cache->boot)
		list_for_each_entry(other, &slab->caches, list)
			if (!strcmp(other->name, cache->name))
				err = -EEXIST;
	if (!err)
		list_add_tail(&cache->list, &slab->caches);
	lock_release(&slab->lock);
	return err;
}

static struct kmem_cache *cache_create(struct kmm *machine, const char *name, bool boot,
				       unsigned int size, unsigned int align, slab_flags_t flags,
				       void (*ctor)(void *))
{
	struct kmem_cache *cache =
		kmem_cache_alloc(machine->slab->cache_cache, GFP_KERNEL | __GFP_ZERO);
	char *copy;

	if (!cache)
		return NULL;
	cache->boot = boot;
	cache->name = name;
	if (!boot) {
		copy = kmalloc(strlen(name) + 1, GFP_KERNEL);
		cache->name = copy;
		if (copy)
			strcpy(copy, name);
	}
	if (!cache->name || cache_init(cache, machine, size, align, flags, ctor) ||
	    cache_make_nodes(cache) || cache_publish(cache)) {
		cache->machine = machine;
		cache_release(cache);
		return NULL;
	}
	return cache;
}

struct kmem_cache *cache_create_boot(struct kmm *machine, const char *name, unsigned int size,
				     unsigned int align, slab_flags_t flags)
{
	slab_flags_t debug;

	slab_debug_parse(machine->config.slub_debug, name, &debug);
	return cache_create(machine, name, true, size, align, flags | debug, NULL);
}

static bool cache_suits(const struct kmem_cache *cache, unsigned int size, unsigned int align,
			slab_flags_t flags)
{
	return !cache->ctor && !(cache->flags & (SLAB_NO_MERGE | SLAB_DEBUG_FLAGS)) &&
	       !((cache->flags ^ flags) & SLAB_PAGE_FLAGS) && size <= cache->size &&
	       cache->size - size < sizeof(void *) && IS_ALIGNED(cache->size, align);
}

/*
 * A live cache that can stand in for a new one, with one more user; or NULL. Also NULL when the
 * name is taken. As find_mergeable() of mm/slab_common.c (6.1): the latest that suits. Takes
 * slab->lock.
 */
static struct kmem_cache *cache_merge(struct kmm *machine, const char *name, unsigned int size,
				      unsigned int align, slab_flags_t flags)
{
	struct slab *slab = machine->slab;
	struct kmem_cache *cache, *found = NULL;
	bool taken = false;

	align = cache_align(size, align, flags);
	lock_acquire(&slab->lock);
	list_for_each_entry(cache, &slab->caches, list) {
		taken |= !strcmp(cache->name, name);
		if (cache_suits(cache, ALIGN_UP(size, align), align, flags))
			found = cache;
	}
	if (taken)
		found = NULL;
	if (found) {
		found->nr_users++;
		WRITE_ONCE(found->object_size, max_t(u32, found->object_size, size));
	}
	lock_release(&slab->lock);
	return found;
}

struct kmem_cache *kmem_cache_create(const char *name, unsigned int size, unsigned int align,
				     slab_flags_t flags, void (*ctor)(void *))
{
	bool valid = name && *name && size && size <= PAGE_SIZE << MAX_PAGE_ORDER &&
		     (!align || (is_power_of_2(align) && align <= PAGE_SIZE)) &&
		     !(flags & ~SLAB_USER_FLAGS);
	struct kmem_cache *cache = NULL;
	struct kmm *machine;
	slab_flags_t debug;

	if (valid) {
		machine = cpu_get()->machine;
		slab_debug_parse(machine->config.slub_debug, name, &debug);
		flags |= debug;
		if (!ctor && !(flags & (SLAB_NO_MERGE | SLAB_DEBUG_FLAGS)) &&
		    !machine->config.slab_nomerge)
			cache = cache_merge(machine, name, size, align, flags);
		if (!cache)
			cache = cache_create(machine, name, false, size, align, flags, ctor);
	}
	KMM_BUG_ON(!cache && flags & SLAB_PANIC,
		   "cannot make cache %s (%u bytes aligned to %u, flags %#x)",
		   name ? name : "without a name", size, align, flags);
	return cache;
}

unsigned int kmem_cache_size(const struct kmem_cache *cache)
{
	return READ_ONCE(cache->object_size);
}

/* Name the objects of a slab that are not free, up to `lines` of them; returns lines left. */
static unsigned int say_live(struct kmem_cache *cache, struct page *slab, unsigned int lines)
{
	char who[WHO_SIZE];

	for (unsigned int i = 0; i < slab->objects && lines; i++) {
		void *object = slab_first(cache, slab) + (unsigned long)i * cache->size;

		if (slab_bits(slab)[i / 64] >> i % 64 & 1)
			continue;
		fprintf(stderr, "kmm: cache %s: object %p is in use%s\n", cache->name, object,
			slab_debug_who(cache, object, who));
		lines--;
	}
	return lines;
}

/* Say what is still in use of a cache whose magazines and depots are empty. */
static void say_all_live(struct kmem_cache *cache)
{
	unsigned int lines = LIVE_LINES;
	struct slab_info info;

	cache_info(cache, &info);
	fprintf(stderr, "kmm: cache %s: %llu objects are still in use\n", cache->name,
		(unsigned long long)info.active_objs);
	for (u32 nid = 0; nid < cache->nr_nodes; nid++)
		for (int fill = FILL_PARTIAL; fill <= FILL_FULL; fill++) {
			struct page *slab;

			list_for_each_entry(slab, &cache->nodes[nid]->slabs[fill], slab_list)
				lines = say_live(cache, slab, lines);
		}
}

int kmem_cache_destroy(struct kmem_cache *cache)
{
	struct slab *slab;

	if (!cache)
		return 0;
	cache_cpu(cache);
	slab = cache->machine->slab;
	lock_acquire(&slab->lock);
	if (cache->nr_users > 1) {
		cache->nr_users--;
		lock_release(&slab->lock);
		return 0;
	}
	if (cache_drain_all(cache)) {
		say_all_live(cache);
		lock_release(&slab->lock);
		return -EBUSY;
	}
	cache_count(cache, &slab->ended);
	list_del(&cache->list);
	lock_release(&slab->lock);
	cache_release(cache);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Objects in and out of a cache: what the fast paths fall into.
 *
 * The fast paths are in slab/fast.h. The slab_key of an object's struct page says in one comparison
 * that the object is in a slab of this cache on this CPU's node, and this slot's where slabs are
 * owned. A thread that is not attached, a closed magazine, NULL and an object of another node or slot
 * all look like an empty or full magazine or a key that differs, so they cost the fast paths nothing.
 *
 * What a caller's bug meets, in every build:
 *	free of what is in no slab, or another cache's       at once
 *	the same object freed twice in a row                 at once
 *	another double free, an address inside an object     when it reaches its slab: latest in
 *	                                                     drain, shrink, destroy or shutdown; at
 *	                                                     once with --enable-checks, and in a
 *	                                                     cache with any SLAB_DEBUG_FLAGS
 *
 * Such a cache has only the closed magazine, so every call of it ends in alloc_direct or in
 * cache_free_slow. These are told the caller's return address, for SLAB_STORE_USER: where the fast
 * paths end in a jump to the slow ones, as they do when optimised, that is the user's.
 */
#include <string.h>

#include "phys/page_alloc.h"
#include "slab/cache.h"
#include "slab/fast.h"

/* This thread's slot, which must be of the cache's machine. */
struct kmm_cpu *cache_cpu(const struct kmem_cache *cache)
{
	struct kmm_cpu *cpu = cpu_get();

	KMM_BUG_ON(cpu->machine != cache->machine,
		   "cache %s is of machine %p, this thread is attached to %p", cache->name,
		   (void *)cache->machine, (void *)cpu->machine);
	return cpu;
}

static unsigned int supply_new(struct kmem_cache *cache, int nid, gfp_t gfp, void **objects,
			       unsigned int want)
{
	struct page *slab = slab_page_new(cache, gfp, nid);

	return slab ? node_add_slab(cache, slab, objects, want) : 0;
}

/*
 * Up to want objects of node nid itself, and how many: from what the cache has there, or a new slab
 * if that is easily had; else from what it has there of other slots.
 */
static unsigned int supply_node(struct kmem_cache *cache, int nid, gfp_t gfp, void **objects,
				unsigned int want)
{
	unsigned int nr = node_take(cache, nid, objects, want, false);

	if (!nr)
		nr = supply_new(cache, nid, gfp_easy(gfp) | __GFP_THISNODE, objects, want);
	if (!nr && cache->owned)
		nr = node_take(cache, nid, objects, want, true);
	return nr;
}

/* The same from any node: this one first, then the others by number. */
static unsigned int supply_easy(struct kmem_cache *cache, int nid, gfp_t gfp, void **objects,
				unsigned int want)
{
	unsigned int nr = 0;

	for (u32 i = 0; i < cache->nr_nodes && !nr; i++)
		nr = node_take(cache, (int)(((u32)nid + i) % cache->nr_nodes), objects, want, true);
	return nr ? nr : supply_new(cache, nid, gfp_easy(gfp), objects, want);
}

/*
 * When nid has nothing left: what is easily had elsewhere; then, if the caller may reclaim and so
 * holds no lock, after all caches have given what they hold back; then with all that the page
 * allocator can do.
 */
static unsigned int supply_any(struct kmem_cache *cache, int nid, gfp_t gfp, void **objects,
			       unsigned int want)
{
	unsigned int nr = supply_easy(cache, nid, gfp, objects, want);

	if (nr || !(gfp & __GFP_DIRECT_RECLAIM))
		return nr;
	slab_reap(cache->machine);
	nr = supply_easy(cache, nid, gfp, objects, want);
	return nr ? nr : supply_new(cache, nid, gfp, objects, want);
}

static unsigned int supply(struct kmem_cache *cache, int nid, gfp_t gfp, void **objects,
			   unsigned int want)
{
	unsigned int nr = supply_node(cache, nid, gfp, objects, want);

	if (!nr && (cache->nr_nodes == 1 || !(gfp & __GFP_THISNODE)))
		nr = supply_any(cache, nid, gfp, objects, want);
	return nr;
}

/* One object past the magazines, of which the caller asked for size bytes. */
static void *alloc_direct(struct kmem_cache *cache, gfp_t gfp, int nid, size_t size, void *caller)
{
	void *object;

	if (!supply(cache, nid, gfp, &object, 1))
		return NULL;
	__atomic_fetch_add(&cache->direct_allocs, 1, __ATOMIC_RELAXED);
	if (cache->flags & SLAB_DEBUG_FLAGS)
		slab_debug_alloc(cache, object, size, caller);
	return object;
}

/* kmalloc's, from a cache whose red zones follow the size asked for. */
void *cache_alloc_sized(struct kmem_cache *cache, gfp_t gfp, int nid, size_t size, void *caller)
{
	struct kmm_cpu *cpu = cache_cpu(cache);
	void *object;

	if (nid == NUMA_NO_NODE)
		nid = cpu->nid;
	KMM_BUG_ON(nid < 0 || (u32)nid >= cache->nr_nodes, "cache %s: no node %d", cache->name,
		   nid);
	object = alloc_direct(cache, gfp, nid, size, caller);
	return object && gfp & __GFP_ZERO ? memset(object, 0, size) : object;
}

/* Give all that a magazine holds to the depots. Memory that was never used stays untouched. */
static void empty_magazine(struct kmem_cache *cache, struct magazine *mag)
{
	unsigned int nr = magazine_nr(mag);

	if (!nr)
		return;
	node_put_any(cache, mag->objects, nr);
	mag->strays = 0;
	mag->tide = 0;
	magazine_set_nr(mag, 0);
}

static void *zeroed(const struct kmem_cache *cache, void *object)
{
	return object ? memset(object, 0, READ_ONCE(cache->object_size)) : NULL;
}

/* The magazine is empty, or not open, or the thread not attached. */
static void *alloc_slow(struct kmem_cache *cache, gfp_t gfp, void *caller)
{
	struct kmm_cpu *cpu = cache_cpu(cache);
	struct magazine *mag = cache_magazine(cache, cpu);
	void *object;

	if (!cache->mag_capacity)
		return alloc_direct(cache, gfp, cpu->nid, cache->object_size, caller);
	magazine_open(mag, cache->mag_capacity, slab_own_key(cache, cpu, cpu->nid));
	if (!magazine_nr(mag)) {
		unsigned int nr = supply(cache, cpu->nid, gfp, mag->objects, cache->batch);

		WRITE_ONCE(mag->slow_allocs, mag->slow_allocs + 1);
		mag->strays = nr && object_frame(cache, mag->objects[0])->nid != cpu->nid;
		mag->tide = min_t(u32, mag->tide + nr, MAGAZINE_TIDE_MAX);
		if (mag->tide > cache->mag_max)
			mag->capacity = cache->mag_capacity;
		magazine_set_nr(mag, nr);
	}
	return magazine_pop(mag, &object) ? object : NULL;
}

void *cache_alloc_slow(struct kmem_cache *cache, gfp_t gfp)
{
	return alloc_slow(cache, gfp, __builtin_return_address(0));
}

void *cache_alloc_special(struct kmem_cache *cache, gfp_t gfp)
{
	struct magazine *mag = cache_magazine(cache, cache_cpu(cache));
	void *object;

	if ((gfp & __GFP_THISNODE) && mag->strays)
		empty_magazine(cache, mag);
	if (!magazine_pop(mag, &object))
		object = alloc_slow(cache, gfp, __builtin_return_address(0));
	return gfp & __GFP_ZERO ? zeroed(cache, object) : object;
}

/*
 * An object of a node that is not this CPU's, through the remote magazine if the last ones were of
 * that node too.
 */
static KMM_COLD void *alloc_remote(struct kmem_cache *cache, struct kmm_cpu *cpu, gfp_t gfp,
				   int nid, void *caller)
{
	struct magazine *mag = cache_remote_magazine(cache, cpu);
	unsigned int nr;
	void *object;

	KMM_BUG_ON(nid < 0 || (u32)nid >= cache->nr_nodes, "cache %s: no node %d", cache->name,
		   nid);
	if (!cache->remote_capacity)
		return alloc_direct(cache, gfp, nid, cache->object_size, caller);
	magazine_open(mag, cache->remote_capacity, 0);
	if (magazine_nr(mag) && object_frame(cache, mag->top)->nid != nid)
		empty_magazine(cache, mag);
	if (!magazine_nr(mag)) {
		WRITE_ONCE(mag->slow_allocs, mag->slow_allocs + 1);
		nr = supply_node(cache, nid, gfp, mag->objects, cache->remote_capacity / 2U);
		magazine_set_nr(mag, nr);
	}
	return magazine_pop(mag, &object)
		       ? object
		       : alloc_direct(cache, gfp, nid, cache->object_size, caller);
}

void *kmem_cache_alloc_node(struct kmem_cache *cache, gfp_t gfp, int nid)
{
	struct kmm_cpu *cpu = cache_cpu(cache);
	void *object;

	if (nid == NUMA_NO_NODE || nid == cpu->nid)
		return kmem_cache_alloc(cache, gfp);
	object = alloc_remote(cache, cpu, gfp, nid, __builtin_return_address(0));
	return gfp & __GFP_ZERO ? zeroed(cache, object) : object;
}

/*
 * A full magazine: let it grow, or move its colder part to the depot; all of it if it may hold other
 * nodes' objects.
 */
static void flush(struct kmem_cache *cache, struct kmm_cpu *cpu, struct magazine *mag)
{
	unsigned int nr = magazine_nr(mag);
	unsigned int batch = max_t(unsigned int, cache->batch, nr / 4);

	if (mag->strays) {
		empty_magazine(cache, mag);
		return;
	}
	if (mag->tide > nr && mag->tide <= cache->mag_max) {
		mag->capacity = (u16)mag->tide;
		mag->widest = max_t(u32, mag->widest, mag->capacity);
		return;
	}
	node_put(cache, cpu->nid, mag->objects, batch);
	memmove(mag->objects, mag->objects + batch, (nr - batch) * sizeof(*mag->objects));
	magazine_set_nr(mag, nr - batch);
	mag->tide = nr - batch;
}

static void free_remote(struct kmem_cache *cache, struct kmm_cpu *cpu, void *object)
{
	struct magazine *mag = cache_remote_magazine(cache, cpu);

	magazine_open(mag, cache->remote_capacity, 0);
	WRITE_ONCE(mag->slow_frees, mag->slow_frees + 1);
	if (magazine_nr(mag) == mag->capacity && mag->top != object)
		empty_magazine(cache, mag);
	KMM_BUG_ON(!magazine_push(mag, object), "object %p of cache %s freed twice", object,
		   cache->name);
}

static KMM_COLD __attribute__((noreturn)) void wrong_cache(const struct kmem_cache *cache,
							   const struct page *page, void *object)
{
	const struct kmem_cache *own = page->slab_cache;
	unsigned long offset = (unsigned long)object - (unsigned long)slab_first(own, page->head);
	char who[WHO_SIZE] = "";

	/* Only the start of an object tells whose it is. */
	KMM_BUG("%p, freed to cache %s, is of cache %s%s", object, cache->name, own->name,
		offset % own->size || offset / own->size >= page->head->objects
			? who
			: slab_debug_who(own, object, who));
}

/*
 * The magazine is full or not open, the thread not attached, or the object NULL, of another node or
 * another slot's slab, or a mistake.
 */
void cache_free_slow(struct kmem_cache *cache, void *object)
{
	struct kmm_cpu *cpu = cache_cpu(cache);
	struct magazine *mag = cache_magazine(cache, cpu);
	struct page *page;

	if (!object)
		return;
	KMM_BUG_ON(!cpu_frame(cpu, object, &page) || !page->slab_cache,
		   "%p, freed to cache %s, is in no slab", object, cache->name);
	if (unlikely(page->slab_cache != cache))
		wrong_cache(cache, page, object);
	if (!cache->mag_capacity) {
		if (cache->flags & SLAB_DEBUG_FLAGS)
			slab_debug_free(cache, object, __builtin_return_address(0));
		__atomic_fetch_add(&cache->direct_frees, 1, __ATOMIC_RELAXED);
		node_put(cache, page->nid, &object, 1);
		return;
	}
	if (READ_ONCE(page->slab_key) != slab_own_key(cache, cpu, cpu->nid)) {
		free_remote(cache, cpu, object);
		return;
	}
	magazine_open(mag, cache->mag_capacity, slab_own_key(cache, cpu, cpu->nid));
	WRITE_ONCE(mag->slow_frees, mag->slow_frees + 1);
	if (magazine_nr(mag) >= mag->capacity && mag->top != object)
		flush(cache, cpu, mag);
	KMM_BUG_ON(!magazine_push(mag, object), "object %p of cache %s freed twice", object,
		   cache->name);
}

static void drain_magazine(struct kmem_cache *cache, struct magazine *mag)
{
	unsigned int nr = magazine_nr(mag);

	if (!nr)
		return;
	node_put_home(cache, mag->objects, nr);
	mag->strays = 0;
	mag->tide = 0;
	magazine_set_nr(mag, 0);
}

/*
 * Give what a slot's magazines of a cache hold back to the slabs. The caller is the slot's owner, or
 * keeps all others away from it; and drains the nodes next.
 */
void cache_flush_slot(struct kmem_cache *cache, struct kmm_cpu *cpu)
{
	if (cache->mag_capacity)
		drain_magazine(cache, cache_magazine(cache, cpu));
	if (cache->remote_capacity)
		drain_magazine(cache, cache_remote_magazine(cache, cpu));
}

/*
 * Close a slot's magazines whose owner is gone without a trace, perhaps half way through opening one;
 * the objects are lost. Wants slab->lock.
 */
void cache_forget_slot(struct kmem_cache *cache, struct kmm_cpu *cpu)
{
	struct magazine *mags[] = {cache_magazine(cache, cpu), cache_remote_magazine(cache, cpu)};

	for (unsigned int i = 0; i < (cache->remote_capacity ? 2U : 1U); i++)
		if (mags[i]->capacity) {
			cache->nr_lost += magazine_nr(mags[i]);
			magazine_close(mags[i]);
		}
}

/*
 * Debug builds: at each free, what other builds find when the object reaches its slab. Mistakes
 * about whose it is are left to the slow path, which names them.
 */
KMM_COLD void cache_check_free(struct kmem_cache *cache, void *object)
{
	struct kmm_cpu *cpu = cache_cpu(cache);
	const struct magazine *mag = cache_magazine(cache, cpu);
	const struct magazine *remote = cache_remote_magazine(cache, cpu);
	struct page *page;
	unsigned int i;
	bool free;

	if (!cpu_frame(cpu, object, &page) || page->slab_cache != cache || !cache->mag_capacity)
		return;
	i = slab_page_index(cache, page->head, object);
	lock_acquire(&cache->nodes[page->nid]->lock);
	free = slab_bits(page->head)[i / 64] >> i % 64 & 1;
	lock_release(&cache->nodes[page->nid]->lock);
	for (i = magazine_nr(mag); i--;)
		free |= mag->objects[i] == object;
	for (i = cache->remote_capacity ? magazine_nr(remote) : 0; i--;)
		free |= remote->objects[i] == object;
	KMM_BUG_ON(free, "object %p of cache %s freed twice", object, cache->name);
}

void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	return kmem_cache_alloc_inline(cache, gfp);
}

void kmem_cache_free(struct kmem_cache *cache, void *object)
{
	kmem_cache_free_inline(cache, object);
}

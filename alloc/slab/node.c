/* SPDX-License-Identifier: MIT */
/*
 * A cache on one NUMA node: its depot of free objects, and its slabs on lists by how full they are.
 *
 *	depot      [ coldest | ... | latest ]    taken from and put onto the right end, in batches
 *	slabs[]    empty | < 1/4 | < 2/4 | < 3/4 | < 4/4 | full    taken from the fullest not full
 *
 * Where slabs are owned (cache.h) the depot is of one slot, until it is empty: the slot that put in what
 * is there, or whose objects others brought home. All others go past it, to the slabs.
 *
 * So most batches cost one lock and one memcpy. The depot ages by its working set: of the objects
 * that nobody took out during TRIM_PUTS puts, half go back to their slabs. Empty slabs beyond a few
 * go back to the page allocator.
 *
 * Lock: node->lock, around everything here; pages are allocated and freed outside of it.
 */
#include <string.h>

#include "phys/page_alloc.h"
#include "slab/cache.h"

#define TRIM_PUTS   256
#define OWN_LOOKS   16 /* slabs that are looked at for one that is this slot's */
#define APART_SHARE 8  /* of a node's objects, this part may be free in slabs of others */

/* Make a zeroed node ready. 0 or -errno. */
int node_init(struct cache_node *node, const struct kmem_cache *cache)
{
	for (int i = 0; i < NR_SLAB_FILLS; i++)
		INIT_LIST_HEAD(&node->slabs[i]);
	node->depot_ticks = TRIM_PUTS;
	return lock_init(&node->lock, cache->name, RANK_CACHE_NODE,
			 cache->machine->config.lock_kind);
}

static enum slab_fill slab_fill(const struct page *slab)
{
	unsigned int used = 4U * slab->inuse;

	if (!slab->inuse)
		return FILL_EMPTY;
	if (slab->inuse == slab->objects)
		return FILL_FULL;
	return FILL_PARTIAL + (used >= slab->objects) + (used >= 2U * slab->objects) +
	       (used >= 3U * slab->objects);
}

/* Put a slab onto the list it belongs to after its inuse has changed, if that is another one. */
static void requeue_locked(struct cache_node *node, struct page *slab, enum slab_fill old)
{
	enum slab_fill fill = slab_fill(slab);

	if (fill == old)
		return;
	list_move(&slab->slab_list, &node->slabs[fill]);
	node->nr_empty += (u32)((fill == FILL_EMPTY) - (old == FILL_EMPTY));
}

/*
 * Make a slab, of which some objects were just taken, this slot's. One that is mostly in use stays
 * whose it was, for the objects are: what was taken from it goes home when it is freed.
 */
static void own_locked(const struct kmem_cache *cache, struct page *slab, unsigned int taken)
{
	const u32 key = slab_own_key(cache, this_cpu, slab->nid);

	if (slab->slab_key == key || 2U * (slab->inuse - taken) > slab->objects)
		return;
	for (unsigned long i = 0; i < 1UL << slab->order; i++)
		WRITE_ONCE(slab[i].slab_key, key);
}

static unsigned int take_from_slab_locked(struct kmem_cache *cache, struct cache_node *node,
					  struct page *slab, void **objects, unsigned int want)
{
	enum slab_fill old = slab_fill(slab);
	unsigned int nr = slab_page_take(cache, slab, objects, want);

	node->nr_free -= nr;
	requeue_locked(node, slab, old);
	if (cache->owned)
		own_locked(cache, slab, nr);
	return nr;
}

/* From slabs that are this slot's, as far as they are soon found, and empty ones, which are
 * nobody's. */
static unsigned int take_own_locked(struct kmem_cache *cache, struct cache_node *node,
				    void **objects, unsigned int want)
{
	const u32 owner = slab_owner(cache, this_cpu);
	unsigned int nr = 0, looks = OWN_LOOKS;
	struct page *slab, *next;

	for (int fill = FILL_FULL - 1; fill >= FILL_EMPTY; fill--)
		list_for_each_entry_safe(slab, next, &node->slabs[fill], slab_list) {
			if (nr == want || (fill != FILL_EMPTY && !looks))
				break;
			looks -= fill != FILL_EMPTY;
			if (fill == FILL_EMPTY || slab_key_owner(slab->slab_key) == owner)
				nr += take_from_slab_locked(cache, node, slab, objects + nr,
							    want - nr);
		}
	return nr;
}

static unsigned int take_from_slabs_locked(struct kmem_cache *cache, struct cache_node *node,
					   void **objects, unsigned int want)
{
	unsigned int nr = 0;

	for (int fill = FILL_FULL - 1; fill >= FILL_EMPTY; fill--)
		while (nr < want && !list_empty(&node->slabs[fill]))
			nr += take_from_slab_locked(
				cache, node,
				list_first_entry(&node->slabs[fill], struct page, slab_list),
				objects + nr, want - nr);
	return nr;
}

/*
 * objects are this node's; those that the key of the fast path did not vouch for are checked here.
 */
static void put_into_slabs_locked(struct kmem_cache *cache, struct cache_node *node, void **objects,
				  unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		const struct page *frame = object_frame(cache, objects[i]);
		struct page *slab = frame->head;
		enum slab_fill old;

		KMM_BUG_ON(frame->slab_cache != cache,
			   "object %p of cache %s freed twice: its slab has been given back since",
			   objects[i], cache->name);
		old = slab_fill(slab);
		slab_page_put(cache, slab, objects[i]);
		requeue_locked(node, slab, old);
	}
	node->nr_free += nr;
}

static void depot_to_slabs_locked(struct kmem_cache *cache, struct cache_node *node,
				  unsigned int nr)
{
	if (!nr)
		return;
	/* The coldest, from the bottom. */
	put_into_slabs_locked(cache, node, node->depot, nr);
	node->depot_nr -= nr;
	memmove(node->depot, node->depot + nr, node->depot_nr * sizeof(*node->depot));
}

/* Move empty slabs beyond `keep` to a list, for release_slabs once the lock is given back. */
static void cut_empty_locked(struct cache_node *node, unsigned int keep, struct list_head *cut)
{
	while (node->nr_empty > keep) {
		struct page *slab =
			list_last_entry(&node->slabs[FILL_EMPTY], struct page, slab_list);

		list_move(&slab->slab_list, cut);
		node->nr_empty--;
		node->nr_slabs--;
		node->nr_pages -= 1UL << slab->order;
		node->nr_objects -= slab->objects;
		node->nr_free -= slab->objects;
		node->slab_release++;
	}
}

static void release_slabs(struct kmem_cache *cache, struct list_head *cut)
{
	struct page *slab, *next;

	list_for_each_entry_safe(slab, next, cut, slab_list)
		slab_page_release(cache, slab);
}

static unsigned int take_from_depot_locked(struct cache_node *node, void **objects,
					   unsigned int want)
{
	unsigned int nr = min_t(unsigned int, want, node->depot_nr);

	if (!nr)
		return 0;
	node->depot_nr -= nr;
	memcpy(objects, node->depot + node->depot_nr, nr * sizeof(*objects));
	node->depot_low = min_t(u32, node->depot_low, node->depot_nr);
	return nr;
}

/* Whether the depot is that slot's, or nobody's. */
static bool depot_is_of(const struct cache_node *node, u32 owner)
{
	return !node->depot_nr || node->depot_owner == owner;
}

/* Whether so much is free on the node that slots must share slabs. */
static bool must_share(const struct kmem_cache *cache, const struct cache_node *node)
{
	return node->nr_free + node->depot_nr > cache->apart + node->nr_objects / APART_SHARE;
}

/*
 * Up to want free objects of node nid, without a new slab; returns how many. Those of other slots
 * if there are too many of them, or with `any`. Takes the node's lock once.
 */
unsigned int node_take(struct kmem_cache *cache, int nid, void **objects, unsigned int want,
		       bool any)
{
	struct cache_node *node = cache->nodes[nid];
	unsigned int nr = 0;

	lock_acquire(&node->lock);
	if (depot_is_of(node, slab_owner(cache, this_cpu)))
		nr = take_from_depot_locked(node, objects, want);
	if (!nr && cache->owned)
		nr = take_own_locked(cache, node, objects, want);
	if (!nr && (any || !cache->owned || must_share(cache, node))) {
		nr = take_from_slabs_locked(cache, node, objects, want);
		if (!nr)
			nr = take_from_depot_locked(node, objects, want);
	}
	node->nr_taken += nr;
	lock_release(&node->lock);
	return nr;
}

/*
 * Add a new slab to the node it lies on, and take up to want objects out of it; returns how many.
 */
unsigned int node_add_slab(struct kmem_cache *cache, struct page *slab, void **objects,
			   unsigned int want)
{
	struct cache_node *node = cache->nodes[slab->nid];
	unsigned int nr;

	lock_acquire(&node->lock);
	list_add(&slab->slab_list, &node->slabs[FILL_EMPTY]);
	node->nr_empty++;
	node->nr_slabs++;
	node->nr_pages += 1UL << slab->order;
	node->nr_objects += slab->objects;
	node->nr_free += slab->objects;
	node->slab_new++;
	nr = take_from_slab_locked(cache, node, slab, objects, want);
	node->nr_taken += nr;
	lock_release(&node->lock);
	return nr;
}

/*
 * Double the depot, up to the cache's limit, if the pages can be had easily. Wants the lock, and
 * gives it back for a while.
 */
static void grow_depot(struct kmem_cache *cache, int nid)
{
	struct cache_node *node = cache->nodes[nid];
	unsigned int capacity = min_t(unsigned int, cache->depot_max,
				      max_t(unsigned int, 2 * node->depot_capacity, 512));
	unsigned int order = get_order(capacity * sizeof(void *));
	struct page *page;
	void **depot;

	lock_release(&node->lock);
	page = alloc_pages_node(nid, GFP_NOWAIT | GFP_EASY, order);
	lock_acquire(&node->lock);
	if (!page)
		return;
	depot = page_address(page);
	if (capacity > node->depot_capacity) { /* else another thread was faster: free ours */
		void **old = node->depot;
		unsigned int old_order = get_order(node->depot_capacity * sizeof(void *));

		if (node->depot_nr)
			memcpy(depot, old, node->depot_nr * sizeof(void *));
		node->depot = depot;
		node->depot_capacity = capacity;
		depot = old;
		order = old_order;
	}
	lock_release(&node->lock);
	free_pages((unsigned long)depot, order);
	lock_acquire(&node->lock);
}

static bool put_into_depot(struct kmem_cache *cache, int nid, void **objects, unsigned int nr,
			   u32 owner)
{
	struct cache_node *node = cache->nodes[nid];

	if (!depot_is_of(node, owner))
		return false;
	if (node->depot_nr + nr > node->depot_capacity && node->depot_capacity < cache->depot_max)
		grow_depot(cache, nid);
	/* Once more, as the lock was given back. */
	if (node->depot_nr + nr > node->depot_capacity || !depot_is_of(node, owner))
		return false;
	memcpy(node->depot + node->depot_nr, objects, nr * sizeof(*objects));
	node->depot_nr += nr;
	node->depot_owner = owner;
	return true;
}

static void put(struct kmem_cache *cache, int nid, void **objects, unsigned int nr, u32 owner)
{
	struct cache_node *node = cache->nodes[nid];
	struct list_head cut = LIST_HEAD_INIT(cut);

	lock_acquire(&node->lock);
	if (!put_into_depot(cache, nid, objects, nr, owner))
		put_into_slabs_locked(cache, node, objects, nr);
	node->nr_put += nr;
	if (--node->depot_ticks == 0) {
		depot_to_slabs_locked(cache, node, (node->depot_low + 1) / 2);
		node->depot_low = node->depot_nr;
		node->depot_ticks = TRIM_PUTS;
	}
	cut_empty_locked(node, cache->max_empty, &cut);
	lock_release(&node->lock);
	release_slabs(cache, &cut);
}

/*
 * Give back nr objects of this slot, all of node nid and of this cache. Takes the node's lock once,
 * or thrice when the depot grows. The caller has checked whose they are; that each starts an object
 * and was not free already is checked when it reaches its slab.
 */
void node_put(struct kmem_cache *cache, int nid, void **objects, unsigned int nr)
{
	put(cache, nid, objects, nr, slab_owner(cache, this_cpu));
}

/*
 * The same for objects of any nodes and slots, those of one key after the other. Reorders the array.
 */
void node_put_any(struct kmem_cache *cache, void **objects, unsigned int nr)
{
	while (nr) {
		unsigned int same = 0;
		u32 key = 0;

		for (unsigned int i = 0; i < nr; i++) {
			u32 object_key = READ_ONCE(object_frame(cache, objects[i])->slab_key);
			void *object = objects[i];

			if (!i)
				key = object_key;
			if (object_key != key)
				continue;
			objects[i] = objects[same];
			objects[same++] = object;
		}
		put(cache, object_frame(cache, objects[0])->nid, objects, same,
		    slab_key_owner(key));
		objects += same;
		nr -= same;
	}
}

/*
 * Objects of any nodes straight into their slabs, for who drains: a depot that grows for them only
 * to be emptied would cost memory when there is none.
 */
void node_put_home(struct kmem_cache *cache, void **objects, unsigned int nr)
{
	while (nr) {
		int nid = object_frame(cache, objects[0])->nid;
		struct cache_node *node = cache->nodes[nid];
		unsigned int same = 1;

		while (same < nr && object_frame(cache, objects[same])->nid == nid)
			same++;
		lock_acquire(&node->lock);
		node->nr_put += same;
		put_into_slabs_locked(cache, node, objects, same);
		lock_release(&node->lock);
		objects += same;
		nr -= same;
	}
}

/* Give the depot, its memory and every empty slab back. */
void node_drain(struct kmem_cache *cache, int nid)
{
	struct cache_node *node = cache->nodes[nid];
	struct list_head cut = LIST_HEAD_INIT(cut);
	unsigned int order;
	void **depot;

	lock_acquire(&node->lock);
	put_into_slabs_locked(cache, node, node->depot, node->depot_nr);
	depot = node->depot;
	order = get_order(node->depot_capacity * sizeof(void *));
	node->depot = NULL;
	node->depot_nr = node->depot_capacity = node->depot_low = 0;
	cut_empty_locked(node, 0, &cut);
	lock_release(&node->lock);
	free_pages((unsigned long)depot, order);
	release_slabs(cache, &cut);
}

/* The same if nobody has used the node since the last call. */
void node_age(struct kmem_cache *cache, int nid)
{
	struct cache_node *node = cache->nodes[nid];
	bool idle;

	lock_acquire(&node->lock);
	idle = node->aged == node->nr_taken + node->nr_put;
	node->aged = node->nr_taken + node->nr_put;
	idle &= node->depot_capacity || node->nr_empty;
	lock_release(&node->lock);
	if (idle)
		node_drain(cache, nid);
}

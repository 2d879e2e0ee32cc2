/* SPDX-License-Identifier: MIT */
/*
 * Object caches (slab), under the kernel's names. A cache is of one machine, and only threads
 * attached to it may use it, any of them: a free from elsewhere stops the program, an allocation
 * only with --enable-checks, for its fast path does not look. Fast paths: this CPU's magazine of
 * the cache, no lock, no atomic.
 */
#ifndef KMM_SLAB_SLAB_H
#define KMM_SLAB_SLAB_H

#include <stdio.h>

#include "base/compiler.h"
#include "base/cpu.h"
#include "phys/gfp.h"

KMM_BEGIN_DECLS

typedef u32 slab_flags_t;
#define SLAB_HWCACHE_ALIGN   0x1U  /* align objects to cache lines */
#define SLAB_PANIC	     0x2U  /* stop the program if the cache cannot be made */
#define SLAB_NO_MERGE	     0x4U  /* share it with no other cache */
#define SLAB_RECLAIM_ACCOUNT 0x8U  /* its pages are reclaimable ones (MIGRATE_RECLAIMABLE) */
#define SLAB_CACHE_DMA	     0x10U /* its pages come from the DMA zone */

/*
 * Debugging; each also by kmm_config.slub_debug. A cache with any of them has no magazines: each of
 * its calls takes a lock, a mistake stops the program with what is known of the object, and it is
 * not merged. slabinfo's objsize includes what they lay around an object.
 *
 * The kernel also obfuscates the links between free objects (CONFIG_SLAB_FREELIST_HARDENED), which
 * lie in the objects themselves. Here none do: which objects are free is written in bitmaps and
 * arrays of addresses outside of them. So a write to a free object leads the allocator nowhere,
 * whatever is written, and SLAB_POISON finds it.
 */
#define SLAB_CONSISTENCY_CHECKS 0x100U /* F: recount the slab; double and interior frees at once */
#define SLAB_RED_ZONE		0x200U /* Z: bytes around each object (kmalloc: what was asked) */
#define SLAB_POISON		0x400U /* P: free objects without ctor are filled, and watched */
#define SLAB_STORE_USER		0x800U /* U: who allocated and who freed an object is remembered */
#define SLAB_DEBUG_FLAGS	(SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER)

struct kmem_cache;
struct lock_stats;

/*
 * A cache of objects of size bytes (1 to 4 MiB), aligned to align (0, or a power of two up to
 * PAGE_SIZE). ctor, if any, runs once for each object when its slab is made, and free objects keep
 * what it and the user left in them. name must be unique among live caches and is copied. Takes the
 * cache list's lock. NULL for bad arguments or no memory.
 *
 * As in the kernel, a cache without ctor, SLAB_NO_MERGE and debugging may be merged: the caller
 * gets a live cache (a kmalloc cache, too) whose objects are less than a word larger, suit the
 * alignment, and come from the same kind of pages. slabinfo has the other's name, and its own is
 * remembered nowhere; a free to one of the two of an object of the other is no mistake; its size
 * is the larger of both. kmm_config.slab_nomerge turns this off.
 */
KMM_API struct kmem_cache *kmem_cache_create(const char *name, unsigned int size,
					     unsigned int align, slab_flags_t flags,
					     void (*ctor)(void *));
/*
 * An object near this CPU, or (alloc_node) on node nid if it can be had, with nid NUMA_NO_NODE for
 * near; with __GFP_THISNODE from nowhere else. __GFP_ZERO zeroes the object. gfp is given to the
 * page allocator when a new slab is needed; with __GFP_DIRECT_RECLAIM (GFP_KERNEL), all caches
 * first give back what they hold when memory is short, which takes the cache list's lock: a caller
 * that holds a lock of kmm's uses GFP_NOWAIT or GFP_ATOMIC. NULL: no memory. Cost: this CPU's
 * magazine, no lock; one lock for half a magazine.
 */
KMM_API void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp);
KMM_API void *kmem_cache_alloc_node(struct kmem_cache *cache, gfp_t gfp, int nid);
/* The same, zeroed. */
static inline void *kmem_cache_zalloc(struct kmem_cache *cache, gfp_t gfp)
{
	return kmem_cache_alloc(cache, gfp | __GFP_ZERO);
}
/*
 * Give it back to the cache it came from; stops the program on a pointer that is none of the
 * cache's. NULL does nothing.
 */
KMM_API void kmem_cache_free(struct kmem_cache *cache, void *object);
/*
 * nr objects into the array, all or none: returns nr, or 0 for no memory. nr is at most INT_MAX.
 * Cost: a copy out of this CPU's magazine as far as that goes.
 */
KMM_API int kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t nr, void **objects);
/* Give nr objects back to their cache; with cache NULL, each to the cache it came from. */
KMM_API void kmem_cache_free_bulk(struct kmem_cache *cache, size_t nr, void **objects);
/*
 * End a cache, which no other thread may be using. All objects must be free: 0, or -EBUSY, and the
 * cache still works; lines on stderr say how many are not, and the addresses of the first few (who
 * allocated them, with SLAB_STORE_USER). Of a cache that others were merged with, the last to be
 * destroyed ends it, and the ones before always succeed.
 */
KMM_API int kmem_cache_destroy(struct kmem_cache *cache);
/*
 * Give empty slabs and the magazines of this and idle slots back. Returns 0 when no slab is left.
 */
KMM_API int kmem_cache_shrink(struct kmem_cache *cache);
/* Usable bytes of an object. */
KMM_API unsigned int kmem_cache_size(const struct kmem_cache *cache);

/* For slabinfo, results and tests; consistent when nothing runs. Takes the node locks in turn. */
struct slab_info {
	const char *name;
	u64 active_objs, num_objs; /* handed out (magazine contents count as free); room for */
	u64 active_slabs, num_slabs;
	u64 partial_slabs;
	u64 slab_bytes; /* of all slabs: some may be smaller than pagesperslab */
	u32 objsize, objperslab, pagesperslab;
	u32 usable_bytes;      /* of objsize, as kmem_cache_size says */
	u32 limit, batchcount; /* magazine size, objects moved at once */
};
/* Calls visit for each cache, oldest first, with the cache list's lock held. */
KMM_API void slab_for_each(struct kmm *machine, void (*visit)(const struct slab_info *, void *arg),
			   void *arg);

/* As PHYS_COUNTERS. */
#define SLAB_COUNTERS(X)                                                                           \
	X(alloc_fast)                                                                              \
	X(alloc_slow)                                                                              \
	X(alloc_direct) /* of these, past the magazines: one atomic each */                        \
	X(free_fast)                                                                               \
	X(free_slow)                                                                               \
	X(free_direct) /* the same */                                                              \
	X(free_remote) /* objects sent home to another node or slot */                             \
	X(slab_new)                                                                                \
	X(slab_release)
struct slab_counters {
#define X(name) u64 name;
	SLAB_COUNTERS(X)
#undef X
};
KMM_API void slab_count(struct kmm *machine, struct slab_counters *sum);

/* Calls visit for the lock of each cache on each node, with the cache list's lock held. */
KMM_API void slab_for_each_lock(struct kmm *machine,
				void (*visit)(const char *name, const struct lock_stats *,
					      void *arg),
				void *arg);

/* Walk every cache, slab, free list and magazine; stops the program with what differs. */
KMM_API void slab_validate(struct kmm *machine);

KMM_END_DECLS
#endif

/* SPDX-License-Identifier: MIT */
/*
 * Inside the slab layer: what a cache is made of, and the few lines that the fast paths share.
 *
 *	 kmem_cache_alloc/free            this CPU only, no lock
 *	        |  ^
 *	 magazine (one a cache and slot)  a stack of free objects of this CPU's node
 *	 remote magazine                  the same for objects of other nodes, and of other slots' slabs
 *	        |  ^    a batch at a time: half of what a magazine holds at first
 *	 depot (one a cache and node)     a stack of free objects; cache_node->lock
 *	        |  ^    what the depot cannot give or hold
 *	 slabs                            blocks of pages, with a bit a free object; the same lock
 *	        |  ^    empty slabs, beyond a few
 *	 page allocator
 *
 * Where objects are smaller than a cache line, one line is of several, and two CPUs that write to
 * neighbours send it to and fro. (Larger ones share at most two lines, with one each: too few to pay
 * for.) So slabs of such a cache are owned: a slot takes objects out of its
 * own slabs, or empty ones, or new ones; its number is in their slab_key, so that a free by any other
 * slot fails the fast path's one comparison, and the object goes into the remote magazine and from
 * there home, to the depot while that is the owner's, else to its slab:
 *
 *	slot 0:  alloc  <- magazine <- depot, or slabs with key |1|      <-.
 *	slot 1:  alloc  <- magazine <- slabs with key |2|                  | in batches
 *	         free of an object in a slab with key |1| -> remote magazine
 *
 * A slot takes from the slabs of others only when more is free on the node than `apart` and an eighth of
 * all its objects, for then lines shared are the lesser evil, or when there is no memory; a slab that is
 * mostly in use stays whose it was. Slots of threads that have ended own what they did, for their heirs.
 *
 * An object is in one place: with the user, in a magazine, in a depot, or free in its slab. A slab
 * counts all but the last as in use, so for each node of a cache
 *
 *	sum of slab->objects == sum of slab->inuse + nr_free
 *	sum of slab->inuse   == user's + depot_nr + those of the node's objects in magazines
 *
 * Magazines and depot after Bonwick & Adams (USENIX 2001), with the two magazines of a CPU replaced
 * by one from which a part is moved, and the depot's magazines by one array, so that moving is a
 * memcpy. Slabs after mm/slub.c (6.1), with bitmaps for its free lists, because a batch of objects
 * goes in and out faster and a second free of an object is seen.
 */
#ifndef KMM_SLAB_CACHE_H
#define KMM_SLAB_CACHE_H

#include "base/bits.h"
#include "base/check.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/machine.h"
#include "phys/page.h"
#include "slab/kmalloc.h"
#include "slab/slab.h"

/* Classes of each set (kmalloc_classes.c); the size table is as long for both. */
#define NR_KMALLOC_KERNEL   13
#define NR_KMALLOC_FINE	    80
#define KMALLOC_FINE_LINEAR 16 /* fine classes up to 128: multiples of 8 */
#define KMALLOC_FINE_STEPS  8U /* to each doubling after that */
#define KMALLOC_TABLE_SIZE  (KMALLOC_MAX_CACHE_SIZE / 8 + 1)

/* A flag of the layer's own: a kmalloc cache. */
#define SLAB_KMALLOC 0x10000U

/* Of which pages a kmalloc cache is made; a cache for each class for each. */
enum kmalloc_type { KMALLOC_NORMAL, KMALLOC_RECLAIM, KMALLOC_DMA, NR_KMALLOC_TYPES };

/* For a first try of the page allocator, before other places have been looked into. */
#define GFP_EASY (__GFP_NORETRY | __GFP_NOWARN)

static inline gfp_t gfp_easy(gfp_t gfp)
{
	return (gfp & ~__GFP_DIRECT_RECLAIM) | GFP_EASY;
}

/*
 * Lies at a cache's mag_offset in every slot. The slot's owner writes it; zeros until first used.
 *
 * It grows as the per-CPU page lists do (phys/pcp.h): what it took in since it last gave any back is
 * a tide, and one that it may hold (mag_max) stays with its CPU, so that two CPUs do not mix their
 * objects, and with them their cache lines, through the depot. When a tide is higher than that, it is
 * as small as at first: what many hold back is memory lost.
 *
 *	| state | top | ... | bottom | objects[0] | objects[1] | ... | objects[nr - 1] | free
 *	          `------------------------------------------------------'
 *
 * The top is there twice: a free that follows an allocation, and the other way round, then hand the
 * object over through a word whose place does not depend on the object or the number, and so need
 * not wait for each other. With no object in it, top is a copy of bottom, which is no address: its
 * highest bit is SLAB_KEY's, and no address of a process has that.
 */
struct magazine {
	u64 slow_allocs; /* times it was found empty */
	u64 slow_frees;	 /* times it was found full, or (remote magazine) put into */
	/* Not first in the cache line, as the word is that most programs write of an object first: see
	 * struct pcp_stack. */
	/* Low 16 bits: objects in it. Above: objects ever taken out. One addition changes both. */
	u64 state;
	void *top;
	u32 tide; /* held after it last gave some to the depot, and taken in since */
	u32 widest; /* capacity it ever had at most, closed or not: so far objects[] may be no zeros */
	union {
		void *bottom;
		struct {
			u16 capacity; /* mag_capacity to mag_max; 0: not open yet */
			u16 strays;   /* may hold objects of other nodes, for want of this one's */
			u32 key;      /* slab_key of what a free may put into it; 0: nothing */
		};
	};
	void *objects[];
};

#define MAGAZINE_TAKEN	  0x10000UL
#define MAGAZINE_ALIGN	  128UL	     /* of magazines in a slot: the size table counts in it */
#define MAGAZINE_TIDE_MAX (1U << 24) /* no tide is counted as higher */

#define SLAB_KEY	 0x80000000U /* in every slab_key but 0 */
#define SLAB_OWNER_SHIFT 23
#define SLAB_OWNERS	 255U /* slots that have a number of their own */

_Static_assert(offsetof(struct magazine, objects) == offsetof(struct magazine, bottom) + 8,
	       "the bottom is the word under the first object");

/* How full a slab is decides its list: lists of the node from empty to full. */
enum slab_fill { FILL_EMPTY, FILL_PARTIAL, FILL_FULL = FILL_PARTIAL + 4, NR_SLAB_FILLS };

/* The part of a cache on one NUMA node; lies on that node. */
struct cache_node {
	struct lock lock; /* RANK_CACHE_NODE. lock protects the rest, and its slabs' struct page: */

	void **depot; /* pages of the node, NULL until first used */
	u32 depot_nr, depot_capacity;
	u32 depot_low;	 /* lowest depot_nr since the last trim: what nobody needed */
	u32 depot_ticks; /* puts until the next trim */
	u32 depot_owner; /* slab_owner() of who put in what is there */

	struct list_head slabs[NR_SLAB_FILLS];
	u32 nr_empty;
	u64 nr_slabs;
	u64 nr_pages;	/* of them */
	u64 nr_objects; /* sum of slab->objects */
	u64 nr_free;	/* bits set in them */
	u64 nr_taken;	/* objects ever moved out to magazines */
	u64 nr_put;	/* and back */
	u64 aged;	/* the sum of the two when ageing came by */
	u64 slab_new, slab_release;
};

struct kmem_cache {
	/* Set when the cache is made, then constant. Fast paths read mag_offset only. */
	/* Of its magazine in each slot, a multiple of MAGAZINE_ALIGN; or of the closed one. */
	u32 mag_offset;
	u32 remote_offset; /* of its remote magazine */
	u16 mag_capacity;  /* at first; 0: none, the slots have no room for it */
	u16 mag_max;	   /* and at most */
	u16 remote_capacity;
	u16 batch; /* objects moved at once, of a magazine as at first */
	u8 order, min_order;
	u32 size;	 /* from one object to the next */
	u32 object_size; /* as asked for */
	u64 reciprocal;	 /* 2^44 / size, rounded up */
	u32 align;
	u32 depot_max; /* objects a node's depot may hold */
	u32 max_empty; /* empty slabs a node keeps */
	u32 apart; /* objects free on a node up to which no slot takes of another's slabs */
	slab_flags_t flags;
	gfp_t gfp;	  /* what every page of it is asked for with */
	u32 red_left;	  /* from where an object's room begins to the object; see debug.c */
	u32 track_offset; /* from there to where its users are remembered */
	u32 asked_offset; /* and to where the size is that kmalloc was asked for */
	void (*ctor)(void *);
	struct kmm *machine;
	const char *name;
	bool owned; /* objects share cache lines, so slabs, and depots, belong to slots */
	bool boot; /* one of the layer's own: the name is a literal, and it ends with the machine */
	u32 nr_nodes;

	/* Objects past the magazines; relaxed atomics. */
	u64 direct_allocs, direct_frees;

	/* slab->lock protects: */
	struct list_head list;
	u32 nr_users; /* times it was created and not destroyed; object_size grows with it */
	u64 nr_lost;  /* objects in magazines that were forgotten: nobody's any more */

	struct cache_node *nodes[];
};

/* machine->slab: the layer's root. Lies in pages of its own. */
struct slab {
	struct lock lock; /* RANK_CACHE_LIST. lock protects: */
	struct list_head caches;
	struct slab_counters ended; /* of caches that were destroyed */

	/* Set at boot, then constant. */
	u32 nr_nodes;
	u32 block_order;     /* of the pages this lies in */
	u32 closed_magazine; /* of an empty magazine of capacity 0, for caches without */
	u32 size_table;	     /* offset of each slot's table of magazine offsets by size */
	u32 cpu_counters;    /* offset of struct slab_cpu */
	struct kmem_cache *cache_cache; /* what caches are made of; these two lie in this block */
	struct kmem_cache *node_cache;
	/* By class; NULL where a type has none so large, or, with late_classes, not yet. */
	struct kmem_cache *kmalloc_caches[NR_KMALLOC_TYPES][NR_KMALLOC_FINE];
	/* Empty until the cache is made; under the lock till then. */
	char kmalloc_names[NR_KMALLOC_FINE + (NR_KMALLOC_TYPES - 1) * NR_KMALLOC_KERNEL][16];
};

/* Per slot; written by its owner. */
struct slab_cpu {
	u64 large_allocs, large_frees; /* kmallocs past the caches */
};

/* page.c: one slab. Those that change a slab want its node's lock once it is on a list. */
int slab_geometry(struct kmem_cache *cache);
unsigned int slab_objects(const struct kmem_cache *cache, unsigned int order);
struct page *slab_page_new(struct kmem_cache *cache, gfp_t gfp, int nid);
void slab_page_release(struct kmem_cache *cache, struct page *slab);
unsigned int slab_page_take(struct kmem_cache *cache, struct page *slab, void **objects,
			    unsigned int want);
void slab_page_put(struct kmem_cache *cache, struct page *slab, void *object);
unsigned int slab_page_index(const struct kmem_cache *cache, struct page *slab, const void *object);

/* node.c: depot and lists. All take the node's lock themselves. */
int node_init(struct cache_node *node, const struct kmem_cache *cache);
unsigned int node_take(struct kmem_cache *cache, int nid, void **objects, unsigned int want,
		       bool any);
unsigned int node_add_slab(struct kmem_cache *cache, struct page *slab, void **objects,
			   unsigned int want);
void node_put(struct kmem_cache *cache, int nid, void **objects, unsigned int nr);
void node_put_any(struct kmem_cache *cache, void **objects, unsigned int nr);
void node_put_home(struct kmem_cache *cache, void **objects, unsigned int nr);
void node_drain(struct kmem_cache *cache, int nid);
void node_age(struct kmem_cache *cache, int nid);

/* Flags that need more than an object of this CPU's magazine; of its normal kmalloc caches. */
#define CACHE_GFP_SPECIAL   (__GFP_ZERO | __GFP_THISNODE)
#define KMALLOC_GFP_SPECIAL (CACHE_GFP_SPECIAL | __GFP_DMA | __GFP_RECLAIMABLE)

/* slab.c */
struct kmm_cpu *cache_cpu(const struct kmem_cache *cache);
KMM_COLD void *cache_alloc_special(struct kmem_cache *cache, gfp_t gfp);
KMM_COLD void *cache_alloc_slow(struct kmem_cache *cache, gfp_t gfp);
KMM_COLD void cache_free_slow(struct kmem_cache *cache, void *object);
KMM_COLD void *cache_alloc_sized(struct kmem_cache *cache, gfp_t gfp, int nid, size_t size,
				 void *caller);
KMM_COLD void cache_check_free(struct kmem_cache *cache, void *object);
void cache_flush_slot(struct kmem_cache *cache, struct kmm_cpu *cpu);
void cache_forget_slot(struct kmem_cache *cache, struct kmm_cpu *cpu);

/* cache.c */
size_t cache_struct_size(u32 nr_nodes);
int cache_init(struct kmem_cache *cache, struct kmm *machine, unsigned int size, unsigned int align,
	       slab_flags_t flags, void (*ctor)(void *));
void cache_close_magazines(struct kmem_cache *cache);
struct kmem_cache *cache_create_boot(struct kmm *machine, const char *name, unsigned int size,
				     unsigned int align, slab_flags_t flags);
void cache_release(struct kmem_cache *cache);

/* drain.c */
u64 cache_drain_all(struct kmem_cache *cache);
void slab_cpu_drain(struct kmm *machine, struct kmm_cpu *cpu);
unsigned long slab_reap(struct kmm *machine);
void slab_age(struct kmm *machine);

/* debug.c: caches with SLAB_DEBUG_FLAGS */
#define WHO_SIZE 192
/*
 * The flags that kmm_config.slub_debug asks for in a cache of this name: the kernel's syntax,
 * LETTERS[,NAME...][;LETTERS,NAME...]... with the letters F, Z, P, U, none for all of them, or -
 * for none; a name may end in *. NULL and an empty block ask for nothing, an option that is empty for
 * all. A block with a matching name wins over one without names. -EINVAL for another letter.
 */
int slab_debug_parse(const char *option, const char *name, slab_flags_t *flags);
void slab_debug_layout(struct kmem_cache *cache);
KMM_COLD void slab_debug_new(const struct kmem_cache *cache, void *object);
KMM_COLD void slab_debug_alloc(struct kmem_cache *cache, void *object, size_t size, void *caller);
KMM_COLD void slab_debug_resize(const struct kmem_cache *cache, void *object, size_t size);
/* Bytes of an object that hold something: those asked for if that is known, else all. */
size_t slab_debug_asked(const struct kmem_cache *cache, const void *object);
KMM_COLD void slab_debug_free(struct kmem_cache *cache, void *object, void *caller);
KMM_COLD void slab_debug_check(const struct kmem_cache *cache, struct page *slab);
KMM_COLD const char *slab_debug_who(const struct kmem_cache *cache, void *object, char *text);

/* validate.c */
unsigned int slab_page_check(struct kmem_cache *cache, struct page *slab, int nid);

/* kmalloc.c */
KMM_COLD void *kmalloc_slow(size_t size, gfp_t gfp);
KMM_COLD void kfree_slow(void *object);
bool kfree_foreign(struct kmm_cpu *cpu, const struct page *page, u32 key, void *object);

/* kmalloc_classes.c */
int kmalloc_boot(struct kmm *machine);
KMM_COLD void kmalloc_open_class(struct kmm_cpu *cpu, size_t size);
/* Of a machine with late_classes, the cache of a class that has none yet, made now. NULL when there is no
 * memory for it, no such class, or no such machine. The caller holds no lock. */
KMM_COLD struct kmem_cache *kmalloc_late_cache(struct kmm *machine, unsigned int class);

/* kmalloc_large.c: what no cache has. page is the one that object begins in. */
KMM_COLD void *kmalloc_large(size_t size, gfp_t gfp, int nid);
KMM_COLD void kfree_large(struct kmm_cpu *cpu, struct page *page, void *object);
size_t large_size(const struct page *page, const void *object);
void large_shrink(struct page *page, const void *object, size_t size);

/* stats.c */
void for_each_magazine(struct kmem_cache *cache,
		       void (*visit)(struct kmem_cache *, struct magazine *, bool remote,
				     void *arg),
		       void *arg);
void cache_info(struct kmem_cache *cache, struct slab_info *info);
void cache_count(struct kmem_cache *cache, struct slab_counters *sum);

/* One of kmalloc's many classes, each of which is to hold back the less. */
static inline bool cache_is_fine(const struct kmem_cache *cache)
{
	return cache->flags & SLAB_KMALLOC &&
	       cache->machine->config.kmalloc_classes == KMALLOC_CLASSES_FINE;
}

/* The class of a size from 1 on; of one beyond the largest, a class that there is none of. Of the fine
 * classes up to 128, those with odd numbers are the multiples of 16. */
static inline unsigned int kmalloc_class(const struct kmm_config *config, size_t size)
{
	static const u8 small[] = {0, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4,
				   5, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 6};
	unsigned int top = __fls((size - 1) | 1);

	if (config->kmalloc_classes == KMALLOC_CLASSES_KERNEL)
		return size <= 8 * sizeof(small) ? small[(size - 1) / 8] : top;
	if (size <= 128)
		return (unsigned int)(size - 1) / 8 | (config->layout == ZONES_PLAIN && size > 8);
	return KMALLOC_FINE_LINEAR + (top - 7) * KMALLOC_FINE_STEPS +
	       ((size - 1) >> (top - 3)) % KMALLOC_FINE_STEPS;
}

/* The cache of a size from 1 to KMALLOC_MAX_CACHE_SIZE; NULL where there is none. */
static inline struct kmem_cache *kmalloc_cache(struct kmm *machine, enum kmalloc_type type,
					       size_t size)
{
	unsigned int class = kmalloc_class(&machine->config, size);
	/* Acquire: whoever sees the cache sees it made. */
	struct kmem_cache *cache =
		__atomic_load_n(&machine->slab->kmalloc_caches[type][class], __ATOMIC_ACQUIRE);

	return likely(cache) ? cache : kmalloc_late_cache(machine, class);
}

static inline struct magazine *cache_magazine(const struct kmem_cache *cache, struct kmm_cpu *cpu)
{
	return percpu_ptr(cpu, cache->mag_offset);
}

static inline struct magazine *cache_remote_magazine(const struct kmem_cache *cache,
						     struct kmm_cpu *cpu)
{
	return percpu_ptr(cpu, cache->remote_offset);
}

static inline unsigned int magazine_nr(const struct magazine *mag)
{
	return (u16)READ_ONCE(mag->state);
}

/* Objects ever taken out of it by the user. */
static inline u64 magazine_taken(const struct magazine *mag)
{
	return READ_ONCE(mag->state) >> 16;
}

/* For moving objects in bulk, which counts as neither allocation nor free. */
static inline void magazine_set_nr(struct magazine *mag, unsigned int nr)
{
	WRITE_ONCE(mag->state, (mag->state & ~0xffffUL) | nr);
	mag->top = (&mag->bottom)[nr];
}

/* Let it hold objects from now on; and frees, of those with this key. */
static inline void magazine_open(struct magazine *mag, unsigned int capacity, u32 key)
{
	if (mag->capacity)
		return;
	mag->capacity = (u16)capacity;
	mag->widest = max_t(u32, mag->widest, capacity);
	mag->key = key;
	mag->tide = 0;
	magazine_set_nr(mag, 0);
}

/* The reverse, of an empty one or one whose objects are lost. */
static inline void magazine_close(struct magazine *mag)
{
	mag->bottom = NULL;
	magazine_set_nr(mag, 0);
}

/* False when it is empty. */
static inline bool magazine_pop(struct magazine *mag, void **object)
{
	u64 state = mag->state;
	size_t nr = (u16)state;

	if (unlikely(!nr))
		return false;
	*object = mag->top;
	mag->top = (&mag->bottom)[nr - 1];
	WRITE_ONCE(mag->state, state + MAGAZINE_TAKEN - 1);
	return true;
}

/* False when it is full; and when object is on its top already, for the slow path to say so. */
static inline bool magazine_push(struct magazine *mag, void *object)
{
	u64 state = mag->state;
	size_t nr = (u16)state;

	if (unlikely(nr >= mag->capacity) || unlikely(mag->top == object))
		return false;
	mag->objects[nr] = object;
	mag->top = object;
	WRITE_ONCE(mag->state, state + 1);
	return true;
}

/*
 * The frame of an address of cpu's machine. False for one outside, and so for NULL, and for any in
 * the detached slot.
 */
static inline bool cpu_frame(const struct kmm_cpu *cpu, const void *addr, struct page **page)
{
	unsigned long pfn = ((unsigned long)addr - (unsigned long)cpu->direct_map) >> PAGE_SHIFT;

	if (unlikely(pfn >= cpu->nr_frames))
		return false;
	*page = cpu->mem_map + pfn;
	return true;
}

/* The frame of an object, which is known to be of the cache's machine. */
static inline struct page *object_frame(const struct kmem_cache *cache, const void *object)
{
	const struct kmm *machine = cache->machine;

	return machine->mem_map +
	       (((unsigned long)object - (unsigned long)machine->direct_map) >> PAGE_SHIFT);
}

/* What is in slab_key of each frame of a slab: whose it is and where it lies, in one number. A
 * magazine has it too, so that a free compares two words. */
static inline u32 slab_key(const struct kmem_cache *cache, int nid)
{
	return SLAB_KEY | (cache->mag_offset + (u32)nid);
}

/* Where in a slot the magazine is that takes frees of this key. Of key 0 it is the slot itself; see
 * kfree_inline(). */
static inline u32 slab_key_offset(u32 key)
{
	return key & (PERCPU_SIZE - CACHELINE_SIZE);
}

_Static_assert(PERCPU_SIZE <= 1U << SLAB_OWNER_SHIFT, "an owner's number lies above all offsets");

/* Whose slab a key is of; the same as slab_owner() of that slot. */
static inline u32 slab_key_owner(u32 key)
{
	return key & SLAB_OWNERS << SLAB_OWNER_SHIFT;
}

static inline u32 cpu_owner(const struct kmm_cpu *cpu)
{
	return (cpu->slot % SLAB_OWNERS + 1) << SLAB_OWNER_SHIFT;
}

/*
 * Slot cpu as the owner of slabs, in their key: 0 where objects are a cache line or more, as there it
 * hardly matters. Where there are more slots than numbers some have one together, and share lines.
 */
static inline u32 slab_owner(const struct kmem_cache *cache, const struct kmm_cpu *cpu)
{
	return cache->owned ? cpu_owner(cpu) : 0;
}

/* The key of a slab of slot cpu on node nid. */
static inline u32 slab_own_key(const struct kmem_cache *cache, const struct kmm_cpu *cpu, int nid)
{
	return slab_key(cache, nid) | slab_owner(cache, cpu);
}

_Static_assert(KMM_MAX_NODES <= 64, "slab_key keeps the node in the low bits of a multiple of 64");

static inline void *slab_base(const struct kmem_cache *cache, const struct page *slab)
{
	return cache->machine->direct_map +
	       ((unsigned long)(slab - cache->machine->mem_map) << PAGE_SHIFT);
}

/* The first object of a slab. */
static inline char *slab_first(const struct kmem_cache *cache, const struct page *slab)
{
	return (char *)slab_base(cache, slab) + cache->red_left;
}

static inline u64 *slab_bits(struct page *slab)
{
	return slab->objects <= 64 ? &slab->slab_free : slab->slab_bitmap;
}

#endif

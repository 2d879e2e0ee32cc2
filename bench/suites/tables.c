/* SPDX-License-Identifier: MIT */
/*
 * kmm, the host's mmap and the floor's list as tables of malloc's own function types, so that the
 * timed loops reach each of them, and each peer, by the same indirect call. See common.h.
 *
 * kmm's tables hold one small function in front of kmm's entry point, because the kernel's
 * signatures have more arguments than malloc's; its cost is counted as kmm's. Plain calls are
 * placed by kmm itself (this CPU's node); the remote and interleave tables name the node.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/suites/common.h"
#include "slab/fast.h"

struct kmm_target kmm_target;
_Thread_local int kmm_target_nid FAST_TLS;
_Thread_local unsigned int kmm_target_cpu FAST_TLS;

/* Nodes in turn, each thread for itself. */
static inline int next_node(void)
{
	int nid = kmm_target_nid;

	kmm_target_nid = nid + 1 < kmm_target.nr_nodes ? nid + 1 : 0;
	return nid;
}

/*
 * page
 */
static void *page_alloc(size_t size)
{
	(void)size;
	return (void *)__get_free_pages(GFP_KERNEL, kmm_target.order);
}

static void *page_alloc_on(int nid)
{
	struct page *page = alloc_pages_node(nid, GFP_KERNEL, kmm_target.order);

	return page ? page_address(page) : NULL;
}

static void *page_alloc_remote(size_t size)
{
	(void)size;
	return page_alloc_on(kmm_target_nid);
}

static void *page_alloc_interleave(size_t size)
{
	(void)size;
	return page_alloc_on(next_node());
}

static void page_free(void *object)
{
	free_pages((unsigned long)object, kmm_target.order);
}

static void *page_alloc_order(unsigned int order)
{
	return (void *)__get_free_pages(GFP_KERNEL, order);
}

static void page_free_order(void *block, unsigned int order)
{
	free_pages((unsigned long)block, order);
}

static int page_free_stats(const struct object_peer *peer, bool drain,
			   struct kmm_page_peer_stats *stats)
{
	struct free_area_counts counts;

	(void)peer;
	if (drain)
		kmm_drain(kmm_target.machine);
	count_free_areas(kmm_target.machine, NUMA_NO_NODE, &counts);
	stats->free_frames = counts.nr_buddy_pages;
	stats->free_huge = 0;
	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
		stats->free_blocks[order] = counts.nr_blocks[order];
		if (order >= HPAGE_ORDER)
			stats->free_huge += counts.nr_blocks[order] << (order - HPAGE_ORDER);
	}
	return 0;
}

/* Pages that are not free; what slabs and tables hold stays the same while a page case runs. */
static int page_stats(const struct object_peer *peer, struct object_peer_stats *stats)
{
	struct free_area_counts counts;

	(void)peer;
	count_free_areas(kmm_target.machine, NUMA_NO_NODE, &counts);
	stats->allocated_bytes =
		(counts.nr_managed_pages - counts.nr_buddy_pages - counts.nr_pcp_pages)
		<< PAGE_SHIFT;
	stats->backing_bytes = (counts.nr_managed_pages - counts.nr_buddy_pages) << PAGE_SHIFT;
	return 0;
}

/*
 * slab
 */
static void *slab_alloc(size_t size)
{
	(void)size;
	return kmem_cache_alloc_inline(kmm_target.cache, GFP_KERNEL);
}

static void *slab_alloc_remote(size_t size)
{
	(void)size;
	return kmem_cache_alloc_node(kmm_target.cache, GFP_KERNEL, kmm_target_nid);
}

static void *slab_alloc_interleave(size_t size)
{
	(void)size;
	return kmem_cache_alloc_node(kmm_target.cache, GFP_KERNEL, next_node());
}

static void slab_free(void *object)
{
	kmem_cache_free_inline(kmm_target.cache, object);
}

static size_t slab_alloc_bulk(size_t size, size_t nr, void **objects)
{
	(void)size;
	return (size_t)kmem_cache_alloc_bulk(kmm_target.cache, GFP_KERNEL, nr, objects);
}

static void slab_free_bulk(size_t nr, void **objects)
{
	kmem_cache_free_bulk(kmm_target.cache, nr, objects);
}

static void kmm_table_age(const struct object_peer *peer)
{
	(void)peer;
	kmm_age(kmm_target.machine);
}

static void kmm_table_trim(const struct object_peer *peer)
{
	(void)peer;
	kmm_trim(kmm_target.machine, 0);
}

static void add_cache(const struct slab_info *info, void *arg)
{
	struct object_peer_stats *stats = arg;

	stats->allocated_bytes += info->active_objs * info->objsize;
	stats->backing_bytes += info->slab_bytes;
}

/* Over all caches: between a case's prepare and finish only its own objects come and go. */
static int slab_stats(const struct object_peer *peer, struct object_peer_stats *stats)
{
	(void)peer;
	memset(stats, 0, sizeof(*stats));
	slab_for_each(kmm_target.machine, add_cache, stats);
	return 0;
}

/*
 * kmalloc
 */
static void *kmalloc_alloc(size_t size)
{
	return kmalloc_inline(size, GFP_KERNEL);
}

static void *kmalloc_alloc_remote(size_t size)
{
	return kmalloc_node(size, GFP_KERNEL, kmm_target_nid);
}

static void *kmalloc_alloc_interleave(size_t size)
{
	return kmalloc_node(size, GFP_KERNEL, next_node());
}

static void kmalloc_free(void *object)
{
	kfree_inline(object);
}

/* As in the kernel, there is none that allocates. */
static void kmalloc_free_bulk(size_t nr, void **objects)
{
	kfree_bulk(nr, objects);
}

static size_t kmalloc_usable_size(void *object)
{
	return ksize(object);
}

/*
 * vmalloc
 */
static void *vmalloc_alloc(size_t size)
{
	return vmalloc(size);
}

static void *vmalloc_alloc_remote(size_t size)
{
	return vmalloc_node(size, kmm_target_nid);
}

static void *vmalloc_alloc_interleave(size_t size)
{
	return vmalloc_node(size, next_node());
}

static void vmalloc_free(void *object)
{
	vfree(object);
}

static void *vmalloc_aligned_alloc(size_t align, size_t size)
{
	return __vmalloc_node(size, align, GFP_KERNEL, NUMA_NO_NODE, NULL);
}

static void add_area(const struct vm_area_info *info, void *arg)
{
	struct object_peer_stats *stats = arg;

	uint64_t bytes = (uint64_t)info->nr_pages << PAGE_SHIFT;

	/* Who maps pages of its own has no use of the rest of an area that is dealt out in pieces. */
	stats->allocated_bytes += info->owns_pages ? info->size_bytes : bytes;
	stats->backing_bytes += info->owns_pages ? bytes : 0;
}

static int vmalloc_stats(const struct object_peer *peer, struct object_peer_stats *stats)
{
	(void)peer;
	memset(stats, 0, sizeof(*stats));
	vmalloc_for_each(kmm_target.machine, add_area, stats);
	return 0;
}

#define KMM_TABLE(alloc_fn, free_fn, usable_size_fn, stats_fn)                                     \
	{                                                                                          \
		.name = "kmm", .alloc = alloc_fn, .free = free_fn, .usable_size = usable_size_fn,  \
		.stats = stats_fn                                                                  \
	}

#define KMM_BULK_TABLE(alloc_fn, free_fn, usable_size_fn, alloc_bulk_fn, free_bulk_fn)             \
	{                                                                                          \
		.name = "kmm", .alloc = alloc_fn, .free = free_fn, .usable_size = usable_size_fn,  \
		.stats = slab_stats, .age = kmm_table_age, .trim = kmm_table_trim,                 \
		.alloc_bulk = alloc_bulk_fn, .free_bulk = free_bulk_fn                             \
	}

#define KMM_PAGE_TABLE(alloc_fn)                                                                   \
	{                                                                                          \
		.name = "kmm", .alloc = alloc_fn, .free = page_free, .stats = page_stats,          \
		.alloc_order = page_alloc_order, .free_order = page_free_order,                    \
		.page_stats = page_free_stats                                                      \
	}

/* Blocks of any order are placed as the plain call places them, so only the local table has them. */
const struct object_peer kmm_page_tables[NR_PLACEMENTS] = {
	[PLACE_LOCAL] = KMM_PAGE_TABLE(page_alloc),
	[PLACE_REMOTE] = KMM_TABLE(page_alloc_remote, page_free, NULL, page_stats),
	[PLACE_INTERLEAVE] = KMM_TABLE(page_alloc_interleave, page_free, NULL, page_stats),
};

const struct object_peer kmm_slab_tables[NR_PLACEMENTS] = {
	[PLACE_LOCAL] =
		KMM_BULK_TABLE(slab_alloc, slab_free, NULL, slab_alloc_bulk, slab_free_bulk),
	[PLACE_REMOTE] = KMM_TABLE(slab_alloc_remote, slab_free, NULL, slab_stats),
	[PLACE_INTERLEAVE] = KMM_TABLE(slab_alloc_interleave, slab_free, NULL, slab_stats),
};

const struct object_peer kmm_kmalloc_tables[NR_PLACEMENTS] = {
	[PLACE_LOCAL] = KMM_BULK_TABLE(kmalloc_alloc, kmalloc_free, kmalloc_usable_size, NULL,
				       kmalloc_free_bulk),
	[PLACE_REMOTE] =
		KMM_TABLE(kmalloc_alloc_remote, kmalloc_free, kmalloc_usable_size, slab_stats),
	[PLACE_INTERLEAVE] =
		KMM_TABLE(kmalloc_alloc_interleave, kmalloc_free, kmalloc_usable_size, slab_stats),
};

const struct object_peer kmm_vmalloc_tables[NR_PLACEMENTS] = {
	[PLACE_LOCAL] = {.name = "kmm",
			 .alloc = vmalloc_alloc,
			 .free = vmalloc_free,
			 .aligned_alloc = vmalloc_aligned_alloc,
			 .stats = vmalloc_stats},
	[PLACE_REMOTE] = KMM_TABLE(vmalloc_alloc_remote, vmalloc_free, NULL, vmalloc_stats),
	[PLACE_INTERLEAVE] = KMM_TABLE(vmalloc_alloc_interleave, vmalloc_free, NULL, vmalloc_stats),
};

/*
 * mmap
 */
static void *mmap_alloc(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static void mmap_free(void *object)
{
	munmap(object, kmm_target.size_bytes);
}

const struct object_peer mmap_table = {
	.name = "mmap",
	.alloc = mmap_alloc,
	.free = mmap_free,
	.allocated_slack = -1,
};

_Thread_local size_t range_size FAST_TLS;

/* More than is asked for, and what lies before and behind the aligned part back: there is no call
 * for it. */
static void *mmap_aligned_alloc(size_t align, size_t size)
{
	size_t slack = align > PAGE_SIZE ? align - PAGE_SIZE : 0;
	char *start = mmap_alloc(size + slack), *memory;

	if (!start)
		return NULL;
	memory = (char *)ALIGN_UP((uintptr_t)start, align);
	if (memory > start)
		munmap(start, (size_t)(memory - start));
	if (start + slack > memory)
		munmap(memory + size, (size_t)(start + slack - memory));
	return memory;
}

static void mmap_range_free(void *object)
{
	munmap(object, range_size ? range_size : kmm_target.size_bytes);
}

const struct object_peer mmap_ranges_table = {
	.name = "mmap",
	.alloc = mmap_alloc,
	.free = mmap_range_free,
	.aligned_alloc = mmap_aligned_alloc,
	.allocated_slack = -1,
};

static void *mmap_alloc_order(unsigned int order)
{
	return mmap_alloc(PAGE_SIZE << order);
}

static void mmap_free_order(void *block, unsigned int order)
{
	munmap(block, PAGE_SIZE << order);
}

const struct object_peer mmap_pages_table = {
	.name = "mmap",
	.alloc = mmap_alloc,
	.free = mmap_free,
	.allocated_slack = -1,
	.alloc_order = mmap_alloc_order,
	.free_order = mmap_free_order,
};

/*
 * The floor: a thread-local linked list, and nothing else.
 */
struct list_object {
	struct list_object *next;
	char rest[LIST_OBJECT_SIZE - sizeof(void *)];
};

static _Thread_local struct list_object *list_head FAST_TLS;
static _Thread_local struct list_object *list_memory;

static void *list_alloc(size_t size)
{
	struct list_object *object = list_head;

	(void)size;
	if (unlikely(!object))
		return NULL;
	list_head = object->next;
	return object;
}

static void list_free(void *memory)
{
	struct list_object *object = memory;

	object->next = list_head;
	list_head = object;
}

int list_stock(void)
{
	list_memory = harness_alloc(LIST_STOCK * sizeof(struct list_object), true, false);
	if (!list_memory)
		return -ENOMEM;
	for (int i = LIST_STOCK - 1; i >= 0; i--)
		list_free(&list_memory[i]);
	return 0;
}

int list_unstock(void)
{
	int nr = 0;

	/* One more than there can be: an object that is twice in the list makes it endless. */
	while (nr <= LIST_STOCK && list_alloc(LIST_OBJECT_SIZE))
		nr++;
	list_head = NULL;
	harness_free(list_memory, LIST_STOCK * sizeof(struct list_object));
	list_memory = NULL;
	return nr;
}

const struct object_peer list_table = {
	.name = "floor",
	.alloc = list_alloc,
	.free = list_free,
	.allocated_slack = -1,
};

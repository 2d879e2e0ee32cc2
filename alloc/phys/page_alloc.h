/* SPDX-License-Identifier: MIT */
/*
 * The page allocator's interface, under the kernel's names. An order is 0 to MAX_PAGE_ORDER; a
 * block of order n is 2^n frames, aligned to its size in frames.
 *
 * Every call works on the machine that the calling thread is attached to (attaching it if it is
 * not), from any thread, and may be freed by another. Fast path: this CPU's page lists, no lock, no
 * atomic.
 */
#ifndef KMM_PHYS_PAGE_ALLOC_H
#define KMM_PHYS_PAGE_ALLOC_H

#include <stdio.h>

#include "base/compiler.h"
#include "base/cpu.h"
#include "phys/gfp.h"
#include "phys/page.h"

KMM_BEGIN_DECLS

/*
 * A block of 2^order frames from the node of this CPU, or the nearest that has one, unless the
 * thread's NUMA policy says otherwise (phys/mempolicy.h). NULL when no zone that gfp allows can
 * give it, or for an order beyond MAX_PAGE_ORDER. A zone keeps some pages for those who cannot wait
 * (phys/gfp.h says who gets how many); with __GFP_MEMALLOC, or no_watermarks in the machine's
 * configuration, the last page can be had.
 *
 * When the zones can spare no more, an allocation with __GFP_DIRECT_RECLAIM drains the lists of
 * this CPU and of slots without a thread, and asks other running threads for theirs (not with
 * __GFP_NORETRY). They give them at their own next call that finds its list empty or full, so what
 * a thread holds that makes none stays out of reach: at most its part of three eighths of each
 * zone, of which two are whole pageblocks.
 */
KMM_API struct page *alloc_pages(gfp_t gfp, unsigned int order);
/* The same, from node nid first whatever the thread's policy (NUMA_NO_NODE: as alloc_pages); with
 * __GFP_THISNODE from nowhere else. */
KMM_API struct page *alloc_pages_node(int nid, gfp_t gfp, unsigned int order);
/* Drop the owner's reference, and give the block back if it was the last (phys/page_ref.h). The
 * order is the one it was allocated with. Stops the program on a double free, a tail page, or an
 * order that cannot be. */
KMM_API void __free_pages(struct page *page, unsigned int order);

/* The same by address in the direct map; 0 for no memory. __GFP_HIGHMEM is ignored, as in the
 * kernel, and __GFP_SHARED gives 0 on i386, where its frames have no address. free of 0 does
 * nothing. */
KMM_API unsigned long __get_free_pages(gfp_t gfp, unsigned int order);
KMM_API unsigned long get_zeroed_page(gfp_t gfp);
KMM_API void free_pages(unsigned long addr, unsigned int order);

/*
 * Single frames into the NULL entries of page_array[0 .. nr_pages); entries that are not NULL are
 * left as they are. Returns nr_pages; or, out of memory, how many entries come before the first
 * that is still NULL. Through this CPU's list, which is refilled as often as it takes: one
 * acquisition of the zone's lock each time. For another node's frames, two for every 257.
 */
KMM_API unsigned long alloc_pages_bulk(gfp_t gfp, unsigned long nr_pages, struct page **page_array);
KMM_API unsigned long alloc_pages_bulk_node(gfp_t gfp, int nid, unsigned long nr_pages,
					    struct page **page_array);

/* The kernel's names for them up to 6.13. */
#define alloc_pages_bulk_array(gfp, nr, array) alloc_pages_bulk((gfp), (nr), (array))
#define alloc_pages_bulk_array_node(gfp, nid, nr, array)                                           \
	alloc_pages_bulk_node((gfp), (nid), (nr), (array))

/*
 * nr_pages frames in a row, however many, in zones that gfp allows, those of node nid first
 * (NUMA_NO_NODE: this CPU's; the thread's policy is not asked): for what is no block, or longer than
 * the largest. A run of more than 2 MiB begins at a multiple of 2 MiB, the first place in its zone
 * where so much is free; one of 4 MiB at a multiple of 4 MiB. A shorter one may begin anywhere, but
 * for a power of two of frames, which begins at a multiple of itself. The first frame is of
 * PG_TYPE_CONTIG and has the run's one reference and its length (contig_nr_pages); the others' struct
 * pages say nothing. __GFP_ZERO fills it. Frees by free_contig_range, with the same length, or the
 * last put_page.
 *
 * NULL when no zone has such a run, after reclaim has been asked and the lists of CPUs have been
 * drained (with __GFP_DIRECT_RECLAIM, which wants no lock of kmm held): nothing is moved out of the
 * way, as the kernel would. Takes each zone's lock in turn, for a look at one bit of each pageblock
 * that is in use or was; for a run of less than 2 MiB, at some of those that are in use in part.
 */
KMM_API struct page *alloc_contig_pages(unsigned long nr_pages, gfp_t gfp, int nid);
/* Stops the program on a frame that begins no run, or begins one of another length. */
KMM_API void free_contig_range(struct page *page, unsigned long nr_pages);
/* Keep the first `keep` of its frames, one at least, which are a run then. */
KMM_API void shrink_contig_range(struct page *page, unsigned long nr_pages, unsigned long keep);

/* Frames of the run that a frame begins; 0: it begins none. */
static inline unsigned long contig_nr_pages(const struct page *page)
{
	return READ_ONCE(page->type) == PG_TYPE_CONTIG ? READ_ONCE(page->nr_contig) : 0;
}

/* Make an allocated block of 2^order frames, not a compound one, as many blocks of order 0, each
 * with a reference; the first keeps those that the block has. Stops the program on other blocks. */
KMM_API void split_page(struct page *page, unsigned int order);

/*
 * size bytes (to 4 MiB) of contiguous memory, rounded up to whole pages, but not to a power of two
 * of them; NULL for no memory, or size 0. gfp as __get_free_pages() takes it; nid as
 * alloc_pages_node(). free_pages_exact wants the same size, and stops the program on another, or an
 * address that is not such memory's start; free of NULL does nothing.
 */
KMM_API void *alloc_pages_exact(size_t size, gfp_t gfp);
KMM_API void *alloc_pages_exact_nid(int nid, size_t size, gfp_t gfp);
KMM_API void free_pages_exact(void *addr, size_t size);

/*
 * A run: nr contiguous frames (1 to 1024), the first a multiple of 2^order for the smallest order
 * that holds them and of 2^align_order, whose number the owner keeps; NULL for no memory, or
 * another number. shrink_page_run keeps the first `keep` of nr frames, 0 for none. One block is
 * allocated, or as many freed as there are bits in the numbers. nid as alloc_pages_node().
 */
KMM_API struct page *alloc_page_run(unsigned long nr, unsigned int align_order, gfp_t gfp);
KMM_API struct page *alloc_page_run_node(int nid, unsigned long nr, unsigned int align_order,
					 gfp_t gfp);
KMM_API void shrink_page_run(struct page *page, unsigned long nr, unsigned long keep);

#define alloc_page(gfp)	     alloc_pages((gfp), 0)
#define __free_page(page)    __free_pages((page), 0)
#define __get_free_page(gfp) __get_free_pages((gfp), 0)
#define free_page(addr)	     free_pages((addr), 0)

/* Conversions by arithmetic, of this thread's machine. page_address is NULL for a frame that the
 * direct map does not cover (HighMem) unless it is kmapped (phys/highmem.h). virt_to_page wants an
 * address in the direct map. */
static inline unsigned long page_to_pfn(const struct page *page)
{
	return (unsigned long)(page - cpu_get()->mem_map);
}

static inline struct page *pfn_to_page(unsigned long pfn)
{
	return cpu_get()->mem_map + pfn;
}

/* The node of any frame of this thread's machine, whether it was ever allocated or not. O(nodes).
 * */
KMM_API int page_to_nid(const struct page *page);

KMM_API void *page_address(const struct page *page);

static inline bool virt_addr_valid(const void *addr)
{
	struct kmm_cpu *cpu = cpu_get();

	return ((unsigned long)addr - (unsigned long)cpu->direct_map) >> PAGE_SHIFT <
	       cpu->nr_frames;
}

static inline struct page *virt_to_page(const void *addr)
{
	struct kmm_cpu *cpu = cpu_get();

	return cpu->mem_map +
	       (((unsigned long)addr - (unsigned long)cpu->direct_map) >> PAGE_SHIFT);
}

/* Free blocks, per order, of one node or (NUMA_NO_NODE) of the machine. Takes each zone's lock in
 * turn. */
struct free_area_counts {
	u64 nr_blocks[NR_PAGE_ORDERS]; /* in the buddy's lists */
	u64 nr_buddy_pages;	       /* sum of nr_blocks[i] << i */
	u64 nr_pcp_pages;     /* in per-CPU lists besides (not exact while other CPUs run) */
	u64 nr_managed_pages; /* all that boot gave to the buddy */
};
KMM_API void count_free_areas(struct kmm *machine, int nid, struct free_area_counts *counts);

/* Paths taken since boot, summed over CPUs. One list makes the struct, the CSV columns and the
 * text. */
#define PHYS_COUNTERS(X)                                                                           \
	X(pcp_alloc)  /* from this CPU's list */                                                   \
	X(pcp_free)   /* to this CPU's list */                                                     \
	X(pcp_refill) /* times a list was filled from the buddy */                                 \
	X(pcp_drain)  /* times a list was emptied into it */                                       \
	X(buddy_alloc)                                                                             \
	X(buddy_free)                                                                              \
	X(split)       /* blocks cut in two */                                                     \
	X(merge)       /* buddies joined */                                                        \
	X(steal_block) /* pageblocks that changed their migratetype for want of another */         \
	X(steal_page)  /* blocks taken from a pageblock of another migratetype */                  \
	X(release)     /* frames whose memory went back to the host */                             \
	X(reuse)       /* of these, taken again; 512 at a time with huge pages */                  \
	X(contig)      /* runs by alloc_contig_pages() */                                          \
	X(fallback)    /* blocks from another zone or node than the preferred */                   \
	X(fail)	       /* allocations refused, tries of who has another way, too */                \
	X(wake)	       /* allocations that found the zones below low, and woke reclaim */          \
	X(stall)       /* times an allocation reclaimed pages itself */
struct phys_counters {
#define X(name) u64 name;
	PHYS_COUNTERS(X)
#undef X
};
KMM_API void phys_count(struct kmm *machine, struct phys_counters *sum);

/*
 * What the page allocator's own data cost, in bytes that memory stands behind now: what is only
 * address space, or was never touched, is not in it. One list makes the struct and the text. Asks
 * the host; time in O(frames / 64).
 */
#define PHYS_METADATA(X)                                                                           \
	X(mem_map, "mem_map")	    /* struct page of every frame */                               \
	X(pageblocks, "pageblocks") /* what is free, a bit a frame, and the counts */              \
	X(zones, "nodes, zones")    /* with zonelists, and the buddies' lists */                   \
	X(percpu, "per-CPU lists")  /* of every slot ever made */
struct phys_metadata {
#define X(name, text) u64 name##_bytes;
	PHYS_METADATA(X)
#undef X
	u64 total_bytes;  /* of these */
	u64 most_bytes;	  /* the same once every frame has been used */
	u64 memory_bytes; /* of all frames of the machine */
};
KMM_API void phys_metadata(struct kmm *machine, struct phys_metadata *metadata);

/* Recount every zone from first principles (lists, flags, alignment, buddies left unmerged, sums)
 * with its lock held; stops the program with what differs. For tests and paranoid builds: time in
 * O(frames). */
KMM_API void phys_validate(struct kmm *machine);

KMM_END_DECLS
#endif

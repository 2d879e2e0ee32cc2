/* SPDX-License-Identifier: MIT */
/*
 * Between the files of the page allocator: fast paths (page_alloc.c), allocation when they find
 * nothing (alloc_slow.c), a zone behind its per-CPU lists (pcp.c). Private to alloc/phys.
 */
#ifndef KMM_PHYS_ALLOC_H
#define KMM_PHYS_ALLOC_H

#include "phys/pcp.h"
#include "phys/zone.h"

/* What to do with a block beyond taking it off its list; the fast path leaves that to the slow
 * one. */
#define GFP_PREPARE (__GFP_ZERO | __GFP_COMP)

/* Is page the struct of a frame of this machine? Rotated, a pointer between two structs is a huge
 * number, too. */
static inline bool page_is_ours(const struct kmm_cpu *cpu, const struct page *page)
{
	unsigned long offset = (unsigned long)page - (unsigned long)cpu->mem_map;

	return (offset >> PAGE_STRUCT_SHIFT | offset << (64 - PAGE_STRUCT_SHIFT)) < cpu->nr_frames;
}

/* As alloc_pages_node(), the whole way. */
struct page *alloc_pages_slow(int nid, gfp_t gfp, unsigned int order);

/*
 * A block of the zone, its head of PG_TYPE_ALLOC: through this CPU's list where it has one for the
 * order, refilled if it is empty; else from the buddy, from which it takes at_most pages (0: only
 * from the list). NULL when the zone has none. Takes the zone's lock once where it takes it, but
 * for what it gives back before: other lists' blocks (phys/pcp.h). The caller sees to
 * numa_account().
 */
struct page *zone_take(struct phys_cpu *pcpu, struct zone *zone, unsigned int order,
		       enum migratetype type, unsigned long at_most);

/* Up to nr blocks straight from the zone's buddy, into pages[]; returns how many. Takes the zone's
 * lock once, and looks at no watermark. The caller sees to numa_account() for each. */
unsigned int zone_take_direct(struct phys_cpu *pcpu, struct zone *zone, unsigned int order,
			      enum migratetype type, unsigned int nr, struct page **pages);

/* Give an allocated block straight to the zone's buddy. Takes the zone's lock. */
void zone_give(struct phys_cpu *pcpu, struct zone *zone, struct page *page, unsigned int order);

/* contig.c. Free a run (PG_TYPE_CONTIG) that has no references. Takes its zone's lock. */
void contig_release(struct kmm_cpu *cpu, struct page *page);

/* alloc_slow.c. Let reclaim free pages for an allocation; returns how many. No lock is held. */
unsigned long direct_reclaim(struct kmm_cpu *cpu, int nid, gfp_t gfp, unsigned int order);

/* alloc_slow.c. Say once a machine that an allocation failed, if its configuration wants that. */
void warn_of_failure(struct phys *phys, gfp_t gfp, unsigned int order);

/* Fill nr frames with zeros. 0, or -ENOMEM when one in HighMem can have no window. */
int zero_pages(struct page *page, unsigned long nr);

/* page_ref.c. What is undone of an allocated block before it is free, its references being gone:
 * flags, tails. Stops the program if its flags say that somebody still has it. */
void page_prepare_free(struct page *page);

/*
 * highmem.c. Make phys->highmem if there are frames outside the direct map; 0 or -ENOMEM. Take it
 * down, and say how many windows were in use.
 */
int highmem_boot(struct phys *phys);
unsigned long highmem_release(struct phys *phys);
/* The address of a HighMem frame while it is kmapped, else NULL. Takes the kmap lock. */
void *kmap_address(const struct phys *phys, const struct page *page);
/* For its counters; NULL if there is none. */
const struct lock *highmem_lock(const struct phys *phys);

/* Can the lists of a CPU of node nid serve the policy? */
bool mempolicy_is_local(const struct mempolicy *policy, int nid);
/* Interleave: the node whose turn it is now. */
int mempolicy_next_node(struct mempolicy *policy);
/* Another thread is the slot's owner now: back to the default. */
void mempolicy_reset(struct phys *phys, struct kmm_cpu *cpu);

/* Count in numastat a block of node nid that this CPU's slow path hands out, when the first zone
 * that was asked is node `preferred`'s; and that it was nid's turn. */
void numa_account(struct kmm_cpu *cpu, int nid, int preferred);
void numa_account_interleaved(struct kmm_cpu *cpu, int nid);
/* Before a slot becomes another node's: count what its fast path has handed out. */
void numa_fold(struct phys_cpu *pcpu);

#endif

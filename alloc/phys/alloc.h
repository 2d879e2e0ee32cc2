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

/* As alloc_pages_node(), the whole way. */
struct page *alloc_pages_slow(int nid, gfp_t gfp, unsigned int order);

/*
 * A block of the zone, its head of PG_TYPE_ALLOC: through this CPU's list where it has one for the
 * order, refilled if it is empty; else from the buddy. NULL when the zone has none. Takes the
 * zone's lock at most once.
 */
struct page *zone_take(struct phys_cpu *pcpu, struct zone *zone, unsigned int order);

/* Give an allocated block straight to the zone's buddy. Takes the zone's lock. */
void zone_give(struct phys_cpu *pcpu, struct zone *zone, struct page *page, unsigned int order);

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

#endif

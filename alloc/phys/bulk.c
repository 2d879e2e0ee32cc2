/* SPDX-License-Identifier: MIT */
/*
 * Many single frames by one call. What a loop of alloc_page() does to this CPU's stack, without its
 * calls: frames come off the stack, and when it is empty one slow path refills it, by one
 * acquisition of the zone's lock, and gives the next frame. No lock of its own.
 *
 * After __alloc_pages_bulk() in mm/page_alloc.c (6.1), which differs in what it does when its zone
 * runs low: it stops after one frame more; this goes on for as long as alloc_page() would.
 */
#include "phys/alloc.h"
#include "phys/page_alloc.h"

unsigned long alloc_pages_bulk_node(gfp_t gfp, int nid, unsigned long nr_pages,
				    struct page **page_array)
{
	struct kmm_cpu *cpu = cpu_get();
	struct pcp_stack *stack = pcp_stack_for(phys_cpu(cpu), gfp, 0);
	bool ready; /* may frames be used as they come off the stack? */

	gfp &= ~__GFP_COMP; /* single frames */
	ready = !(gfp & GFP_PREPARE) && (nid == NUMA_NO_NODE || nid == cpu->nid);
	for (unsigned long i = 0; i < nr_pages; i++) {
		if (page_array[i] || (likely(ready) && likely(pcp_pop(stack, &page_array[i]))))
			continue;
		page_array[i] = alloc_pages_slow(nid, gfp, 0);
		if (!page_array[i])
			return i;
	}
	return nr_pages;
}

unsigned long alloc_pages_bulk(gfp_t gfp, unsigned long nr_pages, struct page **page_array)
{
	return alloc_pages_bulk_node(gfp, NUMA_NO_NODE, nr_pages, page_array);
}

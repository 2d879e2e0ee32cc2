/* SPDX-License-Identifier: MIT */
/*
 * Many single frames by one call. What a loop of alloc_page() does to this CPU's stack, without its
 * calls: frames come off the stack, and when it is empty one slow path refills it, by one
 * acquisition of the zone's lock, and gives the next frame. Another node's frames come from its
 * buddy, up to BULK_AT_ONCE by one acquisition. No lock of its own.
 *
 * After __alloc_pages_bulk() in mm/page_alloc.c (6.1), which differs in what it does when its zone
 * runs low: it stops after one frame more; this goes on for as long as alloc_page() would.
 */
#include "base/compiler.h"
#include "phys/alloc.h"
#include "phys/page_alloc.h"
#include "phys/watermark.h"

#define BULK_AT_ONCE 256U

/*
 * The slow path has found a frame on node nid, which is another: take as many more as its zone can
 * spare above the low watermark, into the empty entries that come first.
 */
static void take_more(struct kmm_cpu *cpu, int nid, gfp_t gfp, const struct page *found,
		      unsigned long nr_pages, struct page **page_array)
{
	struct phys *phys = cpu->machine->phys;
	struct zone *zone = page_zone(phys, found);
	const enum zone_type wanted = gfp_zone(gfp, phys->machine->config.layout);
	unsigned long spare = zone_spare_pages(zone, READ_ONCE(zone->buddy.nr_pages),
					       zone->watermark[WMARK_LOW], wanted);
	unsigned long most;
	unsigned int nr = 0;

	most = min_t(unsigned long, BULK_AT_ONCE, min_t(unsigned long, nr_pages, spare));
	while (nr < most && !page_array[nr])
		nr++;
	if (zone->nid != nid || !nr)
		return;
	nr = zone_take_direct(phys_cpu(cpu), zone, 0, gfp_migratetype(gfp), nr, page_array);
	if (zone != *phys->nodes[nid].zonelist[wanted])
		pcp_count(phys_cpu(cpu), fallback, nr);
	while (nr--)
		numa_account(cpu, nid, nid);
}

unsigned long alloc_pages_bulk_node(gfp_t gfp, int nid, unsigned long nr_pages,
				    struct page **page_array)
{
	struct kmm_cpu *cpu = cpu_get();
	struct pcp_stack *stack = pcp_stack_for(phys_cpu(cpu), gfp, 0);
	bool local = nid == NUMA_NO_NODE || nid == cpu->nid;
	bool ready; /* may frames be used as they come? */

	gfp &= ~__GFP_COMP; /* single frames */
	ready = !(gfp & GFP_PREPARE);
	for (unsigned long i = 0; i < nr_pages; i++) {
		if (page_array[i] || (ready && likely(local) && pcp_pop(stack, &page_array[i])))
			continue;
		page_array[i] = alloc_pages_slow(nid, gfp, 0);
		if (!page_array[i])
			return i;
		if (ready && !local)
			take_more(cpu, nid, gfp, page_array[i], nr_pages - i - 1,
				  page_array + i + 1);
	}
	return nr_pages;
}

unsigned long alloc_pages_bulk(gfp_t gfp, unsigned long nr_pages, struct page **page_array)
{
	return alloc_pages_bulk_node(gfp, NUMA_NO_NODE, nr_pages, page_array);
}

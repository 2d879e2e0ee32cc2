/* SPDX-License-Identifier: MIT */
/*
 * Allocation when this CPU's list has nothing to give, or the block wants more than taking.
 *
 *	the zonelist: refill the stack of a zone of this node, or take from its buddy
 *	-> drain what per-CPU lists hold, and look again
 *
 * Locks: a zone's, one at a time. Out of memory also tries machine->slots_lock, and does not wait
 * for it.
 *
 * After mm/page_alloc.c (6.1).
 */
#include <sched.h>
#include <string.h>

#include "base/check.h"
#include "phys/alloc.h"
#include "phys/highmem.h"
#include "phys/pcp.h"

/* Attempts to find memory after asking other CPUs for theirs. */
#define DRAIN_ATTEMPTS 4

static struct page *zonelist_take(struct phys *phys, struct phys_cpu *pcpu, int nid, gfp_t gfp,
				  unsigned int order)
{
	enum zone_type wanted = gfp_zone(gfp, phys->machine->config.layout);
	struct zone **first = phys->nodes[nid].zonelist[wanted];

	for (struct zone **zone = first; *zone; zone++) {
		struct page *page;

		if ((gfp & __GFP_THISNODE) && (*zone)->nid != nid)
			continue;
		page = zone_take(pcpu, *zone, order);
		if (page) {
			if (zone != first)
				pcp_count(pcpu, fallback, 1);
			return page;
		}
	}
	return NULL;
}

/* Nothing in any zone: what per-CPU lists hold may be what is missing, or may merge into it. */
static KMM_COLD struct page *drain_and_take(struct phys *phys, struct kmm_cpu *cpu, int nid,
					    gfp_t gfp, unsigned int order)
{
	for (int attempt = 0; attempt < DRAIN_ATTEMPTS; attempt++) {
		struct page *page;

		if (!pcp_drain_all(phys, cpu))
			break;
		page = zonelist_take(phys, phys_cpu(cpu), nid, gfp, order);
		if (page)
			return page;
		/* Let those who were asked come to their next free. */
		sched_yield();
	}
	return NULL;
}

/* Zero a block that the direct map does not cover. 0 or -ENOMEM. */
static KMM_COLD int zero_highmem(struct page *page, unsigned int order)
{
	int err = 0;

	for (unsigned long i = 0; i < 1UL << order && !err; i++)
		err = clear_highpage(page + i);
	return err;
}

static int prepare_block(struct page *page, gfp_t gfp, unsigned int order)
{
	if (gfp & __GFP_COMP)
		for (unsigned long i = 1; i < 1UL << order; i++) {
			WRITE_ONCE(page[i].type, PG_TYPE_TAIL);
			page[i].head = page;
		}
	if (gfp & __GFP_ZERO) {
		if (PageHighMem(page))
			return zero_highmem(page, order);
		memset(page_address(page), 0, PAGE_SIZE << order);
	}
	return 0;
}

struct page *alloc_pages_slow(int nid, gfp_t gfp, unsigned int order)
{
	struct kmm_cpu *cpu = cpu_get();
	struct phys *phys = cpu->machine->phys;
	struct phys_cpu *pcpu = phys_cpu(cpu);
	struct page *page = NULL;

	if (nid == NUMA_NO_NODE)
		nid = cpu->nid;
	KMM_BUG_ON((unsigned int)nid >= phys->nr_nodes, "node %d: the machine has %u", nid,
		   phys->nr_nodes);
	if (likely(order <= MAX_PAGE_ORDER)) {
		if (pcp_drain_wanted(pcp_stack_for(pcpu, gfp, order)))
			pcp_honour_drain(phys, cpu);
		page = zonelist_take(phys, pcpu, nid, gfp, order);
		if (unlikely(!page) && !(gfp & __GFP_NORETRY)) {
			page = drain_and_take(phys, cpu, nid, gfp, order);
			/* Its caller does not look for NULL. */
			KMM_BUG_ON(!page && (gfp & __GFP_NOFAIL),
				   "no block of order %u for gfp %#x, which may not fail", order,
				   gfp);
		}
	}
	if (page && (gfp & GFP_PREPARE) && prepare_block(page, gfp, order)) {
		__free_pages(page, order);
		page = NULL;
	}
	if (!page)
		pcp_count(pcpu, fail, 1);
	return page;
}

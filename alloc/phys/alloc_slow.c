/* SPDX-License-Identifier: MIT */
/*
 * Allocation when this CPU's list has nothing to give, or the block wants more than taking.
 *
 *	look: the zonelist, each zone down to its low watermark
 *	-> wake reclaim, look down to min, or as deep as gfp allows
 *	-> may wait: reclaim, look; drain what per-CPU lists hold, look; a bounded number of times
 *	   may not:  drain this CPU's lists, look
 *	-> may not fail: look to the last page
 *
 * A look takes a block from the first zone of the list that can spare it: through the CPU's own
 * list if there is one, filled up only with what the zone can spare above the mark, so that a
 * refill does not take what is kept for others. Below min it is one block at a time.
 *
 * Locks: a zone's, one at a time. One that may wait also tries machine->slots_lock, and does not
 * wait for it; it waits for release_lock while frames are on their way to the host
 * (phys/release.c). Reclaim is called with none held.
 *
 * After mm/page_alloc.c (6.1), __alloc_pages_slowpath. It differs in giving up where the kernel
 * goes on as long as reclaim makes progress, or calls the OOM killer.
 */
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "phys/alloc.h"
#include "phys/highmem.h"
#include "phys/pcp.h"
#include "phys/phys.h"
#include "phys/watermark.h"

/* Rounds of reclaim and drain; of those, rounds in which reclaim finds nothing. */
#define RECLAIM_ROUNDS	   16
#define NO_PROGRESS_ROUNDS 4

/* What is wanted, and where it may come from. On the allocating thread's stack. */
struct request {
	struct phys *phys;
	struct kmm_cpu *cpu;
	gfp_t gfp;
	unsigned int order;
	int nid; /* whose zonelist */
	enum zone_type wanted;
	u64 nodes;	  /* a bit for each node that may serve */
	bool interleaved; /* nid's turn, by the thread's policy */
};

/* How deep into a zone a look may go. */
enum depth {
	DEPTH_LOW, /* the low watermark */
	DEPTH_MIN, /* the min watermark, or below it as gfp says */
	DEPTH_ALL, /* the last page */
};

/* The min watermark as gfp sees it. */
static unsigned long min_mark(const struct zone *zone, gfp_t gfp)
{
	unsigned long mark = zone->watermark[WMARK_MIN];

	if (gfp & __GFP_HIGH)
		mark -= mark / 2;
	if ((gfp & (__GFP_ATOMIC | __GFP_NOMEMALLOC)) == __GFP_ATOMIC)
		mark -= mark / 4;
	return mark;
}

/* Free pages of the zone, and those that this CPU fetched for allocations such as this one. */
static unsigned long nr_within_reach(const struct request *req, const struct zone *zone)
{
	const struct phys_cpu *pcpu = phys_cpu(req->cpu);
	unsigned long nr = READ_ONCE(zone->buddy.nr_pages);

	if (zone->nid == pcpu->nid) {
		const struct pcp_stack *row =
			pcpu->stack[page_place(zone->type, gfp_migratetype(req->gfp))];

		nr += (unsigned long)row[req->order].nr << req->order;
	}
	return nr;
}

/* Pages that a look may take out of the zone: none, a block, or with more to spare a refill. */
static unsigned long may_take(const struct request *req, const struct zone *zone, enum depth depth)
{
	const unsigned long block = 1UL << req->order, nr = nr_within_reach(req, zone);
	unsigned long mark = zone->watermark[depth == DEPTH_LOW ? WMARK_LOW : WMARK_MIN];
	unsigned long spare = zone_spare_pages(zone, nr, mark, req->wanted);

	if (spare >= block)
		return spare;
	if (depth == DEPTH_ALL)
		return block;
	mark = min_mark(zone, req->gfp);
	if (depth == DEPTH_MIN && zone_spare_pages(zone, nr, mark, req->wanted) >= block)
		return block;
	return 0;
}

static void account(const struct request *req, const struct zone *zone, const struct zone *first)
{
	if (zone != first)
		pcp_count(phys_cpu(req->cpu), fallback, 1);
	numa_account(req->cpu, zone->nid, first->nid);
	if (req->interleaved && zone->nid == req->nid)
		numa_account_interleaved(req->cpu, zone->nid);
}

static struct page *look(const struct request *req, enum depth depth)
{
	struct zone **list = req->phys->nodes[req->nid].zonelist[req->wanted];
	const struct zone *first = NULL;

	for (struct zone **at = list; *at; at++) {
		struct zone *zone = *at;
		unsigned long at_most;
		struct page *page;

		if (!(req->nodes >> zone->nid & 1))
			continue;
		if (!first)
			first = zone;
		at_most = may_take(req, zone, depth);
		/* Of the first one, this CPU's list is free to take from. */
		if (!at_most && zone != first)
			continue;
		page = zone_take(phys_cpu(req->cpu), zone, req->order, gfp_migratetype(req->gfp),
				 at_most);
		if (page) {
			account(req, zone, first);
			return page;
		}
	}
	return NULL;
}

/* Every node that the allocation may come from has too little. */
static void wake_reclaim(const struct request *req)
{
	/* Acquire: whoever sees the ops sees what they work on. */
	const struct reclaim_ops *ops = __atomic_load_n(&req->phys->reclaim_ops, __ATOMIC_ACQUIRE);
	u64 nodes = req->nodes;

	pcp_count(phys_cpu(req->cpu), wake, 1);
	if (!ops || !ops->wake)
		return;
	for (struct zone **at = req->phys->nodes[req->nid].zonelist[req->wanted]; *at; at++) {
		int nid = (*at)->nid;

		if (nodes >> nid & 1)
			ops->wake(req->phys->machine, nid, req->gfp, req->order);
		nodes &= ~(1UL << nid);
	}
}

unsigned long direct_reclaim(struct kmm_cpu *cpu, int nid, gfp_t gfp, unsigned int order)
{
	struct phys *phys = cpu->machine->phys;
	const struct reclaim_ops *ops = __atomic_load_n(&phys->reclaim_ops, __ATOMIC_ACQUIRE);
	struct phys_cpu *pcpu = phys_cpu(cpu);
	unsigned long nr;

	if (!ops || !ops->reclaim || pcpu->reclaiming)
		return 0;
	pcp_count(pcpu, stall, 1);
	pcpu->reclaiming = true;
	nr = ops->reclaim(phys->machine, nid, gfp, order);
	pcpu->reclaiming = false;
	return nr;
}

static unsigned long reclaim(const struct request *req)
{
	return direct_reclaim(req->cpu, req->nid, req->gfp, req->order);
}

/* What reclaim can free, and what per-CPU lists hold: it may be what is missing, or may merge into
 * it. */
static struct page *reclaim_and_look(const struct request *req, enum depth depth)
{
	int without = 0;

	for (int round = 0; round < RECLAIM_ROUNDS && without < NO_PROGRESS_ROUNDS; round++) {
		bool progress = reclaim(req) != 0, drained;
		struct page *page = progress ? look(req, depth) : NULL;

		if (page || (!progress && (req->gfp & __GFP_NORETRY)))
			return page;
		drained = pcp_drain_all(req->phys, req->cpu);
		drained |= phys_wait_for_release(req->phys);
		/* Even if nothing was: what others had in hand may have come back since. */
		page = look(req, depth);
		if (page || (!progress && !drained) || (req->gfp & __GFP_NORETRY))
			return page;
		without = progress ? 0 : without + 1;
		/* Let those who were asked come to their next free. */
		sched_yield();
	}
	return NULL;
}

static struct page *drain_own_and_look(const struct request *req, enum depth depth)
{
	if ((req->gfp & __GFP_NORETRY) || !pcp_drain(req->phys, req->cpu))
		return NULL;
	return look(req, depth);
}

/* Whoever needs it so much does not mind where it comes from. */
static void pass_over_policy(struct request *req)
{
	if (!(req->gfp & __GFP_THISNODE))
		req->nodes = phys_all_nodes(req->phys);
}

/* No zone can spare a block above its low watermark. */
static KMM_COLD struct page *alloc_below_low(struct request *req)
{
	const gfp_t gfp = req->gfp;
	const bool reclaiming = phys_cpu(req->cpu)->reclaiming;
	enum depth depth = DEPTH_MIN;
	struct page *page;

	if (gfp & __GFP_KSWAPD_RECLAIM)
		wake_reclaim(req);
	page = look(req, depth);
	if (page)
		return page;
	if (((gfp & __GFP_MEMALLOC) || reclaiming) && !(gfp & __GFP_NOMEMALLOC))
		depth = DEPTH_ALL;
	if (depth == DEPTH_ALL || (gfp & __GFP_ATOMIC)) {
		pass_over_policy(req);
		page = look(req, depth);
	}
	if (!page && (gfp & __GFP_DIRECT_RECLAIM) && !reclaiming)
		page = reclaim_and_look(req, depth);
	else if (!page)
		page = drain_own_and_look(req, depth);
	if (!page && (gfp & (__GFP_NOFAIL | __GFP_NORETRY)) == __GFP_NOFAIL) {
		pass_over_policy(req);
		page = look(req, DEPTH_ALL);
		/* Its caller does not look for NULL. */
		KMM_BUG_ON(!page, "no block of order %u for gfp %#x, which may not fail",
			   req->order, gfp);
	}
	return page;
}

/* Zero frames that the direct map does not cover. */
static KMM_COLD int zero_highmem(struct page *page, unsigned long nr)
{
	int err = 0;

	for (unsigned long i = 0; i < nr && !err; i++)
		err = clear_highpage(page + i);
	return err;
}

int zero_pages(struct page *page, unsigned long nr)
{
	if (PageHighMem(page))
		return zero_highmem(page, nr);
	memset(page_address(page), 0, nr << PAGE_SHIFT);
	return 0;
}

static int prepare_block(struct page *page, gfp_t gfp, unsigned int order)
{
	if ((gfp & __GFP_COMP) && order > 0) {
		const u32 kind = READ_ONCE(page->kind);

		page_set_type(page, PG_TYPE_HEAD);
		for (unsigned long i = 1; i < 1UL << order; i++)
			page_make_tail(page + i, page, kind);
	}
	return gfp & __GFP_ZERO ? zero_pages(page, 1UL << order) : 0;
}

KMM_COLD void warn_of_failure(struct phys *phys, gfp_t gfp, unsigned int order)
{
	unsigned long nr_free = 0;

	if (!phys->machine->config.warn_alloc || (gfp & __GFP_NOWARN) ||
	    __atomic_exchange_n(&phys->warned, true, __ATOMIC_RELAXED))
		return;
	for_each_zone(phys, node, zone)
		nr_free += READ_ONCE(zone->buddy.nr_pages);
	fprintf(stderr, "kmm: allocation of order %u failed, gfp %#x, with %lu pages free\n", order,
		gfp, nr_free);
}

/* The node to start from and those to keep to, after the thread's policy. */
static void apply_policy(struct request *req)
{
	struct mempolicy *policy = &phys_cpu(req->cpu)->policy;

	switch (policy->mode) {
	case KMM_MPOL_INTERLEAVE:
		req->nid = mempolicy_next_node(policy);
		req->interleaved = true;
		break;
	case KMM_MPOL_PREFERRED:
		req->nid = (int)__ffs(policy->nodes);
		break;
	case KMM_MPOL_BIND:
		if (req->wanted >= req->phys->policy_zone)
			req->nodes = policy->nodes;
		break;
	default:
		break;
	}
}

struct page *alloc_pages_slow(int nid, gfp_t gfp, unsigned int order)
{
	struct kmm_cpu *cpu = cpu_get();
	struct phys *phys = cpu->machine->phys;
	struct request req = {
		.phys = phys,
		.cpu = cpu,
		.gfp = gfp,
		.order = order,
		.nid = nid == NUMA_NO_NODE ? cpu->nid : nid,
		.wanted = gfp_zone(gfp, phys->machine->config.layout),
		.nodes = phys_all_nodes(phys),
	};
	struct page *page = NULL;

	KMM_BUG_ON((unsigned int)req.nid >= phys->nr_nodes, "node %d: the machine has %u", nid,
		   phys->nr_nodes);
	if (gfp & __GFP_THISNODE)
		req.nodes = 1UL << req.nid;
	else if (nid == NUMA_NO_NODE)
		apply_policy(&req);
	if (likely(order <= MAX_PAGE_ORDER)) {
		if (pcp_drain_wanted(phys_cpu(cpu)))
			pcp_honour_drain(phys, cpu);
		page = look(&req, DEPTH_LOW);
		if (unlikely(!page))
			page = alloc_below_low(&req);
	}
	if (page && (gfp & GFP_PREPARE) && prepare_block(page, gfp, order)) {
		__free_pages(page, order);
		page = NULL;
	}
	if (!page) {
		pcp_count(phys_cpu(cpu), fail, 1);
		warn_of_failure(phys, gfp, order);
	}
	return page;
}

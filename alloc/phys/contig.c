/* SPDX-License-Identifier: MIT */
/*
 * Runs of frames, above all those that are longer than the largest block: pageblocks in a row that
 * are free as a whole, and the first frames of the next.
 *
 *	| pageblock | pageblock | pageblock |		a run of 1100 frames
 *	| C . . . . | . . . . . | . . f x f |		C: PG_TYPE_CONTIG, nr_contig = 1100
 *
 * Only the first frame's struct page is written: a run costs one of them however long it is, and a
 * free of anything else than its first frame finds no head. Where the run ends the next block
 * begins, whoever has it.
 *
 * Locks: a zone's, one at a time. One that may wait also lets reclaim run, tries
 * machine->slots_lock, and waits for the release_lock of memory on its way to the host, with none
 * held.
 *
 * After alloc_contig_pages() in mm/page_alloc.c (6.1). It differs in giving one run, not single
 * frames, and in moving nothing: memory that is not free stays where it is.
 */
#include "base/bits.h"
#include "base/check.h"
#include "phys/alloc.h"
#include "phys/page_alloc.h"
#include "phys/page_ref.h"
#include "phys/phys.h"
#include "phys/watermark.h"

struct request {
	struct kmm_cpu *cpu;
	struct phys *phys;
	unsigned long nr_pages;
	gfp_t gfp;
	int nid;
	enum zone_type wanted;
};

/* A run shorter than a pageblock is a part of one, or a block whose end is given back. A power of two
 * is aligned to itself. */
static struct page *take_locked(struct buddy *buddy, unsigned long nr_pages, enum migratetype type)
{
	struct page *page;
	unsigned long pfn;

	if (nr_pages > PAGEBLOCK_NR_PAGES && nr_pages != MAX_ORDER_NR_PAGES)
		return buddy_take_run(buddy, nr_pages, type);
	if (!is_power_of_2(nr_pages)) {
		page = buddy_take_part(buddy, (unsigned int)nr_pages, type);
		if (page)
			return page;
	}
	if (!buddy_take(buddy, get_order(nr_pages << PAGE_SHIFT), type, 1, &page))
		return NULL;
	pfn = (unsigned long)(page - buddy->mem_map);
	buddy_give_range(buddy, pfn + nr_pages, pfn + roundup_pow_of_two(nr_pages));
	return page;
}

static struct page *take(const struct request *req, struct zone *zone)
{
	const enum migratetype type = gfp_migratetype(req->gfp);
	struct phys_cpu *pcpu = phys_cpu(req->cpu);
	struct page *page;

	lock_acquire(&zone->lock);
	page = take_locked(&zone->buddy, req->nr_pages, type);
	lock_release(&zone->lock);
	if (!page)
		return NULL;
	page->nr_contig = req->nr_pages;
	WRITE_ONCE(page->state, page_state(page_kind(page_place(zone->type, type),
						     (unsigned int)zone->nid, PG_TYPE_CONTIG, 0)));
	WRITE_ONCE(pcpu->direct_pages[zone->type], pcpu->direct_pages[zone->type] + req->nr_pages);
	pcp_count(pcpu, buddy_alloc, 1);
	pcp_count(pcpu, contig, 1);
	return page;
}

/* In the first zone that has a run and can spare it above the mark. */
static struct page *look(const struct request *req, enum zone_watermark mark)
{
	struct zone **list = req->phys->nodes[req->nid].zonelist[req->wanted];
	const struct zone *first = NULL;

	for (struct zone **at = list; *at; at++) {
		struct zone *zone = *at;
		struct page *page;

		if ((req->gfp & __GFP_THISNODE) && zone->nid != req->nid)
			continue;
		if (!first)
			first = zone;
		if (!(req->gfp & __GFP_MEMALLOC) &&
		    zone_spare_pages(zone, READ_ONCE(zone->buddy.nr_pages), zone->watermark[mark],
				     req->wanted) < req->nr_pages)
			continue;
		page = take(req, zone);
		if (!page)
			continue;
		if (zone != first)
			pcp_count(phys_cpu(req->cpu), fallback, 1);
		numa_account(req->cpu, zone->nid, first->nid);
		return page;
	}
	return NULL;
}

/* Zero a run if that is wanted, but for pageblocks that have no memory: those are zeros, and stay
 * without. 0 or -ENOMEM. */
static int prepare_run(const struct request *req, struct page *page)
{
	const unsigned long pfn = (unsigned long)(page - req->cpu->mem_map);
	const struct buddy *buddy = &page_zone(req->phys, page)->buddy;
	int err = 0;

	if (!(req->gfp & __GFP_ZERO))
		return 0;
	if (req->nr_pages <= MAX_ORDER_NR_PAGES)
		return zero_pages(page, req->nr_pages);
	for (unsigned long at = 0; at < req->nr_pages && !err; at += PAGEBLOCK_NR_PAGES) {
		unsigned long nr = min_t(unsigned long, req->nr_pages - at, PAGEBLOCK_NR_PAGES);

		if (nr < PAGEBLOCK_NR_PAGES || !pfn_to_pageblock(buddy, pfn + at)->blank)
			err = zero_pages(page + at, nr);
	}
	return err;
}

struct page *alloc_contig_pages(unsigned long nr_pages, gfp_t gfp, int nid)
{
	struct kmm_cpu *cpu = cpu_get();
	struct request req = {
		.cpu = cpu,
		.phys = cpu->machine->phys,
		.nr_pages = nr_pages,
		.gfp = gfp,
		.nid = nid == NUMA_NO_NODE ? cpu->nid : nid,
		.wanted = gfp_zone(gfp, cpu->machine->config.layout),
	};
	struct page *page = NULL;

	KMM_BUG_ON((unsigned int)req.nid >= req.phys->nr_nodes, "node %d: the machine has %u", nid,
		   req.phys->nr_nodes);
	if (pcp_drain_wanted(phys_cpu(cpu)))
		pcp_honour_drain(req.phys, cpu);
	if (nr_pages && nr_pages <= req.phys->nr_frames) {
		page = look(&req, WMARK_LOW);
		/* A pageblock may want one frame that a cache or a list holds. */
		if (!page && (gfp & __GFP_DIRECT_RECLAIM)) {
			direct_reclaim(cpu, req.nid, gfp, MAX_PAGE_ORDER);
			pcp_drain_all(req.phys, cpu);
			phys_wait_for_release(req.phys);
		}
		if (!page)
			page = look(&req, WMARK_MIN);
	}
	if (page && prepare_run(&req, page)) {
		free_contig_range(page, nr_pages);
		page = NULL;
	}
	if (!page) {
		pcp_count(phys_cpu(cpu), fail, 1);
		warn_of_failure(req.phys, gfp, get_order(nr_pages << PAGE_SHIFT));
	}
	return page;
}

void contig_release(struct kmm_cpu *cpu, struct page *page)
{
	const unsigned long pfn = (unsigned long)(page - cpu->mem_map);
	const unsigned long nr_pages = page->nr_contig;
	struct zone *zone;

	page_prepare_free(page);
	zone = page_zone(cpu->machine->phys, page);
	page->nr_contig = 0;
	/* No reference, whether the last was dropped or is the caller's. */
	WRITE_ONCE(page->state,
		   page_kind(READ_ONCE(page->place), (unsigned int)zone->nid, PG_TYPE_FREE, 0));
	lock_acquire(&zone->lock);
	buddy_give_range(&zone->buddy, pfn, pfn + nr_pages);
	lock_release(&zone->lock);
	pcp_count(phys_cpu(cpu), buddy_free, 1);
}

/* Is page the first of a run of nr_pages? */
static void check_run(const struct kmm_cpu *cpu, const struct page *page, unsigned long nr_pages)
{
	const unsigned long pfn = (unsigned long)(page - cpu->mem_map);

	KMM_BUG_ON(!page_is_ours(cpu, page), "free of %p, %lu frames: not a page of this machine",
		   (void *)page, nr_pages);
	KMM_BUG_ON(READ_ONCE(page->type) == PG_TYPE_FREE,
		   "double free of frame %lu, %lu frames: it is free already", pfn, nr_pages);
	KMM_BUG_ON(!contig_nr_pages(page), "free of frame %lu, %lu frames: it begins no run", pfn,
		   nr_pages);
	KMM_BUG_ON(contig_nr_pages(page) != nr_pages,
		   "free of frame %lu, %lu frames: it was allocated with %lu", pfn, nr_pages,
		   contig_nr_pages(page));
}

void shrink_contig_range(struct page *page, unsigned long nr_pages, unsigned long keep)
{
	struct kmm_cpu *cpu = cpu_get();
	const unsigned long pfn = (unsigned long)(page - cpu->mem_map);
	struct zone *zone;

	check_run(cpu, page, nr_pages);
	KMM_BUG_ON(!keep || keep > nr_pages, "run at frame %lu: keep %lu of %lu", pfn, keep,
		   nr_pages);
	if (keep == nr_pages)
		return;
	page->nr_contig = keep;
	zone = page_zone(cpu->machine->phys, page);
	lock_acquire(&zone->lock);
	buddy_give_range(&zone->buddy, pfn + keep, pfn + nr_pages);
	lock_release(&zone->lock);
}

void free_contig_range(struct page *page, unsigned long nr_pages)
{
	struct kmm_cpu *cpu = cpu_get();

	check_run(cpu, page, nr_pages);
	if (page_ref_last(page) || put_page_testzero(page))
		contig_release(cpu, page);
}

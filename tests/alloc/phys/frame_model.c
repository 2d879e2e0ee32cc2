/* SPDX-License-Identifier: MIT */
/* The slow model of a machine's memory; see frame_model.h. Written without a look at the
 * allocator's own tables, so that it does not share its mistakes. */
#include "tests/alloc/phys/frame_model.h"

#include "phys/pcp.h"
#include "phys/zone.h"

static bool test_bit(const u64 *bits, unsigned long nr)
{
	return bits[nr / 64] >> (nr % 64) & 1;
}

/* The bits of a block of frames inside the word that its first frame is in. */
static u64 block_mask(unsigned long pfn, unsigned int order)
{
	return order >= 6 ? ~0UL : ((1UL << (1U << order)) - 1) << (pfn % 64);
}

static unsigned long nr_words(unsigned int order)
{
	return order > 6 ? 1UL << (order - 6) : 1;
}

static void add_zone(const struct phys_zone_info *info, void *arg)
{
	struct frame_model *model = arg;

	ok(model->nr_zones < MODEL_MAX_ZONES, "more than %d zones", MODEL_MAX_ZONES);
	model->zones[model->nr_zones++] = *info;
	model->nr_nodes = max_t(unsigned int, model->nr_nodes, (unsigned int)info->nid + 1);
}

/* Take all that gfp reaches, one by one, and note it. */
static unsigned long take_all(struct frame_model *model, struct page **pages, unsigned long nr,
			      gfp_t gfp)
{
	struct page *page;

	while (nr < model->nr_pfns && (page = alloc_pages(gfp, 0))) {
		unsigned long pfn = page_to_pfn(page);

		ok(!test_bit(model->frames, pfn), "frame %lu is handed out twice", pfn);
		model->frames[pfn / 64] |= 1UL << (pfn % 64);
		pages[nr++] = page;
	}
	return nr;
}

void model_init(struct frame_model *model, struct kmm *machine)
{
	struct free_area_counts counts;
	struct page **pages;
	unsigned long nr;

	*model = (struct frame_model){.machine = machine,
				      .layout = machine->config.layout,
				      .nr_pfns = machine->nr_frames};
	model->frames = calloc(model->nr_pfns / 64, sizeof(u64));
	model->used = calloc(model->nr_pfns / 64, sizeof(u64));
	pages = malloc(model->nr_pfns * sizeof(*pages));
	phys_for_each_zone(machine, add_zone, model);
	kmm_drain(machine);
	count_free_areas(machine, NUMA_NO_NODE, &counts);
	ok_eq(counts.nr_pcp_pages, 0);
	nr = take_all(model, pages, 0, GFP_HIGHUSER_MOVABLE | __GFP_MEMALLOC | __GFP_NOWARN);
	nr = take_all(model, pages, nr, __GFP_SHARED | __GFP_MEMALLOC | __GFP_NOWARN);
	ok(nr == counts.nr_buddy_pages, "%lu frames to be had, %lu were free", nr,
	   (unsigned long)counts.nr_buddy_pages);
	model->nr_frames = nr;
	while (nr)
		__free_pages(pages[--nr], 0);
	free(pages);
	kmm_drain(machine);
	model_check_blocks(model);
}

void model_destroy(struct frame_model *model)
{
	free(model->frames);
	free(model->used);
}

static const struct phys_zone_info *zone_at(const struct frame_model *model, unsigned long pfn)
{
	for (unsigned int i = 0; i < model->nr_zones; i++)
		if (pfn >= model->zones[i].start_pfn && pfn < model->zones[i].end_pfn)
			return &model->zones[i];
	return NULL;
}

/* The zone that flags name, and what base/config.h and gfp.h say of zones, said once more. */
static enum zone_type wanted_zone(const struct frame_model *model, gfp_t gfp)
{
	if (model->layout == ZONES_PLAIN)
		return ZONE_NORMAL;
	if (gfp & __GFP_SHARED)
		return ZONE_SHARED;
	if (gfp & __GFP_DMA)
		return ZONE_DMA;
	if ((gfp & __GFP_DMA32) && model->layout == ZONES_X86_64)
		return ZONE_DMA32;
	return (gfp & __GFP_HIGHMEM) && !(gfp & __GFP_DMA32) ? ZONE_HIGHMEM : ZONE_NORMAL;
}

static bool may_serve(const struct frame_model *model, const struct phys_zone_info *zone, gfp_t gfp,
		      int nid)
{
	enum zone_type wanted = wanted_zone(model, gfp);

	if ((gfp & __GFP_THISNODE) && nid != NUMA_NO_NODE && zone->nid != nid)
		return false;
	if (wanted == ZONE_SHARED)
		return zone->memfd_backed;
	if (zone->type == ZONE_SHARED)
		return wanted == ZONE_NORMAL || wanted == ZONE_HIGHMEM;
	return zone->type <= wanted;
}

void model_take(struct frame_model *model, unsigned long pfn, unsigned int order, gfp_t gfp,
		int nid)
{
	const struct phys_zone_info *zone = zone_at(model, pfn);
	const u64 mask = block_mask(pfn, order);

	ok(pfn % (1UL << order) == 0, "frame %lu, order %u: not aligned", pfn, order);
	if (!zone || pfn + (1UL << order) > zone->end_pfn) {
		ok(false, "frame %lu, order %u: in no zone", pfn, order);
		return;
	}
	ok(may_serve(model, zone, gfp, nid), "gfp %#x, node %d: frame %lu of %s, node %d", gfp, nid,
	   pfn, zone->name, zone->nid);
	for (unsigned long i = pfn / 64; i < pfn / 64 + nr_words(order); i++) {
		ok((model->frames[i] & mask) == mask, "frame %lu, order %u: boot's own", pfn,
		   order);
		ok(!(model->used[i] & mask), "frame %lu, order %u: somebody has it", pfn, order);
		model->used[i] |= mask;
	}
	model->nr_used += 1UL << order;
}

void model_give(struct frame_model *model, unsigned long pfn, unsigned int order)
{
	const u64 mask = block_mask(pfn, order);

	for (unsigned long i = pfn / 64; i < pfn / 64 + nr_words(order); i++) {
		ok((model->used[i] & mask) == mask, "frame %lu, order %u: nobody had it", pfn,
		   order);
		model->used[i] &= ~mask;
	}
	model->nr_used -= 1UL << order;
}

static void note_zone(const struct phys_zone_info *info, void *arg)
{
	struct frame_model *model = arg;

	for (unsigned int i = 0; i < model->nr_zones; i++)
		if (model->zones[i].start_pfn == info->start_pfn)
			model->zones[i] = *info;
}

/* Pages that the zone keeps from such an allocation, at most: flags that reach below the minimum
 * make it less. */
static unsigned long kept(const struct frame_model *model, const struct phys_zone_info *zone,
			  gfp_t gfp)
{
	if ((gfp & __GFP_MEMALLOC) && !(gfp & __GFP_NOMEMALLOC))
		return 0;
	return zone->watermark[WMARK_MIN] + zone->lowmem_reserve[wanted_zone(model, gfp)];
}

/* Who may wait has looked into the lists of all slots without a thread. */
static void check_idle_slots(const struct frame_model *model)
{
	for (struct kmm_cpu *cpu = cpu_first(model->machine); cpu;
	     cpu = cpu_next(model->machine, cpu))
		ok(cpu->owned || !pcp_nr_pages(cpu), "refused, with %lu pages on idle slot %u",
		   pcp_nr_pages(cpu), cpu->slot);
}

void model_check_refusal(struct frame_model *model, gfp_t gfp, int nid, unsigned int order)
{
	if ((gfp & __GFP_DIRECT_RECLAIM) && !(gfp & __GFP_NORETRY))
		check_idle_slots(model);
	phys_for_each_zone(model->machine, note_zone, model);
	for (unsigned int i = 0; i < model->nr_zones; i++) {
		const struct phys_zone_info *zone = &model->zones[i];
		unsigned long keep = kept(model, zone, gfp);

		if (!may_serve(model, zone, gfp, nid) || zone->nr_free < keep + (1UL << order))
			continue;
		for (unsigned int o = order; o < NR_PAGE_ORDERS; o++)
			ok(!zone->nr_blocks[o],
			   "gfp %#x, node %d, order %u: refused, with %lu of order %u in %s of "
			   "node %d, %lu pages, of which it keeps %lu",
			   gfp, nid, order, zone->nr_blocks[o], o, zone->name, zone->nid,
			   zone->nr_free, keep);
	}
}

void model_check_count(struct frame_model *model)
{
	unsigned long nr = nr_free(model->machine, NUMA_NO_NODE);

	ok(nr == model->nr_frames - model->nr_used, "%lu frames are free, not %lu - %lu", nr,
	   model->nr_frames, model->nr_used);
}

static bool block_is_free(const struct frame_model *model, unsigned long pfn, unsigned int order)
{
	const u64 mask = block_mask(pfn, order);

	for (unsigned long i = pfn / 64; i < pfn / 64 + nr_words(order); i++)
		if ((model->frames[i] & ~model->used[i] & mask) != mask)
			return false;
	return true;
}

/* Order of the largest free block that begins at a frame; -1 if the frame is not free. */
static int largest_block(const struct frame_model *model, unsigned long pfn, unsigned long end_pfn)
{
	int order = -1;

	while (order < MAX_PAGE_ORDER && pfn % (1UL << (order + 1)) == 0 &&
	       pfn + (1UL << (order + 1)) <= end_pfn &&
	       block_is_free(model, pfn, (unsigned int)(order + 1)))
		order++;
	return order;
}

void model_check_blocks(struct frame_model *model)
{
	phys_for_each_zone(model->machine, note_zone, model);
	for (unsigned int i = 0; i < model->nr_zones; i++) {
		const struct phys_zone_info *zone = &model->zones[i];
		unsigned long want[NR_PAGE_ORDERS] = {0};
		unsigned long pfn = zone->start_pfn;

		while (pfn < zone->end_pfn) {
			int order = largest_block(model, pfn, zone->end_pfn);

			if (order >= 0)
				want[order]++;
			pfn += order >= 0 ? 1UL << order : 1;
		}
		for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++)
			ok(zone->nr_blocks[order] == want[order],
			   "%s, node %d: %lu free blocks of order %u, not %lu", zone->name,
			   zone->nid, zone->nr_blocks[order], order, want[order]);
	}
}

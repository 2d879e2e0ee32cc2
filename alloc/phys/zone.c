/* SPDX-License-Identifier: MIT */
/*
 * Zone layouts and zonelists; see zone.h. All of it is arithmetic on frame numbers, done once at
 * boot.
 *
 * Follows mm/page_alloc.c (6.1): zones by physical address, zonelists in node order. It differs in
 * the memfd-backed zones, which the kernel has no need of: __GFP_SHARED allocates from them alone,
 * and ordinary allocations fall back to the Shared zone of x86_64 when all else is full, to i386's
 * HighMem only when they ask for it.
 */
#include "phys/zone.h"

#include <errno.h>
#include <stdlib.h>

#include "base/compiler.h"

#define DMA_END_PFN    ((16UL << 20) >> PAGE_SHIFT)
#define DMA32_END_PFN  ((4UL << 30) >> PAGE_SHIFT)
#define LOWMEM_END_PFN ((896UL << 20) >> PAGE_SHIFT)

const char *const zone_names[NR_ZONE_TYPES] = {
	[ZONE_DMA] = "DMA",	    [ZONE_DMA32] = "DMA32",   [ZONE_NORMAL] = "Normal",
	[ZONE_HIGHMEM] = "HighMem", [ZONE_SHARED] = "Shared",
};

enum zone_type gfp_zone(gfp_t gfp, enum zone_layout layout)
{
	if (layout == ZONES_PLAIN)
		return ZONE_NORMAL;
	if (gfp & __GFP_SHARED)
		return ZONE_SHARED;
	if (gfp & __GFP_DMA)
		return ZONE_DMA;
	if (gfp & __GFP_DMA32) /* i386 has no such zone, and all its lowmem is below 4 GiB */
		return layout == ZONES_I386 ? ZONE_NORMAL : ZONE_DMA32;
	return gfp & __GFP_HIGHMEM ? ZONE_HIGHMEM : ZONE_NORMAL;
}

/* Give the zone what of the node's frames lies in [start, end). */
static void zone_set_range(struct pglist_data *node, enum zone_type type, unsigned long start,
			   unsigned long end)
{
	struct zone *zone = &node->zones[type];

	start = max_t(unsigned long, start, node->start_pfn);
	end = min_t(unsigned long, end, node->end_pfn);
	if (start < end) {
		zone->start_pfn = start;
		zone->end_pfn = end;
	}
}

static int lay_out_x86_64(struct pglist_data *node, u64 shared_bytes)
{
	unsigned long nr_frames = node->end_pfn - node->start_pfn;
	unsigned long nr_shared = shared_bytes >> PAGE_SHIFT, top;

	if (!shared_bytes)
		nr_shared = ALIGN_UP(nr_frames / 4, MAX_ORDER_NR_PAGES);
	if (!IS_ALIGNED(shared_bytes, PAGE_SIZE << MAX_PAGE_ORDER) || nr_shared >= nr_frames)
		return -EINVAL;
	top = node->end_pfn - nr_shared;
	zone_set_range(node, ZONE_DMA, 0, min_t(unsigned long, top, DMA_END_PFN));
	zone_set_range(node, ZONE_DMA32, DMA_END_PFN, min_t(unsigned long, top, DMA32_END_PFN));
	zone_set_range(node, ZONE_NORMAL, DMA32_END_PFN, top);
	zone_set_range(node, ZONE_SHARED, top, node->end_pfn);
	node->zones[ZONE_SHARED].memfd_backed = true;
	return 0;
}

static void lay_out_i386(struct pglist_data *node)
{
	zone_set_range(node, ZONE_DMA, 0, DMA_END_PFN);
	zone_set_range(node, ZONE_NORMAL, DMA_END_PFN, LOWMEM_END_PFN);
	zone_set_range(node, ZONE_HIGHMEM, LOWMEM_END_PFN, node->end_pfn);
	node->zones[ZONE_HIGHMEM].direct_mapped = false;
}

/* vmalloc needs frames that can be mapped twice. On i386 those are of the highest zone type that
 * the machine has. */
static void i386_choose_memfd(struct pglist_data *nodes, unsigned int nr_nodes)
{
	enum zone_type type = ZONE_HIGHMEM;

	for (; type > ZONE_DMA; type--)
		for (unsigned int i = 0; i < nr_nodes; i++)
			if (zone_populated(&nodes[i].zones[type]))
				goto found;
found:
	for (unsigned int i = 0; i < nr_nodes; i++)
		nodes[i].zones[type].memfd_backed = true;
}

int zones_lay_out(struct pglist_data *nodes, unsigned int nr_nodes, enum zone_layout layout,
		  u64 shared_bytes)
{
	for (unsigned int i = 0; i < nr_nodes; i++) {
		struct pglist_data *node = &nodes[i];
		int err = 0;

		if (node->end_pfn <= node->start_pfn ||
		    !IS_ALIGNED(node->start_pfn, MAX_ORDER_NR_PAGES) ||
		    !IS_ALIGNED(node->end_pfn, MAX_ORDER_NR_PAGES))
			return -EINVAL;
		for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++)
			node->zones[type] = (struct zone){
				.type = type,
				.nid = node->nid,
				.name = zone_names[type],
				.memfd = -1,
				.direct_mapped = true,
			};
		if (layout == ZONES_PLAIN)
			zone_set_range(node, ZONE_NORMAL, node->start_pfn, node->end_pfn);
		else if (layout == ZONES_I386)
			lay_out_i386(node);
		else
			err = lay_out_x86_64(node, shared_bytes);
		if (err)
			return err;
	}
	if (layout == ZONES_I386)
		i386_choose_memfd(nodes, nr_nodes);
	return 0;
}

/* A step of distance outweighs any load. */
#define DISTANCE_WEIGHT (KMM_MAX_NODES + 1UL)

/*
 * The nodes as seen from nodes[from]: itself, then the nearest first. Among those as near, the next
 * after it rather than one before it, and one that begins few other nodes' list of its distance
 * (load[], of the nodes before this one), so that nodes around a full one share what it cannot give.
 * As the kernel's build_zonelists() (6.1), whose preference for nodes without CPUs has no effect where
 * it boots before it knows of any CPU, as on x86.
 */
static void sort_by_distance(struct phys *phys, int from, struct pglist_data **order,
			     unsigned int (*distance)(const void *arg, int from, int to),
			     const void *arg, unsigned int *load)
{
	unsigned long cost[KMM_MAX_NODES];
	unsigned int before = distance(arg, from, from);

	for (unsigned int i = 0; i < phys->nr_nodes; i++) {
		unsigned int j = i;

		cost[i] =
			(distance(arg, from, (int)i) + ((int)i < from)) * DISTANCE_WEIGHT + load[i];
		if ((int)i == from)
			cost[i] = 0;
		for (; j > 0 && cost[order[j - 1]->nid] > cost[i]; j--)
			order[j] = order[j - 1];
		order[j] = &phys->nodes[i];
	}
	for (unsigned int i = 1; i < phys->nr_nodes; i++) {
		unsigned int near = distance(arg, from, order[i]->nid);

		if (near != before)
			load[order[i]->nid]++;
		before = near;
	}
}

/* Is the zone for ordinary allocations that start from type `wanted`? */
static bool zone_serves(const struct zone *zone, enum zone_type wanted)
{
	if (!zone_populated(zone))
		return false;
	if (wanted == ZONE_SHARED)
		return zone->memfd_backed;
	return zone->type <= wanted && zone->type != ZONE_SHARED;
}

static struct zone **zonelist_fill(struct zone **at, struct pglist_data *const *order,
				   unsigned int nr_nodes, enum zone_type wanted)
{
	for (unsigned int i = 0; i < nr_nodes; i++)
		for (int type = NR_ZONE_TYPES - 1; type >= 0; type--)
			if (zone_serves(&order[i]->zones[type], wanted))
				*at++ = &order[i]->zones[type];
	/* A Shared zone may lie anywhere, so it cannot serve those who ask for low addresses. */
	if (wanted == ZONE_NORMAL || wanted == ZONE_HIGHMEM)
		for (unsigned int i = 0; i < nr_nodes; i++)
			if (zone_populated(&order[i]->zones[ZONE_SHARED]))
				*at++ = &order[i]->zones[ZONE_SHARED];
	*at++ = NULL;
	return at;
}

int zonelists_build(struct phys *phys, unsigned int (*distance)(const void *arg, int from, int to),
		    const void *arg)
{
	const size_t list_max = (size_t)phys->nr_nodes * NR_ZONE_TYPES + 1;
	struct pglist_data *order[KMM_MAX_NODES];
	unsigned int load[KMM_MAX_NODES] = {0};
	struct zone **at;

	at = calloc(phys->nr_nodes * NR_ZONE_TYPES * list_max, sizeof(*at));
	if (!at)
		return -ENOMEM;
	phys->zonelists = at;
	for (unsigned int i = 0; i < phys->nr_nodes; i++) {
		struct pglist_data *node = &phys->nodes[i];

		sort_by_distance(phys, (int)i, order, distance, arg, load);
		for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++) {
			node->zonelist[type] = at;
			at = zonelist_fill(at, order, phys->nr_nodes, type);
		}
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Nodes and zones: which frames there are, where they lie, and in what order an allocation looks
 * for them. Private to alloc/.
 *
 *	pfn 0                                                             phys->nr_frames
 *	|            node 0                |             node 1                |
 *	| DMA |   DMA32   |    Shared      |   DMA32   |  Normal   |  Shared   |     x86_64
 *	| DMA | Normal    |  HighMem       |         HighMem                   |     i386
 *
 * A node is one range of frames, a multiple of 4 MiB, right behind the node before it; a zone is
 * one range inside its node, so that a block never straddles two. A zone backed by a memfd can be
 * mapped at a second address; all others are anonymous memory with huge pages.
 *
 * After include/linux/mmzone.h (6.1).
 */
#ifndef KMM_PHYS_ZONE_H
#define KMM_PHYS_ZONE_H

#include "base/config.h"
#include "base/lock.h"
#include "base/machine.h"
#include "base/types.h"
#include "phys/buddy.h"
#include "phys/gfp.h"
#include "phys/page.h"

enum zone_type { ZONE_DMA, ZONE_DMA32, ZONE_NORMAL, ZONE_HIGHMEM, ZONE_SHARED, NR_ZONE_TYPES };

/* How full a zone may become, in free pages: see phys/watermark.h. */
enum zone_watermark { WMARK_MIN, WMARK_LOW, WMARK_HIGH, NR_WMARK };

struct zone {
	/* Set at boot, then constant: */
	enum zone_type type;
	int nid;
	const char *name;		  /* as the kernel prints it: "DMA32" */
	char lock_name[32];		  /* "zone DMA32 node 0" */
	unsigned long start_pfn, end_pfn; /* equal: the node has no such zone */
	unsigned long nr_managed;	  /* frames that boot gave to the buddy */
	unsigned long watermark[NR_WMARK];
	/* Free pages kept besides from an allocation that starts from zone type i. */
	unsigned long lowmem_reserve[NR_ZONE_TYPES];
	int memfd; /* -1: anonymous memory */
	bool memfd_backed;
	bool direct_mapped;

	struct lock lock; /* RANK_ZONE; protects: */
	struct buddy buddy;
	unsigned long age_at; /* the pageblock that ageing looks at next; single accesses */
};

static inline bool zone_populated(const struct zone *zone)
{
	return zone->start_pfn != zone->end_pfn;
}

/* Byte offset in the zone's memfd of a frame of the zone. */
static inline u64 zone_memfd_offset(const struct zone *zone, unsigned long pfn)
{
	return (u64)(pfn - zone->start_pfn) << PAGE_SHIFT;
}

struct pglist_data {
	/* Set at boot, then constant: */
	int nid;
	unsigned int nr_cpus; /* of the topology, with this node nearest */
	unsigned long start_pfn, end_pfn;
	unsigned long reserved_start_pfn, reserved_end_pfn; /* frames that boot keeps */
	struct pageblock *pageblocks; /* of start_pfn, a multiple of 4 MiB, on */
	struct zone zones[NR_ZONE_TYPES];
	/* Where an allocation that asks for zone type i on this node looks, in order; ends with
	 * NULL. */
	struct zone **zonelist[NR_ZONE_TYPES];

	u32 nr_slots; /* atomic: CPU slots that have lists of this node's zones */
};

struct phys {
	/* Set at boot, then constant: */
	struct kmm *machine;
	unsigned int nr_nodes;
	struct pglist_data *nodes;
	unsigned long nr_frames;
	struct zone **zonelists;    /* the memory behind all zonelist[] */
	struct highmem *highmem;    /* phys/highmem.c's; NULL: the direct map covers every frame */
	size_t percpu_offset;	    /* of struct phys_cpu in a slot; 0 until it is handed out */
	enum zone_type policy_zone; /* the highest there is; below it NUMA bind does not hold */

	/* RANK_RELEASE. Held while frames of any zone are isolated (phys/release.c). */
	struct lock release_lock;

	/* Any thread, single accesses: */
	const struct reclaim_ops *reclaim_ops; /* phys_set_reclaim_ops() */
	bool warned;			       /* of an allocation that failed */
};

/* Of a frame that is or was allocated as a head, is a tail of a compound block, or in HighMem. */
static inline struct zone *page_zone(const struct phys *phys, const struct page *page)
{
	return &phys->nodes[READ_ONCE(page->nid)].zones[page_zonenum(page)];
}

/* Node and zone of any frame of the machine. O(nodes). */
static inline struct pglist_data *pfn_node(const struct phys *phys, unsigned long pfn)
{
	struct pglist_data *node = phys->nodes;

	while (pfn >= node->end_pfn)
		node++;
	return node;
}

static inline struct zone *pfn_zone(const struct phys *phys, unsigned long pfn)
{
	struct zone *zone = pfn_node(phys, pfn)->zones;

	while (pfn < zone->start_pfn || pfn >= zone->end_pfn)
		zone++;
	return zone;
}

/* Is it a frame that boot keeps? */
static inline bool pfn_is_reserved(const struct phys *phys, unsigned long pfn)
{
	const struct pglist_data *node = pfn_node(phys, pfn);

	return pfn >= node->reserved_start_pfn && pfn < node->reserved_end_pfn;
}

/* A bit for each node that the machine has. */
static inline u64 phys_all_nodes(const struct phys *phys)
{
	return ~0UL >> (64 - phys->nr_nodes);
}

#define for_each_zone(phys, node, zone)                                                            \
	for (struct pglist_data *node = (phys)->nodes; node < (phys)->nodes + (phys)->nr_nodes;    \
	     node++)                                                                               \
		for (struct zone *zone = node->zones; zone < node->zones + NR_ZONE_TYPES; zone++)  \
			if (zone_populated(zone))

extern const char *const zone_names[NR_ZONE_TYPES];

/* The zone type that an allocation starts from. Where the flags contradict each other the narrower
 * zone wins. */
enum zone_type gfp_zone(gfp_t gfp, enum zone_layout layout);

/*
 * Divide nodes (whose start_pfn and end_pfn are set) into zones: types, ranges, backing. Touches no
 * memory. shared_bytes is the size of each node's Shared zone in the x86_64 layout, 0 for a quarter
 * of the node. -EINVAL if a node is no multiple of 4 MiB, or too small for its Shared zone and one
 * block more.
 */
int zones_lay_out(struct pglist_data *nodes, unsigned int nr_nodes, enum zone_layout layout,
		  u64 shared_bytes);

/*
 * Make every node's zonelists: nodes by distance (nearest first; those as near in turn, so
 * that not all of a full node's neighbours fall back on the same one), in each node the zones from the wanted one down to DMA; memfd-backed zones that the wanted one does not
 * name come last of all. distance(arg, from, to) is relative, smaller is nearer. -ENOMEM.
 */
int zonelists_build(struct phys *phys, unsigned int (*distance)(const void *arg, int from, int to),
		    const void *arg);

#endif

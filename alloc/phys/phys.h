/* SPDX-License-Identifier: MIT */
/* What the layers above and the reports may ask of phys besides pages (phys/page_alloc.h). Private
 * to alloc/. */
#ifndef KMM_PHYS_PHYS_H
#define KMM_PHYS_PHYS_H

#include "base/lock.h"
#include "base/types.h"
#include "phys/zone.h"

/* Each zone's lock, nodes and zones in ascending order; that of memory on its way to the host; and
 * kmap's, if there is HighMem. */
void phys_for_each_lock(struct kmm *machine,
			void (*visit)(const char *name, const struct lock_stats *, void *arg),
			void *arg);

/*
 * The one call upward: what reclaim does for an allocation that finds too little free memory.
 */
struct reclaim_ops {
	/*
	 * The zones of node nid that gfp allows are below their low watermark: see to it in the
	 * background. Called by every allocation that finds it so, with any lock of kmm held but a
	 * zone's; must not wait, nor allocate.
	 */
	void (*wake)(struct kmm *machine, int nid, gfp_t gfp, unsigned int order);
	/*
	 * Free pages where a gfp allocation of the order could use them, node nid's first, and
	 * return how many; 0: there is nothing to be had. Called only for allocations with
	 * __GFP_DIRECT_RECLAIM, so with no lock held; as gfp says it must do without __GFP_IO or
	 * __GFP_FS. What it allocates itself may use the reserves, and is not reclaimed for.
	 */
	unsigned long (*reclaim)(struct kmm *machine, int nid, gfp_t gfp, unsigned int order);
};
/* ops must outlive the machine, or the next call; NULL: nobody reclaims, as after boot. */
void phys_set_reclaim_ops(struct kmm *machine, const struct reclaim_ops *ops);

struct phys_zone_info {
	const char *name; /* as the kernel prints it */
	int nid;
	enum zone_type type;
	unsigned long start_pfn, end_pfn;
	unsigned long nr_managed;
	unsigned long watermark[NR_WMARK];
	unsigned long lowmem_reserve[NR_ZONE_TYPES];
	bool memfd_backed, direct_mapped;
	unsigned long nr_free;			 /* frames in the buddy */
	unsigned long nr_released;		 /* of these, without memory */
	unsigned long nr_blocks[NR_PAGE_ORDERS]; /* free in the buddy */
	/* Of these, in pageblocks of each migratetype; and those pageblocks, free or not. */
	unsigned long nr_type_blocks[NR_MIGRATETYPES][NR_PAGE_ORDERS];
	unsigned long nr_pageblocks[NR_MIGRATETYPES];
};
/* Each populated zone, nodes and zones in ascending order. Takes each one's lock in turn; none is
 * held in visit. */
void phys_for_each_zone(struct kmm *machine,
			void (*visit)(const struct phys_zone_info *, void *arg), void *arg);

/* The lists that one CPU slot has of one zone. */
struct phys_pageset_info {
	u32 slot;
	unsigned long nr_pages; /* in the lists of all orders */
	unsigned long high;	/* that they hold at most */
	unsigned int batch;	/* of order 0, moved at once */
};
/* Each slot whose node the zone is of. Takes no lock: a little behind the slots' owners. */
void phys_for_each_pageset(struct kmm *machine, const struct phys_zone_info *zone,
			   void (*visit)(const struct phys_pageset_info *, void *arg), void *arg);

/* Frames handed out since boot, by the type of the zone they came from, and frames given back.
 * Consistent while nothing runs. Takes each zone's lock in turn. */
struct phys_traffic {
	u64 nr_alloc[NR_ZONE_TYPES], nr_free;
};
void phys_count_traffic(struct kmm *machine, struct phys_traffic *traffic);

/* The node of any frame of the machine. */
int pfn_to_nid(const struct kmm *machine, unsigned long pfn);

/*
 * Ask running threads for what their lists hold (the caller has drained the others), and give
 * memory of free frames back to the host, as long as more than keep_pages of them have memory:
 * pageblocks that are free as a whole first, then runs of 64 KiB; with 0 then every frame. Returns
 * the frames given back. Takes release_lock, and each zone's lock for a moment at a time. Frames
 * are nobody's while the host is at it: 16 MiB at once, or an eighth of what is free.
 */
unsigned long phys_trim(struct kmm *machine, unsigned long keep_pages);

/* The same of what nobody has touched since the last call but one; of each zone up to 1 GiB, found
 * among up to 32 GiB. */
unsigned long phys_age(struct kmm *machine);

/* Wait for frames that are on their way back to the host, if there are any; true if there were. The
 * caller holds no lock. */
bool phys_wait_for_release(struct phys *phys);

/* Frames of one node (NUMA_NO_NODE: of the machine) by what they are in use for. Looks at every
 * frame of it that is not free: exact while nothing runs. Takes each zone's lock for each
 * pageblock. */
struct phys_use {
	unsigned long nr_slab, nr_table;
};
void phys_count_use(struct kmm *machine, int nid, struct phys_use *use);

#endif

/* SPDX-License-Identifier: MIT */
/* What the layers above and the reports may ask of phys besides pages (phys/page_alloc.h). Private
 * to alloc/. */
#ifndef KMM_PHYS_PHYS_H
#define KMM_PHYS_PHYS_H

#include "base/lock.h"
#include "base/types.h"

/* Each zone's lock, nodes and zones in ascending order. */
void phys_for_each_lock(struct kmm *machine,
			void (*visit)(const char *name, const struct lock_stats *, void *arg),
			void *arg);

struct phys_zone_info {
	const char *name; /* as the kernel prints it */
	int nid;
	unsigned long start_pfn, end_pfn;
	unsigned long nr_managed;
	bool memfd_backed, direct_mapped;
	unsigned long nr_blocks[NR_PAGE_ORDERS]; /* free in the buddy */
};
/* Each populated zone, nodes and zones in ascending order. Takes each one's lock in turn; none is
 * held in visit. */
void phys_for_each_zone(struct kmm *machine,
			void (*visit)(const struct phys_zone_info *, void *arg), void *arg);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The machine's state as text, in the form of the kernel's own files under /proc, so that the tools
 * and the eyes used to those work here too. Each prints to out and returns 0, or -errno of the
 * stream.
 */
#ifndef KMM_REPORT_REPORT_H
#define KMM_REPORT_REPORT_H

#include <stdio.h>

#include "base/compiler.h"
#include "base/types.h"

KMM_BEGIN_DECLS

/* "Node 0, zone      DMA      1 ..." */
KMM_API int show_buddyinfo(struct kmm *machine, FILE *out);
/* Free blocks by zone, migratetype and order; and how many pageblocks are of each type. */
KMM_API int show_pagetypeinfo(struct kmm *machine, FILE *out);
/* Each zone at length, with its counters and the lists that CPU slots have of it. */
KMM_API int show_zoneinfo(struct kmm *machine, FILE *out);
/* "nr_free_pages 123", a line a counter: the kernel's that kmm counts, then kmm's own. */
KMM_API int show_vmstat(struct kmm *machine, FILE *out);
/* A table as the numastat tool's, a column a node: numa_hit, numa_miss, ... in blocks. */
KMM_API int show_numastat(struct kmm *machine, FILE *out);
/* Version 2.1. */
KMM_API int show_slabinfo(struct kmm *machine, FILE *out);
KMM_API int show_vmallocinfo(struct kmm *machine, FILE *out);
/* Ours: lock, acquired, contended, wait_cycles. -ENOMEM, too. */
KMM_API int show_locks(struct kmm *machine, FILE *out);

/* Every named lock of the machine: slots, zones, memory release, kmap, cache nodes, vmap, page
 * tables. Several locks of one name are visited one by one. */
struct lock_stats;
KMM_API void for_each_lock(struct kmm *machine,
			   void (*visit)(const char *name, const struct lock_stats *, void *arg),
			   void *arg);

KMM_END_DECLS
#endif

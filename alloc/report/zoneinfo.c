/* SPDX-License-Identifier: MIT */
/*
 * The zones at length, as /proc/zoneinfo has them: zoneinfo_show_print() in mm/vmstat.c (6.1). What
 * kmm does not have (LRU lists, write-back, bounce buffers) has no line, and zones without frames
 * are left out. A node's own counters stand under the first of its zones, the NUMA events among
 * them, which the kernel has by zone and kmm by node. No mark is ever boosted, and no frame is set
 * aside for contiguous memory (cma), so both are 0.
 *
 * A pageset is what one CPU slot holds of the zone. Slots of other nodes have no lists of it and so
 * no pageset; `cpu` is the slot's number, as there may be more slots than CPUs. Frames in pagesets
 * are not free for the buddy: they are in none of the zone's counters, here as there.
 */
#include <errno.h>

#include "phys/phys.h"
#include "report/numa.h"
#include "report/report.h"

struct printer {
	struct kmm *machine;
	FILE *out;
	int nid; /* of the last zone; -1 before the first */
};

static void print_node(struct printer *printer, int nid)
{
	struct numastat numa;
	struct phys_use use;

	phys_count_use(printer->machine, nid, &use);
	phys_numastat(printer->machine, nid, &numa);
	fprintf(printer->out,
		"\n  per-node stats"
		"\n      %-12s %lu"
		"\n      %-12s %lu",
		"nr_slab_unreclaimable", use.nr_slab, "nr_page_table_pages", use.nr_table);
#define EVENT(text, name)                                                                          \
	fprintf(printer->out, "\n      %-12s %llu", text, (unsigned long long)numa.name);
	NUMA_EVENTS(EVENT)
#undef EVENT
}

static void print_pageset(const struct phys_pageset_info *pageset, void *out)
{
	fprintf(out,
		"\n    cpu: %u"
		"\n              count: %lu"
		"\n              high:  %lu"
		"\n              batch: %u",
		pageset->slot, pageset->nr_pages, pageset->high, pageset->batch);
}

/* What the zone keeps from allocations that asked for each zone type, from DMA up. */
static void print_protection(const struct phys_zone_info *zone, FILE *out)
{
	fputs("\n        protection: (", out);
	for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++)
		fprintf(out, "%s%lu", type ? ", " : "", zone->lowmem_reserve[type]);
	fputc(')', out);
}

static void print_zone(const struct phys_zone_info *zone, void *arg)
{
	struct printer *printer = arg;
	FILE *out = printer->out;
	unsigned long nr_frames = zone->end_pfn - zone->start_pfn;

	fprintf(out, "Node %d, zone %8s", zone->nid, zone->name);
	if (zone->nid != printer->nid)
		print_node(printer, zone->nid);
	printer->nid = zone->nid;
	fprintf(out,
		"\n  pages free     %lu"
		"\n        boost    0"
		"\n        min      %lu"
		"\n        low      %lu"
		"\n        high     %lu"
		"\n        spanned  %lu"
		"\n        present  %lu"
		"\n        managed  %lu"
		"\n        cma      0",
		zone->nr_free, zone->watermark[WMARK_MIN], zone->watermark[WMARK_LOW],
		zone->watermark[WMARK_HIGH], nr_frames, nr_frames, zone->nr_managed);
	print_protection(zone, out);
	fprintf(out, "\n      %-12s %lu", "nr_free_pages", zone->nr_free);
	fputs("\n  pagesets", out);
	phys_for_each_pageset(printer->machine, zone, print_pageset, out);
	fprintf(out, "\n  start_pfn:           %lu\n", zone->start_pfn);
}

int show_zoneinfo(struct kmm *machine, FILE *out)
{
	struct printer printer = {machine, out, -1};

	phys_for_each_zone(machine, print_zone, &printer);
	return ferror(out) ? -EIO : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Free blocks and pageblocks by migratetype, as /proc/pagetypeinfo has them: mm/vmstat.c (6.1). The
 * types are the kernel's first three; kmm has no others. A block counts under the type of the
 * pageblock it lies in, one of order 10 under that of its lower half.
 */
#include <errno.h>

#include "phys/phys.h"
#include "report/report.h"

static const char *const type_names[NR_MIGRATETYPES] = {
	[MIGRATE_UNMOVABLE] = "Unmovable",
	[MIGRATE_MOVABLE] = "Movable",
	[MIGRATE_RECLAIMABLE] = "Reclaimable",
};

static void print_free(const struct phys_zone_info *zone, void *out)
{
	for (unsigned int type = 0; type < NR_MIGRATETYPES; type++) {
		fprintf(out, "Node %4d, zone %8s, type %12s ", zone->nid, zone->name,
			type_names[type]);
		for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++)
			fprintf(out, "%6lu ", zone->nr_type_blocks[type][order]);
		fputc('\n', out);
	}
}

static void print_pageblocks(const struct phys_zone_info *zone, void *out)
{
	fprintf(out, "Node %d, zone %8s ", zone->nid, zone->name);
	for (unsigned int type = 0; type < NR_MIGRATETYPES; type++)
		fprintf(out, "%12lu ", zone->nr_pageblocks[type]);
	fputc('\n', out);
}

int show_pagetypeinfo(struct kmm *machine, FILE *out)
{
	fprintf(out, "Page block order: %d\nPages per block:  %lu\n\n%-43s ", PAGEBLOCK_ORDER,
		PAGEBLOCK_NR_PAGES, "Free pages count per migrate type at order");
	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++)
		fprintf(out, "%6u ", order);
	fputc('\n', out);
	phys_for_each_zone(machine, print_free, out);
	fprintf(out, "\n%-23s", "Number of blocks type ");
	for (unsigned int type = 0; type < NR_MIGRATETYPES; type++)
		fprintf(out, "%12s ", type_names[type]);
	fputc('\n', out);
	phys_for_each_zone(machine, print_pageblocks, out);
	return ferror(out) ? -EIO : 0;
}

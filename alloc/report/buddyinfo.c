/* SPDX-License-Identifier: MIT */
/*
 * Free blocks per node, zone and order, as /proc/buddyinfo has them: frag_show_print() in
 * mm/vmstat.c (6.1). Blocks in per-CPU lists are not free for the buddy, and not counted, here as
 * there.
 */
#include "report/report.h"

#include <errno.h>

#include "phys/phys.h"

static void print_zone(const struct phys_zone_info *zone, void *out)
{
	fprintf(out, "Node %d, zone %8s ", zone->nid, zone->name);
	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++)
		fprintf(out, "%6lu ", zone->nr_blocks[order]);
	fputc('\n', out);
}

int show_buddyinfo(struct kmm *machine, FILE *out)
{
	phys_for_each_zone(machine, print_zone, out);
	return ferror(out) ? -EIO : 0;
}

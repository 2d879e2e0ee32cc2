/* SPDX-License-Identifier: MIT */
/*
 * The caches in the form of /proc/slabinfo, version 2.1 (mm/slab_common.c, 6.1): read by slabtop
 * and by eyes. Tunables are a cache's magazine capacity and batch; sharedfactor and sharedavail are
 * 0, as under SLUB.
 *
 * Lock: the list of caches and each node's, through slab_for_each.
 */
#include <errno.h>

#include "report/report.h"
#include "slab/slab.h"

static void show_cache(const struct slab_info *info, void *arg)
{
	FILE *out = arg;

	fprintf(out,
		"%-17s %6lu %6lu %6u %4u %4u : tunables %4u %4u %4u : slabdata %6lu %6lu %6u\n",
		info->name, info->active_objs, info->num_objs, info->objsize, info->objperslab,
		info->pagesperslab, info->limit, info->batchcount, 0, info->active_slabs,
		info->num_slabs, 0);
}

int show_slabinfo(struct kmm *machine, FILE *out)
{
	fputs("slabinfo - version: 2.1\n"
	      "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
	      " : tunables <limit> <batchcount> <sharedfactor>"
	      " : slabdata <active_slabs> <num_slabs> <sharedavail>\n",
	      out);
	slab_for_each(machine, show_cache, out);
	return ferror(out) ? -EIO : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * Where allocations came from, a column a node: the table that the numastat tool makes of the
 * kernel's /sys/devices/system/node/node<n>/numastat, whose names these are.
 *
 *	                           node0           node1
 *	numa_hit                    1024              12
 *
 * In blocks of whatever order, as in the kernel, where a block is one event too. Taken by the fast
 * path it counts as a hit and local: a CPU's lists hold its own node's blocks alone.
 */
#include <errno.h>

#include "arch/topology.h"
#include "base/machine.h"
#include "phys/mempolicy.h"
#include "report/report.h"

static void print_row(FILE *out, const char *name, const u64 *values, int nr_nodes)
{
	fprintf(out, "%-16s", name);
	for (int nid = 0; nid < nr_nodes; nid++)
		fprintf(out, "%16llu", (unsigned long long)values[nid]);
	fputc('\n', out);
}

int show_numastat(struct kmm *machine, FILE *out)
{
	const int nr_nodes = (int)topology_nr_nodes(machine->topology);
	struct numastat stats[KMM_MAX_NODES];
	u64 values[KMM_MAX_NODES];

	fprintf(out, "%-16s", "");
	for (int nid = 0; nid < nr_nodes; nid++) {
		char head[16];

		phys_numastat(machine, nid, &stats[nid]);
		snprintf(head, sizeof(head), "node%d", nid);
		fprintf(out, "%16s", head);
	}
	fputc('\n', out);
#define X(name)                                                                                    \
	for (int nid = 0; nid < nr_nodes; nid++)                                                   \
		values[nid] = stats[nid].name;                                                     \
	print_row(out, #name, values, nr_nodes);
	NUMASTAT(X)
#undef X
	return ferror(out) ? -EIO : 0;
}

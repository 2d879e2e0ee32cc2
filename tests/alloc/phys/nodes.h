/* SPDX-License-Identifier: MIT */
/* Tables of nodes without a machine or any memory behind them, for tests of what is arithmetic. */
#ifndef TESTS_PHYS_NODES_H
#define TESTS_PHYS_NODES_H

#include "phys/zone.h"

#define MIB_PAGES (256UL)

static struct pglist_data nodes[4];

/* Nodes of so many MiB, one behind the other, divided into zones. */
static inline int lay_out(enum zone_layout layout, unsigned long shared_mib, unsigned int nr,
			  const unsigned long *node_mib)
{
	unsigned long pfn = 0;

	for (unsigned int i = 0; i < nr; i++) {
		nodes[i] = (struct pglist_data){.nid = (int)i, .start_pfn = pfn};
		pfn += node_mib[i] * MIB_PAGES;
		nodes[i].end_pfn = pfn;
	}
	return zones_lay_out(nodes, nr, layout, (u64)shared_mib << 20);
}

#define MIB(...)                                                                                   \
	ARRAY_SIZE(((unsigned long[]){__VA_ARGS__})), (unsigned long[])                            \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}

#endif

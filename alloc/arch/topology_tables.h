/* SPDX-License-Identifier: MIT */
/*
 * A topology as tables, constant after topology_load. There are two that fill them: topology.c,
 * through hwloc, and malloc/topology.c, from the kernel alone.
 */
#ifndef KMM_ARCH_TOPOLOGY_TABLES_H
#define KMM_ARCH_TOPOLOGY_TABLES_H

#include "arch/topology.h"

struct hwloc_topology;

struct topology {
	struct hwloc_topology *hw; /* NULL: not from hwloc */
	bool emulated;
	char description[512];
	unsigned int nr_nodes, nr_cpus;
	struct topology_node nodes[KMM_MAX_NODES];
	struct topology_cpu cpus[KMM_MAX_CPUS];
	u16 distance[KMM_MAX_NODES][KMM_MAX_NODES];
};

#endif

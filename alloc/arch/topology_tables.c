/* SPDX-License-Identifier: MIT */
/* Reading a topology's tables, whoever loaded them. */
#include "arch/topology_tables.h"

bool topology_emulated(const struct topology *topo)
{
	return topo->emulated;
}

unsigned int topology_nr_nodes(const struct topology *topo)
{
	return topo->nr_nodes;
}

unsigned int topology_nr_cpus(const struct topology *topo)
{
	return topo->nr_cpus;
}

const struct topology_node *topology_node(const struct topology *topo, int nid)
{
	return &topo->nodes[nid];
}

const struct topology_cpu *topology_cpu(const struct topology *topo, unsigned int cpu)
{
	return &topo->cpus[cpu];
}

unsigned int topology_distance(const struct topology *topo, int from, int to)
{
	return topo->distance[from][to];
}

int topology_cpu_of_os(const struct topology *topo, int os_index)
{
	if (os_index < 0)
		return -1;
	if (topo->emulated)
		return os_index % (int)topo->nr_cpus;
	for (unsigned int cpu = 0; cpu < topo->nr_cpus; cpu++)
		if (topo->cpus[cpu].os_index == os_index)
			return (int)cpu;
	return -1;
}

const char *topology_description(const struct topology *topo)
{
	return topo->description;
}

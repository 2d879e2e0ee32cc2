/* SPDX-License-Identifier: MIT */
/*
 * Threads onto CPUs and memory onto nodes. On this host through hwloc; an emulated topology's CPUs
 * are laid over those of the host, and its nodes over nothing.
 *
 * A thread may have pinned itself before it loads a topology, so the CPUs that count are those that
 * the process was allowed when it started, before any code of its own ran. No locks.
 */
#include "arch/topology_impl.h"

#include <errno.h>

#include "base/types.h"

static struct host_cpus at_start; /* constant once main runs */

__attribute__((constructor)) static void note_host_cpus(void)
{
	int nr;

	/* The kernel wants room for all the CPUs it could ever have, so this is more than
	 * cpu_set_t. */
	if (sched_getaffinity(0, sizeof(at_start.mask), at_start.mask))
		return;
	nr = CPU_COUNT_S(sizeof(at_start.mask), at_start.mask);
	at_start.nr = nr;
}

const struct host_cpus *host_cpus(void)
{
	return &at_start;
}

/* The host CPU that logical CPU `cpu` of an emulated topology lies on. */
static int emulated_on(unsigned int cpu)
{
	int left = (int)(cpu % (unsigned int)at_start.nr);

	for (int os = 0; os < MAX_HOST_CPUS; os++)
		if (CPU_ISSET_S(os, sizeof(at_start.mask), at_start.mask) && left-- == 0)
			return os;
	return 0;
}

int topology_bind_thread(const struct topology *topo, unsigned int cpu)
{
	cpu_set_t mask[MAX_HOST_CPUS / CPU_SETSIZE];
	hwloc_obj_t pu;

	if (cpu >= topo->nr_cpus)
		return -EINVAL;
	if (!topo->emulated) {
		pu = hwloc_get_obj_by_type(topo->hw, HWLOC_OBJ_PU, cpu);
		return hwloc_set_cpubind(topo->hw, pu->cpuset, HWLOC_CPUBIND_THREAD) ? -errno : 0;
	}
	if (!at_start.nr)
		return -ENOSYS;
	CPU_ZERO_S(sizeof(mask), mask);
	CPU_SET_S(emulated_on(cpu), sizeof(mask), mask);
	return sched_setaffinity(0, sizeof(mask), mask) ? -errno : 1;
}

int topology_unbind_thread(const struct topology *topo)
{
	(void)topo;
	if (!at_start.nr)
		return -ENOSYS;
	return sched_setaffinity(0, sizeof(at_start.mask), at_start.mask) ? -errno : 0;
}

int topology_bind_memory(const struct topology *topo, void *addr, size_t size, int nid)
{
	hwloc_obj_t node;

	if (nid < 0 || (unsigned int)nid >= topo->nr_nodes)
		return -EINVAL;
	if (topo->emulated || topo->nr_nodes == 1)
		return 1;
	node = topology_node_obj(topo, (unsigned int)nid);
	if (!hwloc_set_area_membind(topo->hw, addr, size, node->nodeset, HWLOC_MEMBIND_BIND,
				    HWLOC_MEMBIND_BYNODESET))
		return 0;
	/* Containers refuse the call, kernels without NUMA do not have it: the memory is good, only
	 * not placed. */
	return errno == EPERM || errno == ENOSYS ? 1 : -errno;
}

int topology_memory_node(const struct topology *topo, const void *addr)
{
	hwloc_bitmap_t set;
	int nid = NUMA_NO_NODE;

	if (topo->emulated)
		return NUMA_NO_NODE;
	set = hwloc_bitmap_alloc();
	if (!set)
		return NUMA_NO_NODE;
	if (!hwloc_get_area_memlocation(topo->hw, addr, 1, set, HWLOC_MEMBIND_BYNODESET) &&
	    hwloc_bitmap_weight(set) == 1) {
		for (unsigned int i = 0; i < topo->nr_nodes; i++)
			if (topo->nodes[i].os_index == hwloc_bitmap_first(set))
				nid = (int)i;
	}
	hwloc_bitmap_free(set);
	return nid;
}

/* SPDX-License-Identifier: MIT */
/* What the files share that know a topology through hwloc. */
#ifndef KMM_ARCH_TOPOLOGY_IMPL_H
#define KMM_ARCH_TOPOLOGY_IMPL_H

#include <hwloc.h>
#include <sched.h>

#include "arch/topology_tables.h"

/* The CPUs that the process was allowed when it started, as the OS numbers them. */
#define MAX_HOST_CPUS (8 * CPU_SETSIZE)
struct host_cpus {
	cpu_set_t mask[MAX_HOST_CPUS / CPU_SETSIZE];
	int nr; /* bits set; 0: the host would not say */
};
const struct host_cpus *host_cpus(void);

static inline hwloc_obj_t topology_node_obj(const struct topology *topo, unsigned int nid)
{
	return hwloc_get_obj_by_type(topo->hw, HWLOC_OBJ_NUMANODE, nid);
}

#endif

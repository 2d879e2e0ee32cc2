/* SPDX-License-Identifier: MIT */
/* The counters of NUMASTAT under the names that the kernel's vmstat and zoneinfo give them. Private
 * to alloc/report. */
#ifndef KMM_REPORT_NUMA_H
#define KMM_REPORT_NUMA_H

#include "phys/mempolicy.h"

/* EVENT(name in the text, name in struct numastat) */
#define NUMA_EVENTS(EVENT)                                                                         \
	EVENT("numa_hit", numa_hit)                                                                \
	EVENT("numa_miss", numa_miss)                                                              \
	EVENT("numa_foreign", numa_foreign)                                                        \
	EVENT("numa_interleave", interleave_hit)                                                   \
	EVENT("numa_local", local_node)                                                            \
	EVENT("numa_other", other_node)

#endif

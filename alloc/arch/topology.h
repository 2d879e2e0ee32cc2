/* SPDX-License-Identifier: MIT */
/*
 * The machine's CPUs and NUMA nodes, through hwloc: this host, a synthetic string, or an XML file.
 *
 * CPUs and nodes are numbered as hwloc orders them (logical index), from 0 without holes; os_index
 * is the operating system's number. A node may have no CPUs. A topology that is not of this host is
 * emulated: its CPUs are mapped onto the host's round robin when threads are pinned, its nodes'
 * memory is bound nowhere. Constant once made; any thread may read it.
 */
#ifndef KMM_ARCH_TOPOLOGY_H
#define KMM_ARCH_TOPOLOGY_H

#include <stdio.h>

#include "base/compiler.h"
#include "base/types.h"

KMM_BEGIN_DECLS

struct topology_node {
	int os_index;
	u64 memory_bytes;     /* as hwloc says; 0 unknown */
	unsigned int nr_cpus; /* CPUs whose nearest memory this is; 0: a memory-only node */
};

struct topology_cpu {
	int os_index;
	int nid; /* nearest node by distance, the one that hwloc lists the CPU under */
};

struct topology; /* holds the hwloc handle; opaque */

/*
 * Load. At most one of synthetic and xml is not NULL; neither means this host. On an error *out is
 * NULL and error (of error_size bytes) holds one line that says what is wrong with what. A
 * synthetic topology gets distances of 10 (same), 20 (same package) and 30 unless it brings its
 * own. -EINVAL for a string or file hwloc does not take, -ENOENT / -EACCES for the file, -E2BIG
 * beyond KMM_MAX_NODES or KMM_MAX_CPUS.
 */
KMM_API int topology_load(const char *synthetic, const char *xml, struct topology **out,
			  char *error, size_t error_size);
KMM_API void topology_free(struct topology *topo);

KMM_API bool topology_emulated(const struct topology *topo);
KMM_API unsigned int topology_nr_nodes(const struct topology *topo);
KMM_API unsigned int topology_nr_cpus(const struct topology *topo);
KMM_API const struct topology_node *topology_node(const struct topology *topo, int nid);
KMM_API const struct topology_cpu *topology_cpu(const struct topology *topo, unsigned int cpu);
/* The relative cost of node `to` seen from `from`, as in the ACPI SLIT: 10 is local. */
KMM_API unsigned int topology_distance(const struct topology *topo, int from, int to);
/* The logical CPU with this OS number; -1 if none. On an emulated topology: os_index modulo the
 * CPUs. */
KMM_API int topology_cpu_of_os(const struct topology *topo, int os_index);

/* Pin the calling thread to a logical CPU. 0; -ENOSYS or another errno where the host cannot. On an
 * emulated topology: pins to host CPU cpu modulo the host's, and returns 1. */
KMM_API int topology_bind_thread(const struct topology *topo, unsigned int cpu);
KMM_API int topology_unbind_thread(const struct topology *topo);
/* Bind a range to one node before it is touched. 0; 1 if there was nothing to do (one node) or
 * nothing done (emulated, or the host does not allow it); -errno. */
KMM_API int topology_bind_memory(const struct topology *topo, void *addr, size_t size, int nid);
/* The node that backs the page at addr, asked of the OS; NUMA_NO_NODE if untouched or unknown. */
KMM_API int topology_memory_node(const struct topology *topo, const void *addr);

/* For people: packages, nodes with memory and CPUs, distances. And hwloc's own XML. 0 or -errno. */
KMM_API int topology_print(const struct topology *topo, FILE *out);
KMM_API int topology_print_xml(const struct topology *topo, FILE *out);
/* One line, for results: "synthetic: pack:2 ...", "xml: file", or hwloc's synthetic export of this
 * host. */
KMM_API const char *topology_description(const struct topology *topo);

KMM_END_DECLS
#endif

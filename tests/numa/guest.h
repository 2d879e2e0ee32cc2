/* SPDX-License-Identifier: MIT */
/*
 * What the kernel says, for tests on a machine that has nodes: where a page is, which CPUs a node has, how
 * far it is, what it counted. Nodes go by kmm's numbers; what cannot be read stops the test.
 */
#ifndef TESTS_NUMA_GUEST_H
#define TESTS_NUMA_GUEST_H

#include "kmm.h"
#include "tests/tap/tap.h"

#define MAX_NODES 8 /* of the machine that check-numa boots, and some */

/* The kernel's node of each page that is touched, -1 of one that is not or that is unknown. */
void ask_nodes(const struct topology *topo, void *const *pages, size_t nr, int *nids);
int ask_node(const struct topology *topo, const void *page);

/* Complain about each page that the kernel has elsewhere than on nid, in words; returns how many. */
size_t check_pages_on(const struct topology *topo, void *const *pages, size_t nr, int nid,
		      const char *what);

/* The text of a file in a node's folder of sysfs, until the next call. */
const char *node_file(const struct topology *topo, int nid, const char *name);
/* The kernel's own counters of a node. */
void kernel_numastat(const struct topology *topo, int nid, struct numastat *stat);

struct kmm *boot_machine(const struct kmm_config *config);
/* Pin the calling thread to the CPU and attach it there. */
void move_to_cpu(struct kmm *machine, unsigned int cpu);
/* The first CPU of a node; -1: it has none. */
int first_cpu(const struct topology *topo, int nid);
/* End it: nothing may have leaked. */
void shut_down(struct kmm *machine);

#endif

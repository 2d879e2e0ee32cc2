/* SPDX-License-Identifier: MIT */
/*
 * NUMA: from which nodes a thread's pages come, and where they came from.
 *
 * A policy is the thread's: it lives in the thread's CPU slot and ends with the attachment. It
 * holds for the calls that name no node (alloc_pages, __get_free_pages, alloc_pages_node with
 * NUMA_NO_NODE); those that name one, and __GFP_THISNODE, do as they say whatever the policy is.
 * Slab's objects have lists of their own for each node, and follow none.
 *
 * A policy that this CPU's page lists cannot serve (another node's pages, or all nodes' in turn)
 * sends every allocation the slow way; none costs the fast path anything.
 *
 * After mm/mempolicy.c (6.1). It differs in refusing masks with nodes that the machine has not.
 */
#ifndef KMM_PHYS_MEMPOLICY_H
#define KMM_PHYS_MEMPOLICY_H

#include "base/compiler.h"
#include "base/types.h"

KMM_BEGIN_DECLS

enum mempolicy_mode {
	/* The node of this CPU, then the nearest that has a page. The two are the same. */
	KMM_MPOL_DEFAULT,
	KMM_MPOL_LOCAL,
	/*
	 * The nodes of the mask and no others, the nearest first. As in the kernel this holds for
	 * the machine's highest zone type alone (low memory may be on other nodes only), and ends
	 * where the reserves begin that __GFP_ATOMIC and __GFP_MEMALLOC may use.
	 */
	KMM_MPOL_BIND,
	/* The lowest node of the mask, then the nearest to it. An empty mask: as local. */
	KMM_MPOL_PREFERRED,
	/* The nodes of the mask in turn, a block each; the nearest to the one whose turn it is when
	 * that has none. */
	KMM_MPOL_INTERLEAVE,
	KMM_NR_MPOLS,
};

/*
 * Set the calling thread's policy (attaching the thread if it is not). nodemask has bit i for node
 * i; 0 for default and local. Returns 0; -EINVAL for an unknown mode, a mask where there must be
 * none or none where there must be one, and nodes that the machine has not.
 */
KMM_API int kmm_set_mempolicy(enum mempolicy_mode mode, u64 nodemask);

/* The calling thread's policy, as kmm_set_mempolicy takes it; a preferred mask has one node. */
KMM_API void kmm_get_mempolicy(enum mempolicy_mode *mode, u64 *nodemask);

/* The kernel's numastat of a node in sysfs, in blocks (of whatever order) since boot.
 * One list makes the struct and the text. */
#define NUMASTAT(X)                                                                                \
	X(numa_hit)	  /* from this node, as intended */                                        \
	X(numa_miss)	  /* from this node, though another was preferred */                       \
	X(numa_foreign)	  /* from another node, though this was preferred */                       \
	X(interleave_hit) /* from this node, whose turn it was */                                  \
	X(local_node)	  /* from this node, by a CPU of it */                                     \
	X(other_node)	  /* from this node, by a CPU of another */
struct numastat {
#define X(name) u64 name;
	NUMASTAT(X)
#undef X
};

/* Those of node nid, summed over CPU slots; a little behind other threads. Takes no lock. */
KMM_API void phys_numastat(struct kmm *machine, int nid, struct numastat *sum);

KMM_END_DECLS
#endif

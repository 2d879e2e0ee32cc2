/* SPDX-License-Identifier: MIT */
/*
 * jemalloc on a chosen NUMA node: one arena a node, whose extent hooks are jemalloc's own with the
 * memory bound through hwloc before it is touched; and a thread cache of its own for each thread
 * and node.
 *
 * Interleaved allocations go without a thread cache: a cache does not know its objects' nodes
 * apart.
 */
#ifndef KMM_BENCH_SUITES_ARENA_H
#define KMM_BENCH_SUITES_ARENA_H

#include "bench/suites/common.h"

/* Whether the peer is a jemalloc, and so can have arenas: the first that had a table of arenas, since
 * there is one set of these. */
bool arena_possible(const struct object_peer *peer);
/* A table of such a peer that allocates remotely or interleaved. It may be asked for again. */
const struct object_peer *arena_table(const struct object_peer *peer, enum placement place);

/* In each thread of a case, once pinned: find this case's arenas, nothing if its table is not one
 * of ours. nid is the wanted node. NULL or an error line. */
const char *arena_thread_begin(struct bench_case *c, int nid);
void arena_thread_end(struct bench_case *c);

/* Bytes of each node's arenas that were bound so far, for tests. */
uint64_t arena_bound_bytes(int nid);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The paths that kmm's allocators take, as paths.csv names them: one list, from which the names and
 * the places of the counters are made. phys/... and slab/... are the counters of those layers; the
 * last three are derived from what the locks count.
 */
#ifndef KMM_BENCH_PATHS_H
#define KMM_BENCH_PATHS_H

#include "kmm.h"

#define PATHS(PATH)                                                                                \
	PHYS_COUNTERS(PATH##_PHYS)                                                                 \
	SLAB_COUNTERS(PATH##_SLAB)                                                                 \
	PATH(lock_acquired)  /* locks taken, of all names together */                              \
	PATH(lock_contended) /* of these, held by another thread on arrival */                     \
	PATH(atomics)	     /* atomic read-modify-writes, at least */

enum path {
#define PATH_INDEX(name)      PATH_##name,
#define PATH_INDEX_PHYS(name) PATH_phys_##name,
#define PATH_INDEX_SLAB(name) PATH_slab_##name,
	PATHS(PATH_INDEX)
#undef PATH_INDEX
#undef PATH_INDEX_PHYS
#undef PATH_INDEX_SLAB
		NR_PATHS
};

extern const char *const path_names[NR_PATHS];

struct path_counts {
	u64 count[NR_PATHS];
};

/* Counters of the layers as they stand, and under atomics those that no lock does. Takes the locks
 * that phys_count and slab_count take. */
void paths_read(struct kmm *machine, struct path_counts *counts);

/* What was counted from one reading to the next. */
void paths_between(const struct path_counts *before, const struct path_counts *after,
		   struct path_counts *counts);

/* Add what locks of one kind counted in between. */
void paths_add_locks(struct path_counts *counts, enum lock_kind kind,
		     const struct lock_stats *stats);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Paths taken and atomics done; see paths.h.
 *
 * kmm's allocators do atomic read-modify-writes in three places: their locks (lock_atomics says how
 * many an acquisition and its release come to), an object that passes a cache's magazines by (its
 * counter), and page tables that are freed (their generation). References and flags of pages are
 * atomic too, but no case takes more than the one reference that a block comes with, which costs
 * none. So the sum of the three is all, but for tries in vain under contention.
 */
#include "bench/paths.h"

#include <string.h>

const char *const path_names[NR_PATHS] = {
#define PATH_NAME(name)	     #name,
#define PATH_NAME_PHYS(name) "phys/" #name,
#define PATH_NAME_SLAB(name) "slab/" #name,
	PATHS(PATH_NAME)
#undef PATH_NAME
#undef PATH_NAME_PHYS
#undef PATH_NAME_SLAB
};

void paths_read(struct kmm *machine, struct path_counts *counts)
{
	struct phys_counters phys;
	struct slab_counters slab;

	memset(counts, 0, sizeof(*counts));
	phys_count(machine, &phys);
	slab_count(machine, &slab);
#define X(name) counts->count[PATH_phys_##name] = phys.name;
	PHYS_COUNTERS(X)
#undef X
#define X(name) counts->count[PATH_slab_##name] = slab.name;
	SLAB_COUNTERS(X)
#undef X
	counts->count[PATH_atomics] =
		slab.alloc_direct + slab.free_direct + READ_ONCE(kernel_pgtable(machine)->free_gen);
}

/* Sums over CPUs that still run may seem to shrink by what was just being counted. */
void paths_between(const struct path_counts *before, const struct path_counts *after,
		   struct path_counts *counts)
{
	for (int path = 0; path < NR_PATHS; path++)
		counts->count[path] = after->count[path] > before->count[path]
					      ? after->count[path] - before->count[path]
					      : 0;
}

void paths_add_locks(struct path_counts *counts, enum lock_kind kind,
		     const struct lock_stats *stats)
{
	counts->count[PATH_lock_acquired] += stats->acquired;
	counts->count[PATH_lock_contended] += stats->contended;
	counts->count[PATH_atomics] += lock_atomics(kind, stats);
}

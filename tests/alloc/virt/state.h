/* SPDX-License-Identifier: MIT */
/* All that a failed vmalloc or vmap could leave behind, with everything that is cached given back. */
#ifndef TESTS_VIRT_STATE_H
#define TESTS_VIRT_STATE_H

#include "machine.h"
#include "virt/virt.h"

struct state {
	u64 nr_free, nr_tables, nr_mapped, nr_mappings, nr_areas;
};

static inline void count_area(const struct vm_area_info *info, void *arg)
{
	(void)info;
	++*(u64 *)arg;
}

static inline struct state state_now(struct kmm *machine)
{
	struct virt *virt = machine->virt;
	struct free_area_counts counts;
	struct state state = {0};

	kmm_drain(machine);
	vmalloc_validate(machine);
	phys_validate(machine);
	count_free_areas(machine, NUMA_NO_NODE, &counts);
	state.nr_free = counts.nr_buddy_pages + counts.nr_pcp_pages;
	state.nr_tables = virt->kernel->nr_tables;
	state.nr_mapped = virt->kernel->nr_mapped;
	state.nr_mappings = virt->nr_mappings;
	vmalloc_for_each(machine, count_area, &state.nr_areas);
	vmalloc_for_each_lazy(machine, count_area, &state.nr_areas);
	return state;
}

/* what: of the test, for its messages. */
static inline void check_state(struct kmm *machine, const struct state *before, const char *what)
{
	struct state now = state_now(machine);

	/* Free slabs of the area structs may be kept, then and now: a few pages. */
	ok(now.nr_free <= before->nr_free + 8 && now.nr_free + 8 >= before->nr_free,
	   "%s: %lu pages free, were %lu", what, now.nr_free, before->nr_free);
	ok(now.nr_tables == before->nr_tables && now.nr_mapped == before->nr_mapped &&
		   now.nr_mappings == before->nr_mappings && now.nr_areas == before->nr_areas,
	   "%s: %lu tables, %lu pages mapped, %lu mappings, %lu areas; were %lu, %lu, %lu, %lu",
	   what, now.nr_tables, now.nr_mapped, now.nr_mappings, now.nr_areas, before->nr_tables,
	   before->nr_mapped, before->nr_mappings, before->nr_areas);
}

#endif

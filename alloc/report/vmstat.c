/* SPDX-License-Identifier: MIT */
/*
 * Counters of the whole machine, a line each, as /proc/vmstat has them: the kernel's names
 * (mm/vmstat.c, 6.1) in the kernel's order for what kmm counts, then kmm's own, which say how often
 * each path of the page allocator (kmm_phys_...), of the slabs (kmm_slab_...) and of vmalloc
 * (kmm_vmalloc_..., of which lazy_pages is what freed areas have mapped now) was taken; and how many
 * free frames have no memory behind them (kmm_nr_released_pages).
 *
 * pgalloc_shared is of kmm's own zone. allocstall is one counter, as it was before 4.10, not one
 * for each zone. pgfree follows from what was allocated and what is not free.
 */
#include <errno.h>

#include "arch/topology.h"
#include "base/machine.h"
#include "phys/page_alloc.h"
#include "phys/phys.h"
#include "report/numa.h"
#include "report/report.h"
#include "slab/slab.h"
#include "virt/vmalloc.h"

static void print(FILE *out, const char *name, u64 value)
{
	fprintf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void add_free(const struct phys_zone_info *zone, void *sum)
{
	*(u64 *)sum += zone->nr_free;
}

static void note_type(const struct phys_zone_info *zone, void *populated)
{
	((bool *)populated)[zone->type] = true;
}

static void add_released(const struct phys_zone_info *zone, void *sum)
{
	*(u64 *)sum += zone->nr_released;
}

static void print_traffic(struct kmm *machine, FILE *out)
{
	static const char *const names[NR_ZONE_TYPES] = {
		[ZONE_DMA] = "pgalloc_dma",	  [ZONE_DMA32] = "pgalloc_dma32",
		[ZONE_NORMAL] = "pgalloc_normal", [ZONE_HIGHMEM] = "pgalloc_high",
		[ZONE_SHARED] = "pgalloc_shared",
	};
	bool populated[NR_ZONE_TYPES] = {false};
	struct phys_traffic traffic;
	struct phys_counters paths;

	phys_for_each_zone(machine, note_type, populated);
	phys_count_traffic(machine, &traffic);
	phys_count(machine, &paths);
	for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++)
		if (populated[type])
			print(out, names[type], traffic.nr_alloc[type]);
	print(out, "allocstall", paths.stall);
	print(out, "pgfree", traffic.nr_free);
}

static void print_numa(struct kmm *machine, FILE *out)
{
	struct numastat sum = {0}, stat;

	for (int nid = 0; nid < (int)topology_nr_nodes(machine->topology); nid++) {
		phys_numastat(machine, nid, &stat);
#define X(name) sum.name += stat.name;
		NUMASTAT(X)
#undef X
	}
#define EVENT(text, name) print(out, text, sum.name);
	NUMA_EVENTS(EVENT)
#undef EVENT
}

static void print_paths(struct kmm *machine, FILE *out)
{
	struct phys_counters phys;
	struct slab_counters slab;
	struct vmalloc_counters vmalloc;

	phys_count(machine, &phys);
	slab_count(machine, &slab);
#define X(name) print(out, "kmm_phys_" #name, phys.name);
	PHYS_COUNTERS(X)
#undef X
#define X(name) print(out, "kmm_slab_" #name, slab.name);
	SLAB_COUNTERS(X)
#undef X
	vmalloc_count(machine, &vmalloc);
#define X(name) print(out, "kmm_vmalloc_" #name, vmalloc.name);
	VMALLOC_COUNTERS(X)
#undef X
}

int show_vmstat(struct kmm *machine, FILE *out)
{
	struct phys_use use;
	u64 nr_free = 0, nr_released = 0;

	phys_for_each_zone(machine, add_free, &nr_free);
	phys_count_use(machine, NUMA_NO_NODE, &use);
	print(out, "nr_free_pages", nr_free);
	print_numa(machine, out);
	print(out, "nr_slab_unreclaimable", use.nr_slab);
	print(out, "nr_page_table_pages", use.nr_table);
	print_traffic(machine, out);
	print_paths(machine, out);
	phys_for_each_zone(machine, add_released, &nr_released);
	print(out, "kmm_nr_released_pages", nr_released);
	return ferror(out) ? -EIO : 0;
}

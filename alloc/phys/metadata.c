/* SPDX-License-Identifier: MIT */
/*
 * What the page allocator's own data cost. mem_map is by far the most of it: 64 bytes a frame are
 * 1.56 % of memory, so that all else together has to be content with little if the whole is to stay
 * below 1.7 %.
 *
 * The host is asked which pages of a range have memory behind them: most of a slot's stacks are
 * never touched, and of mem_map and the pageblocks only what is used of memory. What comes from the
 * C library's heap counts whole.
 */
#include "arch/host.h"
#include "phys/mem_map.h"
#include "phys/page_alloc.h"
#include "phys/pcp.h"
#include "phys/zone.h"

static u64 zone_data_bytes(const struct phys *phys)
{
	const u64 nr_zones = (u64)phys->nr_nodes * NR_ZONE_TYPES;
	u64 areas = 0;

	for_each_zone(phys, node, zone)
		areas += NR_MIGRATETYPES * sizeof(*zone->buddy.area);
	return areas + sizeof(*phys) + phys->nr_nodes * sizeof(*phys->nodes) +
	       nr_zones * (nr_zones + 1) * sizeof(*phys->zonelists);
}

void phys_metadata(struct kmm *machine, struct phys_metadata *metadata)
{
	const struct phys *phys = machine->phys;

	*metadata = (struct phys_metadata){
		.mem_map_bytes = host_resident_bytes(machine->mem_map,
						     phys->nr_frames * sizeof(struct page)),
		.zones_bytes = zone_data_bytes(phys),
		.memory_bytes = (u64)phys->nr_frames << PAGE_SHIFT,
		.most_bytes = phys->nr_frames * sizeof(struct page),
	};
	for (const struct pglist_data *node = phys->nodes; node < phys->nodes + phys->nr_nodes;
	     node++) {
		metadata->pageblocks_bytes +=
			host_resident_bytes(node->pageblocks, pageblocks_bytes(node));
		metadata->most_bytes += pageblocks_bytes(node);
	}
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
		metadata->percpu_bytes +=
			host_resident_bytes(phys_cpu(cpu), sizeof(struct phys_cpu));
#define X(name, text) metadata->total_bytes += metadata->name##_bytes;
	PHYS_METADATA(X)
#undef X
	metadata->most_bytes += metadata->zones_bytes + metadata->percpu_bytes;
}

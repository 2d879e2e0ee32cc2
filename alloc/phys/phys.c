/* SPDX-License-Identifier: MIT */
/*
 * The layer phys: boot and end of a machine's memory, in the kernel's order.
 *
 *	node sizes -> memblock -> zones -> direct map -> mem_map -> zonelists -> buddy
 *
 * At shutdown every frame that is neither free, nor reserved by boot, nor on a per-CPU list has
 * leaked.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/topology.h"
#include "base/check.h"
#include "base/machine.h"
#include "base/text.h"
#include "phys/alloc.h"
#include "phys/mem_map.h"
#include "phys/pcp.h"
#include "phys/phys.h"
#include "phys/watermark.h"
#include "phys/zone.h"

static unsigned int node_distance(const void *topology, int from, int to)
{
	return topology_distance(topology, from, to);
}

/* Bytes of one node; boot has filled in the configuration, where 0 stands for the topology's own
 * sizes. */
static u64 node_bytes(const struct kmm *machine, int nid)
{
	u64 bytes = machine->config.node_bytes;

	if (!bytes)
		bytes = topology_node(machine->topology, nid)->memory_bytes;
	return ALIGN_DOWN(bytes, PAGE_SIZE << MAX_PAGE_ORDER);
}

static int create_nodes(struct phys *phys, struct memblock *mb)
{
	const struct kmm *machine = phys->machine;
	unsigned int nr_nodes = topology_nr_nodes(machine->topology);

	phys->nodes = aligned_alloc(CACHELINE_SIZE, nr_nodes * sizeof(*phys->nodes));
	if (!phys->nodes)
		return -ENOMEM; /* with no nodes to walk over when phys is taken down */
	phys->nr_nodes = nr_nodes;
	memset(phys->nodes, 0, nr_nodes * sizeof(*phys->nodes));
	for (unsigned int i = 0; i < phys->nr_nodes; i++) {
		struct pglist_data *node = &phys->nodes[i];
		u64 bytes = node_bytes(machine, (int)i);
		int err;

		node->nid = (int)i;
		node->nr_cpus = topology_node(machine->topology, node->nid)->nr_cpus;
		node->start_pfn = phys->nr_frames;
		node->end_pfn = node->start_pfn + (bytes >> PAGE_SHIFT);
		err = memblock_add_node(mb, (u64)node->start_pfn << PAGE_SHIFT, bytes, node->nid);
		if (err)
			return boot_refuse(err, "phys: node %u: %llu bytes are too few", i,
					   (unsigned long long)bytes);
		phys->nr_frames = node->end_pfn;
	}
	return 0;
}

static int create_zones(struct phys *phys)
{
	const struct kmm_config *config = &phys->machine->config;
	int err = zones_lay_out(phys->nodes, phys->nr_nodes, config->layout, config->shared_bytes);

	if (err)
		return boot_refuse(
			err,
			"phys: nodes of %lu MiB cannot have a Shared zone of %llu MiB, or are no "
			"multiple of 4 MiB",
			(phys->nodes[0].end_pfn - phys->nodes[0].start_pfn) >> (20 - PAGE_SHIFT),
			(unsigned long long)config->shared_bytes >> 20);
	for_each_zone(phys, node, zone) {
		struct text name = text_begin(zone->lock_name, sizeof(zone->lock_name));

		text_add(&name, "zone ");
		text_add(&name, zone->name);
		text_add(&name, " node ");
		text_add_number(&name, (unsigned long)zone->nid);
		err = lock_init(&zone->lock, zone->lock_name, RANK_ZONE, config->lock_kind);
		if (err)
			return err;
		zone->buddy.area = calloc(NR_MIGRATETYPES, sizeof(*zone->buddy.area));
		if (!zone->buddy.area)
			return -ENOMEM;
	}
	return 0;
}

/* Free boot memory of a zone from frame *at on, which is advanced; false if there is no more. */
static bool next_free(const struct memblock *mb, const struct zone *zone, unsigned long *at,
		      unsigned long *start, unsigned long *end)
{
	u64 from = (u64)*at << PAGE_SHIFT, base, top;
	int nid;

	if (!memblock_next_free(mb, &from, &base, &top, &nid) ||
	    base >> PAGE_SHIFT >= zone->end_pfn)
		return false;
	*start = base >> PAGE_SHIFT;
	*at = *end = min_t(unsigned long, top >> PAGE_SHIFT, zone->end_pfn);
	return true;
}

/* The longest range of whole 4 MiB that is free; an empty one if there is none. */
static void find_fresh(const struct memblock *mb, const struct zone *zone,
		       unsigned long *fresh_start, unsigned long *fresh_end)
{
	unsigned long at = zone->start_pfn, start, end;

	*fresh_start = *fresh_end = zone->start_pfn;
	while (next_free(mb, zone, &at, &start, &end)) {
		start = ALIGN_UP(start, MAX_ORDER_NR_PAGES);
		end = ALIGN_DOWN(end, MAX_ORDER_NR_PAGES);
		if (end > start && end - start > *fresh_end - *fresh_start) {
			*fresh_start = start;
			*fresh_end = end;
		}
	}
}

static void add_free(struct zone *zone, unsigned long start, unsigned long end)
{
	if (start >= end)
		return;
	buddy_add_range(&zone->buddy, start, end);
	buddy_set_released(&zone->buddy, start, end);
}

/* The end of boot memory: what of each zone boot did not keep goes to the buddy. */
static void release_boot_memory(struct phys *phys, const struct memblock *mb)
{
	for_each_zone(phys, node, zone) {
		unsigned long at = zone->start_pfn, start, end, fresh_start, fresh_end;

		find_fresh(mb, zone, &fresh_start, &fresh_end);
		buddy_init(&zone->buddy, phys->machine->mem_map,
			   node->pageblocks +
				   ((zone->start_pfn - node->start_pfn) >> PAGEBLOCK_ORDER),
			   zone->start_pfn, zone->end_pfn, fresh_start, fresh_end);
		zone->buddy.huge = !phys->machine->config.no_thp && !zone->memfd_backed;
		while (next_free(mb, zone, &at, &start, &end)) {
			add_free(zone, start, min_t(unsigned long, end, fresh_start));
			add_free(zone, max_t(unsigned long, start, fresh_end), end);
		}
		zone->nr_managed = zone->buddy.nr_pages;
		if (zone->type != ZONE_SHARED)
			phys->policy_zone = max_t(enum zone_type, phys->policy_zone, zone->type);
		zone->buddy.nr_merge = 0;
	}
}

static int set_up_watermarks(struct phys *phys)
{
	struct kmm_config *config = &phys->machine->config;
	int err = watermarks_set_up(phys->nodes, phys->nr_nodes, config);

	if (err)
		return boot_refuse(err,
				   "min_free_kbytes: %lu is more than half of the memory below "
				   "HighMem",
				   config->min_free_kbytes);
	return 0;
}

static void phys_release(struct phys *phys)
{
	struct kmm *machine = phys->machine;

	highmem_release(phys);
	memory_release(phys);
	if (phys->nodes)
		for_each_zone(phys, node, zone) {
			if (zone->lock.name)
				lock_destroy(&zone->lock);
			free(zone->buddy.area);
		}
	if (phys->release_lock.name)
		lock_destroy(&phys->release_lock);
	/* Not zeroed: phys boots before there are slots, and after its shutdown they are given
	 * back. */
	if (phys->percpu_offset)
		percpu_free(machine, phys->percpu_offset, sizeof(struct phys_cpu));
	free(phys->zonelists);
	free(phys->nodes);
	free(phys);
	machine->phys = NULL;
	machine->nr_frames = 0;
}

static int boot_memory(struct phys *phys, struct memblock *mb)
{
	struct kmm *machine = phys->machine;
	int err = create_nodes(phys, mb);

	if (!err)
		err = lock_init(&phys->release_lock, "memory release", RANK_RELEASE,
				machine->config.lock_kind);
	if (!err)
		err = create_zones(phys);
	if (!err)
		err = memory_map(phys);
	if (!err)
		err = mem_map_create(phys, mb);
	if (!err)
		err = zonelists_build(phys, node_distance, machine->topology);
	if (!err)
		err = highmem_boot(phys);
	if (err)
		return err;
	release_boot_memory(phys, mb);
	err = set_up_watermarks(phys);
	if (err)
		return err;
	machine->nr_frames = phys->nr_frames;
	return 0;
}

static int phys_boot(struct kmm *machine)
{
	struct phys *phys = aligned_alloc(_Alignof(struct phys), sizeof(*phys));
	struct memblock *mb = malloc(sizeof(*mb));
	int err = -ENOMEM;

	if (!phys || !mb)
		goto out;
	memset(phys, 0, sizeof(*phys));
	phys->machine = machine;
	machine->phys = phys;
	memblock_init(mb);
	phys->percpu_offset = percpu_alloc(machine, sizeof(struct phys_cpu), CACHELINE_SIZE);
	if (phys->percpu_offset) {
		KMM_BUG_ON(phys->percpu_offset != PERCPU_PHYS_OFFSET,
			   "phys's part of a slot is at %zu, not %zu", phys->percpu_offset,
			   PERCPU_PHYS_OFFSET);
		err = boot_memory(phys, mb);
	}
	memblock_destroy(mb);
	if (err) {
		phys_release(phys);
		phys = NULL;
	}
out:
	free(mb);
	if (err && phys)
		free(phys);
	return err;
}

void phys_set_reclaim_ops(struct kmm *machine, const struct reclaim_ops *ops)
{
	/* Release: what they work on stays before the store that shows them. */
	__atomic_store_n(&machine->phys->reclaim_ops, ops, __ATOMIC_RELEASE);
}

static void phys_cpu_init(struct kmm *machine, struct kmm_cpu *cpu)
{
	pcp_init(machine->phys, cpu);
}

static void phys_cpu_adopt(struct kmm *machine, struct kmm_cpu *cpu)
{
	mempolicy_reset(machine->phys, cpu);
}

static void phys_cpu_drain(struct kmm *machine, struct kmm_cpu *cpu)
{
	pcp_drain(machine->phys, cpu);
	pcp_close(cpu);
}

static void phys_cpu_forget(struct kmm *machine, struct kmm_cpu *cpu)
{
	(void)machine;
	pcp_forget(cpu);
}

static void phys_shutdown(struct kmm *machine, struct kmm_leaks *leaks)
{
	struct phys *phys = machine->phys;
	unsigned long nr_cached = 0;

	if (KMM_DEBUG)
		phys_validate(machine);
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
		nr_cached += pcp_nr_pages(cpu);
	for_each_zone(phys, node, zone)
		leaks->pages += zone->nr_managed - zone->buddy.nr_pages;
	leaks->pages -= nr_cached;
	leaks->kmaps = highmem_release(phys);
	phys_release(phys);
}

const struct kmm_layer phys_layer = {
	.name = "phys",
	.boot = phys_boot,
	.cpu_init = phys_cpu_init,
	.cpu_adopt = phys_cpu_adopt,
	.cpu_drain = phys_cpu_drain,
	.cpu_forget = phys_cpu_forget,
	.shutdown = phys_shutdown,
};

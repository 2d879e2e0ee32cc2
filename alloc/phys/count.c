/* SPDX-License-Identifier: MIT */
/*
 * What the page allocator holds and has done: counts for reports and results, and the check of
 * everything. Takes each zone's lock in turn; per-CPU figures are read without one, a little behind
 * their owners.
 */
#include <string.h>

#include "base/check.h"
#include "phys/alloc.h"
#include "phys/pcp.h"
#include "phys/phys.h"
#include "phys/zone.h"

void count_free_areas(struct kmm *machine, int nid, struct free_area_counts *counts)
{
	memset(counts, 0, sizeof(*counts));
	for_each_zone(machine->phys, node, zone) {
		if (nid != NUMA_NO_NODE && nid != zone->nid)
			continue;
		lock_acquire(&zone->lock);
		buddy_count(&zone->buddy, NR_MIGRATETYPES, counts->nr_blocks);
		counts->nr_buddy_pages += zone->buddy.nr_pages;
		lock_release(&zone->lock);
		counts->nr_managed_pages += zone->nr_managed;
	}
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
		if (nid == NUMA_NO_NODE || nid == READ_ONCE(phys_cpu(cpu)->nid))
			counts->nr_pcp_pages += pcp_nr_pages(cpu);
}

static void count_slot(const struct phys_cpu *pcpu, struct phys_counters *sum)
{
	u64 allocs = 0, held = 0;

	for_each_pcp_stack(pcpu, row, order)
	{
		allocs += READ_ONCE(pcpu->stack[row][order].allocs);
		held += READ_ONCE(pcpu->stack[row][order].nr);
	}
#define X(name) sum->name += READ_ONCE(pcpu->counters.name);
	PHYS_COUNTERS(X)
#undef X
	sum->pcp_alloc += allocs;
	/* Every block came by a refill or a free, and left by an allocation or a drain, or is still
	 * there. */
	sum->pcp_free += allocs + READ_ONCE(pcpu->blocks_out) + held - READ_ONCE(pcpu->blocks_in);
}

void phys_count(struct kmm *machine, struct phys_counters *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
		count_slot(phys_cpu(cpu), sum);
	for_each_zone(machine->phys, node, zone) {
		lock_acquire(&zone->lock);
#define X(name) sum->name += zone->buddy.nr_##name;
		BUDDY_COUNTERS(X)
#undef X
		lock_release(&zone->lock);
	}
}

static struct lock_stats read_stats(const struct lock *lock)
{
	return (struct lock_stats){
		.acquired = READ_ONCE(lock->stats.acquired),
		.contended = READ_ONCE(lock->stats.contended),
		.wait_cycles = READ_ONCE(lock->stats.wait_cycles),
	};
}

void phys_for_each_lock(struct kmm *machine,
			void (*visit)(const char *name, const struct lock_stats *, void *arg),
			void *arg)
{
	const struct lock *kmap = highmem_lock(machine->phys);
	struct lock_stats stats;

	for_each_zone(machine->phys, node, zone) {
		stats = read_stats(&zone->lock);
		visit(zone->lock_name, &stats, arg);
	}
	stats = read_stats(&machine->phys->release_lock);
	visit(machine->phys->release_lock.name, &stats, arg);
	if (kmap) {
		stats = read_stats(kmap);
		visit(kmap->name, &stats, arg);
	}
}

void phys_for_each_zone(struct kmm *machine,
			void (*visit)(const struct phys_zone_info *, void *arg), void *arg)
{
	for_each_zone(machine->phys, node, zone) {
		struct phys_zone_info info = {
			.name = zone->name,
			.nid = zone->nid,
			.type = zone->type,
			.start_pfn = zone->start_pfn,
			.end_pfn = zone->end_pfn,
			.nr_managed = zone->nr_managed,
			.memfd_backed = zone->memfd_backed,
			.direct_mapped = zone->direct_mapped,
		};

		memcpy(info.watermark, zone->watermark, sizeof(info.watermark));
		memcpy(info.lowmem_reserve, zone->lowmem_reserve, sizeof(info.lowmem_reserve));
		lock_acquire(&zone->lock);
		for (enum migratetype type = 0; type < NR_MIGRATETYPES; type++)
			buddy_count(&zone->buddy, type, info.nr_type_blocks[type]);
		buddy_count_pageblocks(&zone->buddy, info.nr_pageblocks);
		info.nr_free = zone->buddy.nr_pages;
		info.nr_released = zone->buddy.nr_released;
		lock_release(&zone->lock);
		for (enum migratetype type = 0; type < NR_MIGRATETYPES; type++)
			for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++)
				info.nr_blocks[order] += info.nr_type_blocks[type][order];
		visit(&info, arg);
	}
}

/* What is not free has been handed out and not come back: so what came back need not be counted. */
void phys_count_traffic(struct kmm *machine, struct phys_traffic *traffic)
{
	struct free_area_counts free;
	u64 nr_alloc = 0;

	*traffic = (struct phys_traffic){0};
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu)) {
		const struct phys_cpu *pcpu = phys_cpu(cpu);

		for_each_pcp_stack(pcpu, row, order)
		{
			if ((row & PLACE_ZONE_MASK) < NR_ZONE_TYPES)
				traffic->nr_alloc[row & PLACE_ZONE_MASK] +=
					READ_ONCE(pcpu->stack[row][order].allocs) << order;
		}
		for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++)
			traffic->nr_alloc[type] += READ_ONCE(pcpu->direct_pages[type]);
	}
	for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++)
		nr_alloc += traffic->nr_alloc[type];
	count_free_areas(machine, NUMA_NO_NODE, &free);
	nr_alloc += free.nr_buddy_pages + free.nr_pcp_pages;
	/* Of allocations that happen meanwhile only the second half may have been seen. */
	traffic->nr_free = nr_alloc > free.nr_managed_pages ? nr_alloc - free.nr_managed_pages : 0;
}

void phys_for_each_pageset(struct kmm *machine, const struct phys_zone_info *zone,
			   void (*visit)(const struct phys_pageset_info *, void *arg), void *arg)
{
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu)) {
		const struct phys_cpu *pcpu = phys_cpu(cpu);
		struct phys_pageset_info info = {.slot = cpu->slot};

		if (READ_ONCE(pcpu->nid) != zone->nid)
			continue;
		for_each_pcp_stack(pcpu, row, order)
		{
			if ((row & PLACE_ZONE_MASK) != zone->type)
				continue;
			info.nr_pages += (unsigned long)READ_ONCE(pcpu->stack[row][order].nr)
					 << order;
			info.high += (unsigned long)READ_ONCE(pcpu->tune[row][order].limit)
				     << order;
		}
		info.batch = READ_ONCE(pcpu->tune[zone->type][0].batch);
		visit(&info, arg);
	}
}

int pfn_to_nid(const struct kmm *machine, unsigned long pfn)
{
	return pfn_node(machine->phys, pfn)->nid;
}

int page_to_nid(const struct page *page)
{
	return pfn_to_nid(cpu_get()->machine, page_to_pfn(page));
}

static void count_page(const struct page *page, struct phys_use *use)
{
	enum page_type type = READ_ONCE(page->type);

	if (type == PG_TYPE_SLAB)
		use->nr_slab += 1UL << READ_ONCE(page->order);
	else if (type == PG_TYPE_TABLE)
		use->nr_table += 1UL << READ_ONCE(page->order);
}

/* Frames that are free, or boot's, are passed over: what was never used of mem_map stays unread. */
static void count_zone(const struct phys *phys, struct zone *zone, struct phys_use *use)
{
	const struct page *mem_map = phys->machine->mem_map;
	u64 used[PAGEBLOCK_WORDS];

	for (unsigned long pfn = zone->start_pfn; pfn < zone->end_pfn; pfn += PAGEBLOCK_NR_PAGES) {
		bool any;

		lock_acquire(&zone->lock);
		any = buddy_used_frames(&zone->buddy, pfn, used);
		lock_release(&zone->lock);
		if (!any)
			continue;
		for (unsigned int i = 0; i < PAGEBLOCK_NR_PAGES; i++)
			if (used[i / 64] >> i % 64 & 1 && !pfn_is_reserved(phys, pfn + i))
				count_page(mem_map + pfn + i, use);
	}
}

void phys_count_use(struct kmm *machine, int nid, struct phys_use *use)
{
	*use = (struct phys_use){0};
	for_each_zone(machine->phys, node, zone)
		if (nid == NUMA_NO_NODE || nid == zone->nid)
			count_zone(machine->phys, zone, use);
}

/* What boot keeps has not been given out. */
static void validate_reserved(const struct phys *phys, const struct zone *zone)
{
	const struct pglist_data *node = &phys->nodes[zone->nid];
	unsigned long start = max_t(unsigned long, zone->start_pfn, node->reserved_start_pfn);
	unsigned long end = min_t(unsigned long, zone->end_pfn, node->reserved_end_pfn);

	for (unsigned long pfn = start; pfn < end; pfn++)
		KMM_BUG_ON(buddy_is_free(&zone->buddy, pfn, 0) ||
				   READ_ONCE(phys->machine->mem_map[pfn].type) != PG_TYPE_NONE,
			   "%s: frame %lu is boot's, and of type %u or free", zone->lock_name, pfn,
			   phys->machine->mem_map[pfn].type);
}

void phys_validate(struct kmm *machine)
{
	struct phys *phys = machine->phys;
	unsigned long nr_pcp[KMM_MAX_NODES][NR_ZONE_TYPES] = {{0}};

	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
		pcp_validate(phys, cpu, nr_pcp[phys_cpu(cpu)->nid]);
	for_each_zone(phys, node, zone) {
		unsigned long nr_seen;

		lock_acquire(&zone->lock);
		nr_seen = buddy_validate(&zone->buddy, zone->lock_name, zone->nr_managed);
		validate_reserved(phys, zone);
		lock_release(&zone->lock);
		KMM_BUG_ON(nr_seen != nr_pcp[zone->nid][zone->type],
			   "%s: %lu frames say they are in per-CPU lists, %lu are", zone->lock_name,
			   nr_seen, nr_pcp[zone->nid][zone->type]);
	}
}

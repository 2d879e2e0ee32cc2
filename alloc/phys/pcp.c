/* SPDX-License-Identifier: MIT */
/* Per-CPU page lists: tuning, refill and drain. See pcp.h for what they keep true and who may touch
 * them. */
#include "phys/pcp.h"

#include <sched.h>
#include <string.h>

#include "arch/topology.h"
#include "base/check.h"
#include "phys/alloc.h"

static const u16 capacities[NR_PAGE_ORDERS] = {
	PCP_CAPACITY_0,	   PCP_CAPACITY_1,    PCP_CAPACITY_2,	 PCP_CAPACITY_3,
	PCP_CAPACITY_HIGH, PCP_CAPACITY_HIGH, PCP_CAPACITY_HIGH, PCP_CAPACITY_HIGH,
	PCP_CAPACITY_HIGH, PCP_CAPACITY_HIGH, PCP_CAPACITY_HIGH,
};

/*
 * What a slot holds at most of each order, in a zone that is large enough, and which share of its
 * frames the order gets in one that is not. 1024 single pages let a loop over 4096 of them take the
 * zone's lock 6 times a thousand.
 */
static const struct {
	u16 most;
	u16 share_shift; /* budget >> this */
} tuning[NR_PAGE_ORDERS] = {
	[0] = {1024, 1}, [1] = {256, 3}, [2] = {128, 3}, [3] = {64, 3}, [HPAGE_ORDER] = {8, 3},
};

unsigned int pcp_tune(unsigned int order, unsigned long budget)
{
	unsigned long share = (budget >> tuning[order].share_shift) >> order;

	return min_t(unsigned int, tuning[order].most, min_t(unsigned long, share, UINT16_MAX));
}

unsigned long pcp_budget(unsigned long nr_managed, unsigned int nr_cpus, u32 slot,
			 unsigned int nr_machine_cpus)
{
	unsigned long budget = nr_managed / 8 / max_t(unsigned int, nr_cpus, 1);
	unsigned long rank = slot + 1UL;

	if (rank > nr_machine_cpus)
		budget = budget * nr_machine_cpus / rank * nr_machine_cpus / rank;
	return budget;
}

/* The configured sizes are of order 0, in pages; larger orders hold as many pages. */
static void configure_stack(struct pcp_stack *stack, const struct kmm_config *config,
			    unsigned int order, unsigned long budget)
{
	unsigned int limit = pcp_tune(order, budget);
	unsigned int batch = max_t(unsigned int, limit / 4, 1);

	if (limit && config->pcp_high)
		limit = max_t(unsigned int, config->pcp_high >> order, 1);
	if (limit && config->pcp_batch)
		batch = max_t(unsigned int, config->pcp_batch >> order, 1);
	if (config->no_pcp)
		limit = 0;
	stack->limit = (u16)min_t(unsigned int, limit, capacities[order]);
	stack->batch = (u16)min_t(unsigned int, batch, max_t(unsigned int, stack->limit, 1));
	stack->high = stack->limit;
}

/* A zone without frames gets no budget, and so no lists. */
static void init_zone_stacks(struct phys *phys, struct kmm_cpu *cpu, const struct zone *zone)
{
	struct phys_cpu *pcpu = phys_cpu(cpu);
	struct page **slots = pcpu->slots[zone->type];
	unsigned int nr_machine_cpus = topology_nr_cpus(phys->machine->topology);
	unsigned long budget = pcp_budget(zone->nr_managed, phys->nodes[zone->nid].nr_cpus,
					  cpu->slot, nr_machine_cpus);

	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
		struct pcp_stack *stack = &pcpu->stack[zone->type][order];

		stack->slots = slots;
		stack->kind = page_kind(zone->type, (unsigned int)zone->nid, PG_TYPE_ALLOC, order);
		configure_stack(stack, &phys->machine->config, order, budget);
		slots += capacities[order];
	}
}

void pcp_set_rows(struct phys *phys, struct kmm_cpu *cpu)
{
	struct phys_cpu *pcpu = phys_cpu(cpu);
	const struct pglist_data *node = &phys->nodes[cpu->nid];
	const bool local = mempolicy_is_local(&pcpu->policy, cpu->nid);

	for (gfp_t gfp = 0; gfp < GFP_ROWS; gfp++) {
		const struct zone *first =
			node->zonelist[gfp_zone(gfp, phys->machine->config.layout)][0];
		bool ours = first && first->nid == cpu->nid && local;
		unsigned int row = ours ? first->type : NR_ZONE_TYPES;

		pcpu->row_of_gfp[gfp] = (u16)(row * sizeof(pcpu->stack[0]));
	}
}

void pcp_init(struct phys *phys, struct kmm_cpu *cpu)
{
	struct phys_cpu *pcpu = phys_cpu(cpu);
	struct pglist_data *node = &phys->nodes[cpu->nid];

	for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++)
		init_zone_stacks(phys, cpu, &node->zones[type]);
	pcp_set_rows(phys, cpu);
	numa_fold(pcpu);
	pcpu->place = page_kind(0, (unsigned int)cpu->nid, PG_TYPE_ALLOC, 0);
	pcpu->nid = cpu->nid;
}

/* Paranoid builds look at a zone's lists every 64th time: each look costs a step for each free
 * block. */
static void check_now_and_then(const struct zone *zone)
{
	if (KMM_PARANOID && zone->lock.stats.acquired % 64 == 0)
		buddy_validate_lists(&zone->buddy, zone->lock_name);
}

bool pcp_refill(struct phys_cpu *pcpu, struct zone *zone, struct pcp_stack *stack,
		unsigned int order, unsigned long at_most)
{
	unsigned int nr = min_t(unsigned long, stack->batch, at_most >> order);

	if (!nr)
		return false;
	lock_acquire(&zone->lock);
	nr = buddy_take_bulk(&zone->buddy, order, nr, stack->slots);
	check_now_and_then(zone);
	lock_release(&zone->lock);
	if (!nr)
		return false;
	WRITE_ONCE(stack->nr, nr);
	WRITE_ONCE(pcpu->blocks_in, pcpu->blocks_in + nr);
	pcp_count(pcpu, pcp_refill, 1);
	pcp_count(pcpu, buddy_alloc, nr);
	return true;
}

void pcp_drain_stack(struct phys_cpu *pcpu, struct zone *zone, struct pcp_stack *stack,
		     unsigned int order, u32 nr)
{
	const u32 rest = stack->nr - nr;

	lock_acquire(&zone->lock);
	for (u32 i = 0; i < nr; i++)
		buddy_give(&zone->buddy, stack->slots[i], order);
	check_now_and_then(zone);
	lock_release(&zone->lock);
	memmove(stack->slots, stack->slots + nr, rest * sizeof(*stack->slots));
	WRITE_ONCE(stack->nr, rest);
	WRITE_ONCE(pcpu->blocks_out, pcpu->blocks_out + nr);
	pcp_count(pcpu, pcp_drain, 1);
	pcp_count(pcpu, buddy_free, nr);
}

struct page *zone_take(struct phys_cpu *pcpu, struct zone *zone, unsigned int order,
		       unsigned long at_most)
{
	struct pcp_stack *stack = &pcpu->stack[zone->type][order];
	struct page *page;

	if (zone->nid == pcpu->nid && stack->limit) {
		if (!stack->nr && !pcp_refill(pcpu, zone, stack, order, at_most))
			return NULL;
		if (!pcp_pop(stack, &page))
			return NULL;
		WRITE_ONCE(pcpu->slow_pops, pcpu->slow_pops + 1);
		return page;
	}
	if (!(at_most >> order))
		return NULL;
	lock_acquire(&zone->lock);
	page = buddy_take(&zone->buddy, order);
	lock_release(&zone->lock);
	if (page)
		pcp_count(pcpu, buddy_alloc, 1);
	return page;
}

void zone_give(struct phys_cpu *pcpu, struct zone *zone, struct page *page, unsigned int order)
{
	lock_acquire(&zone->lock);
	buddy_give(&zone->buddy, page, order);
	lock_release(&zone->lock);
	pcp_count(pcpu, buddy_free, 1);
}

unsigned long pcp_drain(struct phys *phys, struct kmm_cpu *cpu)
{
	struct phys_cpu *pcpu = phys_cpu(cpu);
	unsigned long nr_pages = 0;

	for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++)
		for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
			struct pcp_stack *stack = &pcpu->stack[type][order];

			nr_pages += (unsigned long)stack->nr << order;
			if (stack->nr)
				pcp_drain_stack(pcpu, &phys->nodes[pcpu->nid].zones[type], stack,
						order, stack->nr);
		}
	return nr_pages;
}

static void set_high(struct phys_cpu *pcpu, bool closed)
{
	for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++)
		for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
			struct pcp_stack *stack = &pcpu->stack[type][order];

			WRITE_ONCE(stack->high, closed ? 0 : stack->limit);
		}
}

void pcp_close(struct kmm_cpu *cpu)
{
	set_high(phys_cpu(cpu), true);
}

void pcp_honour_drain(struct phys *phys, struct kmm_cpu *cpu)
{
	/* Open first: a request that comes in between closes again, and is met at the next slow
	 * path. */
	set_high(phys_cpu(cpu), false);
	pcp_drain(phys, cpu);
	if (phys_cpu(cpu)->nid != cpu->nid)
		pcp_init(phys, cpu);
}

bool pcp_drain_all(struct phys *phys, struct kmm_cpu *cpu)
{
	struct kmm *machine = phys->machine;
	bool help = pcp_drain(phys, cpu) != 0;

	/* Whoever holds it may be waiting for a lock of ours: so no waiting here. */
	if (!lock_try_acquire(&machine->slots_lock)) {
		sched_yield();
		return true;
	}
	for (struct kmm_cpu *other = cpu_first(machine); other; other = cpu_next(machine, other)) {
		if (other == cpu)
			continue;
		if (!other->owned) {
			help |= pcp_drain(phys, other) != 0;
		} else if (pcp_nr_pages(other)) {
			pcp_close(other);
			help = true;
		}
	}
	lock_release(&machine->slots_lock);
	return help;
}

unsigned long pcp_nr_pages(struct kmm_cpu *cpu)
{
	struct phys_cpu *pcpu = phys_cpu(cpu);
	unsigned long nr_pages = 0;

	for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++)
		for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++)
			nr_pages += (unsigned long)READ_ONCE(pcpu->stack[type][order].nr) << order;
	return nr_pages;
}

void pcp_validate(struct phys *phys, struct kmm_cpu *cpu, unsigned long nr_pages[NR_ZONE_TYPES])
{
	struct phys_cpu *pcpu = phys_cpu(cpu);

	for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++)
		for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
			const struct pcp_stack *stack = &pcpu->stack[type][order];
			const u32 kind =
				page_kind(type, (unsigned int)pcpu->nid, PG_TYPE_PCP, order);

			KMM_BUG_ON(stack->nr > stack->limit,
				   "slot %u, %s, order %u: %u blocks, limit %u", cpu->slot,
				   zone_names[type], order, stack->nr, stack->limit);
			for (u32 i = 0; i < stack->nr; i++)
				KMM_BUG_ON(
					stack->slots[i]->kind != kind,
					"slot %u, %s, order %u: frame %lu is %#x, not %#x",
					cpu->slot, zone_names[type], order,
					(unsigned long)(stack->slots[i] - phys->machine->mem_map),
					stack->slots[i]->kind, kind);
			nr_pages[type] += (unsigned long)stack->nr << order;
		}
}

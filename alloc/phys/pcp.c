/* SPDX-License-Identifier: MIT */
/* Per-CPU page lists, stack by stack: tuning, refill and drain. See pcp.h for what they keep true
 * and who may touch them. */
#include "phys/pcp.h"

#include <limits.h>
#include <string.h>

#include "base/check.h"
#include "phys/alloc.h"

/*
 * What a stack holds at first and at most, how many it moves at once, and which share of its slot's
 * frames the order gets at first where there are not enough.
 */
static const struct {
	u16 base, max, batch;
	u8 share_shift; /* of the budget, >> this */
} tuning[NR_PAGE_ORDERS] = {
	[0] = {1024, PCP_CAPACITY_0, 256, 3},
	[1] = {256, PCP_CAPACITY_LOW, 64, 4},
	[2] = {128, PCP_CAPACITY_LOW, 32, 4},
	[3] = {64, PCP_CAPACITY_LOW, 16, 4},
	[4] = {2, 16, 4, 4},
	[5] = {2, 8, 4, 4},
	[6] = {2, 4, 4, 4},
	[7] = {2, 4, 4, 4},
	[8] = {2, 4, 4, 4},
	[HPAGE_ORDER] = {2, PCP_CAPACITY_HIGH, 2, 2},
	[MAX_PAGE_ORDER] = {2, 16, 4, 2},
};

/* A refill is at most a batch times two to this. */
#define REFILL_SCALE 5U

/* Refills and drains of a slot between two looks for idle stacks. */
#define IDLE_MOVES 64U

/* What share of a slot's budget lists have together: single frames, which do most harm (pcp.h);
 * blocks smaller than a pageblock; whole pageblocks, which do none. */
enum pcp_class { PCP_SINGLE, PCP_SMALL, PCP_WHOLE };
_Static_assert(PCP_WHOLE + 1 == NR_PCP_CLASSES, "room for each class");

static inline enum pcp_class class_of(unsigned int order)
{
	if (order == 0)
		return PCP_SINGLE;
	return order < PAGEBLOCK_ORDER ? PCP_SMALL : PCP_WHOLE;
}

static unsigned long class_share(unsigned long budget, enum pcp_class of)
{
	switch (of) {
	case PCP_SINGLE:
		return budget / 4;
	case PCP_SMALL:
		return budget - budget / 4;
	case PCP_WHOLE:
		break;
	}
	return 2 * budget;
}

static unsigned int capacity(unsigned int order)
{
	if (order == 0)
		return PCP_CAPACITY_0;
	return order <= 3 ? PCP_CAPACITY_LOW : PCP_CAPACITY_HIGH;
}

unsigned int pcp_tune(unsigned int order, unsigned long budget)
{
	unsigned long share = (budget >> tuning[order].share_shift) >> order;

	return min_t(unsigned int, tuning[order].base, min_t(unsigned long, share, UINT16_MAX));
}

unsigned long pcp_budget(unsigned long nr_managed, unsigned int nr_cpus, u32 rank)
{
	unsigned long budget = nr_managed / 8 / nr_cpus;

	if (rank >= nr_cpus)
		budget = budget * nr_cpus / (rank + 1UL) * nr_cpus / (rank + 1UL);
	return budget;
}

/* The configured sizes are of order 0, in pages; larger orders hold as many pages. */
static void configure_stack(struct pcp_tune *tune, const struct kmm_config *config,
			    unsigned int order, unsigned long budget)
{
	unsigned int base = pcp_tune(order, budget);
	unsigned long share = class_share(budget, class_of(order)) >> order;
	unsigned int max =
		max_t(unsigned long, base, min_t(unsigned long, tuning[order].max, share));
	unsigned int batch = min_t(unsigned int, tuning[order].batch, max_t(u32, base / 2, 1));
	unsigned int least = max_t(unsigned int, batch / 8, 1);
	unsigned int most = class_of(order) == PCP_WHOLE ? batch : batch << REFILL_SCALE;

	if (base && config->pcp_high)
		base = max = min_t(unsigned int, max_t(u32, config->pcp_high >> order, 1),
				   capacity(order));
	if (base && config->pcp_batch)
		batch = least = most = max_t(unsigned int, config->pcp_batch >> order, 1);
	if (config->no_pcp)
		base = 0;
	tune->base = base;
	tune->max = max;
	tune->least = (u16)min_t(unsigned int, least, UINT16_MAX);
	tune->most = (u16)min_t(unsigned int, most, UINT16_MAX);
	WRITE_ONCE(tune->batch, (u16)min_t(unsigned int, batch, max_t(u32, base, 1)));
}

/* Close every stack; it opens again when it is wanted. Sizes that are configured are not limited by
 * a share. */
static void reset_limits(struct phys *phys, struct phys_cpu *pcpu)
{
	const struct pglist_data *node = &phys->nodes[pcpu->nid];

	for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++)
		for (enum pcp_class of = 0; of < NR_PCP_CLASSES; of++)
			pcpu->room[type][of] =
				phys->machine->config.pcp_high
					? ULONG_MAX
					: class_share(pcp_budget(node->zones[type].nr_managed,
								 node->nr_cpus, pcpu->rank),
						      of);
	for_each_pcp_stack(pcpu, row, order)
	{
		WRITE_ONCE(pcpu->tune[row][order].limit, 0);
		pcpu->tune[row][order].tide = pcpu->stack[row][order].nr;
		WRITE_ONCE(pcpu->stack[row][order].high, 0);
	}
}

static unsigned long *room_of(struct phys_cpu *pcpu, unsigned int row, unsigned int order)
{
	return &pcpu->room[row & PLACE_ZONE_MASK][class_of(order)];
}

/* Let a stack hold so many blocks more, as far as its slot's share of the zone goes. */
static void raise_limit(struct phys_cpu *pcpu, unsigned int row, unsigned int order, u32 more)
{
	unsigned long *room = room_of(pcpu, row, order);
	struct pcp_tune *tune = &pcpu->tune[row][order];

	more = min_t(u32, more, min_t(unsigned long, *room >> order, UINT32_MAX));
	*room -= (unsigned long)more << order;
	WRITE_ONCE(tune->limit, tune->limit + more);
	WRITE_ONCE(pcpu->stack[row][order].high, tune->limit);
}

/* Let a stack hold so many blocks less, none of which it has, and others have the room. */
static void cut_limit(struct phys_cpu *pcpu, unsigned int row, unsigned int order, u32 less)
{
	struct pcp_tune *tune = &pcpu->tune[row][order];

	*room_of(pcpu, row, order) += (unsigned long)less << order;
	WRITE_ONCE(tune->limit, tune->limit - less);
	WRITE_ONCE(pcpu->stack[row][order].high, tune->limit);
}

/* A stack that is empty: no more than at first. */
static void lower_limit(struct phys_cpu *pcpu, unsigned int row, unsigned int order)
{
	const struct pcp_tune *tune = &pcpu->tune[row][order];

	cut_limit(pcpu, row, order, tune->limit - min_t(u32, tune->limit, tune->base));
}

/* It is full in the ebb of a tide that it could have held: then it holds it. Of whole pageblocks,
 * as much of it as can be. */
static void grow(struct phys_cpu *pcpu, unsigned int row, unsigned int order)
{
	struct pcp_tune *tune = &pcpu->tune[row][order];
	u32 wanted = tune->tide;

	if (wanted > tune->max && class_of(order) == PCP_WHOLE) {
		wanted = tune->max;
		WRITE_ONCE(tune->batch, (u16)max_t(u32, tune->batch, tune->limit / 2));
	}
	if (wanted > tune->limit && wanted <= tune->max)
		raise_limit(pcpu, row, order, wanted - tune->limit);
}

/* A zone without frames gets no budget, and so no lists. */
static void init_row(struct phys *phys, struct phys_cpu *pcpu, const struct zone *zone,
		     enum migratetype type)
{
	const unsigned int row = page_place(zone->type, type);
	struct page **slots = pcpu->slots[type][zone->type];
	unsigned long budget =
		pcp_budget(zone->nr_managed, phys->nodes[zone->nid].nr_cpus, pcpu->rank);

	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
		struct pcp_stack *stack = &pcpu->stack[row][order];

		stack->slots = slots;
		stack->state =
			page_state(page_kind(row, (unsigned int)zone->nid, PG_TYPE_ALLOC, order));
		configure_stack(&pcpu->tune[row][order], &phys->machine->config, order, budget);
		slots += capacity(order);
	}
}

/* The row of the zone and migratetype that gfp asks for first, if the zone is of this node. */
static unsigned int row_of(const struct phys *phys, const struct pglist_data *node, gfp_t gfp)
{
	const struct zone *first = node->zonelist[gfp_zone(gfp, phys->machine->config.layout)][0];

	if (!first || first->nid != node->nid)
		return PCP_EMPTY_ROW;
	return page_place(first->type, gfp_migratetype(gfp));
}

void pcp_set_rows(struct phys *phys, struct kmm_cpu *cpu)
{
	struct phys_cpu *pcpu = phys_cpu(cpu);
	const bool local = mempolicy_is_local(&pcpu->policy, cpu->nid);

	for (gfp_t gfp = 0; gfp < GFP_ROWS; gfp++) {
		unsigned int row =
			local ? row_of(phys, &phys->nodes[cpu->nid], gfp) : PCP_EMPTY_ROW;

		pcpu->row_of_gfp[gfp] = (u16)(row * sizeof(pcpu->stack[0]));
	}
}

void pcp_init(struct phys *phys, struct kmm_cpu *cpu)
{
	struct phys_cpu *pcpu = phys_cpu(cpu);
	struct pglist_data *node = &phys->nodes[cpu->nid];

	/* Is it a slot that has moved? These counters order nothing. (A move that a fork cut short has
	 * counted this one: what is counted twice makes shares smaller, and 0 stays.) */
	if (pcpu->stack[0][0].slots && READ_ONCE(phys->nodes[pcpu->nid].nr_slots))
		__atomic_sub_fetch(&phys->nodes[pcpu->nid].nr_slots, 1, __ATOMIC_RELAXED);
	pcpu->rank = __atomic_fetch_add(&node->nr_slots, 1, __ATOMIC_RELAXED);
	for (enum zone_type zone = 0; zone < NR_ZONE_TYPES; zone++)
		for (enum migratetype type = 0; type < NR_MIGRATETYPES; type++)
			init_row(phys, pcpu, &node->zones[zone], type);
	pcp_set_rows(phys, cpu);
	numa_fold(pcpu);
	pcpu->place = page_state(page_kind(0, (unsigned int)cpu->nid, PG_TYPE_ALLOC, 0));
	WRITE_ONCE(pcpu->nid, cpu->nid);
	reset_limits(phys, pcpu);
}

/* Paranoid builds look at a zone's lists every 64th time: each look costs a step for each free
 * block. */
static void check_now_and_then(const struct zone *zone)
{
	if (KMM_PARANOID && zone->lock.stats.acquired % 64 == 0)
		buddy_validate_lists(&zone->buddy, zone->lock_name);
}

void pcp_drain_stack(struct phys_cpu *pcpu, struct zone *zone, unsigned int row, unsigned int order,
		     u32 nr)
{
	struct pcp_stack *stack = &pcpu->stack[row][order];
	const u32 rest = stack->nr - nr;

	lock_acquire(&zone->lock);
	for (u32 i = 0; i < nr; i++)
		buddy_give(&zone->buddy, stack->slots[i], order);
	check_now_and_then(zone);
	lock_release(&zone->lock);
	memmove(stack->slots, stack->slots + nr, rest * sizeof(*stack->slots));
	WRITE_ONCE(stack->nr, rest);
	pcpu->tune[row][order].tide = rest;
	WRITE_ONCE(pcpu->blocks_out, pcpu->blocks_out + nr);
	pcp_count(pcpu, pcp_drain, 1);
	pcp_count(pcpu, buddy_free, nr);
}

/* Blocks of a zone that a slot holds in other lists than this. */
static bool holds_others(const struct phys_cpu *pcpu, const struct zone *zone,
			 const struct pcp_stack *own)
{
	for_each_pcp_stack_of(pcpu, zone, row, order)
	{
		const struct pcp_stack *stack = &pcpu->stack[row][order];

		if (stack->nr && stack != own)
			return true;
	}
	return false;
}

static void give_back_others(struct phys_cpu *pcpu, struct zone *zone, const struct pcp_stack *own)
{
	for_each_pcp_stack_of(pcpu, zone, row, order)
	{
		const struct pcp_stack *stack = &pcpu->stack[row][order];

		if (stack->nr && stack != own)
			pcp_drain_stack(pcpu, zone, row, order, stack->nr);
	}
}

static unsigned int refill_batch(struct phys_cpu *pcpu, unsigned int row, unsigned int order)
{
	const struct pcp_tune *tune = &pcpu->tune[row][order];
	u32 batch = min_t(u32, max_t(u32, tune->tide / 4, tune->least), tune->most);

	/* A tide that the list cannot hold is no reason for more than a drain gives back. */
	if (tune->tide + batch > tune->max)
		batch = min_t(u32, batch, tune->batch);
	if (batch > tune->limit)
		raise_limit(pcpu, row, order, batch - tune->limit);
	return min_t(u32, batch, tune->limit);
}

bool pcp_refill(struct phys_cpu *pcpu, struct zone *zone, unsigned int row, unsigned int order,
		unsigned long at_most)
{
	struct pcp_stack *stack = &pcpu->stack[row][order];
	struct pcp_tune *tune = &pcpu->tune[row][order];
	unsigned int nr = min_t(unsigned long, refill_batch(pcpu, row, order), at_most >> order);

	if (!nr)
		return false;
	lock_acquire(&zone->lock);
	if (buddy_would_break(&zone->buddy, order, row >> PLACE_ZONE_BITS) &&
	    holds_others(pcpu, zone, stack)) {
		lock_release(&zone->lock);
		give_back_others(pcpu, zone, stack);
		lock_acquire(&zone->lock);
	}
	nr = buddy_take(&zone->buddy, order, row >> PLACE_ZONE_BITS, nr, stack->slots);
	check_now_and_then(zone);
	lock_release(&zone->lock);
	if (!nr)
		return false;
	tune->tide = min_t(u32, tune->tide + nr, PCP_TIDE_MAX);
	if (tune->tide > tune->max && class_of(order) != PCP_WHOLE)
		lower_limit(pcpu, row, order);
	WRITE_ONCE(stack->nr, nr);
	WRITE_ONCE(pcpu->blocks_in, pcpu->blocks_in + nr);
	pcp_count(pcpu, pcp_refill, 1);
	pcp_count(pcpu, buddy_alloc, nr);
	return true;
}

void pcp_overflow(struct phys_cpu *pcpu, struct zone *zone, unsigned int row, unsigned int order)
{
	const struct pcp_stack *stack = &pcpu->stack[row][order];
	const struct pcp_tune *tune = &pcpu->tune[row][order];

	grow(pcpu, row, order);
	if (stack->nr < tune->limit)
		return;
	pcp_drain_stack(pcpu, zone, row, order, min_t(u32, tune->batch, stack->nr));
	pcp_look_for_idle(pcpu, zone - zone->type);
}

/* The longest list that shares a zone's room with another's class gives half of its own. */
static void make_room(struct phys_cpu *pcpu, struct zone *zone, enum pcp_class class)
{
	unsigned int longest_row = 0, longest_order = 0;
	unsigned long most = 0;
	struct pcp_tune *tune;
	u32 less;

	for_each_pcp_stack(pcpu, row, order)
	{
		u32 limit = pcpu->tune[row][order].limit;

		if ((row & PLACE_ZONE_MASK) != zone->type || class_of(order) != class ||
		    limit < 2 || (unsigned long)limit << order <= most)
			continue;
		most = (unsigned long)limit << order;
		longest_row = row;
		longest_order = order;
	}
	if (!most)
		return;
	tune = &pcpu->tune[longest_row][longest_order];
	less = tune->limit / 2;
	if (pcpu->stack[longest_row][longest_order].nr > tune->limit - less)
		pcp_drain_stack(pcpu, zone, longest_row, longest_order,
				pcpu->stack[longest_row][longest_order].nr - tune->limit + less);
	cut_limit(pcpu, longest_row, longest_order, less);
}

static KMM_COLD void open_stack(struct phys_cpu *pcpu, struct zone *zone, unsigned int row,
				unsigned int order)
{
	const u32 base = pcpu->tune[row][order].base;

	if (!base)
		return;
	if (*room_of(pcpu, row, order) >> order < base)
		make_room(pcpu, zone, class_of(order));
	raise_limit(pcpu, row, order, base);
}

bool pcp_open(struct phys_cpu *pcpu, struct zone *zone, unsigned int row, unsigned int order)
{
	const struct pcp_tune *tune = &pcpu->tune[row][order];

	if (unlikely(!tune->limit))
		open_stack(pcpu, zone, row, order);
	return tune->limit;
}

unsigned int zone_take_direct(struct phys_cpu *pcpu, struct zone *zone, unsigned int order,
			      enum migratetype type, unsigned int nr, struct page **pages)
{
	const unsigned int row = page_place(zone->type, type);
	const u64 state = page_state(page_kind(row, (unsigned int)zone->nid, PG_TYPE_ALLOC, order));

	lock_acquire(&zone->lock);
	nr = buddy_take(&zone->buddy, order, type, nr, pages);
	lock_release(&zone->lock);
	for (unsigned int i = 0; i < nr; i++)
		WRITE_ONCE(pages[i]->state, state);
	WRITE_ONCE(pcpu->direct_pages[zone->type],
		   pcpu->direct_pages[zone->type] + ((u64)nr << order));
	pcp_count(pcpu, buddy_alloc, nr);
	return nr;
}

struct page *zone_take(struct phys_cpu *pcpu, struct zone *zone, unsigned int order,
		       enum migratetype type, unsigned long at_most)
{
	const unsigned int row = page_place(zone->type, type);
	struct pcp_stack *stack = &pcpu->stack[row][order];
	struct page *page;

	if (zone->nid == pcpu->nid && pcp_open(pcpu, zone, row, order)) {
		const bool empty = !stack->nr;

		if (empty && !pcp_refill(pcpu, zone, row, order, at_most))
			return NULL;
		if (!pcp_pop(stack, &page))
			return NULL;
		WRITE_ONCE(pcpu->slow_pops, pcpu->slow_pops + 1);
		/* Only now: an allocation that is going to fail has been told how much the zone can
		 * spare, and would not look at what idle lists give back meanwhile. */
		if (empty)
			pcp_look_for_idle(pcpu, zone - zone->type);
		return page;
	}
	if (!(at_most >> order))
		return NULL;
	return zone_take_direct(pcpu, zone, order, type, 1, &page) ? page : NULL;
}

void zone_give(struct phys_cpu *pcpu, struct zone *zone, struct page *page, unsigned int order)
{
	/* No reference, whether the last was dropped or is the caller's. */
	WRITE_ONCE(page->state, READ_ONCE(page->kind) - (u32)PCP_STATE_STEP);
	lock_acquire(&zone->lock);
	buddy_give(&zone->buddy, page, order);
	lock_release(&zone->lock);
	pcp_count(pcpu, buddy_free, 1);
}

void pcp_look_for_idle(struct phys_cpu *pcpu, struct zone *zones)
{
	if (likely(++pcpu->nr_moves % IDLE_MOVES))
		return;
	for_each_pcp_stack(pcpu, row, order)
	{
		const struct pcp_stack *stack = &pcpu->stack[row][order];
		struct pcp_tune *tune = &pcpu->tune[row][order];

		if (stack->nr && tune->allocs == (u32)stack->allocs)
			pcp_drain_stack(pcpu, &zones[row & PLACE_ZONE_MASK], row, order, stack->nr);
		if (tune->limit > tune->base && tune->allocs == (u32)stack->allocs)
			lower_limit(pcpu, row, order);
		tune->allocs = (u32)stack->allocs;
	}
}

void pcp_honour_drain(struct phys *phys, struct kmm_cpu *cpu)
{
	/* In this order: a request that comes in between is met at the next slow path. Acquire: the
	 * zeros of one that we take back here unseen are there before our limits. */
	(void)__atomic_exchange_n(&phys_cpu(cpu)->drain_wanted, false, __ATOMIC_ACQUIRE);
	reset_limits(phys, phys_cpu(cpu));
	pcp_drain(phys, cpu);
	if (phys_cpu(cpu)->nid != cpu->nid)
		pcp_init(phys, cpu);
}

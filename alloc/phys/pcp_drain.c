/* SPDX-License-Identifier: MIT */
/* Per-CPU page lists as a whole: emptied by their owner or for somebody who has no slot of them,
 * asked for by others, counted, and checked. See pcp.h for who may touch them. */
#include <sched.h>

#include "base/check.h"
#include "phys/alloc.h"
#include "phys/pcp.h"

unsigned long pcp_drain(struct phys *phys, struct kmm_cpu *cpu)
{
	struct phys_cpu *pcpu = phys_cpu(cpu);
	struct zone *zones = phys->nodes[pcpu->nid].zones;
	unsigned long nr_pages = 0;

	for_each_pcp_stack(pcpu, row, order)
	{
		u32 nr = pcpu->stack[row][order].nr;

		nr_pages += (unsigned long)nr << order;
		if (nr)
			pcp_drain_stack(pcpu, &zones[row & PLACE_ZONE_MASK], row, order, nr);
	}
	return nr_pages;
}

void pcp_forget(struct kmm_cpu *cpu)
{
	struct phys_cpu *pcpu = phys_cpu(cpu);

	for_each_pcp_stack(pcpu, row, order)
	{
		const u32 nr = pcpu->stack[row][order].nr;

		if (!nr)
			continue;
		WRITE_ONCE(pcpu->stack[row][order].nr, 0);
		WRITE_ONCE(pcpu->blocks_out, pcpu->blocks_out + nr);
	}
	/* The owner may have been there; the next one is not. And it may have been setting limits,
	 * or moving to another node: the next one does that anew. */
	pcpu->reclaiming = false;
	pcp_close(cpu);
}

void pcp_close(struct kmm_cpu *cpu)
{
	struct phys_cpu *pcpu = phys_cpu(cpu);

	for_each_pcp_stack(pcpu, row, order) WRITE_ONCE(pcpu->stack[row][order].high, 0);
	/* Release: whoever sees it sees the zeros. */
	__atomic_store_n(&pcpu->drain_wanted, true, __ATOMIC_RELEASE);
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

void pcp_age(struct kmm_cpu *cpu)
{
	struct phys_cpu *pcpu = phys_cpu(cpu);
	u64 done = 0;

	/* An allocation and a free each add one, whatever they take or leave. */
	for_each_pcp_stack(pcpu, row, order) done += 2 * READ_ONCE(pcpu->stack[row][order].allocs) +
						     READ_ONCE(pcpu->stack[row][order].nr);
	if (done == READ_ONCE(pcpu->aged) && pcp_nr_pages(cpu) &&
	    !__atomic_load_n(&pcpu->drain_wanted, __ATOMIC_RELAXED))
		pcp_close(cpu);
	WRITE_ONCE(pcpu->aged, done);
}

unsigned long pcp_nr_pages(struct kmm_cpu *cpu)
{
	struct phys_cpu *pcpu = phys_cpu(cpu);
	unsigned long nr_pages = 0;

	for_each_pcp_stack(pcpu, row, order) nr_pages +=
		(unsigned long)READ_ONCE(pcpu->stack[row][order].nr) << order;
	return nr_pages;
}

static void validate_block(struct phys *phys, const struct phys_cpu *pcpu, unsigned int row,
			   unsigned int order, const struct page *page)
{
	const struct zone *zone = &phys->nodes[pcpu->nid].zones[row & PLACE_ZONE_MASK];
	unsigned long pfn = (unsigned long)(page - phys->machine->mem_map);

	KMM_BUG_ON(pfn < zone->start_pfn || pfn + (1UL << order) > zone->end_pfn ||
			   !IS_ALIGNED(pfn, 1UL << order),
		   "%s: frame %lu, order %u, is on a per-CPU list", zone->lock_name, pfn, order);
	KMM_BUG_ON(page->type != PG_TYPE_FREE && page->type != PG_TYPE_NONE,
		   "%s: frame %lu of type %u is on a per-CPU list", zone->lock_name, pfn,
		   page->type);
	for (unsigned long i = 0; i < 1UL << order; i++)
		KMM_BUG_ON(buddy_is_free(&zone->buddy, pfn + i, 0),
			   "%s: frame %lu is on a per-CPU list and free", zone->lock_name, pfn + i);
}

void pcp_validate(struct phys *phys, struct kmm_cpu *cpu, unsigned long nr_pages[NR_ZONE_TYPES])
{
	struct phys_cpu *pcpu = phys_cpu(cpu);

	for_each_pcp_stack(pcpu, row, order)
	{
		const struct pcp_stack *stack = &pcpu->stack[row][order];
		const struct pcp_tune *tune = &pcpu->tune[row][order];

		KMM_BUG_ON(stack->nr > tune->limit ||
				   tune->limit > max_t(u32, tune->max, tune->base),
			   "slot %u, row %u, order %u: %u blocks, limit %u, most %u", cpu->slot,
			   row, order, stack->nr, tune->limit, tune->max);
		for (u32 i = 0; i < stack->nr; i++)
			validate_block(phys, pcpu, row, order, stack->slots[i]);
		if (stack->nr)
			nr_pages[row & PLACE_ZONE_MASK] += (unsigned long)stack->nr << order;
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU page lists: free blocks that belong to one CPU slot, so that most allocations and frees
 * touch no lock. Private to alloc/phys.
 *
 * A list is a stack of pointers in the slot, one for each zone of the slot's own node and each
 * order: an allocation touches the stack's header, the top of its array and the one cache line of
 * the block's struct page.
 *
 *	struct phys_cpu
 *	| stack[DMA][0..15] | stack[DMA32][0..15] | ... | row_of_gfp | counters | slots |
 *
 *	stack:  slots -> | coldest | ... | hottest |   room   |
 *	                 0                         nr         high     (capacity: limit)
 *
 * Invariant of a stack: nr <= limit <= PCP_CAPACITY of its order; slots[0 .. nr) are heads of
 * PG_TYPE_PCP of the stack's zone and order; blocks_in == allocs + blocks_out + nr - frees, where
 * frees is therefore not counted.
 *
 * Only the slot's owner writes to it, with two exceptions. A slot without owner belongs to whoever
 * holds machine->slots_lock. And another CPU that ran out of memory asks the owner to drain by
 * storing 0 in every `high`: the owner's next free finds its stack full, goes the slow way, and
 * sees why. The fast path pays nothing for it.
 *
 * A slot of zeros (a thread that has not attached) has nr 0 and high 0 everywhere, so both fast
 * paths fall through to the slow ones.
 *
 * After mm/page_alloc.c (6.1), which has linked lists through struct page for orders 0 to 3 and 9,
 * and J. Bonwick's magazines (2001).
 */
#ifndef KMM_PHYS_PCP_H
#define KMM_PHYS_PCP_H

#include "base/check.h"
#include "base/compiler.h"
#include "base/cpu.h"
#include "phys/mempolicy.h"
#include "phys/page_alloc.h"
#include "phys/zone.h"

struct pcp_stack {
	u32 nr;		     /* blocks held */
	u32 high;	     /* blocks at which a free goes the slow way: limit, or 0 (see above) */
	struct page **slots; /* constant */
	u32 kind;   /* constant: page_kind() of an allocated block of this zone and order */
	u16 limit;  /* constant: blocks held at most; 0: no list for this order */
	u16 batch;  /* constant: blocks moved at once */
	u64 allocs; /* blocks handed out */
};

_Static_assert(sizeof(struct pcp_stack) == 32, "two stacks a cache line");

#define PCP_ORDERS 16 /* stacks a row: a power of two, those beyond MAX_PAGE_ORDER stay empty */
#define PCP_ROWS   (NR_ZONE_TYPES + 1) /* the last is always empty */

/* Room for blocks in the arrays, by order. Tuning decides how much of it is used. */
#define PCP_CAPACITY_0	  2048U
#define PCP_CAPACITY_1	  512U
#define PCP_CAPACITY_2	  256U
#define PCP_CAPACITY_3	  128U
#define PCP_CAPACITY_HIGH 16U /* each order from 4 on */
#define PCP_SLOTS                                                                                  \
	(PCP_CAPACITY_0 + PCP_CAPACITY_1 + PCP_CAPACITY_2 + PCP_CAPACITY_3 +                       \
	 PCP_CAPACITY_HIGH * (NR_PAGE_ORDERS - 4))

#define GFP_ROWS 64 /* values of the lowest six bits of gfp: zone and mobility */

/* A thread's NUMA policy (phys/mempolicy.h). The slot's owner only. */
struct mempolicy {
	enum mempolicy_mode mode;
	u32 last;  /* interleave: the node whose turn it was */
	u64 nodes; /* a bit a node; 0 with default and local */
};

struct phys_cpu {
	struct pcp_stack stack[PCP_ROWS][PCP_ORDERS] CACHELINE_ALIGNED;
	/* Changed with the thread's NUMA policy only: where in this struct the row of stacks is
	 * that gfp's zone bits ask for, in bytes. The row that is always empty where the policy
	 * wants other nodes than this one. */
	u16 row_of_gfp[GFP_ROWS] CACHELINE_ALIGNED;

	u32 place; /* constant: page_kind() of an allocated block of order 0, zone 0, node nid */
	int nid;   /* constant: whose zones the stacks are of; the slot's own node */
	u64 blocks_in;	/* put on stacks from the buddy */
	u64 blocks_out; /* taken off them into the buddy */
	struct phys_counters
		counters; /* all but pcp_alloc and pcp_free, which follow from the stacks */

	struct mempolicy policy;
	bool reclaiming; /* inside direct reclaim: its own allocations may use the reserves */
	u64 slow_pops;	 /* blocks that the slow path took from stacks */
	u64 numa_folded; /* blocks of the fast path that are in numa[] */
	struct numastat numa[KMM_MAX_NODES]; /* all but the fast path's, see mempolicy.c */

	struct page *slots[NR_ZONE_TYPES][PCP_SLOTS] CACHELINE_ALIGNED;
};

static inline struct phys_cpu *phys_cpu(struct kmm_cpu *cpu)
{
	return (struct phys_cpu *)((char *)cpu + PERCPU_PHYS_OFFSET);
}

/* From the kind of an allocated block to that of the same block in a list. */
#define PCP_KIND_STEP ((u32)(PG_TYPE_ALLOC - PG_TYPE_PCP) << 16)

/* A counter of the slot's owner that others may read. */
#define pcp_count(pcpu, name, n) WRITE_ONCE((pcpu)->counters.name, (pcpu)->counters.name + (n))

/* The stack that an allocation of this order (at most MAX_PAGE_ORDER) asks first. */
static inline struct pcp_stack *pcp_stack_for(struct phys_cpu *pcpu, gfp_t gfp, unsigned int order)
{
	char *row = (char *)pcpu + pcpu->row_of_gfp[gfp & (GFP_ROWS - 1)];

	return (struct pcp_stack *)row + order;
}

/* Take the hottest block, its head of PG_TYPE_ALLOC, into *out; false if there is none. */
static inline bool pcp_pop(struct pcp_stack *stack, struct page **out)
{
	u32 nr = stack->nr;
	struct page *page;

	if (unlikely(nr == 0))
		return false;
	page = stack->slots[nr - 1];
	KMM_DEBUG_ON(page->kind != stack->kind - PCP_KIND_STEP,
		     "frame of kind %#x on the list of %#x", page->kind, stack->kind);
	WRITE_ONCE(stack->nr, nr - 1);
	WRITE_ONCE(stack->allocs, stack->allocs + 1);
	/* The whole word: a free loads it whole, and the processor forwards only what one store
	 * wrote. */
	WRITE_ONCE(page->kind, stack->kind);
	*out = page;
	return true;
}

/* Put a block of the stack's own kind, as its struct page says now, on it; false if there is no
 * room. */
static inline bool pcp_push(struct pcp_stack *stack, struct page *page, u32 kind)
{
	u32 nr = stack->nr;

	if (unlikely(nr >= READ_ONCE(stack->high)))
		return false;
	WRITE_ONCE(page->kind, kind - PCP_KIND_STEP);
	stack->slots[nr] = page;
	WRITE_ONCE(stack->nr, nr + 1);
	return true;
}

/* How many blocks of an order a slot may hold of one zone, given the frames that all its stacks of
 * the zone may hold. */
unsigned int pcp_tune(unsigned int order, unsigned long budget);

/* Frames of a zone that one slot may hold: an eighth of the zone divided among its CPUs; slots
 * beyond the machine's CPUs get less and less, so that however many there are they hold a quarter
 * of it at most. */
unsigned long pcp_budget(unsigned long nr_managed, unsigned int nr_cpus, u32 slot,
			 unsigned int nr_machine_cpus);

/* Make a slot's stacks for the node that the slot is of. New ones, or (drained before) those of a
 * slot that has moved. */
void pcp_init(struct phys *phys, struct kmm_cpu *cpu);

/* Point row_of_gfp where the slot's node and its thread's NUMA policy want it. By the owner. */
void pcp_set_rows(struct phys *phys, struct kmm_cpu *cpu);

/* Fill an empty stack from its zone with at_most pages, and with one acquisition of its lock. False
 * if the zone has no block. */
bool pcp_refill(struct phys_cpu *pcpu, struct zone *zone, struct pcp_stack *stack,
		unsigned int order, unsigned long at_most);

/* Give the nr coldest blocks to the zone, with one acquisition of its lock. */
void pcp_drain_stack(struct phys_cpu *pcpu, struct zone *zone, struct pcp_stack *stack,
		     unsigned int order, u32 nr);

/* Empty all stacks of a slot. By its owner, or with slots_lock held while it has none. Returns the
 * frames given back. */
unsigned long pcp_drain(struct phys *phys, struct kmm_cpu *cpu);

/* Has another CPU asked for this stack's blocks? */
static inline bool pcp_drain_wanted(const struct pcp_stack *stack)
{
	return unlikely(READ_ONCE(stack->high) != stack->limit);
}

/* Ask a slot's owner for its blocks; or, for a slot that is empty and may move to another node,
 * make its next owner come through pcp_honour_drain(). */
void pcp_close(struct kmm_cpu *cpu);

/* Do as asked, and follow the slot to another node if it has moved. By the owner. */
void pcp_honour_drain(struct phys *phys, struct kmm_cpu *cpu);

/*
 * Out of memory: drain the caller's own slot and all that are idle, and ask the others. Only tries
 * slots_lock, so that it may be called with any lock of kmm held but a zone's. Returns true if
 * looking again can help.
 */
bool pcp_drain_all(struct phys *phys, struct kmm_cpu *cpu);

/* Frames in a slot's stacks. Exact for the owner. */
unsigned long pcp_nr_pages(struct kmm_cpu *cpu);

/* Check a slot's stacks, in a machine that does nothing; adds the frames in them to nr_pages[zone
 * type]. */
void pcp_validate(struct phys *phys, struct kmm_cpu *cpu, unsigned long nr_pages[NR_ZONE_TYPES]);

#endif

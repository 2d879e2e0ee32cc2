/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU page lists: free blocks that belong to one CPU slot, so that most allocations and frees
 * touch no lock. Private to alloc/phys.
 *
 * A list is a stack of pointers in the slot, one for each zone of the slot's own node, each
 * migratetype and each order: an allocation touches the stack's header, the top of its array and
 * the one cache line of the block's struct page.
 *
 *	struct phys_cpu
 *	| stack[row][0..15] ... | row_of_gfp | tune[row][0..15] | counters | slots |
 *
 *	row:    page_place() of its blocks, zone and migratetype
 *	stack:  slots -> | coldest | ... | hottest |   room   |
 *	                 0                         nr         high        (capacity: max)
 *
 * A stack opens when it is first wanted. Refills between two drains are a tide: what the CPU had in
 * use at once. A stack that is full in the ebb grows to hold all of the tide, and nothing goes back
 * to the zone. (Frames that do come back to another CPU, mixed with those of the first, so that two
 * CPUs write to struct pages in neighbouring cache lines: two threads that shuffle ran at half
 * speed.) But if the tide is higher than the list may ever be, a long list only does harm: what it
 * holds is handed out again wherever it lies, which keeps the buddy from filling the fullest
 * pageblocks first. Then it is as short as at first. Lists of whole pageblocks break nothing up,
 * and grow as far as they can. (The kernel tunes pcp->high by itself since 6.7.) The limits of a
 * zone's lists together stay within the slot's share of it: an eighth of the zone divided among its
 * CPUs, a quarter of that for single frames; and twice as much for whole pageblocks. A request to
 * drain closes all.
 *
 * A refill, too, grows with the tide: who takes a page now and then does not hold back a batch, and
 * who takes thousands gets them in long rows, so that two CPUs that do have struct pages apart from
 * each other, and each its own in all sets of its cache. (The kernel's batches grow so since 6.7.)
 *
 * A refill that would break up a pageblock that is free as a whole first gives back what the slot
 * holds in other lists of the zone: there may be room between it, and memory that a process once
 * had in use is used again before more is.
 *
 * Now and then the slot looks for stacks that nobody has taken from since the last look, and gives
 * back what they hold: frees of a zone that serves no more would lie there for ever, and each keep
 * a pageblock from becoming whole. (As the kernel's vmstat worker does for lists of remote zones.)
 *
 * Invariant of a stack: nr <= limit <= max <= capacity of its order; slots[0 .. nr) are first
 * frames of free blocks of the stack's zone and order that the buddy does not have; blocks_in ==
 * allocs + blocks_out + nr - frees, where frees is therefore not counted.
 *
 * Only the slot's owner writes to it, with two exceptions. A slot without owner belongs to whoever
 * holds machine->slots_lock. And another CPU that ran out of memory asks the owner to drain by
 * storing 0 in every `high` and then setting drain_wanted: the owner's next free finds its stack
 * full, goes the slow way, and sees why. The fast path pays nothing for it.
 *
 * A slot of zeros (a thread that has not attached) has nr 0 and high 0 everywhere, so both fast
 * paths fall through to the slow ones.
 *
 * After mm/page_alloc.c (6.1), which has linked lists through struct page for orders 0 to 3 and 9,
 * and J. Bonwick's magazines (2001). It differs in having short stacks for all other orders too,
 * two blocks or as many as a sixteenth of a slot's share holds (of order 10 a quarter).
 */
#ifndef KMM_PHYS_PCP_H
#define KMM_PHYS_PCP_H

#include "base/check.h"
#include "base/compiler.h"
#include "base/cpu.h"
#include "phys/mempolicy.h"
#include "phys/page_alloc.h"
#include "phys/zone.h"

/* nr is read right after a block's struct page is written, and that right after its memory: what
 * programs write first in a block, and `state` in struct page, are first words of cache lines. A
 * load waits for an earlier store to the same place in another page (the lowest twelve bits are
 * compared first), so nr is not one. */
struct pcp_stack {
	struct page **slots; /* constant */
	u64 state;	     /* constant: page_state() of an allocated block of this stack */
	u32 nr;		     /* blocks held */
	u32 high;	     /* blocks at which a free goes the slow way: limit, or 0 (see above) */
	u64 allocs;	     /* blocks handed out */
};

_Static_assert(sizeof(struct pcp_stack) == 32, "two stacks a cache line");

/* What only slow paths look at. In blocks. `constant` is between two pcp_init(). */
struct pcp_tune {
	u32 limit;  /* held at most; 0: not open */
	u32 base;   /* constant: limit when it opens; 0: no list for this order */
	u32 max;    /* constant: limit at most */
	u16 batch;  /* constant: a drain */
	u16 least;  /* constant: a refill at least */
	u16 most;   /* constant: and at most */
	u32 tide;   /* held after the last drain, and taken in since */
	u32 allocs; /* of the stack, at the last look for idle ones */
};

#define PCP_TIDE_MAX (1U << 24) /* no tide is counted as higher */

#define GFP_ROWS 64 /* values of the lowest six bits of gfp: zone and mobility */

#define PCP_ORDERS    16 /* stacks a row: a power of two, those beyond MAX_PAGE_ORDER stay empty */
#define PCP_ROWS      (NR_MIGRATETYPES << PLACE_ZONE_BITS)
#define PCP_EMPTY_ROW PCP_ROWS /* one more, whose stacks are always empty */

#define NR_PCP_CLASSES 3 /* single frames, smaller than a pageblock, whole pageblocks */

/* Room for blocks in the arrays, by order. Tuning decides how much of it is used. */
#define PCP_CAPACITY_0	  6144U
#define PCP_CAPACITY_LOW  5120U /* orders 1 to 3 */
#define PCP_CAPACITY_HIGH 128U	/* each order from 4 on */
#define PCP_SLOTS	  (PCP_CAPACITY_0 + 3 * PCP_CAPACITY_LOW + PCP_CAPACITY_HIGH * (NR_PAGE_ORDERS - 4))

/* A thread's NUMA policy (phys/mempolicy.h). The slot's owner only. */
struct mempolicy {
	enum mempolicy_mode mode;
	u32 last;  /* interleave: the node whose turn it was */
	u64 nodes; /* a bit a node; 0 with default and local */
};

struct phys_cpu {
	struct pcp_stack stack[PCP_ROWS + 1][PCP_ORDERS] CACHELINE_ALIGNED;
	/* Changed with the thread's NUMA policy only: where in this struct the row of stacks is
	 * that gfp's zone and mobility ask for, in bytes. The row that is always empty where the
	 * policy wants other nodes than this one. */
	u16 row_of_gfp[GFP_ROWS] CACHELINE_ALIGNED;

	u64 place; /* constant: page_state() of an allocated block of order 0, place 0, node nid */
	int nid;   /* whose zones the stacks are of; changes by pcp_init() only */
	u32 rank;  /* slots that the node had before this one; as nid */
	bool drain_wanted;		 /* set by others */
	u64 aged;			 /* others': what it had done when ageing came by */
	u32 nr_moves;			 /* refills and drains, for pcp_look_for_idle() */
	u64 blocks_in;			 /* put on stacks from the buddy */
	u64 blocks_out;			 /* taken off them into the buddy */
	u64 direct_pages[NR_ZONE_TYPES]; /* frames that its slow path took past the stacks */
	struct phys_counters
		counters; /* all but pcp_alloc and pcp_free, which follow from the stacks */
	/* Frames by which a zone's limits may still grow. */
	unsigned long room[NR_ZONE_TYPES][NR_PCP_CLASSES];
	struct pcp_tune tune[PCP_ROWS][PCP_ORDERS];

	struct mempolicy policy;
	bool reclaiming; /* inside direct reclaim: its own allocations may use the reserves */
	u64 slow_pops;	 /* blocks that the slow path took from stacks */
	u64 numa_folded; /* blocks of the fast path that are in numa[] */
	struct numastat numa[KMM_MAX_NODES]; /* all but the fast path's, see mempolicy.c */

	struct page *slots[NR_MIGRATETYPES][NR_ZONE_TYPES][PCP_SLOTS] CACHELINE_ALIGNED;
};

_Static_assert(sizeof(((struct phys_cpu *)0)->stack) <= UINT16_MAX,
	       "row_of_gfp holds offsets in it");

#define for_each_pcp_stack(pcpu, row, order)                                                       \
	for (unsigned int row = 0; row < PCP_ROWS; row++)                                          \
		for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++)

/* The stacks of one zone. */
#define for_each_pcp_stack_of(pcpu, zone, row, order)                                              \
	for (unsigned int row = (zone)->type; row < PCP_ROWS; row += 1U << PLACE_ZONE_BITS)        \
		for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++)

static inline struct phys_cpu *phys_cpu(struct kmm_cpu *cpu)
{
	return (struct phys_cpu *)((char *)cpu + PERCPU_PHYS_OFFSET);
}

/* From the state of an allocated block with one reference to that of the same block when free. */
#define PCP_STATE_STEP (((u64)(PG_TYPE_ALLOC - PG_TYPE_FREE) << 16) | 1ULL << 32)

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
	KMM_DEBUG_ON(READ_ONCE(page->type) != PG_TYPE_FREE && READ_ONCE(page->type) != PG_TYPE_NONE,
		     "frame of type %u on a list of free blocks", page->type);
	KMM_DEBUG_ON(page->flags, "a free frame has flags %#x", page->flags);
	WRITE_ONCE(stack->nr, nr - 1);
	WRITE_ONCE(stack->allocs, stack->allocs + 1);
	/* The whole word: a free loads it whole, and the processor forwards only what one store
	 * wrote. */
	WRITE_ONCE(page->state, stack->state);
	*out = page;
	return true;
}

/* Put a block on a stack of its own place and order, its state as it is now; false if there is no
 * room. */
static inline bool pcp_push(struct pcp_stack *stack, struct page *page, u64 state)
{
	u32 nr = stack->nr;

	if (unlikely(nr >= READ_ONCE(stack->high)))
		return false;
	WRITE_ONCE(page->state, state - PCP_STATE_STEP);
	stack->slots[nr] = page;
	WRITE_ONCE(stack->nr, nr + 1);
	return true;
}

/* How many blocks of an order a stack may hold at first, given the slot's share of the zone, in
 * frames. */
unsigned int pcp_tune(unsigned int order, unsigned long budget);

/* Frames of a zone that one slot may hold in lists of blocks smaller than a pageblock: an eighth of
 * the zone divided among its node's CPUs, one at least; slots of the node beyond those get less and
 * less, so that however many there are they hold a quarter of it at most. Lists of whole pageblocks
 * may hold twice as much. */
unsigned long pcp_budget(unsigned long nr_managed, unsigned int nr_cpus, u32 rank);

/* Make a slot's stacks for the node that the slot is of. New ones, or (drained before) those of a
 * slot that has moved. */
void pcp_init(struct phys *phys, struct kmm_cpu *cpu);

/* Point row_of_gfp where the slot's node and its thread's NUMA policy want it. By the owner. */
void pcp_set_rows(struct phys *phys, struct kmm_cpu *cpu);

/* Open a stack of the zone that is wanted, if it is not; where others have all the room, the
 * longest gives half of its own, by one acquisition of the zone's lock. False if there is no list.
 */
bool pcp_open(struct phys_cpu *pcpu, struct zone *zone, unsigned int row, unsigned int order);

/* Fill an empty stack from its zone with at_most frames, by one acquisition of its lock; where that
 * would break up a whole pageblock, and the slot holds others of the zone's blocks, by one for each
 * of those stacks and one more. False if the zone has no block. */
bool pcp_refill(struct phys_cpu *pcpu, struct zone *zone, unsigned int row, unsigned int order,
		unsigned long at_most);

/* Give the nr coldest blocks to the zone, with one acquisition of its lock. */
void pcp_drain_stack(struct phys_cpu *pcpu, struct zone *zone, unsigned int row, unsigned int order,
		     u32 nr);

/* A stack is full, and a block of its own is to come: let it grow, or give a batch to the zone. */
void pcp_overflow(struct phys_cpu *pcpu, struct zone *zone, unsigned int row, unsigned int order);

/* Before a refill, or after a drain: every 64th time, empty the stacks that nobody takes from.
 * zones: of the slot's node. */
void pcp_look_for_idle(struct phys_cpu *pcpu, struct zone *zones);

/* Empty all stacks of a slot. By its owner, or with slots_lock held while it has none. Returns the
 * frames given back. */
unsigned long pcp_drain(struct phys *phys, struct kmm_cpu *cpu);

/* Has another CPU asked for this slot's blocks? */
static inline bool pcp_drain_wanted(const struct phys_cpu *pcpu)
{
	/* Acquire: the request's zeros in `high` are there before we store limits over them. */
	return unlikely(__atomic_load_n(&pcpu->drain_wanted, __ATOMIC_ACQUIRE));
}

/* Empty all stacks of a slot whose owner is gone without a trace; the blocks are lost. */
void pcp_forget(struct kmm_cpu *cpu);

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

/* Ask a slot's owner for its blocks if it has done nothing since the last call. */
void pcp_age(struct kmm_cpu *cpu);

/* Frames in a slot's stacks. Exact for the owner. */
unsigned long pcp_nr_pages(struct kmm_cpu *cpu);

/* Check a slot's stacks, in a machine that does nothing; adds the frames in them to nr_pages[zone
 * type]. */
void pcp_validate(struct phys *phys, struct kmm_cpu *cpu, unsigned long nr_pages[NR_ZONE_TYPES]);

#endif

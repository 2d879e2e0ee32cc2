/* SPDX-License-Identifier: MIT */
/*
 * Allocation and free of blocks of frames, under the kernel's names.
 *
 *	alloc_pages -> this CPU's stack for (gfp's zone, order)        fast: no lock, no call
 *	    slow    -> the zonelist: refill the stack of a zone of this node, or take from its buddy
 *	            -> drain what per-CPU lists hold, and look again
 *	__free_pages -> this CPU's stack of the block's zone and order  fast: no lock, no call
 *	    slow     -> check, drain the coldest blocks; or give to the zone's buddy (other nodes)
 *
 * Locks: a zone's, one at a time. Out of memory also tries machine->slots_lock, and does not wait
 * for it, and waits for release_lock.
 *
 * The free fast path checks what it can for nothing. One comparison of struct page's `state` with
 * what a block of this node, allocated, of that order and with one reference must say finds the
 * list, and refuses double frees, tail frames, wrong orders and blocks of other nodes all at once;
 * the slow path sorts out which it was.
 *
 * After mm/page_alloc.c (6.1).
 */
#include "phys/page_alloc.h"

#include "base/check.h"
#include "phys/alloc.h"
#include "phys/page_ref.h"
#include "phys/pcp.h"
#include "phys/zone.h"

/* Out of line like KMM_COLD, but not rare (orders without a list come here each time): so compiled
 * for speed. */
#define SLOW __attribute__((noinline))

/*
 * Free, slow
 */

/* A free that cannot be: say what the frame is, and stop. */
static KMM_COLD void refuse_free(const struct kmm_cpu *cpu, const struct page *page,
				 unsigned int order)
{
	unsigned long pfn;

	KMM_BUG_ON(!page_is_ours(cpu, page), "free of %p, order %u: not a page of this machine",
		   (const void *)page, order);
	pfn = (unsigned long)(page - cpu->mem_map);
	switch ((enum page_type)READ_ONCE(page->type)) {
	case PG_TYPE_FREE:
		KMM_BUG("double free of frame %lu, order %u: it is free already", pfn, order);
	case PG_TYPE_NONE:
		KMM_BUG_ON(pfn_is_reserved(cpu->machine->phys, pfn),
			   "free of frame %lu, order %u: it is reserved", pfn, order);
		__attribute__((fallthrough));
	case PG_TYPE_TAIL:
		KMM_BUG("free of frame %lu, order %u: it begins no block", pfn, order);
	case PG_TYPE_CONTIG:
		KMM_BUG("free of frame %lu, order %u: it begins a run of %lu frames", pfn, order,
			page->nr_contig);
	case PG_TYPE_SLAB:
	case PG_TYPE_TABLE:
		KMM_BUG("free of frame %lu, order %u: it is in use (type %u)", pfn, order,
			page->type);
	case PG_TYPE_ALLOC:
	case PG_TYPE_HEAD:
		break;
	}
	KMM_BUG_ON(READ_ONCE(page->order) != order,
		   "free of frame %lu, order %u: it was allocated with order %u", pfn, order,
		   page->order);
}

/* Free a block that has no references. */
static void free_block(struct kmm_cpu *cpu, struct page *page)
{
	struct phys *phys = cpu->machine->phys;
	struct phys_cpu *pcpu = phys_cpu(cpu);
	const unsigned int order = READ_ONCE(page->order);
	unsigned int row;
	struct zone *zone;

	page_prepare_free(page);
	row = READ_ONCE(page->place);
	zone = page_zone(phys, page);
	if (pcp_drain_wanted(pcpu))
		pcp_honour_drain(phys, cpu);
	if (zone->nid == pcpu->nid && pcp_open(pcpu, zone, row, order)) {
		struct pcp_stack *stack = &pcpu->stack[row][order];

		if (stack->nr >= pcpu->tune[row][order].limit)
			pcp_overflow(pcpu, zone, row, order);
		if (pcp_push(stack, page, stack->state))
			return;
	}
	zone_give(pcpu, zone, page, order);
}

static SLOW void free_pages_slow(struct page *page, unsigned int order)
{
	struct kmm_cpu *cpu = cpu_get();

	refuse_free(cpu, page, order);
	/* The only reference is the caller's, or it is given up: whoever drops the last one frees. */
	if (page_ref_last(page) || put_page_testzero(page))
		free_block(cpu, page);
}

void __put_page(struct page *page)
{
	struct kmm_cpu *cpu = cpu_get();

	if (READ_ONCE(page->type) == PG_TYPE_CONTIG) {
		contig_release(cpu, page);
		return;
	}
	refuse_free(cpu, page, READ_ONCE(page->order));
	free_block(cpu, page);
}

/*
 * Fast paths
 */

static inline bool alloc_pages_fast(struct kmm_cpu *cpu, gfp_t gfp, unsigned int order,
				    struct page **out)
{
	if (unlikely(order > MAX_PAGE_ORDER) || unlikely(gfp & GFP_PREPARE))
		return false;
	return pcp_pop(pcp_stack_for(phys_cpu(cpu), gfp, order), out);
}

struct page *alloc_pages(gfp_t gfp, unsigned int order)
{
	struct page *page;

	if (likely(alloc_pages_fast(this_cpu, gfp, order, &page)))
		return page;
	return alloc_pages_slow(NUMA_NO_NODE, gfp, order);
}

struct page *alloc_pages_node(int nid, gfp_t gfp, unsigned int order)
{
	struct kmm_cpu *cpu = this_cpu;
	struct page *page;

	if (likely(nid == NUMA_NO_NODE || nid == cpu->nid) &&
	    likely(alloc_pages_fast(cpu, gfp, order, &page)))
		return page;
	return alloc_pages_slow(nid, gfp, order);
}

static inline bool free_pages_fast(struct kmm_cpu *cpu, struct page *page, unsigned int order)
{
	struct phys_cpu *pcpu = phys_cpu(cpu);
	u64 state, row;

	if (unlikely(order > MAX_PAGE_ORDER) || unlikely(!page_is_ours(cpu, page)))
		return false;
	/* Acquire: what others did with references of theirs is done before the block is free. */
	state = __atomic_load_n(&page->state, __ATOMIC_ACQUIRE);
	row = state - pcpu->place - ((u64)order << 24);
	if (unlikely(row >= PCP_ROWS))
		return false;
	return pcp_push(&pcpu->stack[row][order], page, state);
}

void __free_pages(struct page *page, unsigned int order)
{
	if (unlikely(!free_pages_fast(this_cpu, page, order)))
		free_pages_slow(page, order);
}

/*
 * By address
 */

void *page_address(const struct page *page)
{
	const struct kmm_cpu *cpu = cpu_get();
	unsigned long offset = (unsigned long)page - (unsigned long)cpu->mem_map;

	/* Only HighMem is outside the direct map, and only the i386 layout has it. */
	return unlikely(page_zonenum(page) == ZONE_HIGHMEM)
		       ? kmap_address(cpu->machine->phys, page)
		       : cpu->direct_map + (offset << (PAGE_SHIFT - PAGE_STRUCT_SHIFT));
}

/* Zones that may lie outside the direct map. */
#define GFP_NO_ADDRESS (__GFP_HIGHMEM | __GFP_SHARED)

static KMM_COLD unsigned long get_free_pages_slow(gfp_t gfp, unsigned int order)
{
	struct page *page = alloc_pages_slow(NUMA_NO_NODE, gfp & ~__GFP_HIGHMEM, order);
	void *addr;

	if (!page)
		return 0;
	addr = page_address(page);
	if (!addr)
		__free_pages(page, order);
	return (unsigned long)addr;
}

unsigned long __get_free_pages(gfp_t gfp, unsigned int order)
{
	struct kmm_cpu *cpu = this_cpu;
	struct page *page;

	if (unlikely(gfp & GFP_NO_ADDRESS) || unlikely(!alloc_pages_fast(cpu, gfp, order, &page)))
		return get_free_pages_slow(gfp, order);
	return (unsigned long)cpu->direct_map + (((unsigned long)page - (unsigned long)cpu->mem_map)
						 << (PAGE_SHIFT - PAGE_STRUCT_SHIFT));
}

unsigned long get_zeroed_page(gfp_t gfp)
{
	return __get_free_pages(gfp | __GFP_ZERO, 0);
}

static KMM_COLD void free_addr_slow(unsigned long addr, unsigned int order)
{
	if (!addr)
		return;
	KMM_BUG_ON(!virt_addr_valid((void *)addr) || addr & ~PAGE_MASK,
		   "free of address %#lx, order %u: not the start of a page of this machine", addr,
		   order);
	free_pages_slow(virt_to_page((void *)addr), order);
}

void free_pages(unsigned long addr, unsigned int order)
{
	struct kmm_cpu *cpu = this_cpu;
	unsigned long offset = addr - (unsigned long)cpu->direct_map;
	struct page *page = (struct page *)((char *)cpu->mem_map +
					    (offset >> (PAGE_SHIFT - PAGE_STRUCT_SHIFT)));

	if (unlikely(addr & ~PAGE_MASK) || unlikely(!free_pages_fast(cpu, page, order)))
		free_addr_slow(addr, order);
}

/* SPDX-License-Identifier: MIT */
/*
 * Runs of pages, and a few free ones at hand in each slot: a layer of the heap's machine, above slab.
 *
 *	run_at_hand  this CPU's free runs of that length       no lock
 *	run_alloc    alloc_contig_pages, of which no hole is   the zone's
 *		     left; alloc_page_run of powers of two     as the page allocator
 *	run_keep     this CPU's free runs, if they are few
 *	run_free     back where it came from; now and then all the slot's, when it is full
 *
 * Longer ones than the largest block of pages are of whole pageblocks (alloc_contig_pages), and go back
 * to the page allocator at once: it keeps their memory for a while, so that a program that needs large
 * buffers again and again does not get them from the host each time.
 *
 * Lengths of the others are rounded up to eight steps in each doubling, so that a free run fits the
 * next allocation of about its size; pages that nobody asked for are not touched, and so cost
 * nothing.
 *
 *	pages	1 2 3 ... 15 16 | 18 20 ... 30 32 | 36 40 ... 64 | ... | 576 640 ... 1024
 *
 * The first frame of a run has in `private` a tag and the length. No other owner of pages uses the tag;
 * it changes while the run is free, so that a second free is seen.
 *
 * Invariant of a slot: cached_bytes is the sum of its free runs, and at most RUNS_CACHED_BYTES. Sums of
 * in_use_bytes over all slots are what is allocated; a slot's own may be negative.
 */
#include "malloc/runs.h"

#include <errno.h>

#include "base/bits.h"
#include "base/check.h"
#include "base/machine.h"
#include "malloc/heap.h"
#include "phys/page_alloc.h"
#include "slab/cache.h"

#define TAG_ALL	 0xffffff0000000000UL
#define TAG_USED 0x6b6d6d0000000000UL
#define TAG_FREE 0x4b4d4d0000000000UL

#define NR_LENGTHS	  65
#define RUNS_CACHED	  4	      /* free runs of one length that a slot keeps */
#define RUNS_CACHED_BYTES (1UL << 20) /* of all lengths together */
#define RUNS_REFUSED	  32 /* frees that it has no room for, and then it gives all back */
#define RUN_CACHED_MAX	  (RUNS_CACHED_BYTES / 2 >> PAGE_SHIFT) /* pages of one that is kept */

struct run_stack {
	u32 nr;
	struct page *runs[RUNS_CACHED];
};

/* One in each slot; zeros are an empty one. The slot's owner only, but for reads of the counters. */
struct run_cpu {
	u64 cached_bytes;
	u64 in_use_bytes; /* allocated by this slot less freed by it */
	u32 nr_refused;	  /* frees for which the slot was full */
	struct run_stack stacks[NR_LENGTHS];
};

static size_t percpu_offset; /* of struct run_cpu in a slot; constant once booted */

static struct run_cpu *run_cpu(struct kmm_cpu *cpu)
{
	return percpu_ptr(cpu, percpu_offset);
}

/* The number of a length, which is rounded up to it. Eight steps for each power of two. */
static unsigned int length_class(unsigned long *nr)
{
	unsigned int shift = *nr < 8 ? 0 : __fls(*nr) - 3;
	unsigned long steps = (*nr + (1UL << shift) - 1) >> shift;

	*nr = steps << shift;
	return shift * 8 + (unsigned int)steps;
}

static void count_in_use(struct run_cpu *cpu, unsigned long plus, unsigned long minus)
{
	WRITE_ONCE(cpu->in_use_bytes, cpu->in_use_bytes + ((plus - minus) << PAGE_SHIFT));
}

static SLOW struct page *new_run(unsigned long nr, unsigned int align_order)
{
	struct page *page = NULL;

	/* One that leaves no hole behind its end; and none among blocks: nothing else is movable here, so
	 * that these runs have pageblocks of their own. */
	if (!is_power_of_2(nr) && !align_order)
		page = alloc_contig_pages(nr, GFP_NOWAIT | __GFP_NOWARN | __GFP_MOVABLE,
					  NUMA_NO_NODE);
	if (page)
		return page;
	return alloc_page_run(nr, align_order, GFP_KERNEL | __GFP_NOWARN);
}

static SLOW struct page *new_long_run(unsigned long nr, size_t align)
{
	return align <= HPAGE_SIZE ? alloc_contig_pages(nr, GFP_NOWAIT | __GFP_NOWARN, NUMA_NO_NODE)
				   : NULL;
}

static unsigned long pages_of(size_t size)
{
	return (size + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

static inline void *hand_out(struct run_cpu *cpu, struct page *page, unsigned long nr)
{
	page->private = TAG_USED | nr;
	count_in_use(cpu, nr, 0);
	return this_cpu->direct_map + ((unsigned long)(page - this_cpu->mem_map) << PAGE_SHIFT);
}

void *run_at_hand(size_t size)
{
	unsigned long nr = pages_of(size);
	struct run_cpu *cpu = run_cpu(this_cpu);
	struct run_stack *stack = &cpu->stacks[length_class(&nr)];

	/* While the machine is booted the thread has a slot that has no part of ours yet. */
	if (unlikely(!percpu_offset) || unlikely(!stack->nr))
		return NULL;
	cpu->cached_bytes -= nr << PAGE_SHIFT;
	return hand_out(cpu, stack->runs[--stack->nr], nr);
}

/* A new one of at most RUN_BLOCK_BYTES; *nr is rounded up. */
static struct page *run_of_block(unsigned long *nr, size_t align)
{
	(void)length_class(nr);
	if (align > PAGE_SIZE)
		return align <= RUN_BLOCK_BYTES ? new_run(*nr, get_order(align)) : NULL;
	return new_run(*nr, 0);
}

void *run_alloc(size_t size, size_t align)
{
	unsigned long nr = pages_of(size);
	struct page *page;
	void *addr = NULL;

	if (size <= RUN_BLOCK_BYTES && align <= PAGE_SIZE)
		addr = run_at_hand(size);
	if (addr)
		return addr;
	page = size <= RUN_BLOCK_BYTES ? run_of_block(&nr, align) : new_long_run(nr, align);
	return page ? hand_out(run_cpu(this_cpu), page, nr) : NULL;
}

static unsigned long run_pages(const struct page *page, const void *addr)
{
	const enum page_type type = READ_ONCE(page->type);

	if ((type != PG_TYPE_ALLOC && type != PG_TYPE_CONTIG) ||
	    (page->private & TAG_ALL) != TAG_USED || (uintptr_t)addr & ~PAGE_MASK)
		return 0;
	return page->private & ~TAG_ALL;
}

size_t run_size(const struct page *page, const void *addr)
{
	return run_pages(page, addr) << PAGE_SHIFT;
}

/* Keep a free run at hand, if it is of a length that is asked for, and there is room. */
static inline bool keep(struct run_cpu *cpu, struct page *page, unsigned long nr)
{
	unsigned long rounded = nr;
	struct run_stack *stack;

	if (nr > RUN_CACHED_MAX || cpu->cached_bytes + (nr << PAGE_SHIFT) > RUNS_CACHED_BYTES)
		return false;
	stack = &cpu->stacks[length_class(&rounded)];
	if (rounded != nr || stack->nr == RUNS_CACHED)
		return false;
	page->private = TAG_FREE | nr;
	stack->runs[stack->nr++] = page;
	cpu->cached_bytes += nr << PAGE_SHIFT;
	return true;
}

static SLOW void end_run(struct page *page, unsigned long nr)
{
	page->private = 0;
	if (contig_nr_pages(page))
		free_contig_range(page, nr);
	else
		shrink_page_run(page, nr, 0);
}

static void runs_cpu_drain(struct kmm *machine, struct kmm_cpu *cpu)
{
	struct run_cpu *runs = run_cpu(cpu);

	(void)machine;
	for (unsigned int i = 0; runs->cached_bytes && i < NR_LENGTHS; i++) {
		struct run_stack *stack = &runs->stacks[i];

		while (stack->nr) {
			struct page *page = stack->runs[--stack->nr];
			unsigned long nr = page->private & ~TAG_ALL;

			runs->cached_bytes -= nr << PAGE_SHIFT;
			end_run(page, nr);
		}
	}
}

bool run_keep(void *addr)
{
	struct run_cpu *cpu = run_cpu(this_cpu);
	unsigned long nr;
	struct page *page;

	if (unlikely(!percpu_offset) || unlikely(!cpu_frame(this_cpu, addr, &page)))
		return false;
	nr = run_pages(page, addr);
	if (unlikely(!nr) || unlikely(!keep(cpu, page, nr)))
		return false;
	count_in_use(cpu, 0, nr);
	return true;
}

void run_free(struct page *page, void *addr, bool at_hand)
{
	unsigned long nr = run_pages(page, addr);
	struct run_cpu *cpu = run_cpu(this_cpu);

	count_in_use(cpu, 0, nr);
	/* What fills the slot may be of lengths that nobody asks for any more. */
	if (at_hand && nr <= RUN_CACHED_MAX &&
	    cpu->cached_bytes + (nr << PAGE_SHIFT) > RUNS_CACHED_BYTES &&
	    ++cpu->nr_refused % RUNS_REFUSED == 0)
		runs_cpu_drain(heap.machine, this_cpu);
	if (!at_hand || !keep(cpu, page, nr))
		end_run(page, nr);
}

void run_shrink(struct page *page, const void *addr, size_t size)
{
	unsigned long nr = run_pages(page, addr), left = pages_of(size);

	if (!contig_nr_pages(page))
		(void)length_class(&left);
	if (left >= nr)
		return;
	page->private = TAG_USED | left;
	count_in_use(run_cpu(this_cpu), left, nr);
	if (contig_nr_pages(page))
		shrink_contig_range(page, nr, left);
	else
		shrink_page_run(page, nr, left);
}

u64 runs_bytes(void)
{
	u64 bytes = 0;

	for (struct kmm_cpu *cpu = cpu_first(heap.machine); cpu; cpu = cpu_next(heap.machine, cpu))
		bytes += READ_ONCE(run_cpu(cpu)->in_use_bytes);
	return bytes;
}

/*
 * The layer
 */

static int runs_boot(struct kmm *machine)
{
	percpu_offset = percpu_alloc(machine, sizeof(struct run_cpu), CACHELINE_SIZE);
	return percpu_offset ? 0 : -ENOMEM;
}

static void runs_cpu_forget(struct kmm *machine, struct kmm_cpu *cpu)
{
	struct run_cpu *runs = run_cpu(cpu);

	(void)machine;
	runs->cached_bytes = 0;
	/* Whatever it was in the middle of; what was never written to stays so. */
	for (unsigned int i = 0; i < NR_LENGTHS; i++)
		if (runs->stacks[i].nr)
			runs->stacks[i].nr = 0;
}

/* The heap's machine ends with the process; only a boot that fails comes here. */
static void runs_shutdown(struct kmm *machine, struct kmm_leaks *leaks)
{
	(void)leaks;
	percpu_free(machine, percpu_offset, sizeof(struct run_cpu));
}

const struct kmm_layer runs_layer = {
	.name = "runs",
	.boot = runs_boot,
	.cpu_drain = runs_cpu_drain,
	.cpu_forget = runs_cpu_forget,
	.shutdown = runs_shutdown,
};

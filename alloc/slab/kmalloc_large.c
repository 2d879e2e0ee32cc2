/* SPDX-License-Identifier: MIT */
/*
 * kmalloc beyond the largest cache: contiguous pages, marked in the struct page of the first.
 *
 *	page->private   LARGE_KMALLOC | how many pages
 *
 * A second free, or a free of pages that did not come from here, is seen by the mark, which is
 * gone with the free; frames inside have none.
 *
 * With the kernel's classes the pages are a power of two. With the fine ones they are as many as the
 * size fills, and krealloc() gives back what is no longer asked for. Up to the largest block it is
 * blocks (alloc_page_run, phys/page_alloc.h), beyond that pageblocks (alloc_contig_pages).
 *
 * No locks of slab's. After kmalloc_large() of mm/slab_common.c (6.1), which knows powers of two
 * only.
 */
#include <string.h>

#include "phys/page_alloc.h"
#include "slab/cache.h"

#define LISTED_PAGES  16 /* fine powers of two beyond that bypass the page lists */
#define LARGE_SHIFT   24 /* bits for the number of pages */
#define LARGE_KMALLOC (0x6c61726765UL << LARGE_SHIFT)

/* Where kmalloc's pages never lie, and what they never are. */
#define GFP_NOT_KMALLOC (__GFP_HIGHMEM | __GFP_MOVABLE | __GFP_SHARED | __GFP_COMP)

_Static_assert(KMALLOC_MAX_SIZE >> PAGE_SHIFT < 1UL << LARGE_SHIFT, "the number of pages fits");

static struct slab_cpu *slab_cpu(struct kmm_cpu *cpu)
{
	return percpu_ptr(cpu, cpu->machine->slab->cpu_counters);
}

static bool is_fine(const struct kmm *machine)
{
	return machine->config.kmalloc_classes == KMALLOC_CLASSES_FINE;
}

/* Pages that hold size bytes, by the machine's classes. */
static unsigned long nr_pages_for(const struct kmm *machine, size_t size)
{
	unsigned long nr = (size + PAGE_SIZE - 1) >> PAGE_SHIFT;

	return is_fine(machine) ? nr : roundup_pow_of_two(nr);
}

/*
 * Runs fit behind one another, but leave holes among blocks. With fine classes, which are for who
 * would save memory, they lie among what is called movable, with which a heap has nothing else to do;
 * whatever kind of pages the caller asked for.
 */
static gfp_t run_gfp(const struct kmm *machine, gfp_t gfp)
{
	return is_fine(machine) ? (gfp & ~GFP_MOVABLE_MASK) | __GFP_MOVABLE : gfp;
}

/*
 * Powers of two come out of this CPU's page lists. What is none is cut to size in the zone, and goes
 * back there as one: its pieces would lie in the lists of their orders, and the next one be cut from
 * memory that was never used. With fine classes large powers of two do the same, so that no list holds
 * them back; a lock is nothing against the use of so much.
 */
static struct page *alloc_run(struct kmm *machine, unsigned long nr, gfp_t gfp, int nid)
{
	struct page *page;

	if (nr > MAX_ORDER_NR_PAGES)
		return alloc_contig_pages(nr, gfp, nid);
	if (!is_power_of_2(nr) || (nr > LISTED_PAGES && is_fine(machine))) {
		page = alloc_contig_pages(nr, run_gfp(machine, gfp_easy(gfp)), nid);
		if (page)
			return page;
	}
	/* Pages that a run gives back need no zeros. */
	page = alloc_page_run_node(nid, nr, 0, gfp & ~__GFP_ZERO);
	if (page && gfp & __GFP_ZERO)
		memset(page_address(page), 0, nr << PAGE_SHIFT);
	return page;
}

/* Keep the first pages of a run, or none. */
static void shrink_run(struct page *page, unsigned long nr, unsigned long keep)
{
	if (page->type == PG_TYPE_ALLOC)
		shrink_page_run(page, nr, keep);
	else if (keep)
		shrink_contig_range(page, nr, keep);
	else
		free_contig_range(page, nr);
}

void *kmalloc_large(size_t size, gfp_t gfp, int nid)
{
	struct kmm_cpu *cpu = cpu_get();
	unsigned long nr;
	struct page *page;

	if (size > KMALLOC_MAX_SIZE)
		return NULL;
	nr = nr_pages_for(cpu->machine, size);
	page = alloc_run(cpu->machine, nr, gfp & ~GFP_NOT_KMALLOC, nid);
	if (!page)
		return NULL;
	page->private = LARGE_KMALLOC | nr;
	slab_cpu(cpu)->large_allocs++;
	return page_address(page);
}

/* How many pages kmalloc gave for an object that lies in this one. Stops the program at others. */
static unsigned long nr_pages_of(const struct page *page, const void *object)
{
	unsigned long nr = page->private ^ LARGE_KMALLOC;

	KMM_BUG_ON((page->type != PG_TYPE_ALLOC && page->type != PG_TYPE_CONTIG) ||
			   nr >> LARGE_SHIFT || !IS_ALIGNED((unsigned long)object, PAGE_SIZE),
		   "%p is not from kmalloc, or freed already", object);
	return nr;
}

size_t large_size(const struct page *page, const void *object)
{
	return nr_pages_of(page, object) << PAGE_SHIFT;
}

void kfree_large(struct kmm_cpu *cpu, struct page *page, void *object)
{
	unsigned long nr = nr_pages_of(page, object);

	page->private = 0;
	slab_cpu(cpu)->large_frees++;
	shrink_run(page, nr, 0);
}

/*
 * The object needs size bytes from now on, no more than it has. A little less is no reason to take
 * pages from one that may grow again.
 */
void large_shrink(struct page *page, const void *object, size_t size)
{
	const struct kmm *machine = cpu_get()->machine;
	unsigned long nr = nr_pages_of(page, object), keep = nr_pages_for(machine, size);

	if (!is_fine(machine) || nr - keep < nr / 4 || nr == keep)
		return;
	shrink_run(page, nr, keep);
	page->private = LARGE_KMALLOC | keep;
}

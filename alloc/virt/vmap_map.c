/* SPDX-License-Identifier: MIT */
/*
 * Making and unmaking areas: frames, addresses, the host's mappings and the kernel page tables.
 * What one takes from where, in this order, and gives back in the other:
 *
 *	frames		page allocator, __GFP_SHARED, large blocks first, for few runs; or the
 *			caller's own
 *	addresses	vmap_space, with the guard page; and nr_runs + 1 host mappings
 *	host mapping	one host_shared_map a run of contiguous frames
 *	page tables	one pgtable_map a run
 *
 * A host mapping beside the reservation is at most two for the host, itself and the gap behind it
 * (the guard page), so an area of n runs costs n + 1.
 *
 * Page tables never say more than the host has mapped: they are written after mmap and cleared
 * before munmap.
 */
#include <errno.h>

#include "arch/host.h"
#include "base/bits.h"
#include "base/check.h"
#include "phys/page_alloc.h"
#include "phys/zone.h"
#include "slab/kmalloc.h"
#include "slab/slab.h"
#include "virt/virt.h"

/* An area's frames in the order of addresses: pages that the caller brings, or blocks. */
struct frames {
	struct page *const *pages; /* NULL: blocks */
	unsigned int nr;	   /* of pages, those left */
	const struct list_head *head, *at;
};

/* Contiguous frames of one zone, so of one file. */
struct run {
	const struct zone *zone;
	unsigned long pfn, nr_pages;
};

void vmap_blocks_free(struct list_head *blocks)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, blocks, lru)
		__free_pages(page, page->order);
	INIT_LIST_HEAD(blocks);
}

/* nr_pages frames in as large blocks as there are; all or none. Only the smallest are worth a
 * search for memory. */
static int blocks_alloc(struct list_head *blocks, unsigned int nr_pages, s32 home)
{
	unsigned int order = MAX_PAGE_ORDER;

	INIT_LIST_HEAD(blocks);
	while (nr_pages) {
		struct page *page;

		order = min_t(unsigned int, order, ilog2(nr_pages));
		page = alloc_pages_node(home, order ? VMALLOC_GFP_EASY : VMALLOC_GFP, order);
		if (page) {
			list_add_tail(&page->lru, blocks);
			nr_pages -= 1U << order;
		} else if (order) {
			order--;
		} else {
			vmap_blocks_free(blocks);
			return -ENOMEM;
		}
	}
	return 0;
}

static struct frames frames_of(const struct vmap_area *area, struct page *const *pages)
{
	return (struct frames){pages, area->nr_pages, &area->blocks, area->blocks.next};
}

/* The next block of frames, which may be one; NULL at the end. */
static const struct page *frames_next(const struct frames *frames, unsigned long *nr_pages)
{
	const struct page *page;

	if (frames->pages) {
		*nr_pages = 1;
		return frames->nr ? *frames->pages : NULL;
	}
	if (frames->at == frames->head)
		return NULL;
	page = list_entry(frames->at, struct page, lru);
	*nr_pages = 1UL << page->order;
	return page;
}

static void frames_advance(struct frames *frames)
{
	if (frames->pages) {
		frames->pages++;
		frames->nr--;
	} else {
		frames->at = frames->at->next;
	}
}

/* Take the next run off. False at the end. */
static bool run_next(const struct kmm *machine, struct frames *frames, struct run *run)
{
	const struct page *page;
	unsigned long nr_pages;

	run->nr_pages = 0;
	while ((page = frames_next(frames, &nr_pages))) {
		unsigned long pfn = (unsigned long)(page - machine->mem_map);

		/* By its number: it may lie in a block of which only the head says its zone. */
		if (!run->nr_pages)
			*run = (struct run){pfn_zone(machine->phys, pfn), pfn, 0};
		else if (pfn >= run->zone->end_pfn || pfn != run->pfn + run->nr_pages)
			break;
		run->nr_pages += nr_pages;
		frames_advance(frames);
	}
	return run->nr_pages;
}

static unsigned int runs_count(const struct kmm *machine, struct frames frames)
{
	unsigned int nr = 0;
	struct run run;

	while (run_next(machine, &frames, &run))
		nr++;
	return nr;
}

unsigned int vmap_runs_count(const struct kmm *machine, const struct vmap_area *area)
{
	return runs_count(machine, frames_of(area, NULL));
}

/* Host mappings and page tables of all runs. After an error some may be there: vmap_areas_unmake.
 */
static int frames_map(struct virt *virt, struct virt_cpu *vcpu, void *start, struct frames frames,
		      pgprot_t prot)
{
	unsigned long nr_mapped = 0;
	struct run run;
	int err;

	while (run_next(virt->machine, &frames, &run)) {
		char *addr = (char *)start + (nr_mapped << PAGE_SHIFT);
		size_t size = run.nr_pages << PAGE_SHIFT;

		err = host_shared_map(addr, size, run.zone->memfd,
				      zone_memfd_offset(run.zone, run.pfn), true);
		VIRT_COUNT(vcpu, map_calls);
		if (!err && !(prot & PTE_WRITE))
			err = host_write_protect(addr, size);
		if (!err)
			err = pgtable_map(virt->kernel, (u64)addr, run.pfn, run.nr_pages, prot,
					  true);
		if (err)
			return err;
		nr_mapped += run.nr_pages;
	}
	return 0;
}

/* An address range and the right to the host mappings it needs. */
static int area_place(struct virt *virt, struct vmap_area *area)
{
	unsigned long size = ((unsigned long)area->nr_pages + 1) << PAGE_SHIFT;
	unsigned long least = 1UL << area->align_shift;
	/* Where large leaves may be had; else any page. */
	unsigned long align =
		max_t(unsigned long, least, size > HPAGE_SIZE ? HPAGE_SIZE : PAGE_SIZE);
	int err = -ENOMEM;

	lock_acquire(&virt->lock);
	if (align > PAGE_SIZE && !virt->space.unused) {
		/* An aligned place may cut a free range in the middle. Without a struct for that it
		 * will be an unaligned one, or none if the caller wants it aligned: no reason to
		 * reclaim, which would take a lock that ranks before ours. */
		struct vmap_area *spare = kmem_cache_alloc(virt->cache, GFP_NOWAIT);

		if (spare)
			vmap_space_add_unused(&virt->space, &spare->range);
	}
	if (virt->nr_mappings + area->nr_runs + 1 <= virt->max_mappings) {
		err = vmap_space_take(&virt->space, size, align, &area->range);
		if (err && align > least)
			err = vmap_space_take(&virt->space, size, least, &area->range);
	}
	if (!err) {
		virt->nr_mappings += area->nr_runs + 1;
		area->addr = (void *)area->range.start;
	}
	lock_release(&virt->lock);
	return err;
}

void vmap_range_give_locked(struct virt *virt, struct vmap_range *range)
{
	struct vmap_range *unused;

	vmap_space_give(&virt->space, range);
	/* One stays, for a range that has to be cut in the middle. */
	while (virt->space.unused && virt->space.unused->node.rb_right) {
		unused = vmap_space_unused(&virt->space);
		kmem_cache_free(virt->cache, container_of(unused, struct vmap_area, range));
	}
}

static void area_unplace_locked(struct virt *virt, struct vmap_area *area)
{
	virt->nr_mappings -= area->nr_runs + 1;
	WRITE_ONCE(*vmap_area_slot(virt, (unsigned long)area->addr), NULL);
	kfree(area->block);
	area->block = NULL;
	vmap_range_give_locked(virt, &area->range);
}

int vmap_addresses_unmap(struct virt *virt, unsigned long start, unsigned long end)
{
	pgtable_unmap(virt->kernel, start, (end - start) >> PAGE_SHIFT);
	return host_shared_unmap((void *)start, end - start);
}

/* An area that vcpu is unmapping too, if range is one. */
static struct vmap_area *unmapping(struct vmap_range *range, const struct virt_cpu *vcpu)
{
	struct vmap_area *area = range ? container_of(range, struct vmap_area, range) : NULL;

	return area && area->unmapping == vcpu ? area : NULL;
}

/* Move the first of areas, and all that adjoin it and each other, to group, in the order of
 * addresses. Neighbours include each other's guard pages, which are not mapped. */
static void group_take_locked(const struct virt_cpu *vcpu, struct list_head *areas,
			      struct list_head *group)
{
	struct vmap_area *area = list_first_entry(areas, struct vmap_area, lazy_age), *next;
	unsigned long end;

	while ((next = unmapping(vmap_space_prev(&area->range), vcpu)) &&
	       next->range.start + next->range.size == area->range.start)
		area = next;
	do {
		area->unmapping = NULL;
		list_move_tail(&area->lazy_age, group);
		end = area->range.start + area->range.size;
		area = unmapping(vmap_space_next(&area->range), vcpu);
	} while (area && area->range.start == end);
}

static int group_unmap(struct virt *virt, struct list_head *group)
{
	struct vmap_area *first = list_first_entry(group, struct vmap_area, lazy_age);
	struct vmap_area *last = list_last_entry(group, struct vmap_area, lazy_age), *area;
	int err = vmap_addresses_unmap(virt, first->range.start,
				       last->range.start + last->range.size - PAGE_SIZE);

	if (!err)
		list_for_each_entry(area, group, lazy_age)
			vmap_blocks_free(&area->blocks);
	return err;
}

void vmap_areas_unmake(struct virt *virt, struct virt_cpu *vcpu, struct list_head *areas)
{
	struct list_head group = LIST_HEAD_INIT(group), of_groups = LIST_HEAD_INIT(of_groups);
	struct vmap_area *area, *next;
	int err;

	lock_acquire(&virt->lock);
	list_for_each_entry_safe(area, next, areas, lazy_age) {
		if (area->group)
			list_move_tail(&area->lazy_age, &of_groups);
		else
			area->unmapping = vcpu;
	}
	while (!list_empty(areas)) {
		group_take_locked(vcpu, areas, &group);
		lock_release(&virt->lock);
		err = group_unmap(virt, &group);
		lock_acquire(&virt->lock);
		list_for_each_entry_safe(area, next, &group, lazy_age) {
			list_del(&area->lazy_age);
			virt->nr_unmaking--;
			virt->nr_unmade++;
			if (err)
				list_add(&area->lazy_age, &virt->stuck);
			else
				area_unplace_locked(virt, area);
		}
	}
	vmap_group_areas_unmake_locked(virt, &of_groups);
	lock_release(&virt->lock);
}

static struct vmap_area *area_new(const struct virt *virt, const struct vmap_wish *wish,
				  enum vmap_kind kind)
{
	struct vmap_area *area = kmem_cache_alloc(virt->cache, GFP_KERNEL);

	if (!area)
		return NULL;
	area->nr_pages = area->nr_used = wish->nr_pages;
	area->home = wish->home;
	area->kind = (u8)kind;
	area->align_shift = wish->align_shift;
	area->bin = kind == VMAP_VMALLOC ? vmap_bin(wish) : VMAP_BINS;
	area->state = VMAP_BUSY;
	area->unmapping = NULL;
	area->block = NULL;
	area->group = NULL;
	INIT_LIST_HEAD(&area->blocks);
	return area;
}

/* The area has its frames: make it LIVE. NULL: nothing is left of it, its frames apart that are the
 * caller's. */
static struct vmap_area *area_finish(struct virt *virt, struct virt_cpu *vcpu,
				     struct vmap_area *area, struct page *const *pages,
				     pgprot_t prot)
{
	struct list_head failed = LIST_HEAD_INIT(failed);

	area->nr_runs = runs_count(virt->machine, frames_of(area, pages));
	if (area_place(virt, area)) {
		vmap_blocks_free(&area->blocks);
		kmem_cache_free(virt->cache, area);
		return NULL;
	}
	if (frames_map(virt, vcpu, area->addr, frames_of(area, pages), prot)) {
		list_add(&area->lazy_age, &failed);
		lock_acquire(&virt->lock);
		virt->nr_unmaking++;
		lock_release(&virt->lock);
		vmap_areas_unmake(virt, vcpu, &failed);
		return NULL;
	}
	/* Under the lock, so that whoever holds it and finds an area that is not BUSY may read it.
	 */
	lock_acquire(&virt->lock);
	WRITE_ONCE(*vmap_area_slot(virt, area->range.start), area);
	WRITE_ONCE(area->state, VMAP_LIVE);
	lock_release(&virt->lock);
	return area;
}

struct vmap_area *vmap_area_make(struct virt *virt, struct virt_cpu *vcpu,
				 const struct vmap_wish *wish)
{
	struct vmap_area *area = area_new(virt, wish, VMAP_VMALLOC);

	if (!area)
		return NULL;
	if (blocks_alloc(&area->blocks, wish->nr_pages, wish->home)) {
		kmem_cache_free(virt->cache, area);
		return NULL;
	}
	return area_finish(virt, vcpu, area, NULL, PAGE_KERNEL);
}

struct vmap_area *vmap_area_make_of(struct virt *virt, struct virt_cpu *vcpu, enum vmap_kind kind,
				    const struct vmap_wish *wish, struct page *const *pages,
				    pgprot_t prot)
{
	struct vmap_area *area = area_new(virt, wish, kind);

	return area ? area_finish(virt, vcpu, area, pages, prot) : NULL;
}

struct vmap_area *vmap_area_make_block(struct virt *virt, s32 home, struct vmap_block *block)
{
	struct vmap_wish wish = {VMAP_BLOCK_PAGES, home, VMAP_BLOCK_SHIFT};
	struct vmap_area *area = area_new(virt, &wish, VMAP_BLOCK);

	if (!area)
		return NULL;
	area->nr_runs = 0;
	if (area_place(virt, area)) {
		kmem_cache_free(virt->cache, area);
		return NULL;
	}
	lock_acquire(&virt->lock);
	area->block = block;
	block->area = area;
	list_add(&block->list, &virt->blocks);
	WRITE_ONCE(*vmap_area_slot(virt, area->range.start), area);
	WRITE_ONCE(area->state, VMAP_LIVE);
	lock_release(&virt->lock);
	return area;
}

unsigned int vmap_pages_runs(const struct virt *virt, struct page *const *pages,
			     unsigned int nr_pages)
{
	return runs_count(virt->machine, (struct frames){pages, nr_pages, NULL, NULL});
}

int vmap_pages_map(struct virt *virt, struct virt_cpu *vcpu, void *addr, struct page *const *pages,
		   unsigned int nr_pages)
{
	return frames_map(virt, vcpu, addr, (struct frames){pages, nr_pages, NULL, NULL},
			  PAGE_KERNEL);
}

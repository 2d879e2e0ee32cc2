/* SPDX-License-Identifier: MIT */
/*
 * Areas of one page, many at once. An area and the gap behind it are two mappings for the host, which
 * allows a process 65,530; a group of 256 areas is three. It maps a block of frames at two places, and
 * makes every other page of each inaccessible in the host's page tables alone (host_guard), so that what
 * is left of one place is what is missing at the other:
 *
 *	frames         0    1    2    3    ...      255
 *	first place  |  0 |guard|  2 |guard| ...  254 |guard|
 *	second place |  1 |guard|  3 |guard| ...  255 | gap |
 *
 * Each page with the guard page behind it is an area as any other: it has a range of addresses and a
 * frame of its own, is reused, and is unmapped by itself, which makes it one more guard page. Its frame
 * is free then; its addresses, and the three mappings, are free when all areas of the group are DEAD.
 *
 * Groups are made where the host can do this, once many of its mappings are used. It cannot where memory
 * is locked (mlock, mlockall). Locked before, no groups are made: after the first refusal it is not asked
 * again. Locked behind our back, an area that is unmapped is DEAD as ever, but its page stays where it is,
 * and so does its frame, which is nobody's until the group ends.
 *
 * Invariant, under virt->lock: nr_left == areas of the group that are not DEAD; nr_groups == groups, each
 * counts for VMAP_GROUP_MAPPINGS in nr_mappings and its areas for none; a group of no areas left is in
 * stuck_groups, or about to be unmapped.
 */
#include <errno.h>

#include "arch/host.h"
#include "base/check.h"
#include "phys/page_alloc.h"
#include "phys/zone.h"
#include "slab/kmalloc.h"
#include "slab/slab.h"
#include "virt/virt.h"

#define HALF	    (VMAP_GROUP_AREAS / 2)
#define PLACE_BYTES (VMAP_GROUP_AREAS * PAGE_SIZE)
#define AREA_BYTES  (2 * PAGE_SIZE)
#define GROUP_BYTES (VMAP_GROUP_AREAS * AREA_BYTES)

/* Struct memory and addresses. False: nothing is left of it. */
static bool group_place(struct virt *virt, struct vmap_group *group, const struct vmap_wish *wish)
{
	struct vmap_area **areas = group->areas;
	bool placed;

	lock_acquire(&virt->lock);
	placed = virt->nr_mappings + VMAP_GROUP_MAPPINGS <= virt->max_mappings &&
		 !vmap_space_take(&virt->space, GROUP_BYTES, PAGE_SIZE, &areas[0]->range);
	for (unsigned int i = 0; placed && i < VMAP_GROUP_AREAS; i++) {
		*areas[i] = (struct vmap_area){.nr_pages = 1,
					       .nr_used = 1,
					       .nr_runs = 1,
					       .state = VMAP_BUSY,
					       .home = wish->home,
					       .align_shift = PAGE_SHIFT,
					       .kind = VMAP_VMALLOC,
					       .group = group,
					       .range = areas[i]->range};
		INIT_LIST_HEAD(&areas[i]->blocks);
		if (i + 1 < VMAP_GROUP_AREAS)
			vmap_space_cut(&virt->space, &areas[i]->range, AREA_BYTES,
				       &areas[i + 1]->range);
		areas[i]->addr = (void *)areas[i]->range.start;
	}
	if (placed) {
		group->nr_left = group->nr_ranges = VMAP_GROUP_AREAS;
		virt->nr_groups++;
		virt->nr_mappings += VMAP_GROUP_MAPPINGS;
	}
	lock_release(&virt->lock);
	return placed;
}

static struct vmap_group *group_new(struct virt *virt, const struct vmap_wish *wish)
{
	struct vmap_group *group = kzalloc(sizeof(*group), GFP_KERNEL);

	if (!group)
		return NULL;
	if (!kmem_cache_alloc_bulk(virt->cache, GFP_KERNEL, VMAP_GROUP_AREAS,
				   (void **)group->areas))
		goto no_areas;
	if (!group_place(virt, group, wish))
		goto no_place;
	return group;

no_place:
	kmem_cache_free_bulk(virt->cache, VMAP_GROUP_AREAS, (void **)group->areas);
no_areas:
	kfree(group);
	return NULL;
}

/* Both places on the host, then the page tables. After an error some may be there. */
static int group_map(struct virt *virt, const struct vmap_group *group, unsigned long pfn)
{
	const struct zone *zone = pfn_zone(virt->machine->phys, pfn);
	char *first = group->areas[0]->addr, *second = first + PLACE_BYTES;
	int err = host_shared_map(first, PLACE_BYTES, zone->memfd, zone_memfd_offset(zone, pfn),
				  true);

	if (!err)
		err = host_shared_map(second, PLACE_BYTES - PAGE_SIZE, zone->memfd,
				      zone_memfd_offset(zone, pfn + 1), true);
	if (!err)
		err = host_guard(first + PAGE_SIZE, PAGE_SIZE, AREA_BYTES, HALF);
	if (!err)
		err = host_guard(second + PAGE_SIZE, PAGE_SIZE, AREA_BYTES, HALF - 1);
	for (unsigned int i = 0; !err && i < VMAP_GROUP_AREAS; i++)
		err = pgtable_map(virt->kernel, (u64)group->areas[i]->addr,
				  pfn + i % HALF * 2 + i / HALF, 1, PAGE_KERNEL, true);
	return err;
}

/* All areas are DEAD, and the group is in no list. False if the host would not unmap it: it is stuck.
 * Drops the lock meanwhile. */
static bool group_end_locked(struct virt *virt, struct vmap_group *group)
{
	unsigned long start = group->areas[0]->range.start;
	int err;

	virt->nr_unmaking++;
	lock_release(&virt->lock);
	err = vmap_addresses_unmap(virt, start, start + GROUP_BYTES - PAGE_SIZE);
	for (unsigned int i = 0; !err && i < VMAP_GROUP_AREAS; i++)
		vmap_blocks_free(&group->areas[i]->blocks);
	lock_acquire(&virt->lock);
	virt->nr_unmaking--;
	virt->nr_unmade++;
	if (err) {
		list_add(&group->list, &virt->stuck_groups);
		return false;
	}
	for (unsigned int i = 0; i < VMAP_GROUP_AREAS; i++)
		vmap_range_give_locked(virt, &group->areas[i]->range);
	virt->nr_groups--;
	virt->nr_mappings -= VMAP_GROUP_MAPPINGS;
	kfree(group);
	return true;
}

static void area_dies_locked(struct virt *virt, struct vmap_area *area)
{
	WRITE_ONCE(*vmap_area_slot(virt, (unsigned long)area->addr), NULL);
	WRITE_ONCE(area->state, VMAP_DEAD);
	area->group->nr_left--;
}

bool vmap_groups_end_locked(struct virt *virt)
{
	struct list_head groups = LIST_HEAD_INIT(groups);
	bool any = false;

	while (!list_empty(&virt->stuck_groups))
		list_move_tail(virt->stuck_groups.next, &groups);
	while (!list_empty(&groups)) {
		struct vmap_group *group = list_first_entry(&groups, struct vmap_group, list);

		list_del(&group->list);
		any |= group_end_locked(virt, group);
	}
	return any;
}

/* The first of the list, and those behind it whose addresses follow. */
static unsigned int count_neighbours(const struct list_head *areas)
{
	unsigned long next = list_first_entry(areas, struct vmap_area, lazy_age)->range.start;
	const struct vmap_area *area;
	unsigned int nr = 0;

	list_for_each_entry(area, areas, lazy_age) {
		if (area->range.start != next)
			break;
		next += AREA_BYTES;
		nr++;
	}
	return nr;
}

/* One more guard page each; neighbours by one call. Without the lock. After an error it is to be tried
 * again. */
static int neighbours_unmap(struct virt *virt, struct vmap_area *first, unsigned int nr)
{
	struct vmap_area *area = first;
	int err;

	for (unsigned int i = 0; i < nr; i++) {
		pgtable_unmap(virt->kernel, area->range.start, 1);
		area = list_entry(area->lazy_age.next, struct vmap_area, lazy_age);
	}
	err = host_guard((void *)first->range.start, PAGE_SIZE, AREA_BYTES, nr);
	/* Locked memory stays so. Some may be guard pages all the same, but which? Their frames wait, too. */
	if (err)
		return err == -EINVAL ? 0 : err;
	for (area = first; nr; nr--) {
		vmap_blocks_free(&area->blocks);
		area = list_entry(area->lazy_age.next, struct vmap_area, lazy_age);
	}
	return 0;
}

void vmap_group_areas_unmake_locked(struct virt *virt, struct list_head *areas)
{
	while (!list_empty(areas)) {
		struct vmap_area *area = list_first_entry(areas, struct vmap_area, lazy_age);
		unsigned int nr = count_neighbours(areas);
		int err;

		lock_release(&virt->lock);
		err = neighbours_unmap(virt, area, nr);
		lock_acquire(&virt->lock);
		for (; nr; nr--) {
			area = list_first_entry(areas, struct vmap_area, lazy_age);
			list_del(&area->lazy_age);
			virt->nr_unmaking--;
			virt->nr_unmade++;
			if (err) {
				list_add(&area->lazy_age, &virt->stuck);
				continue;
			}
			area_dies_locked(virt, area);
			if (!area->group->nr_left)
				list_add(&area->group->list, &virt->stuck_groups);
		}
	}
	vmap_groups_end_locked(virt);
}

static bool is_wanted(struct virt *virt, const struct vmap_wish *wish)
{
	bool wanted;

	if (wish->nr_pages > 1 || wish->align_shift > PAGE_SHIFT)
		return false;
	lock_acquire(&virt->lock);
	wanted = virt->nr_mappings >= virt->group_from;
	lock_release(&virt->lock);
	return wanted;
}

/* The first is the caller's, the others are lazy: the CPU's as far as it may hold them. */
static struct vmap_area *group_finish(struct virt *virt, struct kmm_cpu *cpu,
				      struct vmap_group *group)
{
	struct virt_cpu *vcpu = virt_cpu(virt, cpu);
	bool stacked = group->areas[0]->home == cpu->nid;

	lock_acquire(&virt->lock);
	/* Backwards, for a stack gives the last one first. */
	for (unsigned int i = VMAP_GROUP_AREAS; i-- > 0;) {
		struct vmap_area *area = group->areas[i];

		WRITE_ONCE(*vmap_area_slot(virt, area->range.start), area);
		WRITE_ONCE(area->state, i ? VMAP_LAZY : VMAP_LIVE);
		if (i && !(stacked && vmap_stack_push_locked(virt, vcpu, area)))
			vmap_lazy_add_locked(virt, area);
	}
	lock_release(&virt->lock);
	vmap_lazy_bound(virt, vcpu);
	return group->areas[0];
}

struct vmap_area *vmap_group_make(struct virt *virt, struct kmm_cpu *cpu,
				  const struct vmap_wish *wish)
{
	struct vmap_group *group;
	struct page *block;
	unsigned long pfn;
	int err;

	if (!is_wanted(virt, wish))
		return NULL;
	block = alloc_pages_node(wish->home, VMALLOC_GFP_EASY, VMAP_GROUP_ORDER);
	if (!block)
		return NULL;
	group = group_new(virt, wish);
	if (!group) {
		__free_pages(block, VMAP_GROUP_ORDER);
		return NULL;
	}
	split_page(block, VMAP_GROUP_ORDER);
	for (unsigned int i = 0; i < VMAP_GROUP_AREAS; i++)
		list_add(&block[i % HALF * 2 + i / HALF].lru, &group->areas[i]->blocks);
	pfn = (unsigned long)(block - virt->machine->mem_map);
	err = group_map(virt, group, pfn);
	if (err) {
		lock_acquire(&virt->lock);
		/* What the host says where memory is locked. */
		if (err == -EINVAL)
			virt->group_from = UINT64_MAX;
		for (unsigned int i = 0; i < VMAP_GROUP_AREAS; i++)
			area_dies_locked(virt, group->areas[i]);
		group_end_locked(virt, group);
		lock_release(&virt->lock);
		return NULL;
	}
	VIRT_COUNT(virt_cpu(virt, cpu), map_calls);
	VIRT_COUNT(virt_cpu(virt, cpu), map_calls);
	return group_finish(virt, cpu, group);
}

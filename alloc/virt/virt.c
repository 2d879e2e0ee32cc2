/* SPDX-License-Identifier: MIT */
/*
 * The layer: kernel page tables and the vmalloc region at boot, taken apart at shutdown. The boot
 * thread is attached, and pages and slabs are there.
 */
#include "virt/virt.h"

#include <errno.h>
#include <sched.h>

#include "arch/host.h"
#include "arch/topology.h"
#include "base/bits.h"
#include "base/check.h"
#include "phys/page.h"
#include "phys/zone.h"
#include "slab/kmalloc.h"
#include "slab/slab.h"
#include "virt/walk.h"

/* The region: room for every frame several times over, because guard pages and lazy areas take
 * addresses too. */
#define REGION_MAX   (64UL << 30)
#define REGION_MIN   (64UL << 20)
#define REGION_TIMES 4

static u64 count_shared_pages(const struct phys *phys)
{
	u64 nr_pages = 0;

	for_each_zone(phys, node, zone)
		if (zone->memfd_backed)
			nr_pages += zone->nr_managed;
	return nr_pages;
}

/* What a CPU holds at most, whatever the machine's size: 32 MiB. */
#define CPU_PAGES (32UL << 20 >> PAGE_SHIFT)

/*
 * To make an area again costs the host a page-table entry for each page, about a thousand times
 * what reusing it does; and the frames of a freed area are of use to little but vmalloc. So a
 * quarter of them may wait. They are unmapped in batches of as many as the kernel's lazy_max_pages
 * (32 MiB for each doubling of CPUs), so that no vfree takes longer for there being more memory.
 */
static void set_bounds(struct virt *virt, const struct kmm *machine)
{
	unsigned int nr_cpus = topology_nr_cpus(machine->topology);
	unsigned long max_mappings = host_max_mappings();

	virt->nr_shared_pages = count_shared_pages(machine->phys);
	virt->max_lazy_pages = virt->nr_shared_pages / 4;
	virt->purge_pages = min_t(u64, (32UL << 20 >> PAGE_SHIFT) * (__fls(nr_cpus) + 1),
				  virt->max_lazy_pages / 2);
	virt->cpu_pages = (u32)min_t(u64, virt->max_lazy_pages / 4 / nr_cpus, CPU_PAGES);
	virt->kept_pages = min_t(u32, virt->cpu_pages / VMAP_KEPT, VMAP_PIECE_PAGES);
	virt->slack_pages = (u32)min_t(u64, virt->max_lazy_pages / 8, INT32_MAX) / nr_cpus;
	/* An eighth stays for the rest of the process: its own mappings, threads, malloc. */
	virt->max_mappings = max_mappings - max_mappings / 8;
	/* A group's areas are many more than the one that is asked for. */
	virt->group_from = host_has_guards() && virt->max_lazy_pages >= 8 * VMAP_GROUP_AREAS
				   ? virt->max_mappings / 4
				   : UINT64_MAX;
	virt->cpu_mappings = (u32)min_t(u64, virt->max_mappings / 8 / nr_cpus, INT32_MAX / nr_cpus);
	virt->nr_shares = 2 * nr_cpus;
	virt->all = virt->left = (struct vmap_share){virt->nr_shares * virt->cpu_pages,
						     virt->nr_shares * virt->cpu_mappings,
						     virt->nr_shares * virt->slack_pages};
}

/* The region and its array from page to area; smaller where the host refuses. */
static int reserve_region(struct virt *virt, const struct kmm *machine)
{
	u64 wanted = ALIGN_UP((u64)machine->nr_frames << PAGE_SHIFT, HPAGE_SIZE) * REGION_TIMES;
	size_t array_size;
	void *base = NULL;

	virt->size = max_t(u64, min_t(u64, wanted, REGION_MAX), REGION_MIN);
	while (!(base = host_reserve(virt->size, HPAGE_SIZE)) && virt->size / 2 >= REGION_MIN)
		virt->size = ALIGN_DOWN(virt->size / 2, HPAGE_SIZE);
	if (!base)
		return -ENOMEM;
	array_size = (virt->size >> PAGE_SHIFT) * sizeof(*virt->area_of);
	virt->area_of = host_reserve(array_size, PAGE_SIZE);
	if (virt->area_of && host_commit(virt->area_of, array_size, false)) {
		host_release(virt->area_of, array_size);
		virt->area_of = NULL;
	}
	if (!virt->area_of) {
		host_release(base, virt->size);
		return -ENOMEM;
	}
	virt->base = (unsigned long)base;
	return 0;
}

static void release_region(struct virt *virt)
{
	host_release(virt->area_of, (virt->size >> PAGE_SHIFT) * sizeof(*virt->area_of));
	host_release((void *)virt->base, virt->size);
}

static void init_lists(struct virt *virt)
{
	INIT_LIST_HEAD(&virt->lazy_age);
	INIT_LIST_HEAD(&virt->stuck);
	INIT_LIST_HEAD(&virt->stuck_groups);
	INIT_LIST_HEAD(&virt->blocks);
}

/* All that needs undoing, each undone here when a later one fails. */
static int virt_make(struct virt *virt, struct kmm *machine)
{
	struct vmap_area *first;
	int err = pgtable_create(&pgtable_x86_64, &virt->kernel);

	if (err)
		return err;
	err = -ENOMEM;
	virt->cache = kmem_cache_create("vmap_area", sizeof(struct vmap_area), 0,
					SLAB_HWCACHE_ALIGN, NULL);
	if (!virt->cache)
		goto no_cache;
	first = kmem_cache_alloc(virt->cache, GFP_KERNEL);
	if (!first)
		goto no_first;
	err = reserve_region(virt, machine);
	if (err)
		goto no_region;
	err = vmap_lists_init(virt);
	if (err)
		goto no_lists;
	err = -ENOMEM;
	virt->percpu = percpu_alloc(machine, sizeof(struct virt_cpu), CACHELINE_SIZE);
	if (!virt->percpu)
		goto no_percpu;
	vmap_space_init(&virt->space, virt->base, virt->size, &first->range);
	return 0;

no_percpu:
	vmap_lists_destroy(virt);
no_lists:
	release_region(virt);
no_region:
	kmem_cache_free(virt->cache, first);
no_first:
	kmem_cache_destroy(virt->cache);
no_cache:
	pgtable_destroy(virt->kernel);
	return err;
}

static int virt_boot(struct kmm *machine)
{
	struct virt *virt = kzalloc(sizeof(*virt), GFP_KERNEL);
	int err;

	if (!virt)
		return -ENOMEM;
	virt->machine = machine;
	set_bounds(virt, machine);
	init_lists(virt);
	err = virt_make(virt, machine);
	if (err) {
		kfree(virt);
		return err;
	}
	lock_init(&virt->lock, "vmap", RANK_VMAP, machine->config.lock_kind);
	machine->virt = virt;
	return 0;
}

static void virt_cpu_drain(struct kmm *machine, struct kmm_cpu *cpu)
{
	vmap_lazy_drain(machine->virt, virt_cpu(machine->virt, cpu));
}

/*
 * Areas that are left: live ones are leaks, and their frames stay taken, so that phys counts them
 * too; the region is gone, so those that the host would not unmap can give theirs back.
 */
static u64 take_areas_apart(struct virt *virt)
{
	struct vmap_range *range;
	u64 nr_leaked = 0;

	while ((range = vmap_space_first(&virt->space))) {
		struct vmap_area *area = container_of(range, struct vmap_area, range);

		if (area->state == VMAP_LIVE)
			nr_leaked++;
		else
			vmap_blocks_free(&area->blocks);
		kfree(area->block);
		if (area->group && !--area->group->nr_ranges)
			kfree(area->group);
		vmap_space_give(&virt->space, range);
		while ((range = vmap_space_unused(&virt->space)))
			kmem_cache_free(virt->cache, container_of(range, struct vmap_area, range));
	}
	/* Everything has merged into the one range that boot began with, and one struct may be
	 * spare. */
	while ((range = vmap_space_unused(&virt->space)))
		kmem_cache_free(virt->cache, container_of(range, struct vmap_area, range));
	range = vmap_space_any_free(&virt->space);
	kmem_cache_free(virt->cache, container_of(range, struct vmap_area, range));
	return nr_leaked;
}

static void virt_shutdown(struct kmm *machine, struct kmm_leaks *leaks)
{
	struct virt *virt = machine->virt;
	struct kmm_cpu *cpu;

	/* Every slot has been drained, so all that is not live is unmapped or stuck. */
	release_region(virt);
	leaks->vmap_areas += take_areas_apart(virt);
	for (cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
		*virt_cpu(virt, cpu) = (struct virt_cpu){0};
	percpu_free(machine, virt->percpu, sizeof(struct virt_cpu));
	vmap_lists_destroy(virt);
	kmem_cache_destroy(virt->cache);
	pgtable_destroy(virt->kernel);
	lock_destroy(&virt->lock);
	kfree(virt);
	machine->virt = NULL;
}

const struct kmm_layer virt_layer = {
	.name = "virt",
	.not_plain = true,
	.boot = virt_boot,
	.cpu_drain = virt_cpu_drain,
	.shutdown = virt_shutdown,
};

struct pgtable *kernel_pgtable(struct kmm *machine)
{
	return machine->virt->kernel;
}

void virt_for_each_lock(struct kmm *machine,
			void (*visit)(const char *name, const struct lock_stats *stats, void *arg),
			void *arg)
{
	struct virt *virt = machine->virt;

	visit(virt->lock.name, &virt->lock.stats, arg);
	visit(virt->kernel->lock.name, &virt->kernel->lock.stats, arg);
}

/* Does the area's every page translate to the frame that its blocks say, and its guard page to
 * nothing? */
static void validate_translation(const struct virt *virt, const struct vmap_area *area)
{
	u64 addr = area->range.start;
	struct pgtable_walk walk;
	struct page *page;
	unsigned int nr_pages = 0;

	list_for_each_entry(page, &area->blocks, lru) {
		unsigned long pfn = (unsigned long)(page - virt->machine->mem_map);

		KMM_BUG_ON(page->type != PG_TYPE_ALLOC, "area %#lx: frame %#lx is of type %u",
			   area->range.start, pfn, page->type);
		for (unsigned long i = 0; i < 1UL << page->order; i++, addr += PAGE_SIZE)
			KMM_BUG_ON(!pgtable_walk(virt->kernel, addr, &walk) || walk.pfn != pfn + i,
				   "%#lx of area %#lx is frame %#lx, the tables say %#lx", addr,
				   area->range.start, pfn + i, walk.pfn);
		nr_pages += 1U << page->order;
	}
	KMM_BUG_ON(nr_pages != area->nr_pages, "area %#lx: %u frames, %u pages", area->range.start,
		   nr_pages, area->nr_pages);
	KMM_BUG_ON(pgtable_walk(virt->kernel, addr, &walk), "the guard page of area %#lx is mapped",
		   area->range.start);
}

/* The frames of an area of vmap's are known to the tables alone. */
static void validate_is_mapped(const struct virt *virt, const struct vmap_area *area)
{
	u64 addr = area->range.start;
	struct pgtable_walk walk;

	for (unsigned long i = 0; i < area->nr_pages; i++, addr += PAGE_SIZE)
		KMM_BUG_ON(!pgtable_walk(virt->kernel, addr, &walk),
			   "%#lx of area %#lx is not mapped", addr, area->range.start);
	KMM_BUG_ON(pgtable_walk(virt->kernel, addr, &walk), "the guard page of area %#lx is mapped",
		   area->range.start);
}

/* Is the area found by the address of what its caller uses? Who has it in hand may be moving that:
 * it is looked at again, for a difference that stays. */
static bool is_found(const struct virt *virt, const struct vmap_area *area)
{
	for (int turn = 0; turn < 100; turn++) {
		unsigned int nr_used = READ_ONCE(area->nr_used);
		unsigned long start = area->range.start +
				      ((unsigned long)(area->nr_pages - nr_used) << PAGE_SHIFT);

		if (nr_used && nr_used <= area->nr_pages &&
		    (unsigned long)READ_ONCE(area->addr) == start &&
		    READ_ONCE(*vmap_area_slot(virt, start)) == area)
			return true;
		sched_yield();
	}
	return false;
}

static void validate_area(const struct virt *virt, const struct vmap_area *area)
{
	KMM_BUG_ON(area->range.size != ((unsigned long)area->nr_pages + 1) << PAGE_SHIFT,
		   "an area of %u pages has addresses %#lx+%#lx", area->nr_pages, area->range.start,
		   area->range.size);
	KMM_BUG_ON(!is_found(virt, area), "area %#lx of %u pages: %p, %u used, does not lead to it",
		   area->range.start, area->nr_pages, READ_ONCE(area->addr),
		   READ_ONCE(area->nr_used));
	KMM_BUG_ON(!IS_ALIGNED(area->range.start, 1UL << area->align_shift),
		   "area %#lx is not aligned to %#lx", area->range.start, 1UL << area->align_shift);
	if (area->kind == VMAP_BLOCK)
		return;
	if (area->kind != VMAP_VMALLOC) {
		validate_is_mapped(virt, area);
		return;
	}
	KMM_BUG_ON(area->nr_runs != vmap_runs_count(virt->machine, area),
		   "area %#lx: %u runs, not %u", area->range.start, area->nr_runs,
		   vmap_runs_count(virt->machine, area));
	validate_translation(virt, area);
}

/* Is all that there is for CPUs to hold either left or in the hands of one, and does none hold more? */
static void validate_shares_locked(struct kmm *machine)
{
	struct virt *virt = machine->virt;
	struct vmap_share sum = virt->left, all = virt->all;
	u32 nr_holders = 0;

	sum.slack_pages += (u32)max_t(s64, 0, virt->nr_slack_pages);
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu)) {
		const struct virt_cpu *vcpu = virt_cpu(virt, cpu);
		u32 nr_pages = READ_ONCE(vcpu->nr_pages);
		u32 nr_mappings = READ_ONCE(vcpu->nr_mappings);

		KMM_BUG_ON(nr_pages > vcpu->may.pages || nr_mappings > vcpu->may.mappings,
			   "slot %u holds %u pages and %u mappings, and may %u and %u", cpu->slot,
			   nr_pages, nr_mappings, vcpu->may.pages, vcpu->may.mappings);
		sum.pages += vcpu->may.pages;
		sum.mappings += vcpu->may.mappings;
		sum.slack_pages += vcpu->may.slack_pages;
		nr_holders += vcpu->may.mappings != 0;
	}
	KMM_BUG_ON(
		sum.pages != all.pages || sum.mappings != all.mappings ||
			sum.slack_pages != all.slack_pages || nr_holders != virt->nr_holders,
		"shares of %u CPUs and what is left are %u pages, %u mappings, %u pages of slack; "
		"not of %u, not %u, %u, %u",
		nr_holders, sum.pages, sum.mappings, sum.slack_pages, virt->nr_holders, all.pages,
		all.mappings, all.slack_pages);
}

void vmalloc_validate(struct kmm *machine)
{
	struct virt *virt = machine->virt;
	u64 nr_mappings, nr_pages = 0, nr_busy = 0;
	struct vmap_range *range;

	lock_acquire(&virt->lock);
	nr_mappings = virt->nr_groups * VMAP_GROUP_MAPPINGS;
	vmap_space_validate(&virt->space);
	for (range = vmap_space_first(&virt->space); range; range = vmap_space_next(range)) {
		const struct vmap_area *area = container_of(range, struct vmap_area, range);

		nr_mappings += area->group ? 0 : area->nr_runs + 1;
		if (READ_ONCE(area->state) == VMAP_DEAD)
			continue;
		if (READ_ONCE(area->state) == VMAP_BUSY) {
			nr_busy++;
			continue;
		}
		validate_area(virt, area);
		if (area->kind != VMAP_BLOCK) {
			nr_pages += area->nr_pages;
			continue;
		}
		nr_busy += !vmap_block_validate(virt, area->block);
		nr_pages += vmap_block_mapped(area->block);
	}
	KMM_BUG_ON(nr_mappings != virt->nr_mappings, "%lu mappings, %lu counted", nr_mappings,
		   virt->nr_mappings);
	vmap_lazy_validate_locked(virt);
	validate_shares_locked(machine);
	/* Areas that are being made or unmapped are in the tables in part. */
	KMM_BUG_ON(!nr_busy && !virt->nr_unmaking && nr_pages != READ_ONCE(virt->kernel->nr_mapped),
		   "areas have %lu pages, the kernel page tables %lu", nr_pages,
		   virt->kernel->nr_mapped);
	pgtable_validate(virt->kernel);
	lock_release(&virt->lock);
}

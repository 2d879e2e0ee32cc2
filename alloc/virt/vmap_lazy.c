/* SPDX-License-Identifier: MIT */
/*
 * Areas that are free and still mapped, and that no CPU has for itself: the machine's lists, by size
 * for reuse and by age for the purge. See virt.h for the states and the bounds.
 *
 * By size there is a pool of lists for each node (struct vmap_pool), with a bitmap of those that are
 * not empty, so that an area that is as large as wanted or a little larger is found in a few steps.
 * Areas that were asked for with an alignment are apart, in a hash by (pages, home, alignment): they
 * are rare, and serve their like only. Where a list holds several sizes a search looks at its first few
 * areas only.
 *
 * Purging unmaps the oldest first, purge_pages below the bound, so that a batch is worth its system
 * calls and sizes in use stay.
 */
#include <errno.h>
#include <sched.h>
#include <time.h>

#include "base/bits.h"
#include "base/check.h"
#include "phys/phys.h"
#include "slab/kmalloc.h"
#include "virt/virt.h"

/* Areas of a list of several sizes that a search looks at. */
#define LIST_SEARCH 16

/* What a CPU's stack gets when it is empty, at most: areas, and of what a CPU may hold a part. */
#define REFILL_AREAS 32
#define REFILL_PART  8

/* How often a thread yields to those that are unmapping areas before it sleeps between two looks. */
#define YIELDS 100

/* The list of a size in a pool; grows with it. */
static unsigned int pool_index(unsigned int nr_pages)
{
	unsigned int log;

	if (nr_pages <= VMAP_EXACT)
		return nr_pages - 1;
	log = ilog2(nr_pages);
	return VMAP_EXACT + 4 * (log - ilog2(VMAP_EXACT)) + (nr_pages >> (log - 2) & 3);
}

static struct list_head *aligned_list(struct virt *virt, unsigned int nr_pages, s32 home,
				      u8 align_shift)
{
	/* Odd, so that alignments spread sizes of a few pages over all buckets. */
	u32 by_align = (align_shift - PAGE_SHIFT) * 89U;

	return &virt->aligned[(nr_pages + (u32)home * (VMAP_BUCKETS / 2) + by_align) %
			      VMAP_BUCKETS];
}

static bool is_pooled(const struct vmap_area *area)
{
	return area->kind == VMAP_VMALLOC && area->align_shift == PAGE_SHIFT;
}

static struct list_head *list_of(struct virt *virt, const struct vmap_area *area)
{
	if (is_pooled(area))
		return &virt->pool[area->home].size[pool_index(area->nr_pages)];
	return area->kind == VMAP_VMALLOC
		       ? aligned_list(virt, area->nr_pages, area->home, area->align_shift)
		       : &virt->others;
}

static void insert_locked(struct virt *virt, struct vmap_area *area)
{
	unsigned int index = pool_index(area->nr_pages);

	list_add(&area->lazy_size, list_of(virt, area));
	list_add_tail(&area->lazy_age, &virt->lazy_age);
	virt->nr_lazy_pages += area->nr_pages;
	if (is_pooled(area))
		virt->pool[area->home].filled[index / 64] |= 1UL << index % 64;
}

static void remove_locked(struct virt *virt, struct vmap_area *area)
{
	unsigned int index = pool_index(area->nr_pages);

	list_del(&area->lazy_size);
	list_del(&area->lazy_age);
	virt->nr_lazy_pages -= area->nr_pages;
	if (is_pooled(area) && list_empty(list_of(virt, area)))
		virt->pool[area->home].filled[index / 64] &= ~(1UL << index % 64);
}

int vmap_lists_init(struct virt *virt)
{
	u32 nr_nodes = virt->machine->phys->nr_nodes;

	virt->pool = kcalloc(nr_nodes, sizeof(*virt->pool), GFP_KERNEL);
	if (!virt->pool)
		return -ENOMEM;
	for (u32 nid = 0; nid < nr_nodes; nid++)
		for (int i = 0; i < VMAP_SIZES; i++)
			INIT_LIST_HEAD(&virt->pool[nid].size[i]);
	for (int i = 0; i < VMAP_BUCKETS; i++)
		INIT_LIST_HEAD(&virt->aligned[i]);
	INIT_LIST_HEAD(&virt->others);
	return 0;
}

void vmap_lists_destroy(struct virt *virt)
{
	kfree(virt->pool);
}

/* The smallest area of those that a search of one list looks at; NULL if none is of from to most
 * pages. A list of one size is as good from its first area on. */
static struct vmap_area *smallest_locked(const struct vmap_pool *pool, unsigned int index,
					 unsigned int from, unsigned int most)
{
	const struct list_head *list = &pool->size[index];
	struct vmap_area *area, *best = NULL;
	unsigned int looked = 0;

	if (index < VMAP_EXACT)
		return list_first_entry(list, struct vmap_area, lazy_size);
	list_for_each_entry(area, list, lazy_size) {
		if (area->nr_pages >= from && area->nr_pages <= most &&
		    (!best || area->nr_pages < best->nr_pages))
			best = area;
		if ((best && best->nr_pages == from) || ++looked == LIST_SEARCH)
			break;
	}
	return best;
}

static struct vmap_area *pooled_locked(const struct vmap_pool *pool, unsigned int from,
				       unsigned int most)
{
	unsigned int index = pool_index(from), last = pool_index(most);

	while (index <= last) {
		u64 word = pool->filled[index / 64] & ~0UL << index % 64;
		struct vmap_area *area;

		if (!word) {
			index = (index / 64 + 1) * 64;
			continue;
		}
		index = index / 64 * 64 + __ffs(word);
		if (index > last)
			break;
		area = smallest_locked(pool, index, from, most);
		if (area)
			return area;
		index++;
	}
	return NULL;
}

static struct vmap_area *aligned_locked(struct virt *virt, const struct vmap_wish *wish)
{
	struct list_head *list = aligned_list(virt, wish->nr_pages, wish->home, wish->align_shift);
	unsigned int looked = 0;
	struct vmap_area *area;

	list_for_each_entry(area, list, lazy_size) {
		if (area->nr_pages == wish->nr_pages && area->home == wish->home &&
		    area->align_shift == wish->align_shift)
			return area;
		if (++looked == LIST_SEARCH)
			break;
	}
	return NULL;
}

/* An area as wished, or of up to `most` pages if the CPU may give away what is too much, off the lists;
 * NULL if none. */
static struct vmap_area *pop_locked(struct virt *virt, struct virt_cpu *vcpu,
				    const struct vmap_wish *wish, unsigned int most)
{
	struct vmap_area *area =
		wish->align_shift > PAGE_SHIFT
			? aligned_locked(virt, wish)
			: pooled_locked(&virt->pool[wish->home], wish->nr_pages, most);

	if (!area || (area->nr_pages > wish->nr_pages &&
		      !vmap_slack_more_locked(virt, vcpu, area->nr_pages - wish->nr_pages)))
		return NULL;
	remove_locked(virt, area);
	return area;
}

/* Move the longest freed areas of the lists to `areas`, until at most keep_pages are left. */
static void collect_locked(struct virt *virt, u64 keep_pages, struct list_head *areas)
{
	struct vmap_area *area;

	while (virt->nr_lazy_pages > keep_pages) {
		area = list_first_entry(&virt->lazy_age, struct vmap_area, lazy_age);
		remove_locked(virt, area);
		WRITE_ONCE(area->state, VMAP_BUSY);
		list_add_tail(&area->lazy_age, areas);
		virt->nr_unmaking++;
	}
	while (!list_empty(&virt->stuck)) {
		list_move_tail(virt->stuck.next, areas);
		virt->nr_unmaking++;
	}
}

/* Unmap them, and groups that could not be unmapped before. Returns whether there were any of the first,
 * or one of the second is gone. */
static bool purge(struct virt *virt, struct virt_cpu *vcpu, u64 keep_pages)
{
	struct list_head areas = LIST_HEAD_INIT(areas);
	bool ended;

	lock_acquire(&virt->lock);
	collect_locked(virt, keep_pages, &areas);
	ended = vmap_groups_end_locked(virt);
	lock_release(&virt->lock);
	if (list_empty(&areas))
		return ended;
	VIRT_COUNT(vcpu, purge);
	vmap_areas_unmake(virt, vcpu, &areas);
	return true;
}

static bool too_much_locked(const struct virt *virt)
{
	return virt->nr_lazy_pages > virt->max_lazy_pages;
}

static void purge_excess(struct virt *virt, struct virt_cpu *vcpu)
{
	purge(virt, vcpu, virt->max_lazy_pages - virt->purge_pages);
}

/* A look at the lock between two turns; the CPU may be what the other thread waits for. */
static void wait_turn(struct virt *virt, int turn)
{
	const struct timespec pause = {0, 50000};

	lock_release(&virt->lock);
	if (turn < YIELDS)
		sched_yield();
	else
		nanosleep(&pause, NULL);
	lock_acquire(&virt->lock);
}

/* Let as much unmapping end as other threads are at, for what they unmap is what is missing. Returns
 * whether there was any. Nobody who unmaps waits here. */
static bool wait_for_unmaking(struct virt *virt)
{
	u64 enough;
	bool any;

	lock_acquire(&virt->lock);
	any = virt->nr_unmaking;
	enough = virt->nr_unmade + virt->nr_unmaking;
	virt->nr_waiting++;
	for (int turn = 0; virt->nr_unmade < enough; turn++)
		wait_turn(virt, turn);
	virt->nr_waiting--;
	lock_release(&virt->lock);
	return any;
}

void vmap_area_use(struct virt *virt, struct vmap_area *area, unsigned int nr_used)
{
	unsigned long start =
		area->range.start + ((unsigned long)(area->nr_pages - nr_used) << PAGE_SHIFT);

	WRITE_ONCE(*vmap_area_slot(virt, (unsigned long)area->addr), NULL);
	WRITE_ONCE(area->nr_used, nr_used);
	WRITE_ONCE(area->addr, (void *)start);
	WRITE_ONCE(*vmap_area_slot(virt, start), area);
}

/* How large an area may be that is to serve so few pages, if the CPU may give that much away. */
static unsigned int most_pages(unsigned int nr_pages)
{
	return nr_pages + nr_pages / 4;
}

/* From the lists, the CPU's stack refilled besides. */
static struct vmap_area *take_from_lists(struct virt *virt, struct virt_cpu *vcpu,
					 const struct vmap_wish *wish, bool stacked)
{
	struct vmap_area *area, *more;

	lock_acquire(&virt->lock);
	area = pop_locked(virt, vcpu, wish, wish->nr_pages);
	for (u32 i = 1; stacked && area && i < REFILL_AREAS &&
			i * wish->nr_pages < virt->cpu_pages / REFILL_PART;
	     i++) {
		more = pop_locked(virt, vcpu, wish, wish->nr_pages);
		if (!more)
			break;
		if (!vmap_stack_push_locked(virt, vcpu, more)) {
			insert_locked(virt, more);
			break;
		}
	}
	if (!area)
		area = pop_locked(virt, vcpu, wish, most_pages(wish->nr_pages));
	lock_release(&virt->lock);
	return area;
}

struct vmap_area *vmap_lazy_take(struct virt *virt, struct kmm_cpu *cpu,
				 const struct vmap_wish *wish)
{
	struct virt_cpu *vcpu = virt_cpu(virt, cpu);
	bool stacked = vmap_bin(wish) < VMAP_BINS && wish->home == cpu->nid;
	struct vmap_area *area = NULL;

	if (stacked) {
		/* The fast path has looked, but not for a thread that was not attached then. */
		area = vmap_stack_pop(vcpu, vmap_bin(wish));
		if (!area)
			area = vmap_stack_pop_larger(virt, vcpu, wish->nr_pages,
						     most_pages(wish->nr_pages));
	}
	if (!area)
		area = take_from_lists(virt, vcpu, wish, stacked);
	if (!area)
		return NULL;
	if (area->nr_used != wish->nr_pages)
		vmap_area_use(virt, area, wish->nr_pages);
	vmap_slack_add(vcpu, (long)area->nr_pages - (long)wish->nr_pages);
	WRITE_ONCE(area->state, VMAP_LIVE);
	VIRT_COUNT(vcpu, reuse);
	return area;
}

void vmap_lazy_put(struct virt *virt, struct kmm_cpu *cpu, struct vmap_area *area)
{
	struct virt_cpu *vcpu = virt_cpu(virt, cpu);
	bool stacked = area->bin < VMAP_BINS && area->home == cpu->nid, too_much;

	WRITE_ONCE(area->state, VMAP_LAZY);
	vmap_slack_add(vcpu, (long)area->nr_used - (long)area->nr_pages);
	if (stacked && vmap_stack_push(vcpu, area))
		return;
	lock_acquire(&virt->lock);
	if (stacked && !(stacked = vmap_stack_push_locked(virt, vcpu, area))) {
		vmap_stacks_shrink_locked(virt, vcpu, area->bin);
		stacked = vmap_stack_push(vcpu, area);
	}
	if (!stacked)
		insert_locked(virt, area);
	too_much = too_much_locked(virt);
	lock_release(&virt->lock);
	if (too_much)
		purge_excess(virt, vcpu);
}

void vmap_lazy_add_locked(struct virt *virt, struct vmap_area *area)
{
	WRITE_ONCE(area->state, VMAP_LAZY);
	insert_locked(virt, area);
}

void vmap_lazy_bound(struct virt *virt, struct virt_cpu *vcpu)
{
	bool too_much;

	lock_acquire(&virt->lock);
	too_much = too_much_locked(virt);
	lock_release(&virt->lock);
	if (too_much)
		purge_excess(virt, vcpu);
}

void vmap_lazy_drain(struct virt *virt, struct virt_cpu *vcpu)
{
	vmap_blocks_flush(virt, vcpu);
	vmap_stacks_flush(virt, vcpu);
	vmap_blocks_purge(virt, vcpu);
	purge(virt, vcpu, 0);
}

bool vmap_lazy_drain_all(struct kmm *machine, struct kmm_cpu *cpu)
{
	struct virt *virt = machine->virt;
	struct kmm_cpu *other;
	bool purged, waited, cleared;

	/* Not waited for: its holder may be draining idle slots itself. */
	if (lock_try_acquire(&machine->slots_lock)) {
		for (other = cpu_first(machine); other; other = cpu_next(machine, other))
			if (!other->owned) {
				vmap_blocks_flush(virt, virt_cpu(virt, other));
				vmap_stacks_flush(virt, virt_cpu(virt, other));
			}
		lock_release(&machine->slots_lock);
	}
	vmap_blocks_flush(virt, virt_cpu(virt, cpu));
	vmap_stacks_flush(virt, virt_cpu(virt, cpu));
	cleared = vmap_blocks_purge(virt, virt_cpu(virt, cpu));
	purged = purge(virt, virt_cpu(virt, cpu), 0);
	waited = wait_for_unmaking(virt);
	return purged || waited || cleared;
}

u64 vmap_lazy_pages(struct kmm *machine)
{
	struct virt *virt = machine->virt;
	struct kmm_cpu *cpu;
	s64 nr_slack_pages;
	u64 nr_pages;

	lock_acquire(&virt->lock);
	nr_pages = virt->nr_lazy_pages + virt->nr_dirty_pages;
	nr_slack_pages = virt->nr_slack_pages;
	lock_release(&virt->lock);
	for (cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu)) {
		const struct virt_cpu *vcpu = virt_cpu(virt, cpu);

		nr_pages += READ_ONCE(vcpu->nr_pages);
		nr_slack_pages += READ_ONCE(vcpu->nr_slack_pages);
	}
	/* Of an area that goes from one CPU to another the two may be seen at different times. */
	return nr_pages + (u64)max_t(s64, nr_slack_pages, 0);
}

static u64 list_length(const struct list_head *list)
{
	u64 nr = 0;

	for (const struct list_head *at = list->next; at != list; at = at->next)
		nr++;
	return nr;
}

/* Areas of a node's lists. */
static u64 pool_validate(const struct vmap_pool *pool)
{
	u64 nr_areas = 0;

	for (unsigned int i = 0; i < VMAP_SIZES; i++) {
		const struct vmap_area *area;

		KMM_BUG_ON(list_empty(&pool->size[i]) == (pool->filled[i / 64] >> i % 64 & 1),
			   "lazy list %u is empty or not, the bitmap says otherwise", i);
		list_for_each_entry(area, &pool->size[i], lazy_size)
			KMM_BUG_ON(pool_index(area->nr_pages) != i, "%u pages in lazy list %u",
				   area->nr_pages, i);
		nr_areas += list_length(&pool->size[i]);
	}
	return nr_areas;
}

void vmap_lazy_validate_locked(const struct virt *virt)
{
	const struct vmap_area *area;
	u64 nr_pages = 0, nr_areas = 0, nr_listed = list_length(&virt->others);

	list_for_each_entry(area, &virt->lazy_age, lazy_age) {
		KMM_BUG_ON(area->state != VMAP_LAZY, "area %p in the lazy list is in state %u",
			   area->addr, area->state);
		nr_pages += area->nr_pages;
		nr_areas++;
	}
	KMM_BUG_ON(nr_pages != virt->nr_lazy_pages, "%lu lazy pages, %lu counted", nr_pages,
		   virt->nr_lazy_pages);
	for (u32 nid = 0; nid < virt->machine->phys->nr_nodes; nid++)
		nr_listed += pool_validate(&virt->pool[nid]);
	for (int i = 0; i < VMAP_BUCKETS; i++)
		nr_listed += list_length(&virt->aligned[i]);
	KMM_BUG_ON(nr_areas != nr_listed, "%lu lazy areas by age, %lu by size", nr_areas,
		   nr_listed);
}

/* SPDX-License-Identifier: MIT */
/*
 * Areas that are free and still mapped: each CPU's magazines, and behind them the machine's lists,
 * by size for reuse and by age for the purge. See virt.h for the states and the bounds.
 *
 * The lists are a hash by (pages, home, alignment) of lists, newest first: sizes below half of
 * VMAP_BUCKETS pages on one or two nodes each have a bucket for themselves; larger ones may share,
 * and so may those with an alignment, so a search looks at a few entries only.
 *
 * Purging unmaps the oldest first, purge_pages below the bound, so that a batch is worth its system
 * calls and sizes in use stay.
 */
#include <sched.h>
#include <string.h>

#include "base/check.h"
#include "virt/virt.h"

/* Entries of a shared bucket that a search looks at. */
#define BUCKET_SEARCH 16

/* How often to yield to threads that are unmapping areas: more than a batch takes. */
#define UNMAKING_TURNS 1000

static struct list_head *bucket(struct virt *virt, const struct vmap_wish *wish)
{
	/* Odd, so that alignments spread sizes of a few pages over all buckets. */
	u32 by_align = (wish->align_shift - PAGE_SHIFT) * 89U;

	return &virt->lazy_size[(wish->nr_pages + (u32)wish->home * (VMAP_BUCKETS / 2) + by_align) %
				VMAP_BUCKETS];
}

static struct list_head *bucket_of(struct virt *virt, const struct vmap_area *area)
{
	struct vmap_wish like = {area->nr_pages, area->home, area->align_shift};

	return area->kind == VMAP_VMALLOC ? bucket(virt, &like) : &virt->lazy_size[VMAP_BUCKETS];
}

static bool area_is_as(const struct vmap_area *area, const struct vmap_wish *wish)
{
	return area->nr_pages == wish->nr_pages && area->home == wish->home &&
	       area->align_shift == wish->align_shift;
}

static void insert_locked(struct virt *virt, struct vmap_area *area)
{
	list_add(&area->lazy_size, bucket_of(virt, area));
	list_add_tail(&area->lazy_age, &virt->lazy_age);
	virt->nr_lazy_pages += area->nr_pages;
}

static void remove_locked(struct virt *virt, struct vmap_area *area)
{
	list_del(&area->lazy_size);
	list_del(&area->lazy_age);
	virt->nr_lazy_pages -= area->nr_pages;
}

static struct vmap_area *pop_locked(struct virt *virt, const struct vmap_wish *wish)
{
	struct list_head *head = bucket(virt, wish);
	unsigned int looked = 0;
	struct vmap_area *area;

	list_for_each_entry(area, head, lazy_size) {
		if (area_is_as(area, wish)) {
			remove_locked(virt, area);
			return area;
		}
		if (++looked == BUCKET_SEARCH)
			break;
	}
	return NULL;
}

/* The magazine of this CPU for areas of that bin and home; NULL if it keeps none of them. */
static struct vmap_magazine *magazine_for(const struct virt *virt, struct kmm_cpu *cpu,
					  unsigned int bin, s32 home)
{
	struct vmap_magazine *magazine;

	if (bin >= VMAP_BINS || home != cpu->nid)
		return NULL;
	magazine = &virt_cpu(virt, cpu)->magazine[bin];
	return magazine->capacity ? magazine : NULL;
}

/* The oldest nr areas of a magazine go to the lists. */
static void magazine_flush_locked(struct virt *virt, struct vmap_magazine *magazine, u32 nr)
{
	for (u32 i = 0; i < nr; i++)
		insert_locked(virt, magazine->areas[i]);
	memmove(magazine->areas, magazine->areas + nr, (magazine->nr - nr) * sizeof(void *));
	WRITE_ONCE(magazine->nr, magazine->nr - nr);
}

static void magazines_flush(struct virt *virt, struct virt_cpu *vcpu)
{
	lock_acquire(&virt->lock);
	for (int bin = 0; bin < VMAP_BINS; bin++)
		magazine_flush_locked(virt, &vcpu->magazine[bin], vcpu->magazine[bin].nr);
	lock_release(&virt->lock);
}

void vmap_magazines_init(const struct virt *virt, struct virt_cpu *vcpu)
{
	for (u32 bin = 0; bin < VMAP_BINS; bin++)
		vcpu->magazine[bin].capacity =
			min_t(u32, virt->magazine_pages / (bin + 1), VMAP_MAG_AREAS);
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

/* Unmap them. Returns whether there were any. */
static bool purge(struct virt *virt, struct virt_cpu *vcpu, u64 keep_pages)
{
	struct list_head areas = LIST_HEAD_INIT(areas);

	lock_acquire(&virt->lock);
	collect_locked(virt, keep_pages, &areas);
	lock_release(&virt->lock);
	if (list_empty(&areas))
		return false;
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

/* Let other threads' purges finish, for what they unmap is what is missing. Returns whether there
 * were any. */
static bool wait_for_unmaking(struct virt *virt)
{
	u64 nr_unmaking;

	for (int turn = 0; turn < UNMAKING_TURNS; turn++) {
		lock_acquire(&virt->lock);
		nr_unmaking = virt->nr_unmaking;
		lock_release(&virt->lock);
		if (!nr_unmaking)
			return turn > 0;
		sched_yield();
	}
	return true;
}

struct vmap_area *vmap_lazy_take(struct virt *virt, struct kmm_cpu *cpu,
				 const struct vmap_wish *wish)
{
	struct vmap_magazine *magazine = magazine_for(virt, cpu, vmap_bin(wish), wish->home);
	struct vmap_area *area, *more;

	/* The fast path has looked, but not for a thread that was not attached then. */
	if (magazine && magazine->nr) {
		WRITE_ONCE(magazine->nr, magazine->nr - 1);
		area = magazine->areas[magazine->nr];
	} else {
		lock_acquire(&virt->lock);
		area = pop_locked(virt, wish);
		while (area && magazine && magazine->nr < magazine->capacity / 2 &&
		       (more = pop_locked(virt, wish))) {
			magazine->areas[magazine->nr] = more;
			WRITE_ONCE(magazine->nr, magazine->nr + 1);
		}
		lock_release(&virt->lock);
	}
	if (area) {
		WRITE_ONCE(area->state, VMAP_LIVE);
		VIRT_COUNT(virt_cpu(virt, cpu), reuse);
	}
	return area;
}

void vmap_lazy_put(struct virt *virt, struct kmm_cpu *cpu, struct vmap_area *area)
{
	struct vmap_magazine *magazine = magazine_for(virt, cpu, area->bin, area->home);
	bool too_much;

	WRITE_ONCE(area->state, VMAP_LAZY);
	lock_acquire(&virt->lock);
	if (magazine) {
		if (magazine->nr == magazine->capacity)
			magazine_flush_locked(virt, magazine, (magazine->nr + 1) / 2);
		magazine->areas[magazine->nr] = area;
		WRITE_ONCE(magazine->nr, magazine->nr + 1);
	} else {
		insert_locked(virt, area);
	}
	too_much = too_much_locked(virt);
	lock_release(&virt->lock);
	if (too_much)
		purge_excess(virt, virt_cpu(virt, cpu));
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
	magazines_flush(virt, vcpu);
	vmap_blocks_flush(virt, vcpu);
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
				magazines_flush(virt, virt_cpu(virt, other));
				vmap_blocks_flush(virt, virt_cpu(virt, other));
			}
		lock_release(&machine->slots_lock);
	}
	magazines_flush(virt, virt_cpu(virt, cpu));
	vmap_blocks_flush(virt, virt_cpu(virt, cpu));
	cleared = vmap_blocks_purge(virt, virt_cpu(virt, cpu));
	purged = purge(virt, virt_cpu(virt, cpu), 0);
	waited = wait_for_unmaking(virt);
	return purged || waited || cleared;
}

u64 vmap_lazy_pages(struct kmm *machine)
{
	struct virt *virt = machine->virt;
	struct kmm_cpu *cpu;
	u64 nr_pages;

	lock_acquire(&virt->lock);
	nr_pages = virt->nr_lazy_pages + virt->nr_dirty_pages;
	lock_release(&virt->lock);
	for (cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu)) {
		nr_pages += READ_ONCE(virt_cpu(virt, cpu)->nr_kept_pages);
		for (u64 bin = 0; bin < VMAP_BINS; bin++)
			nr_pages += READ_ONCE(virt_cpu(virt, cpu)->magazine[bin].nr) * (bin + 1);
	}
	return nr_pages;
}

void vmap_lazy_validate_locked(const struct virt *virt)
{
	const struct vmap_area *area;
	u64 nr_pages = 0, nr_areas = 0;

	list_for_each_entry(area, &virt->lazy_age, lazy_age) {
		KMM_BUG_ON(area->state != VMAP_LAZY, "area %p in the lazy list is in state %u",
			   area->addr, area->state);
		nr_pages += area->nr_pages;
		nr_areas++;
	}
	KMM_BUG_ON(nr_pages != virt->nr_lazy_pages, "%lu lazy pages, %lu counted", nr_pages,
		   virt->nr_lazy_pages);
	for (int i = 0; i <= VMAP_BUCKETS; i++)
		list_for_each_entry(area, &virt->lazy_size[i], lazy_size)
			nr_areas--;
	KMM_BUG_ON(nr_areas, "the lazy lists by age and by size differ by %ld areas",
		   (long)nr_areas);
}

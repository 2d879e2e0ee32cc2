/* SPDX-License-Identifier: MIT */
/*
 * Memory of free frames back to the host: on demand (phys_trim), and what nobody has touched for a
 * while (phys_age).
 *
 *	under the zone's lock	isolate frames of some pageblocks: neither free nor anybody's
 *	without			ask the host, in runs as long as they are
 *	under the zone's lock	free again, and `released` (phys/buddy.h)
 *
 * So no allocation waits for the host, but one that finds too little memory without these frames:
 * it waits for release_lock, which is held all the while. Few frames are isolated at once.
 *
 * Anonymous memory goes by madvise. Of a memfd a hole is punched, so that it goes from every
 * mapping; but not in the child of a fork, whose frames are shared with a parent that may use them
 * by now.
 *
 * Locks: release_lock, then a zone's.
 */
#include <string.h>
#include <unistd.h>

#include "arch/host.h"
#include "base/bits.h"
#include "base/check.h"
#include "base/machine.h"
#include "phys/pcp.h"
#include "phys/phys.h"
#include "phys/zone.h"

#define ISOLATE_AT_ONCE 8U	    /* pageblocks */
#define LOOK_AT_ONCE	256UL	    /* pageblocks, under one acquisition of the lock */
#define AGE_LOOK_MOST	16384UL	    /* pageblocks of a zone, a call */
#define AGE_PAGES_MOST	(1UL << 18) /* frames of a zone, a call */

/* One walk over a zone's pageblocks. */
struct walk {
	struct phys *phys;
	struct zone *zone;
	enum buddy_choice choice;
	unsigned long at;     /* the pageblock to look at next */
	unsigned long looked; /* pageblocks looked at */
	unsigned long most;   /* frames that may still be released */
};

/* Frames that may be nobody's at once, of so many free ones. */
static unsigned long isolate_most(unsigned long nr_free)
{
	return max_t(unsigned long, nr_free / 8, PAGEBLOCK_NR_PAGES);
}

/* Isolate frames of the next few pageblocks that have any; returns of how many. */
static unsigned int gather(struct walk *walk, struct buddy_isolated *isolated)
{
	struct buddy *buddy = &walk->zone->buddy;
	unsigned long end = min_t(unsigned long, walk->at + LOOK_AT_ONCE, buddy->nr_blocks);
	unsigned long most, got = 0;
	unsigned int nr = 0;

	lock_acquire(&walk->zone->lock);
	most = isolate_most(buddy->nr_pages);
	while (walk->at < end && nr < ISOLATE_AT_ONCE && got + PAGEBLOCK_NR_PAGES <= most) {
		unsigned long here;

		if (buddy_is_fresh(buddy, walk->at)) {
			walk->at = buddy->fresh_end;
			continue;
		}
		here = buddy_isolate(buddy, &buddy->blocks[walk->at], walk->choice,
				     walk->most - min_t(unsigned long, got, walk->most),
				     &isolated[nr]);
		walk->at++;
		walk->looked++;
		got += here;
		nr += here != 0;
	}
	lock_release(&walk->zone->lock);
	return nr;
}

static bool discard(const struct phys *phys, const struct zone *zone, unsigned long pfn,
		    unsigned long nr)
{
	if (!nr)
		return true;
	if (zone->memfd_backed)
		return !host_shared_discard(zone->memfd, zone_memfd_offset(zone, pfn),
					    nr << PAGE_SHIFT);
	return !host_discard(phys->machine->direct_map + (pfn << PAGE_SHIFT), nr << PAGE_SHIFT);
}

/* Frames in a row, across pageblocks. */
struct run {
	unsigned long pfn, nr;
	bool ok; /* the host has taken all so far */
};

static void add_to_run(const struct walk *walk, struct run *run, unsigned long pfn,
		       unsigned long nr)
{
	if (run->pfn + run->nr != pfn) {
		run->ok &= discard(walk->phys, walk->zone, run->pfn, run->nr);
		run->pfn = pfn;
		run->nr = 0;
	}
	run->nr += nr;
}

static void add_frames(const struct walk *walk, struct run *run,
		       const struct buddy_isolated *isolated)
{
	for (unsigned int i = 0; i < PAGEBLOCK_WORDS; i++) {
		u64 bits = isolated->frames[i];

		while (bits) {
			unsigned int first = __ffs(bits);
			u64 from = bits >> first; /* its lowest bit is set */
			unsigned int nr = from == ~0ULL ? 64 : __ffs(~from);

			add_to_run(walk, run, isolated->pfn + i * 64 + first, nr);
			bits = first + nr == 64 ? 0 : bits & ~0ULL << (first + nr);
		}
	}
}

/* Give back what has been gathered: frames. */
static unsigned long give_back(struct walk *walk, const struct buddy_isolated *isolated,
			       unsigned int nr)
{
	struct run run = {.ok = true};
	unsigned long nr_pages = 0;

	for (unsigned int i = 0; i < nr; i++)
		add_frames(walk, &run, &isolated[i]);
	add_to_run(walk, &run, 0, 0);
	lock_acquire(&walk->zone->lock);
	for (unsigned int i = 0; i < nr; i++) {
		buddy_unisolate(&walk->zone->buddy, &isolated[i], run.ok);
		nr_pages += isolated[i].nr_pages;
	}
	lock_release(&walk->zone->lock);
	walk->most -= min_t(unsigned long, nr_pages, walk->most);
	return run.ok ? nr_pages : 0;
}

/* One step of a walk; returns the frames released. */
static unsigned long step(struct walk *walk)
{
	struct buddy_isolated isolated[ISOLATE_AT_ONCE];
	unsigned int nr;
	unsigned long nr_pages = 0;

	lock_acquire(&walk->phys->release_lock);
	nr = gather(walk, isolated);
	if (nr)
		nr_pages = give_back(walk, isolated, nr);
	lock_release(&walk->phys->release_lock);
	return nr_pages;
}

/* May the zone's memory go? See the heading. */
static bool may_release(const struct zone *zone, const struct kmm *machine)
{
	return !zone->memfd_backed || getpid() == machine->pid;
}

/* Free frames that have memory. */
static unsigned long nr_held(const struct zone *zone)
{
	return READ_ONCE(zone->buddy.nr_pages) - READ_ONCE(zone->buddy.nr_released);
}

static unsigned long release_all(struct phys *phys, enum buddy_choice choice, unsigned long most)
{
	/* Of groups only whole ones go. */
	const unsigned long least = choice == CHOOSE_GROUPS ? GROUP_NR_PAGES : 1;
	unsigned long nr_pages = 0;

	for_each_zone(phys, node, zone) {
		struct walk walk = {
			.phys = phys, .zone = zone, .choice = choice, .most = most - nr_pages};

		while (may_release(zone, phys->machine) && walk.at < zone->buddy.nr_blocks &&
		       walk.most >= least)
			nr_pages += step(&walk);
	}
	return nr_pages;
}

unsigned long phys_trim(struct kmm *machine, unsigned long keep_pages)
{
	struct phys *phys = machine->phys;
	const enum buddy_choice last = keep_pages ? CHOOSE_GROUPS : CHOOSE_PAGES;
	unsigned long held = 0, nr_pages = 0;

	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
		if (cpu != this_cpu && pcp_nr_pages(cpu))
			pcp_close(cpu);
	for_each_zone(phys, node, zone)
		held += nr_held(zone);
	/* The last choice takes what those before it do, which come first where much is kept. */
	for (enum buddy_choice choice = keep_pages < PAGEBLOCK_NR_PAGES ? last : CHOOSE_WHOLE;
	     choice <= last && held > keep_pages + nr_pages; choice++)
		nr_pages += release_all(phys, choice, held - keep_pages - nr_pages);
	return nr_pages;
}

unsigned long phys_age(struct kmm *machine)
{
	struct phys *phys = machine->phys;
	unsigned long nr_pages = 0;

	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
		if (cpu != this_cpu)
			pcp_age(cpu);
	/* What the caches of objects have just given back. */
	if (this_cpu->machine == machine)
		pcp_drain(phys, this_cpu);
	for_each_zone(phys, node, zone) {
		struct walk walk = {.phys = phys,
				    .zone = zone,
				    .choice = CHOOSE_AGED,
				    .at = READ_ONCE(zone->age_at),
				    .most = AGE_PAGES_MOST};

		/* No pageblock twice in a call: it would have aged by two looks. */
		while (may_release(zone, machine) && walk.at < zone->buddy.nr_blocks && walk.most &&
		       walk.looked < AGE_LOOK_MOST)
			nr_pages += step(&walk);
		WRITE_ONCE(zone->age_at, walk.at < zone->buddy.nr_blocks ? walk.at : 0);
	}
	return nr_pages;
}

bool phys_wait_for_release(struct phys *phys)
{
	bool any = false;

	for_each_zone(phys, node, zone)
		any |= READ_ONCE(zone->buddy.nr_isolated) != 0;
	if (any) {
		lock_acquire(&phys->release_lock);
		lock_release(&phys->release_lock);
	}
	return any;
}

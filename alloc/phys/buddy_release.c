/* SPDX-License-Identifier: MIT */
/*
 * Memory of free frames that goes back to the host: which frames, and that nobody takes them
 * meanwhile; see buddy.h. What the host is asked is phys/release.c's. The caller holds the zone's
 * lock.
 */
#include "base/bits.h"
#include "phys/buddy_lists.h"

void forget_released_slow(struct buddy *buddy, struct pageblock *block)
{
	/* With huge pages the next touch brings memory for the whole pageblock. */
	const u32 still = buddy->huge ? 0 : block->released & pageblock_free_groups(block);
	const u64 nr = (u64)hweight64(block->released & ~still) << GROUP_ORDER;

	WRITE_ONCE(buddy->nr_released, buddy->nr_released - nr);
	buddy->nr_reuse += nr;
	block->released = still;
}

/* The frames of groups, a bit each; groups: four for each word of 64. */
static void frames_of(u32 groups, u64 frames[PAGEBLOCK_WORDS])
{
	for (unsigned int i = 0; i < PAGEBLOCK_WORDS; i++, groups >>= 4) {
		/* Bits 0 to 3 to bits 0, 16, 32 and 48, and each of these 16 times. */
		const u64 spread = (groups & 1) | (u64)(groups & 2) << 15 |
				   (u64)(groups & 4) << 30 | (u64)(groups & 8) << 45;

		frames[i] = spread * 0xffff;
	}
}

static u32 choose_groups(struct pageblock *block, enum buddy_choice choice)
{
	u32 groups = 0;

	/* With fewer frames than a group left, beyond the released, no look is needed. */
	if (pageblock_is_whole(block))
		groups = ALL_GROUPS;
	else if (choice != CHOOSE_WHOLE &&
		 block->nr_free >> GROUP_ORDER > hweight64(block->released))
		groups = pageblock_free_groups(block);
	groups &= ~block->released;
	if (choice == CHOOSE_AGED) {
		groups &= ~block->recent;
		block->recent = 0;
	}
	return groups;
}

/* Frames that have memory, as far as is known, and how many; frames[] is not set if none have. */
static unsigned long choose(struct pageblock *block, enum buddy_choice choice,
			    unsigned long most_pages, u64 frames[PAGEBLOCK_WORDS])
{
	unsigned long nr = 0;

	if (choice != CHOOSE_PAGES) {
		u32 groups = choose_groups(block, choice);

		while (choice == CHOOSE_GROUPS && hweight64(groups) > most_pages >> GROUP_ORDER)
			groups &= groups - 1;
		if (groups)
			frames_of(groups, frames);
		return (unsigned long)hweight64(groups) << GROUP_ORDER;
	}
	frames_of(block->released, frames);
	for (unsigned int i = 0; i < PAGEBLOCK_WORDS; i++) {
		frames[i] ^= block->free[i];
		nr += hweight64(frames[i]);
	}
	return nr;
}

unsigned long buddy_isolate(struct buddy *buddy, struct pageblock *block, enum buddy_choice choice,
			    unsigned long most_pages, struct buddy_isolated *isolated)
{
	unsigned long nr;

	if (!block->nr_free || block->released == ALL_GROUPS)
		return 0;
	nr = choose(block, choice, most_pages, isolated->frames);
	if (!nr || nr > most_pages)
		return 0;
	if (pageblock_is_whole(block))
		unlist_whole(buddy, block);
	pageblock_set_free(block, isolated->frames, false);
	relist(buddy, block);
	WRITE_ONCE(buddy->nr_pages, buddy->nr_pages - nr);
	WRITE_ONCE(buddy->nr_isolated, buddy->nr_isolated + nr);
	isolated->block = block;
	isolated->pfn = (unsigned long)(first_page(buddy, block) - buddy->mem_map);
	isolated->nr_pages = nr;
	return nr;
}

/* Those of the groups without memory that are free in the pageblock now: mark them. */
static void mark_released(struct buddy *buddy, struct pageblock *block, u32 groups)
{
	groups &= pageblock_free_groups(block) & ~block->released;
	block->released |= groups;
	WRITE_ONCE(buddy->nr_released,
		   buddy->nr_released + ((unsigned long)hweight64(groups) << GROUP_ORDER));
}

/* The groups all of whose frames these are. */
static u32 groups_of(const u64 frames[PAGEBLOCK_WORDS])
{
	struct pageblock block = {.nr_free = 0};

	for (unsigned int i = 0; i < PAGEBLOCK_WORDS; i++)
		block.free[i] = frames[i];
	return pageblock_free_groups(&block);
}

void buddy_unisolate(struct buddy *buddy, const struct buddy_isolated *isolated, bool released)
{
	struct pageblock *block = isolated->block;

	pageblock_set_free(block, isolated->frames, true);
	if (released) {
		mark_released(buddy, block, groups_of(isolated->frames));
		buddy->nr_release += isolated->nr_pages;
	}
	relist(buddy, block);
	WRITE_ONCE(buddy->nr_pages, buddy->nr_pages + isolated->nr_pages);
	WRITE_ONCE(buddy->nr_isolated, buddy->nr_isolated - isolated->nr_pages);
}

void buddy_set_released(struct buddy *buddy, unsigned long start_pfn, unsigned long end_pfn)
{
	unsigned long first = ALIGN_UP(start_pfn, PAGEBLOCK_NR_PAGES);

	for (unsigned long pfn = first; pfn + PAGEBLOCK_NR_PAGES <= end_pfn;
	     pfn += PAGEBLOCK_NR_PAGES) {
		struct pageblock *block = pfn_to_pageblock(buddy, pfn);

		unlist_whole(buddy, block);
		mark_released(buddy, block, ALL_GROUPS);
		block->recent = 0;
		list_whole(buddy, block);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * Runs of pageblocks, over descriptors of some hundred of them and struct pages that nobody
 * touches: the first place is found, as one finds it by asking for each pageblock whether it is
 * free.
 */
#include <stdlib.h>
#include <string.h>

#include "phys/buddy.h"
#include "tests/tap/dies.h"
#include "tests/tap/tap.h"

#define NR_BLOCKS   200UL
#define FIRST_BLOCK 2UL
#define END_PFN	    ((FIRST_BLOCK + NR_BLOCKS) * PAGEBLOCK_NR_PAGES)

static struct page frames[END_PFN];
static struct pageblock blocks[NR_BLOCKS];
static struct free_area area[NR_MIGRATETYPES];
static struct buddy buddy = {.area = area};

static unsigned long pfn_of(const struct page *page)
{
	return page ? (unsigned long)(page - frames) : 0;
}

static unsigned long first_pfn(unsigned long block)
{
	return (FIRST_BLOCK + block) * PAGEBLOCK_NR_PAGES;
}

/* All free, pageblocks [fresh, fresh_end) fresh. */
static void set_up(unsigned long fresh, unsigned long fresh_end)
{
	memset(blocks, 0, sizeof(blocks));
	buddy_init(&buddy, frames, blocks, first_pfn(0), END_PFN, first_pfn(fresh),
		   first_pfn(fresh_end));
	buddy_add_range(&buddy, first_pfn(0), first_pfn(fresh));
	buddy_add_range(&buddy, first_pfn(fresh_end), END_PFN);
}

static bool has_free(unsigned long block, unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++)
		if (block >= NR_BLOCKS || !buddy_is_free(&buddy, first_pfn(block) + i, 0))
			return false;
	return true;
}

/* Where nr frames are free from the start of a pageblock on, looked for one by one; NULL: nowhere. */
static struct page *search(unsigned long nr)
{
	unsigned long whole = nr < PAGEBLOCK_NR_PAGES ? 1 : nr / PAGEBLOCK_NR_PAGES;
	unsigned long tail = nr < PAGEBLOCK_NR_PAGES ? 0 : nr % PAGEBLOCK_NR_PAGES, run = 0;

	for (unsigned long i = 0; i < NR_BLOCKS; i++) {
		run = buddy_is_free(&buddy, first_pfn(i), PAGEBLOCK_ORDER) ? run + 1 : 0;
		if (run >= whole && (!tail || has_free(i + 1, tail)))
			return frames + first_pfn(i + 1 - whole);
	}
	return NULL;
}

static void runs_end_where_words_of_the_map_do_and_beyond(void)
{
	for (int fresh = 0; fresh < 2; fresh++)
		for (unsigned long at = 60; at < 68; at++)
			for (unsigned long nr = 1; nr < NR_BLOCKS - at; nr++) {
				set_up(0, fresh ? NR_BLOCKS : 0);
				ok(buddy_take_run(&buddy, at * PAGEBLOCK_NR_PAGES,
						  MIGRATE_MOVABLE) == frames + first_pfn(0),
				   "the first %lu", at);
				ok(buddy_take_run(&buddy, nr * PAGEBLOCK_NR_PAGES,
						  MIGRATE_MOVABLE) == frames + first_pfn(at),
				   "%lu at %lu", nr, at);
				ok(!buddy_take_run(&buddy,
						   (NR_BLOCKS - at - nr) * PAGEBLOCK_NR_PAGES + 1,
						   MIGRATE_MOVABLE),
				   "more than are left");
				if (nr % 16 == 0)
					buddy_validate_lists(&buddy, "test");
			}
}

static void a_hole_too_short_is_passed_over_and_one_that_fits_is_filled(void)
{
	const unsigned long frames_of_3 = 3 * PAGEBLOCK_NR_PAGES;

	set_up(0, 0);
	ok(buddy_take_run(&buddy, NR_BLOCKS * PAGEBLOCK_NR_PAGES, MIGRATE_MOVABLE), "all");
	buddy_give_range(&buddy, first_pfn(5), first_pfn(7));
	buddy_give_range(&buddy, first_pfn(62), first_pfn(64));
	buddy_give_range(&buddy, first_pfn(126), first_pfn(129));
	ok_eq(pfn_of(buddy_take_run(&buddy, frames_of_3, MIGRATE_MOVABLE)), first_pfn(126));
	ok(!buddy_take_run(&buddy, frames_of_3, MIGRATE_MOVABLE), "a second");
	buddy_give_range(&buddy, first_pfn(64), first_pfn(65));
	ok_eq(pfn_of(buddy_take_run(&buddy, frames_of_3, MIGRATE_MOVABLE)), first_pfn(62));
	buddy_validate_lists(&buddy, "test");
}

/* The last pageblock need be free only as far as the run goes. */
static void a_run_ends_in_a_pageblock_that_is_in_use(void)
{
	const unsigned long all = NR_BLOCKS * PAGEBLOCK_NR_PAGES;

	for (unsigned long end = 1; end < PAGEBLOCK_NR_PAGES; end += end < 66 ? 1 : 63)
		for (unsigned long at = 62; at < 66; at++) {
			const unsigned long used = first_pfn(at + 1) + end;

			set_up(0, 0);
			ok(buddy_take_run(&buddy, all, MIGRATE_MOVABLE), "all");
			buddy_give_range(&buddy, first_pfn(at), used);
			buddy_give_range(&buddy, used + 1, first_pfn(at + 2));
			ok(!buddy_take_run(&buddy, PAGEBLOCK_NR_PAGES + end + 1, MIGRATE_MOVABLE),
			   "frame %lu is in use", end);
			ok_eq(pfn_of(buddy_take_run(&buddy, PAGEBLOCK_NR_PAGES + end,
						    MIGRATE_UNMOVABLE)),
			      first_pfn(at));
			buddy_validate_lists(&buddy, "test");
		}
}

/* From before the fresh ones to behind them. */
static void a_run_reaches_over_the_fresh_ones(void)
{
	for (unsigned long before = 0; before <= 4; before += 2)
		for (unsigned long behind = 0; behind <= 4; behind += 2)
			for (unsigned long less = 0; less < 2; less++) {
				set_up(before, NR_BLOCKS - behind);
				ok_eq(pfn_of(buddy_take_run(&buddy,
							    NR_BLOCKS * PAGEBLOCK_NR_PAGES - less,
							    MIGRATE_MOVABLE)),
				      first_pfn(0));
				ok_eq(buddy.nr_pages, less);
				buddy_validate_lists(&buddy, "test");
			}
}

struct live {
	unsigned long pfn, nr_pages;
};

/* One run, or one block of whatever order, and of a pageblock all that is free to the host and
 * back. */
static void step(struct live *live, unsigned int *seed)
{
	const unsigned int what = (unsigned int)rand_r(seed) % 4;
	const unsigned int order = what ? 9 + (what == 1) : (unsigned int)rand_r(seed) % 9;
	struct buddy_isolated isolated;
	struct page *page = NULL;

	if (live->nr_pages) {
		buddy_give_range(&buddy, live->pfn, live->pfn + live->nr_pages);
		live->nr_pages = 0;
	} else if (what == 3) {
		unsigned long nr = 1 + (unsigned long)rand_r(seed) % (20 * PAGEBLOCK_NR_PAGES);
		struct page *first = search(nr);

		page = buddy_take_run(&buddy, nr, MIGRATE_UNMOVABLE);
		ok(page == first, "%lu frames at %lu, not %lu", nr, pfn_of(page), pfn_of(first));
		*live = (struct live){.pfn = pfn_of(page), .nr_pages = page ? nr : 0};
	} else if (buddy_take(&buddy, order, MIGRATE_MOVABLE, 1, &page)) {
		*live = (struct live){.pfn = pfn_of(page), .nr_pages = 1UL << order};
	}
	if (buddy_isolate(&buddy, &blocks[(unsigned int)rand_r(seed) % NR_BLOCKS], CHOOSE_GROUPS,
			  END_PFN, &isolated)) {
		buddy_validate_lists(&buddy, "isolated");
		buddy_unisolate(&buddy, &isolated, true);
	}
}

static void the_first_place_is_found_whatever_happened_before(void)
{
	static struct live live[40];
	unsigned int seed = 20;

	for (int round = 0; round < 4; round++) {
		memset(live, 0, sizeof(live));
		/* None; in the middle, before and behind the words' ends; all. */
		set_up(round == 3 ? 0 : 70,
		       round == 3 ? NR_BLOCKS : 70 + 50UL * (unsigned int)round);
		for (int i = 0; i < 2000; i++) {
			step(&live[(unsigned int)rand_r(&seed) % ARRAY_SIZE(live)], &seed);
			if (i % 20 == 0)
				buddy_validate_lists(&buddy, "test");
		}
	}
}

static void a_wrong_bit_in_the_map_is_found(void)
{
	set_up(0, 0);
	ok_dies("its bit in the map is wrong", {
		blocks[64].whole ^= 2;
		buddy_validate_lists(&buddy, "test");
	});
}

int main(void)
{
	RUN(runs_end_where_words_of_the_map_do_and_beyond);
	RUN(a_hole_too_short_is_passed_over_and_one_that_fits_is_filled);
	RUN(a_run_ends_in_a_pageblock_that_is_in_use);
	RUN(a_run_reaches_over_the_fresh_ones);
	RUN(the_first_place_is_found_whatever_happened_before);
	RUN(a_wrong_bit_in_the_map_is_found);
	return done();
}

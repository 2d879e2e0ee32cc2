/* SPDX-License-Identifier: MIT */
/* Runs of frames inside a pageblock: one fits right behind another and into a hole of its length, and
 * what is found is what a search frame by frame finds. */
#include <string.h>

#include "tests/alloc/phys/buddy_frames.h"
#include "tests/tap/tap.h"

static void set_up(void)
{
	memset(blocks, 0, sizeof(blocks));
	memset(frames, 0, sizeof(frames));
	buddy_init(&buddy, frames, blocks, 0, NR_FRAMES, 0, 0);
	buddy_add_range(&buddy, 0, NR_FRAMES);
}

static struct page *take_part(unsigned int nr)
{
	struct page *page = buddy_take_part(&buddy, nr, MIGRATE_MOVABLE);

	if (page) {
		page->nr_contig = nr;
		page->state = page_state(kind_of(PG_TYPE_CONTIG, 0));
	}
	return page;
}

static void give_part(struct page *page)
{
	unsigned long pfn = pfn_of(page), nr = page->nr_contig;

	page->nr_contig = 0;
	page_set_type(page, PG_TYPE_FREE);
	buddy_give_range(&buddy, pfn, pfn + nr);
}

static void validate(void)
{
	ok_eq(buddy_validate(&buddy, "test", NR_FRAMES), 0);
}

static void runs_lie_one_behind_the_other(void)
{
	struct page *page[51], *block;

	set_up();
	ok(!take_part(10), "a whole pageblock was broken up");
	block = take(1);
	for (int i = 0; i < 51; i++) {
		page[i] = take_part(10);
		ok(page[i] && pfn_of(page[i]) / PAGEBLOCK_NR_PAGES ==
				      pfn_of(block) / PAGEBLOCK_NR_PAGES,
		   "run %d is elsewhere", i);
		validate();
	}
	ok(!take_part(3), "a run where nothing is free");
	give_part(page[20]);
	ok(!take_part(11), "a run of 11 in a hole of 10");
	ok(take_part(10) == page[20], "the hole of 10 is not used");
	give_part(page[20]);
	ok(take_part(3) && take_part(7), "no room for 3 and 7 in 10");
	validate();
}

/* Nine fits into seventeen wherever these begin, though no block of sixteen is there. */
static void a_run_needs_no_aligned_block(void)
{
	for (unsigned int before = 1; before < 40; before++) {
		struct page *first, *hole;

		set_up();
		take(0);
		first = take_part(before);
		hole = take_part(17);
		take_part(510 - before - 17);
		ok(first && hole, "no room");
		give_part(hole);
		ok(take_part(9), "no nine frames of seventeen from %lu on", pfn_of(hole));
		validate();
	}
}

static void the_fullest_pageblock_is_taken_from(void)
{
	struct page *emptier, *fuller;

	set_up();
	emptier = take(7);
	take_part(300);
	fuller = take(8);
	take_part(200);
	ok(pfn_of(emptier) / PAGEBLOCK_NR_PAGES != pfn_of(fuller) / PAGEBLOCK_NR_PAGES, "one");
	ok_eq(pfn_of(take_part(30)) / PAGEBLOCK_NR_PAGES, pfn_of(fuller) / PAGEBLOCK_NR_PAGES);
	ok_eq(pfn_of(take_part(70)) / PAGEBLOCK_NR_PAGES, pfn_of(emptier) / PAGEBLOCK_NR_PAGES);
	validate();
}

/* However many pageblocks have holes that are too short: one that has a block large enough is found. */
static void holes_that_are_too_short_do_not_hide_one_that_is_not(void)
{
	static struct page *runs[NR_BLOCKS][64];
	unsigned int last = NR_BLOCKS - 1;

	set_up();
	for (unsigned int i = 0; i < last; i++) {
		runs[i][0] = take(3);
		for (int j = 1; j < 64; j++)
			runs[i][j] = take_part(j % 2 ? 7 : 9);
	}
	for (unsigned int i = 0; i < last; i++)
		for (int j = 1; j < 63; j += 2)
			if (runs[i][j])
				give_part(runs[i][j]);
	take(3);
	ok(take_part(10), "no room in an empty pageblock");
	validate();
}

static bool is_free(unsigned long pfn)
{
	return buddy_is_free(&buddy, pfn, 0);
}

/* Is there a run in one of the pageblocks that are in use? */
static bool has_run(unsigned int nr)
{
	for (unsigned long block = 0; block < NR_BLOCKS; block++) {
		unsigned int run = 0;

		if (pageblock_is_whole(&blocks[block]))
			continue;
		for (unsigned long i = 0; i < PAGEBLOCK_NR_PAGES; i++) {
			run = is_free(block * PAGEBLOCK_NR_PAGES + i) ? run + 1 : 0;
			if (run == nr)
				return true;
		}
	}
	return false;
}

/* A block that has them, which is found however many pageblocks are looked at in vain? */
static bool has_block(unsigned int nr)
{
	for (unsigned long block = 0; block < NR_BLOCKS; block++)
		if (!pageblock_is_whole(&blocks[block]) &&
		    blocks[block].orders >> get_order((size_t)nr << PAGE_SHIFT))
			return true;
	return false;
}

static void random_runs_are_found_where_there_are_some(void)
{
	static struct page *runs[200];
	unsigned long state = tap_seed() | 1;
	int nr_found = 0, nr_any = 0;

	set_up();
	for (int i = 0; i < 4000; i++) {
		struct page **run = &runs[tap_random(&state) % ARRAY_SIZE(runs)];
		unsigned int nr = 1 + (unsigned int)(tap_random(&state) %
						     (tap_random(&state) % 4 ? 40 : 511));
		bool any, sure;

		if (*run) {
			give_part(*run);
			*run = NULL;
			continue;
		}
		any = has_run(nr);
		sure = has_block(nr);
		*run = take_part(nr);
		ok(any || !*run, "%u frames in a row: found where there are none", nr);
		ok(*run || !sure, "%u frames in a row: not found", nr);
		nr_found += *run != NULL;
		nr_any += any;
		if (!*run && (*run = take(get_order((size_t)nr << PAGE_SHIFT)))) {
			unsigned long pfn = pfn_of(*run), end = roundup_pow_of_two(nr);

			buddy_give_range(&buddy, pfn + nr, pfn + end);
			(*run)->nr_contig = nr;
			(*run)->state = page_state(kind_of(PG_TYPE_CONTIG, 0));
		}
		if (i % 50 == 0)
			validate();
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(runs); i++)
		if (runs[i])
			give_part(runs[i]);
	ok_eq(buddy.nr_pages, NR_FRAMES);
	validate();
	ok(nr_found > nr_any - nr_any / 8, "%d found of %d", nr_found, nr_any);
}

int main(void)
{
	RUN(runs_lie_one_behind_the_other);
	RUN(a_run_needs_no_aligned_block);
	RUN(the_fullest_pageblock_is_taken_from);
	RUN(holes_that_are_too_short_do_not_hide_one_that_is_not);
	RUN(random_runs_are_found_where_there_are_some);
	return done();
}

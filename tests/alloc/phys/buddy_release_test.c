/* SPDX-License-Identifier: MIT */
/*
 * The buddy allocator's account of memory that the host has back, over an array of struct pages
 * that stand for no memory: fresh pageblocks, which are taken last and whose descriptors stay
 * unwritten, and frames that are isolated, released and taken again.
 */
#include "buddy_frames.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/tap/dies.h"
#include "tests/tap/tap.h"

/* All of it fresh from `fresh` on; below it, used once: free, with memory. */
static void set_up(unsigned long fresh)
{
	memset(blocks, 0, sizeof(blocks));
	memset(frames, 0, sizeof(frames));
	buddy_init(&buddy, frames, blocks, 0, NR_FRAMES, fresh, NR_FRAMES);
	if (fresh)
		buddy_add_range(&buddy, 0, fresh);
}

static void validate(unsigned long nr_elsewhere)
{
	ok_eq(buddy_validate(&buddy, "test", NR_FRAMES), nr_elsewhere);
}

/* Isolate what a choice says of one pageblock, and give it back, released or not. */
static unsigned long release(unsigned int block, enum buddy_choice choice, bool released)
{
	struct buddy_isolated isolated;
	unsigned long before = buddy.nr_pages;
	unsigned long nr = buddy_isolate(&buddy, &blocks[block], choice, NR_FRAMES, &isolated);

	if (!nr)
		return 0;
	ok_eq(isolated.pfn, block * PAGEBLOCK_NR_PAGES);
	ok_eq(isolated.nr_pages, nr);
	ok_eq(buddy.nr_pages, before - nr);
	ok_eq(buddy.nr_isolated, nr);
	buddy_validate_lists(&buddy, "isolated");
	buddy_unisolate(&buddy, &isolated, released);
	ok_eq(buddy.nr_pages, before);
	ok_eq(buddy.nr_isolated, 0);
	validate(0);
	return nr;
}

static void fresh_pageblocks_count_as_free_and_stay_unwritten(void)
{
	static const struct pageblock zeros;
	unsigned long nr[NR_PAGE_ORDERS] = {0}, of_type[NR_MIGRATETYPES] = {0};
	u64 used[PAGEBLOCK_WORDS];

	set_up(0);
	buddy_count(&buddy, NR_MIGRATETYPES, nr);
	ok_eq(nr[MAX_PAGE_ORDER], NR_BLOCKS / 2);
	buddy_count_pageblocks(&buddy, of_type);
	ok_eq(of_type[MIGRATE_MOVABLE], NR_BLOCKS);
	ok_eq(buddy.nr_pages, NR_FRAMES);
	ok_eq(buddy.nr_released, NR_FRAMES);
	ok(buddy_is_free(&buddy, 77, 0) && buddy_is_free(&buddy, 4096, MAX_PAGE_ORDER), "free");
	ok(!buddy_used_frames(&buddy, 512, used), "used");
	validate(0);
	take(0);
	ok_eq(buddy.fresh, 2);
	for (unsigned int i = 2; i < NR_BLOCKS; i++)
		ok(!memcmp(&blocks[i], &zeros, sizeof(zeros)), "pageblock %u was written to", i);
	validate(0);
}

/* Everything there is, in blocks of each order and type, and back. */
static void fresh_memory_is_all_to_be_had(void)
{
	static struct page *taken[NR_FRAMES + 1];

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++)
		for (enum migratetype type = 0; type < NR_MIGRATETYPES; type++) {
			unsigned long nr = 0;

			set_up(0);
			while ((taken[nr] = take_type(order, type)))
				nr++;
			ok_eq(nr, NR_FRAMES >> order);
			ok_eq(buddy.nr_pages, 0);
			ok_eq(buddy.nr_released, 0);
			validate(0);
			while (nr)
				give(taken[--nr], order);
			ok_eq(buddy.nr_pages, NR_FRAMES);
			validate(0);
		}
}

static void fresh_pageblocks_are_taken_last(void)
{
	struct page *page[4];

	set_up(4 * PAGEBLOCK_NR_PAGES);
	for (int i = 0; i < 4; i++) {
		page[i] = take_type(PAGEBLOCK_ORDER, MIGRATE_UNMOVABLE);
		ok(pfn_of(page[i]) < 4 * PAGEBLOCK_NR_PAGES, "a fresh one was taken");
	}
	ok_eq(buddy.nr_released, NR_FRAMES - 4 * PAGEBLOCK_NR_PAGES);
	ok(pfn_of(take(0)) >= 4 * PAGEBLOCK_NR_PAGES, "there is another");
	validate(0);
}

static void a_run_may_begin_before_fresh_pageblocks_and_end_in_them(void)
{
	struct page *page;

	set_up(4 * PAGEBLOCK_NR_PAGES);
	page = take(0); /* of one that has memory */
	ok(pfn_of(page) < 4 * PAGEBLOCK_NR_PAGES, "a fresh one was taken");
	page = buddy_take_run(&buddy, 8 * PAGEBLOCK_NR_PAGES + 5, MIGRATE_UNMOVABLE);
	ok(page && pfn_of(page) <= 4 * PAGEBLOCK_NR_PAGES, "no run, or not the first");
	/* The zone's lock is given back here: whoever looks next finds all in order. */
	buddy_validate_lists(&buddy, "taken");
	for (unsigned long i = pfn_of(page) >> PAGEBLOCK_ORDER, left = 8; left--; i++)
		ok_eq(blocks[i].blank, i >= 4);
	page->state = page_state(kind_of(PG_TYPE_CONTIG, 0));
	page->nr_contig = 8 * PAGEBLOCK_NR_PAGES + 5;
	validate(0);
	ok(!buddy_take_run(&buddy, 8 * PAGEBLOCK_NR_PAGES, MIGRATE_UNMOVABLE), "a second one");
	page->state = 0;
	buddy_give_range(&buddy, pfn_of(page), pfn_of(page) + 8 * PAGEBLOCK_NR_PAGES + 5);
	ok_eq(buddy.nr_pages, NR_FRAMES - 1);
	validate(0);
	set_up(0);
	ok(buddy_take_run(&buddy, NR_FRAMES, MIGRATE_MOVABLE) == frames, "all of it");
	ok(!buddy_take_run(&buddy, 1, MIGRATE_MOVABLE), "one frame more");
}

static void what_is_released_is_taken_after_what_has_memory(void)
{
	set_up(NR_FRAMES);
	for (unsigned int i = 0; i < NR_BLOCKS; i++)
		if (i != 5)
			ok_eq(release(i, CHOOSE_WHOLE, true), PAGEBLOCK_NR_PAGES);
	ok_eq(buddy.nr_released, NR_FRAMES - PAGEBLOCK_NR_PAGES);
	ok_eq(release(3, CHOOSE_WHOLE, true), 0);
	ok_eq(release(3, CHOOSE_PAGES, true), 0);
	ok_eq(pfn_of(take_type(3, MIGRATE_UNMOVABLE)) / PAGEBLOCK_NR_PAGES, 5);
	ok_eq(buddy.nr_reuse, 0);
	ok(pfn_of(take(PAGEBLOCK_ORDER)) / PAGEBLOCK_NR_PAGES != 5, "nothing else is whole");
	ok_eq(buddy.nr_reuse, PAGEBLOCK_NR_PAGES);
	validate(0);
}

/*
 *	groups	| 0 used | 1 free | 2 in part | 3 ... 31 free |
 */
/* Two pageblocks in use: the fuller one has groups without memory. */
static void what_has_memory_is_taken_before_what_is_fuller(void)
{
	struct page *emptier[2], *fuller[3];

	set_up(2 * PAGEBLOCK_NR_PAGES);
	for (int i = 0; i < 3; i++)
		fuller[i] = take(7);
	for (int i = 0; i < 2; i++)
		emptier[i] = take(8);
	give(emptier[1], 8);
	ok_eq(pfn_of(fuller[0]) / PAGEBLOCK_NR_PAGES, pfn_of(fuller[2]) / PAGEBLOCK_NR_PAGES);
	ok_eq(release((unsigned int)(pfn_of(fuller[0]) / PAGEBLOCK_NR_PAGES), CHOOSE_GROUPS, true),
	      PAGEBLOCK_NR_PAGES / 4);
	ok(take(0) == emptier[1], "frame %lu", pfn_of(emptier[1]));
	validate(0);
}

static void groups_and_pages_of_a_pageblock_in_use_are_released(void)
{
	struct page *used = NULL, *part = NULL, *page;
	struct page *singles[48];

	set_up(PAGEBLOCK_NR_PAGES * 2);
	page = take(PAGEBLOCK_ORDER - 1);
	give(page, PAGEBLOCK_ORDER - 1);
	for (unsigned int i = 0; i < 48; i++)
		singles[i] = take(0);
	for (unsigned int i = 0; i < 48; i++) {
		unsigned long group = pfn_of(singles[i]) % PAGEBLOCK_NR_PAGES / GROUP_NR_PAGES;

		if (group == 0 && !used)
			used = singles[i];
		else if (group == 2 && !part)
			part = singles[i];
		else
			give(singles[i], 0);
	}
	ok(used && part && pfn_of(used) < 512 && pfn_of(part) < 512, "not of one pageblock");
	ok_eq(release(0, CHOOSE_WHOLE, true), 0);
	ok_eq(release(0, CHOOSE_GROUPS, false), 30 * GROUP_NR_PAGES);
	ok_eq(release(0, CHOOSE_GROUPS, true), 30 * GROUP_NR_PAGES);
	ok_eq(blocks[0].released, ALL_GROUPS & ~5U);
	ok_eq(release(0, CHOOSE_GROUPS, true), 0);
	ok_eq(release(0, CHOOSE_PAGES, true), 2 * (GROUP_NR_PAGES - 1));
	ok_eq(blocks[0].released, ALL_GROUPS & ~5U);
	give(used, 0);
	give(part, 0);
	ok_eq(release(0, CHOOSE_WHOLE, true), 2 * GROUP_NR_PAGES);
	ok_eq(blocks[0].released, ALL_GROUPS);
}

/*
 *	pageblock 0	| 32 .. 63 free, without memory | all else is used |
 *	pageblock 1	| of each 64 frames the first is used              |
 */
static void the_emptiest_is_stolen_whatever_has_memory(void)
{
	const unsigned long end = 2 * PAGEBLOCK_NR_PAGES;
	struct buddy_isolated isolated;
	struct page *page;

	memset(blocks, 0, sizeof(blocks));
	buddy_init(&buddy, frames, blocks, 0, end, 0, 0);
	buddy_give_range(&buddy, 32, 64);
	for (unsigned long pfn = PAGEBLOCK_NR_PAGES; pfn < end; pfn += 64)
		buddy_give_range(&buddy, pfn + 1, pfn + 64);
	ok_eq(buddy_isolate(&buddy, &blocks[0], CHOOSE_GROUPS, end, &isolated), 32);
	buddy_unisolate(&buddy, &isolated, true);
	page = take_type(0, MIGRATE_UNMOVABLE);
	ok_eq(pfn_of(page) / PAGEBLOCK_NR_PAGES, 1);
	ok_eq(blocks[1].migratetype, MIGRATE_UNMOVABLE);
	ok_eq(buddy.nr_steal_page, 0);
}

static void what_is_taken_has_memory_again(void)
{
	for (int huge = 0; huge < 2; huge++) {
		struct page *page;

		set_up(PAGEBLOCK_NR_PAGES * 2);
		buddy.huge = huge;
		release(0, CHOOSE_WHOLE, true);
		release(1, CHOOSE_WHOLE, true);
		page = take(5);
		ok_eq(buddy.nr_reuse, huge ? PAGEBLOCK_NR_PAGES : 32);
		validate(0);
		give(page, 5);
		validate(0);
		ok_eq(release((unsigned int)(pfn_of(page) / PAGEBLOCK_NR_PAGES), CHOOSE_WHOLE,
			      true),
		      huge ? PAGEBLOCK_NR_PAGES : 32);
	}
}

static void ageing_wants_two_looks_without_a_free(void)
{
	struct page *page;

	set_up(PAGEBLOCK_NR_PAGES * 2);
	ok_eq(release(0, CHOOSE_AGED, true), 0);
	page = take(0);
	give(page, 0);
	/* All but the group that was used since; and that at the next look. */
	ok_eq(release((unsigned int)(pfn_of(page) / 512), CHOOSE_AGED, true) % 512,
	      pfn_of(page) < 512 ? 512 - GROUP_NR_PAGES : 0);
	for (int i = 0; i < 2; i++) {
		release(0, CHOOSE_AGED, true);
		release(1, CHOOSE_AGED, true);
	}
	ok_eq(blocks[0].released, ALL_GROUPS);
	ok_eq(blocks[1].released, ALL_GROUPS);
}

static void too_many_are_not_isolated(void)
{
	struct buddy_isolated isolated;

	set_up(NR_FRAMES);
	ok_eq(buddy_isolate(&buddy, &blocks[0], CHOOSE_WHOLE, 511, &isolated), 0);
	ok_eq(buddy_isolate(&buddy, &blocks[0], CHOOSE_WHOLE, 512, &isolated), 512);
	ok_eq(buddy_isolate(&buddy, &blocks[0], CHOOSE_WHOLE, 512, &isolated), 0);
	buddy_unisolate(&buddy, &isolated, true);
	/* Of groups as many as there may be. */
	ok_eq(buddy_isolate(&buddy, &blocks[1], CHOOSE_GROUPS, 15, &isolated), 0);
	ok_eq(buddy_isolate(&buddy, &blocks[1], CHOOSE_GROUPS, 511, &isolated), 496);
	buddy_unisolate(&buddy, &isolated, true);
	validate(0);
}

static void wrong_accounts_are_found(void)
{
	set_up(NR_FRAMES / 2);
	ok_dies("without memory", {
		buddy.nr_released++;
		validate(0);
	});
	ok_dies("said to be without memory", {
		take(0);
		blocks[0].released = blocks[1].released = ALL_GROUPS;
		for (unsigned int i = 0; i < NR_BLOCKS / 2; i++)
			blocks[i].released = ALL_GROUPS;
		validate(0);
	});
	ok_dies("another type, order or fill", {
		blocks[0].released = blocks[1].released = ALL_GROUPS;
		buddy.nr_released += 1024;
		validate(0);
	});
}

/* Blocks of all orders at random, pageblocks released in between; a model of what has memory. */
static void a_model_agrees_on_what_has_memory(void)
{
	static bool held[NR_FRAMES];
	static struct {
		struct page *page;
		unsigned int order;
	} live[64];
	unsigned int seed = 4711;

	memset(held, 0, sizeof(held));
	set_up(0);
	for (int step = 0; step < 20000; step++) {
		unsigned int at = (unsigned int)rand_r(&seed) % 64;

		if (live[at].page) {
			give(live[at].page, live[at].order);
			live[at].page = NULL;
		} else {
			live[at].order = (unsigned int)rand_r(&seed) % 9;
			live[at].page = take(live[at].order);
			for (unsigned long i = 0; live[at].page && i < 1UL << live[at].order; i++)
				held[pfn_of(live[at].page) + i] = true;
		}
		if (step % 50)
			continue;
		for (unsigned int i = 0; i < buddy.fresh; i++) {
			struct buddy_isolated isolated;

			if (rand_r(&seed) % 4 ||
			    !buddy_isolate(&buddy, &blocks[i], rand_r(&seed) % 4, NR_FRAMES,
					   &isolated))
				continue;
			buddy_unisolate(&buddy, &isolated, true);
			for (unsigned int f = 0; f < PAGEBLOCK_NR_PAGES; f++)
				if (isolated.frames[f / 64] >> f % 64 & 1)
					held[isolated.pfn + f] = false;
		}
		for (unsigned long pfn = 0; pfn < buddy.fresh * PAGEBLOCK_NR_PAGES; pfn++)
			if (blocks[pfn / 512].released >> pfn % 512 / 16 & 1 && held[pfn]) {
				ok(false, "step %d: frame %lu has memory", step, pfn);
				return;
			}
		validate(0);
	}
	ok(buddy.nr_reuse > 1000 && buddy.nr_release > 1000, "hardly anything was released");
}

int main(void)
{
	RUN(fresh_pageblocks_count_as_free_and_stay_unwritten);
	RUN(fresh_memory_is_all_to_be_had);
	RUN(fresh_pageblocks_are_taken_last);
	RUN(a_run_may_begin_before_fresh_pageblocks_and_end_in_them);
	RUN(what_is_released_is_taken_after_what_has_memory);
	RUN(what_has_memory_is_taken_before_what_is_fuller);
	RUN(groups_and_pages_of_a_pageblock_in_use_are_released);
	RUN(the_emptiest_is_stolen_whatever_has_memory);
	RUN(what_is_taken_has_memory_again);
	RUN(ageing_wants_two_looks_without_a_free);
	RUN(too_many_are_not_isolated);
	RUN(wrong_accounts_are_found);
	RUN(a_model_agrees_on_what_has_memory);
	return done();
}

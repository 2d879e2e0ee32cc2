/* SPDX-License-Identifier: MIT */
/* The buddy allocator alone, over an array of struct pages that stand for no memory. */
#include "phys/buddy.h"

#include "tests/tap/dies.h"
#include "tests/tap/tap.h"

#define NR_FRAMES 8192UL
#define PLACE	  (2U | 3U << 8) /* zone 2 of node 3 */

static struct page frames[NR_FRAMES];
static struct buddy buddy;

/* Frames [start, end) of the range, all of them the buddy's but those from `end_free` on. */
static void set_up(unsigned long start, unsigned long end, unsigned long end_free)
{
	for (unsigned long i = 0; i < NR_FRAMES; i++)
		frames[i].kind = PLACE | page_kind(0, 0, PG_TYPE_RESERVED, 0);
	buddy_init(&buddy, frames, start, end, PLACE);
	if (start < end_free)
		buddy_add_range(&buddy, start, end_free);
	buddy.nr_merge = 0;
}

static unsigned long validate(unsigned long nr_managed)
{
	return buddy_validate(&buddy, "test", nr_managed);
}

static unsigned long pfn_of(const struct page *page)
{
	return (unsigned long)(page - frames);
}

/* The free blocks by order, as "1 0 2": up to the highest order that has any. */
static const char *areas(void)
{
	static char text[128];
	int last = 0, len = 0;

	for (int order = 0; order < NR_PAGE_ORDERS; order++)
		if (buddy.area[order].nr_free)
			last = order;
	for (int order = 0; order <= last; order++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%lu", order ? " " : "",
				buddy.area[order].nr_free);
	return text;
}

#define ok_areas(want) ok(!strcmp(areas(), want), "free blocks by order: %s", areas())

/*
 *	pfn  3   4               8       10  11
 *	     | 0 |       2       |   1   | 0 |
 */
static void a_range_becomes_the_fewest_aligned_blocks(void)
{
	set_up(0, 16, 0);
	buddy_add_range(&buddy, 3, 11);
	ok_areas("2 1 1");
	ok_eq(buddy.nr_pages, 8);
	ok_eq(validate(8), 0);
	set_up(0, NR_FRAMES, NR_FRAMES);
	ok_areas("0 0 0 0 0 0 0 0 0 0 8");
	ok_eq(validate(NR_FRAMES), 0);
}

/*
 *	before   |               8               |
 *	after    | 1 | f |   f   |       f       |
 */
static void take_splits_down_and_keeps_the_upper_halves(void)
{
	struct page *page;

	set_up(0, 8, 8);
	page = buddy_take(&buddy, 0);
	ok_eq(pfn_of(page), 0);
	ok_eq(page->type, PG_TYPE_ALLOC);
	ok_eq(page->order, 0);
	ok_areas("1 1 1");
	ok_eq(buddy.nr_split, 3);
	ok_eq(validate(8), 0);
	buddy_give(&buddy, page, 0);
	ok_areas("0 0 0 1");
	ok_eq(buddy.nr_merge, 3);
	ok_eq(validate(8), 0);
}

/*
 *	         |   f   | A |   f...            of the two of order 1 the freed one comes first
 */
static void take_prefers_the_smallest_block_that_serves(void)
{
	struct page *a, *b;

	set_up(0, 16, 16);
	a = buddy_take(&buddy, 1);
	b = buddy_take(&buddy, 1);
	ok_eq(pfn_of(a), 0);
	ok_eq(pfn_of(b), 2);
	buddy_give(&buddy, a, 1);
	ok_areas("0 1 1 1");
	ok_eq(pfn_of(buddy_take(&buddy, 0)), 0);
	ok_eq(pfn_of(buddy_take(&buddy, 2)), 4);
	ok_eq(pfn_of(buddy_take(&buddy, 1)), 8);
	ok_eq(validate(16), 0);
}

/*
 *	| A | B | C | D |    free A, C; then B: merges with A; then D: with C, then both
 */
static void only_buddies_merge(void)
{
	struct page *page[4];

	set_up(0, 4, 4);
	for (int i = 0; i < 4; i++)
		page[i] = buddy_take(&buddy, 0);
	buddy_give(&buddy, page[0], 0);
	buddy_give(&buddy, page[2], 0);
	ok_areas("2");
	/* 1 and 2 are neighbours, and no buddies. */
	buddy_give(&buddy, page[1], 0);
	ok_areas("1 1");
	ok_eq(page[1]->type, PG_TYPE_NONE);
	buddy_give(&buddy, page[3], 0);
	ok_areas("0 0 1");
	ok_eq(page[0]->type, PG_TYPE_BUDDY);
	for (int i = 1; i < 4; i++)
		ok_eq(page[i]->type, PG_TYPE_NONE);
	ok_eq(validate(4), 0);
}

/*
 *	pfn      2       4       6
 *	  other  | zone: | A | A |  other zone, free:   0-1 and 6-7 are free, and not ours
 */
static void merge_stops_at_the_zone_s_ends(void)
{
	struct page *low, *high;

	set_up(2, 6, 6);
	ok_areas("0 2");
	low = buddy_take(&buddy, 1);
	high = buddy_take(&buddy, 1);
	frames[0].kind = PLACE | page_kind(0, 0, PG_TYPE_BUDDY, 1);
	frames[6].kind = PLACE | page_kind(0, 0, PG_TYPE_BUDDY, 1);
	buddy_give(&buddy, low, 1);
	buddy_give(&buddy, high, 1);
	ok_areas("0 2");
	ok_eq(buddy.nr_merge, 0);
	ok_eq(validate(4), 0);
}

static void merge_stops_at_another_zone_s_block(void)
{
	struct page *page;

	set_up(0, 4, 4);
	page = buddy_take(&buddy, 1);
	/* Free, of the right order, and of another node. */
	frames[2].nid++;
	buddy_give(&buddy, page, 1);
	ok_areas("0 2");
	frames[2].nid--;
}

static void merge_stops_at_the_largest_order(void)
{
	struct page *a, *b;

	set_up(0, 2 * MAX_ORDER_NR_PAGES, 2 * MAX_ORDER_NR_PAGES);
	a = buddy_take(&buddy, MAX_PAGE_ORDER);
	b = buddy_take(&buddy, MAX_PAGE_ORDER);
	ok(a && b && !buddy_take(&buddy, 0), "two blocks, then nothing");
	buddy_give(&buddy, a, MAX_PAGE_ORDER);
	buddy_give(&buddy, b, MAX_PAGE_ORDER);
	ok_areas("0 0 0 0 0 0 0 0 0 0 2");
	ok_eq(validate(2 * MAX_ORDER_NR_PAGES), 0);
}

/*
 *	before  |               16              |
 *	after   | 4 5 6 7 of them |1 2 3|f| f...      5 single: four of one cut, one of another
 */
static void a_batch_is_cut_from_large_blocks_and_ascends_when_popped(void)
{
	struct page *pages[16];

	set_up(0, 16, 16);
	ok_eq(buddy_take_bulk(&buddy, 0, 5, pages), 5);
	for (unsigned long i = 0; i < 4; i++)
		ok_eq(pfn_of(pages[i]), 3 - i);
	ok_eq(pfn_of(pages[4]), 4);
	for (int i = 0; i < 5; i++)
		ok_eq(pages[i]->kind, PLACE | page_kind(0, 0, PG_TYPE_PCP, 0));
	ok_areas("1 1 0 1");
	ok_eq(validate(16), 5);
	for (int i = 0; i < 5; i++)
		buddy_give(&buddy, pages[i], 0);
	ok_areas("0 0 0 0 1");
}

static void a_batch_takes_what_there_is(void)
{
	struct page *pages[64];

	set_up(0, 64, 40);
	ok_eq(buddy_take_bulk(&buddy, 1, 64, pages), 20);
	ok_eq(buddy.nr_pages, 0);
	ok_eq(buddy.nonempty, 0);
	ok_eq(buddy_take_bulk(&buddy, 1, 64, pages + 20), 0);
	ok(!buddy_take(&buddy, 0), "a frame from nowhere");
	ok_eq(validate(40), 40);
}

static void the_checker_sees_what_is_wrong(void)
{
	struct page *a, *b;

	set_up(0, 64, 64);
	a = buddy_take(&buddy, 0);
	b = buddy_take(&buddy, 0);
	ok_dies("counted", {
		buddy.nr_pages++;
		validate(64);
	});
	ok_dies("on the list, 0 counted", {
		buddy.area[3].nr_free--;
		validate(64);
	});
	ok_dies("nonempty", {
		buddy.nonempty |= 1;
		validate(64);
	});
	ok_dies("on the list of order 1 is", {
		frames[2].order = 2;
		validate(64);
	});
	ok_dies("begins no block", {
		a->type = PG_TYPE_NONE;
		validate(64);
	});
	ok_dies("says zone", {
		frames[1].zone = 0;
		validate(64);
	});
	ok_dies("inside the block", {
		frames[5].type = PG_TYPE_ALLOC;
		validate(64);
	});
	ok_dies("not aligned", {
		b->order = 1;
		validate(64);
	});
	ok_dies("are managed", validate(63));
	ok_dies("not merged", {
		a->type = PG_TYPE_BUDDY;
		list_add(&a->lru, &buddy.area[0].list);
		b->type = PG_TYPE_BUDDY;
		list_add(&b->lru, &buddy.area[0].list);
		buddy.area[0].nr_free = 2;
		buddy.nonempty |= 1;
		buddy.nr_pages += 2;
		validate(64);
	});
	ok_dies("broken list", {
		frames[8].lru.prev = &a->lru;
		validate(64);
	});
	ok_eq(validate(64), 0);
}

/*
 * Random takes and gives of all orders, with the checker after each step at first and now and then
 * later, against a bitmap of frames. A range with odd ends, so that the zone's ends are met often.
 */
static void random_steps_agree_with_a_bitmap(void)
{
	enum { LIVE = 512 };
	const unsigned long start = 1024 + 5, end = 5 * 1024 + 77;
	static struct page *live[LIVE];
	static bool used[NR_FRAMES];
	const unsigned long nr_steps = tap_ops(60000);
	unsigned long state = tap_seed() | 1, nr_used = 0;

	set_up(start, end, end);
	for (unsigned long step = 0; step < nr_steps; step++) {
		unsigned long r = tap_random(&state);
		unsigned int slot = (r >> 8) % LIVE;
		/* Small orders are the more frequent. */
		unsigned int order =
			(unsigned int)__builtin_ctzl((r >> 20) | 1UL << MAX_PAGE_ORDER);

		if (live[slot]) {
			unsigned long pfn = pfn_of(live[slot]);

			order = live[slot]->order;
			memset(used + pfn, false, 1UL << order);
			nr_used -= 1UL << order;
			buddy_give(&buddy, live[slot], order);
			live[slot] = NULL;
		} else if ((live[slot] = buddy_take(&buddy, order))) {
			unsigned long pfn = pfn_of(live[slot]);

			ok(pfn >= start && pfn + (1UL << order) <= end, "frame %lu is outside",
			   pfn);
			ok((pfn & ((1UL << order) - 1)) == 0, "frame %lu, order %u: not aligned",
			   pfn, order);
			for (unsigned long i = pfn; i < pfn + (1UL << order); i++) {
				ok(!used[i], "frame %lu is handed out twice", i);
				used[i] = true;
			}
			nr_used += 1UL << order;
		}
		ok_eq(buddy.nr_pages, end - start - nr_used);
		if (step < 500 || step % 100 == 0)
			ok_eq(validate(end - start), 0);
	}
	for (int i = 0; i < LIVE; i++)
		if (live[i])
			buddy_give(&buddy, live[i], live[i]->order);
	ok_eq(validate(end - start), 0);
	ok_eq(buddy.nr_pages, end - start);
	ok_eq(buddy.nr_split - buddy.nr_merge, 0);
}

int main(void)
{
	RUN(a_range_becomes_the_fewest_aligned_blocks);
	RUN(take_splits_down_and_keeps_the_upper_halves);
	RUN(take_prefers_the_smallest_block_that_serves);
	RUN(only_buddies_merge);
	RUN(merge_stops_at_the_zone_s_ends);
	RUN(merge_stops_at_another_zone_s_block);
	RUN(merge_stops_at_the_largest_order);
	RUN(a_batch_is_cut_from_large_blocks_and_ascends_when_popped);
	RUN(a_batch_takes_what_there_is);
	RUN(the_checker_sees_what_is_wrong);
	RUN(random_steps_agree_with_a_bitmap);
	return done();
}

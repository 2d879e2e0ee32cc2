/* SPDX-License-Identifier: MIT */
/* The buddy allocator alone, over an array of struct pages that stand for no memory. */
#include "buddy_frames.h"

#include <string.h>

#include "tests/tap/dies.h"
#include "tests/tap/tap.h"

/* Frames [start, end) of the range, all of them the buddy's but those from `end_free` on. */
static void set_up(unsigned long start, unsigned long end, unsigned long end_free)
{
	memset(blocks, 0, sizeof(blocks));
	for (unsigned long i = 0; i < NR_FRAMES; i++)
		frames[i].state = kind_of(PG_TYPE_NONE, 0);
	buddy_init(&buddy, frames, blocks, start, end, 0, 0);
	if (start < end_free)
		buddy_add_range(&buddy, start, end_free);
	buddy.nr_merge = 0;
}

static unsigned long validate(unsigned long nr_managed)
{
	return buddy_validate(&buddy, "test", nr_managed);
}

static struct pageblock *block_of(const struct page *page)
{
	return pfn_to_pageblock(&buddy, pfn_of(page));
}

/* The free blocks by order, as "1 0 2": up to the highest order that has any. */
static const char *areas_of(enum migratetype type)
{
	static char text[128];
	unsigned long nr[NR_PAGE_ORDERS] = {0};
	int last = 0, len = 0;

	buddy_count(&buddy, type, nr);
	for (int order = 0; order < NR_PAGE_ORDERS; order++)
		if (nr[order])
			last = order;
	for (int order = 0; order <= last; order++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%lu", order ? " " : "",
				nr[order]);
	return text;
}

#define ok_areas(want)                                                                             \
	ok(!strcmp(areas_of(NR_MIGRATETYPES), want), "free blocks by order: %s",                   \
	   areas_of(NR_MIGRATETYPES))

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
 *	before	|               8               |
 *	after	| 1 | f |   f   |       f       |
 */
static void take_splits_down_and_keeps_the_upper_halves(void)
{
	struct page *page;

	set_up(0, 8, 8);
	page = take(0);
	ok_eq(pfn_of(page), 0);
	ok_areas("1 1 1");
	ok_eq(buddy.nr_split, 3);
	ok_eq(validate(8), 0);
	give(page, 0);
	ok_areas("0 0 0 1");
	ok_eq(buddy.nr_merge, 3);
	ok_eq(validate(8), 0);
}

/*
 *	pfn	| 0 f | 2 A |    4 f    |         8 f         |
 */
static void take_prefers_the_smallest_block_that_serves(void)
{
	struct page *a, *b;

	set_up(0, 16, 16);
	a = take(1);
	b = take(1);
	ok_eq(pfn_of(a), 0);
	ok_eq(pfn_of(b), 2);
	give(a, 1);
	ok_areas("0 1 1 1");
	ok_eq(pfn_of(take(0)), 0);
	ok_eq(pfn_of(take(2)), 4);
	ok_eq(pfn_of(take(1)), 8);
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
		page[i] = take(0);
	give(page[0], 0);
	give(page[2], 0);
	ok_areas("2");
	ok_eq(buddy.nr_merge, 0);
	give(page[1], 0);
	ok_areas("1 1");
	give(page[3], 0);
	ok_areas("0 0 1");
	ok_eq(buddy.nr_merge, 3);
	ok_eq(validate(4), 0);
}

/* Orders whose blocks are words of bits, and the pair of pageblocks above. */
static void large_blocks_split_and_merge_over_words(void)
{
	struct page *page;

	set_up(0, 2048, 2048);
	for (unsigned int order = 5; order <= MAX_PAGE_ORDER; order++) {
		buddy.nr_split = buddy.nr_merge = 0;
		page = take(order);
		ok_eq(pfn_of(page) % (1UL << order), 0);
		ok_eq(buddy.nr_split, MAX_PAGE_ORDER - order);
		ok_eq(buddy.nr_pages, 2048 - (1UL << order));
		ok_eq(validate(2048), 0);
		give(page, order);
		ok_eq(buddy.nr_merge, MAX_PAGE_ORDER - order);
		ok_areas("0 0 0 0 0 0 0 0 0 0 2");
		ok_eq(validate(2048), 0);
	}
}

static void merge_stops_at_the_range_s_ends(void)
{
	struct page *page;

	/* 1 .. 7: its buddy 0 is another's, and so is the upper half of the pageblock */
	set_up(1, 7, 7);
	ok_areas("2 2");
	page = take(0);
	give(page, 0);
	ok_areas("2 2");
	ok_eq(validate(6), 0);
	/* A pageblock whose buddy is outside */
	set_up(512, 1024, 1024);
	ok_areas("0 0 0 0 0 0 0 0 0 1");
	set_up(1024, 1536, 1536);
	ok_areas("0 0 0 0 0 0 0 0 0 1");
	ok(!take(MAX_PAGE_ORDER), "a block of 1024 frames out of 512");
	ok_eq(validate(512), 0);
}

static void merge_stops_at_the_largest_order(void)
{
	struct page *a, *b;

	set_up(0, 2 * MAX_ORDER_NR_PAGES, 2 * MAX_ORDER_NR_PAGES);
	a = take(MAX_PAGE_ORDER);
	b = take(MAX_PAGE_ORDER);
	ok(a && b && !take(0), "two blocks, then nothing");
	give(a, MAX_PAGE_ORDER);
	give(b, MAX_PAGE_ORDER);
	ok_areas("0 0 0 0 0 0 0 0 0 0 2");
	ok_eq(buddy.nr_merge, 0);
	ok_eq(validate(2 * MAX_ORDER_NR_PAGES), 0);
}

/*
 *	before  |               16              |
 *	after   |  taken: 4 3 2 1 0 | f | f | f...       descending, so that popping ascends
 */
static void a_batch_ascends_when_popped(void)
{
	struct page *pages[16];

	set_up(0, 16, 16);
	ok_eq(buddy_take(&buddy, 0, MIGRATE_MOVABLE, 5, pages), 5);
	for (unsigned long i = 0; i < 5; i++)
		ok_eq(pfn_of(pages[i]), 4 - i);
	ok_areas("1 1 0 1");
	ok_eq(buddy.nr_split, 7);
	ok_eq(validate(16), 5);
	for (int i = 0; i < 5; i++)
		give(pages[i], 0);
	ok_areas("0 0 0 0 1");
	ok_eq(buddy.nr_merge, 7);
}

static void a_batch_takes_what_there_is(void)
{
	struct page *pages[64];

	set_up(0, 64, 40);
	ok_eq(buddy_take(&buddy, 1, MIGRATE_MOVABLE, 64, pages), 20);
	ok_eq(buddy.nr_pages, 0);
	ok_eq(buddy_take(&buddy, 1, MIGRATE_MOVABLE, 64, pages + 20), 0);
	ok(!take(0), "a frame from nowhere");
	ok_eq(validate(40), 40);
}

/*
 *	pageblock   0: 100 free    1: 300 free    2: 10 free, of order 0    3: whole
 */
static void the_fullest_pageblock_that_serves_is_taken_from(void)
{
	set_up(0, 2048, 2048);
	for (int i = 0; i < 2048; i++)
		take(0);
	ok_eq(buddy.nr_pages, 0);
	for (int i = 1536; i < 2048; i++)
		give(frames + i, 0);
	for (int i = 0; i < 100; i++)
		give(frames + i, 0);
	for (int i = 512; i < 812; i++)
		give(frames + i, 0);
	for (int i = 1024; i < 1044; i += 2)
		give(frames + i, 0);
	for (int i = 0; i < 10; i++)
		ok_eq(pfn_of(take(0)) / 512, 2);
	ok_eq(pfn_of(take(0)) / 512, 0);
	ok_eq(pfn_of(take(6)) / 512, 0);
	ok_eq(pfn_of(take(6)) / 512, 1);
	ok_eq(pfn_of(take(8)) / 512, 3);
	ok_eq(validate(2048), 0);
}

static void a_migratetype_takes_whole_pageblocks_of_another_and_stays_in_them(void)
{
	unsigned long nr[NR_MIGRATETYPES] = {0};
	struct page *a, *b;

	set_up(0, 4096, 4096);
	a = take_type(0, MIGRATE_UNMOVABLE);
	ok_eq(block_of(a)->migratetype, MIGRATE_UNMOVABLE);
	ok_eq(buddy.nr_steal_block, 1);
	b = take_type(0, MIGRATE_RECLAIMABLE);
	ok(block_of(b) != block_of(a), "two migratetypes in one pageblock");
	for (int i = 0; i < 511; i++)
		ok(block_of(take_type(0, MIGRATE_UNMOVABLE)) == block_of(a), "elsewhere");
	ok_eq(buddy.nr_steal_block, 2);
	ok(block_of(take_type(3, MIGRATE_UNMOVABLE)) != block_of(a), "in a full pageblock");
	ok_eq(buddy.nr_steal_block, 3);
	ok_eq(buddy.nr_steal_page, 0);
	buddy_count_pageblocks(&buddy, nr);
	ok_eq(nr[MIGRATE_UNMOVABLE], 2);
	ok_eq(nr[MIGRATE_RECLAIMABLE], 1);
	ok_eq(nr[MIGRATE_MOVABLE], 5);
	ok_eq(validate(4096), 0);
}

static void less_than_half_a_pageblock_is_borrowed_from_not_claimed(void)
{
	struct page *page;

	set_up(0, 512, 512);
	for (int i = 0; i < 300; i++)
		take(0);
	page = take_type(0, MIGRATE_UNMOVABLE);
	ok(page, "nothing");
	ok_eq(blocks[0].migratetype, MIGRATE_MOVABLE);
	ok_eq(buddy.nr_steal_page, 1);
	ok_eq(buddy.nr_steal_block, 0);
	/* Given back, it is the pageblock's again. */
	give(page, 0);
	ok(!strcmp(areas_of(MIGRATE_UNMOVABLE), "0"), "%s", areas_of(MIGRATE_UNMOVABLE));
	give(frames, 0);
	for (int i = 1; i < 100; i++)
		give(frames + i, 0);
	ok(take_type(0, MIGRATE_RECLAIMABLE), "nothing");
	ok_eq(blocks[0].migratetype, MIGRATE_RECLAIMABLE);
	ok_eq(buddy.nr_steal_block, 1);
	ok_eq(validate(512), 0);
}

/* Half of a pageblock of another type is free, but in small pieces: a movable block goes where
 * there is least free, an unmovable one takes the whole. */
static void movable_blocks_do_not_claim_what_is_cut_up(void)
{
	set_up(0, 1024, 1024);
	for (int i = 0; i < 1024; i++)
		take_type(0, MIGRATE_UNMOVABLE);
	for (int i = 0; i < 512; i += 2)
		give(frames + i, 0);
	for (int i = 512; i < 532; i += 2)
		give(frames + i, 0);
	buddy.nr_steal_block = 0;
	ok_eq(pfn_of(take_type(0, MIGRATE_MOVABLE)) / 512, 1);
	ok_eq(buddy.nr_steal_block, 0);
	ok_eq(buddy.nr_steal_page, 1);
	ok_eq(pfn_of(take_type(0, MIGRATE_RECLAIMABLE)) / 512, 0);
	ok_eq(buddy.nr_steal_block, 1);
	ok_eq(validate(1024), 0);
}

static void a_block_that_is_free_already_is_refused(void)
{
	struct page *page;

	set_up(0, 1024, 1024);
	page = take(3);
	ok_dies("is free already", {
		give(page, 3);
		give(page + 4, 0);
	});
	ok_dies("is free already", {
		give(page, 3);
		give(page, 8);
	});
	give(page, 3);
	ok_eq(validate(1024), 0);
}

static void the_checker_sees_what_is_wrong(void)
{
	struct page *a, *b;

	set_up(0, 64, 64);
	a = take(0);
	b = take(0);
	ok_dies("counted", {
		buddy.nr_pages++;
		validate(64);
	});
	ok_dies("free blocks of order 3, 0 counted", {
		blocks[0].nr[3]--;
		validate(64);
	});
	ok_dies("orders is", {
		blocks[0].orders |= 1;
		validate(64);
	});
	ok_dies("free frames", {
		blocks[0].nr_free++;
		validate(64);
	});
	ok_dies("nonempty", {
		buddy.area[MIGRATE_RECLAIMABLE].nonempty[0] |= 1;
		validate(64);
	});
	ok_dies("on the list of order", {
		blocks[0].order = 2;
		validate(64);
	});
	ok_dies("another type, order or fill", {
		blocks[0].migratetype = MIGRATE_UNMOVABLE;
		validate(64);
	});
	ok_dies("broken list", {
		blocks[0].list.prev = &blocks[1].list;
		validate(64);
	});
	ok_dies("begins no block", {
		frames[40].type = PG_TYPE_TABLE + 1;
		validate(64);
	});
	ok_dies("is free, and in the allocated block", {
		frames[40].type = PG_TYPE_ALLOC;
		validate(64);
	});
	ok_dies("not aligned", {
		b->order = 1;
		validate(64);
	});
	ok_dies("boot keeps 1", validate(63));
	a->type = PG_TYPE_FREE;
	ok_eq(validate(64), 1);
}

/* The free blocks by order that a slow merging of a bitmap gives. */
static void count_slowly(const bool *used, unsigned long start, unsigned long end,
			 unsigned long nr[NR_PAGE_ORDERS])
{
	unsigned long pfn = start;

	memset(nr, 0, NR_PAGE_ORDERS * sizeof(*nr));
	while (pfn < end) {
		unsigned int order = 0;
		unsigned long run = 0;

		while (pfn + run < end && !used[pfn + run])
			run++;
		if (!run) {
			pfn++;
			continue;
		}
		while (order < MAX_PAGE_ORDER && !(pfn & ((2UL << order) - 1)) &&
		       2UL << order <= run)
			order++;
		nr[order]++;
		pfn += 1UL << order;
	}
}

/*
 * Random takes and gives of all orders and migratetypes, single and in batches, with the checker
 * after each step at first and now and then later, against a bitmap of frames. A range with odd
 * ends, so that its ends are met often.
 */
static void random_steps_agree_with_a_bitmap(void)
{
	enum { LIVE = 1024, BATCH = 16 };
	const unsigned long start = 1024 + 5, end = 7 * 1024 + 77;
	static struct page *live[LIVE];
	static u8 order_of[LIVE];
	static bool used[NR_FRAMES];
	const unsigned long nr_steps = tap_ops(60000);
	unsigned long state = tap_seed() | 1, nr_used = 0, nr_live = 0;

	set_up(start, end, end);
	for (unsigned long step = 0; step < nr_steps; step++) {
		unsigned long r = tap_random(&state);
		/* Small orders are the more frequent. */
		unsigned int order =
			(unsigned int)__builtin_ctzl((r >> 20) | 1UL << MAX_PAGE_ORDER);
		unsigned int want = 1 + (unsigned int)(r >> 8) % BATCH, got;
		struct page *pages[BATCH];

		/* Full and empty by turns. */
		if (nr_live + BATCH > LIVE || (nr_live && r % 16 < (step / 1000 % 2 ? 10 : 7))) {
			unsigned long i = (r >> 32) % nr_live;

			memset(used + pfn_of(live[i]), false, 1UL << order_of[i]);
			nr_used -= 1UL << order_of[i];
			give(live[i], order_of[i]);
			nr_live--;
			live[i] = live[nr_live];
			order_of[i] = order_of[nr_live];
			goto check;
		}
		if (r >> 40 & 1)
			want = 1;
		got = buddy_take(&buddy, order, (r >> 50) % NR_MIGRATETYPES, want, pages);
		ok(got <= want, "%u blocks, %u wanted", got, want);
		for (unsigned int b = 0; b < got; b++) {
			unsigned long pfn = pfn_of(pages[b]);

			ok(pfn >= start && pfn + (1UL << order) <= end, "frame %lu is outside",
			   pfn);
			ok((pfn & ((1UL << order) - 1)) == 0, "frame %lu, order %u: not aligned",
			   pfn, order);
			for (unsigned long i = pfn; i < pfn + (1UL << order); i++) {
				ok(!used[i], "frame %lu is handed out twice", i);
				used[i] = true;
			}
			nr_used += 1UL << order;
			mark_allocated(pages[b], order);
			live[nr_live] = pages[b];
			order_of[nr_live++] = (u8)order;
		}
		if (got < want) {
			unsigned long nr[NR_PAGE_ORDERS];

			count_slowly(used, start, end, nr);
			for (unsigned int o = order; o < NR_PAGE_ORDERS; o++)
				ok(!nr[o], "order %u refused with a free block of order %u", order,
				   o);
		}
	check:
		ok_eq(buddy.nr_pages, end - start - nr_used);
		if (step < 500 || step % 200 == 0) {
			unsigned long want_nr[NR_PAGE_ORDERS], nr[NR_PAGE_ORDERS] = {0};

			ok_eq(validate(end - start), 0);
			count_slowly(used, start, end, want_nr);
			buddy_count(&buddy, NR_MIGRATETYPES, nr);
			ok(!memcmp(nr, want_nr, sizeof(nr)),
			   "free blocks differ from the bitmap's");
		}
	}
	while (nr_live--)
		give(live[nr_live], order_of[nr_live]);
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
	RUN(large_blocks_split_and_merge_over_words);
	RUN(merge_stops_at_the_range_s_ends);
	RUN(merge_stops_at_the_largest_order);
	RUN(a_batch_ascends_when_popped);
	RUN(a_batch_takes_what_there_is);
	RUN(the_fullest_pageblock_that_serves_is_taken_from);
	RUN(a_migratetype_takes_whole_pageblocks_of_another_and_stays_in_them);
	RUN(less_than_half_a_pageblock_is_borrowed_from_not_claimed);
	RUN(movable_blocks_do_not_claim_what_is_cut_up);
	RUN(a_block_that_is_free_already_is_refused);
	RUN(the_checker_sees_what_is_wrong);
	RUN(random_steps_agree_with_a_bitmap);
	return done();
}

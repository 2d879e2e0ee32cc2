/* SPDX-License-Identifier: MIT */
/*
 * The address space against a slow model: a byte a page, and a search from the bottom.
 *
 *	page	 0   1   2   3   4   5   6   7
 *		|   A   |   |   B   |   |   |   |     take 1 page: 2; take 2: 5
 */
#include <errno.h>

#include "base/check.h"
#include "tests/tap/tap.h"
#include "virt/vmap_area.h"

#define BASE  0x100000000UL
#define PAGES 600

static struct vmap_range ranges[2 * PAGES + 2];
static struct vmap_range *spare; /* of ranges[], chained by rb_right as the space does */
static struct vmap_space space;
static unsigned char model[PAGES];

static struct vmap_range *range_new(void)
{
	struct vmap_range *range = spare;

	if (range)
		spare = (struct vmap_range *)range->node.rb_right;
	return range;
}

static void range_drop(struct vmap_range *range)
{
	range->node.rb_right = (struct rb_node *)spare;
	spare = range;
}

static void start_anew(void)
{
	spare = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		range_drop(&ranges[i]);
	memset(model, 0, sizeof(model));
	vmap_space_init(&space, BASE, PAGES * PAGE_SIZE, range_new());
}

/* The structs that the space has too many of come back; those it lacks are given. */
static void settle(void)
{
	struct vmap_range *range;

	while ((range = vmap_space_unused(&space)))
		range_drop(range);
}

static struct vmap_range *take(unsigned long nr_pages, unsigned long align_pages, int *err)
{
	struct vmap_range *range = range_new();

	*err = vmap_space_take(&space, nr_pages * PAGE_SIZE, align_pages * PAGE_SIZE, range);
	if (*err == -ENOMEM) {
		vmap_space_add_unused(&space, range_new());
		*err = vmap_space_take(&space, nr_pages * PAGE_SIZE, align_pages * PAGE_SIZE,
				       range);
	}
	settle();
	if (*err) {
		range_drop(range);
		return NULL;
	}
	memset(model + (range->start - BASE) / PAGE_SIZE, 1, nr_pages);
	return range;
}

static void give(struct vmap_range *range)
{
	memset(model + (range->start - BASE) / PAGE_SIZE, 0, range->size / PAGE_SIZE);
	vmap_space_give(&space, range);
	settle();
}

/* The lowest page from which nr are free; PAGES if there is none. */
static unsigned long model_lowest(unsigned long nr_pages)
{
	unsigned long run = 0;

	for (unsigned long page = 0; page < PAGES; page++) {
		run = model[page] ? 0 : run + 1;
		if (run == nr_pages)
			return page + 1 - nr_pages;
	}
	return PAGES;
}

static void lowest_addresses_go_first(void)
{
	struct vmap_range *a, *b, *c;
	int err;

	start_anew();
	a = take(2, 1, &err);
	b = take(3, 1, &err);
	c = take(1, 1, &err);
	ok_eq(a->start, BASE);
	ok_eq(b->start, BASE + 2 * PAGE_SIZE);
	ok_eq(c->start, BASE + 5 * PAGE_SIZE);
	give(b);
	b = take(2, 1, &err);
	ok_eq(b->start, BASE + 2 * PAGE_SIZE);
	give(a);
	a = take(3, 1, &err);
	ok_eq(a->start, BASE + 6 * PAGE_SIZE);
	vmap_space_validate(&space);
}

static void neighbours_merge_on_both_sides(void)
{
	struct vmap_range *at[3], *all;
	int err;

	start_anew();
	for (int i = 0; i < 3; i++)
		at[i] = take(PAGES / 3, 1, &err);
	take(1, 1, &err);
	ok_eq(err, -ENOSPC);
	give(at[0]);
	give(at[2]);
	give(at[1]);
	vmap_space_validate(&space);
	all = take(PAGES, 1, &err);
	ok(all && all->start == BASE, "what was given back is not one range: %d", err);
}

static void aligned_ranges_leave_what_is_before_them_free(void)
{
	struct vmap_range *first, *aligned, *between;
	int err;

	start_anew();
	first = take(1, 1, &err);
	aligned = take(8, 8, &err);
	ok_eq(aligned->start, BASE + 8 * PAGE_SIZE);
	between = take(7, 1, &err);
	ok_eq(between->start, BASE + PAGE_SIZE);
	give(first);
	give(aligned);
	give(between);
	vmap_space_validate(&space);
	ok_eq(model_lowest(PAGES), 0);
}

static void a_cut_in_the_middle_asks_for_a_struct(void)
{
	struct vmap_range *first, range;
	int err;

	start_anew();
	first = take(1, 1, &err);
	ok_eq(vmap_space_take(&space, PAGE_SIZE, 4 * PAGE_SIZE, &range), -ENOMEM);
	vmap_space_validate(&space);
	vmap_space_add_unused(&space, range_new());
	ok_eq(vmap_space_take(&space, PAGE_SIZE, 4 * PAGE_SIZE, &range), 0);
	ok_eq(range.start, BASE + 4 * PAGE_SIZE);
	ok(vmap_space_first(&space) == first && vmap_space_next(first) == &range &&
		   vmap_space_prev(&range) == first && !vmap_space_next(&range),
	   "busy ranges are not in order");
	vmap_space_validate(&space);
}

static void sizes_that_wrap_are_refused(void)
{
	struct vmap_range range;

	start_anew();
	ok_eq(vmap_space_take(&space, PAGE_MASK, PAGE_SIZE, &range), -ENOSPC);
	ok_eq(vmap_space_take(&space, PAGE_MASK, 1UL << 21, &range), -ENOSPC);
	ok_eq(vmap_space_take(&space, (PAGES + 1) * PAGE_SIZE, PAGE_SIZE, &range), -ENOSPC);
	ok_eq(vmap_space_take(&space, PAGES * PAGE_SIZE, PAGE_SIZE, &range), 0);
	ok(!vmap_space_any_free(&space), "something is free");
}

static void check_take(struct vmap_range *range, int err, unsigned long nr_pages,
		       unsigned long align, const unsigned char *before)
{
	unsigned long page;

	if (!range) {
		ok_eq(err, -ENOSPC);
		/* With alignment the search wants room for the worst offset. */
		ok(model_lowest(nr_pages + align - 1) == PAGES, "%lu pages are free", nr_pages);
		return;
	}
	page = (range->start - BASE) / PAGE_SIZE;
	ok(page % align == 0, "page %lu is not aligned to %lu", page, align);
	for (unsigned long i = 0; i < nr_pages; i++)
		ok(!before[page + i], "page %lu was busy", page + i);
}

static void random_takes_and_gives_agree_with_a_model(void)
{
	unsigned long nr_ops = tap_number("VMAP_OPS", 20000), random = tap_seed() | 1;
	static struct vmap_range *live[PAGES];
	unsigned char before[PAGES];
	unsigned int nr_live = 0;
	int err;

	start_anew();
	for (unsigned long op = 0; op < nr_ops; op++) {
		/* Grow and shrink in turns, so that full and empty spaces are met. */
		if (tap_random(&random) % 16 < (op / 500 % 2 ? 6 : 10)) {
			unsigned long nr = 1 + tap_random(&random) % 12;
			unsigned long align =
				tap_random(&random) % 3 ? 1 : 1UL << tap_random(&random) % 5;
			unsigned long lowest = model_lowest(nr);
			struct vmap_range *range;

			memcpy(before, model, sizeof(before));
			range = take(nr, align, &err);
			check_take(range, err, nr, align, before);
			if (align == 1)
				ok_eq(range ? (range->start - BASE) / PAGE_SIZE : PAGES, lowest);
			if (range)
				live[nr_live++] = range;
		} else if (nr_live) {
			unsigned long i = tap_random(&random) % nr_live;

			give(live[i]);
			live[i] = live[--nr_live];
		}
		if (op % 16 == 0)
			vmap_space_validate(&space);
	}
	while (nr_live)
		give(live[--nr_live]);
	vmap_space_validate(&space);
	ok(take(PAGES, 1, &err), "not one range at the end");
}

int main(void)
{
	RUN(lowest_addresses_go_first);
	RUN(neighbours_merge_on_both_sides);
	RUN(aligned_ranges_leave_what_is_before_them_free);
	RUN(a_cut_in_the_middle_asks_for_a_struct);
	RUN(sizes_that_wrap_are_refused);
	RUN(random_takes_and_gives_agree_with_a_model);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* The indices against figures worked out by hand, and against a count of every block. */
#include <math.h>

#include "bench/results/fragmentation.h"
#include "tests/tap/tap.h"

static bool near(double a, double b)
{
	return fabs(a - b) < 1e-12;
}

#define ok_near(a, b) ok(near(a, b), #a " is %.15g, not %.15g", (double)(a), (double)(b))

/*
 * Twelve free pages: four alone, two pairs, one block of four.
 *
 *	order    0  1  2  3
 *	blocks   4  2  1  0
 */
static const struct free_area_counts few = {.nr_blocks = {4, 2, 1}, .nr_buddy_pages = 12};

static void free_memory_that_a_large_order_cannot_use_is_unusable(void)
{
	ok_near(unusable_free_index(&few, 0), 0);
	ok_near(unusable_free_index(&few, 1), 4.0 / 12); /* the pages alone */
	ok_near(unusable_free_index(&few, 2), 8.0 / 12);
	ok_near(unusable_free_index(&few, 3), 1);
	ok_near(unusable_free_index(&few, 10), 1);
}

static void a_failure_is_for_lack_of_memory_or_for_fragmentation(void)
{
	ok_near(fragmentation_index(&few, 0), -1);
	ok_near(fragmentation_index(&few, 2), -1);
	ok_near(fragmentation_index(&few, 3), 1 - (1 + 12.0 / 8) / 7);
	ok_near(fragmentation_index(&few, 10), 1 - (1 + 12.0 / 1024) / 7);
}

static void only_single_pages_are_fragmentation_itself(void)
{
	struct free_area_counts singles = {.nr_blocks = {1 << 20}, .nr_buddy_pages = 1 << 20};

	ok_near(fragmentation_index(&singles, 1), 1 - (1 + (1 << 19)) / (double)(1 << 20));
	ok(fragmentation_index(&singles, 10) > 0.999, "%g", fragmentation_index(&singles, 10));
	ok_near(huge_free_ratio(&singles), 0);
}

static void nothing_free_is_all_unusable_and_no_fragmentation(void)
{
	struct free_area_counts none = {.nr_managed_pages = 1000};

	ok_near(unusable_free_index(&none, 0), 1);
	ok_near(fragmentation_index(&none, 5), 0);
	ok(isnan(huge_free_ratio(&none)), "%g", huge_free_ratio(&none));
}

static void huge_blocks_are_those_of_2_mib_and_more(void)
{
	struct free_area_counts some = {.nr_blocks = {[0] = 512, [9] = 3, [10] = 2},
					.nr_buddy_pages = 512 + 3 * 512 + 2 * 1024};

	ok_near(huge_free_ratio(&some), 7.0 / 8);
}

static void what_nobody_asked_for_is_internal(void)
{
	ok_near(internal_fragmentation(48, 64), 0.25);
	ok_near(internal_fragmentation(64, 64), 0);
	ok(isnan(internal_fragmentation(0, 0)), "of nothing");
}

/* The slow way: cut every block into blocks of the order and count. */
static void random_counts_agree_with_a_slow_count(void)
{
	unsigned long seed = tap_seed() | 1;

	for (int round = 0; round < 300; round++) {
		struct free_area_counts free = {0};

		for (int o = 0; o < NR_PAGE_ORDERS; o++) {
			free.nr_blocks[o] = tap_random(&seed) % 4 ? 0 : tap_random(&seed) % 50;
			free.nr_buddy_pages += free.nr_blocks[o] << o;
		}
		for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
			u64 usable = 0;

			for (unsigned int o = order; o < NR_PAGE_ORDERS; o++)
				for (u64 b = 0; b < free.nr_blocks[o]; b++)
					usable += 1UL << o;
			ok_near(unusable_free_index(&free, order),
				free.nr_buddy_pages
					? 1 - (double)usable / (double)free.nr_buddy_pages
					: 1);
			ok((fragmentation_index(&free, order) == -1) == (usable > 0), "order %u",
			   order);
		}
	}
}

int main(void)
{
	RUN(free_memory_that_a_large_order_cannot_use_is_unusable);
	RUN(a_failure_is_for_lack_of_memory_or_for_fragmentation);
	RUN(only_single_pages_are_fragmentation_itself);
	RUN(nothing_free_is_all_unusable_and_no_fragmentation);
	RUN(huge_blocks_are_those_of_2_mib_and_more);
	RUN(what_nobody_asked_for_is_internal);
	RUN(random_counts_agree_with_a_slow_count);
	return done();
}

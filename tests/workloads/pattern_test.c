/* SPDX-License-Identifier: MIT */
/* Synthetic access patterns: what each visits, how often, and that it repeats itself. */
#include <errno.h>
#include <math.h>

#include "base/compiler.h"
#include "tests/tap/tap.h"
#include "workloads/pattern.h"

#define BASE 0x10000000UL

static u64 taken[1 << 17];

static void take(enum pattern_kind kind, u64 footprint, u64 stride, double skew, size_t nr)
{
	struct pattern pattern = {.kind = kind,
				  .base = BASE,
				  .footprint_bytes = footprint,
				  .stride_bytes = stride,
				  .skew = skew};

	ok_eq(pattern_begin(&pattern, 42), 0);
	pattern_take(&pattern, taken, nr / 2);
	pattern_take(&pattern, taken + nr / 2, nr - nr / 2);
	for (size_t i = 0; i < nr; i++)
		ok(taken[i] >= BASE && taken[i] < BASE + footprint, "%#lx", taken[i]);
}

static void sequential_goes_line_by_line_and_round(void)
{
	take(PATTERN_SEQUENTIAL, 8192, 1, 0, 300);
	for (size_t i = 0; i < 300; i++)
		ok_eq(taken[i], BASE + i % 128 * 64);
}

static void stride_goes_by_its_steps_and_round(void)
{
	take(PATTERN_STRIDE, 10 * 4096, 3 * 4096, 0, 9);
	for (size_t i = 0; i < 9; i++)
		ok_eq(taken[i], BASE + i % 4 * 3 * 4096);
}

static void a_chase_visits_each_line_once_a_round(void)
{
	const size_t nr = 3 * 4096 / 64; /* no power of two */
	u64 line;
	u8 seen[3 * 4096 / 64] = {0};
	size_t nr_neighbours = 0;

	take(PATTERN_CHASE, 3 * 4096, 1, 0, 2 * nr);
	for (size_t i = 0; i < 2 * nr; i++) {
		line = (taken[i] - BASE) / 64;
		ok_eq(seen[line], i / nr);
		seen[line]++;
		nr_neighbours += i && taken[i] == taken[i - 1] + 64;
		if (i >= nr)
			ok_eq(taken[i], taken[i - nr]);
	}
	ok(nr_neighbours < nr / 8, "%zu lines follow their neighbours", nr_neighbours);
}

static void random_is_even(void)
{
	u32 counts[64] = {0};

	take(PATTERN_RANDOM, 64 * 4096, 1, 0, 64000);
	for (size_t i = 0; i < 64000; i++)
		counts[(taken[i] - BASE) / 4096]++;
	for (size_t i = 0; i < 64; i++)
		ok(counts[i] > 800 && counts[i] < 1200, "page %zu: %u of 64000", i, counts[i]);
}

static int descending(const void *a, const void *b)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	return x < y ? 1 : x > y ? -1 : 0;
}

static void zipf_falls_as_its_skew_says(void)
{
	static const double skews[] = {0.5, 0.99, 1, 1 + 1e-15, 1.5};

	for (size_t s = 0; s < ARRAY_SIZE(skews); s++) {
		u32 counts[100] = {0};
		double sum = 0;

		for (int k = 1; k <= 100; k++)
			sum += pow(k, -skews[s]);
		take(PATTERN_ZIPF, 100 * 4096, 1, skews[s], 100000);
		for (size_t i = 0; i < 100000; i++)
			counts[(taken[i] - BASE) / 4096]++;
		qsort(counts, 100, sizeof(*counts), descending);
		for (int k = 1; k <= 5; k++) {
			double want = 100000 * pow(k, -skews[s]) / sum;

			ok(fabs(counts[k - 1] - want) < 0.1 * want, "skew %g, rank %d: %u, not %g",
			   skews[s], k, counts[k - 1], want);
		}
	}
}

static void what_makes_no_pattern_is_refused(void)
{
	struct pattern pattern = {.footprint_bytes = 4095, .stride_bytes = 1};

	ok_eq(pattern_begin(&pattern, 1), -EINVAL);
	pattern = (struct pattern){.footprint_bytes = 4096};
	ok_eq(pattern_begin(&pattern, 1), -EINVAL);
	pattern =
		(struct pattern){.kind = PATTERN_ZIPF, .footprint_bytes = 4096, .stride_bytes = 1};
	ok_eq(pattern_begin(&pattern, 1), -EINVAL);
	/* The smallest: one page. */
	take(PATTERN_ZIPF, 4096, 1, 0.99, 100);
	take(PATTERN_CHASE, 4096, 1, 0, 100);
}

int main(void)
{
	RUN(sequential_goes_line_by_line_and_round);
	RUN(stride_goes_by_its_steps_and_round);
	RUN(a_chase_visits_each_line_once_a_round);
	RUN(random_is_even);
	RUN(zipf_falls_as_its_skew_says);
	RUN(what_makes_no_pattern_is_refused);
	return done();
}

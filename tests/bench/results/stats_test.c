/* SPDX-License-Identifier: MIT */
/* Statistics against values worked out by hand. */
#include "bench/results/stats.h"

#include <math.h>
#include <stdbool.h>

#include "tests/tap/tap.h"

static bool near(double a, double b)
{
	return fabs(a - b) < 1e-12;
}

static void median_is_the_middle_or_the_mean_of_two(void)
{
	const double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2}, one[] = {7};

	ok(stats_median(odd, 3) == 2, "%g", stats_median(odd, 3));
	ok(stats_median(even, 4) == 2.5, "%g", stats_median(even, 4));
	ok(stats_median(one, 1) == 7, "%g", stats_median(one, 1));
	ok(isnan(stats_median(odd, 0)), "of nothing");
	ok(odd[0] == 3 && odd[1] == 1, "the samples were changed");
}

static void median_of_many_is_that_of_few(void)
{
	double many[1001];

	for (int i = 0; i <= 1000; i++)
		many[i] = (i * 7) %
			  1001; /* 7 and 1001 share a divisor: 143 different values, 7 times each */
	ok(stats_median(many, 1001) == 497, "%g", stats_median(many, 1001));
}

static void quantiles_lie_between_order_statistics(void)
{
	const double x[] = {4, 2, 1, 3};

	ok(near(stats_quantile(x, 4, 0), 1), "%g", stats_quantile(x, 4, 0));
	ok(near(stats_quantile(x, 4, 0.25), 1.75), "%g", stats_quantile(x, 4, 0.25));
	ok(near(stats_quantile(x, 4, 0.95), 3.85), "%g", stats_quantile(x, 4, 0.95));
	ok(near(stats_quantile(x, 4, 1), 4), "%g", stats_quantile(x, 4, 1));
}

static void equal_samples_have_an_interval_of_no_width(void)
{
	const double x[] = {5, 5, 5, 5, 5};
	struct stats_summary s = stats_summarise(x, 5), one = stats_summarise(x, 1);

	ok(s.median == 5 && s.ci.low == 5 && s.ci.high == 5, "%g %g %g", s.median, s.ci.low,
	   s.ci.high);
	ok(one.ci.low == 5 && one.ci.high == 5, "%g %g", one.ci.low, one.ci.high);
	ok(isnan(stats_summarise(x, 0).median), "of nothing");
}

/*
 * The median of 9 draws from 1..9 is k or less when 5 or more of the draws are: P(Binomial(9, k/9)
 * >= 5) is 0.0014 for k = 1 and 0.030 for k = 2, so the 2.5 % quantile of the medians is 2, and by
 * symmetry the 97.5 % quantile is 8.
 */
static void interval_of_one_to_nine_is_two_to_eight(void)
{
	const double x[] = {9, 1, 8, 2, 7, 3, 6, 4, 5};
	struct stats_summary s = stats_summarise(x, 9);

	ok(s.median == 5, "%g", s.median);
	ok(s.ci.low == 2, "%g", s.ci.low);
	ok(s.ci.high == 8, "%g", s.ci.high);
}

/* The median of two draws from {1, 3} is 1, 2, 2 or 3, each in a quarter of the cases. */
static void interval_of_two_samples_reaches_both(void)
{
	const double x[] = {1, 3};
	struct stats_summary s = stats_summarise(x, 2);

	ok(s.median == 2 && s.ci.low == 1 && s.ci.high == 3, "%g %g %g", s.median, s.ci.low,
	   s.ci.high);
}

static void same_samples_give_the_same_interval_twice(void)
{
	const double x[] = {1.25, 1.5, 1.125, 9, 1.75, 1.3, 1.31, 1.4, 1.2};
	struct stats_summary a = stats_summarise(x, 9), b = stats_summarise(x, 9);

	ok(a.ci.low == b.ci.low && a.ci.high == b.ci.high, "the bootstrap is not deterministic");
	ok(a.ci.low <= a.median && a.median <= a.ci.high, "%g outside %g..%g", a.median, a.ci.low,
	   a.ci.high);
	ok(a.ci.high < 9, "one outlier of nine moved the interval to %g", a.ci.high);
}

static void ratio_of_constants_is_exact(void)
{
	const double two[] = {2, 2, 2}, four[] = {4, 4};
	struct interval r = stats_ratio_interval(two, 3, four, 2);

	ok(r.low == 0.5 && r.high == 0.5, "%g %g", r.low, r.high);
	ok(isnan(stats_ratio_interval(two, 0, four, 2).low), "of nothing");
}

static void ratio_interval_resamples_both_sides(void)
{
	const double spread[] = {1, 3}, two[] = {2, 2};
	struct interval r = stats_ratio_interval(spread, 2, two, 2);
	struct interval inverse = stats_ratio_interval(two, 2, spread, 2);

	ok(r.low == 0.5 && r.high == 1.5, "%g %g", r.low, r.high);
	ok(near(inverse.low, 2.0 / 3) && inverse.high == 2, "%g %g", inverse.low, inverse.high);
}

/* Half-widths are 0. One pair 1.1 apart: 1.1^2.906; with one of no distance, the median is between. */
static void noise_floor_scales_the_median_distance(void)
{
	const double ten[] = {10, 10}, eleven[] = {11, 11};
	const struct aa_pair pairs[] = {{ten, ten, 2, 2}, {eleven, ten, 2, 2}};
	const struct aa_pair swapped[] = {{ten, eleven, 2, 2}};
	double scale = 1.959964 / 0.674490;

	ok(near(stats_noise_floor(pairs, 2), pow(1.1, scale / 2) - 1), "%g",
	   stats_noise_floor(pairs, 2));
	ok(near(stats_noise_floor(pairs + 1, 1), pow(1.1, scale) - 1), "%g",
	   stats_noise_floor(pairs + 1, 1));
	ok(near(stats_noise_floor(swapped, 1), pow(1.1, scale) - 1), "%g the other way round",
	   stats_noise_floor(swapped, 1));
	ok(isnan(stats_noise_floor(pairs, 0)), "without pairs");
}

static void noise_floor_stands_when_a_third_of_the_pairs_is_wild(void)
{
	const double ten[] = {10, 10}, close[] = {10.1, 10.1}, wild[] = {70, 70};
	struct aa_pair pairs[24];

	for (int i = 0; i < 24; i++)
		pairs[i] = (struct aa_pair){ten, i % 3 ? close : wild, 2, 2};
	ok(stats_noise_floor(pairs, 24) < 0.03, "%g", stats_noise_floor(pairs, 24));
}

/* Distances drawn from a normal: 95 % of them are below the floor. */
static void noise_floor_covers_95_of_100_normal_pairs(void)
{
	/* Quantiles 0.05, 0.15, ... 0.95 of |N(0, 0.1)|. */
	const double apart[] = {0.00627, 0.01891, 0.03186, 0.04538, 0.05978,
				0.07554, 0.09346, 0.11503, 0.14395, 0.19600};
	const double one[] = {1};
	double other[10];
	struct aa_pair pairs[10];

	for (int i = 0; i < 10; i++) {
		other[i] = exp(apart[i]);
		pairs[i] = (struct aa_pair){one, &other[i], 1, 1};
	}
	ok(fabs(log1p(stats_noise_floor(pairs, 10)) - 0.196) < 0.004, "%g",
	   stats_noise_floor(pairs, 10));
}

/* Medians agree, but the ratio may be anything from 0.5 to 1.5: sqrt(3) to either side of the
 * middle. */
static void noise_floor_is_not_below_the_usual_half_width(void)
{
	const double spread[] = {1, 3}, two[] = {2, 2};
	const struct aa_pair pairs[] = {{spread, two, 2, 2}};

	ok(near(stats_noise_floor(pairs, 1), sqrt(3) - 1), "%g", stats_noise_floor(pairs, 1));
}

static void verdict_is_same_inside_the_noise_floor(void)
{
	const double base[] = {100, 100, 100}, near_base[] = {104, 104, 104},
		     far[] = {120, 120, 120}, tiny[] = {2, 2, 2};

	ok_eq(stats_verdict(near_base, 3, base, 3, 0.05), VERDICT_SAME);
	ok_eq(stats_verdict(near_base, 3, base, 3, 0.03), VERDICT_SLOWER);
	ok_eq(stats_verdict(base, 3, far, 3, 0.05), VERDICT_FASTER);
	ok_eq(stats_verdict(far, 3, base, 3, NAN), VERDICT_SLOWER);
	/* However wide the floor, far less is not the same. */
	ok_eq(stats_verdict(tiny, 3, base, 3, 1.5), VERDICT_FASTER);
}

static void verdict_is_same_when_the_interval_holds_one(void)
{
	const double base[] = {100, 100, 100}, wide[] = {90, 130, 111, 95, 140};

	ok_eq(stats_verdict(wide, 5, base, 3, 0.01), VERDICT_SAME);
	ok_eq(stats_verdict(wide, 0, base, 3, 0.01), VERDICT_NONE);
}

int main(void)
{
	RUN(median_is_the_middle_or_the_mean_of_two);
	RUN(median_of_many_is_that_of_few);
	RUN(quantiles_lie_between_order_statistics);
	RUN(equal_samples_have_an_interval_of_no_width);
	RUN(interval_of_one_to_nine_is_two_to_eight);
	RUN(interval_of_two_samples_reaches_both);
	RUN(same_samples_give_the_same_interval_twice);
	RUN(ratio_of_constants_is_exact);
	RUN(ratio_interval_resamples_both_sides);
	RUN(noise_floor_scales_the_median_distance);
	RUN(noise_floor_stands_when_a_third_of_the_pairs_is_wild);
	RUN(noise_floor_covers_95_of_100_normal_pairs);
	RUN(noise_floor_is_not_below_the_usual_half_width);
	RUN(verdict_is_same_inside_the_noise_floor);
	RUN(verdict_is_same_when_the_interval_holds_one);
	return done();
}

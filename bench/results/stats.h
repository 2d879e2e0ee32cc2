/* SPDX-License-Identifier: MIT */
/*
 * Statistics of repeated measurements. Samples are few (9 or so) and skewed by what else the
 * machine does, so medians and the percentile bootstrap (Efron 1979) rather than means and normal
 * theory. Every function is deterministic: the bootstrap draws from a fixed seed. No locks, no
 * state.
 */
#ifndef KMM_BENCH_STATS_H
#define KMM_BENCH_STATS_H

#include <stddef.h>

#define STATS_RESAMPLES 2000

struct interval {
	double low, high;
};

struct stats_summary {
	int nr;
	double median;
	struct interval ci; /* 95 %, of the median */
};

/* The middle value, or the mean of the two middle ones; NAN for nr == 0. Changes no sample. */
double stats_median(const double *samples, int nr);

/* The q-quantile, 0 <= q <= 1, linear between order statistics (Hyndman & Fan 1996, type 7); NAN
 * for nr == 0. */
double stats_quantile(const double *samples, int nr, double q);

/* Median and its 95 % percentile-bootstrap interval; one sample gives an interval of no width. */
struct stats_summary stats_summarise(const double *samples, int nr);

/* 95 % bootstrap interval of median(a) / median(b); both resampled. NANs when either is empty. */
struct interval stats_ratio_interval(const double *a, int nr_a, const double *b, int nr_b);

/* One allocator measured twice under two names. */
struct aa_pair {
	const double *a, *b;
	int nr_a, nr_b;
};

/*
 * How far two measurements of the same thing lie apart in this run. A pair's distance is the
 * logarithm of its ratio of medians, without its sign. The floor is what 95 % of the distances would
 * lie below if they were normal with the median that they have (1.96 / 0.6745 times that median):
 * half of the pairs would have to go wrong to move it far. But it is at least the median of the half
 * widths of the pairs' ratio intervals (ln(high / low) / 2). Given as a ratio less 1; NAN without
 * pairs.
 */
double stats_noise_floor(const struct aa_pair *pairs, int nr);

enum verdict { VERDICT_NONE, VERDICT_SAME, VERDICT_FASTER, VERDICT_SLOWER };

/* a against b, in time: same when the ratio is within the noise floor of 1, or its interval holds
 * 1. */
enum verdict stats_verdict(const double *a, int nr_a, const double *b, int nr_b,
			   double noise_floor);
const char *verdict_name(enum verdict verdict); /* "", "same", "faster", "slower" */

#endif

/* SPDX-License-Identifier: MIT */
/* Medians, quantiles and the percentile bootstrap; see stats.h. */
#include "bench/results/stats.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SEED 0x9E3779B97F4A7C15ULL

/* Of a normal variable's absolute value: its 95th percentile over its median. */
#define NORMAL_95_OVER_MEDIAN (1.959964 / 0.674490)

/* splitmix64 (Steele, Lea, Flood 2014): any seed will do, and nothing to warm up. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9E3779B97F4A7C15ULL;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
	return z ^ (z >> 31);
}

/* Insertion for the handful that a resample is; qsort's calls would be most of the time. */
static void sort_few(double *x, int nr)
{
	for (int i = 1; i < nr; i++) {
		double value = x[i];
		int j = i;

		for (; j > 0 && x[j - 1] > value; j--)
			x[j] = x[j - 1];
		x[j] = value;
	}
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void sort(double *x, int nr)
{
	if (nr <= 64)
		sort_few(x, nr);
	else
		qsort(x, (size_t)nr, sizeof(*x), compare_doubles);
}

static double sorted_quantile(const double *sorted, int nr, double q)
{
	double at = q * (nr - 1);
	int below = (int)at;

	if (below >= nr - 1)
		return sorted[nr - 1];
	return sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]);
}

double stats_quantile(const double *samples, int nr, double q)
{
	double *sorted, value;

	if (nr <= 0 || !(sorted = malloc((size_t)nr * sizeof(*sorted))))
		return NAN;
	memcpy(sorted, samples, (size_t)nr * sizeof(*sorted));
	sort(sorted, nr);
	value = sorted_quantile(sorted, nr, q);
	free(sorted);
	return value;
}

double stats_median(const double *samples, int nr)
{
	return stats_quantile(samples, nr, 0.5);
}

/* The median of nr draws with replacement; room for nr is at scratch. */
static double resampled_median(const double *samples, int nr, double *scratch, uint64_t *state)
{
	for (int i = 0; i < nr; i++)
		scratch[i] = samples[next_random(state) % (uint64_t)nr];
	sort(scratch, nr);
	return sorted_quantile(scratch, nr, 0.5);
}

/* 2.5th and 97.5th percentile of the statistic over all resamples: of median(a), or of median(a) /
 * median(b). */
static struct interval bootstrap(const double *a, int nr_a, const double *b, int nr_b)
{
	struct interval interval = {NAN, NAN};
	uint64_t state = SEED;
	double *room =
		malloc((STATS_RESAMPLES + (size_t)(nr_a > nr_b ? nr_a : nr_b)) * sizeof(*room));
	double *scratch = room + STATS_RESAMPLES;

	if (!room)
		return interval;
	for (int i = 0; i < STATS_RESAMPLES; i++) {
		room[i] = resampled_median(a, nr_a, scratch, &state);
		if (b)
			room[i] /= resampled_median(b, nr_b, scratch, &state);
	}
	qsort(room, STATS_RESAMPLES, sizeof(*room), compare_doubles);
	interval.low = sorted_quantile(room, STATS_RESAMPLES, 0.025);
	interval.high = sorted_quantile(room, STATS_RESAMPLES, 0.975);
	free(room);
	return interval;
}

struct stats_summary stats_summarise(const double *samples, int nr)
{
	struct stats_summary summary = {nr, NAN, {NAN, NAN}};

	if (nr <= 0)
		return summary;
	summary.median = stats_median(samples, nr);
	summary.ci = bootstrap(samples, nr, NULL, 0);
	return summary;
}

struct interval stats_ratio_interval(const double *a, int nr_a, const double *b, int nr_b)
{
	if (nr_a <= 0 || nr_b <= 0)
		return (struct interval){NAN, NAN};
	return bootstrap(a, nr_a, b, nr_b);
}

/* How far a ratio is from 1, alike both ways: 2 and 1/2 are 100 % apart. */
static double distance(double ratio)
{
	return (ratio > 1 ? ratio : 1 / ratio) - 1;
}

double stats_noise_floor(const struct aa_pair *pairs, int nr)
{
	double *room, *apart, *half_width, high, usual;

	if (nr <= 0 || !(room = malloc(2 * (size_t)nr * sizeof(*room))))
		return NAN;
	apart = room;
	half_width = room + nr;
	for (int i = 0; i < nr; i++) {
		const struct aa_pair *p = &pairs[i];
		struct interval ratio = stats_ratio_interval(p->a, p->nr_a, p->b, p->nr_b);

		apart[i] = fabs(log(stats_median(p->a, p->nr_a) / stats_median(p->b, p->nr_b)));
		half_width[i] = log(ratio.high / ratio.low) / 2;
	}
	high = NORMAL_95_OVER_MEDIAN * stats_median(apart, nr);
	usual = stats_median(half_width, nr);
	free(room);
	return expm1(fmax(high, usual));
}

enum verdict stats_verdict(const double *a, int nr_a, const double *b, int nr_b, double noise_floor)
{
	struct interval interval = stats_ratio_interval(a, nr_a, b, nr_b);
	double ratio = stats_median(a, nr_a) / stats_median(b, nr_b);

	if (!isfinite(ratio))
		return VERDICT_NONE;
	if ((isfinite(noise_floor) && distance(ratio) <= noise_floor) ||
	    (interval.low <= 1 && interval.high >= 1))
		return VERDICT_SAME;
	return ratio < 1 ? VERDICT_FASTER : VERDICT_SLOWER;
}

const char *verdict_name(enum verdict verdict)
{
	static const char *const names[] = {"", "same", "faster", "slower"};

	return names[verdict];
}

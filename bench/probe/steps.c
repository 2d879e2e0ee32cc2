/* SPDX-License-Identifier: MIT */
/*
 * Steps in a curve. The curve is cut into levels so that
 *
 *	sum of |value - its level's median| / noise there + penalty * (levels - 1)
 *
 * is least, which dynamic programming finds exactly; absolute distances and medians, so that a
 * value that something else has disturbed moves nothing. A level of fewer than SHORT values is the
 * slope of a step: the rises before and after it are one.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "bench/probe/probe.h"
#include "bench/results/stats.h"

#define SHORT	3
#define WINDOW	6
#define PENALTY 12 /* a level of SHORT values must lie four times the noise off */

/*
 * noise[i]: the values' own noise around value i, what neighbours there mostly differ by, as if it
 * were normal, on its noisier side; at least `least`. It is not the same all along: longer chains
 * are noisier.
 */
static void find_noise(const double *values, int nr, double least, double *noise)
{
	double differences[PROBE_MAX_POINTS];

	for (int i = 1; i < nr; i++)
		differences[i - 1] = fabs(values[i] - values[i - 1]);
	for (int i = 0; i < nr; i++) {
		int from = i > WINDOW ? i - WINDOW : 0;
		int end = i + WINDOW < nr - 1 ? i + WINDOW : nr - 1;
		double before = i > from ? stats_median(differences + from, i - from) : 0;
		double after = end > i ? stats_median(differences + i, end - i) : 0;

		noise[i] = fmax(least, fmax(before, after) / 0.6745 / sqrt(2));
	}
}

static double distance(const double *values, const double *noise, int nr)
{
	double median = stats_median(values, nr), sum = 0;

	for (int i = 0; i < nr; i++)
		sum += fabs(values[i] - median) / noise[i];
	return sum;
}

/* How wide a level is: what would be the standard deviation if it were normal. */
static double width(const double *values, int nr)
{
	double distances[PROBE_MAX_POINTS], median = stats_median(values, nr);

	for (int i = 0; i < nr; i++)
		distances[i] = fabs(values[i] - median);
	return stats_median(distances, nr) / 0.6745;
}

/* start[e]: where the last level of the first e values begins. */
static void cut(const double *values, const double *noise, int nr, int *start)
{
	double best[PROBE_MAX_POINTS + 1];

	best[0] = -PENALTY;
	for (int end = 1; end <= nr; end++) {
		best[end] = INFINITY;
		for (int from = 0; from < end; from++) {
			double cost = best[from] + PENALTY +
				      distance(values + from, noise + from, end - from);

			if (cost < best[end]) {
				best[end] = cost;
				start[end] = from;
			}
		}
	}
}

/* The levels that are not slopes, in order: their first values and what follows their last. */
static int find_levels(const int *start, int nr, int first[], int end[])
{
	int cuts[PROBE_MAX_POINTS + 1], nr_cuts = 0, nr_levels = 0;

	for (int at = nr; at > 0; at = start[at])
		cuts[nr_cuts++] = at;
	for (int i = nr_cuts - 1; i >= 0; i--) {
		int from = start[cuts[i]];

		/* The curve may end as soon as it has risen. */
		if (cuts[i] - from < SHORT && from)
			continue;
		first[nr_levels] = from;
		end[nr_levels++] = cuts[i];
	}
	return nr_levels;
}

int probe_steps(const double *values, int nr, double least_rise, struct probe_step *steps)
{
	int start[PROBE_MAX_POINTS + 1], first[PROBE_MAX_POINTS], end[PROBE_MAX_POINTS];
	int nr_steps = 0, nr_levels, last = 0;
	double noise[PROBE_MAX_POINTS], below;

	if (nr < 1 || nr > PROBE_MAX_POINTS)
		return 0;
	find_noise(values, nr, least_rise / 4, noise);
	cut(values, noise, nr, start);
	nr_levels = find_levels(start, nr, first, end);
	below = stats_median(values, nr_levels ? end[0] : nr);
	for (int i = 1; i < nr_levels && nr_steps < PROBE_MAX_STEPS; i++) {
		double above = stats_median(values + first[i], end[i] - first[i]);

		if (above - below < least_rise) {
			/* Level, or lower: it goes on. */
			last = i;
			below = fmin(below, above);
			continue;
		}
		/* Two halves of a level's own noise; or a slope, and the step is still to come. */
		if (above - below < 3 * fmax(width(values + first[i], end[i] - first[i]),
					     width(values + first[last], end[last] - first[last])))
			continue;
		steps[nr_steps++] =
			(struct probe_step){.first = end[last], .below = below, .above = above};
		last = i;
		below = above;
	}
	return nr_steps;
}

/* SPDX-License-Identifier: MIT */
/*
 * Between model.c and fit.c: one configuration after the other is considered against the points of
 * a stage, and the best one stays.
 */
#ifndef KMM_BENCH_PROBE_FIT_H
#define KMM_BENCH_PROBE_FIT_H

#include "bench/probe/probe.h"

enum cost { COST_L2, COST_WALK, COST_REFERENCE, COST_FAR, NR_COSTS };

/* What the model counts a point's access to need. */
struct needs {
	double of[NR_COSTS];
};

struct work {
	const struct probe_points *points;
	u64 *va[PROBE_MAX_POINTS], *packed_va[PROBE_MAX_POINTS]; /* of each, in order */
	bool used[PROBE_MAX_POINTS];				 /* in the stage that runs */
	struct tlb_config best;
	double best_error, costs[NR_COSTS];
	int nr_costs; /* that the stage fits: the first ones */
};

/* The addresses of all points' chains, kept until the fit has ended. 0 or -ENOMEM. */
int probe_work_begin(struct work *work, const struct probe_points *points,
		     const struct tlb_config *first);
void probe_work_end(struct work *work);

/* Begin a stage that fits nr_costs costs to points that are yet to be said. */
void probe_stage_begin(struct work *work, int nr_costs);
/* Use the points of a layout with up to so many lines. */
void probe_use(struct work *work, enum probe_layout layout, double most);
/* Is this one better than the best so far of the stage? Then it is the best; contradictions are
 * passed over. 0 or -ENOMEM. */
int probe_consider(struct work *work, const struct tlb_config *config);
/* |modelled - measured| of all points, as a share of what an access takes; the mean. */
double probe_relative_error(const struct work *work, const struct tlb_config *config);

#endif

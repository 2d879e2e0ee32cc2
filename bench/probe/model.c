/* SPDX-License-Identifier: MIT */
/*
 * What the model gives chains: how often each thing that costs is needed, counted on the chains'
 * own addresses, and the costs in cycles that fit what was measured best (least squares, none below
 * 0, each point by its noise).
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/probe/fit.h"

int probe_work_begin(struct work *work, const struct probe_points *points,
		     const struct tlb_config *first)
{
	struct probe_chain chain;

	memset(work, 0, sizeof(*work));
	work->points = points;
	work->best = *first;
	for (int i = 0; i < points->nr; i++) {
		const struct probe_point *point = &points->at[i];
		bool large = point->layout == PROBE_LARGE;
		int error = probe_chain_make(&chain, point->layout, point->nr, point->span,
					     point->seed);

		if (error)
			return error;
		for (u32 k = 0; k < chain.nr; k++) {
			chain.lines[k] += large ? points->huge_base : points->small_base;
			chain.packed[k] += large ? points->small_base : points->huge_base;
		}
		work->va[i] = chain.lines;
		work->packed_va[i] = chain.packed;
	}
	return 0;
}

void probe_work_end(struct work *work)
{
	for (int i = 0; i < work->points->nr; i++) {
		free(work->va[i]);
		free(work->packed_va[i]);
	}
}

/* Rounds until all has settled, then one that counts. */
static int count(const struct tlb_config *config, const u64 *va, u32 nr, unsigned int leaf,
		 struct needs *needs)
{
	struct tlb_counts before, after;
	struct tlb *tlb;
	int error = tlb_create(config, &tlb);

	if (error)
		return error;
	for (u32 done = 0; done < 2048 || done < nr; done += nr)
		tlb_run(tlb, va, nr, TLB_LOAD | leaf);
	tlb_read_counts(tlb, &before);
	tlb_run(tlb, va, nr, TLB_LOAD | leaf);
	tlb_read_counts(tlb, &after);
	tlb_destroy(tlb);
	needs->of[COST_L2] = (double)(after.found[TLB_IN_L2] - before.found[TLB_IN_L2]) / nr;
	needs->of[COST_WALK] = (double)(after.walks - before.walks) / nr;
	needs->of[COST_REFERENCE] = (double)(after.references - before.references) / nr;
	needs->of[COST_FAR] = (double)(after.far_references - before.far_references) / nr;
	return 0;
}

static unsigned int leaf_of(const struct probe_points *points, bool large)
{
	return large && points->huge ? TLB_LEAF_2 : TLB_LEAF_1;
}

/* Of a spread chain, less those of its packed twin where that needs any. */
static int count_point(const struct work *work, const struct tlb_config *config, int i,
		       struct needs *needs)
{
	const struct probe_points *points = work->points;
	const struct probe_point *point = &points->at[i];
	bool large = point->layout == PROBE_LARGE;
	struct needs packed;
	int error = count(config, work->va[i], point->nr, leaf_of(points, large), needs);

	if (error || large || points->huge)
		return error;
	error = count(config, work->packed_va[i], point->nr, TLB_LEAF_1, &packed);
	for (int cost = 0; cost < NR_COSTS && !error; cost++)
		needs->of[cost] -= packed.of[cost];
	return error;
}

/* How much a point says: less if it is noisy, and all by their share, not by their cycles. */
static double weight(const struct probe_point *point)
{
	double spread = 0.03 * point->spread;

	return 1 / (spread * spread + point->noise * point->noise);
}

static double model(const struct needs *needs, const double *costs)
{
	double sum = 0;

	for (int cost = 0; cost < NR_COSTS; cost++)
		sum += needs->of[cost] * costs[cost];
	return sum;
}

/* Least squares with none below 0, one cost at a time until they stay; the others are given. */
static void solve(const struct work *work, const struct needs *needs, double *costs)
{
	for (int round = 0; round < 300; round++) {
		for (int cost = 0; cost < work->nr_costs; cost++) {
			double up = 0, down = 0;

			for (int i = 0; i < work->points->nr; i++) {
				const struct probe_point *point = &work->points->at[i];
				double need = needs[i].of[cost], rest;

				if (!work->used[i])
					continue;
				rest = point->spread - point->packed - model(&needs[i], costs) +
				       need * costs[cost];
				up += weight(point) * need * rest;
				down += weight(point) * need * need;
			}
			costs[cost] = down > 0 ? fmax(0, up / down) : costs[cost];
		}
	}
}

/* The stage's error with costs[]: the mean distance, by the points' weights. */
static double error_of(const struct work *work, const struct needs *needs, const double *costs)
{
	double sum = 0;
	int nr = 0;

	for (int i = 0; i < work->points->nr; i++) {
		const struct probe_point *point = &work->points->at[i];
		double w = sqrt(weight(point));

		if (!work->used[i])
			continue;
		sum += w * fabs(point->spread - point->packed - model(&needs[i], costs));
		nr++;
	}
	return nr ? sum / nr : 0;
}

int probe_consider(struct work *work, const struct tlb_config *config)
{
	struct needs needs[PROBE_MAX_POINTS] = {{{0}}};
	double costs[NR_COSTS], error;
	int status = 0;

	for (int i = 0; i < work->points->nr && !status; i++)
		if (work->used[i])
			status = count_point(work, config, i, &needs[i]);
	if (status)
		return status == -EINVAL ? 0 : status;
	memcpy(costs, work->costs, sizeof(costs));
	solve(work, needs, costs);
	error = error_of(work, needs, costs);
	/* Simpler ones come first: a later one must be better by more than chance. */
	if (error < 0.98 * work->best_error) {
		work->best_error = error;
		work->best = *config;
		memcpy(work->costs, costs, sizeof(costs));
	}
	return 0;
}

void probe_use(struct work *work, enum probe_layout layout, double most)
{
	for (int i = 0; i < work->points->nr; i++)
		if (work->points->at[i].layout == layout)
			work->used[i] = work->points->at[i].nr <= most;
}

void probe_stage_begin(struct work *work, int nr_costs)
{
	memset(work->used, 0, sizeof(work->used));
	work->nr_costs = nr_costs;
	work->best_error = INFINITY;
}

double probe_relative_error(const struct work *work, const struct tlb_config *config)
{
	const double costs[NR_COSTS] = {config->l2_hit_cycles, config->walk_cycles,
					config->ref_cycles, config->far_cycles};
	struct needs needs;
	double sum = 0;

	for (int i = 0; i < work->points->nr; i++) {
		const struct probe_point *point = &work->points->at[i];

		if (count_point(work, config, i, &needs))
			return NAN;
		sum += fabs(model(&needs, costs) - (point->spread - point->packed)) / point->spread;
	}
	return work->points->nr ? sum / work->points->nr : 0;
}

double probe_model(const struct tlb_config *config, const struct probe_points *points,
		   const struct probe_point *point, bool packed)
{
	bool large = (point->layout == PROBE_LARGE) != packed;
	u64 base = large ? points->huge_base : points->small_base;
	const double costs[NR_COSTS] = {config->l2_hit_cycles, config->walk_cycles,
					config->ref_cycles, config->far_cycles};
	struct probe_chain chain;
	struct needs needs;
	double cycles = NAN;

	if (probe_chain_make(&chain, point->layout, point->nr, point->span, point->seed))
		return NAN;
	for (u32 i = 0; i < chain.nr; i++) {
		chain.lines[i] += base;
		chain.packed[i] += base;
	}
	if (!count(config, packed ? chain.packed : chain.lines, chain.nr, leaf_of(points, large),
		   &needs))
		cycles = model(&needs, costs);
	probe_chain_free(&chain);
	return cycles;
}

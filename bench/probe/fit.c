/* SPDX-License-Identifier: MIT */
/*
 * The model that gives what the chains cost. Which steps there are says where to look; then every
 * geometry near there is tried. One array after the other:
 *
 *	L1	short chains, and those in strides, which tell the ways
 *	L2	the same, longer
 *	PDEs	chains in strides and over the region against those side by side
 *	lines	the longest chains: their tables no longer fit into a data cache
 *	2 MiB	chains of large pages
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "bench/probe/fit.h"

#define L(level) TLB_LEVEL(level)

static const unsigned int ways_tried[] = {4, 5, 6, 7, 8, 10, 12, 16, 24};

/* Every array of low up to high entries, in *array, which is part of *config. */
static int try_arrays(struct work *work, struct tlb_config *config, struct tlb_geometry *array,
		      double low, double high)
{
	int status = 0;

	for (size_t w = 0; w < ARRAY_SIZE(ways_tried) && !status; w++) {
		unsigned int ways = ways_tried[w];

		for (unsigned int bits = 0; bits <= 9 && !status; bits++) {
			unsigned int entries = ways << bits;

			if (entries < low || entries > high)
				continue;
			array->entries = (u16)entries;
			array->ways = (u16)ways;
			for (int hash = 0; hash < (bits > 1 ? 2 : 1) && !status; hash++) {
				array->hash = (u8)(hash ? bits : 0);
				array->replacement = TLB_LRU;
				status = probe_consider(work, config);
				if (status || ways & (ways - 1))
					continue;
				array->replacement = TLB_PLRU;
				status = probe_consider(work, config);
			}
		}
	}
	return status;
}

/* The same of full associativity: where nothing else is known of ways, the number counts. */
static int try_full(struct work *work, struct tlb_config *config, struct tlb_geometry *array,
		    double low, double high)
{
	int status = 0;

	array->ways = 0;
	array->hash = 0;
	array->replacement = TLB_LRU;
	for (double entries = ceil(low / 8) * 8; entries <= fmin(high, 256) && !status;
	     entries += 8) {
		array->entries = (u16)entries;
		status = probe_consider(work, config);
	}
	return status;
}

/*
 * The stages.
 */
struct reach {
	double low, high; /* lines: the last chain before the step, and the first on its top */
	double below, above;
};

/* Steps of the chains of a layout, as lines. */
static int find_reaches(const struct probe_points *points, enum probe_layout layout, double most,
			double least_rise, struct reach *reaches)
{
	struct probe_step steps[PROBE_MAX_STEPS];
	double values[PROBE_MAX_POINTS];
	u32 lines[PROBE_MAX_POINTS] = {0};
	int nr = 0, nr_steps;

	for (int i = 0; i < points->nr; i++) {
		const struct probe_point *point = &points->at[i];

		if (point->layout != layout || point->nr > most)
			continue;
		lines[nr] = point->nr;
		values[nr++] = point->spread - point->packed;
	}
	nr_steps = probe_steps(values, nr, least_rise, steps);
	for (int s = 0; s < nr_steps; s++) {
		const struct probe_step *step = &steps[s];
		int top = step->first;

		while (top + 1 < nr && values[top] < 0.9 * step->above + 0.1 * step->below)
			top++;
		reaches[s] = (struct reach){.low = step->first ? lines[step->first - 1] : 1,
					    .high = lines[top],
					    .below = step->below,
					    .above = step->above};
	}
	return nr_steps;
}

/* The second step as a whole: a slope that is long enough may be found as more than one. */
static struct reach join(const struct reach *reaches, int nr)
{
	struct reach whole = reaches[1];

	for (int i = 2; i < nr && reaches[i].low <= 1.3 * whole.high; i++) {
		if (2 * (reaches[i].above - reaches[i].below) < whole.above - whole.below)
			break;
		whole.high = reaches[i].high;
		whole.above = reaches[i].above;
	}
	return whole;
}

static int fit_l1(struct work *work, const struct reach *reach)
{
	struct tlb_config config = work->best;
	struct tlb_geometry *array = &config.arrays[0][0];
	int status;

	probe_stage_begin(work, 1);
	probe_use(work, PROBE_DENSE, 2 * reach->high);
	probe_use(work, PROBE_STRIDE, 32);
	/* What L1 misses is a hit in L2 in these chains. */
	config.arrays[1][0].entries = 4096;
	config.arrays[1][0].ways = 16;
	status = try_arrays(work, &config, array, 0.9 * reach->low, 1.1 * reach->high);
	if (!status)
		status = try_full(work, &config, array, 0.9 * reach->low, 1.1 * reach->high);
	return status;
}

static int fit_l2(struct work *work, const struct reach *reach)
{
	struct tlb_config config = work->best;

	probe_stage_begin(work, COST_REFERENCE + 1);
	probe_use(work, PROBE_DENSE, 4 * reach->high);
	probe_use(work, PROBE_SPREAD, 3 * reach->high);
	probe_use(work, PROBE_STRIDE, 1e9);
	return try_arrays(work, &config, &config.arrays[1][0], 0.8 * reach->low, 1.2 * reach->high);
}

static int fit_directory(struct work *work, double reach)
{
	static const u16 entries[] = {32, 8, 16, 24, 48, 64, 128, 256, 1};
	struct tlb_config config = work->best;
	int status = 0;

	probe_stage_begin(work, COST_REFERENCE + 1);
	probe_use(work, PROBE_DENSE, 8 * reach);
	probe_use(work, PROBE_SPREAD, 4 * reach);
	probe_use(work, PROBE_SPAN, 1e9);
	probe_use(work, PROBE_STRIDE, 1e9);
	for (size_t i = 0; i < ARRAY_SIZE(entries) && !status; i++) {
		config.caches[0].entries = entries[i];
		status = probe_consider(work, &config);
	}
	return status;
}

static int fit_lines(struct work *work)
{
	static const u16 entries[] = {0, 1024, 2048, 4096, 8192, 12288, 16384, 24576, 32768, 49152};
	struct tlb_config config = work->best;
	int status = 0;

	probe_stage_begin(work, NR_COSTS);
	probe_use(work, PROBE_DENSE, 1e9);
	probe_use(work, PROBE_SPREAD, 1e9);
	probe_use(work, PROBE_SPAN, 1e9);
	probe_use(work, PROBE_STRIDE, 1e9);
	for (size_t i = 0; i < ARRAY_SIZE(entries) && !status; i++) {
		config.lines.entries = entries[i];
		status = probe_consider(work, &config);
	}
	return status;
}

static int fit_large(struct work *work, const struct reach *reach)
{
	struct tlb_config config = work->best;
	struct tlb_geometry *array = &config.arrays[0][1];
	int status;

	probe_stage_begin(work, 0);
	probe_use(work, PROBE_LARGE, 1e9);
	status = try_arrays(work, &config, array, 0.9 * reach->low, 1.1 * reach->high);
	if (!status)
		status = try_full(work, &config, array, 0.9 * reach->low, 1.1 * reach->high);
	return status;
}

/* What nothing has shown yet: as large as can be, so that it does not show in the model either.
 * Page directories are taken as Intel's until chains tell. */
static const struct tlb_config unseen = {
	.paging = {4, {0, 12, 21, 30, 39}},
	.arrays = {{{.name = "L1-4K", .entries = 512, .kinds = TLB_ALL, .levels = L(1)},
		    {.name = "L1-2M", .entries = 512, .kinds = TLB_ALL, .levels = L(2)},
		    {.name = "L1-1G", .entries = 16, .kinds = TLB_ALL, .levels = L(3)}},
		   {{.name = "L2", .kinds = TLB_ALL, .levels = L(1) | L(2)}}},
	.caches = {{.name = "PDE", .entries = 32, .levels = L(2)},
		   {.name = "PDPTE", .entries = 4, .levels = L(3)},
		   {.name = "PML4E", .entries = 2, .levels = L(4)},
		   {.name = "PML5E", .entries = 1, .levels = L(5)}},
	.lines = {.name = "lines", .ways = 16},
	.pcid = true,
	.global = true,
};

static u16 whole_cycles(double cycles)
{
	return (u16)lround(fmin(cycles, UINT16_MAX));
}

static void set_costs(struct probe_fit *fit, const struct work *work)
{
	fit->l2_cycles = work->costs[COST_L2];
	fit->walk_cycles = work->costs[COST_WALK];
	fit->ref_cycles = work->costs[COST_REFERENCE];
	fit->far_cycles = work->costs[COST_FAR];
	fit->config = work->best;
	fit->config.l2_hit_cycles = whole_cycles(fit->l2_cycles);
	fit->config.walk_cycles = whole_cycles(fit->walk_cycles);
	fit->config.ref_cycles = whole_cycles(fit->ref_cycles);
	fit->config.far_cycles = whole_cycles(fit->far_cycles);
	if (!fit->config.far_cycles)
		fit->config.lines.entries = 0;
}

static int fit_stages(struct work *work, struct probe_fit *fit, struct progress *progress,
		      double seconds)
{
	struct reach reaches[PROBE_MAX_STEPS], large[PROBE_MAX_STEPS], walks = {0};
	int nr = find_reaches(work->points, PROBE_DENSE, 16384, 2, reaches);
	int nr_large = find_reaches(work->points, PROBE_LARGE, 1e9, 2, large), status = 0;

	fit->saw_l1 = nr > 0;
	fit->saw_l2 = nr > 1;
	fit->saw_large = nr_large > 0 && work->points->huge;
	if (fit->saw_l2)
		walks = join(reaches, nr);
	if (fit->saw_l1)
		status = fit_l1(work, &reaches[0]);
	progress_step(progress, seconds, "fitting L2");
	if (fit->saw_l2 && !status)
		status = fit_l2(work, &walks);
	progress_step(progress, seconds, "fitting walks");
	if (fit->saw_l2 && !status)
		status = fit_directory(work, walks.high);
	progress_step(progress, seconds, "fitting lines of tables");
	if (fit->saw_l2 && !status)
		status = fit_lines(work);
	progress_step(progress, seconds, "fitting large pages");
	if (fit->saw_large && !status)
		status = fit_large(work, &large[0]);
	return status;
}

int probe_fit(const struct probe_points *points, struct probe_fit *fit, struct progress *progress,
	      double stage_seconds)
{
	struct work work;
	int status = probe_work_begin(&work, points, &unseen);

	memset(fit, 0, sizeof(*fit));
	if (!status)
		status = fit_stages(&work, fit, progress, stage_seconds);
	set_costs(fit, &work);
	fit->saw_lines = fit->config.lines.entries != 0;
	fit->error = status ? NAN : probe_relative_error(&work, &fit->config);
	progress_step(progress, stage_seconds, "patterns");
	probe_work_end(&work);
	return status;
}

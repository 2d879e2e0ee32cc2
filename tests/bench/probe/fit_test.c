/* SPDX-License-Identifier: MIT */
/*
 * Steps in curves that were made up, with noise; and a fit to chains that a model has paid for
 * instead of a machine: what it finds is what the model was.
 */
#include <math.h>
#include <string.h>

#include "bench/probe/probe.h"
#include "tests/tap/tap.h"

static unsigned long seed;

/* Between -1 and 1. */
static double noise(void)
{
	return (double)(tap_random(&seed) >> 11) * 0x1p-52 - 1;
}

static void level(double *values, int from, int to, double height, double amplitude)
{
	for (int i = from; i < to; i++)
		values[i] = height + amplitude * noise();
}

static void a_level_curve_has_no_step(void)
{
	struct probe_step steps[PROBE_MAX_STEPS];
	double values[50];

	for (int round = 0; round < 200; round++) {
		level(values, 0, 50, 7, 0.9);
		ok_eq(probe_steps(values, 50, 2, steps), 0);
	}
	level(values, 0, 50, 0, 0);
	ok_eq(probe_steps(values, 50, 2, steps), 0);
	ok_eq(probe_steps(values, 1, 2, steps), 0);
	ok_eq(probe_steps(values, 0, 2, steps), 0);
}

static void steps_are_found_in_noise(void)
{
	struct probe_step steps[PROBE_MAX_STEPS];
	double values[60];

	for (int round = 0; round < 200; round++) {
		level(values, 0, 20, 0, 0.5);
		level(values, 20, 40, 7, 0.5);
		level(values, 40, 60, 50, 2);
		ok_eq(probe_steps(values, 60, 2, steps), 2);
		ok_eq(steps[0].first, 20);
		ok(fabs(steps[0].below) < 0.5 && fabs(steps[0].above - 7) < 0.5, "%g to %g",
		   steps[0].below, steps[0].above);
		ok_eq(steps[1].first, 40);
		ok(fabs(steps[1].above - 50) < 2, "to %g", steps[1].above);
	}
}

/* One value in ten is far off, as where something else has run. */
static void outliers_are_no_steps(void)
{
	struct probe_step steps[PROBE_MAX_STEPS];
	double values[60];

	for (int round = 0; round < 200; round++) {
		level(values, 0, 30, 0, 0.3);
		level(values, 30, 60, 9, 0.3);
		for (int i = 4; i < 60; i += 10)
			values[i] += 30;
		ok_eq(probe_steps(values, 60, 2, steps), 1);
		ok_eq(steps[0].first, 30);
	}
}

static void a_slope_is_one_step(void)
{
	struct probe_step steps[PROBE_MAX_STEPS];
	double values[42];

	level(values, 0, 20, 7, 0.2);
	values[20] = 20;
	values[21] = 38;
	level(values, 22, 42, 50, 0.2);
	ok_eq(probe_steps(values, 42, 2, steps), 1);
	ok_eq(steps[0].first, 20);
	ok(fabs(steps[0].above - 50) < 1, "to %g", steps[0].above);
}

static void a_fall_is_no_step(void)
{
	struct probe_step steps[PROBE_MAX_STEPS];
	double values[40];

	level(values, 0, 20, 50, 0.2);
	level(values, 20, 40, 7, 0.2);
	ok_eq(probe_steps(values, 40, 2, steps), 0);
}

/*
 * The machine that is not there.
 */
#define L(l) TLB_LEVEL(l)

static const struct tlb_config machine = {
	.paging = {4, {0, 12, 21, 30, 39}},
	.arrays = {{{.name = "a", .entries = 64, .ways = 4, .kinds = TLB_ALL, .levels = L(1)},
		    {.name = "b", .entries = 32, .ways = 4, .kinds = TLB_ALL, .levels = L(2)},
		    {.name = "c", .entries = 4, .kinds = TLB_ALL, .levels = L(3)}},
		   {{.name = "d",
		     .entries = 1024,
		     .ways = 8,
		     .hash = 7,
		     .kinds = TLB_ALL,
		     .levels = L(1) | L(2)}}},
	.caches = {{.name = "PDE", .entries = 24, .levels = L(2)},
		   {.name = "PDPTE", .entries = 4, .levels = L(3)},
		   {.name = "PML4E", .entries = 2, .levels = L(4)}},
	.l2_hit_cycles = 9,
	.walk_cycles = 12,
	.ref_cycles = 20,
	.pcid = true,
	.global = true,
};

static struct probe_points points;

/* What the chains would take there. Without huge pages translation costs something packed, too. */
static void make_points(double amplitude, bool huge)
{
	memset(&points, 0, sizeof(points));
	points.nr_pages = 65536;
	points.small_base = 1UL << 32;
	points.huge_base = 1UL << 33;
	points.huge = huge;
	probe_plan(&points, PROBE_DENSE, 16, 16384, 1.2);
	probe_plan(&points, PROBE_SPREAD, 64, 8192, 1.5);
	probe_plan(&points, PROBE_STRIDE, 4, 128, 1.2);
	if (huge)
		probe_plan(&points, PROBE_LARGE, 8, 128, 1.15);
	probe_plan_spans(&points, 6144);
	for (int i = 0; i < points.nr; i++) {
		struct probe_point *point = &points.at[i];

		point->packed = 5 + amplitude * noise();
		if (!huge)
			point->packed += probe_model(&machine, &points, point, true);
		point->spread =
			5 + amplitude * noise() + probe_model(&machine, &points, point, false);
		point->noise = amplitude / 2;
	}
}

static void the_fit_finds_the_machine(void)
{
	struct progress progress = {.quiet = true};
	struct probe_fit fit;

	make_points(0.2, true);
	ok_eq(probe_fit(&points, &fit, &progress, 1), 0);
	ok(fit.saw_l1 && fit.saw_l2 && fit.saw_large, "something was not seen");
	ok_eq(fit.config.arrays[0][0].entries, 64);
	ok_eq(fit.config.arrays[0][0].ways, 4);
	ok_eq(fit.config.arrays[0][1].entries, 32);
	ok_eq(fit.config.arrays[1][0].entries, 1024);
	ok_eq(fit.config.caches[0].entries, 24);
	ok(fabs(fit.l2_cycles - 9) < 1, "%g cycles", fit.l2_cycles);
	ok(fabs(fit.walk_cycles + fit.ref_cycles - 32) < 3, "%g and %g cycles", fit.walk_cycles,
	   fit.ref_cycles);
	ok(fit.error < 0.05, "error %g", fit.error);
}

static void without_huge_pages_the_rest_is_found(void)
{
	struct progress progress = {.quiet = true};
	struct probe_fit fit;

	make_points(0.2, false);
	ok_eq(probe_fit(&points, &fit, &progress, 1), 0);
	ok(fit.saw_l1 && fit.saw_l2, "something was not seen");
	ok(!fit.saw_large, "large pages were seen");
	ok_eq(fit.config.arrays[0][0].entries, 64);
	ok_eq(fit.config.arrays[1][0].entries, 1024);
	ok(fabs(fit.l2_cycles - 9) < 1, "%g cycles", fit.l2_cycles);
}

/* Nothing costs anything: that is said, and no L1 is made up. */
static void nothing_is_found_where_there_is_nothing(void)
{
	struct progress progress = {.quiet = true};
	struct probe_fit fit;

	make_points(0.2, true);
	for (int i = 0; i < points.nr; i++)
		points.at[i].spread = points.at[i].packed + 0.2 * noise();
	ok_eq(probe_fit(&points, &fit, &progress, 1), 0);
	ok(!fit.saw_l1 && !fit.saw_l2 && !fit.saw_large, "something was seen");
}

int main(void)
{
	seed = tap_seed() | 1;
	RUN(a_level_curve_has_no_step);
	RUN(steps_are_found_in_noise);
	RUN(outliers_are_no_steps);
	RUN(a_slope_is_one_step);
	RUN(a_fall_is_no_step);
	RUN(the_fit_finds_the_machine);
	RUN(without_huge_pages_the_rest_is_found);
	RUN(nothing_is_found_where_there_is_nothing);
	return done();
}

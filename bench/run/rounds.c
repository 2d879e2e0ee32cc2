/* SPDX-License-Identifier: MIT */
/*
 * The pass of measure.h over courses: cases that change what they work on, so that they are taken once
 * and in order. Each round is a sample of the row in throughput.csv; what memory is like before the
 * first and after each goes to fragmentation.csv, for allocators whose free memory can be seen.
 *
 *	all threads	| round | wait          | round | wait ...
 *	thread 0	        | sample, write         | sample
 */
#include "config.h"

#include "bench/run/measure.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "arch/host.h"
#include "bench/run/alone.h"
#include "bench/command.h"
#include "bench/results/fragmentation.h"

#define EXPECTED_S 2 /* of a course; most of it until memory is full */

struct course {
	struct measured_case *m;
	pthread_barrier_t barrier;
	double *samples; /* [nr_rounds], ns per operation */
	double worked_ns;
	struct round_sample first, last;
	int error; /* of a row that could not be written */
};

double rounds_expected_s(const struct measured_case *m)
{
	return is_course(m) && !is_alone(m) ? EXPECTED_S : 0;
}

static void set_indices(struct fragmentation_row *row, const struct round_sample *sample)
{
	struct free_area_counts counts = {0};

	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
		counts.nr_blocks[order] = sample->free_blocks[order];
		counts.nr_buddy_pages += sample->free_blocks[order] << order;
	}
	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
		bool known = sample->blocks_known;

		row->indices.unusable_free_index[order] =
			known ? unusable_free_index(&counts, order) : NAN;
		row->indices.fragmentation_index[order] =
			known ? fragmentation_index(&counts, order) : NAN;
	}
}

static void take_sample(struct course *course, unsigned int round)
{
	struct bench_case *c = course->m->run.c;
	struct round_sample *sample = &course->last;
	struct fragmentation_row row = {
		.trace = c->name,
		.allocator = c->allocator,
		.event = round,
		.time_ns = (int64_t)course->worked_ns,
		.rss_bytes = (int64_t)host_rss_bytes(),
	};

	if (c->gave_up)
		return;
	c->ops->sample(c, sample);
	if (!round)
		course->first = *sample;
	if ((!sample->free_known && !sample->held_known) || course->error)
		return;
	row.requested_bytes = row.allocated_bytes = (int64_t)sample->requested_bytes;
	row.backing_bytes = sample->backing_bytes == UINT64_MAX ? CSV_UNKNOWN_WHOLE
								: (int64_t)sample->backing_bytes;
	row.huge_free_ratio = sample->free_known ? sample->huge_free_ratio : NAN;
	set_indices(&row, sample);
	course->error = results_fragmentation(course->m->measure->results, &row);
}

static void before(struct case_run *run, void *arg)
{
	struct course *course = arg;

	(void)run;
	take_sample(course, 0);
}

static void work(struct case_run *run, int thread, uint64_t n, void *arg)
{
	struct course *course = arg;

	for (unsigned int round = 1; round <= n; round++) {
		double started;

		pthread_barrier_wait(&course->barrier);
		started = (double)host_time_ns();
		run->c->ops->run(run->c, thread, run->states[thread], 1);
		pthread_barrier_wait(&course->barrier);
		if (thread)
			continue;
		/* From when all started to when the last was through. */
		started = (double)host_time_ns() - started;
		course->worked_ns += started;
		course->samples[round - 1] = started / case_ops(run->c, 1);
		take_sample(course, round);
	}
}

static void remark(const struct course *course)
{
	const struct bench_case *c = course->m->run.c;
	struct results *results = course->m->measure->results;
	const struct round_sample *first = &course->first, *last = &course->last;

	if (last->free_known)
		results_remark(
			results,
			"%s of %s: of its free memory %.1f %% is in free blocks of 2 MiB, then "
			"%.1f %% after %d rounds",
			c->name, c->allocator, 100 * first->huge_free_ratio,
			100 * last->huge_free_ratio, (int)c->ops->nr_rounds);
	else if (last->held_known)
		results_remark(
			results,
			"%s of %s: %.2f MiB of live objects keep %.2f MiB of pages, then %.2f "
			"MiB after %d rounds",
			c->name, c->allocator, (double)last->requested_bytes / (1 << 20),
			(double)first->backing_bytes / (1 << 20),
			(double)last->backing_bytes / (1 << 20), (int)c->ops->nr_rounds);
}

static int add_measurement(struct course *course)
{
	unsigned int nr = course->m->run.c->ops->nr_rounds;

	remark(course);
	return measure_add(course->m, nr, course->samples, (int)nr);
}

static int run_course(struct measured_case *m)
{
	static const struct case_work rounds = {.work = work, .before = before};
	unsigned int nr = m->run.c->ops->nr_rounds;
	struct course course = {.m = m, .samples = calloc(nr, sizeof(double))};
	int error;

	if (!course.samples)
		return -ENOMEM;
	pthread_barrier_init(&course.barrier, NULL, (unsigned int)m->run.c->threads);
	case_run_once(&m->run, nr, &rounds, &course);
	pthread_barrier_destroy(&course.barrier);
	error = course.error;
	if (!error && !m->run.c->skipped)
		error = add_measurement(&course);
	free(course.samples);
	return error;
}

int measure_rounds(struct measure *measure)
{
	int error = 0;

	for (size_t i = 0; !error && i < measure->nr; i++) {
		struct measured_case *m = &measure->cases[i];
		char name[CASE_NAME];

		if (!is_course(m) || is_alone(m))
			continue;
		case_name(m->run.c, name, sizeof(name));
		progress_step(measure->progress, EXPECTED_S, name);
		error = run_course(m);
	}
	return error ? complain("cannot keep the results: %s", strerror(-error)) : EXIT_OK;
}

/* SPDX-License-Identifier: MIT */
/* The passes that time operations; see measure.h. Counting is in count.c. */
#include "config.h"

#include "bench/run/measure.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/host.h"
#include "bench/run/alone.h"
#include "bench/command.h"
#include "bench/results/latency.h"

#define EXPECTED_CALIBRATION_S 0.05 /* of one case */

int measure_init(struct measure *measure, struct case_list *list)
{
	measure->cases = calloc(list->nr + 1, sizeof(*measure->cases));
	if (!measure->cases)
		return -ENOMEM;
	for (size_t i = 0; i < list->nr; i++) {
		struct measured_case *m = &measure->cases[measure->nr];

		if (list->cases[i].skipped)
			continue;
		m->measure = measure;
		m->samples = calloc((size_t)measure->repetitions, sizeof(*m->samples));
		measure->nr++;
		if (case_run_init(&m->run, &list->cases[i]) || !m->samples)
			return -ENOMEM;
	}
	return 0;
}

void measure_destroy(struct measure *measure)
{
	for (size_t i = 0; i < measure->nr; i++) {
		case_run_destroy(&measure->cases[i].run);
		free(measure->cases[i].samples);
	}
	free(measure->cases);
}

static void step(struct measured_case *m, double seconds)
{
	char name[CASE_NAME];

	case_name(m->run.c, name, sizeof(name));
	progress_step(m->measure->progress, seconds, name);
}

/* Is it repeated, and has it not run out of memory? */
static bool is_repeated(const struct measured_case *m)
{
	return !is_course(m) && !m->run.c->skipped;
}

/* An A/A copy says nothing new of latency and locks. */
static bool is_copy(const struct bench_case *c)
{
	size_t length = strlen(c->allocator);

	return length > 3 && !strcmp(c->allocator + length - 3, "-aa");
}

static bool has_latency(const struct measured_case *m)
{
	return m->run.c->ops->latency && !is_copy(m->run.c) && !is_course(m) && !m->run.c->skipped;
}

bool has_locks(const struct measured_case *m)
{
	const struct bench_case *c = m->run.c;

	return !is_course(m) && !c->skipped &&
	       (!strcmp(c->allocator, "kmm") || (c->peer && c->peer->locks && !is_copy(c)));
}

static double nr_repeated(const struct measure *measure)
{
	double nr = 0;

	for (size_t i = 0; i < measure->nr; i++)
		nr += is_repeated(&measure->cases[i]);
	return nr;
}

double measure_expected_s(struct measure *measure)
{
	double nr = nr_repeated(measure), calibrate_s = nr * EXPECTED_CALIBRATION_S, others_s = 0;

	measure->planned_s = nr * measure->repetitions * measure->max_s;
	if (measure->budget_s)
		measure->planned_s =
			fmin(measure->planned_s, fmax(measure->budget_s - calibrate_s, 1));
	for (size_t i = 0; i < measure->nr; i++) {
		if (has_latency(&measure->cases[i]))
			others_s += measure->latency_s;
		if (has_locks(&measure->cases[i]))
			others_s += measure->min_s;
		others_s += rounds_expected_s(&measure->cases[i]);
	}
	return calibrate_s + measure->planned_s + others_s + alone_expected_s(measure);
}

/* Grow n until a run is long enough to be timed; then ns_per_batch is known, and what a run costs
 * beside. */
static void calibrate(struct measured_case *m, double enough_ns)
{
	double first_ops = (double)case_ops_per_batch(m->run.c);
	double started, wall_ns;

	m->n = first_ops < 256 ? (uint64_t)(256 / first_ops) : 1;
	for (;;) {
		double grow;

		started = (double)host_time_ns();
		wall_ns = case_run_once(&m->run, m->n, &case_work_run, NULL);
		m->overhead_s = ((double)host_time_ns() - started - wall_ns) * 1e-9;
		m->ns_per_batch = fmax(wall_ns, 1) / (double)m->n;
		if (wall_ns >= enough_ns || m->run.c->skipped)
			return;
		grow = fmin(1.5 * enough_ns / fmax(wall_ns, 1), 64);
		m->n = (uint64_t)fmax((double)m->n * grow, (double)m->n + 1);
	}
}

int measure_calibrate(struct measure *measure)
{
	double started = (double)host_time_ns(), overhead_s = 0, each_s = measure->max_s;
	double repetitions, expected_s = 0, left_s;

	for (size_t i = 0; i < measure->nr; i++) {
		if (is_course(&measure->cases[i]))
			continue;
		step(&measure->cases[i], EXPECTED_CALIBRATION_S);
		calibrate(&measure->cases[i], measure->min_s * 0.5e9);
		overhead_s += measure->cases[i].overhead_s * measure->repetitions;
	}
	repetitions = fmax(nr_repeated(measure), 1) * measure->repetitions;
	if (measure->budget_s) {
		left_s = measure->budget_s - ((double)host_time_ns() - started) * 1e-9 - overhead_s;
		each_s = fmin(fmax(left_s / repetitions, measure->min_s), measure->max_s);
	}
	for (size_t i = 0; i < measure->nr; i++) {
		struct measured_case *m = &measure->cases[i];

		if (!is_repeated(m))
			continue;
		m->n = (uint64_t)fmax(1, round(each_s * 1e9 / m->ns_per_batch));
		expected_s += measure->repetitions *
			      (m->overhead_s + (double)m->n * m->ns_per_batch * 1e-9);
	}
	/* What is left to do is known better now. */
	progress_add(measure->progress, expected_s - measure->planned_s);
	return EXIT_OK;
}

static void before_repetition(struct case_run *run)
{
	struct measured_case *m = container_of(run, struct measured_case, run);

	step(m, m->overhead_s + (double)m->n * m->ns_per_batch * 1e-9);
}

static void take_result(void *user, const struct gbench_result *result)
{
	struct measured_case *m = container_of((struct case_run *)user, struct measured_case, run);

	if (m->nr_samples < m->measure->repetitions)
		m->samples[m->nr_samples++] =
			result->wall_ns / case_ops(m->run.c, result->iterations);
}

/* The results of a run that does not come to take_result. */
static void keep_sample(void *user, const struct gbench_result *result)
{
	struct measured_case *m = container_of((struct case_run *)user, struct measured_case, run);
	const double ops = case_ops(m->run.c, result->iterations), sample = result->wall_ns / ops;
	struct measurement row = case_measurement(m->run.c);

	row.ops = (uint64_t)ops * (uint64_t)row.threads;
	row.samples = &sample;
	row.nr_samples = 1;
	if (m->run.c->skipped) { /* it has run out of memory just now: as in a whole run, no figures */
		row.nr_samples = 0;
		row.ops = 0;
		results_planned(m->measure->results, &row);
	} else if (is_repeated(m)) {
		results_sample(m->measure->results, &row);
	}
}

/* On an emulated machine no memory is bound, so no figure of nodes can be taken for one. */
static const char *node_name(const struct measure *measure, int nid, char *name, size_t size)
{
	if (nid == NUMA_NO_NODE)
		return NULL;
	snprintf(name, size, "%d%s", nid, measure->emulated ? " (emulated)" : "");
	return name;
}

static int add_numa(struct measured_case *m)
{
	const struct bench_case *c = m->run.c;
	char name[CASE_NAME], cpu_node[32], memory_node[32];
	struct numa_row row = {
		.suite = c->suite,
		.name = name,
		.allocator = c->allocator,
		.cpu_node = node_name(m->measure, c->cpu_node, cpu_node, sizeof(cpu_node)),
		.memory_node =
			node_name(m->measure, c->memory_node, memory_node, sizeof(memory_node)),
		.ns_per_op = stats_median(m->samples, m->nr_samples),
		.local_ratio = c->local_ratio < 0 ? NAN : c->local_ratio,
	};

	if (!c->has_numa || c->threads > 1)
		return 0;
	case_and_size(c, true, name, sizeof(name));
	return results_numa(m->measure->results, &row);
}

int measure_add(const struct measured_case *m, uint64_t batches, const double *samples,
		int nr_samples)
{
	const struct bench_case *c = m->run.c;
	struct measurement measurement = case_measurement(c);

	measurement.ops = (uint64_t)case_ops(c, batches) * (uint64_t)c->threads;
	measurement.samples = samples;
	measurement.nr_samples = nr_samples;
	return results_measured(m->measure->results, &measurement);
}

static int add_measurement(struct measured_case *m)
{
	int error = measure_add(m, m->n * (uint64_t)m->nr_samples, m->samples, m->nr_samples);

	return error ? error : add_numa(m);
}

int measure_repeat(struct measure *measure)
{
	char name[CASE_NAME], line[256];
	int error = 0;

	for (size_t i = 0; i < measure->nr; i++) {
		struct measured_case *m = &measure->cases[i];

		if (!is_repeated(m))
			continue;
		case_name(m->run.c, name, sizeof(name));
		m->run.before = before_repetition;
		error = gbench_register(name, m->run.c->threads, m->n, &case_run_gbench_ops,
					&m->run);
		if (error)
			return complain("%s: cannot be registered: %s", name, strerror(-error)),
			       EXIT_FAILED;
	}
	if (nr_repeated(measure) > 0 && gbench_run(take_result, keep_sample, line, sizeof(line)))
		return complain("%s", line), EXIT_FAILED;
	for (size_t i = 0; !error && i < measure->nr; i++) {
		measure->cases[i].run.before = NULL;
		if (is_repeated(&measure->cases[i]))
			error = add_measurement(&measure->cases[i]);
	}
	return error ? complain("cannot keep the results: %s", strerror(-error)) : EXIT_OK;
}

struct histograms {
	struct latency_hist *of_thread;
};

static void work_latency(struct case_run *run, int thread, uint64_t n, void *arg)
{
	struct histograms *histograms = arg;

	run->c->ops->latency(run->c, thread, run->states[thread], n,
			     &histograms->of_thread[thread]);
}

static int latency_of(struct measured_case *m)
{
	static const struct case_work work = {.work = work_latency};
	const struct bench_case *c = m->run.c;
	struct histograms histograms = {calloc((size_t)c->threads, sizeof(struct latency_hist))};
	struct latency_hist *all = histograms.of_thread;
	double ns_per_op = m->ns_per_batch / (double)case_ops_per_batch(c);
	char name[CASE_NAME], placement[48];
	struct latency_row row = {.suite = c->suite,
				  .name = name,
				  .allocator = c->allocator,
				  .threads = c->threads,
				  .placement = placement};
	int error;

	if (!all)
		return -ENOMEM;
	/* Each operation brings some 30 ns of clock with it. */
	case_run_once(&m->run, (uint64_t)fmax(256, m->measure->latency_s * 1e9 / (ns_per_op + 30)),
		      &work, &histograms);
	for (int i = 1; i < c->threads; i++)
		latency_hist_merge(all, &histograms.of_thread[i]);
	case_and_size(c, false, name, sizeof(name));
	snprintf(placement, sizeof(placement), "%s%s", c->placement,
		 m->measure->emulated ? " (emulated)" : "");
	row.p50_ns = latency_hist_percentile_ns(all, 50);
	row.p90_ns = latency_hist_percentile_ns(all, 90);
	row.p99_ns = latency_hist_percentile_ns(all, 99);
	row.p999_ns = latency_hist_percentile_ns(all, 99.9);
	row.p9999_ns = latency_hist_percentile_ns(all, 99.99);
	row.max_ns = latency_hist_max_ns(all);
	error = results_latency(m->measure->results, &row);
	free(all);
	return error;
}

int measure_latency(struct measure *measure)
{
	int error = 0;

	for (size_t i = 0; !error && i < measure->nr; i++) {
		struct measured_case *m = &measure->cases[i];

		if (!has_latency(m))
			continue;
		step(m, measure->latency_s);
		error = latency_of(m);
	}
	return error ? complain("latency.csv: %s", strerror(-error)) : EXIT_OK;
}

void measure_profile(struct measured_case *m, double seconds)
{
	calibrate(m, 1e6);
	case_run_once(&m->run, (uint64_t)fmax(1, seconds * 1e9 / m->ns_per_batch), &case_work_run,
		      NULL);
}

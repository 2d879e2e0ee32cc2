/* SPDX-License-Identifier: MIT */
/*
 * The passes of `kmm bench` over its cases:
 *
 *	calibrate	iterations of a repetition from the time that each case has, so that
 *			Google Benchmark needs no trial runs of its own
 *	repeat		all repetitions of all cases, interleaved at random: throughput.csv,
 *			raw.csv, numa.csv
 *	latency		each operation timed by itself: latency.csv
 *	rounds		courses, each once: throughput.csv, raw.csv, fragmentation.csv; the other passes
 *			leave them out
 *	alone		cases in processes of their own, and what memory they hold (alone.h)
 *	count		lock counters around a case, kmm's or the peer's: locks.csv; and the
 *			paths that kmm took: paths.csv
 */
#ifndef KMM_BENCH_MEASURE_H
#define KMM_BENCH_MEASURE_H

#include "bench/run/case_run.h"
#include "bench/run/progress.h"
#include "bench/results/results.h"
#include "bench/suite.h"

struct measured_case {
	struct case_run run;
	struct measure *measure;
	uint64_t n;	     /* batches of each thread in a repetition */
	double ns_per_batch; /* calibrated: wall time over n */
	double overhead_s;   /* of a repetition: prepare, begin, end, finish */
	double *samples;     /* ns per operation of one thread */
	int nr_samples;
};

struct measure {
	struct measured_case *cases;
	size_t nr;
	int repetitions;
	double budget_s;     /* for calibration and repetitions together; 0: no limit */
	double min_s, max_s; /* of one repetition */
	double latency_s;    /* of one case in the latency pass */
	double planned_s;    /* what measure_expected_s took the repetitions to need */
	bool emulated;
	struct kmm *machine;
	struct progress *progress;
	struct results *results;
	int argc; /* the command line, for processes of a case's own */
	char **argv;
};

/* Make measure->cases of those in the list that are not skipped. 0 or -ENOMEM. */
int measure_init(struct measure *measure, struct case_list *list);
void measure_destroy(struct measure *measure);

/* Seconds that the passes will take, as far as is known before calibration; for progress. */
double measure_expected_s(struct measure *measure);

/* A case's row in throughput.csv and those of its repetitions in raw.csv: so many batches of each thread
 * in all, and ns per operation of each. 0 or -errno. */
int measure_add(const struct measured_case *m, uint64_t batches, const double *samples,
		int nr_samples);

/* Is the case taken once, round by round? */
static inline bool is_course(const struct measured_case *m)
{
	return m->run.c->ops->nr_rounds != 0;
}

/* What a course will take; 0 for all else. */
double rounds_expected_s(const struct measured_case *m);

/* Does the case count for locks.csv? */
bool has_locks(const struct measured_case *m);

/* In this order; each returns an exit status after one line of complaint. */
int measure_calibrate(struct measure *measure);
int measure_repeat(struct measure *measure);
int measure_latency(struct measure *measure);
int measure_rounds(struct measure *measure);
int measure_count(struct measure *measure);

/* Run one case for about this many seconds, and nothing else: what a profiler wants. */
void measure_profile(struct measured_case *m, double seconds);

#endif

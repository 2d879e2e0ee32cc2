/* SPDX-License-Identifier: MIT */
/*
 * Running one case: its callbacks in their order (suite.h), over any number of threads, on Google
 * Benchmark's threads or our own. A self-check that fails ends the process at once, with one line
 * and EXIT_FAILED: other threads may wait for the one that failed, so there is nothing to come back
 * to. But an allocator other than kmm that only runs out of memory (case_no_memory in
 * suites/common.h) is put up with: from then on the case is skipped, with a note that says so.
 *
 *	thread 0   prepare -> begin -> [work] -> end ------------> finish
 *	others          '---> begin -> [work] -> end --'
 */
#ifndef KMM_BENCH_CASE_RUN_H
#define KMM_BENCH_CASE_RUN_H

#include <pthread.h>

#include "bench/results/results.h"
#include "bench/run/gbench.h"
#include "bench/suite.h"

struct case_run {
	struct bench_case *c;
	void **states; /* of each thread; its own only */
	/* Once a run, by thread 0, outside of what is timed; NULL: nothing. */
	void (*before)(struct case_run *run);

	pthread_mutex_t mutex; /* protects: */
	pthread_cond_t changed;
	bool prepared;
	int nr_ended; /* threads but the first that are through with thread_end */
};

/* 0 or -ENOMEM. */
int case_run_init(struct case_run *run, struct bench_case *c);
void case_run_destroy(struct case_run *run);

/* For gbench_register, with the struct case_run as user. */
extern const struct gbench_ops case_run_gbench_ops;

/* What the threads do between thread_begin and thread_end, when it is not c->ops->run alone. */
struct case_work {
	void (*work)(struct case_run *run, int thread, uint64_t n, void *arg);
	/* By thread 0, when all threads have begun and none works; and when all have worked and
	 * none ends. Or NULL. */
	void (*before)(struct case_run *run, void *arg);
	void (*after)(struct case_run *run, void *arg);
};
extern const struct case_work case_work_run; /* c->ops->run(n) */

/*
 * Run the case once, n batches a thread, on threads of our own. Returns the wall time of thread 0's
 * work in ns.
 */
double case_run_once(struct case_run *run, uint64_t n, const struct case_work *work, void *arg);

/* Operations that one thread does in n batches. */
static inline double case_ops(const struct bench_case *c, uint64_t n)
{
	return (double)n * (double)case_ops_per_batch(c);
}

/* Its row, without figures, until the case's note changes. */
struct measurement case_measurement(const struct bench_case *c);
/* results_case_name() of it. */
#define CASE_NAME RESULTS_CASE_NAME
void case_name(const struct bench_case *c, char *name, size_t size);
/* "case/size", for files without a column for the size; where there is none for the placement
 * either, "/remote" or "/interleave" follows. */
void case_and_size(const struct bench_case *c, bool with_placement, char *name, size_t size);

#endif

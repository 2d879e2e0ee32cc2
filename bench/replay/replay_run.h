/* SPDX-License-Identifier: MIT */
/* The parent's side of a replay: processes, repetitions, rows, table. */
#ifndef KMM_BENCH_REPLAY_RUN_H
#define KMM_BENCH_REPLAY_RUN_H

#include "bench/run/progress.h"
#include "bench/replay/replay_internal.h"
#include "bench/results/results.h"

struct replay_plan {
	const struct replay_trace *trace;
	const struct common_options *common;
	const struct object_peer *page_peers; /* loaded, for their names; common has as many */
	bool populations[KMT_NR_POPULATIONS];
	int repetitions; /* timed ones, 1 to REPLAY_REPETITIONS_MAX */
	bool verify;
	struct results *results;
	struct progress *progress;
	double progress_seconds; /* to step by in all */
	FILE *table;		 /* NULL: print none */
};

#define REPLAY_REPETITIONS     9
#define REPLAY_REPETITIONS_MAX 101

/* Tell plan->results what rows the run will have, should it end early. */
void replay_plan_tell(const struct replay_plan *plan);
/* Exit status, after a line of complaint unless EXIT_OK. */
int replay_plan_run(const struct replay_plan *plan);

#endif

/* SPDX-License-Identifier: MIT */
/* The Linux kernel's part in a run of kmm bench: what of it is asked for, and its rows. */
#ifndef KMM_BENCH_COMMANDS_BENCH_LINUX_H
#define KMM_BENCH_COMMANDS_BENCH_LINUX_H

#include "bench/options/choose.h"
#include "bench/options/options.h"
#include "bench/run/linux_run.h"

struct bench_linux {
	const struct common_options *common;
	const struct choice *choice;
	struct linux_plan plan;
};

/* As large as the machine, which still stands, and up to 1 GiB; pointers are kept. */
struct bench_linux bench_linux_plan(const struct bench_env *env,
				    const struct common_options *common,
				    const struct choice *choice, const struct replay_trace *traces,
				    int nr_traces);

/* Run it; the machine may have ended. EXIT_OK; or an exit status after one line, and the run can go on
 * without it. */
int bench_linux_run(struct bench_linux *b, struct results *results, struct progress *progress);

#endif

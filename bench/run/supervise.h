/* SPDX-License-Identifier: MIT */
/*
 * A run in a child process, so that whatever ends it, a crash in any allocator, Ctrl-C, a full
 * disk, leaves runs in the results folder that are whole or say that they are not.
 *
 *	parent	makes the run's temporary folder, starts the child in a process group of
 *		its own, waits;
 *		on SIGINT, SIGTERM or SIGHUP, or when the child crashes or fails, kills
 *		the group, and makes a run of what was measured by then (results_keep), with
 *		its summary; of nothing, removes the folder
 *	child	does the work, writes into the folder, and renames it as its last act
 *		(results_commit)
 *
 * Children of the child (a replay's process per allocator) are in the group and end with it.
 */
#ifndef KMM_BENCH_SUPERVISE_H
#define KMM_BENCH_SUPERVISE_H

#include "bench/run/progress.h"

struct results;

struct supervised {
	struct results *results; /* NULL when no results folder was asked for */
	char *running;		 /* what the child says it is doing; for progress_start */
};

/*
 * Run work(supervised, arg) in a child. results_dir NULL: no results folder. Returns work's exit
 * status; EXIT_BAD_INPUT when the folder cannot be made; EXIT_FAILED after a crash, or an exit
 * without an error that comes before the commit, with one line that names what was running; 128 +
 * signal after a signal.
 */
int supervise(const char *results_dir, int (*work)(struct supervised *run, void *arg), void *arg);

#endif

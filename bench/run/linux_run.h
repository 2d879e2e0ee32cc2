/* SPDX-License-Identifier: MIT */
/*
 * The real Linux kernel as a peer: User Mode Linux with the cases of bench/linux built in, which
 * scripts/linux builds. It is a process of one CPU that runs its cases and ends; what it says becomes
 * rows of allocator linux-X.Y.
 */
#ifndef KMM_BENCH_RUN_LINUX_RUN_H
#define KMM_BENCH_RUN_LINUX_RUN_H

#include <limits.h>
#include <sys/types.h>

#include "bench/replay/replay_trace.h"
#include "bench/results/results.h"
#include "bench/run/linux_lines.h"
#include "bench/run/progress.h"

struct linux_plan {
	const char *kernel; /* its path */
	const char *suites; /* of page, slab, kmalloc, tree, ageing, replay, by commas; NULL: all */
	uint64_t memory_bytes;		   /* of the kernel */
	uint64_t batch_memory_bytes;	   /* that batches are sized by, as kmm's are */
	int threads;			   /* by which they are, too */
	int repetitions;		   /* of each case; 0: as many as the kernel likes */
	const struct replay_trace *traces; /* open */
	int nr_traces;
	/* What the kernel says, line by line; not 0 ends it. */
	int (*line)(const struct linux_line *line, void *arg);
	void *arg;
};

/*
 * The kernel as scripts/linux has built it. NULL where there is none, after the script's line of
 * complaint (quiet: without); build: it may be built now. The path is in path.
 */
const char *linux_kernel(const char *script, bool build, bool quiet, char path[PATH_MAX]);

/* Run it. EXIT_OK; EXIT_BAD_INPUT after a line of complaint where it cannot be run here; EXIT_FAILED
 * after one when it found a wrong result or did not end well. */
int linux_run(const struct linux_plan *plan);

/* Remove what a kernel leaves in /tmp when it, or the process that called linux_run(), is killed. */
void linux_remove_leavings(pid_t runner);

#define LINUX_SECONDS 12 /* about, of a whole run */

/* Rows of a run: bench/run/linux_rows.c. */
struct linux_rows;
struct choice; /* bench/options/choose.h */
/* choice: the cases that are wanted, which must outlive the rows; NULL: all. Replays, which no choice of
 * cases is about, are always wanted, as those onto the other allocators are. */
struct linux_rows *linux_rows_new(struct results *results, struct progress *progress,
				  const struct choice *choice);
int linux_rows_line(const struct linux_line *line, void *rows);
/* Write what is left to be written; 0 or -errno. And free. */
int linux_rows_finish(struct linux_rows *rows);
void linux_rows_free(struct linux_rows *rows);

/* The traces as the kernel reads them (bench/linux/trace_format.h), in an unlinked file whose size is a
 * whole number of pages. *fd, or -1 without traces. A trace that it cannot take is left out after a line
 * that says why. EXIT_OK, or EXIT_BAD_INPUT after a line. */
int linux_traces_write(const struct replay_trace *traces, int nr_traces, int *fd);

#endif

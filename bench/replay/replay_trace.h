/* SPDX-License-Identifier: MIT */
/* A trace on its way into a replay: .kmt as it is, perf script text converted first, both read once
 * and checked. */
#ifndef KMM_BENCH_REPLAY_TRACE_H
#define KMM_BENCH_REPLAY_TRACE_H

#include "workloads/kmt.h"

struct replay_trace {
	char name[64]; /* the file's, without folders and endings: what the results call it */
	int fd;	       /* open for reading; inherited by the replay's processes */
	char path[64]; /* where they open it again, to have a position of their own */
	struct kmt_counts counts;
	u32 nr_ids[KMT_NR_POPULATIONS];
};

/*
 * Open, convert if need be, and read through. EXIT_OK; or EXIT_BAD_INPUT after the one line of
 * complaint. The converted trace is an unlinked temporary file in $TMPDIR or /tmp.
 */
int replay_trace_open(const char *file, struct replay_trace *trace);
void replay_trace_close(struct replay_trace *trace);

/* "Event counts of TRACE: ..." for people. */
void replay_trace_print(const struct replay_trace *trace, FILE *out);

/* Open a trace file to read: 0 and *fd, or EXIT_BAD_INPUT after a line, also for a folder. */
int trace_file_open(const char *file, int *fd);

/* Print the counts of a trace that are not 0, a line each. */
void trace_counts_print(const struct kmt_counts *counts, FILE *out);

#endif

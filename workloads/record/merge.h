/* SPDX-License-Identifier: MIT */
/* What libkmm-record.so wrote of one process (raw.h) into a .kmt trace. */
#ifndef WORKLOADS_RECORD_MERGE_H
#define WORKLOADS_RECORD_MERGE_H

#include <signal.h>

#include "workloads/kmt.h"

struct record_process {
	s32 pid, parent;
	u32 image; /* 0: the first program of this pid; 1: what it became by exec; ... */
	u64 lost;  /* calls that the disk had no room for, at the recording's end */
	char command[256];
	struct kmt_counts counts; /* of the trace, when there is one */
};

/*
 * What fd (name, for errors) says of its process, and not its events: *process without counts.
 * 0, or -errno with one line in error. -ENODATA: the process ended before it had begun to record.
 */
int record_describe(int fd, const char *name, struct record_process *process,
		    char error[KMT_ERROR_SIZE]);

/*
 * Merge the chunks of fd by time and write them as a trace to `out`. The file may still be growing:
 * what is there when it is read is taken. 0 with *process filled; -ENODATA without an event, and
 * then without a trace, too (*process is filled all the same, where there is a header); -EINTR when
 * *stop (may be NULL) became other than 0; or -errno with one line in error. A program that keeps
 * no order between threads, or a processor whose clocks disagree, shows up in the trace's counts of
 * missed and unknown frees. Time n log t for t threads at work at one time, memory for live objects
 * and t.
 */
int record_merge(int fd, const char *name, const char *out, const volatile sig_atomic_t *stop,
		 struct record_process *process, char error[KMT_ERROR_SIZE]);

#endif

/* SPDX-License-Identifier: MIT */
/* Traces of several processes or machines as one, by their clocks. */
#ifndef WORKLOADS_KMT_MERGE_H
#define WORKLOADS_KMT_MERGE_H

#include "workloads/kmt.h"

#define KMT_MERGE_MAX 1024

/*
 * Merge nr traces (1 to KMT_MERGE_MAX) into one at `out`, whose events are theirs in the order of
 * start_time_ns + time_ns; of events of one time those of the earlier trace come first. Objects of
 * different traces stay different; threads and CPUs keep their numbers, and the counts of the sources are
 * summed. 0; or -errno with a line in error. Time n * nr, memory for live objects of all.
 */
int kmt_merge(const char *const *paths, size_t nr, const char *out, const char *description,
	      struct kmt_counts *counts, char error[KMT_ERROR_SIZE]);

#endif

/* SPDX-License-Identifier: MIT */
/* What a trace adds up to, recounted from its events: for who looks at a trace, and to hold its trailer to. */
#ifndef WORKLOADS_KMT_SUMS_H
#define WORKLOADS_KMT_SUMS_H

#include "workloads/kmt.h"
#include "workloads/live_map.h"

struct kmt_sums {
	u64 events[KMT_NR_KINDS];
	u64 bytes
		[KMT_NR_KINDS]; /* requested: of allocations, and new sizes; of frees, what they gave back */
	u64 implied;		/* frees that the converter put in */
	u64 live[KMT_NR_POPULATIONS], live_bytes[KMT_NR_POPULATIONS];
	u64 peak[KMT_NR_POPULATIONS], peak_bytes[KMT_NR_POPULATIONS];
	u64 peak_event[KMT_NR_POPULATIONS]; /* events of the population up to the peak of bytes */
	u64 duration_ns;
	u32 nr_threads, nr_cpus;

	/* By id: what is live. */
	u64 *sizes[KMT_NR_POPULATIONS];
	u32 room[KMT_NR_POPULATIONS];
	u64 nr_events[KMT_NR_POPULATIONS];
	struct live_map threads, cpus;
	s32 last_tid;
	u32 last_cpu; /* KMT_MAX_CPU + 1 before the first */
};

void kmt_sums_begin(struct kmt_sums *sums);
/* Add the reader's next events. 0 or -ENOMEM. Cost: some ns an event. */
int kmt_sums_add(struct kmt_sums *sums, const struct kmt_reader *reader,
		 const struct kmt_event *events, size_t n);
void kmt_sums_end(struct kmt_sums *sums);

/* What the trailer says otherwise, in a line; false: nothing. */
bool kmt_sums_differ(const struct kmt_sums *sums, const struct kmt_counts *counts, char *line,
		     size_t size);

#endif

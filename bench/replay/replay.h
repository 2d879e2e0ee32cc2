/* SPDX-License-Identifier: MIT */
/* Replay of traces, as the other sub-commands use it: `kmm bench` replays into the folder of its
 * own run. */
#ifndef KMM_BENCH_REPLAY_H
#define KMM_BENCH_REPLAY_H

#include "bench/options/options.h"
#include "bench/replay/replay_trace.h"
#include "bench/run/progress.h"
#include "bench/results/results.h"

/* Can this trace be replayed? Reads it through, about a second for a million events. EXIT_OK, or
 * EXIT_BAD_INPUT after one line. */
int replay_check(const char *trace);

/* About how many seconds replay_into will take, for the progress line. */
double replay_seconds(const char *trace, const struct common_options *common);

/*
 * Replay one trace onto every allocator that the options ask for; add its fragmentation.csv rows
 * and, as suite "replay", its throughput rows. Steps `progress` by `seconds` in all. Each
 * allocator runs in a process of its own; rows are added by the calling one. page_peers are those of
 * the options, loaded, in their order: their names are wanted. Exit status: EXIT_OK;
 * EXIT_FAILED for a failed self-check; EXIT_BAD_INPUT; after one line of complaint.
 */
int replay_into(struct results *results, const struct replay_trace *trace, double seconds,
		const struct common_options *common, const struct object_peer *page_peers,
		struct progress *progress);
/* What rows it will add, as results_planned() wants to know it. */
void replay_planned(struct results *results, const struct replay_trace *trace,
		    const struct common_options *common, const struct object_peer *page_peers);

#endif

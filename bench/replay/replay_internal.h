/* SPDX-License-Identifier: MIT */
/*
 * A replay's processes. Each allocator runs in one of its own, a fresh image of this program, so
 * that RSS is that allocator's and nothing was allocated before. The parent sends one-byte commands
 * over a socket and reads messages; all workers of a population live at once, so their repetitions
 * can be interleaved at random.
 *
 * 	parent			worker
 * 	'm'  ->			replay, sampled and drained		-> SAMPLE ... then DONE
 * 	't'  ->			replay, timed, and drained		-> DONE with ns
 * 	'q'  ->			give all back, count leaks		-> LEAKS, and ends
 * 				no such allocator here			-> MISSING, and ends
 * 				anything wrong				-> FAILED, and ends
 */
#ifndef KMM_BENCH_REPLAY_INTERNAL_H
#define KMM_BENCH_REPLAY_INTERNAL_H

#include "bench/options/options.h"
#include "bench/replay/replay_ops.h"
#include "bench/replay/replay_trace.h"

/* Events decoded at a time, between two readings of the clock. */
#define REPLAY_CHUNK 4096
/* Samples of a replay, about. */
#define REPLAY_SAMPLES 200

struct replay_sample {
	u64 event;   /* replayed so far */
	u64 time_ns; /* of the trace */
	u64 requested_bytes, allocated_bytes, backing_bytes, rss_bytes;
	bool allocated_known, backing_known, free_known;
	struct free_area_counts free; /* if free_known */
	double huge_free_ratio;	      /* NAN: unknown, or nothing is free */
};

enum replay_message_type {
	REPLAY_SAMPLE,
	REPLAY_DONE,
	REPLAY_LEAKS,
	REPLAY_MISSING,
	REPLAY_FAILED
};

struct replay_message {
	enum replay_message_type type;
	int status;	  /* FAILED: exit status */
	bool emulated;	  /* DONE: the machine is */
	u64 events;	  /* DONE */
	double ns;	  /* DONE: in operations, the drain not included */
	s64 leaked_bytes; /* LEAKS: -1 the allocator cannot say */
	union {
		struct replay_sample sample;
		char line[384]; /* MISSING, FAILED */
	};
};

/* What a worker is to do: its command line, decoded. */
struct replay_work {
	enum kmt_population population;
	const char *allocator; /* "kmm", or what object_peer_load takes; or */
	const char *page_peer; /* what page_peer_load takes */
	const char *path;      /* of the trace */
	u64 sample_every;      /* events */
	u32 nr_ids;
	bool verify;
	int socket;
};

/* The worker process. Returns its exit status. */
int replay_worker(const struct replay_work *work, const struct common_options *common);

/*
 * Replay a trace's population onto the target, from where the reader stands to its end, without
 * draining it. For commands that look at the machine afterwards. 0, or -1 with the target's error
 * set.
 */
int replay_whole(struct replay_target *target, struct kmt_reader *reader);

#endif

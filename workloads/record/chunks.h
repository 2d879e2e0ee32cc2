/* SPDX-License-Identifier: MIT */
/* The events of a raw recording (raw.h) in the order of time: the inside of merge.c. */
#ifndef WORKLOADS_RECORD_CHUNKS_H
#define WORKLOADS_RECORD_CHUNKS_H

#include <stddef.h>

#include "workloads/record/raw.h"

struct raw_record {
	enum raw_kind kind;
	u32 align; /* RAW_MEMALIGN: log2 */
	u32 cpu;
	s32 tid;
	u64 clock;
	u64 address;
	u64 size;
	u64 old, old_clock; /* RAW_REALLOC */
};

/* A chunk being read: its next event, decoded. */
struct raw_run {
	const u64 *at, *end;
	u64 base, last; /* clock of the chunk, and of its event before */
	u64 due;	/* when the next event has something to say */
	s32 tid;
	bool begun;	/* the event is a realloc whose old address has been given up */
	u32 order;	/* of the chunk in the file: among equal times the first */
	u32 realloc_id; /* for whoever takes the events: the object that changes */
	struct raw_record record;
};

struct raw_chunks {
	const struct raw_header *header;
	size_t bytes; /* of the file as mapped */
	struct raw_run **heap;
	u32 nr, room;
	u32 *waiting; /* chunks by the time of their base */
	u32 nr_waiting, next_waiting;
};

/* Read what is mapped at header, `bytes` long. 0 or -ENOMEM. */
int raw_chunks_begin(struct raw_chunks *chunks, const struct raw_header *header, size_t bytes);
/* *run has the next event, or half of one (a realloc comes twice, first with begun false), until
 * the next call, which is raw_chunks_pass. 1, 0 at the end, or -ENOMEM. */
int raw_chunks_peek(struct raw_chunks *chunks, struct raw_run **run);
void raw_chunks_pass(struct raw_chunks *chunks);
void raw_chunks_end(struct raw_chunks *chunks);

#endif

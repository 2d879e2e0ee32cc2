/* SPDX-License-Identifier: MIT */
/* The events of a raw recording (raw.h) in the order of time: the inside of merge.c. */
#ifndef WORKLOADS_RECORD_CHUNKS_H
#define WORKLOADS_RECORD_CHUNKS_H

#include <stddef.h>

#include "workloads/record/raw.h"

struct raw_record {
	enum raw_kind kind; /* RAW_OLD comes as one of its own in front of its RAW_REALLOC */
	u32 align;	    /* RAW_MEMALIGN: log2 */
	u32 cpu;
	s32 tid;
	u64 clock;
	u64 address;
	u64 size;
};

/* A chunk being read: its next event, decoded. */
struct raw_run {
	const u64 *at, *end;
	struct raw_chunk *chunk; /* with its words: the run's own copy */
	u64 now;		 /* the clock that was said last */
	u32 cpu;
	s32 tid;
	/* For whoever takes the events: the object that changes, and its address before. */
	u32 realloc_id;
	u64 realloc_old;
	struct raw_record record;
};

struct raw_waiting {
	u64 base, serial;
	u64 number;	       /* of the chunk in the file */
	struct raw_chunk *hot; /* a hot one as it was when listed; NULL: of the log, not read yet */
	size_t bytes;	       /* of that copy */
};

struct raw_chunks {
	int fd;
	struct raw_run **heap;
	u32 nr, room;
	struct raw_waiting *waiting; /* by the time of their base */
	u64 nr_waiting, next_waiting;
};

/* Read a recording whose header is sound. Its process may still write to it: then this is what it
 * had written by now. 0 or an error; raw_chunks_end in any case. */
int raw_chunks_begin(struct raw_chunks *chunks, int fd);
/* *run has the next event until the next call, which is raw_chunks_pass. 1, 0 at the end, or an
 * error. */
int raw_chunks_peek(struct raw_chunks *chunks, struct raw_run **run);
void raw_chunks_pass(struct raw_chunks *chunks);
void raw_chunks_end(struct raw_chunks *chunks);

#endif

/* SPDX-License-Identifier: MIT */
/* The inside of libkmm-record.so: the file behind a process's streams, and the host. */
#ifndef WORKLOADS_RECORD_FILE_H
#define WORKLOADS_RECORD_FILE_H

#include <limits.h>

#include "workloads/record/stream.h"

#define MAX_STREAMS (REGION_SHARED - 1U)
#define MAX_LEFT    256U /* unfinished chunks of ended threads to keep */
#define FIRST_BYTES 4096U

enum record_state { RECORD_FRESH, RECORD_ON, RECORD_OFF };

/* Zero in a child after fork. */
struct record_process {
	u32 state;
	u32 lock; /* protects state and all below */
	struct raw_header *header;
	char path[PATH_MAX];
	struct stream shared;
	s32 shared_tid;
	u32 nr_left;
	struct stream left[MAX_LEFT];
};

extern struct record_process *record_process;
extern struct stream *record_streams; /* MAX_STREAMS, zero in a child as well */

u64 record_block_signals(void);
void record_restore_signals(u64 before);
void record_lock(void);
void record_unlock(void);

/* Is this process to be recorded? The memory above is there then. Signals blocked. */
bool record_prepare(void);
/* Is it certain that it is not? */
bool record_unwanted(void);
/* Begin this process's file. Lock held. */
bool record_begin_file(void);
/* The disk's blocks for a part of the file: asked for ahead, no room is an error instead of a
 * signal. */
bool record_populate(void *from, size_t bytes);
/* A copy of a hot chunk, at the log's end. False: no room, or the file is out of this process's
 * reach by now; what was written is none then. */
bool record_write_log(const struct raw_chunk *chunk);

#endif

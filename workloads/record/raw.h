/* SPDX-License-Identifier: MIT */
/*
 * What libkmm-record.so leaves of a process: a file that is mapped shared and written in place, so
 * that it is whole up to the last call however the process ends. kmm record makes a .kmt of it.
 *
 *	chunk 0   struct raw_header
 *	chunk 1   struct raw_chunk | words ... | 0 ...
 *	chunk 2   struct raw_chunk | words ...
 *
 * A chunk is written by one thread at a time, its events are in the order of time, and a thread that
 * ends leaves the rest of its chunk to another. The file has room for more than will be used; what
 * is not written takes no disk.
 *
 * Words have 64 bits, the lowest four say which kind. An event is a head and a word behind it:
 *
 *	head     address << 16 | CPU << 4 | kind
 *	RAW_TAIL clock since the chunk's base << 28 | bytes requested << 4
 *	RAW_TAIL of RAW_REALLOC only: old address << 16 | clock from before the call to after it << 4
 *
 * What does not fit is said in words of its own in front of the head, for this event: RAW_TIME,
 * RAW_SIZE, RAW_ALIGN, RAW_SPAN (for the 12 bits of the last line); RAW_THREAD holds for all that
 * follows. Of an event the head is written last, so what a killed thread did not finish has no head:
 * a reader passes over zeros and over words that belong to no head.
 */
#ifndef WORKLOADS_RECORD_RAW_H
#define WORKLOADS_RECORD_RAW_H

#include "base/types.h"

#define RAW_MAGIC	"kmmraw1\n"
#define RAW_CHUNK_MAGIC 0x6b6e756863776172ULL /* "rawchunk" */
#define RAW_CHUNK_BYTES (256U << 10)

enum raw_kind {
	RAW_NOTHING,
	RAW_MALLOC,
	RAW_CALLOC,
	RAW_MEMALIGN, /* RAW_ALIGN in front: log2 */
	RAW_REALLOC,
	RAW_FREE,
	RAW_NR_HEADS, /* not a kind: those below it are heads */
	RAW_TIME = 8, /* value << 4: the clock */
	RAW_SIZE,
	RAW_ALIGN,
	RAW_SPAN,
	RAW_THREAD,
	RAW_TAIL = 15
};

#define RAW_KIND(word)	  ((word)&15)
#define RAW_VALUE(word)	  ((word) >> 4)
#define RAW_VALUE_MAX	  ((1ULL << 60) - 1)
#define RAW_ADDRESS_MAX	  ((1ULL << 48) - 1)
#define RAW_CPU(word)	  ((word) >> 4 & 0xfff)
#define RAW_SIZE_BITS	  24
#define RAW_CLOCK_BITS	  36
#define RAW_SPAN_BITS	  12
#define RAW_TAIL_SIZE(w)  ((w) >> 4 & ((1U << RAW_SIZE_BITS) - 1))
#define RAW_TAIL_CLOCK(w) ((w) >> (4 + RAW_SIZE_BITS))
#define RAW_TAIL_SPAN(w)  ((w) >> 4 & ((1U << RAW_SPAN_BITS) - 1))

struct raw_chunk {
	u64 magic;
	u64 base; /* the clock when the chunk was taken */
};

struct raw_header {
	u8 magic[8];
	u32 chunk_bytes;
	s32 pid;
	s32 parent;
	u32 image;	   /* 0: the first program that the process ran; 1: the next (exec) */
	u64 clock_hz;	   /* of the clock: the TSC's, or 10^9 */
	u64 base;	   /* the clock when the recording began */
	u64 base_ns;	   /* CLOCK_MONOTONIC then */
	u64 nr_chunks;	   /* taken, this one too; more than the file holds when it was full */
	u64 lost;	   /* calls not recorded: no room on the disk */
	char command[256]; /* its arguments, separated by spaces, cut to fit */
};
_Static_assert(sizeof(struct raw_header) <= 4096, "a page");

#endif

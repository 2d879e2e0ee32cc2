/* SPDX-License-Identifier: MIT */
/*
 * What libkmm-record.so leaves of a process: a file that is whole up to the last call however the
 * process ends. kmm record makes a .kmt of it.
 *
 *	chunk 0                     struct raw_header
 *	chunk 1 ... first_log - 1   hot: mapped shared, and written in place by a thread each
 *	chunk first_log ...         log: what hot chunks held when they were full
 *
 * A thread fills its hot chunk, copies it into the log and begins it again, with the next serial
 * number: so it stays in the cache, and takes no page faults. Whoever dies in the middle of the
 * copy leaves two chunks of one serial, of which the hot one is whole. A chunk's events are in the
 * order of time; a thread that ends leaves the rest of its chunk to another. What is not written
 * takes no disk.
 *
 * Words have 64 bits, the lowest four say which kind. An event is one word, its head:
 *
 *	head       address / 8 << 20 | bytes requested << 4 | kind
 *
 * RAW_CLOCK, RAW_TIME and RAW_THREAD hold for all that follows:
 *
 *	RAW_CLOCK  clock since the chunk's base << 16 | CPU << 4 | kind
 *
 * An event is not before the clock that was said last, and not after the one that is said next.
 * Directly in front of a head stands what belongs to it alone: RAW_OLD (of a RAW_REALLOC: the
 * address that it gives up, at the clock said last then), RAW_ALIGN, and RAW_SIZE and RAW_ADDRESS
 * (of the RAW_OLD or head behind it) for what does not fit. What a killed thread did not finish has
 * no head: a reader passes over zeros and over words that belong to no head.
 */
#ifndef WORKLOADS_RECORD_RAW_H
#define WORKLOADS_RECORD_RAW_H

#include "base/types.h"

#define RAW_MAGIC	"kmmraw2\n"
#define RAW_CHUNK_MAGIC 0x6b6e756863776172ULL /* "rawchunk" */
#define RAW_CHUNK_BYTES (64U << 10)
#define RAW_NOTICE	".notice" /* in the folder of the files: struct raw_notice */

enum raw_kind {
	RAW_NOTHING,
	RAW_MALLOC,
	RAW_CALLOC,
	RAW_MEMALIGN, /* RAW_ALIGN in front: log2 */
	RAW_REALLOC,  /* RAW_OLD in front */
	RAW_FREE,
	RAW_NR_HEADS, /* not a kind: those below it are heads */
	RAW_CLOCK = 8,
	RAW_TIME,   /* value << 4: the clock, where it is too far from the base */
	RAW_THREAD, /* value << 4 */
	RAW_OLD,    /* address / 8 << 20 */
	RAW_SIZE,   /* value << 4 */
	RAW_ALIGN,  /* value << 4 */
	RAW_ADDRESS /* value << 4 */
};

#define RAW_KIND(word)	     ((word)&15)
#define RAW_VALUE(word)	     ((word) >> 4)
#define RAW_VALUE_MAX	     ((1ULL << 60) - 1)
#define RAW_ADDRESS_BITS     47
#define RAW_SIZE_BITS	     16
#define RAW_CLOCK_BITS	     48
#define RAW_WORD_ADDRESS(w)  ((w) >> 20 << 3)
#define RAW_WORD_SIZE(w)     ((w) >> 4 & ((1U << RAW_SIZE_BITS) - 1))
#define RAW_WORD_CLOCK(w)    ((w) >> 16)
#define RAW_WORD_CPU(w)	     ((u32)((w) >> 4 & 0xfff))
#define RAW_IS_PREFIX(kind)  ((kind) >= RAW_CLOCK && (kind) != RAW_THREAD)
#define RAW_FITS(addr, size) (!(((addr)&7) | (addr) >> RAW_ADDRESS_BITS | (size) >> RAW_SIZE_BITS))

struct raw_chunk {
	u64 magic;
	u64 base;   /* not after the first event */
	u64 serial; /* of two chunks with the same base the lower is the earlier */
	s32 tid;    /* until a RAW_THREAD */
	u32 cpu;
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
	u64 first_log;	   /* number of the first chunk of the log */
	u64 nr_hot;	   /* taken, and chunk 0; more than there are when they ran out */
	u64 nr_log;	   /* taken */
	u64 nr_serials;	   /* taken */
	u64 lost;	   /* calls not recorded: no room on the disk */
	char command[256]; /* its arguments, separated by spaces, cut to fit */
};
_Static_assert(sizeof(struct raw_header) <= 4096, "a page");

/* What kmm record and the recorded processes tell each other while they run. */
struct raw_notice {
	u32 tick; /* changes every millisecond or so: then it is time to read the clock */
	u32 unused;
	u64 lost_processes; /* without a file */
	u64 lost_calls;	    /* of these */
};

#endif

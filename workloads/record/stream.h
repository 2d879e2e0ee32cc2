/* SPDX-License-Identifier: MIT */
/*
 * The inside of libkmm-record.so, shared by its two files: preload.c has the functions of malloc's
 * family, stream.c the streams of events that they write to.
 */
#ifndef WORKLOADS_RECORD_STREAM_H
#define WORKLOADS_RECORD_STREAM_H

#include "base/compiler.h"
#include "workloads/record/raw.h"

/*
 * Where a thread writes its events: words of its chunk in the file's mapping. All zero is a stream
 * without a chunk; fork makes it that in the child (MADV_WIPEONFORK), so that a child never writes
 * into its parent's file.
 */
struct stream {
	u64 *at, *end; /* at may have moved beyond end: nothing is there then */
	u64 *chunk_end;
	u64 full; /* chunks that this thread filled */
	u64 unused[4];
};
_Static_assert(sizeof(struct stream) == 64, "a cache line each");

struct raw_event {
	enum raw_kind kind;
	u32 cpu;
	u64 address;
	u64 size;
	u64 clock;
	u64 old, old_clock; /* RAW_REALLOC: the address before, and when it went */
	u32 align;	    /* RAW_MEMALIGN: log2 */
};

extern __thread struct stream *record_stream;

/* The clock of clock_gettime instead of the TSC. */
extern bool record_slow_clock;
u64 record_slow_stamp(u32 *cpu);

/* Any event in any situation. Keeps errno. */
void record_slow(const struct raw_event *event);

/*
 * The clock, and the CPU this thread is on. rdtscp waits for all loads before it, so that a thread
 * that was handed an object never stamps before the thread that handed it over; and what it does
 * afterwards is seen by others only after the stamp, since stores leave a CPU in order.
 */
static inline u64 record_stamp(u32 *cpu)
{
	u32 aux;
	u64 clock;

	if (unlikely(record_slow_clock))
		return record_slow_stamp(cpu);
	clock = __builtin_ia32_rdtscp(&aux);
	*cpu = aux & 0xfff; /* the kernel's: node << 12 | CPU */
	return clock;
}

/*
 * Words for an event in the thread's own chunk, or NULL. They are taken by one instruction, so that
 * a signal's handler gets others. It may also move the stream to another chunk between any two
 * lines here: so the end is read first, and what was taken counts only if it lies in the chunk of
 * that end.
 */
static inline u64 *stream_take(struct stream *s, u64 words)
{
	u64 at = words * sizeof(u64), end;

	if (unlikely(!s))
		return NULL;
	end = (u64)READ_ONCE(s->end);
	__asm__ volatile("xaddq %0, %1" : "+r"(at), "+m"(s->at) : : "memory");
	if (unlikely(at + words * sizeof(u64) > end || (at ^ (end - 1)) >= RAW_CHUNK_BYTES))
		return NULL;
	return (u64 *)at;
}

/* The clock as the words of a chunk have it. */
static inline u64 stream_clock(const u64 *at, u64 clock)
{
	u64 base = ((struct raw_chunk *)ALIGN_DOWN((u64)at, (u64)RAW_CHUNK_BYTES))->base;

	return likely(clock > base) ? clock - base : 0;
}

static inline u64 raw_head(enum raw_kind kind, u32 cpu, u64 address)
{
	return (address & RAW_ADDRESS_MAX) << 16 | (u64)cpu << 4 | kind;
}

static inline u64 raw_tail(u64 passed, u64 size)
{
	return passed << (4 + RAW_SIZE_BITS) | size << 4 | RAW_TAIL;
}

static inline u64 raw_old(u64 old, u64 span)
{
	return (old & RAW_ADDRESS_MAX) << 16 | span << 4 | RAW_TAIL;
}

/* An event's head comes last: without one it is none. */
static inline void stream_finish(u64 *at, u64 head)
{
	__atomic_store_n(at, head, __ATOMIC_RELEASE);
}

#endif

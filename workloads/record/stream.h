/* SPDX-License-Identifier: MIT */
/*
 * The inside of libkmm-record.so: preload.c has the functions of malloc's family, stream.c the
 * streams of events that they write to, file.c the file behind these.
 *
 * Order. Threads' events are merged by their stamps, so when one operation on an address comes
 * before another, by what the program or its allocator does to hand the address on, its stamp must
 * not be the later one. Within a thread the stream's own order sees to that. Between threads an
 * exact stamp would (record_stamp), but reading the clock costs more than the rest of a call, so it
 * is read only where another thread may have been at the address:
 *
 *	regions[address / 16 KiB]:   0 -> the only thread with an event there -> REGION_SHARED
 *
 * each step at most once. A thread that finds its own number notes its event with the stamp that
 * it has, a few calls old; any other makes it REGION_SHARED first and then takes an exact stamp.
 * Let e come before f, of the same address, e of thread A and f of thread B.
 *
 *   f is exact: its stamp waits for all loads before it, thus for that by which B learned of the
 *   address, which came after A had handed it on, and so after e's stamp, old or exact: A takes it
 *   before it hands on, and x86's stores leave in order.
 *
 *   f is not exact: B has read its own number in the region. When e was noted, A had read there, or
 *   put there, A's number or REGION_SHARED; B's read comes later, and in the order of what this one
 *   word has held none of these has B's number behind it. So there was no such e.
 *
 * A number passes to another thread only through claim_stream, which the old owner has left, and
 * begins with an exact stamp. That many addresses share an entry makes them exact the sooner.
 *
 * What is not kept:
 *
 *   A realloc whose thread finds no room any more between the two halves of it (the disk is full)
 *   goes whole through the stream that threads share: its old address is given up at the time it
 *   returned, behind what another thread that got this address meanwhile has noted. The recording
 *   ends soon after.
 *
 *   A signal's handler that allocates while its thread is inside realloc is noted in front of it:
 *   the clock of the old half is then the latest of the handler's. One that calls fork gives the
 *   child a stream that is all zero: what the interrupted call had taken is not in the child's
 *   file.
 *
 * So that times are right, too, a stream reads the clock every RAW_CLOCK_EVERY bytes, and when
 * kmm record's tick says that a millisecond has passed.
 */
#ifndef WORKLOADS_RECORD_STREAM_H
#define WORKLOADS_RECORD_STREAM_H

#include "base/compiler.h"
#include "workloads/record/raw.h"

#define RAW_CLOCK_EVERY 128U /* bytes: 16 words */
#define STREAM_SLACK	8U   /* words of one event, at most */

/*
 * Where a thread writes its events: words of its hot chunk. All zero is a stream without a chunk;
 * fork makes it that in the child (MADV_WIPEONFORK), so that a child never writes into its parent's
 * file. What begins in front of `end` fits into the chunk.
 */
struct stream {
	u64 *at, *end; /* at may have moved beyond end: nothing is there then */
	u64 last;      /* the clock that was said last */
	u32 tick;      /* and the tick then */
	u16 number;    /* in regions; 0 without a chunk */
	u16 unused[17];
};
_Static_assert(sizeof(struct stream) == 64, "a cache line each");

struct raw_event {
	enum raw_kind kind;
	u32 align; /* RAW_MEMALIGN: log2 */
	u32 cpu, old_cpu;
	u64 address;
	u64 size;
	u64 clock;	    /* 0: that which the stream has */
	u64 old, old_clock; /* RAW_REALLOC: the address before, and when it went */
};

#define REGION_SHIFT  14
#define NR_REGIONS    (1U << 20)
#define REGION_SHARED 0xffffU

extern __thread struct stream *record_stream;
extern u16 *record_regions;		 /* there when there is a stream */
extern struct raw_notice *record_notice; /* always */

/* The clock of clock_gettime instead of the TSC. */
extern bool record_slow_clock;
u64 record_slow_stamp(u32 *cpu);

/* Any event in any situation. Keeps errno. */
void record_event(const struct raw_event *event);

/* What a realloc must know before it: 0, or when the old address goes, and on which CPU. */
u64 record_old_stamp(const void *old, u32 *cpu);

/* The thread has no chunk: none yet, none any more, or there is no room for one. Then what it does
 * may go through the stream that such threads share, in the order in which it gets there. */
bool record_without_stream(void);

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

static inline u16 *record_region(u64 address)
{
	return &record_regions[address >> REGION_SHIFT & (NR_REGIONS - 1)];
}

/*
 * Words for an event in the thread's own chunk, or NULL. They are taken by one instruction, so that
 * a signal's handler gets others. It may also move the stream to another chunk between any two
 * lines here: so the end is read first, and what was taken counts only if it lies in the chunk of
 * that end. A chunk is not begun again while it has words that were taken and not written.
 */
static inline u64 *stream_take(struct stream *s, u64 words)
{
	u64 at = words * sizeof(u64), end = (u64)READ_ONCE(s->end);

	__asm__ volatile("xaddq %0, %1" : "+r"(at), "+m"(s->at) : : "memory");
	if (unlikely(at >= end || (at ^ (end - 1)) >= RAW_CHUNK_BYTES))
		return NULL;
	return (u64 *)at;
}

static inline struct raw_chunk *stream_chunk(const u64 *at)
{
	return (struct raw_chunk *)ALIGN_DOWN((u64)at, (u64)RAW_CHUNK_BYTES);
}

static inline u64 raw_clock(const u64 *at, u64 clock, u32 cpu)
{
	u64 base = stream_chunk(at)->base, passed = likely(clock > base) ? clock - base : 0;

	if (unlikely(passed >> RAW_CLOCK_BITS))
		return (clock & RAW_VALUE_MAX) << 4 | RAW_TIME;
	return passed << 16 | (u64)cpu << 4 | RAW_CLOCK;
}

/* Of what RAW_FITS. */
static inline u64 raw_word(enum raw_kind kind, u64 address, u64 size)
{
	return address << 17 | size << 4 | kind;
}

/* A call of an address that only this thread has been at: false if there is more to it. */
static inline bool stream_note(enum raw_kind kind, u64 address, u64 size)
{
	struct stream *s = record_stream;
	u64 *at, clock;
	u32 cpu;

	if (unlikely(!s || !RAW_FITS(address, size)) ||
	    unlikely(READ_ONCE(*record_region(address)) != s->number ||
		     READ_ONCE(record_notice->tick) != s->tick))
		return false;
	at = stream_take(s, 1);
	while (unlikely(at && (u64)at % RAW_CLOCK_EVERY == 0)) {
		clock = record_stamp(&cpu);
		s->last = clock;
		WRITE_ONCE(*at, raw_clock(at, clock, cpu));
		at = stream_take(s, 1);
	}
	if (unlikely(!at))
		return false;
	WRITE_ONCE(*at, raw_word(kind, address, size));
	return true;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Streams of events into hot chunks; stream.h says why their order is right, raw.h what they write.
 *
 * A thread writes into a hot chunk that is its own, without a lock or a system call, and once in
 * 8,000 events copies it into the log. Threads without a stream (those at their very end, and those
 * beyond MAX_STREAMS) share one, behind a lock.
 *
 * What is slow runs with signals blocked. A handler that allocates meets a stream at rest, or one
 * that has just taken words: then the chunk has zeros in its middle (words_are_missing), and as
 * long as that is so it is not begun again, but left as it is for another.
 */
#include "workloads/record/stream.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "workloads/record/file.h"

__thread struct stream *record_stream;
static __thread bool ending;

static u8 claimed[MAX_STREAMS];
static u32 claim_hint;
static pthread_key_t end_key;
static bool end_key_made;

static s32 this_thread(void)
{
	return (s32)syscall(SYS_gettid);
}

/* --- regions --- */

/* Has no other thread an event there? */
static bool owns(const struct stream *s, u64 address)
{
	u16 *region = record_region(address), none = 0;

	if (READ_ONCE(*region) == s->number)
		return true;
	if (!READ_ONCE(*region) && __atomic_compare_exchange_n(region, &none, s->number, false,
							       __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return true;
	if (READ_ONCE(*region) != REGION_SHARED)
		WRITE_ONCE(*region, REGION_SHARED);
	return false;
}

u64 record_old_stamp(const void *old, u32 *cpu)
{
	const struct stream *s = record_stream;

	*cpu = 0;
	if (s && s->number && owns(s, (u64)old))
		return 0;
	if (record_regions)
		WRITE_ONCE(*record_region((u64)old), REGION_SHARED);
	return record_stamp(cpu);
}

bool record_without_stream(void)
{
	return !record_stream || !record_stream->end;
}

/* --- chunks --- */

/* Where the words end that begin in front of s->end, and with them a grown stream goes on. */
static u64 *words_end(const struct stream *s)
{
	u64 *at = s->end;

	while (at < s->end + STREAM_SLACK && at[-1] && RAW_IS_PREFIX(RAW_KIND(at[-1])))
		at++;
	/* An interrupted call will still write there. */
	return at[-1] ? at : s->end + STREAM_SLACK;
}

/* Does an interrupted call still have words of its own to write in a full chunk? */
static bool words_are_missing(const struct stream *s)
{
	const u64 *at = (const u64 *)(stream_chunk(s->end - 1) + 1);

	for (; at < s->end; at++)
		if (!*at)
			return true;
	return words_end(s) == s->end + STREAM_SLACK;
}

/* The latest clock of a chunk. s->last may be older: a signal's handler may have noted calls
 * between a stamp and its noting. */
static u64 latest_clock(const struct stream *s)
{
	const struct raw_chunk *chunk = stream_chunk(s->end - 1);
	u64 latest = s->last > chunk->base ? s->last : chunk->base;

	for (const u64 *at = (const u64 *)(chunk + 1); at < s->end + STREAM_SLACK; at++) {
		u64 clock = 0;

		if (RAW_KIND(*at) == RAW_CLOCK)
			clock = chunk->base + RAW_WORD_CLOCK(*at);
		else if (RAW_KIND(*at) == RAW_TIME)
			clock = RAW_VALUE(*at);
		latest = clock > latest ? clock : latest;
	}
	return latest;
}

/* The first clock that is said of an event. */
static u64 first_clock(const struct raw_event *event)
{
	return event->old_clock ? event->old_clock : event->clock;
}

/* An event was put: what its stream says from now on, at the latest. */
static void note_last(struct stream *s, const struct raw_event *event)
{
	if (event->clock)
		s->last = event->clock;
	else if (event->old_clock)
		s->last = event->old_clock;
}

static void begin_chunk(struct stream *s, struct raw_chunk *chunk, s32 tid,
			const struct raw_event *event)
{
	u64 *serials = &record_process->header->nr_serials;

	/* Not before what the thread has said already, and not after what it has not. */
	if (!s->last)
		s->last = first_clock(event);
	chunk->base = s->last;
	chunk->serial = __atomic_fetch_add(serials, 1, __ATOMIC_RELAXED);
	chunk->tid = tid;
	chunk->cpu = event->cpu;
	__atomic_store_n(&chunk->magic, RAW_CHUNK_MAGIC, __ATOMIC_RELEASE);
	s->at = (u64 *)(chunk + 1);
}

static bool new_chunk(struct stream *s, s32 tid, const struct raw_event *event)
{
	struct raw_header *header = record_process->header;
	u64 number = __atomic_fetch_add(&header->nr_hot, 1, __ATOMIC_RELAXED);
	size_t bytes = s->end ? RAW_CHUNK_BYTES : FIRST_BYTES;
	struct raw_chunk *chunk;

	if (number >= header->first_log)
		return false;
	chunk = (struct raw_chunk *)((char *)header + number * RAW_CHUNK_BYTES);
	if (!record_populate(chunk, bytes))
		return false;
	begin_chunk(s, chunk, tid, event);
	s->end = (u64 *)((char *)chunk + bytes) - STREAM_SLACK;
	return true;
}

/* The full chunk is in the log, or has to stay; an empty one takes its place. */
static bool next_chunk(struct stream *s, s32 tid, const struct raw_event *event)
{
	struct raw_chunk *chunk = stream_chunk(s->end - 1);

	s->last = latest_clock(s);
	if (words_are_missing(s) || !record_write_log(chunk))
		return new_chunk(s, tid, event);
	/* From here on it is the copy that counts. */
	__atomic_store_n(&chunk->magic, 0, __ATOMIC_SEQ_CST);
	memset(chunk + 1, 0, RAW_CHUNK_BYTES - sizeof(*chunk));
	begin_chunk(s, chunk, tid, event);
	return true;
}

/* Twice as much of the chunk as it has. */
static bool grow(struct stream *s)
{
	u64 *end = s->end + STREAM_SLACK;
	size_t has = (u64)end - (u64)stream_chunk(s->end - 1);
	u64 *at = words_end(s);

	if (!record_populate(end, has))
		return false;
	s->end = (u64 *)((char *)s->end + has);
	s->at = at;
	return true;
}

/* Room for an event. */
static bool make_room(struct stream *s, s32 tid, const struct raw_event *event)
{
	while (s->at >= s->end) {
		bool done;

		if (!s->end)
			done = new_chunk(s, tid, event);
		else if ((u64)(s->end + STREAM_SLACK) % RAW_CHUNK_BYTES)
			done = grow(s);
		else
			done = next_chunk(s, tid, event);
		if (!done)
			return false;
	}
	return true;
}

/* --- events --- */

static u64 raw_value(enum raw_kind kind, u64 value)
{
	return (value < RAW_VALUE_MAX ? value : RAW_VALUE_MAX) << 4 | kind;
}

/* In this order, so that a head has all that belongs to it. */
static void put_word(u64 **at, u64 word)
{
	__atomic_store_n((*at)++, word, __ATOMIC_RELEASE);
}

static u32 count_words(const struct raw_event *event)
{
	bool far = event->address & 7 || event->address >> RAW_ADDRESS_BITS;
	bool far_old = event->old & 7 || event->old >> RAW_ADDRESS_BITS;
	u32 old = event->kind == RAW_REALLOC ? 1U + (event->old_clock != 0) + far_old : 0;

	return 1U + old + (event->clock != 0) + (event->size >> RAW_SIZE_BITS != 0) +
	       (event->kind == RAW_MEMALIGN) + far;
}

/* count_words of them, the head last. */
static void put_event(u64 *words, const struct raw_event *event)
{
	bool far = event->address & 7 || event->address >> RAW_ADDRESS_BITS;
	bool far_old = event->old & 7 || event->old >> RAW_ADDRESS_BITS;
	bool wide = event->size >> RAW_SIZE_BITS;
	u64 *at = words;

	if (event->kind == RAW_REALLOC) {
		if (event->old_clock)
			put_word(&at, raw_clock(words, event->old_clock, event->old_cpu));
		if (far_old)
			put_word(&at, raw_value(RAW_ADDRESS, event->old));
		put_word(&at, raw_word(RAW_OLD, far_old ? 0 : event->old, 0));
	}
	if (event->clock)
		put_word(&at, raw_clock(words, event->clock, event->cpu));
	if (wide)
		put_word(&at, raw_value(RAW_SIZE, event->size));
	if (event->kind == RAW_MEMALIGN)
		put_word(&at, raw_value(RAW_ALIGN, event->align));
	if (far)
		put_word(&at, raw_value(RAW_ADDRESS, event->address));
	put_word(&at, raw_word(event->kind, far ? 0 : event->address, wide ? 0 : event->size));
}

/* As an exact one, or because it is time again. */
static void stamp(struct stream *s, struct raw_event *event)
{
	u32 tick = READ_ONCE(record_notice->tick);

	event->clock = record_stamp(&event->cpu);
	s->tick = tick;
}

/* Through the stream that threads share. */
static bool put_shared(const struct raw_event *event)
{
	struct raw_event late = *event;
	struct stream *s = &record_process->shared;
	s32 tid = this_thread();
	bool done;

	WRITE_ONCE(*record_region(event->address), REGION_SHARED);
	record_lock();
	/* Later is as true as before, since the object is still this call's alone. */
	late.clock = record_stamp(&late.cpu);
	done = make_room(s, record_process->shared_tid, &late);
	if (done && tid != record_process->shared_tid) {
		record_process->shared_tid = tid;
		*s->at++ = raw_value(RAW_THREAD, (u32)tid);
		done = make_room(s, tid, &late);
	}
	if (done) {
		put_event(s->at, &late);
		s->at += count_words(&late);
		s->last = late.clock;
	}
	record_unlock();
	return done;
}

static struct stream *claim_stream(void)
{
	u32 hint = READ_ONCE(claim_hint);

	for (u32 i = 0; i < MAX_STREAMS; i++) {
		u32 number = (hint + i) % MAX_STREAMS;

		if (READ_ONCE(claimed[number]) ||
		    __atomic_exchange_n(&claimed[number], 1, __ATOMIC_ACQUIRE))
			continue;
		WRITE_ONCE(claim_hint, number + 1);
		return &record_streams[number];
	}
	return NULL;
}

/* An unfinished chunk, if there is one that ends before the event begins. */
static bool take_left(struct stream *s, const struct raw_event *event)
{
	const struct stream *left;
	bool done = false;

	record_lock();
	if (record_process->nr_left) {
		left = &record_process->left[record_process->nr_left - 1];
		done = left->last <= first_clock(event);
		if (done) {
			s->at = left->at;
			s->end = left->end;
			s->last = left->last;
			record_process->nr_left--;
		}
	}
	record_unlock();
	return done;
}

static bool put_own(struct stream *s, struct raw_event *event)
{
	s32 tid = this_thread();

	/* A thread's first event, or its first since fork: exact, whatever it is of. */
	if (!s->end) {
		s->number = (u16)(s - record_streams + 1);
		s->at = NULL;
		owns(s, event->address);
		s->last = 0;
		stamp(s, event);
		if (take_left(s, event))
			*s->at++ = raw_value(RAW_THREAD, (u32)tid);
	}
	if (!make_room(s, tid, event)) {
		if (!s->end)
			s->number = 0;
		return false;
	}
	put_event(s->at, event);
	s->at += count_words(event);
	note_last(s, event);
	return true;
}

/* The thread is ending: its chunk goes to whoever comes next. What destructors behind this one do
 * is put_shared's: the C library may not call again. */
static void end_thread(void *arg)
{
	struct stream *s = arg;
	u64 signals = record_block_signals();

	ending = true;
	record_stream = NULL;
	if (s->end && s->at < s->end && record_process->state == RECORD_ON) {
		record_lock();
		if (record_process->nr_left < MAX_LEFT)
			record_process->left[record_process->nr_left++] = (struct stream){
				.at = s->at, .end = s->end, .last = latest_clock(s)};
		record_unlock();
	}
	*s = (struct stream){0};
	WRITE_ONCE(claim_hint, (u32)(s - record_streams));
	__atomic_store_n(&claimed[s - record_streams], 0, __ATOMIC_RELEASE);
	record_restore_signals(signals);
}

static bool recording(void)
{
	u32 state;

	if (!record_prepare())
		return false;
	state = __atomic_load_n(&record_process->state, __ATOMIC_ACQUIRE);
	if (likely(state))
		return state == RECORD_ON;
	record_lock();
	if (record_process->state == RECORD_FRESH) {
		if (!end_key_made)
			end_key_made = !pthread_key_create(&end_key, end_thread);
		state = record_begin_file() ? RECORD_ON : RECORD_OFF;
		__atomic_store_n(&record_process->state, state, __ATOMIC_RELEASE);
	}
	state = record_process->state;
	record_unlock();
	return state == RECORD_ON;
}

static void count_lost(void)
{
	u64 *lost = record_process && record_process->header ? &record_process->header->lost
							     : &record_notice->lost_calls;

	__atomic_fetch_add(lost, 1, __ATOMIC_RELAXED);
}

static void KMM_COLD record_slow(struct raw_event *event)
{
	struct stream *s, *fresh = NULL;
	u64 signals;
	bool done;

	if (record_unwanted())
		return;
	if (record_process && READ_ONCE(record_process->state) == RECORD_OFF)
		return count_lost();
	signals = record_block_signals();
	if (recording()) {
		s = record_stream;
		if (!s && !ending)
			s = fresh = record_stream = claim_stream();
		done = (s && put_own(s, event)) || put_shared(event);
		if (!done)
			__atomic_store_n(&record_process->state, RECORD_OFF, __ATOMIC_RELEASE);
	} else {
		done = false;
	}
	if (!done)
		count_lost();
	record_restore_signals(signals);
	/* May allocate. */
	if (fresh && end_key_made)
		pthread_setspecific(end_key, fresh);
}

void record_event(const struct raw_event *event)
{
	struct raw_event known = *event;
	struct stream *s = record_stream;
	u32 words;
	u64 *at;
	int saved;

	if (likely(s && s->number)) {
		words = count_words(event) + 1;
		if (!owns(s, event->address) || READ_ONCE(record_notice->tick) != s->tick ||
		    (u64)READ_ONCE(s->at) % RAW_CLOCK_EVERY + words * sizeof(u64) > RAW_CLOCK_EVERY)
			stamp(s, &known);
		at = stream_take(s, count_words(&known));
		if (likely(at)) {
			put_event(at, &known);
			note_last(s, &known);
			return;
		}
	}
	saved = errno;
	record_slow(&known);
	errno = saved;
}

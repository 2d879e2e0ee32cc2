/* SPDX-License-Identifier: MIT */
/*
 * Streams of events into a file mapped shared; raw.h has the file's form.
 *
 * A thread writes into a chunk that is its own, without a lock, a file descriptor or a system call;
 * only a full chunk comes here. The disk's blocks are asked for ahead (MADV_POPULATE_WRITE), which
 * is cheaper than one fault a page, and where the disk is full is an error instead of a signal.
 *
 * The mapping is not inherited by fork, and what says where to write is zero in the child, however it
 * came to be: so a child begins a file of its own with its first event. exec does so by itself.
 *
 * Threads without a stream (those at their very end, and those beyond MAX_STREAMS) share one, behind
 * a lock. All of this runs with signals blocked; so a handler that allocates meets a stream at rest,
 * or one that has just reserved two words.
 */
#include "workloads/record/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define MAX_STREAMS	65536U
#define MAX_LEFT	256U /* unfinished chunks of ended threads to keep */
#define FIRST_BYTES	4096U
#define WORDS_MAX	8U /* of one event, with all that can stand in front of it */
#define ALL_SIGNALS	(~0ULL)
#define SIGNALS_IN_WORD sizeof(u64)

enum { FRESH, RECORDING, OFF };

/* Zero in a child after fork. */
struct process {
	u32 state;
	u32 lock; /* protects state and all below */
	struct raw_header *header;
	u64 max_chunks;
	struct stream shared;
	s32 shared_tid;
	u32 nr_left;
	struct stream left[MAX_LEFT];
};

/* What fork does keep. */
static struct {
	bool known, wanted;
	u64 clock_hz;
	char folder[PATH_MAX - 64];
} config;
static struct process *process;
static struct stream *streams; /* MAX_STREAMS, zero in a child as well */
static u8 claimed[MAX_STREAMS];
static u32 claim_hint;
static pthread_key_t end_key;
static bool end_key_made;

bool record_slow_clock;
__thread struct stream *record_stream;
static __thread u32 end_rounds;
static __thread bool ending;

/* --- the host --- */

static u64 block_signals(void)
{
	u64 all = ALL_SIGNALS, before = 0;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, SIGNALS_IN_WORD);
	return before;
}

static void restore_signals(u64 before)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SIGNALS_IN_WORD);
}

static s32 this_thread(void)
{
	return (s32)syscall(SYS_gettid);
}

u64 record_slow_stamp(u32 *cpu)
{
	struct timespec now;
	unsigned int number = 0;

	clock_gettime(CLOCK_MONOTONIC, &now);
	syscall(SYS_getcpu, &number, NULL, NULL);
	*cpu = number & 0xfff;
	return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

static bool populate(void *from, size_t bytes)
{
	/* A kernel before 5.14 does not know it: pages come as they are touched. */
	return !madvise(from, bytes, MADV_POPULATE_WRITE) || errno == EINVAL;
}

static void lock(void)
{
	while (__atomic_exchange_n(&process->lock, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void unlock(void)
{
	__atomic_store_n(&process->lock, 0, __ATOMIC_RELEASE);
}

/* --- starting --- */

/* All of a file of /proc, as far as there is room. */
static size_t read_file(const char *path, char *bytes, size_t room)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t n;

	if (fd < 0)
		return 0;
	while (length < room && (n = read(fd, bytes + length, room - length)) > 0)
		length += (size_t)n;
	close(fd);
	return length;
}

/* "tsc:HZ:FOLDER" or "ns:HZ:FOLDER" */
static void parse_config(const char *text)
{
	char *rest;

	record_slow_clock = strncmp(text, "tsc:", 4) != 0;
	text = strchr(text, ':');
	if (!text)
		return;
	config.clock_hz = strtoull(text + 1, &rest, 10);
	if (*rest != ':' || !config.clock_hz || strlen(rest + 1) >= sizeof(config.folder))
		return;
	strcpy(config.folder, rest + 1);
	config.wanted = true;
}

/* The environment as exec gave it: the first calls come before the C library has its own. */
static void read_config(void)
{
	static char environment[64 << 10];
	size_t length;

	if (config.known)
		return;
	length = read_file("/proc/self/environ", environment, sizeof(environment) - 1);
	for (char *entry = environment; entry < environment + length; entry += strlen(entry) + 1)
		if (!strncmp(entry, "KMM_RECORD=", 11))
			parse_config(entry + 11);
	if (!config.wanted && environ && getenv("KMM_RECORD"))
		parse_config(getenv("KMM_RECORD"));
	config.known = true;
}

/* Memory for what fork shall wipe. */
static void make_process(void)
{
	size_t bytes = ALIGN_UP(sizeof(struct process), PAGE_SIZE);
	size_t all = bytes + MAX_STREAMS * sizeof(struct stream);
	char *memory;

	if (process || !config.wanted)
		return;
	memory = mmap(NULL, all, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED || madvise(memory, all, MADV_WIPEONFORK)) {
		config.wanted = false;
		return;
	}
	streams = (struct stream *)(memory + bytes);
	process = (struct process *)memory;
}

/* Lock held, which is why the path can be static: a thread's stack may be small. */
static int open_new_file(u32 *image)
{
	static char path[PATH_MAX];
	int fd;

	for (*image = 0;; ++*image) {
		snprintf(path, sizeof(path), "%s/%d.%u", config.folder, (int)getpid(), *image);
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd >= 0 || errno != EEXIST)
			return fd;
	}
}

/* Map as much of fd as the process's limits let us, from a chunk's boundary on. */
static void *map_file(int fd, u64 *bytes)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
	char *room, *base;

	getrlimit(RLIMIT_FSIZE, &limit);
	for (*bytes = 64ULL << 30; *bytes >= 16ULL << 20; *bytes /= 4) {
		if (limit.rlim_cur < *bytes || ftruncate(fd, (off_t)*bytes))
			continue;
		room = mmap(NULL, *bytes + RAW_CHUNK_BYTES, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (room == MAP_FAILED)
			continue;
		base = (char *)ALIGN_UP((u64)room, (u64)RAW_CHUNK_BYTES);
		if (mmap(base, *bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) != MAP_FAILED)
			return base;
		munmap(room, *bytes + RAW_CHUNK_BYTES);
	}
	return NULL;
}

static void fill_header(struct raw_header *header, u32 image)
{
	struct timespec now;
	size_t length;
	u32 cpu;

	*header = (struct raw_header){.chunk_bytes = RAW_CHUNK_BYTES,
				      .pid = getpid(),
				      .parent = getppid(),
				      .image = image,
				      .clock_hz = config.clock_hz,
				      .nr_chunks = 1};
	clock_gettime(CLOCK_MONOTONIC, &now);
	header->base = record_stamp(&cpu);
	header->base_ns = (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
	length = read_file("/proc/self/cmdline", header->command, sizeof(header->command) - 1);
	for (size_t i = 0; i + 1 < length; i++)
		if (!header->command[i])
			header->command[i] = ' ';
	memcpy(header->magic, RAW_MAGIC, sizeof(header->magic));
}

static bool begin_file(void)
{
	u64 bytes;
	u32 image;
	int fd = open_new_file(&image);
	void *base;

	if (fd < 0)
		return false;
	base = map_file(fd, &bytes);
	close(fd);
	if (!base)
		return false;
	madvise(base, bytes, MADV_DONTFORK);
	/* No reading ahead, so no large folios: ext4 walks all blocks of one for each of its pages. */
	madvise(base, bytes, MADV_RANDOM);
	madvise(base, bytes, MADV_DONTDUMP);
	if (!populate(base, FIRST_BYTES))
		return false;
	process->header = base;
	process->max_chunks = bytes / RAW_CHUNK_BYTES;
	fill_header(base, image);
	return true;
}

static void end_thread(void *stream);

static bool recording(void)
{
	u32 state;

	if (unlikely(!process)) {
		read_config();
		make_process();
		if (!process)
			return false;
	}
	state = __atomic_load_n(&process->state, __ATOMIC_ACQUIRE);
	if (likely(state))
		return state == RECORDING;
	lock();
	if (process->state == FRESH) {
		if (!end_key_made)
			end_key_made = !pthread_key_create(&end_key, end_thread);
		state = begin_file() ? RECORDING : OFF;
		__atomic_store_n(&process->state, state, __ATOMIC_RELEASE);
	}
	state = process->state;
	unlock();
	return state == RECORDING;
}

/* --- chunks --- */

static u64 chunk_of(const u64 *word)
{
	return ALIGN_DOWN((u64)word, (u64)RAW_CHUNK_BYTES);
}

static void no_room(void)
{
	__atomic_store_n(&process->state, OFF, __ATOMIC_RELEASE);
}

/* An unfinished chunk, if there is one. Lock held. */
static bool take_left_locked(struct stream *s)
{
	if (!process->nr_left)
		return false;
	*s = process->left[--process->nr_left];
	return true;
}

static bool new_chunk(struct stream *s, u64 clock)
{
	u64 number = __atomic_fetch_add(&process->header->nr_chunks, 1, __ATOMIC_RELAXED);
	size_t bytes = s->full ? RAW_CHUNK_BYTES : FIRST_BYTES;
	struct raw_chunk *chunk;

	if (number >= process->max_chunks)
		return false;
	chunk = (struct raw_chunk *)((char *)process->header + number * RAW_CHUNK_BYTES);
	if (!populate(chunk, bytes))
		return false;
	chunk->base = clock;
	__atomic_store_n(&chunk->magic, RAW_CHUNK_MAGIC, __ATOMIC_RELEASE);
	s->at = (u64 *)(chunk + 1);
	s->end = (u64 *)((char *)chunk + bytes);
	s->chunk_end = (u64 *)((char *)chunk + RAW_CHUNK_BYTES);
	return true;
}

/* A chunk begins, or goes on, as this thread's. */
static void say_thread(struct stream *s, s32 tid)
{
	*s->at++ = (u64)(u32)tid << 4 | RAW_THREAD;
}

/* Twice as much of the chunk as it has. */
static bool grow(struct stream *s)
{
	size_t has = (u64)s->end - chunk_of(s->end - 1);
	size_t more = s->full ? (size_t)((char *)s->chunk_end - (char *)s->end) : has;

	if (!populate(s->end, more))
		return false;
	s->end = (u64 *)((char *)s->end + more);
	return true;
}

/* Room for an event. `at` never goes back, not even where it has moved beyond the end: an
 * interrupted writer may be about to look where its words are. */
static bool make_room(struct stream *s, s32 tid, u64 clock)
{
	while (!s->at || s->at + WORDS_MAX > s->end) {
		if (s->at && s->end < s->chunk_end) {
			if (!grow(s))
				return false;
			continue;
		}
		s->full += s->at != NULL;
		if (!new_chunk(s, clock))
			return false;
		say_thread(s, tid);
	}
	return true;
}

/* --- events --- */

static u64 *put_value(u64 *at, enum raw_kind kind, u64 value)
{
	*at = (value < RAW_VALUE_MAX ? value : RAW_VALUE_MAX) << 4 | kind;
	return at + 1;
}

/* Room is there. */
static void put_event(struct stream *s, const struct raw_event *event)
{
	u64 clock = stream_clock(s->at, event->clock);
	u64 span = event->kind == RAW_REALLOC ? event->clock - event->old_clock : 0;
	bool wide_clock = clock >> RAW_CLOCK_BITS, wide_span = span >> RAW_SPAN_BITS;
	bool wide_size = event->size >> RAW_SIZE_BITS;
	u64 *at = s->at;

	if (wide_clock)
		at = put_value(at, RAW_TIME, event->clock);
	if (wide_size)
		at = put_value(at, RAW_SIZE, event->size);
	if (wide_span)
		at = put_value(at, RAW_SPAN, span);
	if (event->kind == RAW_MEMALIGN)
		at = put_value(at, RAW_ALIGN, event->align);
	at[1] = raw_tail(wide_clock ? 0 : clock, wide_size ? 0 : event->size);
	s->at = at + 2;
	if (event->kind == RAW_REALLOC) {
		at[2] = raw_old(event->old, wide_span ? 0 : span);
		s->at = at + 3;
	}
	stream_finish(at, raw_head(event->kind, event->cpu, event->address));
}

/* Through the stream that threads share: stamped again behind the lock, so that it stays in order;
 * later is as true as before, since the object is still this call's alone. */
static bool put_shared(const struct raw_event *event)
{
	struct raw_event late = *event;
	struct stream *s = &process->shared;
	s32 tid = this_thread();
	bool done;

	lock();
	late.clock = record_stamp(&late.cpu);
	done = make_room(s, tid, late.clock);
	if (done && tid != process->shared_tid) {
		say_thread(s, tid);
		process->shared_tid = tid;
		done = make_room(s, tid, late.clock);
	}
	if (done)
		put_event(s, &late);
	unlock();
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
		return &streams[number];
	}
	return NULL;
}

static bool put_own(struct stream *s, const struct raw_event *event)
{
	/* A thread's first event, or its first since fork. */
	if (!s->at) {
		lock();
		if (take_left_locked(s))
			say_thread(s, this_thread());
		unlock();
	}
	if (!make_room(s, this_thread(), event->clock))
		return false;
	put_event(s, event);
	return true;
}

/* The thread is ending: what others' destructors do is still recorded, as long as the C library
 * calls again; then the chunk goes to whoever comes next. */
static void end_thread(void *arg)
{
	struct stream *s = arg;
	u64 signals;

	if (++end_rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
		pthread_setspecific(end_key, s);
		return;
	}
	signals = block_signals();
	ending = true;
	record_stream = NULL;
	if (s->at && s->at + WORDS_MAX <= s->end && process->state == RECORDING) {
		lock();
		if (process->nr_left < MAX_LEFT)
			process->left[process->nr_left++] = (struct stream){
				.at = s->at, .end = s->end, .chunk_end = s->chunk_end};
		unlock();
	}
	*s = (struct stream){0};
	WRITE_ONCE(claim_hint, (u32)(s - streams));
	__atomic_store_n(&claimed[s - streams], 0, __ATOMIC_RELEASE);
	restore_signals(signals);
}

void record_slow(const struct raw_event *event)
{
	int saved = errno;
	struct stream *s, *fresh = NULL;
	u64 signals;
	bool done = false;

	if (config.known && (!config.wanted || (process && process->state == OFF))) {
		if (process && process->header)
			__atomic_fetch_add(&process->header->lost, 1, __ATOMIC_RELAXED);
		return;
	}
	signals = block_signals();
	if (recording()) {
		s = record_stream;
		if (!s && !ending)
			s = fresh = record_stream = claim_stream();
		done = s ? put_own(s, event) : put_shared(event);
		if (!done) {
			no_room();
			__atomic_fetch_add(&process->header->lost, 1, __ATOMIC_RELAXED);
		}
	}
	restore_signals(signals);
	/* May allocate. */
	if (fresh && end_key_made)
		pthread_setspecific(end_key, fresh);
	errno = saved;
}

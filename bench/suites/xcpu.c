/* SPDX-License-Identifier: MIT */
/*
 * One producer and one consumer; see xcpu.h.
 *
 *	chunk:  0      1      2     ...   15     0 ...
 *	      |full  |full  |filling           |
 *	       ^ freed       ^ filled            filled - freed <= nr_chunks
 *
 * filled is written by the producer only, freed by the consumer only; each lies on a line of its
 * own.
 */
#include <sched.h>
#include <string.h>

#include "arch/host.h"
#include "bench/suites/xcpu.h"

#define CHUNK	       XCPU_CHUNK
#define NR_CHUNKS      (BATCH_COUNT / CHUNK)
#define VERIFY_CHUNKS  4
#define WARM_UP_CHUNKS 16
#define MEET_NS	       10000000000UL
#define SPINS	       2000

static struct {
	uint64_t filled CACHELINE_ALIGNED; /* chunks, since prepare */
	uint64_t freed CACHELINE_ALIGNED;
	uint64_t nr_chunks CACHELINE_ALIGNED; /* in use; constant while threads run */
	bool abort;			      /* a thread has given up: nobody waits any longer */
	void *objects[NR_CHUNKS][CHUNK] CACHELINE_ALIGNED;
} ring;

static const char *prepare(struct bench_case *c)
{
	ring.filled = ring.freed = 0;
	ring.abort = false;
	ring.nr_chunks = c->count > 1 ? (uint64_t)c->count / CHUNK : NR_CHUNKS;
	return objects_prepare(c);
}

static inline bool given_up(void)
{
	return __atomic_load_n(&ring.abort, __ATOMIC_ACQUIRE);
}

/* Spin, then let others run: both threads may have to share a CPU. */
static inline bool relax(unsigned int *spins)
{
	if (++*spins < SPINS)
		__builtin_ia32_pause();
	else
		sched_yield();
	return !given_up();
}

/* The next chunk to fill; waits until the consumer has left it. NULL when the other gave up. */
static inline void **chunk_to_fill(void)
{
	uint64_t chunk = ring.filled;
	unsigned int spins = 0;

	/* acquire: the consumer has read the chunk's last pointers before we overwrite them */
	while (chunk - __atomic_load_n(&ring.freed, __ATOMIC_ACQUIRE) >= ring.nr_chunks)
		if (!relax(&spins))
			return NULL;
	return ring.objects[chunk % ring.nr_chunks];
}

static inline void chunk_filled(void)
{
	/* release: the pointers, and what the producer wrote behind them, are there before the
	 * count says so */
	__atomic_store_n(&ring.filled, ring.filled + 1, __ATOMIC_RELEASE);
}

static inline void **chunk_to_free(void)
{
	uint64_t chunk = ring.freed;
	unsigned int spins = 0;

	/* acquire: pairs with chunk_filled */
	while (__atomic_load_n(&ring.filled, __ATOMIC_ACQUIRE) == chunk)
		if (!relax(&spins))
			return NULL;
	return ring.objects[chunk % ring.nr_chunks];
}

static inline void chunk_freed(void)
{
	/* release: we have read the chunk before the producer may fill it */
	__atomic_store_n(&ring.freed, ring.freed + 1, __ATOMIC_RELEASE);
}

/* Each thread's batch: its half of two chunks' operations. */
static void run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	void *(*alloc)(size_t) = c->peer->alloc;
	void (*release)(void *) = c->peer->free;
	struct object_thread *state = arg;
	size_t size = c->size_bytes;
	void **objects;

	for (n *= 2; n; n--) {
		objects = thread == 0 ? chunk_to_fill() : chunk_to_free();
		if (!objects)
			return;
		if (thread == 0) {
			for (int i = 0; i < CHUNK; i++) {
				objects[i] = alloc(size);
				if (unlikely(!objects[i]))
					state->failed = true;
			}
			chunk_filled();
		} else {
			for (int i = 0; i < CHUNK; i++)
				release(objects[i]);
			chunk_freed();
		}
	}
}

/* Both threads are here, or one has waited long enough. */
static const char *meet(const struct bench_case *c, int thread)
{
	uint64_t *mine = thread == 0 ? &ring.filled : &ring.freed;
	uint64_t *other = thread == 0 ? &ring.freed : &ring.filled;
	uint64_t deadline = host_time_ns() + MEET_NS;

	/* One empty chunk each: the producer's first, which the consumer passes over. */
	__atomic_store_n(mine, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(other, __ATOMIC_ACQUIRE) == 0) {
		if (given_up() || host_time_ns() > deadline)
			return case_given_up(c) ?: error_line("the other thread did not come");
		sched_yield();
	}
	return NULL;
}

static const char *other_gave_up(const struct bench_case *c)
{
	return case_given_up(c) ?: error_line("the other thread gave up");
}

static const char *verify_produce(struct bench_case *c)
{
	for (uint64_t number = 0; number < VERIFY_CHUNKS * CHUNK;) {
		void **objects = chunk_to_fill();

		if (!objects)
			return other_gave_up(c);
		for (int i = 0; i < CHUNK; i++, number++) {
			objects[i] = c->peer->alloc(c->size_bytes);
			if (!objects[i]) {
				while (i--)
					c->peer->free(objects[i]);
				return case_no_memory(c, "for object %d of the ring", (int)number);
			}
			verify_fill(objects[i], c->size_bytes, c->seed, number);
		}
		chunk_filled();
	}
	return NULL;
}

static const char *verify_consume(struct bench_case *c)
{
	for (uint64_t number = 0; number < VERIFY_CHUNKS * CHUNK;) {
		void **objects = chunk_to_free();

		if (!objects)
			return other_gave_up(c);
		for (int i = 0; i < CHUNK; i++, number++) {
			long offset = verify_check(objects[i], c->size_bytes, c->seed, number);

			if (offset >= 0)
				return error_line(
					"object %d from the other thread: byte %ld changed",
					(int)number, offset);
			c->peer->free(objects[i]);
		}
		chunk_freed();
	}
	return NULL;
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	struct object_thread *state;
	const char *error = objects_thread_begin(c, thread, &state);

	*out = state;
	if (!error)
		error = meet(c, thread);
	if (!error)
		error = thread == 0 ? verify_produce(c) : verify_consume(c);
	if (error) {
		/* release: why is known to whoever sees it */
		__atomic_store_n(&ring.abort, true, __ATOMIC_RELEASE);
		return error;
	}
	run(c, thread, state, WARM_UP_CHUNKS / 2);
	return NULL;
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	bool sound = !given_up() || case_given_up(c);

	/* What the producer made beyond the consumer's share, if they ran unlike numbers of
	 * batches or the producer had no memory. Until the consumer came there is nothing. */
	while (thread == 1 && arg && sound && ring.freed &&
	       __atomic_load_n(&ring.filled, __ATOMIC_ACQUIRE) > ring.freed) {
		void **objects = ring.objects[ring.freed % ring.nr_chunks];

		for (int i = 0; i < CHUNK; i++)
			c->peer->free(objects[i]);
		chunk_freed();
	}
	return objects_thread_end(c, thread, arg);
}

const struct case_ops xcpu_ops = {
	.ops_per_batch = CHUNK,
	.prepare = prepare,
	.thread_begin = begin,
	.run = run,
	.thread_end = end,
	.finish = objects_finish,
};

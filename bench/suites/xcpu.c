/* SPDX-License-Identifier: MIT */
/*
 * Producers and consumers; see xcpu.h.
 *
 *	chunk:  0      1      2     ...   15     0 ...
 *	      |full  |full  |filling           |
 *	       ^ freed       ^ filled            filled - freed <= nr_chunks
 *
 * filled is written by the ring's producer only, freed by its consumer only; each lies on a line of its
 * own. xcpu has one ring, from thread 0 to thread 1; in remote ring i goes from thread i to the next.
 * There each thread fills a chunk and frees one in turn, so no two wait for each other: if all waited
 * for room, all rings would be full, but as much has been freed as filled.
 */
#include <sched.h>
#include <string.h>

#include "bench/suites/xcpu.h"

#define CHUNK	       XCPU_CHUNK
#define NR_CHUNKS      (BATCH_COUNT / CHUNK)
#define VERIFY_CHUNKS  4
#define WARM_UP_CHUNKS 16
#define SPINS	       2000

struct ring {
	uint64_t filled CACHELINE_ALIGNED; /* chunks, since prepare */
	uint64_t freed CACHELINE_ALIGNED;
	void *objects[NR_CHUNKS][CHUNK] CACHELINE_ALIGNED;
};

/* Of the one case that runs; constant while threads run, but for the rings and the meeting. */
static struct {
	struct ring *rings;
	size_t bytes;
	uint64_t nr_chunks;	/* in use, of each */
	struct meeting meeting; /* left: a thread has given up, and nobody waits any longer */
} course;

static bool is_remote(const struct bench_case *c)
{
	return c->ops == &remote_ops;
}

/* The ring that a thread fills, and that it frees from; NULL: none. */
static struct ring *ring_to_fill(const struct bench_case *c, int thread)
{
	return is_remote(c) || thread == 0 ? &course.rings[thread] : NULL;
}

static struct ring *ring_to_free(const struct bench_case *c, int thread)
{
	if (is_remote(c))
		return &course.rings[(thread + c->threads - 1) % c->threads];
	return thread == 1 ? &course.rings[0] : NULL;
}

static const char *prepare(struct bench_case *c)
{
	course.meeting = (struct meeting){0};
	course.nr_chunks = c->count > 1 ? (uint64_t)c->count / CHUNK : NR_CHUNKS;
	course.bytes = (is_remote(c) ? (size_t)c->threads : 1) * sizeof(struct ring);
	course.rings = harness_alloc(course.bytes, true, false);
	return course.rings ? objects_prepare(c) : error_line("no memory for the harness");
}

static const char *finish(struct bench_case *c)
{
	harness_free(course.rings, course.bytes);
	return objects_finish(c);
}

/* Spin, then let others run: threads may have to share a CPU. False when somebody gave up. */
static inline bool relax(unsigned int *spins)
{
	if (++*spins < SPINS)
		__builtin_ia32_pause();
	else
		sched_yield();
	/* acquire: pairs with meeting_leave */
	return !__atomic_load_n(&course.meeting.left, __ATOMIC_ACQUIRE);
}

/* The next chunk to fill; waits until the consumer has left it. NULL when somebody gave up. */
static inline void **chunk_to_fill(const struct ring *ring)
{
	uint64_t chunk = ring->filled;
	unsigned int spins = 0;

	/* acquire: the consumer has read the chunk's last pointers before we overwrite them */
	while (chunk - __atomic_load_n(&ring->freed, __ATOMIC_ACQUIRE) >= course.nr_chunks)
		if (!relax(&spins))
			return NULL;
	return (void **)ring->objects[chunk % course.nr_chunks];
}

static inline void chunk_filled(struct ring *ring)
{
	/* release: the pointers, and what the producer wrote behind them, are there before the
	 * count says so */
	__atomic_store_n(&ring->filled, ring->filled + 1, __ATOMIC_RELEASE);
}

static inline void **chunk_to_free(const struct ring *ring)
{
	uint64_t chunk = ring->freed;
	unsigned int spins = 0;

	/* acquire: pairs with chunk_filled */
	while (__atomic_load_n(&ring->filled, __ATOMIC_ACQUIRE) == chunk)
		if (!relax(&spins))
			return NULL;
	return (void **)ring->objects[chunk % course.nr_chunks];
}

static inline void chunk_freed(struct ring *ring)
{
	/* release: we have read the chunk before the producer may fill it */
	__atomic_store_n(&ring->freed, ring->freed + 1, __ATOMIC_RELEASE);
}

static inline bool fill_chunk(const struct bench_case *c, struct object_thread *state,
			      struct ring *ring)
{
	void *(*alloc)(size_t) = c->peer->alloc;
	void **objects = chunk_to_fill(ring);
	size_t size = c->size_bytes;

	if (!objects)
		return false;
	for (int i = 0; i < CHUNK; i++) {
		objects[i] = alloc(size);
		if (unlikely(!objects[i]))
			state->failed = true;
	}
	chunk_filled(ring);
	return true;
}

static inline bool free_chunk(const struct bench_case *c, struct ring *ring)
{
	void (*release)(void *) = c->peer->free;
	void **objects = chunk_to_free(ring);

	if (!objects)
		return false;
	for (int i = 0; i < CHUNK; i++)
		release(objects[i]);
	chunk_freed(ring);
	return true;
}

/* Each thread's batch: its half of two chunks' operations. */
static void xcpu_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct ring *ring = &course.rings[0];

	for (n *= 2; n; n--)
		if (!(thread == 0 ? fill_chunk(c, arg, ring) : free_chunk(c, ring)))
			return;
}

static void remote_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct ring *fill = ring_to_fill(c, thread), *from = ring_to_free(c, thread);

	while (n--)
		if (!fill_chunk(c, arg, fill) || !free_chunk(c, from))
			return;
}

static const char *other_gave_up(const struct bench_case *c)
{
	return case_given_up(c) ?: error_line("another thread gave up");
}

static const char *verify_produce(struct bench_case *c, struct ring *ring, uint64_t number)
{
	void **objects = chunk_to_fill(ring);

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
	chunk_filled(ring);
	return NULL;
}

static const char *verify_consume(struct bench_case *c, struct ring *ring, uint64_t number)
{
	void **objects = chunk_to_free(ring);

	if (!objects)
		return other_gave_up(c);
	for (int i = 0; i < CHUNK; i++, number++) {
		long offset = verify_check(objects[i], c->size_bytes, c->seed, number);

		if (offset >= 0)
			return error_line("object %d from another thread: byte %ld changed",
					  (int)number, offset);
		c->peer->free(objects[i]);
	}
	chunk_freed(ring);
	return NULL;
}

static const char *verify(struct bench_case *c, int thread)
{
	struct ring *fill = ring_to_fill(c, thread), *from = ring_to_free(c, thread);
	const char *error = NULL;

	for (uint64_t chunk = 0; !error && chunk < VERIFY_CHUNKS; chunk++) {
		if (fill)
			error = verify_produce(c, fill, chunk * CHUNK);
		if (from && !error)
			error = verify_consume(c, from, chunk * CHUNK);
	}
	return error;
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	struct object_thread *state;
	const char *error = objects_thread_begin(c, thread, &state);

	*out = state;
	if (!error)
		error = meeting_wait(&course.meeting, c);
	if (!error)
		error = verify(c, thread);
	if (error) {
		meeting_leave(&course.meeting);
		return error;
	}
	c->ops->run(c, thread, state, WARM_UP_CHUNKS / 2);
	return NULL;
}

/* What is in the ring that this thread frees from: if they ran unlike numbers of batches, or
 * somebody had no memory. */
static void drain(struct bench_case *c, struct ring *ring)
{
	while (__atomic_load_n(&ring->filled, __ATOMIC_ACQUIRE) > ring->freed) {
		void **objects = ring->objects[ring->freed % course.nr_chunks];

		for (int i = 0; i < CHUNK; i++)
			c->peer->free(objects[i]);
		chunk_freed(ring);
	}
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct ring *from = ring_to_free(c, thread);
	bool sound = !course.meeting.left || case_given_up(c);

	if (from && arg && sound)
		drain(c, from);
	return objects_thread_end(c, thread, arg);
}

#define RING_OPS(run_fn)                                                                           \
	{                                                                                          \
		.ops_per_batch = CHUNK, .prepare = prepare, .thread_begin = begin, .run = run_fn,  \
		.thread_end = end, .finish = finish                                                \
	}

const struct case_ops xcpu_ops = RING_OPS(xcpu_run);
const struct case_ops remote_ops = RING_OPS(remote_run);

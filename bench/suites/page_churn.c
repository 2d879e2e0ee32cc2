/* SPDX-License-Identifier: MIT */
/*
 * The patterns that hold a constant number of blocks, each operation an allocation and a free:
 *
 *	repeat		allocate, touch, free the one held before, hold the new one
 *	occupancy	free a random one of those held, allocate another in its place
 *
 * The loops are the same code for every allocator, as those of objects.c; so are the checks before
 * and after. What is held is allocated in thread_begin and freed in thread_end, by the same thread.
 */
#include "bench/latency.h"
#include "bench/suites/page_cases.h"

#define WARM_UP 4096

static const char *hold_all(struct bench_case *c, struct object_thread *state)
{
	for (int i = 0; i < c->count; i++) {
		state->objects[i] = c->peer->alloc(c->size_bytes);
		if (!state->objects[i])
			return case_no_memory(c, "for object %d of %d", i, c->count);
	}
	return NULL;
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	struct object_thread *state;
	const char *error = objects_thread_begin(c, thread, &state);

	*out = state;
	if (!error)
		error = hold_all(c, state);
	if (!error)
		c->ops->run(c, thread, state, WARM_UP);
	return error;
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct object_thread *state = arg;

	for (int i = 0; state && i < c->count; i++)
		if (state->objects[i])
			c->peer->free(state->objects[i]);
	return objects_thread_end(c, thread, state);
}

static void repeat_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	void *(*alloc)(size_t) = c->peer->alloc;
	void (*release)(void *) = c->peer->free;
	struct object_thread *state = arg;
	void *held = state->objects[0];
	size_t size = c->size_bytes;

	(void)thread;
	while (n--) {
		void *object = alloc(size);

		if (unlikely(!object)) {
			state->failed = true;
			break;
		}
		touch(object, size, 0);
		release(held);
		held = object;
	}
	state->objects[0] = held;
}

/* One of count, evenly, without a division. */
static inline unsigned int draw(uint64_t *random, int count)
{
	return (unsigned int)((bench_random(random) >> 32) * (uint64_t)count >> 32);
}

static void occupancy_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	void *(*alloc)(size_t) = c->peer->alloc;
	void (*release)(void *) = c->peer->free;
	struct object_thread *state = arg;
	uint64_t random = state->random;
	size_t size = c->size_bytes;
	int count = c->count;

	(void)thread;
	while (n--) {
		void **slot = &state->objects[draw(&random, count)];

		release(*slot);
		*slot = alloc(size);
		if (unlikely(!*slot)) {
			state->failed = true;
			break;
		}
	}
	state->random = random;
}

/* Both patterns by single operations, the allocation and the free of another block timed together. */
static void churn_latency(struct bench_case *c, int thread, void *arg, uint64_t n,
			  struct latency_hist *hist)
{
	uint64_t overhead = latency_timer_overhead();

	while (n--) {
		uint64_t start = latency_begin();

		c->ops->run(c, thread, arg, 1);
		latency_hist_record(hist, start, latency_end(), overhead);
	}
}

#define CHURN_OPS(run_fn)                                                                          \
	{                                                                                          \
		.ops_per_batch = 1, .prepare = objects_prepare, .thread_begin = begin,             \
		.run = run_fn, .thread_end = end, .finish = objects_finish,                        \
		.latency = churn_latency                                                           \
	}

const struct case_ops repeat_ops = CHURN_OPS(repeat_run);
const struct case_ops occupancy_ops = CHURN_OPS(occupancy_run);

/* SPDX-License-Identifier: MIT */
/*
 * The patterns that hold a constant number of objects, each operation an allocation and a free:
 *
 *	repeat		allocate, touch, free the one held before, hold the new one
 *	occupancy	free a random one of those held, allocate another in its place
 *	churn		the same, with sizes and lifetimes of Pareto's distribution: most objects are
 *			small and die young, and some are neither
 *
 * churn's slots are in classes of as many each. An operation replaces a random object of a class, and
 * takes each class half as often as the one before: in the class k objects live 2^k times as long as
 * in the first, and are 2^k times as rare, so that the share that lives longer than t falls as 1 / t.
 * The sizes fall the same way from 16 bytes on: half of the objects are larger than 32 bytes, a quarter
 * than 64, ... up to 32 KiB.
 *
 * The loops are the same code for every allocator, as those of objects.c; so are the checks before
 * and after. What is held is allocated in thread_begin and freed in thread_end, by the same thread.
 */
#include "bench/results/latency.h"
#include "bench/suites/slots.h"

#define WARM_UP	   4096
#define NR_CLASSES 16 /* the longest live some 32768 times as long as the shortest */

static size_t size_of(const struct bench_case *c, const struct object_thread *state, int i)
{
	return state->suite->draw_size ? state->sizes[0][i] : c->size_bytes;
}

static bool is_stamped(const struct bench_case *c)
{
	return c->ops == &churn_ops;
}

static const char *hold_all(struct bench_case *c, struct object_thread *state)
{
	for (int i = 0; i < c->count; i++) {
		size_t size = size_of(c, state, i);

		state->objects[i] = c->peer->alloc(size);
		if (!state->objects[i])
			return case_no_memory(c, "for object %d of %d", i, c->count);
		state->held[i] = (uint16_t)size;
		if (is_stamped(c))
			slot_stamp(&state->objects[i]);
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
	if (error)
		return error;
	c->ops->run(c, thread, state, WARM_UP);
	return state->error;
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct object_thread *state = arg;

	for (int i = 0; state && i < c->count; i++) {
		if (!state->objects[i])
			continue;
		if (is_stamped(c) && !state->error && !slot_is_sound(&state->objects[i]))
			state->error = slot_error(&state->objects[i]);
		c->peer->free(state->objects[i]);
	}
	return objects_thread_end(c, thread, state);
}

static void each_held(struct bench_case *c, int thread, void *arg, held_visit *visit, void *to)
{
	struct object_thread *state = arg;

	(void)thread;
	for (int i = 0; i < c->count; i++)
		if (state->objects[i])
			visit(c, &state->objects[i],
			      state->suite->draw_size ? state->held[i] : c->size_bytes, to);
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
		void **slot = &state->objects[draw_below(bench_random(&random), count)];

		release(*slot);
		*slot = alloc(size);
		if (unlikely(!*slot)) {
			state->failed = true;
			break;
		}
	}
	state->random = random;
}

/* A slot of class 0 half of the time, of each next one half as often. */
static inline int draw_slot(uint64_t random, int per_class)
{
	int class = __builtin_ctzl(random | 1UL << (NR_CLASSES - 1));

	return class * per_class + (int)draw_below(random, per_class);
}

static void churn_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	void *(*alloc)(size_t) = c->peer->alloc;
	void (*release)(void *) = c->peer->free;
	struct object_thread *state = arg;
	uint64_t random = state->random;
	unsigned int mask = (unsigned int)c->count - 1, next = state->next_perm;
	int per_class = c->count / NR_CLASSES;

	(void)thread;
	while (n-- && !state->error) {
		int at = draw_slot(bench_random(&random), per_class);

		state->held[at] = state->sizes[0][next++ & mask];
		state->error =
			slot_replace(c, &state->objects[at], state->held[at], alloc, release);
	}
	state->random = random;
	state->next_perm = next;
}

/* Single operations, the allocation and the free of another object timed together. */
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
		.latency = churn_latency, .held = each_held                                        \
	}

const struct case_ops repeat_ops = CHURN_OPS(repeat_run);
const struct case_ops occupancy_ops = CHURN_OPS(occupancy_run);
const struct case_ops churn_ops = CHURN_OPS(churn_run);

size_t churn_size(uint64_t *random)
{
	uint64_t size;

	/* the smallest over a number above 0 and up to 1 */
	do
		size = ((uint64_t)CHURN_MIN << 32) / ((bench_random(random) >> 32) + 1);
	while (size > CHURN_MAX);
	return size;
}

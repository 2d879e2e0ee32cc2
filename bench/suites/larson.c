/* SPDX-License-Identifier: MIT */
/*
 * larson, after the server of Larson and Krishnan (ISMM '98): each thread holds an array of objects of
 * random sizes, replaces random ones, and after a while hands the whole array on to the next thread,
 * which goes on with it. So objects bleed: what one thread allocated another frees.
 *
 *	thread 0   replace ... replace | array -> 1    replace ...
 *	thread 1   replace ... replace | array -> 0    replace ...
 *
 * After four replacements an object, which is when an array moves, nearly all of what it held when
 * it came is gone: a quarter of all frees are of another thread's objects.
 *
 * A box stands before each thread; the thread before it puts an array in when it is empty, and the
 * thread takes it out. One store and one load a hand-over, and the waiting, which is in the time.
 */
#include <sched.h>

#include "arch/host.h"
#include "bench/suites/slots.h"

#define BATCH	      256
#define ROUNDS	      4 /* replacements an object until its array is handed on */
#define WARM_UP_MOVES 2
#define SPINS	      2000

struct array {
	void **objects;	 /* [count] */
	uint16_t *sizes; /* [count] */
};

struct box {
	struct array *array CACHELINE_ALIGNED;
};

struct larson {
	struct object_thread *objects;
	struct array *array; /* NULL: the one held is in a box, because somebody gave up */
	uint64_t nr_batches;
};

/* Of the one case that runs; the arrays outlive the threads that began with them. */
static struct {
	struct box *boxes;	/* [threads] */
	struct array *arrays;	/* [threads] */
	size_t bytes;		/* of all of these */
	struct meeting meeting; /* at the start; left by who gives up */
} course;

static const char *prepare(struct bench_case *c)
{
	size_t threads = (size_t)c->threads, count = (size_t)c->count;
	char *memory;

	course.meeting = (struct meeting){0};
	course.bytes = threads * (sizeof(struct box) + sizeof(struct array) +
				  count * (sizeof(void *) + sizeof(uint16_t)));
	course.boxes = harness_alloc(course.bytes, true, false);
	if (!course.boxes)
		return error_line("no memory for the harness");
	course.arrays = (struct array *)(course.boxes + threads);
	memory = (char *)(course.arrays + threads);
	for (size_t i = 0; i < threads; i++, memory += count * sizeof(void *))
		course.arrays[i].objects = (void **)memory;
	for (size_t i = 0; i < threads; i++, memory += count * sizeof(uint16_t))
		course.arrays[i].sizes = (uint16_t *)memory;
	return objects_prepare(c);
}

static const char *finish(struct bench_case *c)
{
	harness_free(course.boxes, course.bytes);
	return objects_finish(c);
}

static bool given_up(void)
{
	/* acquire: pairs with meeting_leave */
	return __atomic_load_n(&course.meeting.left, __ATOMIC_ACQUIRE);
}

/* Wait until the box is empty, or full; what is in it. NULL, too, when somebody gave up. */
static struct array *wait_for(struct box *box, bool full)
{
	unsigned int spins = 0;
	struct array *array;

	/* acquire: pairs with the release of who put it in, or took it out */
	while (!!(array = __atomic_load_n(&box->array, __ATOMIC_ACQUIRE)) != full) {
		if (given_up())
			return NULL;
		if (++spins < SPINS)
			__builtin_ia32_pause();
		else
			sched_yield();
	}
	return array;
}

/* Hand the array on and take that of the thread before. False when somebody gave up. */
static bool hand_on(const struct bench_case *c, int thread, struct larson *larson)
{
	struct box *next = &course.boxes[(thread + 1) % c->threads];
	struct box *mine = &course.boxes[thread];
	struct array *array;

	if (wait_for(next, false) || given_up())
		return false;
	/* release: the objects and their sizes are written before who takes the array reads them */
	__atomic_store_n(&next->array, larson->array, __ATOMIC_RELEASE);
	larson->array = NULL;
	array = wait_for(mine, true);
	if (!array)
		return false;
	larson->array = array;
	__atomic_store_n(&mine->array, NULL, __ATOMIC_RELEASE);
	return true;
}

static void replace(struct bench_case *c, struct larson *larson)
{
	void *(*alloc)(size_t) = c->peer->alloc;
	void (*release)(void *) = c->peer->free;
	struct object_thread *state = larson->objects;
	struct array *array = larson->array;
	unsigned int mask = (unsigned int)c->count - 1, next = state->next_perm;
	uint64_t random = state->random;
	const char *error = NULL;

	for (int i = 0; i < BATCH && !error; i++) {
		unsigned int at = (unsigned int)(bench_random(&random) >> 32) & mask;

		array->sizes[at] = state->sizes[0][next++ & mask];
		error = slot_replace(c, &array->objects[at], array->sizes[at], alloc, release);
	}
	state->random = random;
	state->next_perm = next;
	state->error = error;
}

static void run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	uint64_t move_every = (uint64_t)c->count * ROUNDS / BATCH;
	struct larson *larson = arg;

	while (n-- && larson->array) {
		replace(c, larson);
		if (larson->objects->error) {
			meeting_leave(&course.meeting);
			return;
		}
		if (++larson->nr_batches % move_every == 0 && !hand_on(c, thread, larson))
			return;
	}
}

static const char *fill(struct bench_case *c, int thread, struct larson *larson)
{
	struct array *array = &course.arrays[thread];

	larson->array = array;
	for (int i = 0; i < c->count; i++) {
		array->sizes[i] = larson->objects->sizes[0][i];
		array->objects[i] = c->peer->alloc(array->sizes[i]);
		if (!array->objects[i])
			return case_no_memory(c, "for object %d of %d", i, c->count);
		slot_stamp(&array->objects[i]);
	}
	return meeting_wait(&course.meeting, c);
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	struct larson *larson = harness_alloc(sizeof(*larson), true, false);
	const char *error = larson ? NULL : error_line("no memory for the harness");

	*out = larson;
	if (!error)
		error = objects_thread_begin(c, thread, &larson->objects);
	if (!error)
		error = fill(c, thread, larson);
	if (error) {
		meeting_leave(&course.meeting);
		return error;
	}
	run(c, thread, larson, WARM_UP_MOVES * (uint64_t)c->count * ROUNDS / BATCH);
	return larson->objects->error;
}

/* Free an array's objects; NULL or the error of one that is not sound. */
static const char *empty(struct bench_case *c, struct array *array)
{
	const char *error = NULL;

	for (int i = 0; i < c->count; i++) {
		void **slot = &array->objects[i];

		if (!*slot)
			continue;
		if (!error && !slot_is_sound(slot))
			error = slot_error(slot);
		c->peer->free(*slot);
		*slot = NULL;
	}
	return error;
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct larson *larson = arg;
	struct array *in_box = course.boxes[thread].array;
	const char *error = NULL, *other;

	if (!larson)
		return objects_thread_end(c, thread, NULL);
	if (larson->array)
		error = empty(c, larson->array);
	if (in_box && !error)
		error = empty(c, in_box);
	other = objects_thread_end(c, thread, larson->objects);
	harness_free(larson, sizeof(*larson));
	return error ? error : other;
}

static void each_held(struct bench_case *c, int thread, void *arg, held_visit *visit, void *to)
{
	const struct array *array = ((struct larson *)arg)->array;

	(void)thread;
	for (int i = 0; array && i < c->count; i++)
		if (array->objects[i])
			visit(c, &array->objects[i], array->sizes[i], to);
}

const struct case_ops larson_ops = {
	.ops_per_batch = BATCH,
	.prepare = prepare,
	.thread_begin = begin,
	.run = run,
	.thread_end = end,
	.finish = finish,
	.held = each_held,
};

size_t larson_size(uint64_t *random)
{
	return LARSON_MIN + bench_random(random) % (LARSON_MAX - LARSON_MIN + 1);
}

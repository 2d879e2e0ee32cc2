/* SPDX-License-Identifier: MIT */
/* False sharing of cache lines; see falseshare.h. */
#include "bench/suites/falseshare.h"

#define NR_ADDS 64 /* to each object between its allocation and its free */
#define WARM_UP 16

/* Of the one case that runs: what is dealt out, [threads][count]. */
static struct {
	void **objects;
	size_t bytes;
	struct meeting meeting;
} deal;

static bool is_passive(const struct bench_case *c)
{
	return c->ops == &falseshare_passive_ops;
}

static const char *prepare(struct bench_case *c)
{
	deal.meeting = (struct meeting){0};
	deal.bytes = (size_t)c->threads * (size_t)c->count * sizeof(void *);
	deal.objects = harness_alloc(deal.bytes, true, false);
	return deal.objects ? objects_prepare(c) : error_line("no memory for the harness");
}

static const char *finish(struct bench_case *c)
{
	harness_free(deal.objects, deal.bytes);
	return objects_finish(c);
}

static void **hand_of(const struct bench_case *c, int thread)
{
	return deal.objects + (size_t)thread * (size_t)c->count;
}

static void free_hand(struct bench_case *c, int thread)
{
	void **hand = hand_of(c, thread);

	for (int i = 0; i < c->count; i++) {
		if (hand[i])
			c->peer->free(hand[i]);
		hand[i] = NULL;
	}
}

/* One to each thread in turn. */
static const char *deal_out(struct bench_case *c)
{
	for (int i = 0; i < c->count; i++) {
		for (int thread = 0; thread < c->threads; thread++) {
			void *object = c->peer->alloc(c->size_bytes);

			if (!object)
				return case_no_memory(c, "for an object to deal out");
			hand_of(c, thread)[i] = object;
		}
	}
	return NULL;
}

static const char *share_out(struct bench_case *c, int thread)
{
	const char *error = thread == 0 ? deal_out(c) : NULL;

	if (!error)
		error = meeting_wait(&deal.meeting, c);
	if (error)
		return error;
	free_hand(c, thread);
	return meeting_wait(&deal.meeting, c);
}

static void run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	void *(*alloc)(size_t) = c->peer->alloc;
	void (*release)(void *) = c->peer->free;
	struct object_thread *state = arg;
	void **objects = state->objects;
	size_t size = c->size_bytes;
	int count = c->count;

	(void)thread;
	while (n-- && !state->error && !state->failed) {
		int nr = 0;

		while (nr < count && (objects[nr] = alloc(size)))
			nr++;
		state->failed = nr < count;
		for (int i = 0; i < nr; i++)
			*(volatile uint64_t *)objects[i] = (uint64_t)i;
		for (int add = 0; add < NR_ADDS; add++)
			for (int i = 0; i < nr; i++)
				++*(volatile uint64_t *)objects[i];
		for (int i = 0; i < nr; i++) {
			volatile uint64_t *word = objects[i];

			if (unlikely(*word != (uint64_t)i + NR_ADDS))
				state->error = error_line(
					"the object at %p is another's too: %d additions gave %llu",
					objects[i], NR_ADDS,
					(unsigned long long)(*word - (uint64_t)i));
			release(objects[i]);
		}
	}
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	struct object_thread *state;
	const char *error = objects_thread_begin(c, thread, &state);

	*out = state;
	if (!error && is_passive(c))
		error = share_out(c, thread);
	if (error) {
		meeting_leave(&deal.meeting);
		return error;
	}
	run(c, thread, state, WARM_UP);
	return state->error;
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	if (arg)
		free_hand(c, thread); /* nothing, unless somebody gave up */
	return objects_thread_end(c, thread, arg);
}

#define FALSESHARE_OPS                                                                             \
	{                                                                                          \
		.ops_per_batch = FALSESHARE_COUNT * NR_ADDS, .prepare = prepare,                   \
		.thread_begin = begin, .run = run, .thread_end = end, .finish = finish             \
	}

const struct case_ops falseshare_ops = FALSESHARE_OPS;
const struct case_ops falseshare_passive_ops = FALSESHARE_OPS;

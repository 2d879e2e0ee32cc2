/* SPDX-License-Identifier: MIT */
/* The patterns of objects.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/results/latency.h"
#include "bench/suites/arena.h"
#include "bench/suites/objects.h"

/* Of the one case that runs, between its prepare and its finish. */
static uint64_t allocated_before;
static bool allocated_known;

static const struct object_suite *suite_of(const struct bench_case *c)
{
	return c->arg;
}

static bool is_kmm(const struct bench_case *c)
{
	return !strncmp(c->allocator, "kmm", 3);
}

static void bulk_run(struct bench_case *c, int thread, void *arg, uint64_t n);

static bool is_mixed(const struct bench_case *c)
{
	return suite_of(c)->draw_size != NULL;
}

/*
 * Main thread.
 */
const char *objects_prepare(struct bench_case *c)
{
	struct object_peer_stats stats;
	const char *error = NULL;

	kmm_target.machine = c->env->machine;
	kmm_target.nr_nodes = (int)nr_nodes(c->env);
	kmm_target.order = c->order;
	kmm_target.size_bytes = c->size_bytes;
	if (c->env->machine && kmm_attach(c->env->machine, 0) < 0)
		return error_line("cannot attach to CPU 0");
	if (suite_of(c)->setup)
		error = suite_of(c)->setup(c);
	latency_timer_overhead();
	allocated_known = c->peer->stats && c->peer->allocated_slack >= 0 &&
			  c->peer->stats(c->peer, &stats) == 0;
	allocated_before = allocated_known ? stats.allocated_bytes : 0;
	return error;
}

const char *objects_finish(struct bench_case *c)
{
	struct object_peer_stats stats;
	const char *error = NULL;

	if (c->peer->flush_thread)
		c->peer->flush_thread(c->peer);
	if (allocated_known && c->peer->stats(c->peer, &stats) == 0 &&
	    (int64_t)(stats.allocated_bytes - allocated_before) >
		    c->peer->allocated_slack * c->threads)
		error = error_line("%lld bytes leaked",
				   (long long)(stats.allocated_bytes - allocated_before));
	if (suite_of(c)->teardown) {
		const char *other = suite_of(c)->teardown(c);

		if (!error)
			error = other;
	}
	return error;
}

/*
 * Threads. All of a thread's arrays lie in one mapping of its own, so that the C library's malloc,
 * which is a peer, serves nobody but its own cases.
 */
static void *carve(char **at, size_t size)
{
	void *piece = *at;

	*at += ALIGN_UP(size, CACHELINE_SIZE);
	return piece;
}

static struct object_thread *make_state(struct bench_case *c, int thread)
{
	bool mixed = is_mixed(c);
	int nr_verify = verify_count(c, c->size_bytes);
	size_t count = (size_t)(c->count > 0 ? c->count : 1), nr = (size_t)nr_verify;
	size_t bytes =
		sizeof(struct object_thread) + count * (18 + 4 * NR_PERMS) + nr * 32 + PAGE_SIZE;
	uint64_t random = thread_seed(c->seed, thread);
	struct object_thread *state;
	char *at = harness_alloc(bytes, true, false);

	if (!at)
		return NULL;
	state = carve(&at, sizeof(*state));
	state->suite = suite_of(c);
	state->state_bytes = bytes;
	state->objects = carve(&at, count * sizeof(void *));
	state->alloc_cycles = carve(&at, count * sizeof(uint64_t));
	state->held = carve(&at, count * sizeof(uint16_t));
	for (int i = 0; i < NR_PERMS; i++) {
		state->perms[i] = carve(&at, count * sizeof(uint16_t));
		state->sizes[i] = carve(&at, count * sizeof(uint16_t));
		shuffle_order(state->perms[i], (int)count, &random);
		for (size_t j = 0; mixed && j < count; j++)
			state->sizes[i][j] = (uint16_t)suite_of(c)->draw_size(&random);
	}
	state->verify.count = nr_verify;
	state->verify.salt = bench_random(&random);
	state->random = bench_random(&random) | 1;
	state->verify.objects = carve(&at, nr * sizeof(void *));
	state->verify.sorted = carve(&at, nr * sizeof(uint16_t));
	state->verify.sizes = carve(&at, nr * sizeof(size_t));
	state->verify.order = carve(&at, nr * sizeof(uint16_t));
	shuffle_order(state->verify.order, nr_verify, &random);
	for (size_t i = 0; i < nr; i++)
		state->verify.sizes[i] = mixed ? state->sizes[0][i % count] : c->size_bytes;
	return state;
}

const char *objects_thread_begin(struct bench_case *c, int thread, struct object_thread **out)
{
	const char *error = thread_pin(c, thread);
	struct object_thread *state;
	int node = thread_node(c, thread);

	*out = NULL;
	if (error)
		return error;
	kmm_target_nid = node >= 0 ? node : 0;
	if (!strcmp(c->placement, placement_names[PLACE_REMOTE]))
		kmm_target_nid = farthest_node(c, kmm_target_nid);
	if (suite_of(c)->thread_setup)
		error = suite_of(c)->thread_setup(c, thread);
	if (!error)
		error = arena_thread_begin(c, kmm_target_nid);
	if (error)
		return error;
	state = make_state(c, thread);
	if (!state)
		return error_line("no memory for the harness");
	*out = state;
	return verify_run(c, &state->verify, NULL, NULL);
}

/* Where the blocks of thread 0 are. */
struct node_count {
	int nr_on[KMM_MAX_NODES];
	int nr, nr_seen;
};

/* Every so many blocks the host is asked, by a system call, where one is. Prime, so that nodes in
 * turn are met alike. */
#define ASK_HOST_EVERY 17

static void count_node(struct bench_case *c, const void *object, void *arg)
{
	struct node_count *count = arg;
	int nid = NUMA_NO_NODE;

	if (is_kmm(c) && suite_of(c)->node_of)
		nid = suite_of(c)->node_of(object);
	else if (c->env->machine && !c->env->emulated && count->nr_seen++ % ASK_HOST_EVERY == 0)
		nid = topology_memory_node(c->env->machine->topology, object);
	if (nid < 0 || nid >= KMM_MAX_NODES)
		return;
	count->nr++;
	count->nr_on[nid]++;
}

static void set_numa(struct bench_case *c, const struct node_count *count)
{
	c->has_numa = true;
	c->cpu_node = thread_node(c, 0);
	c->memory_node = NUMA_NO_NODE;
	c->local_ratio = -1;
	if (!count->nr || c->cpu_node < 0)
		return;
	for (int nid = 0; nid < KMM_MAX_NODES; nid++)
		if (count->nr_on[nid] * 2 > count->nr)
			c->memory_node = nid;
	c->local_ratio = (double)count->nr_on[c->cpu_node] / count->nr;
}

const char *objects_thread_end(struct bench_case *c, int thread, struct object_thread *state)
{
	struct node_count count = {0};
	const char *error = NULL, *other = NULL;

	if (state) {
		if (state->failed)
			error = case_no_memory(c, "in a timed run");
		else if (state->error)
			error = state->error;
		else
			error = verify_run(c, &state->verify, thread == 0 ? count_node : NULL,
					   &count);
		if (!error && thread == 0)
			set_numa(c, &count);
		harness_free(state, state->state_bytes);
	}
	if (c->peer->flush_thread)
		c->peer->flush_thread(c->peer);
	arena_thread_end(c);
	if (suite_of(c)->thread_teardown)
		other = suite_of(c)->thread_teardown(c, thread);
	thread_unpin(c);
	return error ? error : other;
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	struct object_thread *state;
	const char *error = objects_thread_begin(c, thread, &state);

	*out = state;
	if (!error)
		c->ops->run(c, thread, state,
			    c->count > 1		? WARM_UP_BATCHES
			    : suite_of(c)->touch_stride ? WARM_UP_MAPPED
							: WARM_UP_PAIRS);
	return error;
}

static const char *end(struct bench_case *c, int thread, void *state)
{
	return objects_thread_end(c, thread, state);
}

/*
 * The timed loops, which are loops.h's.
 */
static void pair_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct object_thread *state = arg;

	(void)thread;
	if (!loop_pair(c->peer->alloc, c->peer->free, c->size_bytes, state->suite->touch_stride, n))
		state->failed = true;
}

static void bulk_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct object_thread *state = arg;

	(void)thread;
	loop_bulk(c->peer->alloc, c->peer->free, state->objects, c->count, c->size_bytes, n,
		  &state->failed);
}

static void shuffle_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	void *(*alloc)(size_t) = c->peer->alloc;
	void (*release)(void *) = c->peer->free;
	struct object_thread *state = arg;
	size_t size = c->size_bytes, stride = state->suite->touch_stride;
	int count = c->count;

	(void)thread;
	while (n--) {
		const uint16_t *perm = state->perms[state->next_perm++ % NR_PERMS];

		loop_shuffle(alloc, release, state->objects, count, size, stride, perm,
			     &state->failed);
	}
}

static void mixed_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	void *(*alloc)(size_t) = c->peer->alloc;
	void (*release)(void *) = c->peer->free;
	struct object_thread *state = arg;
	int count = c->count;

	(void)thread;
	while (n--) {
		unsigned int turn = state->next_perm++ % NR_PERMS;

		loop_mixed(alloc, release, state->objects, count, state->sizes[turn],
			   state->perms[turn], &state->failed);
	}
}

static void bulk_api_run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	size_t (*alloc_bulk)(size_t, size_t, void **) = c->peer->alloc_bulk;
	void (*free_bulk)(size_t, void **) = c->peer->free_bulk;
	void *(*alloc)(size_t) = c->peer->alloc;
	void (*release)(void *) = c->peer->free;
	struct object_thread *state = arg;
	void **objects = state->objects;
	size_t size = c->size_bytes, count = (size_t)c->count;

	(void)thread;
	while (alloc_bulk && free_bulk && n) {
		if (!loop_bulk_call(alloc_bulk, free_bulk, objects, count, size)) {
			state->failed = true;
			return;
		}
		n--;
	}
	while (n--) {
		for (size_t i = 0; !alloc_bulk && i < count; i++) {
			objects[i] = alloc(size);
			if (unlikely(!objects[i]))
				state->failed = true;
		}
		if (alloc_bulk && unlikely(alloc_bulk(size, count, objects) != count)) {
			state->failed = true;
			return;
		}
		for (size_t i = 0; !free_bulk && i < count; i++)
			release(objects[i]);
		if (free_bulk)
			free_bulk(count, objects);
	}
}

/*
 * Latency: an operation is one allocation and the free of the same object, each timed, added up.
 */
static void pair_latency(struct bench_case *c, int thread, void *arg, uint64_t n,
			 struct latency_hist *hist)
{
	void *(*alloc)(size_t) = c->peer->alloc;
	void (*release)(void *) = c->peer->free;
	struct object_thread *state = arg;
	size_t size = c->size_bytes, stride = state->suite->touch_stride;
	uint64_t overhead = latency_timer_overhead();

	(void)thread;
	while (n--) {
		uint64_t start = latency_begin();
		void *object = alloc(size);

		if (unlikely(!object)) {
			state->failed = true;
			return;
		}
		touch(object, size, stride);
		release(object);
		latency_hist_record(hist, start, latency_end(), overhead);
	}
}

static uint64_t without(uint64_t cycles, uint64_t overhead)
{
	return cycles > overhead ? cycles - overhead : 0;
}

static void batch_latency(struct bench_case *c, int thread, void *arg, uint64_t n,
			  struct latency_hist *hist)
{
	void *(*alloc)(size_t) = c->peer->alloc;
	void (*release)(void *) = c->peer->free;
	struct object_thread *state = arg;
	uint64_t overhead = latency_timer_overhead();
	size_t stride = state->suite->touch_stride;

	(void)thread;
	for (uint64_t done = 0; done < n; done += (uint64_t)c->count) {
		unsigned int turn = state->next_perm++ % NR_PERMS;

		for (int i = 0; i < c->count; i++) {
			size_t size = is_mixed(c) ? state->sizes[turn][i] : c->size_bytes;
			uint64_t start = latency_begin();

			state->objects[i] = alloc(size);
			if (unlikely(!state->objects[i]))
				state->failed = true;
			else if (stride)
				touch(state->objects[i], size, stride);
			state->alloc_cycles[i] = without(latency_end() - start, overhead);
		}
		for (int i = 0; i < c->count; i++) {
			int number = c->ops->run == bulk_run ? i : state->perms[turn][i];
			uint64_t start = latency_begin();

			release(state->objects[number]);
			latency_hist_record(hist, 0,
					    without(latency_end() - start, overhead) +
						    state->alloc_cycles[number],
					    0);
		}
	}
}

static const struct case_ops pair_ops = {
	.ops_per_batch = 1,
	.prepare = objects_prepare,
	.thread_begin = begin,
	.run = pair_run,
	.thread_end = end,
	.finish = objects_finish,
	.latency = pair_latency,
};

#define BATCH_OPS(run_fn)                                                                          \
	{                                                                                          \
		.prepare = objects_prepare, .thread_begin = begin, .run = run_fn,                  \
		.thread_end = end, .finish = objects_finish, .latency = batch_latency              \
	}

static const struct case_ops batch_ops[] = {
	[PATTERN_BULK_API] = {.prepare = objects_prepare,
			      .thread_begin = begin,
			      .run = bulk_api_run,
			      .thread_end = end,
			      .finish = objects_finish},
	[PATTERN_BULK] = BATCH_OPS(bulk_run),
	[PATTERN_SHUFFLE] = BATCH_OPS(shuffle_run),
	[PATTERN_MIXED] = BATCH_OPS(mixed_run),
};

const struct case_ops *pattern_ops(enum pattern pattern)
{
	return pattern == PATTERN_PAIR ? &pair_ops : &batch_ops[pattern];
}

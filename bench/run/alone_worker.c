/* SPDX-License-Identifier: MIT */
/*
 * The process of one case and allocator; see alone.h. All threads of the case go through its points
 * together, and each frees what is its own; thread 0 speaks with the parent and looks at memory.
 */
#define _GNU_SOURCE
#include "bench/run/alone.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "arch/host.h"
#include "bench/command.h"
#include "bench/suites/common.h"
#include "bench/run/worker.h"

#define WORK_OPS    1000000 /* of all threads, before memory is looked at */
#define KEPT_ONE_IN 4
#define MAX_CACHES  128

#define AGE_NS 25000000UL /* at least, from one call to the next; mimalloc purges after 10 ms */

/* What the case's objects ask for of kmm, by the usable size that they got: which is their cache's. */
struct requested {
	uint64_t object_bytes, requested_bytes;
};

struct alone {
	struct bench_case *c;
	int socket;
	char command;
	pthread_barrier_t barrier;
	uint64_t began_ns, aged_ns, rss_before, harness_before;
	struct alone_message message;
	struct requested requested[MAX_CACHES];
	size_t nr_requested;
};

static bool is_kmm(const struct bench_case *c)
{
	return !strncmp(c->allocator, "kmm", 3);
}

void alone_without_huge_pages(void)
{
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

/*
 * Looking at memory.
 */
static void add_held(struct bench_case *c, void **object, uint64_t size_bytes, void *arg)
{
	struct alone *alone = arg;
	uint64_t usable = c->peer->usable_size ? c->peer->usable_size(*object) : c->size_bytes;
	size_t i = 0;

	alone->message.sample.requested_bytes += size_bytes;
	alone->message.sample.allocated_bytes += usable;
	if (!is_kmm(c) || usable > KMALLOC_MAX_CACHE_SIZE)
		return;
	while (i < alone->nr_requested && alone->requested[i].object_bytes != usable)
		i++;
	if (i == MAX_CACHES)
		return;
	if (i == alone->nr_requested)
		alone->requested[alone->nr_requested++] = (struct requested){usable, 0};
	alone->requested[i].requested_bytes += size_bytes;
}

/* What the case's threads hold; states NULL: nothing any more. */
static void send_sample(struct alone *alone, enum alone_point point, void *const *states)
{
	struct bench_case *c = alone->c;
	struct alone_message *message = &alone->message;
	uint64_t rss_bytes = host_rss_bytes(), harness = harness_bytes() - alone->harness_before;

	*message = (struct alone_message){.type = ALONE_SAMPLE, .point = point};
	alone->nr_requested = 0;
	for (int i = 0; states && c->ops->held && i < c->threads; i++)
		c->ops->held(c, i, states[i], add_held, alone);
	message->sample.time_ns = (int64_t)(host_time_ns() - alone->began_ns);
	message->sample.rss_bytes = rss_bytes;
	rss_bytes -= min_t(uint64_t, rss_bytes, alone->rss_before + harness);
	message->sample.backing_bytes = rss_bytes;
	message->sample.allocated_known = c->peer->usable_size || is_kmm(c);
	worker_send(alone->socket, message, sizeof(*message));
}

/* Nothing is allocated between here and the case's first allocation. */
static void look_before(struct alone *alone)
{
	alone->began_ns = host_time_ns();
	alone->harness_before = harness_bytes();
	alone->rss_before = host_rss_bytes();
}

static void send_before(struct alone *alone)
{
	alone->message = (struct alone_message){
		.type = ALONE_SAMPLE,
		.point = ALONE_BEFORE,
		.sample = {.allocated_known = true, .rss_bytes = alone->rss_before},
	};
	worker_send(alone->socket, &alone->message, sizeof(alone->message));
}

static bool is_case_cache(const char *name)
{
	return !strncmp(name, "kmalloc-", 8) || !strncmp(name, "bench-", 6);
}

static void send_cache(const struct slab_info *info, void *arg)
{
	struct alone *alone = arg;
	struct alone_message *message = &alone->message;

	if (!info->num_slabs)
		return;
	*message = (struct alone_message){.type = ALONE_CACHE, .point = message->point};
	snprintf(message->cache.name, sizeof(message->cache.name), "%s", info->name);
	message->cache.object_bytes = info->usable_bytes;
	message->cache.objects = info->active_objs;
	message->cache.slots = info->num_objs;
	message->cache.slabs = info->num_slabs;
	message->cache.partial = info->partial_slabs;
	message->cache.slab_bytes = info->slab_bytes;
	/* The case's objects are in these, and no two of them in use have objects of one size. */
	message->cache.requested_known = is_case_cache(info->name);
	for (size_t i = 0; message->cache.requested_known && i < alone->nr_requested; i++)
		if (alone->requested[i].object_bytes == info->usable_bytes && info->active_objs)
			message->cache.requested_bytes = alone->requested[i].requested_bytes;
	worker_send(alone->socket, message, sizeof(*message));
}

static void send_caches(struct alone *alone, enum alone_point point)
{
	alone->message = (struct alone_message){.type = ALONE_CACHE, .point = point};
	if (is_kmm(alone->c))
		slab_for_each(alone->c->env->machine, send_cache, alone);
}

static void trim(struct alone *alone)
{
	if (alone->c->peer->trim)
		alone->c->peer->trim(alone->c->peer);
}

/*
 * The work, in all threads of the case.
 */
static void wait_for_all(struct alone *alone)
{
	pthread_barrier_wait(&alone->barrier);
}

/* What a program's timer would do. In the time that is measured: others do it in their calls. */
static void age(struct alone *alone)
{
	uint64_t now = host_time_ns();

	if (!alone->c->peer->age || now - alone->aged_ns < AGE_NS)
		return;
	alone->aged_ns = now;
	alone->c->peer->age(alone->c->peer);
}

/* Rounds as the parent asks for them; those of cases without are as long as calibrated. */
static void take_rounds(struct case_run *run, int thread, uint64_t n, struct alone *alone)
{
	const struct case_ops *ops = run->c->ops;
	double started = 0;

	for (;;) {
		if (!thread)
			alone->command = worker_next_command(alone->socket);
		wait_for_all(alone);
		if (alone->command != 'r')
			return;
		if (ops->plan)
			ops->plan(run->c, thread, run->states[thread]);
		wait_for_all(alone);
		if (!thread)
			started = (double)host_time_ns();
		ops->run(run->c, thread, run->states[thread], n);
		if (!thread)
			age(alone);
		wait_for_all(alone);
		if (thread)
			continue;
		alone->message = (struct alone_message){
			.type = ALONE_ROUND,
			.ns = (double)host_time_ns() - started,
			.ops = (uint64_t)case_ops(run->c, n),
		};
		worker_send(alone->socket, &alone->message, sizeof(alone->message));
	}
}

static void thin(struct bench_case *c, void **object, uint64_t size_bytes, void *arg)
{
	(void)size_bytes;
	if (bench_random(arg) % KEPT_ONE_IN == 0)
		return;
	c->peer->free(*object);
	*object = NULL;
}

static void look_while_held(struct case_run *run, int thread, struct alone *alone)
{
	uint64_t random = run->c->seed ^ (uint64_t)(thread + 1);

	if (!thread) {
		send_before(alone);
		send_sample(alone, ALONE_HELD, run->states);
		send_caches(alone, ALONE_HELD);
	}
	wait_for_all(alone);
	if (run->c->ops->held)
		run->c->ops->held(run->c, thread, run->states[thread], thin, &random);
	wait_for_all(alone);
	if (!thread) {
		send_sample(alone, ALONE_DRAINED, run->states);
		send_caches(alone, ALONE_DRAINED);
		trim(alone);
		send_sample(alone, ALONE_DRAINED_TRIM, run->states);
	}
	wait_for_all(alone);
}

static void work(struct case_run *run, int thread, uint64_t n, void *arg)
{
	struct alone *alone = arg;

	take_rounds(run, thread, n, alone);
	if (alone->command == 'm' && !case_given_up(run->c))
		look_while_held(run, thread, alone);
}

static void send_end(struct alone *alone)
{
	const struct bench_case *c = alone->c;

	if (alone->command == 'm' && !c->skipped) {
		send_sample(alone, ALONE_EMPTY, NULL);
		trim(alone);
		send_sample(alone, ALONE_EMPTY_TRIM, NULL);
	}
	alone->message = (struct alone_message){.type = c->skipped ? ALONE_SKIPPED : ALONE_DONE};
	snprintf(alone->message.note, sizeof(alone->message.note), "%s", c->note);
	worker_send(alone->socket, &alone->message, sizeof(alone->message));
}

int alone_worker(struct bench_case *c, int socket)
{
	static const struct case_work working = {.work = work};
	struct alone *alone = calloc(1, sizeof(*alone));
	struct case_run run;
	uint64_t n = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!alone || case_run_init(&run, c))
		return complain("no memory for a case");
	alone->c = c;
	alone->socket = socket;
	pthread_barrier_init(&alone->barrier, NULL, (unsigned int)c->threads);
	if (!c->ops->alone)
		n = WORK_OPS / (case_ops_per_batch(c) * (uint64_t)c->threads) + 1;
	look_before(alone);
	case_run_once(&run, n, &working, alone);
	send_end(alone);
	case_run_destroy(&run);
	pthread_barrier_destroy(&alone->barrier);
	free(alone);
	return EXIT_OK;
}

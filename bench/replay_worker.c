/* SPDX-License-Identifier: MIT */
/*
 * The process of one allocator; see replay_internal.h. Events are decoded into operations a chunk
 * at a time, and only the operations are timed. Nothing is allocated from the C library between a
 * replay's first and last operation but what the trace's new caches take, since the C library may
 * be what is measured.
 */
#define _GNU_SOURCE /* sched_setaffinity */
#include "bench/replay_internal.h"

#include <errno.h>
#include <signal.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arch/host.h"
#include "bench/command.h"
#include "bench/latency.h"

struct worker {
	const struct replay_work *work;
	struct object_peer peer;
	struct replay_target target;
	struct kmt_event events[REPLAY_CHUNK];
	struct replay_op ops[REPLAY_CHUNK];
	u64 times_ns[REPLAY_CHUNK];

	/* Of the replay under way: */
	u64 nr_done, next_sample, time_ns;
	u64 cycles;
	bool emulated;
	u64 peer_allocated_before;
};

static void send_message(const struct worker *w, const struct replay_message *message)
{
	const char *p = (const char *)message;
	size_t left = sizeof(*message);

	while (left) {
		ssize_t n = send(w->work->socket, p, left, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			exit(EXIT_FAILED); /* the parent is gone */
		p += n;
		left -= (size_t)n;
	}
}

__attribute__((format(printf, 3, 4))) static int send_failure(const struct worker *w, int status,
							      const char *fmt, ...)
{
	struct replay_message message = {.type = REPLAY_FAILED, .status = status};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message.line, sizeof(message.line), fmt, ap);
	va_end(ap);
	send_message(w, &message);
	return status;
}

static void send_sample(struct worker *w)
{
	const struct replay_target *target = &w->target;
	struct replay_message message = {.type = REPLAY_SAMPLE};
	struct replay_sample *sample = &message.sample;
	struct object_peer_stats stats;

	sample->event = w->nr_done;
	sample->time_ns = w->time_ns;
	sample->requested_bytes = target->requested_bytes;
	sample->allocated_bytes = target->allocated_bytes;
	sample->rss_bytes = host_rss_bytes();
	if (target->machine) {
		count_free_areas(target->machine, NUMA_NO_NODE, &sample->free);
		sample->allocated_known = sample->backing_known = sample->free_known = true;
		sample->backing_bytes =
			(sample->free.nr_managed_pages - sample->free.nr_buddy_pages) << PAGE_SHIFT;
	} else {
		sample->allocated_known = target->peer->usable_size != NULL;
		sample->backing_known =
			target->peer->stats && !target->peer->stats(target->peer, &stats);
		sample->backing_bytes = sample->backing_known ? stats.backing_bytes : 0;
	}
	send_message(w, &message);
}

/* Run operations, timed or with samples between. 0 or -1. */
static int run_ops(struct worker *w, size_t n)
{
	size_t done = 0;
	u64 begin;

	if (!w->target.measure) {
		begin = latency_begin();
		done = replay_run(&w->target, w->ops, n);
		w->cycles += latency_end() - begin;
		w->nr_done += done;
		return done == n ? 0 : -1;
	}
	while (done < n) {
		size_t until = w->next_sample - w->nr_done < n - done
				       ? (size_t)(w->next_sample - w->nr_done)
				       : n - done;
		size_t ran = replay_run(&w->target, w->ops + done, until);

		w->nr_done += ran;
		done += ran;
		if (ran < until)
			return -1;
		w->time_ns = w->times_ns[done - 1];
		if (w->nr_done == w->next_sample) {
			send_sample(w);
			w->next_sample += w->work->sample_every;
		}
	}
	return 0;
}

static int replay_events(struct worker *w, struct kmt_reader *reader)
{
	ssize_t n, nr_ops;

	while ((n = kmt_read(reader, w->events, REPLAY_CHUNK)) > 0) {
		nr_ops = replay_decode(&w->target, reader, w->events, (size_t)n, w->ops,
				       w->times_ns);
		if (nr_ops < 0 || run_ops(w, (size_t)nr_ops))
			return send_failure(w, nr_ops < 0 ? EXIT_BAD_INPUT : EXIT_FAILED,
					    "event %llu: %s", (unsigned long long)w->nr_done + 1,
					    w->target.error);
	}
	return n < 0 ? send_failure(w, EXIT_BAD_INPUT, "%s", kmt_error(reader)) : EXIT_OK;
}

/* Free what the trace left alive. */
static int drain(struct worker *w)
{
	u32 from = 0;
	size_t n;

	while ((n = replay_drain_ops(&w->target, &from, w->ops, REPLAY_CHUNK))) {
		for (size_t i = 0; i < n; i++)
			w->times_ns[i] = w->time_ns;
		w->next_sample = UINT64_MAX;
		if (run_ops(w, n))
			return send_failure(w, EXIT_FAILED, "in the final drain: %s",
					    w->target.error);
	}
	return EXIT_OK;
}

static int replay_once(struct worker *w, bool measure)
{
	struct replay_message message = {.type = REPLAY_DONE};
	char error[KMT_ERROR_SIZE];
	struct kmt_reader *reader = kmt_open(w->work->path, error);
	int status;

	if (!reader)
		return send_failure(w, EXIT_BAD_INPUT, "%s", error);
	w->target.measure = measure;
	w->nr_done = w->cycles = w->time_ns = 0;
	w->next_sample = w->work->sample_every;
	status = replay_events(w, reader);
	kmt_close(reader);
	if (status)
		return status;
	message.events = w->nr_done;
	message.ns = (double)w->cycles * 1e9 / host_cycles_per_second();
	message.emulated = w->emulated;
	if (measure)
		send_sample(w);
	status = drain(w);
	if (status)
		return status;
	if (measure)
		send_sample(w);
	send_message(w, &message);
	return EXIT_OK;
}

static int finish(struct worker *w)
{
	struct replay_message message = {.type = REPLAY_LEAKS, .leaked_bytes = -1};
	const struct object_peer *peer = w->target.peer;
	struct object_peer_stats stats;
	struct kmm *machine = w->target.machine;
	struct kmm_leaks leaks;

	if (peer && peer->allocated_slack >= 0 && peer->stats) {
		if (peer->flush_thread)
			peer->flush_thread(peer);
		if (!peer->stats(peer, &stats)) {
			message.leaked_bytes =
				(s64)(stats.allocated_bytes - w->peer_allocated_before);
			if (message.leaked_bytes <= peer->allocated_slack)
				message.leaked_bytes = 0;
		}
	}
	replay_target_end(&w->target);
	if (machine) {
		kmm_drain(machine);
		kmm_shutdown(machine, &leaks);
		message.leaked_bytes = (s64)(leaks.pages << PAGE_SHIFT);
		if (leaks.object_bytes > leaks.pages << PAGE_SHIFT)
			message.leaked_bytes = (s64)leaks.object_bytes;
	}
	send_message(w, &message);
	return EXIT_OK;
}

/* To the first CPU that this process may run on, with the caches it is going to use. */
static void pin(void)
{
	cpu_set_t allowed, one;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return;
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed))
			continue;
		CPU_SET(cpu, &one);
		sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

/* Get the allocator. EXIT_OK, or the status after a message. */
static int prepare(struct worker *w, const struct common_options *common)
{
	struct replay_message message = {.type = REPLAY_MISSING};
	struct object_peer_stats stats;
	int error;

	if (!strcmp(w->work->allocator, "kmm")) {
		error = kmm_boot(&common->config, &w->target.machine);
		if (error)
			return send_failure(w, EXIT_BAD_INPUT, "%s",
					    kmm_boot_error()[0] ? kmm_boot_error()
								: strerror(-error));
		w->emulated = topology_emulated(w->target.machine->topology);
		kmm_attach(w->target.machine, -1);
		return EXIT_OK;
	}
	error = object_peer_load(w->work->allocator, &w->peer, message.line, sizeof(message.line));
	if (!error && w->work->population == KMT_PAGES && !w->peer.aligned_alloc) {
		snprintf(message.line, sizeof(message.line), "%s has no aligned_alloc",
			 w->peer.name);
		error = -ENOENT;
	}
	if (error) {
		if (error == -ENOENT && !w->peer.alloc)
			snprintf(message.line, sizeof(message.line), "not installed");
		send_message(w, &message);
		return EXIT_BAD_INPUT;
	}
	w->target.peer = &w->peer;
	if (w->peer.stats && !w->peer.stats(&w->peer, &stats))
		w->peer_allocated_before = stats.allocated_bytes;
	return EXIT_OK;
}

int replay_worker(const struct replay_work *work, const struct common_options *common)
{
	struct worker *w = calloc(1, sizeof(*w));
	int status = EXIT_OK;
	char command;

	if (!w)
		return EXIT_FAILED;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	w->work = work;
	w->target.population = work->population;
	w->target.verify = work->verify;
	pin();
	host_cycles_per_second();
	if (replay_target_init(&w->target, work->nr_ids))
		status =
			send_failure(w, EXIT_FAILED, "no memory for %u live objects", work->nr_ids);
	else
		status = prepare(w, common);
	while (!status && recv(work->socket, &command, 1, 0) == 1) {
		if (command == 'q') {
			status = finish(w);
			break;
		}
		status = replay_once(w, command == 'm');
	}
	free(w);
	return status;
}

int replay_whole(struct replay_target *target, struct kmt_reader *reader)
{
	struct kmt_event events[256];
	struct replay_op ops[256];
	u64 times_ns[256];
	ssize_t n, nr_ops;

	while ((n = kmt_read(reader, events, ARRAY_SIZE(events))) > 0) {
		nr_ops = replay_decode(target, reader, events, (size_t)n, ops, times_ns);
		if (nr_ops < 0 || replay_run(target, ops, (size_t)nr_ops) < (size_t)nr_ops)
			return -1;
	}
	if (n < 0)
		snprintf(target->error, sizeof(target->error), "%.250s", kmt_error(reader));
	return n < 0 ? -1 : 0;
}

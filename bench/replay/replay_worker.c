/* SPDX-License-Identifier: MIT */
/*
 * The process of one allocator; see replay_internal.h. Events are decoded into operations a chunk
 * at a time, and only the operations are timed. Nothing is allocated from the C library between a
 * replay's first and last operation but what the trace's new caches take, since the C library may
 * be what is measured.
 */
#define _GNU_SOURCE /* sched_setaffinity */
#include "bench/replay/replay_internal.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "arch/host.h"
#include "bench/command.h"
#include "bench/results/fragmentation.h"
#include "bench/results/latency.h"
#include "bench/peers/page_peers.h"
#include "bench/run/worker.h"

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
	worker_send(w->work->socket, message, sizeof(*message));
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

/* What a page peer says of its memory, as it stands. */
static void sample_page_peer(const struct object_peer *peer, struct replay_sample *sample)
{
	struct kmm_page_peer_stats stats;

	sample->allocated_known = true;
	if (!peer->page_stats || peer->page_stats(peer, false, &stats))
		return;
	sample->backing_known = true;
	sample->backing_bytes = (page_peer_nr_frames(peer) - stats.free_frames) << PAGE_SHIFT;
	if (stats.free_huge != KMM_PAGE_PEER_UNKNOWN && stats.free_frames)
		sample->huge_free_ratio =
			(double)(stats.free_huge << HPAGE_ORDER) / (double)stats.free_frames;
	if (stats.free_blocks[0] == KMM_PAGE_PEER_UNKNOWN)
		return;
	sample->free_known = true;
	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
		sample->free.nr_blocks[order] = stats.free_blocks[order];
		sample->free.nr_buddy_pages += stats.free_blocks[order] << order;
	}
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
	sample->huge_free_ratio = NAN;
	if (target->machine) {
		count_free_areas(target->machine, NUMA_NO_NODE, &sample->free);
		sample->allocated_known = sample->backing_known = sample->free_known = true;
		sample->backing_bytes =
			(sample->free.nr_managed_pages - sample->free.nr_buddy_pages) << PAGE_SHIFT;
		sample->huge_free_ratio = huge_free_ratio(&sample->free);
	} else if (target->peer->page_peer) {
		sample_page_peer(target->peer, sample);
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
	if (peer && peer->page_peer)
		page_peer_stop(peer);
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

/* An allocator that does not take part. */
static int send_missing(const struct worker *w, const char *why)
{
	struct replay_message message = {.type = REPLAY_MISSING};

	snprintf(message.line, sizeof(message.line), "%s", why);
	send_message(w, &message);
	return EXIT_BAD_INPUT;
}

/* The orders of the trace's page events, a bit each; 0 after a message. */
static unsigned int trace_orders(struct worker *w)
{
	char error[KMT_ERROR_SIZE];
	struct kmt_reader *reader = kmt_open(w->work->path, error);
	unsigned int orders = 0;
	ssize_t n = -1;

	while (reader && (n = kmt_read(reader, w->events, REPLAY_CHUNK)) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (w->events[i].kind == KMT_PAGE_ALLOC)
				orders |= 1U << min_t(unsigned int, w->events[i].order, 31);
	if (n < 0)
		send_failure(w, EXIT_BAD_INPUT, "%s", reader ? kmt_error(reader) : error);
	if (reader)
		kmt_close(reader);
	return n < 0 ? 0 : orders;
}

static int boot(struct worker *w, const struct common_options *common, struct kmm **machine)
{
	int error = kmm_boot(&common->config, machine);

	if (error)
		return send_failure(w, EXIT_BAD_INPUT, "%s",
				    kmm_boot_error()[0] ? kmm_boot_error() : strerror(-error));
	w->emulated = topology_emulated((*machine)->topology);
	return EXIT_OK;
}

/* It gets as much memory as a machine, which is gone again before anything is replayed. */
static int start_page_peer(struct worker *w, const struct common_options *common)
{
	struct kmm *machine;
	char line[384];
	int error = boot(w, common, &machine);

	if (error)
		return error;
	error = page_peer_start(&w->peer, machine, 1, line, sizeof(line));
	kmm_shutdown(machine, NULL);
	return error ? send_failure(w, EXIT_BAD_INPUT, "%s", line) : EXIT_OK;
}

static int prepare_machine(struct worker *w, const struct common_options *common)
{
	int status = boot(w, common, &w->target.machine);

	if (!status)
		kmm_attach(w->target.machine, -1);
	return status;
}

static int prepare_library(struct worker *w)
{
	char line[384];
	int error = object_peer_load(w->work->allocator, &w->peer, line, sizeof(line));

	if (error)
		return send_missing(w, error == -ENOENT && !w->peer.alloc ? "not installed" : line);
	if (w->work->population == KMT_PAGES && !w->peer.aligned_alloc) {
		snprintf(line, sizeof(line), "%s has no aligned_alloc", w->peer.name);
		return send_missing(w, line);
	}
	w->target.peer = &w->peer;
	return EXIT_OK;
}

static int prepare_page_peer(struct worker *w, const struct common_options *common)
{
	unsigned int orders = trace_orders(w);
	char line[384];
	int status;

	if (!orders)
		return EXIT_BAD_INPUT;
	if (page_peer_load(w->work->page_peer, NULL, 0, &w->peer, line, sizeof(line)))
		return send_failure(w, EXIT_BAD_INPUT, "%s", line);
	for (unsigned int order = 0; order < 32; order++) {
		if (!(orders & 1U << order) || page_peer_serves(&w->peer, order, order))
			continue;
		snprintf(line, sizeof(line), "does not serve order %u", order);
		return send_missing(w, line);
	}
	status = start_page_peer(w, common);
	if (!status)
		w->target.peer = &w->peer;
	return status;
}

/* Get the allocator. EXIT_OK, or the status after a message. */
static int prepare(struct worker *w, const struct common_options *common)
{
	struct object_peer_stats stats;
	int status;

	if (w->work->page_peer)
		status = prepare_page_peer(w, common);
	else if (!strcmp(w->work->allocator, "kmm"))
		status = prepare_machine(w, common);
	else
		status = prepare_library(w);
	if (!status && w->peer.stats && !w->peer.stats(&w->peer, &stats))
		w->peer_allocated_before = stats.allocated_bytes;
	return status;
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
	while (!status && (command = worker_next_command(work->socket))) {
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

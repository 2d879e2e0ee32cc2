/* SPDX-License-Identifier: MIT */
/*
 * The counting pass: what the locks of kmm, and of a peer that counts its own, counted while a case
 * worked, per million operations, so that rows can be compared (locks.csv); and for kmm which paths
 * were taken (paths.csv). On few cores this is how scaling is argued: a lock never taken is never
 * waited for. Warm-up is left out: counters are read when all threads have begun, and again when
 * all have worked. Reading them takes some of the locks: two readings with nothing in between say
 * how many, and that is subtracted.
 */
#include "config.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/host.h"
#include "bench/command.h"
#include "bench/run/measure.h"
#include "bench/paths.h"

struct lock_count {
	char name[64];
	struct lock_stats stats;
};

/* Locks of one name are summed. */
struct lock_counts {
	struct lock_count *counts;
	size_t nr, room;
	bool no_memory;
};

struct around {
	struct kmm *machine;
	const struct object_peer *peer;	  /* NULL: kmm's locks */
	struct lock_counts probe, before; /* between them: what reading the counters adds */
	struct lock_counts after;
	struct path_counts paths_before, paths_after; /* kmm's */
};

static struct lock_count *find(const struct lock_counts *all, const char *name)
{
	for (size_t i = 0; i < all->nr; i++)
		if (!strncmp(all->counts[i].name, name, sizeof(all->counts[i].name) - 1))
			return &all->counts[i];
	return NULL;
}

static struct lock_count *add(struct lock_counts *all, const char *name)
{
	struct lock_count *counts;

	if (all->nr == all->room) {
		size_t room = all->room ? 2 * all->room : 64;

		counts = realloc(all->counts, room * sizeof(*counts));
		if (!counts)
			return NULL;
		all->counts = counts;
		all->room = room;
	}
	counts = &all->counts[all->nr++];
	*counts = (struct lock_count){0};
	snprintf(counts->name, sizeof(counts->name), "%s", name);
	return counts;
}

static void visit(const char *name, const struct lock_stats *stats, void *arg)
{
	struct lock_counts *all = arg;
	struct lock_count *count = find(all, name);

	if (!count)
		count = add(all, name);
	if (!count) {
		all->no_memory = true;
		return;
	}
	count->stats.acquired += stats->acquired;
	count->stats.contended += stats->contended;
	count->stats.wait_cycles += stats->wait_cycles;
}

/* A peer's lock goes under the peer's name. */
struct peer_visit {
	const struct object_peer *peer;
	struct lock_counts *counts;
};

static void visit_peer(const struct object_peer_lock *lock, void *arg)
{
	struct peer_visit *to = arg;
	struct lock_stats stats = {.acquired = lock->acquired,
				   .contended = lock->contended,
				   .wait_cycles =
					   (u64)(lock->wait_ns * 1e-9 * host_cycles_per_second())};
	char name[sizeof(((struct lock_count *)NULL)->name)];

	snprintf(name, sizeof(name), "%s/%s", to->peer->name, lock->name);
	visit(name, &stats, to->counts);
}

static void read_locks(const struct around *around, struct lock_counts *counts)
{
	struct peer_visit to = {around->peer, counts};

	if (around->peer)
		around->peer->locks(around->peer, visit_peer, &to);
	else
		for_each_lock(around->machine, visit, counts);
}

static void read_counters(const struct around *around, struct lock_counts *locks,
			  struct path_counts *paths)
{
	read_locks(around, locks);
	if (!around->peer)
		paths_read(around->machine, paths);
}

static void read_before(struct case_run *run, void *arg)
{
	struct around *around = arg;

	(void)run;
	read_counters(around, &around->probe, &around->paths_before);
	read_counters(around, &around->before, &around->paths_before);
}

static void read_after(struct case_run *run, void *arg)
{
	struct around *around = arg;

	(void)run;
	read_counters(around, &around->after, &around->paths_after);
}

static void work(struct case_run *run, int thread, uint64_t n, void *arg)
{
	(void)arg;
	run->c->ops->run(run->c, thread, run->states[thread], n);
}

/* Counters only grow, but a lock may have gone with its cache, and another have its name. */
static u64 grown(u64 after, u64 before)
{
	return after > before ? after - before : 0;
}

/* What a lock counted while the case worked. */
static struct lock_stats counted(const struct around *around, const struct lock_count *after)
{
	const struct lock_count *before = find(&around->before, after->name);
	const struct lock_count *probe = find(&around->probe, after->name);
	struct lock_stats from = before ? before->stats : (struct lock_stats){0};

	from.acquired += from.acquired - (probe ? probe->stats.acquired : 0);
	return (struct lock_stats){
		.acquired = grown(after->stats.acquired, from.acquired),
		.contended = grown(after->stats.contended, from.contended),
		.wait_cycles = grown(after->stats.wait_cycles, from.wait_cycles),
	};
}

/* Rounded up: 0 is never. */
static int64_t per_million(u64 count, double ops)
{
	return (int64_t)ceil((double)count * 1e6 / ops);
}

static bool no_memory(const struct around *around)
{
	return around->probe.no_memory || around->before.no_memory || around->after.no_memory;
}

static int add_locks(struct measured_case *m, const struct around *around, double ops)
{
	const struct bench_case *c = m->run.c;
	char name[CASE_NAME], none[64];
	int error = 0;
	struct locks_row row = {
		.suite = c->suite, .name = name, .threads = c->threads, .lock = none};
	bool any = false;

	snprintf(none, sizeof(none), "%s%snone", around->peer ? around->peer->name : "",
		 around->peer ? "/" : "");
	case_and_size(c, true, name, sizeof(name));
	for (size_t i = 0; !error && i < around->after.nr; i++) {
		struct lock_stats stats = counted(around, &around->after.counts[i]);

		if (!stats.acquired)
			continue;
		any = true;
		row.lock = around->after.counts[i].name;
		row.acquired = per_million(stats.acquired, ops);
		row.contended = per_million(stats.contended, ops);
		row.wait_cycles = per_million(stats.wait_cycles, ops);
		error = results_locks(m->measure->results, &row);
	}
	/* That no lock was taken is worth a row as well. */
	return error || any ? error : results_locks(m->measure->results, &row);
}

/* Every path of every case: that one was not taken is worth a row as well. */
static int add_paths(struct measured_case *m, const struct around *around, double ops)
{
	const struct bench_case *c = m->run.c;
	struct lock_stats locks = {0};
	struct path_counts paths;
	int error = 0;

	for (size_t i = 0; i < around->after.nr; i++) {
		struct lock_stats stats = counted(around, &around->after.counts[i]);

		locks.acquired += stats.acquired;
		locks.contended += stats.contended;
	}
	paths_between(&around->paths_before, &around->paths_after, &paths);
	paths_add_locks(&paths, around->machine->config.lock_kind, &locks);
	for (int path = 0; !error && path < NR_PATHS; path++) {
		struct paths_row row = {
			.suite = c->suite,
			.name = c->name,
			.allocator = c->allocator,
			.threads = c->threads,
			.placement = c->placement,
			.size = c->size,
			.path = path_names[path],
			.count = (int64_t)paths.count[path],
			.per_1000_ops = (double)paths.count[path] * 1e3 / ops,
		};

		error = results_paths(m->measure->results, &row);
	}
	return error;
}

static int add_rows(struct measured_case *m, const struct around *around, double ops)
{
	int error = no_memory(around) ? -ENOMEM : add_locks(m, around, ops);

	return error || around->peer ? error : add_paths(m, around, ops);
}

int measure_count(struct measure *measure)
{
	static const struct case_work counting = {work, read_before, read_after};
	int error = 0;

	for (size_t i = 0; !error && i < measure->nr; i++) {
		struct measured_case *m = &measure->cases[i];
		bool kmm = !strcmp(m->run.c->allocator, "kmm");
		struct around around = {.machine = measure->machine,
					.peer = kmm ? NULL : m->run.c->peer};
		uint64_t n;
		char name[CASE_NAME];

		if (!has_locks(m))
			continue;
		case_name(m->run.c, name, sizeof(name));
		progress_step(measure->progress, measure->min_s, name);
		n = (uint64_t)fmax(1, measure->min_s * 1e9 / m->ns_per_batch);
		case_run_once(&m->run, n, &counting, &around);
		error = add_rows(m, &around, case_ops(m->run.c, n) * m->run.c->threads);
		free(around.probe.counts);
		free(around.before.counts);
		free(around.after.counts);
	}
	return error ? complain("locks.csv and paths.csv: %s", strerror(-error)) : EXIT_OK;
}

/* SPDX-License-Identifier: MIT */
/* The parent's part of alone.h: starts the workers, has them take rounds in turns, asks them for their
 * memory, and adds the rows. */
#include "config.h"

#include "bench/run/alone.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/command.h"
#include "bench/results/fragmentation.h"
#include "bench/run/worker.h"

#define FILL_S	 0.6 /* until a worker of rounds has filled its heap */
#define ROUND_S	 0.02
#define MEMORY_S 0.4 /* of a case that is looked at, without its rounds */

/* kmm's machine of another table of kmalloc's sizes; in the worker it is kmm. */
#define KMM_FINE "kmm-fine"

struct member {
	struct measured_case *m;
	struct worker_process process;
	double *samples; /* [nr_rounds], ns per operation */
	unsigned int nr_samples;
	bool skipped;
	/* Of memory: */
	struct alone_message held, drained, trimmed;
};

struct alone_run {
	struct measure *measure;
	struct member *members; /* [measure->nr]; all allocators of the one case under way */
	size_t nr_members;
	unsigned int seed;
	int error; /* of a row that could not be written */
};

static bool has_memory(const struct measured_case *m)
{
	const struct bench_case *c = m->run.c;
	size_t length = strlen(c->allocator);

	return c->memory && !c->skipped && !strcmp(c->placement, "local") &&
	       (length <= 3 || strcmp(c->allocator + length - 3, "-aa"));
}

static double rounds_s(const struct bench_case *c)
{
	return c->ops->alone ? FILL_S + c->ops->nr_rounds * ROUND_S : 0;
}

double alone_expected_s(const struct measure *measure)
{
	double seconds = 0;

	for (size_t i = 0; i < measure->nr; i++) {
		const struct measured_case *m = &measure->cases[i];

		seconds += rounds_s(m->run.c);
		if (has_memory(m))
			seconds += MEMORY_S + rounds_s(m->run.c);
	}
	return seconds;
}

/*
 * Workers.
 */
static int start_worker(const struct measure *measure, struct member *member, bool memory)
{
	struct bench_case c = *member->m->run.c;
	bool fine = !strcmp(c.allocator, KMM_FINE);
	char **argv = calloc((size_t)measure->argc + 10, sizeof(*argv));
	char name[CASE_NAME];
	int n = 0, status;

	if (!argv)
		return complain("no memory for a worker's command line");
	if (fine)
		c.allocator = "kmm";
	case_name(&c, name, sizeof(name));
	argv[n++] = "kmm";
	argv[n++] = "bench";
	/* What follows "--" are traces, which a worker has no use for. */
	for (int i = 1; i < measure->argc && strcmp(measure->argv[i], "--"); i++)
		argv[n++] = measure->argv[i];
	argv[n++] = "--allocators";
	argv[n++] = (char *)c.allocator;
	if (fine) {
		argv[n++] = "--classes";
		argv[n++] = "fine";
	}
	argv[n++] = memory ? "--alone-memory" : "--alone";
	argv[n++] = WORKER_SOCKET;
	argv[n++] = "--alone-case";
	argv[n++] = name;
	status = worker_start(&member->process, argv);
	free(argv);
	return status;
}

/* The worker has ended without a word, or with one of its own on stderr. */
static int end_of(struct member *member)
{
	char name[CASE_NAME];
	int sig, status = worker_end(&member->process, &sig);

	case_name(member->m->run.c, name, sizeof(name));
	if (sig)
		complain("%s: the process ended: %s", name, strsignal(sig));
	else if (status == EXIT_OK)
		complain("%s: the process ended too early", name);
	return status == EXIT_OK ? EXIT_FAILED : status;
}

static void add_sample(struct alone_run *run, struct member *member,
		       const struct alone_message *message)
{
	const struct bench_case *c = member->m->run.c;
	char trace[CASE_NAME];
	struct fragmentation_row row = {
		.trace = trace,
		.allocator = c->allocator,
		.event = message->point,
		.time_ns = message->sample.time_ns,
		.requested_bytes = (int64_t)message->sample.requested_bytes,
		.allocated_bytes = message->sample.allocated_known
					   ? (int64_t)message->sample.allocated_bytes
					   : CSV_UNKNOWN_WHOLE,
		.backing_bytes = (int64_t)message->sample.backing_bytes,
		.rss_bytes = (int64_t)message->sample.rss_bytes,
		.internal_frag = NAN,
		.huge_free_ratio = NAN,
	};

	snprintf(trace, sizeof(trace), "%s/%s/%s", c->suite, c->name, c->size);
	if (message->sample.allocated_known)
		row.internal_frag = internal_fragmentation(message->sample.requested_bytes,
							   message->sample.allocated_bytes);
	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++)
		row.indices.unusable_free_index[order] = row.indices.fragmentation_index[order] =
			NAN;
	if (message->point == ALONE_HELD)
		member->held = *message;
	else if (message->point == ALONE_DRAINED)
		member->drained = *message;
	else if (message->point == ALONE_DRAINED_TRIM)
		member->trimmed = *message;
	if (!run->error)
		run->error = results_fragmentation(run->measure->results, &row);
}

static void add_cache(struct alone_run *run, const struct member *member,
		      const struct alone_message *message)
{
	const struct bench_case *c = member->m->run.c;
	uint64_t allocated = message->cache.objects * message->cache.object_bytes;
	struct caches_row row = {
		.suite = c->suite,
		.name = c->name,
		.allocator = c->allocator,
		.size = c->size,
		.event = message->point,
		.cache = message->cache.name,
		.object_bytes = (int64_t)message->cache.object_bytes,
		.objects = (int64_t)message->cache.objects,
		.requested_bytes = message->cache.requested_known
					   ? (int64_t)message->cache.requested_bytes
					   : CSV_UNKNOWN_WHOLE,
		.allocated_bytes = (int64_t)allocated,
		.slabs = (int64_t)message->cache.slabs,
		.partial_slabs = (int64_t)message->cache.partial,
		.slab_bytes = (int64_t)message->cache.slab_bytes,
		.utilisation = (double)allocated / (double)message->cache.slab_bytes,
	};

	if (!run->error)
		run->error = results_caches(run->measure->results, &row);
}

/* Have a worker do one thing, and take what it says until that is done. */
static int command_worker(struct alone_run *run, struct member *member, char command)
{
	struct alone_message message;

	if (!worker_command(&member->process, command))
		return end_of(member);
	while (worker_receive(&member->process, &message, sizeof(message))) {
		switch (message.type) {
		case ALONE_ROUND:
			if (member->samples &&
			    member->nr_samples < member->m->run.c->ops->nr_rounds)
				member->samples[member->nr_samples++] =
					message.ns / (double)message.ops;
			return EXIT_OK;
		case ALONE_SAMPLE:
			add_sample(run, member, &message);
			break;
		case ALONE_CACHE:
			message.cache.name[sizeof(message.cache.name) - 1] = '\0';
			add_cache(run, member, &message);
			break;
		case ALONE_SKIPPED:
			member->skipped = true;
			message.note[sizeof(message.note) - 1] = '\0';
			snprintf(member->m->run.c->note, sizeof(message.note), "%s", message.note);
			return EXIT_OK;
		case ALONE_DONE:
			return EXIT_OK;
		}
	}
	return end_of(member);
}

static void end_all(struct alone_run *run)
{
	int sig;

	for (size_t i = 0; i < run->nr_members; i++) {
		if (run->members[i].process.pid)
			worker_end(&run->members[i].process, &sig);
		free(run->members[i].samples);
		run->members[i] = (struct member){0};
	}
	run->nr_members = 0;
}

static void step(const struct alone_run *run, const struct member *member, const char *what,
		 double seconds)
{
	char name[CASE_NAME], text[CASE_NAME + 16];

	case_name(member->m->run.c, name, sizeof(name));
	snprintf(text, sizeof(text), "%s%s", name, what);
	progress_step(run->measure->progress, seconds, text);
}

/*
 * Rounds.
 */
static bool same_case(const struct bench_case *a, const struct bench_case *b)
{
	return a->threads == b->threads && !strcmp(a->suite, b->suite) &&
	       !strcmp(a->name, b->name) && !strcmp(a->size, b->size) &&
	       !strcmp(a->placement, b->placement);
}

/* All allocators of the case at first. */
static int gather(struct alone_run *run, size_t first)
{
	const struct bench_case *c = run->measure->cases[first].run.c;

	for (size_t i = first; i < run->measure->nr; i++) {
		struct measured_case *m = &run->measure->cases[i];
		struct member *member = &run->members[run->nr_members];

		if (!is_alone(m) || !same_case(c, m->run.c))
			continue;
		*member = (struct member){.m = m,
					  .samples = calloc(c->ops->nr_rounds, sizeof(double))};
		if (!member->samples)
			return complain("no memory for rounds");
		run->nr_members++;
	}
	return EXIT_OK;
}

/* A round of each, in random order. */
static int take_round(struct alone_run *run)
{
	size_t order[run->nr_members];
	int status = EXIT_OK;

	for (size_t i = 0; i < run->nr_members; i++) {
		size_t j = (size_t)rand_r(&run->seed) % (i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	for (size_t i = 0; !status && i < run->nr_members; i++) {
		struct member *member = &run->members[order[i]];

		step(run, member, "", ROUND_S);
		if (!member->skipped)
			status = command_worker(run, member, 'r');
	}
	return status;
}

static int add_rounds(const struct member *member)
{
	int error = measure_add(member->m, member->nr_samples, member->samples,
				member->skipped ? 0 : (int)member->nr_samples);

	return error ? complain("cannot keep the results: %s", strerror(-error)) : EXIT_OK;
}

static int rounds_of_case(struct alone_run *run, size_t first)
{
	unsigned int nr_rounds = run->measure->cases[first].run.c->ops->nr_rounds;
	int status = gather(run, first);

	for (size_t i = 0; !status && i < run->nr_members; i++) {
		step(run, &run->members[i], "", FILL_S);
		status = start_worker(run->measure, &run->members[i], false);
	}
	for (unsigned int i = 0; !status && i < nr_rounds; i++)
		status = take_round(run);
	for (size_t i = 0; !status && i < run->nr_members; i++)
		if (!run->members[i].skipped)
			status = command_worker(run, &run->members[i], 'q');
	for (size_t i = 0; !status && i < run->nr_members; i++)
		status = add_rounds(&run->members[i]);
	end_all(run);
	return status;
}

static bool is_first(const struct measure *measure, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (same_case(measure->cases[i].run.c, measure->cases[at].run.c))
			return false;
	return true;
}

/*
 * Memory.
 */

/* What the allocator holds over what is requested, at three points; appended to a line. */
static void add_ratios(const struct member *member, char *line, size_t size)
{
	double held = (double)member->held.sample.requested_bytes;
	double drained = (double)member->drained.sample.requested_bytes;
	size_t used = strlen(line);

	if (held > 0 && drained > 0)
		snprintf(line + used, size - used, "%s %s %.2f %.2f %.2f", used ? "," : "",
			 member->m->run.c->allocator,
			 (double)member->held.sample.backing_bytes / held,
			 (double)member->drained.sample.backing_bytes / drained,
			 (double)member->trimmed.sample.backing_bytes / drained);
}

static int memory_of(struct alone_run *run, struct measured_case *m, char *line, size_t size)
{
	unsigned int nr_rounds = is_alone(m) ? m->run.c->ops->nr_rounds : 1;
	struct member *member = &run->members[0];
	int status;

	*member = (struct member){.m = m};
	run->nr_members = 1;
	step(run, member, " (memory)", MEMORY_S + rounds_s(m->run.c));
	status = start_worker(run->measure, member, true);
	for (unsigned int i = 0; !status && !member->skipped && i < nr_rounds; i++)
		status = command_worker(run, member, 'r');
	if (!status && !member->skipped)
		status = command_worker(run, member, 'm');
	if (!status)
		add_ratios(member, line, size);
	end_all(run);
	return status;
}

/* All allocators of the case at first, and for the summary a line of cases that are memory's. */
static int memory_of_case(struct alone_run *run, size_t first)
{
	const struct bench_case *c = run->measure->cases[first].run.c;
	char line[1024] = "";
	int status = EXIT_OK;

	for (size_t i = first; !status && i < run->measure->nr; i++) {
		struct measured_case *m = &run->measure->cases[i];

		if (has_memory(m) && same_case(c, m->run.c))
			status = memory_of(run, m, line, sizeof(line));
	}
	if (c->ops->alone && line[0])
		results_remark(run->measure->results,
			       "%s/%s, memory over what is requested at the peak, after three "
			       "quarters are freed, and trimmed:%s",
			       c->name, c->size, line);
	return status;
}

int measure_alone(struct measure *measure)
{
	struct alone_run run = {.measure = measure, .seed = 1};
	int status = EXIT_OK;

	run.members = calloc(measure->nr + 1, sizeof(*run.members));
	if (!run.members)
		return complain("no memory for %zu cases", measure->nr);
	for (size_t i = 0; !status && i < measure->nr; i++)
		if (is_alone(&measure->cases[i]) && is_first(measure, i))
			status = rounds_of_case(&run, i);
	for (size_t i = 0; !status && i < measure->nr; i++)
		if (measure->cases[i].run.c->memory && is_first(measure, i))
			status = memory_of_case(&run, i);
	free(run.members);
	if (!status && run.error)
		status = complain("cannot keep the results: %s", strerror(-run.error));
	return status;
}

/* SPDX-License-Identifier: MIT */
/*
 * Runs a replay: starts a worker process for each allocator (replay_internal.h), has every one
 * replay once with samples, then times repetitions in random order, and adds the rows.
 *
 * ns_per_op is that of two events, as everywhere a pair of an allocation and a free.
 */
#include "bench/replay/replay_run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/command.h"
#include "bench/results/fragmentation.h"
#include "bench/replay/replay.h"
#include "bench/run/worker.h"

#define MAX_WORKERS (2 * PEER_MAX + PAGE_PEER_MAX + 1)

struct member {
	char name[64];
	const char *spec; /* for object_peer_load, or page_peer_load */
	bool page_peer;
	struct worker_process process;
	bool missing, emulated;
	char why[96]; /* it is missing */
	u64 events;
	double ns_per_event[REPLAY_REPETITIONS_MAX];
	int nr_repetitions;
	struct replay_sample peak; /* when most was requested */
	s64 leaked_bytes;
};

struct crew {
	const struct replay_plan *plan;
	enum kmt_population population;
	struct member members[MAX_WORKERS];
	int nr_members;
	double step_seconds;
};

static const char *population_name(enum kmt_population population)
{
	return population == KMT_PAGES ? "page" : "object";
}

static struct member *add_member(struct crew *crew, const char *spec)
{
	struct member *member = &crew->members[crew->nr_members++];

	member->spec = spec;
	snprintf(member->name, sizeof(member->name), "%.*s", (int)strcspn(spec, "="), spec);
	return member;
}

static void choose_members(struct crew *crew)
{
	const struct common_options *common = crew->plan->common;

	if (list_has(common->allocators, "kmm"))
		add_member(crew, "kmm");
	for (int i = 0; object_peer_names[i] && i < PEER_MAX; i++) {
		const char *name = object_peer_names[i];
		size_t length = strlen(name);
		bool given = false;

		for (int j = 0; j < common->nr_peers; j++)
			given |= strcspn(common->peers[j], "=") == length &&
				 !strncmp(common->peers[j], name, length);
		if (!given && list_has(common->allocators, name))
			add_member(crew, name);
	}
	for (int i = 0; i < common->nr_peers; i++)
		add_member(crew, common->peers[i]);
	for (int i = 0; crew->population == KMT_PAGES && i < common->nr_page_peers; i++) {
		struct member *member = add_member(crew, common->page_peers[i]);

		member->page_peer = true;
		snprintf(member->name, sizeof(member->name), "%s", crew->plan->page_peers[i].name);
	}
}

/* A crew on the heap, or NULL; it has no processes yet. */
static struct crew *crew_new(const struct replay_plan *plan, enum kmt_population population)
{
	struct crew *crew = calloc(1, sizeof(*crew));

	if (!crew)
		return NULL;
	crew->plan = plan;
	crew->population = population;
	choose_members(crew);
	return crew;
}

/* A member's row in throughput.csv, without figures, and what it points into. */
struct row {
	struct measurement m;
	char name[80], note[128];
};

/* A missing allocator's says why. */
static void row_init(struct row *row, const struct crew *crew, const struct member *member)
{
	row->m = (struct measurement){
		.suite = "replay",
		.name = row->name,
		.allocator = member->name,
		.placement = "local",
		.size = "trace",
		.threads = 1,
		.note = row->note,
	};
	snprintf(row->name, sizeof(row->name), "%s-%s", crew->plan->trace->name,
		 population_name(crew->population));
	if (member->missing)
		snprintf(row->note, sizeof(row->note), "skipped: %s", member->why);
	else
		snprintf(row->note, sizeof(row->note), "%sone thread in recorded order%s",
			 member->leaked_bytes > 0 ? "failed: leaked; " : "",
			 member->emulated ? "; emulated" : "");
}

/* Should the run end early: what there will be of a member, or will not. */
static void tell_row(const struct crew *crew, const struct member *member)
{
	struct row row;

	row_init(&row, crew, member);
	if (crew->plan->results)
		results_planned(crew->plan->results, &row.m);
}

/* And what there is by now. */
static void tell_repetition(const struct crew *crew, const struct member *member)
{
	const double ns_per_op = 2 * member->ns_per_event[member->nr_repetitions - 1];
	struct row row;

	row_init(&row, crew, member);
	row.m.ops = member->events / 2;
	row.m.samples = &ns_per_op;
	row.m.nr_samples = 1;
	if (crew->plan->results)
		results_sample(crew->plan->results, &row.m);
}

/* With the worker's command line. */
static int start_worker(const struct crew *crew, struct member *member)
{
	const struct replay_plan *plan = crew->plan;
	const struct kmm_config *config = &plan->common->config;
	char ids[16], every[24], memory[24], min_free[24], factor[16];
	u64 events = kmt_counts_population(&plan->trace->counts, crew->population);
	const char *argv[40];
	int n = 0;

	snprintf(ids, sizeof(ids), "%u", plan->trace->nr_ids[crew->population]);
	snprintf(every, sizeof(every), "%llu", (unsigned long long)(events / REPLAY_SAMPLES + 1));
	argv[n++] = "kmm";
	argv[n++] = "replay";
	argv[n++] = "--worker";
	argv[n++] = WORKER_SOCKET;
	argv[n++] = member->page_peer ? "--onto-page-peer" : "--onto";
	argv[n++] = member->spec;
	argv[n++] = "--events";
	argv[n++] = population_name(crew->population);
	argv[n++] = "--ids";
	argv[n++] = ids;
	argv[n++] = "--sample-every";
	argv[n++] = every;
	if (!plan->verify)
		argv[n++] = "--no-verify";
	if (config->synthetic) {
		argv[n++] = "--synthetic";
		argv[n++] = config->synthetic;
	}
	if (config->xml) {
		argv[n++] = "--xml";
		argv[n++] = config->xml;
	}
	if (config->node_bytes) {
		snprintf(memory, sizeof(memory), "%llu", (unsigned long long)config->node_bytes);
		argv[n++] = "--memory";
		argv[n++] = memory;
	}
	argv[n++] = "--zones";
	argv[n++] = config->layout == ZONES_I386 ? "i386" : "x86_64";
	argv[n++] = "--lock";
	argv[n++] = lock_kind_name(config->lock_kind);
	if (config->min_free_kbytes) {
		snprintf(min_free, sizeof(min_free), "%lu", config->min_free_kbytes);
		argv[n++] = "--min-free-kbytes";
		argv[n++] = min_free;
	}
	if (config->watermark_scale_factor) {
		snprintf(factor, sizeof(factor), "%u", config->watermark_scale_factor);
		argv[n++] = "--watermark-scale-factor";
		argv[n++] = factor;
	}
	if (config->no_watermarks)
		argv[n++] = "--no-watermarks";
	if (config->warn_alloc)
		argv[n++] = "--warn-alloc";
	if (config->slub_debug) {
		argv[n++] = "--slub-debug";
		argv[n++] = config->slub_debug;
	}
	if (config->slab_nomerge)
		argv[n++] = "--slab-nomerge";
	argv[n++] = "--classes";
	argv[n++] = config->kmalloc_classes == KMALLOC_CLASSES_FINE ? "fine" : "kernel";
	if (config->no_thp)
		argv[n++] = "--no-thp";
	argv[n++] = plan->trace->path;
	argv[n] = NULL;
	return worker_start(&member->process, (char **)argv);
}

static void add_sample(const struct crew *crew, struct member *member,
		       const struct replay_sample *sample)
{
	struct fragmentation_row row = {
		.trace = crew->plan->trace->name,
		.allocator = member->name,
		.event = (s64)sample->event,
		.time_ns = (s64)sample->time_ns,
		.requested_bytes = (s64)sample->requested_bytes,
		.allocated_bytes =
			sample->allocated_known ? (s64)sample->allocated_bytes : CSV_UNKNOWN_WHOLE,
		.backing_bytes =
			sample->backing_known ? (s64)sample->backing_bytes : CSV_UNKNOWN_WHOLE,
		.rss_bytes = (s64)sample->rss_bytes,
		.internal_frag = NAN,
		.huge_free_ratio = sample->huge_free_ratio,
	};
	char trace[80];

	snprintf(trace, sizeof(trace), "%s-%s", crew->plan->trace->name,
		 population_name(crew->population));
	row.trace = trace;
	if (sample->allocated_known)
		row.internal_frag =
			internal_fragmentation(sample->requested_bytes, sample->allocated_bytes);
	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
		row.indices.unusable_free_index[order] =
			sample->free_known ? unusable_free_index(&sample->free, order) : NAN;
		row.indices.fragmentation_index[order] =
			sample->free_known ? fragmentation_index(&sample->free, order) : NAN;
	}
	if (sample->requested_bytes >= member->peak.requested_bytes)
		member->peak = *sample;
	if (crew->plan->results)
		results_fragmentation(crew->plan->results, &row);
}

/* The worker is gone, or says that it cannot. */
static int complain_of(const struct crew *crew, struct member *member, const char *line, int status)
{
	const char *trace = crew->plan->trace->name, *kind = population_name(crew->population);
	int sig = 0;

	worker_end(&member->process, &sig);
	if (line)
		complain("%s: %s events onto %s: %s", trace, kind, member->name, line);
	else
		complain("%s: %s events onto %s: the process ended: %s", trace, kind, member->name,
			 sig ? strsignal(sig) : "no reason given");
	return line ? status : EXIT_FAILED;
}

/* Have a worker do one thing. */
static int command_worker(struct crew *crew, struct member *member, char command)
{
	struct replay_message message;

	if (!worker_command(&member->process, command))
		return complain_of(crew, member, NULL, 0);
	while (worker_receive(&member->process, &message, sizeof(message))) {
		switch (message.type) {
		case REPLAY_SAMPLE:
			add_sample(crew, member, &message.sample);
			break;
		case REPLAY_DONE:
			member->events = message.events;
			member->emulated = message.emulated;
			if (command == 't') {
				member->ns_per_event[member->nr_repetitions++] =
					message.ns / (double)message.events;
				tell_repetition(crew, member);
			}
			return EXIT_OK;
		case REPLAY_LEAKS:
			member->leaked_bytes = message.leaked_bytes;
			return EXIT_OK;
		case REPLAY_MISSING:
			member->missing = true;
			message.line[sizeof(message.line) - 1] = '\0';
			snprintf(member->why, sizeof(member->why), "%.80s", message.line);
			tell_row(crew, member);
			return EXIT_OK;
		case REPLAY_FAILED:
			message.line[sizeof(message.line) - 1] = '\0';
			return complain_of(crew, member, message.line, message.status);
		}
	}
	return complain_of(crew, member, NULL, 0);
}

static void step(const struct crew *crew, const struct member *member)
{
	char name[RESULTS_CASE_NAME];
	struct row row;

	row_init(&row, crew, member);
	results_case_name(&row.m, name, sizeof(name));
	progress_step(crew->plan->progress, crew->step_seconds, name);
}

/* A repetition of each, in random order, so that what the machine does meanwhile falls on all
 * alike. */
static int repeat(struct crew *crew, unsigned int *seed)
{
	int order[MAX_WORKERS];

	for (int i = 0; i < crew->nr_members; i++) {
		int j = rand_r(seed) % (i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	for (int i = 0; i < crew->nr_members; i++) {
		struct member *member = &crew->members[order[i]];
		int status;

		step(crew, member);
		if (member->missing)
			continue;
		status = command_worker(crew, member, 't');
		if (status)
			return status;
	}
	return EXIT_OK;
}

static int run_all(struct crew *crew)
{
	unsigned int seed = 1;
	int status = EXIT_OK, sig;

	for (int i = 0; !status && i < crew->nr_members; i++) {
		struct member *member = &crew->members[i];

		step(crew, member);
		status = start_worker(crew, member);
		if (!status)
			status = command_worker(crew, member, 'm');
	}
	for (int i = 0; !status && i < crew->plan->repetitions; i++)
		status = repeat(crew, &seed);
	for (int i = 0; !status && i < crew->nr_members; i++)
		if (!crew->members[i].missing)
			status = command_worker(crew, &crew->members[i], 'q');
	for (int i = 0; i < crew->nr_members; i++) {
		struct member *member = &crew->members[i];

		if (member->process.pid)
			worker_end(&member->process, &sig);
	}
	return status;
}

static void add_row(const struct crew *crew, const struct member *member)
{
	double ns_per_op[REPLAY_REPETITIONS_MAX];
	struct row row;

	row_init(&row, crew, member);
	row.m.ops = member->events / 2 * (u64)member->nr_repetitions;
	row.m.samples = ns_per_op;
	row.m.nr_samples = member->nr_repetitions;
	for (int i = 0; i < member->nr_repetitions; i++)
		ns_per_op[i] = 2 * member->ns_per_event[i];
	results_measured(crew->plan->results, &row.m);
}

/* "12.3M", in the units of a table. */
static const char *megabytes(bool known, u64 bytes, char text[16])
{
	if (known)
		snprintf(text, 16, "%.1f", (double)bytes / (1 << 20));
	else
		snprintf(text, 16, "-");
	return text;
}

static void print_row(FILE *out, const struct member *member)
{
	struct stats_summary ns = stats_summarise(member->ns_per_event, member->nr_repetitions);
	const struct replay_sample *peak = &member->peak;
	char requested[16], backing[16], rss[16], internal[16] = "-", leaked[24] = "unknown";

	if (peak->allocated_known && peak->allocated_bytes)
		snprintf(
			internal, sizeof(internal), "%.1f %%",
			100 * internal_fragmentation(peak->requested_bytes, peak->allocated_bytes));
	if (member->leaked_bytes >= 0)
		snprintf(leaked, sizeof(leaked), "%lld", (long long)member->leaked_bytes);
	fprintf(out, "  %-12s %8.1f %7.1f..%-7.1f %10s %10s %10s %10s %12s\n", member->name,
		ns.median, ns.ci.low, ns.ci.high, megabytes(true, peak->requested_bytes, requested),
		megabytes(peak->backing_known, peak->backing_bytes, backing),
		megabytes(true, peak->rss_bytes, rss), internal, leaked);
}

static void print_table(const struct crew *crew)
{
	FILE *out = crew->plan->table;

	fprintf(out, "\n%s events of %s: one thread in recorded order%s\n",
		crew->population == KMT_PAGES ? "Page" : "Object", crew->plan->trace->name,
		crew->plan->verify ? "; contents checked" : "");
	fprintf(out, "  %-12s %8s %16s %10s %10s %10s %10s %12s\n", "allocator", "ns/event",
		"95 % interval", "peak MiB", "backing", "RSS", "internal", "leaked bytes");
	for (int i = 0; i < crew->nr_members; i++) {
		if (crew->members[i].missing)
			fprintf(out, "  %-12s %8s\n", crew->members[i].name, "skipped");
		else
			print_row(out, &crew->members[i]);
	}
}

/* Leaks are a failure of kmm, or of us. */
static int check_leaks(const struct crew *crew)
{
	for (int i = 0; i < crew->nr_members; i++) {
		const struct member *member = &crew->members[i];

		if (!member->missing && member->leaked_bytes > 0) {
			complain("%s: %s events onto %s: %lld bytes leaked after the final drain",
				 crew->plan->trace->name, population_name(crew->population),
				 member->name, (long long)member->leaked_bytes);
			return EXIT_FAILED;
		}
	}
	return EXIT_OK;
}

static int run_population(const struct replay_plan *plan, enum kmt_population population,
			  double seconds)
{
	struct crew *crew = crew_new(plan, population);
	int status;

	if (!crew)
		return complain("replay: no memory");
	if (crew->nr_members)
		crew->step_seconds = seconds / ((1 + plan->repetitions) * crew->nr_members);
	status = run_all(crew);
	if (!status && plan->results)
		for (int i = 0; i < crew->nr_members; i++)
			add_row(crew, &crew->members[i]);
	if (!status && plan->table)
		print_table(crew);
	if (!status)
		status = check_leaks(crew);
	free(crew);
	return status;
}

static u64 nr_events(const struct replay_plan *plan, enum kmt_population population)
{
	return plan->populations[population]
		       ? kmt_counts_population(&plan->trace->counts, population)
		       : 0;
}

void replay_plan_tell(const struct replay_plan *plan)
{
	for (int i = 0; i < KMT_NR_POPULATIONS; i++) {
		struct crew *crew = nr_events(plan, i) ? crew_new(plan, i) : NULL;

		for (int j = 0; crew && j < crew->nr_members; j++)
			tell_row(crew, &crew->members[j]);
		free(crew);
	}
}

int replay_plan_run(const struct replay_plan *plan)
{
	double events[KMT_NR_POPULATIONS], all = 0;
	int status = EXIT_OK;

	for (int i = 0; i < KMT_NR_POPULATIONS; i++) {
		events[i] = (double)nr_events(plan, i);
		all += events[i];
	}
	for (int i = 0; !status && i < KMT_NR_POPULATIONS; i++)
		if (events[i] > 0)
			status = run_population(plan, i, plan->progress_seconds * events[i] / all);
	return status;
}

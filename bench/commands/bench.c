/* SPDX-License-Identifier: MIT */
/*
 * kmm bench: boots the machine, loads the other allocators, takes the cases that are wanted
 * (choose.h), measures them (measure.h), replays the traces it is given, and writes one run. All of
 * it but the parsing of options happens in a supervised child.
 */
#include "config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "bench/run/alone.h"
#include "bench/options/choose.h"
#include "bench/command.h"
#include "bench/commands/bench_linux.h"
#include "bench/options/fleet_options.h"
#include "bench/run/measure.h"
#include "bench/options/options.h"
#include "bench/replay/replay.h"
#include "bench/results/summary.h"
#include "bench/run/supervise.h"

struct bench {
	struct common_options common;
	bool full, with_linux;
	struct choice choice;
	long max_threads;     /* 0: all CPUs */
	long profile_seconds; /* 0: measure */
	char **traces;
	struct replay_trace *opened; /* the traces, in the child */
	int nr_traces;
	int argc; /* of the command line, for machine.json */
	char **argv;
	char **flags; /* Google Benchmark's; [0] is the program */
	int nr_flags;

	struct object_peer peers[PEER_MAX + PAGE_PEER_MAX]; /* page peers behind the others */
	const char *missing[PEER_MAX];
	int nr_peers, nr_page_peers, nr_missing;
	struct fleet_options fleet;
	long alone_socket;
	struct kmm *machine;
	struct bench_env env;
	struct case_list list;
};

enum {
	OPTION_QUICK = 1,
	OPTION_FULL,
	OPTION_SUITE,
	OPTION_CASE,
	OPTION_THREADS,
	OPTION_PROFILE,
	OPTION_TRACES,
	OPTION_FLEET,
	OPTION_FLEET_SIZE,
	OPTION_WITH_LINUX,
	OPTION_HELP,
	/* How the command calls itself; see alone.h. */
	OPTION_ALONE,
	OPTION_ALONE_MEMORY,
	OPTION_ALONE_CASE,
};

#define HELP_SHOWN (-1) /* from parse(): no run, and nothing was wrong */

static const struct option long_options[] = {
	COMMON_OPTIONS,
	{"quick", no_argument, NULL, OPTION_QUICK},
	{"full", no_argument, NULL, OPTION_FULL},
	{"suite", required_argument, NULL, OPTION_SUITE},
	{"case", required_argument, NULL, OPTION_CASE},
	{"threads", required_argument, NULL, OPTION_THREADS},
	{"profile-seconds", required_argument, NULL, OPTION_PROFILE},
	{"traces", required_argument, NULL, OPTION_TRACES},
	{"fleet", required_argument, NULL, OPTION_FLEET},
	{"fleet-size", required_argument, NULL, OPTION_FLEET_SIZE},
	{"with-linux", no_argument, NULL, OPTION_WITH_LINUX},
	{"alone", required_argument, NULL, OPTION_ALONE},
	{"alone-memory", required_argument, NULL, OPTION_ALONE_MEMORY},
	{"alone-case", required_argument, NULL, OPTION_ALONE_CASE},
	{"help", no_argument, NULL, OPTION_HELP},
	{0},
};

static int help(void)
{
	puts("Usage: kmm bench [OPTION]... [TRACE]...\n"
	     "Measure kmm and other allocators, side by side, and replay each TRACE into the same "
	     "run.\n\n"
	     "      --quick             about three minutes (the default)\n"
	     "      --full              every order and size, longer repetitions\n"
	     "      --suite LIST        only these suites, separated by commas\n"
	     "      --case LIST         only these cases\n"
	     "      --threads N         cases with 1 and with N threads (default: all CPUs)\n"
	     "      --traces FILE       the same as TRACE\n"
	     "      --fleet FILE        case fleet: a table size,alloc_rate,num_live; repeatable\n"
	     "      --fleet-size SIZE   its live bytes (64M; with --full 256M)\n"
	     "      --with-linux        the Linux kernel too, where `make bench-linux' has built "
	     "it\n"
	     "      --profile-seconds N run the chosen cases for N seconds in all, and write "
	     "nothing\n"
	     "      --benchmark_*       Google Benchmark's own: _filter=REGEX, _repetitions=N,\n"
	     "                          _min_time=SECONDS, _list_tests, ...");
	fputs(COMMON_HELP "\nSuites:\n", stdout);
	for (int i = 0; suites[i]; i++)
		printf("  %-10s %s\n", suites[i]->name, suites[i]->summary);
	return EXIT_OK;
}

static int take_alone(struct bench *b, const char *socket)
{
	return parse_number(socket, 0, INT_MAX, &b->alone_socket)
		       ? complain("--alone: %s: not a number", socket)
		       : EXIT_OK;
}

static int bench_option(struct bench *b, int option, const char *argument)
{
	switch (option) {
	case OPTION_QUICK:
		b->full = false;
		return EXIT_OK;
	case OPTION_FULL:
		b->full = true;
		return EXIT_OK;
	case OPTION_SUITE:
		b->choice.suites = argument;
		return EXIT_OK;
	case OPTION_CASE:
		b->choice.cases = argument;
		return EXIT_OK;
	case OPTION_THREADS:
		return parse_number(argument, 1, 1024, &b->max_threads)
			       ? complain("--threads: %s: not a number from 1 to 1024", argument)
			       : EXIT_OK;
	case OPTION_PROFILE:
		return parse_number(argument, 1, 86400, &b->profile_seconds)
			       ? complain("--profile-seconds: %s: not a number of seconds",
					  argument)
			       : EXIT_OK;
	case OPTION_TRACES:
		b->traces[b->nr_traces++] = optarg;
		return EXIT_OK;
	case OPTION_FLEET:
		return fleet_options_add(&b->fleet, argument);
	case OPTION_FLEET_SIZE:
		return fleet_options_size(&b->fleet, argument);
	case OPTION_WITH_LINUX:
		b->with_linux = true;
		return EXIT_OK;
	case OPTION_ALONE_MEMORY:
		alone_without_huge_pages();
		return take_alone(b, argument);
	case OPTION_ALONE:
		return take_alone(b, argument);
	case OPTION_ALONE_CASE:
		b->choice.one = argument;
		return EXIT_OK;
	default:
		return common_option(&b->common, option, argument);
	}
}

/* Take Google Benchmark's flags out of argv. */
static int split_flags(struct bench *b, int *argc, char **argv)
{
	int kept = 1;

	b->flags[b->nr_flags++] = argv[0];
	for (int i = 1; i < *argc; i++) {
		if (gbench_is_flag(argv[i]))
			b->flags[b->nr_flags++] = argv[i];
		else
			argv[kept++] = argv[i];
	}
	argv[kept] = NULL;
	*argc = kept;
	return 0;
}

static int boot(struct bench *b)
{
	int status = load_peers(&b->common, b->peers, &b->nr_peers, b->missing, &b->nr_missing);

	status = status ? status : boot_machine(&b->common, &b->machine);
	if (status)
		return status;
	b->env = (struct bench_env){
		.machine = b->machine,
		.peers = b->peers,
		.nr_peers = b->nr_peers,
		.page_peers = b->peers + b->nr_peers,
		.fleets = b->fleet.profiles,
		.nr_fleets = b->fleet.nr,
		.fleet_bytes = b->fleet.bytes,
		.full = b->full,
		.emulated = topology_emulated(b->machine->topology),
		.nr_threads_max = b->max_threads ? (int)b->max_threads
						 : (int)topology_nr_cpus(b->machine->topology),
	};
	status = load_page_peers(&b->common, b->peers, b->nr_peers, b->machine,
				 (unsigned int)b->env.nr_threads_max, b->peers + b->nr_peers,
				 &b->nr_page_peers);
	b->env.nr_page_peers = b->nr_page_peers;
	return status;
}

/* A row for what does not run: cases that a suite skips, and all of a missing allocator's (as any
 * peer has them). As results_planned or results_measured does it. */
static int add_skipped(const struct bench *b, struct results *results,
		       int (*add)(struct results *results, const struct measurement *m))
{
	const char *like = b->nr_peers ? b->peers[0].name : "kmm";
	int error = 0;

	for (size_t i = 0; !error && i < b->list.nr; i++) {
		const struct bench_case *c = &b->list.cases[i];
		struct measurement row = case_measurement(c);

		if (c->skipped)
			error = add(results, &row);
		row.note = b->env.emulated ? "skipped: not installed; emulated"
					   : "skipped: not installed";
		for (int j = 0; !error && j < b->nr_missing && !strcmp(c->allocator, like); j++) {
			row.allocator = b->missing[j];
			error = add(results, &row);
		}
	}
	return error ? complain("cannot keep the results: %s", strerror(-error)) : EXIT_OK;
}

/* What is to come, should the run end before it does. */
static int tell_plan(const struct bench *b, struct results *results)
{
	for (size_t i = 0; i < b->list.nr; i++) {
		const struct measurement row = case_measurement(&b->list.cases[i]);

		if (!b->list.cases[i].skipped)
			results_planned(results, &row);
	}
	for (int i = 0; i < b->nr_traces; i++)
		replay_planned(results, &b->opened[i], &b->common, b->peers + b->nr_peers);
	return add_skipped(b, results, results_planned);
}

static void plan(const struct bench *b, struct measure *measure)
{
	measure->repetitions = gbench_repetitions();
	measure->budget_s = b->full ? 0 : 135;
	measure->min_s = b->full ? 0.02 : 0.002;
	measure->max_s = b->full ? 0.05 : 0.02;
	measure->latency_s = b->full ? 0.5 : 0.02;
	if (gbench_min_time() > 0) {
		measure->budget_s = 0;
		measure->min_s = measure->max_s = gbench_min_time();
	}
	measure->argc = b->argc;
	measure->argv = b->argv;
	measure->emulated = b->env.emulated;
	measure->machine = b->machine;
}

static int measure_all(struct measure *measure)
{
	int status = measure_calibrate(measure);

	status = status ? status : measure_repeat(measure);
	status = status ? status : measure_latency(measure);
	status = status ? status : measure_rounds(measure);
	status = status ? status : measure_alone(measure);
	return status ? status : measure_count(measure);
}

static int profile(const struct bench *b, struct measure *measure)
{
	for (size_t i = 0; i < measure->nr; i++)
		measure_profile(&measure->cases[i],
				(double)b->profile_seconds / (double)measure->nr);
	return measure->nr ? EXIT_OK : complain("every case chosen is skipped");
}

/* End the machine; what is still allocated then was lost by a case. */
static int shut_down(struct bench *b)
{
	struct kmm_leaks leaks = {0};
	int error;

	stop_page_peers(b->peers + b->nr_peers, b->nr_page_peers);
	error = b->machine ? kmm_shutdown(b->machine, &leaks) : 0;
	b->machine = NULL;
	if (!error)
		return EXIT_OK;
	complain(
		"the suites leaked %llu pages, %llu objects, %llu large kmallocs, %llu vmap areas, "
		"%llu kmap windows",
		(unsigned long long)leaks.pages, (unsigned long long)leaks.objects,
		(unsigned long long)leaks.large_kmallocs, (unsigned long long)leaks.vmap_areas,
		(unsigned long long)leaks.kmaps);
	return EXIT_FAILED;
}

static int replay_all(const struct bench *b, struct results *results, struct progress *progress)
{
	int status = EXIT_OK;

	for (int i = 0; !status && i < b->nr_traces; i++)
		status = replay_into(results, &b->opened[i],
				     replay_seconds(b->traces[i], &b->common), &b->common,
				     b->peers + b->nr_peers, progress);
	return status;
}

/* Each is read through, but once: it may be a pipe. */
static int open_traces(struct bench *b)
{
	int status = EXIT_OK;

	b->opened = calloc((size_t)b->nr_traces + 1, sizeof(*b->opened));
	if (!b->opened)
		return complain("no memory for %d traces", b->nr_traces);
	for (int i = 0; i < b->nr_traces; i++)
		b->opened[i].fd = -1;
	for (int i = 0; !status && i < b->nr_traces; i++)
		status = replay_trace_open(b->traces[i], &b->opened[i]);
	return status;
}

static void close_traces(struct bench *b)
{
	for (int i = 0; b->opened && i < b->nr_traces; i++)
		replay_trace_close(&b->opened[i]);
	free(b->opened);
}

static int finish(struct results *results, struct progress *progress)
{
	progress_finish(progress);
	if (results_commit(results))
		return EXIT_BAD_INPUT;
	summary_print(results, stdout);
	return EXIT_OK;
}

static int run_cases(struct bench *b, struct supervised *run)
{
	struct progress progress;
	struct measure measure = {.progress = &progress, .results = run->results};
	struct bench_linux with;
	double seconds;
	int status, without = EXIT_OK;

	plan(b, &measure);
	if (measure_init(&measure, &b->list)) {
		status = complain("no memory for %zu cases", b->list.nr);
		goto out;
	}
	if (!b->profile_seconds && (status = open_traces(b)))
		goto out;
	say_missing(b->missing, b->nr_missing);
	seconds = measure_expected_s(&measure);
	for (int i = 0; i < b->nr_traces; i++)
		seconds += replay_seconds(b->traces[i], &b->common);
	seconds += b->with_linux ? LINUX_SECONDS : 0;
	progress_start(&progress, seconds, run->running);
	if (b->profile_seconds) {
		status = profile(b, &measure);
		goto out;
	}
	status = results_describe(run->results, b->machine, b->peers,
				  b->nr_peers + b->nr_page_peers, b->argc, b->argv)
			 ? complain("cannot describe the machine")
			 : EXIT_OK;
	status = status ? status : tell_plan(b, run->results);
	status = status ? status : measure_all(&measure);
	status = status ? status : add_skipped(b, run->results, results_measured);
	if (!status)
		run->running[0] = '\0'; /* what fails from here on is no case's fault */
	with = bench_linux_plan(&b->env, &b->common, &b->choice, b->opened, b->nr_traces);
	status = status ? status : shut_down(b);
	status = status ? status : replay_all(b, run->results, &progress);
	if (!status && b->with_linux)
		without = bench_linux_run(&with, run->results, &progress);
	status = status ? status : finish(run->results, &progress);
	status = status ? status : without;
out:
	close_traces(b);
	measure_destroy(&measure);
	return status;
}

static int work(struct supervised *run, void *arg)
{
	struct bench *b = arg;
	int status = boot(b), closed;

	status = status ? status : choose_cases(&b->choice, &b->env, &b->list);
	if (!status)
		status = gbench_list_only() ? choose_print(&b->list) : run_cases(b, run);
	closed = shut_down(b);
	free(b->list.cases);
	return status ? status : closed;
}

/* A process of one case's own. */
static int work_alone(struct bench *b)
{
	int status = boot(b), closed;

	status = status ? status : choose_cases(&b->choice, &b->env, &b->list);
	status = status ? status : alone_worker(&b->list.cases[0], (int)b->alone_socket);
	closed = shut_down(b);
	free(b->list.cases);
	return status ? status : closed;
}

static int parse(struct bench *b, int argc, char **argv)
{
	char line[256];
	int option, status;

	common_options_init(&b->common);
	split_flags(b, &argc, argv);
	while ((option = next_option(argc, argv, "", long_options)) >= 0) {
		if (option == OPTION_HELP)
			return help(), HELP_SHOWN;
		if ((status = bench_option(b, option, optarg)))
			return status;
	}
	if (option == OPTION_BAD)
		return EXIT_BAD_INPUT;
	while (optind < argc)
		b->traces[b->nr_traces++] = argv[optind++];
	if (gbench_init(b->nr_flags, b->flags, line, sizeof(line)))
		return complain("%s", line);
	b->choice.allocators = b->common.allocators;
	status = choose_check_suites(&b->choice);
	for (int i = 0; !status && !b->choice.one && i < b->nr_traces; i++)
		status = replay_check(b->traces[i]);
	return status;
}

int command_bench(int argc, char **argv)
{
	struct bench *b = calloc(1, sizeof(*b));
	char **words = b ? calloc(4 * ((size_t)argc + 1), sizeof(*words)) : NULL;
	bool keeps_nothing;
	int status;

	if (!words) {
		free(b);
		return complain("no memory");
	}
	b->argc = argc;
	b->argv = memcpy(words, argv, (size_t)argc * sizeof(*words));
	b->traces = words + argc + 1;
	b->flags = words + 2 * (argc + 1);
	memcpy(words + 3 * (argc + 1), argv, (size_t)argc * sizeof(*words));
	status = parse(b, argc, words + 3 * (argc + 1));
	keeps_nothing = gbench_list_only() || b->profile_seconds;
	if (!status && b->choice.one)
		status = work_alone(b);
	else if (!status)
		status = supervise(keeps_nothing ? NULL : b->common.results_dir, work, b);
	fleet_options_free(&b->fleet);
	free(words);
	free(b);
	return status == HELP_SHOWN ? EXIT_OK : status;
}

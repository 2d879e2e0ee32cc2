/* SPDX-License-Identifier: MIT */
/* kmm show: the machine's state in the kernel's own /proc formats, freshly booted or as a trace
 * leaves it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/command.h"
#include "bench/options/options.h"
#include "bench/replay/replay_internal.h"

enum { OPTION_EVENTS = 1, OPTION_HELP };

static const struct option long_options[] = {
	MACHINE_OPTIONS,
	{"events", required_argument, NULL, OPTION_EVENTS},
	{"help", no_argument, NULL, OPTION_HELP},
	{0},
};

static const struct report {
	const char *name;
	int (*show)(struct kmm *machine, FILE *out);
	enum kmt_population population; /* of a trace's, the one that it tells most of */
	const char *summary;
} reports[] = {
	{"buddyinfo", show_buddyinfo, KMT_PAGES, "free blocks by zone and order"},
	{"pagetypeinfo", show_pagetypeinfo, KMT_PAGES, "the same by what they are for"},
	{"vmstat", show_vmstat, KMT_PAGES, "counters of pages, and of the paths taken"},
	{"zoneinfo", show_zoneinfo, KMT_PAGES, "each zone: marks, counters, per-CPU lists"},
	{"numastat", show_numastat, KMT_PAGES, "which nodes allocations came from"},
	{"slabinfo", show_slabinfo, KMT_OBJECTS, "caches of objects"},
	{"vmallocinfo", show_vmallocinfo, KMT_OBJECTS, "areas of vmalloc"},
	{"locks", show_locks, KMT_OBJECTS, "how often each lock was taken, and waited for"},
};

static int help(void)
{
	fputs("Usage: kmm show [OPTION]... REPORT [TRACE]\n"
	      "Print the state of a freshly booted machine, or of one onto which TRACE was "
	      "replayed, with what\n"
	      "the trace leaves alive.\n\n"
	      "Reports, as the kernel's files of these names, by the events of a trace that are "
	      "replayed:\n",
	      stdout);
	for (size_t i = 0; i < ARRAY_SIZE(reports); i++)
		printf("  %-14s %-7s %s\n", reports[i].name,
		       reports[i].population == KMT_PAGES ? "page" : "object", reports[i].summary);
	fputs("\n      --events KIND       page or object instead\n" MACHINE_HELP, stdout);
	return EXIT_OK;
}

static const struct report *find_report(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(reports); i++)
		if (!strcmp(reports[i].name, name))
			return &reports[i];
	return NULL;
}

/* Replay onto the machine; what is live stays so, and target knows it. */
static int replay(struct replay_target *target, const char *file)
{
	char error[KMT_ERROR_SIZE];
	struct replay_trace trace;
	struct kmt_reader *reader;
	int status = replay_trace_open(file, &trace);

	if (status)
		return status;
	reader = kmt_open(trace.path, error);
	if (!reader)
		status = complain("%s", error);
	else if (replay_target_init(target, trace.nr_ids[target->population]))
		status = complain("%s: no memory for its objects", file);
	else if (replay_whole(target, reader))
		status = complain("%s: %s", file, target->error);
	kmt_close(reader);
	replay_trace_close(&trace);
	return status;
}

static void drain(struct replay_target *target)
{
	struct replay_op ops[256];
	u32 from = 0;
	size_t n;

	while ((n = replay_drain_ops(target, &from, ops, ARRAY_SIZE(ops))))
		if (replay_run(target, ops, n) < n)
			complain("%s", target->error);
	replay_target_end(target);
}

static int show(const struct report *report, struct kmm *machine, enum kmt_population population,
		const char *file)
{
	struct replay_target target = {
		.population = population, .machine = machine, .verify = true};
	int status = file ? replay(&target, file) : EXIT_OK;
	int error;

	if (!status) {
		error = report->show(machine, stdout);
		if (!error && fflush(stdout))
			error = -errno;
		if (error)
			status = complain("cannot print %s: %s", report->name, strerror(-error));
	}
	/* After a failure nobody knows how far it got; the machine ends anyway. */
	if (!status && file)
		drain(&target);
	return status;
}

int command_show(int argc, char **argv)
{
	const struct report *report;
	struct common_options common;
	enum kmt_population population = KMT_NR_POPULATIONS;
	struct kmm_leaks leaks;
	struct kmm *machine;
	int option, status;

	common_options_init(&common);
	while ((option = next_option(argc, argv, "", long_options)) >= 0) {
		if (option == OPTION_HELP)
			return help();
		if (option == OPTION_EVENTS) {
			population = !strcmp(optarg, "page") ? KMT_PAGES : KMT_OBJECTS;
			if (strcmp(optarg, "page") && strcmp(optarg, "object"))
				return complain("--events: %s: not page or object", optarg);
		} else if ((status = common_option(&common, option, optarg))) {
			return status;
		}
	}
	if (option == OPTION_BAD)
		return EXIT_BAD_INPUT;
	if (optind == argc || argc - optind > 2)
		return complain("show wants a report, and a trace or none; kmm show --help lists "
				"the reports");
	report = find_report(argv[optind]);
	if (!report)
		return complain("show: %s: no such report; kmm show --help lists them",
				argv[optind]);
	status = boot_machine(&common, &machine);
	if (status)
		return status;
	status = show(report, machine,
		      population == KMT_NR_POPULATIONS ? report->population : population,
		      argv[optind + 1]);
	kmm_shutdown(machine, &leaks);
	return status;
}

/* SPDX-License-Identifier: MIT */
/* kmm replay: a trace against one or more allocators, each in a process of its own. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bench/command.h"
#include "bench/replay/replay.h"
#include "bench/replay/replay_run.h"
#include "bench/run/supervise.h"

enum {
	OPTION_EVENTS = 1,
	OPTION_NO_VERIFY,
	OPTION_REPETITIONS,
	OPTION_HELP,
	/* How the command calls itself; see exec_worker. */
	OPTION_WORKER,
	OPTION_ONTO,
	OPTION_ONTO_PAGE_PEER,
	OPTION_IDS,
	OPTION_SAMPLE_EVERY,
};

static const struct option long_options[] = {
	COMMON_OPTIONS,
	{"events", required_argument, NULL, OPTION_EVENTS},
	{"no-verify", no_argument, NULL, OPTION_NO_VERIFY},
	{"repetitions", required_argument, NULL, OPTION_REPETITIONS},
	{"help", no_argument, NULL, OPTION_HELP},
	{"worker", required_argument, NULL, OPTION_WORKER},
	{"onto", required_argument, NULL, OPTION_ONTO},
	{"onto-page-peer", required_argument, NULL, OPTION_ONTO_PAGE_PEER},
	{"ids", required_argument, NULL, OPTION_IDS},
	{"sample-every", required_argument, NULL, OPTION_SAMPLE_EVERY},
	{0},
};

struct request {
	struct common_options common;
	struct replay_plan plan;
	struct replay_work work;
	struct replay_trace trace;
	bool is_worker;
	int argc;
	char **argv;
};

static int help(void)
{
	fputs("Usage: kmm replay [OPTION]... TRACE\n"
	      "Replay a .kmt trace, or perf script text of kmem:* events, onto kmm and malloc "
	      "libraries, each in a\n"
	      "process of its own, and write throughput.csv and fragmentation.csv into a new "
	      "folder of results.\n\n"
	      "      --events KIND       page: onto the page allocator; object: onto slab and "
	      "kmalloc;\n"
	      "                          both: one after the other (default)\n"
	      "      --repetitions N     timed ones (default 9); one more is sampled for "
	      "fragmentation\n"
	      "      --no-verify         do not tag blocks and check the tags before blocks are "
	      "freed\n" COMMON_HELP,
	      stdout);
	return EXIT_OK;
}

static int take_events(struct request *r, const char *word)
{
	bool both = !strcmp(word, "both");

	r->plan.populations[KMT_PAGES] = both || !strcmp(word, "page");
	r->plan.populations[KMT_OBJECTS] = both || !strcmp(word, "object");
	r->work.population = r->plan.populations[KMT_PAGES] ? KMT_PAGES : KMT_OBJECTS;
	if (!r->plan.populations[KMT_PAGES] && !r->plan.populations[KMT_OBJECTS])
		return complain("--events: %s: not page, object or both", word);
	return EXIT_OK;
}

static int take_option(struct request *r, int option, const char *argument)
{
	long number = 0;

	switch (option) {
	case OPTION_EVENTS:
		return take_events(r, argument);
	case OPTION_NO_VERIFY:
		r->plan.verify = r->work.verify = false;
		return EXIT_OK;
	case OPTION_ONTO:
		r->work.allocator = argument;
		return EXIT_OK;
	case OPTION_ONTO_PAGE_PEER:
		r->work.page_peer = argument;
		return EXIT_OK;
	case OPTION_REPETITIONS:
		if (parse_number(argument, 1, REPLAY_REPETITIONS_MAX, &number))
			return complain("--repetitions: %s: not a number from 1 to %d", argument,
					REPLAY_REPETITIONS_MAX);
		r->plan.repetitions = (int)number;
		return EXIT_OK;
	case OPTION_WORKER:
	case OPTION_IDS:
	case OPTION_SAMPLE_EVERY:
		if (parse_number(argument, 0, option == OPTION_SAMPLE_EVERY ? LONG_MAX : INT_MAX,
				 &number))
			return complain("%s: not a number", argument);
		if (option == OPTION_WORKER)
			r->work.socket = (int)number;
		else if (option == OPTION_IDS)
			r->work.nr_ids = (u32)number;
		else
			r->work.sample_every = (u64)number;
		r->is_worker |= option == OPTION_WORKER;
		return EXIT_OK;
	default:
		return common_option(&r->common, option, argument);
	}
}

/* In the supervised process: everything from the machine's description to the commit. */
static int replay_supervised(struct supervised *run, void *arg)
{
	struct request *r = arg;
	struct object_peer peers[PEER_MAX + PAGE_PEER_MAX];
	const char *missing[PEER_MAX];
	struct progress progress;
	struct kmm *machine;
	int nr_peers, nr_page_peers, nr_missing, status, error;

	status = load_peers(&r->common, peers, &nr_peers, missing, &nr_missing);
	if (!status)
		status = load_page_peers(&r->common, peers, nr_peers, NULL, 0, peers + nr_peers,
					 &nr_page_peers);
	if (status || (status = boot_machine(&r->common, &machine)))
		return status;
	error = results_describe(run->results, machine, peers, nr_peers + nr_page_peers, r->argc,
				 r->argv);
	r->plan.page_peers = peers + nr_peers;
	kmm_shutdown(machine, NULL);
	if (error)
		return complain("machine.json: %s", strerror(-error));
	r->plan.results = run->results;
	r->plan.progress = &progress;
	r->plan.progress_seconds = 1;
	progress_start(&progress, r->plan.progress_seconds, run->running);
	replay_plan_tell(&r->plan);
	status = replay_plan_run(&r->plan);
	if (status)
		return status;
	progress_finish(&progress);
	fflush(stdout);
	if (results_commit(run->results))
		return EXIT_BAD_INPUT;
	printf("\nResults: %s\n", results_path(run->results));
	return EXIT_OK;
}

static void request_init(struct request *r, int argc, char **argv)
{
	*r = (struct request){.argc = argc, .argv = argv};
	common_options_init(&r->common);
	r->plan.common = &r->common;
	r->plan.trace = &r->trace;
	r->plan.populations[KMT_OBJECTS] = r->plan.populations[KMT_PAGES] = true;
	r->plan.repetitions = REPLAY_REPETITIONS;
	r->plan.verify = r->work.verify = true;
	r->plan.table = stdout;
}

static int check_allocators(const struct common_options *common)
{
	const char *names[PEER_MAX * 2 + 2] = {"kmm"};
	char word[64];
	int n = 1;

	for (int i = 0; object_peer_names[i]; i++)
		names[n++] = object_peer_names[i];
	if (list_unknown(common->allocators, names, word, sizeof(word)))
		return complain("--allocators: %s: unknown allocator", word);
	return EXIT_OK;
}

int command_replay(int argc, char **argv)
{
	struct request r;
	int option, status;

	request_init(&r, argc, argv);
	while ((option = next_option(argc, argv, "", long_options)) >= 0) {
		if (option == OPTION_HELP)
			return help();
		status = take_option(&r, option, optarg);
		if (status)
			return status;
	}
	if (option == OPTION_BAD)
		return EXIT_BAD_INPUT;
	if (argc - optind != 1)
		return complain("replay wants one TRACE; see `kmm replay --help'");
	if (r.is_worker) {
		r.work.path = argv[optind];
		return replay_worker(&r.work, &r.common);
	}
	status = check_allocators(&r.common);
	if (status || (status = replay_trace_open(argv[optind], &r.trace)))
		return status;
	replay_trace_print(&r.trace, stdout);
	status = supervise(r.common.results_dir, replay_supervised, &r);
	replay_trace_close(&r.trace);
	return status;
}

static struct replay_plan whole_plan(struct results *results, const struct replay_trace *trace,
				     const struct common_options *common,
				     const struct object_peer *page_peers)
{
	return (struct replay_plan){
		.trace = trace,
		.common = common,
		.page_peers = page_peers,
		.populations = {true, true},
		.repetitions = REPLAY_REPETITIONS,
		.verify = true,
		.results = results,
	};
}

int replay_into(struct results *results, const struct replay_trace *trace, double seconds,
		const struct common_options *common, const struct object_peer *page_peers,
		struct progress *progress)
{
	struct replay_plan plan = whole_plan(results, trace, common, page_peers);

	plan.progress = progress;
	plan.progress_seconds = seconds;
	return replay_plan_run(&plan);
}

void replay_planned(struct results *results, const struct replay_trace *trace,
		    const struct common_options *common, const struct object_peer *page_peers)
{
	const struct replay_plan plan = whole_plan(results, trace, common, page_peers);

	replay_plan_tell(&plan);
}

/* From the file's size: events take about 1 byte in .kmt, 6 in compressed text, 180 in text; and 60
 * ns. */
double replay_seconds(const char *file, const struct common_options *common)
{
	const char *ending = strrchr(file, '.');
	double bytes_per_event = ending && !strcmp(ending, ".kmt")   ? 1
				 : ending && !strcmp(ending, ".zst") ? 6
								     : 180;
	struct stat status;
	int allocators =
		common->nr_peers + common->nr_page_peers + list_has(common->allocators, "kmm");

	for (int i = 0; object_peer_names[i] && i < 4; i++)
		allocators += list_has(common->allocators, object_peer_names[i]);
	if (stat(file, &status))
		return 1;
	return 0.5 + allocators * (0.2 + (REPLAY_REPETITIONS + 2) * (double)status.st_size /
						 bytes_per_event * 60e-9);
}

/* SPDX-License-Identifier: MIT */
/* kmm trace: look at .kmt traces, and make traces of traces. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "bench/command.h"
#include "bench/options/options.h"
#include "bench/replay/replay_trace.h"
#include "workloads/convert.h"
#include "workloads/kmt_csv.h"
#include "workloads/kmt_merge.h"
#include "workloads/kmt_sums.h"

enum {
	OPTION_LENIENT = 1,
	OPTION_EVENTS,
	OPTION_FROM,
	OPTION_CUT_BEGIN,
	OPTION_CUT_END,
	OPTION_DESCRIPTION,
	OPTION_QUIET,
	OPTION_HELP
};

static const struct option long_options[] = {
	{"lenient", no_argument, NULL, OPTION_LENIENT},
	{"events", required_argument, NULL, OPTION_EVENTS},
	{"from", required_argument, NULL, OPTION_FROM},
	{"begin", required_argument, NULL, OPTION_CUT_BEGIN},
	{"end", required_argument, NULL, OPTION_CUT_END},
	{"description", required_argument, NULL, OPTION_DESCRIPTION},
	{"quiet", no_argument, NULL, OPTION_QUIET},
	{"help", no_argument, NULL, OPTION_HELP},
	{0},
};

struct request {
	const char *verb;
	struct convert_options convert;
	bool lenient, quiet, events_given;
	u32 options; /* those given, a bit each */
	char **files;
	int nr_files;
};

static int help(void)
{
	fputs("Usage: kmm trace info [OPTION]... TRACE...\n"
	      "       kmm trace head [OPTION]... TRACE\n"
	      "       kmm trace cut [OPTION]... TRACE OUT\n"
	      "       kmm trace merge [OPTION]... OUT TRACE...\n"
	      "       kmm trace check [OPTION]... TRACE...\n"
	      "Look at .kmt traces. info counts their events anew, a line `NAME VALUE' each; head "
	      "prints events as\n"
	      "CSV; cut takes a part; merge makes one of several, by their clocks; check reads "
	      "them "
	      "through, holds\n"
	      "the trailer to the events, and says nothing of what is sound but a line.\n\n"
	      "      --from N            head, cut: pass over the first N events\n"
	      "      --events N          head, cut: so many events at most (head: 10; 0: all)\n"
	      "      --begin TIME        cut: from this time of the trace on, such as 1500ms\n"
	      "      --end TIME          cut: and not from this one on\n"
	      "      --description TEXT  cut, merge: what OUT says of its source\n"
	      "      --lenient           all but merge: a trace that is cut off or damaged ends "
	      "where it is;\n"
	      "                          what is missing is said on stderr, and counted in OUT\n"
	      "      --quiet             cut, merge, check: print nothing of what went well\n",
	      stdout);
	return EXIT_OK;
}

static struct kmt_reader *open_trace(const char *file)
{
	char error[KMT_ERROR_SIZE];
	struct kmt_reader *reader = NULL;
	struct stat status;

	if (!stat(file, &status) && S_ISDIR(status.st_mode))
		complain("%s: is a directory", file);
	else if (!(reader = kmt_open(file, error)))
		complain("%s", error);
	return reader;
}

/* After a read: EXIT_OK at the trace's end, and at damage that may be; or EXIT_BAD_INPUT, with a line. */
static int read_status(const struct request *r, const struct kmt_reader *reader, ssize_t n)
{
	if (n >= 0)
		return EXIT_OK;
	if (!r->lenient)
		return complain("%s", kmt_error(reader));
	fprintf(stderr, "kmm: %s; skipped from there on\n", kmt_error(reader));
	return EXIT_OK;
}

/* --- info --- */

static void print_figure(const char *name, u64 value)
{
	printf("%-20s %llu\n", name, (unsigned long long)value);
}

/* A trace's own words may hold anything: none of it is the terminal's. */
static void print_text(const char *name, const char *text)
{
	printf("%-20s ", name);
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		putchar(c < ' ' || c == 127 ? '?' : c);
	}
	putchar('\n');
}

static void print_population(const struct kmt_sums *sums, enum kmt_population p, const char *name)
{
	const struct {
		const char *what;
		u64 value;
	} figures[] = {{"events", sums->nr_events[p]},
		       {"peak", sums->peak[p]},
		       {"peak_bytes", sums->peak_bytes[p]},
		       {"peak_event", sums->peak_event[p]},
		       {"alive", sums->live[p]},
		       {"alive_bytes", sums->live_bytes[p]}};
	char text[40];

	for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
		snprintf(text, sizeof(text), "%s_%s", name, figures[i].what);
		print_figure(text, figures[i].value);
	}
}

static void print_info(const char *file, const struct kmt_reader *reader,
		       const struct kmt_sums *sums)
{
	const struct kmt_info *info = kmt_info(reader);
	struct stat status;
	char text[40];
	u32 nr_shapes;

	kmt_shapes(reader, &nr_shapes);
	printf("%-20s %s\n", "trace", file);
	print_text("description", info->description);
	print_figure("version", KMT_VERSION);
	if (!stat(file, &status) && S_ISREG(status.st_mode))
		print_figure("file_bytes", (u64)status.st_size);
	print_figure("time_unit_ns", info->time_unit_ns);
	print_figure("start_time_ns", info->start_time_ns);
	print_figure("duration_ns", sums->duration_ns);
	print_figure("events", sums->nr_events[KMT_OBJECTS] + sums->nr_events[KMT_PAGES]);
	print_figure("threads", sums->nr_threads);
	print_figure("cpus", sums->nr_cpus);
	print_figure("caches", kmt_nr_caches(reader));
	print_figure("shapes", nr_shapes);
	print_population(sums, KMT_OBJECTS, "objects");
	print_population(sums, KMT_PAGES, "pages");
	for (int kind = 0; kind < KMT_NR_KINDS; kind++) {
		if (!sums->events[kind])
			continue;
		print_figure(kmt_kind_name(kind), sums->events[kind]);
		snprintf(text, sizeof(text), "%s_bytes", kmt_kind_name(kind));
		print_figure(text, sums->bytes[kind]);
	}
	print_figure("implied_frees", sums->implied);
#define X(tag, field, what)                                                                        \
	if ((tag) < 12 || (tag) > 20)                                                              \
		print_figure(#field, kmt_counts(reader)->field);
	KMT_COUNTS(X)
#undef X
}

/* Read a trace through. EXIT_OK with the sums and the reader to be closed, or EXIT_BAD_INPUT. */
static int sum_trace(const struct request *r, const char *file, struct kmt_reader **reader,
		     struct kmt_sums *sums)
{
	struct kmt_event events[1024];
	ssize_t n;
	int status;

	kmt_sums_begin(sums);
	*reader = open_trace(file);
	if (!*reader)
		return EXIT_BAD_INPUT;
	while ((n = kmt_read(*reader, events, ARRAY_SIZE(events))) > 0)
		if (kmt_sums_add(sums, *reader, events, (size_t)n))
			return complain("%s: no memory for live objects", file);
	status = read_status(r, *reader, n);
	return status;
}

static int info(struct request *r)
{
	int status = EXIT_OK;

	for (int i = 0; !status && i < r->nr_files; i++) {
		struct kmt_reader *reader;
		struct kmt_sums sums;

		status = sum_trace(r, r->files[i], &reader, &sums);
		if (!status) {
			printf("%s", i ? "\n" : "");
			print_info(r->files[i], reader, &sums);
		}
		kmt_sums_end(&sums);
		kmt_close(reader);
	}
	return status;
}

static int check(struct request *r)
{
	int status = EXIT_OK;

	for (int i = 0; !status && i < r->nr_files; i++) {
		struct kmt_reader *reader;
		struct kmt_sums sums;
		char line[160];

		status = sum_trace(r, r->files[i], &reader, &sums);
		/* Damage that --lenient forgives has taken the trailer, too. */
		if (!status && kmt_counts_events(kmt_counts(reader)) &&
		    kmt_sums_differ(&sums, kmt_counts(reader), line, sizeof(line)))
			status = complain("%s: %s", r->files[i], line);
		if (!status && !r->quiet)
			printf("%s: %llu events\n", r->files[i],
			       (unsigned long long)(sums.nr_events[KMT_OBJECTS] +
						    sums.nr_events[KMT_PAGES]));
		kmt_sums_end(&sums);
		kmt_close(reader);
	}
	return status;
}

/* --- head --- */

static int head(struct request *r)
{
	u64 first = r->convert.first, most = r->events_given ? r->convert.events : 10, seen = 0;
	struct kmt_reader *reader = open_trace(r->files[0]);
	struct kmt_event events[256];
	ssize_t n = 0;
	int status;

	if (!reader)
		return EXIT_BAD_INPUT;
	if (!most)
		most = UINT64_MAX - first;
	puts(KMT_CSV_HEADER);
	while (seen < first + most && (n = kmt_read(reader, events, ARRAY_SIZE(events))) > 0)
		for (ssize_t i = 0; i < n && seen < first + most; i++, seen++)
			if (seen >= first)
				kmt_csv_event(stdout, reader, &events[i], seen);
	status = read_status(r, reader, n);
	kmt_close(reader);
	return status;
}

/* --- cut, merge --- */

static int cut(struct request *r)
{
	char error[KMT_ERROR_SIZE];
	struct kmt_counts counts;
	struct kmt_reader *reader = open_trace(r->files[0]); /* is it one? */
	int fd, status;

	if (!reader)
		return EXIT_BAD_INPUT;
	kmt_close(reader);
	status = trace_file_open(r->files[0], &fd);
	if (status)
		return status;
	r->convert.lenient = r->lenient;
	if (convert_trace(fd, r->files[0], r->files[1], -1, &r->convert, &counts, error))
		status = complain("%s", error);
	close(fd);
	if (!status && !r->quiet) {
		printf("%s: %llu events\n", r->files[1],
		       (unsigned long long)kmt_counts_events(&counts));
		trace_counts_print(&counts, stdout);
	}
	return status;
}

static int merge(struct request *r)
{
	const char *description = r->convert.description;
	char error[KMT_ERROR_SIZE], text[64];
	struct kmt_counts counts;

	if (r->nr_files - 1 > KMT_MERGE_MAX)
		return complain("trace merge: more than %d traces", KMT_MERGE_MAX);
	snprintf(text, sizeof(text), "%d traces merged", r->nr_files - 1);
	if (kmt_merge((const char *const *)r->files + 1, (size_t)r->nr_files - 1, r->files[0],
		      description ? description : text, &counts, error))
		return complain("%s", error);
	if (!r->quiet) {
		printf("%s: %llu events\n", r->files[0],
		       (unsigned long long)kmt_counts_events(&counts));
		trace_counts_print(&counts, stdout);
	}
	return EXIT_OK;
}

/* --- the command line --- */

/* "1500ms", "2s", ...; a number alone is of ns. */
static int take_time(const char *option, const char *text, u64 *ns)
{
	static const struct {
		const char *name;
		u64 ns;
	} units[] = {{"", 1}, {"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}};
	u64 number, unit = 0;
	char *end;

	errno = 0;
	number = strtoull(text, &end, 10);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(end, units[i].name))
			unit = units[i].ns;
	if (errno || end == text || text[0] < '0' || text[0] > '9' || !unit ||
	    number > (u64)INT64_MAX / unit)
		return complain("%s: %s: not a time such as 1500ms", option, text);
	*ns = number * unit;
	return EXIT_OK;
}

static int take_option(struct request *r, int option, const char *argument)
{
	long number = 0;

	switch (option) {
	case OPTION_LENIENT:
		r->lenient = true;
		return EXIT_OK;
	case OPTION_QUIET:
		r->quiet = true;
		return EXIT_OK;
	case OPTION_DESCRIPTION:
		r->convert.description = argument;
		return EXIT_OK;
	case OPTION_CUT_BEGIN:
		return take_time("--begin", argument, &r->convert.begin_ns);
	case OPTION_CUT_END:
		if (take_time("--end", argument, &r->convert.end_ns))
			return EXIT_BAD_INPUT;
		return r->convert.end_ns ? EXIT_OK
					 : complain("--end: %s: nothing is before it", argument);
	default:
		if (parse_number(argument, 0, LONG_MAX, &number))
			return complain("--%s: %s: not a number of events",
					option == OPTION_FROM ? "from" : "events", argument);
		*(option == OPTION_FROM ? &r->convert.first : &r->convert.events) = (u64)number;
		r->events_given |= option == OPTION_EVENTS;
		return EXIT_OK;
	}
}

#define BIT_OF(option) (1U << OPTION_##option)

static const struct {
	const char *name;
	int least, most; /* files */
	const char *wants;
	int (*run)(struct request *r);
	u32 options; /* that it has, a bit each */
} verbs[] = {
	{"info", 1, INT_MAX, "a TRACE", info, BIT_OF(LENIENT)},
	{"head", 1, 1, "one TRACE", head, BIT_OF(LENIENT) | BIT_OF(EVENTS) | BIT_OF(FROM)},
	{"cut", 2, 2, "TRACE and OUT", cut,
	 BIT_OF(LENIENT) | BIT_OF(EVENTS) | BIT_OF(FROM) | BIT_OF(CUT_BEGIN) | BIT_OF(CUT_END) |
		 BIT_OF(DESCRIPTION) | BIT_OF(QUIET)},
	{"merge", 2, INT_MAX, "OUT and traces", merge, BIT_OF(DESCRIPTION) | BIT_OF(QUIET)},
	{"check", 1, INT_MAX, "a TRACE", check, BIT_OF(LENIENT) | BIT_OF(QUIET)},
};

/* An option that the verb has no use for is a mistake, not to be passed over. */
static int check_options(const char *verb, u32 given, u32 known)
{
	for (const struct option *o = long_options; o->name; o++)
		if (given & ~known & 1U << o->val)
			return complain("trace %s has no --%s; see `kmm trace --help'", verb,
					o->name);
	return EXIT_OK;
}

int command_trace(int argc, char **argv)
{
	struct request r = {0};
	int option, status;

	if (argc < 2)
		return complain("trace wants info, head, cut, merge or check; see `kmm trace "
				"--help'");
	if (argv[1][0] == '-')
		return !strcmp(argv[1], "--help")
			       ? help()
			       : complain("%s: unknown option; see `kmm trace --help'", argv[1]);
	r.verb = argv[1];
	argc--;
	argv++;
	while ((option = next_option(argc, argv, "", long_options)) >= 0) {
		if (option == OPTION_HELP)
			return help();
		r.options |= 1U << option;
		status = take_option(&r, option, optarg);
		if (status)
			return status;
	}
	if (option == OPTION_BAD)
		return EXIT_BAD_INPUT;
	r.files = argv + optind;
	r.nr_files = argc - optind;
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verbs[i].name, r.verb))
			continue;
		if (r.nr_files < verbs[i].least || r.nr_files > verbs[i].most)
			return complain("trace %s wants %s; see `kmm trace --help'", r.verb,
					verbs[i].wants);
		status = check_options(r.verb, r.options, verbs[i].options);
		return status ? status : verbs[i].run(&r);
	}
	return complain("trace: %s: not info, head, cut, merge or check", r.verb);
}

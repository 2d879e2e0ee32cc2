/* SPDX-License-Identifier: MIT */
/* kmm convert: perf script text, or a part of a .kmt trace, to a .kmt trace. */
#define _GNU_SOURCE /* asprintf */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/options/options.h"
#include "bench/replay/replay_trace.h"
#include "workloads/convert.h"

enum {
	OPTION_FROM = 1,
	OPTION_EVENTS,
	OPTION_DESCRIPTION,
	OPTION_QUIET,
	OPTION_LENIENT,
	OPTION_HELP
};

static const struct option long_options[] = {
	{"from", required_argument, NULL, OPTION_FROM},
	{"events", required_argument, NULL, OPTION_EVENTS},
	{"description", required_argument, NULL, OPTION_DESCRIPTION},
	{"lenient", no_argument, NULL, OPTION_LENIENT},
	{"quiet", no_argument, NULL, OPTION_QUIET},
	{"help", no_argument, NULL, OPTION_HELP},
	{0},
};

static int help(void)
{
	fputs("Usage: kmm convert [OPTION]... IN OUT\n"
	      "Convert a trace to the .kmt format and print its counts. IN is what\n"
	      "`perf script -F comm,tid,cpu,time,event,trace' prints of kmem:* events, plain or\n"
	      "compressed with zstd; or a .kmt trace. OUT is replaced when all went well; in a "
	      "folder it\n"
	      "gets IN's name.\n\n"
	      "      --from N            pass over the first N events of IN\n"
	      "      --events N          stop after N events of IN\n"
	      "      --description TEXT  what OUT says of its source (default: what IN says, or "
	      "its name)\n"
	      "      --lenient           skip and count lines that cannot be read, and what "
	      "follows "
	      "damage\n"
	      "      --quiet             print no counts\n",
	      stdout);
	return EXIT_OK;
}

/* As cp does: into a folder goes a file of the source's name, with our ending. */
static int output_path(const char *in, const char *out, char **path)
{
	const char *slash = strrchr(in, '/'), *base = slash ? slash + 1 : in;
	size_t length = strcspn(base, ".");
	struct stat status;
	int n;

	if (stat(out, &status) || !S_ISDIR(status.st_mode))
		n = asprintf(path, "%s", out);
	else
		n = asprintf(path, "%s/%.*s.kmt", out, (int)(length ? length : strlen(base)), base);
	return n < 0 ? complain("%s: no memory", out) : EXIT_OK;
}

static int convert(const char *in, const char *out, const struct convert_options *options,
		   bool quiet)
{
	char error[KMT_ERROR_SIZE];
	struct kmt_counts counts;
	int fd, status = trace_file_open(in, &fd);

	if (status)
		return status;
	if (convert_trace(fd, in, out, -1, options, &counts, error))
		status = complain("%s", error);
	close(fd);
	if (!status && !quiet) {
		printf("%s: %llu events\n", out, (unsigned long long)kmt_counts_events(&counts));
		trace_counts_print(&counts, stdout);
	}
	return status;
}

int command_convert(int argc, char **argv)
{
	struct convert_options options = {0};
	bool quiet = false;
	char *out = NULL;
	long number;
	int option, status;

	while ((option = next_option(argc, argv, "", long_options)) >= 0) {
		switch (option) {
		case OPTION_HELP:
			return help();
		case OPTION_QUIET:
			quiet = true;
			break;
		case OPTION_LENIENT:
			options.lenient = true;
			break;
		case OPTION_DESCRIPTION:
			options.description = optarg;
			break;
		default:
			if (parse_number(optarg, option == OPTION_EVENTS, LONG_MAX, &number))
				return complain("--%s: %s: not a number of events",
						option == OPTION_FROM ? "from" : "events", optarg);
			*(option == OPTION_FROM ? &options.first : &options.events) = (u64)number;
		}
	}
	if (option == OPTION_BAD)
		return EXIT_BAD_INPUT;
	if (argc - optind != 2)
		return complain("convert wants IN and OUT; see `kmm convert --help'");
	status = output_path(argv[optind], argv[optind + 1], &out);
	if (!status)
		status = convert(argv[optind], out, &options, quiet);
	free(out);
	return status;
}

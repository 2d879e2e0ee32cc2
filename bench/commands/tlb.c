/* SPDX-License-Identifier: MIT */
/*
 * kmm tlb: what a processor's TLBs would make of a trace or of a synthetic pattern, with pages of one
 * size and another, and tables of four and of five levels, side by side.
 */
#define _GNU_SOURCE
#include "bench/commands/tlb.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/options/options.h"
#include "bench/probe/probe.h"
#include "bench/replay/replay_trace.h"
#include "workloads/pattern.h"

#define BLOCK 4096

enum {
	OPTION_PRESET = 1,
	OPTION_PATTERN,
	OPTION_FOOTPRINT,
	OPTION_STRIDE,
	OPTION_SKEW,
	OPTION_ACCESSES,
	OPTION_SEED,
	OPTION_FORMAT,
	OPTION_PAGES,
	OPTION_LEVELS,
	OPTION_PTI,
	OPTION_NO_PCID,
	OPTION_KERNEL_EVERY,
	OPTION_KERNEL_PAGES,
	OPTION_SWITCH_EVERY,
	OPTION_PROCESSES,
	OPTION_SOURCES,
	OPTION_PROBE,
	OPTION_SECONDS,
	OPTION_OUT,
	OPTION_NAME,
	OPTION_HELP
};

#define PROBE_OPTIONS                                                                              \
	(1U << OPTION_PROBE | 1U << OPTION_SECONDS | 1U << OPTION_OUT | 1U << OPTION_NAME)

static const struct option long_options[] = {
	{"preset", required_argument, NULL, OPTION_PRESET},
	{"pattern", required_argument, NULL, OPTION_PATTERN},
	{"footprint", required_argument, NULL, OPTION_FOOTPRINT},
	{"stride", required_argument, NULL, OPTION_STRIDE},
	{"skew", required_argument, NULL, OPTION_SKEW},
	{"accesses", required_argument, NULL, OPTION_ACCESSES},
	{"seed", required_argument, NULL, OPTION_SEED},
	{"format", required_argument, NULL, OPTION_FORMAT},
	{"pages", required_argument, NULL, OPTION_PAGES},
	{"levels", required_argument, NULL, OPTION_LEVELS},
	{"pti", required_argument, NULL, OPTION_PTI},
	{"no-pcid", no_argument, NULL, OPTION_NO_PCID},
	{"kernel-every", required_argument, NULL, OPTION_KERNEL_EVERY},
	{"kernel-pages", required_argument, NULL, OPTION_KERNEL_PAGES},
	{"switch-every", required_argument, NULL, OPTION_SWITCH_EVERY},
	{"processes", required_argument, NULL, OPTION_PROCESSES},
	{"sources", no_argument, NULL, OPTION_SOURCES},
	{"probe", no_argument, NULL, OPTION_PROBE},
	{"seconds", required_argument, NULL, OPTION_SECONDS},
	{"out", required_argument, NULL, OPTION_OUT},
	{"name", required_argument, NULL, OPTION_NAME},
	{"help", no_argument, NULL, OPTION_HELP},
	{0},
};

struct request {
	struct tlb_job job;
	struct pattern pattern;
	bool has_pattern, sources, no_pcid;
	u32 given;		/* bits of options */
	u64 seconds;		/* of the probe */
	const char *out, *name; /* of its preset, or NULL */
	struct tlb_file file;	/* that --preset has named */
	u64 nr_accesses, seed;
	enum access_format format;
	const char *pages, *levels; /* lists, or NULL */
	enum tlb_pti pti;
};

static int help(void)
{
	fputs("Usage: kmm tlb [OPTION]... TRACE\n"
	      "       kmm tlb [OPTION]... --pattern PATTERN\n"
	      "       kmm tlb --probe [OPTION]...\n"
	      "What a processor's TLBs would make of these accesses: hits and misses of each "
	      "level,\n"
	      "walks and the entries of page tables that they read, and cycles. TRACE is text of\n"
	      "valgrind's lackey (--tool=lackey --trace-mem=yes --log-file=TRACE) or ChampSim's\n"
	      "records, plain or compressed with zstd; or a .kmt trace that has accesses.\n\n"
	      "      --preset PRESET     the processor (skylake), see below; or a file of --probe\n"
	      "      --sources           print the preset, and where its numbers are from\n"
	      "      --format FORMAT     lackey, champsim or kmt (what TRACE looks like)\n"
	      "      --pattern PATTERN   sequential, stride, random, zipf or chase\n"
	      "      --footprint SIZE    of a pattern (256M)\n"
	      "      --stride SIZE       of stride (4K)\n"
	      "      --skew X            of zipf (0.99)\n"
	      "      --accesses N        stop after N (10000000 of a pattern, else all)\n"
	      "      --seed N            of a pattern's random numbers (1)\n"
	      "      --pages LIST        sizes of pages (4K,2M, or what the processor has)\n"
	      "      --levels LIST       levels of page tables, 4 and 5 (those it walks)\n"
	      "      --pti MODE          page-table isolation: off, on or pcid (off)\n"
	      "      --no-pcid           as if the processor had no PCIDs\n"
	      "      --kernel-every N    a system call after every N accesses\n"
	      "      --kernel-pages N    pages of code, and of data, that each touches (8)\n"
	      "      --switch-every N    a context switch after every N accesses\n"
	      "      --processes N       copies of the program that take turns (2)\n\n"
	      "      --probe             measure this machine's TLBs, and the model by them\n"
	      "      --seconds N         that it may take, about (30)\n"
	      "      --out FILE          write what was found, for --preset\n"
	      "      --name NAME         of it in there (probed)\n\n"
	      "Presets:\n",
	      stdout);
	for (const struct tlb_preset *preset = tlb_presets; preset->name; preset++)
		printf("  %-12s %s\n", preset->name, preset->processor);
	return EXIT_OK;
}

static int find_preset(struct request *request, const char *name)
{
	int status;

	request->job.preset = tlb_find_preset(name);
	if (request->job.preset)
		return EXIT_OK;
	status = tlb_read_preset(name, &request->file);
	request->job.preset = &request->file.preset;
	return status;
}

static int find_pattern(struct request *request, const char *name)
{
	for (int i = 0; i < PATTERN_NR_KINDS; i++) {
		if (strcmp(pattern_names[i], name))
			continue;
		request->pattern.kind = (enum pattern_kind)i;
		request->has_pattern = true;
		return EXIT_OK;
	}
	return complain("--pattern: %s: not sequential, stride, random, zipf or chase", name);
}

static int find_pti(struct request *request, const char *name)
{
	static const char *const modes[] = {"off", "on", "pcid"};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (strcmp(modes[i], name))
			continue;
		request->pti = (enum tlb_pti)i;
		return EXIT_OK;
	}
	return complain("--pti: %s: not off, on or pcid", name);
}

static int find_format(struct request *request, const char *name)
{
	if (!strcmp(name, "lackey"))
		request->format = ACCESS_LACKEY;
	else if (!strcmp(name, "champsim"))
		request->format = ACCESS_CHAMPSIM;
	else if (!strcmp(name, "kmt"))
		request->format = ACCESS_KMT;
	else
		return complain("--format: %s: not lackey, champsim or kmt", name);
	return EXIT_OK;
}

static int take_size(const char *option, const char *text, u64 *bytes)
{
	return parse_size(text, bytes) ? complain("--%s: %s: not a size", option, text) : EXIT_OK;
}

static int take_skew(struct request *request, const char *text)
{
	char *end;

	request->pattern.skew = strtod(text, &end);
	if (end == text || *end || !(request->pattern.skew > 0 && request->pattern.skew <= 10))
		return complain("--skew: %s: not a number above 0, up to 10", text);
	return EXIT_OK;
}

static int take_number(const char *option, const char *text, long max, u64 *number)
{
	long n;

	if (parse_number(text, 1, max, &n))
		return complain("--%s: %s: not a number from 1 to %ld", option, text, max);
	*number = (u64)n;
	return EXIT_OK;
}

static int take_option(struct request *request, int option, const char *argument)
{
	struct tlb_schedule *schedule = &request->job.schedule;
	u64 number = 0;
	int status;

	switch (option) {
	case OPTION_PRESET:
		return find_preset(request, argument);
	case OPTION_PATTERN:
		return find_pattern(request, argument);
	case OPTION_FOOTPRINT:
		return take_size("footprint", argument, &request->pattern.footprint_bytes);
	case OPTION_STRIDE:
		return take_size("stride", argument, &request->pattern.stride_bytes);
	case OPTION_SKEW:
		return take_skew(request, argument);
	case OPTION_ACCESSES:
		return take_number("accesses", argument, LONG_MAX, &request->nr_accesses);
	case OPTION_SEED:
		return take_number("seed", argument, LONG_MAX, &request->seed);
	case OPTION_FORMAT:
		return find_format(request, argument);
	case OPTION_PAGES:
		request->pages = argument;
		return EXIT_OK;
	case OPTION_LEVELS:
		request->levels = argument;
		return EXIT_OK;
	case OPTION_PTI:
		return find_pti(request, argument);
	case OPTION_NO_PCID:
		request->no_pcid = true;
		return EXIT_OK;
	case OPTION_KERNEL_EVERY:
		return take_number("kernel-every", argument, LONG_MAX, &schedule->kernel_every);
	case OPTION_KERNEL_PAGES:
		return take_number("kernel-pages", argument, 512, &schedule->kernel_pages);
	case OPTION_SWITCH_EVERY:
		return take_number("switch-every", argument, LONG_MAX, &schedule->switch_every);
	case OPTION_PROCESSES:
		status = take_number("processes", argument, 1000000, &number);
		schedule->nr_processes = (u32)number;
		return status;
	case OPTION_SECONDS:
		return take_number("seconds", argument, 3600, &request->seconds);
	case OPTION_OUT:
		request->out = argument;
		return EXIT_OK;
	case OPTION_NAME:
		request->name = argument;
		return EXIT_OK;
	case OPTION_PROBE:
		return EXIT_OK;
	default:
		request->sources = true;
		return EXIT_OK;
	}
}

static int add_variant(struct tlb_job *job, unsigned int leaf, unsigned int levels)
{
	if (job->nr_variants == TLB_MAX_VARIANTS)
		return complain("more than %d pairs of page size and levels", TLB_MAX_VARIANTS);
	job->variants[job->nr_variants++] = (struct tlb_variant){.leaf = leaf, .levels = levels};
	return EXIT_OK;
}

/* The page sizes that are wanted and there, in tables of so many levels. */
static int add_pages(struct request *request, unsigned int levels)
{
	struct tlb_job *job = &request->job;
	int status = EXIT_OK;

	for (unsigned int leaf = 1; leaf <= 3 && !status; leaf++) {
		const char *name = tlb_page_name(&job->config.paging, leaf);

		if (!tlb_has_pages(&job->config, leaf))
			continue;
		if (request->pages ? list_has(request->pages, name) : leaf <= 2)
			status = add_variant(job, leaf, levels);
	}
	return status;
}

static int check_lists(const struct request *request)
{
	const struct tlb_config *config = &request->job.config;
	const char *pages[4] = {NULL}, *levels[3] = {NULL};
	char word[64];
	int nr = 0;

	if (request->pages && !request->pages[strspn(request->pages, ",")])
		return complain("--pages: an empty list");
	if (request->levels && !request->levels[strspn(request->levels, ",")])
		return complain("--levels: an empty list");
	for (unsigned int leaf = 1; leaf <= 3; leaf++)
		if (tlb_has_pages(config, leaf))
			pages[nr++] = tlb_page_name(&config->paging, leaf);
	if (list_unknown(request->pages, pages, word, sizeof(word)))
		return complain("--pages: %s: %s has no such pages", word,
				request->job.preset->name);
	levels[0] = config->paging.levels == 2 ? "2" : "4";
	levels[1] = config->paging.levels == 2 ? NULL : "5";
	if (list_unknown(request->levels, levels, word, sizeof(word)))
		return complain("--levels: %s: %s has no such tables", word,
				request->job.preset->name);
	return EXIT_OK;
}

/* Patterns start at 4 GiB, or at 0 where no more than that can be mapped. Does this one fit behind
 * there into what a program has in the smallest tables that it is tried with, and a stride into it? */
static int place_pattern(struct request *request)
{
	const struct tlb_job *job = &request->job;
	struct pattern *pattern = &request->pattern;
	/* 32 bits, or half of what the tables translate. */
	unsigned int bits = tlb_job_levels(job) > 2 ? 9 * tlb_job_levels(job) + 11 : 32;

	pattern->base = bits > 32 ? 1UL << 32 : 0;
	if (!request->has_pattern)
		return EXIT_OK;
	if (pattern->footprint_bytes > (1UL << bits) - pattern->base)
		return complain("--footprint: %llu bytes: a program has 2^%u, and patterns start "
				"at %#llx",
				(unsigned long long)pattern->footprint_bytes, bits,
				(unsigned long long)pattern->base);
	if (pattern->kind == PATTERN_STRIDE && pattern->stride_bytes > pattern->footprint_bytes)
		return complain("--stride: %llu bytes: more than the footprint, %llu bytes",
				(unsigned long long)pattern->stride_bytes,
				(unsigned long long)pattern->footprint_bytes);
	return EXIT_OK;
}

static int add_variants(struct request *request)
{
	const struct tlb_job *job = &request->job;
	int status = EXIT_OK;

	if (job->config.paging.levels == 2)
		return add_pages(request, 2);
	if (!request->levels || list_has(request->levels, "4"))
		status = add_pages(request, 4);
	if (!status &&
	    (request->levels ? list_has(request->levels, "5") : job->preset->max_levels == 5))
		status = add_pages(request, 5);
	return status;
}

static int set_up(struct request *request)
{
	struct tlb_job *job = &request->job;
	int status;

	job->config = job->preset->config;
	job->config.pti = (u8)request->pti;
	if (request->no_pcid || request->pti == TLB_PTI_ON)
		job->config.pcid = false;
	if (request->pti == TLB_PTI_PCID && !job->config.pcid)
		return complain("--pti: pcid: there are no PCIDs");
	if (job->schedule.switch_every && !job->schedule.nr_processes)
		job->schedule.nr_processes = 2;
	status = check_lists(request);
	if (!status)
		status = add_variants(request);
	return status ? status : place_pattern(request);
}

static int begin(struct tlb_job *job)
{
	int error = tlb_job_begin(job);

	return error ? complain("%s: %s", job->preset->name, strerror(-error)) : EXIT_OK;
}

static int run_pattern(struct request *request, char *what, size_t size)
{
	struct pattern *pattern = &request->pattern;
	struct access accesses[BLOCK];
	u64 left = request->nr_accesses ? request->nr_accesses : 10000000;
	u64 addresses[BLOCK];
	int status;

	if (pattern_begin(pattern, request->seed))
		return complain("--footprint: less than a page");
	status = begin(&request->job);
	for (u64 nr; !status && left; left -= nr) {
		nr = min_t(u64, left, BLOCK);
		pattern_take(pattern, addresses, nr);
		for (u64 i = 0; i < nr; i++)
			accesses[i] = (struct access){
				.address = addresses[i], .bytes = 8, .kind = ACCESS_LOAD};
		tlb_job_feed(&request->job, accesses, nr);
	}
	snprintf(what, size, "%s over %llu KiB: %llu accesses", pattern_names[pattern->kind],
		 (unsigned long long)pattern->footprint_bytes / 1024,
		 (unsigned long long)request->job.nr_accesses);
	return status;
}

/* All of it, or as many as were asked for. */
static int feed_trace(struct request *request, struct access_reader *reader)
{
	u64 left = request->nr_accesses ? request->nr_accesses : UINT64_MAX;
	struct access accesses[BLOCK];
	ssize_t n = 0;

	while (left && (n = access_read(reader, accesses, BLOCK)) > 0) {
		u64 nr = min_t(u64, left, (u64)n);

		tlb_job_feed(&request->job, accesses, nr);
		left -= nr;
	}
	return n < 0 ? complain("%s", access_error(reader)) : EXIT_OK;
}

static int run_trace(struct request *request, const char *file, char *what, size_t size)
{
	char error[KMT_ERROR_SIZE];
	struct access_reader *reader;
	int fd, status = trace_file_open(file, &fd);

	if (status)
		return status;
	reader = access_open_fd(fd, file, request->format, error);
	if (!reader)
		status = complain("%s", error);
	if (!status)
		status = begin(&request->job);
	if (!status)
		status = feed_trace(request, reader);
	if (!status && !request->job.nr_accesses)
		status = complain("%s: no accesses are in it", file);
	if (reader)
		snprintf(what, size, "%.300s (%s): %llu accesses", file, access_format_name(reader),
			 (unsigned long long)request->job.nr_accesses);
	access_close(reader);
	close(fd);
	return status;
}

static int run(struct request *request, int argc, char **argv)
{
	char what[400] = "";
	int status;

	if (argc > 1 || (argc == 1) == request->has_pattern)
		return complain("tlb wants a TRACE or --pattern; see `kmm tlb --help'");
	status = set_up(request);
	if (status)
		return status;
	if (request->has_pattern)
		status = run_pattern(request, what, sizeof(what));
	else
		status = run_trace(request, argv[0], what, sizeof(what));
	tlb_job_end(&request->job);
	if (!status)
		tlb_report(&request->job, what, stdout);
	return status;
}

static const char *first_option(u32 options)
{
	return long_options[__builtin_ctz(options) - 1].name;
}

static int probe(const struct request *request, bool more)
{
	const char *name = request->name ? request->name : "probed";

	if (more)
		return complain("--probe takes no trace");
	if (request->given & ~PROBE_OPTIONS)
		return complain("--probe takes no --%s",
				first_option(request->given & ~PROBE_OPTIONS));
	if (!tlb_is_name(name))
		return complain("--name: %s: not a word of up to %d characters", name,
				TLB_NAME_SIZE - 1);
	return probe_run((double)request->seconds, request->out, name);
}

int command_tlb(int argc, char **argv)
{
	struct request request = {
		.pattern = {.footprint_bytes = 256UL << 20, .stride_bytes = 4096, .skew = 0.99},
		.seed = 1,
		.seconds = 30,
		.job = {.preset = tlb_find_preset("skylake"), .schedule = {.kernel_pages = 8}},
	};
	int option, status;

	while ((option = next_option(argc, argv, "", long_options)) >= 0) {
		if (option == OPTION_HELP)
			return help();
		status = take_option(&request, option, optarg);
		request.given |= 1U << option;
		if (status)
			return status;
	}
	if (option == OPTION_BAD)
		return EXIT_BAD_INPUT;
	if (request.given & 1U << OPTION_PROBE)
		return probe(&request, argc != optind);
	if (request.given & PROBE_OPTIONS)
		return complain("--%s is of --probe", first_option(request.given & PROBE_OPTIONS));
	if (!request.sources)
		return run(&request, argc - optind, argv + optind);
	if (argc != optind)
		return complain("--sources takes no trace");
	tlb_print_preset(request.job.preset, stdout);
	return EXIT_OK;
}

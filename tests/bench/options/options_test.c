/* SPDX-License-Identifier: MIT */
/* Options that sub-commands share. Complaints go to stderr and are read back from a pipe. */
#include "config.h"

#include "bench/options/options.h"

#include <stdbool.h>
#include <unistd.h>

#include "bench/command.h"
#include "tests/tap/tap.h"

static char said[512]; /* on stderr, by the last complaints_of */
static int saved_stderr, pipe_ends[2];

static void listen_to_stderr(void)
{
	if (pipe(pipe_ends))
		exit(99);
	fflush(stderr);
	saved_stderr = dup(2);
	dup2(pipe_ends[1], 2);
	close(pipe_ends[1]);
}

static void stop_listening(void)
{
	ssize_t got;

	fflush(stderr);
	dup2(saved_stderr, 2);
	close(saved_stderr);
	got = read(pipe_ends[0], said, sizeof(said) - 1);
	said[got > 0 ? got : 0] = '\0';
	close(pipe_ends[0]);
}

static bool said_one_line(void)
{
	const char *end = strchr(said, '\n');

	return !strncmp(said, "kmm: ", 5) && end && !end[1];
}

/* Parse words (up to NULL) with every common option and -o ARG; the first status that is not
 * EXIT_OK. */
static int parse(struct common_options *common, const char *const *words)
{
	static const struct option options[] = {
		COMMON_OPTIONS, {"order", required_argument, NULL, 'o'}, {0}};
	char *argv[32] = {(char *)"kmm"};
	int argc = 1, option, status = EXIT_OK;

	while (words[argc - 1]) {
		argv[argc] = (char *)words[argc - 1];
		argc++;
	}
	common_options_init(common);
	optind = 0;
	listen_to_stderr();
	while (!status && (option = next_option(argc, argv, "o:", options)) >= 0)
		if (option != 'o')
			status = common_option(common, option, optarg);
	stop_listening();
	return status ? status : option == OPTION_BAD ? EXIT_BAD_INPUT : EXIT_OK;
}
#define PARSE(common, ...) parse(common, (const char *const[]){__VA_ARGS__, NULL})

static void sizes_have_suffixes(void)
{
	static const struct {
		const char *text;
		u64 bytes;
	} good[] = {{"4096", 4096},
		    {"64K", 65536},
		    {"512M", 512UL << 20},
		    {"2G", 2UL << 30},
		    {"1T", 1UL << 40},
		    {"2g", 2UL << 30},
		    {"1GiB", 1UL << 30},
		    {"16MB", 16UL << 20},
		    {"8589934591G", 8589934591UL << 30},
		    {"1", 1}};
	u64 bytes;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		bytes = 0;
		ok(!parse_size(good[i].text, &bytes), "%s", good[i].text);
		ok(bytes == good[i].bytes, "%s is %llu", good[i].text, (unsigned long long)bytes);
	}
}

static void page_peers_are_counted(void)
{
	struct common_options common;

	ok_eq(PARSE(&common, "--page-peer", "a.so", "--page-peer", "b=c.so"), EXIT_OK);
	ok_eq(common.nr_page_peers, 2);
	ok(!strcmp(common.page_peers[0], "a.so"), "%s", common.page_peers[0]);
	ok(!strcmp(common.page_peers[1], "b=c.so"), "%s", common.page_peers[1]);
	ok_eq(common.nr_peers, 0);
}

static void garbage_is_no_size(void)
{
	static const char *const bad[] = {
		"",	"0",	"0G",	 "G",		"-1",
		"1X",	"1GX",	" 1",	 "1 ",		"1 M",
		"1.5G", "0x10", "16EiB", "8589934593G", "99999999999999999999999"};
	u64 bytes;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ok(parse_size(bad[i], &bytes) < 0, "'%s' was taken", bad[i]);
}

static void numbers_stay_in_their_range(void)
{
	long n;

	ok(!parse_number("12", 1, 12, &n) && n == 12, "%ld", n);
	ok(parse_number("13", 1, 12, &n), "13 was taken");
	ok(parse_number("0", 1, 12, &n), "0 was taken");
	ok(parse_number("5x", 1, 12, &n), "5x was taken");
	ok(parse_number("", 1, 12, &n), "nothing was taken");
}

static void lists_hold_whole_words(void)
{
	ok(list_has(NULL, "kmm"), "no list means all");
	ok(list_has("kmm,jemalloc", "jemalloc"), "last word");
	ok(list_has("kmm,jemalloc", "kmm-aa"), "an A/A copy goes with its original");
	ok(!list_has("kmm,jemalloc", "malloc"), "part of a word");
	ok(!list_has("kmm,jemalloc", "jemallocs"), "a longer word");
	ok(!list_has("", "kmm"), "the empty list");
}

static void unknown_words_of_a_list_are_named(void)
{
	const char *const names[] = {"page", "slab", NULL};
	char word[16];

	ok(!list_unknown("slab,page", names, word, sizeof(word)), "all are known");
	ok(!list_unknown(NULL, names, word, sizeof(word)), "no list");
	ok(list_unknown("slab,pagee", names, word, sizeof(word)), "pagee is not known");
	ok(!strcmp(word, "pagee"), "%s", word);
}

static void options_fill_the_configuration(void)
{
	struct common_options c;

	ok_eq(PARSE(&c, "--synthetic", "pack:2", "--memory=64M", "--zones", "i386", "--lock", "mcs",
		    "--min-free-kbytes", "8192", "--watermark-scale-factor=100", "--no-watermarks",
		    "--warn-alloc", "--slub-debug=FZ,kmalloc-*", "--slab-nomerge", "--no-thp",
		    "--classes=fine", "--results", "r", "--peer", "x=/x.so", "--allocators=kmm"),
	      EXIT_OK);
	ok(!strcmp(c.config.synthetic, "pack:2"), "%s", c.config.synthetic);
	ok_eq(c.config.node_bytes, 64 << 20);
	ok_eq(c.config.layout, ZONES_I386);
	ok_eq(c.config.lock_kind, LOCK_MCS);
	ok_eq(c.config.min_free_kbytes, 8192);
	ok_eq(c.config.watermark_scale_factor, 100);
	ok(c.config.no_watermarks, "--no-watermarks");
	ok(c.config.warn_alloc, "--warn-alloc");
	ok(!strcmp(c.config.slub_debug, "FZ,kmalloc-*"), "%s", c.config.slub_debug);
	ok(c.config.slab_nomerge, "--slab-nomerge");
	ok_eq(c.config.kmalloc_classes, KMALLOC_CLASSES_FINE);
	ok(c.config.no_thp, "--no-thp");
	ok(!strcmp(c.results_dir, "r"), "%s", c.results_dir);
	ok(c.nr_peers == 1 && !strcmp(c.peers[0], "x=/x.so"), "%d peers", c.nr_peers);
	ok(!strcmp(c.allocators, "kmm"), "%s", c.allocators);
	ok_eq(PARSE(&c, "--classes", "kernel"), EXIT_OK);
	ok_eq(c.config.kmalloc_classes, KMALLOC_CLASSES_KERNEL);
}

static void each_bad_option_is_one_line_that_names_it(void)
{
	struct common_options c;
	static const char *const bad[][3] = {
		{"--frobnicate"},
		{"--memory", "lots"},
		{"--zones", "arm"},
		{"--lock", "spin"},
		{"--memory"},
		{"--min-free-kbytes", "-1"},
		{"--min-free-kbytes", "0"},
		{"--watermark-scale-factor", "3001"},
		{"--watermark-scale-factor", "ten"},
		{"--no-watermarks=1"},
		{"--slub-debug"},
		{"--slab-nomerge=1"},
		{"--classes", "finest"},
		{"--classes"},
		{"--no-thp=yes"},
		{"-q"},
		{"-o"},
		{"--xml=a", "--synthetic=b"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		size_t length = strcspn(bad[i][0], "=");

		ok_eq(parse(&c, bad[i]), EXIT_BAD_INPUT);
		ok(said_one_line(), "%s: said '%s'", bad[i][0], said);
		ok(strstr(said, "xml") || !strncmp(said + 5, bad[i][0], length), "%s: said '%s'",
		   bad[i][0], said);
	}
}

int main(void)
{
	RUN(sizes_have_suffixes);
	RUN(page_peers_are_counted);
	RUN(garbage_is_no_size);
	RUN(numbers_stay_in_their_range);
	RUN(lists_hold_whole_words);
	RUN(unknown_words_of_a_list_are_named);
	RUN(options_fill_the_configuration);
	RUN(each_bad_option_is_one_line_that_names_it);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* What the kernel of bench/linux says, well and badly said. */
#include "bench/run/linux_lines.h"

#include <errno.h>
#include <string.h>

#include "tests/tap/tap.h"

static char text[600], error[LINUX_LINE_ERROR];
static struct linux_line line;

static int parse(const char *from)
{
	snprintf(text, sizeof(text), "%s", from);
	error[0] = '\0';
	return linux_line_parse(text, &line, error);
}

static void hello_names_the_release(void)
{
	ok_eq(parse("kmm-linux 1 6.1.90-debian"), 0);
	ok_eq(line.kind, LINUX_HELLO);
	ok(!strcmp(line.text, "6.1.90-debian"), "%s", line.text);
}

static void a_sample_has_a_case_and_its_cycles(void)
{
	ok_eq(parse("sample page fill95/pair 0 4096 65536 39842252"), 0);
	ok_eq(line.kind, LINUX_SAMPLE);
	ok(!strcmp(line.suite, "page") && !strcmp(line.name, "fill95/pair") &&
		   !strcmp(line.size, "0"),
	   "%s %s %s", line.suite, line.name, line.size);
	ok_eq(line.count, 4096UL);
	ok_eq(line.ops, 65536UL);
	ok_eq(line.cycles, 39842252UL);
}

static void rounds_and_events_count_free_blocks(void)
{
	ok_eq(parse("round ageing 0-4 3 77 4096 8192 100 7 1 2 0 0 0 0 0 0 0 0 0"), 0);
	ok_eq(line.kind, LINUX_ROUND);
	ok(!strcmp(line.size, "0-4"), "%s", line.size);
	ok_eq(line.number, 3UL);
	ok_eq(line.time, 77UL);
	ok_eq(line.requested_bytes, 4096UL);
	ok_eq(line.allocated_bytes, 8192UL);
	ok_eq(line.free.nr_managed_pages, 100UL);
	ok_eq(line.free.nr_pcp_pages, 7UL);
	ok_eq(line.free.nr_buddy_pages, 5UL);
	ok_eq(parse("event kbuild-page 9 1000 0 0 1024 0 0 0 0 0 0 0 0 0 0 0 1"), 0);
	ok_eq(line.kind, LINUX_EVENT);
	ok_eq(line.free.nr_blocks[10], 1UL);
}

static void text_is_kept_as_it_stands(void)
{
	ok_eq(parse("state kbuild-page buddyinfo Node 0, zone   Normal      1"), 0);
	ok_eq(line.kind, LINUX_STATE);
	ok(!strcmp(line.file, "buddyinfo") && !strcmp(line.text, "Node 0, zone   Normal      1"),
	   "%s %s", line.file, line.text);
	ok_eq(parse("error page/pair/0: no memory"), 0);
	ok_eq(line.kind, LINUX_ERROR);
	ok(!strcmp(line.text, "page/pair/0: no memory"), "%s", line.text);
	ok_eq(parse("error a\tb\x01\xff"), 0);
	ok(!strcmp(line.text, "a b  "), "%s", line.text);
}

static void a_free_block_lies_on_its_own_boundary(void)
{
	ok_eq(parse("free kbuild-page end 1024 10 1"), 0);
	ok_eq(line.kind, LINUX_FREE_BLOCK);
	ok_eq(line.pfn, 1024UL);
	ok_eq(line.order, 10U);
	ok_eq(line.migratetype, 1U);
	ok_eq(parse("pageblock kbuild-page end 1024 10 2"), 0);
	ok_eq(line.kind, LINUX_PAGEBLOCK);
	ok_eq(line.migratetype, 2U);
	ok_eq(parse("free kbuild-page end 1023 10 1"), -EINVAL);
	ok_eq(parse("free kbuild-page end 4096 11 1"), -EINVAL);
}

static void a_skipped_trace_says_why(void)
{
	ok_eq(parse("skipped kbuild-page no memory for a block of 4096 bytes"), 0);
	ok_eq(line.kind, LINUX_SKIPPED);
	ok(!strcmp(line.name, "kbuild-page") &&
		   !strcmp(line.text, "no memory for a block of 4096 bytes"),
	   "%s %s", line.name, line.text);
	ok_eq(parse("skipped a/b no memory"), -EINVAL);
	ok_eq(parse("skipped"), -EINVAL);
}

static void end_ends(void)
{
	ok_eq(parse("end"), 0);
	ok_eq(line.kind, LINUX_END);
	ok_eq(parse("end of it"), -EINVAL);
}

static void bad_lines_say_what_was_wanted(void)
{
	static const struct {
		const char *line, *wanted;
	} bad[] = {
		{"", "not a line"},
		{" ", "not a line"},
		{"hello", "not a line"},
		{"samples a b c 1 1 1", "not a line"},
		{"kmm-linux 2 6.1", "version 1"},
		{"kmm-linux 1", "a release"},
		{"kmm-linux 1 6.1 x", "nothing more"},
		{"kmm-linux one 6.1", "a version"},
		{"sample page pair 0 1 65536", "cycles"},
		{"sample page pair 0 1 0 5", "not 0"},
		{"sample page pair 0 1 5 0", "not 0"},
		{"sample page pair 0 1 -5 5", "operations"},
		{"sample page pair 0 1 99999999999999999999 5", "operations"},
		{"sample page pair 0 1 9223372036854775808 5", "operations"},
		{"sample page pair 0 70000 5 5", "a count"},
		{"sample page  0 1 5 5", "a case"},
		{"sample page pa,ir 0 1 5 5", "a case"},
		{"sample page pair 0 1 5 5 5", "nothing more"},
		{"round ageing 0 1 1 1 1 1 1", "free blocks"},
		{"round ageing 1 1 1 1 1 1 0 0 0 0 0 0 0 0 0 0 0", "free blocks"},
		{"round ageing 0 1 1 1 1 4 1 2 1 0 0 0 0 0 0 0 0 0", "no more free pages"},
		{"event t 1 1 1 1 1099511627777 0 0 0 0 0 0 0 0 0 0 0 0", "pages"},
		{"state t ../etc x", "without folders"},
		{"free ../t end 4 1 1", "without folders"},
		{"pageblock t a/b 4 1 1", "without folders"},
		{"kmm-linux 1 ../6.1", "without folders"},
		{"free t end x 1 1", "a page"},
		{"free t end 4 1", "a migratetype"},
		{"pageblock t end 4 1 8", "a migratetype"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		ok_eq(parse(bad[i].line), -EINVAL);
		ok(strstr(error, bad[i].wanted), "\"%s\": %s", bad[i].line, error);
		ok(!strchr(error, '\n') && strlen(error) < LINUX_LINE_ERROR - 1, "%s", error);
	}
}

static void the_largest_number_is_taken(void)
{
	ok_eq(parse("sample page pair 0 1 9223372036854775807 1"), 0);
	ok_eq(line.ops, (u64)INT64_MAX);
}

int main(void)
{
	RUN(hello_names_the_release);
	RUN(a_sample_has_a_case_and_its_cycles);
	RUN(rounds_and_events_count_free_blocks);
	RUN(text_is_kept_as_it_stands);
	RUN(a_free_block_lies_on_its_own_boundary);
	RUN(a_skipped_trace_says_why);
	RUN(end_ends);
	RUN(bad_lines_say_what_was_wanted);
	RUN(the_largest_number_is_taken);
	return done();
}

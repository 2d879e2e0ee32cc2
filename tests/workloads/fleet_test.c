/* SPDX-License-Identifier: MIT */
/* Tables of sizes, rates and live counts: what is taken, what is left out, and what is refused. */
#include <math.h>
#include <string.h>

#include "tests/tap/tap.h"
#include "workloads/fleet.h"

static char error[FLEET_ERROR_SIZE];

/* Read a text as the file "dir/web.csv". */
static int read_text(const char *text, size_t length, struct fleet_profile *profile)
{
	FILE *in = fmemopen((char *)text, length, "r");
	int status;

	error[0] = '\0';
	status = fleet_read_stream(in, "dir/web.csv", profile, error);
	fclose(in);
	return status;
}

static void a_table_is_read(const char *text, size_t nr, u64 size, double rate, double live)
{
	struct fleet_profile profile;

	ok(!read_text(text, strlen(text), &profile), "%s: %s", text, error);
	ok(profile.nr == nr, "%s: %zu entries", text, profile.nr);
	ok(profile.nr && profile.entries[0].size_bytes == size &&
		   fabs(profile.entries[0].per_second - rate) < 1e-9 &&
		   fabs(profile.entries[0].live - live) < 1e-9,
	   "%s: not what it says", text);
	ok(!strcmp(profile.name, "web"), "named %s", profile.name);
	fleet_free(&profile);
}

static void lines_are_three_numbers_with_blanks_around(void)
{
	a_table_is_read("8,2,3\n", 1, 8, 2, 3);
	a_table_is_read("8, 2.5, 3e2\n16, 1, 1", 2, 8, 2.5, 300);
	a_table_is_read("  8 ,\t.5 , 1.25e-3 \r\n", 1, 8, 0.5, 0.00125);
	a_table_is_read("1099511627776,1,1\n", 1, 1UL << 40, 1, 1);
	a_table_is_read("8,1,1\n8,2,2\n", 2, 8, 1, 1);
	a_table_is_read("8,1e15,1e-15\n", 1, 8, 1e15, 1e-15);
}

static void empty_lines_comments_and_one_header_say_nothing(void)
{
	a_table_is_read("size,alloc_rate,num_live\n8,2,3\n", 1, 8, 2, 3);
	a_table_is_read("size, alloc_rate, num_live\n\n# a comment, of any form\n  \n8,2,3\n", 1, 8,
			2, 3);
}

static void what_has_no_rate_or_nothing_live_is_left_out(void)
{
	a_table_is_read("4,0,7\n6,7,0\n8,2,3\n", 1, 8, 2, 3);
}

static void refused(const char *text, const char *why)
{
	struct fleet_profile profile;

	ok(read_text(text, strlen(text), &profile) == -1, "%s is taken", text);
	ok(strstr(error, why) && !strchr(error, '\n'), "'%s' instead of '%s'", error, why);
	ok(!profile.entries, "%s: entries", text);
}

static void what_is_not_understood_is_named_with_its_line(void)
{
	refused("8,1\n", "dir/web.csv:1: 2 fields");
	refused("8\n", "web.csv:1: 1 fields");
	refused("8,1,1\n8,1,1,1\n", "web.csv:2: more fields");
	refused("8,1,1,\n", "more fields");
	refused("a,1,1\n", "size: 'a' is not a whole number");
	refused("8.5,1,1\n", "'8.5' is not a whole number");
	refused("-8,1,1\n", "'-8' is not a whole number");
	refused(",1,1\n", "size: ''");
	refused("0,1,1\n", "size: 0 is not from 1");
	refused("1099511627777,1,1\n", "not from 1 to");
	refused("99999999999999999999,1,1\n", "not from 1 to");
	refused("8,x,1\n", "alloc_rate: 'x' is not a number");
	refused("8,1,\n", "num_live: '' is not a number");
	refused("8,1,1 1\n", "num_live: '1 1'");
	refused("8,-1,1\n", "alloc_rate: -1 is not 0, nor from 1e-15");
	refused("8,1,1e16\n", "num_live: 1e16 is not 0, nor");
	refused("8,1e-320,1\n", "alloc_rate: 1e-320 is not 0, nor");
	refused("8,inf,1\n", "alloc_rate: 'inf'");
	refused("8,nan,1\n", "alloc_rate: 'nan'");
	refused("8,0x10,1\n", "alloc_rate: '0x10'");
	refused("8,1,1\nsize,alloc_rate,num_live\n", "web.csv:2: size: 'size'");
	refused("# nothing\n", "web.csv: no size with a rate");
	refused("8,0,1\n", "no size with a rate");
}

static void bytes_that_are_no_text_and_endless_lines_are_refused(void)
{
	static const char nul[] = "8,1,1\n8\0,1,1\n";
	struct fleet_profile profile;
	char line[1000];

	ok(read_text(nul, sizeof(nul) - 1, &profile) == -1 && strstr(error, "web.csv:2: not text"),
	   "'%s'", error);
	memset(line, '1', sizeof(line));
	ok(read_text(line, sizeof(line), &profile) == -1 && strstr(error, "a line of more than"),
	   "'%s'", error);
}

static void more_sizes_than_there_is_room_for_are_refused(void)
{
	const size_t nr = FLEET_MAX_ENTRIES + 1;
	char *text = malloc(nr * 8 + 1), *at = text;
	struct fleet_profile profile;

	for (size_t i = 0; i < nr; i++)
		at += sprintf(at, "%d,1,1\n", (int)(i % 9 + 1));
	ok(read_text(text, (size_t)(at - text) - 6, &profile) == 0 && profile.nr == nr - 1, "%s",
	   error);
	fleet_free(&profile);
	ok(read_text(text, (size_t)(at - text), &profile) == -1 && strstr(error, "more than 65536"),
	   "'%s'", error);
	free(text);
}

static void a_file_that_is_not_there_or_no_file_is_refused(void)
{
	struct fleet_profile profile;

	ok(fleet_read("there/is/none.csv", &profile, error) == -1 &&
		   strstr(error, "there/is/none.csv: No such file"),
	   "'%s'", error);
	ok(fleet_read("/", &profile, error) == -1 && strstr(error, "directory"), "'%s'", error);
}

static void a_name_is_the_files_without_folder_and_ending(void)
{
	static const char *const names[][2] = {
		{"web", "web"},
		{"a/b/web.csv", "web"},
		{"web.1.csv", "web.1"},
		{".csv", ".csv"},
		{"web.txt", "web.txt"},
		{"/x/", ""},
		{"a-name-that-is-far-too-long.csv", "a-name-that-is-far-too-"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		FILE *in = fmemopen((char *)"8,1,1\n", 6, "r");
		struct fleet_profile profile;

		ok(!fleet_read_stream(in, names[i][0], &profile, error), "%s", error);
		ok(!strcmp(profile.name, names[i][1]), "%s named %s", names[i][0], profile.name);
		fleet_free(&profile);
		fclose(in);
	}
}

static void our_own_table_is_one_that_could_be_read(void)
{
	double live = 0, bytes = 0;

	for (size_t i = 0; i < fleet_server.nr; i++) {
		const struct fleet_entry *entry = &fleet_server.entries[i];

		ok(entry->size_bytes >= 1 && entry->per_second > 0 && entry->live > 0, "entry %zu",
		   i);
		ok(!i || entry->size_bytes > entry[-1].size_bytes, "entry %zu is not larger", i);
		live += entry->live;
		bytes += entry->live * (double)entry->size_bytes;
	}
	ok(fleet_server.nr >= 50, "%zu entries", fleet_server.nr);
	ok(bytes / live > 200 && bytes / live < 500, "%.0f bytes each", bytes / live);
}

int main(void)
{
	RUN(lines_are_three_numbers_with_blanks_around);
	RUN(empty_lines_comments_and_one_header_say_nothing);
	RUN(what_has_no_rate_or_nothing_live_is_left_out);
	RUN(what_is_not_understood_is_named_with_its_line);
	RUN(bytes_that_are_no_text_and_endless_lines_are_refused);
	RUN(more_sizes_than_there_is_room_for_are_refused);
	RUN(a_file_that_is_not_there_or_no_file_is_refused);
	RUN(a_name_is_the_files_without_folder_and_ending);
	RUN(our_own_table_is_one_that_could_be_read);
	return done();
}

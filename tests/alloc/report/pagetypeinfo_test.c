/* SPDX-License-Identifier: MIT */
/* The text of pagetypeinfo: its form on a fresh machine, and its sums beside buddyinfo's. */
#include "phys/zone.h"
#include "tests/alloc/report/text.h"

#define MIB (1UL << 20)

static const char *const types[] = {"Unmovable", "Movable", "Reclaimable"};

/* The line that begins with these words, spaces as they are; "" if there is none. */
static const char *line_of(const char *text, const char *start)
{
	const char *at = strstr(text, start);

	return at ? at : "";
}

static bool has_line(const char *text, const char *line)
{
	const char *at = strstr(text, line);

	return at && (at == text || at[-1] == '\n') && at[strlen(line)] == '\n';
}

static void a_fresh_machine_is_as_by_hand(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256 * MIB, .no_pcp = true});
	char *text = report_text(show_pagetypeinfo, machine);
	static const char head[] =
		"Page block order: 9\n"
		"Pages per block:  512\n"
		"\n"
		"Free pages count per migrate type at order       0      1      2      3      4"
		"      5      6      7      8      9     10 \n"
		"Node    0, zone      DMA, type    Unmovable ";

	ok(!strncmp(text, head, sizeof(head) - 1), "%s", text);
	/* 64 MiB at the top, a quarter, of which nothing is in use: all movable, as at boot. */
	ok(has_line(text, "Node    0, zone   Shared, type      Movable      0      0      0      0"
			  "      0      0      0      0      0      0     16 "),
	   "%s", text);
	ok(has_line(text, "Node    0, zone   Shared, type  Reclaimable      0      0      0      0"
			  "      0      0      0      0      0      0      0 "),
	   "%s", text);
	ok(has_line(text, "Number of blocks type     Unmovable      Movable  Reclaimable "), "%s",
	   text);
	ok(strstr(text, "\n\nNumber of blocks type "), "%s", text);
	ok(has_line(text, "Node 0, zone   Shared            0           32            0 "), "%s",
	   text);
	free(text);
	shut_down(machine);
}

static unsigned long long read_numbers(const char *at, unsigned long long *sum, unsigned int nr)
{
	unsigned long long all = 0;

	for (unsigned int i = 0; i < nr; i++) {
		char *end;
		unsigned long long value = strtoull(at, &end, 10);

		ok(end != at, "%u numbers, not %u", i, nr);
		at = end;
		sum[i] += value;
		all += value;
	}
	ok(at[0] == ' ' && at[1] == '\n', "more than %u numbers", nr);
	return all;
}

/* What all types have of a zone's blocks is what buddyinfo says of the zone. */
static void types_add_up_to_buddyinfo(void)
{
	static const gfp_t gfps[] = {GFP_KERNEL, GFP_HIGHUSER_MOVABLE,
				     GFP_KERNEL | __GFP_RECLAIMABLE, GFP_DMA};
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	unsigned long seed = tap_seed();
	struct page *live[ARRAY_SIZE(gfps)];
	char *text, *buddyinfo, start[96];
	unsigned int nr_lines = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(gfps); i++)
		live[i] = report_work(&seed, 1000, gfps[i]);
	text = report_text(show_pagetypeinfo, machine);
	buddyinfo = report_text(show_buddyinfo, machine);
	for (const char *line = buddyinfo; *line; line = strchr(line, '\n') + 1, nr_lines++) {
		unsigned long long sum[NR_PAGE_ORDERS] = {0}, expected[NR_PAGE_ORDERS] = {0};
		char zone[16];
		int nid, end;

		ok(sscanf(line, "Node %d, zone %15s%n", &nid, zone, &end) == 2, "%s", line);
		read_numbers(line + end, expected, NR_PAGE_ORDERS);
		for (unsigned int type = 0; type < ARRAY_SIZE(types); type++) {
			snprintf(start, sizeof(start), "Node %4d, zone %8s, type %12s ", nid, zone,
				 types[type]);
			ok(strstr(text, start), "no line \"%s\"", start);
			read_numbers(line_of(text, start) + strlen(start), sum, NR_PAGE_ORDERS);
		}
		for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++)
			ok_eq(sum[order], expected[order]);
	}
	ok(nr_lines >= 4, "%u zones", nr_lines);
	free(text);
	free(buddyinfo);
	for (unsigned int i = 0; i < ARRAY_SIZE(gfps); i++)
		report_undo(live[i]);
	shut_down(machine);
}

/* Each type that is allocated has pageblocks, and all types together have all. */
static void each_type_gets_pageblocks(void)
{
	static const gfp_t gfps[] = {GFP_KERNEL, GFP_HIGHUSER_MOVABLE,
				     GFP_KERNEL | __GFP_RECLAIMABLE};
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 128 * MIB});
	struct page *pages[ARRAY_SIZE(gfps)];
	static const char start[] = "Node 0, zone    DMA32 ";
	unsigned long long nr[ARRAY_SIZE(types)] = {0};
	struct phys_counters counters;
	const char *blocks;
	char *text;

	for (unsigned int i = 0; i < ARRAY_SIZE(gfps); i++)
		pages[i] = alloc_pages(gfps[i], 0);
	text = report_text(show_pagetypeinfo, machine);
	blocks = strstr(text, "Number of blocks type");
	/* 128 MiB less 16 of DMA and a quarter of Shared. */
	ok_eq(read_numbers(line_of(blocks, start) + strlen(start), nr, ARRAY_SIZE(types)), 40);
	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++)
		ok(nr[i] > 0, "no pageblock is %s: %s", types[i], blocks);
	phys_count(machine, &counters);
	ok(counters.steal_block > 0, "no pageblock has changed its type");
	free(text);
	for (unsigned int i = 0; i < ARRAY_SIZE(gfps); i++)
		__free_pages(pages[i], 0);
	shut_down(machine);
}

static void a_full_disk_is_an_error(void)
{
	report_fails_on_a_full_disk(show_pagetypeinfo);
}

int main(void)
{
	RUN(a_fresh_machine_is_as_by_hand);
	RUN(types_add_up_to_buddyinfo);
	RUN(each_type_gets_pageblocks);
	RUN(a_full_disk_is_an_error);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* The table of numastat: its form, and figures known by hand. */
#include "phys/mempolicy.h"
#include "tests/alloc/report/text.h"

#define MIB (1UL << 20)

/* Row and column; -1: not there. */
static long long cell(const char *text, const char *name, int nid)
{
	const char *row = strstr(text, name);
	char *at = (char *)(row ? row + strlen(name) : "");
	long long value = -1;

	for (int i = 0; i <= nid; i++) {
		char *end;

		value = strtoll(at, &end, 10);
		if (end == at)
			return -1;
		at = end;
	}
	return value;
}

static void the_table_is_the_tools(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	char *text = report_text(show_numastat, machine), *line, *rest;
	static const char *const names[] = {"numa_hit",	      "numa_miss",  "numa_foreign",
					    "interleave_hit", "local_node", "other_node"};
	unsigned int nr = 0;

	ok(!strncmp(text, "                           node0           node1\nnuma_hit ", 57), "%s",
	   text);
	strtok_r(text, "\n", &rest);
	while ((line = strtok_r(NULL, "\n", &rest))) {
		ok_eq(strlen(line), 48);
		ok(nr < ARRAY_SIZE(names) && !strncmp(line, names[nr], strlen(names[nr])) &&
			   line[strlen(names[nr])] == ' ',
		   "%s", line);
		nr++;
	}
	ok_eq(nr, ARRAY_SIZE(names));
	free(text);
	shut_down(machine);
}

/* From CPU 0: its own node, the other by name, both in turn, and what its own could not give. */
static void blocks_are_counted_where_they_came_from(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	char *before = report_text(show_numastat, machine), *after;
	static const struct {
		const char *name;
		long long grown[2];
	} rows[] = {
		{"numa_hit", {100 + 8, 50 + 8}}, {"numa_miss", {0, 0}},	   {"numa_foreign", {0, 0}},
		{"interleave_hit", {8, 8}},	 {"local_node", {108, 0}}, {"other_node", {0, 58}},
	};

	for (int i = 0; i < 100; i++)
		__free_pages(alloc_pages(GFP_KERNEL, (unsigned int)i % 4), (unsigned int)i % 4);
	for (int i = 0; i < 50; i++)
		__free_pages(alloc_pages_node(1, GFP_KERNEL, 0), 0);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_INTERLEAVE, 3), 0);
	for (int i = 0; i < 16; i++)
		__free_pages(alloc_pages(GFP_KERNEL, 0), 0);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_DEFAULT, 0), 0);
	after = report_text(show_numastat, machine);
	for (unsigned int i = 0; i < ARRAY_SIZE(rows); i++)
		for (int nid = 0; nid < 2; nid++)
			ok(cell(after, rows[i].name, nid) - cell(before, rows[i].name, nid) ==
				   rows[i].grown[nid],
			   "%s of node %d: %lld more, not %lld", rows[i].name, nid,
			   cell(after, rows[i].name, nid) - cell(before, rows[i].name, nid),
			   rows[i].grown[nid]);
	free(before);
	free(after);
	shut_down(machine);
}

/* What one node has not is a miss of the other and foreign to it. */
static void a_full_node_is_missed(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES, .no_pcp = true});
	struct page *page, *head = NULL, *next;
	char *text;

	while ((page = alloc_pages_node(0, GFP_KERNEL | __GFP_MEMALLOC | __GFP_THISNODE, 0))) {
		page->private = (unsigned long)head;
		head = page;
	}
	page = alloc_pages_node(0, GFP_KERNEL, 0);
	ok(page && page->nid == 1, "not from node 1");
	text = report_text(show_numastat, machine);
	ok(cell(text, "numa_miss", 1) >= 1, "%s", text);
	ok_eq(cell(text, "numa_foreign", 0), cell(text, "numa_miss", 1));
	ok_eq(cell(text, "numa_miss", 0), 0);
	free(text);
	if (page)
		__free_pages(page, 0);
	for (; head; head = next) {
		next = (struct page *)head->private;
		__free_pages(head, 0);
	}
	shut_down(machine);
}

/* vmstat has their sums, zoneinfo each node's. */
static void other_reports_have_the_same_figures(void)
{
	static const struct {
		const char *here, *there;
	} names[] = {{"numa_hit", "numa_hit"},	       {"numa_miss", "numa_miss"},
		     {"numa_foreign", "numa_foreign"}, {"interleave_hit", "numa_interleave"},
		     {"local_node", "numa_local"},     {"other_node", "numa_other"}};
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	unsigned long seed = tap_seed();
	struct page *live = report_work(&seed, 2000, GFP_KERNEL);
	char *text = report_text(show_numastat, machine), *vmstat, *zoneinfo, *node1;

	vmstat = report_text(show_vmstat, machine);
	zoneinfo = report_text(show_zoneinfo, machine);
	node1 = strstr(zoneinfo, "Node 1");
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		ok_eq(report_value(vmstat, names[i].there),
		      cell(text, names[i].here, 0) + cell(text, names[i].here, 1));
		ok_eq(report_value(zoneinfo, names[i].there), cell(text, names[i].here, 0));
		ok_eq(report_value(node1, names[i].there), cell(text, names[i].here, 1));
	}
	free(text);
	free(vmstat);
	free(zoneinfo);
	report_undo(live);
	shut_down(machine);
}

static void a_full_disk_is_an_error(void)
{
	report_fails_on_a_full_disk(show_numastat);
}

int main(void)
{
	RUN(the_table_is_the_tools);
	RUN(blocks_are_counted_where_they_came_from);
	RUN(a_full_node_is_missed);
	RUN(other_reports_have_the_same_figures);
	RUN(a_full_disk_is_an_error);
	return done();
}

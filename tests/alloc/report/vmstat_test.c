/* SPDX-License-Identifier: MIT */
/* The counters of vmstat, read back and compared with the machine's own. */
#include "tests/alloc/report/text.h"

#define MIB (1UL << 20)

static void each_line_is_a_name_and_a_number(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	char *text = report_text(show_vmstat, machine), *line, *rest, names[128][64];
	unsigned int nr = 0;

	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		unsigned long long value;
		int end = 0;

		ok(sscanf(line, "%63[a-z0-9_] %llu%n", names[nr], &value, &end) == 2 && !line[end],
		   "%s", line);
		for (unsigned int i = 0; i < nr; i++)
			ok(strcmp(names[i], names[nr]), "%s has two lines", names[nr]);
		nr += nr < ARRAY_SIZE(names) - 1;
	}
	ok(nr > 10, "%u lines", nr);
	free(text);
	shut_down(machine);
}

static void free_pages_are_the_buddys(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	unsigned long seed = tap_seed();
	struct page *live = report_work(&seed, 2000, GFP_KERNEL);
	struct free_area_counts counts;
	char *text = report_text(show_vmstat, machine);

	count_free_areas(machine, NUMA_NO_NODE, &counts);
	ok_eq(report_value(text, "nr_free_pages"), counts.nr_buddy_pages);
	free(text);
	report_undo(live);
	shut_down(machine);
}

static void tables_and_slabs_are_counted(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 128 * MIB});
	struct kmem_cache *cache = kmem_cache_create("pages", PAGE_SIZE, PAGE_SIZE, 0, NULL);
	char *before = report_text(show_vmstat, machine), *text;
	void *objects[64], *area = vmalloc(PAGE_SIZE); /* a table of each level below the root */

	for (unsigned int i = 0; i < ARRAY_SIZE(objects); i++)
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	text = report_text(show_vmstat, machine);
	ok(report_value(text, "nr_slab_unreclaimable") >=
		   report_value(before, "nr_slab_unreclaimable") + 64,
	   "%s", text);
	ok_eq(report_value(text, "nr_page_table_pages"),
	      report_value(before, "nr_page_table_pages") + 3);
	free(text);
	vfree(area);
	for (unsigned int i = 0; i < ARRAY_SIZE(objects); i++)
		kmem_cache_free(cache, objects[i]);
	ok_eq(kmem_cache_destroy(cache), 0);
	free(before);
	shut_down(machine);
}

static void paths_are_those_that_phys_and_slab_count(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	unsigned long seed = tap_seed();
	struct page *live = report_work(&seed, 2000, GFP_KERNEL);
	struct phys_counters phys;
	struct slab_counters slab;
	char *text = report_text(show_vmstat, machine);

	phys_count(machine, &phys);
	slab_count(machine, &slab);
#define X(name) ok_eq(report_value(text, "kmm_phys_" #name), phys.name);
	PHYS_COUNTERS(X)
#undef X
#define X(name) ok_eq(report_value(text, "kmm_slab_" #name), slab.name);
	SLAB_COUNTERS(X)
#undef X
	ok(phys.pcp_alloc > 500, "%llu allocations", (unsigned long long)phys.pcp_alloc);
	free(text);
	report_undo(live);
	shut_down(machine);
}

static void a_full_disk_is_an_error(void)
{
	report_fails_on_a_full_disk(show_vmstat);
}

int main(void)
{
	RUN(each_line_is_a_name_and_a_number);
	RUN(free_pages_are_the_buddys);
	RUN(tables_and_slabs_are_counted);
	RUN(paths_are_those_that_phys_and_slab_count);
	RUN(a_full_disk_is_an_error);
	return done();
}

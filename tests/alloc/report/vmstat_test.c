/* SPDX-License-Identifier: MIT */
/* The counters of vmstat, read back and compared with the machine's own. */
#include "phys/zone.h"
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

static void areas_and_what_is_lazy_of_them_are_counted(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 128 * MIB});
	void *area = vmalloc(7 * PAGE_SIZE), *again;
	char *text;

	vfree(area);
	text = report_text(show_vmstat, machine);
	ok_eq(report_value(text, "kmm_vmalloc_alloc"), 1);
	ok_eq(report_value(text, "kmm_vmalloc_reuse"), 0);
	ok_eq(report_value(text, "kmm_vmalloc_lazy_pages"), 7);
	free(text);
	again = vmalloc(7 * PAGE_SIZE);
	text = report_text(show_vmstat, machine);
	ok_eq(report_value(text, "kmm_vmalloc_alloc"), 2);
	ok_eq(report_value(text, "kmm_vmalloc_reuse"), 1);
	ok_eq(report_value(text, "kmm_vmalloc_lazy_pages"), 0);
	free(text);
	vfree(again);
	shut_down(machine);
}

struct flow {
	long long alloc[NR_ZONE_TYPES], freed;
};

/* A random block allocated or given back, and counted. */
static void step(unsigned long *seed, struct page **at, struct flow *flow)
{
	static const gfp_t gfps[] = {GFP_KERNEL,
				     GFP_DMA,
				     GFP_DMA32,
				     GFP_HIGHUSER_MOVABLE,
				     GFP_KERNEL | __GFP_SHARED,
				     GFP_KERNEL | __GFP_COMP};
	unsigned int order = (unsigned int)(tap_random(seed) % NR_PAGE_ORDERS);

	if (*at) {
		flow->freed += 1LL << (*at)->private;
		__free_pages(*at, (unsigned int)(*at)->private);
		*at = NULL;
		return;
	}
	*at = alloc_pages_node((int)(tap_random(seed) % 2),
			       gfps[tap_random(seed) % ARRAY_SIZE(gfps)], order);
	if (*at) {
		(*at)->private = order;
		flow->alloc[page_zonenum(*at)] += 1LL << order;
	}
}

static void frames_allocated_and_freed_are_counted_by_zone(void)
{
	static const char *const names[NR_ZONE_TYPES] = {
		[ZONE_DMA] = "pgalloc_dma",	  [ZONE_DMA32] = "pgalloc_dma32",
		[ZONE_NORMAL] = "pgalloc_normal", [ZONE_HIGHMEM] = "pgalloc_high",
		[ZONE_SHARED] = "pgalloc_shared",
	};
	struct kmm *machine =
		boot((struct kmm_config){.synthetic = TWO_NODES, .node_bytes = 128 * MIB});
	unsigned long seed = tap_seed(), nr_ops = tap_ops(20000);
	char *before = report_text(show_vmstat, machine), *text;
	struct page *live[64] = {NULL};
	struct flow flow = {{0}, 0};

	for (unsigned long i = 0; i < nr_ops; i++)
		step(&seed, &live[tap_random(&seed) % ARRAY_SIZE(live)], &flow);
	text = report_text(show_vmstat, machine);
	for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++) {
		ok_eq(report_value(text, names[type]) - report_value(before, names[type]),
		      flow.alloc[type]);
		/* 128 MiB have no Normal and no HighMem; what a machine has not has no line. */
		ok((report_value(text, names[type]) < 0) ==
			   (type == ZONE_NORMAL || type == ZONE_HIGHMEM),
		   "%s: %lld", names[type], report_value(text, names[type]));
	}
	ok_eq(report_value(text, "pgfree") - report_value(before, "pgfree"), flow.freed);
	ok_eq(report_value(text, "allocstall"), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(live); i++)
		if (live[i])
			step(&seed, &live[i], &flow);
	free(text);
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
	RUN(areas_and_what_is_lazy_of_them_are_counted);
	RUN(frames_allocated_and_freed_are_counted_by_zone);
	RUN(paths_are_those_that_phys_and_slab_count);
	RUN(a_full_disk_is_an_error);
	return done();
}

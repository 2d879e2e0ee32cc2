/* SPDX-License-Identifier: MIT */
/* The text of zoneinfo, line by line as the kernel's, and read back as tools read it. */
#include "phys/phys.h"
#include "tests/alloc/report/text.h"

#define MIB (1UL << 20)

/* The zone's part of the text, its end cut off; "" if it has none. */
static char *section(char *text, int nid, const char *name)
{
	char head[64], *at, *end;

	snprintf(head, sizeof(head), "Node %d, zone %8s\n", nid, name);
	at = strstr(text, head);
	if (!at)
		return text + strlen(text);
	end = strstr(at + 1, "\nNode ");
	if (end)
		end[1] = '\0';
	return at;
}

static void a_fresh_zone_is_as_by_hand(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256 * MIB,
						       .no_pcp = true,
						       .min_free_kbytes = 4096,
						       .watermark_scale_factor = 1000});
	char *text = report_text(show_zoneinfo, machine), *shared = section(text, 0, "Shared");
	long long low = report_value(shared, "low"), high = report_value(shared, "high");
	char expected[1024];

	/* 64 MiB at the top, a quarter; no node's first zone. Its min is its part of 4 MiB: 256 frames
	 * and a few for what boot kept elsewhere. A tenth of the zone lies between the marks. */
	snprintf(expected, sizeof(expected),
		 "Node 0, zone   Shared\n"
		 "  pages free     16384\n"
		 "        boost    0\n"
		 "        min      %lld\n"
		 "        low      %lld\n"
		 "        high     %lld\n"
		 "        spanned  16384\n"
		 "        present  16384\n"
		 "        managed  16384\n"
		 "        cma      0\n"
		 "        protection: (0, 0, 0, 0, 0)\n"
		 "      nr_free_pages 16384\n"
		 "  pagesets\n"
		 "    cpu: 0\n"
		 "              count: 0\n"
		 "              high:  0\n"
		 "              batch: 1\n"
		 "  start_pfn:           49152\n",
		 low - 1638, low, high);
	ok(!strcmp(shared, expected), "%s, not %s", shared, expected);
	ok_eq(high - low, 1638);
	ok(low - 1638 >= 256 && low - 1638 <= 264, "%s", shared);
	free(text);
	shut_down(machine);
}

static void each_node_has_its_stats_under_its_first_zone(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.synthetic = TWO_NODES, .node_bytes = 64 * MIB});
	char *text = report_text(show_zoneinfo, machine);
	unsigned int nr = 0;

	for (char *at = text; (at = strstr(at, "per-node stats")); at++)
		nr++;
	ok_eq(nr, 2);
	ok(strstr(text, "Node 0, zone      DMA\n  per-node stats\n      nr_slab_unreclaimable "),
	   "%s", text);
	ok(strstr(text, "Node 1, zone    DMA32\n  per-node stats\n      nr_slab_unreclaimable "),
	   "%s", text);
	free(text);
	shut_down(machine);
}

/* Free frames, those in pagesets and those handed out are all that there are. */
static void frames_add_up(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 128 * MIB});
	unsigned long seed = tap_seed(), nr_held;
	char *before = report_text(show_zoneinfo, machine), *text, *zone, *was;
	struct page *live = report_work(&seed, 3000, GFP_KERNEL);
	long long taken;

	text = report_text(show_zoneinfo, machine);
	zone = section(text, 0, "DMA32");
	was = section(before, 0, "DMA32");
	ok_eq(report_value(zone, "nr_free_pages"), report_value(zone, "pages free"));
	taken = report_value(was, "pages free") + report_value(was, "count:") -
		report_value(zone, "pages free") - report_value(zone, "count:");
	nr_held = report_undo(live);
	ok_eq(taken, nr_held);
	ok(report_value(zone, "count:") <= report_value(zone, "high:"), "%s", zone);
	ok(report_value(zone, "batch:") > 0, "%s", zone);
	free(text);
	free(before);
	shut_down(machine);
}

struct marks {
	char *text;
	unsigned int nr_zones;
};

static void compare_marks(const struct phys_zone_info *zone, void *arg)
{
	struct marks *marks = arg;
	char *copy = strdup(marks->text), *at = section(copy, zone->nid, zone->name);
	unsigned long reserve[NR_ZONE_TYPES];
	const char *list = strstr(at, "protection: (");

	marks->nr_zones++;
	ok_eq(report_value(at, "boost"), 0);
	ok_eq(report_value(at, "min"), zone->watermark[WMARK_MIN]);
	ok_eq(report_value(at, "low"), zone->watermark[WMARK_LOW]);
	ok_eq(report_value(at, "high"), zone->watermark[WMARK_HIGH]);
	ok(zone->watermark[WMARK_MIN] > 0 &&
		   zone->watermark[WMARK_HIGH] > zone->watermark[WMARK_LOW],
	   "%s", at);
	ok(list && sscanf(list, "protection: (%lu, %lu, %lu, %lu, %lu)\n", &reserve[0], &reserve[1],
			  &reserve[2], &reserve[3], &reserve[4]) == NR_ZONE_TYPES,
	   "%s", at);
	ok(!memcmp(reserve, zone->lowmem_reserve, sizeof(reserve)), "%s", at);
	free(copy);
}

static void marks_and_reserves_are_the_zones(void)
{
	static const enum zone_layout layouts[] = {ZONES_X86_64, ZONES_I386};

	for (unsigned int i = 0; i < ARRAY_SIZE(layouts); i++) {
		struct kmm *machine = boot((struct kmm_config){
			.synthetic = TWO_NODES, .node_bytes = 512 * MIB, .layout = layouts[i]});
		struct marks marks = {.text = report_text(show_zoneinfo, machine)};

		phys_for_each_zone(machine, compare_marks, &marks);
		ok(marks.nr_zones >= 4, "%u zones", marks.nr_zones);
		free(marks.text);
		shut_down(machine);
	}
}

static void a_full_disk_is_an_error(void)
{
	report_fails_on_a_full_disk(show_zoneinfo);
}

int main(void)
{
	RUN(a_fresh_zone_is_as_by_hand);
	RUN(each_node_has_its_stats_under_its_first_zone);
	RUN(frames_add_up);
	RUN(marks_and_reserves_are_the_zones);
	RUN(a_full_disk_is_an_error);
	return done();
}

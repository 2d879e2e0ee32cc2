/* SPDX-License-Identifier: MIT */
/* Watermarks and lowmem reserves against values worked out by hand; nothing is booted. All frames
 * count as given to the buddy, so that the sums are round. */
#include "phys/watermark.h"

#include <errno.h>
#include <stdio.h>

#include "tests/alloc/phys/nodes.h"
#include "tests/tap/tap.h"

static int set_up(unsigned int nr_nodes, struct kmm_config config, struct kmm_config *out)
{
	int err;

	for (unsigned int nid = 0; nid < nr_nodes; nid++)
		for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++) {
			struct zone *zone = &nodes[nid].zones[type];

			zone->nr_managed = zone->end_pfn - zone->start_pfn;
		}
	err = watermarks_set_up(nodes, nr_nodes, &config);
	if (out)
		*out = config;
	return err;
}

/* "min low high | reserve from DMA DMA32 Normal HighMem Shared" */
static const char *marks(int nid, enum zone_type type)
{
	static char text[256];
	const struct zone *zone = &nodes[nid].zones[type];
	int len = snprintf(text, sizeof(text), "%lu %lu %lu |", zone->watermark[WMARK_MIN],
			   zone->watermark[WMARK_LOW], zone->watermark[WMARK_HIGH]);

	for (int wanted = 0; wanted < NR_ZONE_TYPES; wanted++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, " %lu",
				zone->lowmem_reserve[wanted]);
	return text;
}

#define ok_marks(nid, type, want)                                                                  \
	ok(!strcmp(marks(nid, type), want), "node %d, %s: %s", nid, zone_names[type],              \
	   marks(nid, type))

/*
 *	lowmem 896 MiB = 917504 KiB; int_sqrt(917504 * 16 = 14680064) = 3831 KiB
 *	(3831^2 = 14676561, 3832^2 = 14684224); 3831 / 4 = 957 pages
 *
 *	DMA     4096 frames   957 * 4096 / 229376 = 957 / 56        = 17
 *			      gap max(17 / 4 = 4, 4096 / 1000 = 4)  = 4
 *			      keeps 225280 / 256 = 880 from Normal and what is above it
 *	Normal  225280 frames 957 * 225280 / 229376 = 957 * 55 / 56 = 939
 *			      gap max(939 / 4 = 234, 225)           = 234
 */
static void i386_with_896_mib(void)
{
	struct kmm_config config;

	ok_eq(lay_out(ZONES_I386, 0, MIB(896)), 0);
	ok_eq(set_up(1, (struct kmm_config){0}, &config), 0);
	ok_eq(config.min_free_kbytes, 3831);
	ok_eq(config.watermark_scale_factor, 10);
	ok_marks(0, ZONE_DMA, "17 21 25 | 0 0 880 880 0");
	ok_marks(0, ZONE_NORMAL, "939 1173 1407 | 0 0 0 0 0");
	ok_marks(0, ZONE_HIGHMEM, "0 0 0 | 0 0 0 0 0");
}

/*
 *	DMA and Normal as with 896 MiB: HighMem does not count.
 *
 *	HighMem 32768 frames  min 32768 / 1024                      = 32
 *			      share 957 * 32768 / 229376 = 957 / 7  = 136
 *			      gap max(136 / 4 = 34, 32)             = 34
 *	from HighMem's:       DMA keeps (225280 + 32768) / 256 = 1008, Normal 32768 / 32 = 1024
 */
static void i386_with_1_gib(void)
{
	struct kmm_config config;

	ok_eq(lay_out(ZONES_I386, 0, MIB(1024)), 0);
	ok_eq(set_up(1, (struct kmm_config){0}, &config), 0);
	ok_eq(config.min_free_kbytes, 3831);
	ok_marks(0, ZONE_DMA, "17 21 25 | 0 0 880 1008 0");
	ok_marks(0, ZONE_NORMAL, "939 1173 1407 | 0 0 0 1024 0");
	ok_marks(0, ZONE_HIGHMEM, "32 66 100 | 0 0 0 0 0");
}

/*
 *	HighMem 819200 frames min 819200 / 1024 = 800, at most      = 128
 *			      share 957 * 819200 / 229376 = 957 * 25 / 7 = 3417
 *			      gap max(3417 / 4 = 854, 819)          = 854
 *	from HighMem's:       DMA keeps (225280 + 819200) / 256 = 4080, Normal 819200 / 32 = 25600
 */
static void i386_with_4_gib(void)
{
	ok_eq(lay_out(ZONES_I386, 0, MIB(4096)), 0);
	ok_eq(set_up(1, (struct kmm_config){0}, NULL), 0);
	ok_marks(0, ZONE_DMA, "17 21 25 | 0 0 880 4080 0");
	ok_marks(0, ZONE_NORMAL, "939 1173 1407 | 0 0 0 25600 0");
	ok_marks(0, ZONE_HIGHMEM, "128 982 1836 | 0 0 0 0 0");
}

/*
 *	16 GiB = 16777216 KiB; int_sqrt(16777216 * 16 = 2^28) = 16384 KiB = 4096 pages,
 *	divided among 4194304: a zone's share is 1/1024 of it
 *
 *	node 0  DMA     4096    share 4     gap max(1, 4)       keeps 1044480/256 = 4080 from DMA32's,
 *								(1044480 + 524288)/256 = 6128 above
 *		DMA32   1044480 share 1020  gap max(255, 1044)  keeps 524288/256 = 2048 from Normal's
 *		Normal  524288  share 512   gap max(128, 524)
 *		Shared  524288  share 512   gap max(128, 524)
 *	node 1  Normal  1572864 share 1536  gap max(384, 1572)
 *		Shared  524288  as on node 0
 */
static void x86_64_with_16_gib_on_two_nodes(void)
{
	struct kmm_config config;

	ok_eq(lay_out(ZONES_X86_64, 0, MIB(8192, 8192)), 0);
	ok_eq(set_up(2, (struct kmm_config){0}, &config), 0);
	ok_eq(config.min_free_kbytes, 16384);
	ok_marks(0, ZONE_DMA, "4 8 12 | 0 4080 6128 6128 0");
	ok_marks(0, ZONE_DMA32, "1020 2064 3108 | 0 0 2048 2048 0");
	ok_marks(0, ZONE_NORMAL, "512 1036 1560 | 0 0 0 0 0");
	ok_marks(0, ZONE_SHARED, "512 1036 1560 | 0 0 0 0 0");
	ok_marks(1, ZONE_DMA, "0 0 0 | 0 0 0 0 0");
	ok_marks(1, ZONE_NORMAL, "1536 3108 4680 | 0 0 0 0 0");
	ok_marks(1, ZONE_SHARED, "512 1036 1560 | 0 0 0 0 0");
}

static unsigned int near_first(const void *arg, int from, int to)
{
	(void)arg;
	return from == to ? 10 : 20;
}

/* "Normal0 224107 DMA0 3195": where an allocation that starts from the type on the node looks, and
 * what each zone gives it, while all of it is free, until the low watermark stops it. */
static const char *fallback(const struct phys *phys, int nid, enum zone_type wanted)
{
	static char text[256];
	int len = 0;

	for (struct zone **at = phys->nodes[nid].zonelist[wanted]; *at; at++) {
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%s%d %lu",
				len ? " " : "", (*at)->name, (*at)->nid,
				zone_spare_pages(*at, (*at)->nr_managed,
						 (*at)->watermark[WMARK_LOW], wanted));
	}
	return text;
}

#define ok_fallback(phys, nid, type, want)                                                         \
	ok(!strcmp(fallback(phys, nid, type), want), "node %d, %s: %s", nid, zone_names[type],     \
	   fallback(phys, nid, type))

/*
 *	pages - low - reserve, with the values of the tests above
 *
 *	896 MiB  Normal  225280 - 1173 - 0      DMA  4096 - 21 - 880
 *	1 GiB    HighMem 32768 - 66             Normal 225280 - 1173 - 1024   DMA 4096 - 21 - 1008
 *	4 GiB    HighMem 819200 - 982           Normal 225280 - 1173 - 25600  DMA 4096 - 21 - 4080 < 0
 */
static void i386_falls_back_until_reserves_begin(void)
{
	struct phys phys = {.nr_nodes = 1, .nodes = nodes};
	static const unsigned long mib[] = {896, 1024, 4096};
	static const char *const highuser[] = {
		"Normal0 224107 DMA0 3195",
		"HighMem0 32702 Normal0 223083 DMA0 3067",
		"HighMem0 818218 Normal0 198507 DMA0 0",
	};

	for (size_t i = 0; i < ARRAY_SIZE(mib); i++) {
		ok_eq(lay_out(ZONES_I386, 0, 1, &mib[i]), 0);
		ok_eq(set_up(1, (struct kmm_config){0}, NULL), 0);
		ok_eq(zonelists_build(&phys, near_first, NULL), 0);
		ok_fallback(&phys, 0, ZONE_HIGHMEM, highuser[i]);
		ok_fallback(&phys, 0, ZONE_NORMAL, "Normal0 224107 DMA0 3195");
		ok_fallback(&phys, 0, ZONE_DMA, "DMA0 4075");
		free(phys.zonelists);
	}
}

/*
 *	Normal0 524288 - 1036	    DMA32 1044480 - 2064 - 2048	    DMA 4096 - 8 - 6128 < 0
 *	Normal1 1572864 - 3108	    Shared 524288 - 1036	    on either node, last of all
 *	for DMA32: DMA32 1044480 - 2064, DMA 4096 - 8 - 4080; for DMA: 4096 - 8
 */
static void x86_64_falls_back_until_reserves_begin(void)
{
	struct phys phys = {.nr_nodes = 2, .nodes = nodes};

	ok_eq(lay_out(ZONES_X86_64, 0, MIB(8192, 8192)), 0);
	ok_eq(set_up(2, (struct kmm_config){0}, NULL), 0);
	ok_eq(zonelists_build(&phys, near_first, NULL), 0);
	ok_fallback(&phys, 0, ZONE_NORMAL,
		    "Normal0 523252 DMA320 1040368 DMA0 0 Normal1 1569756 Shared0 523252 "
		    "Shared1 523252");
	ok_fallback(&phys, 1, ZONE_NORMAL,
		    "Normal1 1569756 Normal0 523252 DMA320 1040368 DMA0 0 Shared1 523252 "
		    "Shared0 523252");
	ok_fallback(&phys, 1, ZONE_DMA32, "DMA320 1042416 DMA0 8");
	ok_fallback(&phys, 1, ZONE_DMA, "DMA0 4088");
	ok_fallback(&phys, 1, ZONE_SHARED, "Shared1 523252 Shared0 523252");
	free(phys.zonelists);
}

/*
 *	x86_64, 1 GiB: DMA 4096, DMA32 192512, Shared 65536; 262144 in all
 *	65536 KiB = 16384 pages: 1/16 of each; 2 % are less than a quarter of that for none
 *	without: 2 % of 192512 = 3850 is more than a quarter of int_sqrt(2^24) = 4096 KiB's share, 188
 */
static void sizes_can_be_configured(void)
{
	ok_eq(lay_out(ZONES_X86_64, 0, MIB(1024)), 0);
	ok_eq(set_up(1, (struct kmm_config){.min_free_kbytes = 65536}, NULL), 0);
	ok_marks(0, ZONE_DMA, "256 320 384 | 0 752 752 752 0");
	ok_marks(0, ZONE_DMA32, "12032 15040 18048 | 0 0 0 0 0");
	ok_marks(0, ZONE_SHARED, "4096 5120 6144 | 0 0 0 0 0");
	ok_eq(lay_out(ZONES_X86_64, 0, MIB(1024)), 0);
	ok_eq(set_up(1, (struct kmm_config){.watermark_scale_factor = 200}, NULL), 0);
	ok_marks(0, ZONE_DMA32, "752 4602 8452 | 0 0 0 0 0");
	ok_eq(lay_out(ZONES_X86_64, 0, MIB(1024)), 0);
	ok_eq(set_up(1, (struct kmm_config){.no_watermarks = true}, NULL), 0);
	ok_marks(0, ZONE_DMA, "0 0 0 | 0 0 0 0 0");
	ok_marks(0, ZONE_DMA32, "0 0 0 | 0 0 0 0 0");
}

static void more_than_half_of_memory_cannot_be_kept(void)
{
	struct kmm_config config;

	ok_eq(lay_out(ZONES_I386, 0, MIB(1024)), 0);
	ok_eq(set_up(1, (struct kmm_config){.min_free_kbytes = 448 << 10}, NULL), 0);
	ok_eq(set_up(1, (struct kmm_config){.min_free_kbytes = (448 << 10) + 4}, &config), -EINVAL);
	ok_eq(set_up(1, (struct kmm_config){.min_free_kbytes = ~0UL}, NULL), -EINVAL);
}

/* int_sqrt(1024 KiB * 16) = 128; 4 TiB: int_sqrt(2^32 KiB * 16 = 2^36) = 262144. */
static void min_free_kbytes_has_a_least_and_a_most(void)
{
	ok_eq(min_free_kbytes_for(1), 128);
	ok_eq(min_free_kbytes_for(256), 128);
	ok_eq(min_free_kbytes_for(265), 130); /* 1060 * 16 = 16960 = 130.2^2 */
	ok_eq(min_free_kbytes_for((1UL << 30) - 1), 262143);
	ok_eq(min_free_kbytes_for(1UL << 30), 262144);
	ok_eq(min_free_kbytes_for(1UL << 40), 262144);
}

/* Boot keeps mem_map and more of a zone; the smallest machines have zones with hardly anything. */
static void small_zones_keep_little_and_never_less_than_nothing(void)
{
	for (unsigned long mib = 8; mib <= 64; mib += 4) {
		unsigned long nr_marked = 0, nr_managed = 0;

		ok_eq(lay_out(ZONES_X86_64, 0, MIB(mib)), 0);
		ok_eq(set_up(1, (struct kmm_config){0}, NULL), 0);
		for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++) {
			const struct zone *zone = &nodes[0].zones[type];

			ok(zone->watermark[WMARK_MIN] <= zone->watermark[WMARK_LOW] &&
				   zone->watermark[WMARK_LOW] <= zone->watermark[WMARK_HIGH],
			   "%lu MiB: %s", mib, marks(0, type));
			nr_marked += zone->watermark[WMARK_HIGH];
			nr_managed += zone->nr_managed;
		}
		ok(nr_marked <= nr_managed / 8, "%lu MiB: %lu of %lu", mib, nr_marked, nr_managed);
	}
}

static void spare_pages_are_above_mark_and_reserve(void)
{
	struct zone zone = {.lowmem_reserve = {[ZONE_NORMAL] = 50}};

	ok_eq(zone_spare_pages(&zone, 200, 100, ZONE_DMA), 100);
	ok_eq(zone_spare_pages(&zone, 200, 100, ZONE_NORMAL), 50);
	ok_eq(zone_spare_pages(&zone, 150, 100, ZONE_NORMAL), 0);
	ok_eq(zone_spare_pages(&zone, 150, 200, ZONE_DMA), 0);
	ok_eq(zone_spare_pages(&zone, 150, 0, ZONE_DMA), 150);
}

int main(void)
{
	RUN(i386_with_896_mib);
	RUN(i386_with_1_gib);
	RUN(i386_with_4_gib);
	RUN(x86_64_with_16_gib_on_two_nodes);
	RUN(i386_falls_back_until_reserves_begin);
	RUN(x86_64_falls_back_until_reserves_begin);
	RUN(sizes_can_be_configured);
	RUN(more_than_half_of_memory_cannot_be_kept);
	RUN(min_free_kbytes_has_a_least_and_a_most);
	RUN(small_zones_keep_little_and_never_less_than_nothing);
	RUN(spare_pages_are_above_mark_and_reserve);
	return done();
}

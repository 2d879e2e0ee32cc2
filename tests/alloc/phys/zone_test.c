/* SPDX-License-Identifier: MIT */
/* Zone tables and zonelists, against tables made by hand. Sizes in the tables are MiB. */
#include "phys/zone.h"

#include <errno.h>
#include <stdio.h>

#include "tests/alloc/phys/nodes.h"
#include "tests/tap/tap.h"

/* "DMA 0-16 | DMA32 16-768 | Shared 768-1024 *" with * for memfd-backed and ! for what the direct
 * map does not cover. */
static const char *table(unsigned int nid)
{
	static char text[256];
	int len = 0;

	text[0] = '\0';
	for (int type = 0; type < NR_ZONE_TYPES; type++) {
		const struct zone *zone = &nodes[nid].zones[type];

		if (zone_populated(zone))
			len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%s %lu-%lu%s%s",
					len ? " | " : "", zone->name, zone->start_pfn / MIB_PAGES,
					zone->end_pfn / MIB_PAGES, zone->memfd_backed ? "*" : "",
					zone->direct_mapped ? "" : "!");
	}
	return text;
}

#define ok_table(nid, want) ok(!strcmp(table(nid), want), "node %d: %s", nid, table(nid))

static void x86_64_zones_are_as_by_hand(void)
{
	ok_eq(lay_out(ZONES_X86_64, 0, MIB(1024)), 0);
	ok_table(0, "DMA 0-16 | DMA32 16-768 | Shared 768-1024*");
	ok_eq(lay_out(ZONES_X86_64, 0, MIB(8192, 8192)), 0);
	ok_table(0, "DMA 0-16 | DMA32 16-4096 | Normal 4096-6144 | Shared 6144-8192*");
	ok_table(1, "Normal 8192-14336 | Shared 14336-16384*");
	ok_eq(lay_out(ZONES_X86_64, 64, MIB(2048, 2048, 512)), 0);
	ok_table(0, "DMA 0-16 | DMA32 16-1984 | Shared 1984-2048*");
	ok_table(1, "DMA32 2048-4032 | Shared 4032-4096*");
	ok_table(2, "Normal 4096-4544 | Shared 4544-4608*");
}

static void small_x86_64_nodes_have_what_fits(void)
{
	ok_eq(lay_out(ZONES_X86_64, 0, MIB(8)), 0);
	ok_table(0, "DMA 0-4 | Shared 4-8*");
	ok_eq(lay_out(ZONES_X86_64, 0, MIB(20)), 0);
	ok_table(0, "DMA 0-12 | Shared 12-20*");
	ok_eq(lay_out(ZONES_X86_64, 8, MIB(16, 16)), 0);
	ok_table(0, "DMA 0-8 | Shared 8-16*");
	ok_table(1, "DMA32 16-24 | Shared 24-32*");
}

static void i386_zones_are_as_by_hand(void)
{
	ok_eq(lay_out(ZONES_I386, 0, MIB(896)), 0);
	ok_table(0, "DMA 0-16 | Normal 16-896*");
	ok_eq(lay_out(ZONES_I386, 0, MIB(1024)), 0);
	ok_table(0, "DMA 0-16 | Normal 16-896 | HighMem 896-1024*!");
	ok_eq(lay_out(ZONES_I386, 0, MIB(4096)), 0);
	ok_table(0, "DMA 0-16 | Normal 16-896 | HighMem 896-4096*!");
	ok_eq(lay_out(ZONES_I386, 0, MIB(512, 512)), 0);
	ok_table(0, "DMA 0-16 | Normal 16-512");
	ok_table(1, "Normal 512-896 | HighMem 896-1024*!");
	ok_eq(lay_out(ZONES_I386, 0, MIB(16)), 0);
	ok_table(0, "DMA 0-16*");
}

static void nodes_that_cannot_be_are_refused(void)
{
	ok_eq(lay_out(ZONES_X86_64, 0, MIB(6)), -EINVAL);
	ok_eq(lay_out(ZONES_X86_64, 0, MIB(0)), -EINVAL);
	ok_eq(lay_out(ZONES_X86_64, 0, MIB(4)), -EINVAL);
	ok_eq(lay_out(ZONES_X86_64, 64, MIB(64)), -EINVAL);
	ok_eq(lay_out(ZONES_X86_64, 3, MIB(64)), -EINVAL);
	ok_eq(lay_out(ZONES_I386, 0, MIB(4)), 0);
}

static void gfp_flags_name_zones(void)
{
	ok_eq(gfp_zone(GFP_KERNEL, ZONES_X86_64), ZONE_NORMAL);
	ok_eq(gfp_zone(GFP_KERNEL | __GFP_DMA, ZONES_X86_64), ZONE_DMA);
	ok_eq(gfp_zone(GFP_DMA32, ZONES_X86_64), ZONE_DMA32);
	ok_eq(gfp_zone(GFP_DMA32, ZONES_I386), ZONE_NORMAL);
	ok_eq(gfp_zone(GFP_HIGHUSER_MOVABLE, ZONES_I386), ZONE_HIGHMEM);
	ok_eq(gfp_zone(GFP_KERNEL | __GFP_SHARED, ZONES_X86_64), ZONE_SHARED);
	ok_eq(gfp_zone(GFP_HIGHUSER | __GFP_DMA, ZONES_I386), ZONE_DMA);
}

/*
 *	     0  1  2  3        a ring: node 0 is nearer to 3 than to 2
 *	0   10 20 40 20
 *	1   20 10 20 40
 *	2   40 20 10 20
 *	3   20 40 20 10
 */
static unsigned int ring_distance(const void *arg, int from, int to)
{
	static const unsigned int ring[4] = {10, 20, 40, 20};

	(void)arg;
	return ring[(to - from + 4) % 4];
}

static const char *list(const struct phys *phys, int nid, enum zone_type type)
{
	static char text[512];
	int len = 0;

	text[0] = '\0';
	for (struct zone **zone = phys->nodes[nid].zonelist[type]; *zone; zone++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%s%d", len ? " " : "",
				(*zone)->name, (*zone)->nid);
	return text;
}

#define ok_list(nid, type, want)                                                                   \
	ok(!strcmp(list(&phys, nid, type), want), "node %d, %s: %s", nid, zone_names[type],        \
	   list(&phys, nid, type))

static void zonelists_of_four_nodes_go_by_distance(void)
{
	struct phys phys = {.nr_nodes = 4, .nodes = nodes};

	ok_eq(lay_out(ZONES_X86_64, 512, MIB(2048, 2048, 2048, 2048)), 0);
	ok_eq(zonelists_build(&phys, ring_distance, NULL), 0);
	ok_list(0, ZONE_NORMAL,
		"DMA320 DMA0 DMA321 Normal3 Normal2 Shared0 Shared1 Shared3 Shared2");
	ok_list(2, ZONE_NORMAL,
		"Normal2 Normal3 DMA321 DMA320 DMA0 Shared2 Shared3 Shared1 Shared0");
	ok_list(3, ZONE_HIGHMEM,
		"Normal3 DMA320 DMA0 Normal2 DMA321 Shared3 Shared0 Shared2 Shared1");
	ok_list(3, ZONE_DMA32, "DMA320 DMA0 DMA321");
	ok_list(1, ZONE_DMA, "DMA0");
	ok_list(1, ZONE_SHARED, "Shared1 Shared2 Shared0 Shared3");
	free(phys.zonelists);
}

static unsigned int equal_distance(const void *arg, int from, int to)
{
	(void)arg;
	return from == to ? 10 : 20;
}

/* What Linux 6.1 says at boot on four nodes as far from each other, and on the ring:
 * "Fallback order for Node 0: 0 1 2 3" and so on. */
static void nodes_as_near_are_taken_in_the_kernels_order(void)
{
	static const char *const equal[] = {
		"Shared0 Shared1 Shared2 Shared3", "Shared1 Shared2 Shared3 Shared0",
		"Shared2 Shared3 Shared0 Shared1", "Shared3 Shared0 Shared1 Shared2"};
	static const char *const ring[] = {
		"Shared0 Shared1 Shared3 Shared2", "Shared1 Shared2 Shared0 Shared3",
		"Shared2 Shared3 Shared1 Shared0", "Shared3 Shared0 Shared2 Shared1"};
	struct phys phys = {.nr_nodes = 4, .nodes = nodes};

	ok_eq(lay_out(ZONES_X86_64, 512, MIB(2048, 2048, 2048, 2048)), 0);
	ok_eq(zonelists_build(&phys, equal_distance, NULL), 0);
	for (int nid = 0; nid < 4; nid++)
		ok_list(nid, ZONE_SHARED, equal[nid]);
	free(phys.zonelists);
	ok_eq(zonelists_build(&phys, ring_distance, NULL), 0);
	for (int nid = 0; nid < 4; nid++)
		ok_list(nid, ZONE_SHARED, ring[nid]);
	free(phys.zonelists);
}

static void i386_falls_from_highmem_to_dma_and_keeps_highmem_for_those_who_ask(void)
{
	struct phys phys = {.nr_nodes = 2, .nodes = nodes};

	ok_eq(lay_out(ZONES_I386, 0, MIB(1024, 1024)), 0);
	ok_eq(zonelists_build(&phys, ring_distance, NULL), 0);
	ok_list(0, ZONE_HIGHMEM, "HighMem0 Normal0 DMA0 HighMem1");
	ok_list(1, ZONE_HIGHMEM, "HighMem1 HighMem0 Normal0 DMA0");
	ok_list(1, ZONE_NORMAL, "Normal0 DMA0");
	ok_list(0, ZONE_SHARED, "HighMem0 HighMem1");
	ok_list(0, ZONE_DMA, "DMA0");
	free(phys.zonelists);
}

static void i386_without_highmem_shares_its_normal_zone(void)
{
	struct phys phys = {.nr_nodes = 1, .nodes = nodes};

	ok_eq(lay_out(ZONES_I386, 0, MIB(512)), 0);
	ok_eq(zonelists_build(&phys, ring_distance, NULL), 0);
	ok_list(0, ZONE_SHARED, "Normal0");
	ok_list(0, ZONE_NORMAL, "Normal0 DMA0");
	free(phys.zonelists);
}

int main(void)
{
	RUN(x86_64_zones_are_as_by_hand);
	RUN(small_x86_64_nodes_have_what_fits);
	RUN(i386_zones_are_as_by_hand);
	RUN(nodes_that_cannot_be_are_refused);
	RUN(gfp_flags_name_zones);
	RUN(zonelists_of_four_nodes_go_by_distance);
	RUN(nodes_as_near_are_taken_in_the_kernels_order);
	RUN(i386_falls_from_highmem_to_dma_and_keeps_highmem_for_those_who_ask);
	RUN(i386_without_highmem_shares_its_normal_zone);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* Watermarks and lowmem reserves; see watermark.h. Arithmetic on a table of zones, done once at
 * boot. */
#include "phys/watermark.h"

#include <errno.h>

#include "base/compiler.h"

#define MIN_FREE_KBYTES_LEAST 128UL
#define MIN_FREE_KBYTES_MOST  262144UL
#define HIGHMEM_MIN_LEAST     32UL
#define HIGHMEM_MIN_MOST      128UL
#define SCALE_FACTOR	      10U /* the default, in ten thousandths */
#define KIB_A_PAGE	      (PAGE_SIZE >> 10)

/* One page in so many of the zones above is kept; 0: none. */
static const unsigned int lowmem_reserve_ratio[NR_ZONE_TYPES] = {
	[ZONE_DMA] = 256,
	[ZONE_DMA32] = 256,
	[ZONE_NORMAL] = 32,
};

static unsigned long clamp_ul(unsigned long value, unsigned long least, unsigned long most)
{
	return min_t(unsigned long, max_t(unsigned long, value, least), most);
}

/* floor(sqrt(x)), a bit of the root at a time. */
static unsigned long int_sqrt(unsigned long x)
{
	unsigned long root = 0;

	for (unsigned int bit = 32; bit-- > 0;) {
		unsigned long larger = root | 1UL << bit;

		if (larger * larger <= x)
			root = larger;
	}
	return root;
}

unsigned long min_free_kbytes_for(unsigned long nr_lowmem_pages)
{
	return clamp_ul(int_sqrt(nr_lowmem_pages * KIB_A_PAGE * 16), MIN_FREE_KBYTES_LEAST,
			MIN_FREE_KBYTES_MOST);
}

/* x * num / den without an overflow on the way, for num <= den. */
static unsigned long fraction(unsigned long x, unsigned long num, unsigned long den)
{
	return (unsigned long)((unsigned __int128)x * num / den);
}

static void set_watermarks(struct zone *zone, unsigned long pages_min, unsigned long nr_lowmem,
			   unsigned int scale_factor)
{
	unsigned long share = fraction(pages_min, zone->nr_managed, nr_lowmem);
	unsigned long gap =
		max_t(unsigned long, share / 4, fraction(zone->nr_managed, scale_factor, 10000));

	/* HighMem's pages are not what anybody is short of who cannot wait. */
	if (zone->type == ZONE_HIGHMEM)
		zone->watermark[WMARK_MIN] =
			clamp_ul(zone->nr_managed / 1024, HIGHMEM_MIN_LEAST, HIGHMEM_MIN_MOST);
	else
		zone->watermark[WMARK_MIN] = share;
	zone->watermark[WMARK_LOW] = zone->watermark[WMARK_MIN] + gap;
	zone->watermark[WMARK_HIGH] = zone->watermark[WMARK_LOW] + gap;
}

/*
 *	what the zone keeps from an allocation that asked for ...
 *			DMA   DMA32		Normal			HighMem
 *	DMA		 -    DMA32/256		(DMA32+Normal)/256	(DMA32+Normal+HighMem)/256
 *	DMA32		 -    -			Normal/256		(Normal+HighMem)/256
 *	Normal		 -    -			-			HighMem/32
 */
static void set_lowmem_reserves(struct pglist_data *node)
{
	for (unsigned int type = 0; type < ZONE_SHARED; type++) {
		struct zone *zone = &node->zones[type];
		unsigned int ratio = lowmem_reserve_ratio[type];
		unsigned long nr_above = 0;

		for (unsigned int upper = type + 1; upper < ZONE_SHARED; upper++) {
			nr_above += node->zones[upper].nr_managed;
			if (ratio && zone->nr_managed)
				zone->lowmem_reserve[upper] = nr_above / ratio;
		}
	}
}

int watermarks_set_up(struct pglist_data *nodes, unsigned int nr_nodes, struct kmm_config *config)
{
	unsigned long nr_lowmem = 0, pages_min;

	if (config->no_watermarks)
		return 0;
	for (unsigned int nid = 0; nid < nr_nodes; nid++)
		for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++)
			if (type != ZONE_HIGHMEM)
				nr_lowmem += nodes[nid].zones[type].nr_managed;
	if (!config->min_free_kbytes)
		config->min_free_kbytes = min_free_kbytes_for(nr_lowmem);
	if (!config->watermark_scale_factor)
		config->watermark_scale_factor = SCALE_FACTOR;
	pages_min = config->min_free_kbytes / KIB_A_PAGE;
	if (pages_min > nr_lowmem / 2)
		return -EINVAL;
	for (unsigned int nid = 0; nid < nr_nodes; nid++) {
		for (enum zone_type type = 0; type < NR_ZONE_TYPES; type++)
			if (zone_populated(&nodes[nid].zones[type]))
				set_watermarks(&nodes[nid].zones[type], pages_min, nr_lowmem,
					       config->watermark_scale_factor);
		set_lowmem_reserves(&nodes[nid]);
	}
	return 0;
}

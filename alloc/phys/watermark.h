/* SPDX-License-Identifier: MIT */
/*
 * Watermarks and lowmem reserves: how many free pages a zone keeps, and from whom. Private to
 * alloc/.
 *
 *	free pages of a zone
 *	  high  |- - - - -  reclaim, once woken, goes on until here
 *	  low   |- - - - -  ordinary allocations stop here, and wake reclaim
 *	  min   |- - - - -  those who looked again after that stop here
 *	  ...   |- - - - -  3/4, 1/2, 3/8 of min: __GFP_ATOMIC, __GFP_HIGH, both (GFP_ATOMIC)
 *	    0   |_________  __GFP_MEMALLOC
 *
 * A zone keeps lowmem_reserve[t] pages more from an allocation that asked for zone type t and came
 * here because the zones above are full: addresses low enough for DMA stay there for those who can
 * use no others.
 *
 * All of it is computed once at boot, from the pages that boot gave to each zone, as
 * mm/page_alloc.c (6.1) does:
 *
 *	min_free_kbytes = int_sqrt(16 * KiB below HighMem), 128 to 262144
 *	min  = min_free_kbytes in pages, divided among zones by size; HighMem: 1/1024 of it, 32 to 128
 *	gap  = the larger of a quarter of that share and watermark_scale_factor/10000 of the zone
 *	low  = min + gap, high = low + gap
 *	reserve[t] in zone z = pages of the node's zones above z, up to t, / ratio of z
 *
 * ZONE_SHARED, which the kernel does not have, is memory like any other to ordinary allocations,
 * only the last they come to: it counts as memory below HighMem and has watermarks. It is no zone
 * "above" another, since its addresses are not what makes it worth keeping, so no zone reserves
 * anything on its account; and it reserves nothing itself, so that below its low watermark it is
 * vmalloc's and everybody's alike.
 */
#ifndef KMM_PHYS_WATERMARK_H
#define KMM_PHYS_WATERMARK_H

#include "base/config.h"
#include "phys/zone.h"

/* min_free_kbytes that suits so many pages below HighMem. */
unsigned long min_free_kbytes_for(unsigned long nr_lowmem_pages);

/*
 * Set watermark[] and lowmem_reserve[] of every zone from its nr_managed and the configuration, and
 * in the configuration what was computed. Touches no memory but nodes'. -EINVAL for a
 * min_free_kbytes of more than half of the pages below HighMem.
 */
int watermarks_set_up(struct pglist_data *nodes, unsigned int nr_nodes, struct kmm_config *config);

/*
 * Pages that the zone, with nr_free pages free, can give to an allocation that asked for zone type
 * `wanted`, and still keep `mark` and the reserve: a block of order n may go if 2^n of them are
 * there. (The kernel's __zone_watermark_ok says yes exactly then, if the zone has a block of the
 * order.) nr_free read without the zone's lock makes the answer a guess, that others may be making
 * at the same time: all of them together can pass the mark by what each was told.
 */
static inline unsigned long zone_spare_pages(const struct zone *zone, unsigned long nr_free,
					     unsigned long mark, enum zone_type wanted)
{
	unsigned long keep = mark + zone->lowmem_reserve[wanted];

	return nr_free > keep ? nr_free - keep : 0;
}

#endif

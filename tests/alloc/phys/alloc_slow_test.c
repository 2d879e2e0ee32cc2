/* SPDX-License-Identifier: MIT */
/* Allocation when memory is short: who gets how deep into a zone, what reclaim is asked, and in what
 * order zones are looked through. */
#include <string.h>
#include <unistd.h>

#include "arch/slots.h"
#include "phys/pcp.h"
#include "phys/phys.h"
#include "tests/alloc/phys/machine.h"
#include "tests/tap/dies.h"

/* Pages taken one by one, chained through ->private. */
struct hoard {
	struct page *last;
	unsigned long nr;
};

static bool hoard_one(struct hoard *hoard, gfp_t gfp)
{
	struct page *page = alloc_pages(gfp, 0);

	if (!page)
		return false;
	page->private = (unsigned long)hoard->last;
	hoard->last = page;
	hoard->nr++;
	return true;
}

/* Until it fails; how many it were. */
static unsigned long hoard_all(struct hoard *hoard, gfp_t gfp)
{
	unsigned long before = hoard->nr;

	while (hoard_one(hoard, gfp))
		;
	return hoard->nr - before;
}

static void give_one(struct hoard *hoard)
{
	struct page *page = hoard->last;

	hoard->last = (struct page *)page->private;
	hoard->nr--;
	__free_pages(page, 0);
}

static void give_hoard(struct hoard *hoard)
{
	while (hoard->last)
		give_one(hoard);
}

static struct zone *zone_of_type(struct kmm *machine, int nid, enum zone_type type)
{
	return &machine->phys->nodes[nid].zones[type];
}

/*
 *	free  min          3/4 min   1/2 min    3/8 min           0
 *	  |----|--------------|---------|----------|---------------|
 *	   (any)    ATOMIC       HIGH     GFP_ATOMIC    MEMALLOC
 *
 * In zone DMA, from which nothing is kept for others than those who ask for it.
 */
static void each_flag_goes_as_deep_as_it_may(void)
{
	static const struct {
		gfp_t gfp;
		unsigned int eighths; /* of the min watermark that stay */
	} steps[] = {
		{GFP_KERNEL, 8},
		{GFP_NOWAIT, 8},
		{GFP_NOFS, 8},
		{GFP_NOIO | __GFP_NORETRY, 8},
		{0, 8},
		{GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOMEMALLOC, 8},
		{GFP_NOWAIT | __GFP_ATOMIC | __GFP_NOMEMALLOC, 8},
		{GFP_NOWAIT | __GFP_ATOMIC, 6},
		{GFP_KERNEL | __GFP_HIGH, 4},
		{GFP_ATOMIC | __GFP_NOMEMALLOC, 4},
		{GFP_ATOMIC, 3},
		{GFP_NOWAIT | __GFP_MEMALLOC, 0},
	};
	struct kmm *machine = boot((struct kmm_config){.min_free_kbytes = 8192});
	struct zone *zone = zone_of_type(machine, 0, ZONE_DMA);
	unsigned long min = zone->watermark[WMARK_MIN];
	struct hoard hoard = {0};

	kmm_drain(machine);
	ok(min >= 256, "a min watermark of %lu is too small to see the steps", min);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		unsigned long left = min * steps[i].eighths / 8, before = zone->buddy.nr_pages, nr;

		nr = hoard_all(&hoard, steps[i].gfp | __GFP_DMA);
		/* What the steps take away is rounded down. */
		ok(zone->buddy.nr_pages >= left && zone->buddy.nr_pages <= left + 2,
		   "gfp %#x leaves %lu, not %lu", steps[i].gfp, zone->buddy.nr_pages, left);
		ok_eq(nr, before - zone->buddy.nr_pages);
	}
	ok_eq(zone->buddy.nr_pages, 0);
	give_hoard(&hoard);
	shut_down(machine);
}

/* A block of order n must leave the mark as well, and there must be one. */
static void large_blocks_keep_the_mark_too(void)
{
	struct kmm *machine = boot((struct kmm_config){.min_free_kbytes = 8192});
	struct zone *zone = zone_of_type(machine, 0, ZONE_DMA);

	for (unsigned int order = 1; order <= MAX_PAGE_ORDER; order++) {
		struct page *pages[2048], *page;
		unsigned int nr = 0;

		kmm_drain(machine);
		while ((page = alloc_pages(GFP_NOWAIT | __GFP_DMA, order)))
			pages[nr++] = page;
		kmm_drain(machine);
		ok(zone->buddy.nr_pages >= zone->watermark[WMARK_MIN] &&
			   zone->buddy.nr_pages < zone->watermark[WMARK_MIN] + (1UL << order),
		   "order %u leaves %lu, min is %lu", order, zone->buddy.nr_pages,
		   zone->watermark[WMARK_MIN]);
		while (nr)
			__free_pages(pages[--nr], order);
	}
	shut_down(machine);
}

/* "Normal DMA32 Shared": the zones that pages come from until there are no more. Each is left with
 * its mark and its reserve: the low watermark in the first nr zones, the min watermark then. */
static const char *zones_taken_from(struct kmm *machine, gfp_t gfp, enum zone_type wanted, int nr,
				    struct hoard *hoard)
{
	static char text[512];
	const struct zone *now = NULL;
	int len = 0;

	for (;;) {
		bool taken = hoard_one(hoard, gfp);
		const struct zone *zone = taken ? page_zone(machine->phys, hoard->last) : NULL;

		if (taken && zone == now)
			continue;
		if (now) {
			enum zone_watermark mark = nr-- > 0 ? WMARK_LOW : WMARK_MIN;
			unsigned long keep = now->watermark[mark] + now->lowmem_reserve[wanted];

			ok(now->buddy.nr_pages == keep, "%s is left with %lu, not %lu", now->name,
			   now->buddy.nr_pages, keep);
		}
		if (!taken || len > 400)
			return text;
		now = zone;
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%s%s", len ? " " : "",
				now->name);
	}
}

/* DMA keeps (DMA32 + Normal) / 256 from those who asked for Normal, which is more than it has. */
static void zones_are_left_one_after_the_other_with_their_reserves(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.node_bytes = 4352UL << 20, .shared_bytes = 64UL << 20});
	const struct zone *dma = zone_of_type(machine, 0, ZONE_DMA);
	const struct zone *dma32 = zone_of_type(machine, 0, ZONE_DMA32);
	struct hoard hoard = {0};
	const char *zones;

	kmm_drain(machine);
	ok(dma32->lowmem_reserve[ZONE_NORMAL] > 100, "nothing is kept in DMA32");
	zones = zones_taken_from(machine, GFP_NOWAIT, ZONE_NORMAL, 3, &hoard);
	ok(!strcmp(zones, "Normal DMA32 Shared Normal DMA32 Shared"), "%s", zones);
	ok_eq(dma->buddy.nr_pages, dma->nr_managed);
	/* Those who can use nothing else still find what was kept for them. */
	zones = zones_taken_from(machine, GFP_NOWAIT | __GFP_DMA32, ZONE_DMA32, 1, &hoard);
	ok(!strcmp(zones, "DMA DMA32 DMA"), "%s", zones);
	ok_eq(hoard_all(&hoard, GFP_NOWAIT | __GFP_DMA), dma->lowmem_reserve[ZONE_DMA32]);
	ok_eq(dma->buddy.nr_pages, dma->watermark[WMARK_MIN]);
	ok_eq(hoard_all(&hoard, GFP_NOWAIT), 0);
	give_hoard(&hoard);
	shut_down(machine);
}

static void i386_falls_from_highmem_to_normal_to_dma(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.node_bytes = 1UL << 30, .layout = ZONES_I386});
	const struct zone *normal = zone_of_type(machine, 0, ZONE_NORMAL);
	struct hoard hoard = {0};
	const char *zones;

	kmm_drain(machine);
	zones = zones_taken_from(machine, GFP_NOWAIT | __GFP_HIGHMEM, ZONE_HIGHMEM, 3, &hoard);
	ok(!strcmp(zones, "HighMem Normal DMA HighMem Normal DMA"), "%s", zones);
	/* Of lowmem that HighMem's allocations leave, ordinary ones get what was kept from them. */
	ok(hoard_all(&hoard, GFP_NOWAIT) >= normal->lowmem_reserve[ZONE_HIGHMEM],
	   "nothing was kept in Normal");
	give_hoard(&hoard);
	shut_down(machine);
}

/*
 * Reclaim that notes what it is asked, and frees what the test wants.
 */
static struct {
	unsigned int nr_wakes, nr_reclaims;
	u64 woken; /* a bit a node */
	gfp_t gfp, allowed;
	unsigned int order;
	int nid;
	unsigned long nr_frees, claim; /* pages to free, and to say that were freed */
	struct hoard *hoard;
	gfp_t inner_gfp; /* to allocate a page with, if not 0 */
	struct page *inner;
} seen;

static void note_wake(struct kmm *machine, int nid, gfp_t gfp, unsigned int order)
{
	(void)machine;
	(void)gfp;
	(void)order;
	seen.nr_wakes++;
	seen.woken |= 1UL << nid;
}

static unsigned long note_reclaim(struct kmm *machine, int nid, gfp_t gfp, unsigned int order)
{
	(void)machine;
	seen.nr_reclaims++;
	seen.nid = nid;
	seen.gfp = gfp;
	seen.order = order;
	if (seen.inner_gfp) {
		seen.inner = alloc_pages(seen.inner_gfp, 0);
		if (seen.inner)
			__free_pages(seen.inner, 0);
	}
	for (unsigned long i = 0; i < seen.nr_frees; i++)
		give_one(seen.hoard);
	kmm_drain(machine);
	return seen.claim;
}

static const struct reclaim_ops noting = {.wake = note_wake, .reclaim = note_reclaim};

static void reclaim_is_woken_below_low_and_not_before(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	struct hoard hoard = {0};
	struct phys_counters counters;

	memset(&seen, 0, sizeof(seen));
	phys_set_reclaim_ops(machine, &noting);
	while (!seen.nr_wakes && hoard_one(&hoard, GFP_NOWAIT))
		;
	ok_eq(seen.woken, 3);
	ok_eq(seen.nr_wakes, 2); /* once a node, whatever zones it has */
	for_each_zone(machine->phys, node, zone) {
		unsigned long keep = zone->watermark[WMARK_LOW] + zone->lowmem_reserve[ZONE_NORMAL];

		ok(zone->buddy.nr_pages <= keep, "%s of node %d has %lu, and keeps %lu", zone->name,
		   zone->nid, zone->buddy.nr_pages, keep);
	}
	give_one(&hoard);
	kmm_drain(machine); /* slab's part of it allocates */
	seen.woken = 0;
	ok(alloc_pages_node(1, GFP_NOWAIT | __GFP_THISNODE, 9) == NULL, "a huge block");
	ok_eq(seen.woken, 2);
	seen.woken = 0;
	ok(alloc_pages(GFP_DMA, 10) == NULL, "a huge block of DMA");
	ok_eq(seen.woken, 0); /* GFP_DMA alone wakes nobody */
	ok_eq(seen.nr_reclaims, 0);
	phys_count(machine, &counters);
	ok(counters.wake >= 2, "%llu wakes counted", (unsigned long long)counters.wake);
	ok_eq(counters.stall, 0);
	give_hoard(&hoard);
	shut_down(machine);
}

static void only_those_who_may_wait_reclaim_and_only_as_they_may(void)
{
	static const gfp_t waiting[] = {GFP_KERNEL, GFP_NOFS, GFP_NOIO, GFP_HIGHUSER_MOVABLE,
					GFP_USER};
	static const gfp_t others[] = {GFP_ATOMIC, GFP_NOWAIT, 0, GFP_NOWAIT | __GFP_NORETRY};
	struct kmm *machine = boot((struct kmm_config){0});
	struct phys_counters counters;
	struct hoard hoard = {0};

	hoard_all(&hoard, GFP_ATOMIC);
	phys_set_reclaim_ops(machine, &noting);
	for (size_t i = 0; i < ARRAY_SIZE(waiting); i++) {
		memset(&seen, 0, sizeof(seen));
		ok(!alloc_pages(waiting[i], 2), "gfp %#x", waiting[i]);
		ok(seen.nr_reclaims > 0, "gfp %#x does not reclaim", waiting[i]);
		ok_eq(seen.gfp, waiting[i]);
		ok_eq(seen.order, 2);
		ok_eq(seen.nid, 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		memset(&seen, 0, sizeof(seen));
		ok(!alloc_pages(others[i], 2), "gfp %#x", others[i]);
		ok_eq(seen.nr_reclaims, 0);
		ok_eq(seen.nr_wakes > 0, (others[i] & __GFP_KSWAPD_RECLAIM) != 0);
	}
	phys_count(machine, &counters);
	ok(counters.stall >= ARRAY_SIZE(waiting), "%llu stalls counted",
	   (unsigned long long)counters.stall);
	phys_set_reclaim_ops(machine, NULL);
	ok(!alloc_pages(GFP_KERNEL, 2), "without reclaim");
	give_hoard(&hoard);
	shut_down(machine);
}

/* A machine all of whose pages are hoarded, with a reclaim that frees so many of them and says how many
 * it has freed. */
static struct kmm *starving(struct hoard *hoard, unsigned int nr_frees, unsigned int claim)
{
	struct kmm *machine = boot((struct kmm_config){0});

	hoard_all(hoard, GFP_KERNEL);
	memset(&seen, 0, sizeof(seen));
	seen.hoard = hoard;
	seen.nr_frees = nr_frees;
	seen.claim = claim;
	phys_set_reclaim_ops(machine, &noting);
	return machine;
}

static void what_reclaim_frees_is_allocated(void)
{
	struct hoard hoard = {0};
	struct kmm *machine = starving(&hoard, 8, 8);
	struct page *page;

	page = alloc_pages(GFP_KERNEL, 0);
	ok(page != NULL, "8 pages were freed");
	ok_eq(seen.nr_reclaims, 1);
	__free_pages(page, 0);
	page = alloc_pages(GFP_KERNEL | __GFP_NORETRY, 0);
	ok(page != NULL, "one round is allowed");
	__free_pages(page, 0);
	give_hoard(&hoard);
	shut_down(machine);
}

/* As when another thread, or memory on its way to the host, is back between two looks. */
static void what_comes_back_while_reclaim_finds_nothing_is_allocated(void)
{
	struct hoard hoard = {0};
	struct kmm *machine = starving(&hoard, 64, 0);
	struct page *page;

	page = alloc_pages(GFP_KERNEL, 0);
	ok(page, "nothing, though 64 frames are free");
	ok_eq(seen.nr_reclaims, 1);
	phys_set_reclaim_ops(machine, NULL);
	__free_pages(page, 0);
	give_hoard(&hoard);
	shut_down(machine);
}

static void reclaim_without_end_is_given_up(void)
{
	struct hoard hoard = {0};
	struct kmm *machine = starving(&hoard, 0, 1);

	ok(!alloc_pages(GFP_KERNEL, 0), "a page from nowhere");
	ok(seen.nr_reclaims > 1 && seen.nr_reclaims <= 64, "%u rounds", seen.nr_reclaims);
	seen.nr_reclaims = 0;
	ok(!alloc_pages(GFP_KERNEL | __GFP_NORETRY, 0), "a page from nowhere");
	ok_eq(seen.nr_reclaims, 1);
	seen.nr_reclaims = 0;
	seen.claim = 0;
	ok(!alloc_pages(GFP_KERNEL, 0), "a page from nowhere");
	ok(seen.nr_reclaims <= 4, "%u rounds that gain nothing", seen.nr_reclaims);
	give_hoard(&hoard);
	shut_down(machine);
}

/* Lists of another that makes no call may have what is missing, for a while. */
static void a_silent_thread_is_not_waited_for_long(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct kmm_cpu *silent = this_cpu, *before;
	struct hoard hoard = {0};

	__free_pages(alloc_pages(GFP_KERNEL, 0), 0);
	ok(pcp_nr_pages(silent) > 0, "nothing is held");
	/* Another thread's part is played by this one on another slot; the first stays owned. */
	ok_eq(slot_borrow(machine, &before), 0);
	hoard_all(&hoard, GFP_KERNEL);
	memset(&seen, 0, sizeof(seen));
	phys_set_reclaim_ops(machine, &noting);
	ok(!alloc_pages(GFP_KERNEL, 0), "a page from nowhere");
	ok(seen.nr_reclaims > 1 && seen.nr_reclaims <= 4, "%u rounds", seen.nr_reclaims);
	phys_set_reclaim_ops(machine, NULL);
	give_hoard(&hoard);
	slot_return(before);
	shut_down(machine);
}

/* Below every mark, what lies on this CPU's list can be had, also by those that the fast path sends
 * on. */
static void lists_are_handed_out_whatever_the_zone_has(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct hoard hoard = {0};

	hoard_all(&hoard, GFP_DMA | __GFP_MEMALLOC);
	give_one(&hoard);
	give_one(&hoard);
	ok_eq(pcp_nr_pages(this_cpu), 2);
	ok(hoard_one(&hoard, GFP_DMA | __GFP_ZERO), "zeroed");
	ok(hoard_one(&hoard, GFP_DMA), "as it is");
	ok(!hoard_one(&hoard, GFP_DMA), "a page from nowhere");
	give_hoard(&hoard);
	shut_down(machine);
}

/* Its allocations go to the reserves, and do not call it again. */
static void reclaim_may_allocate(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct hoard hoard = {0};

	hoard_all(&hoard, GFP_ATOMIC);
	memset(&seen, 0, sizeof(seen));
	phys_set_reclaim_ops(machine, &noting);
	seen.inner_gfp = GFP_KERNEL;
	ok(!alloc_pages(GFP_KERNEL, 0), "what reclaim got was not for us");
	ok(seen.inner != NULL, "reclaim gets nothing of the reserves");
	seen.inner_gfp = GFP_KERNEL | __GFP_NOMEMALLOC;
	seen.nr_reclaims = 0;
	ok(!alloc_pages(GFP_KERNEL | __GFP_NORETRY, 0), "nothing was freed");
	ok(!seen.inner, "it asked for none of the reserves");
	ok_eq(seen.nr_reclaims, 1);
	give_hoard(&hoard);
	shut_down(machine);
}

/* Zone by zone, nofail goes where others stop; at the very end it stops the program. */
static void nofail_goes_to_the_last_page(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct hoard hoard = {0};

	hoard_all(&hoard, GFP_ATOMIC);
	ok(nr_free(machine, NUMA_NO_NODE) > 16, "nothing is kept");
	ok(!alloc_pages(GFP_KERNEL | __GFP_NORETRY | __GFP_NOFAIL, 0), "noretry wins");
	while (nr_free(machine, NUMA_NO_NODE))
		ok(hoard_one(&hoard, GFP_KERNEL | __GFP_NOFAIL), "%lu pages are left",
		   nr_free(machine, NUMA_NO_NODE));
	ok_dies("may not fail", alloc_pages(GFP_KERNEL | __GFP_NOFAIL, 0));
	give_hoard(&hoard);
	shut_down(machine);
}

/* Those who cannot wait get at least what their own CPU holds. */
static void own_lists_are_looked_through_for_large_blocks(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct hoard hoard = {0};
	unsigned long held;

	hoard_all(&hoard, GFP_KERNEL);
	for (int i = 0; i < 64; i++)
		give_one(&hoard);
	held = pcp_nr_pages(this_cpu);
	ok(held > 32, "%lu pages are on lists", held);
	ok(!alloc_pages(GFP_NOWAIT | __GFP_NORETRY, 10), "a large block");
	ok_eq(pcp_nr_pages(this_cpu), held);
	ok(!alloc_pages(GFP_NOWAIT, 10), "a large block");
	ok_eq(pcp_nr_pages(this_cpu), 0);
	give_hoard(&hoard);
	shut_down(machine);
}

/* Lines that act makes the library print. */
static int lines_said(void (*act)(void))
{
	FILE *file = tmpfile();
	int saved = dup(STDERR_FILENO), nr = 0;

	fflush(stderr);
	dup2(fileno(file), STDERR_FILENO);
	act();
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(file);
	for (int c; (c = getc(file)) != EOF;)
		nr += c == '\n';
	fclose(file);
	return nr;
}

static void fail_silently(void)
{
	ok(!alloc_pages(GFP_KERNEL | __GFP_NOWARN, MAX_PAGE_ORDER + 1), "order 11");
}

static void fail_twice(void)
{
	ok(!alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER + 1), "order 11");
	ok(!alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER + 1), "order 11");
}

static void failures_are_warned_of_once_and_if_wanted(void)
{
	for (int warn = 0; warn < 2; warn++) {
		struct kmm *machine = boot((struct kmm_config){.warn_alloc = warn});
		struct phys_counters counters;

		ok_eq(lines_said(fail_silently), 0);
		ok_eq(lines_said(fail_twice), warn);
		ok_eq(lines_said(fail_twice), 0);
		phys_count(machine, &counters);
		ok_eq(counters.fail, 5);
		shut_down(machine);
	}
}

int main(void)
{
	RUN(each_flag_goes_as_deep_as_it_may);
	RUN(large_blocks_keep_the_mark_too);
	RUN(zones_are_left_one_after_the_other_with_their_reserves);
	RUN(i386_falls_from_highmem_to_normal_to_dma);
	RUN(reclaim_is_woken_below_low_and_not_before);
	RUN(only_those_who_may_wait_reclaim_and_only_as_they_may);
	RUN(what_reclaim_frees_is_allocated);
	RUN(what_comes_back_while_reclaim_finds_nothing_is_allocated);
	RUN(reclaim_without_end_is_given_up);
	RUN(a_silent_thread_is_not_waited_for_long);
	RUN(lists_are_handed_out_whatever_the_zone_has);
	RUN(reclaim_may_allocate);
	RUN(nofail_goes_to_the_last_page);
	RUN(own_lists_are_looked_through_for_large_blocks);
	RUN(failures_are_warned_of_once_and_if_wanted);
	return done();
}

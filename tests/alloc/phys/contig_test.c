/* SPDX-License-Identifier: MIT */
/* Runs of frames longer than the largest block: where they lie, what is left of memory around them,
 * and every way in which a free of one can be wrong. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "phys/page_alloc.h"
#include "phys/page_flags.h"
#include "phys/page_ref.h"
#include "phys/zone.h"
#include "tests/alloc/phys/machine.h"
#include "tests/tap/dies.h"

#define MIB	    (1UL << 20)
#define PAGES(mib)  ((mib) << (20 - PAGE_SHIFT))
#define WHOLE(page) (page_to_pfn(page) % PAGEBLOCK_NR_PAGES == 0)

static struct page *contig(unsigned long nr)
{
	return alloc_contig_pages(nr, GFP_KERNEL, NUMA_NO_NODE);
}

static void fill(struct page *page, unsigned long nr, int value)
{
	memset(page_address(page), value, nr << PAGE_SHIFT);
}

/* Is it filled so from end to end? */
static bool is_filled(struct page *page, unsigned long nr, int value)
{
	const char *bytes = page_address(page);

	for (unsigned long i = 0; i < nr << PAGE_SHIFT; i += 512)
		if (bytes[i] != (char)value || bytes[i + 511] != (char)value)
			return false;
	return true;
}

static void a_run_of_any_length_is_had_and_given_back(void)
{
	static const unsigned long lengths[] = {1,    2,    3,	  511,	512,  513,
						1000, 1024, 1025, 1100, 1536, 5000};
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256 * MIB});
	unsigned long before = nr_free(machine, NUMA_NO_NODE);

	for (unsigned int i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct page *page = contig(lengths[i]);

		ok(page && contig_nr_pages(page) == lengths[i], "no run of %lu", lengths[i]);
		if (!page)
			continue;
		ok(lengths[i] <= MAX_ORDER_NR_PAGES || WHOLE(page), "begins in a pageblock");
		ok_eq(nr_free(machine, NUMA_NO_NODE), before - lengths[i]);
		ok(page_zone(machine->phys, page) == pfn_zone(machine->phys, page_to_pfn(page)),
		   "another zone");
		ok_eq(page_count(page), 1);
		phys_validate(machine);
		fill(page, lengths[i], 0x5a);
		free_contig_range(page, lengths[i]);
		ok(!contig_nr_pages(page), "still a run");
		ok_eq(nr_free(machine, NUMA_NO_NODE), before);
	}
	shut_down(machine);
}

static void lengths_that_cannot_be_are_refused(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct phys_counters counters;

	ok(!contig(0), "a run of none");
	ok(!contig(machine->nr_frames + 1), "more than there is");
	ok(!contig(machine->nr_frames), "more than is managed");
	ok(!contig(1UL << 60), "more than can be counted");
	ok(!contig(~0UL), "more than can be counted");
	phys_count(machine, &counters);
	ok_eq(counters.fail, 5);
	ok_eq(counters.contig, 0);
	shut_down(machine);
}

static void zeroed_runs_are_zero_after_others_wrote_there(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 128 * MIB});

	for (int round = 0; round < 3; round++) {
		struct page *page = alloc_contig_pages(3000, GFP_KERNEL | __GFP_ZERO, 0);

		ok(page && is_filled(page, 3000, 0), "round %d: not zero", round);
		fill(page, 3000, 0xff);
		free_contig_range(page, 3000);
	}
	shut_down(machine);
}

/* Is the pageblock `step` behind one of the same zone, and one of those that were had? */
static bool is_one_of(struct kmm *machine, const unsigned long *pfns, unsigned int nr,
		      unsigned long pfn, long step)
{
	unsigned long other = pfn + (unsigned long)(step * (long)PAGEBLOCK_NR_PAGES);

	for (unsigned int i = 0; i < nr; i++)
		if (pfns[i] == other)
			return pfn_zone(machine->phys, other) == pfn_zone(machine->phys, pfn);
	return false;
}

/* Every pageblock in use: no run; every second one given back: still none; then one between two of
 * them: a run of three. */
static void a_run_needs_pageblocks_in_a_row(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.node_bytes = 128 * MIB, .no_watermarks = true});
	struct page *blocks[64], *run;
	unsigned long pfns[64];
	unsigned int nr = 0;

	while (nr < ARRAY_SIZE(blocks) && (blocks[nr] = alloc_pages(GFP_KERNEL, PAGEBLOCK_ORDER))) {
		pfns[nr] = page_to_pfn(blocks[nr]);
		nr++;
	}
	ok(nr > 50, "%u pageblocks", nr);
	ok(!contig(1025), "a run where nothing is free");
	for (unsigned int i = 0; i < nr; i++)
		if (pfns[i] >> PAGEBLOCK_ORDER & 1)
			__free_pages(blocks[i], PAGEBLOCK_ORDER);
	ok(!contig(1025), "a run over pageblocks that are in use");
	run = contig(512);
	ok(run, "none of one pageblock");
	free_contig_range(run, 512);
	for (unsigned int i = 0; i < nr; i++)
		if (!(pfns[i] >> PAGEBLOCK_ORDER & 1) && is_one_of(machine, pfns, nr, pfns[i], 1) &&
		    is_one_of(machine, pfns, nr, pfns[i], -1)) {
			__free_pages(blocks[i], PAGEBLOCK_ORDER);
			blocks[i] = NULL;
			break;
		}
	run = contig(1025);
	ok(run && WHOLE(run), "none over three free pageblocks");
	phys_validate(machine);
	free_contig_range(run, 1025);
	for (unsigned int i = 0; i < nr; i++)
		if (blocks[i] && !(pfns[i] >> PAGEBLOCK_ORDER & 1))
			__free_pages(blocks[i], PAGEBLOCK_ORDER);
	shut_down(machine);
}

static void what_lists_hold_is_fetched_for_a_run(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.node_bytes = 64 * MIB, .no_watermarks = true});
	unsigned long nr = machine->nr_frames;
	struct page *run;

	kmm_drain(machine);
	while (!(run = contig(nr)))
		nr -= PAGEBLOCK_NR_PAGES;
	free_contig_range(run, nr);
	/* Blocks of everywhere on this CPU's lists. */
	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
		struct page *page = alloc_pages(GFP_KERNEL, order);

		ok(page, "no block of order %u", order);
		__free_pages(page, order);
	}
	run = contig(nr);
	ok(run, "no run of %lu, which there was", nr);
	if (run)
		free_contig_range(run, nr);
	shut_down(machine);
}

static void a_node_is_kept_to(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.synthetic = TWO_NODES, .node_bytes = 64 * MIB});

	for (int nid = 0; nid < 2; nid++) {
		struct page *page = alloc_contig_pages(2000, GFP_KERNEL, nid);

		ok(page && page->nid == nid, "not of node %d", nid);
		free_contig_range(page, 2000);
	}
	ok(!alloc_contig_pages(PAGES(60UL), GFP_KERNEL | __GFP_THISNODE, 1), "from elsewhere");
	ok_dies("node 2", alloc_contig_pages(1, GFP_KERNEL, 2));
	shut_down(machine);
}

static void a_wrong_free_stops_the_program(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 128 * MIB});
	struct page *run = contig(1500), *block = alloc_pages(GFP_KERNEL, 3);

	ok_dies("allocated with 1500", free_contig_range(run, 1499));
	ok_dies("allocated with 1500", free_contig_range(run, 1501));
	ok_dies("allocated with 1500", free_contig_range(run, 0));
	ok_dies("begins no run", free_contig_range(run + 1, 1499));
	ok_dies("begins no run", free_contig_range(run + 512, 988));
	ok_dies("begins no run", free_contig_range(block, 8));
	ok_dies("not a page", free_contig_range((struct page *)&block, 8));
	ok_dies("a run of 1500", __free_pages(run, 0));
	ok_dies("a run of 1500", __free_pages(run, 10));
	ok_dies("begins no block", __free_pages(run + 512, 0));
	ok_dies("split as a block", split_page(run, 0));
	ok_dies("not from kmalloc", kfree(page_address(run + 700)));
	SetPageLRU(run);
	ok_dies("lru", free_contig_range(run, 1500));
	ClearPageLRU(run);
	free_contig_range(run, 1500);
	ok_dies("double free", free_contig_range(run, 1500));
	kmm_drain(machine);
	ok_dies("double free", free_contig_range(run, 1500));
	__free_pages(block, 3);
	shut_down(machine);
}

static void the_last_reference_frees_a_run(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	unsigned long before = nr_free(machine, NUMA_NO_NODE);
	struct page *run = contig(2048);

	get_page(run);
	free_contig_range(run, 2048);
	ok_eq(nr_free(machine, NUMA_NO_NODE), before - 2048);
	put_page(run);
	ok_eq(nr_free(machine, NUMA_NO_NODE), before);
	shut_down(machine);
}

static void a_run_not_freed_is_a_leak(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct kmm_leaks leaks;

	ok(contig(1234), "no run");
	phys_validate(machine);
	kmm_shutdown(machine, &leaks);
	ok_eq(leaks.pages, 1234);
}

/* Runs and blocks of all lengths at random, each filled with its own value, until memory is full
 * and back. */
static void random_runs_do_not_overlap(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256 * MIB});
	unsigned long before = nr_free(machine, NUMA_NO_NODE);
	struct {
		struct page *page;
		unsigned long nr;
	} live[24] = {{NULL, 0}};
	unsigned int seed = 12345;

	for (int i = 0; i < 2000; i++) {
		unsigned int at = (unsigned int)rand_r(&seed) % ARRAY_SIZE(live);
		unsigned long nr = 1 + (unsigned long)rand_r(&seed) % (i % 2 ? 12000 : 600);

		if (live[at].page) {
			const unsigned char *bytes = page_address(live[at].page);

			ok(bytes[0] == at && bytes[(live[at].nr << PAGE_SHIFT) - 1] == at,
			   "a run of %lu was written to", live[at].nr);
			free_contig_range(live[at].page, live[at].nr);
		}
		live[at].nr = nr;
		live[at].page = contig(nr);
		if (live[at].page) {
			char *bytes = page_address(live[at].page);

			bytes[0] = bytes[(nr << PAGE_SHIFT) - 1] = (char)at;
		}
		if (i % 100 == 0)
			phys_validate(machine);
	}
	for (unsigned int at = 0; at < ARRAY_SIZE(live); at++)
		if (live[at].page)
			free_contig_range(live[at].page, live[at].nr);
	ok_eq(nr_free(machine, NUMA_NO_NODE), before);
	shut_down(machine);
}

int main(void)
{
	RUN(a_run_of_any_length_is_had_and_given_back);
	RUN(lengths_that_cannot_be_are_refused);
	RUN(zeroed_runs_are_zero_after_others_wrote_there);
	RUN(a_run_needs_pageblocks_in_a_row);
	RUN(what_lists_hold_is_fetched_for_a_run);
	RUN(a_node_is_kept_to);
	RUN(a_wrong_free_stops_the_program);
	RUN(the_last_reference_frees_a_run);
	RUN(a_run_not_freed_is_a_leak);
	RUN(random_runs_do_not_overlap);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* Bulk allocation: which entries are filled, from where, at what cost, and what is said when memory
 * ends. */
#include "phys/page_alloc.h"

#include "phys/mempolicy.h"
#include "phys/zone.h"
#include "tests/alloc/phys/machine.h"

#define NR_BULK 4096

static struct page *pages[NR_BULK];

static void free_all(unsigned long nr)
{
	for (unsigned long i = 0; i < nr; i++) {
		if (pages[i])
			__free_pages(pages[i], 0);
		pages[i] = NULL;
	}
}

static int by_address(const void *a, const void *b)
{
	const struct page *const *x = a, *const *y = b;

	return (*x > *y) - (*x < *y);
}

static void bulk_gives_as_many_different_frames(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	unsigned long before = nr_free(machine, NUMA_NO_NODE);

	for (unsigned long nr = 0; nr <= NR_BULK; nr += nr < 3 ? 1 : 999) {
		ok_eq(alloc_pages_bulk(GFP_KERNEL, nr, pages), nr);
		ok_eq(nr_free(machine, NUMA_NO_NODE), before - nr);
		qsort(pages, nr, sizeof(*pages), by_address);
		for (unsigned long i = 0; i < nr; i++)
			ok(pages[i] && pages[i]->order == 0 && (!i || pages[i] != pages[i - 1]),
			   "page %lu of %lu", i, nr);
		free_all(nr);
		ok_eq(nr_free(machine, NUMA_NO_NODE), before);
	}
	shut_down(machine);
}

static void entries_that_have_a_page_keep_it(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct page *mine = alloc_pages(GFP_KERNEL, 0);

	for (unsigned int i = 0; i < 100; i += 3)
		pages[i] = mine;
	ok_eq(alloc_pages_bulk_array(GFP_KERNEL, 100, pages), 100);
	ok(pages[100] == NULL, "an entry too many");
	for (unsigned int i = 0; i < 100; i++)
		ok((pages[i] == mine) == (i % 3 == 0) && pages[i], "entry %u", i);
	for (unsigned int i = 0; i < 100; i += 3)
		pages[i] = NULL;
	free_all(100);
	for (unsigned int i = 0; i < 10; i++)
		pages[i] = mine;
	ok_eq(alloc_pages_bulk(GFP_KERNEL, 10, pages), 10);
	memset(pages, 0, sizeof(pages));
	__free_pages(mine, 0);
	shut_down(machine);
}

static void frames_come_from_the_node_and_zone_asked_for(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});

	for (int nid = NUMA_NO_NODE; nid < 2; nid++) {
		ok_eq(alloc_pages_bulk_array_node(GFP_KERNEL | __GFP_SHARED, nid, 200, pages), 200);
		for (unsigned int i = 0; i < 200; i++)
			ok(pages[i]->nid == (nid == 1) &&
				   page_zone(machine->phys, pages[i])->type == ZONE_SHARED,
			   "node %d, page %u", nid, i);
		free_all(200);
	}
	shut_down(machine);
}

static void zeroed_frames_are_zero_and_compound_ones_are_single(void)
{
	struct kmm *machine = boot((struct kmm_config){0});

	ok_eq(alloc_pages_bulk(GFP_KERNEL, 50, pages), 50);
	for (unsigned int i = 0; i < 50; i++)
		memset(page_address(pages[i]), 0xee, PAGE_SIZE);
	free_all(50);
	ok_eq(alloc_pages_bulk(GFP_KERNEL | __GFP_ZERO | __GFP_COMP, 50, pages), 50);
	for (unsigned int i = 0; i < 50; i++) {
		const char *bytes = page_address(pages[i]);

		ok(bytes[0] == 0 && !memcmp(bytes, bytes + 1, PAGE_SIZE - 1), "page %u", i);
		ok(compound_head(pages[i]) == pages[i] && pages[i]->type == PG_TYPE_ALLOC,
		   "page %u is a part of something", i);
	}
	free_all(50);
	shut_down(machine);
}

static void out_of_memory_says_how_far_it_came(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.node_bytes = 16UL << 20, .shared_bytes = 4UL << 20});
	unsigned long nr, again;
	struct page *last;

	nr = alloc_pages_bulk(GFP_ATOMIC | __GFP_NOWARN, NR_BULK, pages);
	ok(nr > 3000 && nr < NR_BULK, "%lu frames of 16 MiB", nr);
	for (unsigned long i = 0; i < NR_BULK; i++)
		ok(!!pages[i] == (i < nr), "entry %lu of %lu", i, nr);
	/* A hole ends the count, whatever lies behind it. */
	last = pages[nr - 1];
	pages[nr - 1] = NULL;
	again = alloc_pages_bulk(GFP_ATOMIC | __GFP_NOWARN, nr, pages);
	ok_eq(again, nr - 1);
	pages[nr - 1] = last;
	free_all(nr);
	shut_down(machine);
}

/* All zone locks taken so far. */
static u64 nr_acquired(struct kmm *machine)
{
	u64 sum = 0;

	for_each_zone(machine->phys, node, zone)
		sum += zone->lock.stats.acquired;
	return sum;
}

static void a_bulk_takes_the_lock_once_a_refill(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256UL << 20});
	u64 before;

	kmm_drain(machine);
	before = nr_acquired(machine);
	ok_eq(alloc_pages_bulk(GFP_KERNEL, 1024, pages), 1024);
	ok(nr_acquired(machine) - before <= 16, "%llu acquisitions for 1024 frames",
	   (unsigned long long)(nr_acquired(machine) - before));
	free_all(1024);
	before = nr_acquired(machine);
	ok_eq(alloc_pages_bulk(GFP_KERNEL, 100, pages), 100);
	ok_eq(nr_acquired(machine) - before, 0);
	free_all(100);
	shut_down(machine);
}

static void another_nodes_frames_take_two_locks_a_batch(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.synthetic = TWO_NODES, .node_bytes = 256UL << 20});
	struct numastat at_boot, stats;
	u64 before;

	phys_numastat(machine, 1, &at_boot);
	before = nr_acquired(machine);
	ok_eq(alloc_pages_bulk_node(GFP_KERNEL, 1, 1000, pages), 1000);
	ok_eq(nr_acquired(machine) - before, 8);
	phys_numastat(machine, 1, &stats);
	ok_eq(stats.numa_hit - at_boot.numa_hit, 1000);
	ok_eq(stats.other_node - at_boot.other_node, 1000);
	for (unsigned int i = 0; i < 1000; i++)
		ok(pages[i]->nid == 1 && pages[i]->refcount == 1 && pages[i]->order == 0, "page %u",
		   i);
	/* Holes are filled, and what lies between them is left alone. */
	for (unsigned int i = 0; i < 1000; i += 5) {
		__free_pages(pages[i], 0);
		pages[i] = NULL;
	}
	ok_eq(alloc_pages_bulk_node(GFP_KERNEL, 1, 1000, pages), 1000);
	phys_validate(machine);
	free_all(1000);
	shut_down(machine);
}

/* Node 1's own zone ends, and its Shared zone goes on. */
static void frames_of_a_fallback_zone_are_counted(void)
{
	struct kmm *machine = boot((struct kmm_config){
		.synthetic = TWO_NODES, .node_bytes = 16UL << 20, .shared_bytes = 8UL << 20});
	struct phys_counters before, after;
	unsigned long nr, nr_shared = 0;

	phys_count(machine, &before);
	nr = alloc_pages_bulk_node(GFP_KERNEL | __GFP_THISNODE | __GFP_NOWARN, 1, NR_BULK, pages);
	phys_count(machine, &after);
	for (unsigned long i = 0; i < nr; i++)
		nr_shared += page_zonenum(pages[i]) == ZONE_SHARED;
	ok(nr_shared > 1000 && nr_shared < nr, "%lu of %lu frames", nr_shared, nr);
	ok_eq(after.fallback - before.fallback, nr_shared);
	free_all(nr);
	shut_down(machine);
}

int main(void)
{
	RUN(bulk_gives_as_many_different_frames);
	RUN(entries_that_have_a_page_keep_it);
	RUN(frames_come_from_the_node_and_zone_asked_for);
	RUN(zeroed_frames_are_zero_and_compound_ones_are_single);
	RUN(out_of_memory_says_how_far_it_came);
	RUN(a_bulk_takes_the_lock_once_a_refill);
	RUN(another_nodes_frames_take_two_locks_a_batch);
	RUN(frames_of_a_fallback_zone_are_counted);
	return done();
}

/* SPDX-License-Identifier: MIT */
/*
 * Boot and shutdown of a machine's memory: sizes that are odd or small, zones that begin in the
 * middle of a node or have one block, and what shutdown says of pages that were not freed.
 */
#include <errno.h>
#include <pthread.h>

#include "phys/phys.h"
#include "tests/alloc/phys/frame_model.h"

#define BLOCK (PAGE_SIZE << MAX_PAGE_ORDER)
#define STEP  (TAP_SANITIZED ? 2 * BLOCK : BLOCK)

/* Frames that a node's own data cost: its structs, 1/64, and 128 bytes a pageblock. */
static unsigned long own_frames(const struct pglist_data *node)
{
	unsigned long nr = node->end_pfn - node->start_pfn;

	return nr / 64 + (nr / 512 * 128 + PAGE_SIZE - 1) / PAGE_SIZE;
}

/* Have every page once, and end. What the zones manage is all but what boot keeps: of a plain machine,
 * nothing. */
static void try_booted(struct kmm *machine)
{
	struct free_area_counts counts;
	struct frame_model model;
	unsigned long nr_in_zones = 0, nr_own = 0;

	count_free_areas(machine, NUMA_NO_NODE, &counts);
	for (unsigned int i = 0;
	     machine->config.layout != ZONES_PLAIN && i < machine->phys->nr_nodes; i++)
		nr_own += own_frames(&machine->phys->nodes[i]);
	ok(counts.nr_managed_pages == machine->nr_frames - nr_own, "%lu of %lu frames are managed",
	   (unsigned long)counts.nr_managed_pages, machine->nr_frames);
	phys_validate(machine);
	model_init(&model, machine);
	for (unsigned int i = 0; i < model.nr_zones; i++)
		nr_in_zones += model.zones[i].end_pfn - model.zones[i].start_pfn;
	ok_eq(nr_in_zones, machine->nr_frames);
	phys_validate(machine);
	model_destroy(&model);
	shut_down(machine);
}

static void try_machine(struct kmm_config config)
{
	try_booted(boot(config));
	if (tap_failures)
		printf("# machine: %s, %llu MiB a node, %llu MiB shared, layout %d\n",
		       config.synthetic, (unsigned long long)config.node_bytes >> 20,
		       (unsigned long long)config.shared_bytes >> 20, (int)config.layout);
}

static void nodes_of_any_multiple_of_4_MiB_boot(void)
{
	static const char *const topologies[] = {"numa:1 pu:1", "numa:2 core:2 pu:1",
						 "numa:3 pu:1"};

	for (unsigned int t = 0; t < ARRAY_SIZE(topologies); t++)
		for (u64 bytes = 4 * BLOCK; bytes <= 11 * BLOCK && !tap_failures; bytes += STEP)
			for (int layout = 0; layout < NR_ZONE_LAYOUTS; layout++)
				try_machine((struct kmm_config){.synthetic = topologies[t],
								.node_bytes = bytes,
								.layout = layout});
}

static void shared_zones_from_one_block_to_all_but_one_boot(void)
{
	for (u64 shared = BLOCK; shared < 6 * BLOCK && !tap_failures; shared += BLOCK)
		for (int nr_nodes = 1; nr_nodes <= 2; nr_nodes++)
			try_machine((struct kmm_config){.synthetic = nr_nodes == 1 ? "numa:1 pu:1"
										   : "numa:2 pu:1",
							.node_bytes = 6 * BLOCK,
							.shared_bytes = shared});
}

/* 16 MiB and 896 MiB fall into the middle of a node, on its edge, or a block beside it. */
static void zones_may_begin_anywhere_in_a_node(void)
{
	for (u64 mib = 888; mib <= 904; mib += STEP >> 20)
		try_machine((struct kmm_config){
			.synthetic = "numa:1 pu:1", .node_bytes = mib << 20, .layout = ZONES_I386});
	for (u64 mib = 444; mib <= 452; mib += 4)
		try_machine((struct kmm_config){
			.synthetic = "numa:2 pu:1", .node_bytes = mib << 20, .layout = ZONES_I386});
	try_machine((struct kmm_config){
		.synthetic = "numa:3 pu:1", .node_bytes = 300UL << 20, .layout = ZONES_I386});
	if (TAP_SANITIZED)
		return; /* takes long over so many frames */
	/* 4 GiB in the second node's middle, and in the Shared zone of the first. */
	try_machine((struct kmm_config){.synthetic = "numa:2 pu:1", .node_bytes = 2052UL << 20});
	try_machine((struct kmm_config){.synthetic = "numa:1 pu:1",
					.node_bytes = 4100UL << 20,
					.shared_bytes = 16UL << 20});
	try_machine((struct kmm_config){
		.synthetic = "numa:1 pu:1", .node_bytes = 4100UL << 20, .shared_bytes = 4UL << 20});
}

/* What boot keeps comes out of the highest zone in low memory, and leaves DMA's 16 MiB alone. */
static void dma_is_for_devices(void)
{
	static const unsigned long mib[] = {512, 896, 900, 1024};

	for (unsigned int i = 0; i < ARRAY_SIZE(mib); i++) {
		struct kmm *machine = boot((struct kmm_config){.synthetic = "numa:1 pu:1",
							       .node_bytes = mib[i] << 20,
							       .layout = ZONES_I386});

		ok_eq(machine->phys->nodes[0].zones[ZONE_DMA].nr_managed, 4096);
		shut_down(machine);
	}
}

static void nodes_may_differ_in_size(void)
{
	for (int layout = 0; layout < NR_ZONE_LAYOUTS; layout++) {
		const struct kmm_config config = {
			.synthetic = "[numa(memory=100MB)] pack:2 [numa(memory=64MB)] core:2 pu:1",
			.layout = (enum zone_layout)layout,
			.no_thp = true};
		struct kmm *machine;

		if (kmm_boot(&config, &machine)) {
			ok(false, "cannot boot: %s", kmm_boot_error());
			return;
		}
		ok_eq(machine->config.node_bytes, 0);
		try_booted(machine);
	}
}

static void each_page_not_freed_is_counted(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	struct kmm_leaks leaks;
	unsigned long nr = 0;

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++)
		for (int nid = 0; nid < 2; nid++) {
			gfp_t gfp = order % 2 ? GFP_KERNEL : GFP_KERNEL | __GFP_COMP;
			struct page *page = alloc_pages_node(nid, gfp, order);

			ok(page, "no block of order %u", order);
			/* Every third goes back: into a list, where it is no leak. */
			if (page && order % 3 == 0)
				__free_pages(page, order);
			else if (page)
				nr += 1UL << order;
		}
	ok_eq(kmm_shutdown(machine, &leaks), -EBUSY);
	ok_eq(leaks.pages, nr);
	ok_eq(leaks.objects + leaks.large_kmallocs + leaks.vmap_areas, 0);
}

static void *leave_pages(void *arg)
{
	struct page *pages[40];

	kmm_attach(arg, 3);
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = alloc_pages(GFP_KERNEL, i % 3);
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		if (i != 7)
			__free_pages(pages[i], i % 3);
	return NULL;
}

static void what_lies_on_the_lists_of_ended_threads_is_no_leak(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	struct kmm_leaks leaks;

	for (int i = 0; i < 10; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, leave_pages, machine);
		pthread_join(thread, NULL);
	}
	ok_eq(kmm_shutdown(machine, &leaks), -EBUSY);
	/* Order 7 % 3 of each thread. */
	ok_eq(leaks.pages, 20);
}

static void a_machine_that_is_exhausted_can_be_shut_down(void)
{
	static const enum zone_layout layouts[] = {ZONES_X86_64, ZONES_I386};

	for (unsigned int i = 0; i < ARRAY_SIZE(layouts); i++) {
		struct kmm *machine = boot((struct kmm_config){.layout = layouts[i]});
		struct kmm_leaks leaks;
		unsigned long nr = 0;

		while (alloc_pages(GFP_HIGHUSER | __GFP_MEMALLOC | __GFP_NOWARN, 0))
			nr++;
		ok(nr > 4096, "%lu pages", nr);
		ok_eq(kmm_shutdown(machine, &leaks), -EBUSY);
		ok_eq(leaks.pages, nr);
	}
}

int main(void)
{
	RUN(nodes_of_any_multiple_of_4_MiB_boot);
	RUN(shared_zones_from_one_block_to_all_but_one_boot);
	RUN(zones_may_begin_anywhere_in_a_node);
	RUN(dma_is_for_devices);
	RUN(nodes_may_differ_in_size);
	RUN(each_page_not_freed_is_counted);
	RUN(what_lies_on_the_lists_of_ended_threads_is_no_leak);
	RUN(a_machine_that_is_exhausted_can_be_shut_down);
	return done();
}

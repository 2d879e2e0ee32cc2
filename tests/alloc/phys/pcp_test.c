/* SPDX-License-Identifier: MIT */
/* Per-CPU page lists: how large they are, when they take the zone's lock, and who gets at them. */
#include "phys/pcp.h"

#include <pthread.h>
#include <sched.h>

#include "arch/slots.h"
#include "tests/alloc/phys/machine.h"
#include "tests/tap/dies.h"

static u64 zone_locks(struct kmm *machine)
{
	u64 acquired = 0;

	for_each_zone(machine->phys, node, zone)
		acquired += zone->lock.stats.acquired;
	return acquired;
}

static const struct pcp_tune *tune_of(const struct pcp_stack *stack)
{
	const struct phys_cpu *pcpu = phys_cpu(cpu_get());

	return &pcpu->tune[0][0] + (stack - &pcpu->stack[0][0]);
}

/* Has the page come back to its zone, whatever lists there are? */
static bool in_buddy(struct kmm *machine, const struct page *page)
{
	return buddy_is_free(&page_zone(machine->phys, page)->buddy, page_to_pfn(page), 0);
}

static void lists_of_large_zones_are_long_and_of_small_ones_short(void)
{
	/* 4 GiB and two CPUs: 65536 frames a slot. */
	static const u32 large[NR_PAGE_ORDERS] = {1024, 256, 128, 64, 2, 2, 2, 2, 2, 2, 2};
	/* 16 MiB and two CPUs: 256 frames. */
	static const u32 small[NR_PAGE_ORDERS] = {32, 8, 4, 2, 1};
	unsigned long budget = pcp_budget(1UL << 20, 2, 0);

	ok_eq(budget, 65536);
	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++)
		ok_eq(pcp_tune(order, budget), large[order]);
	budget = pcp_budget(4096, 2, 0);
	ok_eq(budget, 256);
	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++)
		ok_eq(pcp_tune(order, budget), small[order]);
}

static void all_slots_together_hold_a_quarter_of_a_zone_at_most(void)
{
	const unsigned long nr_managed = 1UL << 20;

	for (unsigned int nr_cpus = 1; nr_cpus <= 64; nr_cpus *= 2) {
		unsigned long sum = 0;

		for (u32 slot = 0; slot < KMM_MAX_SLOTS; slot++)
			sum += pcp_budget(nr_managed, nr_cpus, slot);
		ok(sum <= nr_managed / 4 + nr_managed / 64, "%u CPUs: %lu of %lu", nr_cpus, sum,
		   nr_managed);
	}
}

/* All threads on the one CPU of one node of many. */
static void slots_of_one_node_hold_a_quarter_of_its_zones_at_most(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.synthetic = "numa:16 pu:1", .node_bytes = 16UL << 20});
	const struct zone *zone = &machine->phys->nodes[0].zones[ZONE_DMA];
	struct kmm_cpu *before = this_cpu, *slots[64];
	unsigned long sum = 0;

	for (int i = 0; i < 64; i++) {
		this_cpu = kmm_cpu_detached;
		ok_eq(slot_attach(machine, 0), 0);
		slots[i] = this_cpu;
	}
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
		sum += phys_cpu(cpu)->room[ZONE_DMA][0] + phys_cpu(cpu)->room[ZONE_DMA][1];
	ok(sum > zone->nr_managed / 8 && sum <= zone->nr_managed / 4, "%lu of %lu frames", sum,
	   zone->nr_managed);
	for (int i = 0; i < 64; i++) {
		this_cpu = slots[i];
		slot_return(before);
	}
	shut_down(machine);
}

static void a_pair_takes_no_lock(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 2UL << 30});

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
		struct phys_counters before, after;
		u64 locks;

		__free_pages(alloc_pages(GFP_KERNEL, order), order);
		phys_count(machine, &before);
		locks = zone_locks(machine);
		for (int n = 0; n < 1000; n++)
			__free_pages(alloc_pages(GFP_KERNEL, order), order);
		ok_eq(zone_locks(machine), locks);
		phys_count(machine, &after);
		ok_eq(after.pcp_alloc - before.pcp_alloc, 1000);
		ok_eq(after.pcp_free - before.pcp_free, 1000);
		ok_eq(after.buddy_alloc - before.buddy_alloc, 0);
		ok_eq(after.buddy_free - before.buddy_free, 0);
	}
	shut_down(machine);
}

static void a_refill_grows_with_the_tide(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 2UL << 30});
	struct pcp_stack *stack = pcp_stack_for(phys_cpu(cpu_get()), GFP_KERNEL, 0);
	const struct pcp_tune *tune = tune_of(stack);
	struct page *pages[4096];
	u32 last = 0;

	kmm_drain(machine);
	for (int i = 0; i < 4096; i++) {
		bool refill = !stack->nr;

		pages[i] = alloc_pages(GFP_KERNEL, 0);
		if (!refill)
			continue;
		ok(stack->nr + 1 >= last, "a refill of %u after one of %u", stack->nr + 1, last);
		last = stack->nr + 1;
		if (!i)
			ok_eq(last, tune->batch / 8);
	}
	ok(last > 2U * tune->batch && last <= 4096 / 4 + 1, "the last refill is %u", last);
	for (int i = 0; i < 4096; i++)
		__free_pages(pages[i], 0);
	kmm_drain(machine);
	__free_pages(alloc_pages(GFP_KERNEL, 0), 0);
	ok_eq(stack->nr, tune->batch / 8);
	shut_down(machine);
}

enum { SHUFFLE_MAX = 65536 };

/* Allocate count pages, free them in random order. */
static void shuffle(int count, unsigned long *state)
{
	static struct page *pages[SHUFFLE_MAX];

	for (int i = 0; i < count; i++)
		pages[i] = alloc_pages(GFP_KERNEL, 0);
	for (int i = count; i-- > 0;) {
		int j = (int)(tap_random(state) % (unsigned long)(i + 1));
		struct page *page = pages[j];

		pages[j] = pages[i];
		__free_pages(page, 0);
	}
}

static void a_shuffle_takes_few_locks(void)
{
	static const int counts[] = {4096, SHUFFLE_MAX};
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 2UL << 30});
	unsigned long state = tap_seed() | 1;

	for (unsigned int i = 0; i < ARRAY_SIZE(counts); i++) {
		u64 locks = zone_locks(machine);

		for (int round = 0; round < 4; round++)
			shuffle(counts[i], &state);
		locks = zone_locks(machine) - locks;
		ok(locks * 1000 <= 16 * 4 * (u64)counts[i], "%lu locks in %d operations",
		   (unsigned long)locks, 4 * counts[i]);
	}
	shut_down(machine);
}

/* What one CPU took and frees stays with it, in whatever order it is freed. */
static void a_list_holds_a_tide_that_is_not_too_high(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 2UL << 30});
	struct phys_cpu *pcpu = phys_cpu(cpu_get());
	unsigned long state = tap_seed() | 1;
	const unsigned int row = page_place(ZONE_DMA32, MIGRATE_UNMOVABLE);
	struct phys_counters before, after;
	u64 locks;

	kmm_drain(machine); /* of other lists, which would make room for this one's pageblock */
	phys_count(machine, &before);
	shuffle(4096, &state);
	phys_count(machine, &after);
	ok_eq(after.pcp_drain, before.pcp_drain); /* already the first tide stays with its CPU */
	ok(pcpu->tune[row][0].limit >= 4096, "%u pages after shuffles of 4096",
	   pcpu->tune[row][0].limit);
	locks = zone_locks(machine);
	shuffle(4096, &state);
	ok_eq(zone_locks(machine), locks);
	/* What overflows the longest list gains nothing from it. */
	for (int round = 0; round < 8; round++)
		shuffle(SHUFFLE_MAX, &state);
	ok_eq(pcpu->tune[row][0].limit, 1024);
	/* Asked to drain, it is as short as it was. */
	pcp_close(cpu_get());
	__free_pages(alloc_pages(GFP_KERNEL, 0), 0);
	ok_eq(pcpu->tune[row][0].limit, 1024);
	ok(pcp_nr_pages(cpu_get()) <= 1024, "%lu pages are left", pcp_nr_pages(cpu_get()));
	phys_validate(machine);
	shut_down(machine);
}

/* The last frame of a zone that serves no more lies on a list; work in another zone looks after it. */
static void a_list_that_nobody_takes_from_is_emptied(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256UL << 20});
	struct page *page = alloc_pages(GFP_DMA, 0);
	unsigned long state = tap_seed() | 1;

	__free_pages(page, 0);
	ok(!in_buddy(machine, page), "it is not on the list");
	for (int round = 0; round < 20; round++)
		shuffle(8192, &state);
	ok(in_buddy(machine, page), "it is still on the list");
	phys_validate(machine);
	shut_down(machine);
}

static void all_lists_of_a_zone_grow_within_their_share(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256UL << 20});
	struct phys_cpu *pcpu = phys_cpu(cpu_get());
	const struct zone *zone = &machine->phys->nodes[0].zones[ZONE_DMA32];
	const unsigned long budget =
		pcp_budget(zone->nr_managed, machine->phys->nodes[0].nr_cpus, 0);
	unsigned long held = 0;
	static struct page *pages[16384];

	for (int round = 0; round < 10; round++)
		for (unsigned int order = 0; order < 4; order++) {
			int count = 16384 >> order;

			for (int i = 0; i < count; i++)
				pages[i] = alloc_pages(GFP_KERNEL | __GFP_MOVABLE, order);
			for (int i = 0; i < count; i++)
				__free_pages(pages[i], order);
		}
	for (enum migratetype type = 0; type < NR_MIGRATETYPES; type++)
		for (unsigned int order = 0; order < PAGEBLOCK_ORDER; order++)
			held += (unsigned long)pcpu->tune[page_place(ZONE_DMA32, type)][order].limit
				<< order;
	ok(held <= budget, "limits of %lu frames, %lu are the slot's share", held, budget);
	held += pcpu->room[ZONE_DMA32][0] + pcpu->room[ZONE_DMA32][1];
	ok(held == budget, "%lu given and left, of %lu", held, budget);
	shut_down(machine);
}

/* Lists open when they are wanted, however long those have become that were wanted before. */
static void every_migratetype_has_a_list_of_each_order(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256UL << 20});
	const gfp_t kinds[] = {GFP_KERNEL | __GFP_MOVABLE, GFP_KERNEL | __GFP_RECLAIMABLE};
	struct phys_cpu *pcpu = phys_cpu(cpu_get());
	unsigned long state = tap_seed() | 1, before;
	struct page *page;

	for (int count = 350; count <= 650; count += 25)
		shuffle(count, &state);
	before = nr_free(machine, NUMA_NO_NODE);
	ok(pcpu->room[ZONE_DMA32][0] < 100, "%lu frames of room left, and nothing to be seen",
	   pcpu->room[ZONE_DMA32][0]);
	for (unsigned int kind = 0; kind < ARRAY_SIZE(kinds); kind++)
		for (unsigned int order = 0; order < PAGEBLOCK_ORDER; order++) {
			const struct pcp_tune *tune;

			page = alloc_pages(kinds[kind], order);
			__free_pages(page, order);
			tune = &pcpu->tune[page_place(ZONE_DMA32, gfp_migratetype(kinds[kind]))]
					  [order];
			ok(!tune->limit == !tune->base && tune->limit >= tune->base / 4,
			   "kind %u, order %u: %u blocks, %u were to be the least", kind, order,
			   tune->limit, tune->base);
		}
	ok_eq(nr_free(machine, NUMA_NO_NODE), before);
	phys_validate(machine);
	shut_down(machine);
}

/*
 *	                  free ->
 *	| batch coldest | rest          |    full; one more free drains the batch
 */
static void a_full_list_drains_its_coldest_blocks(void)
{
	struct kmm *machine = boot((struct kmm_config){.pcp_high = 16, .pcp_batch = 4});
	struct pcp_stack *stack = pcp_stack_for(phys_cpu(cpu_get()), GFP_KERNEL, 0);
	const struct pcp_tune *tune = tune_of(stack);
	struct page *pages[17];

	ok_eq(tune->limit, 16);
	ok_eq(tune->batch, 4);
	kmm_drain(machine);
	for (int i = 0; i < 17; i++)
		pages[i] = alloc_pages(GFP_KERNEL, 0);
	ok_eq(stack->nr, 3);
	kmm_drain(machine);
	for (int i = 0; i < 16; i++)
		__free_pages(pages[i], 0);
	ok_eq(stack->nr, 16);
	__free_pages(pages[16], 0);
	ok_eq(stack->nr, 13);
	for (int i = 0; i < 4; i++)
		ok(in_buddy(machine, pages[i]), "block %d is still on the list", i);
	for (int i = 16; i >= 4; i--)
		ok(alloc_pages(GFP_KERNEL, 0) == pages[i], "block %d is not where it was", i);
	ok_eq(stack->nr, 0);
	for (int i = 4; i <= 16; i++)
		__free_pages(pages[i], 0);
	shut_down(machine);
}

static void no_pcp_means_none(void)
{
	struct kmm *machine = boot((struct kmm_config){.no_pcp = true});
	struct phys_counters counters;
	struct free_area_counts counts;

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++)
		__free_pages(alloc_pages(GFP_KERNEL, order), order);
	phys_count(machine, &counters);
	ok_eq(counters.pcp_alloc + counters.pcp_free + counters.pcp_refill + counters.pcp_drain, 0);
	count_free_areas(machine, NUMA_NO_NODE, &counts);
	ok_eq(counts.nr_pcp_pages, 0);
	shut_down(machine);
}

static void configured_sizes_are_taken_up_to_the_room_there_is(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 512UL << 20,
						       .pcp_high = 65536,
						       .pcp_batch = 65536,
						       .shared_bytes = 4UL << 20});
	struct pcp_stack *stack = pcp_stack_for(phys_cpu(cpu_get()), GFP_KERNEL, 0);

	ok_eq(tune_of(stack)->limit, PCP_CAPACITY_0);
	ok_eq(tune_of(stack)->batch, PCP_CAPACITY_0);
	ok_eq(tune_of(stack + 3)->base, PCP_CAPACITY_LOW);
	kmm_drain(machine);
	__free_pages(alloc_pages(GFP_KERNEL, 0), 0);
	ok_eq(stack->nr, PCP_CAPACITY_0);
	shut_down(machine);
}

static void frames_of_another_node_go_home(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	struct page *page = alloc_pages_node(1, GFP_KERNEL | __GFP_THISNODE, 0);
	unsigned long on_lists = pcp_nr_pages(cpu_get());

	ok_eq(page->nid, 1);
	__free_pages(page, 0);
	ok(in_buddy(machine, page), "it is not at home");
	ok_eq(pcp_nr_pages(cpu_get()), on_lists);
	shut_down(machine);
}

/* A thread fills its lists and goes; the one that comes after it on the same CPU finds them. */
static void *fill_and_leave(void *machine)
{
	struct page *page;

	kmm_attach(machine, 1);
	page = alloc_pages(GFP_KERNEL, 0);
	__free_pages(page, 0);
	return page;
}

static void a_slot_keeps_its_lists_for_the_next_thread(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	void *first, *second;
	pthread_t thread;
	u64 locks;

	pthread_create(&thread, NULL, fill_and_leave, machine);
	pthread_join(thread, &first);
	locks = zone_locks(machine);
	pthread_create(&thread, NULL, fill_and_leave, machine);
	pthread_join(thread, &second);
	ok(first == second, "another page");
	ok_eq(zone_locks(machine), locks);
	shut_down(machine);
}

/* To the last page. */
static unsigned long take_all(struct page **first)
{
	unsigned long nr = 0;
	struct page *page;

	*first = NULL;
	while ((page = alloc_pages(GFP_KERNEL | __GFP_MEMALLOC, 0))) {
		page->private = (unsigned long)*first;
		*first = page;
		nr++;
	}
	return nr;
}

static void give_all(struct page *first)
{
	while (first) {
		struct page *page = first;

		first = (struct page *)page->private;
		__free_pages(page, 0);
	}
}

static void idle_slots_are_drained_when_memory_runs_out(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	unsigned long all = nr_free(machine, NUMA_NO_NODE);
	struct page *first;
	pthread_t thread;

	pthread_create(&thread, NULL, fill_and_leave, machine);
	pthread_join(thread, NULL);
	ok_eq(take_all(&first), all);
	give_all(first);
	shut_down(machine);
}

/* An owner that makes no call keeps what is on its lists: all else is found, and that comes with
 * its next call. */
static void a_silent_slot_keeps_its_lists_and_nothing_else_is_missed(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	unsigned long all = nr_free(machine, NUMA_NO_NODE), held;
	struct kmm_cpu *silent = this_cpu, *before;
	struct page *first, *page, *pages[8];

	for (int i = 0; i < 8; i++)
		pages[i] = alloc_pages(GFP_KERNEL, 0);
	for (int i = 0; i < 8; i++)
		__free_pages(pages[i], 0);
	held = pcp_nr_pages(silent);
	ok(held >= 8, "%lu pages are held", held);
	/* Another thread's part is played by this one on another slot; the first stays owned. */
	ok_eq(slot_borrow(machine, &before), 0);
	ok(this_cpu != silent, "the same slot");
	ok_eq(take_all(&first), all - held);
	ok_dies("may not fail", alloc_pages(GFP_KERNEL | __GFP_NOFAIL, 0));
	ok(!alloc_pages(GFP_KERNEL | __GFP_NORETRY | __GFP_NOFAIL, 0), "one page more");
	slot_return(before);
	__free_pages(alloc_pages(GFP_KERNEL, 0), 0);
	ok_eq(slot_borrow(machine, &before), 0);
	page = alloc_pages(GFP_KERNEL | __GFP_NOFAIL, 0);
	ok(page, "asked for, used, and not given back");
	__free_pages(page, 0);
	give_all(first);
	slot_return(before);
	shut_down(machine);
}

/* A thread that holds pages on its lists, and goes on with pairs until it is told to stop. */
struct holder {
	struct kmm *machine;
	bool ready, stop;
};

static void *hold_and_pair(void *arg)
{
	struct holder *holder = arg;
	struct page *pages[64];

	kmm_attach(holder->machine, 1);
	for (int i = 0; i < 64; i++)
		pages[i] = alloc_pages(GFP_KERNEL, 0);
	for (int i = 0; i < 64; i++)
		__free_pages(pages[i], 0);
	__atomic_store_n(&holder->ready, true, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&holder->stop, __ATOMIC_ACQUIRE)) {
		struct page *page = alloc_pages(GFP_KERNEL, 0);

		if (page)
			__free_pages(page, 0);
		sched_yield();
	}
	return NULL;
}

static void a_busy_slot_gives_its_lists_back_when_asked(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct holder holder = {.machine = machine};
	unsigned long all = nr_free(machine, NUMA_NO_NODE), nr;
	struct page *first, *more;
	pthread_t thread;

	pthread_create(&thread, NULL, hold_and_pair, &holder);
	while (!__atomic_load_n(&holder.ready, __ATOMIC_ACQUIRE))
		sched_yield();
	nr = take_all(&first);
	/* It holds a refill at most; ask again until it has come by. */
	for (int i = 0; i < 10000 && nr + 1 < all; i++) {
		struct page *page;

		nr += take_all(&more);
		while ((page = more)) {
			more = (struct page *)page->private;
			page->private = (unsigned long)first;
			first = page;
		}
		sched_yield();
	}
	ok(nr + 1 >= all, "%lu of %lu pages", nr, all);
	__atomic_store_n(&holder.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	give_all(first);
	ok_eq(nr_free(machine, NUMA_NO_NODE), all);
	shut_down(machine);
}

static void a_thread_that_has_not_attached_is_attached_by_its_first_call(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct page *page = alloc_pages(GFP_KERNEL, 0);

	kmm_detach();
	ok(this_cpu == kmm_cpu_detached, "still attached");
	__free_pages(page, 0);
	ok(this_cpu != kmm_cpu_detached, "not attached by a free");
	kmm_detach();
	page = alloc_pages_node(0, GFP_KERNEL, 0);
	ok(page && this_cpu != kmm_cpu_detached, "not attached by an allocation");
	__free_pages(page, 0);
	shut_down(machine);
}

static void moved_slots_serve_their_new_node(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	struct kmm_cpu *cpu = cpu_get();
	struct page *page;

	__free_pages(alloc_pages(GFP_KERNEL, 0), 0);
	/* As adopting an idle slot from elsewhere does when there are no more to be made. */
	phys_layer.cpu_drain(machine, cpu);
	cpu->nid = 1;
	page = alloc_pages(GFP_KERNEL, 0);
	ok_eq(page->nid, 1);
	__free_pages(page, 0);
	ok(!in_buddy(machine, page), "its new node has no list");
	phys_layer.cpu_drain(machine, cpu);
	cpu->nid = 0;
	page = alloc_pages_node(1, GFP_KERNEL, 0);
	ok_eq(page->nid, 1);
	__free_pages(page, 0);
	page = alloc_pages(GFP_KERNEL, 0);
	ok_eq(page->nid, 0);
	__free_pages(page, 0);
	shut_down(machine);
}

/* As the child of a fork does with the slot of a thread that stayed behind. */
static void a_forgotten_slot_holds_nothing_and_is_in_no_reclaim(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct phys_cpu *pcpu = phys_cpu(cpu_get());
	struct phys_counters before, after;
	u32 held[PCP_ROWS][NR_PAGE_ORDERS];

	__free_pages(alloc_pages(GFP_KERNEL, 0), 0);
	phys_count(machine, &before);
	ok(pcp_nr_pages(this_cpu) > 0, "nothing to forget");
	for_each_pcp_stack(pcpu, row, order) held[row][order] = pcpu->stack[row][order].nr;
	pcpu->reclaiming = true;
	phys_layer.cpu_forget(machine, this_cpu);
	phys_count(machine, &after);
	ok_eq(pcp_nr_pages(this_cpu), 0);
	ok(!pcpu->reclaiming, "its next owner could not reclaim");
	ok(pcp_drain_wanted(pcpu), "its next owner takes limits on trust that may be half set");
	ok_eq(after.pcp_free, before.pcp_free);
	/* They are where they were, so that nothing is lost here. */
	for_each_pcp_stack(pcpu, row, order) pcpu->stack[row][order].nr = held[row][order];
	shut_down(machine);
}

int main(void)
{
	RUN(lists_of_large_zones_are_long_and_of_small_ones_short);
	RUN(all_slots_together_hold_a_quarter_of_a_zone_at_most);
	RUN(slots_of_one_node_hold_a_quarter_of_its_zones_at_most);
	RUN(a_pair_takes_no_lock);
	RUN(a_refill_grows_with_the_tide);
	RUN(a_shuffle_takes_few_locks);
	RUN(a_list_holds_a_tide_that_is_not_too_high);
	RUN(a_list_that_nobody_takes_from_is_emptied);
	RUN(all_lists_of_a_zone_grow_within_their_share);
	RUN(every_migratetype_has_a_list_of_each_order);
	RUN(a_full_list_drains_its_coldest_blocks);
	RUN(no_pcp_means_none);
	RUN(configured_sizes_are_taken_up_to_the_room_there_is);
	RUN(frames_of_another_node_go_home);
	RUN(a_slot_keeps_its_lists_for_the_next_thread);
	RUN(idle_slots_are_drained_when_memory_runs_out);
	RUN(a_silent_slot_keeps_its_lists_and_nothing_else_is_missed);
	RUN(a_busy_slot_gives_its_lists_back_when_asked);
	RUN(a_thread_that_has_not_attached_is_attached_by_its_first_call);
	RUN(moved_slots_serve_their_new_node);
	RUN(a_forgotten_slot_holds_nothing_and_is_in_no_reclaim);
	return done();
}

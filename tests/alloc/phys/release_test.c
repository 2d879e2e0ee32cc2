/* SPDX-License-Identifier: MIT */
/*
 * Memory back to the host: what goes and what stays, that live contents are safe and what has gone
 * reads as zeros, how much is kept, what ageing takes and when, and all of it while threads
 * allocate.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/host.h"
#include "base/check.h"
#include "phys/page_flags.h"
#include "phys/phys.h"
#include "phys/zone.h"
#include "slab/cache.h"
#include "tests/alloc/phys/machine.h"

#define MIB (1UL << 20)

static u64 resident(const struct kmm *machine)
{
	return host_resident_bytes(machine->direct_map, machine->nr_frames << PAGE_SHIFT);
}

static unsigned long nr_released(struct kmm *machine)
{
	unsigned long nr = 0;

	for_each_zone(machine->phys, node, zone)
		nr += zone->buddy.nr_released;
	return nr;
}

static void fill(struct page *page, unsigned int order, unsigned long value)
{
	unsigned long *words = page_address(page);

	for (size_t i = 0; i < (PAGE_SIZE << order) / sizeof(*words); i += 64)
		words[i] = value;
}

static bool is_filled(struct page *page, unsigned int order, unsigned long value)
{
	const unsigned long *words = page_address(page);

	for (size_t i = 0; i < (PAGE_SIZE << order) / sizeof(*words); i += 64)
		if (words[i] != value)
			return false;
	return true;
}

/* Blocks of one order, filled with their numbers. */
struct blocks {
	struct page *pages[8192];
	unsigned int nr, order;
};

static struct blocks *have(gfp_t gfp, unsigned int order, unsigned int nr)
{
	struct blocks *blocks = calloc(1, sizeof(*blocks));

	blocks->order = order;
	while (blocks->nr < nr && (blocks->pages[blocks->nr] = alloc_pages(gfp, order))) {
		fill(blocks->pages[blocks->nr], order, blocks->nr + 1);
		blocks->nr++;
	}
	return blocks;
}

/* Free those whose number leaves `rest` when divided by `every`. */
static void drop(struct blocks *blocks, unsigned int every, unsigned int rest)
{
	for (unsigned int i = 0; i < blocks->nr; i++)
		if (i % every == rest && blocks->pages[i]) {
			__free_pages(blocks->pages[i], blocks->order);
			blocks->pages[i] = NULL;
		}
}

static void check_live(const struct blocks *blocks)
{
	for (unsigned int i = 0; i < blocks->nr; i++)
		if (blocks->pages[i] && !is_filled(blocks->pages[i], blocks->order, i + 1)) {
			ok(false, "block %u of order %u has lost its contents", i, blocks->order);
			return;
		}
}

static void drop_all(struct blocks *blocks)
{
	check_live(blocks);
	drop(blocks, 1, 0);
	free(blocks);
}

static void a_new_machine_has_nothing_to_give(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct phys_counters counters;

	phys_count(machine, &counters);
	ok_eq(counters.release, 0);
	ok(nr_released(machine) > machine->nr_frames / 2, "%lu frames are without memory",
	   nr_released(machine));
	ok(resident(machine) <= MIB, "%llu bytes have memory",
	   (unsigned long long)resident(machine));
	shut_down(machine);
}

/* Half of single frames, of 64 KiB and of 2 MiB blocks is freed, mixed with the other half. */
static void what_is_free_goes_and_what_is_used_stays(void)
{
	static const unsigned int orders[] = {9, 4, 0}, numbers[] = {20, 640, 8000};
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256 * MIB});
	struct blocks *blocks[3];
	u64 before, after;
	unsigned long given;

	for (int i = 0; i < 3; i++)
		blocks[i] = have(GFP_KERNEL, orders[i], numbers[i]);
	before = resident(machine);
	for (int i = 0; i < 3; i++)
		drop(blocks[i], 2, 1);
	given = kmm_trim(machine, 0);
	after = resident(machine);
	ok(given > 50 * MIB, "%lu bytes given back", given);
	/* Frames that lay on a list unused count as given, too. */
	ok(before - after <= given && before - after + 4 * MIB >= given,
	   "%lu said to be given back, %llu gone", given, (unsigned long long)(before - after));
	phys_validate(machine);
	for (int i = 0; i < 3; i++)
		drop_all(blocks[i]);
	given = kmm_trim(machine, 0);
	ok(given > 50 * MIB, "%lu bytes of the other half", given);
	ok(resident(machine) < MIB, "%llu bytes are left", (unsigned long long)resident(machine));
	shut_down(machine);
}

static void what_has_gone_does_not_go_again(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 128 * MIB});
	struct phys_counters counters;
	unsigned long given;

	drop_all(have(GFP_KERNEL, 0, 4000));
	given = kmm_trim(machine, 1);
	ok(given > 15 * MIB, "%lu bytes", given);
	phys_count(machine, &counters);
	ok_eq(counters.release << PAGE_SHIFT, given);
	ok_eq(kmm_trim(machine, 1), 0);
	ok_eq(kmm_trim(machine, PAGE_SIZE), 0);
	drop_all(have(GFP_KERNEL, 0, 1000));
	given = kmm_trim(machine, 1);
	ok(given > 3 * MIB && given < 9 * MIB, "%lu bytes for 1000 frames", given);
	phys_count(machine, &counters);
	ok(counters.reuse >= 1000, "%llu frames taken again", (unsigned long long)counters.reuse);
	shut_down(machine);
}

static void as_much_is_kept_as_is_asked(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256 * MIB});
	u64 left;

	drop_all(have(GFP_KERNEL, 9, 60));
	kmm_trim(machine, 80 * MIB);
	left = resident(machine);
	ok(left > 77 * MIB && left <= 82 * MIB, "%llu bytes are left", (unsigned long long)left);
	kmm_trim(machine, 20 * MIB);
	left = resident(machine);
	ok(left > 17 * MIB && left <= 22 * MIB, "%llu bytes are left", (unsigned long long)left);
	ok_eq(kmm_trim(machine, 200 * MIB), 0);
	shut_down(machine);
}

static void what_comes_back_is_zero(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 128 * MIB});
	struct blocks *blocks;

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order += 3) {
		drop_all(have(GFP_KERNEL, order, 8000U >> order));
		kmm_trim(machine, 0);
		blocks = have(0, order, 0);
		for (unsigned int i = 0; i < 6000U >> order; i++) {
			struct page *page = alloc_pages(GFP_KERNEL, order);

			blocks->pages[blocks->nr++] = page;
			ok(page && is_filled(page, order, 0), "order %u, block %u", order, i);
		}
		drop(blocks, 1, 0);
		free(blocks);
	}
	shut_down(machine);
}

/* A run of frames without memory is zero as it is: nothing is written to it. */
static void a_zeroed_run_without_memory_stays_without(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256 * MIB});
	u64 before = resident(machine), after;
	struct page *run = alloc_contig_pages(20000, GFP_KERNEL | __GFP_ZERO, NUMA_NO_NODE);

	after = resident(machine);
	/* The last pageblock, which is taken in part, is written to. */
	ok(run && after <= before + 2 * MIB, "%llu bytes, %llu before", (unsigned long long)after,
	   (unsigned long long)before);
	memset(page_address(run), 0x77, 20000 * PAGE_SIZE);
	phys_validate(machine);
	free_contig_range(run, 20000);
	run = alloc_contig_pages(20000, GFP_KERNEL | __GFP_ZERO, NUMA_NO_NODE);
	for (unsigned int i = 0; i < 20000; i++)
		if (!is_filled(run + i, 0, 0)) {
			ok(false, "frame %u is not zero", i);
			break;
		}
	free_contig_range(run, 20000);
	/* Half of it has memory, at random places. */
	kmm_trim(machine, 0);
	drop_all(have(GFP_KERNEL, 9, 30));
	run = alloc_contig_pages(20000, GFP_KERNEL | __GFP_ZERO, NUMA_NO_NODE);
	for (unsigned int i = 0; run && i < 20000; i++)
		if (!is_filled(run + i, 0, 0)) {
			ok(false, "frame %u of the second is not zero", i);
			break;
		}
	free_contig_range(run, 20000);
	shut_down(machine);
}

static void memfd_zones_give_back_too(void)
{
	static const struct kmm_config configs[] = {
		{.node_bytes = 128 * MIB, .shared_bytes = 64 * MIB},
		{.node_bytes = 1024 * MIB, .layout = ZONES_I386},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(configs); i++) {
		struct kmm *machine = boot(configs[i]);
		char *area = vmalloc(10 * MIB), *other = vmalloc(10 * MIB);
		unsigned long given;

		memset(area, 0x11, 10 * MIB);
		memset(other, 0x22, 10 * MIB);
		vfree(other);
		given = kmm_trim(machine, 0);
		ok(given >= 10 * MIB, "%lu bytes given back", given);
		for (size_t at = 0; at < 10 * MIB; at += 1000)
			if (area[at] != 0x11) {
				ok(false, "byte %zu of a live area is %d", at, area[at]);
				break;
			}
		other = vmalloc(10 * MIB);
		ok(other && !other[0] && !other[5 * MIB] && !other[10 * MIB - 1], "not zero");
		vfree(other);
		vfree(area);
		shut_down(machine);
	}
}

/* A child's free frames may be its parent's used ones. */
static void a_forked_child_leaves_shared_memory_alone(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.node_bytes = 128 * MIB, .shared_bytes = 64 * MIB});
	char *area = vmalloc(4 * MIB);
	pid_t child;
	int status;

	memset(area, 0x33, 4 * MIB);
	child = fork();
	if (!child) {
		/* To the child it is free now. */
		vfree(area);
		kmm_trim(machine, 0);
		_exit(0);
	}
	waitpid(child, &status, 0);
	ok_eq(status, 0);
	for (size_t at = 0; at < 4 * MIB; at += 512)
		if (area[at] != 0x33) {
			ok(false, "byte %zu is %d", at, area[at]);
			break;
		}
	vfree(area);
	shut_down(machine);
}

static void memory_ages_over_two_calls(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256 * MIB});
	struct blocks *blocks = have(GFP_KERNEL, 9, 40);
	unsigned long given;

	kmm_age(machine);
	kmm_age(machine);
	drop(blocks, 2, 0);
	kmm_drain(machine);
	given = kmm_age(machine);
	ok(given < 4 * MIB, "%lu bytes at the first look", given);
	given = kmm_age(machine);
	ok(given >= 40 * MIB && given <= 44 * MIB, "%lu bytes at the second", given);
	check_live(blocks);
	ok_eq(kmm_age(machine), 0);
	drop_all(blocks);
	shut_down(machine);
}

/* What is used again between two calls starts anew. */
static void memory_in_use_does_not_age(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 256 * MIB, .no_pcp = true});
	unsigned long given = 0;

	for (int i = 0; i < 20; i++) {
		drop_all(have(GFP_KERNEL, 0, 5100));
		given += kmm_age(machine);
	}
	/* What the first rounds had by chance. */
	ok(given < 8 * MIB, "%lu bytes of 400 MB that were in use", given);
	given = kmm_age(machine);
	ok(given > 18 * MIB, "%lu bytes when it is not any more", given);
	shut_down(machine);
}

/* As many pageblocks in the first zone as one call looks at, all of them in use, none touched. */
static void a_large_zone_does_not_keep_the_next_from_ageing(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES,
						       .layout = ZONES_PLAIN,
						       .node_bytes = 32UL << 30,
						       .no_watermarks = true});
	static struct page *pages[8192];
	struct blocks *blocks = calloc(1, sizeof(*blocks));
	unsigned int nr = 0;
	unsigned long given = 0;

	while ((pages[nr] = alloc_pages_node(0, GFP_NOWAIT | __GFP_THISNODE, MAX_PAGE_ORDER)))
		nr++;
	ok(nr > 8000, "%u blocks", nr);
	for (blocks->order = 9; blocks->nr < 10; blocks->nr++) {
		blocks->pages[blocks->nr] = alloc_pages_node(1, GFP_KERNEL, 9);
		fill(blocks->pages[blocks->nr], 9, blocks->nr + 1);
	}
	drop_all(blocks);
	kmm_drain(machine);
	for (int i = 0; i < 6; i++)
		given += kmm_age(machine);
	ok(given >= 20 * MIB, "%lu bytes of 20 MiB", given);
	while (nr)
		__free_pages(pages[--nr], MAX_PAGE_ORDER);
	shut_down(machine);
}

static void *leave_pages(void *machine)
{
	kmm_attach(machine, 1);
	drop_all(have(GFP_KERNEL, 0, 1000));
	return NULL;
}

static void idle_slots_age(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 128 * MIB});
	unsigned long given = 0;
	pthread_t thread;

	pthread_create(&thread, NULL, leave_pages, machine);
	pthread_join(thread, NULL);
	for (int i = 0; i < 5; i++)
		given += kmm_age(machine);
	ok(given >= 3 * MIB, "%lu bytes of a thread that ended", given);
	shut_down(machine);
}

static pthread_barrier_t turn;

static void *hold_and_wake(void *machine)
{
	kmm_attach(machine, 1);
	drop_all(have(GFP_KERNEL, 0, 1000));
	pthread_barrier_wait(&turn); /* it sleeps, and is asked */
	pthread_barrier_wait(&turn);
	drop_all(have(GFP_KERNEL, 0, 1));
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
	return NULL;
}

static void running_threads_are_asked(void)
{
	for (int trim = 0; trim < 2; trim++) {
		struct kmm *machine = boot((struct kmm_config){.node_bytes = 1024 * MIB});
		struct free_area_counts counts;
		pthread_t thread;

		pthread_barrier_init(&turn, NULL, 2);
		pthread_create(&thread, NULL, hold_and_wake, machine);
		pthread_barrier_wait(&turn);
		kmm_drain(machine);
		count_free_areas(machine, NUMA_NO_NODE, &counts);
		ok(counts.nr_pcp_pages > 600, "%llu pages on its lists",
		   (unsigned long long)counts.nr_pcp_pages);
		if (trim)
			kmm_trim(machine, 0);
		for (int i = 0; !trim && i < 2; i++)
			kmm_age(machine);
		pthread_barrier_wait(&turn);
		pthread_barrier_wait(&turn);
		kmm_drain(machine);
		count_free_areas(machine, NUMA_NO_NODE, &counts);
		ok(counts.nr_pcp_pages <= 256, "%llu pages still",
		   (unsigned long long)counts.nr_pcp_pages);
		ok(kmm_trim(machine, 0) >= 2 * MIB, "nothing to give");
		pthread_barrier_wait(&turn);
		pthread_join(thread, NULL);
		pthread_barrier_destroy(&turn);
		shut_down(machine);
	}
}

static void depots_of_objects_age(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 128 * MIB});
	static void *objects[20000];
	unsigned long given = 0;

	for (int i = 0; i < 20000; i++)
		objects[i] = memset(kmalloc(512, GFP_KERNEL), 1, 512);
	for (int i = 0; i < 20000; i++)
		kfree(objects[i]);
	for (int i = 0; i < 5; i++)
		given += kmm_age(machine);
	ok(given >= 7 * MIB, "%lu of 10 MB of objects", given);
	shut_down(machine);
}

/* After memory has gone and come back, each frame can still be had, once. */
static void all_of_memory_can_be_had_after_a_trim(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.node_bytes = 64 * MIB, .no_watermarks = true});
	unsigned long before = nr_free(machine, NUMA_NO_NODE), nr = 0;

	for (int round = 0; round < 3; round++) {
		struct page *page, *list = NULL;

		for (nr = 0; (page = alloc_pages(GFP_HIGHUSER, 0)); nr++) {
			fill(page, 0, nr);
			page->private = (unsigned long)list;
			list = page;
			if (nr % 4096 == 0)
				kmm_trim(machine, 0);
		}
		ok_eq(nr, before);
		ok_eq(kmm_trim(machine, 0), 0);
		for (; list; list = page) {
			page = (struct page *)list->private;
			nr--;
			ok(is_filled(list, 0, nr), "page %lu has lost its contents", nr);
			__free_pages(list, 0);
		}
		kmm_trim(machine, 0);
		ok(resident(machine) < MIB, "%llu bytes are left",
		   (unsigned long long)resident(machine));
	}
	shut_down(machine);
}

/* With huge pages the first touch brings all of 2 MiB back. */
static void huge_pages_come_back_whole(void)
{
	struct kmm_config config = {.synthetic = ONE_NODE, .node_bytes = 64 * MIB};
	struct kmm *machine;
	unsigned long before;
	struct page *page;

	if (kmm_boot(&config, &machine))
		exit(99);
	before = nr_released(machine);
	page = alloc_pages(GFP_KERNEL, 8);
	ok((before - nr_released(machine)) % PAGEBLOCK_NR_PAGES == 0, "%lu frames have memory",
	   before - nr_released(machine));
	__free_pages(page, 8);
	phys_validate(machine);
	kmm_trim(machine, 0);
	phys_validate(machine);
	ok(nr_released(machine) >= before, "%lu frames are without memory, %lu before",
	   nr_released(machine), before);
	shut_down(machine);
}

/*
 * Threads that allocate, fill, check and free, while others trim and age.
 */

#define NR_WORKERS 3

static struct kmm *shared;
static bool stop, broken;

static void *work(void *arg)
{
	unsigned int seed = (unsigned int)(unsigned long)arg + 1;
	struct {
		struct page *page;
		unsigned int order;
		unsigned long value;
	} live[64] = {{NULL, 0, 0}};

	kmm_attach(shared, -1);
	for (int i = 0; i < (TAP_SANITIZED ? 4000 : 20000); i++) {
		unsigned int at = (unsigned int)rand_r(&seed) % ARRAY_SIZE(live);

		if (live[at].page) {
			if (!is_filled(live[at].page, live[at].order, live[at].value))
				WRITE_ONCE(broken, true);
			__free_pages(live[at].page, live[at].order);
		}
		live[at].order = (unsigned int)rand_r(&seed) % 100 < 95
					 ? (unsigned int)rand_r(&seed) % 5
					 : 9;
		live[at].value = (unsigned long)rand_r(&seed) << 8 | (unsigned long)arg;
		live[at].page = alloc_pages(GFP_KERNEL, live[at].order);
		if (live[at].page)
			fill(live[at].page, live[at].order, live[at].value);
	}
	for (unsigned int at = 0; at < ARRAY_SIZE(live); at++)
		if (live[at].page) {
			if (!is_filled(live[at].page, live[at].order, live[at].value))
				WRITE_ONCE(broken, true);
			__free_pages(live[at].page, live[at].order);
		}
	return NULL;
}

static void *give_back(void *arg)
{
	while (!READ_ONCE(stop)) {
		kmm_age(shared);
		if (arg)
			kmm_trim(shared, 0);
	}
	return NULL;
}

static void threads_allocate_while_memory_goes(void)
{
	pthread_t workers[NR_WORKERS], givers[2];
	struct phys_counters counters;

	shared = boot((struct kmm_config){.node_bytes = 96 * MIB, .no_watermarks = true});
	stop = broken = false;
	for (unsigned long i = 0; i < NR_WORKERS; i++)
		pthread_create(&workers[i], NULL, work, (void *)i);
	for (unsigned long i = 0; i < 2; i++)
		pthread_create(&givers[i], NULL, give_back, (void *)i);
	for (int i = 0; i < NR_WORKERS; i++)
		pthread_join(workers[i], NULL);
	WRITE_ONCE(stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(givers[i], NULL);
	ok(!broken, "a live block has lost its contents");
	phys_count(shared, &counters);
	ok(counters.release > 1000, "%llu frames were given back",
	   (unsigned long long)counters.release);
	kmm_drain(shared);
	shut_down(shared);
}

int main(void)
{
	RUN(a_new_machine_has_nothing_to_give);
	RUN(what_is_free_goes_and_what_is_used_stays);
	RUN(what_has_gone_does_not_go_again);
	RUN(as_much_is_kept_as_is_asked);
	RUN(what_comes_back_is_zero);
	RUN(a_zeroed_run_without_memory_stays_without);
	RUN(memfd_zones_give_back_too);
	RUN(a_forked_child_leaves_shared_memory_alone);
	RUN(memory_ages_over_two_calls);
	RUN(memory_in_use_does_not_age);
	RUN(a_large_zone_does_not_keep_the_next_from_ageing);
	RUN(idle_slots_age);
	RUN(running_threads_are_asked);
	RUN(depots_of_objects_age);
	RUN(all_of_memory_can_be_had_after_a_trim);
	RUN(huge_pages_come_back_whole);
	RUN(threads_allocate_while_memory_goes);
	return done();
}

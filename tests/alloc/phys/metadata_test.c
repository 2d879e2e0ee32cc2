/* SPDX-License-Identifier: MIT */
/* What the page allocator's own data cost: at most 1.7 % of memory, and nothing left uncounted. */
#include "arch/host.h"
#include "phys/pageblock.h"
#include "tests/alloc/phys/machine.h"

#include <pthread.h>

#define GIB	   (1UL << 30)
#define MAX_SHARE  0.017
#define NR_WORKERS 4

static pthread_barrier_t all_attached; /* so that each has a slot of its own */

static void *work(void *arg)
{
	struct kmm *machine = arg;
	struct page *pages[512];
	unsigned int nr = 0;

	kmm_attach(machine, -1);
	pthread_barrier_wait(&all_attached);
	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++)
		for (int i = 0; i < 8; i++)
			if ((pages[nr] = alloc_pages(GFP_KERNEL, order)))
				pages[nr++]->private = order;
	for (int i = 0; i < 4096; i++) {
		struct page *page = alloc_pages(i & 1 ? GFP_HIGHUSER_MOVABLE : GFP_KERNEL, 0);

		if (page)
			__free_pages(page, 0);
	}
	while (nr--)
		__free_pages(pages[nr], (unsigned int)pages[nr]->private);
	return NULL;
}

/* Have all of memory once, as compound blocks: their tails are in every struct page. */
static void touch_every_struct(void)
{
	struct list_head blocks = LIST_HEAD_INIT(blocks);
	struct page *page, *next;

	for (unsigned int order = MAX_PAGE_ORDER + 1; order-- > 0;)
		while ((page = alloc_pages(GFP_HIGHUSER | __GFP_COMP | __GFP_MEMALLOC, order)))
			list_add(&page->lru, &blocks);
	list_for_each_entry_safe(page, next, &blocks, lru)
		__free_pages(page, page->order);
}

static void the_share_is_below_the_bar(u64 memory_bytes)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = memory_bytes});
	struct phys_metadata fresh, used, all;
	pthread_t threads[NR_WORKERS];

	phys_metadata(machine, &fresh);
	pthread_barrier_init(&all_attached, NULL, NR_WORKERS);
	for (int i = 0; i < NR_WORKERS; i++)
		pthread_create(&threads[i], NULL, work, machine);
	for (int i = 0; i < NR_WORKERS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&all_attached);
	phys_metadata(machine, &used);
	ok_eq(used.memory_bytes, memory_bytes);
	ok(used.mem_map_bytes > fresh.mem_map_bytes, "%llu bytes of mem_map, %llu before",
	   (unsigned long long)used.mem_map_bytes, (unsigned long long)fresh.mem_map_bytes);
	ok(used.mem_map_bytes <= memory_bytes / PAGE_SIZE * sizeof(struct page) / 8,
	   "%llu bytes of mem_map for the few frames that were used",
	   (unsigned long long)used.mem_map_bytes);
	ok(used.pageblocks_bytes <= memory_bytes / HPAGE_SIZE * sizeof(struct pageblock),
	   "%llu bytes of pageblocks", (unsigned long long)used.pageblocks_bytes);
	ok(used.percpu_bytes > fresh.percpu_bytes, "%llu bytes of lists, %llu before",
	   (unsigned long long)used.percpu_bytes, (unsigned long long)fresh.percpu_bytes);
	touch_every_struct();
	phys_metadata(machine, &all);
	/* Of the frames that boot keeps there is nothing to say. */
	ok(all.mem_map_bytes > memory_bytes / PAGE_SIZE * sizeof(struct page) / 64 * 62,
	   "%llu bytes of mem_map in all", (unsigned long long)all.mem_map_bytes);
	ok(all.total_bytes <= all.most_bytes && all.total_bytes > all.most_bytes / 64 * 62,
	   "%llu bytes, at most %llu", (unsigned long long)all.total_bytes,
	   (unsigned long long)all.most_bytes);
	ok((double)all.most_bytes <= MAX_SHARE * (double)memory_bytes, "%.4f %% at most",
	   100 * (double)all.most_bytes / (double)memory_bytes);
	ok((double)all.total_bytes <= MAX_SHARE * (double)memory_bytes, "%.4f %%",
	   100 * (double)all.total_bytes / (double)memory_bytes);
	ok_eq(used.total_bytes,
	      used.mem_map_bytes + used.pageblocks_bytes + used.zones_bytes + used.percpu_bytes);
	printf("# %llu MiB: %.4f %% after boot, %.4f %% when all has been used, %llu bytes of "
	       "lists\n",
	       (unsigned long long)memory_bytes >> 20,
	       100 * (double)fresh.total_bytes / (double)memory_bytes,
	       100 * (double)all.total_bytes / (double)memory_bytes,
	       (unsigned long long)all.percpu_bytes);
	shut_down(machine);
}

static void all_of_it_is_at_most_1_7_percent_of_1_gib(void)
{
	the_share_is_below_the_bar(GIB);
}

static void all_of_it_is_at_most_1_7_percent_of_4_gib(void)
{
	if (host_available_bytes() < GIB)
		skip("this host has too little memory to map 4 GiB");
	else
		the_share_is_below_the_bar(4 * GIB);
}

/* What the process grows by at boot is not much more than what is said to be there. */
static void the_process_holds_no_more_than_is_counted(void)
{
	u64 before = host_rss_bytes(), after;
	struct kmm *machine = boot((struct kmm_config){.node_bytes = GIB});
	struct phys_metadata metadata;

	after = host_rss_bytes();
	phys_metadata(machine, &metadata);
	if (TAP_SANITIZED)
		skip("the sanitizer's own memory is in the process's");
	else
		/* Slabs and tables of boot, and the allocator's code when first run. */
		ok(after - before < metadata.total_bytes + (1UL << 20),
		   "%llu bytes more, %llu counted", (unsigned long long)(after - before),
		   (unsigned long long)metadata.total_bytes);
	shut_down(machine);
}

int main(void)
{
	RUN(all_of_it_is_at_most_1_7_percent_of_1_gib);
	RUN(all_of_it_is_at_most_1_7_percent_of_4_gib);
	RUN(the_process_holds_no_more_than_is_counted);
	return done();
}

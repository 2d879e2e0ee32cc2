/* SPDX-License-Identifier: MIT */
/* References: who drops the last frees the block, whole and once, from whichever call and thread. */
#include "phys/page_ref.h"

#include <pthread.h>

#include "phys/page_flags.h"
#include "tests/alloc/phys/machine.h"
#include "tests/tap/dies.h"

static const gfp_t kinds[] = {GFP_KERNEL, GFP_KERNEL | __GFP_COMP};

static void a_new_block_has_one_reference(void)
{
	struct kmm *machine = boot((struct kmm_config){0});

	for (unsigned int k = 0; k < 2; k++)
		for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
			struct page *page = alloc_pages(kinds[k], order);

			ok_eq(page_count(page), 1);
			ok_eq(page_ref_count(page), 1);
			get_page(page);
			ok_eq(page_count(page), 2);
			if (k && order)
				ok_eq(page_count(page + 1), 2);
			put_page(page);
			ok_eq(page_count(page), 1);
			__free_pages(page, order);
			ok_eq(page_count(page), 0);
		}
	shut_down(machine);
}

static void the_last_put_frees_with_the_blocks_own_order(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	unsigned long before = nr_free(machine, NUMA_NO_NODE);

	for (int nid = 0; nid < 2; nid++)
		for (unsigned int i = 0; i < 2 * NR_PAGE_ORDERS; i++) {
			unsigned int order = i / 2;
			struct page *page = alloc_pages_node(nid, kinds[i % 2], order);
			unsigned long without = before - (1UL << order);

			get_page(page);
			get_page(page);
			put_page(page);
			put_page(page);
			ok_eq(nr_free(machine, NUMA_NO_NODE), without);
			put_page(page);
			ok_eq(nr_free(machine, NUMA_NO_NODE), before);
			ok_eq(page_count(page), 0);
			phys_validate(machine);
		}
	shut_down(machine);
}

static void free_leaves_a_block_that_others_refer_to(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	unsigned long before = nr_free(machine, NUMA_NO_NODE);

	for (int nid = 0; nid < 2; nid++)
		for (unsigned int i = 0; i < 2 * NR_PAGE_ORDERS; i++) {
			unsigned int order = i / 2;
			struct page *page = alloc_pages_node(nid, kinds[i % 2], order);
			unsigned long without = before - (1UL << order);
			char *bytes = page_address(page);

			get_page(page);
			bytes[(PAGE_SIZE << order) - 1] = 'x';
			if (i % 3)
				__free_pages(page, order);
			else
				free_pages((unsigned long)bytes, order);
			ok_eq(nr_free(machine, NUMA_NO_NODE), without);
			ok_eq(page_count(page), 1);
			ok(bytes[(PAGE_SIZE << order) - 1] == 'x', "contents");
			ok(compound_order(page) == (i % 2 ? order : 0), "order %u", order);
			put_page(page);
			ok_eq(nr_free(machine, NUMA_NO_NODE), before);
			/* The other way round. */
			page = alloc_pages_node(nid, kinds[i % 2], order);
			get_page(page);
			put_page(page);
			ok_eq(nr_free(machine, NUMA_NO_NODE), without);
			__free_pages(page, order);
			ok_eq(nr_free(machine, NUMA_NO_NODE), before);
			phys_validate(machine);
		}
	shut_down(machine);
}

static void a_tails_references_are_its_heads(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	unsigned long before = nr_free(machine, NUMA_NO_NODE);
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, 3);

	get_page(page + 7);
	ok_eq(page_count(page), 2);
	ok_eq(page_count(page + 1), 2);
	ok_eq(page_ref_count(page + 1), 0);
	ok(get_page_unless_zero(page + 2), "a reference from a tail");
	put_page(page + 4);
	put_page(page);
	ok_eq(nr_free(machine, NUMA_NO_NODE), before - 8);
	put_page(page + 5);
	ok_eq(nr_free(machine, NUMA_NO_NODE), before);
	shut_down(machine);
}

static void counts_do_as_their_names_say(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	const u32 kind = page->kind;

	page_ref_add(page, 5);
	ok_eq(page_count(page), 6);
	page_ref_sub(page, 2);
	ok_eq(page_count(page), 4);
	page_ref_inc(page);
	page_ref_dec(page);
	ok_eq(page_ref_inc_return(page), 5);
	ok_eq(page_ref_dec_return(page), 4);
	ok_eq(page_ref_add_return(page, 10), 14);
	ok_eq(page_ref_sub_return(page, 10), 4);
	ok(!page_ref_sub_and_test(page, 3), "one is left");
	ok(page_ref_dec_and_test(page), "none is left");
	ok(!get_page_unless_zero(page) && page_count(page) == 0, "a reference from nothing");
	init_page_count(page);
	ok(get_page_unless_zero(page) && page_count(page) == 2, "a reference from one");
	ok(!page_ref_add_unless(page, 3, 2) && page_count(page) == 2, "unless 2");
	ok(page_ref_add_unless(page, 3, 1) && page_count(page) == 5, "unless 1");
	ok(!page_ref_freeze(page, 4) && page_count(page) == 5, "4 are not all");
	ok(page_ref_freeze(page, 5) && page_count(page) == 0, "5 are all");
	ok(!get_page_unless_zero(page), "a reference to a frozen page");
	page_ref_unfreeze(page, 5);
	ok_eq(page_count(page), 5);
	ok(!put_page_testzero(page), "the last of five");
	set_page_count(page, 1);
	ok(page->kind == kind, "counting changed %#x to %#x", kind, page->kind);
	__free_pages(page, 0);
	shut_down(machine);
}

static void references_to_nothing_stop_the_program(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	struct page *comp = alloc_pages(GFP_KERNEL | __GFP_COMP, 4);
	struct page *slab;
	void *object = kmalloc(64, GFP_KERNEL);

	slab = virt_to_page(object);
	ok_dies("is free", {
		__free_pages(page, 0);
		get_page(page);
	});
	ok_dies("is free", {
		__free_pages(page, 0);
		put_page(page);
	});
	ok_dies("is free", {
		__free_pages(comp, 4);
		put_page(comp);
	});
	ok_dies("double free", {
		put_page(page);
		__free_pages(page, 0);
	});
	ok_dies("allocated with order 4", {
		get_page(comp);
		__free_pages(comp, 3);
	});
	ok_dies("begins no block", {
		get_page(comp);
		__free_pages(comp + 1, 4);
	});
	ok_dies("in use", put_page(slab));
	kfree(object);
	__free_pages(page, 0);
	__free_pages(comp, 4);
	shut_down(machine);
}

static void the_first_frame_of_a_split_block_keeps_its_references(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	unsigned long before = nr_free(machine, NUMA_NO_NODE);
	struct page *page = alloc_pages(GFP_KERNEL, 2);

	get_page(page);
	split_page(page, 2);
	ok_eq(page_count(page), 2);
	for (unsigned int i = 0; i < 4; i++)
		__free_pages(page + i, 0);
	ok_eq(nr_free(machine, NUMA_NO_NODE), before - 1);
	put_page(page);
	ok_eq(nr_free(machine, NUMA_NO_NODE), before);
	shut_down(machine);
}

/*
 * Two threads have a reference each to the same blocks, and drop them at the same time, one by
 * __free_pages: each block comes back once. What they wrote before is seen by the next owner.
 */
#define NR_BLOCKS 64

static struct kmm *shared_machine;
static struct page *blocks[NR_BLOCKS];
static unsigned int orders[NR_BLOCKS];
static pthread_barrier_t barrier;

static void *drop_at_once(void *arg)
{
	unsigned long id = (unsigned long)arg, rounds = tap_ops(300);

	kmm_attach(shared_machine, (int)id);
	for (unsigned long round = 0; round < rounds; round++) {
		if (id == 0)
			for (unsigned int i = 0; i < NR_BLOCKS; i++) {
				orders[i] = i % 5 ? 0 : i % 4;
				blocks[i] = alloc_pages(kinds[i % 2], orders[i]);
				blocks[i]->private = 7;
				get_page(blocks[i]);
			}
		pthread_barrier_wait(&barrier);
		for (unsigned int i = 0; i < NR_BLOCKS; i++) {
			if (id == 1)
				blocks[i]->private += 1;
			get_page(blocks[i]);
			put_page(blocks[i]);
			if (id == round % 2)
				__free_pages(blocks[i], orders[i]);
			else
				put_page(blocks[i]);
		}
		pthread_barrier_wait(&barrier);
	}
	kmm_detach();
	return NULL;
}

static void two_threads(void *(*run)(void *))
{
	pthread_t threads[2];
	unsigned long before;

	shared_machine = boot((struct kmm_config){0});
	before = nr_free(shared_machine, NUMA_NO_NODE);
	pthread_barrier_init(&barrier, NULL, 2);
	for (unsigned long i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, run, (void *)i);
	for (unsigned long i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
	ok_eq(nr_free(shared_machine, NUMA_NO_NODE), before);
	shut_down(shared_machine);
}

static void of_two_drops_at_once_one_frees(void)
{
	two_threads(drop_at_once);
}

/* One thread publishes frames and drops them by put_page alone; the other finds them, and takes a
 * reference or comes too late. Heads, or the last frame of compound blocks. */
static struct page *published;
static unsigned int published_order;
static bool stop;

static void *publish_or_look(void *arg)
{
	unsigned long id = (unsigned long)arg, rounds = tap_ops(20000), nr_found = 0;

	kmm_attach(shared_machine, (int)id);
	pthread_barrier_wait(&barrier);
	if (id == 0) {
		for (unsigned long round = 0; round < rounds; round++) {
			struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, published_order);

			page += (1U << published_order) - 1;
			__atomic_store_n(&published, page, __ATOMIC_RELEASE);
			if (round % 32 == 0)
				sched_yield();
			put_page(page);
		}
		__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	} else {
		while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
			struct page *page = __atomic_load_n(&published, __ATOMIC_ACQUIRE);

			if (!page || !get_page_unless_zero(page))
				continue;
			nr_found++;
			ok(page_count(page) >= 1 && READ_ONCE(page->type) != PG_TYPE_FREE,
			   "a free frame");
			put_page(page);
		}
		printf("# %lu references taken\n", nr_found);
	}
	kmm_detach();
	return NULL;
}

static void a_reference_is_taken_from_a_live_frame_only(void)
{
	for (published_order = 0; published_order <= 2; published_order += 2) {
		published = NULL;
		stop = false;
		two_threads(publish_or_look);
	}
}

int main(void)
{
	RUN(a_new_block_has_one_reference);
	RUN(the_last_put_frees_with_the_blocks_own_order);
	RUN(free_leaves_a_block_that_others_refer_to);
	RUN(a_tails_references_are_its_heads);
	RUN(counts_do_as_their_names_say);
	RUN(references_to_nothing_stop_the_program);
	RUN(the_first_frame_of_a_split_block_keeps_its_references);
	RUN(of_two_drops_at_once_one_frees);
	RUN(a_reference_is_taken_from_a_live_frame_only);
	return done();
}

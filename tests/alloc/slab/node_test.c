/* SPDX-License-Identifier: MIT */
/* Depot and lists of one node, with batches moved by hand. */
#include "machine.h"

static struct kmm *machine;

static void fill(struct kmem_cache *cache, void **objects, unsigned int nr)
{
	for (unsigned int have = 0; have < nr;) {
		unsigned int got = node_take(cache, 0, objects + have, nr - have, false);

		if (!got)
			got = node_add_slab(cache, slab_page_new(cache, GFP_KERNEL, 0),
					    objects + have, nr - have);
		have += got;
	}
}

static void the_depot_gives_the_latest_batch_first(void)
{
	struct kmem_cache *cache = kmem_cache_create("depot", 64, 0, 0, NULL);
	struct cache_node *node = cache->nodes[0];
	void *objects[300], *again[100];

	fill(cache, objects, 300);
	for (int i = 0; i < 3; i++)
		node_put(cache, 0, objects + 100 * i, 100);
	ok_eq(node->depot_nr, 300);
	slab_validate(machine);
	ok_eq(node_take(cache, 0, again, 100, false), 100);
	ok(!memcmp(again, objects + 200, sizeof(again)), "not the last batch");
	node_put(cache, 0, again, 100);
	node_drain(cache, 0);
	ok_eq(node->depot_nr, 0);
	ok_eq(node->nr_slabs, 0);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void slabs_are_taken_from_fullest_first(void)
{
	struct kmem_cache *cache = kmem_cache_create("fullest", 256, 0, 0, NULL);
	struct cache_node *node = cache->nodes[0];
	struct page *nearly;
	void *objects[48], *one;

	/* Three slabs of 16: one left with 15 objects in use, one with 8, one with 1. */
	fill(cache, objects, 48);
	ok_eq(node->nr_slabs, 3);
	nearly = machine->mem_map[((char *)objects[0] - machine->direct_map) >> PAGE_SHIFT].head;
	cache->depot_max = 0;
	node_put(cache, 0, objects + 16, 8);
	node_put(cache, 0, objects + 32, 15);
	node_put(cache, 0, objects, 1);
	slab_validate(machine);
	ok_eq(node_take(cache, 0, &one, 1, false), 1);
	ok(one == objects[0], "taken from another slab than the fullest");
	ok_eq(nearly->inuse, 16);
	objects[0] = one;
	node_put(cache, 0, objects, 16);
	node_put(cache, 0, objects + 24, 8);
	node_put(cache, 0, objects + 47, 1);
	ok_eq(node->nr_free, node->nr_objects);
	node_drain(cache, 0);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void empty_slabs_beyond_a_few_go_back(void)
{
	struct kmem_cache *cache = kmem_cache_create("empty", 1024, 0, 0, NULL);
	struct cache_node *node = cache->nodes[0];
	static void *objects[1600];

	fill(cache, objects, 1600);
	ok_eq(node->nr_slabs, 100);
	cache->depot_max = 0;
	for (int i = 0; i < 1600; i += 16)
		node_put(cache, 0, objects + i, 16);
	ok_eq(node->nr_slabs, cache->max_empty);
	ok_eq(node->nr_empty, cache->max_empty);
	slab_validate(machine);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void what_the_depot_cannot_hold_goes_to_the_slabs(void)
{
	struct kmem_cache *cache = kmem_cache_create("over", 512, 0, 0, NULL);
	struct cache_node *node = cache->nodes[0];
	unsigned int max = cache->depot_max;
	static void *objects[4096];

	ok(max >= 100 && max < 4000, "depot_max is %u", max);
	fill(cache, objects, 4096);
	for (int i = 0; i < 4096; i += 64)
		node_put(cache, 0, objects + i, 64);
	ok(node->depot_nr <= max && node->depot_nr + 64 > max, "%u of %u", node->depot_nr, max);
	slab_validate(machine);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void a_depot_that_nobody_needs_ages(void)
{
	struct kmem_cache *cache = kmem_cache_create("ages", 64, 0, 0, NULL);
	struct cache_node *node = cache->nodes[0];
	void *objects[2000], *batch[100];
	unsigned int idle;

	fill(cache, objects, 2000);
	for (int i = 0; i < 2000; i += 100)
		node_put(cache, 0, objects + i, 100);
	ok_eq(node->depot_nr, 2000);
	/* From now on only one batch comes and goes. */
	for (int i = 0; i < 20 * 256; i++)
		node_put(cache, 0, batch, node_take(cache, 0, batch, 100, false));
	idle = node->depot_nr;
	ok(idle >= 100 && idle < 200, "%u objects are still idle", idle);
	slab_validate(machine);
	ok_eq(kmem_cache_destroy(cache), 0);
}

int main(void)
{
	machine = boot_machine(ONE_NODE, 64UL << 20);
	RUN(the_depot_gives_the_latest_batch_first);
	RUN(slabs_are_taken_from_fullest_first);
	RUN(empty_slabs_beyond_a_few_go_back);
	RUN(what_the_depot_cannot_hold_goes_to_the_slabs);
	RUN(a_depot_that_nobody_needs_ages);
	end_machine(machine);
	return done();
}

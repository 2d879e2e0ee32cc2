/* SPDX-License-Identifier: MIT */
#include "machine.h"

static struct kmm *machine;

enum { NR = 3000 };
static void *objects[NR], *more[NR];

static int by_address(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;

	return x < y ? -1 : x > y;
}

static void a_batch_of_any_size_is_whole_and_goes_back_whole(void)
{
	struct kmem_cache *cache = kmem_cache_create("batch", 80, 0, 0, NULL);
	static const size_t sizes[] = {0, 1, 2, 16, 64, 127, 128, 253, 254, 500, NR};

	for (unsigned int s = 0; s < ARRAY_SIZE(sizes); s++) {
		size_t nr = sizes[s];

		ok_eq(kmem_cache_alloc_bulk(cache, GFP_KERNEL, nr, objects), nr);
		ok_eq(info_of(machine, "batch").active_objs, nr);
		slab_validate(machine);
		memcpy(more, objects, nr * sizeof(*objects));
		qsort(more, nr, sizeof(*more), by_address);
		for (size_t i = 1; i < nr; i++)
			ok((char *)more[i - 1] + 80 <= (char *)more[i], "%p given out twice",
			   more[i]);
		for (size_t i = 0; i < nr; i++)
			memset(objects[i], (int)i, 80);
		kmem_cache_free_bulk(cache, nr, objects);
		ok_eq(info_of(machine, "batch").active_objs, 0);
		slab_validate(machine);
	}
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void bulk_counts_as_single_calls_do(void)
{
	struct slab_counters before = counters_of(machine), after;
	struct kmem_cache *cache = kmem_cache_create("counts", 80, 0, 0, NULL);

	for (int round = 0; round < 10; round++) {
		kmem_cache_alloc_bulk(cache, GFP_KERNEL, 1000, objects);
		kmem_cache_free_bulk(cache, 1000, objects);
	}
	after = counters_of(machine);
	/* And a few for the cache itself. */
	ok((after.alloc_fast + after.alloc_slow - before.alloc_fast - before.alloc_slow) / 100 ==
		   100,
	   "allocations");
	ok((after.free_fast + after.free_slow - before.free_fast - before.free_slow) / 100 == 100,
	   "frees");
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void zero_means_every_object(void)
{
	struct kmem_cache *cache = kmem_cache_create("zeros", 120, 0, 0, NULL);

	ok_eq(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 300, objects), 300);
	for (int i = 0; i < 300; i++)
		memset(objects[i], 0xff, 120);
	kmem_cache_free_bulk(cache, 300, objects);
	ok_eq(kmem_cache_alloc_bulk(cache, GFP_KERNEL | __GFP_ZERO, 300, objects), 300);
	for (int i = 0; i < 300; i++)
		for (int j = 0; j < 120; j++)
			ok(!((char *)objects[i])[j], "byte %d of %d", j, i);
	kmem_cache_free_bulk(cache, 300, objects);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void without_memory_it_gives_none_at_all(void)
{
	struct kmem_cache *cache = kmem_cache_create("none", 64 << 10, 0, 0, NULL);

	ok_eq(kmem_cache_alloc_bulk(cache, GFP_KERNEL, NR, objects), 0);
	ok_eq(info_of(machine, "none").active_objs, 0);
	ok_eq(kmem_cache_alloc_bulk(cache, GFP_KERNEL | __GFP_THISNODE, 10, objects), 10);
	kmem_cache_free_bulk(cache, 10, objects);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void without_a_cache_each_goes_home(void)
{
	struct kmem_cache *cache = kmem_cache_create("home", 80, 0, 0, NULL);

	for (int i = 0; i < 100; i++)
		objects[i] = i % 3 ? kmalloc((size_t)i * 200, GFP_KERNEL)
				   : kmem_cache_alloc(cache, GFP_KERNEL);
	objects[50] = (kfree(objects[50]), NULL);
	kmem_cache_free_bulk(NULL, 100, objects);
	ok_eq(info_of(machine, "home").active_objs, 0);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void objects_of_another_node_go_home(void)
{
	struct kmem_cache *cache = kmem_cache_create("far", 80, 0, 0, NULL);

	for (int i = 0; i < 200; i++)
		objects[i] = kmem_cache_alloc_node(cache, GFP_KERNEL, i & 1);
	kmem_cache_free_bulk(cache, 200, objects);
	slab_validate(machine);
	ok_eq(info_of(machine, "far").active_objs, 0);
	ok_eq(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 200, objects), 200);
	for (int i = 0; i < 200; i++)
		ok_eq(virt_to_page(objects[i])->nid, 0);
	kmem_cache_free_bulk(cache, 200, objects);
	ok_eq(kmem_cache_destroy(cache), 0);
}

/* Needs no flag. */
static void misuse_in_a_batch_stops_the_program(void)
{
	struct kmem_cache *cache = kmem_cache_create("victim", 80, 0, 0, NULL);
	struct kmem_cache *other = kmem_cache_create("other", 80, 0, 0, NULL);
	int local = 0;

	kmem_cache_alloc_bulk(cache, GFP_KERNEL, 10, objects);
	memcpy(more, objects, sizeof(objects));
	more[5] = more[4];
	ok_dies("freed twice", kmem_cache_free_bulk(cache, 10, more));
	more[5] = &local;
	ok_dies("is in no slab", kmem_cache_free_bulk(cache, 10, more));
	more[5] = kmem_cache_alloc(other, GFP_KERNEL);
	ok_dies("is of cache other", kmem_cache_free_bulk(cache, 10, more));
	kmem_cache_free(other, more[5]);
	kmem_cache_free_bulk(cache, 10, objects);
	ok_eq(kmem_cache_destroy(cache), 0);
	ok_eq(kmem_cache_destroy(other), 0);
}

static void a_detached_thread_attaches_itself(void)
{
	struct kmem_cache *cache = kmem_cache_create("detached", 80, 0, 0, NULL);

	kmm_detach();
	ok_eq(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 10, objects), 10);
	kmm_detach();
	kmem_cache_free_bulk(cache, 10, objects);
	ok(this_cpu != kmm_cpu_detached, "attached by free_bulk");
	ok_eq(kmm_attach(machine, 0), 0);
	ok_eq(kmem_cache_destroy(cache), 0);
}

int main(void)
{
	machine = boot_machine(TWO_NODES, 64UL << 20);
	RUN(a_batch_of_any_size_is_whole_and_goes_back_whole);
	RUN(bulk_counts_as_single_calls_do);
	RUN(zero_means_every_object);
	RUN(without_memory_it_gives_none_at_all);
	RUN(without_a_cache_each_goes_home);
	RUN(objects_of_another_node_go_home);
	RUN(misuse_in_a_batch_stops_the_program);
	RUN(a_detached_thread_attaches_itself);
	end_machine(machine);
	return done();
}

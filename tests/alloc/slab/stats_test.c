/* SPDX-License-Identifier: MIT */
/* What is counted of caches and said of them: each number of slab_count and slab_for_each after calls
 * whose paths are known. */
#include <errno.h>

#include "tests/alloc/slab/machine.h"

#define NR_OBJECTS 1000

static struct kmm *machine;
static void *objects[NR_OBJECTS];

static void take(struct kmem_cache *cache, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
}

static void give(struct kmem_cache *cache, unsigned int nr)
{
	while (nr)
		kmem_cache_free(cache, objects[--nr]);
}

static void a_cache_without_magazines_counts_direct_calls(void)
{
	struct kmem_cache *cache =
		kmem_cache_create("direct", 64, 0, SLAB_CONSISTENCY_CHECKS, NULL);
	struct slab_counters before = counters_of(machine), after;

	take(cache, 100);
	give(cache, 30);
	after = counters_of(machine);
	ok_eq(after.alloc_direct - before.alloc_direct, 100);
	ok_eq(after.alloc_slow - before.alloc_slow, 100);
	ok_eq(after.alloc_fast, before.alloc_fast);
	ok_eq(after.free_direct - before.free_direct, 30);
	ok_eq(after.free_slow - before.free_slow, 30);
	ok_eq(after.free_fast, before.free_fast);
	for (int i = 30; i < 100; i++)
		kmem_cache_free(cache, objects[i]);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void slabs_are_counted_as_they_come_and_go(void)
{
	struct kmem_cache *cache = kmem_cache_create("slabs", 64, 0, 0, NULL);
	struct slab_counters before = counters_of(machine), after;
	struct slab_info info;

	take(cache, NR_OBJECTS);
	after = counters_of(machine);
	info = info_of(machine, "slabs");
	ok(info.num_slabs >= NR_OBJECTS / info.objperslab, "%lu slabs", info.num_slabs);
	ok_eq(after.slab_new - before.slab_new, info.num_slabs);
	ok_eq(after.slab_release, before.slab_release);
	give(cache, NR_OBJECTS);
	ok_eq(kmem_cache_shrink(cache), 0);
	ok_eq(info_of(machine, "slabs").num_slabs, 0);
	after = counters_of(machine);
	ok_eq(after.slab_new - before.slab_new, info.num_slabs);
	ok_eq(after.slab_release - before.slab_release, info.num_slabs);
	ok_eq(kmem_cache_destroy(cache), 0);
}

/* Without magazines, an object is with the user or in its slab. */
static void slabs_with_free_objects_among_others_are_partial(void)
{
	struct kmem_cache *cache =
		kmem_cache_create("partial", 1024, 0, SLAB_CONSISTENCY_CHECKS, NULL);
	unsigned int nr = info_of(machine, "partial").objperslab;
	struct slab_info info;

	take(cache, 4 * nr);
	info = info_of(machine, "partial");
	ok_eq(info.num_slabs, 4);
	ok_eq(info.active_slabs, 4);
	ok_eq(info.partial_slabs, 0);
	ok_eq(info.active_objs, 4 * nr);
	/* one of the first slab, all but one of the second, all of the third */
	kmem_cache_free(cache, objects[0]);
	for (unsigned int i = nr; i < 2 * nr - 1; i++)
		kmem_cache_free(cache, objects[i]);
	for (unsigned int i = 2 * nr; i < 3 * nr; i++)
		kmem_cache_free(cache, objects[i]);
	info = info_of(machine, "partial");
	ok_eq(info.active_slabs, 3);
	ok_eq(info.partial_slabs, 2);
	ok_eq(info.active_objs, 4 * nr - 1 - (nr - 1) - nr);
	for (unsigned int i = 1; i < nr; i++)
		kmem_cache_free(cache, objects[i]);
	kmem_cache_free(cache, objects[2 * nr - 1]);
	for (unsigned int i = 3 * nr; i < 4 * nr; i++)
		kmem_cache_free(cache, objects[i]);
	ok_eq(kmem_cache_destroy(cache), 0);
}

/* As in the child of a fork, whose other threads are gone with what they had at hand. */
static void what_is_lost_with_a_slot_counts_as_no_calls(void)
{
	struct kmem_cache *cache = kmem_cache_create("lost", 64, 0, 0, NULL);
	struct slab_counters before = counters_of(machine), after;

	take(cache, 1);
	ok(magazine_nr(cache_magazine(cache, cpu_get())) > 0, "nothing to lose");
	cache_forget_slot(cache, cpu_get());
	after = counters_of(machine);
	ok_eq(after.alloc_fast + after.alloc_slow - before.alloc_fast - before.alloc_slow, 1);
	ok_eq(after.free_fast + after.free_slow - before.free_fast - before.free_slow, 0);
	give(cache, 1);
	after = counters_of(machine);
	ok_eq(after.free_fast + after.free_slow - before.free_fast - before.free_slow, 1);
	slab_validate(machine);
	/* The lost ones are in use for good. */
	ok(info_of(machine, "lost").active_objs > 0, "none is in use");
}

int main(void)
{
	struct kmm_leaks leaks;

	machine = boot_machine(ONE_NODE, 64UL << 20);
	RUN(a_cache_without_magazines_counts_direct_calls);
	RUN(slabs_are_counted_as_they_come_and_go);
	RUN(slabs_with_free_objects_among_others_are_partial);
	RUN(what_is_lost_with_a_slot_counts_as_no_calls);
	ok_eq(kmm_shutdown(machine, &leaks), -EBUSY);
	ok(leaks.objects > 0, "nothing was lost");
	return done();
}

/* SPDX-License-Identifier: MIT */
/*
 * kmalloc from the largest cache to 64 MiB, under both sets of classes.
 *
 *	kernel	powers of two of pages		fine	whole pages
 *	<- 4 MiB: blocks of the buddy -> <- 64 MiB: pageblocks in a row ->
 */
#include "machine.h"

#define MIB (1UL << 20)

static struct kmm *machine;
static bool fine;

/* What a size beyond the caches costs. */
static size_t rounded(size_t size)
{
	return fine ? ALIGN_UP(size, PAGE_SIZE) : roundup_pow_of_two(size);
}

/* A byte of each page, made of its number. */
static void fill(unsigned char *object, size_t size, unsigned int tag)
{
	for (size_t i = 0; i < size; i += PAGE_SIZE)
		object[i] = (unsigned char)(tag + i / PAGE_SIZE);
	object[size - 1] = (unsigned char)tag;
}

static bool is_filled(const unsigned char *object, size_t size, unsigned int tag)
{
	for (size_t i = 0; i + 1 < size; i += PAGE_SIZE)
		if (object[i] != (unsigned char)(tag + i / PAGE_SIZE))
			return false;
	return object[size - 1] == (unsigned char)tag;
}

static void each_size_costs_what_it_is_rounded_to(void)
{
	kmm_drain(machine);
	for (size_t size = 40000; size <= 64 * MIB; size = size * 8 / 7 + 12345) {
		u64 before = free_pages_of(machine, NUMA_NO_NODE);
		unsigned char *object = kmalloc(size, GFP_KERNEL);

		ok(object, "no %zu", size);
		if (!object)
			continue;
		ok_eq(ksize(object), rounded(size));
		ok_eq(before - free_pages_of(machine, NUMA_NO_NODE), rounded(size) / PAGE_SIZE);
		ok(IS_ALIGNED((uintptr_t)object, min_t(size_t, 2 * MIB, roundup_pow_of_two(size))),
		   "%p of %zu", (void *)object, size);
		fill(object, ksize(object), 7);
		ok(is_filled(object, ksize(object), 7), "%zu does not hold", size);
		kfree(object);
		ok_eq(free_pages_of(machine, NUMA_NO_NODE), before);
	}
	phys_validate(machine);
}

static void the_largest_is_64_mib(void)
{
	unsigned char *object = kmalloc(64 * MIB, GFP_KERNEL | __GFP_ZERO);

	ok(object, "no 64 MiB");
	ok_eq(ksize(object), 64 * MIB);
	for (size_t i = 0; i < 64 * MIB; i += 4093)
		ok(!object[i], "byte %zu", i);
	fill(object, 64 * MIB, 1);
	kfree(object);
	object = kzalloc(64 * MIB, GFP_KERNEL);
	for (size_t i = 0; i < 64 * MIB; i += PAGE_SIZE)
		ok(!object[i], "byte %zu of dirty memory", i);
	kfree(object);
	ok(!kmalloc(64 * MIB + 1, GFP_KERNEL), "64 MiB + 1");
	ok(!krealloc(NULL, SIZE_MAX - 10, GFP_KERNEL), "SIZE_MAX");
}

static void each_misuse_is_found_at_once(void)
{
	static const size_t sizes[] = {50000, 4 * MIB, 5 * MIB, 33 * MIB};

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned char *object = kmalloc(sizes[i], GFP_KERNEL);
		struct kmem_cache *cache = kmem_cache_create("small", 64, 0, 0, NULL);

		ok_dies("freed already", kfree(object), kfree(object));
		ok_dies("not from kmalloc", kfree(object + 8));
		ok_dies("not from kmalloc", kfree(object + PAGE_SIZE));
		ok_dies("not from kmalloc", kfree(object + ALIGN_DOWN(sizes[i] - 1, PAGE_SIZE)));
		ok_dies("not from kmalloc", ksize(object + PAGE_SIZE));
		ok_dies("freed already", kfree(object), krealloc(object, 10, GFP_KERNEL));
		ok_dies("is in no slab", kmem_cache_free(cache, object));
		kfree(object);
		ok_eq(kmem_cache_destroy(cache), 0);
	}
}

static void krealloc_keeps_what_both_sizes_have(void)
{
	static const size_t sizes[] = {100,	 9000,	  40000,   45000,  5 * MIB, 50 * MIB,
				       20 * MIB, 7 * MIB, 5 * MIB, 300000, 20000,   1};
	u64 before;
	unsigned char *object = NULL;
	size_t kept = 0;

	kmm_drain(machine);
	before = free_pages_of(machine, NUMA_NO_NODE);
	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t both = min_t(size_t, kept, sizes[i]);
		unsigned char *old = object;
		size_t old_room = ksize(object);

		object = krealloc(object, sizes[i], GFP_KERNEL);
		ok(object, "no %zu", sizes[i]);
		for (size_t at = 0; at < both; at += PAGE_SIZE)
			ok_eq(object[at], (unsigned char)(i + at / PAGE_SIZE));
		ok(ksize(object) >= sizes[i], "%zu of %zu", ksize(object), sizes[i]);
		if (sizes[i] <= old_room)
			ok(object == old, "%zu moved though it fits", sizes[i]);
		if (fine && sizes[i] > 32768)
			ok_eq(ksize(object), rounded(sizes[i]));
		kept = sizes[i];
		fill(object, kept, i + 1);
		object[0] = (unsigned char)(i + 1);
	}
	kfree(object);
	kmm_drain(machine);
	ok_eq(free_pages_of(machine, NUMA_NO_NODE), before);
	phys_validate(machine);
}

static void the_node_is_honoured_and_another_one_lends(void)
{
	unsigned char *object;

	for (int nid = 0; nid < 2; nid++)
		for (size_t size = 100000; size < 60 * MIB; size *= 5) {
			object = kmalloc_node(size, GFP_KERNEL, nid);
			ok_eq(virt_to_page(object)->nid, nid);
			kfree(object);
		}
}

/* One after the other until there are no more: then NULL, and all comes back. */
static void exhaustion_gives_null(void)
{
	void *objects[64];
	unsigned int nr = 0;
	u64 before;

	kmm_drain(machine);
	before = free_pages_of(machine, NUMA_NO_NODE);
	while (nr < 64 && (objects[nr] = kmalloc(30 * MIB, GFP_KERNEL | __GFP_NOWARN)))
		memset(objects[nr++], 1, 4096);
	ok(nr >= 4 && nr < 64, "%u of 30 MiB", nr);
	ok(!kmalloc(40 * MIB, GFP_NOWAIT), "40 MiB more");
	while (nr)
		kfree(objects[--nr]);
	ok_eq(free_pages_of(machine, NUMA_NO_NODE), before);
}

/* What caches hold back is in the way of a long run. */
static void a_run_gets_what_depots_hold_back(void)
{
	enum { NR = 400 };
	struct kmem_cache *cache = kmem_cache_create("idle", 65536, 0, 0, NULL);
	struct page *taken = NULL, *page;
	static void *objects[NR], *large;

	for (int i = 0; i < NR; i++)
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	while ((page = alloc_pages(GFP_NOWAIT, 0))) {
		page->private = (unsigned long)taken;
		taken = page;
	}
	cache->max_empty = NR;
	for (int i = 0; i < NR; i++)
		kmem_cache_free(cache, objects[i]);
	ok(!kmalloc(6 * MIB, GFP_NOWAIT), "nothing is in the way");
	large = kmalloc(6 * MIB, GFP_KERNEL);
	ok(large, "idle slabs were not reclaimed");
	kfree(large);
	while (taken) {
		page = taken;
		taken = (struct page *)page->private;
		page->private = 0;
		__free_pages(page, 0);
	}
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void leaks_are_counted(void)
{
	struct kmm *small = boot_config((struct kmm_config){
		.synthetic = ONE_NODE,
		.node_bytes = 128 * MIB,
		.kmalloc_classes = fine ? KMALLOC_CLASSES_FINE : KMALLOC_CLASSES_KERNEL});
	struct kmm_leaks leaks;

	ok(kmalloc(5 * MIB, GFP_KERNEL), "no 5 MiB");
	ok(kmalloc(33 * 1024, GFP_KERNEL), "no 33 KiB");
	ok(kmm_shutdown(small, &leaks) != 0, "a leak is an error");
	ok_eq(leaks.large_kmallocs, 2);
	ok_eq(leaks.pages, (rounded(5 * MIB) + rounded(33 * 1024)) / PAGE_SIZE);
	ok_eq(kmm_attach(machine, 0), 0);
}

int main(void)
{
	for (int round = 0; round < 2; round++) {
		fine = round;
		machine = boot_config((struct kmm_config){
			.synthetic = TWO_NODES,
			.node_bytes = 256 * MIB,
			.kmalloc_classes = fine ? KMALLOC_CLASSES_FINE : KMALLOC_CLASSES_KERNEL});
		RUN(each_size_costs_what_it_is_rounded_to);
		RUN(the_largest_is_64_mib);
		RUN(each_misuse_is_found_at_once);
		RUN(krealloc_keeps_what_both_sizes_have);
		RUN(the_node_is_honoured_and_another_one_lends);
		RUN(exhaustion_gives_null);
		RUN(a_run_gets_what_depots_hold_back);
		RUN(leaks_are_counted);
		end_machine(machine);
	}
	return done();
}

/* SPDX-License-Identifier: MIT */
#include "machine.h"

static struct kmm *machine;

/* The classes, written down once more: what the kernel rounds each size up to. */
static size_t class_size(size_t size)
{
	static const size_t sizes[] = {8,   16,	 32,   64,   96,   128, 192,
				       256, 512, 1024, 2048, 4096, 8192};

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		if (size <= sizes[i])
			return sizes[i];
	return PAGE_SIZE << get_order(size);
}

static void each_size_gets_its_class(void)
{
	for (size_t size = 1; size <= 20000; size += size < 300 ? 1 : 57) {
		char *object = kmalloc(size, GFP_KERNEL);

		ok_eq(ksize(object), class_size(size));
		ok(IS_ALIGNED((uintptr_t)object, 8), "%p", (void *)object);
		if (is_power_of_2(size) && size > 8)
			ok(IS_ALIGNED((uintptr_t)object, size), "%p of %zu", (void *)object, size);
		memset(object, 0x5a, ksize(object));
		kfree(object);
	}
	slab_validate(machine);
}

static void powers_of_two_are_aligned_to_themselves(void)
{
	for (size_t size = 8; size <= 1UL << 20; size *= 2) {
		void *objects[20];

		for (int i = 0; i < 20; i++) {
			objects[i] = kmalloc(size, GFP_KERNEL);
			ok(objects[i] && IS_ALIGNED((uintptr_t)objects[i], size), "%p of %zu",
			   objects[i], size);
		}
		for (int i = 0; i < 20; i++)
			kfree(objects[i]);
	}
}

static void nothing_and_zero_bytes_may_be_freed(void)
{
	kfree(NULL);
	kfree(ZERO_SIZE_PTR);
	ok(kmalloc(0, GFP_KERNEL) == ZERO_SIZE_PTR, "zero size");
	ok(kzalloc(0, GFP_KERNEL) == ZERO_SIZE_PTR, "zero size");
	ok(kmalloc_node(0, GFP_KERNEL, 0) == ZERO_SIZE_PTR, "zero size");
	ok_eq(ksize(NULL), 0);
	ok_eq(ksize(ZERO_SIZE_PTR), 0);
}

static void sizes_beyond_the_largest_give_nothing(void)
{
	ok(!kmalloc(KMALLOC_MAX_SIZE + 1, GFP_KERNEL), "64 MiB + 1");
	ok(!kmalloc(SIZE_MAX, GFP_KERNEL), "SIZE_MAX");
	ok(!kmalloc(SIZE_MAX - 6, GFP_KERNEL), "a size that wraps when rounded");
}

static void kzalloc_gives_zeros_where_dirt_was(void)
{
	static const size_t sizes[] = {1, 8, 100, 1000, 8192, 10000, 100000};

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++)
		for (int round = 0; round < 3; round++) {
			unsigned char *object = kzalloc(sizes[i], GFP_KERNEL);

			for (size_t j = 0; j < ksize(object); j++)
				ok(!object[j], "byte %zu of %zu", j, sizes[i]);
			memset(object, 0xff, ksize(object));
			kfree(object);
		}
}

static void a_double_free_stops_the_program(void)
{
	void *small = kmalloc(100, GFP_KERNEL), *large = kmalloc(20000, GFP_KERNEL);
	void *other = kmalloc(100, GFP_KERNEL);

	ok_dies("freed twice", kfree(small), kfree(small));
	ok_dies("freed already", kfree(large), kfree(large));
	/* Not in a row: found when the magazines are emptied, in debug builds at once. */
	ok_dies("freed twice", kfree(small), kfree(other), kfree(small), kmm_drain(machine));
	kfree(small);
	kfree(large);
	kfree(other);
}

static void a_pointer_that_is_not_ours_stops_the_program(void)
{
	struct page *pages = alloc_pages(GFP_KERNEL, 1);
	char *large = kmalloc(20000, GFP_KERNEL), *small = kmalloc(192, GFP_KERNEL);
	int local;

	ok_dies("not of this machine", kfree(&local));
	ok_dies("not of this machine", kfree((void *)24));
	ok_dies("not of this machine", ksize(&local));
	ok_dies("not from kmalloc", kfree(page_address(pages)));
	ok_dies("not from kmalloc", ksize(page_address(pages)));
	ok_dies("not from kmalloc", kfree(large + 64));
	ok_dies("not from kmalloc", kfree(large + PAGE_SIZE));
	ok_dies("is not the start", kfree(small + 8), kmm_drain(machine));
	kfree(large);
	kfree(small);
	__free_pages(pages, 1);
}

static void an_array_whose_size_overflows_is_null(void)
{
	unsigned char *zeros;

	ok(!kmalloc_array(SIZE_MAX / 2, 3, GFP_KERNEL), "kmalloc_array");
	ok(!kmalloc_array(1UL << 32, 1UL << 32, GFP_KERNEL), "2^64 is not 0");
	ok(!kcalloc(SIZE_MAX, 2, GFP_KERNEL), "kcalloc");
	ok(!kmalloc_array_node(SIZE_MAX, 2, GFP_KERNEL, 0), "kmalloc_array_node");
	ok(!kcalloc_node(2, SIZE_MAX, GFP_KERNEL, 0), "kcalloc_node");
	ok(!kcalloc(1UL << 20, 1UL << 20, GFP_KERNEL), "more than there is");
	ok(kmalloc_array(0, 8, GFP_KERNEL) == ZERO_SIZE_PTR, "no elements");
	for (int i = 0; i < 3; i++) {
		zeros = i == 2 ? kzalloc_node(300, GFP_KERNEL, 0) : kcalloc(30, 10, GFP_KERNEL);
		ok_eq(ksize(zeros), 512);
		for (int j = 0; j < 300; j++)
			ok(!zeros[j], "byte %d", j);
		memset(zeros, 0xff, 512);
		kfree(zeros);
	}
}

static void krealloc_moves_only_what_does_not_fit(void)
{
	unsigned char *object = krealloc(NULL, 100, GFP_KERNEL), *same, *moved;

	ok_eq(ksize(object), 128);
	for (int i = 0; i < 128; i++)
		object[i] = (unsigned char)i;
	same = krealloc(object, 128, GFP_KERNEL);
	ok(same == object, "it fits");
	same = krealloc(object, 1, GFP_KERNEL);
	ok(same == object, "it shrinks in place");
	moved = krealloc(object, 20000, GFP_KERNEL);
	ok(moved != object, "it does not fit");
	for (int i = 0; i < 128; i++)
		ok_eq(moved[i], i);
	ok_dies("freed twice", kfree(object), kmm_drain(machine));
	ok(!krealloc(moved, KMALLOC_MAX_SIZE + 1, GFP_KERNEL), "too large");
	ok_eq(moved[127], 127);
	ok(!krealloc_array(moved, SIZE_MAX, 2, GFP_KERNEL), "overflow");
	ok(krealloc(moved, 0, GFP_KERNEL) == ZERO_SIZE_PTR, "size 0 frees");
	ok(krealloc(NULL, 0, GFP_KERNEL) == ZERO_SIZE_PTR, "of nothing");
	object = krealloc(ZERO_SIZE_PTR, 8, GFP_KERNEL);
	ok(object != ZERO_SIZE_PTR, "of zero size");
	*(u64 *)object = ~0UL;
	object = krealloc(object, 64, GFP_KERNEL | __GFP_ZERO);
	for (int i = 0; i < 64; i++)
		ok_eq(object[i], i < 8 ? 0xff : 0);
	kfree(object);
}

static void kfree_sensitive_leaves_nothing_behind(void)
{
	unsigned char *object = kmalloc(100, GFP_KERNEL);

	memset(object, 0x5a, 128);
	kfree_sensitive(object);
	for (int i = 0; i < 128; i++)
		ok(!object[i], "byte %d", i);
	kfree_sensitive(NULL);
	kfree_sensitive(ZERO_SIZE_PTR);
}

/* The zone of its page and the pageblock's kind, and whose object it is. */
static void dma_and_reclaimable_have_caches_of_their_own(void)
{
	static const size_t sizes[] = {1, 8, 100, 1000, 8192, 20000};

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		void *dma = kmalloc(sizes[i], GFP_KERNEL | GFP_DMA);
		void *both = kmalloc_node(sizes[i], GFP_KERNEL | GFP_DMA | __GFP_RECLAIMABLE, 0);
		void *rcl = kmalloc(sizes[i], GFP_KERNEL | __GFP_RECLAIMABLE);
		void *normal = kmalloc(sizes[i], GFP_KERNEL);

		ok_eq(page_zonenum(virt_to_page(dma)), 0);
		ok_eq(page_zonenum(virt_to_page(both)), 0);
		ok(page_zonenum(virt_to_page(normal)) > 0, "%zu is from the DMA zone", sizes[i]);
		ok_eq(virt_to_page(rcl)->place >> PLACE_ZONE_BITS, MIGRATE_RECLAIMABLE);
		ok_eq(virt_to_page(normal)->place >> PLACE_ZONE_BITS, MIGRATE_UNMOVABLE);
		ok_eq(ksize(dma), class_size(sizes[i]));
		kfree(dma);
		kfree(both);
		kfree(rcl);
		kfree(normal);
	}
	ok_eq(info_of(machine, "dma-kmalloc-1k").active_objs, 0);
	ok_eq(info_of(machine, "kmalloc-rcl-8k").pagesperslab, 8);
	slab_validate(machine);
}

static void a_detached_thread_attaches_itself(void)
{
	void *object;

	kmm_detach();
	object = kmalloc(64, GFP_KERNEL);
	ok(object && this_cpu != kmm_cpu_detached, "attached by kmalloc");
	kmm_detach();
	kfree(object);
	ok(this_cpu != kmm_cpu_detached, "attached by kfree");
	kmm_detach();
	kfree(NULL);
	object = kmalloc(50000, GFP_KERNEL);
	kmm_detach();
	kfree(object);
	ok_eq(kmm_attach(machine, 0), 0);
}

static void leaks_are_counted_at_shutdown(void)
{
	struct kmm *small = boot_machine(ONE_NODE, 32UL << 20);
	struct kmem_cache *cache = kmem_cache_create("leaky", 200, 0, 0, NULL);
	struct kmm_leaks leaks;

	for (int i = 0; i < 5; i++)
		ok(kmem_cache_alloc(cache, GFP_KERNEL), "object");
	ok(kmalloc(1000, GFP_KERNEL), "kmalloc");
	ok(kmalloc(100000, GFP_KERNEL), "large");
	kfree(kmalloc(100000, GFP_KERNEL));
	ok(kmm_shutdown(small, &leaks) != 0, "a leak is an error");
	ok_eq(leaks.objects, 6);
	ok_eq(leaks.object_bytes, 5 * 200 + 1024);
	ok_eq(leaks.large_kmallocs, 1);
	/* The large one, a slab of the cache, and one of kmalloc-1k. */
	ok_eq(leaks.pages, 32 + 1 + 4);
	ok_eq(kmm_attach(machine, 0), 0);
}

int main(void)
{
	machine = boot_machine(ONE_NODE, 128UL << 20);
	RUN(each_size_gets_its_class);
	RUN(powers_of_two_are_aligned_to_themselves);
	RUN(nothing_and_zero_bytes_may_be_freed);
	RUN(sizes_beyond_the_largest_give_nothing);
	RUN(kzalloc_gives_zeros_where_dirt_was);
	RUN(a_double_free_stops_the_program);
	RUN(a_pointer_that_is_not_ours_stops_the_program);
	RUN(an_array_whose_size_overflows_is_null);
	RUN(krealloc_moves_only_what_does_not_fit);
	RUN(kfree_sensitive_leaves_nothing_behind);
	RUN(dma_and_reclaimable_have_caches_of_their_own);
	RUN(a_detached_thread_attaches_itself);
	RUN(leaks_are_counted_at_shutdown);
	end_machine(machine);
	return done();
}

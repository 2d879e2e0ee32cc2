/* SPDX-License-Identifier: MIT */
/*
 * A cache of each size from 1 to 8192 bytes and each alignment from 1 to 4096, and kmalloc of each
 * size: objects lie as they should, share no byte, and go back whole.
 *
 * TEST_SIZE_STEP: look at every nth size only, by default 1 (7 under a sanitizer).
 */
#include "machine.h"

#define NR 5

static struct kmm *machine;
static unsigned int step;

/* A pattern at both ends, and all of a small one. */
static void fill(unsigned char *object, unsigned int size, int byte)
{
	memset(object, byte, min_t(unsigned int, size, 128));
	memset(object + size - min_t(unsigned int, size, 128), byte,
	       min_t(unsigned int, size, 128));
}

static bool is_filled(const unsigned char *object, unsigned int size, int byte)
{
	for (unsigned int i = 0; i < min_t(unsigned int, size, 128); i++)
		if (object[i] != byte || object[size - 1 - i] != byte)
			return false;
	return true;
}

/* Are NR objects of this size in order? Marks them. */
static void check_objects(void **objects, unsigned int size, unsigned int align)
{
	for (int i = 0; i < NR; i++) {
		ok(objects[i] && IS_ALIGNED((uintptr_t)objects[i], align), "%u, %u: %p", size,
		   align, objects[i]);
		fill(objects[i], size, 'a' + i);
	}
	for (int i = 0; i < NR; i++)
		ok(is_filled(objects[i], size, 'a' + i), "%u, %u: overlap", size, align);
}

static void use_cache(unsigned int size, unsigned int align)
{
	struct kmem_cache *cache = kmem_cache_create("sized", size, align, 0, NULL);
	void *objects[NR];

	ok(cache, "%u, %u: no cache", size, align);
	ok_eq(kmem_cache_size(cache), size);
	for (int i = 0; i < NR; i++)
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	check_objects(objects, size, max_t(unsigned int, align, 8));
	for (int i = 0; i < NR; i++)
		kmem_cache_free(cache, objects[i]);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void a_cache_of_each_size_and_alignment_works(void)
{
	for (unsigned int size = 1; size <= 8192; size += step)
		for (unsigned int align = 1; align <= 4096; align *= 2)
			use_cache(size, align);
	slab_validate(machine);
}

static void kmalloc_of_each_size_works(void)
{
	for (unsigned int size = 1; size <= 40000; size += step) {
		unsigned int align = is_power_of_2(size) ? size : 1;
		void *objects[NR];

		for (int i = 0; i < NR; i++)
			objects[i] = kmalloc(size, GFP_KERNEL);
		check_objects(objects, size, max_t(unsigned int, align, 8));
		for (int i = 0; i < NR; i++)
			kfree(objects[i]);
	}
	slab_validate(machine);
}

static void kmalloc_of_each_size_works_with_fine_classes(void)
{
	struct kmm *fine =
		boot_config((struct kmm_config){.synthetic = ONE_NODE,
						.node_bytes = 64UL << 20,
						.kmalloc_classes = KMALLOC_CLASSES_FINE});
	struct kmm *before = machine;

	machine = fine;
	kmalloc_of_each_size_works();
	machine = before;
	end_machine(fine);
	ok_eq(kmm_attach(machine, 0), 0);
}

int main(void)
{
	const char *text = getenv("TEST_SIZE_STEP");

	step = TAP_SANITIZED ? 7 : 1;
	if (text && strtoul(text, NULL, 0))
		step = (unsigned int)strtoul(text, NULL, 0);
	machine = boot_machine(ONE_NODE, 64UL << 20);
	RUN(a_cache_of_each_size_and_alignment_works);
	RUN(kmalloc_of_each_size_works);
	RUN(kmalloc_of_each_size_works_with_fine_classes);
	end_machine(machine);
	return done();
}

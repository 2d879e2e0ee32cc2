/* SPDX-License-Identifier: MIT */
/*
 * kmalloc's fine classes: each size gets the least that holds it, aligned, at little waste.
 *
 *	8 16 24 ... 128 | 144 160 ... 256 | 288 320 ... 512 | ... 32k | pages
 */
#include "machine.h"

#include <errno.h>

static struct kmm *machine;

/* Written down once more, by search: the least number of the form that holds size. */
static size_t fine_size(size_t size)
{
	if (size <= 128)
		return ALIGN_UP(size, 8);
	for (size_t power = 128; power < 32768; power *= 2)
		for (size_t step = 1; step <= 8; step++)
			if (size <= power + power / 8 * step)
				return power + power / 8 * step;
	return ALIGN_UP(size, PAGE_SIZE);
}

static size_t kernel_size(size_t size)
{
	if (size > 64 && size <= 96)
		return 96;
	if (size > 128 && size <= 192)
		return 192;
	return size <= 8 ? 8 : roundup_pow_of_two(size);
}

static void each_size_gets_its_class(void)
{
	for (size_t size = 1; size <= 200000; size += size < 9000 ? 1 : 57) {
		char *object = kmalloc(size, GFP_KERNEL);

		ok_eq(ksize(object), fine_size(size));
		object[0] = object[ksize(object) - 1] = 0x5a;
		kfree(object);
	}
	slab_validate(machine);
}

static void waste_is_a_ninth_at_most(void)
{
	for (size_t size = 129; size <= 300000; size++) {
		size_t room = fine_size(size);

		ok((room - size) * 9 < room, "%zu of %zu", size, room);
	}
	for (size_t size = 130; size <= 40000; size += 97) {
		void *object = kmalloc(size, GFP_KERNEL);

		ok((ksize(object) - size) * 9 < ksize(object), "%zu of %zu", size, ksize(object));
		kfree(object);
	}
}

struct slab_waste {
	unsigned int nr;
	bool closed;
};

static void look_at_slabs(const struct slab_info *info, void *arg)
{
	unsigned long bytes = info->pagesperslab * PAGE_SIZE;
	unsigned long used = (unsigned long)info->objperslab * info->objsize;
	struct slab_waste *seen = arg;

	if (strncmp(info->name, "kmalloc-", 8) || strstr(info->name, "rcl"))
		return;
	ok((bytes - used) * (info->objsize <= 3072 ? 16 : 5) <= bytes, "%s: %lu of %lu wasted",
	   info->name, bytes - used, bytes);
	ok(info->objsize >= 4096 || info->objperslab >= 4, "%s: %u objects in a slab", info->name,
	   info->objperslab);
	ok(info->pagesperslab <= (info->objsize <= 8192 ? 16 : 32), "%s: %u pages", info->name,
	   info->pagesperslab);
	seen->nr++;
	seen->closed |= info->limit == 0;
}

static void slabs_of_all_classes_waste_little_and_have_magazines(void)
{
	struct slab_waste seen = {0};

	slab_for_each(machine, look_at_slabs, &seen);
	ok_eq(seen.nr, 80);
	ok(!seen.closed, "the slots have no room for a class");
}

static void caches_are_named_by_their_size(void)
{
	ok_eq(info_of(machine, "kmalloc-8").objsize, 8);
	ok_eq(info_of(machine, "kmalloc-48").objsize, 48);
	ok_eq(info_of(machine, "kmalloc-1152").objsize, 1152);
	ok_eq(info_of(machine, "kmalloc-1k").objsize, 1024);
	ok_eq(info_of(machine, "kmalloc-20k").objsize, 20480);
	ok_eq(info_of(machine, "kmalloc-32k").objsize, 32768);
	ok_eq(info_of(machine, "kmalloc-rcl-96").objsize, 96);
	ok_eq(info_of(machine, "dma-kmalloc-8k").objsize, 8192);
}

/* A process's heap. */
static void a_plain_machine_aligns_all_but_the_least_to_16(void)
{
	struct kmm *plain =
		boot_config((struct kmm_config){.synthetic = ONE_NODE,
						.node_bytes = 64UL << 20,
						.layout = ZONES_PLAIN,
						.kmalloc_classes = KMALLOC_CLASSES_FINE});

	for (size_t size = 1; size <= 256; size++) {
		void *objects[3];

		for (int i = 0; i < 3; i++) {
			objects[i] = kmalloc(size, GFP_KERNEL);
			ok(size <= 8 || IS_ALIGNED((uintptr_t)objects[i], 16), "%p of %zu",
			   objects[i], size);
		}
		ok_eq(ksize(objects[0]), size <= 8 ? 8 : fine_size(ALIGN_UP(size, 16)));
		for (int i = 0; i < 3; i++)
			kfree(objects[i]);
	}
	slab_validate(plain);
	end_machine(plain);
	ok_eq(kmm_attach(machine, 0), 0);
}

/* What malloc and memalign are built on. */
static void a_size_is_aligned_to_the_power_of_two_that_divides_it(void)
{
	for (size_t align = 16; align <= 16384; align *= 2)
		for (size_t size = align; size <= 70000; size += align * (1 + size / align / 16)) {
			void *objects[5];

			for (int i = 0; i < 5; i++) {
				objects[i] = kmalloc(size, GFP_KERNEL);
				ok(IS_ALIGNED((uintptr_t)objects[i],
					      size <= 32768 ? align : min_t(size_t, align, 4096)),
				   "%p of %zu", objects[i], size);
			}
			for (int i = 0; i < 5; i++)
				kfree(objects[i]);
		}
	for (size_t size = 129; size <= 40000; size += 13) {
		void *object = kmalloc(size, GFP_KERNEL);

		ok(IS_ALIGNED((uintptr_t)object, 16), "%p of %zu", object, size);
		kfree(object);
	}
	for (size_t size = 8; size <= 4UL << 20; size *= 2) {
		void *object = kmalloc(size, GFP_KERNEL);

		ok(object && IS_ALIGNED((uintptr_t)object, size), "%p of %zu", object, size);
		kfree(object);
	}
}

static void pages_beyond_the_caches_are_as_many_as_asked_for(void)
{
	u64 before, after;
	void *object;

	kmm_drain(machine);
	for (unsigned long nr = 9; nr <= 1024; nr += nr < 70 ? 1 : 31) {
		before = free_pages_of(machine, 0);
		object = kmalloc((nr - 1) * PAGE_SIZE + 1, GFP_KERNEL);
		after = free_pages_of(machine, 0);
		ok_eq(ksize(object), nr * PAGE_SIZE);
		ok_eq(before - after, nr);
		memset(object, 0xff, nr * PAGE_SIZE);
		ok_dies("not from kmalloc", kfree((char *)object + PAGE_SIZE));
		if (nr % 2)
			ok_dies("not from kmalloc", kfree((char *)object + (nr - 1) * PAGE_SIZE));
		kfree(object);
		ok_eq(free_pages_of(machine, 0), before);
		ok_dies("freed already", kfree(object));
	}
	phys_validate(machine);
}

static void zeroed_pages_are_zeros(void)
{
	for (size_t size = 36864; size <= 400000; size += 28672) {
		unsigned char *object = kmalloc(size, GFP_KERNEL);

		memset(object, 0xff, size);
		kfree(object);
		object = kzalloc(size, GFP_KERNEL);
		for (size_t i = 0; i < ksize(object); i++)
			if (object[i]) {
				ok(false, "byte %zu of %zu", i, size);
				break;
			}
		kfree(object);
	}
}

static void krealloc_gives_pages_back_when_they_are_many(void)
{
	u64 before = free_pages_of(machine, 0);
	unsigned char *object = kmalloc(100 * PAGE_SIZE, GFP_KERNEL);

	object[5] = 55;
	ok(krealloc(object, 90 * PAGE_SIZE, GFP_KERNEL) == object, "it moved");
	ok_eq(ksize(object), 100 * PAGE_SIZE);
	for (unsigned long nr = 71; nr; nr = nr * 2 / 3) {
		ok(krealloc(object, nr * PAGE_SIZE, GFP_KERNEL) == object, "it moved");
		ok_eq(ksize(object), nr * PAGE_SIZE);
		ok_eq(before - free_pages_of(machine, 0), nr);
	}
	ok(krealloc(object, 100, GFP_KERNEL) == object, "it moved");
	ok_eq(ksize(object), PAGE_SIZE);
	ok_eq(object[5], 55);
	kfree(object);
	ok_eq(free_pages_of(machine, 0), before);
	phys_validate(machine);
}

static void other_kinds_of_pages_have_the_kernels_sizes(void)
{
	static const gfp_t kinds[] = {__GFP_DMA, __GFP_RECLAIMABLE};

	for (int i = 0; i < 2; i++) {
		for (size_t size = 1; size <= 8192; size += 3) {
			void *object = kmalloc(size, GFP_KERNEL | kinds[i]);

			ok_eq(ksize(object), kernel_size(size));
			kfree(object);
		}
		for (size_t size = 8193; size < 40000; size += 1111) {
			void *object = kmalloc(size, GFP_KERNEL | kinds[i]);

			ok_eq(ksize(object), ALIGN_UP(size, PAGE_SIZE));
			kfree(object);
		}
	}
}

static void every_class_works_with_all_debugging(void)
{
	struct kmm *watched =
		boot_config((struct kmm_config){.synthetic = ONE_NODE,
						.node_bytes = 128UL << 20,
						.kmalloc_classes = KMALLOC_CLASSES_FINE,
						.slub_debug = ""});

	for (size_t size = 1; size <= 40000; size = size * 9 / 8 + 1) {
		char *object = kmalloc(size, GFP_KERNEL);

		ok(IS_ALIGNED((uintptr_t)object, 8), "%p of %zu", (void *)object, size);
		memset(object, 0x41, size);
		if (size <= 32768)
			ok_dies("written past its end", object[size] = 1, kfree(object));
		kfree(object);
	}
	end_machine(watched);
	ok_eq(kmm_attach(machine, 0), 0);
}

static void a_set_of_classes_that_is_none_is_refused(void)
{
	struct kmm_config config = {.synthetic = ONE_NODE, .kmalloc_classes = 2};
	struct kmm *none;

	ok_eq(kmm_boot(&config, &none), -EINVAL);
	ok(!strncmp(kmm_boot_error(), "kmalloc_classes: 2", 18), "%s", kmm_boot_error());
}

int main(void)
{
	machine = boot_config((struct kmm_config){.synthetic = ONE_NODE,
						  .node_bytes = 128UL << 20,
						  .kmalloc_classes = KMALLOC_CLASSES_FINE});
	RUN(each_size_gets_its_class);
	RUN(waste_is_a_ninth_at_most);
	RUN(slabs_of_all_classes_waste_little_and_have_magazines);
	RUN(caches_are_named_by_their_size);
	RUN(a_size_is_aligned_to_the_power_of_two_that_divides_it);
	RUN(a_plain_machine_aligns_all_but_the_least_to_16);
	RUN(pages_beyond_the_caches_are_as_many_as_asked_for);
	RUN(zeroed_pages_are_zeros);
	RUN(krealloc_gives_pages_back_when_they_are_many);
	RUN(other_kinds_of_pages_have_the_kernels_sizes);
	RUN(every_class_works_with_all_debugging);
	RUN(a_set_of_classes_that_is_none_is_refused);
	end_machine(machine);
	return done();
}

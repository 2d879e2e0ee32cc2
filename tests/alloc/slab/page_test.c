/* SPDX-License-Identifier: MIT */
/*
 * A slab as its pages are cut:
 *
 *	8 bytes each    | 504 objects | bitmap of 8 words |     one page
 *	64 bytes each   | 64 objects |                          one page, bitmap in struct page
 */
#include "machine.h"

static struct kmm *machine;

/* All objects of a new slab, taken out at once, then laid back one by one. */
static void take_and_lay_back(unsigned int size)
{
	struct kmem_cache *cache = kmem_cache_create("cut", size, 0, 0, NULL);
	struct page *slab = slab_page_new(cache, GFP_KERNEL, 0);
	char *base = slab_base(cache, slab), *end = base + (PAGE_SIZE << slab->order);
	static void *objects[8192];
	unsigned int nr = slab->objects;

	ok_eq(slab_page_take(cache, slab, objects, 8192), nr);
	ok_eq(slab->inuse, nr);
	ok_eq(slab_page_take(cache, slab, objects + nr, 8192), 0);
	if (nr > 64)
		end = (char *)slab->slab_bitmap;
	for (unsigned int i = 0; i < nr; i++) {
		char *object = objects[i];

		ok(object >= base && object + size <= end, "size %u: %p outside %p..%p", size,
		   (void *)object, (void *)base, (void *)end);
		ok(i == 0 || object + cache->size <= (char *)objects[i - 1], "size %u: %u overlaps",
		   size, i);
		ok_eq(slab_page_index(cache, slab, object), nr - 1 - i);
		memset(object, 0xff, size);
	}
	for (unsigned int i = 0; i < nr; i++)
		slab_page_put(cache, slab, objects[i]);
	ok_eq(slab->inuse, 0);
	ok_eq(slab_page_take(cache, slab, objects, 1), 1);
	ok_eq((char *)objects[0] - base, 0);
	slab_page_put(cache, slab, objects[0]);
	slab_page_release(cache, slab);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void each_size_is_cut_without_overlap(void)
{
	const char *step_text = getenv("TEST_SIZE_STEP");
	unsigned int step = step_text ? (unsigned int)strtoul(step_text, NULL, 0) : 61;

	for (unsigned int size = 1; size <= 8192; size += step ? step : 1)
		take_and_lay_back(size);
	for (unsigned int size = 8; size <= 4U << 20; size *= 2) {
		take_and_lay_back(size);
		take_and_lay_back(size - 1);
	}
	take_and_lay_back(3U << 20);
}

static void waste_is_at_most_an_eighth_below_a_page(void)
{
	for (unsigned int size = 8; size < PAGE_SIZE; size += 8) {
		struct kmem_cache *cache = kmem_cache_create("waste", size, 0, 0, NULL);
		unsigned long bytes = PAGE_SIZE << cache->order;
		unsigned long used = (unsigned long)slab_objects(cache, cache->order) * size;

		ok((bytes - used) * 8 <= bytes, "size %u, order %u: %lu of %lu wasted", size,
		   cache->order, bytes - used, bytes);
		ok(cache->order <= 3, "size %u has order %u", size, cache->order);
		ok_eq(kmem_cache_destroy(cache), 0);
	}
}

static void small_kmallocs_fill_single_pages(void)
{
	ok_eq(info_of(machine, "kmalloc-64").objperslab, 64);
	ok_eq(info_of(machine, "kmalloc-64").pagesperslab, 1);
	ok_eq(info_of(machine, "kmalloc-8").objperslab, 504);
	ok_eq(info_of(machine, "kmalloc-4k").objperslab, 8);
}

static void an_object_laid_back_twice_stops_the_program(void)
{
	struct kmem_cache *cache = kmem_cache_create("twice", 96, 0, 0, NULL);
	struct page *slab = slab_page_new(cache, GFP_KERNEL, 0);
	void *object;

	slab_page_take(cache, slab, &object, 1);
	ok_dies("freed twice", slab_page_put(cache, slab, object),
		slab_page_put(cache, slab, object));
	ok_dies("is not the start", slab_page_put(cache, slab, (char *)object + 8));
	ok_dies("is not the start",
		slab_page_put(cache, slab, (char *)slab_base(cache, slab) + 42 * 96));
	slab_page_put(cache, slab, object);
	slab_page_release(cache, slab);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void every_frame_leads_to_its_cache_and_slab(void)
{
	struct kmem_cache *cache = kmem_cache_create("frames", 2048, 0, 0, NULL);
	struct page *slab = slab_page_new(cache, GFP_KERNEL, 0);
	unsigned int order = slab->order;

	ok_eq(order, 3);
	for (int i = 0; i < 8; i++) {
		ok(slab[i].slab_cache == cache && slab[i].head == slab, "frame %d", i);
		ok_eq(slab[i].slab_key, slab_key(cache, 0));
	}
	slab_page_release(cache, slab);
	for (int i = 0; i < 8; i++)
		ok(!slab[i].slab_cache && !slab[i].slab_key, "frame %d is still marked", i);
	ok_eq(kmem_cache_destroy(cache), 0);
}

int main(void)
{
	machine = boot_machine(ONE_NODE, 64UL << 20);
	RUN(each_size_is_cut_without_overlap);
	RUN(waste_is_at_most_an_eighth_below_a_page);
	RUN(small_kmallocs_fill_single_pages);
	RUN(an_object_laid_back_twice_stops_the_program);
	RUN(every_frame_leads_to_its_cache_and_slab);
	end_machine(machine);
	return done();
}

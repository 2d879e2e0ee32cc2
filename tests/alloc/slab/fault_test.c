/* SPDX-License-Identifier: MIT */
/*
 * Fault sweep: each thing that slab does is done again and again, and the nth time that it asks the
 * page allocator for pages it gets none, for every n until it asks no more; then with none from the
 * nth time on. It must succeed, or fail as it says it does, and leave nothing behind.
 *
 * The linker puts the functions below between slab and the page allocator (--wrap).
 */
#include "machine.h"
#include "tests/tap/fail_nth.h"

#include <errno.h>

struct page *__real_alloc_pages(gfp_t gfp, unsigned int order);
struct page *__real_alloc_pages_node(int nid, gfp_t gfp, unsigned int order);
struct page *__real_alloc_contig_pages(unsigned long nr_pages, gfp_t gfp, int nid);
unsigned long __real___get_free_pages(gfp_t gfp, unsigned int order);
struct page *__wrap_alloc_pages(gfp_t gfp, unsigned int order);
struct page *__wrap_alloc_pages_node(int nid, gfp_t gfp, unsigned int order);
struct page *__wrap_alloc_contig_pages(unsigned long nr_pages, gfp_t gfp, int nid);
unsigned long __wrap___get_free_pages(gfp_t gfp, unsigned int order);

struct page *__wrap_alloc_pages(gfp_t gfp, unsigned int order)
{
	return fails() ? NULL : __real_alloc_pages(gfp, order);
}

struct page *__wrap_alloc_pages_node(int nid, gfp_t gfp, unsigned int order)
{
	return fails() ? NULL : __real_alloc_pages_node(nid, gfp, order);
}

struct page *__wrap_alloc_contig_pages(unsigned long nr_pages, gfp_t gfp, int nid)
{
	return fails() ? NULL : __real_alloc_contig_pages(nr_pages, gfp, nid);
}

unsigned long __wrap___get_free_pages(gfp_t gfp, unsigned int order)
{
	return fails() ? 0 : __real___get_free_pages(gfp, order);
}

static struct kmm *machine;

/* Is everything back that was there before? */
static void check_all_back(u64 free_before, unsigned long n)
{
	kmm_drain(machine);
	slab_validate(machine);
	phys_validate(machine);
	if (free_pages_of(machine, NUMA_NO_NODE) != free_before)
		ok(false, "%s n %lu: %lu pages free of %lu", from_then_on ? "from" : "only", n,
		   free_pages_of(machine, NUMA_NO_NODE), free_before);
}

/* A sanitizer is slow: every fifth will do. */
#define STEP (TAP_SANITIZED ? 5UL : 1UL)

/* Run it with each allocation failing in turn. It disarms before it cleans up. */
static void sweep(void (*run)(void))
{
	static const char *const modes[] = {"the nth", "all from the nth"};

	for (int mode = 0; mode < 2; mode++) {
		unsigned long n = 1;

		from_then_on = mode;
		do {
			u64 before;

			kmm_drain(machine);
			before = free_pages_of(machine, NUMA_NO_NODE);
			fail_at = n;
			nr_failed = calls = 0;
			armed = true;
			run();
			armed = false;
			check_all_back(before, n);
			n += STEP;
		} while (nr_failed && n < 10000);
		ok(n > 1 + STEP, "it asks for no pages");
		printf("# %s of %lu allocations\n", modes[mode], n - 1 - STEP);
	}
}

static void boot_and_use(void)
{
	struct kmm_config config = {.synthetic = TWO_NODES,
				    .node_bytes = 16UL << 20,
				    .kmalloc_classes = fail_at % 2 ? KMALLOC_CLASSES_FINE
								   : KMALLOC_CLASSES_KERNEL,
				    .no_thp = true};
	struct kmm_leaks leaks;
	struct kmm *second;
	int err = kmm_boot(&config, &second);

	armed = false;
	if (err) {
		ok_eq(err, -ENOMEM);
		ok(!second, "a machine that did not boot");
		ok(*kmm_boot_error(), "no word why");
		return;
	}
	ok_eq(kmm_attach(second, 0), 0);
	kfree(kmalloc(100, GFP_KERNEL));
	ok_eq(kmm_shutdown(second, &leaks), 0);
	ok_eq(leaks.pages, 0);
	ok_eq(kmm_attach(machine, 0), 0);
}

static void create_and_destroy(void)
{
	struct kmem_cache *cache = kmem_cache_create(
		"a name of its own, so long that it takes pages", 700, 64, 0, NULL);

	armed = false;
	ok_eq(kmem_cache_destroy(cache), 0);
}

/* Caches until the structs, their nodes' structs and the names have filled pages of their own. */
static void create_many(void)
{
	enum { NR = 50 };
	static struct kmem_cache *caches[NR];
	char name[64];
	int nr = 0;

	for (int i = 0; i < NR; i++) {
		snprintf(name, sizeof(name), "one of many caches, number %d", i);
		caches[nr] = kmem_cache_create(name, 100, 0, i % 2 ? SLAB_POISON : 0, NULL);
		nr += caches[nr] != NULL;
	}
	armed = false;
	ok(nr >= 1 || from_then_on, "none was made");
	while (nr)
		ok_eq(kmem_cache_destroy(caches[--nr]), 0);
}

/* kmem_cache_alloc on this node and the other, and the frees, for which depots grow. */
static void allocate_and_free(void)
{
	enum { NR = 2000 };
	static void *objects[NR];
	struct kmem_cache *cache;
	unsigned int nr = 0;

	armed = false;
	cache = kmem_cache_create("swept", 200, 0, 0, NULL);
	armed = true;
	for (int i = 0; i < NR; i++) {
		objects[nr] = i % 3 ? kmem_cache_alloc(cache, GFP_KERNEL)
				    : kmem_cache_alloc_node(cache, GFP_NOWAIT, i % 2);
		if (objects[nr])
			memset(objects[nr++], i, 200);
	}
	for (unsigned int i = 0; i < nr; i++)
		kmem_cache_free(cache, objects[i]);
	armed = false;
	slab_validate(machine);
	ok_eq(info_of(machine, "swept").active_objs, 0);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void allocate_in_bulk(void)
{
	enum { NR = 700 };
	static void *objects[NR];
	struct kmem_cache *cache;
	int nr;

	armed = false;
	cache = kmem_cache_create("in bulk", 300, 0, 0, NULL);
	armed = true;
	nr = kmem_cache_alloc_bulk(cache, GFP_KERNEL, NR, objects);
	ok(nr == NR || !nr, "%d of %d", nr, NR);
	armed = false;
	ok_eq(info_of(machine, "in bulk").active_objs, nr);
	kmem_cache_free_bulk(cache, (size_t)nr, objects);
	ok_eq(kmem_cache_destroy(cache), 0);
}

/* Sizes from each class to blocks of pages, and what a debugging cache takes. */
static void kmalloc_and_grow(void)
{
	enum { NR = 60 };
	static unsigned char *objects[NR];
	struct kmem_cache *watched;

	armed = false;
	watched = kmem_cache_create("watched", 3000, 0, SLAB_DEBUG_FLAGS, NULL);
	armed = true;
	for (size_t i = 0; i < NR; i++) {
		size_t size = i == NR - 2 ? 5UL << 20 : 1 + i * i * i;

		objects[i] = i % 5 == 4 ? kmem_cache_alloc(watched, GFP_KERNEL)
					: kmalloc_node(size, GFP_KERNEL | __GFP_ZERO, i % 2);
		if (objects[i] && i % 5 != 4)
			ok(!objects[i][size - 1], "not zeroed");
		if (objects[i])
			objects[i][0] = (unsigned char)i;
	}
	for (size_t i = 0; i < NR; i += 2) {
		unsigned char *grown;

		if (i % 5 == 4 || !objects[i])
			continue;
		grown = krealloc(objects[i], 2 * (1 + i * i * i), GFP_KERNEL);
		if (grown)
			objects[i] = grown;
		ok_eq(objects[i][0], i);
	}
	armed = false;
	slab_validate(machine);
	for (size_t i = 0; i < NR; i++)
		kfree(objects[i]);
	ok_eq(kmem_cache_destroy(watched), 0);
}

static void boot_fails_cleanly_wherever_pages_fail(void)
{
	sweep(boot_and_use);
}

static void a_cache_is_made_whole_or_not_at_all(void)
{
	sweep(create_and_destroy);
	sweep(create_many);
}

static void single_objects_come_or_do_not(void)
{
	sweep(allocate_and_free);
}

static void bulk_gives_all_or_none(void)
{
	sweep(allocate_in_bulk);
}

static void kmalloc_gives_null_and_krealloc_keeps_the_old(void)
{
	sweep(kmalloc_and_grow);
}

int main(void)
{
	for (int fine = 0; fine < 2; fine++) {
		machine = boot_config((struct kmm_config){
			.synthetic = TWO_NODES,
			.node_bytes = 32UL << 20,
			.kmalloc_classes = fine ? KMALLOC_CLASSES_FINE : KMALLOC_CLASSES_KERNEL});
		if (!fine)
			RUN(boot_fails_cleanly_wherever_pages_fail);
		RUN(a_cache_is_made_whole_or_not_at_all);
		RUN(single_objects_come_or_do_not);
		RUN(bulk_gives_all_or_none);
		RUN(kmalloc_gives_null_and_krealloc_keeps_the_old);
		end_machine(machine);
	}
	return done();
}

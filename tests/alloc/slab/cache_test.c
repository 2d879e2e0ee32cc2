/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <errno.h>
#include <pthread.h>

static struct kmm *machine;

static void every_bad_argument_gives_no_cache(void)
{
	struct kmem_cache *cache;

	ok(!kmem_cache_create(NULL, 64, 0, 0, NULL), "no name");
	ok(!kmem_cache_create("", 64, 0, 0, NULL), "empty name");
	ok(!kmem_cache_create("zero", 0, 0, 0, NULL), "size 0");
	ok(!kmem_cache_create("huge", (4U << 20) + 1, 0, 0, NULL), "over 4 MiB");
	ok(!kmem_cache_create("align", 64, 24, 0, NULL), "align is no power of two");
	ok(!kmem_cache_create("align", 64, 8192, 0, NULL), "align over a page");
	ok(!kmem_cache_create("flags", 64, 0, 0x80000000U, NULL), "unknown flag");
	ok(!kmem_cache_create("kmalloc-64", 64, 0, 0, NULL), "name of a kmalloc cache");
	cache = kmem_cache_create("once", 64, 0, 0, NULL);
	ok(cache, "a good one");
	ok(!kmem_cache_create("once", 128, 0, 0, NULL), "same name");
	ok_eq(kmem_cache_destroy(cache), 0);
	cache = kmem_cache_create("once", 64, 0, 0, NULL);
	ok(cache, "the name is free again");
	ok_eq(kmem_cache_destroy(cache), 0);
	ok_eq(kmem_cache_destroy(NULL), 0);
}

static void slab_panic_stops_the_program(void)
{
	ok_dies("cannot make cache zero", kmem_cache_create("zero", 0, 0, SLAB_PANIC, NULL));
}

static void the_name_is_copied(void)
{
	char name[] = "temporary";
	struct kmem_cache *cache = kmem_cache_create(name, 64, 0, 0, NULL);

	memset(name, 'x', sizeof(name) - 1);
	ok_eq(info_of(machine, "temporary").objsize, 64);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void objects_lie_as_aligned_as_asked(void)
{
	for (unsigned int align = 8; align <= PAGE_SIZE; align *= 2) {
		struct kmem_cache *cache = kmem_cache_create("aligned", 40, align, 0, NULL);
		void *objects[100];

		for (int i = 0; i < 100; i++) {
			objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
			ok(IS_ALIGNED((uintptr_t)objects[i], align), "%p, align %u", objects[i],
			   align);
		}
		for (int i = 0; i < 100; i++)
			kmem_cache_free(cache, objects[i]);
		ok_eq(kmem_cache_destroy(cache), 0);
	}
}

static void hwcache_align_shares_a_line_only_if_halves_fit(void)
{
	static const unsigned int sizes[][2] = {{64, 64}, {40, 64}, {65, 128}, {32, 32},
						{24, 32}, {16, 16}, {5, 8}};

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct kmem_cache *cache =
			kmem_cache_create("lines", sizes[i][0], 0, SLAB_HWCACHE_ALIGN, NULL);

		ok_eq(info_of(machine, "lines").objsize, sizes[i][1]);
		ok_eq(kmem_cache_size(cache), sizes[i][0]);
		ok_eq(kmem_cache_destroy(cache), 0);
	}
}

static void reclaim_account_takes_reclaimable_pages(void)
{
	struct kmem_cache *rcl = kmem_cache_create("rcl", 64, 0, SLAB_RECLAIM_ACCOUNT, NULL);
	struct kmem_cache *dma = kmem_cache_create("dma", 64, 0, SLAB_CACHE_DMA, NULL);
	struct kmem_cache *plain = kmem_cache_create("plain", 64, 0, 0, NULL);
	void *objects[] = {kmem_cache_alloc(rcl, GFP_KERNEL), kmem_cache_alloc(dma, GFP_KERNEL),
			   kmem_cache_alloc(plain, GFP_KERNEL | __GFP_DMA | __GFP_RECLAIMABLE)};

	ok_eq(virt_to_page(objects[0])->place >> PLACE_ZONE_BITS, MIGRATE_RECLAIMABLE);
	ok_eq(page_zonenum(virt_to_page(objects[1])), 0);
	/* The cache decides, not the call. */
	ok_eq(virt_to_page(objects[2])->place >> PLACE_ZONE_BITS, MIGRATE_UNMOVABLE);
	ok(page_zonenum(virt_to_page(objects[2])) > 0, "a DMA page");
	for (unsigned int i = 0; i < 3; i++)
		kfree(objects[i]);
	ok_eq(kmem_cache_destroy(rcl), 0);
	ok_eq(kmem_cache_destroy(dma), 0);
	ok_eq(kmem_cache_destroy(plain), 0);
}

static void destroy_refuses_while_an_object_lives(void)
{
	struct kmem_cache *cache = kmem_cache_create("busy", 64, 0, 0, NULL);
	void *object = kmem_cache_alloc(cache, GFP_KERNEL);

	freopen("/dev/null", "w", stderr);
	ok_eq(kmem_cache_destroy(cache), -EBUSY);
	ok_eq(info_of(machine, "busy").active_objs, 1);
	memset(object, 1, 64);
	kmem_cache_free(cache, object);
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	ok(object, "the cache still works");
	kmem_cache_free(cache, object);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void shrink_gives_back_all_that_is_free(void)
{
	struct kmem_cache *cache = kmem_cache_create("shrunk", 256, 0, 0, NULL);
	u64 before = free_pages_of(machine, 0);
	static void *objects[2000];

	for (int i = 0; i < 2000; i++)
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	for (int i = 1; i < 2000; i++)
		kmem_cache_free(cache, objects[i]);
	ok(info_of(machine, "shrunk").num_slabs > 1, "free objects are kept back");
	ok_eq(kmem_cache_shrink(cache), -EBUSY);
	ok_eq(info_of(machine, "shrunk").num_slabs, 1);
	slab_validate(machine);
	kmem_cache_free(cache, objects[0]);
	ok_eq(kmem_cache_shrink(cache), 0);
	ok_eq(info_of(machine, "shrunk").num_slabs, 0);
	ok_eq(free_pages_of(machine, 0), before);
	ok_eq(kmem_cache_destroy(cache), 0);
}

/* More caches than the slots have room for magazines of: the last ones do without, and work. */
static void caches_beyond_the_room_for_magazines_work(void)
{
	enum { NR = 1400 };
	static struct kmem_cache *caches[NR];
	static void *objects[NR][3];
	unsigned int without = 0;
	char name[32];

	for (int i = 0; i < NR; i++) {
		snprintf(name, sizeof(name), "many-%d", i);
		caches[i] = kmem_cache_create(name, 64, 0, 0, NULL);
		ok(caches[i], "cache %d", i);
		without += info_of(machine, name).limit == 0;
		for (int j = 0; j < 3; j++)
			objects[i][j] = kmem_cache_alloc(caches[i], GFP_KERNEL | __GFP_ZERO);
		memset(objects[i][1], i, 64);
	}
	ok(without > 0, "there is room for all of %d", NR);
	ok_eq(info_of(machine, "many-1399").active_objs, 3);
	slab_validate(machine);
	ok_dies("freed twice", kmem_cache_free(caches[NR - 1], objects[NR - 1][2]),
		kmem_cache_free(caches[NR - 1], objects[NR - 1][2]));
	for (int i = 0; i < NR; i++) {
		kmem_cache_free(caches[i], objects[i][0]);
		kfree(objects[i][1]);
		kmem_cache_free(caches[i], objects[i][2]);
		ok_eq(kmem_cache_destroy(caches[i]), 0);
	}
	caches[0] = kmem_cache_create("after", 64, 0, 0, NULL);
	ok(info_of(machine, "after").limit > 0, "room was given back");
	ok_eq(kmem_cache_destroy(caches[0]), 0);
}

static void counters_of_an_ended_cache_are_kept(void)
{
	struct slab_counters before = counters_of(machine), after;
	struct kmem_cache *cache = kmem_cache_create("counted", 64, 0, 0, NULL);
	u64 allocs, frees;

	for (int i = 0; i < 1000; i++)
		kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
	ok_eq(kmem_cache_destroy(cache), 0);
	after = counters_of(machine);
	allocs = after.alloc_fast + after.alloc_slow - before.alloc_fast - before.alloc_slow;
	frees = after.free_fast + after.free_slow - before.free_fast - before.free_slow;
	ok(allocs >= 1000 && allocs < 1010, "%lu allocations", allocs);
	ok(frees >= 1000 && frees < 1010, "%lu frees", frees);
}

enum { HELD = 1024 };

/* Take from the cache and keep it. */
static void *take(void *arg)
{
	static void *objects[HELD];
	struct kmem_cache *cache = arg;

	for (int i = 0; i < HELD; i++)
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	kmm_detach();
	return objects;
}

static void threads_on_one_slab_share_no_pair_of_lines(void)
{
	static const unsigned int sizes[] = {8, 16, 24, 48, 64, 96};

	for (unsigned int s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct kmem_cache *cache =
			kmem_cache_create("lines", sizes[s], 0, SLAB_NO_MERGE, NULL);
		void *mine[3], **others, *joined;
		unsigned int nr_shared = 0;
		pthread_t thread;

		/* Ours first, then theirs, so that their batches follow our first. */
		for (int i = 0; i < 3; i++)
			mine[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		pthread_create(&thread, NULL, take, cache);
		pthread_join(thread, &joined);
		others = joined;
		for (int i = 0; i < HELD; i++) {
			for (int k = 0; k < 3; k++)
				nr_shared += (uintptr_t)others[i] / 128 == (uintptr_t)mine[k] / 128;
			kmem_cache_free(cache, others[i]);
		}
		ok(!nr_shared, "size %u: %u", sizes[s], nr_shared);
		for (int i = 0; i < 3; i++)
			kmem_cache_free(cache, mine[i]);
		ok_eq(kmem_cache_destroy(cache), 0);
	}
}

int main(void)
{
	machine = boot_machine(ONE_NODE, 64UL << 20);
	RUN(every_bad_argument_gives_no_cache);
	RUN(slab_panic_stops_the_program);
	RUN(the_name_is_copied);
	RUN(objects_lie_as_aligned_as_asked);
	RUN(hwcache_align_shares_a_line_only_if_halves_fit);
	RUN(shrink_gives_back_all_that_is_free);
	RUN(caches_beyond_the_room_for_magazines_work);
	RUN(counters_of_an_ended_cache_are_kept);
	RUN(reclaim_account_takes_reclaimable_pages);
	RUN(destroy_refuses_while_an_object_lives);
	RUN(threads_on_one_slab_share_no_pair_of_lines);
	end_machine(machine);
	return done();
}

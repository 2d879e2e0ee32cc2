/* SPDX-License-Identifier: MIT */
/* Boot, threads that come and go, memory that runs out, shutdown. */
#include "machine.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "phys/phys.h"

static void a_machine_boots_and_ends_with_nothing_left(void)
{
	struct kmm *machine = boot_machine(ONE_NODE, 32UL << 20);
	struct kmem_cache *cache = kmem_cache_create("left to the machine", 100, 0, 0, NULL);
	void *object = kmem_cache_alloc(cache, GFP_KERNEL);

	kmem_cache_free(cache, object);
	/* A cache that is not destroyed is no leak. */
	end_machine(machine);
}

/* With every frame of the machine but n taken away, boot must fail cleanly, or work. */
static void boot_survives_any_shortage_of_pages(void)
{
	struct kmm *machine = boot_config((struct kmm_config){
		.synthetic = ONE_NODE, .node_bytes = 16UL << 20, .no_watermarks = true});
	struct slab *real = machine->slab;
	static struct page *pages[8192];
	unsigned int nr = 0, failed = 0;
	struct page *page;

	slab_reap(machine);
	while ((page = alloc_pages(GFP_KERNEL, 0)))
		pages[nr++] = page;
	phys_set_reclaim_ops(machine, NULL); /* they would reap the slab that is not there */
	for (unsigned int give = 0; give < 40; give++) {
		int err;

		machine->slab = NULL;
		err = slab_layer.boot(machine);
		if (err) {
			ok_eq(err, -ENOMEM);
			ok(!machine->slab, "a failed boot leaves a slab");
			failed++;
		} else {
			struct kmm_leaks leaks = {0};

			slab_layer.shutdown(machine, &leaks);
			ok_eq(leaks.objects, 0);
		}
		machine->slab = real;
		phys_layer.cpu_drain(machine, this_cpu);
		ok_eq(free_pages_of(machine, 0), give);
		__free_pages(pages[--nr], 0);
	}
	ok(failed > 3 && failed < 40, "%u of 40 boots failed", failed);
	slab_layer.cpu_init(machine, this_cpu);
	while (nr)
		__free_pages(pages[--nr], 0);
	end_machine(machine);
}

/* All pages there are without reclaim, chained; give_back frees n of them. */
static struct page *hog_pages(void)
{
	struct page *page, *taken = NULL;

	while ((page = alloc_pages(GFP_NOWAIT, 0))) {
		page->private = (unsigned long)taken;
		taken = page;
	}
	return taken;
}

static struct page *give_back(struct page *taken, unsigned long nr)
{
	while (taken && nr--) {
		struct page *page = taken;

		taken = (struct page *)page->private;
		page->private = 0;
		__free_pages(page, 0);
	}
	return taken;
}

/*
 * On two nodes, so that a cache needs structs on both: whichever page is the first not to be had.
 */
static void a_cache_is_made_whole_or_not_at_all(void)
{
	struct kmm *machine = boot_machine(TWO_NODES, 16UL << 20);
	struct kmem_cache *caches[100];
	struct page *taken;
	unsigned int nr = 0, refused = 0;
	char name[32];

	slab_reap(machine);
	taken = hog_pages();
	/* Each cache takes a few hundred bytes: some fit, and then one more page is needed. */
	while (nr < 100 && refused < 10) {
		struct kmem_cache *cache;

		snprintf(name, sizeof(name), "whole-%u", nr);
		cache = kmem_cache_create(name, 64, 0, 0, NULL);
		slab_validate(machine);
		if (cache) {
			caches[nr++] = cache;
		} else {
			refused++;
			taken = give_back(taken, 1);
		}
	}
	ok(refused > 1, "%u refused", refused);
	ok(nr > 10, "%u made", nr);
	give_back(taken, ULONG_MAX);
	while (nr)
		ok_eq(kmem_cache_destroy(caches[--nr]), 0);
	end_machine(machine);
}

static struct kmem_cache *shared;

/* What others hold back; freed by a thread that did not allocate it. */
static void *left_over[8];

static void *short_life(void *arg)
{
	void *objects[40];
	unsigned long n = (unsigned long)arg;

	kmm_attach(kmm_current(), (int)(n % 2));
	for (int i = 0; i < 40; i++) {
		objects[i] = i % 2 ? kmalloc(1 + n * 37 % 3000, GFP_KERNEL)
				   : kmem_cache_alloc(shared, GFP_KERNEL);
		memset(objects[i], 1, i % 2 ? 1 + n * 37 % 3000 : 64);
	}
	objects[0] = __atomic_exchange_n(&left_over[n % 8], objects[0], __ATOMIC_ACQ_REL);
	for (int i = 0; i < 40; i++)
		kfree(objects[i]);
	return NULL;
}

/* Slots are adopted, so that 2000 threads, eight at a time, need no more than eight did. */
static void threads_that_end_leave_nothing(void)
{
	struct kmm *machine = boot_machine(ONE_NODE, 64UL << 20);
	u64 free_before;

	kmm_drain(machine);
	free_before = free_pages_of(machine, 0);
	shared = kmem_cache_create("shared", 64, 0, 0, NULL);
	for (unsigned long round = 0; round < 250; round++) {
		pthread_t threads[8];

		for (unsigned long t = 0; t < 8; t++)
			pthread_create(&threads[t], NULL, short_life, (void *)(round * 8 + t));
		for (int t = 0; t < 8; t++)
			pthread_join(threads[t], NULL);
	}
	for (int i = 0; i < 8; i++)
		kfree(left_over[i]);
	ok(machine->nr_slots <= 9, "%u slots", machine->nr_slots);
	ok_eq(info_of(machine, "shared").active_objs, 0);
	ok(info_of(machine, "shared").num_slabs < 30, "%lu slabs",
	   info_of(machine, "shared").num_slabs);
	ok_eq(kmem_cache_destroy(shared), 0);
	kmm_drain(machine);
	ok_eq(free_pages_of(machine, 0), free_before);
	end_machine(machine);
}

static bool stop;

static void *churn(void *arg)
{
	unsigned long n = (unsigned long)arg;
	void *objects[300];

	kmm_attach(kmm_current(), (int)n);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (int i = 0; i < 300; i++)
			objects[i] = i & 1 ? kmalloc(64, GFP_KERNEL)
					   : kmem_cache_alloc(shared, GFP_KERNEL);
		for (int i = 0; i < 300; i++)
			kfree(objects[i]);
	}
	return NULL;
}

static void ignore(const struct slab_info *info, void *arg)
{
	(void)arg;
	ok(info->active_objs <= info->num_objs, "%s", info->name);
}

/*
 * What other threads may do to a cache in use: look at it, shrink it, drain the machine, make and
 * end caches.
 */
static void reports_and_shrinks_run_beside_allocations(void)
{
	struct kmm *machine = boot_machine(TWO_NODES, 64UL << 20);
	pthread_t threads[2];

	shared = kmem_cache_create("shared", 64, 0, 0, NULL);
	stop = false;
	for (unsigned long t = 0; t < 2; t++)
		pthread_create(&threads[t], NULL, churn, (void *)(t * 3));
	for (int i = 0; i < 100; i++) {
		struct kmem_cache *other = kmem_cache_create("other", 100, 0, 0, NULL);
		void *object = kmem_cache_alloc_node(other, GFP_KERNEL, 1);

		kmem_cache_shrink(shared);
		slab_for_each(machine, ignore, NULL);
		counters_of(machine);
		kmm_drain(machine);
		kmem_cache_free(other, object);
		ok_eq(kmem_cache_destroy(other), 0);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int t = 0; t < 2; t++)
		pthread_join(threads[t], NULL);
	ok_eq(info_of(machine, "shared").active_objs, 0);
	ok_eq(kmem_cache_destroy(shared), 0);
	end_machine(machine);
}

/* All memory as objects of one cache, twice: what comes back is all there was. */
static void exhaustion_gives_null_and_all_comes_back(void)
{
	struct kmm *machine = boot_machine(ONE_NODE, 32UL << 20);
	struct kmem_cache *cache = kmem_cache_create("hungry", 1000, 0, 0, NULL);
	static void *objects[40000];
	unsigned int first = 0;
	u64 before;

	kmm_drain(machine);
	before = free_pages_of(machine, 0);
	for (int round = 0; round < 2; round++) {
		unsigned int n = 0;

		while (n < 40000 && (objects[n] = kmem_cache_alloc(cache, GFP_KERNEL)))
			n++;
		ok(n > 20000 && n < 40000, "%u objects", n);
		ok(!kmalloc(100000, GFP_KERNEL), "pages are left");
		ok(!round || n == first, "%u objects, first %u", n, first);
		first = n;
		slab_validate(machine);
		while (n)
			kmem_cache_free(cache, objects[--n]);
	}
	kmm_drain(machine);
	ok_eq(free_pages_of(machine, 0), before);
	ok_eq(kmem_cache_destroy(cache), 0);
	end_machine(machine);
}

/* What one cache holds back must not keep another from its memory. */
static void one_cache_gets_what_others_hold_back(void)
{
	struct kmm *machine = boot_machine(ONE_NODE, 128UL << 20);
	struct kmem_cache *idle = kmem_cache_create("idle", 64, 0, 0, NULL);
	struct kmem_cache *wanted = kmem_cache_create("wanted", 4096, 0, SLAB_NO_MERGE, NULL);
	static void *objects[20000];
	struct page *taken;
	void *large;

	for (int i = 0; i < 20000; i++)
		objects[i] = kmem_cache_alloc(idle, GFP_KERNEL);
	for (int i = 0; i < 20000; i++)
		kmem_cache_free(idle, objects[i]);
	ok(info_of(machine, "idle").num_slabs > 50, "nothing is held back");
	taken = hog_pages();
	ok(!kmem_cache_alloc(wanted, GFP_NOWAIT), "one that may not reclaim got what is held back");
	large = kmem_cache_alloc(wanted, GFP_KERNEL);
	ok(large, "idle objects were not reclaimed");
	kmem_cache_free(wanted, large);
	give_back(taken, ULONG_MAX);
	ok_eq(kmem_cache_destroy(wanted), 0);
	ok_eq(kmem_cache_destroy(idle), 0);
	end_machine(machine);
}

/* The page allocator itself asks for it, whoever wants pages and may wait for them. */
static void pages_come_out_of_depots_when_no_others_are_left(void)
{
	struct kmm *machine = boot_machine(ONE_NODE, 128UL << 20);
	struct kmem_cache *idle = kmem_cache_create("idle", 64, 0, 0, NULL);
	static void *objects[60000];
	struct page *taken, *page;
	unsigned int nr = 0;

	for (int i = 0; i < 60000; i++)
		objects[i] = kmem_cache_alloc(idle, GFP_KERNEL);
	for (int i = 0; i < 60000; i++)
		kmem_cache_free(idle, objects[i]);
	ok(info_of(machine, "idle").num_slabs > 100, "nothing is held back");
	taken = hog_pages();
	ok(!alloc_pages(GFP_NOWAIT, 0), "there was memory after all");
	while ((page = alloc_pages(GFP_KERNEL, 0))) {
		page->private = (unsigned long)taken;
		taken = page;
		nr++;
	}
	ok(nr > 100, "%u pages were reclaimed", nr);
	ok_eq(info_of(machine, "idle").num_slabs, 0);
	ok(!slab_reap(machine), "it says that there was more");
	give_back(taken, ULONG_MAX);
	ok_eq(kmem_cache_destroy(idle), 0);
	end_machine(machine);
}

int main(void)
{
	RUN(a_machine_boots_and_ends_with_nothing_left);
	RUN(boot_survives_any_shortage_of_pages);
	RUN(a_cache_is_made_whole_or_not_at_all);
	RUN(threads_that_end_leave_nothing);
	RUN(reports_and_shrinks_run_beside_allocations);
	RUN(exhaustion_gives_null_and_all_comes_back);
	RUN(one_cache_gets_what_others_hold_back);
	RUN(pages_come_out_of_depots_when_no_others_are_left);
	return done();
}

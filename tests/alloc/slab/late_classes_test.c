/* SPDX-License-Identifier: MIT */
/* A plain machine whose kmalloc caches are made when they are first wanted. */
#include "machine.h"

#include <errno.h>
#include <pthread.h>

#define NR_THREADS 8
#define NR_ROUNDS  30

static struct kmm *boot_late(enum kmalloc_classes classes, unsigned long mib)
{
	return boot_config((struct kmm_config){.synthetic = ONE_NODE,
					       .node_bytes = mib << 20,
					       .layout = ZONES_PLAIN,
					       .kmalloc_classes = classes,
					       .late_classes = true});
}

static void count_cache(const struct slab_info *info, void *arg)
{
	*(unsigned int *)arg += !strncmp(info->name, "kmalloc-", 8);
}

static unsigned int nr_caches(struct kmm *machine)
{
	unsigned int nr = 0;

	slab_for_each(machine, count_cache, &nr);
	return nr;
}

static void a_cache_is_there_once_its_class_was_wanted(void)
{
	struct kmm *machine = boot_late(KMALLOC_CLASSES_FINE, 64);
	void *object;

	ok_eq(nr_caches(machine), 0);
	object = kmalloc(100, GFP_KERNEL);
	ok_eq(ksize(object), 112);
	ok_eq(nr_caches(machine), 1);
	kfree(kmalloc(97, GFP_KERNEL | __GFP_RECLAIMABLE));
	kfree(kzalloc(112, GFP_KERNEL));
	ok_eq(nr_caches(machine), 1);
	kfree(kzalloc(113, GFP_KERNEL));
	kfree(kmalloc_node(20000, GFP_KERNEL, 0));
	ok_eq(nr_caches(machine), 3);
	ok_eq(info_of(machine, "kmalloc-112").objsize, 112);
	ok_eq(info_of(machine, "kmalloc-20k").objsize, 20480);
	kfree(object);
	end_machine(machine);
}

/* The same as of a machine that has them all from the beginning. */
static void each_size_gets_the_class_that_it_always_got(void)
{
	static size_t sizes[KMALLOC_MAX_CACHE_SIZE + 2];

	for (enum kmalloc_classes set = 0; set < NR_KMALLOC_CLASSES; set++) {
		struct kmm *machine = boot_config((struct kmm_config){.synthetic = ONE_NODE,
								      .node_bytes = 64UL << 20,
								      .layout = ZONES_PLAIN,
								      .kmalloc_classes = set});
		const unsigned int nr = nr_caches(machine);

		ok_eq(nr, set == KMALLOC_CLASSES_FINE ? NR_KMALLOC_FINE : NR_KMALLOC_KERNEL);
		for (int late = 0; late < 2; late++) {
			for (size_t size = 1; size < ARRAY_SIZE(sizes); size++) {
				void *object = kmalloc(size, GFP_KERNEL);

				if (late)
					ok_eq(ksize(object), sizes[size]);
				sizes[size] = ksize(object);
				kfree(object);
			}
			/* No size of a plain machine wants the 7 odd multiples of 8 beyond 8. */
			ok_eq(nr_caches(machine), late && set == KMALLOC_CLASSES_FINE ? nr - 7 : nr);
			end_machine(machine);
			if (!late)
				machine = boot_late(set, 64);
		}
	}
}

static struct kmm *shared;
static pthread_barrier_t barrier;

/* All classes, each wanted by all threads at once. */
static void *want_all(void *arg)
{
	(void)arg;
	ok_eq(kmm_attach(shared, -1), 0);
	for (size_t size = 16; size <= KMALLOC_MAX_CACHE_SIZE; size += size / 8) {
		unsigned char *object;

		pthread_barrier_wait(&barrier);
		object = kmalloc(size, GFP_KERNEL);
		ok(object && ksize(object) >= size, "no object of %zu bytes", size);
		memset(object, 0x5a, size);
		kfree(object);
	}
	kmm_detach();
	return NULL;
}

static void threads_that_want_a_class_at_once_get_the_same_cache(void)
{
	pthread_barrier_init(&barrier, NULL, NR_THREADS);
	for (int round = 0; round < NR_ROUNDS; round++) {
		pthread_t threads[NR_THREADS];

		shared = boot_late(KMALLOC_CLASSES_FINE, 64);
		for (int i = 0; i < NR_THREADS; i++)
			ok_eq(pthread_create(&threads[i], NULL, want_all, NULL), 0);
		for (int i = 0; i < NR_THREADS; i++)
			pthread_join(threads[i], NULL);
		ok(nr_caches(shared) <= NR_KMALLOC_FINE, "%u caches", nr_caches(shared));
		end_machine(shared);
	}
	pthread_barrier_destroy(&barrier);
}

/* Then an object is a run of pages; whoever frees it sees what it is. */
static void without_memory_for_a_cache_there_is_an_error_or_a_page(void)
{
	struct kmm *machine = boot_late(KMALLOC_CLASSES_FINE, 16);
	static struct page *pages[8192];
	unsigned int nr = 0;
	void *object;

	while (nr < ARRAY_SIZE(pages) && (pages[nr] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0)))
		nr++;
	ok(nr < ARRAY_SIZE(pages), "more pages than there are");
	ok(!kmalloc(64, GFP_KERNEL | __GFP_NOWARN), "an object, of nothing");
	ok_eq(nr_caches(machine), 0);
	__free_pages(pages[--nr], 0);
	object = kmalloc(64, GFP_KERNEL | __GFP_NOWARN);
	ok(object != NULL, "a page would do");
	kfree(object);
	while (nr)
		__free_pages(pages[--nr], 0);
	kfree(kmalloc(64, GFP_KERNEL));
	ok_eq(nr_caches(machine), 1);
	end_machine(machine);
}

static void only_a_plain_machine_may_have_them(void)
{
	const struct kmm_config config = {.synthetic = ONE_NODE, .late_classes = true};
	struct kmm *machine;

	ok_eq(kmm_boot(&config, &machine), -EINVAL);
	ok(strstr(kmm_boot_error(), "late_classes"), "%s", kmm_boot_error());
}

int main(void)
{
	RUN(a_cache_is_there_once_its_class_was_wanted);
	RUN(each_size_gets_the_class_that_it_always_got);
	RUN(threads_that_want_a_class_at_once_get_the_same_cache);
	RUN(without_memory_for_a_cache_there_is_an_error_or_a_page);
	RUN(only_a_plain_machine_may_have_them);
	return done();
}

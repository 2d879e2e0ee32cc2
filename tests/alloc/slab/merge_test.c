/* SPDX-License-Identifier: MIT */
/* Like caches are one cache, as in the kernel, and unlike ones are not. */
#define SLAB_TEST_MERGES true
#include "machine.h"

static struct kmm *machine;

static void no_ctor_work(void *object)
{
	(void)object;
}

static bool listed(const char *name)
{
	struct find_info find = {.name = name};

	slab_for_each(machine, find_info_visit, &find);
	return find.found;
}

static void a_like_cache_is_shared_and_has_one_row(void)
{
	struct kmem_cache *a = kmem_cache_create("first", 296, 0, 0, NULL);
	struct kmem_cache *b = kmem_cache_create("second", 291, 0, 0, NULL);
	void *object = kmem_cache_alloc(b, GFP_KERNEL);

	ok(a && a == b, "%p, %p", (void *)a, (void *)b);
	ok_eq(info_of(machine, "first").active_objs, 1);
	ok(!listed("second"), "the second has a row");
	ok_eq(kmem_cache_destroy(a), 0);
	ok(listed("first"), "it lives while it has a user");
	kmem_cache_free(b, object);
	ok_eq(kmem_cache_destroy(b), 0);
	ok(!listed("first"), "it lives on");
}

static void the_size_is_the_larger_of_both(void)
{
	struct kmem_cache *a = kmem_cache_create("small", 289, 0, 0, NULL);
	struct kmem_cache *b;
	unsigned char *object;

	ok_eq(kmem_cache_size(a), 289);
	b = kmem_cache_create("larger", 294, 0, 0, NULL);
	ok(a == b, "%p, %p", (void *)a, (void *)b);
	ok_eq(kmem_cache_size(a), 294);
	object = kmem_cache_alloc(b, GFP_KERNEL);
	memset(object, 0xff, 294);
	kmem_cache_free(b, object);
	object = kmem_cache_zalloc(b, GFP_KERNEL);
	for (int i = 0; i < 294; i++)
		ok(!object[i], "byte %d", i);
	kmem_cache_free(a, object);
	ok_eq(kmem_cache_destroy(a), 0);
	ok_eq(kmem_cache_destroy(b), 0);
}

static void a_kmalloc_cache_takes_its_like(void)
{
	struct kmem_cache *cache = kmem_cache_create("like kmalloc", 250, 64, 0, NULL);
	void *object = kmem_cache_alloc(cache, GFP_KERNEL);

	ok(!listed("like kmalloc"), "it has a row");
	ok_eq(ksize(object), 256);
	kfree(object);
	ok_eq(kmem_cache_destroy(cache), 0);
	ok(listed("kmalloc-256"), "it ended kmalloc-256");
	ok(kmem_cache_create("kmalloc-256", 256, 0, 0, NULL) == NULL, "the name is taken");
}

static void unlike_caches_stay_apart(void)
{
	static const struct {
		unsigned int size, align;
		slab_flags_t flags;
		void (*ctor)(void *);
	} kinds[] = {
		{320, 0, 0, NULL},
		{336, 0, 0, NULL},
		{336, 32, 0, NULL},
		{320, 0, SLAB_NO_MERGE, NULL},
		{320, 0, 0, no_ctor_work},
		{320, 0, SLAB_RECLAIM_ACCOUNT, NULL},
		{320, 0, SLAB_CACHE_DMA, NULL},
		{320, 0, SLAB_RED_ZONE, NULL},
		{320, 0, SLAB_CONSISTENCY_CHECKS, NULL},
	};
	struct kmem_cache *caches[ARRAY_SIZE(kinds)];
	char name[32];

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		snprintf(name, sizeof(name), "kind-%u", i);
		caches[i] = kmem_cache_create(name, kinds[i].size, kinds[i].align, kinds[i].flags,
					      kinds[i].ctor);
		ok(listed(name), "%s was merged", name);
		for (unsigned int j = 0; j < i; j++)
			ok(caches[i] != caches[j], "%u and %u are one", i, j);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++)
		ok_eq(kmem_cache_destroy(caches[i]), 0);
}

static void no_merging_by_configuration(void)
{
	struct kmm_config config = {
		.synthetic = ONE_NODE, .node_bytes = 32UL << 20, .slab_nomerge = true};
	struct kmm *other;
	struct kmem_cache *a, *b;

	config.no_thp = true;
	ok_eq(kmm_boot(&config, &other), 0);
	ok_eq(kmm_attach(other, 0), 0);
	a = kmem_cache_create("a", 296, 0, 0, NULL);
	b = kmem_cache_create("b", 296, 0, 0, NULL);
	ok(a && b && a != b, "%p, %p", (void *)a, (void *)b);
	ok_eq(kmem_cache_destroy(a), 0);
	ok_eq(kmem_cache_destroy(b), 0);
	ok_eq(kmm_shutdown(other, NULL), 0);
	ok_eq(kmm_attach(machine, 0), 0);
}

/* One that is made may be given up again at once, when two threads made it. */
static void a_kmalloc_cache_that_came_late_stays_alone(void)
{
	struct kmm *late = boot_config((struct kmm_config){.synthetic = ONE_NODE,
							   .node_bytes = 64UL << 20,
							   .layout = ZONES_PLAIN,
							   .late_classes = true});
	struct kmem_cache *cache;

	kfree(kmalloc(256, GFP_KERNEL));
	ok(info_of(late, "kmalloc-256").num_slabs > 0, "no slab");
	cache = kmem_cache_create("like-256", 256, 0, 0, NULL);
	ok_eq(info_of(late, "like-256").num_slabs, 0);
	ok_eq(kmem_cache_destroy(cache), 0);
	end_machine(late);
	ok_eq(kmm_attach(machine, 0), 0);
}

int main(void)
{
	machine = boot_machine(ONE_NODE, 64UL << 20);
	RUN(a_like_cache_is_shared_and_has_one_row);
	RUN(the_size_is_the_larger_of_both);
	RUN(a_kmalloc_cache_takes_its_like);
	RUN(unlike_caches_stay_apart);
	RUN(no_merging_by_configuration);
	RUN(a_kmalloc_cache_that_came_late_stays_alone);
	end_machine(machine);
	return done();
}

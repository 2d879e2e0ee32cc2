/* SPDX-License-Identifier: MIT */
#include "machine.h"

#include <errno.h>

static struct kmm *machine;

static int node_of(const void *object)
{
	return virt_to_page(object)->nid;
}

#define CTOR_MAGIC 0x636f6e7374727563UL
static unsigned int ctor_calls;

static void ctor(void *object)
{
	*(u64 *)object = CTOR_MAGIC;
	ctor_calls++;
}

static void ctor_runs_once_and_its_work_stays(void)
{
	struct kmem_cache *cache = kmem_cache_create("ctor", 48, 0, 0, ctor);
	void *objects[500];
	unsigned int room;

	ctor_calls = 0;
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 500; i++) {
			u64 *object = objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);

			ok_eq(object[0], CTOR_MAGIC);
			ok(round == 0 || object[1] == 7, "the user's own words stay as well");
		}
		for (int i = 0; i < 500; i++) {
			((u64 *)objects[i])[1] = 7;
			kmem_cache_free(cache, objects[i]);
		}
		for (int i = 0; round == 0 && i < 500; i++)
			((u64 *)objects[i])[1] = 7;
		/*
		 * Later rounds get the same 500, as none of them has left the magazine and depot.
		 */
	}
	room = (unsigned int)info_of(machine, "ctor").num_objs;
	ok_eq(ctor_calls, room);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void gfp_zero_zeroes_the_object(void)
{
	struct kmem_cache *cache = kmem_cache_create("zeroed", 72, 0, 0, NULL);

	for (int i = 0; i < 3; i++) {
		unsigned char *object = kmem_cache_alloc(cache, GFP_KERNEL | __GFP_ZERO);

		for (int j = 0; j < 72; j++)
			ok(!object[j], "byte %d", j);
		memset(object, 0xff, 72);
		kmem_cache_free(cache, object);
	}
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void the_last_freed_is_the_next_given(void)
{
	struct kmem_cache *cache = kmem_cache_create("lifo", 64, 0, 0, NULL);
	void *a = kmem_cache_alloc(cache, GFP_KERNEL), *b = kmem_cache_alloc(cache, GFP_KERNEL);

	kmem_cache_free(cache, a);
	kmem_cache_free(cache, b);
	ok(kmem_cache_alloc(cache, GFP_KERNEL) == b, "b");
	ok(kmem_cache_alloc(cache, GFP_KERNEL) == a, "a");
	kmem_cache_free(cache, a);
	kmem_cache_free(cache, b);
	kmem_cache_free(cache, NULL);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void alternating_at_the_edge_of_a_magazine_does_not_thrash(void)
{
	struct kmem_cache *cache = kmem_cache_create("edge", 64, 0, 0, NULL);
	struct slab_counters before, after;
	void *objects[2000];

	for (int i = 0; i < 2000; i++)
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	for (int start = 0; start < 300; start++) {
		kmem_cache_free(cache, objects[start]);
		before = counters_of(machine);
		for (int i = 0; i < 50; i++) {
			void *object = kmem_cache_alloc(cache, GFP_KERNEL);

			kmem_cache_free(cache, object);
		}
		after = counters_of(machine);
		ok(after.alloc_slow + after.free_slow - before.alloc_slow - before.free_slow <= 1,
		   "start %d", start);
	}
	for (int i = 300; i < 2000; i++)
		kmem_cache_free(cache, objects[i]);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void each_misuse_stops_the_program(void)
{
	struct kmem_cache *cache = kmem_cache_create("victim", 96, 0, 0, NULL);
	struct kmem_cache *other = kmem_cache_create("stranger", 96, 0, 0, NULL);
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	char *a = kmem_cache_alloc(cache, GFP_KERNEL), *b = kmem_cache_alloc(cache, GFP_KERNEL);
	int local = 0;

	ok_dies("freed twice", kmem_cache_free(cache, a), kmem_cache_free(cache, a));
	ok_dies("freed twice", kmem_cache_free(cache, a), kmem_cache_free(cache, b),
		kmem_cache_free(cache, a), kmem_cache_shrink(cache));
	ok_dies("is of cache victim", kmem_cache_free(other, a));
	ok_dies("is in no slab", kmem_cache_free(cache, &local));
	ok_dies("is in no slab", kmem_cache_free(cache, page_address(page)));
	ok_dies("is not the start", kmem_cache_free(cache, a + 8), kmem_cache_shrink(cache));
	ok_dies("no node 7", kmem_cache_alloc_node(cache, GFP_KERNEL, 7));
	kmem_cache_free(cache, a);
	kmem_cache_free(cache, b);
	__free_pages(page, 0);
	ok_eq(kmem_cache_destroy(cache), 0);
	ok_eq(kmem_cache_destroy(other), 0);
}

static void alloc_node_gives_objects_of_that_node(void)
{
	struct kmem_cache *cache = kmem_cache_create("placed", 200, 0, 0, NULL);
	void *objects[400];

	for (int i = 0; i < 400; i++) {
		int nid = i % 7 == 0 ? NUMA_NO_NODE : i / 3 % 2;

		objects[i] = kmem_cache_alloc_node(cache, GFP_KERNEL, nid);
		ok_eq(node_of(objects[i]), nid == NUMA_NO_NODE ? 0 : nid);
	}
	slab_validate(machine);
	for (int i = 0; i < 400; i++)
		kmem_cache_free(cache, objects[i]);
	slab_validate(machine);
	ok_eq(info_of(machine, "placed").active_objs, 0);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void objects_of_another_node_go_home(void)
{
	struct kmem_cache *cache = kmem_cache_create("homing", 64, 0, 0, NULL);
	struct slab_counters before = counters_of(machine), after;
	void *objects[1000];

	for (int i = 0; i < 1000; i++)
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
	ok_eq(kmm_attach(machine, 2), 0);
	ok_eq(this_cpu->nid, 1);
	for (int i = 0; i < 1000; i++)
		kmem_cache_free(cache, objects[i]);
	after = counters_of(machine);
	ok_eq(after.free_remote - before.free_remote, 1000);
	for (int i = 0; i < 1000; i++) {
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		ok_eq(node_of(objects[i]), 1);
	}
	slab_validate(machine);
	for (int i = 0; i < 1000; i++)
		kmem_cache_free(cache, objects[i]);
	ok_eq(kmm_attach(machine, 0), 0);
	for (int i = 0; i < 1000; i++) {
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		ok_eq(node_of(objects[i]), 0);
	}
	for (int i = 0; i < 1000; i++)
		kmem_cache_free(cache, objects[i]);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void a_full_node_borrows_from_the_other(void)
{
	struct kmem_cache *cache = kmem_cache_create("borrower", 4096, 0, 0, NULL);
	static void *objects[40000];
	unsigned int nr[2] = {0, 0}, n = 0;

	while (n < 40000 && (objects[n] = kmem_cache_alloc(cache, GFP_KERNEL)))
		nr[node_of(objects[n++])]++;
	ok(nr[0] > 5000 && nr[1] > 5000, "%u of node 0, %u of node 1", nr[0], nr[1]);
	ok(n < 40000, "memory has no end");
	ok(!kmem_cache_alloc_node(cache, GFP_KERNEL, 1), "nor has node 1");
	slab_validate(machine);
	while (n)
		kmem_cache_free(cache, objects[--n]);
	slab_validate(machine);
	ok_eq(info_of(machine, "borrower").active_objs, 0);
	for (int i = 0; i < 100; i++) {
		int nid = i & 1;

		objects[i] = kmem_cache_alloc_node(cache, GFP_KERNEL, nid);
		ok_eq(node_of(objects[i]), nid);
	}
	for (int i = 0; i < 100; i++)
		kmem_cache_free(cache, objects[i]);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void thisnode_does_not_borrow(void)
{
	struct kmem_cache *cache = kmem_cache_create("strict", 4096, 0, 0, NULL);
	static void *objects[40000];
	unsigned int n = 0;

	while (n < 40000 && (objects[n] = kmem_cache_alloc(cache, GFP_KERNEL | __GFP_THISNODE)))
		ok_eq(node_of(objects[n++]), 0);
	ok(n < 40000, "memory has no end");
	objects[n] = kmem_cache_alloc(cache, GFP_KERNEL);
	ok(objects[n] && node_of(objects[n]) == 1, "the other node has some");
	for (unsigned int i = 0; i <= n; i++)
		kmem_cache_free(cache, objects[i]);
	ok_eq(kmem_cache_destroy(cache), 0);
}

/* What a magazine was filled with when this node had nothing is not for who asks for this node. */
static void thisnode_takes_no_strays_from_a_magazine(void)
{
	struct kmem_cache *cache = kmem_cache_create("stray", 4096, 0, 0, NULL);
	struct page *taken = NULL, *page;
	void *stray, *object;

	while ((page = alloc_pages(GFP_KERNEL | __GFP_THISNODE, 0))) {
		page->private = (unsigned long)taken;
		taken = page;
	}
	stray = kmem_cache_alloc(cache, GFP_KERNEL);
	ok_eq(node_of(stray), 1);
	ok(!kmem_cache_alloc(cache, GFP_KERNEL | __GFP_THISNODE), "a stray by alloc");
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	ok_eq(node_of(object), 1);
	kmem_cache_free(cache, object);
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	ok(!kmem_cache_alloc_node(cache, GFP_KERNEL | __GFP_THISNODE, 0), "a stray by alloc_node");
	kmem_cache_free(cache, object);
	kmem_cache_free(cache, stray);
	for (; taken; taken = page) {
		page = (struct page *)taken->private;
		__free_pages(taken, 0);
	}
	slab_validate(machine);
	ok_eq(kmem_cache_destroy(cache), 0);
}

/* Who forgets a slot takes its magazines for empty ones, whatever was in them. */
static void a_forgotten_magazine_is_an_empty_one(void)
{
	struct kmem_cache *cache = kmem_cache_create("forgotten", 4096, 0, 0, NULL);
	struct magazine *mag = cache_magazine(cache, cpu_get());
	struct page *taken = NULL, *page;
	void *objects[64];
	unsigned int n = 0;

	while ((page = alloc_pages(GFP_KERNEL | __GFP_THISNODE, 0))) {
		page->private = (unsigned long)taken;
		taken = page;
	}
	do
		objects[n++] = kmem_cache_alloc(cache, GFP_KERNEL);
	while (magazine_nr(mag));
	ok(mag->strays, "none of the other node");
	cache_forget_slot(cache, cpu_get());
	slab_validate(machine);
	while (n)
		kmem_cache_free(cache, objects[--n]);
	for (; taken; taken = page) {
		page = (struct page *)taken->private;
		__free_pages(taken, 0);
	}
	ok_eq(kmem_cache_destroy(cache), 0);
}

/* Another cache's magazines will lie there otherwise than these do. */
static void closed_magazines_leave_zeros(unsigned int nr_nodes)
{
	struct kmem_cache *cache = kmem_cache_create("closed", 64, 0, 0, NULL);
	struct magazine *mag = cache_magazine(cache, cpu_get());
	const u64 *words = percpu_ptr(cpu_get(), cache->remote_offset); /* that one lies first */
	static void *objects[2000];
	unsigned int nr;

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 2000; i++)
			objects[i] = kmem_cache_alloc_node(cache, GFP_KERNEL, i % (int)nr_nodes);
		for (int i = 0; i < 2000; i++)
			kmem_cache_free(cache, objects[i]);
	}
	nr = (unsigned int)((cache->mag_offset - cache->remote_offset + sizeof(*mag)) / 8) +
	     cache->mag_max;
	ok(mag->capacity > cache->mag_capacity, "it has not grown");
	kmm_drain(machine);
	ok_eq(mag->capacity, 0);
	ok_eq(kmem_cache_destroy(cache), 0);
	for (unsigned int i = 0; i < nr; i++)
		ok(!words[i], "word %u of %u: %#lx", i, nr, (unsigned long)words[i]);
}

static void closed_magazines_leave_zeros_behind(void)
{
	closed_magazines_leave_zeros(1); /* the remote one was never open */
	closed_magazines_leave_zeros(2);
}

int main(void)
{
	machine = boot_machine(TWO_NODES, 64UL << 20);
	RUN(ctor_runs_once_and_its_work_stays);
	RUN(gfp_zero_zeroes_the_object);
	RUN(the_last_freed_is_the_next_given);
	RUN(alternating_at_the_edge_of_a_magazine_does_not_thrash);
	RUN(each_misuse_stops_the_program);
	RUN(alloc_node_gives_objects_of_that_node);
	RUN(objects_of_another_node_go_home);
	RUN(a_full_node_borrows_from_the_other);
	RUN(thisnode_does_not_borrow);
	RUN(thisnode_takes_no_strays_from_a_magazine);
	RUN(a_forgotten_magazine_is_an_empty_one);
	RUN(closed_magazines_leave_zeros_behind);
	end_machine(machine);
	return done();
}

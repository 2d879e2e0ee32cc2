/* SPDX-License-Identifier: MIT */
/*
 * Slabs that belong to slots: what threads hand to and fro shares no cache lines afterwards, and comes
 * home. One thread plays all parts here, slot after slot, so each test goes the same way every time.
 */
#include "machine.h"

#include <errno.h>

#include "arch/slots.h"

#define NR_PARTS 2
#define MANY	 20000

static struct kmm *machine;
static struct kmm_cpu *part[NR_PARTS];

/* From now on this thread is that slot's. */
static void play(int i)
{
	this_cpu = part[i];
}

static void begin(const char *synthetic, u64 node_bytes)
{
	struct kmm_cpu *before;

	machine = boot_machine(synthetic, node_bytes);
	part[0] = this_cpu;
	ok_eq(slot_borrow(machine, &before), 0);
	part[1] = this_cpu;
	play(0);
}

static void end(void)
{
	play(1);
	slot_return(part[0]);
	end_machine(machine);
}

static u32 key_of(const void *object)
{
	return virt_to_page(object)->slab_key;
}

static u64 nr_slabs(const struct kmem_cache *cache)
{
	u64 sum = 0;

	for (u32 nid = 0; nid < cache->nr_nodes; nid++)
		sum += cache->nodes[nid]->nr_slabs;
	return sum;
}

static void allocate(struct kmem_cache *cache, void **objects, int nr)
{
	for (int i = 0; i < nr; i++) {
		objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		ok(objects[i] != NULL, "object %d of %d", i, nr);
	}
}

static void release(struct kmem_cache *cache, void **objects, int nr)
{
	for (int i = 0; i < nr; i++)
		kmem_cache_free(cache, objects[i]);
}

static bool share_a_line(void *const a[], void *const b[], int nr)
{
	for (int i = 0; i < nr; i++)
		for (int j = 0; j < nr; j++)
			if ((uintptr_t)a[i] / CACHELINE_SIZE == (uintptr_t)b[j] / CACHELINE_SIZE)
				return true;
	return false;
}

/*
 *	slot 0 allocates	| 0 | 1 | 0 | 1 | ...	and deals out;
 *	each frees its own, and what each allocates then lies apart.
 */
static void what_is_dealt_out_and_freed_is_shared_no_more(void)
{
	static const unsigned int sizes[] = {8, 16, 24, 40, 48, 56};
	void *hand[NR_PARTS][64];

	begin(ONE_NODE, 64 << 20);
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct kmem_cache *cache = kmem_cache_create("cards", sizes[s], 8, 0, NULL);

		for (int i = 0; i < 64; i++)
			for (int p = 0; p < NR_PARTS; p++)
				allocate(cache, &hand[p][i], 1);
		ok(share_a_line(hand[0], hand[1], 64), "dealt out apart");
		for (int round = 0; round < 20; round++) {
			for (int p = 0; p < NR_PARTS; p++) {
				play(p);
				release(cache, hand[p], 64);
			}
			for (int p = 0; p < NR_PARTS; p++) {
				play(p);
				allocate(cache, hand[p], 64);
			}
			ok(!share_a_line(hand[0], hand[1], 64), "%u bytes, round %d", sizes[s],
			   round);
		}
		slab_validate(machine);
		for (int p = 0; p < NR_PARTS; p++)
			release(cache, hand[p], 64);
		play(0);
		ok_eq(kmem_cache_destroy(cache), 0);
	}
	end();
}

static void slots_that_allocate_by_turns_share_no_line(void)
{
	struct kmem_cache *cache;
	void *objects[NR_PARTS][1000];
	struct slab_counters before, after;

	begin(ONE_NODE, 64 << 20);
	cache = kmem_cache_create("turns", 8, 0, 0, NULL);
	for (int i = 0; i < 1000; i++)
		for (int p = 0; p < NR_PARTS; p++) {
			play(p);
			allocate(cache, &objects[p][i], 1);
		}
	ok(!share_a_line(objects[0], objects[1], 1000), "a line is of both");
	before = counters_of(machine);
	for (int p = 0; p < NR_PARTS; p++) {
		play(p);
		release(cache, objects[p], 1000);
	}
	after = counters_of(machine);
	ok_eq(after.free_remote, before.free_remote);
	play(0);
	ok_eq(kmem_cache_destroy(cache), 0);
	end();
}

/* Slot 0 only allocates, slot 1 only frees. */
static void what_another_frees_comes_home(void)
{
	struct kmem_cache *cache;
	void *objects[100];
	u64 most = 0, slabs;

	begin(ONE_NODE, 64 << 20);
	cache = kmem_cache_create("post", 48, 0, 0, NULL);
	for (int round = 0; round < 2000; round++) {
		play(0);
		allocate(cache, objects, 100);
		for (int i = 0; i < 100; i++)
			ok_eq(slab_key_owner(key_of(objects[i])), slab_owner(cache, part[0]));
		play(1);
		release(cache, objects, 100);
		most = max_t(u64, most, nr_slabs(cache));
	}
	slabs = cache->mag_capacity / info_of(machine, "post").objperslab;
	ok(most <= 2 * slabs + 4, "%llu slabs for 100 objects at a time", (unsigned long long)most);
	slab_validate(machine);
	play(0);
	ok_eq(kmem_cache_destroy(cache), 0);
	end();
}

/* Handed to another and back, over and over: the memory held stays what it was. */
static void objects_that_wander_hold_no_more_memory(void)
{
	static void *objects[NR_PARTS][2000];
	struct kmem_cache *cache;
	u64 first = 0, last = 0;

	begin(ONE_NODE, 64 << 20);
	cache = kmem_cache_create("wander", 40, 0, 0, NULL);
	for (int round = 0; round < 60; round++) {
		for (int p = 0; p < NR_PARTS; p++) {
			play(p);
			allocate(cache, objects[p], 2000);
		}
		for (int p = 0; p < NR_PARTS; p++) {
			play((p + round) % NR_PARTS);
			release(cache, objects[p], 2000);
		}
		last = nr_slabs(cache);
		first = round == 5 ? last : first;
	}
	ok(last <= first + 16, "%llu slabs, and %llu in the end", (unsigned long long)first,
	   (unsigned long long)last);
	slab_validate(machine);
	play(0);
	ok_eq(kmem_cache_destroy(cache), 0);
	end();
}

/* Slot 0 leaves holes all over; slot 1 fills them, but for a part. */
static void what_others_leave_free_is_used_when_it_is_much(void)
{
	static void *held[MANY], *more[MANY];
	struct kmem_cache *cache;
	u64 slabs, objects;
	int kept = 0;

	begin(ONE_NODE, 64 << 20);
	cache = kmem_cache_create("holes", 40, 0, 0, NULL);
	allocate(cache, held, MANY);
	for (int i = 0; i < MANY; i++)
		if (i % 2)
			held[kept++] = held[i];
		else
			kmem_cache_free(cache, held[i]);
	ok_eq(kmem_cache_shrink(cache), -EBUSY);
	slabs = nr_slabs(cache);
	objects = cache->nodes[0]->nr_objects;
	play(1);
	allocate(cache, more, MANY - kept);
	/* What may stay free of others' is an eighth, and `apart`. */
	ok(nr_slabs(cache) * 8 <= slabs * 10 + (cache->apart * slabs * 8) / objects + 8,
	   "%llu slabs, then %llu", (unsigned long long)slabs, (unsigned long long)nr_slabs(cache));
	slab_validate(machine);
	release(cache, more, MANY - kept);
	release(cache, held, kept);
	play(0);
	ok_eq(kmem_cache_destroy(cache), 0);
	end();
}

/* A slab that slot 1 has only borrowed from stays slot 0's; one it has most of becomes its own. */
static void a_slab_is_whose_objects_are_the_most(void)
{
	struct kmem_cache *cache;
	struct page *slab;
	void *objects[64], *taken[64];
	u32 owner[NR_PARTS];

	begin(ONE_NODE, 64 << 20);
	cache = kmem_cache_create("most", 56, 0, 0, NULL);
	for (int p = 0; p < NR_PARTS; p++)
		owner[p] = slab_owner(cache, part[p]);
	ok(owner[0] && owner[1] && owner[0] != owner[1], "owners %#x and %#x", owner[0], owner[1]);
	slab = slab_page_new(cache, GFP_KERNEL, 0);
	ok(slab->objects > 60 && slab->objects < 80, "%u objects", slab->objects);
	ok_eq(node_add_slab(cache, slab, objects, 40), 40);
	ok_eq(slab_key_owner(slab->slab_key), owner[0]);
	play(1);
	ok_eq(node_take(cache, 0, taken, 1, false), 0);
	ok_eq(node_take(cache, 0, taken, 1, true), 1);
	ok_eq(slab_key_owner(slab->slab_key), owner[0]);
	cache->depot_max = 0;
	play(0);
	node_put(cache, 0, objects, 30);
	play(1);
	ok_eq(node_take(cache, 0, taken + 1, 1, true), 1);
	ok_eq(slab_key_owner(slab->slab_key), owner[1]);
	slab_validate(machine);
	ok_eq(node_take(cache, 0, taken + 2, 1, false), 1);
	node_put(cache, 0, taken, 3);
	node_put(cache, 0, objects + 30, 10);
	play(0);
	/* Empty, and so nobody's. */
	ok_eq(node_take(cache, 0, taken, 1, false), 1);
	ok_eq(slab_key_owner(slab->slab_key), owner[0]);
	node_put(cache, 0, taken, 1);
	node_drain(cache, 0);
	ok_eq(kmem_cache_destroy(cache), 0);
	end();
}

static void a_depot_is_of_one_slot(void)
{
	struct kmem_cache *cache;
	struct cache_node *node;
	void *objects[64], *again[32], *all[256];
	unsigned int nr;

	begin(ONE_NODE, 64 << 20);
	cache = kmem_cache_create("one's", 48, 0, 0, NULL);
	node = cache->nodes[0];
	ok_eq(node_add_slab(cache, slab_page_new(cache, GFP_KERNEL, 0), objects, 64), 64);
	node_put(cache, 0, objects, 32);
	ok_eq(node->depot_nr, 32);
	play(1);
	node_put(cache, 0, objects + 32, 16);
	ok_eq(node->depot_nr, 32);
	ok_eq(node_take(cache, 0, again, 32, false), 0);
	play(0);
	ok_eq(node_take(cache, 0, again, 32, false), 32);
	ok(!memcmp(again, objects, 32 * sizeof(*objects)), "not what was in the depot");
	/* With nothing in it anybody may have it. */
	play(1);
	node_put(cache, 0, objects + 48, 16);
	ok_eq(node->depot_nr, 16);
	play(0);
	node_put(cache, 0, again, 32);
	ok_eq(node->depot_nr, 16);
	/* Without memory anybody gets what there is: out of the slabs, then the depot. */
	for (nr = 0; node_take(cache, 0, all + nr, 1, true); nr++)
		ok(nr < 256, "no end of objects");
	ok_eq(nr, node->nr_objects);
	ok_eq(node->depot_nr, 0);
	node_put_home(cache, all, nr);
	node_drain(cache, 0);
	ok_eq(kmem_cache_destroy(cache), 0);
	end();
}

static void the_last_objects_are_anybodys(void)
{
	static void *objects[300000];
	struct kmem_cache *cache;
	int nr = 0, freed = 0, got = 0;

	begin(ONE_NODE, 16 << 20);
	cache = kmem_cache_create("last", 56, 0, 0, NULL);
	while ((objects[nr] = kmem_cache_alloc(cache, GFP_KERNEL | __GFP_NOWARN)))
		nr++;
	for (int i = 0; i < nr; i += 3, freed++) {
		kmem_cache_free(cache, objects[i]);
		objects[i] = NULL;
	}
	kmem_cache_shrink(cache);
	play(1);
	for (int i = 0; i < nr; i += 3)
		got += !!(objects[i] = kmem_cache_alloc(cache, GFP_KERNEL | __GFP_NOWARN));
	ok_eq(got, freed);
	release(cache, objects, nr);
	slab_validate(machine);
	play(0);
	ok_eq(kmem_cache_destroy(cache), 0);
	end();
}

/* The next thread has the slot, and with it the slabs of the one that ended. */
static void slabs_outlive_their_thread(void)
{
	struct kmem_cache *cache;
	struct slab_counters before, after;
	struct kmm_cpu *self;
	void *objects[300];

	begin(ONE_NODE, 64 << 20);
	cache = kmem_cache_create("heir", 24, 0, 0, NULL);
	play(1);
	allocate(cache, objects, 300);
	slot_return(part[0]);
	ok_eq(slot_borrow(machine, &self), 0);
	ok(this_cpu == part[1], "another slot");
	before = counters_of(machine);
	release(cache, objects, 300);
	after = counters_of(machine);
	ok_eq(after.free_remote, before.free_remote);
	play(0);
	ok_eq(kmem_cache_destroy(cache), 0);
	end();
}

/* Slots 0 and 255 have one number. */
static void there_may_be_more_slots_than_numbers(void)
{
	static struct kmm_cpu *slots[SLAB_OWNERS + 5];
	static void *objects[SLAB_OWNERS + 5][2];
	struct kmem_cache *cache;
	struct kmm_cpu *before;

	machine = boot_machine(ONE_NODE, 64 << 20);
	cache = kmem_cache_create("crowd", 8, 0, 0, NULL);
	slots[0] = this_cpu;
	for (u32 i = 1; i < ARRAY_SIZE(slots); i++) {
		ok_eq(slot_borrow(machine, &before), 0);
		slots[i] = this_cpu;
		ok_eq(slots[i]->slot, i);
	}
	ok_eq(slab_owner(cache, slots[0]), slab_owner(cache, slots[SLAB_OWNERS]));
	ok(slab_owner(cache, slots[0]) != slab_owner(cache, slots[SLAB_OWNERS - 1]), "one number");
	for (int round = 0; round < 3; round++) {
		for (u32 i = 0; i < ARRAY_SIZE(slots); i++) {
			this_cpu = slots[i];
			allocate(cache, objects[i], 2);
		}
		slab_validate(machine);
		for (u32 i = 0; i < ARRAY_SIZE(slots); i++) {
			this_cpu = slots[(i + (u32)round) % ARRAY_SIZE(slots)];
			release(cache, objects[i], 2);
		}
	}
	for (u32 i = (u32)ARRAY_SIZE(slots) - 1; i; i--) {
		this_cpu = slots[i];
		slot_return(slots[0]);
	}
	ok_eq(kmem_cache_destroy(cache), 0);
	end_machine(machine);
}

static void objects_of_a_line_and_more_have_no_owner(void)
{
	static const unsigned int sizes[] = {64, 72, 96, 1024};

	begin(ONE_NODE, 64 << 20);
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		struct kmem_cache *cache = kmem_cache_create("lines", sizes[s], 0, 0, NULL);
		void *object;

		play(0);
		allocate(cache, &object, 1);
		ok_eq(slab_key_owner(key_of(object)), 0);
		ok_eq(cache->remote_capacity, 0);
		play(1);
		release(cache, &object, 1);
		ok_eq(magazine_nr(cache_magazine(cache, this_cpu)), 1);
		play(0);
		ok_eq(kmem_cache_destroy(cache), 0);
	}
	end();
}

/* The objects of another node's slot go home past both. */
static void nodes_and_slots_do_not_mix(void)
{
	struct kmem_cache *cache;
	void *here[100], *there[100];

	machine = boot_machine(TWO_NODES, 64 << 20);
	cache = kmem_cache_create("nodes", 48, 0, 0, NULL);
	allocate(cache, here, 100);
	for (int i = 0; i < 100; i++)
		there[i] = kmem_cache_alloc_node(cache, GFP_KERNEL, 1);
	for (int i = 0; i < 100; i++) {
		ok_eq(virt_to_page(there[i])->nid, 1);
		ok_eq(slab_key_owner(key_of(there[i])), slab_key_owner(key_of(here[i])));
		kmem_cache_free(cache, there[i]);
		kmem_cache_free(cache, here[i]);
	}
	slab_validate(machine);
	ok_eq(kmem_cache_destroy(cache), 0);
	end_machine(machine);
}

static void a_second_free_by_another_is_found(void)
{
	struct kmem_cache *cache;
	void *object;

	begin(ONE_NODE, 64 << 20);
	cache = kmem_cache_create("twice", 48, 0, 0, NULL);
	allocate(cache, &object, 1);
	play(1);
	ok_dies("freed twice", kmem_cache_free(cache, object), kmem_cache_free(cache, object));
	kmem_cache_free(cache, object);
	play(0);
	ok_eq(kmem_cache_destroy(cache), 0);
	end();
}

/* Whichever number of others wait in the remote magazine: at one of them it is full. */
static void a_second_free_is_found_however_full_the_magazine_is(void)
{
	struct kmem_cache *cache;
	static void *objects[200];
	void *object;

	begin(ONE_NODE, 64 << 20);
	cache = kmem_cache_create("twice", 48, 0, 0, NULL);
	allocate(cache, objects, ARRAY_SIZE(objects));
	allocate(cache, &object, 1);
	play(1);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		ok_dies("freed twice", kmem_cache_free(cache, object),
			kmem_cache_free(cache, object));
		kmem_cache_free(cache, objects[i]);
	}
	kmem_cache_free(cache, object);
	play(0);
	ok_eq(kmem_cache_destroy(cache), 0);
	end();
}

int main(void)
{
	RUN(what_is_dealt_out_and_freed_is_shared_no_more);
	RUN(slots_that_allocate_by_turns_share_no_line);
	RUN(what_another_frees_comes_home);
	RUN(objects_that_wander_hold_no_more_memory);
	RUN(what_others_leave_free_is_used_when_it_is_much);
	RUN(a_slab_is_whose_objects_are_the_most);
	RUN(a_depot_is_of_one_slot);
	RUN(the_last_objects_are_anybodys);
	RUN(slabs_outlive_their_thread);
	RUN(there_may_be_more_slots_than_numbers);
	RUN(objects_of_a_line_and_more_have_no_owner);
	RUN(nodes_and_slots_do_not_mix);
	RUN(a_second_free_by_another_is_found);
	RUN(a_second_free_is_found_however_full_the_magazine_is);
	return done();
}

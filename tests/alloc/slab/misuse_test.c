/* SPDX-License-Identifier: MIT */
/*
 * Each kind of misuse under each flag: is it found, and when?
 *
 *	                                    no flag   F        Z        P        U
 *	double free, twice in a row         at once   at once  at once  at once  at once
 *	double free, others in between      late      at once  at once  at once  at once
 *	address inside an object            late      at once  at once  at once  at once
 *	foreign pointer                     at once   at once  at once  at once  at once
 *	object of another cache             at once   at once  at once  at once  at once
 *	one byte past the end               never     never    at once  never    never
 *	one byte before the start           never     never    at once  never    never
 *	write after free                    never     never    never    at once  never
 *	destroy with live objects           refused, whatever the flags
 *
 * At once: in the call, or for a write in the next call with the object. Late: when the object
 * reaches its slab, the latest time for which is drain, shrink, destroy or shutdown; with
 * --enable-checks at once. What is never found must do no harm to the allocator itself.
 */
#include "machine.h"

#include <errno.h>
#include <pthread.h>

enum found { NEVER, LATE, AT_ONCE };

#define NR_CASES 5 /* no flag, and each of them */
static const slab_flags_t flags_of[NR_CASES] = {0, SLAB_CONSISTENCY_CHECKS, SLAB_RED_ZONE,
						SLAB_POISON, SLAB_STORE_USER};
static const char *const flag_names[NR_CASES] = {"no flag", "F", "Z", "P", "U"};

static struct kmm *machine;
static struct kmem_cache *cache, *other;
static char *object, *neighbour;

static void free_twice_in_a_row(void)
{
	kmem_cache_free(cache, object);
	kmem_cache_free(cache, object);
}

static void free_twice_with_others_in_between(void)
{
	kmem_cache_free(cache, object);
	kmem_cache_free(cache, neighbour);
	kmem_cache_free(cache, object);
}

static void kfree_twice_with_others_in_between(void)
{
	kfree(object);
	kfree(neighbour);
	kfree(object);
}

static void free_inside(void)
{
	kmem_cache_free(cache, object + 8);
}

static void kfree_inside(void)
{
	kfree(object + 64);
}

static void free_in_bulk_with_one_twice(void)
{
	void *objects[] = {object, neighbour, object};

	kmem_cache_free_bulk(cache, 3, objects);
}

static void free_of_the_stack(void)
{
	int local = 0;

	kmem_cache_free(cache, &local);
}

static void free_of_a_page(void)
{
	kmem_cache_free(cache, (void *)get_zeroed_page(GFP_KERNEL));
}

static void kfree_of_a_page(void)
{
	kfree((void *)get_zeroed_page(GFP_KERNEL));
}

static void kfree_of_the_heap(void)
{
	kfree(machine);
}

static void free_to_another_cache(void)
{
	kmem_cache_free(other, object);
}

static void bulk_free_to_another_cache(void)
{
	void *objects[] = {object};

	kmem_cache_free_bulk(other, 1, objects);
}

static void write_past_the_end(void)
{
	object[100] ^= 1;
	kmem_cache_free(cache, object);
}

static void write_before_the_start(void)
{
	object[-1] ^= 1;
	kmem_cache_free(cache, object);
}

static void write_after_free(void)
{
	kmem_cache_free(cache, object);
	object[50] ^= 1;
	/* The same object or, of a slab that hands out in another order, all of it. */
	for (int i = 0; i < 200; i++)
		(void)kmem_cache_alloc(cache, GFP_KERNEL);
}

/* The rows of the table above. */
static const enum found always_at_once[NR_CASES] = {AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE};
static const enum found late_without_flags[NR_CASES] = {LATE, AT_ONCE, AT_ONCE, AT_ONCE, AT_ONCE};
static const enum found by_red_zones[NR_CASES] = {NEVER, NEVER, AT_ONCE, NEVER, NEVER};
static const enum found by_poison[NR_CASES] = {NEVER, NEVER, NEVER, AT_ONCE, NEVER};

static const struct misuse {
	const char *name;
	void (*commit)(void);
	const enum found *found; /* by flag */
	const char *says;
} misuses[] = {
	{"twice in a row", free_twice_in_a_row, always_at_once, "freed twice"},
	{"twice with others in between", free_twice_with_others_in_between, late_without_flags,
	 "freed twice"},
	{"the same by kfree", kfree_twice_with_others_in_between, late_without_flags,
	 "freed twice"},
	{"the same in bulk", free_in_bulk_with_one_twice, late_without_flags, "freed twice"},
	{"inside", free_inside, late_without_flags, "is not the start"},
	{"inside by kfree", kfree_inside, late_without_flags, "is not the start"},
	{"the stack", free_of_the_stack, always_at_once, "is in no slab"},
	{"a page", free_of_a_page, always_at_once, "is in no slab"},
	{"a page by kfree", kfree_of_a_page, always_at_once, "is not from kmalloc"},
	{"the heap", kfree_of_the_heap, always_at_once, "is not of this machine"},
	{"another cache's", free_to_another_cache, always_at_once, "is of cache misused"},
	{"another cache's in bulk", bulk_free_to_another_cache, always_at_once,
	 "is of cache misused"},
	{"past the end", write_past_the_end, by_red_zones, "written past its end: at offset 100"},
	{"before the start", write_before_the_start, by_red_zones,
	 "written below its start: at offset -1"},
	{"after free", write_after_free, by_poison, "written after it was freed: at offset 50"},
};

/* The flags of a case, and an object of 100 bytes between two others. */
static void prepare(int which)
{
	void *first;

	cache = kmem_cache_create("misused", 100, 0, flags_of[which], NULL);
	other = kmem_cache_create("other", 100, 0, 0, NULL);
	first = kmem_cache_alloc(cache, GFP_KERNEL);
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	neighbour = kmem_cache_alloc(cache, GFP_KERNEL);
	memset(object, 0, 100);
	kmem_cache_free(cache, first);
}

static void finish(void)
{
	kmem_cache_free(cache, object);
	kmem_cache_free(cache, neighbour);
	ok_eq(kmem_cache_destroy(cache), 0);
	ok_eq(kmem_cache_destroy(other), 0);
}

static enum found expected(const struct misuse *misuse, int which)
{
	enum found found = misuse->found[which];

	return KMM_DEBUG && found == LATE ? AT_ONCE : found;
}

/* In a child: commit it, and if late, drain. How did the child end, and what did it say? */
static void check_misuse(const struct misuse *misuse, int which)
{
	enum found found = expected(misuse, which);

	if (found != AT_ONCE) {
		int status, pid = fork();

		if (!pid) {
			misuse->commit();
			_exit(0);
		}
		waitpid(pid, &status, 0);
		ok(!status, "%s, %s: ends with status %#x", misuse->name, flag_names[which],
		   (unsigned int)status);
	}
	if (found == AT_ONCE)
		ok_dies(misuse->says, misuse->commit());
	if (found == LATE)
		ok_dies(misuse->says, misuse->commit(), kmm_drain(machine));
}

static void each_misuse_is_found_by_the_flags_it_needs(void)
{
	for (int which = 0; which < NR_CASES; which++) {
		prepare(which);
		for (unsigned int i = 0; i < ARRAY_SIZE(misuses); i++) {
			int before = tap_failures;

			check_misuse(&misuses[i], which);
			if (tap_failures != before)
				printf("# that was %s, %s\n", misuses[i].name, flag_names[which]);
		}
		finish();
	}
}

static void run_out_of_memory(void)
{
	while (kmem_cache_alloc(other, GFP_KERNEL))
		;
}

static void a_late_find_comes_by_shrink_destroy_and_shutdown_too(void)
{
	prepare(0);
	if (!KMM_DEBUG) {
		ok_dies("freed twice", free_twice_with_others_in_between(),
			kmem_cache_shrink(cache));
		ok_dies("freed twice", free_twice_with_others_in_between(),
			kmem_cache_destroy(cache));
		ok_dies("freed twice", free_twice_with_others_in_between(),
			kmm_shutdown(machine, NULL));
		ok_dies("is not the start", free_inside(), kmem_cache_destroy(cache));
	}
	/* And for want of memory. */
	ok_dies("freed twice", free_twice_with_others_in_between(), run_out_of_memory());
	finish();
}

static void destroy_with_live_objects_is_refused_under_any_flag(void)
{
	for (int which = 0; which < NR_CASES; which++) {
		prepare(which);
		ok_eq(kmem_cache_destroy(cache), -EBUSY);
		memset(object, 1, 100);
		finish();
	}
}

/*
 * The kernel's free lists lie in the free objects. Here a write to one, whatever it writes, has
 * nothing to mislead: all the objects there are come out again, each once.
 */
static void a_write_to_free_objects_misleads_no_plain_cache(void)
{
	enum { NR = 3000 };
	static const unsigned int sizes[] = {8, 64, 100, 1000, 4096};
	static char *objects[NR];

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned int size = sizes[i], nr = size > 1000 ? NR / 4 : NR;
		struct kmem_cache *plain = kmem_cache_create("plain", size, 0, 0, NULL);

		for (int round = 0; round < 2; round++) {
			for (unsigned int j = 0; j < nr; j++)
				objects[j] = kmem_cache_alloc(plain, GFP_KERNEL);
			for (unsigned int j = 0; j < nr; j++)
				kmem_cache_free(plain, objects[j]);
			if (!round)
				for (unsigned int j = 0; j < nr; j++)
					memset(objects[j], 0xff, size);
			slab_validate(machine);
		}
		for (unsigned int j = 0; j < nr; j++) {
			objects[j] = kmem_cache_alloc(plain, GFP_KERNEL);
			memset(objects[j], (int)j, size);
		}
		for (unsigned int j = 0; j < nr; j++) {
			ok(objects[j][0] == (char)j && objects[j][size - 1] == (char)j,
			   "object %u of %u bytes came twice", j, size);
			kmem_cache_free(plain, objects[j]);
		}
		phys_validate(machine);
		ok_eq(kmem_cache_destroy(plain), 0);
	}
}

static void the_same_write_is_found_by_poison(void)
{
	static const unsigned int sizes[] = {8, 64, 100, 1000, 4096};

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct kmem_cache *watched =
			kmem_cache_create("watched", sizes[i], 0, SLAB_POISON, NULL);
		void *freed = kmem_cache_alloc(watched, GFP_KERNEL);

		kmem_cache_free(watched, freed);
		ok_dies("written after it was freed: at offset 0 is 0xff",
			memset(freed, 0xff, sizes[i]), kmem_cache_alloc(watched, GFP_KERNEL));
		ok_dies("written after it was freed", memset(freed, 0xff, sizes[i]),
			kmem_cache_destroy(watched));
		ok_eq(kmem_cache_destroy(watched), 0);
	}
}

static pthread_barrier_t step;

/* The second free, which waits in this thread's magazine while the slab leaves the cache. */
static void *free_for_the_second_time(void *arg)
{
	struct kmem_cache *plain = arg;

	kmem_cache_free(plain, kmem_cache_alloc(plain, GFP_KERNEL));
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step);
	kmem_cache_free(plain, object);
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step);
	kmm_drain(machine);
	return NULL;
}

static void free_twice_by_two_threads(struct kmem_cache *plain, struct kmem_cache *heir)
{
	pthread_t thread;

	pthread_barrier_init(&step, NULL, 2);
	pthread_create(&thread, NULL, free_for_the_second_time, plain);
	pthread_barrier_wait(&step);
	object = kmem_cache_alloc(plain, GFP_KERNEL);
	kmem_cache_free(plain, object);
	pthread_barrier_wait(&step);
	pthread_barrier_wait(&step);
	kmm_drain(machine);
	for (int i = 0; i < 20000; i++)
		kmem_cache_alloc(heir, GFP_KERNEL);
	pthread_barrier_wait(&step);
	pthread_join(thread, NULL);
}

static void a_double_free_is_found_when_the_slab_is_anothers(void)
{
	struct kmem_cache *plain = kmem_cache_create("plain", 64, 0, SLAB_NO_MERGE, NULL);
	struct kmem_cache *heir = kmem_cache_create("heir", 64, 0, SLAB_NO_MERGE, NULL);

	ok_dies("freed twice", free_twice_by_two_threads(plain, heir));
	ok_eq(kmem_cache_destroy(plain), 0);
	ok_eq(kmem_cache_destroy(heir), 0);
}

int main(void)
{
	machine = boot_machine(ONE_NODE, 64UL << 20);
	RUN(each_misuse_is_found_by_the_flags_it_needs);
	RUN(a_late_find_comes_by_shrink_destroy_and_shutdown_too);
	RUN(destroy_with_live_objects_is_refused_under_any_flag);
	RUN(a_write_to_free_objects_misleads_no_plain_cache);
	RUN(the_same_write_is_found_by_poison);
	RUN(a_double_free_is_found_when_the_slab_is_anothers);
	end_machine(machine);
	return done();
}

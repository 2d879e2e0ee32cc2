/* SPDX-License-Identifier: MIT */
/*
 * Each kind of misuse, and the flags by which it is found:
 *
 *	one byte past or before an object	SLAB_RED_ZONE, at its free
 *	write after free			SLAB_POISON, at the next allocation or when the slab
 *						goes back
 *	double free, interior pointer		none, when it reaches the slab; any of the flags, at
 *						once
 *	wrong cache, foreign pointer		none, at once
 *	destroy with live objects		none; SLAB_STORE_USER says who allocated them
 *	damage to the slab's own account	SLAB_CONSISTENCY_CHECKS, at the next call
 */
#include "machine.h"

#include <errno.h>

static struct kmm *machine;

static const slab_flags_t one_flag[] = {SLAB_CONSISTENCY_CHECKS, SLAB_RED_ZONE, SLAB_POISON,
					SLAB_STORE_USER};

static struct kmem_cache *debug_cache(unsigned int size, slab_flags_t flags)
{
	return kmem_cache_create("watched", size, 0, flags, NULL);
}

static void objects_of_every_size_are_whole_under_all_flags(void)
{
	for (unsigned int size = 1; size <= 10000; size += size < 100 ? 1 : 371)
		for (unsigned int align = 8; align <= 4096; align *= 8) {
			struct kmem_cache *cache =
				kmem_cache_create("watched", size, align, SLAB_DEBUG_FLAGS, NULL);
			void *objects[20];

			for (int round = 0; round < 2; round++) {
				for (int i = 0; i < 20; i++) {
					objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
					ok(IS_ALIGNED((uintptr_t)objects[i], align), "%p, align %u",
					   objects[i], align);
					memset(objects[i], i, size);
				}
				slab_validate(machine);
				for (int i = 0; i < 20; i++) {
					ok_eq(((char *)objects[i])[0], i);
					ok_eq(((char *)objects[i])[size - 1], i);
					kmem_cache_free(cache, objects[i]);
				}
			}
			ok_eq(kmem_cache_destroy(cache), 0);
		}
}

static void overflow_by_one_byte_is_found_by_red_zone(void)
{
	static const unsigned int sizes[] = {1, 7, 8, 60, 64, 100, 4096, 5000};

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct kmem_cache *cache = debug_cache(sizes[i], SLAB_RED_ZONE);
		char *object = kmem_cache_alloc(cache, GFP_KERNEL);
		char want[64];

		snprintf(want, sizeof(want), "written past its end: at offset %u is 0x41",
			 sizes[i]);
		ok_dies(want, object[sizes[i]] = 0x41, kmem_cache_free(cache, object));
		ok_dies("written below its start: at offset -1 is 0x41", object[-1] = 0x41,
			kmem_cache_free(cache, object));
		memset(object, 0x41, sizes[i]);
		kmem_cache_free(cache, object);
		/* And of a free object: at its next allocation, or when its slab goes back. */
		ok_dies("written past its end", object[sizes[i]] = 0x41,
			kmem_cache_alloc(cache, GFP_KERNEL));
		ok_dies("written below its start", object[-1] = 0x41, kmem_cache_shrink(cache));
		ok_eq(kmem_cache_destroy(cache), 0);
	}
}

static void write_after_free_is_found_by_poison(void)
{
	struct kmem_cache *cache = debug_cache(100, SLAB_POISON);
	char *a = kmem_cache_alloc(cache, GFP_KERNEL), *b = kmem_cache_alloc(cache, GFP_KERNEL);

	kmem_cache_free(cache, a);
	ok_eq(a[0], 0x6b);
	ok_eq((unsigned char)a[99], 0xa5);
	ok_dies("written after it was freed: at offset 40 is 0x41", a[40] = 0x41,
		kmem_cache_alloc(cache, GFP_KERNEL));
	ok_dies("written after it was freed: at offset 99 is 0x41", a[99] = 0x41,
		kmem_cache_alloc(cache, GFP_KERNEL));
	ok_dies("written after it was freed: at offset 0 is", a[0]++, kmem_cache_free(cache, b),
		kmem_cache_shrink(cache));
	ok_dies("written after it was freed: at offset 1 is", a[1]--, slab_validate(machine));
	kmem_cache_free(cache, b);
	ok_dies("written after it was freed", b[7] = 0, kmem_cache_destroy(cache));
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void double_free_is_found_at_once_by_any_flag(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(one_flag); i++) {
		struct kmem_cache *cache = debug_cache(100, one_flag[i]);
		void *a = kmem_cache_alloc(cache, GFP_KERNEL),
		     *b = kmem_cache_alloc(cache, GFP_KERNEL);

		ok_dies("freed twice", kmem_cache_free(cache, a), kmem_cache_free(cache, b),
			kmem_cache_free(cache, a));
		ok_dies("freed twice", kmem_cache_free(cache, a), kfree(b), kfree(a));
		kmem_cache_free(cache, a);
		kmem_cache_free(cache, b);
		ok_eq(kmem_cache_destroy(cache), 0);
	}
}

static void interior_pointer_is_found_at_once_by_any_flag(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(one_flag); i++) {
		struct kmem_cache *cache = debug_cache(100, one_flag[i]);
		char *a = kmem_cache_alloc(cache, GFP_KERNEL);

		ok_dies("is not the start of an object of cache watched",
			kmem_cache_free(cache, a + 24));
		ok_dies("offset 24 in object", kfree(a + 24));
		ok_dies("is not the start",
			kmem_cache_free(cache, (char *)ALIGN_DOWN((uintptr_t)a, PAGE_SIZE) + 4095));
		kmem_cache_free(cache, a);
		ok_eq(kmem_cache_destroy(cache), 0);
	}
}

static void wrong_cache_and_foreign_pointer_need_no_flag(void)
{
	for (int flagged = 0; flagged < 2; flagged++) {
		struct kmem_cache *cache = debug_cache(100, flagged ? SLAB_STORE_USER : 0);
		struct kmem_cache *other = kmem_cache_create("other", 100, 0, 0, NULL);
		struct page *page = alloc_pages(GFP_KERNEL, 0);
		char *a = kmem_cache_alloc(cache, GFP_KERNEL);
		int local = 0;

		ok_dies(flagged ? "is of cache watched; last allocated by 0x"
				: "is of cache watched",
			kmem_cache_free(other, a));
		ok_dies("is in no slab", kmem_cache_free(cache, &local));
		ok_dies("is in no slab", kmem_cache_free(cache, page_address(page)));
		ok_dies("not from kmalloc", kfree(page_address(page)));
		kmem_cache_free(cache, a);
		__free_pages(page, 0);
		ok_eq(kmem_cache_destroy(cache), 0);
		ok_eq(kmem_cache_destroy(other), 0);
	}
}

static void damage_to_the_slab_is_found_by_consistency_checks(void)
{
	struct kmem_cache *cache = debug_cache(100, SLAB_CONSISTENCY_CHECKS);
	void *a = kmem_cache_alloc(cache, GFP_KERNEL);
	struct page *slab = virt_to_page(a)->head;

	ok_dies("in use of", slab->inuse++, kmem_cache_free(cache, a));
	ok_dies("in use of", slab->slab_free ^= 1, kmem_cache_alloc(cache, GFP_KERNEL));
	ok_dies("is marked wrong", slab->slab_key++, kmem_cache_free(cache, a));
	kmem_cache_free(cache, a);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void a_report_says_who_by_store_user(void)
{
	struct kmem_cache *cache = debug_cache(64, SLAB_STORE_USER | SLAB_POISON);
	char *a = kmem_cache_alloc(cache, GFP_KERNEL);
	char want[64];

	ok_dies("last allocated by 0x", kmem_cache_free(cache, a), kmem_cache_free(cache, a));
	ok_dies("last freed by 0x", kmem_cache_free(cache, a), kmem_cache_free(cache, a));
	snprintf(want, sizeof(want), "(thread %d on CPU 0)", this_cpu->owner_tid);
	ok_dies(want, kmem_cache_free(cache, a), a[3] = 0, kmem_cache_alloc(cache, GFP_KERNEL));
	kmem_cache_free(cache, a);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static __attribute__((noinline)) void *who_allocates(struct kmem_cache *cache, void **after)
{
	void *object = kmem_cache_alloc(cache, GFP_KERNEL);

	*after = __builtin_return_address(0);
	return object;
}

/* Where the fast path ends in a jump, which is up to the compiler. */
static void the_return_address_is_the_users(void)
{
	struct kmem_cache *cache = debug_cache(64, SLAB_STORE_USER);
	void *after, *object = who_allocates(cache, &after);
	char text[WHO_SIZE], *addr;
	uintptr_t said, start = (uintptr_t)who_allocates;

	slab_debug_who(cache, object, text);
	addr = strstr(text, "0x");
	ok(addr, "says \"%s\"", text);
	said = addr ? strtoul(addr, NULL, 16) : 0;
#if defined(__OPTIMIZE__) && !TAP_SANITIZED
	ok(said > start && said < start + 200, "%#lx is not in %#lx", said, start);
#else
	ok(said && start, "no address");
#endif
	kmem_cache_free(cache, object);
	ok_eq(kmem_cache_destroy(cache), 0);
}

/* Run destroy with stderr in a file, and read that. */
static int destroy_says(struct kmem_cache *cache, char *text, size_t size)
{
	FILE *file = tmpfile();
	int saved = dup(2), result;
	size_t length;

	fflush(stderr);
	dup2(fileno(file), 2);
	result = kmem_cache_destroy(cache);
	fflush(stderr);
	dup2(saved, 2);
	close(saved);
	rewind(file);
	length = fread(text, 1, size - 1, file);
	text[length] = '\0';
	fclose(file);
	return result;
}

static unsigned int count(const char *text, const char *what)
{
	unsigned int nr = 0;

	for (text = strstr(text, what); text; text = strstr(text + 1, what))
		nr++;
	return nr;
}

static void destroy_names_the_objects_that_live(void)
{
	static const slab_flags_t flags[] = {0, SLAB_STORE_USER, SLAB_DEBUG_FLAGS};

	for (unsigned int f = 0; f < ARRAY_SIZE(flags); f++) {
		struct kmem_cache *cache = debug_cache(200, flags[f]);
		void *objects[100];
		char text[8192], want[32];

		for (int i = 0; i < 100; i++)
			objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		for (int i = 0; i < 98; i++)
			kmem_cache_free(cache, objects[i]);
		ok_eq(destroy_says(cache, text, sizeof(text)), -EBUSY);
		ok(strstr(text, "watched: 2 objects are still in use\n"), "says \"%s\"", text);
		for (int i = 98; i < 100; i++) {
			snprintf(want, sizeof(want), "object %p is in use", objects[i]);
			ok_eq(count(text, want), 1);
		}
		ok_eq(count(text, "\n"), 3);
		ok_eq(count(text, "last allocated by 0x"), flags[f] & SLAB_STORE_USER ? 2 : 0);
		for (int i = 0; i < 98; i++)
			objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		ok_eq(destroy_says(cache, text, sizeof(text)), -EBUSY);
		ok_eq(count(text, "\n"), 1 + 8);
		for (int i = 0; i < 100; i++)
			kmem_cache_free(cache, objects[i]);
		ok_eq(destroy_says(cache, text, sizeof(text)), 0);
		ok_eq(strlen(text), 0);
	}
}

#define CTOR_MAGIC 0x636f6e7374727563UL

static void ctor(void *object)
{
	*(u64 *)object = CTOR_MAGIC;
}

static void a_constructed_object_is_not_poisoned(void)
{
	struct kmem_cache *cache = kmem_cache_create("constructed", 64, 0, SLAB_DEBUG_FLAGS, ctor);

	for (int i = 0; i < 3; i++) {
		u64 *object = kmem_cache_alloc(cache, GFP_KERNEL);

		ok_eq(object[0], CTOR_MAGIC);
		kmem_cache_free(cache, object);
	}
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void zeroed_bulk_and_node_calls_work_under_all_flags(void)
{
	struct kmem_cache *cache = debug_cache(100, SLAB_DEBUG_FLAGS);
	void *objects[200];
	char *object;

	for (int nid = 0; nid < 2; nid++) {
		object = kmem_cache_alloc_node(cache, GFP_KERNEL | __GFP_ZERO, nid);
		ok_eq(virt_to_page(object)->nid, nid);
		for (int i = 0; i < 100; i++)
			ok(!object[i], "byte %d", i);
		kmem_cache_free(cache, object);
	}
	ok_eq(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 200, objects), 200);
	slab_validate(machine);
	kmem_cache_free_bulk(cache, 200, objects);
	ok_eq(info_of(machine, "watched").active_objs, 0);
	ok_eq(kmem_cache_shrink(cache), 0);
	ok_eq(kmem_cache_destroy(cache), 0);
}

/* Too large for anything around it: 4 MiB is a slab by itself. */
static void the_largest_objects_do_without_red_zones(void)
{
	struct kmem_cache *cache = debug_cache(4U << 20, SLAB_DEBUG_FLAGS);
	void *object = kmem_cache_alloc(cache, GFP_KERNEL);

	ok(object, "no object");
	ok_dies("freed twice", kmem_cache_free(cache, object), kmem_cache_free(cache, object));
	kmem_cache_free(cache, object);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void *shuffle_objects(void *arg)
{
	struct kmem_cache *cache = arg;
	unsigned long random = (unsigned long)&random | 1;
	char *objects[64] = {NULL};

	for (unsigned long i = 0, nr = tap_ops(20000); i < nr; i++) {
		unsigned int slot = tap_random(&random) % 64;
		char fill = (char)slot;

		if (objects[slot]) {
			ok(objects[slot][0] == fill && objects[slot][99] == fill, "changed");
			kmem_cache_free(cache, objects[slot]);
			objects[slot] = NULL;
		} else if ((objects[slot] = kmem_cache_alloc(cache, GFP_KERNEL))) {
			memset(objects[slot], fill, 100);
		}
	}
	for (int i = 0; i < 64; i++)
		kmem_cache_free(cache, objects[i]);
	return NULL;
}

static void threads_share_a_watched_cache(void)
{
	struct kmem_cache *cache = debug_cache(100, SLAB_DEBUG_FLAGS);
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		ok_eq(pthread_create(&threads[i], NULL, shuffle_objects, cache), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	slab_validate(machine);
	ok_eq(info_of(machine, "watched").active_objs, 0);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static slab_flags_t parsed(const char *option, const char *name)
{
	slab_flags_t flags = 0xdead;

	ok_eq(slab_debug_parse(option, name, &flags), 0);
	return flags;
}

static void the_boot_option_reads_as_the_kernels(void)
{
	slab_flags_t flags;

	ok_eq(parsed(NULL, "x"), 0);
	ok_eq(parsed("", "x"), SLAB_DEBUG_FLAGS);
	ok_eq(parsed("-", "x"), 0);
	ok_eq(parsed("Z", "x"), SLAB_RED_ZONE);
	ok_eq(parsed("fzpu", "x"), SLAB_DEBUG_FLAGS);
	ok_eq(parsed("FP,x", "x"), SLAB_CONSISTENCY_CHECKS | SLAB_POISON);
	ok_eq(parsed("FP,x", "xy"), 0);
	ok_eq(parsed("FP,w,kmalloc-*", "kmalloc-64"), SLAB_CONSISTENCY_CHECKS | SLAB_POISON);
	ok_eq(parsed(",x", "x"), SLAB_DEBUG_FLAGS);
	ok_eq(parsed("Z;P,x", "x"), SLAB_POISON);
	ok_eq(parsed("Z;P,x", "y"), SLAB_RED_ZONE);
	ok_eq(parsed("P,x;Z", "x"), SLAB_POISON);
	ok_eq(parsed("Z;-,x", "x"), 0);
	/* An empty block says nothing. */
	ok_eq(parsed("Z;", "x"), SLAB_RED_ZONE);
	ok_eq(parsed(";;Z;;P,x;", "y"), SLAB_RED_ZONE);
	ok_eq(parsed("P,x;;", "y"), 0);
	ok_eq(parsed(";", "x"), 0);
	ok_eq(slab_debug_parse("ZQ", NULL, &flags), -EINVAL);
	ok_eq(slab_debug_parse("Z;T,x", NULL, &flags), -EINVAL);
}

static void the_boot_option_watches_kmalloc_and_new_caches(void)
{
	struct kmm *watched = boot_config((struct kmm_config){
		.synthetic = ONE_NODE, .node_bytes = 64UL << 20, .slub_debug = "FZPU"});
	struct kmem_cache *cache;
	char *object;

	ok_eq(kmm_attach(watched, 0), 0);
	cache = kmem_cache_create("plain", 100, 0, 0, NULL);
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	ok_dies("written past its end", object[100] = 1, kmem_cache_free(cache, object));
	kmem_cache_free(cache, object);
	ok_eq(kmem_cache_destroy(cache), 0);
	for (size_t size = 8; size <= 8192; size *= 2) {
		object = kmalloc(size, GFP_KERNEL);
		ok(IS_ALIGNED((uintptr_t)object, size), "%p of %zu", (void *)object, size);
		ok_eq(ksize(object), size);
		ok_dies("written past its end", object[size] = 1, kfree(object));
		ok_dies("written below its start", object[-1] = 1, kfree(object));
		kfree(object);
		ok_dies("written after it was freed", object[size / 2] = 1,
			kmalloc(size, GFP_KERNEL));
	}
	end_machine(watched);
	ok_eq(kmm_attach(machine, 0), 0);
}

/* kmalloc(60) is an object of 64 bytes, of which the last four are red. */
static void kmallocs_red_zone_begins_where_the_size_ends(void)
{
	struct kmm *watched = boot_config((struct kmm_config){
		.synthetic = TWO_NODES, .node_bytes = 64UL << 20, .slub_debug = "Z"});
	char *object, *moved;

	for (size_t size = 1; size <= 8192; size = size * 3 / 2 + 1)
		for (int nid = 0; nid < 2; nid++) {
			object = kmalloc_node(size, GFP_KERNEL | __GFP_ZERO, nid);
			ok_eq(virt_to_page(object)->nid, nid);
			ok(!object[size - 1], "not zeroed");
			memset(object, 0x41, size);
			ok_dies("written past its end", object[size] = 0x41, kfree(object));
			ok_dies("written past its end", object[size] = 0x41,
				slab_validate(watched));
			ok_dies("written past its end", object[size] = 0x41, ksize(object));
			kfree(object);
		}
	/* Who asks for the size may use it. */
	object = kmalloc(60, GFP_KERNEL);
	memset(object, 0x41, ksize(object));
	ok_dies("written past its end: at offset 64", object[64] = 0x41, kfree(object));
	/* Growing in place moves the zone; moving takes no red byte along. */
	ok(krealloc(object, 50, GFP_KERNEL) == object, "it moved");
	ok_dies("written past its end: at offset 50", object[50] = 0x41, kfree(object));
	ok(krealloc(object, 62, GFP_KERNEL) == object, "it moved");
	memset(object, 0x41, 62);
	ok_dies("written past its end: at offset 62", object[62] = 0x41,
		krealloc(object, 1000, GFP_KERNEL));
	moved = krealloc(object, 1000, GFP_KERNEL | __GFP_ZERO);
	ok_eq(moved[61], 0x41);
	ok_eq(moved[62], 0);
	ok_eq(moved[999], 0);
	ok_dies("written past its end: at offset 1000", moved[1000] = 0, kfree(moved));
	kfree_sensitive(moved);
	end_machine(watched);
	ok_eq(kmm_attach(machine, 0), 0);
}

static void a_boot_option_that_cannot_be_read_is_refused(void)
{
	struct kmm_config config = {.synthetic = ONE_NODE, .slub_debug = "FX"};
	struct kmm *none;

	ok_eq(kmm_boot(&config, &none), -EINVAL);
	ok(!strncmp(kmm_boot_error(), "slub_debug: FX:", 15), "%s", kmm_boot_error());
}

int main(void)
{
	machine = boot_machine(TWO_NODES, 64UL << 20);
	RUN(objects_of_every_size_are_whole_under_all_flags);
	RUN(overflow_by_one_byte_is_found_by_red_zone);
	RUN(write_after_free_is_found_by_poison);
	RUN(double_free_is_found_at_once_by_any_flag);
	RUN(interior_pointer_is_found_at_once_by_any_flag);
	RUN(wrong_cache_and_foreign_pointer_need_no_flag);
	RUN(damage_to_the_slab_is_found_by_consistency_checks);
	RUN(a_report_says_who_by_store_user);
	RUN(the_return_address_is_the_users);
	RUN(destroy_names_the_objects_that_live);
	RUN(a_constructed_object_is_not_poisoned);
	RUN(zeroed_bulk_and_node_calls_work_under_all_flags);
	RUN(the_largest_objects_do_without_red_zones);
	RUN(threads_share_a_watched_cache);
	RUN(the_boot_option_reads_as_the_kernels);
	RUN(the_boot_option_watches_kmalloc_and_new_caches);
	RUN(kmallocs_red_zone_begins_where_the_size_ends);
	RUN(a_boot_option_that_cannot_be_read_is_refused);
	end_machine(machine);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* The counters behind paths.csv: each has a name, and says what was done in between. */
#include "bench/paths.h"

#include "tests/alloc/phys/machine.h"

static void every_path_has_a_name_of_its_own(void)
{
	for (int i = 0; i < NR_PATHS; i++) {
		ok(path_names[i] && *path_names[i], "path %d", i);
		for (int j = 0; j < i; j++)
			ok(strcmp(path_names[i], path_names[j]), "%s twice", path_names[i]);
	}
	ok(!strcmp(path_names[PATH_phys_pcp_refill], "phys/pcp_refill"), "%s",
	   path_names[PATH_phys_pcp_refill]);
	ok(!strcmp(path_names[PATH_slab_alloc_fast], "slab/alloc_fast"), "%s",
	   path_names[PATH_slab_alloc_fast]);
	ok(!strcmp(path_names[PATH_atomics], "atomics"), "%s", path_names[PATH_atomics]);
}

static void what_was_done_in_between_is_counted(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct kmem_cache *cache = kmem_cache_create("paths", 64, 0, 0, NULL);
	struct path_counts before, after, counts;
	struct page *pages[100];
	void *object;

	/* The first of each fills the list that the others come from. */
	kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
	__free_pages(alloc_pages(GFP_KERNEL, 0), 0);
	paths_read(machine, &before);
	for (int i = 0; i < 100; i++) {
		pages[0] = alloc_pages(GFP_KERNEL, 0);
		__free_pages(pages[0], 0);
	}
	object = kmem_cache_alloc(cache, GFP_KERNEL);
	paths_read(machine, &after);
	paths_between(&before, &after, &counts);
	ok_eq(counts.count[PATH_phys_pcp_alloc], 100);
	ok_eq(counts.count[PATH_phys_pcp_free], 100);
	ok_eq(counts.count[PATH_phys_pcp_refill], 0);
	ok_eq(counts.count[PATH_slab_alloc_fast], 1);
	ok_eq(counts.count[PATH_slab_free_fast], 0);
	ok_eq(counts.count[PATH_atomics], 0);

	/* More than a list holds: it is filled from the buddy. */
	before = after;
	for (int round = 0; round < 40; round++)
		for (int i = 0; i < 100; i++) {
			struct page *page = alloc_pages(GFP_KERNEL, 0);

			page->private = (unsigned long)(round || i ? pages[0] : NULL);
			pages[0] = page;
		}
	paths_read(machine, &after);
	paths_between(&before, &after, &counts);
	ok_eq(counts.count[PATH_phys_pcp_alloc], 4000);
	ok(counts.count[PATH_phys_pcp_refill] > 0, "no refill");
	ok(counts.count[PATH_phys_buddy_alloc] >= 3000, "%llu blocks from the buddy",
	   (unsigned long long)counts.count[PATH_phys_buddy_alloc]);
	for (struct page *page = pages[0], *next; page; page = next) {
		next = (struct page *)page->private;
		__free_pages(page, 0);
	}
	kmem_cache_free(cache, object);
	ok_eq(kmem_cache_destroy(cache), 0);
	shut_down(machine);
}

static void counters_that_went_back_count_as_nothing(void)
{
	struct path_counts before = {.count = {5, 7}}, after = {.count = {4, 9}}, counts;

	paths_between(&before, &after, &counts);
	ok_eq(counts.count[0], 0);
	ok_eq(counts.count[1], 2);
}

static void atomics_of_locks_are_as_by_hand(void)
{
	static const struct {
		enum lock_kind kind;
		u64 atomics;
	} cases[] = {{LOCK_TTAS, 110}, {LOCK_TICKET, 100}, {LOCK_MCS, 190}, {LOCK_MUTEX, 210}};
	const struct lock_stats stats = {.acquired = 100, .contended = 10};

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct path_counts counts = {.count = {[PATH_atomics] = 3}};

		paths_add_locks(&counts, cases[i].kind, &stats);
		ok_eq(counts.count[PATH_atomics], 3 + cases[i].atomics);
		ok_eq(counts.count[PATH_lock_acquired], 100);
		ok_eq(counts.count[PATH_lock_contended], 10);
	}
}

int main(void)
{
	RUN(every_path_has_a_name_of_its_own);
	RUN(what_was_done_in_between_is_counted);
	RUN(counters_that_went_back_count_as_nothing);
	RUN(atomics_of_locks_are_as_by_hand);
	return done();
}

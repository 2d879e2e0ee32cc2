/* SPDX-License-Identifier: MIT */
/* What the suites' own checks are worth: a broken allocator, a leak and a wrong table do not pass them. */
#include "bench/suites/lines.h"
#include "bench/suites/objects.h"
#include "tests/bench/broken.h"
#include "tests/bench/drive.h"
#include "tests/tap/tap.h"
#include "virt/tlb.h"

/* Every case that allocates, with a broken allocator in the place of its own. */
static void run_broken(enum breakage breakage, bool want_error)
{
	struct bench_env env = {.peers = &broken_peer, .nr_peers = 1, .nr_threads_max = 2};
	int nr_suites = 0, nr_cases = 0;

	for (int i = 0; suites[i]; i++) {
		struct case_list list = {NULL, 0, 0};
		int nr_in_suite = 0;

		ok_eq(suites[i]->enumerate(&env, &list), 0);
		for (size_t j = 0; j < list.nr; j++) {
			struct bench_case *c = &list.cases[j];
			const char *error;

			/* Two threads in one block are the fault itself, and a race. */
			if (RACES_ARE_FATAL && c->threads > 1)
				continue;
			/* There is no room for a header in the middle of a few words. */
			if (breakage == BREAK_OVERLAP && c->size_bytes < 64)
				continue;
			/* The floor's own allocators are constants: put the broken one into their
			 * cases. */
			if (!c->peer || c->skipped ||
			    (strcmp(c->suite, "floor") && strcmp(c->allocator, "broken")))
				continue;
			c->peer = &broken_peer;
			broken_start(breakage);
			error = drive(c, few(c), false, NULL);
			broken_end();
			ok(!!error == want_error, CASE_FORMAT "%s: %s", CASE_ARGS(c),
			   breakage_names[breakage], error ? error : "nothing found");
			nr_in_suite++;
		}
		free(list.cases);
		nr_suites += nr_in_suite != 0;
		nr_cases += nr_in_suite;
	}
	ok_eq(nr_suites, 5); /* all but walk and tlb */
	ok(nr_cases >= 25, "%d cases", nr_cases);
}

static void the_sound_twin_of_the_broken_allocator_passes_every_check(void)
{
	run_broken(BREAK_NOTHING, false);
}

static void a_block_handed_out_twice_is_caught_in_every_case(void)
{
	run_broken(BREAK_TWICE, true);
}

static void blocks_that_overlap_are_caught_in_every_case(void)
{
	run_broken(BREAK_OVERLAP, true);
}

static void a_byte_changed_by_a_free_is_caught_in_every_case(void)
{
	run_broken(BREAK_BYTE, true);
}

static void a_leak_is_caught_in_every_case(void)
{
	run_broken(BREAK_LEAK, true);
}

static void running_out_of_memory_is_an_error_in_every_case(void)
{
	run_broken(BREAK_NULL, true);
}

/* What each suite's case leaves behind, if somebody else allocates beside it. */
static void *stray;

static void leak_stray(struct bench_case *c)
{
	if (!strcmp(c->suite, "vmalloc"))
		stray = vmalloc(4096);
	else if (!strcmp(c->suite, "slab"))
		stray = kmem_cache_alloc(kmm_target.cache, GFP_KERNEL);
	else if (!strcmp(c->suite, "kmalloc"))
		stray = kmalloc(64, GFP_KERNEL);
	else
		stray = (void *)__get_free_pages(GFP_KERNEL, 0);
	ok(stray, "%s: no memory", c->suite);
}

static void free_stray(const struct bench_case *c)
{
	if (!strcmp(c->suite, "vmalloc"))
		vfree(stray);
	else if (!strcmp(c->suite, "kmalloc"))
		kfree(stray);
	else if (strcmp(c->suite, "slab"))
		free_pages((unsigned long)stray, 0);
}

static void a_leak_in_kmm_is_caught_in_every_suite(void)
{
	struct kmm *machine = boot(NULL, 256 << 20);
	struct bench_env env = env_of(machine);
	const char *last = "";
	struct kmm_leaks leaks;
	struct case_list list;
	int nr = 0;

	enumerate_all(&env, &list);
	for (size_t i = 0; i < list.nr; i++) {
		struct bench_case *c = &list.cases[i];
		const char *error;

		if (strcmp(c->allocator, "kmm") || c->threads != 1 || !strcmp(c->suite, last) ||
		    !strcmp(c->suite, "tlb") || !strcmp(c->suite, "tree")) /* which take nothing of the machine */
			continue;
		last = c->suite;
		error = drive(c, few(c), false, leak_stray);
		ok(error && strstr(error, "leaked"), "%s/%s: %s", c->suite, c->name,
		   error ? error : "nothing found");
		free_stray(c);
		nr++;
	}
	ok_eq(nr, 5);
	free(list.cases);
	kmm_shutdown(machine, &leaks); /* the slab's stray object is lost with its cache */
}

static void damage_lines(struct bench_case *c)
{
	struct line *lines = (struct line *)lines_array();

	(void)c;
	for (uint64_t i = 0; i < lines_count(); i++) {
		lines[i].number ^= 1;
		lines[i].next ^= 1;
	}
}

static void unmap_one_page(struct bench_case *c)
{
	ok_eq(pgtable_unmap(c->arg, WALK_BASE + 5 * PAGE_SIZE, 1), 0);
}

static void remap_one_page(struct bench_case *c)
{
	unmap_one_page(c);
	ok_eq(pgtable_map(c->arg, WALK_BASE + 5 * PAGE_SIZE, 42, 1, PTE_WRITE, false), 0);
}

/* The first thread's place, behind a GiB. */
static void map_in_the_way(struct bench_case *c)
{
	ok_eq(pgtable_map(c->arg, WALK_BASE + (1UL << 30), 42, 1, PTE_WRITE, false), 0);
}

static void unmap_many_pages(struct bench_case *c)
{
	ok_eq(pgtable_unmap(c->arg, WALK_BASE, c->size_bytes >> PAGE_SHIFT), 0);
}

static void shrink_tlb(struct bench_case *c)
{
	struct tlb_config *config = c->arg;

	for (int i = 0; i < TLB_MAX_ARRAYS; i++)
		if (config->arrays[0][i].entries)
			config->arrays[0][i].entries = config->arrays[0][i].ways = 4;
}

static void a_tlb_that_hits_less_than_it_must_is_caught(void)
{
	struct kmm *machine = boot(NULL, 64 << 20);
	struct bench_env env = env_of(machine);
	struct case_list list;
	const char *error;

	enumerate_all(&env, &list);
	error = drive(find_case(&list, "tlb", "hits"), 1000, false, shrink_tlb);
	ok(error && strstr(error, "hit in L1"), "%s", error ? error : "nothing found");
	error = drive(find_case(&list, "tlb", "hits"), 1000, false, NULL);
	ok(!error, "%s", error);
	free(list.cases);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

static void a_wrong_line_or_translation_is_caught(void)
{
	struct kmm *machine = boot(NULL, 256 << 20);
	struct bench_env env = env_of(machine);
	struct case_list list;

	enumerate_all(&env, &list);
	ok(drive(find_case(&list, "floor", "random_gather"), 1000, false, damage_lines),
	   "gather: nothing found");
	ok(!drive(find_case(&list, "floor", "random_gather"), 1000, false, damage_lines),
	   "gather, repaired");
	ok(drive(find_case(&list, "floor", "pointer_chase"), 1000, false, damage_lines),
	   "chase: nothing found");
	ok(!drive(find_case(&list, "floor", "pointer_chase"), 1000, false, damage_lines),
	   "chase, repaired");
	ok(drive(find_case(&list, "walk", "hot"), 1000, false, unmap_one_page),
	   "unmapped: nothing found");
	ok(drive(find_case(&list, "walk", "hot"), 1000, false, remap_one_page),
	   "remapped: nothing found");
	ok(drive(find_case(&list, "walk", "access"), 1000, false, remap_one_page),
	   "access, remapped: nothing found");
	ok(drive(find_case(&list, "walk", "map"), 1, false, map_in_the_way), "map: nothing found");
	ok(drive(find_case(&list, "walk", "sorted"), 10, false, unmap_many_pages),
	   "batch: nothing found");
	ok(!drive(find_case(&list, "walk", "hot"), 1000, false, NULL), "undamaged");
	free(list.cases);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

int main(void)
{
	RUN(the_sound_twin_of_the_broken_allocator_passes_every_check);
	RUN(a_block_handed_out_twice_is_caught_in_every_case);
	RUN(blocks_that_overlap_are_caught_in_every_case);
	RUN(a_byte_changed_by_a_free_is_caught_in_every_case);
	RUN(a_leak_is_caught_in_every_case);
	RUN(running_out_of_memory_is_an_error_in_every_case);
	RUN(a_leak_in_kmm_is_caught_in_every_suite);
	RUN(a_wrong_line_or_translation_is_caught);
	RUN(a_tlb_that_hits_less_than_it_must_is_caught);
	return done();
}

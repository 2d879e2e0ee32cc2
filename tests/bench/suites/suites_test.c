/* SPDX-License-Identifier: MIT */
/*
 * The suites: every case runs and passes its own checks, on this host and on an emulated machine of
 * two nodes. What these checks are worth is for suites_checks_test.c to say.
 */
#include "bench/suites/arena.h"
#include "bench/suites/objects.h"
#include "tests/bench/drive.h"
#include "tests/tap/tap.h"

static struct object_peer peers[PEER_MAX];
static int nr_peers;

static struct bench_env env_with_peers(struct kmm *machine)
{
	struct bench_env env = env_of(machine);

	env.peers = peers;
	env.nr_peers = nr_peers;
	return env;
}

/* Of machines that are large for the sake of what is in them: a sanitizer is ten times slower. */
static const uint64_t large_bytes = TAP_SANITIZED ? 128UL << 20 : 512UL << 20;

/* Under a sanitizer one size of a case will do, where a test is not about sizes. */
static bool is_one_more_size(const struct case_list *list, size_t at)
{
	const struct bench_case *c = &list->cases[at];

	for (size_t i = 0; TAP_SANITIZED && i < at; i++)
		if (!strcmp(list->cases[i].suite, c->suite) &&
		    !strcmp(list->cases[i].name, c->name) &&
		    !strcmp(list->cases[i].allocator, c->allocator) &&
		    !strcmp(list->cases[i].placement, c->placement) &&
		    list->cases[i].threads == c->threads)
			return true;
	return false;
}

static bool has_case(const struct case_list *list, const char *suite, const char *name,
		     const char *allocator)
{
	for (size_t i = 0; i < list->nr; i++) {
		const struct bench_case *c = &list->cases[i];

		if (!strcmp(c->suite, suite) && !strcmp(c->name, name) &&
		    !strcmp(c->allocator, allocator))
			return true;
	}
	return false;
}

static void every_suite_has_its_cases_and_no_row_twice(void)
{
	static const char *const wanted[][3] = {
		{"floor", "list_pair", "floor"},
		{"floor", "atomic_add", "floor"},
		{"floor", "random_gather", "floor"},
		{"floor", "pointer_chase", "floor"},
		{"floor", "mmap_touch_munmap", "mmap"},
		{"page", "pair", "kmm"},
		{"page", "bulk", "kmm"},
		{"page", "shuffle", "kmm"},
		{"page", "pair", "glibc"},
		{"page", "pair", "mmap"},
		{"page", "shuffle", "kmm-aa"},
		{"page", "repeat", "kmm"},
		{"page", "repeat", "mmap"},
		{"page", "occupancy", "glibc"},
		{"page", "threadtest", "kmm"},
		{"page", "xcpu", "kmm"},
		{"page", "fill95/bulk", "kmm"},
		{"page", "stress", "glibc"},
		{"page", "ageing", "kmm"},
		{"page", "ageing_mixed", "kmm"},
		{"slab", "pair", "kmm"},
		{"slab", "bulk", "kmm"},
		{"slab", "shuffle", "kmm"},
		{"slab", "pair", "kmm-aa"},
		{"kmalloc", "pair", "kmm"},
		{"kmalloc", "bulk", "kmm"},
		{"kmalloc", "shuffle", "kmm"},
		{"kmalloc", "mixed", "kmm"},
		{"slab", "bulk_api", "kmm"},
		{"slab", "bulk_api", "glibc"},
		{"slab", "bulk_api16", "kmm"},
		{"slab", "bulk_api16", "glibc"},
		{"slab", "repeat", "kmm"},
		{"slab", "repeat", "glibc"},
		{"slab", "occupancy", "kmm"},
		{"slab", "occupancy", "glibc"},
		{"slab", "threadtest", "kmm"},
		{"slab", "threadtest", "glibc"},
		{"slab", "xcpu", "kmm"},
		{"slab", "xcpu", "glibc"},
		{"slab", "remote", "kmm"},
		{"slab", "remote", "glibc"},
		{"slab", "falseshare", "kmm"},
		{"slab", "falseshare", "glibc"},
		{"slab", "falseshare_passive", "kmm"},
		{"slab", "falseshare_passive", "glibc"},
		{"kmalloc", "bulk_api", "kmm"},
		{"kmalloc", "bulk_api", "glibc"},
		{"kmalloc", "bulk_api16", "kmm"},
		{"kmalloc", "bulk_api16", "glibc"},
		{"kmalloc", "repeat", "kmm"},
		{"kmalloc", "repeat", "glibc"},
		{"kmalloc", "occupancy", "kmm"},
		{"kmalloc", "occupancy", "glibc"},
		{"kmalloc", "threadtest", "kmm"},
		{"kmalloc", "threadtest", "glibc"},
		{"kmalloc", "xcpu", "kmm"},
		{"kmalloc", "xcpu", "glibc"},
		{"kmalloc", "remote", "kmm"},
		{"kmalloc", "remote", "glibc"},
		{"kmalloc", "falseshare", "kmm"},
		{"kmalloc", "falseshare", "glibc"},
		{"kmalloc", "falseshare_passive", "kmm"},
		{"kmalloc", "falseshare_passive", "glibc"},
		{"slab", "freelist", "kmm"},
		{"slab", "freelist", "freelist"},
		{"slab", "freelist_runs", "freelist"},
		{"kmalloc", "fleet", "kmm"},
		{"kmalloc", "fleet", "kmm-fine"},
		{"kmalloc", "fleet", "glibc"},
		{"kmalloc", "larson", "kmm"},
		{"kmalloc", "larson", "glibc"},
		{"kmalloc", "churn", "kmm"},
		{"kmalloc", "churn", "glibc"},
		{"vmalloc", "pair", "kmm"},
		{"vmalloc", "shuffle", "kmm"},
		{"vmalloc", "pair", "mmap"},
		{"vmalloc", "shuffle", "glibc"},
		{"vmalloc", "fix_size", "kmm"},
		{"vmalloc", "fix_size", "mmap"},
		{"vmalloc", "fix_size_10000", "kmm"},
		{"vmalloc", "random_size", "glibc"},
		{"vmalloc", "vm_map_ram", "kmm"},
		{"vmalloc", "map_unmap", "kmm"},
		{"vmalloc", "vm_map_ram_turns", "mmap"},
		{"vmalloc", "long_busy_list", "kmm"},
		{"vmalloc", "long_busy_list", "mmap"},
		{"walk", "hot", "kmm"},
		{"walk", "hot", "oracle"},
		{"walk", "access", "kmm"},
		{"walk", "random", "kmm"},
		{"walk", "chain", "kmm"},
		{"walk", "batch", "kmm"},
		{"walk", "batch_la57", "kmm"},
		{"walk", "sorted", "kmm"},
		{"walk", "zipf", "kmm"},
		{"walk", "zipf_batch", "kmm"},
		{"walk", "map", "kmm"},
		{"tlb", "hits", "kmm"},
		{"tree", "rbtree", "kmm"},
		{"tlb", "misses", "kmm"},
		{"tlb", "lackey", "kmm"},
		{"tlb", "champsim", "kmm"},
		{"tlb", "champsim_zstd", "kmm"},
	};
	struct kmm *machine = boot(NULL, 128 << 20);
	struct bench_env env = env_with_peers(machine);
	struct case_list list;

	for (int full = 0; full <= 1; full++) {
		env.full = full;
		enumerate_all(&env, &list);
		for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
			ok(has_case(&list, wanted[i][0], wanted[i][1], wanted[i][2]), "no %s/%s %s",
			   wanted[i][0], wanted[i][1], wanted[i][2]);
		for (size_t i = 0; i < list.nr; i++) {
			for (size_t j = 0; j < i; j++) {
				struct bench_case *a = &list.cases[i], *b = &list.cases[j];

				ok(strcmp(a->suite, b->suite) || strcmp(a->name, b->name) ||
					   strcmp(a->allocator, b->allocator) ||
					   strcmp(a->size, b->size) ||
					   strcmp(a->placement, b->placement) ||
					   a->threads != b->threads,
				   "%s/%s %s %s %d is there twice", a->suite, a->name, a->allocator,
				   a->size, a->threads);
			}
		}
		free(list.cases);
	}
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

static void every_case_of_every_suite_runs_and_passes_its_checks(void)
{
	struct kmm *machine = boot(NULL, large_bytes);
	struct bench_env env = env_with_peers(machine);
	struct case_list list;

	enumerate_all(&env, &list);
	for (size_t i = 0; i < list.nr; i++) {
		struct bench_case *c = &list.cases[i];
		const char *error;

		if (c->skipped) {
			ok(strstr(c->note, "skipped: "), "%s/%s: note '%s'", c->suite, c->name,
			   c->note);
			continue;
		}
		if (peers_sanitized && c->threads < env.nr_threads_max)
			continue; /* ten times slower: the case with all threads will do */
		error = drive(c, few(c), true, NULL);
		ok(!error, CASE_FORMAT "%s", CASE_ARGS(c), error);
	}
	free(list.cases);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

/* What --full alone has of the kernel's own tests of vmalloc; with 10^6 areas only where there is memory
 * for them. */
static void the_kernels_tests_of_vmalloc_are_whole_with_full(void)
{
	static const char *const run[] = {"full_fit", "fix_align", "random_size_align",
					  "align_shift"};
	static const char *const there[] = {"fix_size_1000000", "random_size_1000000",
					    "long_busy_list_100000", "long_busy_list_1000000"};
	struct kmm *machine = boot(NULL, large_bytes);
	struct bench_env env = env_with_peers(machine);
	struct case_list list;
	int nr_run = 0;

	env.full = true;
	enumerate_all(&env, &list);
	for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++)
		ok(has_case(&list, "vmalloc", there[i], "kmm"), "no %s", there[i]);
	for (size_t i = 0; i < list.nr; i++) {
		struct bench_case *c = &list.cases[i];
		bool ours = !strcmp(c->allocator, "kmm"), wanted = false;
		const char *error;

		for (size_t j = 0; j < sizeof(run) / sizeof(run[0]); j++)
			wanted |= !strcmp(c->suite, "vmalloc") && !strcmp(c->name, run[j]);
		if (!wanted || !(ours || !strcmp(c->allocator, "mmap")))
			continue;
		ok(!c->skipped || !ours, CASE_FORMAT "%s", CASE_ARGS(c), c->note);
		if (c->skipped)
			continue;
		error = drive(c, few(c), true, NULL);
		ok(!error, CASE_FORMAT "%s", CASE_ARGS(c), error);
		nr_run += ours;
	}
	ok(nr_run >= 4, "%d cases", nr_run);
	free(list.cases);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

static void a_case_runs_again_after_it_has_finished(void)
{
	struct kmm *machine = boot(NULL, large_bytes / 2);
	struct bench_env env = env_of(machine);
	struct case_list list;

	enumerate_all(&env, &list);
	for (size_t i = 0; i < list.nr; i++) {
		struct bench_case *c = &list.cases[i];

		if (c->skipped || c->threads != 1 || strcmp(c->allocator, "kmm") ||
		    is_one_more_size(&list, i))
			continue;
		if (TAP_SANITIZED && c->ops->nr_rounds) /* ten seconds each under tsan */
			continue;
		for (int run = 0; run < 2; run++) {
			const char *error = drive(c, few(c), false, NULL);

			ok(!error, CASE_FORMAT "run %d: %s", CASE_ARGS(c), run, error);
		}
	}
	free(list.cases);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

static void placements_are_where_they_say_on_two_emulated_nodes(void)
{
	struct kmm *machine = boot("pack:2 [numa(memory=1GB)] core:1 pu:1", 128 << 20);
	struct bench_env env = env_with_peers(machine);
	struct case_list list;
	int nr_remote = 0, nr_interleave = 0;

	enumerate_all(&env, &list);
	for (size_t i = 0; i < list.nr; i++) {
		struct bench_case *c = &list.cases[i];
		bool remote = !strcmp(c->placement, "remote"),
		     interleave = !strcmp(c->placement, "interleave");
		const char *error;

		ok(strstr(c->note, "emulated"), "%s/%s: note '%s'", c->suite, c->name, c->note);
		/* Page tables are looked at, no memory that is placed. */
		if (c->skipped || strcmp(c->allocator, "kmm") || !strcmp(c->suite, "walk") ||
		    !strcmp(c->suite, "tlb") || !strcmp(c->suite, "tree") ||
		    !strcmp(c->name, "map_unmap") || is_one_more_size(&list, i))
			continue;
		error = drive(c, few(c), false, NULL);
		ok(!error, CASE_FORMAT "%s", CASE_ARGS(c), error);
		ok(c->has_numa && c->cpu_node == 0, "%s/%s: CPU on node %d", c->suite, c->name,
		   c->cpu_node);
		if (remote)
			ok(c->memory_node == 1 && c->local_ratio == 0,
			   "%s/%s remote: on node %d, %.2f local", c->suite, c->name,
			   c->memory_node, c->local_ratio);
		else if (interleave)
			ok(c->local_ratio > 0.45 && c->local_ratio < 0.55,
			   "%s/%s interleave: %.2f local", c->suite, c->name, c->local_ratio);
		else
			ok(c->memory_node == 0 && c->local_ratio == 1,
			   "%s/%s local: on node %d, %.2f local", c->suite, c->name, c->memory_node,
			   c->local_ratio);
		nr_remote += remote;
		nr_interleave += interleave;
	}
	ok(nr_remote >= 4 && nr_interleave >= 4, "%d remote and %d interleaved cases", nr_remote,
	   nr_interleave);
	free(list.cases);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

static void jemalloc_arenas_take_bound_memory(void)
{
	struct kmm *machine = boot(NULL, 128 << 20);
	struct bench_env env = env_with_peers(machine);
	const struct object_peer *jemalloc = NULL;

	for (int i = 0; i < nr_peers; i++)
		if (arena_possible(&peers[i]))
			jemalloc = &peers[i];
	if (!jemalloc)
		skip("no jemalloc here");
	for (int place = PLACE_REMOTE; jemalloc && place < NR_PLACEMENTS; place++) {
		struct case_list list = {NULL, 0, 0};
		uint64_t bound = arena_bound_bytes(0);
		struct bench_case *c;
		const char *error;

		enumerate_all(&env, &list);
		c = find_case(&list, "kmalloc", "shuffle");
		c->allocator = "jemalloc";
		c->peer = arena_table(jemalloc, (enum placement)place);
		c->placement = placement_names[place];
		error = drive(c, 2, true, NULL);
		ok(!error, "%s", error);
		ok(arena_bound_bytes(0) > bound || place > PLACE_REMOTE, "no extent was bound");
		free(list.cases);
	}
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

static void a_batch_fits_memory(void)
{
	struct bench_env env = {.nr_threads_max = 4};

	ok_eq(batch_count(&env, 64, 1 << 30), BATCH_COUNT);
	ok_eq(batch_count(&env, 2 << 20, 1 << 30), 32);
	ok_eq(batch_count(&env, 4 << 20, 1 << 20), 16);
}

int main(int argc, char **argv)
{
	(void)argc;
	nr_peers = load_peers(argv, peers);
	if (nr_peers < 0) {
		fprintf(stderr, "peers: %s\n", strerror(-nr_peers));
		return 1;
	}
	RUN(every_suite_has_its_cases_and_no_row_twice);
	RUN(every_case_of_every_suite_runs_and_passes_its_checks);
	RUN(the_kernels_tests_of_vmalloc_are_whole_with_full);
	RUN(a_case_runs_again_after_it_has_finished);
	RUN(placements_are_where_they_say_on_two_emulated_nodes);
	RUN(jemalloc_arenas_take_bound_memory);
	RUN(a_batch_fits_memory);
	return done();
}

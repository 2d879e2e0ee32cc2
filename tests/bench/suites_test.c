/* SPDX-License-Identifier: MIT */
/*
 * The suites: every case runs and passes its own checks, on this host and on an emulated machine of
 * two nodes; and the checks are worth something, because a broken allocator does not pass them.
 */
#define _GNU_SOURCE
#include <pthread.h>

#include "bench/latency.h"
#include "bench/suites/arena.h"
#include "bench/suites/lines.h"
#include "bench/suites/objects.h"
#include "tests/bench/broken.h"
#include "tests/tap/tap.h"

#define MAX_THREADS 16

#define CASE_FORMAT  "%s/%s %s size %s threads %d: "
#define CASE_ARGS(c) (c)->suite, (c)->name, (c)->allocator, (c)->size, (c)->threads

static struct object_peer peers[PEER_MAX];
static int nr_peers;

/*
 * A driver: all threads of a case begin before one runs.
 */
struct driver_thread {
	struct bench_case *c;
	int thread;
	uint64_t n;
	bool latency;
	pthread_barrier_t *barrier;
	const char *error;
};

static void *drive_thread(void *arg)
{
	struct driver_thread *t = arg;
	const struct case_ops *ops = t->c->ops;
	const char *error, *other;
	void *state = NULL;

	error = ops->thread_begin(t->c, t->thread, &state);
	pthread_barrier_wait(t->barrier);
	if (!error)
		ops->run(t->c, t->thread, state, t->n);
	if (!error && t->latency && ops->latency) {
		struct latency_hist *hist = calloc(1, sizeof(*hist));

		ops->latency(t->c, t->thread, state, 100, hist);
		ok(hist->count >= 100, "%s/%s: %lu latencies", t->c->suite, t->c->name,
		   (unsigned long)hist->count);
		free(hist);
	}
	pthread_barrier_wait(t->barrier);
	other = ops->thread_end(t->c, t->thread, state);
	t->error = error ? error : other;
	return NULL;
}

/* Run a case; damage, if any, is done between prepare and the threads. NULL or the first error
 * line. */
static const char *drive(struct bench_case *c, uint64_t n, bool latency,
			 void (*damage)(struct bench_case *))
{
	const char *error = c->ops->prepare(c), *other;
	struct driver_thread threads[MAX_THREADS];
	pthread_t ids[MAX_THREADS];
	pthread_barrier_t barrier;

	if (error)
		return error;
	if (damage)
		damage(c);
	pthread_barrier_init(&barrier, NULL, (unsigned int)c->threads);
	for (int i = c->threads - 1; i >= 0; i--) {
		threads[i] = (struct driver_thread){c, i, n, latency, &barrier, NULL};
		if (i)
			pthread_create(&ids[i], NULL, drive_thread, &threads[i]);
		else
			drive_thread(&threads[0]);
	}
	for (int i = 0; i < c->threads; i++) {
		if (i)
			pthread_join(ids[i], NULL);
		if (!error)
			error = threads[i].error;
	}
	pthread_barrier_destroy(&barrier);
	other = c->ops->finish(c);
	return error ? error : other;
}

static uint64_t few(const struct bench_case *c)
{
	return case_ops_per_batch(c) > 1 ? 1 : 100;
}

static void enumerate_all(const struct bench_env *env, struct case_list *list)
{
	memset(list, 0, sizeof(*list));
	for (int i = 0; suites[i]; i++)
		ok_eq(suites[i]->enumerate(env, list), 0);
}

static struct kmm *boot(const char *synthetic, uint64_t node_bytes)
{
	struct kmm_config config = {.synthetic = synthetic, .node_bytes = node_bytes};
	struct kmm *machine;
	int status = kmm_boot(&config, &machine);

	ok(status == 0, "kmm_boot: %d: %s", status, kmm_boot_error());
	return machine;
}

static struct bench_env env_of(struct kmm *machine)
{
	int nr_cpus = (int)topology_nr_cpus(machine->topology);

	return (struct bench_env){
		.machine = machine,
		.peers = peers,
		.nr_peers = nr_peers,
		.emulated = topology_emulated(machine->topology),
		.nr_threads_max = nr_cpus < MAX_THREADS ? nr_cpus : MAX_THREADS,
	};
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
		{"walk", "hot", "kmm"},
		{"walk", "random", "kmm"},
	};
	struct kmm *machine = boot(NULL, 128 << 20);
	struct bench_env env = env_of(machine);
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
	struct kmm *machine = boot(NULL, 512 << 20);
	struct bench_env env = env_of(machine);
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

static void a_case_runs_again_after_it_has_finished(void)
{
	struct kmm *machine = boot(NULL, 256 << 20);
	struct bench_env env = env_of(machine);
	struct case_list list;

	env.nr_peers = 0;
	enumerate_all(&env, &list);
	for (size_t i = 0; i < list.nr; i++) {
		struct bench_case *c = &list.cases[i];

		for (int run = 0; run < 2 && c->threads == 1 && !strcmp(c->allocator, "kmm");
		     run++) {
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
	struct bench_env env = env_of(machine);
	struct case_list list;
	int nr_remote = 0, nr_interleave = 0;

	enumerate_all(&env, &list);
	for (size_t i = 0; i < list.nr; i++) {
		struct bench_case *c = &list.cases[i];
		bool remote = !strcmp(c->placement, "remote"),
		     interleave = !strcmp(c->placement, "interleave");
		const char *error;

		ok(strstr(c->note, "emulated"), "%s/%s: note '%s'", c->suite, c->name, c->note);
		if (c->skipped || strcmp(c->allocator, "kmm") || !strcmp(c->suite, "walk"))
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
			if (!c->peer ||
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
	ok_eq(nr_suites, 5); /* all but walk */
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

	env.nr_peers = 0;
	enumerate_all(&env, &list);
	for (size_t i = 0; i < list.nr; i++) {
		struct bench_case *c = &list.cases[i];
		const char *error;

		if (strcmp(c->allocator, "kmm") || c->threads != 1 || !strcmp(c->suite, last))
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

static struct bench_case *find_case(struct case_list *list, const char *suite, const char *name)
{
	for (size_t i = 0; i < list->nr; i++)
		if (!strcmp(list->cases[i].suite, suite) && !strcmp(list->cases[i].name, name))
			return &list->cases[i];
	ok(false, "no %s/%s", suite, name);
	return NULL;
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
	ok(!drive(find_case(&list, "walk", "hot"), 1000, false, NULL), "undamaged");
	free(list.cases);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

static void jemalloc_arenas_take_bound_memory(void)
{
	struct kmm *machine = boot(NULL, 128 << 20);
	struct bench_env env = env_of(machine);
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
	if (peers_prepare(argv)) {
		perror("peers_prepare");
		return 1;
	}
	for (int i = 0; object_peer_names[i]; i++) {
		char error[256];

		if (!object_peer_load(object_peer_names[i], &peers[nr_peers], error, sizeof(error)))
			nr_peers++;
	}
	RUN(every_suite_has_its_cases_and_no_row_twice);
	RUN(every_case_of_every_suite_runs_and_passes_its_checks);
	RUN(a_case_runs_again_after_it_has_finished);
	RUN(placements_are_where_they_say_on_two_emulated_nodes);
	RUN(the_sound_twin_of_the_broken_allocator_passes_every_check);
	RUN(a_block_handed_out_twice_is_caught_in_every_case);
	RUN(blocks_that_overlap_are_caught_in_every_case);
	RUN(a_byte_changed_by_a_free_is_caught_in_every_case);
	RUN(a_leak_is_caught_in_every_case);
	RUN(running_out_of_memory_is_an_error_in_every_case);
	RUN(a_leak_in_kmm_is_caught_in_every_suite);
	RUN(a_wrong_line_or_translation_is_caught);
	RUN(jemalloc_arenas_take_bound_memory);
	RUN(a_batch_fits_memory);
	return done();
}

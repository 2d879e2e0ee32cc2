/* SPDX-License-Identifier: MIT */
/* The cases of suite page that hold state over their operations: what they hold, that they give it
 * back, and that they notice a block that is handed out twice while they run. */
#include <pthread.h>

#include "bench/suites/page_cases.h"
#include "bench/suites/suites.h"
#include "bench/suites/xcpu.h"
#include "tests/bench/broken.h"
#include "tests/tap/tap.h"

#define ONE_NODE "numa:1 core:2 pu:1"

static struct kmm *machine;
static struct bench_env env;
static struct case_list list;

static void start_with(u64 node_bytes, bool full, int threads)
{
	struct kmm_config config = {.synthetic = ONE_NODE, .node_bytes = node_bytes};

	config.no_thp = true;
	if (kmm_boot(&config, &machine)) {
		printf("Bail out! cannot boot: %s\n", kmm_boot_error());
		exit(99);
	}
	env = (struct bench_env){
		.machine = machine, .full = full, .emulated = true, .nr_threads_max = threads};
	list = (struct case_list){0};
	ok_eq(page_bench_suite.enumerate(&env, &list), 0);
}

static void start(bool full, int threads)
{
	start_with(256UL << 20, full, threads);
}

static void stop(void)
{
	phys_validate(machine);
	free(list.cases);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

static struct bench_case *find(const char *name, const char *size)
{
	for (size_t i = 0; i < list.nr; i++)
		if (!strcmp(list.cases[i].name, name) && !strcmp(list.cases[i].size, size) &&
		    !list.cases[i].skipped)
			return &list.cases[i];
	printf("Bail out! no %s of size %s\n", name, size);
	exit(99);
}

static bool is_skipped(const char *name, const char *size, const char *why)
{
	for (size_t i = 0; i < list.nr; i++)
		if (!strcmp(list.cases[i].name, name) && !strcmp(list.cases[i].size, size))
			return list.cases[i].skipped && strstr(list.cases[i].note, why);
	return false;
}

static struct free_area_counts counts_now(void)
{
	struct free_area_counts counts;

	count_free_areas(machine, NUMA_NO_NODE, &counts);
	return counts;
}

static double percent_used(void)
{
	struct free_area_counts counts = counts_now();
	u64 nr_free = counts.nr_buddy_pages + counts.nr_pcp_pages;

	return 100 - 100.0 * (double)nr_free / (double)counts.nr_managed_pages;
}

/* Begin a case of one thread; the rest is end_case's. */
static void *begin_case(struct bench_case *c)
{
	void *state = NULL;
	const char *error = c->ops->prepare(c);

	ok(!error, "%s/%s prepare: %s", c->name, c->size, error);
	error = c->ops->thread_begin(c, 0, &state);
	ok(!error, "%s/%s begin: %s", c->name, c->size, error);
	return state;
}

static void end_case(struct bench_case *c, void *state)
{
	const char *error = c->ops->thread_end(c, 0, state);

	ok(!error, "%s/%s end: %s", c->name, c->size, error);
	error = c->ops->finish(c);
	ok(!error, "%s/%s finish: %s", c->name, c->size, error);
}

static void fill_leaves_so_much_in_use_and_the_rest_scattered(void)
{
	static const char *const sizes[] = {"0", "3", "9"};
	static const struct {
		const char *name;
		double percent;
	} fills[] = {{"fill0/bulk", 0}, {"fill50/pair", 50}, {"fill95/shuffle", 95}};

	start(true, 1);
	for (size_t i = 0; i < ARRAY_SIZE(fills); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(sizes); j++) {
			double before = percent_used(), used;
			struct free_area_counts counts;
			struct bench_case *c;
			void *state;

			if (is_skipped(fills[i].name, sizes[j], "too little memory is left")) {
				ok(fills[i].percent > 90 && j == 2, "%s/%s skipped", fills[i].name,
				   sizes[j]);
				continue;
			}
			c = find(fills[i].name, sizes[j]);
			state = begin_case(c);

			used = percent_used();
			counts = counts_now();
			ok(used > fills[i].percent - 1.5 && used < fills[i].percent + 1.5,
			   "%s/%s: %.1f %% in use", c->name, c->size, used);
			/* Three quarters of the free frames lie alone or nearly so. */
			if (fills[i].percent >= 90 && c->order == 0)
				ok(counts.nr_blocks[0] > counts.nr_buddy_pages / 3,
				   "%llu of %llu free frames alone",
				   (unsigned long long)counts.nr_blocks[0],
				   (unsigned long long)counts.nr_buddy_pages);
			c->ops->run(c, 0, state, 3);
			end_case(c, state);
			ok(percent_used() <= before + 0.01, "%.2f %% in use, then %.2f %%", before,
			   percent_used());
		}
	}
	stop();
}

static void what_would_not_fit_memory_is_skipped(void)
{
	static const char *const names[] = {"pair", "bulk", "shuffle"};

	start_with(64UL << 20, false, 2);
	for (size_t i = 0; i < list.nr; i++) {
		const struct bench_case *c = &list.cases[i];
		bool skipped = c->skipped && strstr(c->note, "too little memory");

		/* 16 blocks of each thread: 32 MiB in one, 64 MiB in two */
		for (size_t j = 0; j < ARRAY_SIZE(names); j++)
			if (!strcmp(c->name, names[j]) && !strcmp(c->size, "9"))
				ok(skipped == (c->threads == 2), "%s/9 of %d threads: %s", c->name,
				   c->threads, c->note);
	}
	ok(is_skipped("pair", "10", "too little memory"), "pair/10 would not fit");
	ok(!is_skipped("pair", "8", ""), "pair/8 fits");
	stop();
}

static void a_fill_that_cannot_be_is_said(void)
{
	struct bench_case *c;
	const char *error;
	void *state = NULL;
	unsigned long nr = 0;
	struct page *pages[64];

	start(false, 1);
	c = find("fill95/pair", "0");
	ok(!c->ops->prepare(c), "prepare");
	/* Somebody else takes a quarter of memory after the shares are known. */
	while (nr < ARRAY_SIZE(pages) / 4 && (pages[nr] = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER)))
		nr++;
	error = c->ops->thread_begin(c, 0, &state);
	ok(error && strstr(error, "no memory after"), "%s", error ? error : "nothing said");
	c->ops->thread_end(c, 0, state);
	kmm_attach(machine, 0);
	while (nr)
		__free_pages(pages[--nr], MAX_PAGE_ORDER);
	ok(!c->ops->finish(c), "finish");
	stop();
}

static void churn_holds_a_constant_number_of_blocks(void)
{
	static const char *const names[] = {"repeat", "occupancy"};

	start(false, 1);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct bench_case *c = find(names[i], "0");
		void *state = begin_case(c);
		struct object_peer_stats before, after;

		ok_eq(c->peer->stats(c->peer, &before), 0);
		c->ops->run(c, 0, state, 10000);
		ok_eq(c->peer->stats(c->peer, &after), 0);
		ok(before.allocated_bytes == after.allocated_bytes, "%s", names[i]);
		ok(before.allocated_bytes >= (uint64_t)c->count * PAGE_SIZE, "%s: too little held",
		   names[i]);
		end_case(c, state);
	}
	stop();
}

#define NR_ROUNDS 6

static void course(const char *name, const char *size, struct round_sample samples[NR_ROUNDS + 1])
{
	struct bench_case *c;
	void *state;

	start(false, 1);
	c = find(name, size);
	state = begin_case(c);
	ok(c->ops->nr_rounds == 100, "%u rounds", c->ops->nr_rounds);
	ok(c->ops_per_batch > 1000, "%llu operations a round",
	   (unsigned long long)c->ops_per_batch);
	c->ops->sample(c, &samples[0]);
	for (int round = 1; round <= NR_ROUNDS; round++) {
		c->ops->run(c, 0, state, 1);
		c->ops->sample(c, &samples[round]);
	}
	end_case(c, state);
	stop();
}

static void ageing_keeps_half_of_ninety_percent_and_is_the_same_each_time(void)
{
	static const char *const names[][2] = {{"ageing", "0"}, {"ageing_mixed", "0-4"}};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct round_sample first[NR_ROUNDS + 1], second[NR_ROUNDS + 1];

		course(names[i][0], names[i][1], first);
		course(names[i][0], names[i][1], second);
		for (int round = 0; round <= NR_ROUNDS; round++) {
			const struct round_sample *a = &first[round], *b = &second[round];
			double share = (double)a->requested_bytes / (256 << 20);

			ok(a->requested_bytes == b->requested_bytes &&
				   a->huge_free_ratio == b->huge_free_ratio &&
				   !memcmp(a->free_blocks, b->free_blocks, sizeof(a->free_blocks)),
			   "%s: round %d differs", names[i][0], round);
			ok(a->free_known && a->blocks_known, "what is free is not known");
			ok(a->huge_free_ratio >= 0 && a->huge_free_ratio <= 1, "ratio %f",
			   a->huge_free_ratio);
			ok(share > 0.40 && share < 0.47, "%s: %.3f live", names[i][0], share);
		}
	}
}

/* A sound allocator that, once asked to, hands out the block that it gave last a second time. */
static bool twice;
static void *last;

static void *turning_alloc(size_t size)
{
	if (twice && last) {
		twice = false;
		return last;
	}
	last = broken_peer.alloc(size);
	return last;
}

static void turning_free(void *block)
{
	if (block == last)
		last = NULL;
	broken_peer.free(block);
}

static void a_block_handed_out_twice_while_it_runs_is_found(void)
{
	static const char *const names[][2] = {
		{"stress", "0-10"}, {"ageing", "0"}, {"ageing_mixed", "0-4"}};
	static struct object_peer turning;

	turning = broken_peer;
	turning.name = "turning";
	turning.alloc = turning_alloc;
	turning.free = turning_free;
	env = (struct bench_env){.peers = &turning, .nr_peers = 1, .nr_threads_max = 1};
	list = (struct case_list){0};
	ok_eq(page_bench_suite.enumerate(&env, &list), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct bench_case *c = find(names[i][0], names[i][1]);
		const char *error;
		void *state;

		broken_start(BREAK_NOTHING);
		last = NULL;
		state = begin_case(c);
		twice = true;
		c->ops->run(c, 0, state, c->ops->nr_rounds ? 100 : 1);
		error = c->ops->thread_end(c, 0, state);
		ok(error && strstr(error, "another's"), "%s: %s", c->name,
		   error ? error : "nothing found");
		broken_end();
	}
	free(list.cases);
}

static void orders_are_drawn_each_half_as_often_as_the_one_before(void)
{
	unsigned long nr[MAX_PAGE_ORDER + 1] = {0};
	uint64_t random = 12345;

	for (int i = 0; i < 1 << 20; i++)
		nr[random_order(bench_random(&random), MAX_PAGE_ORDER)]++;
	for (int order = 1; order <= 7; order++)
		ok(nr[order] * 2 > nr[order - 1] * 9 / 10 &&
			   nr[order] * 2 < nr[order - 1] * 12 / 10,
		   "order %d: %lu after %lu", order, nr[order], nr[order - 1]);
	ok(nr[MAX_PAGE_ORDER] > 0, "none of the largest");
	for (int i = 0; i < 1000; i++)
		ok(random_order(bench_random(&random), 4) <= 4, "beyond the most");
}

struct xcpu_thread {
	struct bench_case *c;
	pthread_barrier_t *barrier;
	int thread;
	const char *error;
};

static void *xcpu_thread(void *arg)
{
	struct xcpu_thread *t = arg;
	const struct case_ops *ops = t->c->ops;
	const char *other;
	void *state = NULL;

	t->error = ops->thread_begin(t->c, t->thread, &state);
	pthread_barrier_wait(t->barrier);
	if (!t->error)
		ops->run(t->c, t->thread, state, 20);
	pthread_barrier_wait(t->barrier);
	other = ops->thread_end(t->c, t->thread, state);
	t->error = t->error ? t->error : other;
	return NULL;
}

static void a_ring_of_two_chunks_passes_every_block_on(void)
{
	struct xcpu_thread threads[2];
	pthread_barrier_t barrier;
	pthread_t id;
	struct bench_case *c;
	const char *error;

	start(false, 2);
	c = find("xcpu", "0");
	c->count = 2 * XCPU_CHUNK;
	error = c->ops->prepare(c);
	ok(!error, "prepare: %s", error);
	pthread_barrier_init(&barrier, NULL, 2);
	for (int i = 0; i < 2; i++)
		threads[i] = (struct xcpu_thread){c, &barrier, i, NULL};
	pthread_create(&id, NULL, xcpu_thread, &threads[1]);
	xcpu_thread(&threads[0]);
	pthread_join(id, NULL);
	error = c->ops->finish(c);
	ok(!threads[0].error && !threads[1].error && !error, "%s, %s, %s", threads[0].error,
	   threads[1].error, error);
	pthread_barrier_destroy(&barrier);
	stop();
}

static const struct bench_case two = {.threads = 2};

static void *leave(void *arg)
{
	meeting_leave(arg);
	return NULL;
}

static void *arrive(void *arg)
{
	return (void *)meeting_wait(arg, &two);
}

static void who_waits_is_told_when_another_gives_up(void)
{
	struct meeting meeting = {0};
	void *error = NULL;
	pthread_t id;

	for (int i = 0; i < 3; i++) {
		ok_eq(pthread_create(&id, NULL, arrive, &meeting), 0);
		ok(!meeting_wait(&meeting, &two), "met %d times", i);
		pthread_join(id, &error);
		ok(!error, "%s", (const char *)error);
	}
	ok_eq(pthread_create(&id, NULL, leave, &meeting), 0);
	ok(meeting_wait(&meeting, &two), "nothing said");
	pthread_join(id, NULL);
}

int main(void)
{
	RUN(fill_leaves_so_much_in_use_and_the_rest_scattered);
	RUN(what_would_not_fit_memory_is_skipped);
	RUN(a_fill_that_cannot_be_is_said);
	RUN(churn_holds_a_constant_number_of_blocks);
	RUN(ageing_keeps_half_of_ninety_percent_and_is_the_same_each_time);
	RUN(a_block_handed_out_twice_while_it_runs_is_found);
	RUN(orders_are_drawn_each_half_as_often_as_the_one_before);
	RUN(a_ring_of_two_chunks_passes_every_block_on);
	RUN(who_waits_is_told_when_another_gives_up);
	return done();
}

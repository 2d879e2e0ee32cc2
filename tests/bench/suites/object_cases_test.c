/* SPDX-License-Identifier: MIT */
/* The cases of objects that hold them, hand them on or write to them: what each does to an allocator,
 * and that it notices an object that is handed out twice while it runs. */
#include <pthread.h>

#include "bench/suites/falseshare.h"
#include "bench/suites/slots.h"
#include "bench/suites/suites.h"
#include "bench/suites/xcpu.h"
#include "tests/bench/broken.h"
#include "tests/tap/tap.h"

#define MAX_THREADS 4

/* The sound twin of the broken allocator; counts, and on demand gives what it gave last once more. */
static struct {
	unsigned long nr_allocs, nr_frees, nr_remote, nr_bulk_allocs, nr_bulk_frees;
	bool bulk_fails, twice;
	void *last;
	void *extra; /* given a second time: one free of it is still to come and to be ignored */
} seen;
static _Thread_local int this_thread;

/* Who allocated it stands behind each object. */
#define OWNER_SIZE 16

static void *counting_alloc(size_t size)
{
	char *object;

	object = __atomic_load_n(&seen.last, __ATOMIC_RELAXED);
	if (object && __atomic_exchange_n(&seen.twice, false, __ATOMIC_RELAXED)) {
		__atomic_store_n(&seen.extra, object, __ATOMIC_RELAXED);
		return object;
	}
	object = broken_peer.alloc(size + OWNER_SIZE);
	memcpy(object, &this_thread, sizeof(this_thread));
	__atomic_fetch_add(&seen.nr_allocs, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&seen.last, object + OWNER_SIZE, __ATOMIC_RELAXED);
	return object + OWNER_SIZE;
}

static void counting_free(void *object)
{
	char *block = (char *)object - OWNER_SIZE;
	void *extra = object;
	int owner;

	if (!object)
		return;
	memcpy(&owner, block, sizeof(owner));
	__atomic_fetch_add(&seen.nr_frees, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&seen.nr_remote, owner != this_thread, __ATOMIC_RELAXED);
	if (__atomic_load_n(&seen.last, __ATOMIC_RELAXED) == object)
		__atomic_store_n(&seen.last, NULL, __ATOMIC_RELAXED);
	/* Freed twice, the block would be in the broken allocator's list twice, and the list be broken. */
	if (!__atomic_compare_exchange_n(&seen.extra, &extra, NULL, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED))
		broken_peer.free(block);
}

static size_t counting_alloc_bulk(size_t size, size_t nr, void **objects)
{
	seen.nr_bulk_allocs++;
	for (size_t i = 0; i < nr; i++)
		objects[i] = seen.bulk_fails ? NULL : counting_alloc(size);
	return seen.bulk_fails ? 0 : nr;
}

static void counting_free_bulk(size_t nr, void **objects)
{
	seen.nr_bulk_frees++;
	for (size_t i = 0; i < nr; i++)
		counting_free(objects[i]);
}

static struct object_peer counting;
static struct bench_env env;
static struct case_list list;

static void start(const struct suite *suite, bool bulk, int threads)
{
	memset(&seen, 0, sizeof(seen));
	broken_start(BREAK_NOTHING);
	counting = broken_peer;
	counting.name = "counting";
	counting.alloc = counting_alloc;
	counting.free = counting_free;
	counting.stats = NULL;
	counting.alloc_bulk = bulk ? counting_alloc_bulk : NULL;
	counting.free_bulk = bulk ? counting_free_bulk : NULL;
	env = (struct bench_env){.peers = &counting, .nr_peers = 1, .nr_threads_max = threads};
	list = (struct case_list){0};
	ok_eq(suite->enumerate(&env, &list), 0);
}

static void stop(void)
{
	ok(seen.nr_allocs == seen.nr_frees, "%lu objects allocated and %lu freed", seen.nr_allocs,
	   seen.nr_frees);
	free(list.cases);
	broken_end();
}

static struct bench_case *find(const char *name, int threads)
{
	for (size_t i = 0; i < list.nr; i++)
		if (!strcmp(list.cases[i].name, name) && list.cases[i].threads == threads)
			return &list.cases[i];
	printf("Bail out! no %s of %d threads\n", name, threads);
	exit(99);
}

/*
 * All threads of a case, and a look at what they hold when all have run.
 */
struct crew_thread {
	struct bench_case *c;
	pthread_barrier_t *barrier;
	int thread;
	uint64_t n;
	bool twice;
	unsigned long nr_held, held_bytes;
	const char *error;
};

static void count_held(struct bench_case *c, void **object, uint64_t size_bytes, void *arg)
{
	struct crew_thread *t = arg;

	(void)c;
	t->nr_held += *object != NULL;
	t->held_bytes += size_bytes;
}

static void *crew_thread(void *arg)
{
	struct crew_thread *t = arg;
	const struct case_ops *ops = t->c->ops;
	const char *other;
	void *state = NULL;

	this_thread = t->thread;
	t->error = ops->thread_begin(t->c, t->thread, &state);
	pthread_barrier_wait(t->barrier);
	if (!t->thread)
		seen.nr_remote = seen.nr_bulk_allocs = seen.nr_bulk_frees = 0;
	pthread_barrier_wait(t->barrier);
	if (!t->thread)
		__atomic_store_n(&seen.twice, t->twice, __ATOMIC_RELAXED);
	if (!t->error)
		ops->run(t->c, t->thread, state, t->n);
	pthread_barrier_wait(t->barrier);
	if (!t->error && ops->held)
		ops->held(t->c, t->thread, state, count_held, t);
	pthread_barrier_wait(t->barrier);
	other = ops->thread_end(t->c, t->thread, state);
	t->error = t->error ? t->error : other;
	return NULL;
}

/* The first error, or NULL. */
static const char *run_crew(struct bench_case *c, uint64_t n, bool twice,
			    struct crew_thread threads[MAX_THREADS])
{
	pthread_barrier_t barrier;
	pthread_t ids[MAX_THREADS];
	const char *error = c->ops->prepare(c), *other;

	pthread_barrier_init(&barrier, NULL, (unsigned int)c->threads);
	for (int i = c->threads - 1; i >= 0; i--) {
		threads[i] = (struct crew_thread){c, &barrier, i, n, twice, 0, 0, NULL};
		if (i)
			pthread_create(&ids[i], NULL, crew_thread, &threads[i]);
		else
			crew_thread(&threads[0]);
	}
	for (int i = 0; i < c->threads; i++) {
		if (i)
			pthread_join(ids[i], NULL);
		error = error ? error : threads[i].error;
	}
	pthread_barrier_destroy(&barrier);
	other = c->ops->finish(c);
	return error ? error : other;
}

static void bulk_api_calls_once_for_all_objects(void)
{
	struct crew_thread threads[MAX_THREADS];
	const char *error;

	start(&slab_bench_suite, true, 1);
	error = run_crew(find("bulk_api", 1), 10, false, threads);
	ok(!error, "%s", error);
	ok(seen.nr_bulk_allocs == 10 && seen.nr_bulk_frees == 10, "%lu and %lu calls",
	   seen.nr_bulk_allocs, seen.nr_bulk_frees);
	ok(!strstr(find("bulk_api", 1)->note, "one by one"), "note '%s'",
	   find("bulk_api", 1)->note);
	stop();
}

static void an_allocator_without_bulk_calls_takes_objects_one_by_one_and_says_so(void)
{
	struct crew_thread threads[MAX_THREADS];
	unsigned long before;
	const char *error;

	start(&slab_bench_suite, false, 1);
	before = seen.nr_allocs;
	error = run_crew(find("bulk_api16", 1), 10, false, threads);
	ok(!error, "%s", error);
	ok(seen.nr_allocs - before >= 160, "%lu allocations", seen.nr_allocs - before);
	ok(strstr(find("bulk_api", 1)->note, "64 objects; no such calls: one by one"), "note '%s'",
	   find("bulk_api", 1)->note);
	counting.free_bulk = counting_free_bulk;
	free(list.cases);
	list = (struct case_list){0};
	ok_eq(kmalloc_bench_suite.enumerate(&env, &list), 0);
	error = run_crew(find("bulk_api", 1), 10, false, threads);
	ok(!error, "%s", error);
	ok(seen.nr_bulk_allocs == 0 && seen.nr_bulk_frees == 10, "%lu and %lu calls",
	   seen.nr_bulk_allocs, seen.nr_bulk_frees);
	ok(strstr(find("bulk_api", 1)->note, "no such call to allocate"), "note '%s'",
	   find("bulk_api", 1)->note);
	stop();
}

static void a_bulk_call_that_fails_is_no_memory(void)
{
	struct crew_thread threads[MAX_THREADS];
	const char *error;

	start(&slab_bench_suite, true, 1);
	seen.bulk_fails = true;
	error = run_crew(find("bulk_api", 1), 1, false, threads);
	ok(error && strstr(error, "no memory"), "%s", error ? error : "nothing said");
	stop();
}

static void in_remote_every_object_is_freed_by_another_thread(void)
{
	for (int nr = 2; nr <= MAX_THREADS; nr++) {
		struct crew_thread threads[MAX_THREADS];
		const char *error;

		start(&kmalloc_bench_suite, false, nr);
		error = run_crew(find("remote", nr), 20, false, threads);
		ok(!error, "%d threads: %s", nr, error);
		ok(seen.nr_remote == 20UL * XCPU_CHUNK * (unsigned long)nr,
		   "%d threads: %lu remote frees", nr, seen.nr_remote);
		stop();
	}
}

static void in_larson_whole_arrays_move_on(void)
{
	struct crew_thread threads[MAX_THREADS];
	unsigned long bytes = 0;
	struct bench_case *c;
	const char *error;

	start(&kmalloc_bench_suite, false, 3);
	c = find("larson", 3);
	error = run_crew(c, 128, false, threads); /* two moves */
	ok(!error, "%s", error);
	/* After one a thread frees as many of another's as four random draws a slot find: nearly
	 * all. The second move is at the end. */
	ok(seen.nr_remote > 3UL * 128 * 256 / 8, "%lu of %d frees remote", seen.nr_remote,
	   3 * 128 * 256);
	ok(seen.nr_remote < 3UL * 128 * 256 / 2, "%lu of %d frees remote", seen.nr_remote,
	   3 * 128 * 256);
	for (int i = 0; i < 3; i++) {
		ok(threads[i].nr_held == (unsigned long)c->count, "thread %d holds %lu", i,
		   threads[i].nr_held);
		bytes += threads[i].held_bytes;
	}
	ok(bytes / 3 / (unsigned long)c->count > 480 && bytes / 3 / (unsigned long)c->count < 552,
	   "%lu bytes", bytes);
	stop();
}

static void churn_and_occupancy_hold_as_many_as_they_say(void)
{
	static const char *const names[] = {"repeat", "occupancy", "churn"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct crew_thread threads[MAX_THREADS];
		struct bench_case *c;
		const char *error;

		start(&kmalloc_bench_suite, false, 1);
		c = find(names[i], 1);
		error = run_crew(c, 10000, false, threads);
		ok(!error, "%s: %s", names[i], error);
		ok(threads[0].nr_held == (unsigned long)c->count, "%s holds %lu", names[i],
		   threads[0].nr_held);
		ok(threads[0].held_bytes >= threads[0].nr_held * 16, "%s: %lu bytes", names[i],
		   threads[0].held_bytes);
		stop();
	}
}

static void churn_draws_sizes_by_pareto(void)
{
	unsigned long nr[12] = {0};
	uint64_t random = 12345;

	for (int i = 0; i < 1 << 20; i++) {
		size_t size = churn_size(&random);
		int class = 0;

		if (size < CHURN_MIN || size > CHURN_MAX)
			ok(false, "size %zu", size);
		while (size > (size_t)CHURN_MIN << class)
			class ++;
		nr[class]++;
	}
	for (int class = 2; class <= 7; class ++)
		ok(nr[class] * 2 > nr[class - 1] * 9 / 10 &&
			   nr[class] * 2 < nr[class - 1] * 12 / 10,
		   "%lu of up to %d bytes after %lu", nr[class], CHURN_MIN << class, nr[class - 1]);
}

static void an_object_handed_out_twice_while_it_runs_is_found(void)
{
	static const char *const names[] = {"churn", "larson", "falseshare", "falseshare_passive"};
	static const int nr_threads[] = {1, 2, 1, 1};
	static const uint64_t runs[] = {200000, 128, 1, 1};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct crew_thread threads[MAX_THREADS];
		const char *error;

		/* Two threads in one object are the fault itself, and a race. */
		if (RACES_ARE_FATAL && nr_threads[i] > 1)
			continue;
		start(&kmalloc_bench_suite, false, 2);
		error = run_crew(find(names[i], nr_threads[i]), runs[i], true, threads);
		ok(error && strstr(error, "another's too"), "%s: %s", names[i],
		   error ? error : "nothing found");
		free(list.cases);
		broken_end();
	}
}

int main(void)
{
	RUN(bulk_api_calls_once_for_all_objects);
	RUN(an_allocator_without_bulk_calls_takes_objects_one_by_one_and_says_so);
	RUN(a_bulk_call_that_fails_is_no_memory);
	RUN(in_remote_every_object_is_freed_by_another_thread);
	RUN(in_larson_whole_arrays_move_on);
	RUN(churn_and_occupancy_hold_as_many_as_they_say);
	RUN(churn_draws_sizes_by_pareto);
	RUN(an_object_handed_out_twice_while_it_runs_is_found);
	return done();
}

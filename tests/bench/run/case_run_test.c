/* SPDX-License-Identifier: MIT */
/* The order of a case's callbacks, on our own threads and on Google Benchmark's; and what a failed
 * check does. */
#include "config.h"

#include "bench/run/case_run.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/suites/common.h"
#include "tests/tap/tap.h"

#define THREADS 4

/* Callbacks so far; each callback checks which others must have come, or must not have. */
static struct {
	int prepared, begun, worked, ended, finished, before, after;
	uint64_t n;
} seen;

static int count(int *counter)
{
	return __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
}

static int now(const int *counter)
{
	return __atomic_load_n(counter, __ATOMIC_SEQ_CST);
}

static const char *prepare(struct bench_case *c)
{
	(void)c;
	ok_eq(now(&seen.begun), 0);
	count(&seen.prepared);
	return NULL;
}

static const char *thread_begin(struct bench_case *c, int thread, void **state)
{
	(void)c;
	ok_eq(now(&seen.prepared), 1);
	ok_eq(now(&seen.worked), 0);
	ok(!*state, "the state is not NULL before");
	*state = (char *)&seen + thread;
	count(&seen.begun);
	return NULL;
}

static void run(struct bench_case *c, int thread, void *state, uint64_t n)
{
	(void)c;
	ok_eq(now(&seen.begun), THREADS);
	ok_eq(now(&seen.ended), 0);
	ok(state == (char *)&seen + thread, "thread %d has the state of another", thread);
	__atomic_store_n(&seen.n, n, __ATOMIC_RELAXED);
	count(&seen.worked);
}

static const char *thread_end(struct bench_case *c, int thread, void *state)
{
	(void)c;
	ok_eq(now(&seen.worked), THREADS);
	ok_eq(now(&seen.finished), 0);
	ok(state == (char *)&seen + thread, "thread %d has the state of another", thread);
	count(&seen.ended);
	return NULL;
}

static const char *finish(struct bench_case *c)
{
	(void)c;
	ok_eq(now(&seen.ended), THREADS);
	count(&seen.finished);
	return NULL;
}

static const struct case_ops ops = {
	.ops_per_batch = 10,
	.prepare = prepare,
	.thread_begin = thread_begin,
	.run = run,
	.thread_end = thread_end,
	.finish = finish,
};

static struct bench_case test_case(const struct case_ops *case_ops)
{
	return (struct bench_case){.suite = "slab",
				   .name = "pair",
				   .allocator = "kmm",
				   .placement = "remote",
				   .size = "64",
				   .threads = THREADS,
				   .ops = case_ops};
}

static void all_came_once(void)
{
	ok_eq(seen.prepared, 1);
	ok_eq(seen.begun, THREADS);
	ok_eq(seen.worked, THREADS);
	ok_eq(seen.ended, THREADS);
	ok_eq(seen.finished, 1);
}

static void work_before(struct case_run *run_of, void *arg)
{
	(void)run_of;
	ok(arg == &seen, "another argument");
	ok_eq(now(&seen.begun), THREADS);
	ok_eq(now(&seen.worked), 0);
	count(&seen.before);
}

static void work_after(struct case_run *run_of, void *arg)
{
	(void)run_of;
	(void)arg;
	ok_eq(now(&seen.worked), THREADS);
	ok_eq(now(&seen.ended), 0);
	count(&seen.after);
}

static void work(struct case_run *run_of, int thread, uint64_t n, void *arg)
{
	(void)arg;
	run(run_of->c, thread, run_of->states[thread], n);
}

static void callbacks_come_in_order_on_own_threads(void)
{
	static const struct case_work watched = {work, work_before, work_after};
	struct bench_case c = test_case(&ops);
	struct case_run case_of;

	for (int i = 0; i < 50; i++) {
		memset(&seen, 0, sizeof(seen));
		ok_eq(case_run_init(&case_of, &c), 0);
		ok(case_run_once(&case_of, 3, &watched, &seen) >= 0, "less than no time");
		all_came_once();
		ok_eq(seen.n, 3);
		ok_eq(seen.before, 1);
		ok_eq(seen.after, 1);
		case_run_destroy(&case_of);
	}
}

static int nr_results, nr_before;

static void before(struct case_run *case_of)
{
	(void)case_of;
	if (nr_before++)
		all_came_once(); /* of the repetition before this one */
	memset(&seen, 0, sizeof(seen));
}

static void result(void *user, const struct gbench_result *r)
{
	(void)user;
	ok_eq(r->iterations, 5);
	nr_results++;
}

/* Google Benchmark forgets nothing: what one test has registered runs again in the next. */
static struct case_run registered_case;

static void callbacks_come_in_order_on_google_benchmarks_threads(void)
{
	struct bench_case c = test_case(&ops);
	char *argv[] = {(char *)"kmm", NULL};
	char error[128] = "";

	ok_eq(case_run_init(&registered_case, &c), 0);
	registered_case.before = before;
	ok_eq(gbench_init(1, argv, error, sizeof(error)), 0);
	ok_eq(gbench_register("case", THREADS, 5, &case_run_gbench_ops, &registered_case), 0);
	ok(!gbench_run(result, NULL, error, sizeof(error)), "%s", error);
	ok_eq(nr_results, 9);
	ok_eq(nr_before, 9);
	all_came_once();
	ok(case_ops(&c, 5) == 50, "%g operations", case_ops(&c, 5));
	case_run_destroy(&registered_case);
}

static const char *lost(struct bench_case *c, int thread, void *state)
{
	(void)state;
	return thread == c->threads - 1 ? "a byte was lost" : NULL;
}

static void nothing(struct bench_case *c, int thread, void *state, uint64_t n)
{
	(void)c;
	(void)thread;
	(void)state;
	(void)n;
}

/* A run of the case in a process of its own ends it, with this line behind the case's name. */
static void ends_the_process(struct bench_case c, const char *why)
{
	char line[256], wanted[256];
	int ends[2], status;
	size_t length = 0;
	ssize_t got;

#ifdef __SANITIZE_THREAD__
	c.threads = 1; /* it would say more of those that still run when the process ends */
#endif
	snprintf(wanted, sizeof(wanted), "kmm: slab/pair/64/%s/remote/threads:%d: %s\n",
		 c.allocator, c.threads, why);
	if (pipe(ends))
		exit(99);
	fflush(stdout);
	if (!fork()) {
		struct case_run case_of;

		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		if (!case_run_init(&case_of, &c))
			case_run_once(&case_of, 1, &case_work_run, NULL);
		_exit(EXIT_OK);
	}
	close(ends[1]);
	while ((got = read(ends[0], line + length, sizeof(line) - 1 - length)) > 0)
		length += (size_t)got;
	line[length] = '\0';
	close(ends[0]);
	wait(&status);
	ok(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILED, "status %x",
	   (unsigned int)status);
	ok(!strcmp(line, wanted), "said '%s'", line);
}

static void a_failed_check_ends_the_process_with_one_line(void)
{
	static const struct case_ops losing = {
		.ops_per_batch = 1, .run = nothing, .thread_end = lost};

	ends_the_process(test_case(&losing), "a byte was lost");
}

static const char *finds_no_memory(struct bench_case *c, int thread, void **state)
{
	(void)state;
	count(&seen.begun);
	return thread == c->threads - 1 ? case_no_memory(c, "for thread %d", thread) : NULL;
}

static void must_not_run(struct bench_case *c, int thread, void *state, uint64_t n)
{
	(void)c;
	(void)thread;
	(void)state;
	(void)n;
	count(&seen.worked);
}

static const char *ends_as_well(struct bench_case *c, int thread, void *state)
{
	(void)thread;
	(void)state;
	count(&seen.ended);
	return case_given_up(c); /* as one whose last check finds no memory either */
}

static const struct case_ops starving = {.ops_per_batch = 1,
					 .thread_begin = finds_no_memory,
					 .run = must_not_run,
					 .thread_end = ends_as_well};

static void an_allocator_without_memory_loses_its_row_only(void)
{
	struct bench_case c = test_case(&starving);
	char error[128] = "";

	c.allocator = "mine";
	snprintf(c.note, sizeof(c.note), "emulated");
	memset(&seen, 0, sizeof(seen));
	ok_eq(case_run_init(&registered_case, &c), 0);
	case_run_once(&registered_case, 3, &case_work_run, NULL);
	ok_eq(seen.begun, THREADS);
	ok_eq(seen.worked, 0);
	ok_eq(seen.ended, THREADS);
	ok(c.skipped && !strcmp(c.note, "skipped: no memory for thread 3; emulated"), "%s", c.note);
	/* It may be registered already: nothing of it comes any more. */
	ok_eq(gbench_register("starving", THREADS, 5, &case_run_gbench_ops, &registered_case), 0);
	ok(!gbench_run(result, NULL, error, sizeof(error)), "%s", error);
	ok_eq(seen.begun, THREADS);
	ok_eq(seen.ended, THREADS);
	case_run_destroy(&registered_case);
}

static const char *finds_damage_too(struct bench_case *c, int thread, void *state)
{
	(void)state;
	return thread ? case_given_up(c) : "a byte was lost";
}

static void a_lack_of_memory_hides_nothing(void)
{
	static const struct case_ops damaged = {.ops_per_batch = 1,
						.thread_begin = finds_no_memory,
						.run = must_not_run,
						.thread_end = finds_damage_too};
	struct bench_case c = test_case(&starving);

	c.threads = 1;
	ends_the_process(c, "no memory for thread 0"); /* kmm answers for it */
	c.allocator = "mine";
	c.ops = &damaged;
	ends_the_process(c, "a byte was lost");
}

static void files_without_a_size_name_it_behind_the_case(void)
{
	struct bench_case c = test_case(&ops);
	char name[CASE_NAME];

	case_and_size(&c, false, name, sizeof(name));
	ok(!strcmp(name, "pair/64"), "%s", name);
	case_and_size(&c, true, name, sizeof(name));
	ok(!strcmp(name, "pair/64/remote"), "%s", name);
	c.size[0] = '\0';
	c.placement = "local";
	case_and_size(&c, true, name, sizeof(name));
	ok(!strcmp(name, "pair"), "%s", name);
}

int main(void)
{
	RUN(callbacks_come_in_order_on_own_threads);
	RUN(callbacks_come_in_order_on_google_benchmarks_threads);
	RUN(a_failed_check_ends_the_process_with_one_line);
	RUN(an_allocator_without_memory_loses_its_row_only);
	RUN(a_lack_of_memory_hides_nothing);
	RUN(files_without_a_size_name_it_behind_the_case);
	return done();
}

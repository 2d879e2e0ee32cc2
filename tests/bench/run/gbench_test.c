/* SPDX-License-Identifier: MIT */
/*
 * Google Benchmark through gbench.h. That times are what they are said to be is shown by order, not
 * by amounts:
 *
 *	each thread	begin ends < its own work < end begins
 *
 * and a repetition's wall time can be no shorter than its shortest work, and no longer than from
 * the first begin's end to the last end's beginning, whatever else the machine does.
 */
#include "config.h"

#include "bench/run/gbench.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <time.h>

#include "tests/tap/tap.h"

#define REPETITIONS 5
#define THREADS	    2
#define ITERATIONS  7
#define SPIN_NS	    100e3

struct times {
	double begun, work, ending;
};

struct watched {
	int nr_runs; /* of thread 0: the repetition that runs */
	int nr_begun[THREADS], nr_ended[THREADS];
	uint64_t iterations[THREADS];
	struct times times[REPETITIONS][THREADS];
	int nr_results, nr_measured;
	double measured_ns[REPETITIONS]; /* in their order */
	bool reported[REPETITIONS];
	struct gbench_result results[REPETITIONS];
};

#define NR_CASES 8

static struct watched
	cases[NR_CASES]; /* the first and all others with one thread, the second with THREADS */
#define one cases[0]
#define two cases[1]
static int order[NR_CASES * REPETITIONS]; /* which case each repetition was of */
static int nr_order;

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void begin(void *user, int thread)
{
	struct watched *w = user;
	int repetition = w->nr_begun[thread]++;

	if (!thread && nr_order < NR_CASES * REPETITIONS)
		order[nr_order++] = (int)(w - cases);
	if (repetition < REPETITIONS)
		w->times[repetition][thread].begun = now_ns();
}

static void run(void *user, int thread, uint64_t n)
{
	struct watched *w = user;
	double started = now_ns();

	while (now_ns() < started + SPIN_NS * (double)n)
		;
	w->iterations[thread] = n;
	w->times[w->nr_begun[thread] - 1][thread].work = now_ns() - started;
}

static void end(void *user, int thread)
{
	struct watched *w = user;

	w->times[w->nr_ended[thread]++][thread].ending = now_ns();
}

static const struct gbench_ops ops = {begin, run, end};

static void result(void *user, const struct gbench_result *r)
{
	struct watched *w = user;

	w->nr_results++;
	if (r->repetition >= 0 && r->repetition < REPETITIONS) {
		w->reported[r->repetition] = true;
		w->results[r->repetition] = *r;
	}
}

static void measured(void *user, const struct gbench_result *r)
{
	struct watched *w = user;

	ok(!w->nr_results, "after the results");
	ok_eq(r->threads, w == &two ? THREADS : 1);
	if (w->nr_measured < REPETITIONS)
		w->measured_ns[w->nr_measured] = r->wall_ns;
	w->nr_measured++;
}

static void arguments_of_google_benchmark_are_known(void)
{
	ok(gbench_is_flag("--benchmark_filter=x"), "--benchmark_filter");
	ok(gbench_is_flag("--benchmark_made_up"), "unknown ones too: gbench_init names them");
	ok(!gbench_is_flag("--suite"), "--suite");
	ok(!gbench_is_flag("benchmark_filter"), "not an option");
}

static void bad_flags_are_one_line(void)
{
	static const char *const bad[] = {"--benchmark_made_up=1", "--benchmark_repetitions=x",
					  "--benchmark_repetitions=-1", "--benchmark_filter=("};
	char error[128];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *argv[] = {(char *)"kmm", (char *)bad[i], NULL};

		error[0] = '\0';
		ok_eq(gbench_init(2, argv, error, sizeof(error)), -EINVAL);
		ok(!strncmp(error, bad[i], 17) && !strchr(error, '\n'), "%s: said '%s'", bad[i],
		   error);
	}
}

static void flags_are_read(void)
{
	char *argv[] = {(char *)"kmm", (char *)"--benchmark_filter=-pair|bulk",
			(char *)"--benchmark_repetitions=5", (char *)"--benchmark_min_time=0.25",
			NULL};
	char error[128] = "";

	ok(!gbench_init(4, argv, error, sizeof(error)), "%s", error);
	ok_eq(gbench_repetitions(), REPETITIONS);
	ok(gbench_min_time() == 0.25, "%g", gbench_min_time());
	ok(!gbench_list_only(), "nothing asked for a list");
	ok(!gbench_selected("page/pair/0"), "a filter that begins with - drops what it matches");
	ok(gbench_selected("page/shuffle/0"), "and keeps the rest");
}

static void cases_register_once(void)
{
	ok_eq(gbench_register("spin/one", 1, ITERATIONS, &ops, &one), 0);
	ok_eq(gbench_register("spin/two", THREADS, ITERATIONS, &ops, &two), 0);
	ok_eq(gbench_register("spin/two", THREADS, ITERATIONS, &ops, &two), -EEXIST);
	ok_eq(gbench_register("spin/none", 0, ITERATIONS, &ops, &two), -EINVAL);
	ok_eq(gbench_register("spin/never", 1, 0, &ops, &two), -EINVAL);
	for (int i = 2; i < NR_CASES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "more/%d", i);
		ok_eq(gbench_register(name, 1, 1, &ops, &cases[i]), 0);
	}
}

static void every_repetition_is_reported(void)
{
	char error[128] = "";

	ok(!gbench_run(result, measured, error, sizeof(error)), "%s", error);
	for (const struct watched *w = &one;; w = &two) {
		int threads = w == &one ? 1 : THREADS;

		ok_eq(w->nr_results, REPETITIONS);
		ok_eq(w->nr_measured, REPETITIONS);
		for (int r = 0; r < REPETITIONS; r++) {
			ok(w->reported[r], "repetition %d is missing", r);
			ok_eq(w->results[r].threads, threads);
			ok_eq(w->results[r].iterations, ITERATIONS);
		}
		for (int t = 0; t < threads; t++) {
			ok_eq(w->nr_begun[t], REPETITIONS);
			ok_eq(w->nr_ended[t], REPETITIONS);
			ok_eq(w->iterations[t], ITERATIONS);
		}
		if (w == &two)
			break;
	}
}

static void wall_time_is_that_of_the_work_alone(void)
{
	for (int r = 0; r < REPETITIONS; r++) {
		double wall = one.results[r].wall_ns;
		const struct times *t = &one.times[r][0];

		ok(wall >= ITERATIONS * SPIN_NS, "repetition %d: %g ns is less than it spun", r,
		   wall);
		ok(wall >= t->work - 1 && wall <= t->ending - t->begun + 1,
		   "repetition %d: %g ns, work %g, around %g", r, wall, t->work,
		   t->ending - t->begun);
		ok(one.measured_ns[r] >= t->work - 1 &&
			   one.measured_ns[r] <= t->ending - t->begun + 1,
		   "repetition %d: measured %g ns, work %g, around %g", r, one.measured_ns[r],
		   t->work, t->ending - t->begun);
	}
}

/* Were it divided by the threads, or summed over them, this would not hold. */
static void wall_time_of_two_threads_is_one_threads_share(void)
{
	for (int r = 0; r < REPETITIONS; r++) {
		double wall = two.results[r].wall_ns;
		const struct times *t = two.times[r];
		double around = fmax(t[0].ending, t[1].ending) - fmin(t[0].begun, t[1].begun);

		ok(wall >= fmin(t[0].work, t[1].work) - 1, "repetition %d: %g ns", r, wall);
		ok(wall <= around + 1, "repetition %d: %g ns of %g", r, wall, around);
	}
}

/* In one piece each, they would change 7 times. By chance, all but never. */
static void repetitions_of_cases_alternate(void)
{
	int nr_changes = 0;

	ok_eq(nr_order, NR_CASES * REPETITIONS);
	for (int i = 1; i < nr_order; i++)
		nr_changes += order[i] != order[i - 1];
	ok(nr_changes > NR_CASES - 1, "%d repetitions changed case %d times", nr_order, nr_changes);
}

int main(void)
{
	RUN(arguments_of_google_benchmark_are_known);
	RUN(bad_flags_are_one_line);
	RUN(flags_are_read);
	RUN(cases_register_once);
	RUN(every_repetition_is_reported);
	RUN(wall_time_is_that_of_the_work_alone);
	RUN(wall_time_of_two_threads_is_one_threads_share);
	RUN(repetitions_of_cases_alternate);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* What the passes of a run tell the journal, for the run that ends early. */
#include "config.h"

#include "bench/run/measure.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/run/gbench.h"
#include "bench/suites/common.h"
#include "tests/bench/results/folder.h"
#include "tests/tap/tap.h"

#define REPETITIONS 5

static char top[] = "/tmp/kmm-measure-test.XXXXXX";
/* Of case pair, from when it is repeated on, and the first that has no memory. 0: not yet; all have. */
static int nr_runs, run_without_memory;
static uint64_t worked;

static void run(struct bench_case *c, int thread, void *state, uint64_t n)
{
	(void)thread;
	(void)state;
	/* Work that takes some time, so that it can be calibrated. */
	for (uint64_t i = 0; i < n; i++)
		__atomic_add_fetch(&worked, 1, __ATOMIC_SEQ_CST);
	if (nr_runs && !strcmp(c->name, "pair") && nr_runs++ == run_without_memory)
		case_no_memory(c, "for object 7");
}

static struct bench_case case_named(const char *name)
{
	static const struct case_ops ops = {.ops_per_batch = 10, .run = run};

	return (struct bench_case){.suite = "page",
				   .name = name,
				   .allocator = "other",
				   .placement = "local",
				   .size = "0",
				   .threads = 1,
				   .ops = &ops};
}

/* Measure two cases as a run does until it is ended: nothing is committed. */
static int measure_two(struct results *results)
{
	struct bench_case cases[] = {case_named("pair"), case_named("shuffle")};
	struct case_list list = {.cases = cases, .nr = 2};
	struct progress progress;
	struct measure measure = {.repetitions = REPETITIONS,
				  .min_s = 1e-6,
				  .max_s = 1e-6,
				  .progress = &progress,
				  .results = results};
	char running[PROGRESS_NAME];
	int status;

	if (measure_init(&measure, &list))
		return 99;
	progress_start(&progress, 1, running);
	for (int i = 0; i < 2; i++) {
		const struct measurement row = case_measurement(&cases[i]);

		results_planned(results, &row);
	}
	status = measure_calibrate(&measure);
	nr_runs = 1;
	status = status ? status : measure_repeat(&measure);
	measure_destroy(&measure);
	return status;
}

/* throughput.csv of the run that ends then. */
static const char *kept_of_a_run(int without_memory_from)
{
	static char path[256];
	struct results *results;
	int status = 0;

	run_without_memory = without_memory_from;
	if (results_open(top, &results))
		exit(99);
	fflush(stdout);
	if (!fork())
		_exit(measure_two(results));
	wait(&status);
	ok(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", (unsigned int)status);
	ok(results_keep(results, "", NULL, "told to"), "nothing is kept");
	snprintf(path, sizeof(path), "%s", results_path(results));
	results_discard(results);
	return slurp(path, "throughput.csv");
}

/* In a whole run it has a note and no figures, though some repetitions had memory. */
static void a_case_that_runs_out_of_memory_says_so_in_a_run_that_ends_early(void)
{
	const char *text = kept_of_a_run(3);

	ok(strstr(text, "\npage,pair,other,1,none,0,0,,,,,,skipped: no memory for object 7\n"),
	   "%s", text);
}

static void ok_figures(const char *text, const char *row)
{
	const char *found = strstr(text, row);

	ok(found && strtoul(found + strlen(row), NULL, 10) > 0, "%s", text);
}

static void other_cases_have_the_figures_so_far(void)
{
	ok_figures(kept_of_a_run(3), "\npage,shuffle,other,1,local,0,");
	ok_figures(kept_of_a_run(0), "\npage,pair,other,1,local,0,");
}

int main(void)
{
	char *argv[] = {"measure_test", "--benchmark_repetitions=5", NULL};
	char command[sizeof(top) + 16], line[256];
	int status;

	if (!mkdtemp(top) || gbench_init(2, argv, line, sizeof(line)))
		return 99;
	RUN(a_case_that_runs_out_of_memory_says_so_in_a_run_that_ends_early);
	RUN(other_cases_have_the_figures_so_far);
	status = done();
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command) ? 99 : status;
}

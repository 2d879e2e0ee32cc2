/* SPDX-License-Identifier: MIT */
/* The run's folder: headers, rows, quoting, comparison with the baseline, and that it is whole or
 * not there. */
#include "config.h"

#include "bench/results/results.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/results/folder.h"
#include "tests/tap/tap.h"

static char top[] = "/tmp/kmm-results-test.XXXXXX";
static char dir[64];

/* A new place for results, below the test's own folder. */
static void fresh_dir(void)
{
	static int nr;

	snprintf(dir, sizeof(dir), "%s/%d", top, ++nr);
}

static struct results *open_results(void)
{
	struct results *results;

	fresh_dir();
	if (results_open(dir, &results))
		exit(99);
	return results;
}

static void silence_stderr(bool silent)
{
	static int saved;

	fflush(stderr);
	if (silent) {
		saved = dup(2);
		if (!freopen("/dev/null", "w", stderr))
			exit(99);
	} else {
		dup2(saved, 2);
		close(saved);
	}
}

static void headers_are_those_of_the_design(void)
{
	struct results *results = open_results();
	char path[256], fragmentation[1024];
	const char *text;
	int length;

	ok_eq(results_commit(results), 0);
	snprintf(path, sizeof(path), "%s", results_path(results));
	results_close(results);
	text = slurp(path, "throughput.csv");
	ok(!strcmp(text,
		   "suite,case,allocator,threads,placement,size,ops,ns_per_op,ci_low_ns,ci_high_ns,"
		   "ops_per_s,vs_jemalloc,note\n"),
	   "%s", text);
	text = slurp(path, "latency.csv");
	ok(!strcmp(text,
		   "suite,case,allocator,threads,placement,p50_ns,p90_ns,p99_ns,p999_ns,p9999_ns,"
		   "max_ns\n"),
	   "%s", text);
	text = slurp(path, "numa.csv");
	ok(!strcmp(text, "suite,case,allocator,cpu_node,memory_node,ns_per_op,local_ratio\n"), "%s",
	   text);
	text = slurp(path, "locks.csv");
	ok(!strcmp(text, "suite,case,threads,lock,acquired,contended,wait_cycles\n"), "%s", text);
	text = slurp(path, "paths.csv");
	ok(!strcmp(text, "suite,case,allocator,threads,placement,size,path,count,per_1000_ops\n"),
	   "%s", text);
	length = snprintf(fragmentation, sizeof(fragmentation),
			  "trace,allocator,event,time_ns,requested_bytes,allocated_bytes,backing_"
			  "bytes,rss_bytes,"
			  "internal_frag");
	for (int j = 0; j <= 10; j++)
		length += snprintf(fragmentation + length, sizeof(fragmentation) - (size_t)length,
				   ",unusable_free_index_%d,fragmentation_index_%d", j, j);
	snprintf(fragmentation + length, sizeof(fragmentation) - (size_t)length,
		 ",huge_free_ratio\n");
	text = slurp(path, "fragmentation.csv");
	ok(!strcmp(text, fragmentation), "%s", text);
}

static void commit_renames_and_moves_latest(void)
{
	struct results *results = open_results();
	char link_path[256], link_text[256], path[256];
	ssize_t length;

	ok_eq(nr_entries(dir), 1);
	ok_eq(nr_entries(results_path(results)), -1);
	ok_eq(results_commit(results), 0);
	snprintf(path, sizeof(path), "%s", results_path(results));
	results_close(results);
	ok_eq(nr_entries(dir), 2); /* the run and the link */
	ok_eq(nr_entries(path), 9);
	snprintf(link_path, sizeof(link_path), "%s/latest", dir);
	length = readlink(link_path, link_text, sizeof(link_text) - 1);
	link_text[length > 0 ? length : 0] = '\0';
	ok(!strcmp(link_text, strrchr(path, '/') + 1), "latest is %s", link_text);
}

static void runs_of_one_second_have_two_folders(void)
{
	struct results *first = open_results(), *second;

	ok_eq(results_commit(first), 0);
	results_close(first);
	ok_eq(results_open(dir, &second), 0);
	ok_eq(results_commit(second), 0);
	results_close(second);
	ok_eq(nr_entries(dir), 3);
}

static void discard_leaves_nothing(void)
{
	struct results *results = open_results();

	results_discard(results);
	ok_eq(nr_entries(dir), 0);
}

static void folders_of_dead_runs_are_removed(void)
{
	struct results *results;
	char host[64], dead[256], other[256], inside[300];
	FILE *file;

	fresh_dir();
	gethostname(host, sizeof(host));
	snprintf(dead, sizeof(dead), "%s/.tmp-%s-2147483646", dir, host); /* beyond every pid_max */
	snprintf(other, sizeof(other), "%s/.tmp-other.host-2147483646", dir);
	snprintf(inside, sizeof(inside), "%s/raw.csv", dead);
	mkdir(dir, 0777);
	mkdir(dead, 0777);
	mkdir(other, 0777);
	file = fopen(inside, "w");
	if (file)
		fclose(file);
	ok_eq(results_open(dir, &results), 0);
	ok_eq(nr_entries(dead), -1);
	ok_eq(nr_entries(other), 0);
	results_discard(results);
}

static void add(struct results *results, const char *allocator, double ns, int nr, const char *note)
{
	const double samples[] = {ns, ns, ns};
	struct measurement m = {.suite = "slab",
				.name = "pair",
				.allocator = allocator,
				.placement = "local",
				.size = "64",
				.threads = 2,
				.ops = 600,
				.samples = samples,
				.nr_samples = nr,
				.note = note};

	ok_eq(results_measured(results, &m), 0);
}

static void rows_are_compared_with_jemalloc(void)
{
	struct results *results = open_results();
	const struct measured *rows;
	const char *text;
	size_t nr;

	add(results, "kmm", 5, 3, "emulated");
	add(results, "jemalloc", 10, 3, NULL);
	add(results, "kmm-aa", 5.05, 3, NULL);
	add(results, "glibc", 10.2, 3, "a, \"b\"");
	add(results, "tcmalloc", 0, 0, "skipped: not installed");
	ok_eq(results_commit(results), 0);
	ok(fabs(results_noise_floor(results) - 0.029337) < 1e-5, "noise floor %g",
	   results_noise_floor(results)); /* 1.01^2.906 - 1 */
	rows = results_rows(results, &nr);
	ok_eq(nr, 5);
	ok_eq(rows[0].verdict, VERDICT_FASTER);
	ok_eq(rows[1].verdict, VERDICT_NONE);
	ok_eq(rows[3].verdict, VERDICT_SAME);
	text = slurp(results_path(results), "throughput.csv");
	ok(strstr(text, "\nslab,pair,kmm,2,local,64,600,5,5,5,4e+08,0.5,emulated\n"), "%s", text);
	ok(strstr(text, "\nslab,pair,jemalloc,2,local,64,600,10,10,10,2e+08,1,\n"), "%s", text);
	ok(strstr(text, "\nslab,pair,glibc,2,local,64,600,10.2,10.2,10.2,1.96078e+08,1.02,"
			"\"a, \"\"b\"\"; same\"\n"),
	   "%s", text);
	ok(strstr(text, "\nslab,pair,tcmalloc,2,none,64,600,,,,,,skipped: not installed\n"), "%s",
	   text);
	text = slurp(results_path(results), "raw.csv");
	ok(strstr(text, "\nslab,pair,kmm-aa,2,local,64,2,5.05\n"), "%s", text);
	text = slurp(results_path(results), "machine.json");
	ok(strstr(text, "\"noise_floor\": 0.0293") && strstr(text, "\"aa_pairs\": 1"), "%s", text);
	results_close(results);
}

static void skipped_rows_keep_apart(void)
{
	static const char *const placements[] = {"local", "remote", "interleave"};
	static const char *const lines[] = {
		"\nslab,pair,jemalloc,1,none,64,0,,,,,,skipped: x\n",
		"\nslab,pair,jemalloc,1,remote,64,0,,,,,,skipped: x\n",
		"\nslab,pair,jemalloc,1,interleave,64,0,,,,,,skipped: x\n"};
	struct results *results = open_results();
	const char *text;

	for (int i = 0; i < 3; i++) {
		struct measurement m = {.suite = "slab",
					.name = "pair",
					.allocator = "jemalloc",
					.placement = placements[i],
					.size = "64",
					.threads = 1,
					.note = "skipped: x"};

		ok_eq(results_measured(results, &m), 0);
	}
	ok_eq(results_commit(results), 0);
	text = slurp(results_path(results), "throughput.csv");
	for (int i = 0; i < 3; i++)
		ok(strstr(text, lines[i]), "%s: %s", placements[i], text);
	results_close(results);
}

static void unknown_figures_are_empty_fields(void)
{
	struct results *results = open_results();
	struct fragmentation_row row = {.trace = "t",
					.allocator = "kmm",
					.event = 7,
					.time_ns = -1,
					.backing_bytes = CSV_UNKNOWN_WHOLE,
					.internal_frag = NAN,
					.huge_free_ratio = 0.5};
	const char *text;

	row.indices.unusable_free_index[0] = 0.25;
	row.indices.fragmentation_index[0] = -1;
	row.indices.fragmentation_index[10] = INFINITY;
	ok_eq(results_fragmentation(results, &row), 0);
	ok_eq(results_commit(results), 0);
	text = slurp(results_path(results), "fragmentation.csv");
	ok(strstr(text,
		  "\nt,kmm,7,-1,0,0,,0,,0.25,-1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,,0.5\n"),
	   "%s", text);
	results_close(results);
}

static void an_impossible_folder_is_refused(void)
{
	struct results *results;
	char path[128];
	FILE *file;

	fresh_dir();
	file = fopen(dir, "w"); /* a file where the folder should be */
	if (file)
		fclose(file);
	snprintf(path, sizeof(path), "%s/below", dir);
	silence_stderr(true);
	ok_eq(results_open(dir, &results), -ENOTDIR);
	ok_eq(results_open(path, &results), -ENOTDIR);
	ok_eq(results_open("", &results), -ENOENT);
	silence_stderr(false);
	ok(!results, "results are not NULL");
}

/* No file may grow beyond 4 KiB: to fclose and fsync it looks like a disk that is full. */
static void a_full_disk_commits_nothing(void)
{
	struct rlimit saved, small;
	struct results *results = open_results();
	struct latency_row row = {
		.suite = "slab", .name = "pair", .allocator = "kmm", .placement = "local"};
	int error = 0;

	getrlimit(RLIMIT_FSIZE, &saved);
	small = saved;
	small.rlim_cur = 4096;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &small);
	for (int i = 0; i < 4096; i++)
		error = error ? error : results_latency(results, &row);
	silence_stderr(true);
	ok(results_commit(results) < 0, "the commit went well");
	silence_stderr(false);
	setrlimit(RLIMIT_FSIZE, &saved);
	ok(error < 0, "no write failed");
	ok_eq(nr_entries(results_path(results)), -1);
	results_discard(results);
	ok_eq(nr_entries(dir), 0);
}

int main(void)
{
	char command[sizeof(top) + 16];
	int status;

	if (!mkdtemp(top))
		return 99;
	RUN(headers_are_those_of_the_design);
	RUN(commit_renames_and_moves_latest);
	RUN(runs_of_one_second_have_two_folders);
	RUN(discard_leaves_nothing);
	RUN(folders_of_dead_runs_are_removed);
	RUN(rows_are_compared_with_jemalloc);
	RUN(skipped_rows_keep_apart);
	RUN(unknown_figures_are_empty_fields);
	RUN(an_impossible_folder_is_refused);
	RUN(a_full_disk_commits_nothing);
	status = done();
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command) ? 99 : status;
}

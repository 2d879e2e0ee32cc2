/* SPDX-License-Identifier: MIT */
/* A supervised run in each way that it can end: the exit status, the one line, and what is left in
 * the folder. */
#include "config.h"

#include "bench/run/supervise.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/results/results.h"
#include "tests/bench/results/folder.h"
#include "tests/tap/tap.h"

static char top[] = "/tmp/kmm-supervise-test.XXXXXX";
static char dir[sizeof(top) + 16]; /* of results, below it */
static char said[512];

static void fresh_dir(void)
{
	static int nr;

	snprintf(dir, sizeof(dir), "%s/%d", top, ++nr);
}

static int works(struct supervised *run, void *arg)
{
	(void)arg;
	return results_commit(run->results) ? EXIT_FAILED : EXIT_OK;
}

static int fails(struct supervised *run, void *arg)
{
	(void)run;
	(void)arg;
	return EXIT_BAD_INPUT;
}

static void crash(void)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	signal(SIGSEGV, SIG_DFL); /* a sanitizer would exit instead */
	raise(SIGSEGV);
}

static int crashes(struct supervised *run, void *arg)
{
	(void)arg;
	snprintf(run->running, PROGRESS_NAME, "slab/pair/64");
	crash();
	return EXIT_OK;
}

/* As a library might. */
static int exits(struct supervised *run, void *arg)
{
	(void)arg;
	snprintf(run->running, PROGRESS_NAME, "slab/pair/64");
	exit(EXIT_OK);
}

/* Sends its parent the signal, and then never ends by itself; nor does the child of its own that it
 * starts. */
static int signals(struct supervised *run, void *arg)
{
	const int *sig = arg;

	(void)run;
	if (!fork())
		for (;;)
			pause(); /* holds stderr open until it is killed */
	kill(getppid(), *sig);
	for (;;)
		pause();
	return EXIT_OK;
}

/* An impatient Ctrl-C: again and again, until the parent is gone. */
static int signals_often(struct supervised *run, void *arg)
{
	pid_t parent = getppid();

	(void)run;
	(void)arg;
	if (!fork()) {
		setpgid(0, 0); /* not of those that the parent ends */
		close(STDERR_FILENO);
		for (int i = 0; i < 2000 && !kill(parent, SIGINT); i++)
			usleep(10);
		_exit(0);
	}
	for (;;)
		pause();
	return EXIT_OK;
}

static struct measurement pair_64(const double *samples, int nr_samples)
{
	return (struct measurement){.suite = "slab",
				    .name = "pair",
				    .allocator = "kmm",
				    .placement = "local",
				    .size = "64",
				    .threads = 1,
				    .ops = 100 * (uint64_t)nr_samples,
				    .samples = samples,
				    .nr_samples = nr_samples,
				    .note = ""};
}

static void sample(struct supervised *run, double ns)
{
	const struct measurement m = pair_64(&ns, 1);

	results_sample(run->results, &m);
}

/* Two of three samples of one case; another one is to come. */
static void measures(struct supervised *run)
{
	struct measurement m = pair_64(NULL, 0);

	results_planned(run->results, &m);
	m.size = "128";
	results_planned(run->results, &m);
	sample(run, 3);
	sample(run, 5);
}

static int measures_and_signals(struct supervised *run, void *arg)
{
	measures(run);
	return signals(run, arg);
}

static int measures_and_crashes(struct supervised *run, void *arg)
{
	(void)arg;
	measures(run);
	snprintf(run->running, PROGRESS_NAME, "slab/pair/128/kmm/local/threads:1");
	crash();
	return EXIT_OK;
}

static int measures_and_fails(struct supervised *run, void *arg)
{
	(void)arg;
	measures(run);
	snprintf(run->running, PROGRESS_NAME, "slab/pair/64/kmm/local/threads:1 (memory)");
	return complain("slab/pair: what is wrong");
}

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = bytes;
	setrlimit(RLIMIT_FSIZE, &limit);
	signal(SIGXFSZ, SIG_IGN);
}

/* For a while no file can grow beyond a byte more than the journal has: as on a disk that is full. */
static int measures_on_a_full_disk(struct supervised *run, void *arg)
{
	struct measurement m = pair_64(NULL, 0);
	char path[sizeof(dir) + 300] = "";
	struct dirent *entry;
	struct stat st = {0};
	DIR *d = opendir(dir);

	results_planned(run->results, &m);
	m.size = "128";
	results_planned(run->results, &m);
	sample(run, 3);
	while (d && (entry = readdir(d)))
		if (!strncmp(entry->d_name, ".tmp-", 5))
			snprintf(path, sizeof(path), "%s/%s/journal", dir, entry->d_name);
	if (!d || closedir(d) || stat(path, &st) || !st.st_size)
		return EXIT_FAILED;
	limit_files((rlim_t)st.st_size + 1);
	sample(run, 4);
	limit_files(RLIM_INFINITY);
	sample(run, 5);
	return signals(run, arg);
}

/* The rows have no room, nor has machine.json; but the journal has them. */
static int commits_on_a_full_disk(struct supervised *run, void *arg)
{
	const double samples[] = {3, 5};
	const struct measurement m = pair_64(samples, 2);
	int error;

	(void)arg;
	measures(run);
	results_measured(run->results, &m);
	limit_files(1);
	error = results_commit(run->results);
	limit_files(RLIM_INFINITY);
	return error ? EXIT_BAD_INPUT : EXIT_OK;
}

static int commits_and_crashes(struct supervised *run, void *arg)
{
	(void)arg;
	if (!results_commit(run->results))
		crash();
	return EXIT_FAILED;
}

static int commits_and_signals(struct supervised *run, void *arg)
{
	return results_commit(run->results) ? EXIT_FAILED : signals(run, arg);
}

/* supervise() in a process of its own, because it changes signals; its stderr goes to said, its
 * stdout to a file. */
static int supervised(const char *results_dir, int (*work)(struct supervised *run, void *arg),
		      void *arg)
{
	int ends[2], status = 0;
	char printed[sizeof(top) + 16];
	size_t length = 0;
	ssize_t got;

	if (pipe(ends))
		exit(99);
	fflush(stdout);
	snprintf(printed, sizeof(printed), "%s/printed", top);
	if (!fork()) {
		if (!freopen(printed, "w", stdout))
			_exit(99);
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		_exit(supervise(results_dir, work, arg));
	}
	close(ends[1]);
	/* Ends when the last process that has it open does: so none was left behind. */
	while ((got = read(ends[0], said + length, sizeof(said) - 1 - length)) > 0)
		length += (size_t)got;
	said[length] = '\0';
	close(ends[0]);
	wait(&status);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_run_that_commits_stays(void)
{
	ok_eq(supervised(dir, works, NULL), EXIT_OK);
	ok_eq(nr_entries(dir), 2);
	ok(!said[0], "said '%s'", said);
}

static void a_run_that_fails_leaves_nothing(void)
{
	int before = nr_entries(dir);

	ok_eq(supervised(dir, fails, NULL), EXIT_BAD_INPUT);
	ok_eq(nr_entries(dir), before);
	ok(!said[0], "said '%s'", said);
}

static void a_crash_names_what_was_running(void)
{
	int before = nr_entries(dir);

	ok_eq(supervised(dir, crashes, NULL), EXIT_FAILED);
	ok_eq(nr_entries(dir), before);
	ok(!strncmp(said, "kmm: slab/pair/64: crashed: ", 28) &&
		   strchr(said, '\n') == said + strlen(said) - 1,
	   "said '%s'", said);
}

static void an_exit_before_the_commit_is_no_success(void)
{
	int before = nr_entries(dir);

	ok_eq(supervised(dir, exits, NULL), EXIT_FAILED);
	ok_eq(nr_entries(dir), before);
	ok(!strcmp(said, "kmm: slab/pair/64: ended the process; no results were written\n"),
	   "said '%s'", said);
}

static void a_signal_ends_all_and_leaves_nothing(void)
{
	static const int sent[] = {SIGINT, SIGTERM};
	int before = nr_entries(dir);

	for (int i = 0; i < 2; i++) {
		int sig = sent[i];

		ok_eq(supervised(dir, signals, &sig), 128 + sent[i]);
		ok_eq(nr_entries(dir), before);
		ok(!strncmp(said, "kmm: ", 5) && strchr(said, '\n') == said + strlen(said) - 1,
		   "said '%s'", said);
	}
}

static void more_signals_change_nothing(void)
{
	int before = nr_entries(dir);

	for (int i = 0; i < 20; i++) {
		ok_eq(supervised(dir, signals_often, NULL), 128 + SIGINT);
		ok_eq(nr_entries(dir), before);
	}
}

static void a_signal_behind_the_commit_takes_nothing_away(void)
{
	int before = nr_entries(dir), sig = SIGINT;

	ok_eq(supervised(dir, signals, &sig), 128 + SIGINT);
	ok(strstr(said, "no results were written"), "said '%s'", said);
	ok_eq(supervised(dir, commits_and_signals, &sig), 128 + SIGINT);
	ok(strstr(said, "; the results were written"), "said '%s'", said);
	ok_eq(nr_entries(dir), before + 1);
}

static void nor_does_a_crash(void)
{
	int before = nr_entries(dir);

	ok_eq(supervised(dir, commits_and_crashes, NULL), EXIT_FAILED);
	ok(strstr(said, "crashed: Segmentation fault; the results were written\n"), "said '%s'",
	   said);
	ok_eq(nr_entries(dir), before + 1);
}

/* The one run of this folder, whose throughput.csv and machine.json are to hold these lines. */
static void ok_kept(const char *pair_64, const char *pair_128, const char *why)
{
	char path[512] = "", wanted[256];
	const char *text;
	struct dirent *entry;
	DIR *d = opendir(dir);

	while (d && (entry = readdir(d)))
		if (entry->d_name[0] == '2')
			snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
	if (d)
		closedir(d);
	ok_eq(nr_entries(dir), 1); /* and no `latest' */
	ok_eq(nr_entries(path), 9);
	text = slurp(path, "throughput.csv");
	snprintf(wanted, sizeof(wanted), "\nslab,pair,kmm,1,local,64,200,4,3,5,2.5e+08,,%s\n",
		 pair_64);
	ok(strstr(text, wanted), "%s", text);
	snprintf(wanted, sizeof(wanted), "\nslab,pair,kmm,1,none,128,0,,,,,,%s\n", pair_128);
	ok(strstr(text, wanted), "%s", text);
	text = slurp(path, "raw.csv");
	ok(strstr(text, "\nslab,pair,kmm,1,local,64,0,3\nslab,pair,kmm,1,local,64,1,5\n"), "%s",
	   text);
	text = slurp(path, "machine.json");
	snprintf(wanted, sizeof(wanted), "\"incomplete\": \"%s\"", why);
	ok(strstr(text, wanted), "%s", text);
	text = slurp(top, "printed");
	snprintf(wanted, sizeof(wanted), "\nincomplete: %s; 1 of 2 rows have figures\n", why);
	ok(strstr(text, wanted), "%s", text);
	snprintf(wanted, sizeof(wanted), "\n%s: kmm: slab/pair/128\n", pair_128);
	ok(strstr(text, wanted), "%s", text);
}

static void ok_said(const char *wanted)
{
	ok(strstr(said, wanted) && strchr(said, '\n') == said + strlen(said) - 1, "said '%s'",
	   said);
}

static void what_was_measured_before_the_end_is_kept(void)
{
	int sig = SIGINT;

	fresh_dir();
	ok_eq(supervised(dir, measures_and_signals, &sig), 128 + SIGINT);
	ok_said("ended by a signal (Interrupt); what it had measured is kept\n");
	ok_kept("", "not run: the run ended early", "ended by a signal (Interrupt)");

	fresh_dir();
	ok_eq(supervised(dir, measures_and_crashes, NULL), EXIT_FAILED);
	ok_said("kmm: slab/pair/128/kmm/local/threads:1: crashed: Segmentation fault; what it had");
	ok_kept("", "crashed: Segmentation fault",
		"slab/pair/128/kmm/local/threads:1: crashed: Segmentation fault");

	fresh_dir();
	ok_eq(supervised(dir, measures_and_fails, NULL), EXIT_BAD_INPUT);
	ok_said("kmm: slab/pair: what is wrong\n");
	ok_kept("failed", "not run: the run ended early",
		"slab/pair/64/kmm/local/threads:1 (memory): failed");
}

static void a_sample_that_the_disk_does_not_take_is_the_only_one_lost(void)
{
	int sig = SIGINT;

	fresh_dir();
	ok_eq(supervised(dir, measures_on_a_full_disk, &sig), 128 + SIGINT);
	ok_said("ended by a signal (Interrupt); what it had measured is kept\n");
	ok_kept("", "not run: the run ended early", "ended by a signal (Interrupt)");
}

static void a_commit_that_fails_takes_nothing_away(void)
{
	fresh_dir();
	ok_eq(supervised(dir, commits_on_a_full_disk, NULL), EXIT_BAD_INPUT);
	ok_said(": cannot write the results: ");
	ok_kept("", "not run: the run ended early", "the run: failed");
}

static void an_impossible_folder_is_bad_input(void)
{
	ok_eq(supervised("/proc/self/status/results", works, NULL), EXIT_BAD_INPUT);
	ok(strstr(said, "kmm: /proc/self/status/results: "), "said '%s'", said);
}

static void no_folder_is_made_when_none_is_asked_for(void)
{
	int before = nr_entries(dir);

	ok_eq(supervised(NULL, fails, NULL), EXIT_BAD_INPUT);
	ok_eq(nr_entries(dir), before);
}

int main(void)
{
	char command[sizeof(top) + 16];
	int status;

	if (!mkdtemp(top))
		return 99;
	fresh_dir();
	RUN(a_run_that_commits_stays);
	RUN(a_run_that_fails_leaves_nothing);
	RUN(a_crash_names_what_was_running);
	RUN(an_exit_before_the_commit_is_no_success);
	RUN(a_signal_ends_all_and_leaves_nothing);
	RUN(more_signals_change_nothing);
	RUN(a_signal_behind_the_commit_takes_nothing_away);
	RUN(nor_does_a_crash);
	RUN(what_was_measured_before_the_end_is_kept);
	RUN(a_sample_that_the_disk_does_not_take_is_the_only_one_lost);
	RUN(a_commit_that_fails_takes_nothing_away);
	RUN(an_impossible_folder_is_bad_input);
	RUN(no_folder_is_made_when_none_is_asked_for);
	status = done();
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command) ? 99 : status;
}

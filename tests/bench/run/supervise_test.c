/* SPDX-License-Identifier: MIT */
/* A supervised run in each way that it can end: the exit status, the one line, and what is left in
 * the folder. */
#include "config.h"

#include "bench/run/supervise.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/results/results.h"
#include "tests/tap/tap.h"

static char dir[] = "/tmp/kmm-supervise-test.XXXXXX";
static char said[512];

static int nr_entries(void)
{
	DIR *d = opendir(dir);
	int nr = -2;

	while (d && readdir(d))
		nr++;
	if (d)
		closedir(d);
	return nr;
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

static int crashes(struct supervised *run, void *arg)
{
	struct rlimit none = {0, 0};

	(void)arg;
	setrlimit(RLIMIT_CORE, &none);
	snprintf(run->running, PROGRESS_NAME, "slab/pair/64");
	signal(SIGSEGV, SIG_DFL); /* a sanitizer would exit instead */
	raise(SIGSEGV);
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

static int commits_and_signals(struct supervised *run, void *arg)
{
	return results_commit(run->results) ? EXIT_FAILED : signals(run, arg);
}

/* supervise() in a process of its own, because it changes signals; its stderr goes to said. */
static int supervised(const char *results_dir, int (*work)(struct supervised *run, void *arg),
		      void *arg)
{
	int ends[2], status = 0;
	size_t length = 0;
	ssize_t got;

	if (pipe(ends))
		exit(99);
	fflush(stdout);
	if (!fork()) {
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
	ok_eq(nr_entries(), 2);
	ok(!said[0], "said '%s'", said);
}

static void a_run_that_fails_leaves_nothing(void)
{
	int before = nr_entries();

	ok_eq(supervised(dir, fails, NULL), EXIT_BAD_INPUT);
	ok_eq(nr_entries(), before);
	ok(!said[0], "said '%s'", said);
}

static void a_crash_names_what_was_running(void)
{
	int before = nr_entries();

	ok_eq(supervised(dir, crashes, NULL), EXIT_FAILED);
	ok_eq(nr_entries(), before);
	ok(!strncmp(said, "kmm: slab/pair/64: crashed: ", 28) &&
		   strchr(said, '\n') == said + strlen(said) - 1,
	   "said '%s'", said);
}

static void an_exit_before_the_commit_is_no_success(void)
{
	int before = nr_entries();

	ok_eq(supervised(dir, exits, NULL), EXIT_FAILED);
	ok_eq(nr_entries(), before);
	ok(!strcmp(said, "kmm: slab/pair/64: ended the process; no results were written\n"),
	   "said '%s'", said);
}

static void a_signal_ends_all_and_leaves_nothing(void)
{
	static const int sent[] = {SIGINT, SIGTERM};
	int before = nr_entries();

	for (int i = 0; i < 2; i++) {
		int sig = sent[i];

		ok_eq(supervised(dir, signals, &sig), 128 + sent[i]);
		ok_eq(nr_entries(), before);
		ok(!strncmp(said, "kmm: ", 5) && strchr(said, '\n') == said + strlen(said) - 1,
		   "said '%s'", said);
	}
}

static void more_signals_change_nothing(void)
{
	int before = nr_entries();

	for (int i = 0; i < 20; i++) {
		ok_eq(supervised(dir, signals_often, NULL), 128 + SIGINT);
		ok_eq(nr_entries(), before);
	}
}

static void a_signal_behind_the_commit_takes_nothing_away(void)
{
	int before = nr_entries(), sig = SIGINT;

	ok_eq(supervised(dir, signals, &sig), 128 + SIGINT);
	ok(strstr(said, "no results were written"), "said '%s'", said);
	ok_eq(supervised(dir, commits_and_signals, &sig), 128 + SIGINT);
	ok(strstr(said, "; the results were written"), "said '%s'", said);
	ok_eq(nr_entries(), before + 1);
}

static void an_impossible_folder_is_bad_input(void)
{
	ok_eq(supervised("/proc/self/status/results", works, NULL), EXIT_BAD_INPUT);
	ok(strstr(said, "kmm: /proc/self/status/results: "), "said '%s'", said);
}

static void no_folder_is_made_when_none_is_asked_for(void)
{
	int before = nr_entries();

	ok_eq(supervised(NULL, fails, NULL), EXIT_BAD_INPUT);
	ok_eq(nr_entries(), before);
}

int main(void)
{
	char command[sizeof(dir) + 16];
	int status;

	if (!mkdtemp(dir))
		return 99;
	RUN(a_run_that_commits_stays);
	RUN(a_run_that_fails_leaves_nothing);
	RUN(a_crash_names_what_was_running);
	RUN(an_exit_before_the_commit_is_no_success);
	RUN(a_signal_ends_all_and_leaves_nothing);
	RUN(more_signals_change_nothing);
	RUN(a_signal_behind_the_commit_takes_nothing_away);
	RUN(an_impossible_folder_is_bad_input);
	RUN(no_folder_is_made_when_none_is_asked_for);
	status = done();
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) ? 99 : status;
}

/* SPDX-License-Identifier: MIT */
/* The parent of a run; see supervise.h. */
#include "config.h"

#include "bench/run/supervise.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/results/results.h"
#include "bench/results/summary.h"
#include "bench/run/linux_run.h"

/* What the parent waits for: all blocked in it from before the fork, so that none slips by. */
static void waited_signals(sigset_t *set)
{
	struct sigaction hangup;

	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	if (!sigaction(SIGHUP, NULL, &hangup) && hangup.sa_handler != SIG_IGN) /* nohup */
		sigaddset(set, SIGHUP);
}

static _Noreturn void child(struct supervised *run, int (*work)(struct supervised *run, void *arg),
			    void *arg, pid_t parent, const sigset_t *mask)
{
	int status;

	/* Its own group, so that the terminal's Ctrl-C reaches the parent alone, and one kill
	 * reaches all of it. */
	setpgid(0, 0);
	signal(SIGTTOU, SIG_IGN); /* progress comes from what is now a background group */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_FAILED);
	signal(SIGINT, SIG_DFL);
	sigprocmask(SIG_SETMASK, mask, NULL);
	status = work(run, arg);
	if (run->results)
		results_close(run->results);
	exit(stdout_flushed(status));
}

/* Wait for the child's end or a signal, which ends its whole group. Returns the signal, or 0 and
 * *status. */
static int wait_for(pid_t pid, const sigset_t *set, int *status)
{
	for (;;) {
		int sig = sigwaitinfo(set, NULL);

		if (sig < 0)
			continue; /* EINTR, after a stop */
		if (sig != SIGCHLD) {
			kill(-pid, SIGKILL);
			while (waitpid(pid, status, 0) < 0 && errno == EINTR)
				;
			return sig;
		}
		if (waitpid(pid, status, WNOHANG) == pid)
			return 0;
	}
}

/* What was measured before the end stays, as a run that says what it is. */
static bool keep(const struct supervised *run, const char *mark, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static bool keep(const struct supervised *run, const char *mark, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (!run->results || !results_keep(run->results, run->running, mark, why))
		return false;
	summary_print(run->results, stdout);
	fflush(stdout);
	return true;
}

/* In words: what became of the results of a run that did not end by itself. */
static const char *kept(bool is_kept)
{
	return is_kept ? "what it had measured is kept" : "no results were written";
}

#define WERE_WRITTEN "the results were written"

static int after_signal(const struct supervised *run, const char *what, int sig, bool committed)
{
	complain("%s: ended by a signal (%s); %s", what, strsignal(sig),
		 committed ? WERE_WRITTEN
			   : kept(keep(run, NULL, "ended by a signal (%s)", strsignal(sig))));
	return 128 + sig;
}

static int after_crash(const struct supervised *run, const char *what, const char *how,
		       bool committed)
{
	char mark[64];

	snprintf(mark, sizeof(mark), "crashed: %s", how);
	complain("%s: %s; %s", what, mark,
		 committed ? WERE_WRITTEN : kept(keep(run, mark, "%s: %s", what, mark)));
	return EXIT_FAILED;
}

static int exit_status(const struct supervised *run, int sig, int status)
{
	const char *what = run->running[0] ? run->running : "the run";
	bool committed = run->results && results_committed(run->results);

	if (sig)
		return after_signal(run, what, sig, committed);
	if (!WIFEXITED(status))
		return after_crash(run, what, strsignal(WTERMSIG(status)), committed);
	if (!WEXITSTATUS(status) && run->results && !committed) { /* a library called exit() */
		complain("%s: ended the process; %s", what,
			 kept(keep(run, "ended the process", "%s: ended the process", what)));
		return EXIT_FAILED;
	}
	if (WEXITSTATUS(status) && !committed) /* it has said what is wrong */
		keep(run, "failed", "%s: failed", what);
	return WEXITSTATUS(status);
}

int supervise(const char *results_dir, int (*work)(struct supervised *run, void *arg), void *arg)
{
	struct supervised run = {0};
	pid_t parent = getpid(), pid;
	sigset_t set, mask;
	int status, sig = 0;

	signal(SIGCHLD, SIG_DFL); /* ignored, it would never come */
	waited_signals(&set);
	/* From before the folder is there until it is gone or whole: a second signal waits, too. */
	sigprocmask(SIG_BLOCK, &set, &mask);
	if (results_dir && results_open(results_dir, &run.results)) {
		status = EXIT_BAD_INPUT;
		goto out;
	}
	run.running = mmap(NULL, PROGRESS_NAME, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			   -1, 0);
	if (run.running == MAP_FAILED) {
		status = complain("cannot share a page with a child: %s", strerror(errno));
		goto out;
	}
	fflush(NULL);
	pid = fork();
	if (!pid)
		child(&run, work, arg, parent, &mask);
	if (pid < 0) {
		status = complain("cannot start a child: %s", strerror(errno));
	} else {
		setpgid(pid, pid); /* both sides set it: whoever comes first */
		sig = wait_for(pid, &set, &status);
		kill(-pid, SIGKILL); /* what the child may have left behind */
		linux_remove_leavings(pid);
		status = exit_status(&run, sig, status);
	}
	munmap(run.running, PROGRESS_NAME);
out:
	if (run.results)
		results_discard(run.results); /* nothing is there after a commit */
	if (!sig) /* after one, its status is what the process ends with, whatever else is sent */
		sigprocmask(SIG_SETMASK, &mask, NULL);
	return status;
}

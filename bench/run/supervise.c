/* SPDX-License-Identifier: MIT */
/* The parent of a run; see supervise.h. */
#include "config.h"

#include "bench/run/supervise.h"

#include <errno.h>
#include <signal.h>
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

static int exit_status(const struct supervised *run, int sig, int status)
{
	const char *what = run->running[0] ? run->running : "the run";
	bool committed = run->results && results_committed(run->results);

	if (sig) {
		complain("%s: ended by a signal (%s); %s", what, strsignal(sig),
			 committed ? "the results were written" : "no results were written");
		return 128 + sig;
	}
	if (WIFEXITED(status) && (WEXITSTATUS(status) || !run->results || committed))
		return WEXITSTATUS(status);
	if (WIFEXITED(status)) /* a library called exit() */
		complain("%s: ended the process; no results were written", what);
	else
		complain("%s: crashed: %s", what, strsignal(WTERMSIG(status)));
	return EXIT_FAILED;
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

/* SPDX-License-Identifier: MIT */
/*
 * kmm record: runs the command, and ends as it ended; and the folder of its temporary files, which
 * is why a signal only says that it is time to end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"
#include "bench/command.h"
#include "bench/commands/record.h"

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
static volatile sig_atomic_t stop;

static void note_end(int number)
{
	stop = number;
}

void record_catch_signals(void)
{
	struct sigaction action = {.sa_handler = note_end, .sa_flags = SA_RESTART}, before;

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		if (!sigaction(ends[i], NULL, &before) && before.sa_handler != SIG_IGN)
			sigaction(ends[i], &action, NULL);
}

const volatile sig_atomic_t *record_stop(void)
{
	return &stop;
}

int record_folder_make(struct record_folder *folder, const char *out)
{
	if ((size_t)snprintf(folder->path, sizeof(folder->path), "%s.raw.XXXXXX", out) >=
	    sizeof(folder->path))
		return complain("%s: too long a name", out);
	if (!mkdtemp(folder->path))
		return complain("%s: %s", out, strerror(errno));
	return EXIT_OK;
}

/* What could not be made a trace stays, and the folder with it. */
void record_folder_remove(struct record_folder *folder)
{
	if (rmdir(folder->path) && errno == ENOTEMPTY)
		complain("%s: what could not be read is kept", folder->path);
}

/* In the child. Where it fails the parent reads why. */
static void become(char *const *command, const sigset_t *mask, int tell)
{
	int error;

	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(command[0], command);
	error = errno;
	if (write(tell, &error, sizeof(error)) != sizeof(error))
		_exit(126);
	_exit(127);
}

/* Has every child ended, and how did `pid`? */
static bool collect(pid_t pid, bool *ended, int *wait_status)
{
	pid_t one;
	int status;

	while ((one = waitpid(-1, &status, WNOHANG)) > 0) {
		if (one != pid)
			continue;
		*ended = true;
		*wait_status = status;
	}
	return one < 0;
}

/* The next signal, or none for a millisecond: a tick, where somebody counts them. */
static int next_signal(const sigset_t *signals, u32 *tick)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	if (!tick)
		return sigwaitinfo(signals, NULL);
	WRITE_ONCE(*tick, *tick + 1);
	return sigtimedwait(signals, NULL, &pause);
}

static void wait_for_all(pid_t pid, const sigset_t *signals, u32 *tick, int *wait_status)
{
	bool ended = false;

	while (!collect(pid, &ended, wait_status)) {
		int signal;

		do
			signal = next_signal(signals, tick);
		while (signal < 0);
		if (signal == SIGCHLD)
			continue;
		if (ended)
			return;
		if (signal == SIGTERM || signal == SIGHUP)
			kill(pid, signal);
	}
}

int record_run(char *const *command, u32 *tick, int *wait_status, pid_t *pid)
{
	sigset_t signals, before;
	int tell[2], error = 0;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGQUIT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	if (pipe2(tell, O_CLOEXEC))
		return complain("no pipe: %s", strerror(errno));
	/* What the command leaves running becomes ours to wait for. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	fflush(stdout);
	signal(SIGCHLD, SIG_DFL); /* where it is ignored, nobody tells of the end */
	sigprocmask(SIG_BLOCK, &signals, &before);
	*pid = fork();
	if (*pid < 0)
		return complain("no process: %s", strerror(errno));
	if (!*pid)
		become(command, &before, tell[1]);
	close(tell[1]);
	if (read(tell[0], &error, sizeof(error)) != sizeof(error))
		error = 0;
	close(tell[0]);
	wait_for_all(*pid, &signals, tick, wait_status);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return error ? complain("%s: %s", command[0], strerror(error)) : EXIT_OK;
}

int record_exit(int wait_status)
{
	struct rlimit none = {0, 0};
	sigset_t one;
	int number;

	if (!WIFSIGNALED(wait_status))
		return WEXITSTATUS(wait_status);
	number = WTERMSIG(wait_status);
	/* The command has left its core; one of ours would overwrite it. */
	setrlimit(RLIMIT_CORE, &none);
	fflush(stdout);
	signal(number, SIG_DFL);
	sigemptyset(&one);
	sigaddset(&one, number);
	sigprocmask(SIG_UNBLOCK, &one, NULL);
	raise(number);
	return 128 + number;
}

/* SPDX-License-Identifier: MIT */
/*
 * A caller's bug must stop the program with the right message: run it in a forked child and look.
 *
 *	ok_dies("double free", __free_pages(page, 0));
 */
#ifndef TESTS_DIES_H
#define TESTS_DIES_H

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tap.h"

/* In the child: stderr into the pipe, no core file. */
static inline void dies_child(int fd)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	signal(SIGABRT, SIG_DFL);
	dup2(fd, STDERR_FILENO);
}

/* In the parent: did the child die by SIGABRT, and say `want`? */
static inline void dies_check(const char *file, int line, const char *what, const char *want,
			      int pid, int fd)
{
	char said[4096];
	size_t len = 0;
	ssize_t got;
	int status = 0;

	while (len < sizeof(said) - 1 && (got = read(fd, said + len, sizeof(said) - 1 - len)) > 0)
		len += (size_t)got;
	said[len] = '\0';
	close(fd);
	waitpid(pid, &status, 0);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
		tap_comment(file, line, what, "ends with status %#x, not SIGABRT; says \"%.200s\"",
			    (unsigned int)status, said);
	else if (!strstr(said, want))
		tap_comment(file, line, what, "says \"%.200s\", not \"%s\"", said, want);
}

#define ok_dies(want, ...)                                                                         \
	do {                                                                                       \
		int dies_fds[2];                                                                   \
		int dies_pid = -1;                                                                 \
		fflush(stdout);                                                                    \
		if (pipe(dies_fds) == 0)                                                           \
			dies_pid = fork();                                                         \
		if (dies_pid == 0) {                                                               \
			dies_child(dies_fds[1]);                                                   \
			__VA_ARGS__;                                                               \
			_exit(0);                                                                  \
		}                                                                                  \
		ok(dies_pid > 0, "cannot fork");                                                   \
		close(dies_fds[1]);                                                                \
		dies_check(__FILE__, __LINE__, #__VA_ARGS__, want, dies_pid, dies_fds[0]);         \
	} while (0)

#endif

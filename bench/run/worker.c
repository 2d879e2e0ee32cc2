/* SPDX-License-Identifier: MIT */
/* Starting, ending and speaking with the processes of worker.h. */
#define _GNU_SOURCE
#include "bench/run/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/command.h"

static void exec_worker(char **argv, int socket)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", socket);
	for (char **word = argv; *word; word++)
		if (!strcmp(*word, WORKER_SOCKET))
			*word = number;
	fcntl(socket, F_SETFD, 0);
	execv("/proc/self/exe", argv);
	_exit(EXIT_FAILED);
}

int worker_start(struct worker_process *worker, char **argv)
{
	int sockets[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		return complain("cannot make a socket: %s", strerror(errno));
	fflush(NULL);
	worker->pid = fork();
	if (!worker->pid)
		exec_worker(argv, sockets[1]);
	close(sockets[1]);
	if (worker->pid < 0) {
		close(sockets[0]);
		worker->pid = 0;
		return complain("cannot start a process: %s", strerror(errno));
	}
	worker->socket = sockets[0];
	return EXIT_OK;
}

int worker_end(struct worker_process *worker, int *sig)
{
	int status = 0;

	close(worker->socket);
	worker->socket = -1;
	while (waitpid(worker->pid, &status, 0) < 0 && errno == EINTR)
		;
	worker->pid = 0;
	*sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

bool worker_command(const struct worker_process *worker, char command)
{
	return send(worker->socket, &command, 1, MSG_NOSIGNAL) == 1 || errno == EPIPE;
}

bool worker_receive(const struct worker_process *worker, void *message, size_t size)
{
	char *p = message;

	while (size) {
		ssize_t n = recv(worker->socket, p, size, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		size -= (size_t)n;
	}
	return true;
}

char worker_next_command(int socket)
{
	ssize_t n;
	char command;

	while ((n = recv(socket, &command, 1, 0)) < 0 && errno == EINTR)
		;
	return n == 1 ? command : 0;
}

void worker_send(int socket, const void *message, size_t size)
{
	const char *p = message;

	while (size) {
		ssize_t n = send(socket, p, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			exit(EXIT_FAILED);
		p += n;
		size -= (size_t)n;
	}
}

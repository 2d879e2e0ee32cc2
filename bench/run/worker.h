/* SPDX-License-Identifier: MIT */
/*
 * Processes of one allocator each: fresh images of this program, so that nothing was allocated in
 * them before and their resident memory is that allocator's. The parent and a worker speak over a
 * socket: commands of one byte to the worker, messages of one size back.
 */
#ifndef KMM_BENCH_WORKER_H
#define KMM_BENCH_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct worker_process {
	pid_t pid; /* 0: none */
	int socket;
};

/* In argv, stands for the number of the worker's end of the socket. */
#define WORKER_SOCKET "@"

/* Start this program with argv, which ends with NULL. EXIT_OK, or EXIT_BAD_INPUT after the one line
 * of complaint. */
int worker_start(struct worker_process *worker, char **argv);
/* Wait for it to end; its exit status, or EXIT_FAILED after a signal. *sig: that signal, or 0. */
int worker_end(struct worker_process *worker, int *sig);

/* A command to the worker; false when it cannot be sent, but for the worker's end, which worker_receive
 * finds. And a whole message from it; false when it has ended. */
bool worker_command(const struct worker_process *worker, char command);
bool worker_receive(const struct worker_process *worker, void *message, size_t size);

/* In the worker: the next command, or 0 when the parent is gone; and a message to it. Who cannot send
 * ends, since the parent is gone. */
char worker_next_command(int socket);
void worker_send(int socket, const void *message, size_t size);

#endif

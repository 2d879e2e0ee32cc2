/* SPDX-License-Identifier: MIT */
/* kmm record: what its two ways of recording share. */
#ifndef KMM_BENCH_RECORD_H
#define KMM_BENCH_RECORD_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/types.h"

struct record_options {
	const char *out;
	bool kernel, all_cpus, monotonic, quiet;
	char **command; /* NULL-terminated, not empty */
};

/* Files that are needed only until the traces are written: a folder beside `out`. */
struct record_folder {
	char path[4096 - 64];
};
int record_folder_make(struct record_folder *folder, const char *out); /* exit status */
void record_folder_remove(struct record_folder *folder);

/*
 * Run a command and wait for it, and for all that it leaves running; SIGINT or SIGTERM then ends
 * the wait. Before, SIGTERM and SIGHUP are handed on to it; what the terminal sends reaches it
 * anyhow. *tick, unless NULL, changes every millisecond meanwhile. EXIT_OK with its wait status and
 * its process id; EXIT_BAD_INPUT after a line when it cannot run.
 */
int record_run(char *const *command, u32 *tick, int *wait_status, pid_t *pid);

/*
 * From here on a signal that would end this process ends what it does: *record_stop is its number
 * then, and record_exit of that ends the process by it.
 */
void record_catch_signals(void);
const volatile sig_atomic_t *record_stop(void);

/* The exit status for a wait status. A signal that ended the command ends this process, too. */
int record_exit(int wait_status);

/* record_kernel.c. Exit status. */
int record_kernel(const struct record_options *options);

#endif

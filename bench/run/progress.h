/* SPDX-License-Identifier: MIT */
/*
 * One line on stderr that says how far a long run is: percent, what runs now, time left. On a
 * terminal it is rewritten in place, at most ten times a second; elsewhere a plain line every ten
 * percent or ten seconds.
 *
 * Work is counted in expected seconds, of which only the proportions matter: time left is what is
 * still to do at the pace so far. The name of what runs is also kept where supervise.c finds it
 * after a crash. For the main thread of a process only.
 */
#ifndef KMM_BENCH_PROGRESS_H
#define KMM_BENCH_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

struct progress {
	double total, done;	 /* expected seconds */
	double started, printed; /* monotonic seconds */
	double printed_share;
	bool terminal, quiet;
	char *running; /* shared with the supervisor, PROGRESS_NAME bytes; or NULL */
};

#define PROGRESS_NAME 192

void progress_start(struct progress *progress, double total_seconds, char *running);
/* More work came to light (or less: negative). */
void progress_add(struct progress *progress, double seconds);
/* Now running `what`; `seconds` of the work are done since the last call. */
void progress_step(struct progress *progress, double seconds, const char *what);
void progress_finish(struct progress *progress);

#endif

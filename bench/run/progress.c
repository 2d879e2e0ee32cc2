/* SPDX-License-Identifier: MIT */
/* The progress line; see progress.h. */
#include "config.h"

#include "bench/run/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

void progress_start(struct progress *progress, double total_seconds, char *running)
{
	*progress = (struct progress){
		.total = total_seconds,
		.started = now(),
		.terminal = isatty(STDERR_FILENO) == 1,
		.running = running,
	};
}

void progress_add(struct progress *progress, double seconds)
{
	progress->total += seconds;
}

static void print_line(const struct progress *progress, double share, const char *what)
{
	double elapsed = now() - progress->started;
	double left = progress->done > 0.01 * progress->total
			      ? elapsed * (progress->total / progress->done - 1)
			      : progress->total;
	char time_left[32];

	if (left < 0)
		left = 0;
	snprintf(time_left, sizeof(time_left), "%d:%02d left", (int)left / 60, (int)left % 60);
	if (progress->terminal)
		fprintf(stderr, "\r\033[K%3.0f %%  %s  %.60s", 100 * share, time_left, what);
	else
		fprintf(stderr, "%3.0f %%  %s  %s\n", 100 * share, time_left, what);
}

void progress_step(struct progress *progress, double seconds, const char *what)
{
	double share, time = now();

	progress->done += seconds;
	if (progress->running)
		snprintf(progress->running, PROGRESS_NAME, "%s", what);
	if (progress->quiet)
		return;
	share = progress->total > 0 ? progress->done / progress->total : 0;
	if (share > 0.99)
		share = 0.99; /* the whole is said by progress_finish alone */
	if (share < progress->printed_share)
		share = progress->printed_share; /* more work came to light: time left says so */
	if (progress->terminal
		    ? time - progress->printed < 0.1
		    : time - progress->printed < 10 && share - progress->printed_share < 0.1)
		return;
	print_line(progress, share, what);
	progress->printed = time;
	progress->printed_share = share;
}

void progress_finish(struct progress *progress)
{
	if (progress->running)
		progress->running[0] = '\0';
	if (progress->quiet)
		return;
	if (progress->terminal)
		fputs("\r\033[K", stderr);
	else
		fprintf(stderr, "100 %%  done in %.0f s\n", now() - progress->started);
}

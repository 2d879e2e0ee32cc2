/* SPDX-License-Identifier: MIT */
/* The one line that the command says when something is wrong; and whether what it printed went out. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/command.h"

int complain(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fflush(stdout);
	/* Over the line of progress, if that is there; at once, so that no other process's output
	 * comes between. */
	fprintf(stderr, "%skmm: %s\n", isatty(STDERR_FILENO) == 1 ? "\r\033[K" : "", line);
	return EXIT_BAD_INPUT;
}

int stdout_flushed(int status)
{
	errno = EIO; /* when an earlier write failed, its errno is gone */
	if (!(fflush(stdout) | ferror(stdout)) || status != EXIT_OK)
		return status;
	return complain("standard output: %s", strerror(errno));
}

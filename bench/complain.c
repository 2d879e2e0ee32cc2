/* SPDX-License-Identifier: MIT */
/* The one line that the command says when something is wrong. */
#include <stdarg.h>
#include <stdio.h>

#include "bench/command.h"

int complain(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fflush(stdout);
	fprintf(stderr, "kmm: %s\n",
		line); /* at once, so that no other process's output comes between */
	return EXIT_BAD_INPUT;
}

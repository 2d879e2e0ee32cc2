/* SPDX-License-Identifier: MIT */
/* The one line that the command says when something is wrong. */
#include <stdarg.h>
#include <stdio.h>

#include "bench/command.h"

int complain(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("kmm: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_BAD_INPUT;
}

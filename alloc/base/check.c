/* SPDX-License-Identifier: MIT */
/*
 * The end of a program that broke a rule. It may stop anywhere, with any lock held and with the
 * memory it allocates from in pieces, so this takes no lock and allocates nothing: one line made on
 * the stack, one write to stderr, abort.
 */
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/types.h"

/* The path from alloc/ on: where the tree was built is nobody's concern. */
static const char *short_path(const char *file)
{
	const char *alloc = strstr(file, "alloc/");

	return alloc ? alloc : file;
}

void kmm_bug(const char *file, int line, const char *func, const char *fmt, ...)
{
	char text[512];
	size_t end = sizeof(text) - 1; /* keeps room for the newline */
	size_t len;
	int n;
	va_list ap;

	n = snprintf(text, end, "kmm: %s:%d: %s: ", short_path(file), line, func);
	len = n < 0 ? 0 : min_t(size_t, n, end - 1);
	va_start(ap, fmt);
	n = vsnprintf(text + len, end - len, fmt, ap);
	va_end(ap);
	if (n > 0)
		len = min_t(size_t, len + (size_t)n, end - 1);
	text[len++] = '\n';
	if (write(STDERR_FILENO, text, len) < 0)
		abort(); /* nowhere to say it */
	abort();
}

/* SPDX-License-Identifier: MIT */
/* Any bytes as a trace of accesses, of whatever format: accesses that are some, or one line of error. */
#ifndef TESTS_FUZZ_ACCESS_FUZZ_H
#define TESTS_FUZZ_ACCESS_FUZZ_H

#include <string.h>

#include "tests/fuzz/memory_file.h"
#include "workloads/access.h"

static inline void fuzz_accesses(int fd, enum access_format format)
{
	char error[KMT_ERROR_SIZE] = "";
	struct access_reader *reader = access_open_fd(fd, "trace", format, error);
	struct access some[ACCESS_MIN_ROOM + 1];
	const char *said = error;
	ssize_t n = 0;

	while (reader && (n = access_read(reader, some, ACCESS_MIN_ROOM + 1)) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (some[i].kind >= ACCESS_NR_KINDS || !some[i].bytes)
				abort();
	if (reader)
		said = access_error(reader);
	if ((!reader || n < 0) && (!said[0] || strchr(said, '\n')))
		abort();
	access_close(reader);
}

#endif

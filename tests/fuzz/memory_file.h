/* SPDX-License-Identifier: MIT */
/* A fuzzer's input as a file. */
#ifndef TESTS_FUZZ_MEMORY_FILE_H
#define TESTS_FUZZ_MEMORY_FILE_H

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

/* Open at its start; for the caller to close. */
static inline int memory_file(const uint8_t *bytes, size_t length)
{
	int fd = memfd_create("input", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET))
		abort();
	return fd;
}

#endif

/* SPDX-License-Identifier: MIT */
/* Any bytes as ChampSim's records (or what claims to be zstd of it): accesses, or one line of error. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "workloads/access.h"

static int memory_file(const uint8_t *bytes, size_t length)
{
	int fd = memfd_create("champsim_fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET))
		abort();
	return fd;
}

static void check_error(const char *error)
{
	if (!error[0] || strchr(error, '\n'))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	char error[KMT_ERROR_SIZE] = "";
	int fd = memory_file(bytes, length);
	struct access_reader *reader = access_open_fd(fd, "trace", ACCESS_CHAMPSIM, error);
	struct access some[ACCESS_MIN_ROOM + 1];
	ssize_t n = 0;

	while (reader && (n = access_read(reader, some, ACCESS_MIN_ROOM + 1)) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (some[i].kind >= ACCESS_NR_KINDS || !some[i].bytes)
				abort();
	if (!reader)
		check_error(error);
	else if (n < 0)
		check_error(access_error(reader));
	access_close(reader);
	close(fd);
	return 0;
}

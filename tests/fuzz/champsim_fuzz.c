/* SPDX-License-Identifier: MIT */
/* Any bytes as ChampSim's records (or what claims to be zstd of it): accesses, or one line of error. */
#include "tests/fuzz/access_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	int fd = memory_file(bytes, length);

	fuzz_accesses(fd, ACCESS_CHAMPSIM);
	close(fd);
	return 0;
}

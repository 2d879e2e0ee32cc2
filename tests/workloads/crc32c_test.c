/* SPDX-License-Identifier: MIT */
/* The checksum: the standard's values, with and without the CPU's instruction, in one piece or
 * several. */
#include "tests/tap/tap.h"
#include "workloads/crc32c.h"

static void checksums_are_those_of_the_standard(void)
{
	unsigned long seed = tap_seed() | 1;
	u8 bytes[300];

	ok_eq(crc32c(0, "123456789", 9), 0xe3069283);
	ok_eq(crc32c_portable(0, "123456789", 9), 0xe3069283);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (u8)(tap_random(&seed) >> 32);
	for (size_t n = 0; n < sizeof(bytes); n++) {
		ok_eq(crc32c(0, bytes, n), crc32c_portable(0, bytes, n));
		ok_eq(crc32c(crc32c(0, bytes, n / 3), bytes + n / 3, n - n / 3),
		      crc32c(0, bytes, n));
	}
}

int main(void)
{
	RUN(checksums_are_those_of_the_standard);
	return done();
}

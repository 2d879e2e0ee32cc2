/* SPDX-License-Identifier: MIT */
/* The words that fill an object: none outside of it, and no byte changes unseen. What is found of
 * whole allocators is in suites_test.c. */
#include "bench/suites/verify.h"
#include "tests/tap/tap.h"

static void verify_sees_any_changed_byte_it_wrote(void)
{
	static const size_t sizes[] = {1, 7, 8, 9, 64, 100, 4096, 4097, 10000, 65536};
	static char memory[65536 + 64];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *object = memory + 8;

		memset(memory, 0, sizeof(memory));
		verify_fill(object, sizes[i], 1, 2);
		ok(memory[7] == 0 && object[sizes[i]] == 0, "size %zu: written outside", sizes[i]);
		ok(verify_check(object, sizes[i], 1, 2) == -1, "size %zu: not as filled", sizes[i]);
		ok(verify_check(object, sizes[i], 1, 3) >= 0 || sizes[i] == 1, "size %zu: number",
		   sizes[i]);
		for (size_t at = 0; at < sizes[i]; at++) {
			bool whole = sizes[i] <= 4096;

			if (!whole && at >= 8 && at < sizes[i] - 8)
				continue;
			object[at] ^= 0x10;
			ok(verify_check(object, sizes[i], 1, 2) >= 0, "size %zu: byte %zu",
			   sizes[i], at);
			object[at] ^= 0x10;
		}
	}
}

int main(void)
{
	RUN(verify_sees_any_changed_byte_it_wrote);
	return done();
}

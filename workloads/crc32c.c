/* SPDX-License-Identifier: MIT */
/*
 * CRC-32C, polynomial 0x1EDC6F41 reflected to 0x82F63B78. By the CPU's instruction, eight bytes at
 * a time; or four bits at a time from a table that is small enough to be read and checked by hand.
 */
#include "workloads/crc32c.h"

#include <nmmintrin.h>
#include <string.h>

/* CRC of each nibble: the register shifted out four times. */
static const u32 nibbles[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
	0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
	0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

u32 crc32c_portable(u32 crc, const void *bytes, size_t length)
{
	const u8 *p = bytes;

	crc = ~crc;
	for (size_t i = 0; i < length; i++) {
		crc ^= p[i];
		crc = nibbles[crc & 15] ^ (crc >> 4);
		crc = nibbles[crc & 15] ^ (crc >> 4);
	}
	return ~crc;
}

__attribute__((target("sse4.2"))) static u32 crc32c_sse42(u32 crc, const void *bytes, size_t length)
{
	const u8 *p = bytes;
	u64 state = ~crc;

	for (; length >= 8; p += 8, length -= 8) {
		u64 word;

		memcpy(&word, p, sizeof(word));
		state = _mm_crc32_u64(state, word);
	}
	for (; length; p++, length--)
		state = _mm_crc32_u8((u32)state, *p);
	return ~(u32)state;
}

u32 crc32c(u32 crc, const void *bytes, size_t length)
{
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(crc, bytes, length);
	return crc32c_portable(crc, bytes, length);
}

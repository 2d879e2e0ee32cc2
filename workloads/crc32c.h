/* SPDX-License-Identifier: MIT */
/* CRC-32C (Castagnoli, reflected, as in iSCSI and ext4): the checksum of .kmt traces. */
#ifndef WORKLOADS_CRC32C_H
#define WORKLOADS_CRC32C_H

#include <stddef.h>

#include "base/types.h"

/* CRC of bytes continued from crc, the CRC of what came before (0: nothing). Uses SSE4.2 where the
 * CPU has it, about 8 bytes a cycle / 3; a table of nibbles elsewhere. */
u32 crc32c(u32 crc, const void *bytes, size_t length);
/* The portable one, for its test. */
u32 crc32c_portable(u32 crc, const void *bytes, size_t length);

#endif

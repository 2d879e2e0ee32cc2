/* SPDX-License-Identifier: MIT */
/* Bit scans, under the kernel's names. */
#ifndef KMM_BASE_BITS_H
#define KMM_BASE_BITS_H

#include "base/types.h"

/* Number of the lowest set bit, from 0; undefined for 0. */
static inline unsigned int __ffs(unsigned long x)
{
	return (unsigned int)__builtin_ctzl(x);
}

/* Number of the highest set bit, from 0; undefined for 0. */
static inline unsigned int __fls(unsigned long x)
{
	return 63U - (unsigned int)__builtin_clzl(x);
}

/* Number of set bits. Sums of neighbours, in ever wider fields: without an instruction for it,
 * which the oldest x86-64 lacks, the compiler's own is a call. */
static inline unsigned int hweight64(u64 x)
{
	x -= x >> 1 & 0x5555555555555555ULL;
	x = (x & 0x3333333333333333ULL) + (x >> 2 & 0x3333333333333333ULL);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return (unsigned int)(x * 0x0101010101010101ULL >> 56);
}

/* floor(log2(x)); undefined for 0. */
static inline unsigned int ilog2(unsigned long x)
{
	return __fls(x);
}

static inline bool is_power_of_2(unsigned long x)
{
	return x && !(x & (x - 1));
}

/* The smallest power of two >= x; 1 for 0. */
static inline unsigned long roundup_pow_of_two(unsigned long x)
{
	return x <= 1 ? 1 : 2UL << __fls(x - 1);
}

/* The smallest order whose block holds size_bytes; 0 for 0. As include/asm-generic/getorder.h. */
static inline unsigned int get_order(unsigned long size_bytes)
{
	return size_bytes <= PAGE_SIZE ? 0 : __fls((size_bytes - 1) >> PAGE_SHIFT) + 1;
}

#endif

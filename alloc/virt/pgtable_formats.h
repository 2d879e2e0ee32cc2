/* SPDX-License-Identifier: MIT */
/*
 * The formats of page tables, as constants. Each line of PGTABLE_FORMATS is an initialiser, from
 * which walk.c makes the object that everybody names (pgtable_pae) and a copy of its own that the
 * compiler can see, so that the walk of that format becomes straight code.
 *
 *	name		address cut into	entry	larger leaves
 *	flat		20+12			4	-	one table of 4 MiB
 *	four_by_5	5+5+5+5+12		4	-
 *	i386		10+10+12		4	-	PS is ignored: CR4.PSE = 0
 *	i386_pse	10+10+12		4	4 MiB
 *	i386_pse36	10+10+12		4	4 MiB	at 36-bit addresses
 *	pae		2+9+9+12		8	2 MiB
 *	three_level	10+10+10+13		8	-	8 KiB pages; 43 bits, sign-extended
 *	x86_64		9+9+9+9+12		8	2 MiB, 1 GiB
 *	la57		9+9+9+9+9+12		8	2 MiB, 1 GiB
 *
 * The processor's own formats follow Intel's SDM, volume 3, 4.3 (32-bit), 4.4 (PAE) and 4.5 (4- and
 * 5-level), of a processor with MAXPHYADDR 52 (PSE-36: 36) and EFER.NXE = 1 where there is room for
 * NX. The others are textbooks' and have the bits of i386 or x86_64, by the size of an entry.
 */
#ifndef KMM_VIRT_PGTABLE_FORMATS_H
#define KMM_VIRT_PGTABLE_FORMATS_H

#include "virt/pgtable.h"

/* Bits high..low, both inclusive. */
#define PGTABLE_BITS(high, low) (~0UL >> (63 - (high)) & ~0UL << (low))

#define PGTABLE_LONG_COMMON                                                                        \
	.page_shift = 12, .entry_bytes = 8, .leaf_levels = 0x7, .canonical = true, .nx = true,     \
	.addr_mask = PGTABLE_BITS(51, 12), .reserved = {[4] = PTE_PS, [5] = PTE_PS},               \
	.leaf_reserved = {[2] = PGTABLE_BITS(20, 13), [3] = PGTABLE_BITS(29, 13)}

#define PGTABLE_I386_COMMON                                                                        \
	.levels = 2, .page_shift = 12, .entry_bytes = 4, .index_bits = {0, 10, 10}, .va_bits = 32, \
	.addr_mask = PGTABLE_BITS(31, 12)

#define PGTABLE_FORMAT_FLAT                                                                        \
	{                                                                                          \
		.name = "flat", .levels = 1, .page_shift = 12, .entry_bytes = 4,                   \
		.index_bits = {0, 20}, .leaf_levels = 0x1, .va_bits = 32,                          \
		.addr_mask = PGTABLE_BITS(31, 12),                                                 \
	}
#define PGTABLE_FORMAT_FOUR_BY_5                                                                   \
	{                                                                                          \
		.name = "four_by_5", .levels = 4, .page_shift = 12, .entry_bytes = 4,              \
		.index_bits = {0, 5, 5, 5, 5}, .leaf_levels = 0x1, .va_bits = 32,                  \
		.addr_mask = PGTABLE_BITS(31, 12),                                                 \
	}
#define PGTABLE_FORMAT_I386                                                                        \
	{                                                                                          \
		.name = "i386", PGTABLE_I386_COMMON, .leaf_levels = 0x1,                           \
	}
#define PGTABLE_FORMAT_I386_PSE                                                                    \
	{                                                                                          \
		.name = "i386_pse", PGTABLE_I386_COMMON, .leaf_levels = 0x3,                       \
		.leaf_reserved = {[2] = PGTABLE_BITS(21, 13)},                                     \
	}
/* The leaf's bits 16..13 are bits 35..32 of its frame's address. */
#define PGTABLE_FORMAT_I386_PSE36                                                                  \
	{                                                                                          \
		.name = "i386_pse36", PGTABLE_I386_COMMON, .leaf_levels = 0x3, .high_bits = 4,     \
		.leaf_reserved = {[2] = PGTABLE_BITS(21, 17)},                                     \
	}
/* The root's four entries have no rights and no accessed bit; what would be there is reserved. A
 * processor reads them all when CR3 is loaded, and refuses that (#GP) for a reserved bit; here it
 * is a fault of the walk, as of any other level. */
#define PGTABLE_FORMAT_PAE                                                                         \
	{                                                                                          \
		.name = "pae", .levels = 3, .page_shift = 12, .entry_bytes = 8,                    \
		.index_bits = {0, 9, 9, 2}, .leaf_levels = 0x3, .va_bits = 32, .nx = true,         \
		.bare_levels = 0x4, .addr_mask = PGTABLE_BITS(51, 12),                             \
		.reserved = {[2] = PGTABLE_BITS(62, 52),                                           \
			     [3] = PGTABLE_BITS(63, 52) | PGTABLE_BITS(8, 5) |                     \
				   PGTABLE_BITS(2, 1)},                                            \
		.leaf_reserved = {[1] = PGTABLE_BITS(62, 52),                                      \
				  [2] = PGTABLE_BITS(62, 52) | PGTABLE_BITS(20, 13)},              \
	}
#define PGTABLE_FORMAT_THREE_LEVEL                                                                 \
	{                                                                                          \
		.name = "three_level", .levels = 3, .page_shift = 13, .entry_bytes = 8,            \
		.index_bits = {0, 10, 10, 10}, .leaf_levels = 0x1, .va_bits = 43,                  \
		.canonical = true, .nx = true, .addr_mask = PGTABLE_BITS(51, 13),                  \
		.reserved = {[2] = 1UL << 12, [3] = 1UL << 12},                                    \
		.leaf_reserved = {[1] = 1UL << 12},                                                \
	}
#define PGTABLE_FORMAT_X86_64                                                                      \
	{                                                                                          \
		.name = "x86_64", .levels = 4, .index_bits = {0, 9, 9, 9, 9}, .va_bits = 48,       \
		PGTABLE_LONG_COMMON,                                                               \
	}
#define PGTABLE_FORMAT_LA57                                                                        \
	{                                                                                          \
		.name = "la57", .levels = 5, .index_bits = {0, 9, 9, 9, 9, 9}, .va_bits = 57,      \
		PGTABLE_LONG_COMMON,                                                               \
	}

#define PGTABLE_FORMATS(X)                                                                         \
	X(flat, FLAT)                                                                              \
	X(four_by_5, FOUR_BY_5)                                                                    \
	X(i386, I386)                                                                              \
	X(i386_pse, I386_PSE)                                                                      \
	X(i386_pse36, I386_PSE36)                                                                  \
	X(pae, PAE)                                                                                \
	X(three_level, THREE_LEVEL)                                                                \
	X(x86_64, X86_64)                                                                          \
	X(la57, LA57)

#endif

/* SPDX-License-Identifier: MIT */
/* The classic formats, as descriptors, for the tests of page tables. */
#ifndef TESTS_VIRT_FORMATS_H
#define TESTS_VIRT_FORMATS_H

#include "virt/pgtable.h"

static const struct pgtable_format format_flat_32
	__attribute__((unused)) = {.name = "20+12",
				   .levels = 1,
				   .page_shift = 12,
				   .entry_bytes = 4,
				   .index_bits = {0, 20},
				   .leaf_levels = 1,
				   .va_bits = 32,
				   .addr_mask = 0xfffff000};
static const struct pgtable_format format_four_by_5
	__attribute__((unused)) = {.name = "5+5+5+5+12",
				   .levels = 4,
				   .page_shift = 12,
				   .entry_bytes = 4,
				   .index_bits = {0, 5, 5, 5, 5},
				   .leaf_levels = 1,
				   .va_bits = 32,
				   .addr_mask = 0xfffff000};
static const struct pgtable_format format_i386 __attribute__((unused)) = {.name = "i386",
									  .levels = 2,
									  .page_shift = 12,
									  .entry_bytes = 4,
									  .index_bits = {0, 10, 10},
									  .leaf_levels = 3,
									  .va_bits = 32,
									  .addr_mask = 0xfffff000};
static const struct pgtable_format format_pae
	__attribute__((unused)) = {.name = "pae",
				   .levels = 3,
				   .page_shift = 12,
				   .entry_bytes = 8,
				   .index_bits = {0, 9, 9, 2},
				   .leaf_levels = 3,
				   .va_bits = 32,
				   .addr_mask = 0x000ffffffffff000};
static const struct pgtable_format format_alpha
	__attribute__((unused)) = {.name = "10+10+10+13",
				   .levels = 3,
				   .page_shift = 13,
				   .entry_bytes = 8,
				   .index_bits = {0, 10, 10, 10},
				   .leaf_levels = 1,
				   .va_bits = 43,
				   .canonical = true,
				   .addr_mask = 0x000fffffffffe000};
static const struct pgtable_format format_la57
	__attribute__((unused)) = {.name = "la57",
				   .levels = 5,
				   .page_shift = 12,
				   .entry_bytes = 8,
				   .index_bits = {0, 9, 9, 9, 9, 9},
				   .leaf_levels = 7,
				   .va_bits = 57,
				   .canonical = true,
				   .addr_mask = 0x000ffffffffff000};

static const struct pgtable_format *const formats[] = {
	&pgtable_x86_64, &format_flat_32, &format_four_by_5, &format_i386,
	&format_pae,	 &format_alpha,	  &format_la57};

#endif

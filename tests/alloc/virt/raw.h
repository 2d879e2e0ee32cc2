/* SPDX-License-Identifier: MIT */
/* Entries of page tables as they lie in memory, for tests that look at them or spoil them. */
#ifndef TESTS_VIRT_RAW_H
#define TESTS_VIRT_RAW_H

#include "virt/walk.h"

/* Where the entry of a level for va lies; NULL if the tables end above. */
static inline void *raw_entry(const struct pgtable *table, u64 va, unsigned int level)
{
	const struct pgtable_format *format = table->format;
	const char *entries = table->root;

	for (unsigned int at = format->levels;; at--) {
		u64 index = pgtable_index(format, va, at), entry;

		if (at == level)
			return (void *)(uintptr_t)(entries + index * format->entry_bytes);
		entry = pgtable_entry_load(format, entries, index);
		if (!(entry & PTE_PRESENT) || pgtable_is_leaf(format, at, entry))
			return NULL;
		entries = table->direct_map + (entry & format->addr_mask);
	}
}

static inline u64 raw_get(const struct pgtable *table, const void *entry)
{
	return table->format->entry_bytes == 4 ? *(const u32 *)entry : *(const u64 *)entry;
}

static inline void raw_set(const struct pgtable *table, void *entry, u64 value)
{
	if (table->format->entry_bytes == 4)
		*(u32 *)entry = (u32)value;
	else
		*(u64 *)entry = value;
}

/* Turn bits round; again, and it is as it was. */
static inline void raw_flip(const struct pgtable *table, u64 va, unsigned int level, u64 bits)
{
	void *entry = raw_entry(table, va, level);

	raw_set(table, entry, raw_get(table, entry) ^ bits);
}

#endif

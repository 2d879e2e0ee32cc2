/* SPDX-License-Identifier: MIT */
/*
 * From an entry to the table it leads to, and from a table to its frame. Private to alloc/virt:
 * what the writers of page tables (pgtable.c) and their checker (pgtable_validate.c) share.
 */
#ifndef KMM_VIRT_TABLE_H
#define KMM_VIRT_TABLE_H

#include "base/bits.h"
#include "base/machine.h"
#include "phys/page.h"
#include "virt/walk.h"

/* Base pages that one entry of a level covers, as a shift. */
static inline unsigned int span_shift(const struct pgtable_format *format, unsigned int level)
{
	return pgtable_level_shift(format, level) - format->page_shift;
}

static inline unsigned int table_order(const struct pgtable_format *format, unsigned int level)
{
	return get_order((unsigned long)format->entry_bytes << format->index_bits[level]);
}

static inline struct page *table_page(const struct pgtable *table, const char *entries)
{
	return table->machine->mem_map + ((u64)(entries - table->direct_map) >> PAGE_SHIFT);
}

static inline unsigned long *table_used(const struct pgtable *table, const char *entries)
{
	return &table_page(table, entries)->private;
}

/* The table that an entry leads to. */
static inline const char *entry_table(const struct pgtable *table, u64 entry)
{
	return table->direct_map + (entry & table->format->addr_mask);
}

/* pgtable_validate, with the lock held. */
void pgtable_validate_locked(const struct pgtable *table);

#endif

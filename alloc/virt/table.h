/* SPDX-License-Identifier: MIT */
/*
 * From an entry to the table it leads to, from a table to its frame, and through a range step by
 * step. Private to alloc/virt: what the writers of page tables (pgtable.c, pgtable_range.c) and
 * their checker (pgtable_validate.c) share.
 *
 * Ranges are in base pages ("vpn", the address without its offset and its sign bits), so that
 * neither the top of the address space nor a sign extension is a special case.
 */
#ifndef KMM_VIRT_TABLE_H
#define KMM_VIRT_TABLE_H

#include <errno.h>

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

/* Release: forbids that the entry is seen before the zeroes of the table that it leads to, or
 * before what the caller wrote into the frame. */
static inline void entry_store(const struct pgtable_format *format, const char *entries, u64 index,
			       u64 entry)
{
	if (format->entry_bytes == 4)
		__atomic_store_n((u32 *)(uintptr_t)entries + index, (u32)entry, __ATOMIC_RELEASE);
	else
		__atomic_store_n((u64 *)(uintptr_t)entries + index, entry, __ATOMIC_RELEASE);
}

/* A leaf of a level for frames from pfn on. */
static inline u64 leaf_entry(const struct pgtable_format *format, unsigned int level, u64 pfn,
			     u64 prot)
{
	u64 address = pfn << format->page_shift;

	if (level == 1)
		return address | prot | PTE_PRESENT;
	if (format->high_bits)
		address = (address & 0xffffffff) | address >> 32 << PGTABLE_HIGH_SHIFT;
	return address | prot | PTE_PRESENT | PTE_PS;
}

struct range {
	u64 vpn, nr, pfn;
};

/* The range as base pages; -EINVAL as pgtable_map says. */
static inline int range_make(const struct pgtable_format *format, u64 va, u64 nr_pages,
			     struct range *range)
{
	unsigned int unused = 64U - format->va_bits;
	u64 last;

	if (!nr_pages || nr_pages > 1UL << (format->va_bits - format->page_shift) ||
	    va & ((1UL << format->page_shift) - 1))
		return -EINVAL;
	last = va + ((nr_pages - 1) << format->page_shift);
	if (last < va || !pgtable_va_valid(format, va) || !pgtable_va_valid(format, last))
		return -EINVAL;
	/* Both ends are addresses, and yet the hole of a canonical space may be between them. */
	if (format->canonical && (s64)(va ^ last) < 0)
		return -EINVAL;
	*range = (struct range){va << unused >> unused >> format->page_shift, nr_pages, 0};
	return 0;
}

static inline struct range range_part(const struct range *range, u64 nr)
{
	return (struct range){range->vpn, nr, range->pfn};
}

static inline void range_advance(struct range *range, u64 nr)
{
	range->vpn += nr;
	range->pfn += nr;
	range->nr -= nr;
}

/* One step through a range within a table: the entry that covers its first page, and the pages it
 * covers of it. */
struct step {
	u64 index, entry, nr;
	bool whole; /* all that the entry covers is in the range */
};

static inline struct step step_at(const struct pgtable *table, unsigned int level,
				  const char *entries, const struct range *range)
{
	const struct pgtable_format *format = table->format;
	unsigned int shift = span_shift(format, level);
	u64 span = 1UL << shift, offset = range->vpn & (span - 1);
	struct step step;

	step.index = range->vpn >> shift & ((1UL << format->index_bits[level]) - 1);
	step.entry = pgtable_entry_load(format, entries, step.index);
	step.nr = min_t(u64, range->nr, span - offset);
	step.whole = step.nr == span;
	return step;
}

/* May a leaf of the format have these bits, beside its address? */
static inline bool prot_fits(const struct pgtable_format *format, u64 prot)
{
	u64 entry_mask = format->entry_bytes == 4 ? 0xffffffffUL : ~0UL;

	return !(prot & (PTE_PS | format->addr_mask | format->leaf_reserved[1] | ~entry_mask)) &&
	       (format->nx || !(prot & PTE_NX));
}

/* pgtable.c: would the range cut a larger leaf in two? With the lock held. */
bool range_cuts_leaf(const struct pgtable *table, const struct range *range);

/* pgtable_validate, with the lock held. */
void pgtable_validate_locked(const struct pgtable *table);
/* The same, in paranoid builds, and only of few tables, for a recount reads every one. */
void pgtable_check_if_paranoid(const struct pgtable *table);

/* walk.c: the format's own walkers, or for a format that it does not know those for any. */
const struct pgtable_walkers *pgtable_walkers_of(const struct pgtable_format *format);
/* pgtable_range.c: set the accessed and dirty bits that an access of va is to set, if it may. */
KMM_COLD void pgtable_mark(struct pgtable *table, u64 va, u32 access);

#endif

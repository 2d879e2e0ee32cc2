/* SPDX-License-Identifier: MIT */
/*
 * The slow checker of page tables: reads every entry of every table, counts again what pgtable.c
 * counts as it goes, and compares. Takes table->lock.
 */
#include "base/check.h"
#include "virt/table.h"

struct recount {
	u64 nr_tables, nr_mapped;
};

static void recount(const struct pgtable *table, unsigned int level, const char *entries, u64 va,
		    struct recount *sum)
{
	const struct pgtable_format *format = table->format;
	const struct page *page = table_page(table, entries);
	unsigned int shift = span_shift(format, level);
	unsigned long used = 0;

	KMM_BUG_ON(page->type != PG_TYPE_TABLE, "table of level %u for %#lx is a page of type %u",
		   level, va, page->type);
	sum->nr_tables += 1UL << table_order(format, level);
	for (u64 index = 0; index < 1UL << format->index_bits[level]; index++) {
		u64 entry = pgtable_entry_load(format, entries, index);
		u64 entry_va = va + (index << shift << format->page_shift);

		if (!entry)
			continue;
		used++;
		KMM_BUG_ON(!(entry & PTE_PRESENT), "entry %#lx of level %u for %#lx is not present",
			   entry, level, entry_va);
		KMM_BUG_ON(entry & pgtable_reserved(format, level, entry),
			   "entry %#lx of level %u for %#lx has reserved bits", entry, level,
			   entry_va);
		if (!pgtable_is_leaf(format, level, entry)) {
			recount(table, level - 1, entry_table(table, entry), entry_va, sum);
			continue;
		}
		KMM_BUG_ON(pgtable_leaf_address(format, level, entry) >> format->page_shift &
				   ((1UL << shift) - 1),
			   "leaf %#lx of level %u for %#lx is not aligned", entry, level, entry_va);
		sum->nr_mapped += 1UL << shift;
	}
	KMM_BUG_ON(used != page->private,
		   "table of level %u for %#lx: %lu entries used, %lu counted", level, va, used,
		   page->private);
	KMM_BUG_ON(!used && entries != table->root, "empty table of level %u for %#lx", level, va);
}

void pgtable_validate_locked(const struct pgtable *table)
{
	struct recount sum = {0};

	recount(table, table->format->levels, table->root, 0, &sum);
	KMM_BUG_ON(sum.nr_tables != table->nr_tables, "%s: %lu pages of tables, %lu counted",
		   table->format->name, sum.nr_tables, table->nr_tables);
	KMM_BUG_ON(sum.nr_mapped != table->nr_mapped, "%s: %lu pages mapped, %lu counted",
		   table->format->name, sum.nr_mapped, table->nr_mapped);
}

void pgtable_check_if_paranoid(const struct pgtable *table)
{
	if (KMM_PARANOID && table->nr_tables <= 32)
		pgtable_validate_locked(table);
}

void pgtable_validate(struct pgtable *table)
{
	lock_acquire(&table->lock);
	pgtable_validate_locked(table);
	lock_release(&table->lock);
}

/* SPDX-License-Identifier: MIT */
/*
 * What is done to the entries of a range that are there: protect, the range walk, the accessed and
 * dirty bits of one address; and how much memory the tables take. Nothing here makes or frees a
 * table. Invariants and locks: pgtable.c.
 */
#include "virt/table.h"

static void protect(struct pgtable *table, unsigned int level, const char *entries,
		    struct range range, u64 prot)
{
	const struct pgtable_format *format = table->format;

	while (range.nr) {
		struct step step = step_at(table, level, entries, &range);

		if (!step.entry) {
			/* Nothing there. */
		} else if (pgtable_is_leaf(format, level, step.entry)) {
			u64 pfn = pgtable_leaf_address(format, level, step.entry) >>
				  format->page_shift;

			entry_store(format, entries, step.index,
				    leaf_entry(format, level, pfn, prot) |
					    (step.entry & (PTE_ACCESSED | PTE_DIRTY)));
		} else {
			protect(table, level - 1, entry_table(table, step.entry),
				range_part(&range, step.nr), prot);
		}
		range_advance(&range, step.nr);
	}
}

int pgtable_protect(struct pgtable *table, u64 va, u64 nr_pages, u64 prot)
{
	struct range range;
	int err = range_make(table->format, va, nr_pages, &range);

	if (err)
		return err;
	if (!prot_fits(table->format, prot))
		return -EINVAL;
	lock_acquire(&table->lock);
	if (range_cuts_leaf(table, &range))
		err = -EINVAL;
	else
		protect(table, table->format->levels, table->root, range, prot);
	pgtable_check_if_paranoid(table);
	lock_release(&table->lock);
	return err;
}

struct visitor {
	int (*visit)(const struct pgtable_entry *entry, void *arg);
	void *arg;
};

/* As a walk shows it: with the address as the format writes it. */
static struct pgtable_entry entry_shown(const struct pgtable *table, unsigned int level, u64 vpn,
					u64 entry)
{
	const struct pgtable_format *format = table->format;
	unsigned int shift = span_shift(format, level), unused = 64U - format->va_bits;
	struct pgtable_entry shown = {
		.va = vpn >> shift << shift << format->page_shift,
		.nr_pages = 1UL << shift,
		.entry = entry,
		.level = (u8)level,
		.leaf = pgtable_is_leaf(format, level, entry),
	};

	if (format->canonical)
		shown.va = (u64)((s64)(shown.va << unused) >> unused);
	if (shown.leaf)
		shown.pfn = pgtable_leaf_address(format, level, entry) >> format->page_shift;
	else
		shown.pfn = (entry & format->addr_mask) >> PAGE_SHIFT;
	return shown;
}

static int walk_range(const struct pgtable *table, unsigned int level, const char *entries,
		      struct range range, const struct visitor *visitor)
{
	int stopped = 0;

	while (range.nr && !stopped) {
		struct step step = step_at(table, level, entries, &range);

		if (step.entry) {
			struct pgtable_entry shown =
				entry_shown(table, level, range.vpn, step.entry);

			stopped = visitor->visit(&shown, visitor->arg);
			if (!stopped && !shown.leaf)
				stopped =
					walk_range(table, level - 1, entry_table(table, step.entry),
						   range_part(&range, step.nr), visitor);
		}
		range_advance(&range, step.nr);
	}
	return stopped;
}

int pgtable_walk_range(struct pgtable *table, u64 va, u64 nr_pages,
		       int (*visit)(const struct pgtable_entry *entry, void *arg), void *arg)
{
	struct visitor visitor = {visit, arg};
	struct range range;
	int result = range_make(table->format, va, nr_pages, &range);

	if (result)
		return result;
	lock_acquire(&table->lock);
	result = walk_range(table, table->format->levels, table->root, range, &visitor);
	lock_release(&table->lock);
	return result;
}

/* With the lock held nobody else writes, so an access that may mark the entries now still may when
 * they are marked. */
void pgtable_mark(struct pgtable *table, u64 va, u32 access)
{
	const struct pgtable_format *format = table->format;
	const char *entries = table->root;
	struct pgtable_walk walk;

	lock_acquire(&table->lock);
	if (pgtable_access_once(format, table, va, access, &walk) != PGTABLE_MARK) {
		lock_release(&table->lock);
		return;
	}
	for (unsigned int level = format->levels;; level--) {
		u64 index = pgtable_index(format, va, level);
		u64 entry = pgtable_entry_load(format, entries, index), marks = 0;

		if (!(format->bare_levels >> (level - 1) & 1))
			marks = PTE_ACCESSED;
		if (level == walk.level && (access & X86_PF_WRITE))
			marks |= PTE_DIRTY;
		if (marks & ~entry)
			entry_store(format, entries, index, entry | marks);
		if (level == walk.level)
			break;
		entries = entry_table(table, entry);
	}
	lock_release(&table->lock);
}

static void count(const struct pgtable *table, unsigned int level, const char *entries,
		  struct pgtable_use *use)
{
	const struct pgtable_format *format = table->format;
	u64 bytes = PAGE_SIZE << table_order(format, level);

	use->bytes[level] += bytes;
	use->total_bytes += bytes;
	if (level <= 3 && level < format->levels)
		use->vm_pte_bytes += bytes;
	for (u64 index = 0; level > 1 && index < 1UL << format->index_bits[level]; index++) {
		u64 entry = pgtable_entry_load(format, entries, index);

		if (entry && !pgtable_is_leaf(format, level, entry))
			count(table, level - 1, entry_table(table, entry), use);
	}
}

void pgtable_count(struct pgtable *table, struct pgtable_use *use)
{
	*use = (struct pgtable_use){0};
	lock_acquire(&table->lock);
	count(table, table->format->levels, table->root, use);
	lock_release(&table->lock);
}

u64 pgtable_flat_bytes(const struct pgtable_format *format)
{
	return (u64)format->entry_bytes << (format->va_bits - format->page_shift);
}

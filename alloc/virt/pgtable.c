/* SPDX-License-Identifier: MIT */
/*
 * Writers of page tables: map, unmap, make, destroy, for every format. A table is a block of the
 * page allocator (PG_TYPE_TABLE; one page in most formats), and counts its used entries in
 * page->private.
 *
 * Invariant, whenever the lock is free:
 *	a table other than the root has a used entry;
 *	used entries of a table == page->private; an unused entry is 0, a used one has PTE_PRESENT;
 *	nr_tables, nr_mapped == what a recount finds (pgtable_validate).
 *
 * map is in two passes: the first makes all tables that the range needs and finds what is in the
 * way, the second writes the leaves and cannot fail. So undoing is only to prune empty tables, and
 * a walker never sees a page of a map that fails.
 *
 * Lock: table->lock (RANK_PGTABLE), and under it the page allocator's. Walkers take none (walk.h
 * says what they see): a store of an entry is a release, so that what it leads to is ready; and
 * tables are freed in the order unlink, advance free_gen, free.
 *
 * Ranges are in base pages ("vpn", the address without its offset and its sign bits), so that
 * neither the top of the address space nor a sign extension is a special case.
 */
#include <errno.h>

#include "base/bits.h"
#include "base/check.h"
#include "base/cpu.h"
#include "base/machine.h"
#include "phys/page_alloc.h"
#include "slab/kmalloc.h"
#include "virt/table.h"

/* Of an entry that leads to a table: permissive, for the leaf decides. */
#define TABLE_BITS (PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED)

struct range {
	u64 vpn, nr, pfn;
};

/* Release: forbids that the entry is seen before the zeroes of the table that it leads to, or
 * before what the caller wrote into the frame. */
static void entry_store(const struct pgtable_format *format, const char *entries, u64 index,
			u64 entry)
{
	if (format->entry_bytes == 4)
		__atomic_store_n((u32 *)(uintptr_t)entries + index, (u32)entry, __ATOMIC_RELEASE);
	else
		__atomic_store_n((u64 *)(uintptr_t)entries + index, entry, __ATOMIC_RELEASE);
}

/* One step through a range within a table: the entry that covers its first page, and the pages it
 * covers of it. */
struct step {
	u64 index, entry, nr;
	bool whole; /* all that the entry covers is in the range */
};

static struct step step_at(const struct pgtable *table, unsigned int level, const char *entries,
			   const struct range *range)
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

static struct range range_part(const struct range *range, u64 nr)
{
	return (struct range){range->vpn, nr, range->pfn};
}

static void range_advance(struct range *range, u64 nr)
{
	range->vpn += nr;
	range->pfn += nr;
	range->nr -= nr;
}

/* A zeroed table for a level, not linked yet; NULL for no memory. */
static const char *table_new(struct pgtable *table, unsigned int level, gfp_t gfp)
{
	unsigned int order = table_order(table->format, level);
	struct page *page = alloc_pages(gfp | __GFP_ZERO, order);

	if (!page)
		return NULL;
	page_set_type(page, PG_TYPE_TABLE);
	page->private = 0;
	table->nr_tables += 1UL << order;
	return table->direct_map + (page_to_pfn(page) << PAGE_SHIFT);
}

static void table_free(struct page *page)
{
	page_set_type(page, PG_TYPE_ALLOC);
	__free_pages(page, page->order);
}

/* Unlink an empty table; it is freed by tables_release, after the walkers have been told. */
static void table_unlink(struct pgtable *table, const char *parent, u64 index, const char *entries,
			 struct list_head *unlinked)
{
	struct page *page = table_page(table, entries);

	entry_store(table->format, parent, index, 0);
	--*table_used(table, parent);
	table->nr_tables -= 1UL << page->order;
	list_add(&page->lru, unlinked);
}

static void tables_release(struct pgtable *table, struct list_head *unlinked)
{
	struct page *page, *next;

	if (list_empty(unlinked))
		return;
	/* Release: forbids that it is seen before the unlinking. Acquire: forbids that the next
	 * owner of a freed page writes to it before. */
	__atomic_fetch_add(&table->free_gen, 1, __ATOMIC_ACQ_REL);
	list_for_each_entry_safe(page, next, unlinked, lru)
		table_free(page);
}

/* Base pages of a table of the last level; the range lies within it. */
static u64 first_index(const struct pgtable *table, const struct range *range)
{
	return range->vpn & ((1UL << table->format->index_bits[1]) - 1);
}

static bool leaves_unused(const struct pgtable *table, const char *entries,
			  const struct range *range)
{
	u64 index = first_index(table, range);

	for (u64 i = 0; i < range->nr; i++)
		if (pgtable_entry_load(table->format, entries, index + i))
			return false;
	return true;
}

static void leaves_fill(struct pgtable *table, const char *entries, const struct range *range,
			u64 prot)
{
	const struct pgtable_format *format = table->format;
	u64 index = first_index(table, range);

	for (u64 i = 0; i < range->nr; i++)
		entry_store(format, entries, index + i,
			    (range->pfn + i) << format->page_shift | prot | PTE_PRESENT);
	*table_used(table, entries) += range->nr;
	table->nr_mapped += range->nr;
}

static void leaves_clear(struct pgtable *table, const char *entries, const struct range *range)
{
	const struct pgtable_format *format = table->format;
	u64 index = first_index(table, range), nr_cleared = 0;

	for (u64 i = 0; i < range->nr; i++) {
		if (!pgtable_entry_load(format, entries, index + i))
			continue;
		entry_store(format, entries, index + i, 0);
		nr_cleared++;
	}
	*table_used(table, entries) -= nr_cleared;
	table->nr_mapped -= nr_cleared;
}

/*
 * Take what was mapped in the range away (clear), and every table of the range that is empty then.
 * Without clear it is the undoing of make_tables: empty tables only.
 */
static void sweep(struct pgtable *table, unsigned int level, const char *entries,
		  struct range range, bool clear, struct list_head *unlinked)
{
	const struct pgtable_format *format = table->format;

	if (level == 1) {
		if (clear)
			leaves_clear(table, entries, &range);
		return;
	}
	while (range.nr) {
		struct step step = step_at(table, level, entries, &range);

		if (!step.entry) {
			/* Nothing there. */
		} else if (pgtable_is_leaf(format, level, step.entry)) {
			if (clear) {
				entry_store(format, entries, step.index, 0);
				--*table_used(table, entries);
				table->nr_mapped -= step.nr;
			}
		} else {
			const char *child = entry_table(table, step.entry);

			sweep(table, level - 1, child, range_part(&range, step.nr), clear,
			      unlinked);
			if (!*table_used(table, child))
				table_unlink(table, entries, step.index, child, unlinked);
		}
		range_advance(&range, step.nr);
	}
}

/* The one table of leaves that has all of the range, if it is there; NULL: the range must be
 * stepped through. */
static const char *leaf_table(const struct pgtable *table, const struct range *range)
{
	const struct pgtable_format *format = table->format;
	unsigned int shift = format->va_bits - format->page_shift;
	const char *entries = table->root;

	if ((range->vpn ^ (range->vpn + range->nr - 1)) >> format->index_bits[1])
		return NULL;
	for (unsigned int level = format->levels; level > 1; level--) {
		u64 entry;

		shift -= format->index_bits[level];
		entry = pgtable_entry_load(format, entries,
					   range->vpn >> shift &
						   ((1UL << format->index_bits[level]) - 1));
		if (!entry || pgtable_is_leaf(format, level, entry))
			return NULL;
		entries = entry_table(table, entry);
	}
	return entries;
}

/* Does the range's next step in an empty entry become one larger leaf? The same answer in both
 * passes of a map. */
static bool takes_large_leaf(const struct pgtable *table, unsigned int level,
			     const struct step *step, const struct range *range, bool huge)
{
	return huge && !step->entry && step->whole &&
	       (table->format->leaf_levels >> (level - 1) & 1) &&
	       !(range->pfn & ((1UL << span_shift(table->format, level)) - 1));
}

/* Link a new table into an empty entry; NULL for no memory. */
static const char *table_link_new(struct pgtable *table, unsigned int level, const char *parent,
				  u64 index)
{
	/* Under the table's lock, which reclaim may want. */
	const char *child = table_new(table, level, GFP_NOWAIT | __GFP_NOWARN);

	if (!child)
		return NULL;
	entry_store(table->format, parent, index, (u64)(child - table->direct_map) | TABLE_BITS);
	++*table_used(table, parent);
	return child;
}

/* First pass of a map: -EEXIST for anything in the way, -ENOMEM. Empty tables are left behind
 * then. */
static int make_tables(struct pgtable *table, unsigned int level, const char *entries,
		       struct range range, bool huge)
{
	if (level == 1)
		return leaves_unused(table, entries, &range) ? 0 : -EEXIST;
	while (range.nr) {
		struct step step = step_at(table, level, entries, &range);
		const char *child;
		int err;

		if (step.entry && pgtable_is_leaf(table->format, level, step.entry))
			return -EEXIST;
		if (!takes_large_leaf(table, level, &step, &range, huge)) {
			child = step.entry ? entry_table(table, step.entry)
					   : table_link_new(table, level - 1, entries, step.index);
			if (!child)
				return -ENOMEM;
			err = make_tables(table, level - 1, child, range_part(&range, step.nr),
					  huge);
			if (err)
				return err;
		}
		range_advance(&range, step.nr);
	}
	return 0;
}

/* Second pass: write the leaves. */
static void fill(struct pgtable *table, unsigned int level, const char *entries, struct range range,
		 u64 prot, bool huge)
{
	const struct pgtable_format *format = table->format;

	if (level == 1) {
		leaves_fill(table, entries, &range, prot);
		return;
	}
	while (range.nr) {
		struct step step = step_at(table, level, entries, &range);

		if (takes_large_leaf(table, level, &step, &range, huge)) {
			entry_store(format, entries, step.index,
				    range.pfn << format->page_shift | prot | PTE_PRESENT | PTE_PS);
			++*table_used(table, entries);
			table->nr_mapped += step.nr;
		} else {
			fill(table, level - 1, entry_table(table, step.entry),
			     range_part(&range, step.nr), prot, huge);
		}
		range_advance(&range, step.nr);
	}
}

/* The range as base pages; -EINVAL as pgtable_map says. */
static int range_make(const struct pgtable_format *format, u64 va, u64 nr_pages,
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

static bool frames_and_bits_fit(const struct pgtable_format *format, u64 pfn, u64 nr_pages,
				u64 prot)
{
	u64 entry_mask = format->entry_bytes == 4 ? 0xffffffffUL : ~0UL;
	u64 max_pfn = format->addr_mask >> format->page_shift;

	return pfn <= max_pfn && nr_pages - 1 <= max_pfn - pfn && !(prot & PTE_PS) &&
	       !(prot & format->addr_mask) && !(prot & ~entry_mask);
}

/* Would a range that begins or ends at vpn cut a larger leaf in two? */
static bool cuts_leaf(const struct pgtable *table, u64 vpn)
{
	const struct pgtable_format *format = table->format;
	const char *entries = table->root;

	for (unsigned int level = format->levels; level > 1; level--) {
		struct range range = {vpn, 1, 0};
		struct step step = step_at(table, level, entries, &range);

		if (!step.entry)
			return false;
		if (pgtable_is_leaf(format, level, step.entry))
			return vpn & ((1UL << span_shift(format, level)) - 1);
		entries = entry_table(table, step.entry);
	}
	return false;
}

/* A recount reads every table, so large spaces are left to pgtable_validate. */
static void check_if_paranoid(const struct pgtable *table)
{
	if (KMM_PARANOID && table->nr_tables <= 32)
		pgtable_validate_locked(table);
}

static int map_locked(struct pgtable *table, const struct range *range, u64 prot, bool huge,
		      struct list_head *unlinked)
{
	const char *leaves = leaf_table(table, range);
	unsigned int top = table->format->levels;
	int err;

	if (leaves) {
		if (!leaves_unused(table, leaves, range))
			return -EEXIST;
		leaves_fill(table, leaves, range, prot);
		return 0;
	}
	err = make_tables(table, top, table->root, *range, huge);
	if (err)
		sweep(table, top, table->root, *range, false, unlinked);
	else
		fill(table, top, table->root, *range, prot, huge);
	return err;
}

static int unmap_locked(struct pgtable *table, const struct range *range,
			struct list_head *unlinked)
{
	const struct pgtable_format *format = table->format;
	u64 nr_space = 1UL << (format->va_bits - format->page_shift);
	u64 end = range->vpn + range->nr;
	const char *leaves = leaf_table(table, range);

	if (leaves) {
		leaves_clear(table, leaves, range);
		if (!*table_used(table, leaves))
			sweep(table, format->levels, table->root, *range, false, unlinked);
		return 0;
	}
	if (cuts_leaf(table, range->vpn) || (end < nr_space && cuts_leaf(table, end)))
		return -EINVAL;
	sweep(table, format->levels, table->root, *range, true, unlinked);
	return 0;
}

int pgtable_map(struct pgtable *table, u64 va, u64 pfn, u64 nr_pages, u64 prot, bool huge)
{
	struct list_head unlinked = LIST_HEAD_INIT(unlinked);
	struct range range;
	int err = range_make(table->format, va, nr_pages, &range);

	if (err || !frames_and_bits_fit(table->format, pfn, nr_pages, prot))
		return -EINVAL;
	range.pfn = pfn;
	lock_acquire(&table->lock);
	err = map_locked(table, &range, prot, huge, &unlinked);
	check_if_paranoid(table);
	tables_release(table, &unlinked);
	lock_release(&table->lock);
	return err;
}

int pgtable_unmap(struct pgtable *table, u64 va, u64 nr_pages)
{
	struct list_head unlinked = LIST_HEAD_INIT(unlinked);
	struct range range;
	int err = range_make(table->format, va, nr_pages, &range);

	if (err)
		return err;
	lock_acquire(&table->lock);
	err = unmap_locked(table, &range, &unlinked);
	check_if_paranoid(table);
	tables_release(table, &unlinked);
	lock_release(&table->lock);
	return err;
}

static bool format_valid(const struct pgtable_format *format)
{
	unsigned int bits = format->page_shift;

	if (format->levels < 1 || format->levels > PGTABLE_MAX_LEVELS ||
	    (format->entry_bytes != 4 && format->entry_bytes != 8) || !(format->leaf_levels & 1))
		return false;
	for (unsigned int level = 1; level <= format->levels; level++) {
		bits += format->index_bits[level];
		if (table_order(format, level) > MAX_PAGE_ORDER)
			return false;
	}
	return bits == format->va_bits && bits < 64;
}

int pgtable_create(const struct pgtable_format *format, struct pgtable **out)
{
	struct kmm *machine = cpu_get()->machine;
	struct pgtable *table;

	*out = NULL;
	if (!format_valid(format))
		return -EINVAL;
	/* Of a power of two bytes, so that it is aligned to cache lines. */
	table = kzalloc(roundup_pow_of_two(sizeof(*table)), GFP_KERNEL);
	if (!table)
		return -ENOMEM;
	table->format = format;
	table->machine = machine;
	table->direct_map = machine->direct_map;
	lock_init(&table->lock, "page_table", RANK_PGTABLE, machine->config.lock_kind);
	table->root = table_new(table, format->levels, GFP_KERNEL);
	if (!table->root) {
		lock_destroy(&table->lock);
		kfree(table);
		return -ENOMEM;
	}
	*out = table;
	return 0;
}

static void free_below(struct pgtable *table, unsigned int level, const char *entries)
{
	for (u64 index = 0; level > 1 && index < 1UL << table->format->index_bits[level]; index++) {
		u64 entry = pgtable_entry_load(table->format, entries, index);

		if (entry && !pgtable_is_leaf(table->format, level, entry))
			free_below(table, level - 1, entry_table(table, entry));
	}
	table_free(table_page(table, entries));
}

void pgtable_destroy(struct pgtable *table)
{
	if (!table)
		return;
	free_below(table, table->format->levels, table->root);
	lock_destroy(&table->lock);
	kfree(table);
}

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
 */
#include "base/bits.h"
#include "base/check.h"
#include "base/cpu.h"
#include "base/machine.h"
#include "phys/page_alloc.h"
#include "slab/kmalloc.h"
#include "virt/table.h"

/* Of an entry that leads to a table: permissive, for the leaf decides. */
static u64 table_bits(const struct pgtable_format *format, unsigned int level)
{
	if (format->bare_levels >> (level - 1) & 1)
		return PTE_PRESENT;
	return PTE_PRESENT | PTE_WRITE | PTE_USER;
}

/* A zeroed table for a level, not linked yet; NULL for no memory. */
static const char *table_new(struct pgtable *table, unsigned int level, gfp_t gfp)
{
	unsigned int order = table_order(table->format, level);
	struct page *page;

	/* Where an entry can point to. */
	if (!(table->format->addr_mask >> 32))
		gfp |= __GFP_DMA32;
	page = alloc_pages(gfp | __GFP_ZERO, order);
	if (!page)
		return NULL;
	if (page_to_pfn(page) << PAGE_SHIFT & ~table->format->addr_mask) {
		__free_pages(page, order);
		return NULL;
	}
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
			    leaf_entry(format, 1, range->pfn + i, prot));
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
	entry_store(table->format, parent, index,
		    (u64)(child - table->direct_map) | table_bits(table->format, level + 1));
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
				    leaf_entry(format, level, range.pfn, prot));
			++*table_used(table, entries);
			table->nr_mapped += step.nr;
		} else {
			fill(table, level - 1, entry_table(table, step.entry),
			     range_part(&range, step.nr), prot, huge);
		}
		range_advance(&range, step.nr);
	}
}

/* All of the range in leaves of level 2, whatever is there: for frames that smaller ones cannot
 * name. */
static bool only_large_leaves(const struct pgtable_format *format, const struct range *range,
			      bool huge)
{
	u64 mask = (1UL << span_shift(format, 2)) - 1;

	return huge && !((range->vpn | range->pfn | range->nr) & mask);
}

static bool frames_fit(const struct pgtable_format *format, const struct range *range, bool huge)
{
	u64 max_pfn = format->addr_mask >> format->page_shift;
	u64 high = (1UL << format->high_bits) - 1;

	if (format->high_bits && only_large_leaves(format, range, huge))
		max_pfn |= high << (32 - format->page_shift);
	return range->pfn <= max_pfn && range->nr - 1 <= max_pfn - range->pfn;
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

bool range_cuts_leaf(const struct pgtable *table, const struct range *range)
{
	u64 nr_space = 1UL << (table->format->va_bits - table->format->page_shift);
	u64 end = range->vpn + range->nr;

	return cuts_leaf(table, range->vpn) || (end < nr_space && cuts_leaf(table, end));
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
	const char *leaves = leaf_table(table, range);

	if (leaves) {
		leaves_clear(table, leaves, range);
		if (!*table_used(table, leaves))
			sweep(table, format->levels, table->root, *range, false, unlinked);
		return 0;
	}
	if (range_cuts_leaf(table, range))
		return -EINVAL;
	sweep(table, format->levels, table->root, *range, true, unlinked);
	return 0;
}

int pgtable_map(struct pgtable *table, u64 va, u64 pfn, u64 nr_pages, u64 prot, bool huge)
{
	struct list_head unlinked = LIST_HEAD_INIT(unlinked);
	struct range range;
	int err = range_make(table->format, va, nr_pages, &range);

	if (err)
		return err;
	range.pfn = pfn;
	if (!frames_fit(table->format, &range, huge) || !prot_fits(table->format, prot))
		return -EINVAL;
	lock_acquire(&table->lock);
	err = map_locked(table, &range, prot, huge, &unlinked);
	pgtable_check_if_paranoid(table);
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
	pgtable_check_if_paranoid(table);
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
	table->walkers = pgtable_walkers_of(format);
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

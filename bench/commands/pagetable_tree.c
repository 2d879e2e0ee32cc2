/* SPDX-License-Identifier: MIT */
/* Page tables in text: an address cut into indices, and the tables as a tree. */
#include <string.h>

#include "bench/commands/pagetable.h"
#include "virt/walk.h"

static void print_bits(const char *name, unsigned int high, unsigned int low, u64 value)
{
	printf("  %-8s bits %2u..%-2u  ", name, high, low);
	for (unsigned int bit = high + 1; bit-- > low;)
		putchar('0' + (int)(value >> (bit - low) & 1));
	printf("  %llu (%#llx)\n", (unsigned long long)value, (unsigned long long)value);
}

void print_cut(const struct pgtable_format *format, u64 va)
{
	char name[16];

	printf("address %#llx\n", (unsigned long long)va);
	for (unsigned int level = format->levels; level; level--) {
		unsigned int shift = pgtable_level_shift(format, level);

		snprintf(name, sizeof(name), "level %u", level);
		print_bits(name, shift + format->index_bits[level] - 1, shift,
			   pgtable_index(format, va, level));
	}
	print_bits("offset", format->page_shift - 1U, 0, va & ((1UL << format->page_shift) - 1));
}

/* Leaves that follow each other, with frames that do, and the same bits, are one line. */
struct tree {
	const struct pgtable_format *format;
	unsigned long nr_lines, max_lines, nr_left_out;
	struct pgtable_entry run; /* the first leaf of the run; nr_leaves of them */
	u64 nr_leaves;
};

static bool may_print(struct tree *tree)
{
	if (tree->nr_lines++ < tree->max_lines)
		return true;
	tree->nr_left_out++;
	return false;
}

static u64 bits_of(const struct pgtable_format *format, const struct pgtable_entry *entry)
{
	u64 bits = entry->entry & ~format->addr_mask;

	return entry->level == 1 ? bits & ~PTE_PS : bits;
}

static void print_entry_bits(u64 bits)
{
	static const struct {
		u64 bit;
		const char *name;
	} names[] = {{PTE_WRITE, "write"}, {PTE_USER, "user"},	       {PTE_PWT, "pwt"},
		     {PTE_PCD, "pcd"},	   {PTE_ACCESSED, "accessed"}, {PTE_DIRTY, "dirty"},
		     {PTE_PS, "ps"},	   {PTE_GLOBAL, "global"},     {PTE_NX, "nx"}};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (bits & names[i].bit)
			printf(" %s", names[i].name);
	putchar('\n');
}

static void run_end(struct tree *tree)
{
	const struct pgtable_format *format = tree->format;
	const struct pgtable_entry *run = &tree->run;
	u64 nr_pages = run->nr_pages * tree->nr_leaves, index;
	char index_text[32], size[BYTES_TEXT_SIZE], all[BYTES_TEXT_SIZE];

	if (!tree->nr_leaves)
		return;
	index = pgtable_index(format, run->va, run->level);
	if (tree->nr_leaves > 1)
		snprintf(index_text, sizeof(index_text), "[%llu..%llu]", (unsigned long long)index,
			 (unsigned long long)(index + tree->nr_leaves - 1));
	else
		snprintf(index_text, sizeof(index_text), "[%llu]", (unsigned long long)index);
	if (may_print(tree)) {
		printf("%*s%-10s %#llx  %llu x %s = %s, frames from %#llx:",
		       2 * (format->levels - run->level + 1), "", index_text,
		       (unsigned long long)run->va, (unsigned long long)tree->nr_leaves,
		       bytes_text(run->nr_pages << format->page_shift, size),
		       bytes_text(nr_pages << format->page_shift, all),
		       (unsigned long long)run->pfn);
		print_entry_bits(bits_of(format, run));
	}
	tree->nr_leaves = 0;
}

static bool run_goes_on(const struct tree *tree, const struct pgtable_entry *entry)
{
	const struct pgtable_entry *run = &tree->run;

	return tree->nr_leaves && entry->leaf && entry->level == run->level &&
	       bits_of(tree->format, entry) == bits_of(tree->format, run) &&
	       entry->pfn == run->pfn + tree->nr_leaves * run->nr_pages &&
	       pgtable_index(tree->format, entry->va, entry->level) ==
		       pgtable_index(tree->format, run->va, run->level) + tree->nr_leaves;
}

static int visit(const struct pgtable_entry *entry, void *arg)
{
	struct tree *tree = arg;

	if (run_goes_on(tree, entry)) {
		tree->nr_leaves++;
		return 0;
	}
	run_end(tree);
	if (entry->leaf) {
		tree->run = *entry;
		tree->nr_leaves = 1;
	} else if (may_print(tree)) {
		char index[24];

		snprintf(index, sizeof(index), "[%llu]",
			 (unsigned long long)pgtable_index(tree->format, entry->va, entry->level));
		printf("%*s%-10s %#llx  table of level %u in frame %#llx:",
		       2 * (tree->format->levels - entry->level + 1), "", index,
		       (unsigned long long)entry->va, entry->level - 1U,
		       (unsigned long long)entry->pfn);
		print_entry_bits(entry->entry & ~tree->format->addr_mask & ~PTE_PRESENT);
	}
	return 0;
}

void print_tree(struct pgtable *table, unsigned long max_lines)
{
	const struct pgtable_format *format = table->format;
	struct tree tree = {.format = format, .max_lines = max_lines};
	unsigned int space_shift = format->va_bits - format->page_shift;

	printf("root: table of level %u in frame %#llx\n", format->levels,
	       (unsigned long long)(table->root - table->direct_map) >> PAGE_SHIFT);
	if (format->canonical) {
		pgtable_walk_range(table, 0, 1UL << (space_shift - 1), visit, &tree);
		pgtable_walk_range(table, ~0UL << (format->va_bits - 1), 1UL << (space_shift - 1),
				   visit, &tree);
	} else {
		pgtable_walk_range(table, 0, 1UL << space_shift, visit, &tree);
	}
	run_end(&tree);
	if (tree.nr_left_out)
		printf("  ... and %lu lines more; --all prints them\n", tree.nr_left_out);
}

/* SPDX-License-Identifier: MIT */
/* Protect, the range walk, leaves of all sizes, and what tables take. */
#include <errno.h>

#include "machine.h"
#include "raw.h"

static struct kmm *machine;

static struct pgtable *table_make(const struct pgtable_format *format)
{
	struct pgtable *table;

	if (pgtable_create(format, &table)) {
		printf("Bail out! no table of format %s\n", format->name);
		exit(1);
	}
	return table;
}

#define GIB (1UL << 30)

static void a_range_takes_the_largest_leaves_that_fit(void)
{
	struct pgtable *table = table_make(&pgtable_x86_64);
	struct pgtable_walk walk;
	u64 nr = (GIB + HPAGE_SIZE + PAGE_SIZE) >> 12;

	ok_eq(pgtable_map(table, GIB - HPAGE_SIZE - PAGE_SIZE, (GIB >> 12) - 513, nr + 513,
			  PTE_WRITE, true),
	      0);
	ok(pgtable_walk(table, GIB - HPAGE_SIZE - 1, &walk) && walk.level == 1, "%u", walk.level);
	ok(pgtable_walk(table, GIB - 1, &walk) && walk.level == 2, "%u", walk.level);
	ok(pgtable_walk(table, GIB, &walk) && walk.level == 3, "%u", walk.level);
	ok(pgtable_walk(table, 2 * GIB - 1, &walk) && walk.level == 3, "%u", walk.level);
	ok_eq(walk.pfn, (2 * GIB - 1) >> 12);
	ok(pgtable_walk(table, 2 * GIB, &walk) && walk.level == 2, "%u", walk.level);
	ok(pgtable_walk(table, 2 * GIB + HPAGE_SIZE, &walk) && walk.level == 1, "%u", walk.level);
	ok_eq(table->nr_tables, 6); /* root, level 3; level 2 and level 1 on either side */
	ok_eq(table->nr_mapped, nr + 513);
	ok_eq(pgtable_unmap(table, GIB, 1), -EINVAL);
	ok_eq(pgtable_protect(table, GIB + HPAGE_SIZE, 512, 0), -EINVAL);
	pgtable_validate(table);
	ok_eq(pgtable_unmap(table, 0, 4 * GIB >> 12), 0);
	ok_eq(table->nr_tables, 1);
	pgtable_destroy(table);
}

static void pse36_reaches_64_gib_by_large_leaves_alone(void)
{
	struct pgtable *table = table_make(&pgtable_i386_pse36);
	u64 high = 0xfedc00000UL >> 12, va = 0xc0000000, max = 1UL << 24;
	struct pgtable_walk walk;

	ok_eq(pgtable_map(table, va, high, 1024, PTE_WRITE, false), -EINVAL);
	ok_eq(pgtable_map(table, va, high, 1, PTE_WRITE, true), -EINVAL);
	ok_eq(pgtable_map(table, va, high, 1025, PTE_WRITE, true), -EINVAL);
	ok_eq(pgtable_map(table, va + 4096, high, 1024, PTE_WRITE, true), -EINVAL);
	ok_eq(pgtable_map(table, va, max - 1024, 2048, PTE_WRITE, true), -EINVAL);
	ok_eq(table->nr_tables, 1);
	ok_eq(pgtable_map(table, va, high, 1024, PTE_WRITE, true), 0);
	/* 0xfedc00000: bits 31..22 in their places, 0xf from bit 13 on. */
	ok_eq(raw_get(table, raw_entry(table, va, 2)), 0xedc00000 | 0xf << 13 | 0x83);
	ok(pgtable_walk(table, va + 0x123456, &walk), "not found");
	ok_eq(walk.pfn, (0xfedc00000UL + 0x123456) >> 12);
	ok_eq(pgtable_protect(table, va, 1024, PTE_USER), 0);
	ok(pgtable_access(table, va + 0x123456, X86_PF_USER, &walk), "fault %#x", walk.fault);
	ok_eq(walk.pfn, (0xfedc00000UL + 0x123456) >> 12);
	ok_eq(pgtable_map(table, va + (4UL << 20), max - 1024, 1024, PTE_WRITE, true), 0);
	pgtable_validate(table);
	pgtable_destroy(table);

	table = table_make(&pgtable_i386_pse);
	ok_eq(pgtable_map(table, va, high, 1024, PTE_WRITE, true), -EINVAL);
	pgtable_destroy(table);
}

static void protect_changes_rights_and_nothing_else(void)
{
	struct pgtable *table = table_make(&pgtable_x86_64);
	u64 va = GIB - 2 * PAGE_SIZE, nr_tables;
	struct pgtable_walk walk;

	ok_eq(pgtable_map(table, va, (1UL << 18) - 2, 2 + 512, PTE_WRITE | PTE_USER, true), 0);
	nr_tables = table->nr_tables;
	ok(pgtable_access(table, va, X86_PF_WRITE, &walk), "cannot write");
	/* Over a hole before and behind, and a large leaf. */
	ok_eq(pgtable_protect(table, va - GIB / 2, GIB >> 12, PTE_NX), 0);
	ok(!pgtable_access(table, va, X86_PF_WRITE | PGTABLE_CR0_WP, &walk) && walk.fault == 3,
	   "fault %#x", walk.fault);
	ok_eq(walk.entry,
	      ((1UL << 18) - 2) << 12 | PTE_PRESENT | PTE_NX | PTE_ACCESSED | PTE_DIRTY);
	ok(pgtable_walk(table, va + PAGE_SIZE, &walk), "lost");
	ok_eq(walk.entry, ((1UL << 18) - 1) << 12 | PTE_PRESENT | PTE_NX);
	ok(pgtable_walk(table, GIB, &walk) && walk.level == 2, "lost");
	ok_eq(walk.entry, GIB | PTE_PRESENT | PTE_PS | PTE_NX);
	ok_eq(table->nr_mapped, 514);
	ok_eq(table->nr_tables, nr_tables);
	ok_eq(pgtable_protect(table, GIB, 511, 0), -EINVAL);
	ok_eq(pgtable_protect(table, GIB + PAGE_SIZE, 511, 0), -EINVAL);
	ok_eq(pgtable_protect(table, va, 1, PTE_PS), -EINVAL);
	ok_eq(pgtable_protect(table, va, 1, PAGE_SIZE), -EINVAL);
	ok_eq(pgtable_protect(table, va, 0, 0), -EINVAL);
	ok_eq(pgtable_protect(table, 1UL << 47, 1, 0), -EINVAL);
	ok(pgtable_walk(table, GIB, &walk) && (walk.entry & PTE_NX), "changed after an error");
	ok_eq(pgtable_protect(table, va, 514, PTE_WRITE), 0);
	ok(pgtable_access(table, GIB, X86_PF_WRITE | PGTABLE_CR0_WP, &walk), "cannot write");
	pgtable_validate(table);
	pgtable_destroy(table);
}

struct seen {
	struct pgtable_entry entries[16];
	int nr, stop_at;
};

static int see(const struct pgtable_entry *entry, void *arg)
{
	struct seen *seen = arg;

	if (seen->nr < (int)ARRAY_SIZE(seen->entries))
		seen->entries[seen->nr] = *entry;
	return ++seen->nr == seen->stop_at ? 77 : 0;
}

static void a_range_walk_shows_tables_before_what_is_in_them(void)
{
	static const struct {
		u64 va;
		u8 level;
		bool leaf;
		u64 pfn;
	} wanted[] = {
		{0xffff800000000000, 4, false, 0},  {0xffff800000000000, 3, false, 0},
		{0xffff800000000000, 2, false, 0},  {0xffff800000001000, 1, true, 7},
		{0xffff800000200000, 2, true, 512}, {0xffff800000400000, 2, false, 0},
		{0xffff800000401000, 1, true, 9},
	};
	struct pgtable *table = table_make(&pgtable_x86_64);
	u64 base = 0xffff800000000000, last_pfn = 0;
	struct seen seen = {.nr = 0};

	ok_eq(pgtable_map(table, base + PAGE_SIZE, 7, 1, 0, false), 0);
	ok_eq(pgtable_map(table, base + HPAGE_SIZE, 512, 512, 0, true), 0);
	ok_eq(pgtable_map(table, base + 2 * HPAGE_SIZE, 8, 2, 0, false), 0);
	ok_eq(pgtable_walk_range(table, base, 1025, see, &seen), 0);
	ok_eq(seen.nr, 7); /* with the page at 0x400000, not the one at 0x401000 */
	seen.nr = 0;
	ok_eq(pgtable_unmap(table, base + 2 * HPAGE_SIZE, 1), 0);
	ok_eq(pgtable_walk_range(table, base, 1UL << 30, see, &seen), 0);
	ok_eq(seen.nr, ARRAY_SIZE(wanted));
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		const struct pgtable_entry *entry = &seen.entries[i];

		ok(entry->va == wanted[i].va && entry->level == wanted[i].level &&
			   entry->leaf == wanted[i].leaf,
		   "%zu: %#lx level %u", i, entry->va, entry->level);
		ok(!entry->leaf || entry->pfn == wanted[i].pfn, "%zu: frame %#lx", i, entry->pfn);
		ok(entry->leaf || entry->pfn != last_pfn, "%zu: a table twice", i);
		last_pfn = entry->leaf ? last_pfn : entry->pfn;
	}
	ok_eq(seen.entries[1].nr_pages, 1UL << 18);
	seen = (struct seen){.stop_at = 3};
	ok_eq(pgtable_walk_range(table, base, 1UL << 30, see, &seen), 77);
	ok_eq(seen.nr, 3);
	ok_eq(pgtable_walk_range(table, 0, 0, see, &seen), -EINVAL);
	seen.nr = 0;
	ok_eq(pgtable_walk_range(table, 0, 1UL << 35, see, &seen), 0);
	ok_eq(seen.nr, 0);
	pgtable_destroy(table);
}

/* One page in each format: a table a level. VmPTE leaves the root out, as the kernel does. */
static void tables_are_counted_as_the_kernel_counts_them(void)
{
	static const u64 vm_pte_kb[PGTABLE_NR_FORMATS] = {0, 12, 4, 4, 4, 8, 16, 12, 12};
	struct pgtable_use use;

	for (int f = 0; f < PGTABLE_NR_FORMATS; f++) {
		struct pgtable *table = table_make(pgtable_formats[f]);

		ok_eq(pgtable_map(table, 0x8000000, 7, 1, 0, false), 0);
		pgtable_count(table, &use);
		ok_eq(use.total_bytes, table->nr_tables << PAGE_SHIFT);
		ok(use.vm_pte_bytes == vm_pte_kb[f] << 10, "%s: VmPTE %lu", table->format->name,
		   use.vm_pte_bytes);
		pgtable_destroy(table);
	}
	ok_eq(pgtable_flat_bytes(&pgtable_flat), 4UL << 20);
	ok_eq(pgtable_flat_bytes(&pgtable_i386), 4UL << 20);
	ok_eq(pgtable_flat_bytes(&pgtable_pae), 8UL << 20);
	ok_eq(pgtable_flat_bytes(&pgtable_three_level), 8UL << 30);
	ok_eq(pgtable_flat_bytes(&pgtable_x86_64), 512UL << 30);
	ok_eq(pgtable_flat_bytes(&pgtable_la57), 256UL << 40);
}

/* Text at 4 MiB, data at 256 MiB and a stack below 3 GiB: in one level 4 MiB, in two a directory
 * and three tables; and a process with all of its 128 TiB in one table would have 256 GiB of it. */
static void the_classic_sums_come_out(void)
{
	static const u64 pages[] = {0x00400000, 0x10000000, 0xbffff000};
	static const struct {
		const struct pgtable_format *format;
		u64 bytes;
	} sums[] = {{&pgtable_flat, 4UL << 20},
		    {&pgtable_i386, 16UL << 10},
		    {&pgtable_pae, (1 + 2 + 3) * 4096},
		    {&pgtable_four_by_5, (1 + 3 + 3 + 3) * 4096},
		    {&pgtable_x86_64, (1 + 1 + 2 + 3) * 4096}};
	struct pgtable_use use;

	for (size_t i = 0; i < ARRAY_SIZE(sums); i++) {
		struct pgtable *table = table_make(sums[i].format);

		for (size_t page = 0; page < ARRAY_SIZE(pages); page++)
			ok_eq(pgtable_map(table, pages[page], page + 1, 1, PTE_USER, false), 0);
		pgtable_count(table, &use);
		ok(use.total_bytes == sums[i].bytes, "%s: %lu bytes, not %lu", sums[i].format->name,
		   use.total_bytes, sums[i].bytes);
		pgtable_destroy(table);
	}
	/* The lower half, 128 TiB in pages of 4 KiB: 2^35 entries of 8 bytes. */
	ok_eq(pgtable_flat_bytes(&pgtable_x86_64) / 2, 256UL << 30);
}

int main(void)
{
	machine = machine_boot(1, 64UL << 20, 0, ZONES_X86_64);
	RUN(a_range_takes_the_largest_leaves_that_fit);
	RUN(pse36_reaches_64_gib_by_large_leaves_alone);
	RUN(protect_changes_rights_and_nothing_else);
	RUN(a_range_walk_shows_tables_before_what_is_in_them);
	RUN(tables_are_counted_as_the_kernel_counts_them);
	RUN(the_classic_sums_come_out);
	machine_end(machine);
	return done();
}

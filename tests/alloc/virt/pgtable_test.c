/* SPDX-License-Identifier: MIT */
/*
 * Page tables of every classic format through one code: map and unmap at random against a
 * dictionary, whole undoing of what fails, and walkers beside writers. The dictionary is an array,
 * a page of a small window each.
 */
#include <errno.h>
#include <pthread.h>

#include "machine.h"
#include "virt/walk.h"

static struct kmm *machine;

static struct pgtable *table_make(const struct pgtable_format *format)
{
	struct pgtable *table;
	int err = pgtable_create(format, &table);

	if (err) {
		printf("Bail out! %s: %s\n", format->name, strerror(-err));
		exit(1);
	}
	return table;
}

static u64 pages_taken(void)
{
	struct free_area_counts counts;

	kmm_drain(machine);
	count_free_areas(machine, NUMA_NO_NODE, &counts);
	return counts.nr_managed_pages - counts.nr_buddy_pages - counts.nr_pcp_pages;
}

static void a_mapped_page_is_found_and_its_neighbours_are_not(void)
{
	struct pgtable *table = table_make(&pgtable_x86_64);
	struct pgtable_walk walk;

	ok_eq(pgtable_map(table, 0x7f0012345000, 0x4242, 1, PTE_WRITE | PTE_NX, false), 0);
	ok(pgtable_walk(table, 0x7f0012345abc, &walk), "not found");
	ok_eq(walk.pfn, 0x4242);
	ok_eq(walk.level, 1);
	ok_eq(walk.entry, 0x4242UL << 12 | PTE_PRESENT | PTE_WRITE | PTE_NX);
	ok(!pgtable_walk(table, 0x7f0012346000, &walk), "the page behind is found");
	ok_eq(walk.level, 1);
	ok_eq(walk.entry, 0);
	ok(!pgtable_walk(table, 0x7f0012344fff, &walk), "the page before is found");
	ok(!pgtable_walk(table, 0x6f0012345000, &walk), "the same page of another table is found");
	ok_eq(walk.level, 4);
	ok_eq(table->nr_tables, 4);
	ok_eq(table->nr_mapped, 1);
	pgtable_validate(table);
	ok_eq(pgtable_unmap(table, 0x7f0012345000, 1), 0);
	ok(!pgtable_walk(table, 0x7f0012345abc, &walk), "found after unmap");
	ok_eq(table->nr_tables, 1);
	pgtable_destroy(table);
}

static void a_large_leaf_serves_where_all_is_aligned_and_only_there(void)
{
	struct pgtable *table = table_make(&pgtable_x86_64);
	struct pgtable_walk walk;
	u64 va = 0x40000000;

	/* 1 page, 2 MiB, 3 pages: the middle may be large if frames have the addresses' offset. */
	ok_eq(pgtable_map(table, va - 4096, 511, 1 + 512 + 3, PTE_WRITE, true), 0);
	ok(pgtable_walk(table, va + 0x123456, &walk), "not found");
	ok_eq(walk.level, 2);
	ok_eq(walk.pfn, 512 + 0x123);
	ok(walk.entry & PTE_PS, "entry %#lx", walk.entry);
	ok(pgtable_walk(table, va - 1, &walk) && walk.level == 1 && walk.pfn == 511, "head: %#lx",
	   walk.entry);
	ok(pgtable_walk(table, va + HPAGE_SIZE, &walk) && walk.level == 1 && walk.pfn == 1024,
	   "tail: %#lx", walk.entry);
	pgtable_validate(table);
	ok_eq(pgtable_unmap(table, va - 4096, 2), -EINVAL); /* would cut it */
	ok_eq(pgtable_unmap(table, va + 4096, 511), -EINVAL);
	ok_eq(pgtable_unmap(table, va, 511), -EINVAL);
	ok_eq(table->nr_mapped, 516);
	ok_eq(pgtable_map(table, va + 4096, 7, 1, 0, true), -EEXIST);
	ok_eq(pgtable_unmap(table, va, 512), 0);
	ok_eq(pgtable_map(table, va, 1, 512, 0, true), 0); /* frames not aligned */
	ok(pgtable_walk(table, va, &walk) && walk.level == 1, "large leaf of unaligned frames");
	ok_eq(pgtable_unmap(table, va - 4096, 516), 0);
	ok_eq(table->nr_tables, 1);
	ok_eq(table->nr_mapped, 0);
	pgtable_destroy(table);
}

static void ranges_that_are_no_addresses_are_refused(void)
{
	struct pgtable *table = table_make(&pgtable_x86_64);
	struct pgtable *small = table_make(&pgtable_i386_pse);
	struct pgtable_walk walk;
	u64 top = 0x7ffffffff000, kernel = 0xffff800000000000;

	ok_eq(pgtable_map(table, 0x1000, 1, 0, 0, false), -EINVAL);
	ok_eq(pgtable_map(table, 0x1001, 1, 1, 0, false), -EINVAL);
	ok_eq(pgtable_map(table, 0x800000000000, 1, 1, 0, false), -EINVAL);
	ok_eq(pgtable_map(table, top, 1, 2, 0, false), -EINVAL);
	ok_eq(pgtable_map(table, top, 1, (kernel - top) / 4096 + 1, 0, false), -EINVAL);
	ok_eq(pgtable_map(table, 0xfffffffffffff000, 1, 2, 0, false), -EINVAL);
	ok_eq(pgtable_map(table, 0, 1, 1UL << 52, 0, false), -EINVAL);
	ok_eq(pgtable_map(table, 0, 1, ~0UL, 0, false), -EINVAL);
	ok_eq(pgtable_map(table, 0x1000, 1UL << 40, 1, 0, false), -EINVAL);
	ok_eq(pgtable_map(table, 0x1000, (1UL << 40) - 1, 2, 0, false), -EINVAL);
	ok_eq(pgtable_map(table, 0x1000, 1, 1, PTE_PS, false), -EINVAL);
	ok_eq(pgtable_map(table, 0x1000, 1, 1, 0x1000, false), -EINVAL);
	ok_eq(pgtable_unmap(table, 0x800000000000, 1), -EINVAL);
	ok_eq(pgtable_map(small, 0x100000000, 1, 1, 0, false), -EINVAL);
	ok_eq(pgtable_map(small, 0xfffff000, 1, 2, 0, false), -EINVAL);
	ok_eq(pgtable_map(small, 0x1000, 1, 1, PTE_NX, false), -EINVAL);
	ok(!pgtable_walk(table, 0x800000000000, &walk) && walk.level == 0, "level %u", walk.level);
	ok_eq(table->nr_tables + small->nr_tables, 2);

	/* The ends themselves are addresses. */
	ok_eq(pgtable_map(table, top, 1, 1, 0, false), 0);
	ok_eq(pgtable_map(table, kernel, 2, 1, 0, false), 0);
	ok_eq(pgtable_map(table, 0xfffffffffffff000, 3, 1, 0, false), 0);
	ok_eq(pgtable_map(small, 0xfffff000, 4, 1, 0, false), 0);
	ok(pgtable_walk(table, ~0UL, &walk) && walk.pfn == 3, "the last byte");
	ok(pgtable_walk(table, kernel, &walk) && walk.pfn == 2, "the first of the upper half");
	pgtable_validate(table);
	pgtable_destroy(table);
	pgtable_destroy(small);
}

static void formats_that_contradict_themselves_are_refused(void)
{
	struct pgtable_format format = pgtable_x86_64;
	struct pgtable *table;

	format.va_bits = 47;
	ok_eq(pgtable_create(&format, &table), -EINVAL);
	format = pgtable_x86_64;
	format.levels = 6;
	ok_eq(pgtable_create(&format, &table), -EINVAL);
	format = pgtable_flat;
	format.entry_bytes = 8; /* 8 MiB of table: larger than any block */
	ok_eq(pgtable_create(&format, &table), -EINVAL);
	ok(!table, "a table of a bad format");
	pgtable_destroy(NULL);
}

static void a_map_that_meets_another_is_undone(void)
{
	struct pgtable *table = table_make(&pgtable_x86_64);
	struct pgtable_walk walk;
	u64 va = 0x200000000 - 600 * 4096, taken;

	ok_eq(pgtable_map(table, va + 1199 * 4096, 99, 1, 0, false), 0);
	taken = table->nr_tables;
	ok_eq(pgtable_map(table, va, 5000, 1200, 0, false), -EEXIST);
	ok_eq(table->nr_tables, taken);
	ok_eq(table->nr_mapped, 1);
	for (u64 i = 0; i < 1199; i++)
		ok(!pgtable_walk(table, va + i * 4096, &walk), "page %lu is left", i);
	pgtable_validate(table);
	ok_eq(pgtable_map(table, va, 5000, 1199, 0, false), 0);
	pgtable_destroy(table);
}

/* A machine without free pages but n: a map needs three tables. */
static void a_map_without_memory_is_undone(void)
{
	struct pgtable *table = table_make(&pgtable_x86_64);
	struct page *head = NULL, *page, *kept[3];

	for (int spare = 0; spare < 3; spare++) {
		u64 nr_tables;

		for (int i = 0; i < spare; i++)
			kept[i] = alloc_pages(GFP_KERNEL, 0);
		while ((page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0))) {
			page->private = (unsigned long)head;
			head = page;
		}
		for (int i = 0; i < spare; i++)
			__free_pages(kept[i], 0);
		ok_eq(pgtable_map(table, 0x1000, 1, 1, 0, false), -ENOMEM);
		nr_tables = table->nr_tables;
		while ((page = head)) {
			head = (struct page *)page->private;
			__free_pages(page, 0);
		}
		ok_eq(nr_tables, 1);
		pgtable_validate(table);
	}
	ok_eq(pgtable_map(table, 0x1000, 1, 1, 0, false), 0);
	pgtable_destroy(table);
}

/*
 * Random operations in windows that lie across table borders, against a dictionary: pfn + 1 of
 * each page, 0 for none. In formats with larger leaves the windows are wide enough for some.
 */
#define WINDOW 3072

struct dictionary {
	u64 base, pfn[WINDOW], prot[WINDOW];
	bool large[WINDOW]; /* part of a larger leaf */
};

static u64 window_va(const struct pgtable_format *format, const struct dictionary *dict, u64 page)
{
	return dict->base + (page << format->page_shift);
}

static u64 large_span(const struct pgtable_format *format)
{
	return format->leaf_levels & 2 ? 1UL << format->index_bits[1] : 0;
}

/* Which pages a map with huge makes large: all aligned spans in it, if frames are aligned alike. */
static void dictionary_map(const struct pgtable_format *format, struct dictionary *dict, u64 page,
			   u64 nr, u64 pfn, u64 prot, bool huge)
{
	u64 span = large_span(format);

	for (u64 i = 0; i < nr; i++) {
		u64 vpn = (dict->base >> format->page_shift) + page + i;
		u64 start = span ? vpn & ~(span - 1) : 0;
		u64 first = (dict->base >> format->page_shift) + page;

		dict->pfn[page + i] = pfn + i + 1;
		dict->prot[page + i] = prot;
		dict->large[page + i] = huge && span && start >= first &&
					start + span <= first + nr &&
					!((pfn + start - first) & (span - 1));
	}
}

static bool dictionary_cut(const struct pgtable_format *format, const struct dictionary *dict,
			   u64 page, u64 nr)
{
	u64 span = large_span(format), vpn = (dict->base >> format->page_shift) + page;

	if (!span)
		return false;
	return (dict->large[page] && (vpn & (span - 1))) ||
	       (dict->large[page + nr - 1] && ((vpn + nr) & (span - 1)));
}

static void check_walks(const struct pgtable *table, const struct dictionary *dict)
{
	for (u64 page = 0; page < WINDOW; page++) {
		u64 va = window_va(table->format, dict, page) + page % 4096;
		struct pgtable_walk walk;
		bool present = pgtable_walk(table, va, &walk);

		ok(present == !!dict->pfn[page] && walk.pfn == dict->pfn[page] - present,
		   "%s %#lx: frame %#lx, should be %#lx", table->format->name, va, walk.pfn,
		   dict->pfn[page] - 1);
		ok(!present || (walk.level == 2) == dict->large[page], "%s %#lx: level %u",
		   table->format->name, va, walk.level);
		ok(!present || (walk.entry & ~table->format->addr_mask & ~PTE_PS) ==
				       (dict->prot[page] | PTE_PRESENT),
		   "%s %#lx: entry %#lx, bits should be %#lx", table->format->name, va, walk.entry,
		   dict->prot[page]);
	}
}

/* Part of the window, and what to do there; huge maps often of frames aligned like the address. */
struct operation {
	u64 page, nr, pfn, prot;
	bool huge;
};

static struct operation random_part(const struct pgtable_format *format,
				    const struct dictionary *dict, unsigned long *random)
{
	struct operation op = {.page = tap_random(random) % WINDOW};

	op.nr = 1 + tap_random(random) % (tap_random(random) % 4 ? 20 : WINDOW - op.page);
	op.nr = min_t(u64, op.nr, WINDOW - op.page);
	op.pfn = tap_random(random) % 100000;
	op.prot = tap_random(random) & (PTE_WRITE | PTE_USER | PTE_GLOBAL | PTE_PCD);
	op.huge = tap_random(random) % 2;
	if (tap_random(random) % 3 == 0)
		op.pfn = (op.pfn & ~0x3ffUL) +
			 (((dict->base >> format->page_shift) + op.page) & 0x3ff);
	return op;
}

static void map_part(struct pgtable *table, struct dictionary *dict, const struct operation *op)
{
	bool taken = false;
	int err;

	for (u64 i = 0; i < op->nr; i++)
		taken |= dict->pfn[op->page + i] != 0;
	err = pgtable_map(table, window_va(table->format, dict, op->page), op->pfn, op->nr,
			  op->prot, op->huge);
	ok(err == (taken ? -EEXIST : 0), "%s: map of %lu at %lu: %d", table->format->name, op->nr,
	   op->page, err);
	if (!err)
		dictionary_map(table->format, dict, op->page, op->nr, op->pfn, op->prot, op->huge);
}

static void unmap_part(struct pgtable *table, struct dictionary *dict, const struct operation *op)
{
	bool cut = dictionary_cut(table->format, dict, op->page, op->nr);
	int err = pgtable_unmap(table, window_va(table->format, dict, op->page), op->nr);

	ok(err == (cut ? -EINVAL : 0), "%s: unmap of %lu at %lu: %d", table->format->name, op->nr,
	   op->page, err);
	for (u64 i = 0; i < op->nr && !err; i++) {
		dict->pfn[op->page + i] = 0;
		dict->large[op->page + i] = false;
	}
}

static void protect_part(struct pgtable *table, struct dictionary *dict, const struct operation *op)
{
	bool cut = dictionary_cut(table->format, dict, op->page, op->nr);
	int err =
		pgtable_protect(table, window_va(table->format, dict, op->page), op->nr, op->prot);

	ok(err == (cut ? -EINVAL : 0), "%s: protect of %lu at %lu: %d", table->format->name, op->nr,
	   op->page, err);
	for (u64 i = 0; i < op->nr && !err; i++)
		dict->prot[op->page + i] = op->prot;
}

static void random_operation(struct pgtable *table, struct dictionary *dict, unsigned long *random)
{
	struct operation op = random_part(table->format, dict, random);
	u64 pick = tap_random(random) % 5;

	if (pick < 2)
		map_part(table, dict, &op);
	else if (pick < 4)
		unmap_part(table, dict, &op);
	else
		protect_part(table, dict, &op);
}

static void random_maps_unmaps_and_protects_agree_with_a_dictionary(void)
{
	unsigned long nr_ops = tap_ops(1500), random = tap_seed() | 1;
	static struct dictionary dict;
	u64 taken = pages_taken();

	for (size_t f = 0; f < PGTABLE_NR_FORMATS; f++) {
		const struct pgtable_format *format = pgtable_formats[f];
		struct pgtable *table = table_make(format);

		memset(&dict, 0, sizeof(dict));
		/* Across the middle of the space below the sign bit: a border of every level. */
		dict.base = (1UL << (format->va_bits - 2)) -
			    ((WINDOW / 2 + 100UL) << format->page_shift);
		for (unsigned long op = 0; op < nr_ops; op++) {
			random_operation(table, &dict, &random);
			if (op % 64 == 0) {
				check_walks(table, &dict);
				pgtable_validate(table);
			}
		}
		check_walks(table, &dict);
		pgtable_validate(table);
		pgtable_destroy(table);
		ok_eq(pages_taken(), taken);
	}
}

/*
 * One writer maps and unmaps pages that are far apart, so that tables of all levels come and go,
 * and become other memory full of what looks like entries. A walk beside it sees the page's own
 * frame or none.
 */
#define RACE_PAGES 8
#define RACE_BATCH 150 /* more than are on their way at once */

static bool walkers_stop;

static u64 race_va(u64 page)
{
	return page << 39 | page << 30 | page << 21 | page << 12;
}

static void *walk_beside(void *arg)
{
	struct pgtable *table = arg;
	struct pgtable_walk walk;

	struct pgtable_walk walks[RACE_BATCH];
	u64 va[RACE_BATCH];

	for (u64 i = 0; i < RACE_BATCH; i++)
		va[i] = race_va(i % RACE_PAGES);
	for (u64 page = 0; !READ_ONCE(walkers_stop); page = (page + 1) % RACE_PAGES) {
		if (pgtable_walk(table, race_va(page), &walk))
			ok(walk.pfn == page + 1000, "page %lu: frame %lu", page, walk.pfn);
		/* Of a page just mapped this marks all entries, beside the writer. */
		if (pgtable_access(table, race_va(page), X86_PF_WRITE, &walk))
			ok(walk.pfn == page + 1000, "page %lu: frame %lu", page, walk.pfn);
		pgtable_walk_batch(table, va, RACE_BATCH, walks);
		for (u64 i = 0; i < RACE_BATCH; i++)
			if (walks[i].present)
				ok(walks[i].pfn == i % RACE_PAGES + 1000, "page %lu: frame %lu",
				   i % RACE_PAGES, walks[i].pfn);
	}
	return NULL;
}

static void a_walk_beside_a_writer_sees_the_page_or_none(void)
{
	unsigned long nr_ops = tap_number("PGTABLE_RACE_OPS", 40000);
	struct pgtable *table = table_make(&pgtable_x86_64);
	struct page *others[3];
	pthread_t walker;

	for (u64 page = 0; page < RACE_PAGES; page++)
		ok_eq(pgtable_map(table, race_va(page), page + 1000, 1, PTE_WRITE, true), 0);
	walkers_stop = false;
	pthread_create(&walker, NULL, walk_beside, table);
	for (unsigned long op = 0; op < nr_ops; op++) {
		u64 page = op % RACE_PAGES;

		ok_eq(pgtable_unmap(table, race_va(page), 1), 0);
		for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
			others[i] = alloc_pages(GFP_KERNEL, 0);
			memset(page_address(others[i]), 0x7f, PAGE_SIZE);
		}
		ok_eq(pgtable_map(table, race_va(page), page + 1000, 1, PTE_WRITE, true), 0);
		for (size_t i = 0; i < ARRAY_SIZE(others); i++)
			__free_pages(others[i], 0);
	}
	WRITE_ONCE(walkers_stop, true);
	pthread_join(walker, NULL);
	ok_eq(table->nr_tables, 1 + 3 * RACE_PAGES);
	pgtable_validate(table);
	pgtable_destroy(table);
}

int main(void)
{
	machine = machine_boot(1, 64UL << 20, 0, ZONES_X86_64);
	RUN(a_mapped_page_is_found_and_its_neighbours_are_not);
	RUN(a_large_leaf_serves_where_all_is_aligned_and_only_there);
	RUN(ranges_that_are_no_addresses_are_refused);
	RUN(formats_that_contradict_themselves_are_refused);
	RUN(a_map_that_meets_another_is_undone);
	RUN(a_map_without_memory_is_undone);
	RUN(random_maps_unmaps_and_protects_agree_with_a_dictionary);
	RUN(a_walk_beside_a_writer_sees_the_page_or_none);
	machine_end(machine);
	return done();
}

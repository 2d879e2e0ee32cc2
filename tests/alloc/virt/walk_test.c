/* SPDX-License-Identifier: MIT */
/*
 * How addresses are cut into indices, with the classic exercises' numbers; and the specialised
 * walk against the generic one and against a walk transcribed from the processor's manual.
 *
 *	i386, 0xc0a81234:	1100000010 1010000001 001000110100
 *				directory 0x302, table 0x281, offset 0x234
 */
#include "machine.h"
#include "virt/walk.h"

static struct kmm *machine;

static void addresses_are_cut_as_the_exercises_say(void)
{
	ok_eq(pgtable_index(&pgtable_flat, 0xc0a81234, 1), 0xc0a81);
	ok_eq(pgtable_index(&pgtable_i386_pse, 0xc0a81234, 2), 0x302);
	ok_eq(pgtable_index(&pgtable_i386_pse, 0xc0a81234, 1), 0x281);
	/* 0x08048000, where programs began: directory 32, table 72. */
	ok_eq(pgtable_index(&pgtable_i386_pse, 0x08048000, 2), 32);
	ok_eq(pgtable_index(&pgtable_i386_pse, 0x08048000, 1), 72);
	/* The kernel's first page of its upper gigabyte: directory 768. */
	ok_eq(pgtable_index(&pgtable_i386_pse, 0xc0000000, 2), 768);
	ok_eq(pgtable_index(&pgtable_pae, 0xc0a81234, 3), 3);
	ok_eq(pgtable_index(&pgtable_pae, 0xc0a81234, 2), 5);
	ok_eq(pgtable_index(&pgtable_pae, 0xc0a81234, 1), 0x81);
	/* The last canonical page of the lower half: 255, 511, 511, 511; the direct map's start:
	 * 273, 0, 0, 0. */
	ok_eq(pgtable_index(&pgtable_x86_64, 0x7ffffffff000, 4), 255);
	ok_eq(pgtable_index(&pgtable_x86_64, 0x7ffffffff000, 3), 511);
	ok_eq(pgtable_index(&pgtable_x86_64, 0x7ffffffff000, 2), 511);
	ok_eq(pgtable_index(&pgtable_x86_64, 0x7ffffffff000, 1), 511);
	ok_eq(pgtable_index(&pgtable_x86_64, 0xffff888000000000, 4), 273);
	ok_eq(pgtable_index(&pgtable_x86_64, 0xffff888000000000, 3), 0);
	ok_eq(pgtable_index(&pgtable_la57, 0xff11000000000000, 5), 273);
	ok_eq(pgtable_index(&pgtable_three_level, 0x123456789abc, 3), 0x123456789abc >> 33 & 1023);
	ok_eq(pgtable_index(&pgtable_three_level, 0x123456789abc, 1), 0x123456789abc >> 13 & 1023);
}

static void entries_cover_what_the_manual_says(void)
{
	static const unsigned int shifts[] = {12, 21, 30, 39, 48};

	for (unsigned int level = 1; level <= 5; level++)
		ok_eq(pgtable_level_shift(&pgtable_la57, level), shifts[level - 1]);
	ok_eq(pgtable_level_shift(&pgtable_i386_pse, 2), 22);
	ok_eq(pgtable_level_shift(&pgtable_pae, 3), 30);
	ok_eq(pgtable_level_shift(&pgtable_three_level, 2), 23);
}

/* A flat table of 2^47 bytes takes 256 GiB; tables for one page take one table a level. */
static void tables_take_what_the_sums_say(void)
{
	const struct {
		const struct pgtable_format *format;
		u64 one_page_bytes;
	} sums[] = {{&pgtable_flat, 4UL << 20},	 {&pgtable_i386_pse, 8UL << 10},
		    {&pgtable_pae, 12UL << 10},	 {&pgtable_three_level, 24UL << 10},
		    {&pgtable_la57, 20UL << 10}, {&pgtable_x86_64, 16UL << 10}};
	struct pgtable *table;

	ok_eq((1UL << 47 >> PAGE_SHIFT) * 8, 256UL << 30);
	for (size_t i = 0; i < ARRAY_SIZE(sums); i++) {
		ok_eq(pgtable_create(sums[i].format, &table), 0);
		ok_eq(pgtable_map(table, 0x8000000, 7, 1, 0, false), 0);
		ok(table->nr_tables * PAGE_SIZE == sums[i].one_page_bytes, "%s: %lu bytes, not %lu",
		   sums[i].format->name, table->nr_tables * PAGE_SIZE, sums[i].one_page_bytes);
		pgtable_destroy(table);
	}
}

/* Intel SDM volume 3, 4.5.4, word for word: 4-level paging, 4 KiB and 2 MiB pages. */
static bool walk_by_the_manual(const struct pgtable *table, u64 va, u64 *pa)
{
	const u64 *pml4 = (const u64 *)table->root, *pdpt, *pd, *pt;
	u64 address_bits = 0x000ffffffffff000; /* 51:12 */

	if ((va >> 47) != 0 && (va >> 47) != 0x1ffff)
		return false;
	if (!(pml4[va >> 39 & 511] & 1))
		return false;
	pdpt = (const u64 *)(table->direct_map + (pml4[va >> 39 & 511] & address_bits));
	if (!(pdpt[va >> 30 & 511] & 1))
		return false;
	pd = (const u64 *)(table->direct_map + (pdpt[va >> 30 & 511] & address_bits));
	if (!(pd[va >> 21 & 511] & 1))
		return false;
	if (pd[va >> 21 & 511] & 1 << 7) {
		*pa = (pd[va >> 21 & 511] & 0x000fffffffe00000) | (va & 0x1fffff);
		return true;
	}
	pt = (const u64 *)(table->direct_map + (pd[va >> 21 & 511] & address_bits));
	if (!(pt[va >> 12 & 511] & 1))
		return false;
	*pa = (pt[va >> 12 & 511] & address_bits) | (va & 0xfff);
	return true;
}

/* An address near something mapped, or anywhere. */
static u64 random_address(unsigned long *random, const u64 *bases, unsigned int nr_bases)
{
	u64 pick = tap_random(random);

	if (pick % 8 == 0)
		return tap_random(random);
	return bases[pick / 8 % nr_bases] + tap_random(random) % (12UL << 20) - (2UL << 20);
}

static void all_walks_agree_on_random_addresses(void)
{
	unsigned long nr_ops = nr_operations("WALK_OPS", 300000), random = tap_seed() | 1;
	/* The same format by another address, so that pgtable_walk takes the generic way. */
	static const struct pgtable_format generic = PGTABLE_FORMAT_X86_64;
	struct pgtable *table, *twin;
	u64 bases[64], nr_found = 0;

	ok_eq(pgtable_create(&pgtable_x86_64, &table), 0);
	ok_eq(pgtable_create(&generic, &twin), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(bases); i++) {
		u64 base = tap_random(&random) << 21,
		    pfn = tap_random(&random) % (1UL << 40) & ~511UL;

		base = (u64)((s64)(base << 16) >> 16);
		bases[i] = base;
		ok_eq(pgtable_map(table, base, pfn, 1500, PTE_WRITE, i % 2),
		      pgtable_map(twin, base, pfn, 1500, PTE_WRITE, i % 2));
	}
	for (unsigned long op = 0; op < nr_ops; op++) {
		u64 va = random_address(&random, bases, ARRAY_SIZE(bases)), pa = 0;
		struct pgtable_walk walk, other;
		bool present = pgtable_walk(table, va, &walk);

		ok(present == walk_by_the_manual(table, va, &pa), "%#lx: present differs", va);
		ok(!present || walk.pfn == pa >> 12, "%#lx: frame %#lx, by the manual %#lx", va,
		   walk.pfn, pa >> 12);
		ok(pgtable_walk(twin, va, &other) == present && other.pfn == walk.pfn &&
			   other.level == walk.level && (!present || other.entry == walk.entry),
		   "%#lx: the generic walk says frame %#lx, level %u", va, other.pfn, other.level);
		nr_found += present;
	}
	ok(nr_found > nr_ops / 8, "only %lu of %lu addresses were mapped", nr_found, nr_ops);
	pgtable_destroy(table);
	pgtable_destroy(twin);
}

int main(void)
{
	machine = machine_boot(1, 64UL << 20, 0, ZONES_X86_64);
	RUN(addresses_are_cut_as_the_exercises_say);
	RUN(entries_cover_what_the_manual_says);
	RUN(tables_take_what_the_sums_say);
	RUN(all_walks_agree_on_random_addresses);
	machine_end(machine);
	return done();
}

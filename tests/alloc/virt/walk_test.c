/* SPDX-License-Identifier: MIT */
/*
 * How addresses are cut into indices, with the classic exercises' numbers. Whether walks are right
 * is oracle_test's and access_test's to say.
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

/* Tables for one page take one table a level. */
static void tables_take_what_the_sums_say(void)
{
	const struct {
		const struct pgtable_format *format;
		u64 one_page_bytes;
	} sums[] = {{&pgtable_flat, 4UL << 20},	 {&pgtable_i386_pse, 8UL << 10},
		    {&pgtable_pae, 12UL << 10},	 {&pgtable_three_level, 24UL << 10},
		    {&pgtable_la57, 20UL << 10}, {&pgtable_x86_64, 16UL << 10}};
	struct pgtable *table;

	for (size_t i = 0; i < ARRAY_SIZE(sums); i++) {
		ok_eq(pgtable_create(sums[i].format, &table), 0);
		ok_eq(pgtable_map(table, 0x8000000, 7, 1, 0, false), 0);
		ok(table->nr_tables * PAGE_SIZE == sums[i].one_page_bytes, "%s: %lu bytes, not %lu",
		   sums[i].format->name, table->nr_tables * PAGE_SIZE, sums[i].one_page_bytes);
		pgtable_destroy(table);
	}
}

int main(void)
{
	machine = machine_boot(1, 64UL << 20, 0, ZONES_X86_64);
	RUN(addresses_are_cut_as_the_exercises_say);
	RUN(entries_cover_what_the_manual_says);
	RUN(tables_take_what_the_sums_say);
	machine_end(machine);
	return done();
}

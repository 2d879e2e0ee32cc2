/* SPDX-License-Identifier: MIT */
/*
 * Accesses as the processor makes them, each rule of the manual by an example: rights of all levels
 * together, reserved bits, error codes, accessed and dirty bits.
 */
#include <errno.h>

#include "machine.h"
#include "raw.h"

#define VA    0x12346000UL
#define WRITE X86_PF_WRITE
#define USER  X86_PF_USER
#define INSTR X86_PF_INSTR
#define WP    PGTABLE_CR0_WP
#define SMEP  PGTABLE_CR4_SMEP

static struct kmm *machine;
static struct pgtable_walk walk; /* of the last access */

static struct pgtable *table_of(const struct pgtable_format *format, u64 prot)
{
	struct pgtable *table;

	if (pgtable_create(format, &table) || pgtable_map(table, VA, 0x42, 1, prot, false)) {
		printf("Bail out! no table of format %s\n", format->name);
		exit(1);
	}
	return table;
}

/* The error code, or -1 where the access goes through. */
static int fault(struct pgtable *table, u32 access)
{
	return pgtable_access(table, VA + 0x678, access, &walk) ? -1 : walk.fault;
}

static void the_leafs_rights_decide(void)
{
	static const struct {
		u64 prot;
		u32 access;
		int fault;
	} rules[] = {
		{0, 0, -1},
		{0, USER, 5},
		{0, WRITE, -1}, /* CR0.WP = 0 */
		{0, WRITE | WP, 3},
		{0, USER | WRITE, 7},
		{0, INSTR, -1},
		{0, INSTR | USER, 0x15},
		{PTE_NX, INSTR, 0x11},
		{PTE_NX, 0, -1},
		{PTE_WRITE, WRITE | WP, -1},
		{PTE_USER, USER, -1},
		{PTE_USER, USER | WRITE, 7}, /* WP is for the supervisor */
		{PTE_USER | PTE_WRITE, USER | WRITE, -1},
		{PTE_USER | PTE_NX, INSTR | USER, 0x15},
		{PTE_USER, INSTR | USER | SMEP, -1},
		{PTE_USER, INSTR, -1},
		{PTE_USER, INSTR | SMEP, 0x11},
		{PTE_USER, SMEP, -1},
		{0, INSTR | SMEP, -1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
		struct pgtable *table = table_of(&pgtable_x86_64, rules[i].prot);
		int code = fault(table, rules[i].access);

		ok(code == rules[i].fault, "rule %zu: code %#x, should be %#x", i, code,
		   rules[i].fault);
		ok(walk.present && walk.pfn == 0x42 && walk.level == 1, "rule %zu: frame %#lx", i,
		   walk.pfn);
		pgtable_destroy(table);
	}
}

static void what_is_not_there_faults_at_the_level_that_lacks_it(void)
{
	struct pgtable *table = table_of(&pgtable_la57, PTE_WRITE);

	for (unsigned int level = 1; level <= 5; level++) {
		u64 va = VA ^ 1UL << pgtable_level_shift(&pgtable_la57, level);

		ok(!pgtable_access(table, va, WRITE | USER | INSTR, &walk), "level %u goes through",
		   level);
		ok_eq(walk.level, level);
		ok_eq(walk.fault, 0x16);
		ok(!walk.present && !walk.pfn, "a frame of nothing");
		ok(!pgtable_access(table, va, 0, &walk), "level %u goes through", level);
		ok_eq(walk.fault, 0);
	}
	ok(!pgtable_access(table, 1UL << 56, 0, &walk) && !walk.level, "not canonical, level %u",
	   walk.level);
	ok(!pgtable_access(table, ~0UL << 57, 0, &walk) && !walk.level, "not canonical, level %u",
	   walk.level);
	ok(!pgtable_access(table, ~0UL << 56, 0, &walk) && walk.level == 5, "canonical, level %u",
	   walk.level);
	pgtable_destroy(table);
}

static void every_level_must_allow_it(void)
{
	struct pgtable *table = table_of(&pgtable_x86_64, PTE_WRITE | PTE_USER);

	for (unsigned int level = 1; level <= 4; level++) {
		raw_flip(table, VA, level, PTE_WRITE);
		ok_eq(fault(table, WRITE | WP), 3);
		ok_eq(fault(table, USER), -1);
		raw_flip(table, VA, level, PTE_WRITE | PTE_USER);
		ok_eq(fault(table, USER | WRITE), 7);
		ok_eq(fault(table, WRITE | WP), -1);
		ok_eq(fault(table, INSTR | SMEP),
		      -1); /* a supervisor's page, by one level's word */
		raw_flip(table, VA, level, PTE_USER | PTE_NX);
		ok_eq(fault(table, USER | INSTR), 0x15);
		ok_eq(fault(table, USER | WRITE), -1);
		raw_flip(table, VA, level, PTE_NX);
		ok_eq(fault(table, USER | INSTR), -1);
	}
	pgtable_destroy(table);
}

/* Every bit that is reserved in every format and level, each alone; and PS where it is ignored. */
static void a_reserved_bit_faults_at_its_level(void)
{
	for (int f = 0; f < PGTABLE_NR_FORMATS; f++) {
		struct pgtable *table = table_of(pgtable_formats[f], PTE_WRITE | PTE_USER);

		for (unsigned int level = table->format->levels; level; level--) {
			u64 bits = level > 1 ? table->format->reserved[level]
					     : table->format->leaf_reserved[1];

			for (unsigned int bit = 0; bit < 64; bit++) {
				if (!(bits >> bit & 1))
					continue;
				raw_flip(table, VA, level, 1UL << bit);
				ok(fault(table, USER) == 0xd && walk.level == level &&
					   !walk.present,
				   "%s: level %u, bit %u: code %#x at level %u",
				   table->format->name, level, bit, walk.fault, walk.level);
				ok_eq(fault(table, WRITE), 0xb);
				raw_flip(table, VA, level, 1UL << bit);
			}
			ok_eq(fault(table, USER), -1);
		}
		pgtable_destroy(table);
	}
}

static void large_leaves_have_reserved_bits_of_their_own(void)
{
	static const struct {
		const struct pgtable_format *format;
		unsigned int level, first, last;
	} bits[] = {{&pgtable_i386_pse, 2, 13, 21}, {&pgtable_i386_pse36, 2, 17, 21},
		    {&pgtable_pae, 2, 13, 20},	    {&pgtable_pae, 2, 52, 62},
		    {&pgtable_x86_64, 2, 13, 20},   {&pgtable_x86_64, 3, 13, 29},
		    {&pgtable_la57, 3, 13, 29}};
	struct pgtable *table;

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		unsigned int shift = pgtable_level_shift(bits[i].format, bits[i].level);
		u64 va = 1UL << shift, nr = 1UL << (shift - 12);

		ok_eq(pgtable_create(bits[i].format, &table), 0);
		ok_eq(pgtable_map(table, va, 0, nr, PTE_WRITE | PTE_GLOBAL, true), 0);
		for (unsigned int bit = bits[i].first; bit <= bits[i].last; bit++) {
			raw_flip(table, va, bits[i].level, 1UL << bit);
			ok(!pgtable_access(table, va, 0, &walk) && walk.fault == 9 &&
				   walk.level == bits[i].level,
			   "%s: bit %u", bits[i].format->name, bit);
			raw_flip(table, va, bits[i].level, 1UL << bit);
		}
		/* Bit 12 is PAT, of the cache and not of the address. */
		raw_flip(table, va, bits[i].level, 1UL << 12);
		ok(pgtable_access(table, va + 0x5678, 0, &walk) && walk.pfn == 5 &&
			   walk.level == bits[i].level,
		   "%s: PAT: frame %#lx", bits[i].format->name, walk.pfn);
		raw_flip(table, va, bits[i].level, 1UL << 12);
		pgtable_destroy(table);
	}
}

static void ps_is_ignored_where_there_are_no_large_pages(void)
{
	struct pgtable *table = table_of(&pgtable_i386, PTE_WRITE);

	raw_flip(table, VA, 2, PTE_PS);
	ok_eq(fault(table, WRITE), -1);
	ok_eq(walk.level, 1);
	raw_flip(table, VA, 2, PTE_PS);
	raw_flip(table, VA, 1, PTE_PS); /* of a small leaf that bit is PAT */
	ok_eq(fault(table, 0), -1);
	ok_eq(walk.pfn, 0x42);
	raw_flip(table, VA, 1, PTE_PS);
	pgtable_destroy(table);
}

static void fetches_are_told_apart_only_where_the_processor_can(void)
{
	struct pgtable *table = table_of(&pgtable_i386, 0);

	ok_eq(fault(table, INSTR | USER), 5);
	ok_eq(fault(table, INSTR | USER | SMEP), 0x15);
	ok_eq(fault(table, INSTR), -1);
	pgtable_destroy(table);
}

static u64 marks(const struct pgtable *table, unsigned int level)
{
	return raw_get(table, raw_entry(table, VA, level)) & (PTE_ACCESSED | PTE_DIRTY);
}

static void an_access_marks_what_it_used(void)
{
	for (int f = 0; f < PGTABLE_NR_FORMATS; f++) {
		struct pgtable *table = table_of(pgtable_formats[f], 0);
		unsigned int levels = table->format->levels;

		ok(fault(table, USER) == 5 && fault(table, WRITE | WP) == 3, "refused");
		for (unsigned int level = 1; level <= levels; level++)
			ok(!marks(table, level), "%s: a refused access marked level %u",
			   table->format->name, level);
		ok_eq(fault(table, 0), -1);
		for (unsigned int level = 1; level <= levels; level++) {
			bool bare = table->format->bare_levels >> (level - 1) & 1;

			ok(marks(table, level) == (bare ? 0 : PTE_ACCESSED), "%s: level %u: %#lx",
			   table->format->name, level, marks(table, level));
		}
		ok_eq(fault(table, WRITE), -1);
		ok_eq(marks(table, 1), PTE_ACCESSED | PTE_DIRTY);
		for (unsigned int level = 2; level <= levels; level++)
			ok(!(marks(table, level) & PTE_DIRTY), "a dirty table");
		pgtable_validate(table);
		pgtable_destroy(table);
	}
}

static void the_root_of_pae_has_no_rights(void)
{
	struct pgtable *table = table_of(&pgtable_pae, PTE_WRITE | PTE_USER);

	ok_eq(raw_get(table, raw_entry(table, VA, 3)) & 0xfff, PTE_PRESENT);
	ok_eq(fault(table, USER | WRITE), -1);
	pgtable_destroy(table);
}

static void bits_that_are_the_caches_business_stay(void)
{
	u64 prot = PTE_WRITE | PTE_PWT | PTE_PCD | PTE_GLOBAL | 7UL << 9;
	struct pgtable *table = table_of(&pgtable_x86_64, prot);

	ok_eq(fault(table, WRITE), -1);
	ok_eq(raw_get(table, raw_entry(table, VA, 1)),
	      0x42UL << 12 | prot | PTE_PRESENT | PTE_ACCESSED | PTE_DIRTY);
	pgtable_destroy(table);
}

int main(void)
{
	machine = machine_boot(1, 64UL << 20, 0, ZONES_X86_64);
	RUN(the_leafs_rights_decide);
	RUN(what_is_not_there_faults_at_the_level_that_lacks_it);
	RUN(every_level_must_allow_it);
	RUN(a_reserved_bit_faults_at_its_level);
	RUN(large_leaves_have_reserved_bits_of_their_own);
	RUN(ps_is_ignored_where_there_are_no_large_pages);
	RUN(fetches_are_told_apart_only_where_the_processor_can);
	RUN(an_access_marks_what_it_used);
	RUN(the_root_of_pae_has_no_rights);
	RUN(bits_that_are_the_caches_business_stay);
	machine_end(machine);
	return done();
}

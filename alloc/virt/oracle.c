/* SPDX-License-Identifier: MIT */
/*
 * The walk by the manual: Intel SDM volume 3, chapter 4, section by section, in its words (PDE,
 * PDPTE, "bit 7 (PS)"), one paging mode a function. Nothing is shared with walk.h, no descriptor of
 * a format is read but for the textbooks' formats, and nothing is made fast at the cost of its being
 * read beside the manual.
 *
 * Where the manual leaves room: a walk that faults sets no accessed flag; PDPTEs of PAE paging are
 * read from memory at each walk, and a reserved bit in one is a page fault.
 */
#include "base/machine.h"
#include "virt/oracle.h"

enum outcome { NOT_PRESENT, RESERVED_BIT, TRANSLATED };

struct translation {
	const struct pgtable *table;
	const char *memory; /* physical address 0 */
	/* 4.6.1: flags that every entry that controls the translation has, and that any has. */
	u64 in_all, in_any;
	void *used[PGTABLE_MAX_LEVELS]; /* entries with an accessed flag, the last being the leaf */
	int nr_used;
	int level;    /* of the last entry read, */
	u64 entry;    /* and it */
	u64 physical; /* the address that comes out */
};

static const void *physical_memory(const struct translation *t, u64 address)
{
	return t->memory + address;
}

/* The entry becomes part of the translation. */
static void use_entry(struct translation *t, const void *entry, u64 value)
{
	t->in_all &= value;
	t->in_any |= value;
	t->used[t->nr_used++] = (void *)(uintptr_t)entry;
}

static enum outcome ended_at(struct translation *t, int level, u64 entry, enum outcome outcome)
{
	t->level = level;
	t->entry = entry;
	return outcome;
}

/* 4.3, 32-bit paging. */
static enum outcome walk_32_bit(struct translation *t, u32 linear, bool cr4_pse, bool pse36)
{
	const u32 *page_directory = (const u32 *)t->table->root, *page_table;
	const u32 *pde_at = &page_directory[linear >> 22], *pte_at;
	u32 pde = *pde_at, pte;

	if (!(pde & 1))
		return ended_at(t, 2, pde, NOT_PRESENT);
	if (cr4_pse && (pde & 0x80)) {
		/* Bits 21:13 are reserved, or with PSE-36 bits 21:17, and 16:13 are address. */
		if (pde & (pse36 ? 0x3e0000 : 0x3fe000))
			return ended_at(t, 2, pde, RESERVED_BIT);
		use_entry(t, pde_at, pde);
		t->physical = (pde & 0xffc00000) | (linear & 0x003fffff);
		if (pse36)
			t->physical |= (u64)(pde >> 13 & 0xf) << 32;
		return ended_at(t, 2, pde, TRANSLATED);
	}
	use_entry(t, pde_at, pde);
	page_table = physical_memory(t, pde & 0xfffff000);
	pte_at = &page_table[linear >> 12 & 0x3ff];
	pte = *pte_at;
	if (!(pte & 1))
		return ended_at(t, 1, pte, NOT_PRESENT);
	use_entry(t, pte_at, pte);
	t->physical = (pte & 0xfffff000) | (linear & 0x00000fff);
	return ended_at(t, 1, pte, TRANSLATED);
}

/* 4.4, PAE paging, MAXPHYADDR 52. */
static enum outcome walk_pae(struct translation *t, u32 linear)
{
	const u64 *pdpt = (const u64 *)t->table->root, *page_directory, *page_table;
	u64 pdpte = pdpt[linear >> 30], pde, pte;

	if (!(pdpte & 1))
		return ended_at(t, 3, pdpte, NOT_PRESENT);
	/* Table 4-8: bits 2:1, 8:5 and 63:MAXPHYADDR. No flag of it controls a translation. */
	if (pdpte & 0xfff00000000001e6)
		return ended_at(t, 3, pdpte, RESERVED_BIT);
	page_directory = physical_memory(t, pdpte & 0x000ffffffffff000);
	pde = page_directory[linear >> 21 & 0x1ff];
	if (!(pde & 1))
		return ended_at(t, 2, pde, NOT_PRESENT);
	if (pde & 0x7ff0000000000000)
		return ended_at(t, 2, pde, RESERVED_BIT);
	use_entry(t, &page_directory[linear >> 21 & 0x1ff], pde);
	if (pde & 0x80) {
		if (pde & 0x1fe000) /* 20:13 */
			return ended_at(t, 2, pde, RESERVED_BIT);
		t->physical = (pde & 0x000fffffffe00000) | (linear & 0x1fffff);
		return ended_at(t, 2, pde, TRANSLATED);
	}
	page_table = physical_memory(t, pde & 0x000ffffffffff000);
	pte = page_table[linear >> 12 & 0x1ff];
	if (!(pte & 1))
		return ended_at(t, 1, pte, NOT_PRESENT);
	if (pte & 0x7ff0000000000000)
		return ended_at(t, 1, pte, RESERVED_BIT);
	use_entry(t, &page_table[linear >> 12 & 0x1ff], pte);
	t->physical = (pte & 0x000ffffffffff000) | (linear & 0xfff);
	return ended_at(t, 1, pte, TRANSLATED);
}

/* 4.5, 4-level and 5-level paging. Written once, compiled for each. */
static inline __attribute__((always_inline)) enum outcome
walk_4_or_5_level(struct translation *t, u64 linear, bool cr4_la57)
{
	const u64 *pml4 = (const u64 *)t->table->root, *pdpt, *page_directory, *page_table;
	u64 pml4e, pdpte, pde, pte;

	if (cr4_la57) {
		const u64 *pml5 = pml4;
		u64 pml5e = pml5[linear >> 48 & 0x1ff];

		if (!(pml5e & 1))
			return ended_at(t, 5, pml5e, NOT_PRESENT);
		if (pml5e & 0x80)
			return ended_at(t, 5, pml5e, RESERVED_BIT);
		use_entry(t, &pml5[linear >> 48 & 0x1ff], pml5e);
		pml4 = physical_memory(t, pml5e & 0x000ffffffffff000);
	}
	pml4e = pml4[linear >> 39 & 0x1ff];
	if (!(pml4e & 1))
		return ended_at(t, 4, pml4e, NOT_PRESENT);
	if (pml4e & 0x80)
		return ended_at(t, 4, pml4e, RESERVED_BIT);
	use_entry(t, &pml4[linear >> 39 & 0x1ff], pml4e);
	pdpt = physical_memory(t, pml4e & 0x000ffffffffff000);
	pdpte = pdpt[linear >> 30 & 0x1ff];
	if (!(pdpte & 1))
		return ended_at(t, 3, pdpte, NOT_PRESENT);
	use_entry(t, &pdpt[linear >> 30 & 0x1ff], pdpte);
	if (pdpte & 0x80) {
		if (pdpte & 0x3fffe000) /* 29:13 */
			return ended_at(t, 3, pdpte, RESERVED_BIT);
		t->physical = (pdpte & 0x000fffffc0000000) | (linear & 0x3fffffff);
		return ended_at(t, 3, pdpte, TRANSLATED);
	}
	page_directory = physical_memory(t, pdpte & 0x000ffffffffff000);
	pde = page_directory[linear >> 21 & 0x1ff];
	if (!(pde & 1))
		return ended_at(t, 2, pde, NOT_PRESENT);
	use_entry(t, &page_directory[linear >> 21 & 0x1ff], pde);
	if (pde & 0x80) {
		if (pde & 0x1fe000) /* 20:13 */
			return ended_at(t, 2, pde, RESERVED_BIT);
		t->physical = (pde & 0x000fffffffe00000) | (linear & 0x1fffff);
		return ended_at(t, 2, pde, TRANSLATED);
	}
	page_table = physical_memory(t, pde & 0x000ffffffffff000);
	pte = page_table[linear >> 12 & 0x1ff];
	if (!(pte & 1))
		return ended_at(t, 1, pte, NOT_PRESENT);
	use_entry(t, &page_table[linear >> 12 & 0x1ff], pte);
	t->physical = (pte & 0x000ffffffffff000) | (linear & 0xfff);
	return ended_at(t, 1, pte, TRANSLATED);
}

/* A textbook's: level by level, the address cut from its top, one size of page. Of the bits below
 * the frame's address, those above bit 11 are reserved. */
static enum outcome walk_textbook(struct translation *t, u64 linear)
{
	const struct pgtable_format *format = t->table->format;
	const char *entries = t->table->root;
	int shift = format->va_bits, level = format->levels;
	u64 low_bits = (1UL << format->page_shift) - 1;

	for (;; level--) {
		const char *at;
		u64 entry, address;

		shift -= format->index_bits[level];
		at = entries +
		     (linear >> shift) % (1UL << format->index_bits[level]) * format->entry_bytes;
		entry = format->entry_bytes == 4 ? *(const u32 *)at : *(const u64 *)at;
		if (!(entry & 1))
			return ended_at(t, level, entry, NOT_PRESENT);
		if (entry & low_bits & ~0xfffUL)
			return ended_at(t, level, entry, RESERVED_BIT);
		use_entry(t, at, entry);
		address = entry & 0x000fffffffffffff & ~low_bits;
		if (level == 1) {
			t->physical = address | (linear & low_bits);
			return ended_at(t, level, entry, TRANSLATED);
		}
		entries = physical_memory(t, address);
	}
}

/* Volume 1, 3.3.7.1: bits above the most significant that is implemented are all its copies. */
static bool is_canonical(u64 linear, int bits)
{
	s64 upper = (s64)linear >> (bits - 1);

	return upper == 0 || upper == -1;
}

/* False: no address of the mode; nothing is done. */
static inline __attribute__((always_inline)) bool walk_by_mode(struct translation *t, u64 linear,
							       enum outcome *outcome)
{
	const struct pgtable_format *mode = t->table->format;

	if (mode == &pgtable_x86_64) {
		if (!is_canonical(linear, 48))
			return false;
		*outcome = walk_4_or_5_level(t, linear, false);
		return true;
	}
	if (mode == &pgtable_la57) {
		if (!is_canonical(linear, 57))
			return false;
		*outcome = walk_4_or_5_level(t, linear, true);
		return true;
	}
	if (mode->canonical ? !is_canonical(linear, mode->va_bits) : linear >> mode->va_bits != 0)
		return false;
	if (mode == &pgtable_i386)
		*outcome = walk_32_bit(t, (u32)linear, false, false);
	else if (mode == &pgtable_i386_pse)
		*outcome = walk_32_bit(t, (u32)linear, true, false);
	else if (mode == &pgtable_i386_pse36)
		*outcome = walk_32_bit(t, (u32)linear, true, true);
	else if (mode == &pgtable_pae)
		*outcome = walk_pae(t, (u32)linear);
	else
		*outcome = walk_textbook(t, linear);
	return true;
}

/* 4.6.1, determination of access rights. EFER.NXE is 1 where entries have a bit 63, which the
 * others never show set. */
static bool may_access(const struct translation *t, u32 access)
{
	bool write = access & X86_PF_WRITE, fetch = access & X86_PF_INSTR;
	bool user_mode_address = t->in_all & 1 << 2, writable = t->in_all & 1 << 1;
	bool executable = !(t->in_any >> 63);

	if (!(access & X86_PF_USER)) { /* supervisor-mode accesses */
		if (write)
			return writable || !(access & PGTABLE_CR0_WP);
		if (fetch && user_mode_address && (access & PGTABLE_CR4_SMEP))
			return false;
		return !fetch || executable;
	}
	if (!user_mode_address)
		return false;
	if (write)
		return writable;
	return !fetch || executable;
}

/* 4.7, figure 4-12. */
static u8 error_code(const struct translation *t, u32 access, enum outcome outcome)
{
	bool nxe = t->table->format->entry_bytes == 8;
	u8 code = 0;

	if (outcome != NOT_PRESENT)
		code |= 1 << 0; /* P */
	if (access & X86_PF_WRITE)
		code |= 1 << 1; /* W/R */
	if (access & X86_PF_USER)
		code |= 1 << 2; /* U/S */
	if (outcome == RESERVED_BIT)
		code |= 1 << 3; /* RSVD */
	if ((access & X86_PF_INSTR) && (nxe || (access & PGTABLE_CR4_SMEP)))
		code |= 1 << 4; /* I/D */
	return code;
}

static void set_in_entry(const struct translation *t, void *at, u32 flags)
{
	u32 *entry_32 = at;
	u64 *entry_64 = at;

	if (t->table->format->entry_bytes == 4)
		*entry_32 |= flags;
	else
		*entry_64 |= flags;
}

/* 4.8, accessed and dirty flags. */
static void set_flags(const struct translation *t, bool write)
{
	/* Most often there is nothing to set. */
	if ((t->in_all & 1 << 5) && (!write || (t->entry & 1 << 6)))
		return;
	for (int i = 0; i < t->nr_used; i++) {
		u32 flags = 1 << 5;

		if (write && i == t->nr_used - 1)
			flags |= 1 << 6;
		set_in_entry(t, t->used[i], flags);
	}
}

bool pgtable_oracle(struct pgtable *table, u64 va, u32 access, struct pgtable_walk *walk)
{
	struct translation t = {
		.table = table,
		.memory = table->machine->direct_map,
		.in_all = ~0UL,
	};
	enum outcome outcome;

	if (!walk_by_mode(&t, va, &outcome)) {
		*walk = (struct pgtable_walk){0};
		return false;
	}
	if (outcome != TRANSLATED) {
		*walk = (struct pgtable_walk){.entry = t.entry, .level = (u8)t.level};
	} else {
		*walk = (struct pgtable_walk){
			.entry = t.entry,
			.pfn = t.physical >> table->format->page_shift,
			.level = (u8)t.level,
			.present = true,
		};
		if (may_access(&t, access)) {
			set_flags(&t, access & X86_PF_WRITE);
			return true;
		}
	}
	walk->fault = error_code(&t, access, outcome);
	return false;
}

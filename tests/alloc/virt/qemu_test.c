/* SPDX-License-Identifier: MIT */
/*
 * The processor's own formats against another's reading of them: tables that kmm has made, changed
 * at random, lie in the memory of a QEMU whose processor has their root in CR3 and the paging mode
 * on, and its monitor says what they map:
 *
 *	info tlb	each leaf: address, frame, and NX G PS D A PCD PWT U/S R/W of its entry
 *	info mem	runs of pages of the same rights, those of all levels together
 *	gva2gpa		one address, PSE-36 and addresses that are none included
 *
 * Each must be what kmm's walks say, and neither may know a page that the other does not. And what
 * the processor marked as accessed when it fetched its last instruction must be what pgtable_access
 * marks.
 */
#include "machine.h"
#include "qemu.h"
#include "raw.h"

#define MEMORY_BYTES (64UL << 20)
#define NR_BASES     4
#define FIRST_PFN    256 /* below 1 MiB a PC has more than memory */

#define CR0_ON	 0x80000011 /* PG, ET, PE */
#define CR4_PSE	 (1U << 4)
#define CR4_PAE	 (1U << 5)
#define CR4_LA57 (1U << 12)
#define EFER_LME (1U << 8)
#define EFER_NXE (1U << 11)

static struct kmm *machine;

struct life {
	struct qemu qemu;
	struct pgtable *table;
	u64 bases[NR_BASES];
	unsigned long random;
	u64 nr_leaves; /* counted */
	u64 nr_lines, nr_large, nr_pages, nr_asked;
};

static u64 any(struct life *life)
{
	return tap_random(&life->random);
}

static u64 address_of(const struct pgtable_format *format, u64 bits)
{
	unsigned int unused = 64U - format->va_bits;

	if (format->canonical)
		return (u64)((s64)(bits << unused) >> unused);
	return bits << unused >> unused;
}

/* All of the address space: an end of it, and where it has two halves the other. */
static void walk_all(struct life *life, int (*visit)(const struct pgtable_entry *entry, void *arg))
{
	const struct pgtable_format *format = life->table->format;
	unsigned int bits = format->va_bits - format->canonical;
	u64 nr_pages = 1UL << (bits - format->page_shift);

	ok_eq(pgtable_walk_range(life->table, 0, nr_pages, visit, life), 0);
	if (format->canonical)
		ok_eq(pgtable_walk_range(life->table, ~0UL << bits, nr_pages, visit, life), 0);
}

/* A table to where the entries say that it is. */
static void copy_table(struct life *life, u64 pfn)
{
	ok(pfn >= FIRST_PFN && pfn < MEMORY_BYTES >> PAGE_SHIFT, "a table is frame %#lx", pfn);
	if (pfn >= FIRST_PFN && pfn < MEMORY_BYTES >> PAGE_SHIFT)
		memcpy(life->qemu.memory + (pfn << PAGE_SHIFT),
		       life->table->direct_map + (pfn << PAGE_SHIFT), PAGE_SIZE);
}

static u64 root_pfn(const struct life *life)
{
	return (u64)(life->table->root - life->table->direct_map) >> PAGE_SHIFT;
}

static int copy_entry(const struct pgtable_entry *entry, void *arg)
{
	struct life *life = arg;

	if (entry->leaf)
		life->nr_leaves++;
	else
		copy_table(life, entry->pfn);
	return 0;
}

static void copy_tables(struct life *life)
{
	life->nr_leaves = 0;
	copy_table(life, root_pfn(life));
	walk_all(life, copy_entry);
}

static int same_table(const struct pgtable_entry *entry, void *arg)
{
	const struct life *life = arg;
	u64 at = entry->pfn << PAGE_SHIFT;

	if (!entry->leaf)
		ok(!memcmp(life->qemu.memory + at, life->table->direct_map + at, PAGE_SIZE),
		   "level %u's table of %#lx is not as QEMU's processor left it", entry->level - 1U,
		   entry->va);
	return 0;
}

static struct qemu_registers registers_for(const struct life *life)
{
	const struct pgtable_format *format = life->table->format;
	struct qemu_registers registers = {.cr0 = CR0_ON,
					   .cr3 = (u32)(root_pfn(life) << PAGE_SHIFT)};

	if (format == &pgtable_i386_pse || format == &pgtable_i386_pse36)
		registers.cr4 = CR4_PSE;
	if (format->entry_bytes == 8) {
		registers.cr4 = CR4_PAE;
		registers.efer = EFER_NXE;
	}
	if (format->levels >= 4)
		registers.efer |= EFER_LME;
	if (format->levels == 5)
		registers.cr4 |= CR4_LA57;
	return registers;
}

/* Starts QEMU with the page that it runs in mapped, and lets it halt there. */
static bool life_begin(struct life *life, const struct pgtable_format *format)
{
	struct qemu_registers registers;
	struct pgtable_walk walk;

	ok_eq(pgtable_create(format, &life->table), 0);
	ok_eq(pgtable_map(life->table, QEMU_BOOT_VA, QEMU_BOOT_VA >> PAGE_SHIFT, 1, 0, false), 0);
	for (int i = 0; i < NR_BASES; i++)
		life->bases[i] = address_of(format, any(life)) & ~((16UL << 20) - 1);
	registers = registers_for(life);
	if (!qemu_start(&life->qemu, MEMORY_BYTES, &registers))
		return false;
	copy_tables(life);
	if (!qemu_run(&life->qemu, &registers))
		return false;
	ok(pgtable_access(life->table, QEMU_BOOT_VA, X86_PF_INSTR, &walk), "not executable");
	walk_all(life, same_table);
	return true;
}

static void life_end(struct life *life)
{
	ok(!life->qemu.why[0], "%s: %s", life->table->format->name, life->qemu.why);
	qemu_stop(&life->qemu);
	pgtable_validate(life->table);
	pgtable_destroy(life->table);
}

static u64 random_va(struct life *life)
{
	return life->bases[any(life) % NR_BASES] + any(life) % (16UL << 20);
}

/* Below 1 TiB, which is all that QEMU's processor has; PSE-36 has large leaves alone above 4 GiB. */
static u64 random_pfn(struct life *life)
{
	const struct pgtable_format *format = life->table->format;
	unsigned int bits = format->entry_bytes == 8 ? 40 : 32;

	if (any(life) % 2)
		bits += format->high_bits;
	return any(life) % (1UL << (bits - PAGE_SHIFT));
}

/* Map, unmap or protect a few pages or many, aligned as large leaves want it or not. */
static void change(struct life *life)
{
	const struct pgtable_format *format = life->table->format;
	u64 va = random_va(life) & ~(PAGE_SIZE - 1), pfn = random_pfn(life);
	u64 nr = 1 + any(life) % (any(life) % 4 ? 30 : 500);
	u64 prot = any(life) & (PTE_WRITE | PTE_USER | PTE_PWT | PTE_PCD | PTE_GLOBAL);

	if (format->nx && any(life) % 2)
		prot |= PTE_NX;
	if (format->leaf_levels > 1 && any(life) % 4 == 0) {
		va &= ~((4UL << 20) - 1);
		pfn &= ~1023UL;
		nr = 1024;
		if ((format->leaf_levels & 4) && any(life) % 8 == 0) {
			va &= ~((1UL << 30) - 1);
			pfn &= ~((1UL << 18) - 1);
			nr = 1UL << 18;
		}
	}
	switch (any(life) % 5) {
	case 0:
		pgtable_unmap(life->table, va, nr);
		break;
	case 1:
		pgtable_protect(life->table, va, nr, prot);
		break;
	default:
		pgtable_map(life->table, va, pfn, nr, prot, true);
	}
}

/* Some pages' accessed and dirty bits. */
static void access_some(struct life *life)
{
	struct pgtable_walk walk;

	for (int i = 0; i < 64; i++)
		pgtable_access(life->table, random_va(life), any(life) & X86_PF_WRITE, &walk);
}

/* An entry's bits as "info tlb" writes them. */
static void bits_text(u64 entry, char text[10])
{
	static const struct {
		u64 bit;
		char letter;
	} bits[] = {{PTE_NX, 'X'},    {PTE_GLOBAL, 'G'},   {PTE_PS, 'P'},
		    {PTE_DIRTY, 'D'}, {PTE_ACCESSED, 'A'}, {PTE_PCD, 'C'},
		    {PTE_PWT, 'T'},   {PTE_USER, 'U'},	   {PTE_WRITE, 'W'}};

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		text[i] = entry & bits[i].bit ? bits[i].letter : '-';
	text[ARRAY_SIZE(bits)] = '\0';
}

/* One line "ADDRESS: FRAME'S-ADDRESS BITS". */
static void same_leaf(struct life *life, char *line)
{
	const struct pgtable_format *format = life->table->format;
	struct pgtable_walk walk;
	char *end, bits[10];
	u64 va = strtoull(line, &end, 16), address;

	if (strncmp(end, ": ", 2)) {
		ok(false, "%s: QEMU says %s", format->name, line);
		return;
	}
	address = strtoull(end + 2, &end, 16);
	ok(pgtable_walk(life->table, va, &walk), "%s %#lx: only QEMU has it", format->name, va);
	bits_text(walk.entry, bits);
	/* It shows NX in the address too, and PSE-36's high bits in none. */
	ok((address & format->addr_mask) == (walk.pfn << PAGE_SHIFT & format->addr_mask) &&
		   *end == ' ' && !strcmp(end + 1, bits),
	   "%s %#lx: %#lx %s; QEMU: %s", format->name, va, walk.pfn << PAGE_SHIFT, bits, line);
	life->nr_lines++;
	life->nr_large += walk.level > 1;
}

/* Calls check for each line; how many there were. */
static u64 each_line(struct life *life, char *text, void (*check)(struct life *life, char *line))
{
	u64 nr = 0;
	char *line;

	while ((line = strsep(&text, "\n")))
		if (*line) {
			check(life, line);
			nr++;
		}
	return nr;
}

static bool same_leaves(struct life *life)
{
	char *text = qemu_ask(&life->qemu, "info tlb");
	u64 nr;

	if (!text)
		return false;
	nr = each_line(life, text, same_leaf);
	ok(nr == life->nr_leaves, "%s: %lu leaves; QEMU has %lu", life->table->format->name,
	   life->nr_leaves, nr);
	return true;
}

/* One line "START-END LENGTH urw"; END may be no address, so it is not looked at. */
static void same_rights(struct life *life, char *line)
{
	const struct pgtable_format *format = life->table->format;
	char *end;
	u64 va = strtoull(line, &end, 16), length = 0;

	if (*end == '-')
		strtoull(end + 1, &end, 16);
	length = strtoull(end, &end, 16);
	ok(length && strlen(end) == 4, "%s: QEMU says %s", format->name, line);
	for (u64 last = va + (length - 1), covers; length && va <= last; va += covers) {
		struct pgtable_walk walk;
		char rights[5] = " -r-";

		/* Before the accesses, whose result is no level's that is refused. */
		if (!pgtable_walk(life->table, va, &walk)) {
			ok(false, "%s %#lx: only QEMU has it", format->name, va);
			return;
		}
		covers = 1UL << pgtable_level_shift(format, walk.level);
		if (pgtable_access(life->table, va, X86_PF_USER, &walk))
			rights[1] = 'u';
		if (pgtable_access(life->table, va, X86_PF_WRITE | PGTABLE_CR0_WP, &walk))
			rights[3] = 'w';
		ok(!strcmp(rights, end), "%s %#lx:%s; QEMU: %s", format->name, va, rights, line);
		life->nr_pages += covers >> PAGE_SHIFT;
		if (va + covers < va)
			break;
	}
}

/* Turn rights of some tables round, so that not the leaf alone decides. */
static void spoil_rights(struct life *life)
{
	const struct pgtable_format *format = life->table->format;

	for (int i = 0; i < 16; i++) {
		unsigned int level = 2 + any(life) % 4;
		u64 va = random_va(life);
		void *at;

		if (level > format->levels || (format->bare_levels >> (level - 1) & 1))
			continue;
		at = raw_entry(life->table, va, level);
		if (at && (raw_get(life->table, at) & PTE_PRESENT))
			raw_flip(life->table, va, level, any(life) & (PTE_USER | PTE_WRITE));
	}
}

/* Ask for single addresses, those that are none included. */
static bool same_addresses(struct life *life, unsigned int nr)
{
	const struct pgtable_format *format = life->table->format;

	for (unsigned int i = 0; i < nr; i++) {
		struct pgtable_walk walk;
		char command[64], wanted[64];
		const char *text;
		u64 va = random_va(life);

		if (i % 16 == 0 && format->canonical)
			va = any(life);
		snprintf(command, sizeof(command), "gva2gpa %#lx", va);
		text = qemu_ask(&life->qemu, command);
		if (!text)
			return false;
		snprintf(wanted, sizeof(wanted), "Unmapped\n");
		if (pgtable_walk(life->table, va, &walk))
			snprintf(wanted, sizeof(wanted), "gpa: %#lx\n",
				 walk.pfn << PAGE_SHIFT | (va & (PAGE_SIZE - 1)));
		ok(!strcmp(text, wanted), "%s %#lx: %s; QEMU: %s", format->name, va, wanted, text);
		life->nr_asked++;
	}
	return true;
}

/* Of five levels it knows nothing: up to QEMU 9 it follows the entries that are not present. */
static void same_rights_of_all(struct life *life)
{
	char *text;

	if (life->table->format == &pgtable_la57)
		return;
	spoil_rights(life);
	copy_tables(life);
	text = qemu_ask(&life->qemu, "info mem");
	if (text)
		each_line(life, text, same_rights);
	ok(life->nr_pages == life->table->nr_mapped, "%s: %lu pages; QEMU has %lu",
	   life->table->format->name, life->table->nr_mapped, life->nr_pages);
}

static void live(struct life *life, unsigned long nr_ops)
{
	/* One large leaf in any case, where the format has them. */
	ok_eq(pgtable_map(life->table, life->bases[0], 1024, 1024, PTE_USER, true), 0);
	for (unsigned long op = 0; op <= nr_ops; op++) {
		if (op)
			change(life);
		if (op % 64 && op != nr_ops)
			continue;
		access_some(life);
		copy_tables(life);
		if (!same_leaves(life) || !same_addresses(life, 64))
			return;
	}
	same_rights_of_all(life);
}

static void qemu_agrees_about(const struct pgtable_format *format, unsigned long nr_ops,
			      unsigned long seed)
{
	static struct life life;

	life = (struct life){.random = seed};
	if (life_begin(&life, format))
		live(&life, nr_ops);
	printf("# %s: %lu leaves, %lu of them large; rights of %lu pages; %lu addresses\n",
	       format->name, life.nr_lines, life.nr_large, life.nr_pages, life.nr_asked);
	ok(life.nr_lines && !life.nr_large == (format->leaf_levels == 1),
	   "%s: %lu leaves, %lu of them large", format->name, life.nr_lines, life.nr_large);
	life_end(&life);
}

static void qemu_reads_the_processors_tables_as_the_walks_do(void)
{
	static const struct pgtable_format *const formats[] = {
		&pgtable_i386, &pgtable_i386_pse, &pgtable_i386_pse36,
		&pgtable_pae,  &pgtable_x86_64,	  &pgtable_la57};
	unsigned long nr_ops = tap_ops(256), random = tap_seed() | 1;

	if (!qemu_is_there()) {
		skip("there is no qemu-system-x86_64");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		qemu_agrees_about(formats[i], nr_ops, tap_random(&random) | 1);
}

int main(void)
{
	machine = machine_boot(1, MEMORY_BYTES, 0, ZONES_X86_64);
	RUN(qemu_reads_the_processors_tables_as_the_walks_do);
	machine_end(machine);
	return done();
}

/* SPDX-License-Identifier: MIT */
/*
 * All walks against the plain one of the manual, in every format: three tables that go through the
 * same random life, one walked by the oracle, one by the format's own straight code, one by the
 * generic code. They must agree in the result, the fault and its level, and in all accessed and
 * dirty bits afterwards; accesses in batches with the oracle one by one, and walks in batches with
 * walks one by one. Bits of entries on the way, reserved ones too, are turned round at random.
 */
#include "machine.h"
#include "raw.h"
#include "virt/oracle.h"

enum { ORACLE, OWN, GENERIC, NR_TWINS };

static struct kmm *machine;

struct life {
	const struct pgtable_format *format;
	struct pgtable_format copy; /* by another address, so that nothing is specialised for it */
	struct pgtable *twins[NR_TWINS];
	u64 bases[8];
	unsigned long random;
	unsigned long nr_through, nr_faults, nr_reserved;
};

static u64 any(struct life *life)
{
	return tap_random(&life->random);
}

static u64 pages_taken(void)
{
	struct free_area_counts counts;

	kmm_drain(machine);
	count_free_areas(machine, NUMA_NO_NODE, &counts);
	return counts.nr_managed_pages - counts.nr_buddy_pages - counts.nr_pcp_pages;
}

/* An address of the format, its sign extended where it has one. */
static u64 address_of(const struct pgtable_format *format, u64 bits)
{
	unsigned int unused = 64U - format->va_bits;

	if (format->canonical)
		return (u64)((s64)(bits << unused) >> unused);
	return bits << unused >> unused;
}

static void life_begin(struct life *life, const struct pgtable_format *format)
{
	static const u64 large_mask = (32UL << 20) - 1;

	life->format = format;
	life->copy = *format;
	life->nr_through = life->nr_faults = life->nr_reserved = 0;
	ok_eq(pgtable_create(format, &life->twins[ORACLE]), 0);
	ok_eq(pgtable_create(format, &life->twins[OWN]), 0);
	ok_eq(pgtable_create(&life->copy, &life->twins[GENERIC]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(life->bases); i++)
		life->bases[i] = address_of(format, any(life)) & ~large_mask;
}

static void life_end(struct life *life)
{
	for (int i = 0; i < NR_TWINS; i++) {
		pgtable_validate(life->twins[i]);
		pgtable_destroy(life->twins[i]);
	}
}

/* Most of the way a small place near a base; sometimes all of one, large leaves included. */
static void change(struct life *life)
{
	u64 page = 1UL << life->format->page_shift;
	u64 va = life->bases[any(life) % ARRAY_SIZE(life->bases)] + any(life) % 5000 * page;
	u64 nr = 1 + any(life) % (any(life) % 4 ? 30 : 3000), pfn = any(life) % (1UL << 19);
	u64 prot = any(life) & (PTE_WRITE | PTE_USER | PTE_PWT | PTE_PCD | PTE_GLOBAL);
	bool huge = any(life) % 2;
	int err[NR_TWINS], what = any(life) % 5;

	if (life->format->nx && any(life) % 2)
		prot |= PTE_NX;
	if (huge && any(life) % 2) { /* as large leaves want it */
		va &= ~((4UL << 20) - 1);
		pfn &= ~1023UL;
		nr = 1024 * (1 + any(life) % 3);
	}
	for (int i = 0; i < NR_TWINS; i++) {
		struct pgtable *table = life->twins[i];

		err[i] = what < 2    ? pgtable_map(table, va, pfn, nr, prot, huge)
			 : what == 2 ? pgtable_unmap(table, va, nr)
				     : pgtable_protect(table, va, nr, prot);
	}
	ok(err[OWN] == err[ORACLE] && err[GENERIC] == err[ORACLE], "%s: %d, %d, %d",
	   life->format->name, err[ORACLE], err[OWN], err[GENERIC]);
}

/* The bits of all entries on va's way, addresses of tables left out. */
static void same_entries(const struct life *life, u64 va)
{
	for (unsigned int level = life->format->levels; level; level--) {
		u64 entries[NR_TWINS], mask = ~0UL;
		void *at = raw_entry(life->twins[ORACLE], va, level);

		if (!at)
			return;
		entries[ORACLE] = raw_get(life->twins[ORACLE], at);
		if (pgtable_goes_down(life->format, level, entries[ORACLE]))
			mask = ~life->format->addr_mask;
		for (int i = OWN; i < NR_TWINS; i++) {
			entries[i] = raw_get(life->twins[i], raw_entry(life->twins[i], va, level));
			ok(!((entries[i] ^ entries[ORACLE]) & mask),
			   "%s %#lx: level %u: entry %#lx, by the oracle %#lx", life->format->name,
			   va, level, entries[i], entries[ORACLE]);
		}
	}
}

static void same_walks(struct life *life, u64 va, u32 access)
{
	struct pgtable_walk by_manual, walk;
	bool through = pgtable_oracle(life->twins[ORACLE], va, access, &by_manual);

	for (int i = OWN; i < NR_TWINS; i++) {
		bool also = pgtable_access(life->twins[i], va, access, &walk);

		ok(also == through && walk.level == by_manual.level &&
			   walk.fault == by_manual.fault && walk.pfn == by_manual.pfn &&
			   walk.present == by_manual.present,
		   "%s %#lx, access %#x: %d, level %u, fault %#x, frame %#lx; by the oracle %d, "
		   "level %u, fault %#x, frame %#lx",
		   life->format->name, va, access, also, walk.level, walk.fault, walk.pfn, through,
		   by_manual.level, by_manual.fault, by_manual.pfn);
	}
	if (pgtable_walk(life->twins[OWN], va, &walk) && by_manual.present)
		ok(walk.pfn == by_manual.pfn && walk.level == by_manual.level,
		   "%s %#lx: frame %#lx, by the oracle %#lx", life->format->name, va, walk.pfn,
		   by_manual.pfn);
	else
		ok(!by_manual.present, "%s %#lx: nothing found", life->format->name, va);
	life->nr_through += through;
	life->nr_faults += !through && by_manual.level;
	life->nr_reserved += !!(by_manual.fault & X86_PF_RSVD);
}

static u64 random_va(struct life *life);
static u32 random_access(struct life *life);

/* Accesses of one kind, near each other or not, by the oracle in their order and by the others at once. */
static void same_access_batch(struct life *life)
{
	struct pgtable_walk by_manual[100], walks[ARRAY_SIZE(by_manual)];
	u64 va[ARRAY_SIZE(by_manual)], va_first = random_va(life), reach = any(life) % 2 << 22;
	size_t nr = any(life) % (ARRAY_SIZE(va) + 1), nr_through = 0;
	u32 access = random_access(life);

	for (size_t i = 0; i < nr; i++) {
		va[i] = reach ? va_first + any(life) % reach : random_va(life);
		nr_through += pgtable_oracle(life->twins[ORACLE], va[i], access, &by_manual[i]);
	}
	for (int twin = OWN; twin < NR_TWINS; twin++) {
		memset(walks, 0x5a, sizeof(walks));
		ok_eq(pgtable_access_batch(life->twins[twin], va, nr, access, walks), nr_through);
		for (size_t i = 0; i < nr; i++)
			ok(walks[i].level == by_manual[i].level &&
				   walks[i].fault == by_manual[i].fault &&
				   walks[i].pfn == by_manual[i].pfn &&
				   walks[i].present == by_manual[i].present,
			   "%s %#lx, %zu of %zu, access %#x: level %u, fault %#x, frame %#lx; by "
			   "the "
			   "oracle level %u, fault %#x, frame %#lx",
			   life->format->name, va[i], i, nr, access, walks[i].level, walks[i].fault,
			   walks[i].pfn, by_manual[i].level, by_manual[i].fault, by_manual[i].pfn);
	}
	for (size_t i = 0; i < nr; i++)
		same_entries(life, va[i]);
}

/* Any number of addresses: anywhere, in one place, or one behind the other. */
static void same_batch(struct life *life)
{
	struct pgtable_walk walks[300], walk;
	u64 va[ARRAY_SIZE(walks)], nr_present = 0, va_first = random_va(life), reach = any(life);
	size_t nr = any(life) % (ARRAY_SIZE(walks) + 1);

	reach = any(life) % 4 ? 1 + reach % (1UL << reach / 64 % 26) : 0;
	for (size_t i = 0; i < nr; i++)
		va[i] = reach ? va_first + (reach & 1 ? any(life) % reach : i * 4096)
			      : random_va(life);
	for (int twin = OWN; twin < NR_TWINS; twin++) {
		memset(walks, 0x5a, sizeof(walks));
		nr_present = pgtable_walk_batch(life->twins[twin], va, nr, walks);
		for (size_t i = 0; i < nr; i++) {
			bool present = pgtable_walk(life->twins[twin], va[i], &walk);

			nr_present -= present;
			ok(walks[i].present == present && walks[i].level == walk.level &&
				   walks[i].pfn == walk.pfn && walks[i].entry == walk.entry &&
				   !walks[i].fault,
			   "%s %#lx, %zu of %zu: level %u, frame %#lx; alone level %u, frame %#lx",
			   life->format->name, va[i], i, nr, walks[i].level, walks[i].pfn,
			   walk.level, walk.pfn);
		}
		ok_eq(nr_present, 0);
	}
}

static u64 random_va(struct life *life)
{
	u64 pick = any(life);

	if (pick % 32 == 0)
		return any(life); /* often no address at all */
	if (pick % 32 == 1)
		return address_of(life->format, any(life));
	return life->bases[pick / 32 % ARRAY_SIZE(life->bases)] + any(life) % (24UL << 20);
}

static u32 random_access(struct life *life)
{
	static const u32 kinds[] = {0, X86_PF_WRITE, X86_PF_INSTR};

	return kinds[any(life) % 3] |
	       (any(life) & (X86_PF_USER | PGTABLE_CR0_WP | PGTABLE_CR4_SMEP));
}

/* Bits of an entry that a mapping leads through, turned round for some walks, then as they were. */
static void spoilt_entry(struct life *life)
{
	static const u64 rights = PTE_WRITE | PTE_USER | PTE_NX;
	u64 va = life->bases[any(life) % ARRAY_SIZE(life->bases)] + any(life) % (20UL << 20);
	unsigned int level = 1 + any(life) % life->format->levels;
	void *at = raw_entry(life->twins[ORACLE], va, level);
	u64 bits, entry = at ? raw_get(life->twins[ORACLE], at) : 0;

	if (!(entry & PTE_PRESENT))
		return;
	bits = pgtable_reserved(life->format, level, entry);
	bits = any(life) % 2 ? bits & any(life) & any(life) & any(life) : rights & any(life);
	if (life->format->entry_bytes == 4)
		bits &= 0xffffffff;
	for (int i = 0; i < NR_TWINS; i++)
		raw_flip(life->twins[i], va, level, bits);
	for (int i = 0; i < 4; i++)
		same_walks(life, (va & ~0xfffUL) + any(life) % 4096, random_access(life));
	if (any(life) % 4 == 0)
		same_access_batch(life);
	same_entries(life, va);
	for (int i = 0; i < NR_TWINS; i++)
		raw_flip(life->twins[i], va, level, bits);
}

static bool has_reserved_bits(const struct pgtable_format *format)
{
	u64 bits = 0;

	for (unsigned int level = 1; level <= format->levels; level++)
		bits |= format->reserved[level] | format->leaf_reserved[level];
	return bits;
}

static void all_walks_agree(const struct pgtable_format *format, unsigned long nr_ops,
			    unsigned long seed)
{
	static struct life life;
	u64 taken = pages_taken();

	life.random = seed;
	life_begin(&life, format);
	for (unsigned long op = 0; op < nr_ops; op++) {
		u64 va = random_va(&life);

		if (op % 64 == 0)
			change(&life);
		if (op % 32 == 0)
			spoilt_entry(&life);
		same_walks(&life, va, random_access(&life));
		if (op % 16 == 0)
			same_entries(&life, va);
		if (op % 64 == 32)
			same_batch(&life);
		if (op % 64 == 48)
			same_access_batch(&life);
	}
	printf("# %s: %lu through, %lu faults, %lu of them of reserved bits\n", format->name,
	       life.nr_through, life.nr_faults, life.nr_reserved);
	ok(life.nr_through > nr_ops / 50, "%s: only %lu went through", format->name,
	   life.nr_through);
	ok(life.nr_faults > nr_ops / 50, "%s: only %lu faults", format->name, life.nr_faults);
	ok(nr_ops < 20000 || !life.nr_reserved == !has_reserved_bits(format),
	   "%s: %lu faults of reserved bits", format->name, life.nr_reserved);
	life_end(&life);
	ok_eq(pages_taken(), taken);
}

static void all_walks_agree_with_the_manual_in_every_format(void)
{
	unsigned long nr_ops = tap_ops(100000), random = tap_seed() | 1;

	for (int f = 0; f < PGTABLE_NR_FORMATS; f++)
		all_walks_agree(pgtable_formats[f], nr_ops, tap_random(&random) | 1);
}

int main(void)
{
	machine = machine_boot(1, 128UL << 20, 0, ZONES_X86_64);
	RUN(all_walks_agree_with_the_manual_in_every_format);
	machine_end(machine);
	return done();
}

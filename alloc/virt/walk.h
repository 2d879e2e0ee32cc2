/* SPDX-License-Identifier: MIT */
/*
 * The walk of page tables, once for all formats: with a format that the compiler can see (a
 * constant such as walk_x86_64) it becomes straight code of one load a level; with a pointer to
 * any other it is the generic walk.
 *
 *	va      | index 4 | index 3 | index 2 | index 1 | offset |
 *	             |         |         |         |
 *	root ---> entry --> entry --> entry --> entry --> frame    an entry without PTE_PRESENT
 *	                              (PS) ------------> frame    ends it; PTE_PS: a larger leaf
 *
 * Beside a writer. A walk takes no lock, so three things must hold:
 *   - an entry is one store, and one load here: it is seen whole or not at all;
 *   - a table is zeroed before it is linked: the writer's store of the link is a release, the load
 *     of it here an acquire, which forbids reading the table's entries before the link;
 *   - a table that an unmap frees can be some other page's memory before the walk has read its
 *     entry. It stays readable (it lies in the direct map), but what is read may be nonsense. The
 *     writer advances table->free_gen between unlinking and freeing, and the walk looks at it after
 *     each entry that it reads, before it follows the entry; if it has changed the walk starts
 *     again. An entry of the root needs no such look, for the root is never freed.
 * A retry means that an unmap has finished, so walkers and writers cannot hold each other up for
 * ever.
 */
#ifndef KMM_VIRT_WALK_H
#define KMM_VIRT_WALK_H

#include "virt/pgtable_formats.h"

/* Where a larger leaf has the bits of its address that 32 bits have no room for (PSE-36). */
#define PGTABLE_HIGH_SHIFT 13

/* Acquire: forbids that the entries of the table it leads to, or free_gen's second load, are read
 * first. */
KMM_ALWAYS_INLINE u64 pgtable_entry_load(const struct pgtable_format *format, const char *entries,
					 u64 index)
{
	if (format->entry_bytes == 4)
		return __atomic_load_n((const u32 *)entries + index, __ATOMIC_ACQUIRE);
	return __atomic_load_n((const u64 *)entries + index, __ATOMIC_ACQUIRE);
}

/* Is va an address of the format, with the bits above va_bits as the format wants them? */
KMM_ALWAYS_INLINE bool pgtable_va_valid(const struct pgtable_format *format, u64 va)
{
	unsigned int unused = 64U - format->va_bits;

	if (format->canonical)
		return (u64)((s64)(va << unused) >> unused) == va;
	return va << unused >> unused == va;
}

/* Bits of va below the index of a level: log2 of the bytes that one entry of it covers. */
KMM_ALWAYS_INLINE unsigned int pgtable_level_shift(const struct pgtable_format *format,
						   unsigned int level)
{
	unsigned int shift = format->page_shift;

	for (unsigned int below = 1; below < level; below++)
		shift += format->index_bits[below];
	return shift;
}

/* Which entry of a level's table va selects. */
KMM_ALWAYS_INLINE u64 pgtable_index(const struct pgtable_format *format, u64 va, unsigned int level)
{
	return va >> pgtable_level_shift(format, level) & ((1UL << format->index_bits[level]) - 1);
}

KMM_ALWAYS_INLINE bool pgtable_is_leaf(const struct pgtable_format *format, unsigned int level,
				       u64 entry)
{
	return level == 1 || ((format->leaf_levels >> (level - 1) & 1) && (entry & PTE_PS));
}

/* Bits that should be 0 in an entry. */
KMM_ALWAYS_INLINE u64 pgtable_reserved(const struct pgtable_format *format, unsigned int level,
				       u64 entry)
{
	return pgtable_is_leaf(format, level, entry) ? format->leaf_reserved[level]
						     : format->reserved[level];
}

/* The address of a leaf's first frame, and whatever else is in its bits. */
KMM_ALWAYS_INLINE u64 pgtable_leaf_address(const struct pgtable_format *format, unsigned int level,
					   u64 entry)
{
	u64 high = entry >> PGTABLE_HIGH_SHIFT & ((1UL << format->high_bits) - 1);

	if (level == 1 || !format->high_bits)
		return entry & format->addr_mask;
	return (entry & format->addr_mask & ~(high << PGTABLE_HIGH_SHIFT)) | high << 32;
}

/* The frame of va in a leaf that covers 2^shift bytes: the leaf's, and the bits of va that a larger
 * leaf leaves to the offset. */
KMM_ALWAYS_INLINE u64 pgtable_leaf_pfn(const struct pgtable_format *format, u64 va,
				       unsigned int level, unsigned int shift, u64 entry)
{
	u64 offset_mask = (1UL << shift) - 1;

	return ((pgtable_leaf_address(format, level, entry) & ~offset_mask) | (va & offset_mask)) >>
	       format->page_shift;
}

/* Does the entry lead to a table? One compare of two bits. */
KMM_ALWAYS_INLINE bool pgtable_goes_down(const struct pgtable_format *format, unsigned int level,
					 u64 entry)
{
	if (level == 1)
		return false;
	if (format->leaf_levels >> (level - 1) & 1)
		return (entry & (PTE_PRESENT | PTE_PS)) == PTE_PRESENT;
	return entry & PTE_PRESENT;
}

/* The result of a walk that ended at an entry. shift: log2 of the bytes that the entry covers. */
KMM_ALWAYS_INLINE void pgtable_walk_end(const struct pgtable_format *format, u64 va,
					unsigned int level, unsigned int shift, u64 entry,
					struct pgtable_walk *walk)
{
	/* Whole, so that the small fields are one store. */
	if (likely(entry & PTE_PRESENT))
		*walk = (struct pgtable_walk){
			.entry = entry,
			.pfn = pgtable_leaf_pfn(format, va, level, shift, entry),
			.level = (u8)level,
			.present = true,
		};
	else
		*walk = (struct pgtable_walk){.entry = entry, .level = (u8)level};
}

/* A walk in progress. Its address is never taken out of inlined code, so it lives in registers. */
struct pgtable_cursor {
	const char *entries; /* the table to read next */
	unsigned int shift;  /* log2 of the bytes that an entry of the level above covers */
	u64 gen;	     /* free_gen when the walk began */
	u64 rights;	     /* and over all entries so far, with NX turned round */
};

enum pgtable_step {
	PGTABLE_DOWN,
	PGTABLE_END,   /* *walk is written */
	PGTABLE_FAULT, /* the same, of an access that is refused */
	PGTABLE_MARK,  /* accessed or dirty bits are to be set first */
	PGTABLE_AGAIN, /* tables were freed meanwhile */
};

KMM_ALWAYS_INLINE struct pgtable_cursor pgtable_cursor(const struct pgtable_format *format,
						       const struct pgtable *table)
{
	/* Acquire: forbids that an entry is read before it. */
	u64 gen = __atomic_load_n(&table->free_gen, __ATOMIC_ACQUIRE);

	return (struct pgtable_cursor){table->root, format->va_bits, gen, ~0UL};
}

/* Read the entry of one level; false: PGTABLE_AGAIN. */
KMM_ALWAYS_INLINE bool pgtable_walk_read(const struct pgtable_format *format,
					 const struct pgtable *table, u64 va, unsigned int level,
					 struct pgtable_cursor *at, u64 *entry)
{
	u64 index_mask = (1UL << format->index_bits[level]) - 1;

	at->shift -= format->index_bits[level];
	*entry = pgtable_entry_load(format, at->entries, va >> at->shift & index_mask);
	return level == format->levels || likely(READ_ONCE(table->free_gen) == at->gen);
}

/* One level of a walk that looks at no rights: DOWN, END or AGAIN. */
KMM_ALWAYS_INLINE enum pgtable_step pgtable_walk_step(const struct pgtable_format *format,
						      const struct pgtable *table, u64 va,
						      unsigned int level, struct pgtable_cursor *at,
						      struct pgtable_walk *walk)
{
	u64 entry;

	if (!pgtable_walk_read(format, table, va, level, at, &entry))
		return PGTABLE_AGAIN;
	if (unlikely(!pgtable_goes_down(format, level, entry))) {
		pgtable_walk_end(format, va, level, at->shift, entry, walk);
		return PGTABLE_END;
	}
	at->entries = table->direct_map + (entry & format->addr_mask);
	return PGTABLE_DOWN;
}

/* The bits of access that a page-fault error code repeats. There is one for a fetch only where the
 * processor tells fetches from reads. */
KMM_ALWAYS_INLINE u8 pgtable_fault_bits(const struct pgtable_format *format, u32 access)
{
	u32 told = X86_PF_WRITE | X86_PF_USER;

	if (format->nx || (access & PGTABLE_CR4_SMEP))
		told |= X86_PF_INSTR;
	return (u8)(access & told);
}

/* Is the access refused by what all levels together allow? */
KMM_ALWAYS_INLINE bool pgtable_refuses(const struct pgtable_format *format, u64 rights, u32 access)
{
	u64 need = access & X86_PF_USER; /* the same bit as PTE_USER */

	if (access & (X86_PF_USER | PGTABLE_CR0_WP))
		need |= access & X86_PF_WRITE; /* and as PTE_WRITE */
	if (access & X86_PF_INSTR) {
		if (format->nx)
			need |= PTE_NX;
		if ((access & PGTABLE_CR4_SMEP) && !(access & X86_PF_USER) && (rights & PTE_USER))
			return true;
	}
	return need & ~rights;
}
_Static_assert(X86_PF_USER == PTE_USER && X86_PF_WRITE == PTE_WRITE, "one bit, two names");

/* The end of an access: *walk, but for AGAIN. */
KMM_ALWAYS_INLINE enum pgtable_step pgtable_access_end(const struct pgtable_format *format, u64 va,
						       u32 access, unsigned int level,
						       const struct pgtable_cursor *at, u64 entry,
						       struct pgtable_walk *walk)
{
	bool present = entry & PTE_PRESENT;
	bool reserved = present && (entry & pgtable_reserved(format, level, entry));

	pgtable_walk_end(format, va, level, at->shift, reserved ? 0 : entry, walk);
	walk->entry = entry;
	if (unlikely(!present || reserved)) {
		walk->fault = pgtable_fault_bits(format, access);
		if (reserved)
			walk->fault |= X86_PF_PROT | X86_PF_RSVD;
		return PGTABLE_FAULT;
	}
	if (unlikely(pgtable_refuses(format, at->rights, access))) {
		walk->fault = pgtable_fault_bits(format, access) | X86_PF_PROT;
		return PGTABLE_FAULT;
	}
	if (unlikely(!(at->rights & PTE_ACCESSED)) ||
	    unlikely((access & X86_PF_WRITE) && !(entry & PTE_DIRTY)))
		return PGTABLE_MARK;
	return PGTABLE_END;
}

/* One level of an access. */
KMM_ALWAYS_INLINE enum pgtable_step pgtable_access_step(const struct pgtable_format *format,
							const struct pgtable *table, u64 va,
							u32 access, unsigned int level,
							struct pgtable_cursor *at,
							struct pgtable_walk *walk)
{
	u64 entry;

	if (!pgtable_walk_read(format, table, va, level, at, &entry))
		return PGTABLE_AGAIN;
	if (!(format->bare_levels >> (level - 1) & 1))
		at->rights &= entry ^ PTE_NX;
	if (unlikely(!pgtable_goes_down(format, level, entry)) ||
	    unlikely(entry & format->reserved[level]))
		return pgtable_access_end(format, va, access, level, at, entry, walk);
	at->entries = table->direct_map + (entry & format->addr_mask);
	return PGTABLE_DOWN;
}

/*
 * From the root to the end. The levels are written out, because not every compiler would unroll a
 * loop over them. STEP(level) is one level.
 */
#define PGTABLE_WALK_LEVELS(format, STEP)                                                          \
	switch ((format)->levels) {                                                                \
	case 5:                                                                                    \
		step = STEP(5);                                                                    \
		if (step != PGTABLE_DOWN)                                                          \
			return step;                                                               \
		__attribute__((fallthrough));                                                      \
	case 4:                                                                                    \
		step = STEP(4);                                                                    \
		if (step != PGTABLE_DOWN)                                                          \
			return step;                                                               \
		__attribute__((fallthrough));                                                      \
	case 3:                                                                                    \
		step = STEP(3);                                                                    \
		if (step != PGTABLE_DOWN)                                                          \
			return step;                                                               \
		__attribute__((fallthrough));                                                      \
	case 2:                                                                                    \
		step = STEP(2);                                                                    \
		if (step != PGTABLE_DOWN)                                                          \
			return step;                                                               \
		__attribute__((fallthrough));                                                      \
	default:                                                                                   \
		return STEP(1);                                                                    \
	}

KMM_ALWAYS_INLINE enum pgtable_step pgtable_walk_once(const struct pgtable_format *format,
						      const struct pgtable *table, u64 va,
						      struct pgtable_walk *walk)
{
	struct pgtable_cursor at = pgtable_cursor(format, table);
	enum pgtable_step step;

#define STEP(level) pgtable_walk_step(format, table, va, level, &at, walk)
	PGTABLE_WALK_LEVELS(format, STEP)
#undef STEP
}

KMM_ALWAYS_INLINE enum pgtable_step pgtable_access_once(const struct pgtable_format *format,
							const struct pgtable *table, u64 va,
							u32 access, struct pgtable_walk *walk)
{
	struct pgtable_cursor at = pgtable_cursor(format, table);
	enum pgtable_step step;

#define STEP(level) pgtable_access_step(format, table, va, access, level, &at, walk)
	PGTABLE_WALK_LEVELS(format, STEP)
#undef STEP
}

/* pgtable_walk, for a table of a format that the caller knows; table->format must say the same. */
KMM_ALWAYS_INLINE bool pgtable_walk_format(const struct pgtable_format *format,
					   const struct pgtable *table, u64 va,
					   struct pgtable_walk *walk)
{
	if (unlikely(!pgtable_va_valid(format, va))) {
		*walk = (struct pgtable_walk){0};
		return false;
	}
	while (unlikely(pgtable_walk_once(format, table, va, walk) == PGTABLE_AGAIN))
		;
	return walk->present;
}

#endif

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

#include "virt/pgtable.h"

#define KMM_ALWAYS_INLINE static inline __attribute__((always_inline))

/* The formats, as initialisers: walk.c makes the exported objects of them, this header the
 * constants that compilers fold. */
#define PGTABLE_FORMAT_X86_64                                                                      \
	{                                                                                          \
		.name = "x86_64", .levels = 4, .page_shift = 12, .entry_bytes = 8,                 \
		.index_bits = {0, 9, 9, 9, 9}, .leaf_levels = 0x3, .va_bits = 48,                  \
		.canonical = true, .addr_mask = 0x000ffffffffff000UL,                              \
	}

static const struct pgtable_format walk_x86_64 __attribute__((unused)) = PGTABLE_FORMAT_X86_64;

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

/* The result of a walk that ended at an entry. shift: log2 of the bytes that the entry covers. */
KMM_ALWAYS_INLINE void pgtable_walk_end(const struct pgtable_format *format, u64 va,
					unsigned int level, unsigned int shift, u64 entry,
					struct pgtable_walk *walk)
{
	u64 offset_mask = (1UL << shift) - 1;

	walk->entry = entry;
	walk->level = (u8)level;
	walk->present = entry & PTE_PRESENT;
	walk->pfn = 0;
	/* The frame's address, and the bits of va that a larger leaf leaves to the offset. */
	if (likely(entry & PTE_PRESENT))
		walk->pfn = ((entry & format->addr_mask & ~offset_mask) | (va & offset_mask)) >>
			    format->page_shift;
}

/* A walk in progress. Its address is never taken out of inlined code, so it lives in registers. */
struct pgtable_cursor {
	const char *entries; /* the table to read next */
	unsigned int shift;  /* log2 of the bytes that an entry of the level above covers */
	u64 gen;	     /* free_gen when the walk began */
};

enum pgtable_step { PGTABLE_DOWN, PGTABLE_END, PGTABLE_AGAIN };

/* Read one level. PGTABLE_END: *walk is written; PGTABLE_AGAIN: tables were freed meanwhile. */
KMM_ALWAYS_INLINE enum pgtable_step pgtable_walk_step(const struct pgtable_format *format,
						      const struct pgtable *table, u64 va,
						      unsigned int level, struct pgtable_cursor *at,
						      struct pgtable_walk *walk)
{
	u64 index_mask = (1UL << format->index_bits[level]) - 1, entry;

	at->shift -= format->index_bits[level];
	entry = pgtable_entry_load(format, at->entries, va >> at->shift & index_mask);
	if (level != format->levels && unlikely(READ_ONCE(table->free_gen) != at->gen))
		return PGTABLE_AGAIN;
	if (unlikely(!(entry & PTE_PRESENT)) || pgtable_is_leaf(format, level, entry)) {
		pgtable_walk_end(format, va, level, at->shift, entry, walk);
		return PGTABLE_END;
	}
	at->entries = table->direct_map + (entry & format->addr_mask);
	return PGTABLE_DOWN;
}

/* From the root; false if the walk must start again. */
KMM_ALWAYS_INLINE bool pgtable_walk_once(const struct pgtable_format *format,
					 const struct pgtable *table, u64 va,
					 struct pgtable_walk *walk)
{
	/* Acquire: forbids that an entry is read before it. */
	struct pgtable_cursor at = {table->root, format->va_bits,
				    __atomic_load_n(&table->free_gen, __ATOMIC_ACQUIRE)};
	enum pgtable_step step;

	/* Written out, because not every compiler would unroll the loop over levels. */
	switch (format->levels) {
	case 5:
		step = pgtable_walk_step(format, table, va, 5, &at, walk);
		if (step != PGTABLE_DOWN)
			return step == PGTABLE_END;
		__attribute__((fallthrough));
	case 4:
		step = pgtable_walk_step(format, table, va, 4, &at, walk);
		if (step != PGTABLE_DOWN)
			return step == PGTABLE_END;
		__attribute__((fallthrough));
	case 3:
		step = pgtable_walk_step(format, table, va, 3, &at, walk);
		if (step != PGTABLE_DOWN)
			return step == PGTABLE_END;
		__attribute__((fallthrough));
	case 2:
		step = pgtable_walk_step(format, table, va, 2, &at, walk);
		if (step != PGTABLE_DOWN)
			return step == PGTABLE_END;
		__attribute__((fallthrough));
	default:
		return pgtable_walk_step(format, table, va, 1, &at, walk) == PGTABLE_END;
	}
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
	while (unlikely(!pgtable_walk_once(format, table, va, walk)))
		;
	return walk->present;
}

#endif

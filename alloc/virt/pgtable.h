/* SPDX-License-Identifier: MIT */
/*
 * Page tables made of real pages from the page allocator. A format is a constant descriptor; the
 * code is written once for all formats. So far: x86-64 four-level (9+9+9+9+12) with 4 KiB and 2
 * MiB leaves.
 *
 *	bits 47..39 | 38..30 | 29..21 | 20..12 | 11..0
 *	      PGD      PUD      PMD      PTE     offset
 *
 * Bits of an entry are the processor's (Intel SDM vol. 3, 4.5).
 */
#ifndef KMM_VIRT_PGTABLE_H
#define KMM_VIRT_PGTABLE_H

#include "base/compiler.h"
#include "base/lock.h"
#include "base/types.h"
#include "phys/gfp.h"

KMM_BEGIN_DECLS

#define PGTABLE_MAX_LEVELS 5

struct pgtable_format {
	const char *name;
	u8 levels; /* from the root, level `levels`, to the leaf table, level 1 */
	u8 page_shift;
	u8 entry_bytes;			       /* 4 or 8 */
	u8 index_bits[PGTABLE_MAX_LEVELS + 1]; /* [level], 1 .. levels; a table is at most 4 MiB */
	u8 leaf_levels; /* bit l set: an entry of level l+1 may be a leaf; bit 0 always */
	u8 va_bits;	/* page_shift + the sum of index_bits */
	bool canonical; /* addresses are sign-extended from bit va_bits - 1; else zero above it */
	u64 addr_mask;	/* of the frame's address in an entry */
};

extern KMM_API const struct pgtable_format pgtable_x86_64;

/* Entry bits, as the processor has them. */
#define PTE_PRESENT  (1UL << 0)
#define PTE_WRITE    (1UL << 1)
#define PTE_USER     (1UL << 2)
#define PTE_PWT	     (1UL << 3)
#define PTE_PCD	     (1UL << 4)
#define PTE_ACCESSED (1UL << 5)
#define PTE_DIRTY    (1UL << 6)
#define PTE_PS	     (1UL << 7)
#define PTE_GLOBAL   (1UL << 8)
#define PTE_NX	     (1UL << 63)

struct pgtable {
	const struct pgtable_format *format; /* constant */
	const char *root;		     /* constant: the top table's address */
	const char *direct_map;		     /* constant: the machine's, to spare walks a load */
	u64 free_gen;	     /* written under lock, read by walkers: times tables were freed */
	struct kmm *machine; /* constant */
	struct lock lock;    /* RANK_PGTABLE; protects the tables against other writers */
	u64 nr_tables;	     /* under lock; pages of tables, the root's included */
	u64 nr_mapped;	     /* under lock; base pages mapped */
};

/* Make an empty address space on this thread's machine. 0; -EINVAL for a format that contradicts
 * itself; -ENOMEM. */
KMM_API int pgtable_create(const struct pgtable_format *format, struct pgtable **out);
/* Free all its tables; what they map is not touched. Nobody may use it any more. NULL does
 * nothing. */
KMM_API void pgtable_destroy(struct pgtable *table);

/*
 * Map nr_pages base pages (1 or more) from virtual address va to frames from pfn on, with entry
 * bits prot (present is implied). Uses larger leaves where va, pfn and the rest of the length
 * allow, if huge. 0; -EINVAL for a range that is empty, not aligned or not wholly in one half of a
 * canonical space, for frames or bits that an entry cannot hold, and for PTE_PS in prot; -EEXIST
 * if anything in the range is mapped; -ENOMEM. All or nothing, for walkers too: after an error no
 * page of it was ever seen mapped. Takes table->lock, and under it the page allocator's. One
 * descent a table of leaves.
 */
KMM_API int pgtable_map(struct pgtable *table, u64 va, u64 pfn, u64 nr_pages, u64 prot, bool huge);
/* Unmap; holes are skipped; empty tables are freed. -EINVAL as above, and for a range that cuts a
 * large leaf (then nothing is done). Takes table->lock. */
KMM_API int pgtable_unmap(struct pgtable *table, u64 va, u64 nr_pages);

struct pgtable_walk {
	u64 entry; /* the last entry read */
	u64 pfn;   /* of the base page that holds va, if present */
	u8 level;  /* of that entry: 1 for a 4 KiB leaf, 2 for 2 MiB */
	bool present;
};
/*
 * Translate va. Takes no lock: a walk beside a map or unmap of the same range sees either. Returns
 * present. Reads at most `levels` entries; not present, level and entry are those of the last one
 * read (level 0: va is not an address of the format). Sets no accessed bit. virt/walk.h has the
 * same inline, specialised for a format.
 */
KMM_API bool pgtable_walk(const struct pgtable *table, u64 va, struct pgtable_walk *walk);

/* The machine's own tables, which vmalloc keeps. */
KMM_API struct pgtable *kernel_pgtable(struct kmm *machine);

/* Recount tables and mapped pages, check every entry; stops the program with what differs. */
KMM_API void pgtable_validate(struct pgtable *table);

KMM_END_DECLS
#endif

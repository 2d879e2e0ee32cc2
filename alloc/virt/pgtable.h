/* SPDX-License-Identifier: MIT */
/*
 * Page tables made of real pages from the page allocator. A format is a constant descriptor; the code is
 * written once for all formats. So far: x86-64 four-level (9+9+9+9+12) with 4 KiB and 2 MiB leaves.
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
	u8 levels;			   /* from the root, level `levels`, to the leaf table, level 1 */
	u8 page_shift;
	u8 entry_bytes;
	u8 index_bits[PGTABLE_MAX_LEVELS + 1]; /* [level], 1 .. levels */
	u8 leaf_levels;			   /* bit l set: an entry of level l+1 may be a leaf; bit 0 always */
	u8 va_bits;			   /* addresses are sign-extended from this bit if canonical is set */
	bool canonical;
	u64 addr_mask;			   /* of the frame's address in an entry */
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
	struct kmm *machine;		     /* constant */
	void *root;			     /* constant: the top table's address */
	struct lock lock;		     /* RANK_PGTABLE; protects the tables against other writers */
	u64 nr_tables;			     /* under lock; pages of tables, the root's included */
	u64 nr_mapped;			     /* under lock; base pages mapped */
};

/* Make an empty address space. 0, -ENOMEM. */
KMM_API int pgtable_create(const struct pgtable_format *format, struct pgtable **out);
/* Free all its tables; what they map is not touched. */
KMM_API void pgtable_destroy(struct pgtable *table);

/*
 * Map nr_pages base pages from virtual address va to frames from pfn on, with entry bits prot (present is
 * implied). Uses larger leaves where va, pfn and the rest of the length allow, if huge.
 * 0; -EINVAL for an address out of range or not aligned; -EEXIST if anything in the range is mapped; -ENOMEM. All or nothing.
 */
KMM_API int pgtable_map(struct pgtable *table, u64 va, u64 pfn, u64 nr_pages, u64 prot, bool huge);
/* Unmap; holes are skipped; empty tables are freed. -EINVAL as above, and for a range that cuts a large leaf. */
KMM_API int pgtable_unmap(struct pgtable *table, u64 va, u64 nr_pages);

struct pgtable_walk {
	u64 entry;	  /* the last entry read */
	u64 pfn;	  /* of the base page that holds va, if present */
	u8 level;	  /* of that entry: 1 for a 4 KiB leaf, 2 for 2 MiB */
	bool present;
};
/* Translate va. Takes no lock: a walk beside a map or unmap of the same range sees either. Returns present.
 * Reads at most `levels` entries. Sets no accessed bit. */
KMM_API bool pgtable_walk(const struct pgtable *table, u64 va, struct pgtable_walk *walk);

/* The machine's own tables, which vmalloc keeps. */
KMM_API struct pgtable *kernel_pgtable(struct kmm *machine);

/* Recount tables and mapped pages, check every entry; stops the program with what differs. */
KMM_API void pgtable_validate(struct pgtable *table);

KMM_END_DECLS
#endif

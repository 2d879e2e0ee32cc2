/* SPDX-License-Identifier: MIT */
/*
 * Page tables made of real pages from the page allocator. A format is a constant descriptor; the
 * code is written once for all formats (pgtable_formats.h has them).
 *
 *	x86_64:	bits 47..39 | 38..30 | 29..21 | 20..12 | 11..0
 *		      PGD      PUD      PMD      PTE     offset
 *
 * Bits of an entry are the processor's (Intel SDM vol. 3, 4.3 to 4.6).
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
	u8 bare_levels; /* bit l set: entries of level l+1 have neither rights nor accessed bit */
	u8 va_bits;	/* page_shift + the sum of index_bits */
	u8 high_bits;	/* of a larger leaf's address, from bit 32 on: in the leaf from bit 13 on */
	bool canonical; /* addresses are sign-extended from bit va_bits - 1; else zero above it */
	bool nx;	/* bit 63 says that nothing may be executed */
	u64 addr_mask;	/* of the frame's address in an entry */
	/* [level]: bits that must be 0 in an entry that leads to a table, and in a leaf. */
	u64 reserved[PGTABLE_MAX_LEVELS + 1], leaf_reserved[PGTABLE_MAX_LEVELS + 1];
};

#define PGTABLE_NR_FORMATS 9
extern KMM_API const struct pgtable_format pgtable_flat, pgtable_four_by_5, pgtable_i386,
	pgtable_i386_pse, pgtable_i386_pse36, pgtable_pae, pgtable_three_level, pgtable_x86_64,
	pgtable_la57;
/* All of them, in that order. */
extern KMM_API const struct pgtable_format *const pgtable_formats[PGTABLE_NR_FORMATS];

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

/*
 * What an access is: WRITE or INSTR (a fetch) or neither, and USER (CPL 3), of the bits of the
 * page-fault error code, and how the processor is set: WP (CR0.WP: the supervisor may not write to
 * pages without PTE_WRITE either) and SMEP (CR4.SMEP: nor execute a user's). 0: the supervisor
 * reads.
 */
#define X86_PF_PROT	 (1U << 0) /* error code only: it is present, and refused */
#define X86_PF_WRITE	 (1U << 1)
#define X86_PF_USER	 (1U << 2)
#define X86_PF_RSVD	 (1U << 3) /* error code only: a reserved bit is set */
#define X86_PF_INSTR	 (1U << 4)
#define PGTABLE_CR0_WP	 (1U << 8)
#define PGTABLE_CR4_SMEP (1U << 9)

struct pgtable_walkers;

struct pgtable {
	const struct pgtable_format *format; /* constant */
	const char *root;		     /* constant: the top table's address */
	const char *direct_map;		     /* constant: the machine's, to spare walks a load */
	u64 free_gen;	     /* written under lock, read by walkers: times tables were freed */
	struct kmm *machine; /* constant */
	const struct pgtable_walkers *walkers; /* constant: the format's own, or for any */
	struct lock lock; /* RANK_PGTABLE; protects the tables against other writers */
	u64 nr_tables;	  /* under lock; pages of tables, the root's included */
	u64 nr_mapped;	  /* under lock; base pages mapped */
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

/*
 * Give every page that is mapped in the range the bits prot, as pgtable_map would have; its frame
 * stays, and accessed and dirty bits that are set. Holes are skipped. 0; -EINVAL for what
 * pgtable_map refuses of addresses and bits, and for a range that cuts a large leaf (then nothing
 * is done). Takes table->lock.
 */
KMM_API int pgtable_protect(struct pgtable *table, u64 va, u64 nr_pages, u64 prot);

/* An entry in use, as a range walk shows it. */
struct pgtable_entry {
	u64 va;	      /* the first address that it covers */
	u64 nr_pages; /* base pages that it covers */
	u64 entry;
	u64 pfn;  /* leaf: of its first base page; else of the table, in frames of PAGE_SIZE */
	u8 level; /* of the table that it is in */
	bool leaf;
};
/*
 * Call visit for each entry in use that covers a page of the range, in the order of addresses, an
 * entry that leads to a table before those in it. Stops at the first visit that returns other than
 * 0, and returns that; else 0; -EINVAL for no range. Takes table->lock, and visit must not.
 */
KMM_API int pgtable_walk_range(struct pgtable *table, u64 va, u64 nr_pages,
			       int (*visit)(const struct pgtable_entry *entry, void *arg),
			       void *arg);

/* Bytes of tables by level, and as the kernel's VmPTE in /proc/PID/status counts them: levels 1 to
 * 3, without a root that is among them. Takes table->lock. */
struct pgtable_use {
	u64 bytes[PGTABLE_MAX_LEVELS + 1]; /* [level] */
	u64 total_bytes, vm_pte_bytes;
};
KMM_API void pgtable_count(struct pgtable *table, struct pgtable_use *use);
/* What one table for the whole space would take, an entry a page. */
KMM_API u64 pgtable_flat_bytes(const struct pgtable_format *format);

struct pgtable_walk {
	u64 entry; /* the last entry read */
	u64 pfn;   /* of the base page that holds va, if present */
	u8 level;  /* of that entry: 1 for a 4 KiB leaf, 2 for 2 MiB */
	bool present;
	u8 fault; /* pgtable_access only: the page-fault error code; 0 if there was none */
};
/*
 * Translate va. Takes no lock: a walk beside a map or unmap of the same range sees either. Returns
 * present. Reads at most `levels` entries; not present, level and entry are those of the last one
 * read (level 0: va is not an address of the format). Sets no accessed bit, and looks at no rights.
 * virt/walk.h has the same inline, specialised for a format.
 */
KMM_API bool pgtable_walk(const struct pgtable *table, u64 va, struct pgtable_walk *walk);

/*
 * nr walks at once: walks[i] is what pgtable_walk says of va[i], and how many are present is
 * returned. The walks wait for memory together, which is several times as fast where tables are
 * larger than caches, and addresses that lie near each other (sorted, for one) share their way.
 * virt/walk_batch.h says how.
 */
KMM_API size_t pgtable_walk_batch(const struct pgtable *table, const u64 *va, size_t nr,
				  struct pgtable_walk *walks);

/*
 * Access va as the processor would: with the rights of all levels together, reserved bits, and
 * accessed and dirty bits set in the entries that were used. access: X86_PF_WRITE, _USER, _INSTR
 * and PGTABLE_CR*. True: it went through. False: walk->level is the level whose entry ended it,
 * walk->fault the page-fault error code (0: the supervisor read what is not there), and no bit was
 * set; present tells whether there is a frame, which the access may not have. Level 0: va is not
 * an address of the format, which is a general-protection fault, not a page fault.
 *
 * Takes no lock where all bits are set already, else table->lock.
 */
KMM_API bool pgtable_access(struct pgtable *table, u64 va, u32 access, struct pgtable_walk *walk);

/*
 * nr accesses of one kind, in this order: walks[i] is what pgtable_access says of va[i], with the
 * same bits set, and how many went through is returned. Each group of addresses is first walked
 * together, as by pgtable_walk_batch, so that its accesses find their entries in the cache.
 */
KMM_API size_t pgtable_access_batch(struct pgtable *table, const u64 *va, size_t nr, u32 access,
				    struct pgtable_walk *walks);

/* The machine's own tables, which vmalloc keeps. */
KMM_API struct pgtable *kernel_pgtable(struct kmm *machine);

/* Recount tables and mapped pages, check every entry; stops the program with what differs. */
KMM_API void pgtable_validate(struct pgtable *table);

KMM_END_DECLS
#endif

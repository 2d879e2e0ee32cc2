/* SPDX-License-Identifier: MIT */
/*
 * A model of a processor's translation lookaside buffers: which accesses hit in which of them, and
 * how many entries of page tables the walks read. It knows no page tables: an access says how large
 * its page is and whether it is global, and a walk's length follows from that and from the
 * page-walk caches.
 *
 *	access --> L1 of its kind and page size --> L2 --> walk: page-walk caches, then memory
 *	                  ^--------------- fill ---'        |
 *	                  ^--------------- fill ------------'
 *
 * What a reference to a table costs depends on where the data caches have its line. `lines', where
 * a configuration has them, are the lines of page tables that they hold; a reference to another
 * is a far one. Without them all references cost the same.
 *
 * Above the processor is what Linux does with it: address spaces in PCIDs, page-table isolation,
 * shootdowns. What the processor does with PCIDs, global entries and invalidations follows Intel's
 * SDM, volume 3, 4.10 (June 2022); the rest follows Linux 6.1, arch/x86/mm/tlb.c.
 *
 * A struct tlb is one CPU's, and is used by one thread at a time; nothing here locks.
 */
#ifndef KMM_VIRT_TLB_H
#define KMM_VIRT_TLB_H

#include "base/compiler.h"
#include "base/types.h"

KMM_BEGIN_DECLS

#define TLB_MAX_LEVELS 5 /* of page tables */
#define TLB_DEPTH      2 /* L1, L2 */
#define TLB_MAX_ARRAYS 8 /* at each depth */
#define TLB_MAX_CACHES 4 /* page-walk caches */
#define TLB_MAX_WAYS   512
#define TLB_BATCH      1024U /* accesses that tlb_run does best with at a time */

/* What an access is of: one of each line, or-ed together. */
enum {
	TLB_LOAD = 0,
	TLB_STORE = 1,
	TLB_FETCH = 2,
	TLB_KIND_MASK = 3,

	TLB_LEAF_1 = 0 << 2, /* the page is mapped by an entry of level 1: 4 KiB on x86 */
	TLB_LEAF_2 = 1 << 2, /* 2 MiB, or 4 MiB where entries have 4 bytes */
	TLB_LEAF_3 = 2 << 2, /* 1 GiB */
	TLB_LEAF_MASK = 3 << 2,

	TLB_GLOBAL = 1 << 4,
	TLB_HOW_END = 1 << 5,
};

/* Sets of kinds and of leaf levels, for the arrays. */
#define TLB_LOADS	 (1U << TLB_LOAD)
#define TLB_STORES	 (1U << TLB_STORE)
#define TLB_DATA	 (TLB_LOADS | TLB_STORES)
#define TLB_INSTRUCTIONS (1U << TLB_FETCH)
#define TLB_ALL		 (TLB_DATA | TLB_INSTRUCTIONS)
#define TLB_LEVEL(l)	 (1U << (l))

enum tlb_replacement {
	TLB_LRU,
	TLB_PLRU, /* a tree of bits over a power of two of ways, up to 64 */
};

/* shift[l]: log2 of the bytes that an entry of level l covers, 1 .. levels. */
struct tlb_paging {
	u8 levels;
	u8 shift[TLB_MAX_LEVELS + 1];
};

extern KMM_API const struct tlb_paging tlb_paging_i386, tlb_paging_pae, tlb_paging_4_level,
	tlb_paging_5_level;

/* One array of entries. entries 0: there is none. */
struct tlb_geometry {
	const char *name;
	u16 entries;
	u16 ways;  /* 0: fully associative; entries is a multiple of it */
	u8 kinds;  /* which accesses look here */
	u8 levels; /* TLB_LEVEL of the leaves held; in page-walk caches, of the entries held */
	u8 hash;   /* not 0: the set is the xor of the number's two lowest groups of so many bits */
	u8 replacement;
};

enum tlb_pti {
	TLB_PTI_OFF,  /* user and kernel share tables; the kernel's pages are global */
	TLB_PTI_ON,   /* each has its own, entry to the kernel and exit load CR3; without PCIDs */
	TLB_PTI_PCID, /* the same, with a PCID for each */
};

struct tlb_config {
	const char *name;
	struct tlb_paging paging;
	struct tlb_geometry arrays[TLB_DEPTH][TLB_MAX_ARRAYS]; /* as many as have entries */
	struct tlb_geometry caches[TLB_MAX_CACHES];	       /* page-walk caches, likewise */
	u16 l2_hit_cycles;				       /* more than a hit in L1 costs */
	u16 walk_cycles;	   /* of a walk, apart from its references */
	u16 ref_cycles;		   /* of each reference */
	u16 far_cycles;		   /* more, of a reference to a line that is not in `lines' */
	struct tlb_geometry lines; /* of page tables, in the data caches; entries 0: all are */
	bool pcid, global;	   /* the processor has these, and they are used */
	u8 pti;			   /* enum tlb_pti */
};

struct tlb;

/* Make an empty one. 0; -EINVAL for a configuration that contradicts itself: no L1
 * for a kind, two arrays at one depth for the same leaves, ways that do not divide the entries;
 * -ENOMEM. */
KMM_API int tlb_create(const struct tlb_config *config, struct tlb **out);
/* NULL does nothing. */
KMM_API void tlb_destroy(struct tlb *tlb);

/* Where a translation was found. */
enum tlb_found { TLB_IN_L1, TLB_IN_L2, TLB_WALKED };

/* One access to the page that holds va. how: see above. Allocates nothing. */
KMM_API enum tlb_found tlb_access(struct tlb *tlb, u64 va, unsigned int how);
/* nr accesses in order, all of one sort. */
KMM_API void tlb_run(struct tlb *tlb, const u64 *va, size_t nr, unsigned int how);

/*
 * The processor's instructions.
 */
/* MOV to CR3: pcid (0 .. 4095) is what follows. Without keep all its entries but the global ones
 * go, and its page-walk caches; so do everyone's where there are no PCIDs, whatever keep says. */
KMM_API void tlb_load_cr3(struct tlb *tlb, u16 pcid, bool keep);
/* INVLPG: entries of the page of va, this PCID's and global ones; all page-walk caches of the
 * PCID. The page's leaf level is said as in an access. */
KMM_API void tlb_invlpg(struct tlb *tlb, u64 va, unsigned int how);
/* INVPCID of one address: the same for another PCID, but for global entries. */
KMM_API void tlb_invpcid(struct tlb *tlb, u16 pcid, u64 va, unsigned int how);
/* Everything, global entries too: a change of CR4.PGE. */
KMM_API void tlb_flush_all(struct tlb *tlb);

/*
 * What Linux does with them.
 */
#define TLB_ASIDS	  6  /* address spaces that a CPU remembers (TLB_NR_DYN_ASIDS) */
#define TLB_FLUSH_CEILING 33 /* pages; above, the whole address space is flushed */

/* Make the address space of this number (1 or more) the one that runs. */
KMM_API void tlb_switch(struct tlb *tlb, u32 space);
/* A system call, an interrupt; and back. Costs something only with page-table isolation. */
KMM_API void tlb_enter_kernel(struct tlb *tlb);
KMM_API void tlb_exit_kernel(struct tlb *tlb);
/*
 * CPU `from` of cpus[0 .. nr) has changed nr_pages mappings from va on, in the space that it runs,
 * or in the kernel's part if how has TLB_GLOBAL. CPUs that run the same space get an interrupt (all
 * do for the kernel's part); those that only remember it flush it when they come back to it.
 */
KMM_API void tlb_shootdown(struct tlb *const *cpus, unsigned int nr, unsigned int from, u64 va,
			   u64 nr_pages, unsigned int how);

/*
 * Counters.
 */
struct tlb_array_counts {
	const char *name;
	u64 lookups, misses;
};

struct tlb_counts {
	u64 accesses;
	u64 found[TLB_WALKED + 1]; /* accesses == their sum */
	u64 walks;		   /* == found[TLB_WALKED] */
	u64 references;		   /* entries of page tables that walks read */
	u64 far_references;	   /* of them, those that `lines' did not hold */
	u64 cycles;		   /* of translation, beyond hits in L1 */
	u64 cr3_loads, flushes;	   /* flushes: the loads that invalidated something */
	u64 invalidated_pages;	   /* INVLPG, INVPCID */
	u64 kernel_entries, switches;
	u64 shootdowns; /* begun here */
	u64 ipis_sent, ipis_received;
	struct tlb_array_counts arrays[TLB_DEPTH][TLB_MAX_ARRAYS]; /* name NULL: there is none */
	struct tlb_array_counts caches[TLB_MAX_CACHES];
};

KMM_API void tlb_read_counts(const struct tlb *tlb, struct tlb_counts *counts);

/*
 * Processors as far as their TLBs are known: tlb_presets.c has the numbers, and where each is from.
 */
struct tlb_preset {
	const char *name;      /* as the command takes it; NULL ends the table */
	const char *processor; /* which one it is */
	const char *sources;   /* lines of text */
	u8 max_levels;	       /* of page tables that it can walk */
	struct tlb_config config;
};

extern KMM_API const struct tlb_preset tlb_presets[];
/* NULL: none has this name. */
KMM_API const struct tlb_preset *tlb_find_preset(const char *name);

/* Check that no translation is held twice, and each in its set; or stop the program. */
KMM_API void tlb_validate(const struct tlb *tlb);

KMM_END_DECLS
#endif

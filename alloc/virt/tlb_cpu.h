/* SPDX-License-Identifier: MIT */
/* The insides of struct tlb, for the files of the model. */
#ifndef KMM_VIRT_TLB_CPU_H
#define KMM_VIRT_TLB_CPU_H

#include "virt/tlb_array.h"

#define TLB_LEAVES 3 /* levels that a page can be mapped at */

/* Where accesses of one sort look: constant. */
struct tlb_port {
	struct tlb_array *l1, *l2; /* l2 NULL: none holds them */
	u64 l1_tag, l2_tag;	   /* valid, and the level as which each holds the page */
	u8 l1_shift, l2_shift; /* 7 more than the level's, after an address was shifted left by 7 */
	u8 leaf;	       /* the level that maps the page */
};

/* What Linux remembers of an address space on this CPU. */
struct tlb_asid {
	u32 space; /* 0: none */
	u8 stale;  /* bit of each PCID (user's, kernel's) whose entries must go before it is used */
};

struct tlb {
	/* This CPU's state: */
	u64 pcid_bits[2]; /* of the tags of pages that are not global, and of those that are */
	u64 walks, references, l2_hits;

	/* Constant: */
	struct tlb_port ports[TLB_GLOBAL];		/* [kind | leaf] */
	struct tlb_array *cache_of[TLB_MAX_LEVELS + 1]; /* the page-walk cache of a level */
	bool walk_alone[TLB_MAX_LEVELS + 1]; /* from such a level on, batches do not walk */
	bool use_global;
	struct tlb_config config;

	struct tlb_array arrays[TLB_DEPTH][TLB_MAX_ARRAYS];
	struct tlb_array caches[TLB_MAX_CACHES];
	struct tlb_array lines; /* tags NULL: none */
	u8 line_bits;		/* log2 of the entries in a line of a table: constant */

	/* This CPU's state, seldom touched: */
	u16 pcid;
	bool in_kernel;
	unsigned int asid; /* the one that runs */
	unsigned int next_asid;
	struct tlb_asid asids[TLB_ASIDS];
	u64 cr3_loads, flushes, invalidated_pages, kernel_entries, switches, shootdowns, ipis_sent,
		ipis_received;
};

/* The space of a CPU that has just started: slot 0's. Flushes nothing. */
void tlb_first_space(struct tlb *tlb);

#endif

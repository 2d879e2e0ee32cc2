/* SPDX-License-Identifier: MIT */
/*
 * The TLB model once more, slow and plain: every array is a list of entries per set in order of
 * use, every question is a search, and nothing is shared with alloc/virt but the configuration's
 * type.
 */
#ifndef TESTS_VIRT_SLOW_TLB_H
#define TESTS_VIRT_SLOW_TLB_H

#include "virt/tlb.h"

#define SLOW_ENTRIES TLB_MAX_WAYS /* of an array, at most */

struct slow_entry {
	bool valid, global;
	u64 page; /* its first address */
	unsigned int level, pcid;
	u64 used;
};

struct slow_array {
	const struct tlb_geometry *geometry; /* NULL: there is none */
	struct slow_entry entries[SLOW_ENTRIES];
	bool right[SLOW_ENTRIES]; /* of each set the tree's nodes, in the set's place */
	u64 lookups, misses;
};

struct slow_tlb {
	const struct tlb_config *config;
	struct slow_array arrays[TLB_DEPTH][TLB_MAX_ARRAYS], caches[TLB_MAX_CACHES], lines;
	unsigned int pcid;
	u64 now, walks, references;
};

void slow_init(struct slow_tlb *tlb, const struct tlb_config *config);
enum tlb_found slow_access(struct slow_tlb *tlb, u64 va, unsigned int how);
void slow_load_cr3(struct slow_tlb *tlb, unsigned int pcid, bool keep);
void slow_invlpg(struct slow_tlb *tlb, u64 va, unsigned int how);
void slow_invpcid(struct slow_tlb *tlb, unsigned int pcid, u64 va, unsigned int how);
void slow_flush_all(struct slow_tlb *tlb);

#endif

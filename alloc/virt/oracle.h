/* SPDX-License-Identifier: MIT */
/*
 * A plain page walk, written after the processor's manual rule by rule, to hold the others against
 * (walk.h). It shares nothing with them but the result.
 */
#ifndef KMM_VIRT_ORACLE_H
#define KMM_VIRT_ORACLE_H

#include "virt/pgtable.h"

KMM_BEGIN_DECLS

/* pgtable_access, the plain way. No lock: nobody may write to the tables beside it. */
KMM_API bool pgtable_oracle(struct pgtable *table, u64 va, u32 access, struct pgtable_walk *walk);

KMM_END_DECLS
#endif

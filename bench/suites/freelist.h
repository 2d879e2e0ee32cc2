/* SPDX-License-Identifier: MIT */
/* Why slabs; see freelist.c. */
#ifndef KMM_BENCH_SUITES_FREELIST_H
#define KMM_BENCH_SUITES_FREELIST_H

#include "bench/suites/objects.h"

#define FREELIST_OBJECTS 262144 /* at first; half of them stay */
#define FREELIST_RUN	 512	/* objects that freelist_runs frees together */

extern const struct case_ops freelist_ops;
/* The free list, like any allocator. One thread, attached to a machine. */
extern const struct object_peer freelist_table;

/* Cases freelist and freelist_runs, of kmm and the free list; like says the suite, its hooks and
 * kmm's tables. 0 or -ENOMEM. */
int freelist_cases_add(const struct bench_env *env, struct case_list *list,
		       const struct object_cases *like);

#endif

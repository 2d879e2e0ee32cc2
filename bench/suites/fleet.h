/* SPDX-License-Identifier: MIT */
/* The heap of a long-running program, from a table; see fleet.c. */
#ifndef KMM_BENCH_SUITES_FLEET_H
#define KMM_BENCH_SUITES_FLEET_H

#include "bench/suites/objects.h"
#include "workloads/fleet.h"

#define FLEETS_MAX	  32 /* tables */
#define FLEET_BYTES_LEAST (1UL << 20)
#define FLEET_BYTES_QUICK (64UL << 20)
#define FLEET_BYTES_FULL  (256UL << 20)

extern const struct case_ops fleet_ops;

/* A case for each of env's tables, or of kmm's own, named so in the column size; like says the suite,
 * its hooks and kmm's tables. 0 or -ENOMEM. */
int fleet_cases_add(const struct bench_env *env, struct case_list *list,
		    const struct object_cases *like);

/* The largest object that a case of so many live bytes has; larger ones of the table are left out. */
uint64_t fleet_largest_bytes(uint64_t live_bytes);

#endif

/* SPDX-License-Identifier: MIT */
/* Small machines for the tests of phys, and what they ask of them. */
#ifndef TESTS_PHYS_MACHINE_H
#define TESTS_PHYS_MACHINE_H

#include "kmm.h"
#include "tests/tap/tap.h"

#define ONE_NODE  "numa:1 core:2 pu:1"
#define TWO_NODES "pack:2 [numa] core:2 pu:1"

/* Boot, or end the test program: nothing after it would make sense. The calling thread is on CPU
 * 0. */
static inline struct kmm *boot(struct kmm_config config)
{
	struct kmm *machine;

	if (!config.synthetic && !config.xml)
		config.synthetic = ONE_NODE;
	if (!config.node_bytes)
		config.node_bytes = 64UL << 20;
	config.no_thp = true;
	if (kmm_boot(&config, &machine) || kmm_attach(machine, 0)) {
		printf("Bail out! cannot boot: %s\n", kmm_boot_error());
		exit(99);
	}
	return machine;
}

static inline void shut_down(struct kmm *machine)
{
	struct kmm_leaks leaks;

	phys_validate(machine);
	kmm_shutdown(machine, &leaks);
	ok_eq(leaks.pages, 0);
}

/* Frames that an allocation could get, wherever they lie. */
static inline unsigned long nr_free(struct kmm *machine, int nid)
{
	struct free_area_counts counts;

	count_free_areas(machine, nid, &counts);
	return (unsigned long)(counts.nr_buddy_pages + counts.nr_pcp_pages);
}

#endif

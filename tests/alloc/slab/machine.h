/* SPDX-License-Identifier: MIT */
/* Small machines for the tests of slab, and what most of them ask of one. */
#ifndef TESTS_SLAB_MACHINE_H
#define TESTS_SLAB_MACHINE_H

#include "kmm.h"
#include "slab/cache.h"
#include "tests/tap/dies.h"
#include "tests/tap/tap.h"

#define ONE_NODE  "pack:1 [numa] core:2 pu:1"
#define TWO_NODES "pack:2 [numa] core:2 pu:1"

/* A test of merging defines it before. */
#ifndef SLAB_TEST_MERGES
#define SLAB_TEST_MERGES false
#endif

/* A machine with this thread attached to its CPU 0. Stops the test if it cannot be. */
static inline struct kmm *boot_config(struct kmm_config config)
{
	struct kmm *machine;
	int err;

	config.no_thp = true;
	/* Each test looks at caches of its own by their names; merge_test says otherwise. */
	config.slab_nomerge = !SLAB_TEST_MERGES;
	err = kmm_boot(&config, &machine);
	if (!err)
		err = kmm_attach(machine, 0);
	if (err) {
		printf("Bail out! boot: %d: %s\n", err, kmm_boot_error());
		exit(1);
	}
	return machine;
}

static inline struct kmm *boot_machine(const char *synthetic, u64 node_bytes)
{
	return boot_config((struct kmm_config){.synthetic = synthetic, .node_bytes = node_bytes});
}

/* Nothing may be left. */
static inline void end_machine(struct kmm *machine)
{
	struct kmm_leaks leaks;

	slab_validate(machine);
	ok_eq(kmm_shutdown(machine, &leaks), 0);
	ok_eq(leaks.pages, 0);
	ok_eq(leaks.objects, 0);
	ok_eq(leaks.object_bytes, 0);
	ok_eq(leaks.large_kmallocs, 0);
}

struct find_info {
	const char *name;
	struct slab_info info;
	bool found;
};

static inline void find_info_visit(const struct slab_info *info, void *arg)
{
	struct find_info *find = arg;

	if (!strcmp(info->name, find->name)) {
		find->info = *info;
		find->found = true;
	}
}

static inline struct slab_info info_of(struct kmm *machine, const char *name)
{
	struct find_info find = {.name = name};

	slab_for_each(machine, find_info_visit, &find);
	ok(find.found, "no cache %s", name);
	return find.info;
}

static inline struct slab_counters counters_of(struct kmm *machine)
{
	struct slab_counters counters;

	slab_count(machine, &counters);
	return counters;
}

static inline u64 free_pages_of(struct kmm *machine, int nid)
{
	struct free_area_counts counts;

	count_free_areas(machine, nid, &counts);
	return counts.nr_buddy_pages + counts.nr_pcp_pages;
}

#endif

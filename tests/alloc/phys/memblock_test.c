/* SPDX-License-Identifier: MIT */
/* Boot memory: how regions join, split and are found. Addresses are in bytes; the pictures are in
 * units of 4 KiB. */
#include "phys/memblock.h"

#include <errno.h>

#include "tests/tap/tap.h"

#define U 0x1000UL

static struct memblock mb;

static void ok_region_at(int line, const struct memblock_type *type, unsigned int i, u64 base,
			 u64 end, int nid)
{
	if (i >= type->nr)
		tap_comment(__FILE__, line, "region", "%u of %u is missing", i, type->nr);
	else if (type->regions[i].base != base * U || type->regions[i].end != end * U ||
		 type->regions[i].nid != nid)
		tap_comment(__FILE__, line, "region",
			    "%u is %#lx-%#lx node %d, not %#lx-%#lx node %d", i,
			    (unsigned long)type->regions[i].base,
			    (unsigned long)type->regions[i].end, type->regions[i].nid,
			    (unsigned long)(base * U), (unsigned long)(end * U), nid);
}
#define ok_region(type, i, base, end, nid) ok_region_at(__LINE__, type, i, base, end, nid)

/*
 *	before    |aa|  |bb|  |cc|
 *	add       |dddddddd|
 *	after     |aaaaaaaa|  |cc|
 */
static void ranges_that_overlap_become_one(void)
{
	memblock_init(&mb);
	ok_eq(memblock_reserve(&mb, 0 * U, 2 * U), 0);
	ok_eq(memblock_reserve(&mb, 8 * U, 2 * U), 0);
	ok_eq(memblock_reserve(&mb, 4 * U, 2 * U), 0);
	ok_eq(mb.reserved.nr, 3);
	ok_region(&mb.reserved, 1, 4, 6, NUMA_NO_NODE);
	ok_eq(memblock_reserve(&mb, 1 * U, 5 * U), 0);
	ok_eq(mb.reserved.nr, 2);
	ok_region(&mb.reserved, 0, 0, 6, NUMA_NO_NODE);
	ok_region(&mb.reserved, 1, 8, 10, NUMA_NO_NODE);
	ok_eq(memblock_bytes(&mb.reserved), 8 * U);
	memblock_destroy(&mb);
}

static void neighbours_of_one_node_become_one(void)
{
	memblock_init(&mb);
	ok_eq(memblock_add_node(&mb, 0, 4 * U, 0), 0);
	ok_eq(memblock_add_node(&mb, 8 * U, 4 * U, 1), 0);
	ok_eq(memblock_add_node(&mb, 4 * U, 4 * U, 0), 0);
	ok_eq(mb.memory.nr, 2);
	ok_region(&mb.memory, 0, 0, 8, 0);
	ok_region(&mb.memory, 1, 8, 12, 1);
	memblock_destroy(&mb);
}

static void memory_of_two_nodes_does_not_overlap(void)
{
	memblock_init(&mb);
	ok_eq(memblock_add_node(&mb, 4 * U, 4 * U, 0), 0);
	ok_eq(memblock_add_node(&mb, 6 * U, 4 * U, 1), -EINVAL);
	ok_eq(memblock_add_node(&mb, 0, 5 * U, 1), -EINVAL);
	ok_eq(memblock_add_node(&mb, 0, 4 * U, 1), 0);
	ok_eq(memblock_add_node(&mb, 8 * U, U, 1), 0);
	ok_eq(mb.memory.nr, 3);
	memblock_destroy(&mb);
}

static void empty_and_wrapping_ranges_are_refused(void)
{
	memblock_init(&mb);
	ok_eq(memblock_reserve(&mb, U, 0), -EINVAL);
	ok_eq(memblock_reserve(&mb, UINT64_MAX - U, 2 * U), -EINVAL);
	ok_eq(memblock_free(&mb, U, 0), -EINVAL);
	ok_eq(memblock_alloc(&mb, 0, U, 0, UINT64_MAX, NUMA_NO_NODE, &(u64){0}), -EINVAL);
	ok_eq(memblock_alloc(&mb, U, 3, 0, UINT64_MAX, NUMA_NO_NODE, &(u64){0}), -EINVAL);
	memblock_destroy(&mb);
}

/*
 *	before  |rrrrrrrrrr|
 *	free       |ff|
 *	after   |rr|  |rrrr|
 */
static void free_cuts_a_region_in_two(void)
{
	memblock_init(&mb);
	ok_eq(memblock_reserve(&mb, 0, 10 * U), 0);
	ok_eq(memblock_free(&mb, 3 * U, 2 * U), 0);
	ok_eq(mb.reserved.nr, 2);
	ok_region(&mb.reserved, 0, 0, 3, NUMA_NO_NODE);
	ok_region(&mb.reserved, 1, 5, 10, NUMA_NO_NODE);
	/* And one that covers the end of the one, and the start of the other. */
	ok_eq(memblock_free(&mb, 2 * U, 4 * U), 0);
	ok_region(&mb.reserved, 0, 0, 2, NUMA_NO_NODE);
	ok_region(&mb.reserved, 1, 6, 10, NUMA_NO_NODE);
	ok_eq(memblock_free(&mb, 0, 20 * U), 0);
	ok_eq(mb.reserved.nr, 0);
	memblock_destroy(&mb);
}

/*
 *	memory    |       node 0       |       node 1       |
 *	          0                    16                   32
 *	reserved                |rrrr|           |rr|
 *	                        10   14          24 26
 */
static void alloc_takes_the_highest_that_fits(void)
{
	u64 base = 0;

	memblock_init(&mb);
	memblock_add_node(&mb, 0, 16 * U, 0);
	memblock_add_node(&mb, 16 * U, 16 * U, 1);
	memblock_reserve(&mb, 10 * U, 4 * U);
	memblock_reserve(&mb, 24 * U, 2 * U);
	ok_eq(memblock_alloc(&mb, 2 * U, U, 0, UINT64_MAX, 0, &base), 0);
	ok_eq(base, 14 * U);
	ok_eq(memblock_alloc(&mb, 2 * U, U, 0, UINT64_MAX, 0, &base), 0);
	ok_eq(base, 8 * U);
	ok_eq(memblock_alloc(&mb, 7 * U, U, 0, UINT64_MAX, NUMA_NO_NODE, &base), 0);
	ok_eq(base, 17 * U);
	ok_eq(memblock_alloc(&mb, 4 * U, 4 * U, 0, UINT64_MAX, 1, &base), 0);
	ok_eq(base, 28 * U);
	ok_eq(memblock_alloc(&mb, 2 * U, U, 2 * U, 6 * U, NUMA_NO_NODE, &base), 0);
	ok_eq(base, 4 * U);
	ok_eq(memblock_alloc(&mb, 3 * U, U, 2 * U, 6 * U, NUMA_NO_NODE, &base), -ENOMEM);
	ok_eq(memblock_alloc(&mb, 5 * U, U, 0, UINT64_MAX, 0, &base), -ENOMEM);
	ok_eq(memblock_alloc(&mb, U, U, 0, UINT64_MAX, 2, &base), -ENOMEM);
	memblock_destroy(&mb);
}

/*
 *	memory    |    node 0    |    node 1    |
 *	reserved  |r|        |rrrrrr|        |r|        one range over both nodes
 *	free        |ffffffff|      |ffffffff|
 *	          0 1        12     20       31
 */
static void free_ranges_are_what_is_not_reserved(void)
{
	u64 at = 0, base, end;
	int nid;

	memblock_init(&mb);
	memblock_add_node(&mb, 0, 16 * U, 0);
	memblock_add_node(&mb, 16 * U, 16 * U, 1);
	memblock_reserve(&mb, 0, U);
	memblock_reserve(&mb, 12 * U, 8 * U);
	memblock_reserve(&mb, 31 * U, U);
	ok(memblock_next_free(&mb, &at, &base, &end, &nid), "first range");
	ok(base == 1 * U && end == 12 * U && nid == 0, "%#lx-%#lx node %d", (unsigned long)base,
	   (unsigned long)end, nid);
	ok(memblock_next_free(&mb, &at, &base, &end, &nid), "second range");
	ok(base == 20 * U && end == 31 * U && nid == 1, "%#lx-%#lx node %d", (unsigned long)base,
	   (unsigned long)end, nid);
	ok(!memblock_next_free(&mb, &at, &base, &end, &nid), "no third range");
	memblock_destroy(&mb);
}

static void arrays_double_when_they_are_full(void)
{
	const unsigned int nr = 5 * MEMBLOCK_INIT_REGIONS;

	memblock_init(&mb);
	for (unsigned int i = nr; i-- > 0;)
		ok_eq(memblock_reserve(&mb, 2 * i * U, U), 0);
	ok_eq(mb.reserved.nr, nr);
	ok_eq(mb.reserved.max, 8 * MEMBLOCK_INIT_REGIONS);
	for (unsigned int i = 0; i < nr; i++)
		ok_region(&mb.reserved, i, 2 * i, 2 * i + 1, NUMA_NO_NODE);
	memblock_destroy(&mb);
	ok_eq(mb.reserved.nr, 0);
	ok_eq(mb.reserved.max, MEMBLOCK_INIT_REGIONS);
}

/* Random reserve, free and alloc in 256 units of memory, against one flag a unit. */
static void random_steps_agree_with_a_bitmap(void)
{
	enum { UNITS = 256 };
	bool taken[UNITS] = {false};
	const unsigned long nr_steps = tap_ops(20000);
	unsigned long state = tap_seed() | 1;

	memblock_init(&mb);
	memblock_add_node(&mb, 0, UNITS * U, 0);
	for (unsigned long step = 0; step < nr_steps; step++) {
		unsigned long r = tap_random(&state);
		unsigned int first = (r >> 8) % UNITS, nr = 1 + (r >> 20) % 16;
		u64 base = 0;

		if (first + nr > UNITS)
			nr = UNITS - first;
		switch (r % 3) {
		case 0:
			ok_eq(memblock_reserve(&mb, first * U, nr * U), 0);
			memset(taken + first, true, nr);
			break;
		case 1:
			ok_eq(memblock_free(&mb, first * U, nr * U), 0);
			memset(taken + first, false, nr);
			break;
		case 2:
			if (memblock_alloc(&mb, nr * U, U, 0, UINT64_MAX, 0, &base) == 0) {
				for (unsigned int i = 0; i < nr; i++)
					ok(!taken[base / U + i], "unit %lu is taken",
					   (unsigned long)(base / U + i));
				memset(taken + base / U, true, nr);
			} else {
				for (unsigned int i = 0, run = 0; i < UNITS; i++) {
					run = taken[i] ? 0 : run + 1;
					ok(run < nr, "%u units before %u were free", nr, i);
				}
			}
			break;
		}
		unsigned int nr_taken = 0;

		for (unsigned int i = 0; i < UNITS; i++)
			nr_taken += taken[i];
		ok_eq(memblock_bytes(&mb.reserved), nr_taken * U);
		for (unsigned int i = 0; i + 1 < mb.reserved.nr; i++)
			ok(mb.reserved.regions[i].end < mb.reserved.regions[i + 1].base,
			   "regions %u and %u touch", i, i + 1);
	}
	memblock_destroy(&mb);
}

int main(void)
{
	RUN(ranges_that_overlap_become_one);
	RUN(neighbours_of_one_node_become_one);
	RUN(memory_of_two_nodes_does_not_overlap);
	RUN(empty_and_wrapping_ranges_are_refused);
	RUN(free_cuts_a_region_in_two);
	RUN(alloc_takes_the_highest_that_fits);
	RUN(free_ranges_are_what_is_not_reserved);
	RUN(arrays_double_when_they_are_full);
	RUN(random_steps_agree_with_a_bitmap);
	return done();
}

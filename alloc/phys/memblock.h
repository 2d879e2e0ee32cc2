/* SPDX-License-Identifier: MIT */
/*
 * Boot memory: which physical ranges are there, and which of them boot has taken, before there is a
 * buddy allocator to ask. Used by one thread, during boot only.
 *
 *	memory    |     node 0         |      node 1        |
 *	reserved            |mem_map 0 |             |mem_map 1|
 *	free      |         |          |             |           what the buddy gets
 *
 * Both are arrays of regions in ascending order that do not overlap; neighbours of one node are one
 * region. An array starts with room for MEMBLOCK_INIT_REGIONS and doubles. Addresses are physical,
 * in bytes.
 *
 * After mm/memblock.c (6.1), from which it differs in having no flags, and its arrays in host
 * memory.
 */
#ifndef KMM_PHYS_MEMBLOCK_H
#define KMM_PHYS_MEMBLOCK_H

#include "base/types.h"

#define MEMBLOCK_INIT_REGIONS 32

struct memblock_region {
	u64 base, end; /* [base, end) */
	int nid;       /* NUMA_NO_NODE in `reserved` */
};

struct memblock_type {
	unsigned int nr, max;
	struct memblock_region *regions; /* `initial` at first, of the heap after it has grown */
	struct memblock_region initial[MEMBLOCK_INIT_REGIONS];
};

struct memblock {
	struct memblock_type memory, reserved;
};

void memblock_init(struct memblock *mb);
void memblock_destroy(struct memblock *mb);

/* Say that [base, base + size) is memory of node nid. -EINVAL if part of it is another node's, or
 * for a range that is empty or wraps; -ENOMEM. */
int memblock_add_node(struct memblock *mb, u64 base, u64 size, int nid);
/* Take a range, whether or not it is memory, or in part taken already. -EINVAL, -ENOMEM as
 * above. */
int memblock_reserve(struct memblock *mb, u64 base, u64 size);
/* Give back what of the range was taken. -EINVAL, -ENOMEM as above. */
int memblock_free(struct memblock *mb, u64 base, u64 size);

/*
 * Find and take size bytes of free memory, aligned to align (a power of two), inside [min, max), of
 * node nid or (NUMA_NO_NODE) any: the highest that fits, to keep low memory for those who need it.
 * 0 and the address in *base; -ENOMEM if there is no such range; -EINVAL.
 */
int memblock_alloc(struct memblock *mb, u64 size, u64 align, u64 min, u64 max, int nid, u64 *base);

/*
 * The lowest free range of memory that ends after *at, in *base and *end with its node; moves *at
 * to its end. False when there is none. Start with *at = 0.
 */
bool memblock_next_free(const struct memblock *mb, u64 *at, u64 *base, u64 *end, int *nid);

/* Bytes of memory, and of reserved ranges. */
u64 memblock_bytes(const struct memblock_type *type);

#endif

/* SPDX-License-Identifier: MIT */
/* The host memory behind a machine's frames: the direct map, the memfds, and mem_map. Private to
 * alloc/phys. */
#ifndef KMM_PHYS_MEM_MAP_H
#define KMM_PHYS_MEM_MAP_H

#include "phys/memblock.h"
#include "phys/zone.h"

/*
 * Reserve the direct map, put memory behind every zone, bound to its node, and (memfd-backed zones)
 * at a second place. Sets machine->direct_map. 0 or -errno, with what was made left for
 * memory_release().
 */
int memory_map(struct phys *phys);

/*
 * Make mem_map, of zeros that the host has not given yet, and take from each node in mb the frames
 * that its part of mem_map will cost. Sets machine->mem_map. 0 or -errno, as above.
 */
int mem_map_create(struct phys *phys, struct memblock *mb);

/* Give back all that the two made; none of it may be there. */
void memory_release(struct phys *phys);

/* What the descriptors of a node's pageblocks take, in whole pages. */
size_t pageblocks_bytes(const struct pglist_data *node);

#endif

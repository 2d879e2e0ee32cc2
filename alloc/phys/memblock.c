/* SPDX-License-Identifier: MIT */
/* Boot memory; see memblock.h for what it keeps true. */
#include "phys/memblock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"

void memblock_init(struct memblock *mb)
{
	struct memblock_type *types[] = {&mb->memory, &mb->reserved};

	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++) {
		types[i]->nr = 0;
		types[i]->max = MEMBLOCK_INIT_REGIONS;
		types[i]->regions = types[i]->initial;
	}
}

static void type_destroy(struct memblock_type *type)
{
	if (type->regions != type->initial)
		free(type->regions);
}

void memblock_destroy(struct memblock *mb)
{
	type_destroy(&mb->memory);
	type_destroy(&mb->reserved);
	memblock_init(mb);
}

static int type_grow(struct memblock_type *type)
{
	size_t size = type->max * sizeof(*type->regions);
	struct memblock_region *regions;

	if (type->regions == type->initial) {
		regions = malloc(2 * size);
		if (regions)
			memcpy(regions, type->initial, size);
	} else {
		regions = realloc(type->regions, 2 * size);
	}
	if (!regions)
		return -ENOMEM;
	type->regions = regions;
	type->max *= 2;
	return 0;
}

/* Put `region` where the `nr_old` regions from `at` on were. */
static int type_replace(struct memblock_type *type, unsigned int at, unsigned int nr_old,
			const struct memblock_region *region)
{
	if (nr_old == 0 && type->nr == type->max) {
		int err = type_grow(type);

		if (err)
			return err;
	}
	memmove(&type->regions[at + 1], &type->regions[at + nr_old],
		(type->nr - at - nr_old) * sizeof(*region));
	type->regions[at] = *region;
	type->nr += 1 - nr_old;
	return 0;
}

static void type_delete(struct memblock_type *type, unsigned int at)
{
	type->nr--;
	memmove(&type->regions[at], &type->regions[at + 1],
		(type->nr - at) * sizeof(*type->regions));
}

/* Add a range, joining it with those of its node that it overlaps or touches. */
static int type_add(struct memblock_type *type, u64 base, u64 size, int nid)
{
	struct memblock_region region = {.base = base, .end = base + size, .nid = nid};
	unsigned int first = 0, nr_joined = 0;

	if (region.end <= base)
		return -EINVAL;
	while (first < type->nr && type->regions[first].end < base)
		first++;
	/* A neighbour of another node may touch the range from below. */
	if (first < type->nr && type->regions[first].end == base && type->regions[first].nid != nid)
		first++;
	for (; first + nr_joined < type->nr; nr_joined++) {
		const struct memblock_region *other = &type->regions[first + nr_joined];

		if (other->base > region.end || (other->base == region.end && other->nid != nid))
			break;
		if (other->nid != nid)
			return -EINVAL;
		region.base = min_t(u64, region.base, other->base);
		region.end = max_t(u64, region.end, other->end);
	}
	return type_replace(type, first, nr_joined, &region);
}

static int type_remove(struct memblock_type *type, u64 base, u64 size)
{
	const u64 end = base + size;

	if (end <= base)
		return -EINVAL;
	for (unsigned int i = 0; i < type->nr;) {
		struct memblock_region *region = &type->regions[i];

		if (region->end <= base) {
			i++;
		} else if (region->base >= end) {
			break;
		} else if (region->base < base && region->end > end) {
			struct memblock_region upper = {
				.base = end, .end = region->end, .nid = region->nid};
			int err = type_replace(type, i + 1, 0, &upper);

			if (err)
				return err;
			type->regions[i].end = base;
			break;
		} else if (region->base < base) {
			region->end = base;
			i++;
		} else if (region->end > end) {
			region->base = end;
			break;
		} else {
			type_delete(type, i);
		}
	}
	return 0;
}

int memblock_add_node(struct memblock *mb, u64 base, u64 size, int nid)
{
	return type_add(&mb->memory, base, size, nid);
}

int memblock_reserve(struct memblock *mb, u64 base, u64 size)
{
	return type_add(&mb->reserved, base, size, NUMA_NO_NODE);
}

int memblock_free(struct memblock *mb, u64 base, u64 size)
{
	return type_remove(&mb->reserved, base, size);
}

/* The highest aligned base of size free bytes in [min, max), all of it memory. */
static bool find_below(const struct memblock_type *reserved, u64 size, u64 align, u64 min, u64 max,
		       u64 *base)
{
	unsigned int i = reserved->nr;

	while (max >= min && max - min >= size) {
		u64 start = ALIGN_DOWN(max - size, align);

		if (start < min)
			return false;
		while (i > 0 && reserved->regions[i - 1].base >= start + size)
			i--;
		if (i == 0 || reserved->regions[i - 1].end <= start) {
			*base = start;
			return true;
		}
		max = reserved->regions[i - 1].base;
	}
	return false;
}

int memblock_alloc(struct memblock *mb, u64 size, u64 align, u64 min, u64 max, int nid, u64 *base)
{
	if (size == 0 || align == 0 || (align & (align - 1)))
		return -EINVAL;
	for (unsigned int i = mb->memory.nr; i-- > 0;) {
		const struct memblock_region *region = &mb->memory.regions[i];

		if (nid != NUMA_NO_NODE && region->nid != nid)
			continue;
		if (find_below(&mb->reserved, size, align, max_t(u64, min, region->base),
			       min_t(u64, max, region->end), base))
			return memblock_reserve(mb, *base, size);
	}
	return -ENOMEM;
}

bool memblock_next_free(const struct memblock *mb, u64 *at, u64 *base, u64 *end, int *nid)
{
	u64 start = *at;

	for (unsigned int i = 0, j = 0; i < mb->memory.nr; i++) {
		const struct memblock_region *region = &mb->memory.regions[i];

		start = max_t(u64, start, region->base);
		for (; j < mb->reserved.nr && mb->reserved.regions[j].base <= start; j++)
			start = max_t(u64, start, mb->reserved.regions[j].end);
		if (start >= region->end)
			continue;
		*base = start;
		*end = j < mb->reserved.nr ? min_t(u64, region->end, mb->reserved.regions[j].base)
					   : region->end;
		*nid = region->nid;
		*at = *end;
		return true;
	}
	return false;
}

u64 memblock_bytes(const struct memblock_type *type)
{
	u64 bytes = 0;

	for (unsigned int i = 0; i < type->nr; i++)
		bytes += type->regions[i].end - type->regions[i].base;
	return bytes;
}

/* SPDX-License-Identifier: MIT */
/* Making, emptying and checking the arrays of tlb_array.h: nothing here is on an access's path. */
#include "virt/tlb_array.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define MIN_GUESS_BITS 4U
#define MAX_GUESS_BITS 11U

static unsigned int log2_up(u32 n)
{
	return n > 1 ? 32U - (unsigned int)__builtin_clz(n - 1) : 0;
}

static bool is_power(u32 n)
{
	return n && !(n & (n - 1));
}

static void *zeroed(size_t size_bytes)
{
	void *memory = aligned_alloc(CACHELINE_SIZE, ALIGN_UP(size_bytes, (size_t)CACHELINE_SIZE));

	if (memory)
		memset(memory, 0, size_bytes);
	return memory;
}

/* Heap order: node 1 is the root, way w the leaf ways + w. Touching a way makes every node on the
 * path to it point to the other side. */
static void make_tree(struct tlb_array *array)
{
	for (u32 way = 0; way < array->ways; way++) {
		for (u32 child = array->ways + way; child > 1; child /= 2) {
			array->tree_clear[way] |= 1UL << child / 2;
			if (!(child & 1))
				array->tree_set[way] |= 1UL << child / 2;
		}
	}
}

static int init_tree(struct tlb_array *array)
{
	if (!is_power(array->ways) || array->ways > 64)
		return -EINVAL;
	array->stride_shift = (u8)log2_up(array->stride);
	array->trees = zeroed(array->nr_sets * sizeof(*array->trees));
	array->tree_clear = zeroed(array->ways * sizeof(*array->tree_clear));
	array->tree_set = zeroed(array->ways * sizeof(*array->tree_set));
	if (!array->trees || !array->tree_clear || !array->tree_set)
		return -ENOMEM;
	make_tree(array);
	return 0;
}

int tlb_array_init(struct tlb_array *array, const struct tlb_geometry *geometry)
{
	u32 ways = geometry->ways ? geometry->ways : geometry->entries;
	u32 nr_slots, guess_bits;

	if (!geometry->entries || ways > TLB_MAX_WAYS || geometry->entries % ways)
		return -EINVAL;
	array->name = geometry->name;
	array->ways = ways;
	array->nr_sets = geometry->entries / ways;
	array->stride = ALIGN_UP(ways, TLB_VECTOR);
	array->sets_power = is_power(array->nr_sets);
	array->set_mask = array->nr_sets - 1;
	if (geometry->hash && (!array->sets_power || 1UL << geometry->hash != array->nr_sets))
		return -EINVAL;
	array->fold = geometry->hash ? geometry->hash : 63;
	nr_slots = array->nr_sets * array->stride;
	if (nr_slots >= UINT16_MAX)
		return -EINVAL;
	guess_bits = min_t(u32, max_t(u32, log2_up(nr_slots) + 3, MIN_GUESS_BITS), MAX_GUESS_BITS);
	array->guess_shift = (u8)(64 - guess_bits);
	/* With one more, a pad: where an empty chain of a wide array ends. */
	array->tags = zeroed((nr_slots + 1) * sizeof(*array->tags));
	array->stamps = zeroed(nr_slots * sizeof(*array->stamps));
	array->guess = zeroed((sizeof(*array->guess)) << guess_bits);
	if (!array->tags || !array->stamps || !array->guess)
		return -ENOMEM;
	for (u32 slot = 0; slot < nr_slots; slot++) {
		if (slot % array->stride < ways)
			continue;
		array->tags[slot] = TLB_PAD;
		array->stamps[slot] = TLB_STAMP_PAD;
	}
	array->tags[nr_slots] = TLB_PAD;
	if (geometry->replacement == TLB_PLRU)
		return init_tree(array);
	return ways > TLB_NARROW ? tlb_wide_init(array) : 0;
}

void tlb_array_free(struct tlb_array *array)
{
	free(array->tags);
	free(array->stamps);
	free(array->guess);
	tlb_wide_free(array);
	free(array->trees);
	free(array->tree_clear);
	free(array->tree_set);
	memset(array, 0, sizeof(*array));
}

/* 1 .. ways in each set, in the order that they had. */
void tlb_array_age(struct tlb_array *array)
{
	u32 ranks[TLB_MAX_WAYS];

	for (u32 first = 0; first < array->nr_sets * array->stride; first += array->stride) {
		u32 *stamps = array->stamps + first;

		for (u32 i = 0; i < array->ways; i++) {
			ranks[i] = stamps[i] != 0;
			for (u32 j = 0; j < array->ways && stamps[i]; j++)
				ranks[i] += stamps[j] && stamps[j] < stamps[i];
		}
		memcpy(stamps, ranks, array->ways * sizeof(*stamps));
	}
	if (array->wide)
		tlb_wide_reorder(array);
	/* The tick that is under way is the first after the renumbering. */
	array->ticks_before += array->clock - (array->ways + 1);
	array->clock = array->ways + 1;
}

static void drop(struct tlb_array *array, u32 slot)
{
	if (array->wide)
		tlb_wide_unlink(array, slot);
	array->tags[slot] = 0;
	array->stamps[slot] = 0;
}

static bool holds(const struct tlb_array *array, u32 slot)
{
	return array->tags[slot] && array->tags[slot] != TLB_PAD;
}

u32 tlb_array_drop(struct tlb_array *array, u64 mask, u64 want)
{
	u32 nr = 0;

	for (u32 slot = 0; slot < array->nr_sets * array->stride; slot++) {
		if (!holds(array, slot) || (array->tags[slot] & mask) != want)
			continue;
		drop(array, slot);
		nr++;
	}
	if (nr && array->wide)
		tlb_wide_reorder(array);
	return nr;
}

u32 tlb_array_drop_page(struct tlb_array *array, const struct tlb_paging *paging, u64 va,
			unsigned int level, u64 mask, u64 want)
{
	u32 nr = 0;

	for (u32 slot = 0; slot < array->nr_sets * array->stride; slot++) {
		u64 tag = array->tags[slot];
		unsigned int held = (unsigned int)((tag & TLB_LEVEL_BITS) >> TLB_LEVEL_SHIFT);

		if (!holds(array, slot) || (tag & mask) != want || held > level ||
		    (tag & TLB_NUMBER_BITS) >> (paging->shift[level] - paging->shift[held]) !=
			    va << 7 >> (7 + paging->shift[level]))
			continue;
		drop(array, slot);
		nr++;
	}
	if (nr && array->wide)
		tlb_wide_reorder(array);
	return nr;
}

void tlb_array_validate(const struct tlb_array *array)
{
	for (u32 slot = 0; slot < array->nr_sets * array->stride; slot++) {
		u64 tag = array->tags[slot];
		u32 first = slot / array->stride * array->stride;

		if ((slot - first >= array->ways) != (tag == TLB_PAD))
			KMM_BUG("%s: slot %u: tag %#llx", array->name, slot,
				(unsigned long long)tag);
		if (!holds(array, slot))
			continue;
		KMM_BUG_ON(tlb_array_set(array, tag & TLB_NUMBER_BITS) != first,
			   "%s: slot %u: tag %#llx is of another set", array->name, slot,
			   (unsigned long long)tag);
		KMM_BUG_ON(tlb_array_scan(array, first, tag) != slot ||
				   (array->wide &&
				    tlb_wide_find(array, tag, tag & TLB_NUMBER_BITS) != slot),
			   "%s: slot %u: tag %#llx is held twice", array->name, slot,
			   (unsigned long long)tag);
		KMM_BUG_ON(!array->trees &&
				   (!array->stamps[slot] || array->stamps[slot] > array->clock),
			   "%s: slot %u: stamp %u at %u", array->name, slot, array->stamps[slot],
			   array->clock);
	}
}

/* SPDX-License-Identifier: MIT */
/* Making, emptying and checking the arrays of tlb_array.h: nothing here is on an access's path. */
#include "virt/tlb_array.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static bool is_power(u32 n)
{
	return n && !(n & (n - 1));
}

void *tlb_zeroed(size_t size_bytes)
{
	void *memory;

	size_bytes = ALIGN_UP(size_bytes, (size_t)CACHELINE_SIZE);
	memory = aligned_alloc(CACHELINE_SIZE, size_bytes);
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

static int init_trees(struct tlb_array *array)
{
	array->words = tlb_zeroed(array->nr_sets * sizeof(*array->words));
	array->empty_ways = tlb_zeroed(array->nr_sets * sizeof(*array->empty_ways));
	array->tree_clear = tlb_zeroed(array->ways * sizeof(*array->tree_clear));
	array->tree_set = tlb_zeroed(array->ways * sizeof(*array->tree_set));
	if (!array->words || !array->empty_ways || !array->tree_clear || !array->tree_set)
		return -ENOMEM;
	make_tree(array);
	for (u32 set = 0; set < array->nr_sets; set++)
		array->empty_ways[set] = ~0UL >> (64 - array->ways);
	return 0;
}

/* Ways that have entries keep their order; those that have none go to the list's end. */
static void settle_list(struct tlb_array *array, u32 set)
{
	const u64 *tags = array->tags + (size_t)set * array->stride;
	u64 list = 0;
	u32 shift = 0;

	for (u32 i = 0; i < array->ways; i++) {
		u64 way = array->words[set] >> 4 * i & 0xf;

		if (!tags[way])
			continue;
		list |= way << shift;
		shift += 4;
	}
	for (u32 way = array->ways; way-- > 0;) {
		if (tags[way])
			continue;
		list |= (u64)way << shift;
		shift += 4;
	}
	array->words[set] = list;
}

static int init_lists(struct tlb_array *array)
{
	array->words = tlb_zeroed(array->nr_sets * sizeof(*array->words));
	if (!array->words)
		return -ENOMEM;
	for (u32 set = 0; set < array->nr_sets; set++)
		settle_list(array, set);
	return 0;
}

static int init_stamps(struct tlb_array *array)
{
	u32 nr_slots = array->nr_sets * array->stride;

	array->stamps = tlb_zeroed(nr_slots * sizeof(*array->stamps));
	if (!array->stamps)
		return -ENOMEM;
	for (u32 slot = 0; slot < nr_slots; slot++)
		if (slot % array->stride >= array->ways)
			array->stamps[slot] = TLB_STAMP_PAD;
	return array->order == TLB_ORDER_WIDE ? tlb_wide_init(array) : 0;
}

static int init_order(struct tlb_array *array)
{
	switch (array->order) {
	case TLB_ORDER_TREE:
		return init_trees(array);
	case TLB_ORDER_LIST:
		return init_lists(array);
	default:
		return init_stamps(array);
	}
}

static enum tlb_order order_of(const struct tlb_geometry *geometry, u32 ways, bool guessed)
{
	if (geometry->replacement == TLB_PLRU)
		return TLB_ORDER_TREE;
	if (ways <= TLB_LIST_WAYS && !guessed)
		return TLB_ORDER_LIST;
	return ways <= TLB_NARROW ? TLB_ORDER_STAMPS : TLB_ORDER_WIDE;
}

int tlb_array_init(struct tlb_array *array, const struct tlb_geometry *geometry, bool guessed)
{
	u32 ways = geometry->ways ? geometry->ways : geometry->entries;
	u32 nr_slots;
	bool prints;

	if (!geometry->entries || ways > TLB_MAX_WAYS || geometry->entries % ways)
		return -EINVAL;
	array->name = geometry->name;
	array->ways = ways;
	array->order = (u8)order_of(geometry, ways, guessed);
	array->nr_sets = geometry->entries / ways;
	/* Where there are prints they are read a vector at a time, of one set. */
	array->stride = ways <= TLB_VECTOR || array->order == TLB_ORDER_WIDE
				? ALIGN_UP(ways, TLB_VECTOR)
				: ALIGN_UP(ways, TLB_PRINTS);
	array->sets_power = is_power(array->nr_sets);
	array->set_mask = array->nr_sets - 1;
	if (geometry->hash && (!array->sets_power || 1UL << geometry->hash != array->nr_sets))
		return -EINVAL;
	array->fold = geometry->hash ? geometry->hash : 63;
	if (array->order == TLB_ORDER_TREE && (!is_power(ways) || ways > 64))
		return -EINVAL;
	array->stride_shift = (u8)__builtin_ctz(array->stride);
	nr_slots = array->nr_sets * array->stride;
	/* Guesses are a matter of speed. */
	guessed &= nr_slots <= UINT16_MAX;
	/* tlb_wide.c numbers them with 16 bits. */
	if (array->order == TLB_ORDER_WIDE && nr_slots >= UINT16_MAX)
		return -EINVAL;
	prints = array->stride > TLB_VECTOR && array->order != TLB_ORDER_WIDE;
	array->tags = tlb_zeroed(nr_slots * sizeof(*array->tags));
	if (prints)
		array->prints = tlb_zeroed(nr_slots * sizeof(*array->prints));
	if (guessed)
		array->guesses = tlb_zeroed(sizeof(*array->guesses) << TLB_GUESS_BITS);
	if (!array->tags || (prints && !array->prints) || (guessed && !array->guesses))
		return -ENOMEM;
	for (u32 slot = 0; slot < nr_slots; slot++)
		if (slot % array->stride >= ways)
			array->tags[slot] = TLB_PAD;
	return init_order(array);
}

void tlb_array_free(struct tlb_array *array)
{
	free(array->tags);
	free(array->prints);
	free(array->guesses);
	free(array->words);
	free(array->empty_ways);
	free(array->tree_clear);
	free(array->tree_set);
	free(array->stamps);
	tlb_wide_free(array);
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
	array->clock = array->ways + 1;
}

static void drop(struct tlb_array *array, u32 slot)
{
	u32 set = slot / array->stride;

	if (array->wide)
		tlb_wide_unlink(array, slot);
	array->tags[slot] = 0;
	if (array->prints)
		array->prints[slot] = 0;
	if (array->order == TLB_ORDER_TREE)
		array->empty_ways[set] |= 1UL << slot % array->stride;
	else if (array->order == TLB_ORDER_LIST)
		settle_list(array, set);
	else
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

/* What says which way of the set is next. */
static void validate_order(const struct tlb_array *array, u32 set)
{
	const u64 *tags = array->tags + (size_t)set * array->stride;
	u64 seen = 0, empty = 0;
	bool ended = false;

	/* These have no more ways than a word has bits. */
	if (array->order != TLB_ORDER_TREE && array->order != TLB_ORDER_LIST)
		return;
	for (u32 way = 0; way < array->ways; way++)
		empty |= (u64)!tags[way] << way;
	if (array->order == TLB_ORDER_TREE)
		KMM_BUG_ON(array->empty_ways[set] != empty,
			   "%s: set %u: empty ways %#llx, not %#llx", array->name, set,
			   (unsigned long long)array->empty_ways[set], (unsigned long long)empty);
	if (array->order != TLB_ORDER_LIST)
		return;
	for (u32 i = 0; i < array->ways; i++) {
		u32 way = tlb_list_last(array->words[set], i + 1);

		KMM_BUG_ON(way >= array->ways || seen >> way & 1 || (ended && tags[way]),
			   "%s: set %u: list %#llx", array->name, set,
			   (unsigned long long)array->words[set]);
		seen |= 1UL << way;
		ended |= !tags[way];
	}
}

static void validate_slot(const struct tlb_array *array, u32 slot)
{
	u64 tag = array->tags[slot], number = tag & TLB_NUMBER_BITS;
	u32 first = slot / array->stride * array->stride;

	KMM_BUG_ON(tlb_array_set(array, number) * array->stride != first,
		   "%s: slot %u: tag %#llx is of another set", array->name, slot,
		   (unsigned long long)tag);
	KMM_BUG_ON((array->wide ? tlb_wide_find(array, tag, number)
				: tlb_array_find(array, first, array->stride, tag)) != slot,
		   "%s: slot %u: tag %#llx is held twice, or is not found", array->name, slot,
		   (unsigned long long)tag);
	KMM_BUG_ON(array->stamps && (!array->stamps[slot] || array->stamps[slot] > array->clock),
		   "%s: slot %u: stamp %u at %u", array->name, slot, array->stamps[slot],
		   array->clock);
}

void tlb_array_validate(const struct tlb_array *array)
{
	for (u32 slot = 0; slot < array->nr_sets * array->stride; slot++) {
		bool pad = slot % array->stride >= array->ways;

		KMM_BUG_ON(pad != (array->tags[slot] == TLB_PAD), "%s: slot %u: tag %#llx",
			   array->name, slot, (unsigned long long)array->tags[slot]);
		if (holds(array, slot))
			validate_slot(array, slot);
	}
	for (u32 set = 0; set < array->nr_sets; set++)
		validate_order(array, set);
}

/* SPDX-License-Identifier: MIT */
/*
 * Many lookups of one array, each followed by the fill if it missed: the loop is compiled for the
 * shapes that processors have.
 *
 * What an array does depends on nothing but the tags that it is asked for, in their order. So the
 * arrays of a TLB need not take turns at each access: one can go through all of a batch, and what
 * it has missed is the batch of the next. That keeps an array's constants in registers, and lets
 * the processor work on many accesses at a time, as none waits for what another array says.
 */
#include "virt/tlb_array.h"

/* A loop's constants; 0: the array's own. */
struct shape {
	u32 order, ways, stride;
	bool guesses; /* the array has them */
	bool plain;   /* sets are the lowest bits of numbers */
};

KMM_ALWAYS_INLINE size_t stream(struct tlb_array *array, const u64 *va, size_t nr,
				unsigned int page_shift, u64 tag_bits, u64 *missed,
				const struct shape shape)
{
	/* In here, so that stores to the array's parts are not thought to change them. */
	struct tlb_array copy = *array;
	u32 ways = shape.ways ? shape.ways : copy.ways;
	u32 stride = shape.stride ? shape.stride : copy.stride;
	u64 last = 0;
	size_t nr_missed = 0;

	for (size_t i = 0; i < nr; i++) {
		u64 number = va[i] << 7 >> page_shift, tag = number | tag_bits;
		u32 set, first, slot;
		u16 *guess = NULL;

		/* The latest of all is the latest of its set, too. */
		if (tag == last)
			continue;
		last = tag;
		if (shape.order >= TLB_ORDER_STAMPS)
			copy.clock++;
		if (shape.guesses) {
			guess = tlb_array_guess(&copy, number);
			slot = *guess;
			if (likely(copy.tags[slot] == tag)) {
				tlb_array_touch(&copy, slot / stride, slot, slot % stride,
						shape.order);
				continue;
			}
		}
		set = shape.plain ? (u32)(number & copy.set_mask) : tlb_array_set(&copy, number);
		first = set * stride;
		if (shape.order == TLB_ORDER_WIDE)
			slot = tlb_wide_find(&copy, tag, number);
		else
			slot = tlb_array_find(&copy, first, stride, tag);
		if (likely(slot != TLB_NO_SLOT)) {
			tlb_array_touch(&copy, set, slot, slot - first, shape.order);
			if (shape.guesses)
				*guess = (u16)slot;
			continue;
		}
		missed[nr_missed++] = va[i];
		if (shape.order == TLB_ORDER_WIDE) {
			slot = tlb_wide_replace(&copy, first, tag, number);
			copy.stamps[slot] = copy.clock;
		} else {
			slot = first + tlb_array_take(&copy, set, first, stride, ways, shape.order);
			copy.tags[slot] = tag;
			if (stride > TLB_VECTOR)
				copy.prints[slot] = tlb_print(tag);
		}
		if (shape.guesses)
			*guess = (u16)slot;
	}
	array->clock = copy.clock;
	return nr_missed;
}

static size_t stream_trees(struct tlb_array *array, const u64 *va, size_t nr, unsigned int shift,
			   u64 tag_bits, u64 *missed)
{
	if (array->guesses && array->ways == 4 && array->sets_power && array->fold == 63)
		return stream(array, va, nr, shift, tag_bits, missed,
			      (struct shape){TLB_ORDER_TREE, 4, 4, true, true});
	switch (array->ways) {
	case 4:
		return stream(array, va, nr, shift, tag_bits, missed,
			      (struct shape){TLB_ORDER_TREE, 4, 4, false, false});
	case 8:
		return stream(array, va, nr, shift, tag_bits, missed,
			      (struct shape){TLB_ORDER_TREE, 8, 8, false, false});
	case 16:
		return stream(array, va, nr, shift, tag_bits, missed,
			      (struct shape){TLB_ORDER_TREE, 16, 16, false, false});
	default:
		return stream(array, va, nr, shift, tag_bits, missed,
			      (struct shape){.order = TLB_ORDER_TREE});
	}
}

static size_t stream_lists(struct tlb_array *array, const u64 *va, size_t nr, unsigned int shift,
			   u64 tag_bits, u64 *missed)
{
	switch (array->stride) {
	case 4:
		return stream(array, va, nr, shift, tag_bits, missed,
			      (struct shape){TLB_ORDER_LIST, 0, 4, false, false});
	case 8:
		return stream(array, va, nr, shift, tag_bits, missed,
			      (struct shape){TLB_ORDER_LIST, 0, 8, false, false});
	default:
		return stream(array, va, nr, shift, tag_bits, missed,
			      (struct shape){TLB_ORDER_LIST, 0, 16, false, false});
	}
}

static size_t stream_stamps(struct tlb_array *array, const u64 *va, size_t nr, unsigned int shift,
			    u64 tag_bits, u64 *missed)
{
	bool guesses = array->guesses != NULL;

	if (guesses && array->stride == 8)
		return stream(array, va, nr, shift, tag_bits, missed,
			      (struct shape){TLB_ORDER_STAMPS, 0, 8, true, false});
	if (guesses)
		return stream(array, va, nr, shift, tag_bits, missed,
			      (struct shape){.order = TLB_ORDER_STAMPS, .guesses = true});
	if (array->stride == 24)
		return stream(array, va, nr, shift, tag_bits, missed,
			      (struct shape){TLB_ORDER_STAMPS, 0, 24, false, false});
	return stream(array, va, nr, shift, tag_bits, missed,
		      (struct shape){.order = TLB_ORDER_STAMPS});
}

static size_t stream_wide(struct tlb_array *array, const u64 *va, size_t nr, unsigned int shift,
			  u64 tag_bits, u64 *missed)
{
	if (array->guesses)
		return stream(array, va, nr, shift, tag_bits, missed,
			      (struct shape){.order = TLB_ORDER_WIDE, .guesses = true});
	return stream(array, va, nr, shift, tag_bits, missed,
		      (struct shape){.order = TLB_ORDER_WIDE});
}

size_t tlb_array_stream(struct tlb_array *array, const u64 *va, size_t nr, unsigned int shift,
			u64 tag_bits, u64 *missed)
{
	size_t nr_missed;

	/* No more than nr ticks. */
	if (array->stamps && unlikely(array->clock + nr >= TLB_CLOCK_MAX))
		tlb_array_age(array);
	switch (array->order) {
	case TLB_ORDER_TREE:
		nr_missed = stream_trees(array, va, nr, shift, tag_bits, missed);
		break;
	case TLB_ORDER_LIST:
		nr_missed = stream_lists(array, va, nr, shift, tag_bits, missed);
		break;
	case TLB_ORDER_STAMPS:
		nr_missed = stream_stamps(array, va, nr, shift, tag_bits, missed);
		break;
	default:
		nr_missed = stream_wide(array, va, nr, shift, tag_bits, missed);
	}
	array->lookups += nr;
	array->misses += nr_missed;
	return nr_missed;
}

/* SPDX-License-Identifier: MIT */
/*
 * A set-associative array of tags: one TLB, or one page-walk cache.
 *
 *	slot     0     1     2     3  |   4     5     6     7  | ...    stride slots a set
 *	tags     tag   tag   0     pad|
 *	stamps   17    9     0     max|                                 when last used; LRU only
 *	guess    [hash of a page number] -> the slot where its tag was last
 *
 * A tag holds all that makes a translation what it is, so equal tags are equal translations:
 *
 *	bit 61   60..58   57       56..45   44..0
 *	valid    level    global   PCID     page number: address >> the level's shift
 *
 * Invariants: a tag is in one slot at most, and in its own set; an empty slot has tag 0 and stamp
 * 0, so that it is the oldest; a pad, which rounds a set up to whole vectors, has a tag that
 * nobody looks for and a stamp that is never the oldest. A guess may be wrong and is then found
 * out by the tag.
 *
 * Sets of up to TLB_NARROW ways are searched whole, a vector at a time, both for a tag and for
 * the oldest stamp. Wider ones, which are the fully associative ones, have chains and a queue
 * instead (tlb_wide.c), and their guesses are the heads of the chains.
 *
 * The array's clock ticks at each lookup and once more at the fill that follows each miss, so
 * stamps differ. Before the clock, which is a signed 32-bit number for the vector unit's sake,
 * would wrap, stamps are renumbered.
 */
#ifndef KMM_VIRT_TLB_ARRAY_H
#define KMM_VIRT_TLB_ARRAY_H

#include <emmintrin.h>

#include "virt/tlb.h"

#define TLB_VALID	(1UL << 61)
#define TLB_LEVEL_SHIFT 58
#define TLB_LEVEL_BITS	(7UL << TLB_LEVEL_SHIFT)
#define TLB_GLOBAL_BIT	(1UL << 57)
#define TLB_PCID_SHIFT	45
#define TLB_PCID_BITS	(0xfffUL << TLB_PCID_SHIFT)
#define TLB_NUMBER_BITS ((1UL << TLB_PCID_SHIFT) - 1)
#define TLB_PAD		(~0UL)
#define TLB_STAMP_PAD	0x7fffffffU
#define TLB_CLOCK_MAX	(TLB_STAMP_PAD - 1)
#define TLB_NO_SLOT	UINT32_MAX
#define TLB_VECTOR	4U /* slots that are compared at a time */
#define TLB_NARROW	32U

struct tlb_array {
	/* Constant: */
	const char *name;
	u64 *tags;
	u32 *stamps;
	u16 *guess;
	u64 *trees; /* a set's bits of pseudo-LRU; NULL: true LRU */
	u32 nr_sets, ways, stride;
	u64 set_mask;	 /* nr_sets - 1, if that is a mask */
	bool sets_power; /* and it is */
	u8 fold;	 /* the set is taken from n ^ n >> fold; 63: from n */
	u8 guess_shift;
	u8 stride_shift; /* log2 of stride, with trees */

	struct tlb_wide *wide; /* NULL: narrow */
	u64 *tree_clear,
		*tree_set; /* [way]: bits that lead to it; and those of them that, set, lead away */

	/* The user's thread only: */
	u32 clock; /* ticks since the stamps were numbered */
	u64 ticks_before, misses;
};

/* 0, -EINVAL or -ENOMEM. array is zeroed before. */
int tlb_array_init(struct tlb_array *array, const struct tlb_geometry *geometry);
void tlb_array_free(struct tlb_array *array);

/* Renumber the stamps. */
KMM_COLD void tlb_array_age(struct tlb_array *array);
/* Drop every entry with (tag & mask) == want. Returns how many. */
u32 tlb_array_drop(struct tlb_array *array, u64 mask, u64 want);
/* Drop the entries with (tag & mask) == want of the page of va, which a leaf of `level` maps, whole
 * or in pieces. Returns how many. */
u32 tlb_array_drop_page(struct tlb_array *array, const struct tlb_paging *paging, u64 va,
			unsigned int level, u64 mask, u64 want);
void tlb_array_validate(const struct tlb_array *array);

int tlb_wide_init(struct tlb_array *array);
void tlb_wide_free(struct tlb_array *array);
/* The slot that holds the tag, or TLB_NO_SLOT. */
u32 tlb_wide_find(const struct tlb_array *array, u64 tag, u64 number);
/* Make the oldest slot of the set hold the tag. */
u32 tlb_wide_replace(struct tlb_array *array, u32 first, u64 tag, u64 number);
/* The slot's tag goes. */
void tlb_wide_unlink(struct tlb_array *array, u32 slot);
/* Stamps have changed otherwise than by being touched. */
void tlb_wide_reorder(struct tlb_array *array);

static inline u64 tlb_array_lookups(const struct tlb_array *array)
{
	return array->ticks_before + array->clock - array->misses;
}

/* The first slot of the set of a page number. */
static inline u32 tlb_array_set(const struct tlb_array *array, u64 number)
{
	u64 n = number ^ number >> array->fold;

	if (likely(array->sets_power))
		return (u32)(n & array->set_mask) * array->stride;
	return (u32)(n % array->nr_sets) * array->stride;
}

static inline u16 *tlb_array_guess(const struct tlb_array *array, u64 number)
{
	/* Multiplicative: neither neighbours nor numbers a power of two apart collide. */
	return &array->guess[number * 0x9E3779B97F4A7C15UL >> array->guess_shift];
}

static inline void tlb_array_tick(struct tlb_array *array)
{
	if (unlikely(++array->clock == TLB_CLOCK_MAX))
		tlb_array_age(array);
}

static inline void tlb_array_touch(struct tlb_array *array, u32 slot)
{
	u64 *tree;
	u32 way;

	if (likely(!array->trees)) {
		array->stamps[slot] = array->clock;
		return;
	}
	tree = &array->trees[slot >> array->stride_shift];
	way = slot & (array->stride - 1);
	*tree = (*tree & ~array->tree_clear[way]) | array->tree_set[way];
}

/* The slot of the set at `first` that holds the tag. */
static inline u32 tlb_array_scan(const struct tlb_array *array, u32 first, u64 tag)
{
	const __m128i want = _mm_set1_epi64x((long long)tag);

	for (u32 slot = first; slot < first + array->stride; slot += TLB_VECTOR) {
		const __m128i *tags = (const __m128i *)(array->tags + slot);
		/* Halves of tags that are equal; then those both of whose halves are. */
		__m128 a = _mm_castsi128_ps(_mm_cmpeq_epi32(_mm_load_si128(tags), want));
		__m128 b = _mm_castsi128_ps(_mm_cmpeq_epi32(_mm_load_si128(tags + 1), want));
		int hits = _mm_movemask_ps(
			_mm_and_ps(_mm_shuffle_ps(a, b, 0x88), _mm_shuffle_ps(a, b, 0xdd)));

		if (hits)
			return slot + (u32)__builtin_ctz((unsigned int)hits);
	}
	return TLB_NO_SLOT;
}

/* Look the tag up; count, and touch it if it is there. number is the tag's. */
KMM_ALWAYS_INLINE bool tlb_array_lookup(struct tlb_array *array, u64 tag, u64 number)
{
	u16 *guess = tlb_array_guess(array, number);
	u32 slot = *guess;

	tlb_array_tick(array);
	if (likely(array->tags[slot] == tag)) {
		tlb_array_touch(array, slot);
		return true;
	}
	if (array->wide)
		slot = tlb_wide_find(array, tag, number);
	else
		slot = tlb_array_scan(array, tlb_array_set(array, number), tag);
	if (slot == TLB_NO_SLOT) {
		array->misses++;
		return false;
	}
	if (!array->wide)
		*guess = (u16)slot;
	tlb_array_touch(array, slot);
	return true;
}

/* The slot of the set at `first` to fill next: an empty one, or the one to lose its entry. */
static inline u32 tlb_array_oldest(const struct tlb_array *array, u32 first)
{
	const __m128i *stamps = (const __m128i *)(array->stamps + first);
	__m128i least = _mm_load_si128(stamps), other, less;
	u32 vectors = array->stride / TLB_VECTOR;

	for (u32 i = 1; i < vectors; i++) {
		other = _mm_load_si128(stamps + i);
		less = _mm_cmplt_epi32(other, least);
		least = _mm_or_si128(_mm_and_si128(less, other), _mm_andnot_si128(less, least));
	}
	for (int round = 0; round < 2; round++) {
		other = round ? _mm_shuffle_epi32(least, 0xb1) : _mm_shuffle_epi32(least, 0x4e);
		less = _mm_cmplt_epi32(other, least);
		least = _mm_or_si128(_mm_and_si128(less, other), _mm_andnot_si128(less, least));
	}
	for (u32 i = 0;; i++) {
		int hits = _mm_movemask_ps(
			_mm_castsi128_ps(_mm_cmpeq_epi32(_mm_load_si128(stamps + i), least)));

		if (hits)
			return first + i * TLB_VECTOR + (u32)__builtin_ctz((unsigned int)hits);
	}
}

/* The slot to fill next, by the tree: at node n, whose children are 2n and 2n + 1, a set bit says
 * right. */
static inline u32 tlb_array_pointed(const struct tlb_array *array, u32 first)
{
	u64 tree = array->trees[first >> array->stride_shift];
	u32 node = 1;

	for (u32 slot = first; slot < first + array->ways; slot++)
		if (!array->tags[slot])
			return slot;
	while (node < array->ways)
		node = 2 * node + (tree >> node & 1);
	return first + node - array->ways;
}

/* Put in a tag that a lookup has just missed. */
static inline void tlb_array_fill(struct tlb_array *array, u64 tag, u64 number)
{
	u32 first = tlb_array_set(array, number);
	u32 slot;

	tlb_array_tick(array);
	if (unlikely(array->wide)) {
		tlb_array_touch(array, tlb_wide_replace(array, first, tag, number));
		return;
	}
	slot = array->trees ? tlb_array_pointed(array, first) : tlb_array_oldest(array, first);
	array->tags[slot] = tag;
	*tlb_array_guess(array, number) = (u16)slot;
	tlb_array_touch(array, slot);
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * A set-associative array of tags: one TLB, or one page-walk cache.
 *
 *	slot     0     1     2   ..  6     7  |  8     9   ..  15  | ...  stride slots a set
 *	tags     tag   tag   0       0    pad |
 *	prints   hash  hash  0       0     0  |                           16 bits of each tag's hash
 *
 * A tag holds all that makes a translation what it is, so equal tags are equal translations:
 *
 *	bit 61   60..58   57       56..45   44..0
 *	valid    level    global   PCID     page number: address >> the level's shift
 *
 * Which way of a set is filled next: an empty one, of those the lowest but in wide sets; if there is
 * none, what the replacement says. What it needs is kept in one of four manners (enum tlb_order):
 *
 *	list	LRU, up to 16 ways: a word a set has the ways in order, 4 bits each, the latest in
 *		the lowest. Empty ways are its end, the lowest the very last.
 *	tree	pseudo-LRU: a word a set has the bits of the tree, another the empty ways.
 *	stamps	LRU, up to TLB_NARROW ways: stamps[slot] is when it was last used, 0 if empty.
 *	wide	LRU, more ways, which are the fully associative ones: stamps, and a queue and chains
 *		(tlb_wide.c).
 *
 * Invariants: a tag is in one slot at most, and in its own set; a pad, which rounds a set up to
 * whole vectors, has a tag that nobody looks for and a stamp that is never the oldest. A slot's
 * print is its tag's; equal prints may be of unequal tags, which are told apart by the tags. Sets of
 * up to TLB_VECTOR slots have no prints, as their tags are looked at, and wide ones none.
 *
 * An array that is expected to hit has guesses: a tag's slot is mostly the one that it, or another
 * with the same hash, had last; if it is not, the tag says so. Such an array of true LRU has stamps
 * even if it has few ways: a stamp is cheaper at a hit, a list at a fill.
 *
 * Where there are stamps, the array's clock ticks at each tlb_array_lookup and each tlb_array_fill,
 * so stamps differ. tlb_array_stream ticks once for a lookup and its fill, and not at all for a tag
 * that is the one before it again, and so is the latest already. Before the clock, which is a signed
 * 32-bit number for the vector unit's sake, would wrap, stamps are renumbered.
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
#define TLB_PRINTS	8U /* that are compared at a time */
#define TLB_VECTOR	4U /* stamps, likewise */
#define TLB_GUESS_BITS	10
#define TLB_LIST_WAYS	16U
#define TLB_NARROW	32U

enum tlb_order { TLB_ORDER_LIST, TLB_ORDER_TREE, TLB_ORDER_STAMPS, TLB_ORDER_WIDE };

struct tlb_array {
	/* Constant: */
	const char *name;
	u64 *tags;
	u16 *prints;	   /* or NULL */
	u16 *guesses;	   /* [hash of a page number]: where its tag was last, perhaps; or NULL */
	u64 *words;	   /* [set]: list or tree */
	u64 *empty_ways;   /* [set]: of trees */
	u64 *tree_clear,   /* [way]: bits that lead to it; */
		*tree_set; /* and those of them that, set, lead away */
	u32 *stamps;
	u32 nr_sets, ways, stride;
	u8 stride_shift;       /* log2 of stride, if that is a power of two, as it is of trees */
	u64 set_mask;	       /* nr_sets - 1, if that is a mask */
	bool sets_power;       /* and it is */
	u8 fold;	       /* the set is taken from n ^ n >> fold; 63: from n */
	u8 order;	       /* enum tlb_order */
	struct tlb_wide *wide; /* NULL: not wide */

	/* The user's thread only: */
	u32 clock; /* ticks since the stamps were numbered */
	u64 lookups, misses;
};

/* guessed: it is expected to hit. 0, -EINVAL or -ENOMEM. array is zeroed before. */
int tlb_array_init(struct tlb_array *array, const struct tlb_geometry *geometry, bool guessed);
void tlb_array_free(struct tlb_array *array);
/* Zeroed memory in lines of its own, for free(). NULL: no memory. */
void *tlb_zeroed(size_t size_bytes);

/* Renumber the stamps. */
KMM_COLD void tlb_array_age(struct tlb_array *array);
/* Drop every entry with (tag & mask) == want. Returns how many. */
u32 tlb_array_drop(struct tlb_array *array, u64 mask, u64 want);
/* Drop the entries with (tag & mask) == want of the page of va, which a leaf of `level` maps, whole
 * or in pieces. Returns how many. */
u32 tlb_array_drop_page(struct tlb_array *array, const struct tlb_paging *paging, u64 va,
			unsigned int level, u64 mask, u64 want);
void tlb_array_validate(const struct tlb_array *array);

/*
 * Look up the pages of va[0 .. nr) in turn, and fill in each that is missed before the next is looked
 * up. A page's tag is its number, which is its address shifted left by 7 and then right by `shift',
 * or-ed with tag_bits. The addresses that were missed go to `missed', which may be va, in order.
 * Returns how many.
 */
size_t tlb_array_stream(struct tlb_array *array, const u64 *va, size_t nr, unsigned int shift,
			u64 tag_bits, u64 *missed);

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

/* Multiplicative: neither neighbours nor numbers a power of two apart collide. */
KMM_ALWAYS_INLINE u64 tlb_hash(u64 number)
{
	return number * 0x9E3779B97F4A7C15UL;
}

KMM_ALWAYS_INLINE u16 tlb_print(u64 tag)
{
	return (u16)(tlb_hash(tag) >> 48);
}

KMM_ALWAYS_INLINE u16 *tlb_array_guess(const struct tlb_array *array, u64 number)
{
	return &array->guesses[tlb_hash(number) >> (64 - TLB_GUESS_BITS)];
}

KMM_ALWAYS_INLINE u32 tlb_array_set(const struct tlb_array *array, u64 number)
{
	u64 n = number ^ number >> array->fold;

	if (likely(array->sets_power))
		return (u32)(n & array->set_mask);
	return (u32)(n % array->nr_sets);
}

KMM_ALWAYS_INLINE void tlb_array_tick(struct tlb_array *array)
{
	if (unlikely(++array->clock == TLB_CLOCK_MAX))
		tlb_array_age(array);
}

/* Of the slots of a small set: tags are read as they are written, so that a set that was just filled
 * is not waited for. */
KMM_ALWAYS_INLINE u32 tlb_array_find_small(const struct tlb_array *array, u32 first, u64 tag)
{
	const u64 *tags = array->tags + first;
	u32 way = (u32)(tags[1] == tag) | (u32)(tags[2] == tag) << 1 | (u32)(tags[3] == tag) * 3U;

	return likely(tags[way] == tag) ? first + way : TLB_NO_SLOT;
}

/* The slot that holds the tag, of the set whose first slot is `first' and which has `stride' slots. */
KMM_ALWAYS_INLINE u32 tlb_array_find(const struct tlb_array *array, u32 first, u32 stride, u64 tag)
{
	__m128i want;

	if (stride == TLB_VECTOR)
		return tlb_array_find_small(array, first, tag);
	want = _mm_set1_epi16((short)tlb_print(tag));
	for (u32 slot = first; slot < first + stride; slot += TLB_PRINTS) {
		__m128i prints = _mm_load_si128((const __m128i *)(array->prints + slot));
		unsigned int equal = (unsigned int)_mm_movemask_epi8(_mm_cmpeq_epi16(prints, want));

		/* Two bits each. */
		while (equal) {
			u32 at = slot + (u32)__builtin_ctz(equal) / 2;

			if (likely(array->tags[at] == tag))
				return at;
			equal &= equal - 1;
			equal &= equal - 1;
		}
	}
	return TLB_NO_SLOT;
}

/* The list with the way moved to its beginning. */
KMM_ALWAYS_INLINE u64 tlb_list_touch(u64 list, u32 way)
{
	const u64 ones = 0x1111111111111111UL;
	u64 other = list ^ way * ones;
	/* The top bit of the lowest 0 in `other', which is where the way is; then all bits below. */
	u64 found = (other - ones) & ~other & ones << 3;
	u64 before = ((found & -found) >> 3) - 1;

	return (list & ~(before << 4 | 0xf)) | (list & before) << 4 | way;
}

KMM_ALWAYS_INLINE u32 tlb_list_last(u64 list, u32 ways)
{
	return (u32)(list >> 4 * (ways - 1)) & 0xf;
}

KMM_ALWAYS_INLINE u64 tlb_tree_touch(const struct tlb_array *array, u64 tree, u32 way)
{
	return (tree & ~array->tree_clear[way]) | array->tree_set[way];
}

/* At node n, whose children are 2n and 2n + 1, a set bit says right. */
KMM_ALWAYS_INLINE u32 tlb_tree_pointed(u64 tree, u32 ways)
{
	u32 node = 1;

	while (node < ways)
		node = 2 * node + (tree >> node & 1);
	return node - ways;
}

/* `ways' and `order' are the array's: constants, where the caller knows them. */
KMM_ALWAYS_INLINE void tlb_array_touch(struct tlb_array *array, u32 set, u32 slot, u32 way,
				       u32 order)
{
	if (order == TLB_ORDER_TREE)
		array->words[set] = tlb_tree_touch(array, array->words[set], way);
	else if (order == TLB_ORDER_LIST)
		array->words[set] = tlb_list_touch(array->words[set], way);
	else
		array->stamps[slot] = array->clock;
}

/* The way with the oldest stamp: an empty one, or the one to lose its entry. No branch asks where it
 * is, as nobody could foresee that. */
KMM_ALWAYS_INLINE u32 tlb_array_oldest(const struct tlb_array *array, u32 first, u32 stride)
{
	const __m128i *stamps = (const __m128i *)(array->stamps + first);
	__m128i least = _mm_load_si128(stamps), other, less;
	u32 oldest = 0;

	for (u32 i = 1; i < stride / TLB_VECTOR; i++) {
		other = _mm_load_si128(stamps + i);
		less = _mm_cmplt_epi32(other, least);
		least = _mm_or_si128(_mm_and_si128(less, other), _mm_andnot_si128(less, least));
	}
	for (int round = 0; round < 2; round++) {
		other = round ? _mm_shuffle_epi32(least, 0xb1) : _mm_shuffle_epi32(least, 0x4e);
		less = _mm_cmplt_epi32(other, least);
		least = _mm_or_si128(_mm_and_si128(less, other), _mm_andnot_si128(less, least));
	}
	for (u32 i = 0; i < stride / TLB_VECTOR; i++) {
		__m128i equal = _mm_cmpeq_epi32(_mm_load_si128(stamps + i), least);

		oldest |= (u32)_mm_movemask_ps(_mm_castsi128_ps(equal)) << i * TLB_VECTOR;
	}
	return (u32)__builtin_ctz(oldest);
}

/* The way to fill next, touched. Not of wide arrays. */
KMM_ALWAYS_INLINE u32 tlb_array_take(struct tlb_array *array, u32 set, u32 first, u32 stride,
				     u32 ways, u32 order)
{
	u64 word;
	u32 way;

	if (order == TLB_ORDER_STAMPS) {
		way = tlb_array_oldest(array, first, stride);
		array->stamps[first + way] = array->clock;
		return way;
	}
	word = array->words[set];
	if (order == TLB_ORDER_LIST) {
		way = tlb_list_last(word, ways);
		/* All others move up by one. */
		word = (word << 4 | way) & ~0UL >> (64 - 4 * ways);
	} else {
		way = tlb_tree_pointed(word, ways);
		if (unlikely(array->empty_ways[set])) {
			way = (u32)__builtin_ctzl(array->empty_ways[set]);
			array->empty_ways[set] &= array->empty_ways[set] - 1;
		}
		word = tlb_tree_touch(array, word, way);
	}
	array->words[set] = word;
	return way;
}

KMM_ALWAYS_INLINE void tlb_array_guessed(const struct tlb_array *array, u64 number, u32 slot)
{
	if (array->guesses)
		*tlb_array_guess(array, number) = (u16)slot;
}

/* Look the tag up; count, and touch it if it is there. number is the tag's. */
KMM_ALWAYS_INLINE bool tlb_array_lookup(struct tlb_array *array, u64 tag, u64 number)
{
	u32 set, first, slot;

	array->lookups++;
	if (array->order >= TLB_ORDER_STAMPS)
		tlb_array_tick(array);
	if (array->guesses) {
		slot = *tlb_array_guess(array, number);
		if (likely(array->tags[slot] == tag)) {
			tlb_array_touch(array, slot >> array->stride_shift, slot,
					slot & (array->stride - 1), array->order);
			return true;
		}
	}
	set = tlb_array_set(array, number);
	first = set * array->stride;
	if (array->order == TLB_ORDER_WIDE)
		slot = tlb_wide_find(array, tag, number);
	else
		slot = tlb_array_find(array, first, array->stride, tag);
	if (slot == TLB_NO_SLOT) {
		array->misses++;
		return false;
	}
	tlb_array_touch(array, set, slot, slot - first, array->order);
	tlb_array_guessed(array, number, slot);
	return true;
}

/* Put in a tag that a lookup has just missed. */
static inline void tlb_array_fill(struct tlb_array *array, u64 tag, u64 number)
{
	u32 set = tlb_array_set(array, number), first = set * array->stride, slot;

	if (array->order >= TLB_ORDER_STAMPS)
		tlb_array_tick(array);
	if (array->order == TLB_ORDER_WIDE) {
		slot = tlb_wide_replace(array, first, tag, number);
		array->stamps[slot] = array->clock;
	} else {
		slot = first +
		       tlb_array_take(array, set, first, array->stride, array->ways, array->order);
		array->tags[slot] = tag;
		if (array->stride > TLB_VECTOR)
			array->prints[slot] = tlb_print(tag);
	}
	tlb_array_guessed(array, number, slot);
}

#endif

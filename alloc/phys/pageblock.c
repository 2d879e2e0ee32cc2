/* SPDX-License-Identifier: MIT */
/*
 * One pageblock's bits and counts; see pageblock.h.
 *
 * Blocks of orders 0 to 5 lie inside one 64-bit word; larger ones are whole words, looked at
 * through a byte that has a bit a word. Both are searched by the same two functions on a word of
 * bits.
 */
#include "phys/pageblock.h"

#include <string.h>

#include "base/check.h"

#define WORD_ORDER 6 /* log2 of the bits of a word */

/* Bit i where a run of 2^order frames may begin. */
static const u64 aligned[WORD_ORDER + 1] = {
	~0ULL,
	0x5555555555555555ULL,
	0x1111111111111111ULL,
	0x0101010101010101ULL,
	0x0001000100010001ULL,
	0x0000000100000001ULL,
	1,
};

/* Bit i set: the aligned 2^order bits from i on are all set. */
static inline u64 runs(u64 bits, unsigned int order)
{
	for (unsigned int o = 0; o < order; o++)
		bits &= bits >> (1U << o);
	return bits & aligned[order];
}

/* Of these only the maximal ones: those whose buddy is not a run as well. order < WORD_ORDER. */
static inline u64 maximal_runs(u64 bits, unsigned int order)
{
	u64 these = runs(bits, order);
	u64 larger = these & these >> (1U << order) & aligned[order + 1];

	return these & ~(larger | larger << (1U << order));
}

/* Bit i: word i is all ones. */
static inline u64 full_words(const struct pageblock *block)
{
	u64 full = 0;

	for (unsigned int i = 0; i < PAGEBLOCK_WORDS; i++)
		full |= (u64)(block->free[i] == ~0ULL) << i;
	return full;
}

/* nr < 64. */
static inline u64 low_bits(unsigned int nr)
{
	return (1ULL << nr) - 1;
}

/* Clear frames [frame, frame + nr), which may end inside a word but begin at a multiple of a power
 * of two not less than nr. */
static inline void clear_range(struct pageblock *block, unsigned int frame, unsigned int nr)
{
	for (; nr >= 64; frame += 64, nr -= 64)
		block->free[frame / 64] = 0;
	block->free[frame / 64 % PAGEBLOCK_WORDS] &= ~(low_bits(nr) << frame % 64);
}

static inline void count_add(struct pageblock *block, unsigned int order)
{
	block->nr[order]++;
	block->orders |= (u16)(1U << order);
}

static inline void count_del(struct pageblock *block, unsigned int order)
{
	if (--block->nr[order] == 0)
		block->orders &= (u16) ~(1U << order);
}

/* All frames that are free, the highest first. */
static unsigned int take_all(struct pageblock *block, u16 *frames, u64 *nr_split)
{
	unsigned int taken = 0;

	for (unsigned int i = PAGEBLOCK_WORDS; i-- > 0;) {
		for (u64 bits = block->free[i]; bits;) {
			unsigned int bit = __fls(bits);

			frames[taken++] = (u16)(i * 64 + bit);
			bits ^= 1ULL << bit;
		}
		block->free[i] = 0;
	}
	for (unsigned int o = 0; o <= PAGEBLOCK_ORDER; o++) {
		*nr_split += ((1U << o) - 1) * (u64)block->nr[o];
		block->nr[o] = 0;
	}
	block->orders = 0;
	block->nr_free = 0;
	return taken;
}

/*
 * Cut up to nr blocks of an order from the low end of the maximal free block of order `from` that
 * begins at frame:
 *
 *	| order | order | order |       | the rest stays free, as blocks of the orders that are the
 *	                                  bits of its size, the smallest first
 */
static unsigned int carve(struct pageblock *block, unsigned int frame, unsigned int from,
			  unsigned int order, unsigned int nr, u16 *frames, u64 *nr_split)
{
	unsigned int units = 1U << (from - order), rest;

	nr = min_t(unsigned int, nr, units);
	rest = units - nr;
	count_del(block, from);
	*nr_split += nr - 1;
	for (; rest; rest &= rest - 1) {
		count_add(block, order + __ffs(rest));
		*nr_split += 1;
	}
	clear_range(block, frame, nr << order);
	block->nr_free -= (u16)(nr << order);
	for (unsigned int i = nr; i-- > 0;)
		*frames++ = (u16)(frame + (i << order));
	return nr;
}

/* Up to nr blocks, out of the maximal free blocks of order `from`: the highest first. */
static unsigned int take_from(struct pageblock *block, unsigned int from, unsigned int order,
			      unsigned int nr, u16 *frames, u64 *nr_split)
{
	unsigned int taken = 0;

	if (from >= WORD_ORDER) {
		unsigned int word = 0; /* of the whole pageblock */

		if (from < PAGEBLOCK_ORDER)
			word = __fls(maximal_runs(full_words(block), from - WORD_ORDER));
		return carve(block, word * 64, from, order, nr, frames, nr_split);
	}
	for (unsigned int i = PAGEBLOCK_WORDS; i-- > 0;)
		for (u64 found = maximal_runs(block->free[i], from); found;) {
			unsigned int bit = __fls(found);

			taken += carve(block, i * 64 + bit, from, order, nr - taken, frames + taken,
				       nr_split);
			if (taken == nr)
				return taken;
			found ^= 1ULL << bit;
		}
	return taken;
}

unsigned int pageblock_take(struct pageblock *block, unsigned int order, unsigned int nr,
			    u16 *frames, u64 *nr_split)
{
	unsigned int taken = 0;

	if (order == 0 && nr >= block->nr_free)
		return take_all(block, frames, nr_split);
	while (taken < nr && block->orders >> order)
		taken += take_from(block, order + __ffs(block->orders >> order), order, nr - taken,
				   frames + taken, nr_split);
	return taken;
}

static KMM_COLD void refuse_give(unsigned int frame, unsigned int order)
{
	KMM_BUG("double free: a frame of block %u of its pageblock, order %u, is free already",
		frame, order);
}

/*
 * Merge the free block of an order at `frame`, whose bits are set, with its buddies as far as they
 * are free, inside its word. What was free before did not include it, so a free buddy of its size
 * is maximal. Returns the order it has then.
 */
static inline unsigned int merge_in_word(struct pageblock *block, unsigned int frame,
					 unsigned int order)
{
	const u64 word = block->free[frame / 64];
	unsigned int bit = frame % 64;

	for (; order < WORD_ORDER; order++) {
		u64 other = low_bits(1U << order) << (bit ^ 1U << order);

		if ((word & other) != other)
			break;
		count_del(block, order);
		bit &= ~(1U << order);
	}
	return order;
}

static unsigned int merge_words(struct pageblock *block, unsigned int frame, unsigned int order)
{
	while (order < PAGEBLOCK_ORDER && pageblock_is_free(block, frame ^ 1U << order, order)) {
		count_del(block, order);
		frame &= ~(1U << order);
		order++;
	}
	return order;
}

unsigned int pageblock_give(struct pageblock *block, unsigned int frame, unsigned int order)
{
	const unsigned int nr = 1U << order;
	unsigned int merged = order;

	if (likely(order < WORD_ORDER)) {
		u64 *word = &block->free[frame / 64], mask = low_bits(nr) << frame % 64;

		if (unlikely(*word & mask))
			refuse_give(frame, order);
		*word |= mask;
		merged = merge_in_word(block, frame, order);
	} else {
		for (unsigned int i = frame / 64; i < (frame + nr) / 64; i++) {
			if (unlikely(block->free[i]))
				refuse_give(frame, order);
			block->free[i] = ~0ULL;
		}
	}
	block->nr_free += (u16)nr;
	if (merged >= WORD_ORDER)
		merged = merge_words(block, frame & ~((1U << merged) - 1), merged);
	count_add(block, merged);
	return merged - order;
}

u32 pageblock_free_groups(const struct pageblock *block)
{
	u32 groups = 0;

	for (unsigned int i = 0; i < PAGEBLOCK_WORDS; i++) {
		u64 found = runs(block->free[i], GROUP_ORDER);

		/* Bits 0, 16, 32 and 48 of a word to four bits in a row. */
		found = (found | found >> 15 | found >> 30 | found >> 45) & 0xf;
		groups |= (u32)found << 4 * i;
	}
	return groups;
}

/* Add the maximal free blocks of a word that is not all ones, up to the largest that there is. */
static inline void count_word(u64 word, u16 nr[WORD_ORDER])
{
	for (unsigned int o = 0; word; o++) {
		u64 these = word & aligned[o], larger;

		/* Now bit i: the 2^(o + 1) bits from i on are all set. */
		word &= word >> (1U << o);
		larger = word & aligned[o + 1];
		nr[o] += (u16)hweight64(these & ~(larger | larger << (1U << o)));
	}
}

/* Count the maximal free blocks anew. */
static void recount(struct pageblock *block)
{
	const u64 full = full_words(block);

	memset(block->nr, 0, sizeof(block->nr));
	for (unsigned int i = 0; i < PAGEBLOCK_WORDS; i++)
		if (block->free[i] != ~0ULL)
			count_word(block->free[i], block->nr);
	for (unsigned int o = WORD_ORDER; o <= PAGEBLOCK_ORDER; o++)
		block->nr[o] = (u16)hweight64(maximal_runs(full, o - WORD_ORDER));
	block->nr_free = 0;
	block->orders = 0;
	for (unsigned int o = 0; o <= PAGEBLOCK_ORDER; o++) {
		block->nr_free += (u16)(block->nr[o] << o);
		block->orders |= (u16)(!!block->nr[o] << o);
	}
}

void pageblock_set_free(struct pageblock *block, const u64 frames[PAGEBLOCK_WORDS], bool free)
{
	for (unsigned int i = 0; i < PAGEBLOCK_WORDS; i++) {
		KMM_DEBUG_ON(free ? block->free[i] & frames[i] : ~block->free[i] & frames[i],
			     "frames of word %u are %s already", i, free ? "free" : "in use");
		block->free[i] ^= frames[i];
	}
	recount(block);
}

/* bits &= bits >> by, of all the words as one number. */
static inline void and_shifted(u64 bits[PAGEBLOCK_WORDS], unsigned int by)
{
	const unsigned int words = by / 64, rest = by % 64;

	for (unsigned int i = 0; i < PAGEBLOCK_WORDS; i++) {
		u64 low = i + words < PAGEBLOCK_WORDS ? bits[i + words] : 0;
		u64 high = i + words + 1 < PAGEBLOCK_WORDS ? bits[i + words + 1] : 0;

		bits[i] &= rest ? low >> rest | high << (64 - rest) : low;
	}
}

unsigned int pageblock_find_run(const struct pageblock *block, unsigned int nr)
{
	u64 bits[PAGEBLOCK_WORDS]; /* bit i: the `length` frames from i on are free */

	memcpy(bits, block->free, sizeof(bits));
	for (unsigned int length = 1, by; length < nr; length += by) {
		by = min_t(unsigned int, length, nr - length);
		and_shifted(bits, by);
	}
	for (unsigned int i = 0; i < PAGEBLOCK_WORDS; i++)
		if (bits[i])
			return i * 64 + __ffs(bits[i]);
	return PAGEBLOCK_NR_PAGES;
}

void pageblock_take_run(struct pageblock *block, unsigned int frame, unsigned int nr)
{
	u64 frames[PAGEBLOCK_WORDS] = {0};

	for (unsigned int here; nr; frame += here, nr -= here) {
		here = min_t(unsigned int, nr, 64 - frame % 64);
		frames[frame / 64] |= (here == 64 ? ~0ULL : low_bits(here)) << frame % 64;
	}
	pageblock_set_free(block, frames, false);
}

bool pageblock_is_free(const struct pageblock *block, unsigned int frame, unsigned int order)
{
	const unsigned int nr = 1U << order;
	u64 mask;

	if (order < WORD_ORDER) {
		mask = low_bits(nr) << frame % 64;
		return (block->free[frame / 64] & mask) == mask;
	}
	for (unsigned int i = 0; i < nr / 64; i++)
		if (block->free[frame / 64 + i] != ~0ULL)
			return false;
	return true;
}

void pageblock_recount(const struct pageblock *block, u16 nr[PAGEBLOCK_ORDER + 1])
{
	unsigned int frame = 0;

	for (unsigned int o = 0; o <= PAGEBLOCK_ORDER; o++)
		nr[o] = 0;
	while (frame < PAGEBLOCK_NR_PAGES) {
		unsigned int order = frame ? min_t(unsigned int, __ffs(frame), PAGEBLOCK_ORDER)
					   : PAGEBLOCK_ORDER;

		while (order > 0 && !pageblock_is_free(block, frame, order))
			order--;
		if (pageblock_is_free(block, frame, order))
			nr[order]++;
		frame += 1U << order;
	}
}

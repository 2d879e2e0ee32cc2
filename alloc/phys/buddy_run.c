/* SPDX-License-Identifier: MIT */
/* Runs of frames longer than a block; see buddy.h. The caller holds the zone's lock. */
#include "base/bits.h"
#include "phys/buddy_lists.h"

/* Which of the 64 pageblocks from i on, a multiple of 64, are free as a whole. */
static u64 whole_bits(const struct buddy *buddy, unsigned long i)
{
	const unsigned long start = max_t(unsigned long, buddy->fresh, i);
	const unsigned long end = min_t(unsigned long, buddy->fresh_end, i + 64);
	const u64 fresh = start < end ? ~0UL >> (64 - (end - start)) << (start - i) : 0;

	/* The descriptor of a fresh one stays unread, too: its page may not be there. */
	return ~fresh ? fresh | buddy->blocks[i].whole : fresh;
}

/* Are the first nr frames of a pageblock free? nr: 1 to 511. */
static bool prefix_is_free(const struct pageblock *block, unsigned int nr)
{
	unsigned int i = 0;

	for (; nr >= 64; i++, nr -= 64)
		if (~block->free[i])
			return false;
	return !nr || !(~block->free[i] << (64 - nr));
}

/* The first of nr pageblocks in a row that are free as a whole, and the one behind them is for `tail`
 * frames; NULL if there are none. */
static struct pageblock *find_run(const struct buddy *buddy, unsigned long nr, unsigned int tail)
{
	unsigned long run = 0; /* so many in a row end here */

	for (unsigned long i = 0; i < buddy->nr_blocks; i += 64) {
		const u64 whole = whole_bits(buddy, i);
		unsigned int at = 0;

		for (;;) {
			u64 bits = ~(whole >> at);
			unsigned int nr_whole = bits ? __ffs(bits) : 64;
			struct pageblock *end;

			run += nr_whole;
			at += nr_whole;
			end = &buddy->blocks[i + at];
			if (run > nr || (run == nr && !tail))
				return end - run;
			if (at == 64)
				break;
			if (run == nr && i + at < buddy->nr_blocks && prefix_is_free(end, tail))
				return end - run;
			run = 0;
			bits = whole >> at;
			if (!bits)
				break;
			at += __ffs(bits);
		}
	}
	return NULL;
}

/* Take the first nr frames of a pageblock that is free as a whole. */
static void take_first(struct buddy *buddy, struct pageblock *block, unsigned int nr,
		       enum migratetype type)
{
	u16 frame;

	unlist_whole(buddy, block);
	pageblock_take(block, PAGEBLOCK_ORDER, 1, &frame, &buddy->nr_split);
	block->migratetype = (u8)type;
	for (unsigned int rest = nr; rest < PAGEBLOCK_NR_PAGES; rest += 1U << __ffs(rest)) {
		pageblock_give(block, rest, __ffs(rest));
		buddy->nr_split++;
	}
	block->blank = nr == PAGEBLOCK_NR_PAGES && block->released == ALL_GROUPS;
	forget_released(buddy, block);
	relist(buddy, block);
}

/* Those of one that may be in use behind them. */
static void take_prefix(struct buddy *buddy, struct pageblock *block, unsigned int nr)
{
	pageblock_take_run(block, 0, nr);
	buddy->nr_split++;
	forget_released(buddy, block);
	relist(buddy, block);
}

struct page *buddy_take_run(struct buddy *buddy, unsigned long nr_pages, enum migratetype type)
{
	const unsigned long nr = max_t(unsigned long, nr_pages >> PAGEBLOCK_ORDER, 1);
	const unsigned int tail = nr_pages > PAGEBLOCK_NR_PAGES ? nr_pages % PAGEBLOCK_NR_PAGES : 0;
	struct pageblock *first = nr_pages <= buddy->nr_pages ? find_run(buddy, nr, tail) : NULL;
	unsigned long at;

	if (!first)
		return NULL;
	at = (unsigned long)(first - buddy->blocks);
	while (at < buddy->fresh_end && at + nr - !tail >= buddy->fresh && list_fresh(buddy))
		;
	for (unsigned long i = 0; i < nr; i++)
		take_first(buddy, first + i, min_t(unsigned long, nr_pages, PAGEBLOCK_NR_PAGES),
			   type);
	if (tail && pageblock_is_whole(first + nr))
		take_first(buddy, first + nr, tail, type);
	else if (tail)
		take_prefix(buddy, first + nr, tail);
	WRITE_ONCE(buddy->nr_pages, buddy->nr_pages - nr_pages);
	return first_page(buddy, first);
}

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

/* Bit i: the nr bits from i on are set. nr: 1 to 64. */
static u64 rows_of(u64 bits, unsigned long nr)
{
	for (unsigned long have = 1, more; have < nr; have += more) {
		more = min_t(unsigned long, have, nr - have);
		bits &= bits >> more;
	}
	return bits;
}

/* The first of nr pageblocks in a row that are free as a whole; NULL if there are none. */
static struct pageblock *find_run(const struct buddy *buddy, unsigned long nr)
{
	unsigned long before = 0; /* so many that end where the word begins */

	for (unsigned long i = 0; i < buddy->nr_blocks; i += 64) {
		const u64 bits = whole_bits(buddy, i);
		const unsigned long first = ~bits ? __ffs(~bits) : 64;
		u64 inside;

		if (before + first >= nr)
			return &buddy->blocks[i - before];
		if (first == 64) {
			before += 64;
			continue;
		}
		inside = nr < 64 ? rows_of(bits, nr) : 0;
		if (inside)
			return &buddy->blocks[i + __ffs(inside)];
		before = 63 - __fls(~bits);
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

struct page *buddy_take_run(struct buddy *buddy, unsigned long nr_pages, enum migratetype type)
{
	const unsigned long nr = (nr_pages + PAGEBLOCK_NR_PAGES - 1) >> PAGEBLOCK_ORDER;
	struct pageblock *first = nr_pages <= buddy->nr_pages ? find_run(buddy, nr) : NULL;

	if (!first)
		return NULL;
	while (buddy_is_fresh(buddy, (unsigned long)(first - buddy->blocks) + nr - 1))
		list_fresh(buddy);
	for (unsigned long i = 0, left = nr_pages; i < nr; i++, left -= PAGEBLOCK_NR_PAGES)
		take_first(buddy, first + i, min_t(unsigned long, left, PAGEBLOCK_NR_PAGES), type);
	WRITE_ONCE(buddy->nr_pages, buddy->nr_pages - nr_pages);
	return first_page(buddy, first);
}

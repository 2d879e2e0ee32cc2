/* SPDX-License-Identifier: MIT */
/* See linux_buddy.h. */
#include "tests/bench/run/linux_buddy.h"

#include <stdlib.h>
#include <string.h>

#define NOT_FREE 0xff

/* Where a type that has nothing looks, in this order. */
static const enum migratetype fallbacks[NR_MIGRATETYPES][NR_MIGRATETYPES - 1] = {
	[MIGRATE_UNMOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_MOVABLE},
	[MIGRATE_MOVABLE] = {MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE},
	[MIGRATE_RECLAIMABLE] = {MIGRATE_UNMOVABLE, MIGRATE_MOVABLE},
};

static u32 head_of(const struct linux_buddy *b, unsigned int order, enum migratetype type)
{
	return b->nr_pages + order * NR_MIGRATETYPES + type;
}

static u32 first_of(const struct linux_buddy *b, unsigned int order, enum migratetype type)
{
	u32 head = head_of(b, order, type), first = b->pages[head].next;

	return first == head ? NO_BLOCK : first;
}

static u8 *type_of(const struct linux_buddy *b, u32 pfn)
{
	return &b->types[pfn >> b->policy.pageblock_order];
}

void linux_buddy_init(struct linux_buddy *b, struct linux_policy policy, u32 nr_pages,
		      const u8 *types, unsigned int type_order)
{
	const u32 nr = nr_pages + NR_PAGE_ORDERS * NR_MIGRATETYPES;

	b->policy = policy;
	b->nr_pages = nr_pages;
	b->pages = calloc(nr, sizeof(*b->pages));
	b->types = calloc((nr_pages >> policy.pageblock_order) + 1, 1);
	if (!b->pages || !b->types)
		abort();
	for (u32 i = 0; i < nr; i++)
		b->pages[i] = (struct linux_page){.prev = i, .next = i, .order = NOT_FREE};
	for (u32 pfn = 0; pfn < nr_pages; pfn += 1U << policy.pageblock_order)
		*type_of(b, pfn) = types[pfn >> type_order];
}

void linux_buddy_destroy(struct linux_buddy *b)
{
	free(b->pages);
	free(b->types);
}

static void insert(struct linux_buddy *b, u32 pfn, u32 prev, u32 next)
{
	b->pages[pfn].prev = prev;
	b->pages[pfn].next = next;
	b->pages[prev].next = pfn;
	b->pages[next].prev = pfn;
}

static void add(struct linux_buddy *b, u32 pfn, unsigned int order, enum migratetype type,
		bool tail)
{
	u32 head = head_of(b, order, type);

	b->pages[pfn].order = (u8)order;
	b->pages[pfn].type = (u8)type;
	if (tail)
		insert(b, pfn, b->pages[head].prev, head);
	else
		insert(b, pfn, head, b->pages[head].next);
}

static void del(struct linux_buddy *b, u32 pfn)
{
	b->pages[b->pages[pfn].prev].next = b->pages[pfn].next;
	b->pages[b->pages[pfn].next].prev = b->pages[pfn].prev;
	b->pages[pfn].order = NOT_FREE;
}

void linux_buddy_add(struct linux_buddy *b, u32 pfn, unsigned int order, enum migratetype type)
{
	add(b, pfn, order, b->policy.own_type ? (enum migratetype) * type_of(b, pfn) : type, true);
}

static bool is_free_block(const struct linux_buddy *b, u32 pfn, unsigned int order)
{
	return pfn < b->nr_pages && b->pages[pfn].order == order;
}

/* The tail is for what may soon merge: its next buddy is free and waits for the other half. */
static bool merge_is_likely(const struct linux_buddy *b, u32 pfn, unsigned int order)
{
	u32 larger = pfn & ~(1U << order);

	return order < MAX_PAGE_ORDER - 1 &&
	       is_free_block(b, larger ^ 1U << (order + 1), order + 1);
}

void linux_buddy_give(struct linux_buddy *b, u32 pfn, unsigned int order)
{
	enum migratetype type = (enum migratetype) * type_of(b, pfn);

	while (order < MAX_PAGE_ORDER && is_free_block(b, pfn ^ 1U << order, order)) {
		del(b, pfn ^ 1U << order);
		pfn &= ~(1U << order);
		order++;
	}
	if (b->policy.own_type)
		type = (enum migratetype) * type_of(b, pfn);
	add(b, pfn, order, type, merge_is_likely(b, pfn, order));
}

/* Take 2^order pages off the low end of a free block; the rest goes to the lists of a type. */
static u32 cut(struct linux_buddy *b, u32 pfn, unsigned int order, enum migratetype type)
{
	unsigned int from = b->pages[pfn].order;

	del(b, pfn);
	while (from > order) {
		from--;
		add(b, pfn + (1U << from), from,
		    b->policy.own_type ? (enum migratetype) * type_of(b, pfn + (1U << from)) : type,
		    false);
	}
	return pfn;
}

/* The type that a block of exactly this order can be had from; NR_MIGRATETYPES: none. */
static enum migratetype fallback_type(const struct linux_buddy *b, unsigned int order,
				      enum migratetype type)
{
	for (int i = 0; i < NR_MIGRATETYPES - 1; i++)
		if (first_of(b, order, fallbacks[type][i]) != NO_BLOCK)
			return fallbacks[type][i];
	return NR_MIGRATETYPES;
}

static bool may_take_all(const struct linux_buddy *b, unsigned int order, enum migratetype type)
{
	return order >= b->policy.pageblock_order / 2 || type != MIGRATE_MOVABLE;
}

/* The block to steal: of the largest order, or, for what is movable and cannot have a pageblock's
 * other blocks too, of the smallest that serves. */
static u32 choose_stolen(const struct linux_buddy *b, unsigned int order, enum migratetype type)
{
	enum migratetype other = NR_MIGRATETYPES;
	unsigned int o;

	for (o = MAX_PAGE_ORDER + 1; other == NR_MIGRATETYPES && o-- > order;)
		other = fallback_type(b, o, type);
	if (other == NR_MIGRATETYPES)
		return NO_BLOCK;
	if (!may_take_all(b, o, type) && o > order) {
		o = order;
		while ((other = fallback_type(b, o, type)) == NR_MIGRATETYPES)
			o++;
	}
	return first_of(b, o, other);
}

static void move(struct linux_buddy *b, u32 pfn, enum migratetype type)
{
	unsigned int order = b->pages[pfn].order;

	del(b, pfn);
	add(b, pfn, order, type, true);
}

/* Free pages of a pageblock; with a type, their blocks move to its lists. */
static u32 free_in_pageblock(struct linux_buddy *b, u32 start, enum migratetype type)
{
	const u32 end = start + (1U << b->policy.pageblock_order);
	u32 nr = 0;

	for (u32 pfn = start; pfn < end;) {
		unsigned int order = b->pages[pfn].order;

		if (order == NOT_FREE) {
			pfn++;
			continue;
		}
		if (type != NR_MIGRATETYPES)
			move(b, pfn, type);
		pfn += 1U << order;
		nr += 1U << order;
	}
	return nr;
}

static void claim_whole(struct linux_buddy *b, u32 pfn, enum migratetype type)
{
	const u32 nr = 1U << b->pages[pfn].order;

	for (u32 i = 0; i < nr; i += 1U << b->policy.pageblock_order)
		*type_of(b, pfn + i) = (u8)type;
	move(b, pfn, type);
}

/* Of a pageblock that was movable all that is in use counts as wanted. Nothing tells of what is
 * used in the trace whether it could be moved, so none of it does. */
static void steal_as_linux(struct linux_buddy *b, u32 pfn, enum migratetype type)
{
	const u32 size = 1U << b->policy.pageblock_order, start = pfn & ~(size - 1);
	const bool was_movable = *type_of(b, pfn) == MIGRATE_MOVABLE;
	u32 nr_free;

	if (!may_take_all(b, b->pages[pfn].order, type) || start + size > b->nr_pages) {
		move(b, pfn, type);
		return;
	}
	nr_free = free_in_pageblock(b, start, type);
	if (nr_free >= size / 2 || (type != MIGRATE_MOVABLE && was_movable))
		*type_of(b, pfn) = (u8)type;
}

/* False: the pageblock stays what it is, and the block has to be taken out of it. */
static bool steal_as_kmm(struct linux_buddy *b, u32 pfn, enum migratetype type)
{
	const u32 size = 1U << b->policy.pageblock_order, start = pfn & ~(size - 1);

	if (!may_take_all(b, b->pages[pfn].order, type) || start + size > b->nr_pages ||
	    free_in_pageblock(b, start, NR_MIGRATETYPES) < size / 2)
		return false;
	*type_of(b, pfn) = (u8)type;
	free_in_pageblock(b, start, type);
	return true;
}

u32 linux_buddy_take(struct linux_buddy *b, unsigned int order, enum migratetype type)
{
	for (;;) {
		u32 pfn;

		for (unsigned int o = order; o <= MAX_PAGE_ORDER; o++) {
			pfn = first_of(b, o, type);
			if (pfn != NO_BLOCK)
				return cut(b, pfn, order, type);
		}
		pfn = choose_stolen(b, order, type);
		if (pfn == NO_BLOCK)
			return NO_BLOCK;
		if (b->pages[pfn].order >= b->policy.pageblock_order)
			claim_whole(b, pfn, type);
		else if (!b->policy.own_type)
			steal_as_linux(b, pfn, type);
		else if (!steal_as_kmm(b, pfn, type))
			return cut(b, pfn, order, type);
	}
}

u32 linux_buddy_next(const struct linux_buddy *b, unsigned int order, enum migratetype type,
		     u32 pfn)
{
	u32 next;

	if (pfn == NO_BLOCK)
		return first_of(b, order, type);
	next = b->pages[pfn].next;
	return next >= b->nr_pages ? NO_BLOCK : next;
}

void linux_buddy_count(const struct linux_buddy *b, unsigned long nr[NR_PAGE_ORDERS])
{
	memset(nr, 0, NR_PAGE_ORDERS * sizeof(*nr));
	for (u32 pfn = 0; pfn < b->nr_pages; pfn++)
		if (b->pages[pfn].order != NOT_FREE)
			nr[b->pages[pfn].order]++;
}

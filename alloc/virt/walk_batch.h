/* SPDX-License-Identifier: MIT */
/*
 * Many walks at once, so that they wait for memory together. Addresses are taken in groups; a group
 * goes down a level at a time, and each walk's next entry is asked of memory before any is read.
 * The last level's, which are most of what misses, are read when the next group has got as far:
 *
 *	group 0   level 3 | level 2 |                   | level 1
 *	group 1                     | level 3 | level 2 |         |                   | level 1
 *	group 2                                                   | level 3 | level 2 |
 *	                            ^ group 0's lines are on their way ^
 *
 * What the addresses of a group have in common is walked once: they part at the highest level at
 * which their indices differ, and the group starts there. So sorted addresses cost a read of the
 * last level each, and a level more of tables, above where the addresses part, costs nothing.
 *
 * Beside a writer: walk.h. Here free_gen is looked at once a group and level, before any entry of
 * it is followed; if it has changed the group's walks are made one by one. What was asked of memory
 * before that may have been nonsense, which harms nobody.
 */
#ifndef KMM_VIRT_WALK_BATCH_H
#define KMM_VIRT_WALK_BATCH_H

#include "virt/walk.h"

/* Enough to fill what the processor can wait for (10 to 48 lines), few enough that all of a group
 * stays in its first-level cache. */
#define PGTABLE_GROUP 32

/* A group on its way: where each walk reads next. */
struct pgtable_group {
	const u64 *va;
	struct pgtable_walk *walks;
	unsigned int nr;
	bool done;	   /* walks[] are written */
	size_t nr_present; /* of those written */
	u64 gen;
	const char *at[PGTABLE_GROUP]; /* NULL: it has ended */
};

/* Bits in which any address differs from the first. */
KMM_ALWAYS_INLINE u64 pgtable_group_spread(const u64 *va, unsigned int nr)
{
	u64 spread = 0;

	for (unsigned int i = 1; i < nr; i++)
		spread |= va[i] ^ va[0];
	return spread;
}

KMM_ALWAYS_INLINE const char *pgtable_entry_at(const struct pgtable_format *format,
					       const char *entries, u64 va, unsigned int level)
{
	return entries + pgtable_index(format, va, level) * format->entry_bytes;
}

/* Walk what all have in common; AGAIN, END (of them all, at *entry of *level), or DOWN: at->entries
 * is the table of *level, in which they part. */
KMM_ALWAYS_INLINE enum pgtable_step pgtable_group_start(const struct pgtable_format *format,
							const struct pgtable *table, u64 va,
							u64 spread, unsigned int *level,
							struct pgtable_cursor *at, u64 *entry)
{
	for (*level = format->levels;; --*level) {
		unsigned int shift = at->shift - format->index_bits[*level];

		if (*level == 1 || spread >> shift)
			return PGTABLE_DOWN;
		if (!pgtable_walk_read(format, table, va, *level, at, entry))
			return PGTABLE_AGAIN;
		if (!pgtable_goes_down(format, *level, *entry))
			return PGTABLE_END;
		at->entries = table->direct_map + (*entry & format->addr_mask);
	}
}

/* One by one: addresses that are none, or tables were freed under the group. */
KMM_ALWAYS_INLINE void pgtable_group_singly(const struct pgtable_format *format,
					    const struct pgtable *table,
					    struct pgtable_group *group)
{
	group->nr_present = 0;
	for (unsigned int i = 0; i < group->nr; i++)
		group->nr_present +=
			pgtable_walk_format(format, table, group->va[i], &group->walks[i]);
	group->done = true;
}

/* The walk of one of the group ends. */
KMM_ALWAYS_INLINE void pgtable_group_end(const struct pgtable_format *format,
					 struct pgtable_group *group, unsigned int i,
					 unsigned int level, unsigned int shift, u64 entry)
{
	pgtable_walk_end(format, group->va[i], level, shift, entry, &group->walks[i]);
	group->nr_present += entry & PTE_PRESENT;
}

/*
 * A level above the last: read the entries and ask for those that they lead to. from: the table
 * that all of the group are in, or NULL: where group->at says. level is a constant.
 */
KMM_ALWAYS_INLINE void pgtable_group_down(const struct pgtable_format *format,
					  const char *direct_map, unsigned int level,
					  const char *from, struct pgtable_group *group)
{
	const unsigned int shift = pgtable_level_shift(format, level), nr = group->nr;
	const u64 *va = group->va;

	for (unsigned int i = 0; i < nr; i++) {
		const char *at = from ? pgtable_entry_at(format, from, va[i], level) : group->at[i];
		u64 entry;

		if (!from && unlikely(!at))
			continue;
		entry = pgtable_entry_load(format, at, 0);
		if (likely(pgtable_goes_down(format, level, entry))) {
			at = pgtable_entry_at(format, direct_map + (entry & format->addr_mask),
					      va[i], level - 1);
			__builtin_prefetch(at);
		} else {
			pgtable_group_end(format, group, i, level, shift, entry);
			at = NULL;
		}
		group->at[i] = at;
	}
}

/* All levels but the last, whose entries are asked of memory. */
KMM_ALWAYS_INLINE void pgtable_group_begin(const struct pgtable_format *format,
					   const struct pgtable *table, struct pgtable_group *group)
{
	struct pgtable_cursor start = pgtable_cursor(format, table);
	u64 spread = pgtable_group_spread(group->va, group->nr), entry;
	const char *direct_map = table->direct_map, *from;
	unsigned int level;
	enum pgtable_step step;

	group->done = false;
	group->nr_present = 0;
	group->gen = start.gen;
	/* With the first all are addresses, if none differs in a bit that must be as the top bit
	 * is. */
	if (unlikely(!pgtable_va_valid(format, group->va[0])) ||
	    unlikely(spread >> (format->va_bits - format->canonical))) {
		pgtable_group_singly(format, table, group);
		return;
	}
	step = pgtable_group_start(format, table, group->va[0], spread, &level, &start, &entry);
	if (unlikely(step == PGTABLE_AGAIN)) {
		pgtable_group_singly(format, table, group);
		return;
	}
	if (unlikely(step == PGTABLE_END)) {
		for (unsigned int i = 0; i < group->nr; i++)
			pgtable_group_end(format, group, i, level, start.shift, entry);
		group->done = true;
		return;
	}
	from = start.entries;
	/* Written out, so that each level's code has its own constants; a format has only its own
	 * levels. The look at free_gen is not before the loads, which were acquires. */
#define DOWN(this_level)                                                                           \
	if (format->levels >= (this_level) && level >= (this_level)) {                             \
		if (level == (this_level))                                                         \
			pgtable_group_down(format, direct_map, this_level, from, group);           \
		else                                                                               \
			pgtable_group_down(format, direct_map, this_level, NULL, group);           \
		if (unlikely(READ_ONCE(table->free_gen) != group->gen)) {                          \
			pgtable_group_singly(format, table, group);                                \
			return;                                                                    \
		}                                                                                  \
	}
	DOWN(5)
	DOWN(4)
	DOWN(3)
	DOWN(2)
#undef DOWN
	if (level == 1)
		for (unsigned int i = 0; i < group->nr; i++) {
			group->at[i] = pgtable_entry_at(format, from, group->va[i], 1);
			__builtin_prefetch(group->at[i]);
		}
}

/* The last level. Returns how many of the group are present. */
KMM_ALWAYS_INLINE size_t pgtable_group_finish(const struct pgtable_format *format,
					      const struct pgtable *table,
					      struct pgtable_group *group)
{
	struct pgtable_walk *walks = group->walks;
	const unsigned int nr = group->nr;
	const u64 *va = group->va;
	size_t nr_present = 0;

	if (unlikely(group->done))
		return group->nr_present;
	for (unsigned int i = 0; i < nr; i++) {
		u64 entry;

		if (unlikely(!group->at[i]))
			continue;
		entry = pgtable_entry_load(format, group->at[i], 0);
		pgtable_walk_end(format, va[i], 1, format->page_shift, entry, &walks[i]);
		nr_present += entry & PTE_PRESENT;
	}
	group->nr_present += nr_present;
	if (unlikely(READ_ONCE(table->free_gen) != group->gen))
		pgtable_group_singly(format, table, group);
	return group->nr_present;
}

/* pgtable_walk_batch, for a table of a format that the caller knows. */
KMM_ALWAYS_INLINE size_t pgtable_walk_batch_format(const struct pgtable_format *format,
						   const struct pgtable *table, const u64 *va,
						   size_t nr, struct pgtable_walk *walks)
{
	size_t nr_present = 0, nr_groups = (nr + PGTABLE_GROUP - 1) / PGTABLE_GROUP;
	struct pgtable_group groups[2];

	for (size_t i = 0; i <= nr_groups; i++) {
		if (i < nr_groups) {
			struct pgtable_group *group = &groups[i & 1];
			size_t first = i * PGTABLE_GROUP;

			group->va = va + first;
			group->walks = walks + first;
			group->nr = nr - first < PGTABLE_GROUP ? (unsigned int)(nr - first)
							       : PGTABLE_GROUP;
			pgtable_group_begin(format, table, group);
		}
		if (i)
			nr_present += pgtable_group_finish(format, table, &groups[~i & 1]);
	}
	return nr_present;
}

#endif

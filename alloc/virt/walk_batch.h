/* SPDX-License-Identifier: MIT */
/*
 * Many walks at once, so that they wait for memory together. Addresses follow each other down the
 * tables in small groups; between two stages of a group lie stages of others, in which the lines
 * that it asked for come:
 *
 *	group i			upper levels	its entries of level 2 are asked for
 *	group i - 1		level 2		its entries of level 1 are asked for
 *	group i - 6		level 1		its walks end
 *
 * So lines are asked for at an even pace, a few at a time: what waits for memory and what computes
 * are different groups always, and neither stops for the other.
 *
 * What the addresses of eight groups have in common is walked once: they part at the highest level
 * at which their indices differ, and start there. So addresses that lie near each other, as sorted
 * ones do, cost a read of the last levels each; and a level more of tables, above where they part,
 * costs nothing.
 *
 * Beside a writer: walk.h. Here free_gen is looked at once a group and level, before any entry of
 * it is followed; if it has changed the walks that have not ended are made one by one. What was
 * asked of memory before that may have been nonsense, which harms nobody.
 */
#ifndef KMM_VIRT_WALK_BATCH_H
#define KMM_VIRT_WALK_BATCH_H

#include "virt/walk.h"

/* Addresses to a group: few enough that its stage is soon over. */
#define PGTABLE_GROUP 8

/*
 * Addresses between a group's stages: level 2 comes from a near cache most often, level 1 seldom.
 * Between asking for entries of level 1 and reading them are 40, more than a processor can wait for
 * at once (10 to 16 lines on most).
 */
#define PGTABLE_CROSS PGTABLE_GROUP
#define PGTABLE_LAND  (6 * PGTABLE_GROUP)
#define PGTABLE_RING  (8 * PGTABLE_GROUP) /* room for all that are on their way */
_Static_assert(PGTABLE_RING >= PGTABLE_LAND + PGTABLE_GROUP, "none is overwritten");
_Static_assert(!(PGTABLE_RING & (PGTABLE_RING - 1)), "% is a mask");

/* Addresses that start together, where they part is found for them all. */
#define PGTABLE_SHARE (8 * PGTABLE_GROUP)

/* How addresses that start together do. */
struct pgtable_start {
	enum pgtable_step step; /* DOWN; END: all, at entry; AGAIN: they are walked one by one */
	unsigned int level;	/* in whose table they part; of entry */
	unsigned int shift;	/* END: log2 of the bytes that entry covers */
	u64 entry;
	const char *entries; /* that table */
};

/* Walks on their way. */
struct pgtable_flight {
	const u64 *va;
	struct pgtable_walk *walks;
	size_t nr;
	u64 gen;
	struct pgtable_start starts[2]; /* of address i in [i / SHARE % 2] */
	/* Of address i in [i % RING]: where its walk reads next; NULL: it has ended. */
	const char **at;
};
_Static_assert(PGTABLE_SHARE >= PGTABLE_CROSS, "two starts at most are between begin and cross");

KMM_ALWAYS_INLINE const char *pgtable_entry_at(const struct pgtable_format *format,
					       const char *entries, u64 va, unsigned int level)
{
	return entries + pgtable_index(format, va, level) * format->entry_bytes;
}

/* Bits in which any address differs from the first. */
KMM_ALWAYS_INLINE u64 pgtable_spread(const u64 *va, size_t nr)
{
	u64 spread = 0;

	for (size_t i = 1; i < nr; i++)
		spread |= va[i] ^ va[0];
	return spread;
}

/* Walk what nr addresses have in common. */
KMM_ALWAYS_INLINE struct pgtable_start pgtable_start(const struct pgtable_format *format,
						     const struct pgtable *table, const u64 *va,
						     size_t nr)
{
	struct pgtable_cursor at = pgtable_cursor(format, table);
	struct pgtable_start start = {.step = PGTABLE_AGAIN};
	u64 spread = pgtable_spread(va, nr);

	/* With the first all are addresses, if none differs in a bit that must be as the top bit
	 * is. */
	if (unlikely(!pgtable_va_valid(format, va[0])) ||
	    unlikely(spread >> (format->va_bits - format->canonical)))
		return start;
	for (start.level = format->levels;; start.level--) {
		unsigned int shift = at.shift - format->index_bits[start.level];

		if (start.level == 1 || spread >> shift)
			break;
		if (!pgtable_walk_read(format, table, va[0], start.level, &at, &start.entry))
			return start;
		if (!pgtable_goes_down(format, start.level, start.entry)) {
			start.step = PGTABLE_END;
			start.shift = at.shift;
			return start;
		}
		at.entries = table->direct_map + (start.entry & format->addr_mask);
	}
	start.step = PGTABLE_DOWN;
	start.entries = at.entries;
	return start;
}

/* One by one, up to before end. Returns how many are present. */
KMM_ALWAYS_INLINE size_t pgtable_flight_singly(const struct pgtable_format *format,
					       const struct pgtable *table,
					       const struct pgtable_flight *flight, size_t first,
					       size_t end)
{
	size_t nr_present = 0;

	for (size_t i = first; i < end; i++)
		nr_present += pgtable_walk_format(format, table, flight->va[i], &flight->walks[i]);
	return nr_present;
}

/* A group that has ended with its start. */
KMM_ALWAYS_INLINE void pgtable_flight_end(const struct pgtable_format *format,
					  const struct pgtable *table,
					  const struct pgtable_start *start,
					  struct pgtable_flight *flight, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++) {
		if (start->step == PGTABLE_END)
			pgtable_walk_end(format, flight->va[i], start->level, start->shift,
					 start->entry, &flight->walks[i]);
		flight->at[i % PGTABLE_RING] = NULL;
	}
	if (start->step == PGTABLE_AGAIN)
		pgtable_flight_singly(format, table, flight, first, end);
}

/* Entries of the one table of level 1 that all are in are asked of memory. */
KMM_ALWAYS_INLINE void pgtable_flight_enter(const struct pgtable_format *format, const char *from,
					    struct pgtable_flight *flight, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++) {
		const char *at = pgtable_entry_at(format, from, flight->va[i], 1);

		__builtin_prefetch(at);
		flight->at[i % PGTABLE_RING] = at;
	}
}

/*
 * A level above the last: read the entries and ask for those that they lead to. parts: all are in
 * the table from; else each is where flight->at says. level and parts are constants.
 */
KMM_ALWAYS_INLINE void pgtable_flight_down(const struct pgtable_format *format,
					   const char *direct_map, unsigned int level, bool parts,
					   const char *from, struct pgtable_flight *flight,
					   size_t first, size_t end)
{
	const unsigned int shift = pgtable_level_shift(format, level);
	struct pgtable_walk *walks = flight->walks;
	const u64 *va = flight->va;

	for (size_t i = first; i < end; i++) {
		const char *at = parts ? pgtable_entry_at(format, from, va[i], level)
				       : flight->at[i % PGTABLE_RING];
		u64 entry;

		if (!parts && unlikely(!at))
			continue;
		entry = pgtable_entry_load(format, at, 0);
		if (likely(pgtable_goes_down(format, level, entry))) {
			at = pgtable_entry_at(format, direct_map + (entry & format->addr_mask),
					      va[i], level - 1);
			__builtin_prefetch(at);
		} else {
			pgtable_walk_end(format, va[i], level, shift, entry, &walks[i]);
			at = NULL;
		}
		flight->at[i % PGTABLE_RING] = at;
	}
}

/* The upper levels, after which entries of level 2 are on their way, or of level 1 where all lie in
 * one table of one of these levels. False: tables were freed meanwhile. */
KMM_ALWAYS_INLINE bool pgtable_flight_begin(const struct pgtable_format *format,
					    const struct pgtable *table,
					    struct pgtable_flight *flight, size_t first, size_t end)
{
	struct pgtable_start *start = &flight->starts[first / PGTABLE_SHARE % 2];
	const char *direct_map = table->direct_map;

	if (first % PGTABLE_SHARE == 0)
		*start = pgtable_start(format, table, flight->va + first,
				       min_t(size_t, flight->nr - first, PGTABLE_SHARE));
	if (unlikely(start->step != PGTABLE_DOWN)) {
		pgtable_flight_end(format, table, start, flight, first, end);
		return true;
	}
	/* Written out, so that each level's code has its own constants; a format has only its own
	 * levels. The look at free_gen is not before the loads, which were acquires. */
#define DOWN(this_level)                                                                           \
	if (format->levels >= (this_level) && start->level >= (this_level)) {                      \
		if (start->level == (this_level))                                                  \
			pgtable_flight_down(format, direct_map, this_level, true, start->entries,  \
					    flight, first, end);                                   \
		else                                                                               \
			pgtable_flight_down(format, direct_map, this_level, false, start->entries, \
					    flight, first, end);                                   \
		if (unlikely(READ_ONCE(table->free_gen) != flight->gen))                           \
			return false;                                                              \
	}
	DOWN(5)
	DOWN(4)
	DOWN(3)
#undef DOWN
	if (format->levels >= 2 && start->level == 2)
		pgtable_flight_down(format, direct_map, 2, true, start->entries, flight, first,
				    end);
	if (start->level == 1)
		pgtable_flight_enter(format, start->entries, flight, first, end);
	return true;
}

/* Level 2, for those that parted above it. */
KMM_ALWAYS_INLINE void pgtable_flight_cross(const struct pgtable_format *format,
					    const struct pgtable *table,
					    struct pgtable_flight *flight, size_t first, size_t end)
{
	const struct pgtable_start *start = &flight->starts[first / PGTABLE_SHARE % 2];

	if (format->levels > 2 && start->level > 2)
		pgtable_flight_down(format, table->direct_map, 2, false, start->entries, flight,
				    first, end);
}

/* The last level. Returns how many are present. */
KMM_ALWAYS_INLINE size_t pgtable_flight_land(const struct pgtable_format *format,
					     struct pgtable_flight *flight, size_t first,
					     size_t end)
{
	struct pgtable_walk *walks = flight->walks;
	const u64 *va = flight->va;
	size_t nr_present = 0;

	for (size_t i = first; i < end; i++) {
		const char *at = flight->at[i % PGTABLE_RING];
		u64 entry;

		if (unlikely(!at)) {
			nr_present += walks[i].present;
			continue;
		}
		entry = pgtable_entry_load(format, at, 0);
		pgtable_walk_end(format, va[i], 1, format->page_shift, entry, &walks[i]);
		nr_present += entry & PTE_PRESENT;
	}
	return nr_present;
}

/* The group's end: its addresses are from first up to before this. */
KMM_ALWAYS_INLINE size_t pgtable_group_end(size_t first, size_t nr)
{
	return min_t(size_t, first + PGTABLE_GROUP, nr);
}

/* All stages of all groups. Returns how many walks have ended: all, or those up to where tables
 * were freed. Adds those that are present. */
KMM_ALWAYS_INLINE size_t pgtable_flight_fly(const struct pgtable_format *format,
					    const struct pgtable *table, const u64 *va, size_t nr,
					    struct pgtable_walk *walks, size_t *nr_present)
{
	const char *at[PGTABLE_RING];
	struct pgtable_flight ours = {.va = va, .walks = walks, .nr = nr, .at = at};
	struct pgtable_flight *flight = &ours;

	/* Acquire: forbids that an entry is read before it. */
	flight->gen = __atomic_load_n(&table->free_gen, __ATOMIC_ACQUIRE);
	for (size_t i = 0; i < nr + PGTABLE_LAND; i += PGTABLE_GROUP) {
		/* Huge, as long as none is as far. */
		size_t cross = i - PGTABLE_CROSS, land = i - PGTABLE_LAND, nr_landed = 0;
		bool same = true;

		if (i < nr)
			same = pgtable_flight_begin(format, table, flight, i,
						    pgtable_group_end(i, nr));
		if (cross < nr)
			pgtable_flight_cross(format, table, flight, cross,
					     pgtable_group_end(cross, nr));
		if (land < nr)
			nr_landed = pgtable_flight_land(format, flight, land,
							pgtable_group_end(land, nr));
		if (unlikely(!same) || unlikely(READ_ONCE(table->free_gen) != flight->gen)) {
			size_t first = i < PGTABLE_LAND ? 0 : land, end = pgtable_group_end(i, nr);

			*nr_present += pgtable_flight_singly(format, table, flight, first, end);
			return end;
		}
		*nr_present += nr_landed;
	}
	return nr;
}

/* pgtable_walk_batch, for a table of a format that the caller knows. */
KMM_ALWAYS_INLINE size_t pgtable_walk_batch_format(const struct pgtable_format *format,
						   const struct pgtable *table, const u64 *va,
						   size_t nr, struct pgtable_walk *walks)
{
	size_t nr_present = 0;

	for (size_t done = 0; done < nr;)
		done += pgtable_flight_fly(format, table, va + done, nr - done, walks + done,
					   &nr_present);
	return nr_present;
}

#endif

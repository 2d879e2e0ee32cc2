/* SPDX-License-Identifier: MIT */
/*
 * An access through the TLBs, and the walk behind them; see tlb.h.
 *
 * How entries come and go. A walk fills L1 and L2, a hit in L2 fills L1; what L1 loses is not put
 * anywhere. A walk looks into the page-walk caches from the lowest level up, goes on below the
 * first hit, and fills those that missed. So an access to a page of leaf level f reads
 *
 *	f .. n-1	where the cache of level n has hit: n - f entries
 *	f .. levels	where none has:			    levels + 1 - f
 *
 * A page that is larger than anything an L1 of its kind can hold is held there in pieces, as
 * processors do.
 */
#include "virt/tlb_cpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

_Static_assert(TLB_LEAVES * 4 + TLB_KIND_MASK <= TLB_GLOBAL, "a port for each kind and leaf");

const struct tlb_paging tlb_paging_i386 = {2, {0, 12, 22}};
const struct tlb_paging tlb_paging_pae = {3, {0, 12, 21, 30}};
const struct tlb_paging tlb_paging_4_level = {4, {0, 12, 21, 30, 39}};
const struct tlb_paging tlb_paging_5_level = {5, {0, 12, 21, 30, 39, 48}};

/*
 * Access.
 */
/* Entries of the levels from `from` down to the leaf's are read: are their lines near? */
static __attribute__((noinline)) void touch_lines(struct tlb *tlb, u64 va, unsigned int from,
						  unsigned int leaf)
{
	for (unsigned int level = from; level >= leaf; level--) {
		u64 number = va << 7 >> (7 + tlb->config.paging.shift[level]) >> tlb->line_bits;
		u64 tag = number | tlb->pcid_bits[0] | TLB_VALID | (u64)level << TLB_LEVEL_SHIFT;

		if (!tlb_array_lookup(&tlb->lines, tag, number))
			tlb_array_fill(&tlb->lines, tag, number);
	}
}

/* The levels from `from` up are looked for; what is below is known not to be cached. */
static void walk_from(struct tlb *tlb, u64 va, unsigned int leaf, unsigned int from)
{
	unsigned int levels = tlb->config.paging.levels, level;
	u64 numbers[TLB_MAX_LEVELS + 1], tags[TLB_MAX_LEVELS + 1];

	for (level = from; level <= levels; level++) {
		if (!tlb->cache_of[level])
			continue;
		numbers[level] = va << 7 >> (7 + tlb->config.paging.shift[level]);
		tags[level] = numbers[level] | tlb->pcid_bits[0] | TLB_VALID |
			      (u64)level << TLB_LEVEL_SHIFT;
		if (tlb_array_lookup(tlb->cache_of[level], tags[level], numbers[level]))
			break;
	}
	tlb->references += level - leaf;
	if (unlikely(tlb->lines.tags))
		touch_lines(tlb, va, level - 1, leaf);
	while (--level >= from)
		if (tlb->cache_of[level])
			tlb_array_fill(tlb->cache_of[level], tags[level], numbers[level]);
}

/* An access that L1 has missed. */
static __attribute__((noinline)) enum tlb_found miss(struct tlb *tlb, const struct tlb_port *port,
						     u64 va, u64 l1_tag, u64 pcid_bits)
{
	u64 number = va << 7 >> port->l2_shift, tag = number | port->l2_tag | pcid_bits;
	enum tlb_found found = TLB_WALKED;

	if (likely(port->l2) && tlb_array_lookup(port->l2, tag, number)) {
		tlb->l2_hits++;
		found = TLB_IN_L2;
	} else {
		tlb->walks++;
		walk_from(tlb, va, port->leaf, port->leaf + 1U);
		if (likely(port->l2))
			tlb_array_fill(port->l2, tag, number);
	}
	tlb_array_fill(port->l1, l1_tag, l1_tag & TLB_NUMBER_BITS);
	return found;
}

KMM_ALWAYS_INLINE enum tlb_found access_one(struct tlb *tlb, const struct tlb_port *port, u64 va,
					    u64 pcid_bits)
{
	u64 number = va << 7 >> port->l1_shift, tag = number | port->l1_tag | pcid_bits;

	if (likely(tlb_array_lookup(port->l1, tag, number)))
		return TLB_IN_L1;
	return miss(tlb, port, va, tag, pcid_bits);
}

enum tlb_found tlb_access(struct tlb *tlb, u64 va, unsigned int how)
{
	return access_one(tlb, &tlb->ports[how & (TLB_GLOBAL - 1)], va,
			  tlb->pcid_bits[how / TLB_GLOBAL & 1]);
}

/* Walks of a batch, whose list is used up: a level at a time, up to where one cache has several
 * levels, or where the lines count that each walk reads. */
static void run_walks(struct tlb *tlb, u64 *va, size_t nr, unsigned int leaf)
{
	unsigned int levels = tlb->config.paging.levels, level = leaf + 1;

	tlb->walks += nr;
	for (; nr && level <= levels && !tlb->walk_alone[level]; level++) {
		u64 tag_bits = tlb->pcid_bits[0] | TLB_VALID | (u64)level << TLB_LEVEL_SHIFT;
		size_t left;

		if (!tlb->cache_of[level])
			continue;
		left = tlb_array_stream(tlb->cache_of[level], va, nr,
					7U + tlb->config.paging.shift[level], tag_bits, va);
		tlb->references += (nr - left) * (level - leaf);
		nr = left;
	}
	if (level <= levels || tlb->lines.tags)
		for (size_t i = 0; i < nr; i++)
			walk_from(tlb, va[i], leaf, level);
	else
		tlb->references += nr * (level - leaf);
}

void tlb_run(struct tlb *tlb, const u64 *va, size_t nr, unsigned int how)
{
	const struct tlb_port *port = &tlb->ports[how & (TLB_GLOBAL - 1)];
	u64 pcid_bits = tlb->pcid_bits[how / TLB_GLOBAL & 1], missed[TLB_BATCH];

	for (size_t done = 0, now; done < nr; done += now) {
		size_t left;

		/* An array goes through a batch before the next one does. */
		now = min_t(size_t, nr - done, TLB_BATCH);
		left = tlb_array_stream(port->l1, va + done, now, port->l1_shift,
					port->l1_tag | pcid_bits, missed);
		if (left && port->l2) {
			tlb->l2_hits += left;
			left = tlb_array_stream(port->l2, missed, left, port->l2_shift,
						port->l2_tag | pcid_bits, missed);
			tlb->l2_hits -= left;
		}
		if (left)
			run_walks(tlb, missed, left, port->leaf);
	}
}

/*
 * Making one.
 */
static bool paging_is_good(const struct tlb_paging *paging)
{
	if (paging->levels < 1 || paging->levels > TLB_MAX_LEVELS || paging->shift[1] < 12)
		return false;
	for (unsigned int level = 2; level <= paging->levels; level++)
		if (paging->shift[level] <= paging->shift[level - 1] || paging->shift[level] > 56)
			return false;
	return true;
}

/* The array at a depth that holds leaves of a level for a kind; *nr: how many do. */
static struct tlb_array *find_array(struct tlb *tlb, unsigned int depth, unsigned int kind,
				    unsigned int level, unsigned int *nr)
{
	struct tlb_array *found = NULL;

	*nr = 0;
	for (unsigned int i = 0; i < TLB_MAX_ARRAYS; i++) {
		const struct tlb_geometry *geometry = &tlb->config.arrays[depth][i];

		if (!geometry->entries || !(geometry->kinds >> kind & 1) ||
		    !(geometry->levels >> level & 1))
			continue;
		found = &tlb->arrays[depth][i];
		++*nr;
	}
	return found;
}

static u64 level_tag(unsigned int level)
{
	return TLB_VALID | (u64)level << TLB_LEVEL_SHIFT;
}

static int init_port(struct tlb *tlb, unsigned int kind, unsigned int leaf)
{
	struct tlb_port *port = &tlb->ports[kind | (leaf - 1) << 2];
	const struct tlb_paging *paging = &tlb->config.paging;
	unsigned int nr = 0, held = min_t(unsigned int, leaf, paging->levels);

	port->leaf = (u8)held;
	port->l2 = find_array(tlb, 1, kind, held, &nr);
	if (nr > 1)
		return -EINVAL;
	port->l2_tag = level_tag(held);
	port->l2_shift = (u8)(7 + paging->shift[held]);
	for (; held && !port->l1; held--) {
		port->l1 = find_array(tlb, 0, kind, held, &nr);
		if (nr > 1)
			return -EINVAL;
		port->l1_tag = level_tag(held);
		port->l1_shift = (u8)(7 + paging->shift[held]);
	}
	return port->l1 ? 0 : -EINVAL;
}

static int init_arrays(struct tlb *tlb)
{
	const struct tlb_config *config = &tlb->config;
	int error = 0;

	for (int depth = 0; depth < TLB_DEPTH; depth++)
		for (int i = 0; i < TLB_MAX_ARRAYS && !error; i++)
			if (config->arrays[depth][i].entries)
				error = tlb_array_init(&tlb->arrays[depth][i],
						       &config->arrays[depth][i], depth == 0);
	for (int i = 0; i < TLB_MAX_CACHES && !error; i++) {
		if (!config->caches[i].entries)
			continue;
		error = tlb_array_init(&tlb->caches[i], &config->caches[i], false);
		for (unsigned int level = 2; level <= TLB_MAX_LEVELS && !error; level++) {
			if (!(config->caches[i].levels >> level & 1))
				continue;
			error = tlb->cache_of[level] ? -EINVAL : 0;
			tlb->cache_of[level] = &tlb->caches[i];
		}
	}
	for (unsigned int level = 2; level <= TLB_MAX_LEVELS; level++) {
		tlb->walk_alone[level] = config->lines.entries != 0;
		for (unsigned int other = 2; other <= TLB_MAX_LEVELS; other++)
			tlb->walk_alone[level] |= other != level && tlb->cache_of[level] &&
						  tlb->cache_of[other] == tlb->cache_of[level];
	}
	/* A line of 64 bytes has 16 entries of 4 bytes or 8 of 8. */
	tlb->line_bits = config->paging.levels == 2 ? 4 : 3;
	if (config->lines.entries && !error)
		error = tlb_array_init(&tlb->lines, &config->lines, false);
	return error;
}

int tlb_create(const struct tlb_config *config, struct tlb **out)
{
	struct tlb *tlb;
	int error;

	if (!paging_is_good(&config->paging) || config->pti > TLB_PTI_PCID ||
	    (config->pti != TLB_PTI_OFF && config->pcid != (config->pti == TLB_PTI_PCID)))
		return -EINVAL;
	tlb = tlb_zeroed(sizeof(*tlb));
	if (!tlb)
		return -ENOMEM;
	tlb->config = *config;
	/* As Linux: with isolation nothing is global. */
	tlb->use_global = config->global && config->pti == TLB_PTI_OFF;
	tlb_first_space(tlb);
	error = init_arrays(tlb);
	for (unsigned int kind = TLB_LOAD; kind <= TLB_FETCH && !error; kind++)
		for (unsigned int leaf = 1; leaf <= TLB_LEAVES && !error; leaf++)
			error = init_port(tlb, kind, leaf);
	if (error) {
		tlb_destroy(tlb);
		return error;
	}
	*out = tlb;
	return 0;
}

void tlb_destroy(struct tlb *tlb)
{
	if (!tlb)
		return;
	for (int depth = 0; depth < TLB_DEPTH; depth++)
		for (int i = 0; i < TLB_MAX_ARRAYS; i++)
			tlb_array_free(&tlb->arrays[depth][i]);
	for (int i = 0; i < TLB_MAX_CACHES; i++)
		tlb_array_free(&tlb->caches[i]);
	tlb_array_free(&tlb->lines);
	free(tlb);
}

/*
 * Counters.
 */
static void read_array(const struct tlb_array *array, struct tlb_array_counts *counts)
{
	counts->name = array->tags ? array->name : NULL;
	counts->lookups = array->lookups;
	counts->misses = array->misses;
}

void tlb_read_counts(const struct tlb *tlb, struct tlb_counts *counts)
{
	memset(counts, 0, sizeof(*counts));
	for (int depth = 0; depth < TLB_DEPTH; depth++)
		for (int i = 0; i < TLB_MAX_ARRAYS; i++)
			read_array(&tlb->arrays[depth][i], &counts->arrays[depth][i]);
	for (int i = 0; i < TLB_MAX_CACHES; i++)
		read_array(&tlb->caches[i], &counts->caches[i]);
	for (int i = 0; i < TLB_MAX_ARRAYS; i++)
		counts->accesses += counts->arrays[0][i].lookups;
	counts->walks = tlb->walks;
	counts->references = tlb->references;
	counts->far_references = tlb->lines.misses;
	counts->found[TLB_WALKED] = tlb->walks;
	counts->found[TLB_IN_L2] = tlb->l2_hits;
	counts->found[TLB_IN_L1] = counts->accesses - tlb->walks - tlb->l2_hits;
	counts->cycles = tlb->l2_hits * tlb->config.l2_hit_cycles +
			 tlb->walks * tlb->config.walk_cycles +
			 tlb->references * tlb->config.ref_cycles +
			 tlb->lines.misses * tlb->config.far_cycles;
	counts->cr3_loads = tlb->cr3_loads;
	counts->flushes = tlb->flushes;
	counts->invalidated_pages = tlb->invalidated_pages;
	counts->kernel_entries = tlb->kernel_entries;
	counts->switches = tlb->switches;
	counts->shootdowns = tlb->shootdowns;
	counts->ipis_sent = tlb->ipis_sent;
	counts->ipis_received = tlb->ipis_received;
}

void tlb_validate(const struct tlb *tlb)
{
	for (int depth = 0; depth < TLB_DEPTH; depth++)
		for (int i = 0; i < TLB_MAX_ARRAYS; i++)
			tlb_array_validate(&tlb->arrays[depth][i]);
	for (int i = 0; i < TLB_MAX_CACHES; i++)
		tlb_array_validate(&tlb->caches[i]);
	if (tlb->lines.tags)
		tlb_array_validate(&tlb->lines);
}

/* SPDX-License-Identifier: MIT */
/* See slow_tlb.h. */
#include "slow_tlb.h"

#include <string.h>

typedef bool entry_test(const struct slow_tlb *tlb, const struct slow_entry *entry,
			const struct slow_entry *like);

static unsigned int ways_of(const struct slow_array *array)
{
	return array->geometry->ways ? array->geometry->ways : array->geometry->entries;
}

static u64 page_start(const struct slow_tlb *tlb, u64 va, unsigned int level)
{
	va &= (1UL << 57) - 1;
	return va - va % (1UL << tlb->config->paging.shift[level]);
}

/* The first entry of the set that the page belongs to. */
static struct slow_entry *set_of(const struct slow_tlb *tlb, struct slow_array *array,
				 const struct slow_entry *like)
{
	u64 number = like->page / (1UL << tlb->config->paging.shift[like->level]);
	u64 groups = 1UL << array->geometry->hash;
	u64 nr_sets = array->geometry->entries / ways_of(array);

	if (array->geometry->hash)
		number = number % groups ^ number / groups % groups;
	return &array->entries[number % nr_sets * ways_of(array)];
}

static bool same(const struct slow_entry *a, const struct slow_entry *b)
{
	return a->valid && a->page == b->page && a->level == b->level && a->global == b->global &&
	       (a->global || a->pcid == b->pcid);
}

/* All nodes from the root of ways [low, low + n) down to the one point away from it. */
static void tree_touch(bool *right, unsigned int node, unsigned int n, unsigned int way)
{
	if (n == 1)
		return;
	right[node] = way < n / 2;
	if (way < n / 2)
		tree_touch(right, 2 * node, n / 2, way);
	else
		tree_touch(right, 2 * node + 1, n / 2, way - n / 2);
}

static unsigned int tree_victim(const bool *right, unsigned int node, unsigned int n)
{
	if (n == 1)
		return 0;
	if (right[node])
		return n / 2 + tree_victim(right, 2 * node + 1, n / 2);
	return tree_victim(right, 2 * node, n / 2);
}

static void touch(struct slow_tlb *tlb, struct slow_array *array, struct slow_entry *set,
		  unsigned int way)
{
	set[way].used = ++tlb->now;
	tree_touch(&array->right[set - array->entries], 1, ways_of(array), way);
}

static bool lookup(struct slow_tlb *tlb, struct slow_array *array, const struct slow_entry *like)
{
	struct slow_entry *set = set_of(tlb, array, like);

	array->lookups++;
	for (unsigned int way = 0; way < ways_of(array); way++) {
		if (same(&set[way], like)) {
			touch(tlb, array, set, way);
			return true;
		}
	}
	array->misses++;
	return false;
}

static void fill(struct slow_tlb *tlb, struct slow_array *array, const struct slow_entry *like)
{
	struct slow_entry *set = set_of(tlb, array, like);
	unsigned int victim = 0;

	for (unsigned int way = 1; way < ways_of(array); way++)
		if (set[way].used < set[victim].used)
			victim = way;
	if (array->geometry->replacement == TLB_PLRU)
		victim = tree_victim(&array->right[set - array->entries], 1, ways_of(array));
	for (unsigned int way = ways_of(array); way-- > 0;)
		if (!set[way].valid)
			victim = way;
	set[victim] = *like;
	touch(tlb, array, set, victim);
}

static struct slow_array *cache_of(struct slow_tlb *tlb, unsigned int level)
{
	for (int i = 0; i < TLB_MAX_CACHES; i++)
		if (tlb->caches[i].geometry && tlb->caches[i].geometry->levels >> level & 1)
			return &tlb->caches[i];
	return NULL;
}

/* The entry's line: as a page whose number is the line's. */
static void read_line(struct slow_tlb *tlb, u64 va, unsigned int level)
{
	u64 entry_bytes = tlb->config->paging.levels == 2 ? 4 : 8;
	struct slow_entry line = {.valid = true, .level = level, .pcid = tlb->pcid};

	if (!tlb->lines.geometry)
		return;
	line.page = page_start(tlb, va, level) >> tlb->config->paging.shift[level];
	line.page = line.page / (64 / entry_bytes) << tlb->config->paging.shift[level];
	if (!lookup(tlb, &tlb->lines, &line))
		fill(tlb, &tlb->lines, &line);
}

static void walk(struct slow_tlb *tlb, u64 va, unsigned int leaf)
{
	unsigned int levels = tlb->config->paging.levels, known = levels + 1;
	struct slow_entry entry = {.valid = true, .pcid = tlb->pcid};

	for (unsigned int level = leaf + 1; level <= levels && known > levels; level++) {
		entry.level = level;
		entry.page = page_start(tlb, va, level);
		if (cache_of(tlb, level) && lookup(tlb, cache_of(tlb, level), &entry))
			known = level;
	}
	tlb->walks++;
	/* The walk reads the levels from the one below what is known to the leaf. */
	for (unsigned int level = known - 1; level >= leaf; level--) {
		tlb->references++;
		read_line(tlb, va, level);
		entry.level = level;
		entry.page = page_start(tlb, va, level);
		if (level > leaf && cache_of(tlb, level))
			fill(tlb, cache_of(tlb, level), &entry);
	}
}

static struct slow_array *array_of(struct slow_tlb *tlb, int depth, unsigned int kind,
				   unsigned int level)
{
	for (int i = 0; i < TLB_MAX_ARRAYS; i++) {
		const struct tlb_geometry *geometry = tlb->arrays[depth][i].geometry;

		if (geometry && geometry->kinds >> kind & 1 && geometry->levels >> level & 1)
			return &tlb->arrays[depth][i];
	}
	return NULL;
}

static unsigned int leaf_of(const struct slow_tlb *tlb, unsigned int how)
{
	unsigned int leaf = 1 + (how & TLB_LEAF_MASK) / 4;

	return leaf < tlb->config->paging.levels ? leaf : tlb->config->paging.levels;
}

enum tlb_found slow_access(struct slow_tlb *tlb, u64 va, unsigned int how)
{
	unsigned int kind = how & TLB_KIND_MASK, leaf = leaf_of(tlb, how), held = leaf;
	struct slow_array *l2 = array_of(tlb, 1, kind, leaf);
	struct slow_entry small, whole = {.valid = true, .level = leaf, .pcid = tlb->pcid};
	enum tlb_found found = TLB_WALKED;

	whole.page = page_start(tlb, va, leaf);
	whole.global = how & TLB_GLOBAL && tlb->config->global && tlb->config->pti == TLB_PTI_OFF;
	while (!array_of(tlb, 0, kind, held))
		held--;
	small = whole;
	small.level = held;
	small.page = page_start(tlb, va, held);
	if (lookup(tlb, array_of(tlb, 0, kind, held), &small))
		return TLB_IN_L1;
	if (l2 && lookup(tlb, l2, &whole)) {
		found = TLB_IN_L2;
	} else {
		walk(tlb, va, leaf);
		if (l2)
			fill(tlb, l2, &whole);
	}
	fill(tlb, array_of(tlb, 0, kind, held), &small);
	return found;
}

static void drop_if(const struct slow_tlb *tlb, struct slow_array *array, entry_test *test,
		    const struct slow_entry *like)
{
	for (int i = 0; i < SLOW_ENTRIES; i++)
		if (array->entries[i].valid && test(tlb, &array->entries[i], like))
			array->entries[i] = (struct slow_entry){0};
}

static void drop(struct slow_tlb *tlb, entry_test *test, entry_test *cache_test,
		 const struct slow_entry *like)
{
	for (int depth = 0; depth < TLB_DEPTH; depth++)
		for (int i = 0; i < TLB_MAX_ARRAYS; i++)
			drop_if(tlb, &tlb->arrays[depth][i], test, like);
	for (int i = 0; i < TLB_MAX_CACHES; i++)
		drop_if(tlb, &tlb->caches[i], cache_test, like);
}

static bool any(const struct slow_tlb *tlb, const struct slow_entry *entry,
		const struct slow_entry *like)
{
	(void)tlb;
	(void)entry;
	(void)like;
	return true;
}

static bool of_pcid(const struct slow_tlb *tlb, const struct slow_entry *entry,
		    const struct slow_entry *like)
{
	(void)tlb;
	return !entry->global && entry->pcid == like->pcid;
}

static bool inside(const struct slow_tlb *tlb, const struct slow_entry *entry,
		   const struct slow_entry *like)
{
	u64 end = like->page + (1UL << tlb->config->paging.shift[like->level]);

	return entry->level <= like->level && entry->page >= like->page && entry->page < end;
}

static bool of_pcid_inside(const struct slow_tlb *tlb, const struct slow_entry *entry,
			   const struct slow_entry *like)
{
	return of_pcid(tlb, entry, like) && inside(tlb, entry, like);
}

static bool of_pcid_or_global_inside(const struct slow_tlb *tlb, const struct slow_entry *entry,
				     const struct slow_entry *like)
{
	return (entry->global || entry->pcid == like->pcid) && inside(tlb, entry, like);
}

void slow_load_cr3(struct slow_tlb *tlb, unsigned int pcid, bool keep)
{
	tlb->pcid = tlb->config->pcid ? pcid : 0;
	if (!keep || !tlb->config->pcid)
		drop(tlb, of_pcid, of_pcid, &(struct slow_entry){.pcid = tlb->pcid});
}

void slow_invpcid(struct slow_tlb *tlb, unsigned int pcid, u64 va, unsigned int how)
{
	struct slow_entry like = {.pcid = tlb->config->pcid ? pcid : 0};

	like.level = leaf_of(tlb, how);
	like.page = page_start(tlb, va, like.level);
	drop(tlb, of_pcid_inside, of_pcid, &like);
}

void slow_invlpg(struct slow_tlb *tlb, u64 va, unsigned int how)
{
	struct slow_entry like = {.pcid = tlb->pcid};

	like.level = leaf_of(tlb, how);
	like.page = page_start(tlb, va, like.level);
	drop(tlb, of_pcid_or_global_inside, of_pcid, &like);
}

void slow_flush_all(struct slow_tlb *tlb)
{
	drop(tlb, any, any, NULL);
}

void slow_init(struct slow_tlb *tlb, const struct tlb_config *config)
{
	memset(tlb, 0, sizeof(*tlb));
	tlb->config = config;
	for (int depth = 0; depth < TLB_DEPTH; depth++)
		for (int i = 0; i < TLB_MAX_ARRAYS; i++)
			if (config->arrays[depth][i].entries)
				tlb->arrays[depth][i].geometry = &config->arrays[depth][i];
	for (int i = 0; i < TLB_MAX_CACHES; i++)
		if (config->caches[i].entries)
			tlb->caches[i].geometry = &config->caches[i];
	if (config->lines.entries)
		tlb->lines.geometry = &config->lines;
}

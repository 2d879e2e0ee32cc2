/* SPDX-License-Identifier: MIT */
/* What the writer and the reader of .kmt traces share: names, ids, varints, and which shapes can
 * be. */
#include "workloads/kmt_format.h"

#include <errno.h>
#include <stdlib.h>

static const struct {
	const char *name;
	u8 population, effect;
} kinds[KMT_NR_KINDS] = {
#define X(id, text, population, effect) [KMT_##id] = {text, KMT_##population, KMT_##effect},
	KMT_KINDS(X)
#undef X
};

const char *kmt_kind_name(enum kmt_kind kind)
{
	return kinds[kind].name;
}

enum kmt_population kmt_kind_population(enum kmt_kind kind)
{
	return kinds[kind].population;
}

enum kmt_effect kmt_kind_effect(enum kmt_kind kind)
{
	return kinds[kind].effect;
}

u64 kmt_counts_population(const struct kmt_counts *counts, enum kmt_population population)
{
	u64 sum = 0;

	for (int kind = 0; kind < KMT_NR_KINDS; kind++)
		if (kinds[kind].population == population)
			sum += counts->kinds[kind];
	return sum;
}

u64 kmt_counts_events(const struct kmt_counts *counts)
{
	return kmt_counts_population(counts, KMT_OBJECTS) +
	       kmt_counts_population(counts, KMT_PAGES);
}

int kmt_ids_grow(struct kmt_ids *ids)
{
	u32 room = ids->room ? ids->room * 2 : 1024;
	u32 *next;

	/* The two highest numbers mean KMT_LIVE and KMT_NONE. */
	if (ids->room >= 1U << 31)
		return -ENOMEM;
	next = realloc(ids->next, room * sizeof(*next));
	if (!next)
		return -ENOMEM;
	ids->next = next;
	ids->room = room;
	return 0;
}

const u8 *kmt_get_varint_slow(const u8 *p, const u8 *end, u64 *value)
{
	u64 sum = 0;

	for (unsigned int shift = 0; shift < 64; shift += 7) {
		u8 byte;

		if (p >= end)
			return NULL;
		byte = *p++;
		if (shift == 63 && byte > 1)
			return NULL;
		sum |= (u64)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*value = sum;
			return p;
		}
	}
	return NULL;
}

const char *kmt_shape_problem(const struct kmt_shape *shape, u32 nr_caches)
{
	if (shape->kind >= KMT_NR_KINDS)
		return "unknown kind of event";
	if (shape->flags & ~(KMT_ARG_INLINE | KMT_IMPLIED | KMT_WRITE))
		return "unknown flags";
	if (shape->order > (shape->kind == KMT_MEMALIGN ? 47 : KMT_MAX_ORDER))
		return "order out of range";
	if (shape->cache != KMT_NO_CACHE && shape->cache >= nr_caches)
		return "cache out of range";
	if (shape->kind == KMT_CACHE_ALLOC && shape->cache == KMT_NO_CACHE)
		return "cache_alloc without a cache";
	if (shape->requested > KMT_MAX_SIZE || shape->allocated > KMT_MAX_SIZE)
		return "size out of range";
	if (shape->gfp >> KMT_NR_GFP_BITS)
		return "unknown GFP flags";
	if (shape->node < KMT_NO_NODE || shape->node >= KMM_MAX_NODES)
		return "node out of range";
	return NULL;
}

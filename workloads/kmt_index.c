/* SPDX-License-Identifier: MIT */
/* The writer's dictionary; see kmt_index.h. */
#include "workloads/kmt_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static u64 hash_bytes(const void *bytes, size_t length)
{
	const u8 *p = bytes;
	u64 hash = length * 0x9E3779B97F4A7C15ULL;

	for (; length >= 8; p += 8, length -= 8) {
		u64 word;

		memcpy(&word, p, sizeof(word));
		hash = (hash ^ word) * 0x9E3779B97F4A7C15ULL;
		hash ^= hash >> 29;
	}
	for (; length; p++, length--)
		hash = (hash ^ *p) * 0x9E3779B97F4A7C15ULL;
	return hash ^ hash >> 32;
}

u32 *kmt_index_slot(const struct kmt_index *index, const void *things, size_t stride,
		    const void *key, size_t length)
{
	u32 i = (u32)hash_bytes(key, length) & (index->room - 1);

	while (index->slots[i] &&
	       memcmp((const u8 *)things + (index->slots[i] - 1) * stride, key, length))
		i = (i + 1) & (index->room - 1);
	return &index->slots[i];
}

int kmt_index_reserve(struct kmt_index *index, void **array, size_t stride,
		      size_t (*length)(const void *))
{
	struct kmt_index bigger = {.nr = index->nr, .room = index->room ? index->room * 2 : 256};
	void *things;

	if (index->nr < index->room / 2)
		return 0;
	bigger.slots = calloc(bigger.room, sizeof(*bigger.slots));
	things = realloc(*array, bigger.room / 2 * stride);
	if (things)
		*array = things;
	if (!things || !bigger.slots) {
		free(bigger.slots);
		return -ENOMEM;
	}
	for (u32 i = 0; i < index->nr; i++) {
		const u8 *thing = (const u8 *)things + i * stride;

		*kmt_index_slot(&bigger, things, stride, thing, length(thing)) = i + 1;
	}
	free(index->slots);
	*index = bigger;
	return 0;
}

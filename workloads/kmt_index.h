/* SPDX-License-Identifier: MIT */
/*
 * Numbers of things (names, contexts, shapes) by what they are: how the writer finds that it has
 * said something before. Open addressing, at most half full; the things stay in an array of the
 * owner's, in the order of their numbers, and are compared as bytes.
 */
#ifndef WORKLOADS_KMT_INDEX_H
#define WORKLOADS_KMT_INDEX_H

#include <stddef.h>

#include "base/types.h"

struct kmt_index {
	u32 *slots; /* 0: empty, else number + 1 */
	u32 nr, room;
};

/* The slot of the thing equal to key, or the empty one where a new one's number + 1 goes; the
 * caller then adds one to nr. Things are `stride` bytes apart. */
u32 *kmt_index_slot(const struct kmt_index *index, const void *things, size_t stride,
		    const void *key, size_t length);

/* Make room in index and array for one more thing. length gives the bytes of a thing that count. 0
 * or -ENOMEM. */
int kmt_index_reserve(struct kmt_index *index, void **array, size_t stride,
		      size_t (*length)(const void *));

#endif

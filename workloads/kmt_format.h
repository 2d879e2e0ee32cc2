/* SPDX-License-Identifier: MIT */
/*
 * The bytes of a .kmt file, shared by its writer and its reader; FORMAT.md says the same in words.
 * All numbers are little-endian. Varints are LEB128: seven bits a byte, lowest first, at most ten
 * bytes.
 */
#ifndef WORKLOADS_KMT_FORMAT_H
#define WORKLOADS_KMT_FORMAT_H

#include <string.h>

#include "base/compiler.h"
#include "workloads/kmt.h"

#define KMT_MAGIC	       "\x89KMT\r\n\x1a\n"
#define KMT_MAGIC_BYTES	       8
#define KMT_FOURCC(a, b, c, d) ((u32)(a) | (u32)(b) << 8 | (u32)(c) << 16 | (u32)(d) << 24)
#define KMT_BLOCK_EVENTS       KMT_FOURCC('E', 'V', 'N', 'T')
#define KMT_BLOCK_TRAILER      KMT_FOURCC('T', 'A', 'I', 'L')

struct kmt_file_header {
	u8 magic[KMT_MAGIC_BYTES];
	u16 version;
	u16 flags;
	u32 header_bytes; /* this struct and the description behind it */
	u32 time_unit_ns;
	u32 description_bytes;
	u64 start_time_ns;
	u32 reserved;
	u32 checksum; /* CRC-32C of header_bytes with this field 0 */
};
_Static_assert(sizeof(struct kmt_file_header) == 40, "as in FORMAT.md");

struct kmt_block_header {
	u32 type;
	u32 nr_events;
	u32 raw_bytes;	  /* decompressed */
	u32 stored_bytes; /* zstd frame that follows */
	u32 number;	  /* of the block, from 0 */
	u32 checksum;	  /* CRC-32C of this header with this field 0, and of the stored bytes */
};
_Static_assert(sizeof(struct kmt_block_header) == 24, "as in FORMAT.md");

/* An events block, decompressed: the bytes of each column, then the columns one after the other. */
enum kmt_column {
	KMT_COL_DEFS,  /* caches, contexts and shapes first used in this block */
	KMT_COL_HEADS, /* a varint an event: shape << 1 | (another context than the event before) */
	KMT_COL_CONTEXTS, /* a varint for each such event: the context's number */
	KMT_COL_TIMES,	  /* a varint an event: time units since the event before */
	KMT_COL_IDS,	  /* a varint for each event that is no allocation */
	KMT_COL_ARGS,	  /* a varint for each event whose shape has KMT_ARG_INLINE */
	KMT_NR_COLUMNS
};

enum kmt_def { KMT_DEF_CACHE = 1, KMT_DEF_CONTEXT, KMT_DEF_SHAPE };

#define KMT_KIND_TAG   256 /* trailer: tag of the count of kind 0 */
#define KMT_VARINT_MAX 10

/* The ids of one population: a free id holds the next free one, a live one KMT_LIVE. */
#define KMT_LIVE 0xffffffffU
#define KMT_NONE 0xfffffffeU
struct kmt_ids {
	u32 *next;
	u32 nr, room;
	u32 free; /* freed last, or KMT_NONE */
	u32 live;
};

static inline void kmt_ids_init(struct kmt_ids *ids)
{
	*ids = (struct kmt_ids){.free = KMT_NONE};
}

/* Make room for the next new id. 0 or -ENOMEM. */
int kmt_ids_grow(struct kmt_ids *ids);

/* KMT_NONE: no memory. */
static inline u32 kmt_ids_alloc(struct kmt_ids *ids)
{
	u32 id = ids->free;

	if (id != KMT_NONE) {
		ids->free = ids->next[id];
	} else {
		if (unlikely(ids->nr == ids->room) && kmt_ids_grow(ids))
			return KMT_NONE;
		id = ids->nr++;
	}
	ids->next[id] = KMT_LIVE;
	ids->live++;
	return id;
}

static inline bool kmt_ids_live(const struct kmt_ids *ids, u64 id)
{
	return id < ids->nr && ids->next[id] == KMT_LIVE;
}

static inline bool kmt_ids_free(struct kmt_ids *ids, u64 id)
{
	if (unlikely(!kmt_ids_live(ids, id)))
		return false;
	ids->next[id] = ids->free;
	ids->free = (u32)id;
	ids->live--;
	return true;
}

static inline u8 *kmt_put_varint(u8 *p, u64 value)
{
	while (value >= 0x80) {
		*p++ = (u8)(value | 0x80);
		value >>= 7;
	}
	*p++ = (u8)value;
	return p;
}

const u8 *kmt_get_varint_slow(const u8 *p, const u8 *end, u64 *value);

/* The byte behind the varint, or NULL if it runs past end or over 64 bits. */
static inline const u8 *kmt_get_varint(const u8 *p, const u8 *end, u64 *value)
{
	if (likely(p < end && *p < 0x80)) {
		*value = *p;
		return p + 1;
	}
	if (likely(end - p >= 2 && p[1] < 0x80)) {
		*value = (u64)(p[0] & 0x7f) | (u64)p[1] << 7;
		return p + 2;
	}
	/* Ids beyond 16,383: too often for a call. */
	if (likely(end - p >= 3 && p[2] < 0x80)) {
		*value = (u64)(p[0] & 0x7f) | (u64)(p[1] & 0x7f) << 7 | (u64)p[2] << 14;
		return p + 3;
	}
	return kmt_get_varint_slow(p, end, value);
}

/* Signed numbers near 0 as small unsigned ones. */
static inline u64 kmt_zigzag(s64 value)
{
	return ((u64)value << 1) ^ (u64)(value >> 63);
}

static inline s64 kmt_unzigzag(u64 value)
{
	return (s64)(value >> 1) ^ -(s64)(value & 1);
}

/* Why a shape cannot be, or NULL. nr_caches: caches known. */
const char *kmt_shape_problem(const struct kmt_shape *shape, u32 nr_caches);

/* What a trace's events add up to, kept by writer and reader alike. */
struct kmt_account {
	struct kmt_ids ids[KMT_NR_POPULATIONS];
	u64 kinds[KMT_NR_KINDS];
};

#endif

/* SPDX-License-Identifier: MIT */
/* The inside of the .kmt reader, shared by its two files: kmt_read.c (blocks and events) and
 * kmt_read_defs.c (what blocks define, and the trailer). */
#ifndef WORKLOADS_KMT_READER_H
#define WORKLOADS_KMT_READER_H

#include <zstd.h>

#include "workloads/kmt_format.h"

struct kmt_context {
	u32 cpu;
	s32 tid;
};

struct kmt_cursor {
	const u8 *at, *end;
};

/* What the decoding loop needs of a shape, in eight bytes beside each other. */
struct kmt_step {
	u8 kind, order, population, effect;
	u8 is_inline;
};

struct kmt_reader {
	int fd;
	bool own_fd, ended, failed;
	char *name;
	char error[KMT_ERROR_SIZE];
	struct kmt_info info;

	u64 offset, block_offset; /* bytes read; where the open block begins */
	u32 nr_blocks;		  /* begun */
	u32 nr_left;		  /* events of the open block */
	struct kmt_cursor columns[KMT_NR_COLUMNS];
	ZSTD_DCtx *zstd;
	u8 *raw, *stored;
	size_t raw_room, stored_room;

	u64 now, context;
	struct kmt_shape *shapes;
	struct kmt_step *steps;
	struct kmt_context *contexts;
	char **caches;
	u32 nr_shapes, nr_contexts, nr_caches;
	u32 shapes_room, contexts_room, caches_room;

	struct kmt_account account;
	struct kmt_counts counts;
};

/* Note an error in the open block, with its place; returns -1. */
__attribute__((format(printf, 2, 3))) int kmt_reader_fail(struct kmt_reader *r, const char *fmt,
							  ...);

/* Take what the open block defines; read the trailer, and hold the trace to it. 0 or -1. */
int kmt_read_definitions(struct kmt_reader *r);
int kmt_read_trailer(struct kmt_reader *r, size_t raw_bytes);

/* The next varint of a column; false at its end. */
static inline bool kmt_get(struct kmt_cursor *c, u64 *value)
{
	const u8 *p = kmt_get_varint(c->at, c->end, value);

	if (!p)
		return false;
	c->at = p;
	return true;
}

#endif

/* SPDX-License-Identifier: MIT */
/* The inside of the .kmt writer, shared by its two files: kmt_write.c (events, blocks, files) and
 * kmt_write_defs.c (what is said once). */
#ifndef WORKLOADS_KMT_WRITER_H
#define WORKLOADS_KMT_WRITER_H

#include <zstd.h>

#include "workloads/kmt_format.h"
#include "workloads/kmt_index.h"

/* Room that one definition can take. */
#define DEF_BYTES_MAX (2 + 2 * KMT_VARINT_MAX + KMT_MAX_NAME + 8 * KMT_VARINT_MAX)
/* A full column ends a block early, so that the bound on a block's bytes holds whatever is
 * written. */
#define COLUMN_BYTES_MAX (KMT_MAX_BLOCK_BYTES / 8)
_Static_assert(KMT_NR_COLUMNS *COLUMN_BYTES_MAX + 64 < KMT_MAX_BLOCK_BYTES, "a full block fits");

struct kmt_column_out {
	u8 *begin, *at;
};

struct kmt_context_key {
	u32 cpu;
	s32 tid;
};

struct kmt_name {
	u8 length;
	char text[KMT_MAX_NAME];
};

struct kmt_writer {
	int fd;
	bool own_fd;
	char *name;	 /* for errors */
	char *temporary; /* to be renamed to name, or NULL */
	bool nameless;	 /* the file has no name yet: temporary is given to it at the commit */
	char error[KMT_ERROR_SIZE];

	u32 time_unit_ns;
	u64 now; /* in units */
	u32 context;
	u32 nr_events, nr_blocks; /* events of the open block */
	struct kmt_column_out columns[KMT_NR_COLUMNS];
	ZSTD_CCtx *zstd;
	u8 *raw, *stored;
	size_t stored_room;

	struct kmt_shape *shapes;
	struct kmt_context_key *contexts;
	struct kmt_name *caches;
	u32 nr_shapes, nr_contexts, nr_caches;
	struct kmt_index shape_index, context_index, cache_index;

	struct kmt_account account;
	u64 *sizes[KMT_NR_POPULATIONS]; /* requested bytes by id, live ones only */
	u32 sizes_room[KMT_NR_POPULATIONS];
	u64 live_bytes[KMT_NR_POPULATIONS];
	u64 peak_live[KMT_NR_POPULATIONS], peak_bytes[KMT_NR_POPULATIONS];
};

/* Note an error; returns it. */
__attribute__((format(printf, 3, 4))) int kmt_writer_fail(struct kmt_writer *w, int error,
							  const char *fmt, ...);

/* Write the open block. 0 or -errno. */
int kmt_writer_flush(struct kmt_writer *w);
/* Has the open block no room for one event and what it may define? */
bool kmt_writer_full(const struct kmt_writer *w);

/* The number of a context or a shape, defined in the open block if it is new. 0 or -errno. */
int kmt_find_context(struct kmt_writer *w, u32 cpu, s32 tid, u32 *number);
int kmt_find_shape(struct kmt_writer *w, const struct kmt_shape *key, u32 *number);

#endif

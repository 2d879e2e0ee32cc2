/* SPDX-License-Identifier: MIT */
/*
 * Events as operations on one allocator: what the timed loops of a replay run.
 *
 * All that can be known before an operation runs (which cache, which flags, how many bytes) is
 * looked up when its event is decoded, outside the timed loop; inside it, an operation is its call,
 * the table of live blocks by id, and the tag. Every block carries a tag of its id in its first
 * bytes, which is looked at before it is freed: a block handed out twice, or written to by the
 * allocator, is found.
 */
#ifndef KMM_BENCH_REPLAY_OPS_H
#define KMM_BENCH_REPLAY_OPS_H

#include "bench/peer.h"
#include "kmm.h"
#include "workloads/kmt.h"

enum replay_action {
	REPLAY_ALLOC, /* kmalloc, malloc */
	REPLAY_FREE,
	REPLAY_CACHE_ALLOC, /* kmm only */
	REPLAY_CACHE_FREE,
	REPLAY_PAGE_ALLOC, /* kmm's pages */
	REPLAY_PAGE_FREE,
	REPLAY_ALIGNED_ALLOC, /* pages of a malloc library */
	REPLAY_ORDER_ALLOC,   /* of a page peer */
	REPLAY_ORDER_FREE,
};

struct replay_op {
	struct kmem_cache *cache;
	u64 bytes;
	u32 id;
	gfp_t gfp;
	u8 action; /* enum replay_action */
	u8 order;
	u8 tag_bytes; /* of the block that the tag takes: 8, or all of a smaller block */
};

/* What is live under an id, as decoding knows it. */
struct replay_object {
	struct kmem_cache *cache;
	u64 bytes;
	bool live;
};

/* One allocator with one trace's population. */
struct replay_target {
	enum kmt_population population;
	struct kmm *machine;		/* kmm; or */
	const struct object_peer *peer; /* a malloc library, or a page peer */
	bool verify;

	struct kmem_cache **caches; /* of the trace, by shape: made when first seen; kmm only */
	u32 nr_caches;
	struct replay_object *objects; /* by id, as far as decoded */
	void **blocks;		       /* by id, as far as replayed */
	u32 nr_ids;

	u64 requested_bytes, allocated_bytes; /* by live blocks; allocated only when measured */
	bool measure;	 /* keep allocated_bytes: asks the allocator for each block's usable size */
	char error[256]; /* of the replay: one line */
};

/* Tables for nr_ids objects. 0 or -ENOMEM. */
int replay_target_init(struct replay_target *target, u32 nr_ids);
/* Free the tables, and destroy the caches: 0, or -EBUSY if one still had objects. */
int replay_target_end(struct replay_target *target);

/*
 * Turn events of the target's population into operations, and note when they happened; others are
 * passed over. Makes the caches that they need. Returns how many operations (at most n); -1 with
 * the target's error set.
 */
ssize_t replay_decode(struct replay_target *target, struct kmt_reader *reader,
		      const struct kmt_event *events, size_t n, struct replay_op *ops,
		      u64 *times_ns);

/* Frees of all that is live, in order of ids, from *from on; at most n operations. *from moves
 * on. */
size_t replay_drain_ops(struct replay_target *target, u32 *from, struct replay_op *ops, size_t n);

/*
 * Run operations, the timed loop. Returns how many were done: n, or fewer with the target's error
 * set: no memory, or contents that are not what was written.
 */
size_t replay_run(struct replay_target *target, const struct replay_op *ops, size_t n);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The operations of random work (random_work.h): allocations of every kind and frees, one at a time,
 * each told to the slow model. Not for several threads at once.
 */
#ifndef TESTS_PHYS_RANDOM_OPS_H
#define TESTS_PHYS_RANDOM_OPS_H

#include "tests/alloc/phys/frame_model.h"
#include "tests/alloc/phys/random_work.h"

enum origin {
	PAGES,	 /* alloc_pages, alloc_pages_node, alloc_pages_bulk */
	ADDRESS, /* __get_free_pages */
	EXACT,	 /* alloc_pages_exact */
};

/* What somebody has: a block, or (EXACT) frames in a row that are no block. */
struct live {
	struct page *page;
	u64 stamp;
	gfp_t gfp;
	u32 nr_frames;
	u8 order; /* EXACT: 0 */
	u8 origin;
};

struct random_ops {
	struct frame_model model;
	struct live *live;
	unsigned long nr_live;
	unsigned long stamp_every; /* frames: more than 1 on large machines, to spare the host */
	unsigned long random;
	u64 last_stamp;
	/* The present phase: which orders, and how many frames are to be in use. */
	unsigned long phase_ends, target;
	unsigned int order_low, order_span; /* span 0: half of order 0, a quarter of order 1, ... */
	bool oldest_first;

	unsigned long nr_done;
	struct random_result result;
};

/* Start on a machine whose slots are drained. random is not 0. */
void random_ops_init(struct random_ops *ops, struct kmm *machine, unsigned long random);
/* Free all, and compare: everything is as it was at the start. Only idle slots and the caller's may
 * hold pages. */
void random_ops_end(struct random_ops *ops);

/* One allocation or one free, so that memory in use goes towards the present target. */
void random_step(struct random_ops *ops);

static inline unsigned long next_random(struct random_ops *ops)
{
	return tap_random(&ops->random);
}

#endif

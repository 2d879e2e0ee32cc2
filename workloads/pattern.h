/* SPDX-License-Identifier: MIT */
/*
 * Synthetic patterns of accesses to a footprint: loads of one word in a cache line, on and on.
 *
 *	sequential	one line after the other, round and round
 *	stride		the same in steps of stride bytes
 *	random		any line
 *	zipf		page k of a scrambled order with a probability of 1 / k^skew; any line of it
 *	chase		each line once, in an order without a pattern, then again
 */
#ifndef WORKLOADS_PATTERN_H
#define WORKLOADS_PATTERN_H

#include "base/types.h"

#define PATTERN_LINE 64U
#define PATTERN_PAGE 4096U

enum pattern_kind {
	PATTERN_SEQUENTIAL,
	PATTERN_STRIDE,
	PATTERN_RANDOM,
	PATTERN_ZIPF,
	PATTERN_CHASE,
	PATTERN_NR_KINDS
};

extern const char *const pattern_names[PATTERN_NR_KINDS];

struct pattern {
	enum pattern_kind kind;
	u64 base;	     /* the first address */
	u64 footprint_bytes; /* a page or more; the last part of a line is not used */
	u64 stride_bytes;    /* 1 or more */
	double skew;	     /* of zipf: above 0 */

	/* pattern_begin sets these: */
	u64 at, random;
	u64 nr_lines, nr_pages, mask;
	double h_first, h_last, cut;
};

/* Begin, or begin again, with what is given. 0 or -EINVAL. */
int pattern_begin(struct pattern *pattern, u64 seed);
/* The next nr addresses. */
void pattern_take(struct pattern *pattern, u64 *addresses, size_t nr);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Is what an allocator hands out really memory of the caller's own? A set of objects is allocated,
 * filled, and checked: no two overlap, and every word that was written is still there when its
 * object is freed, in an order unlike that of the allocations. The words depend on their address,
 * the object's number and the thread, so that a block handed out twice, a shifted copy or another
 * thread's writes all differ.
 *
 * Objects of up to a page are filled whole; of larger ones the first word, the last, and the first
 * words of up to 64 pages between. That two objects lie apart is checked by their addresses,
 * whatever their size.
 */
#ifndef KMM_BENCH_SUITES_VERIFY_H
#define KMM_BENCH_SUITES_VERIFY_H

#include "bench/suites/common.h"

struct verify_set {
	int count;
	uint64_t salt;	  /* the thread's */
	void **objects;	  /* [count] */
	size_t *sizes;	  /* [count] */
	uint16_t *order;  /* [count], of the frees */
	uint16_t *sorted; /* [count], scratch: numbers by address */
};

/* Objects that a check takes for a case of this size: as many as the case holds at once, or 64 for
 * pair; fewer, down to 8, where they are large. */
int verify_count(const struct bench_case *c, size_t size_bytes);

/* Fill, and check, one object. check returns the offset of the first wrong byte's word, or -1. */
void verify_fill(void *object, size_t size, uint64_t salt, uint64_t number);
long verify_check(const void *object, size_t size, uint64_t salt, uint64_t number);

/* Allocate the set (its sizes and order are set), fill, check, free. visit, if not NULL, sees each
 * object while it is live. NULL or an error line; objects not yet freed then stay allocated, unless
 * it is case_no_memory's. */
const char *verify_run(struct bench_case *c, struct verify_set *set,
		       void (*visit)(struct bench_case *c, const void *object, void *arg),
		       void *arg);

#endif

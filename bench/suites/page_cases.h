/* SPDX-License-Identifier: MIT */
/*
 * The cases of suite page that no other suite has.
 *
 *	fillNN/...	a pattern of objects.h in what is left when NN % of memory is in use
 *	stress		random orders, contents checked
 *	ageing		rounds of churn in memory that is half full; ageing_mixed: of mixed orders
 *
 * pair, bulk and shuffle are those of objects.h, repeat and occupancy slots.h's, xcpu is xcpu.h's;
 * threadtest (Hoard's) is bulk with more blocks than any cache of a CPU holds.
 */
#ifndef KMM_BENCH_SUITES_PAGE_CASES_H
#define KMM_BENCH_SUITES_PAGE_CASES_H

#include "bench/suites/objects.h"

extern const struct case_ops stress_ops, ageing_ops;

/* Of suite page, for cases that need no more. */
extern const struct object_suite page_suite;
const char *page_setup(struct bench_case *c);
/* The teardown of cases that fill memory: what a malloc library then keeps of the host's memory would
 * weigh on the cases after. */
const char *page_teardown_full(struct bench_case *c);
int page_node_of(const void *object);

/* Bytes of the memory that a case fills a part of: kmm's machine, and as many for everyone else.
 * Without a machine, a few MiB. */
uint64_t page_memory_bytes(const struct bench_env *env);

/* Why this allocator can not be filled with so many bytes, or NULL: memory that the host has not, or
 * more mappings than it allows. */
const char *page_fill_refused(const struct bench_env *env, const struct object_peer *peer,
			      uint64_t bytes);

/*
 * A suite that fills memory: each thread takes its share of blocks of the case's order, to beyond
 * percent of memory in use, and gives random ones back until it is percent. On a machine with nodes
 * a thread fills its own. percent is one of the steps of FILL_STEPS.
 */
#define FILL_STEPS 20 /* 0, 5, ... 95 */
const struct object_suite *fill_suite(unsigned int percent);
unsigned int fill_percent(const struct object_suite *suite); /* of one of those */

/* A block of 2^order pages from any allocator, and back: by order where the allocator has orders. */
static inline void *block_alloc(const struct object_peer *peer, unsigned int order)
{
	return peer->alloc_order ? peer->alloc_order(order) : peer->alloc(PAGE_SIZE << order);
}

static inline void block_free(const struct object_peer *peer, void *block, unsigned int order)
{
	if (peer->free_order)
		peer->free_order(block, order);
	else
		peer->free(block);
}

/* An error line for a page peer's block that is not in its memory, or not aligned; else NULL. */
static inline const char *block_misplaced(const struct object_peer *peer, const void *block,
					  unsigned int order)
{
	char line[120];

	return page_peer_misplaced(peer, block, PAGE_SIZE << order, line, sizeof(line))
		       ? error_line("a block of order %u: %s", order, line)
		       : NULL;
}

/* The two kinds of ageing, as a case's object_suite. */
extern const struct object_suite *const ageing_plain, *const ageing_mixed;
#define AGEING_MIXED_ORDER 4 /* the largest in ageing_mixed */

#endif

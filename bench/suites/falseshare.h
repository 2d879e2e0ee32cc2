/* SPDX-License-Identifier: MIT */
/*
 * Do threads get objects on one cache line? Each thread allocates some small objects, adds to a word in
 * each of them in turn, many times over, and frees them. An operation is one such addition, not an
 * allocation; where lines are shared it takes many times as long. (In turn: additions to one word after
 * the other hide a shared line, which need come only once for all of an object's.)
 *
 *	falseshare		actively: an allocator may give neighbours to threads that allocate at
 *				one time
 *	falseshare_passive	before, thread 0 allocates objects for all threads and deals them out
 *				like cards, so that neighbours are different threads', and each frees
 *				its own: what it allocates then may be these again
 *
 * The cases of Hoard's cache-thrash and cache-scratch (Berger et al., ASPLOS 2000).
 */
#ifndef KMM_BENCH_SUITES_FALSESHARE_H
#define KMM_BENCH_SUITES_FALSESHARE_H

#include "bench/suites/objects.h"

#define FALSESHARE_COUNT 32 /* a case's count: objects that a thread holds at once */

/* Objects of 8 bytes and more. */
extern const struct case_ops falseshare_ops, falseshare_passive_ops;

#endif

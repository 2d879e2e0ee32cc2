/* SPDX-License-Identifier: MIT */
/*
 * What one thread allocates another frees.
 *
 *	xcpu	thread 0 allocates, thread 1 frees
 *	remote	each thread allocates, and frees what the thread before it has allocated
 *
 * Between two threads is a bounded ring of chunks of 256 pointers: one release store and one acquire
 * load a chunk, so that the ring costs a load and a store an object, the same for all.
 *
 * An operation is one allocation (on one thread) and one free (on another). In xcpu each thread's
 * run(n) does its half of 2 * n * ops_per_batch operations, so that operations and time add up over
 * threads as in every other case; in remote it does n allocations and n frees.
 *
 * All threads must be between thread_begin and thread_end at one time: they meet in thread_begin.
 */
#ifndef KMM_BENCH_SUITES_XCPU_H
#define KMM_BENCH_SUITES_XCPU_H

#include "bench/suites/objects.h"

#define XCPU_CHUNK 256

/* A case's count is the objects that a ring holds, a multiple of XCPU_CHUNK up to BATCH_COUNT; 1 is
 * BATCH_COUNT too. */
extern const struct case_ops xcpu_ops, remote_ops;

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Thread 0 allocates, thread 1 frees. Between them a bounded ring of chunks of 256 pointers: one
 * release store and one acquire load a chunk, so that the ring costs a load and a store an object,
 * the same for all.
 *
 * An operation is one allocation (on one thread) and one free (on the other). Each thread's run(n)
 * does its half of 2 * n * ops_per_batch operations, so that operations and time add up over
 * threads as in every other case.
 *
 * Both threads must be between thread_begin and thread_end at one time: they meet in thread_begin,
 * and give up after ten seconds.
 */
#ifndef KMM_BENCH_SUITES_XCPU_H
#define KMM_BENCH_SUITES_XCPU_H

#include "bench/suites/objects.h"

#define XCPU_CHUNK 256

/* A case's count is the objects that the ring holds, a multiple of XCPU_CHUNK up to BATCH_COUNT; 1 is
 * BATCH_COUNT too. */
extern const struct case_ops xcpu_ops;

#endif

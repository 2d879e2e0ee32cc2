/* SPDX-License-Identifier: MIT */
/*
 * Random work on one machine, checked against the slow model (frame_model.h): several threads that
 * take turns, so that everything is repeatable from the seed and yet several CPUs have lists.
 *
 *	thread 0 |--burst--|                    |--burst--|
 *	thread 1           |--burst--|                       ...
 *	thread 2                     |--burst--|
 *
 * Only the thread whose turn it is does anything. Blocks belong to nobody in particular, so most
 * are freed on another CPU than the one that they were allocated on. Between bursts a thread may
 * move to another CPU, leave its slot to whoever comes, or drain.
 *
 * How full memory is wanders between empty and exhausted. After every VALIDATE_EVERY operations the
 * allocator recounts itself; after every COMPARE_EVERY all threads drain, and buddyinfo must be
 * exactly what the model says.
 */
#ifndef TESTS_PHYS_RANDOM_WORK_H
#define TESTS_PHYS_RANDOM_WORK_H

#include "tests/alloc/phys/frame_model.h"

struct random_result {
	unsigned long nr_allocs, nr_frees, nr_refused;
};

/* So many operations by so many threads (at most 16) on a machine made of this configuration, which
 * must boot and is shut down. seed is not 0. Failures are TAP comments. */
struct random_result random_work(const struct kmm_config *config, unsigned int nr_threads,
				 unsigned long nr_ops, unsigned long seed);

#endif

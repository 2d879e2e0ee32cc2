/* SPDX-License-Identifier: MIT */
/*
 * Objects that are held in slots, each with a word in its first 8 bytes that is made of its address
 * and of its slot's. It is written when the object comes and looked at before the object is freed: an
 * object that was handed out twice is in two slots, and one of them finds the other's word.
 *
 * The word is written in the timed loops, for all allocators alike: who allocates an object means to
 * write to it.
 */
#ifndef KMM_BENCH_SUITES_SLOTS_H
#define KMM_BENCH_SUITES_SLOTS_H

#include "bench/suites/objects.h"

/* One of count, evenly, without a division. */
static inline unsigned int draw_below(uint64_t random, int count)
{
	return (unsigned int)((random >> 32) * (uint64_t)count >> 32);
}

static inline uint64_t slot_word(void *const *slot)
{
	return (uint64_t)*slot ^ (uint64_t)slot * 0x9E3779B97F4A7C15UL;
}

static inline void slot_stamp(void *const *slot)
{
	*(uint64_t *)*slot = slot_word(slot);
}

static inline bool slot_is_sound(void *const *slot)
{
	return *(const uint64_t *)*slot == slot_word(slot);
}

/* The error of a slot that is not. */
static inline const char *slot_error(void *const *slot)
{
	return error_line(
		"the object at %p is another's too: its first word is not what was written", *slot);
}

/* The step of the timed loops: free what is in the slot, and allocate in its place. */
static inline const char *slot_replace(struct bench_case *c, void **slot, size_t size,
				       void *(*alloc)(size_t), void (*release)(void *))
{
	if (unlikely(!slot_is_sound(slot)))
		return slot_error(slot);
	release(*slot);
	*slot = alloc(size);
	if (unlikely(!*slot))
		return case_no_memory(c, "for an object of %zu bytes", size);
	slot_stamp(slot);
	return NULL;
}

/* Of churn.c; a case of churn has a count of a power of two, 16 or more. */
extern const struct case_ops repeat_ops, occupancy_ops, churn_ops;
/* larson.c; the count is a power of two. */
extern const struct case_ops larson_ops;

/* Sizes for churn and larson, as a suite's draw_size. */
#define CHURN_MIN  16
#define CHURN_MAX  32768
#define LARSON_MIN 8
#define LARSON_MAX 1024
size_t churn_size(uint64_t *random);
size_t larson_size(uint64_t *random);

#endif

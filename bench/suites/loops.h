/* SPDX-License-Identifier: MIT */
/*
 * The loops that are timed, and what they draw: the same code in the kmm command and in the kernel that
 * is measured beside it (bench/linux). So nothing here but C and fixed-width types: no C library, no
 * kmm, no kernel.
 *
 * A loop is handed its allocator as two function pointers, loaded once. An allocation that gives no memory
 * ends it with false, or, in a batch, sets *failed.
 */
#ifndef KMM_BENCH_SUITES_LOOPS_H
#define KMM_BENCH_SUITES_LOOPS_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#endif

#define BENCH_SEED 0x6b6d6d2d62656e63UL
#define BATCH_COUNT                                                                                \
	4096	    /* objects live at once in bulk, shuffle and mixed, where they fit memory */
#define NR_PERMS  4 /* free orders, used in turn */
#define MIXED_MIN 8
#define MIXED_MAX 2048

/* As much for every allocator. Pairs that touch every page cost the host a fault each: fewer will
 * do. */
#define WARM_UP_PAIRS	1024
#define WARM_UP_MAPPED	32
#define WARM_UP_BATCHES 2

#define LOOP static inline __attribute__((always_inline))

/* The compiler must take it that the object's memory is read and changed here, so nothing of it can
 * be removed. */
LOOP void compiler_barrier(void *object)
{
	__asm__ volatile("" : : "r"(object) : "memory");
}

/* The first word, or (stride) the first word of each stride bytes. */
LOOP void touch(void *object, size_t size, size_t stride)
{
	*(volatile uint64_t *)object = (uint64_t)(uintptr_t)object;
	if (stride)
		for (size_t at = stride; at < size; at += stride)
			*(volatile uint64_t *)((char *)object + at) = at;
	compiler_barrier(object);
}

/* xorshift64*; state must not be 0. */
static inline uint64_t bench_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545F4914F6CDD1DUL;
}

/* Where a thread of a case begins to draw. */
static inline uint64_t thread_seed(uint64_t seed, int thread)
{
	return (seed ^ (uint64_t)(thread + 1) * 0x9E3779B97F4A7C15UL) | 1;
}

static inline size_t mixed_size(uint64_t *random)
{
	return MIXED_MIN + bench_random(random) % (MIXED_MAX - MIXED_MIN + 1);
}

/* The order drawn from a random number: 0 half of the time, each next one half as often, up to most. */
static inline unsigned int random_order(uint64_t random, unsigned int most)
{
	unsigned int order = (unsigned int)__builtin_ctzl(random | 1UL << 63);

	return order <= most ? order : (unsigned int)((random >> 32) % (most + 1));
}

static inline void shuffle_order(uint16_t *order, int nr, uint64_t *random)
{
	for (int i = 0; i < nr; i++)
		order[i] = (uint16_t)i;
	for (int i = nr - 1; i > 0; i--) {
		int j = (int)(bench_random(random) % (uint64_t)(i + 1));
		uint16_t swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
}

/* The largest power of two, 16 to BATCH_COUNT, of objects that so many threads together can hold in a
 * quarter of memory_bytes. */
static inline int batch_count_in(size_t object_bytes, uint64_t memory_bytes, int nr_threads)
{
	uint64_t fit = memory_bytes / 4 / object_bytes / (uint64_t)(nr_threads ? nr_threads : 1);
	int count = 16;

	while (count < BATCH_COUNT && (uint64_t)count * 2 <= fit)
		count *= 2;
	return count;
}

/* What a checked object holds at an address: the words of any two objects, and of an object elsewhere,
 * differ. */
static inline uint64_t verify_word(const void *addr, uint64_t salt, uint64_t number)
{
	uint64_t x = (uint64_t)(uintptr_t)addr ^ salt ^ number << 48;

	x *= 0x9E3779B97F4A7C15UL;
	return x ^ x >> 29;
}

typedef void *loop_alloc(size_t size);
typedef void loop_free(void *object);

/* n times: allocate, touch, free. */
LOOP bool loop_pair(loop_alloc *alloc, loop_free *release, size_t size, size_t stride, uint64_t n)
{
	while (n--) {
		void *object = alloc(size);

		if (__builtin_expect(!object, 0))
			return false;
		touch(object, size, stride);
		release(object);
	}
	return true;
}

/* n times: count allocations, then the frees in the same order. */
LOOP void loop_bulk(loop_alloc *alloc, loop_free *release, void **objects, int count, size_t size,
		    uint64_t n, bool *failed)
{
	while (n--) {
		for (int i = 0; i < count; i++) {
			objects[i] = alloc(size);
			if (__builtin_expect(!objects[i], 0))
				*failed = true;
		}
		for (int i = 0; i < count; i++)
			release(objects[i]);
	}
}

/* Once: count allocations, then the frees in the order perm. */
LOOP void loop_shuffle(loop_alloc *alloc, loop_free *release, void **objects, int count,
		       size_t size, size_t stride, const uint16_t *perm, bool *failed)
{
	for (int i = 0; i < count; i++) {
		objects[i] = alloc(size);
		if (__builtin_expect(!objects[i], 0))
			*failed = true;
		else if (stride)
			touch(objects[i], size, stride);
	}
	for (int i = 0; i < count; i++)
		release(objects[perm[i]]);
}

/* The same, each of its own size. */
LOOP void loop_mixed(loop_alloc *alloc, loop_free *release, void **objects, int count,
		     const uint16_t *sizes, const uint16_t *perm, bool *failed)
{
	for (int i = 0; i < count; i++) {
		objects[i] = alloc(sizes[i]);
		if (__builtin_expect(!objects[i], 0))
			*failed = true;
	}
	for (int i = 0; i < count; i++)
		release(objects[perm[i]]);
}

/* Once: count allocations by one call, and their frees by one. */
LOOP bool loop_bulk_call(size_t (*alloc)(size_t size, size_t count, void **objects),
			 void (*release)(size_t count, void **objects), void **objects,
			 size_t count, size_t size)
{
	if (__builtin_expect(alloc(size, count, objects) != count, 0))
		return false;
	release(count, objects);
	return true;
}

#endif

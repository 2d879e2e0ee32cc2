/* SPDX-License-Identifier: MIT */
/*
 * An array of cache lines on huge pages, and two ways through it in pseudo-random order:
 * independent (any line by its number) and dependent (each line names the next). One cycle goes
 * through all lines; the line at place p of it is a bijective mix of p, so the cycle is built in
 * one pass and where a walk must be is known without walking.
 *
 * Made by the main thread between cases; threads only read.
 */
#ifndef KMM_BENCH_SUITES_LINES_H
#define KMM_BENCH_SUITES_LINES_H

#include "bench/suites/common.h"

struct line {
	uint64_t number;
	uint64_t next;
	uint64_t rest[6];
};
_Static_assert(sizeof(struct line) == CACHELINE_SIZE, "one line each");

/* Make the array of this footprint (a power of two of bytes), unless it is there, the one in use;
 * up to four are kept. 0 or -ENOMEM. */
int lines_make(size_t bytes);
/* Of the array in use. */
const struct line *lines_array(void);
uint64_t lines_count(void);
/* The line at a place of the cycle; places are taken modulo the number of lines. */
uint64_t lines_at(uint64_t place);

/* Any number made another, one to one over 64 bits. */
static inline uint64_t lines_scramble(uint64_t x)
{
	x *= 0x9E3779B97F4A7C15UL;
	return x ^ x >> 32;
}

/* A linear congruential generator (Knuth's MMIX constants): use its high bits. */
static inline uint64_t lines_next_random(uint64_t x)
{
	return x * 6364136223846793005UL + 1442695040888963407UL;
}

/* Footprints to measure: that of the page tables that suite walk goes through, and one far beyond
 * caches, as large as the host's free memory lets it be. Returns how many. */
int lines_footprints(const struct bench_env *env, size_t bytes[3]);

#define WALK_BASE (1UL << 40) /* the first address that suite walk maps */

/* Suite walk's mapped range and so its tables' footprint, 1/512 of it. */
uint64_t walk_mapped_bytes(const struct bench_env *env);

#endif

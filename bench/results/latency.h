/* SPDX-License-Identifier: MIT */
/*
 * Latency histograms: log-linear, of fixed size, in TSC cycles; read in nanoseconds.
 *
 *	values below 256        one bucket each, exact
 *	2^k .. 2^(k+1) - 1      128 buckets of equal width: 1/128 (0.8 %) wide or less, relatively
 *	2^40 and above          counted in the last bucket (7 minutes at 2.6 GHz)
 *
 * One thread records into a histogram; merge them when the threads are done.
 * Follows the idea of HdrHistogram (G. Tene), with the powers of two cut by shifts alone.
 */
#ifndef KMM_BENCH_LATENCY_H
#define KMM_BENCH_LATENCY_H

#include <stdint.h>
#include <x86intrin.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LATENCY_SUB_BITS 7
#define LATENCY_MAX_BITS 40
#define LATENCY_BUCKETS	 ((LATENCY_MAX_BITS - LATENCY_SUB_BITS + 1) << LATENCY_SUB_BITS)

struct latency_hist {
	uint64_t count;
	uint64_t max; /* cycles, exact */
	uint64_t buckets[LATENCY_BUCKETS];
};

/* Empty a histogram. */
void latency_hist_reset(struct latency_hist *hist);

/* Add every value of `from` to `into`. */
void latency_hist_merge(struct latency_hist *into, const struct latency_hist *from);

/* The value, in ns, that `percent` (0 to 100) of all values do not exceed: the middle of its
 * bucket, and never above the largest value seen. 0 for an empty histogram. */
double latency_hist_percentile_ns(const struct latency_hist *hist, double percent);
double latency_hist_max_ns(const struct latency_hist *hist);

/* The bucket of a value in cycles, and the smallest and largest value that it holds. */
static inline unsigned int latency_bucket(uint64_t cycles)
{
	unsigned int shift;

	if (cycles >= 1UL << LATENCY_MAX_BITS)
		return LATENCY_BUCKETS - 1;
	if (cycles < 1UL << LATENCY_SUB_BITS)
		return (unsigned int)cycles;
	shift = 63U - LATENCY_SUB_BITS - (unsigned int)__builtin_clzl(cycles);
	return (shift << LATENCY_SUB_BITS) + (unsigned int)(cycles >> shift);
}
uint64_t latency_bucket_low(unsigned int bucket);
uint64_t latency_bucket_high(unsigned int bucket);

/*
 * The timer. Each edge waits for what was issued before it (lfence), so an operation is timed
 * whole; the pair of edges costs some tens of cycles by itself. latency_timer_overhead() is its
 * median over empty operations, measured once a process, and is subtracted from every value: what
 * remains below it is noise.
 */
static inline uint64_t latency_begin(void)
{
	uint64_t now;

	_mm_lfence();
	now = __rdtsc();
	_mm_lfence(); /* keeps the operation from starting before the clock is read */
	return now;
}

static inline uint64_t latency_end(void)
{
	unsigned int cpu;
	uint64_t now = __rdtscp(&cpu); /* waits for the operation to finish */

	_mm_lfence();
	return now;
}

/* Cycles; the first call measures (about a millisecond), so make it before threads start. */
uint64_t latency_timer_overhead(void);

/* Record an operation timed by latency_begin and latency_end. */
static inline void latency_hist_record(struct latency_hist *hist, uint64_t begin, uint64_t end,
				       uint64_t overhead)
{
	uint64_t cycles = end - begin > overhead ? end - begin - overhead : 0;

	hist->count++;
	if (cycles > hist->max)
		hist->max = cycles;
	hist->buckets[latency_bucket(cycles)]++;
}

#ifdef __cplusplus
}
#endif
#endif

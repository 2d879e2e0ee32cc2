/* SPDX-License-Identifier: MIT */
/* Latency histograms: the untimed half of latency.h. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "arch/host.h"
#include "bench/results/latency.h"

#define OVERHEAD_SAMPLES 4001

static uint64_t timer_overhead;

void latency_hist_reset(struct latency_hist *hist)
{
	memset(hist, 0, sizeof(*hist));
}

void latency_hist_merge(struct latency_hist *into, const struct latency_hist *from)
{
	into->count += from->count;
	if (from->max > into->max)
		into->max = from->max;
	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

uint64_t latency_bucket_low(unsigned int bucket)
{
	unsigned int shift = bucket >> LATENCY_SUB_BITS;

	/* Two blocks of 2^LATENCY_SUB_BITS buckets have shift 0; from then on each block doubles
	 * the width. */
	if (shift <= 1)
		return bucket;
	shift--;
	return (uint64_t)(bucket - (shift << LATENCY_SUB_BITS)) << shift;
}

uint64_t latency_bucket_high(unsigned int bucket)
{
	return latency_bucket_low(bucket + 1) - 1;
}

static double ns_of(double cycles)
{
	return cycles * 1e9 / host_cycles_per_second();
}

double latency_hist_percentile_ns(const struct latency_hist *hist, double percent)
{
	uint64_t seen = 0, wanted;

	if (!hist->count)
		return 0;
	/* The rank of the value, from 1: the smallest with at least `percent` of all values at or
	 * below it. */
	wanted = (uint64_t)(percent / 100 * (double)hist->count);
	if ((double)wanted < percent / 100 * (double)hist->count || wanted == 0)
		wanted++;
	if (wanted >= hist->count)
		return ns_of((double)hist->max);
	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++) {
		seen += hist->buckets[i];
		if (seen >= wanted) {
			double middle =
				(double)(latency_bucket_low(i) + latency_bucket_high(i)) / 2;

			if (middle > (double)hist->max)
				middle = (double)hist->max;
			return ns_of(middle);
		}
	}
	return ns_of((double)hist->max);
}

double latency_hist_max_ns(const struct latency_hist *hist)
{
	return ns_of((double)hist->max);
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void measure_overhead(void)
{
	static uint64_t samples[OVERHEAD_SAMPLES];

	for (int i = 0; i < OVERHEAD_SAMPLES; i++) {
		uint64_t begin = latency_begin();

		samples[i] = latency_end() - begin;
	}
	qsort(samples, OVERHEAD_SAMPLES, sizeof(samples[0]), compare_u64);
	timer_overhead = samples[OVERHEAD_SAMPLES / 2];
}

uint64_t latency_timer_overhead(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, measure_overhead);
	return timer_overhead;
}

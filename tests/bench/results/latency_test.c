/* SPDX-License-Identifier: MIT */
/* The histogram against a sorted list of the same values. */
#include "arch/host.h"
#include "bench/results/latency.h"
#include "tests/tap/tap.h"

static struct latency_hist hist, other;

static void record(struct latency_hist *into, uint64_t cycles)
{
	latency_hist_record(into, 1000, 1000 + cycles, 0);
}

static double cycles_of(double ns)
{
	return ns * host_cycles_per_second() / 1e9;
}

static void buckets_follow_each_other_without_gap_or_overlap(void)
{
	ok_eq(latency_bucket_low(0), 0);
	for (unsigned int i = 0; i < LATENCY_BUCKETS; i++) {
		uint64_t low = latency_bucket_low(i), high = latency_bucket_high(i);

		ok(latency_bucket(low) == i && latency_bucket(high) == i, "bucket %u is %lu to %lu",
		   i, (unsigned long)low, (unsigned long)high);
		ok(i + 1 == LATENCY_BUCKETS || latency_bucket_low(i + 1) == high + 1,
		   "gap after bucket %u", i);
		ok(high - low <= low / 128, "bucket %u is %lu to %lu", i, (unsigned long)low,
		   (unsigned long)high);
	}
	ok_eq(latency_bucket(UINT64_MAX), LATENCY_BUCKETS - 1);
	ok_eq(latency_bucket_high(LATENCY_BUCKETS - 1), (1L << LATENCY_MAX_BITS) - 1);
}

static void an_empty_histogram_reads_zero(void)
{
	latency_hist_reset(&hist);
	ok(latency_hist_percentile_ns(&hist, 50) == 0, "not 0");
	ok(latency_hist_max_ns(&hist) == 0, "not 0");
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void percentiles_are_within_one_percent_of_the_sorted_list(void)
{
	static const double percents[] = {0.001, 1, 10, 50, 90, 99, 99.9, 99.99, 100};
	static uint64_t values[20011];
	enum { N = sizeof(values) / sizeof(values[0]) };
	unsigned long state = tap_seed() | 1;

	latency_hist_reset(&hist);
	for (int i = 0; i < N; i++) {
		/* All magnitudes, up to half a minute. */
		values[i] = tap_random(&state) >> (28 + tap_random(&state) % 36);
		record(&hist, values[i]);
	}
	qsort(values, N, sizeof(values[0]), compare);
	for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
		double rank = percents[i] / 100 * N;
		int index = (int)rank - ((double)(int)rank == rank && rank > 0);
		double want = (double)values[index];
		double got = cycles_of(latency_hist_percentile_ns(&hist, percents[i]));

		ok(got >= want * 0.99 - 0.5 && got <= want * 1.01 + 0.5, "p%g is %.1f, not %.1f",
		   percents[i], got, want);
	}
	ok(latency_hist_percentile_ns(&hist, 100) == latency_hist_max_ns(&hist),
	   "p100 is not the maximum");
}

static void merging_equals_recording_into_one(void)
{
	static struct latency_hist both;
	unsigned long state = tap_seed() | 1;

	latency_hist_reset(&hist);
	latency_hist_reset(&other);
	latency_hist_reset(&both);
	for (int i = 0; i < 10000; i++) {
		uint64_t value = tap_random(&state) >> (24 + tap_random(&state) % 40);

		record(i % 3 ? &hist : &other, value);
		record(&both, value);
	}
	latency_hist_merge(&hist, &other);
	ok(!memcmp(&hist, &both, sizeof(both)), "they differ");
}

static void values_beyond_the_last_bucket_are_counted_and_the_maximum_kept(void)
{
	latency_hist_reset(&hist);
	record(&hist, 1UL << 50);
	ok_eq(hist.count, 1);
	ok_eq(hist.buckets[LATENCY_BUCKETS - 1], 1);
	ok_eq(hist.max, 1L << 50);
}

static void the_timer_overhead_is_subtracted_and_never_below_zero(void)
{
	latency_hist_reset(&hist);
	latency_hist_record(&hist, 100, 150, 30);
	latency_hist_record(&hist, 100, 120, 30);
	ok_eq(hist.buckets[20], 1);
	ok_eq(hist.buckets[0], 1);
}

static void the_timer_overhead_is_positive_and_stays(void)
{
	uint64_t overhead = latency_timer_overhead();

	ok(overhead > 0 && overhead < 1000000, "%lu cycles", (unsigned long)overhead);
	ok_eq(latency_timer_overhead(), overhead);
}

int main(void)
{
	RUN(buckets_follow_each_other_without_gap_or_overlap);
	RUN(an_empty_histogram_reads_zero);
	RUN(percentiles_are_within_one_percent_of_the_sorted_list);
	RUN(merging_equals_recording_into_one);
	RUN(values_beyond_the_last_bucket_are_counted_and_the_maximum_kept);
	RUN(the_timer_overhead_is_subtracted_and_never_below_zero);
	RUN(the_timer_overhead_is_positive_and_stays);
	return done();
}

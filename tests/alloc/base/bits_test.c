/* SPDX-License-Identifier: MIT */
/* Bit scans against loops that count. */
#include "base/bits.h"
#include "base/compiler.h"

#include "tests/tap/tap.h"

static void lowest_and_highest_bit_are_found(void)
{
	for (unsigned int low = 0; low < 64; low++) {
		for (unsigned int high = low; high < 64; high++) {
			unsigned long x = 1UL << low | 1UL << high;

			ok_eq(__ffs(x), low);
			ok_eq(__fls(x), high);
			ok_eq(ilog2(x), high);
		}
	}
}

static void set_bits_are_counted(void)
{
	unsigned long state = tap_seed() | 1;

	ok_eq(hweight64(0), 0);
	ok_eq(hweight64(~0ULL), 64);
	for (int round = 0; round < 10000; round++) {
		u64 x = tap_random(&state) & (round % 2 ? tap_random(&state) : ~0ULL);
		unsigned int nr = 0;

		for (unsigned int bit = 0; bit < 64; bit++)
			nr += x >> bit & 1;
		ok(hweight64(x) == nr, "%#llx has %u bits, not %u", (unsigned long long)x, nr,
		   hweight64(x));
	}
	for (unsigned int bit = 0; bit < 64; bit++)
		ok_eq(hweight64(1ULL << bit), 1);
}

static void powers_of_two_are_told_from_the_rest(void)
{
	ok(!is_power_of_2(0), "0 is none");
	for (unsigned int bit = 0; bit < 64; bit++)
		ok(is_power_of_2(1UL << bit), "1 << %u", bit);
	for (unsigned int bit = 2; bit < 64; bit++) {
		ok(!is_power_of_2((1UL << bit) - 1), "(1 << %u) - 1", bit);
		ok(!is_power_of_2((1UL << bit) + 1), "(1 << %u) + 1", bit);
	}
}

static void rounding_up_to_a_power_stops_at_one(void)
{
	unsigned long expected = 1;

	ok_eq(roundup_pow_of_two(0), 1);
	for (unsigned long x = 1; x < 5000; x++) {
		while (expected < x)
			expected *= 2;
		ok_eq(roundup_pow_of_two(x), expected);
	}
	ok(roundup_pow_of_two((1UL << 62) + 1) == 1UL << 63, "the largest there is");
}

static void order_is_the_smallest_that_holds_the_size(void)
{
	static const struct {
		unsigned long size;
		unsigned int order;
	} known[] = {{0, 0},	 {1, 0},	{4096, 0},	 {4097, 1},
		     {8192, 1},	 {8193, 2},	{4UL << 20, 10}, {(4UL << 20) + 1, 11},
		     {65536, 4}, {2UL << 20, 9}};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		ok(get_order(known[i].size) == known[i].order, "size %lu: order %u, not %u",
		   known[i].size, get_order(known[i].size), known[i].order);
	for (unsigned long size = 1; size < 1UL << 20; size += 997) {
		unsigned int order = get_order(size);

		ok(PAGE_SIZE << order >= size, "order %u does not hold %lu", order, size);
		ok(!order || PAGE_SIZE << (order - 1) < size, "order %u is more than %lu wants",
		   order, size);
	}
}

static void alignment_moves_to_the_next_multiple_only(void)
{
	ok_eq(ALIGN_UP(0UL, 64), 0);
	ok_eq(ALIGN_UP(1UL, 64), 64);
	ok_eq(ALIGN_UP(64UL, 64), 64);
	ok_eq(ALIGN_DOWN(127UL, 64), 64);
	ok(IS_ALIGNED(128UL, 64) && !IS_ALIGNED(100UL, 64), "128 is, 100 is not");
	ok_eq(ALIGN_UP((u64)1 << 40 | 1, PAGE_SIZE), ((u64)1 << 40) + PAGE_SIZE);
}

int main(void)
{
	RUN(lowest_and_highest_bit_are_found);
	RUN(set_bits_are_counted);
	RUN(powers_of_two_are_told_from_the_rest);
	RUN(rounding_up_to_a_power_stops_at_one);
	RUN(order_is_the_smallest_that_holds_the_size);
	RUN(alignment_moves_to_the_next_multiple_only);
	return done();
}

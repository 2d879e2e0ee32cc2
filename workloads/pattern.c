/* SPDX-License-Identifier: MIT */
/*
 * See pattern.h. Zipf's ranks come by rejection-inversion (Hörmann and Derflinger, Rejection-
 * inversion to generate variates from monotone discrete distributions, 1996): exact, in constant
 * memory.
 */
#include "workloads/pattern.h"

#include <errno.h>
#include <math.h>

const char *const pattern_names[PATTERN_NR_KINDS] = {"sequential", "stride", "random", "zipf",
						     "chase"};

/* splitmix64. */
static u64 next_random(struct pattern *p)
{
	u64 x = p->random += 0x9E3779B97F4A7C15UL;

	x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9UL;
	x = (x ^ x >> 27) * 0x94D049BB133111EBUL;
	return x ^ x >> 31;
}

/* A number below n, all alike but for what 64 bits leave over. */
static u64 below(struct pattern *p, u64 n)
{
	return (u64)((unsigned __int128)next_random(p) * n >> 64);
}

/* One to one on the numbers up to mask, which is one less than a power of two: each step is. */
static u64 scramble(u64 x, u64 mask)
{
	unsigned int half = mask > 1 ? (64U - (unsigned int)__builtin_clzl(mask)) / 2 : 1;

	for (int round = 0; round < 3; round++) {
		x = (x * 0xD6E8FEB86659FD93UL + 0x632BE59BD9B4E019UL) & mask;
		x ^= x >> half;
	}
	return x;
}

/* One to one on the numbers below n: scrambled again until it is one of them. */
static u64 scramble_below(u64 x, u64 n, u64 mask)
{
	do {
		x = scramble(x, mask);
	} while (x >= n);
	return x;
}

static u64 mask_for(u64 n)
{
	return n > 1 ? UINT64_MAX >> __builtin_clzl(n - 1) : 0;
}

/* The integral of x^-skew from 1 on, and its inverse; so that a skew near 1 loses no digits. */
static double integral(const struct pattern *p, double x)
{
	double e = 1 - p->skew;

	return e == 0 ? log(x) : expm1(e * log(x)) / e;
}

static double inverse(const struct pattern *p, double y)
{
	double e = 1 - p->skew;

	return e == 0 ? exp(y) : exp(log1p(e * y) / e);
}

/* 1 .. nr_pages. */
static u64 zipf_rank(struct pattern *p)
{
	for (;;) {
		double u = p->h_last +
			   (double)(next_random(p) >> 11) * 0x1p-53 * (p->h_first - p->h_last);
		double x = inverse(p, u), k = floor(x + 0.5);

		if (k < 1)
			k = 1;
		if (k > (double)p->nr_pages)
			k = (double)p->nr_pages;
		if (k - x <= p->cut || u >= integral(p, k + 0.5) - pow(k, -p->skew))
			return (u64)k;
	}
}

int pattern_begin(struct pattern *p, u64 seed)
{
	if (p->footprint_bytes < PATTERN_PAGE || !p->stride_bytes ||
	    (p->kind == PATTERN_ZIPF && !(p->skew > 0 && p->skew < 100)))
		return -EINVAL;
	p->at = 0;
	p->random = seed;
	p->nr_lines = p->footprint_bytes / PATTERN_LINE;
	p->nr_pages = p->footprint_bytes / PATTERN_PAGE;
	if (p->kind == PATTERN_ZIPF) {
		p->mask = mask_for(p->nr_pages);
		p->h_first = integral(p, 1.5) - 1;
		p->h_last = integral(p, (double)p->nr_pages + 0.5);
		p->cut = 2 - inverse(p, integral(p, 2.5) - pow(2, -p->skew));
	} else {
		p->mask = mask_for(p->nr_lines);
	}
	return 0;
}

static u64 next_offset(struct pattern *p)
{
	u64 offset = p->at;

	switch (p->kind) {
	case PATTERN_SEQUENTIAL:
	case PATTERN_STRIDE:
		p->at += p->kind == PATTERN_STRIDE ? p->stride_bytes : PATTERN_LINE;
		if (p->at >= p->nr_lines * PATTERN_LINE)
			p->at = 0;
		return offset;
	case PATTERN_RANDOM:
		return below(p, p->nr_lines) * PATTERN_LINE;
	case PATTERN_ZIPF:
		return scramble_below(zipf_rank(p) - 1, p->nr_pages, p->mask) * PATTERN_PAGE +
		       below(p, PATTERN_PAGE / PATTERN_LINE) * PATTERN_LINE;
	default:
		p->at = p->at + 1 < p->nr_lines ? p->at + 1 : 0;
		return scramble_below(offset, p->nr_lines, p->mask) * PATTERN_LINE;
	}
}

void pattern_take(struct pattern *p, u64 *addresses, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		addresses[i] = p->base + next_offset(p);
}

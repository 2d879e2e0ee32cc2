/* SPDX-License-Identifier: MIT */
/*
 * Pairs of chains of pointers. Line i of a chain has number line(i) of 64 in its page, a
 * permutation of 0 .. 63 for each 64 lines:
 *
 *	one a page   | line(0) . . . . |  . . line(1) . . |  . . . line(2) . |  ...
 *	packed       | line(0) line(1) line(2) ... line(63) | line(64) ...
 *
 * So both put the same number of lines into every set of an L1 data cache, which has 64 sets of
 * lines or fewer, and fit into it or not together.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "arch/host.h"
#include "bench/probe/probe.h"
#include "bench/results/stats.h"

#define NR_RUNS	  4
#define LEAST_RUN 6000UL /* pointers: the clock itself takes as long as a hundred */

const char *const probe_layout_names[PROBE_NR_LAYOUTS] = {
	"pages side by side", "pages all over", "pages in a part", "pages in strides of 2 MiB",
	"pages of 2 MiB"};

/* xorshift64*; the seed is not 0. */
static u64 random_below(u64 *state, u64 n)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (u64)((unsigned __int128)(*state * 0x2545F4914F6CDD1DUL) * n >> 64);
}

static void swap(u64 *a, u64 *b)
{
	u64 was = *a;

	*a = *b;
	*b = was;
}

u64 probe_chain_limit(enum probe_layout layout, u64 span)
{
	return layout <= PROBE_SPAN ? span : span / PROBE_HUGE_PAGES;
}

/* nr of the numbers below n, in no order: the first of a shuffled deck. */
static int choose(u64 *chosen, u32 nr, u64 n, u64 *state)
{
	u64 *deck = malloc(n * sizeof(*deck));

	if (!deck)
		return -ENOMEM;
	for (u64 i = 0; i < n; i++)
		deck[i] = i;
	for (u32 i = 0; i < nr; i++) {
		swap(&deck[i], &deck[i + random_below(state, n - i)]);
		chosen[i] = deck[i];
	}
	free(deck);
	return 0;
}

/* The page of the chain's item i, if it is the k-th that the layout takes. */
static u64 page_of(enum probe_layout layout, u64 k)
{
	if (layout <= PROBE_SPAN)
		return k;
	/* A line of a large page is any of its lines: else all would fight for a few sets of the
	 * caches behind the first. */
	return k * PROBE_HUGE_PAGES +
	       (layout == PROBE_LARGE ? (k * 0x9E3779B97F4A7C15UL) >> 55 : 0);
}

int probe_chain_make(struct probe_chain *chain, enum probe_layout layout, u32 nr, u64 span,
		     u64 seed)
{
	u64 limit = probe_chain_limit(layout, span), state = seed ? seed : 1;
	u64 numbers[PROBE_LINES];
	int error;

	if (!nr || nr > limit)
		return -EINVAL;
	chain->nr = nr;
	chain->lines = malloc(nr * sizeof(*chain->lines));
	chain->packed = malloc(nr * sizeof(*chain->packed));
	error = chain->lines && chain->packed ? 0 : -ENOMEM;
	if (!error)
		error = choose(chain->lines, nr,
			       layout == PROBE_SPREAD || layout == PROBE_SPAN ? span : nr, &state);
	if (error) {
		probe_chain_free(chain);
		return error;
	}
	for (u32 i = 0; i < nr; i++) {
		u32 in_block = i % PROBE_LINES;

		if (!in_block)
			for (u32 k = 0; k < PROBE_LINES; k++)
				numbers[k] = k;
		swap(&numbers[in_block],
		     &numbers[in_block + random_below(&state, PROBE_LINES - in_block)]);
		chain->lines[i] = page_of(layout, chain->lines[i]) * PROBE_PAGE +
				  numbers[in_block] * PROBE_LINE;
		chain->packed[i] = i / PROBE_LINES * PROBE_PAGE + numbers[in_block] * PROBE_LINE;
	}
	/* The packed ones in an order of their own, so that nothing can be foreseen. */
	for (u32 i = nr - 1; i; i--)
		swap(&chain->packed[i], &chain->packed[random_below(&state, i + 1)]);
	return 0;
}

void probe_chain_free(struct probe_chain *chain)
{
	free(chain->lines);
	free(chain->packed);
	chain->lines = chain->packed = NULL;
}

void **probe_chain_link(char *base, const u64 *offsets, u32 nr)
{
	for (u32 i = 0; i < nr; i++)
		*(void **)(base + offsets[i]) = base + offsets[i + 1 < nr ? i + 1 : 0];
	return (void **)(base + offsets[0]);
}

/* The kernel knows how long a thread has run, to the nanosecond. */
u64 probe_cycles(void)
{
	struct timespec ran;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ran);
	return (u64)(((double)ran.tv_sec + (double)ran.tv_nsec * 1e-9) * host_cycles_per_second());
}

u64 probe_chain_run(void ***at, u64 nr)
{
	u64 began = probe_cycles();
	void **p = *at;

	for (; nr; nr -= 8) {
		p = *p;
		p = *p;
		p = *p;
		p = *p;
		p = *p;
		p = *p;
		p = *p;
		p = *p;
	}
	/* The clock is read once the last pointer is there. */
	__asm__ volatile("lfence" : "+r"(p) : : "memory");
	*at = p;
	return probe_cycles() - began;
}

/* Multiplication takes three cycles on every processor since 2008; additions some do not do. */
double probe_core_per_clock(void)
{
	double most = 0;
	u64 x = 3;

	probe_cycles(); /* the first time it may have to measure the clock: not in a sample */
	for (int try = 0; try < 5; try++) {
		u64 began = host_cycles();

		for (int i = 0; i < 1000; i++)
			__asm__ volatile("imul %0, %0\n\timul %0, %0\n\timul %0, %0\n\t"
					 "imul %0, %0\n\timul %0, %0"
					 : "+r"(x));
		/* Interruptions make it less, nothing makes it more. */
		most = fmax(most, 15000.0 / (double)(host_cycles() - began));
	}
	return most;
}

/*
 * The least that one of a few runs takes, after one that does not count: what else goes on in the
 * machine takes lines and entries away, and makes it more, never less. A run is a round or more, so
 * all of them are of the same pointers.
 */
static double least_cycles(void **at, u64 round)
{
	u64 nr = round < LEAST_RUN ? (LEAST_RUN + round - 1) / round * round : round;
	u64 least = UINT64_MAX;

	probe_chain_run(&at, nr);
	for (int run = 0; run < NR_RUNS; run++)
		least = min_t(u64, least, probe_chain_run(&at, nr));
	return (double)least / (double)nr;
}

static void measure(struct probe_point *point, void **spread, void **packed)
{
	/* The core's clock may be another from one moment to the next. */
	double core_per_clock = probe_core_per_clock();
	u64 round = ALIGN_UP(point->nr, 8UL);

	point->samples[0][point->reps] = least_cycles(spread, round) * core_per_clock;
	point->samples[1][point->reps] = least_cycles(packed, round) * core_per_clock;
	point->reps++;
}

static void summarise(struct probe_point *point)
{
	double differences[PROBE_MAX_REPS];

	for (int rep = 0; rep < point->reps; rep++)
		differences[rep] = point->samples[0][rep] - point->samples[1][rep];
	point->spread = stats_quantile(point->samples[0], point->reps, PROBE_QUIET);
	point->packed = stats_quantile(point->samples[1], point->reps, PROBE_QUIET);
	point->noise = (stats_quantile(differences, point->reps, 0.75) -
			stats_quantile(differences, point->reps, 0.25)) /
		       2;
}

int probe_measure(const struct probe_memory *memory, struct probe_point *point)
{
	char *spread = point->layout == PROBE_LARGE ? memory->huge : memory->small;
	char *packed = point->layout == PROBE_LARGE ? memory->small : memory->huge;
	struct probe_chain chain;
	int error;

	if (point->reps == PROBE_MAX_REPS)
		return -E2BIG;
	error = probe_chain_make(&chain, point->layout, point->nr, point->span, point->seed);
	if (error)
		return error;
	measure(point, probe_chain_link(spread, chain.lines, point->nr),
		probe_chain_link(packed, chain.packed, point->nr));
	summarise(point);
	probe_chain_free(&chain);
	return 0;
}

static int add_point(struct probe_points *points, enum probe_layout layout, u32 nr, u64 span)
{
	if (points->nr == PROBE_MAX_POINTS)
		return -E2BIG;
	points->at[points->nr++] = (struct probe_point){
		.layout = layout, .nr = nr, .span = span, .seed = nr * 16UL + layout + 1};
	return 0;
}

int probe_plan(struct probe_points *points, enum probe_layout layout, double from, double to,
	       double step)
{
	u64 limit = probe_chain_limit(layout, points->nr_pages);
	int error = 0;

	/* Far beyond every TLB there is little to see, and it takes long. */
	for (double n = from; n <= fmin(to, (double)limit) && !error;
	     n *= n < 4096 ? step : step * step)
		error = add_point(points, layout, (u32)lround(n), points->nr_pages);
	return error;
}

int probe_plan_spans(struct probe_points *points, u32 nr)
{
	int error = 0;

	for (u64 span = nr; span <= points->nr_pages && !error; span += span / 2)
		error = add_point(points, PROBE_SPAN, nr, span);
	return error;
}

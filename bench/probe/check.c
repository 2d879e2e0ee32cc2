/* SPDX-License-Identifier: MIT */
/*
 * Patterns that nothing is fitted to, measured and modelled. The rule by which they are taken is
 * fixed before anything is measured, and has no choice in it:
 *
 *	fitted		chains only: every line once a round, in an order by chance
 *	not fitted	over every footprint that is a power of two, from 256 KiB to the region:
 *			pages at random; by Zipf's law; in an odd stride, of 1, 3, 5 ... pages for
 *			one footprint after the other; in a stride of a power of two, of 2, 2,
 *			4, 4, 8 ... pages
 *
 * All of them are reported, and all are in the mean. Each page has one line that is used; the same
 * lines packed tell what an access takes without translation. There are as many of them as pages,
 * but no more than a quarter of the lines of the L2 data cache: together with a line of a page
 * table each they fill half of it, and it is not the data cache that is measured. A large footprint
 * then has its pages spread over it. An address depends on what the one before has read (0), as in
 * a chain.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/probe/probe.h"
#include "bench/results/stats.h"
#include "workloads/pattern.h"

#define PARTS	 16U
#define PART	 8192U		/* accesses */
#define COUNTED	 (PARTS * PART) /* after as many that warm */
#define SEQUENCE (2 * COUNTED)

#define LEAST_FOOTPRINT (256UL << 10)
#define NR_SORTS	4 /* of patterns, over each footprint */

struct unseen {
	enum pattern_kind kind;
	u64 stride; /* pages */
	u64 footprint;
};

/* Number nr of them, of the rule above. */
static struct unseen unseen_at(int nr)
{
	static const enum pattern_kind kinds[NR_SORTS] = {PATTERN_RANDOM, PATTERN_ZIPF,
							  PATTERN_STRIDE, PATTERN_STRIDE};
	int size = nr / NR_SORTS, sort = nr % NR_SORTS;
	const u64 strides[NR_SORTS] = {1, 1, 2 * (u64)size + 1, 2UL << size / 2};

	return (struct unseen){
		.kind = kinds[sort], .stride = strides[sort], .footprint = LEAST_FOOTPRINT << size};
}

/* A sequence of accesses: offsets into both regions. */
struct sequence {
	u32 *small, *packed; /* [SEQUENCE], in the region of huge pages */
	u64 *va;	     /* [SEQUENCE] */
};

double probe_check_error(const struct probe_check *check)
{
	return fabs(check->packed + check->modelled - check->measured) / check->measured;
}

static void name_check(struct probe_check *check, const struct unseen *unseen)
{
	unsigned long kib = unseen->footprint / 1024;
	char size[24];

	snprintf(size, sizeof(size), kib < 1024 ? "%lu KiB" : "%lu MiB",
		 kib < 1024 ? kib : kib / 1024);
	if (unseen->kind == PATTERN_STRIDE)
		snprintf(check->name, sizeof(check->name), "stride of %llu KiB over %s",
			 (unsigned long long)unseen->stride * 4, size);
	else
		snprintf(check->name, sizeof(check->name), "%s over %s",
			 pattern_names[unseen->kind], size);
}

/* Items of the pattern, one after the other, into sequence->va. */
static int take_items(const struct unseen *unseen, u32 nr_items, u64 *items)
{
	struct pattern pattern = {.kind = unseen->kind,
				  .footprint_bytes = nr_items * PROBE_PAGE,
				  .stride_bytes = PROBE_PAGE,
				  .skew = 0.99};

	if (unseen->kind == PATTERN_STRIDE) {
		for (u32 i = 0; i < SEQUENCE; i++)
			items[i] = i % nr_items;
		return 0;
	}
	if (pattern_begin(&pattern, 1))
		return -EINVAL;
	pattern_take(&pattern, items, SEQUENCE);
	for (u32 i = 0; i < SEQUENCE; i++)
		items[i] /= PROBE_PAGE;
	return 0;
}

/* The page of an item: one of its own share of the footprint, any one. */
static u64 page_of(const struct unseen *unseen, u64 item, u32 nr_items)
{
	u64 share = unseen->footprint / PROBE_PAGE / nr_items;

	if (unseen->kind == PATTERN_STRIDE)
		return item * unseen->stride;
	return item * share + (share > 1 ? (item * 0x9E3779B97F4A7C15UL >> 40) % share : 0);
}

static u32 count_items(const struct unseen *unseen, u64 nr_pages)
{
	long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
	u64 most = cache > 0 ? (u64)cache / PROBE_LINE / 4 : 1024;

	/* Half of the region of huge pages has the sequences. */
	most = min_t(u64, most, nr_pages * PROBE_PAGE / 2 / PROBE_LINE);
	return (u32)min_t(u64, unseen->footprint / PROBE_PAGE / unseen->stride, most);
}

static int make_sequence(const struct probe_memory *memory, const struct unseen *unseen,
			 struct sequence *sequence)
{
	u32 nr_items = count_items(unseen, memory->nr_pages);
	struct probe_chain chain;
	int error = take_items(unseen, nr_items, sequence->va);

	if (!error)
		error = probe_chain_make(&chain, PROBE_DENSE, nr_items, memory->nr_pages, 7);
	if (error)
		return error;
	for (u32 i = 0; i < SEQUENCE; i++) {
		u64 item = sequence->va[i], at = page_of(unseen, item, nr_items) * PROBE_PAGE;

		sequence->packed[i] = (u32)chain.packed[item];
		sequence->small[i] = (u32)(at + chain.packed[item] % PROBE_PAGE);
		*(u64 *)(memory->small + sequence->small[i]) = 0;
		*(u64 *)(memory->huge + sequence->packed[i]) = 0;
	}
	probe_chain_free(&chain);
	return 0;
}

static double run(const char *base, const u32 *offsets, u32 nr)
{
	u64 began = probe_cycles(), zero = 0;

	for (u32 i = 0; i < nr; i++)
		zero = *(const volatile u64 *)(base + offsets[i] + zero);
	__asm__ volatile("lfence" : "+r"(zero) : : "memory");
	return (double)(probe_cycles() - began) / nr;
}

/* Cycles an access of the second half, after the first: of its parts, one of the quicker ones. */
static double measure(const char *base, const u32 *offsets)
{
	double core_per_clock = probe_core_per_clock(), parts[PARTS];

	run(base, offsets, COUNTED);
	for (u32 i = 0; i < PARTS; i++)
		parts[i] = run(base, offsets + COUNTED + i * PART, PART);
	return stats_quantile(parts, PARTS, PROBE_QUIET) * core_per_clock;
}

static int model(const struct tlb_config *config, const char *base, const u32 *offsets,
		 unsigned int leaf, u64 *va, double *cycles)
{
	struct tlb_counts before, after;
	struct tlb *tlb;
	int error = tlb_create(config, &tlb);

	if (error)
		return error;
	for (u32 i = 0; i < SEQUENCE; i++)
		va[i] = (u64)base + offsets[i];
	tlb_run(tlb, va, COUNTED, TLB_LOAD | leaf);
	tlb_read_counts(tlb, &before);
	tlb_run(tlb, va + COUNTED, COUNTED, TLB_LOAD | leaf);
	tlb_read_counts(tlb, &after);
	tlb_destroy(tlb);
	*cycles = (double)(after.cycles - before.cycles) / COUNTED;
	return 0;
}

static void measure_check(const struct probe_memory *memory, const struct sequence *sequence,
			  struct probe_check *check)
{
	if (check->reps == PROBE_MAX_REPS)
		return;
	check->samples[0][check->reps] = measure(memory->small, sequence->small);
	check->samples[1][check->reps] = measure(memory->huge, sequence->packed);
	check->reps++;
	check->measured = stats_quantile(check->samples[0], check->reps, PROBE_QUIET);
	check->packed = stats_quantile(check->samples[1], check->reps, PROBE_QUIET);
}

static int model_check(const struct probe_memory *memory, const struct tlb_config *config,
		       const struct sequence *sequence, struct probe_check *check)
{
	unsigned int leaf = memory->is_huge ? TLB_LEAF_2 : TLB_LEAF_1;
	double small = 0, packed = 0;
	int error = model(config, memory->small, sequence->small, TLB_LEAF_1, sequence->va, &small);

	if (!error)
		error = model(config, memory->huge, sequence->packed, leaf, sequence->va, &packed);
	check->modelled = small - packed;
	return error;
}

int probe_checks(const struct probe_memory *memory, const struct tlb_config *config,
		 struct probe_check checks[PROBE_MAX_CHECKS])
{
	u64 bytes = memory->nr_pages * PROBE_PAGE;
	struct sequence sequence = {.small = (u32 *)(memory->huge + bytes / 2),
				    .packed = (u32 *)(memory->huge + bytes / 2) + SEQUENCE,
				    .va = malloc(SEQUENCE * sizeof(u64))};
	int nr = 0, error = sequence.va ? 0 : -ENOMEM;

	for (; nr < PROBE_MAX_CHECKS && !error; nr++) {
		struct unseen unseen = unseen_at(nr);

		if (unseen.footprint > bytes)
			break;
		name_check(&checks[nr], &unseen);
		error = make_sequence(memory, &unseen, &sequence);
		if (!error && config)
			error = model_check(memory, config, &sequence, &checks[nr]);
		else if (!error)
			measure_check(memory, &sequence, &checks[nr]);
	}
	free(sequence.va);
	return error ? error : nr;
}

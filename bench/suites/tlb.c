/* SPDX-License-Identifier: MIT */
/*
 * Suite tlb: the speed of the TLB model. One operation is one access, a load of a 4 KiB page in tables
 * of four levels; each thread has a CPU's TLBs of its own.
 *
 *	hits	some 99 % of the accesses hit in L1: 48 pages at random, and now and then one of 4096
 *	misses	random pages of 64 GiB: nearly all miss in every TLB, and walk
 *
 * How fast traces of accesses are read is in tlb_trace.c.
 *
 * hits and misses are of the preset skylake; --full has the other presets too, hits_zen4 and so on.
 * Addresses are made before the clock runs, and gone through in turn. What they give is checked: as
 * many accesses as operations, and the share that was meant. size is the pages' range in bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/suites/common.h"
#include "bench/suites/suites.h"
#include "bench/suites/tlb_trace.h"
#include "virt/tlb.h"

#define NR_ADDRESSES 65536UL
#define BASE	     (1UL << 40)
#define HOT_PAGES    48
#define COLD_PAGES   4096
#define COLD_SHARE   150 /* one access in so many goes to a cold page */
#define MISS_PAGES   (16UL << 20)
#define HOW	     (TLB_LOAD | TLB_LEAF_1)

struct tlb_thread {
	struct tlb *tlb;
	uint64_t at;	  /* in addresses */
	uint64_t nr_done; /* accesses since `before` was read */
	struct tlb_counts before;
	uint64_t addresses[NR_ADDRESSES];
};

static bool is_hits(const struct bench_case *c)
{
	return !strncmp(c->name, "hits", 4);
}

static const char *preset_name(const struct bench_case *c)
{
	const char *name = strchr(c->name, '_');

	return name ? name + 1 : "skylake";
}

static const char *prepare(struct bench_case *c)
{
	struct tlb_config *config = malloc(sizeof(*config));

	c->arg = config;
	if (!config)
		return error_line("no memory for the harness");
	*config = tlb_find_preset(preset_name(c))->config;
	return NULL;
}

static const char *finish(struct bench_case *c)
{
	free(c->arg);
	c->arg = NULL;
	return NULL;
}

static void make_addresses(const struct bench_case *c, struct tlb_thread *state, int thread)
{
	uint64_t random = c->seed + (uint64_t)thread * 0x9E3779B97F4A7C15UL;

	for (size_t i = 0; i < NR_ADDRESSES; i++) {
		uint64_t r = bench_random(&random) >> 8, page = r % MISS_PAGES;

		if (is_hits(c))
			page = r / COLD_SHARE % (r % COLD_SHARE ? HOT_PAGES : COLD_PAGES);
		state->addresses[i] = BASE + (page << PAGE_SHIFT);
	}
}

static void run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct tlb_thread *state = arg;

	(void)c;
	(void)thread;
	state->nr_done += n;
	while (n) {
		uint64_t nr = n < NR_ADDRESSES - state->at ? n : NR_ADDRESSES - state->at;

		tlb_run(state->tlb, state->addresses + state->at, nr, HOW);
		state->at = (state->at + nr) % NR_ADDRESSES;
		n -= nr;
	}
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	const char *error = thread_pin(c, thread);
	struct tlb_thread *state;

	*out = NULL;
	if (error)
		return error;
	state = harness_alloc(sizeof(*state), true, false);
	if (!state)
		return error_line("no memory for the harness");
	*out = state;
	if (tlb_create(c->arg, &state->tlb))
		return error_line("no TLB of preset %s", preset_name(c));
	make_addresses(c, state, thread);
	run(c, thread, state, NR_ADDRESSES);
	tlb_read_counts(state->tlb, &state->before);
	state->nr_done = 0;
	/* A whole round more, so that what is checked is never but a few accesses. */
	run(c, thread, state, NR_ADDRESSES);
	return NULL;
}

/* Did the TLBs see what was done, and find it where the case's name says? */
static const char *check(const struct bench_case *c, const struct tlb_thread *state)
{
	struct tlb_counts counts;
	double accesses, hits, walks;

	tlb_read_counts(state->tlb, &counts);
	if (counts.accesses - state->before.accesses != state->nr_done)
		return error_line("%llu accesses counted %llu", (unsigned long long)state->nr_done,
				  (unsigned long long)(counts.accesses - state->before.accesses));
	accesses = (double)state->nr_done;
	hits = (double)(counts.found[TLB_IN_L1] - state->before.found[TLB_IN_L1]) / accesses;
	walks = (double)(counts.walks - state->before.walks) / accesses;
	if (is_hits(c) ? hits < 0.985 || hits > 0.996 : walks < 0.99)
		return error_line("%.4f of the accesses hit in L1, and %.4f walked", hits, walks);
	return NULL;
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct tlb_thread *state = arg;
	const char *error = NULL;

	(void)thread;
	if (state && state->tlb)
		error = check(c, state);
	if (state)
		tlb_destroy(state->tlb);
	harness_free(state, sizeof(*state));
	thread_unpin(c);
	return error;
}

static const struct case_ops tlb_ops = {
	.ops_per_batch = 1,
	.prepare = prepare,
	.thread_begin = begin,
	.run = run,
	.thread_end = end,
	.finish = finish,
};

static int add(const struct bench_env *env, struct case_list *list, const char *name)
{
	int threads[2], nr = thread_counts(env, threads);

	for (int i = 0; i < nr; i++) {
		struct bench_case *c =
			case_add(env, list, "tlb", name, "kmm", &tlb_ops, threads[i]);

		if (!c)
			return -ENOMEM;
		c->size_bytes = (is_hits(c) ? COLD_PAGES : MISS_PAGES) * PAGE_SIZE;
		snprintf(c->size, sizeof(c->size), "%zu", c->size_bytes);
	}
	return 0;
}

static int enumerate(const struct bench_env *env, struct case_list *list)
{
	/* Cases keep their names. The small TLBs of the first presets cannot hold 48 pages. */
	static const char *const full[] = {"hits_haswell", "misses_haswell",  "hits_zen4",
					   "misses_zen4",  "hits_goldencove", "misses_goldencove"};

	if (!env->machine)
		return 0;
	if (add(env, list, "hits") || add(env, list, "misses"))
		return -ENOMEM;
	for (size_t i = 0; env->full && i < ARRAY_SIZE(full); i++)
		if (add(env, list, full[i]))
			return -ENOMEM;
	return tlb_trace_cases(env, list);
}

const struct suite tlb_bench_suite = {
	.name = "tlb",
	.summary = "accesses through the TLB model: hits, misses; reading traces of them",
	.enumerate = enumerate,
};

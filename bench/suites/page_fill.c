/* SPDX-License-Identifier: MIT */
/*
 * Memory that is in use to a given share when a pattern runs; see page_cases.h.
 *
 *	thread_setup	all threads:	take blocks up to percent + 3/4 of what is beyond it
 *			each thread:	give random ones back until percent is left
 *			all threads:	then the pattern's own checks, warm-up, timed runs
 *	thread_teardown			give back the rest
 *
 * So three quarters of what is free lie scattered, a block here and there, and one quarter was never
 * taken. Nothing but the allocator touches the blocks.
 *
 * What a thread holds is its own; the shares are constant while threads run.
 */
#include "arch/host.h"
#include "bench/suites/page_cases.h"
#include "phys/phys.h"

#define NO_MACHINE_BYTES (16UL << 20)
#define LOWMEM_BYTES	 (896UL << 20) /* i386: what GFP_KERNEL reaches */

struct fill_suite {
	struct object_suite suite;
	unsigned int percent;
};

/* Blocks that each thread on a node takes, and keeps. */
struct share {
	uint64_t nr_take, nr_keep;
};

static struct share shares[KMM_MAX_NODES];
static struct meeting meeting;

static _Thread_local struct {
	void **blocks; /* [room], a mapping */
	uint64_t nr, room;
} held;

uint64_t page_memory_bytes(const struct bench_env *env)
{
	struct free_area_counts counts;

	if (!env->machine)
		return NO_MACHINE_BYTES;
	count_free_areas(env->machine, NUMA_NO_NODE, &counts);
	return counts.nr_managed_pages << PAGE_SHIFT;
}

/* What ordinary allocations leave in each zone. */
static void add_kept(const struct phys_zone_info *zone, void *kept_pages)
{
	unsigned long kept = zone->watermark[WMARK_MIN] + zone->lowmem_reserve[ZONE_NORMAL];

	*(uint64_t *)kept_pages += min_t(unsigned long, kept, zone->nr_managed);
}

static bool watermarks_keep_too_much(const struct bench_env *env)
{
	uint64_t kept = 0;

	phys_for_each_zone(env->machine, add_kept, &kept);
	return kept << PAGE_SHIFT > page_memory_bytes(env) / 20;
}

const char *page_fill_refused(const struct bench_env *env, const struct object_peer *peer,
			      uint64_t bytes)
{
	if (peer->free_order == mmap_pages_table.free_order)
		return bytes >> PAGE_SHIFT > host_max_mappings() / 2
			       ? "more mappings than the host allows"
			       : NULL;
	if (!peer->free_order) /* of a malloc library, which has yet to ask for it */
		return bytes > host_available_bytes() / 2 ? "as much is not free on this host"
							  : NULL;
	if (!peer->page_peer && env->machine && env->machine->config.layout == ZONES_I386 &&
	    bytes > LOWMEM_BYTES)
		return "HighMem has no addresses to fill it by";
	if (peer->page_stats && !peer->page_peer && env->machine && watermarks_keep_too_much(env))
		return "the watermarks keep more than 5 % of memory";
	return NULL;
}

static struct share share_of(struct bench_case *c, int nid, uint64_t nr_threads)
{
	unsigned int percent = fill_percent(c->arg);
	struct free_area_counts counts = {.nr_managed_pages = NO_MACHINE_BYTES >> PAGE_SHIFT};
	uint64_t nr_used = 0, nr_keep, nr_take;

	if (c->env->machine)
		count_free_areas(c->env->machine, nid, &counts);
	if (c->peer->page_stats && !c->peer->page_peer) /* kmm */
		nr_used = counts.nr_managed_pages - counts.nr_buddy_pages - counts.nr_pcp_pages;
	nr_keep = counts.nr_managed_pages * percent / 100;
	nr_take = nr_keep + (counts.nr_managed_pages - nr_keep) / 4 * 3;
	nr_keep -= min_t(uint64_t, nr_used, nr_keep);
	nr_take -= min_t(uint64_t, nr_used, nr_take);
	return (struct share){(nr_take >> c->order) / nr_threads,
			      (nr_keep >> c->order) / nr_threads};
}

static const char *setup(struct bench_case *c)
{
	const char *error = page_setup(c);

	meeting = (struct meeting){0};
	for (int nid = 0; nid < (int)nr_nodes(c->env); nid++) {
		uint64_t nr_threads = 0;

		for (int thread = 0; thread < c->threads; thread++)
			nr_threads += max_t(int, thread_node(c, thread), 0) == nid;
		if (nr_threads)
			shares[nid] = share_of(c, nid, nr_threads);
	}
	return error;
}

const char *page_teardown_full(struct bench_case *c)
{
	if (c->peer->trim)
		c->peer->trim(c->peer);
	return NULL;
}

static const char *take(struct bench_case *c, const struct share *share)
{
	uint64_t random = c->seed;

	held.room = share->nr_take;
	held.blocks = harness_alloc(held.room * sizeof(void *) + 1, false, false);
	if (!held.blocks)
		return error_line("no memory for the harness");
	while (held.nr < share->nr_take) {
		void *block = c->peer->alloc(c->size_bytes);

		if (!block)
			break;
		held.blocks[held.nr++] = block;
	}
	if (held.nr < share->nr_keep)
		return case_no_memory(c, "after %llu blocks of %llu", (unsigned long long)held.nr,
				      (unsigned long long)share->nr_keep);
	while (held.nr > share->nr_keep) {
		uint64_t i = bench_random(&random) % held.nr;

		c->peer->free(held.blocks[i]);
		held.blocks[i] = held.blocks[--held.nr];
	}
	return NULL;
}

static const char *thread_setup(struct bench_case *c, int thread)
{
	const struct share *share = &shares[max_t(int, thread_node(c, thread), 0)];
	const char *error = take(c, share);

	if (!error)
		return meeting_wait(&meeting, c);
	meeting_leave(&meeting);
	return error;
}

static const char *thread_teardown(struct bench_case *c, int thread)
{
	(void)thread;
	while (held.nr)
		c->peer->free(held.blocks[--held.nr]);
	harness_free(held.blocks, held.room * sizeof(void *) + 1);
	held.blocks = NULL;
	if (c->peer->flush_thread)
		c->peer->flush_thread(c->peer);
	return NULL;
}

#define FILL(nr)                                                                                   \
	{                                                                                          \
		{.setup = setup,                                                                   \
		 .teardown = page_teardown_full,                                                   \
		 .thread_setup = thread_setup,                                                     \
		 .thread_teardown = thread_teardown,                                               \
		 .node_of = page_node_of},                                                         \
			(nr)                                                                       \
	}

static const struct fill_suite fill_suites[FILL_STEPS] = {
	FILL(0),  FILL(5),  FILL(10), FILL(15), FILL(20), FILL(25), FILL(30),
	FILL(35), FILL(40), FILL(45), FILL(50), FILL(55), FILL(60), FILL(65),
	FILL(70), FILL(75), FILL(80), FILL(85), FILL(90), FILL(95),
};

const struct object_suite *fill_suite(unsigned int percent)
{
	return &fill_suites[percent / 5].suite;
}

unsigned int fill_percent(const struct object_suite *suite)
{
	return container_of(suite, const struct fill_suite, suite)->percent;
}

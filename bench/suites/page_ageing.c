/* SPDX-License-Identifier: MIT */
/*
 * Ageing, after the fragmentation benchmark of LLFree (USENIX ATC'23): does free memory stay in one
 * piece when blocks come and go for long?
 *
 *	begin	all threads allocate until 90 % of memory is in use; then each frees a random half
 *	round	each thread frees a random 10 % of what it holds, and allocates as many
 *
 * ageing takes order 0. ageing_mixed draws orders 0 to 4, each half as often as the one before, and
 * a lifetime for each block: nine in ten are of a class of which 10.8 % go in each round, one in ten of
 * a class of which 3 % go. Nothing is ever moved, so what outlives the rounds pins its 2 MiB: at 3 % that
 * is some 0.4 of the first blocks in each (8.5 * 0.97^100), and an allocator can still come near 1;
 * at 1 % it would be 3, and none could come beyond a quarter.
 *
 * Every page of a block starts with a word made of its address and the block's number, read back when
 * the block is freed: a block handed out twice, or into another, is found. What each thread draws
 * depends on the seed and on the thread's number alone.
 *
 * A thread's blocks are its own; nr_live_pages is all threads', added up at the end of each round.
 */
#include <string.h>

#include "bench/suites/page_cases.h"

#define NR_ROUNDS    100
#define PERCENT_FULL 90
#define NR_CLASSES   2

struct ageing_kind {
	struct object_suite suite;
	unsigned int most; /* order */
	struct {
		unsigned int share, churn; /* in 1000: of all blocks; of the class, a round */
	} classes[NR_CLASSES];
};

struct block {
	void *block;
	uint32_t number;
	uint32_t order;
};

struct ageing {
	struct object_thread *objects;
	const struct ageing_kind *kind;
	const char *error; /* the first, after which nothing more is done */
	uint64_t random, salt, nr_pages;
	uint32_t next_number;
	uint64_t room; /* of each class */
	size_t state_bytes;
	struct {
		struct block *blocks; /* [room], touched as far as needed */
		uint64_t nr;
	} classes[NR_CLASSES];
};

static struct meeting meeting;
static uint64_t nr_live_pages, nr_take; /* nr_take: of each thread, set before there are any */

static char *page_of(const struct block *block, unsigned long i)
{
	return (char *)block->block + i * PAGE_SIZE;
}

static bool allocate(struct bench_case *c, struct ageing *a, int class)
{
	struct block *block = &a->classes[class].blocks[a->classes[class].nr];

	block->order = a->kind->most ? random_order(bench_random(&a->random), a->kind->most) : 0;
	block->number = a->next_number++ & 0xffff;
	block->block = block_alloc(c->peer, block->order);
	if (!block->block) {
		a->error = case_no_memory(c, "for a block of order %u after %llu pages",
					  block->order, (unsigned long long)a->nr_pages);
		return false;
	}
	a->error = block_misplaced(c->peer, block->block, block->order);
	if (a->error)
		return false;
	for (unsigned long i = 0; i < 1UL << block->order; i++)
		verify_fill(page_of(block, i), sizeof(uint64_t), a->salt, block->number);
	a->classes[class].nr++;
	a->nr_pages += 1UL << block->order;
	return true;
}

static bool release(struct bench_case *c, struct ageing *a, int class, uint64_t at)
{
	struct block *block = &a->classes[class].blocks[at];

	for (unsigned long i = 0; i < 1UL << block->order; i++) {
		if (verify_check(page_of(block, i), sizeof(uint64_t), a->salt, block->number) < 0)
			continue;
		a->error = error_line("page %lu of the block of order %u at %p is another's too", i,
				      block->order, block->block);
		return false;
	}
	block_free(c->peer, block->block, block->order);
	a->nr_pages -= 1UL << block->order;
	*block = a->classes[class].blocks[--a->classes[class].nr];
	return true;
}

static void release_random(struct bench_case *c, struct ageing *a, int class, uint64_t nr)
{
	while (nr-- && !a->error)
		release(c, a, class, bench_random(&a->random) % a->classes[class].nr);
}

/* Blocks that a round replaces in a class. */
static uint64_t nr_churned(const struct ageing *a, int class)
{
	return a->classes[class].nr * a->kind->classes[class].churn / 1000;
}

static void round_of(struct bench_case *c, struct ageing *a)
{
	uint64_t nr[NR_CLASSES], before = a->nr_pages;

	for (int class = 0; class < NR_CLASSES; class ++) {
		nr[class] = nr_churned(a, class);
		release_random(c, a, class, nr[class]);
	}
	/* Both classes in turn, so that what lives long lies among what does not. */
	while (!a->error && nr[0] + nr[1]) {
		int class = bench_random(&a->random) % (nr[0] + nr[1]) >= nr[0];

		nr[class]--;
		allocate(c, a, class);
	}
	__atomic_fetch_add(&nr_live_pages, a->nr_pages - before, __ATOMIC_RELAXED);
}

static void run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct ageing *a = arg;

	(void)thread;
	while (n-- && !a->error && !case_given_up(c))
		round_of(c, a);
}

/* Pages that each thread takes until 90 % of memory is in use. */
static uint64_t nr_pages_each(struct bench_case *c)
{
	uint64_t nr = (page_memory_bytes(c->env) >> PAGE_SHIFT) * PERCENT_FULL / 100, nr_used = 0;
	struct free_area_counts counts;

	if (c->env->machine && c->peer->page_stats && !c->peer->page_peer) {
		count_free_areas(c->env->machine, NUMA_NO_NODE, &counts);
		nr_used = counts.nr_managed_pages - counts.nr_buddy_pages - counts.nr_pcp_pages;
	}
	return (nr - min_t(uint64_t, nr, nr_used)) / (uint64_t)c->threads;
}

static const char *setup(struct bench_case *c)
{
	const char *error = page_setup(c);

	meeting = (struct meeting){0};
	nr_live_pages = 0;
	nr_take = nr_pages_each(c);
	return error;
}

static struct ageing *make_state(struct bench_case *c)
{
	uint64_t room = (page_memory_bytes(c->env) >> PAGE_SHIFT) / (uint64_t)c->threads + 1;
	size_t bytes = sizeof(struct ageing) + NR_CLASSES * room * sizeof(struct block);
	struct ageing *a = harness_alloc(bytes, false, false);

	if (!a)
		return NULL;
	a->state_bytes = bytes;
	a->room = room;
	a->kind =
		container_of((const struct object_suite *)c->arg, const struct ageing_kind, suite);
	for (int class = 0; class < NR_CLASSES; class ++)
		a->classes[class].blocks = (struct block *)(a + 1) + (uint64_t) class * room;
	return a;
}

/* All threads take until memory is full; only then each frees. */
static const char *fill_and_halve(struct bench_case *c, struct ageing *a)
{
	while (!a->error && a->nr_pages < nr_take)
		allocate(c, a, bench_random(&a->random) % 1000 >= a->kind->classes[0].share);
	if (!a->error)
		a->error = meeting_wait(&meeting, c);
	for (int class = 0; class < NR_CLASSES && !a->error; class ++)
		release_random(c, a, class, a->classes[class].nr / 2);
	return a->error;
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	struct ageing *a = make_state(c);
	const char *error;

	*out = a;
	if (!a) {
		meeting_leave(&meeting);
		return error_line("no memory for the harness");
	}
	error = objects_thread_begin(c, thread, &a->objects);
	if (!error) {
		a->random = a->objects->random;
		a->salt = a->objects->verify.salt;
		error = fill_and_halve(c, a);
	}
	if (error) {
		meeting_leave(&meeting);
		return error;
	}
	__atomic_fetch_add(&nr_live_pages, a->nr_pages, __ATOMIC_RELAXED);
	if (thread == 0)
		c->ops_per_batch = max_t(uint64_t, nr_churned(a, 0) + nr_churned(a, 1), 1);
	return NULL;
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct ageing *a = arg;
	const char *error = NULL, *other;

	for (int class = 0; a && class < NR_CLASSES; class ++)
		while ((!a->error || a->error == case_given_up(c)) && a->classes[class].nr)
			release(c, a, class, a->classes[class].nr - 1);
	if (a)
		error = a->error;
	other = objects_thread_end(c, thread, a ? a->objects : NULL);
	if (a)
		harness_free(a, a->state_bytes);
	return error ? error : other;
}

static void sample(struct bench_case *c, struct round_sample *sample)
{
	const struct object_peer *peer = c->peer;
	struct kmm_page_peer_stats pages;
	struct object_peer_stats stats;
	bool known = peer->stats && peer->stats(peer, &stats) == 0;
	uint64_t nr_free;

	*sample = (struct round_sample){
		.requested_bytes = __atomic_load_n(&nr_live_pages, __ATOMIC_RELAXED) << PAGE_SHIFT,
		.backing_bytes = known ? stats.backing_bytes : UINT64_MAX,
	};
	memset(&pages, 0xff, sizeof(pages)); /* KMM_PAGE_PEER_UNKNOWN */
	/* kmm says what its CPUs hold, and goes on undisturbed. */
	if (!peer->page_stats || peer->page_stats(peer, peer->page_peer, &pages) ||
	    pages.free_frames == KMM_PAGE_PEER_UNKNOWN)
		return;
	nr_free = pages.free_frames;
	if (known && !peer->page_peer)
		nr_free += (stats.backing_bytes - stats.allocated_bytes) >> PAGE_SHIFT;
	sample->free_known = pages.free_huge != KMM_PAGE_PEER_UNKNOWN && nr_free;
	sample->huge_free_ratio = (double)(pages.free_huge << HPAGE_ORDER) / (double)nr_free;
	sample->blocks_known = pages.free_blocks[0] != KMM_PAGE_PEER_UNKNOWN;
	memcpy(sample->free_blocks, pages.free_blocks, sizeof(sample->free_blocks));
}

const struct case_ops ageing_ops = {
	.prepare = objects_prepare,
	.thread_begin = begin,
	.run = run,
	.thread_end = end,
	.finish = objects_finish,
	.nr_rounds = NR_ROUNDS,
	.sample = sample,
};

#define AGEING_SUITE                                                                               \
	{                                                                                          \
		.setup = setup, .teardown = page_teardown_full, .node_of = page_node_of            \
	}

static const struct ageing_kind plain = {AGEING_SUITE, 0, {{1000, 100}, {0, 0}}};
static const struct ageing_kind mixed = {AGEING_SUITE, AGEING_MIXED_ORDER, {{900, 108}, {100, 30}}};
const struct object_suite *const ageing_plain = &plain.suite;
const struct object_suite *const ageing_mixed = &mixed.suite;

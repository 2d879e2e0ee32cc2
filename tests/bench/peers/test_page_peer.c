/* SPDX-License-Identifier: MIT */
/*
 * A page peer for the tests of page peers. It looks whether kmm keeps its side of bench/peer.h, and
 * ends the program where it does not; and it breaks its own side as KMM_TEST_PAGE_PEER says:
 *
 *	twice		each tenth block is the last one of its order
 *	outside		each tenth begins behind the last frame
 *	misaligned	each tenth of order 3 is one frame off
 *	leak		what is put is lost
 *	none		there is no memory
 *	dies N		the Nth get ends the program
 *	init		init gives -EBUSY
 *	stats		stats gives -EIO
 *
 * Free blocks of an order are a list through their first words; nothing is split or merged, and once
 * all is free it starts anew. Built again with TEST_ABI, TEST_ORDERS and TEST_NO_PUT for what is
 * refused before init.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer.h"

#ifndef TEST_ABI
#define TEST_ABI KMM_PAGE_PEER_ABI
#endif
#ifndef TEST_ORDERS
#define TEST_ORDERS 0x7ffU
#endif

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* protects: */
static uint64_t next_frame, nr_free, nr_gets;
static uint64_t lists[KMM_PAGE_PEER_ORDERS], last_got[KMM_PAGE_PEER_ORDERS];
static unsigned char *held; /* by first frame: order + 1 of the block handed out, else 0 */

static const struct kmm_page_peer_range *range;
static atomic_int *cpu_busy, nr_busy; /* calls of get and put under way */
static const char *fault = "";
static uint64_t last_get; /* N */

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "test_page_peer: not so: %s\n", what);
	abort();
}

static uint64_t *word_of(uint64_t frame)
{
	return (uint64_t *)((char *)range->base + frame * KMM_PAGE_PEER_FRAME);
}

static void enter(unsigned int order, unsigned int cpu)
{
	must(range, "init came first, and exit has not come");
	must(cpu < range->nr_cpus, "cpu numbers are below nr_cpus");
	must(atomic_fetch_add(&cpu_busy[cpu], 1) == 0, "one thread a cpu number");
	must(order < KMM_PAGE_PEER_ORDERS && (TEST_ORDERS & 1U << order), "the order is served");
	atomic_fetch_add(&nr_busy, 1);
	pthread_mutex_lock(&mutex);
}

static void leave(unsigned int cpu)
{
	pthread_mutex_unlock(&mutex);
	atomic_fetch_sub(&nr_busy, 1);
	atomic_fetch_sub(&cpu_busy[cpu], 1);
}

static void start_anew(void)
{
	next_frame = 0;
	for (int order = 0; order < KMM_PAGE_PEER_ORDERS; order++)
		lists[order] = last_got[order] = KMM_PAGE_PEER_NONE;
}

static uint64_t take(unsigned int order)
{
	uint64_t size = 1ULL << order, frame = lists[order];

	if (frame != KMM_PAGE_PEER_NONE) {
		lists[order] = *word_of(frame);
	} else {
		frame = (next_frame + size - 1) & ~(size - 1);
		if (frame + size > range->nr_frames)
			return KMM_PAGE_PEER_NONE;
		next_frame = frame + size;
	}
	held[frame] = (unsigned char)(order + 1);
	nr_free -= size;
	return frame;
}

static uint64_t test_get(unsigned int order, unsigned int cpu)
{
	uint64_t frame = KMM_PAGE_PEER_NONE;
	bool tenth;

	enter(order, cpu);
	tenth = ++nr_gets % 10 == 0;
	if (nr_gets == last_get) {
		signal(SIGSEGV, SIG_DFL);
		raise(SIGSEGV);
	}
	if (tenth && !strcmp(fault, "twice"))
		frame = last_got[order];
	else if (strcmp(fault, "none"))
		frame = take(order);
	last_got[order] = frame;
	if (tenth && !strcmp(fault, "outside"))
		frame = range->nr_frames;
	if (tenth && order == 3 && !strcmp(fault, "misaligned"))
		frame++;
	leave(cpu);
	return frame;
}

static void test_put(uint64_t frame, unsigned int order, unsigned int cpu)
{
	enter(order, cpu);
	must(frame < range->nr_frames && held[frame] == order + 1, "what is put was got");
	held[frame] = 0;
	if (strcmp(fault, "leak")) {
		nr_free += 1ULL << order;
		*word_of(frame) = lists[order];
		lists[order] = frame;
		if (nr_free == range->nr_frames)
			start_anew();
	}
	leave(cpu);
}

static void test_drain(void)
{
	must(range && !nr_busy, "drain is alone");
}

static int test_stats(struct kmm_page_peer_stats *stats)
{
	must(range && !nr_busy, "stats is alone");
	must(stats->free_huge == KMM_PAGE_PEER_UNKNOWN, "unknown what is not set");
	stats->free_frames = nr_free;
	return strcmp(fault, "stats") ? 0 : -EIO;
}

static void check_range(const struct kmm_page_peer_range *r)
{
	const char *base = r->base;

	must((uintptr_t)base % (4 << 20) == 0 && r->nr_frames % 1024 == 0, "blocks are whole");
	must(base[0] == 0 && base[r->nr_frames * KMM_PAGE_PEER_FRAME - 1] == 0, "zero at first");
	must(r->nr_nodes > 0 && r->node_first[0] == 0 && r->node_first[r->nr_nodes] == r->nr_frames,
	     "the nodes have all frames");
	for (unsigned int nid = 0; nid < r->nr_nodes; nid++)
		must(r->node_first[nid] % 1024 == 0 && r->node_first[nid] < r->node_first[nid + 1],
		     "nodes follow one another");
	must(r->nr_cpus > 0, "there is a cpu");
	for (unsigned int cpu = 0; cpu < r->nr_cpus; cpu++)
		must(r->cpu_node[cpu] < r->nr_nodes, "a cpu is on a node");
}

static int test_init(const struct kmm_page_peer_range *r)
{
	must(!range && !held, "init comes once");
	fault = getenv("KMM_TEST_PAGE_PEER") ? getenv("KMM_TEST_PAGE_PEER") : "";
	last_get = strncmp(fault, "dies ", 5) ? 0 : strtoull(fault + 5, NULL, 10);
	if (!strcmp(fault, "init"))
		return -EBUSY;
	check_range(r);
	held = calloc(r->nr_frames, 1);
	cpu_busy = calloc(r->nr_cpus, sizeof(*cpu_busy));
	if (!held || !cpu_busy)
		return -ENOMEM;
	nr_free = r->nr_frames;
	start_anew();
	range = r;
	return 0;
}

/* Says so: KMM_TEST_PAGE_PEER_LOG names a file. */
static void test_exit(void)
{
	const char *log = getenv("KMM_TEST_PAGE_PEER_LOG");
	FILE *file = log ? fopen(log, "a") : NULL;

	must(range && !nr_busy, "exit is alone, and comes once");
	if (file) {
		fprintf(file, "%u nodes, %u cpus, %llu gets, %llu frames lost\n", range->nr_nodes,
			range->nr_cpus, (unsigned long long)nr_gets,
			(unsigned long long)(range->nr_frames - nr_free));
		fclose(file);
	}
	range = NULL;
	free(held);
	free(cpu_busy);
}

const struct kmm_page_peer kmm_page_peer = {
	.abi = TEST_ABI,
	.orders = TEST_ORDERS,
	.name = "test",
	.version = "0.9",
	.init = test_init,
	.get = test_get,
#ifndef TEST_NO_PUT
	.put = test_put,
#endif
	.stats = test_stats,
	.drain = test_drain,
	.exit = test_exit,
};

/* SPDX-License-Identifier: MIT */
/*
 * A page allocator to start from, for `kmm bench --page-peer`: a bit for each frame under one spin
 * lock, searched from where the last search for that order ended. It serves every order, and is slow
 * once memory is nearly full. bench/peer.h says what each function must do.
 *
 *	cc -shared -fPIC -O2 $(pkg-config --cflags kmm) example_page_peer.c -o example.so
 *	kmm bench --suite page --page-peer example.so
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "bench/peer.h"

static pthread_spinlock_t lock;		     /* protects: */
static uint64_t *used;			     /* a bit a frame */
static uint64_t first[KMM_PAGE_PEER_ORDERS]; /* where to look first */
static uint64_t nr_frames;

/* A block's bits are a part of one word below order 6, and whole words from there on. */
static uint64_t bits_of(uint64_t frame, unsigned int order)
{
	return (order < 6 ? (1ULL << (1U << order)) - 1 : ~0ULL) << frame % 64;
}

static bool is_free(uint64_t frame, unsigned int order)
{
	for (uint64_t at = frame; at < frame + (1ULL << order); at += 64)
		if (used[at / 64] & bits_of(at, order))
			return false;
	return true;
}

static void flip(uint64_t frame, unsigned int order)
{
	for (uint64_t at = frame; at < frame + (1ULL << order); at += 64)
		used[at / 64] ^= bits_of(at, order);
}

static uint64_t example_get(unsigned int order, unsigned int cpu)
{
	uint64_t left = nr_frames >> order, frame;

	(void)cpu; /* nothing here is a CPU's own */
	pthread_spin_lock(&lock);
	for (frame = first[order]; left && !is_free(frame, order); left--)
		frame = (frame + (1ULL << order)) % nr_frames;
	first[order] = frame;
	if (left)
		flip(frame, order);
	pthread_spin_unlock(&lock);
	return left ? frame : KMM_PAGE_PEER_NONE;
}

static void example_put(uint64_t frame, unsigned int order, unsigned int cpu)
{
	(void)cpu;
	pthread_spin_lock(&lock);
	flip(frame, order);
	pthread_spin_unlock(&lock);
}

static int example_stats(struct kmm_page_peer_stats *stats)
{
	stats->free_frames = stats->free_huge = 0;
	for (uint64_t frame = 0; frame < nr_frames; frame += 512)
		stats->free_huge += is_free(frame, 9);
	for (uint64_t frame = 0; frame < nr_frames; frame += 64)
		stats->free_frames += (uint64_t)__builtin_popcountll(~used[frame / 64]);
	return 0;
}

static int example_init(const struct kmm_page_peer_range *range)
{
	nr_frames = range->nr_frames;
	used = calloc(nr_frames / 64, sizeof(*used));
	return used ? -pthread_spin_init(&lock, PTHREAD_PROCESS_PRIVATE) : -ENOMEM;
}

static void example_exit(void)
{
	free(used);
}

const struct kmm_page_peer kmm_page_peer = {
	.abi = KMM_PAGE_PEER_ABI,
	.orders = 0x7ff, /* 0 to 10 */
	.name = "example",
	.version = "1",
	.init = example_init,
	.get = example_get,
	.put = example_put,
	.stats = example_stats,
	.exit = example_exit,
};

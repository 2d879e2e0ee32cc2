/* SPDX-License-Identifier: MIT */
/*
 * The broken allocator of broken.h. A header of 16 bytes before each block says its class; blocks
 * of a page and more are aligned to pages behind a page of header, as page allocators' users
 * expect.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/bench/broken.h"

#define RANGE	   (64UL << 30)
#define NR_CLASSES 32
#define EVERY	   5 /* "now and then" */
#define LAST_ALLOC 60

const char *const breakage_names[] = {
	"nothing broken", "a block given twice", "overlapping blocks", "a byte changed", "a leak",
	"no memory"};

struct header {
	unsigned int class;
	unsigned int nr_extra; /* times that it was handed out beside the first */
	uint64_t size;
};

struct free_block {
	struct free_block *next;
};

static struct {
	pthread_mutex_t lock; /* protects all: */
	enum breakage breakage;
	char *base, *top;
	struct free_block *lists[NR_CLASSES];
	uint64_t live_bytes;
	unsigned long nr_allocs, nr_frees;
	char *last; /* handed out last and still live */
} heap = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct header *header_of(void *block)
{
	return (struct header *)((char *)block - sizeof(struct header));
}

static char *fresh_block(unsigned int class)
{
	size_t size = 16UL << class;
	char *block = heap.top + sizeof(struct header);

	if (size >= 4096)
		block = (char *)(((uintptr_t)block + 4095) & ~4095UL);
	heap.top = block + size;
	if (heap.top > heap.base + RANGE)
		abort();
	header_of(block)->class = class;
	return block;
}

static char *take_block(size_t size)
{
	unsigned int class = size <= 16 ? 0 : 60 - (unsigned int)__builtin_clzl(size - 1);
	char *block = (char *)heap.lists[class];

	if (block)
		heap.lists[class] = heap.lists[class]->next;
	else
		block = fresh_block(class);
	header_of(block)->nr_extra = 0;
	header_of(block)->size = size;
	heap.live_bytes += size;
	heap.last = block;
	return block;
}

static void *broken_alloc(size_t size)
{
	char *block;
	bool now;

	pthread_mutex_lock(&heap.lock);
	now = ++heap.nr_allocs % EVERY == 0 && heap.last;
	if (heap.breakage == BREAK_NULL && heap.nr_allocs > LAST_ALLOC) {
		block = NULL;
	} else if (heap.breakage == BREAK_TWICE && now) {
		block = heap.last;
		header_of(block)->nr_extra++;
	} else if (heap.breakage == BREAK_OVERLAP && now &&
		   header_of(heap.last)->size >= size / 2 + 24) {
		/* The header is taken from the middle of the live block, as a real mistake would.
		 */
		block = heap.last + ((size / 2 + 8) & ~7UL);
		header_of(block)->class = NR_CLASSES;
		heap.last = NULL;
	} else {
		block = take_block(size);
	}
	pthread_mutex_unlock(&heap.lock);
	return block;
}

static void broken_free(void *block)
{
	struct header *header;

	if (!block)
		return;
	pthread_mutex_lock(&heap.lock);
	header = header_of(block);
	if (heap.last == block)
		heap.last = NULL;
	if (++heap.nr_frees % EVERY == 0 && heap.breakage == BREAK_LEAK) {
		/* kept */
	} else if (header->nr_extra) {
		header->nr_extra--;
	} else if (header->class < NR_CLASSES) {
		struct free_block *free_block = block;

		heap.live_bytes -= header->size;
		free_block->next = heap.lists[header->class];
		heap.lists[header->class] = free_block;
	}
	if (heap.breakage == BREAK_BYTE && heap.last)
		++*(uint32_t *)heap.last;
	pthread_mutex_unlock(&heap.lock);
}

static int broken_stats(const struct object_peer *peer, struct object_peer_stats *stats)
{
	(void)peer;
	pthread_mutex_lock(&heap.lock);
	stats->allocated_bytes = heap.live_bytes;
	stats->backing_bytes = (uint64_t)(heap.top - heap.base);
	pthread_mutex_unlock(&heap.lock);
	return 0;
}

const struct object_peer broken_peer = {
	.name = "broken",
	.alloc = broken_alloc,
	.free = broken_free,
	.stats = broken_stats,
};

void broken_start(enum breakage breakage)
{
	heap.base = mmap(NULL, RANGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (heap.base == MAP_FAILED)
		abort();
	heap.top = heap.base;
	heap.breakage = breakage;
	heap.live_bytes = 0;
	heap.nr_allocs = heap.nr_frees = 0;
	heap.last = NULL;
	memset(heap.lists, 0, sizeof(heap.lists));
}

void broken_end(void)
{
	munmap(heap.base, RANGE);
}

/* SPDX-License-Identifier: MIT */
/*
 * The arena of the boot: booting the machine calls malloc, which is this library, which has no machine
 * yet. It needs some 70 KiB.
 *
 *	| used | size | block | size | block | ...	each block aligned to 16 or more, its size in front of it
 *
 * Nothing in it is used twice, so all of it is zero when handed out, and free does nothing. No lock: a
 * block is taken by one atomic addition.
 */
#include <string.h>

#include "malloc/heap.h"

#define ARENA_BYTES (256UL << 10)

/* used is atomic, and may grow beyond the arena. It lies there to share a page with the first blocks. */
static union {
	size_t used;
	char bytes[ARENA_BYTES];
} arena __attribute__((aligned(4096)));

void *early_alloc(size_t size, size_t align)
{
	size_t whole, at;

	if (align < MIN_ALIGN)
		align = MIN_ALIGN;
	if (size > ARENA_BYTES || align > ARENA_BYTES)
		return NULL;
	/* The size lies in the 16 bytes before the block. */
	whole = ALIGN_UP(size, MIN_ALIGN) + MIN_ALIGN + align;
	at = MIN_ALIGN + __atomic_fetch_add(&arena.used, whole, __ATOMIC_RELAXED);
	if (at + whole > ARENA_BYTES)
		return NULL;
	at = ALIGN_UP((uintptr_t)&arena + at + MIN_ALIGN, align) - (uintptr_t)&arena;
	memcpy(arena.bytes + at - sizeof(size), &size, sizeof(size));
	return arena.bytes + at;
}

bool early_has(const void *addr)
{
	return (uintptr_t)addr - (uintptr_t)&arena < ARENA_BYTES;
}

size_t early_size(const void *addr)
{
	size_t size;

	memcpy(&size, (const char *)addr - sizeof(size), sizeof(size));
	return size;
}

/* SPDX-License-Identifier: MIT */
/*
 * A malloc library with a bug, for replay.sh: every tenth block of 128 bytes or less is one that it
 * has just handed out. Memory comes from an arena that is never given back, so nothing else goes
 * wrong.
 */
#include <stddef.h>

void *malloc(size_t size);
void free(void *object);
void *aligned_alloc(size_t align, size_t size);

static _Alignas(4096) char arena[256 << 20];
static size_t used, nr_small;
static void *last_small;

void *aligned_alloc(size_t align, size_t size)
{
	used = (used + align - 1) & ~(align - 1);
	if (size > sizeof(arena) - used)
		return NULL;
	used += size;
	return arena + used - size;
}

void *malloc(size_t size)
{
	if (size > 128)
		return aligned_alloc(16, size);
	if (++nr_small % 10 || !last_small)
		last_small = aligned_alloc(16, 128);
	return last_small;
}

void free(void *object)
{
	(void)object;
}

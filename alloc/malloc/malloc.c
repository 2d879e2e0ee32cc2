/* SPDX-License-Identifier: MIT */
/*
 * The C library's allocation functions. malloc and free are kmalloc's fast paths compiled in: this
 * CPU's magazine of the size's class, no call, no lock, no atomic operation; all else is heap_alloc and
 * heap_free.
 *
 * A size is rounded up to 16 bytes before its class is looked up, so every object is aligned to 16.
 * Size 0 has no class, goes the slow way, and gets a byte of its own.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "malloc/heap.h"
#include "malloc/malloc_fast.h"

EXPORT void *malloc(size_t size)
{
	return malloc_fast(size);
}

EXPORT void free(void *addr)
{
	free_fast(addr);
}

EXPORT void *calloc(size_t n, size_t size)
{
	size_t bytes;
	void *addr;

	if (unlikely(__builtin_mul_overflow(n, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	if (likely(malloc_at_hand(bytes, &addr)))
		return memset(addr, 0, bytes);
	return heap_alloc(bytes, MIN_ALIGN, true);
}

EXPORT void *realloc(void *addr, size_t size)
{
	if (!addr)
		return malloc_fast(size);
	if (!size) {
		free_fast(addr);
		return NULL;
	}
	return heap_realloc(addr, size);
}

EXPORT void *reallocarray(void *addr, size_t n, size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(n, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(addr, bytes);
}

EXPORT void *memalign(size_t align, size_t size)
{
	/* As the C library does: the next power of two. */
	if (align > PTRDIFF_MAX) {
		errno = EINVAL;
		return NULL;
	}
	align = roundup_pow_of_two(align);
	return align <= MIN_ALIGN ? malloc_fast(size) : heap_alloc(size, align, false);
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
	int saved = errno;
	void *addr;

	if (align < sizeof(void *) || !is_power_of_2(align))
		return EINVAL;
	addr = memalign(align, size);
	errno = saved;
	if (!addr)
		return ENOMEM;
	*out = addr;
	return 0;
}

EXPORT void *valloc(size_t size)
{
	return heap_alloc(size, PAGE_SIZE, false);
}

EXPORT void *pvalloc(size_t size)
{
	if (size > PTRDIFF_MAX) {
		errno = ENOMEM;
		return NULL;
	}
	return heap_alloc(ALIGN_UP(size, PAGE_SIZE), PAGE_SIZE, false);
}

EXPORT size_t malloc_usable_size(void *addr)
{
	return heap_size(addr);
}

EXPORT int malloc_trim(size_t pad)
{
	(void)pad;
	return trim_now();
}

/* Its parameters are another allocator's. 1: taken note of, as programs want to hear. */
EXPORT int mallopt(int parameter, int value)
{
	(void)parameter;
	(void)value;
	return 1;
}

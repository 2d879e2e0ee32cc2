/* SPDX-License-Identifier: MIT */
/*
 * malloc's family as kmm record preloads it: each call goes to the allocator that the program would
 * have had (the next one in the loader's order), and is noted.
 *
 * An object belongs to one thread at a time, so its events are in order if each is noted while the
 * object is this call's alone: a free before the real free, an allocation after the real one,
 * realloc on both sides, since the old address may be another thread's object before realloc has
 * returned.
 *
 * dlsym may allocate before it has found malloc: that, and nothing else, comes from a small arena,
 * is never freed, and is not the program's, so it is not noted.
 */
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "workloads/record/stream.h"

#define EXPORT __attribute__((visibility("default")))

static void *first_malloc(size_t size);
static void *first_calloc(size_t n, size_t size);
static void *first_realloc(void *old, size_t size);
static void *first_memalign(size_t align, size_t size);
static void *first_aligned_alloc(size_t align, size_t size);
static int first_posix_memalign(void **out, size_t align, size_t size);
static void *first_valloc(size_t size);
static void *first_pvalloc(size_t size);
static void first_free(void *address);

static void *(*real_malloc)(size_t) = first_malloc;
static void *(*real_calloc)(size_t, size_t) = first_calloc;
static void *(*real_realloc)(void *, size_t) = first_realloc;
static void *(*real_memalign)(size_t, size_t) = first_memalign;
static void *(*real_aligned_alloc)(size_t, size_t) = first_aligned_alloc;
static int (*real_posix_memalign)(void **, size_t, size_t) = first_posix_memalign;
static void *(*real_valloc)(size_t) = first_valloc;
static void *(*real_pvalloc)(size_t) = first_pvalloc;
static void (*real_free)(void *) = first_free;

/* --- before the real ones are known --- */

static _Alignas(16) char arena[16 << 10];
static size_t arena_used;
static bool resolving;

static bool in_arena(const void *address)
{
	return (u64)address - (u64)arena < sizeof(arena);
}

static void *arena_alloc(size_t size)
{
	size_t at = arena_used;

	if (size > sizeof(arena) - at)
		return NULL;
	arena_used = ALIGN_UP(at + size, (size_t)16);
	return arena + at;
}

static void *next_symbol(const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	if (!symbol)
		abort(); /* nothing that this program does could work */
	return symbol;
}

/* Run by the process's first call, from the loader, before there are threads. */
static void resolve(void)
{
	resolving = true;
	real_free = next_symbol("free");
	real_calloc = next_symbol("calloc");
	real_realloc = next_symbol("realloc");
	real_memalign = next_symbol("memalign");
	real_aligned_alloc = next_symbol("aligned_alloc");
	real_posix_memalign = next_symbol("posix_memalign");
	real_valloc = next_symbol("valloc");
	real_pvalloc = next_symbol("pvalloc");
	real_malloc = next_symbol("malloc");
	resolving = false;
}

static void *first_malloc(size_t size)
{
	if (resolving)
		return arena_alloc(size);
	resolve();
	return real_malloc(size);
}

static void *first_calloc(size_t n, size_t size)
{
	if (resolving)
		return size && n > sizeof(arena) / size ? NULL : arena_alloc(n * size);
	resolve();
	return real_calloc(n, size);
}

static void *first_realloc(void *old, size_t size)
{
	if (resolving)
		return old ? NULL : arena_alloc(size);
	resolve();
	return real_realloc(old, size);
}

static void *first_memalign(size_t align, size_t size)
{
	resolve();
	return real_memalign(align, size);
}

static void *first_aligned_alloc(size_t align, size_t size)
{
	resolve();
	return real_aligned_alloc(align, size);
}

static int first_posix_memalign(void **out, size_t align, size_t size)
{
	resolve();
	return real_posix_memalign(out, align, size);
}

static void *first_valloc(size_t size)
{
	resolve();
	return real_valloc(size);
}

static void *first_pvalloc(size_t size)
{
	resolve();
	return real_pvalloc(size);
}

static void first_free(void *address)
{
	if (resolving)
		return;
	resolve();
	real_free(address);
}

/* --- noting --- */

static void __attribute__((noinline))
note_full(enum raw_kind kind, const void *address, u64 size, u32 align)
{
	struct raw_event event = {
		.kind = kind, .address = (u64)address, .size = size, .align = align};

	/* The arena's are not the program's. */
	if (!resolving)
		record_event(&event);
}

static inline void note(enum raw_kind kind, const void *address, u64 size)
{
	if (unlikely(!stream_note(kind, (u64)address, size)))
		note_full(kind, address, size, 0);
}

static void note_aligned(const void *address, u64 align, u64 size)
{
	note_full(RAW_MEMALIGN, address, size,
		  align > 1 ? 64 - (u32)__builtin_clzll(align - 1) : 0);
}

/* What the shared stream's order has room for: another object. */
static void *note_realloc_without_stream(void *old, size_t size)
{
	void *address;

	note(RAW_FREE, old, 0);
	address = real_realloc(old, size);
	if (address)
		note(RAW_MALLOC, address, size);
	else if (size) /* still there */
		note(RAW_MALLOC, old, malloc_usable_size(old));
	return address;
}

/* Another size, or an address, for an object. */
static void *note_realloc(void *old, size_t size)
{
	struct raw_event event = {.kind = RAW_REALLOC, .size = size, .old = (u64)old};

	if (unlikely(record_without_stream()))
		return note_realloc_without_stream(old, size);
	event.old_clock = record_old_stamp(old, &event.old_cpu);
	event.address = (u64)real_realloc(old, size);
	if (!resolving)
		record_event(&event);
	return (void *)event.address;
}

/* --- the family --- */

EXPORT void *malloc(size_t size)
{
	void *address = real_malloc(size);

	note(RAW_MALLOC, address, size);
	return address;
}

EXPORT void free(void *address)
{
	if (unlikely(in_arena(address)))
		return;
	note(RAW_FREE, address, 0);
	real_free(address);
}

EXPORT void *calloc(size_t n, size_t size)
{
	void *address = real_calloc(n, size);
	u64 bytes;

	if (unlikely(__builtin_mul_overflow(n, size, &bytes)))
		bytes = RAW_VALUE_MAX;
	note(RAW_CALLOC, address, bytes);
	return address;
}

EXPORT void *realloc(void *old, size_t size)
{
	void *address;

	if (unlikely(in_arena(old))) {
		address = malloc(size);
		if (address)
			memcpy(address, old,
			       min_t(size_t, size, (size_t)(arena + sizeof(arena) - (char *)old)));
		return address;
	}
	if (old)
		return note_realloc(old, size);
	address = real_realloc(NULL, size);
	note(RAW_MALLOC, address, size);
	return address;
}

/* Not the real one: the C library's calls realloc, which would be noted, too. */
EXPORT void *reallocarray(void *old, size_t n, size_t size)
{
	size_t bytes;

	if (unlikely(__builtin_mul_overflow(n, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(old, bytes);
}

EXPORT void *memalign(size_t align, size_t size)
{
	void *address = real_memalign(align, size);

	note_aligned(address, align, size);
	return address;
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
	void *address = real_aligned_alloc(align, size);

	note_aligned(address, align, size);
	return address;
}

EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
	int error = real_posix_memalign(out, align, size);

	note_aligned(error ? NULL : *out, align, size);
	return error;
}

EXPORT void *valloc(size_t size)
{
	void *address = real_valloc(size);

	note_aligned(address, PAGE_SIZE, size);
	return address;
}

EXPORT void *pvalloc(size_t size)
{
	void *address = real_pvalloc(size);

	note_aligned(address, PAGE_SIZE, size);
	return address;
}

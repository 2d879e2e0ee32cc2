/* SPDX-License-Identifier: MIT */
/*
 * Where an allocation comes from, and what an address is.
 *
 *	size to 32 KiB (8 with the kernel's classes),
 *	alignment to a page					a slab class that is a multiple of both
 *	... to 64 MiB						a run of pages (runs.c)
 *	larger, no room, zeroed and beyond 4 MiB, or a run
 *	of 128 KiB or more that realloc makes longer		a mapping (huge.c)
 *
 * No locks of its own.
 */
#include <errno.h>
#include <link.h>
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "malloc/heap.h"
#include "malloc/runs.h"
#include "phys/page_alloc.h"
#include "slab/cache.h"
#include "slab/kmalloc.h"

#define HEAP_GFP (GFP_KERNEL | __GFP_NOWARN)

/*
 * What realloc makes longer once will be made longer again. From so many bytes on it moves to a mapping,
 * which grows without copies and leaves no runs of all the lengths it had. Below, a copy is cheaper than
 * the faults of new memory.
 */
#define GROWING_BYTES (128UL << 10)

/*
 * A size whose class has objects at multiples of align: those of a class lie one behind the other from
 * a page's start on. 0 if no class is so.
 */
static size_t aligned_class(size_t size, size_t align)
{
	if (align > PAGE_SIZE || size > KMALLOC_MAX_CACHE_SIZE)
		return 0;
	size = ALIGN_UP(size, align);
	while (size <= KMALLOC_MAX_CACHE_SIZE) {
		const struct kmem_cache *cache = kmalloc_cache(heap.machine, KMALLOC_NORMAL, size);

		if (!cache)
			return 0; /* none of the kernel's classes is so large; or no memory for it */
		if (IS_ALIGNED(cache->size, align) && IS_ALIGNED(cache->red_left, align))
			return size;
		size = ALIGN_UP(cache->object_size + 1UL, align);
	}
	return 0;
}

static void *zeroed(void *addr, size_t size)
{
	return addr ? memset(addr, 0, size) : NULL;
}

/* From the machine, which this thread has entered. NULL when it has nothing of the kind. */
static void *machine_alloc(size_t size, size_t align, bool zero)
{
	size_t class = aligned_class(size, align);
	void *addr = NULL;

	if (class)
		addr = kmalloc(class, HEAP_GFP);
	/* Zeros are cheaper from the host than to write. */
	if (!addr && size <= (zero ? RUN_BLOCK_BYTES : RUN_MAX_BYTES))
		addr = run_alloc(size, align);
	return zero ? zeroed(addr, size) : addr;
}

static SLOW void *alloc_slow(size_t size, size_t align, bool zero)
{
	void *addr = NULL;
	enum entry entry;
	int saved = errno;

	if (unlikely(size > PTRDIFF_MAX)) {
		errno = ENOMEM;
		return NULL;
	}
	size = max_t(size_t, size, 1);
	align = max_t(size_t, align, MIN_ALIGN);
	entry = heap_enter();
	if (likely(entry != ENTRY_EARLY))
		addr = machine_alloc(size, align, zero);
	else
		addr = early_alloc(size, align);
	heap_leave(entry);
	if (unlikely(!addr))
		addr = huge_alloc(size, align);
	errno = addr ? saved : ENOMEM;
	return addr;
}

/* A function of its own, so that a run that is at hand costs no frame. */
SLOW void *heap_alloc(size_t size, size_t align, bool zero)
{
	if (size > KMALLOC_MAX_CACHE_SIZE && size <= RUN_BLOCK_BYTES && align <= PAGE_SIZE &&
	    likely(!zero)) {
		void *addr = run_at_hand(size);

		if (likely(addr))
			return addr;
	}
	return alloc_slow(size, align, zero);
}

/*
 * The loader's program headers lie behind its ELF header. Where that is, the loader says itself: the host's
 * AT_BASE is 0 when the loader was started as the program.
 */
bool heap_is_loader(const void *addr)
{
	const Elf64_Ehdr *elf = (const Elf64_Ehdr *)_r_debug.r_ldbase;
	const Elf64_Phdr *segment;

	if (!elf)
		return false;
	segment = (const Elf64_Phdr *)((const char *)elf + elf->e_phoff);
	for (unsigned int i = 0; i < elf->e_phnum; i++, segment++)
		if (segment->p_type == PT_LOAD &&
		    (uintptr_t)addr - ((uintptr_t)elf + segment->p_vaddr) <
			    ALIGN_UP(segment->p_memsz, PAGE_SIZE))
			return true;
	return false;
}

/*
 * An address that is nobody's. The loader has an allocator of its own from before this library was
 * there, and may free what that gave.
 */
static KMM_COLD void free_unknown(void *addr, void *caller)
{
	KMM_BUG_ON(!heap_is_loader(caller) && !heap_is_loader(addr),
		   "free of %p, which nobody allocated", addr);
}

/* keep: a run may stay at hand. Returns about how many bytes left the thread's own lists for it. */
static inline size_t machine_free(void *addr, bool keep)
{
	struct page *page;
	size_t size;

	if (!cpu_frame(this_cpu, addr, &page))
		return 0;
	if (page->slab_cache) {
		size = (size_t)page->slab_cache->batch * page->slab_cache->size;
		kfree(addr);
		return size;
	}
	size = run_size(page, addr);
	KMM_BUG_ON(!size, "free of %p, which is not allocated", addr);
	run_free(page, addr, keep);
	return size;
}

static inline void give_back(void *addr, void *caller, bool keep)
{
	int saved = errno;
	enum entry entry;
	size_t bytes;

	if (!addr || early_has(addr))
		return;
	if (likely(heap_has(addr))) {
		entry = heap_enter();
		bytes = machine_free(addr, keep);
		heap_leave(entry);
		trim_note(bytes, caller);
	} else if (!huge_free(addr)) {
		free_unknown(addr, caller);
	}
	errno = saved;
}

SLOW void heap_free(void *addr, void *caller)
{
	if (!run_keep(addr))
		give_back(addr, caller, true);
}

/* Bytes of what lies in the machine. */
static size_t machine_size(void *addr)
{
	const struct kmm *machine = heap.machine;
	const struct page *page =
		machine->mem_map + (((char *)addr - machine->direct_map) >> PAGE_SHIFT);
	size_t size;

	if (page->slab_cache)
		return page->slab_cache->object_size;
	size = run_size(page, addr);
	KMM_BUG_ON(!size, "%p is not allocated", addr);
	return size;
}

/* With red zones, which begin where what was asked for ends: size bytes are asked for now. */
static void ask_for(void *addr, size_t size)
{
	const struct kmm *machine = heap.machine;
	const struct kmem_cache *cache;

	if (!heap_has(addr))
		return;
	cache = machine->mem_map[((char *)addr - machine->direct_map) >> PAGE_SHIFT].slab_cache;
	if (cache && unlikely(cache->flags & SLAB_RED_ZONE))
		slab_debug_resize(cache, addr, size);
}

/* Bytes that it has room for. addr is not NULL. */
static size_t room_of(void *addr)
{
	size_t size;

	if (likely(heap_has(addr)))
		return machine_size(addr);
	if (early_has(addr))
		return early_size(addr);
	size = huge_size(addr);
	KMM_BUG_ON(!size, "%p is not allocated", addr);
	return size;
}

size_t heap_size(void *addr)
{
	size_t size;

	if (!addr)
		return 0;
	size = room_of(addr);
	ask_for(addr, size);
	return size;
}

/* Copy it to where size bytes are; NULL for no memory. */
static void *move(void *addr, size_t old, size_t size)
{
	const bool grows = size > old;
	int saved = errno;
	void *moved = NULL;

	if (grows && (old >= GROWING_BYTES || size > RUN_BLOCK_BYTES))
		moved = huge_alloc_growing(size);
	if (!moved)
		moved = heap_alloc(size, MIN_ALIGN, false);
	if (!moved)
		return NULL;
	memcpy(moved, addr, min_t(size_t, old, size));
	/* A large one that grows leaves a run of a length that nobody asks for again soon. */
	give_back(addr, NULL, !grows || old < GROWING_BYTES);
	errno = saved;
	return moved;
}

/* What has a mapping of its own. The host may refuse, as where the program has changed a part of it. */
static void *resize_mapping(void *addr, size_t old, size_t size)
{
	int saved = errno;
	void *resized = NULL;

	if (size >= GROWING_BYTES || size >= old / 2)
		resized = huge_resize(addr, size);
	if (!resized)
		resized = move(addr, old, size);
	if (!resized && size > old)
		return NULL;
	errno = saved;
	return resized ? resized : addr;
}

/* Give back the end of a run; the machine's other blocks stay as they are. */
static void shrink(void *addr, size_t size)
{
	enum entry entry = heap_enter();
	struct page *page = virt_to_page(addr);

	if (!page->slab_cache)
		run_shrink(page, addr, size);
	heap_leave(entry);
}

/*
 * In place while it fits and half of it is used; a run shrinks in place, a mapping does both. addr is
 * not NULL, size not 0.
 */
SLOW void *heap_realloc(void *addr, size_t size)
{
	size_t old = room_of(addr);
	void *resized;

	if (unlikely(size > PTRDIFF_MAX)) {
		errno = ENOMEM;
		return NULL;
	}
	if (unlikely(!heap_has(addr) && !early_has(addr)))
		return resize_mapping(addr, old, size);
	if (size > old)
		return move(addr, old, size);
	if (size >= old / 2 || old <= 64) {
		ask_for(addr, size);
		return addr;
	}
	if (size > KMALLOC_MAX_CACHE_SIZE && heap_has(addr)) {
		shrink(addr, size);
		return addr;
	}
	resized = move(addr, old, size);
	return resized ? resized : addr; /* a smaller block always fits */
}

/* SPDX-License-Identifier: MIT */
/*
 * Where an allocation comes from, and what an address is.
 *
 *	size to KMALLOC_MAX_CACHE_SIZE, alignment to a page	a slab class that is a multiple of both
 *	... to 4 MiB						a run of pages
 *	larger, larger alignments, or no room			a mapping (huge.c)
 *
 * The first frame of a run has in `private` what it is and how long: nothing else sets those 24 high
 * bits, and they are cleared before the run is freed, so a second free is seen.
 *
 * No locks of its own.
 */
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>

#include <elf.h>

#include "base/bits.h"
#include "base/check.h"
#include "malloc/heap.h"
#include "phys/page_alloc.h"
#include "slab/cache.h"
#include "slab/kmalloc.h"

#define RUN_TAG	    0x6b6d6d0000000000UL
#define RUN_TAG_ALL 0xffffff0000000000UL

#define HEAP_GFP (GFP_KERNEL | __GFP_NOWARN)

static u64 run_bytes; /* relaxed atomic */

u64 runs_bytes(void)
{
	return READ_ONCE(run_bytes);
}

static void count_run(long nr_pages)
{
	__atomic_fetch_add(&run_bytes, (u64)(nr_pages << PAGE_SHIFT), __ATOMIC_RELAXED);
}

/* Frames of the run that begins at addr; 0 if none does. */
static unsigned long run_pages(const struct page *page, const void *addr)
{
	if (READ_ONCE(page->type) != PG_TYPE_ALLOC || (page->private & RUN_TAG_ALL) != RUN_TAG ||
	    (uintptr_t)addr & ~PAGE_MASK)
		return 0;
	return page->private & ~RUN_TAG_ALL;
}

static void *run_alloc(size_t size, size_t align)
{
	unsigned long nr = (size + PAGE_SIZE - 1) >> PAGE_SHIFT;
	struct page *page = alloc_page_run(nr, get_order(align), HEAP_GFP);

	if (!page)
		return NULL;
	page->private = RUN_TAG | nr;
	count_run((long)nr);
	return page_address(page);
}

static void run_free(struct page *page, unsigned long nr)
{
	page->private = 0;
	count_run(-(long)nr);
	shrink_page_run(page, nr, 0);
}

/* Give back what a run has behind its first bytes. */
static void run_shrink(struct page *page, unsigned long nr, size_t size)
{
	unsigned long keep = (size + PAGE_SIZE - 1) >> PAGE_SHIFT;

	if (keep >= nr)
		return;
	page->private = RUN_TAG | keep;
	count_run((long)keep - (long)nr);
	shrink_page_run(page, nr, keep);
}

/*
 * A size whose class has objects at multiples of align: those of a class lie one behind the other from
 * a page's start on. 0 if no class is so.
 */
static size_t aligned_class(size_t size, size_t align)
{
	const struct slab *slab = heap.machine->slab;

	if (align > PAGE_SIZE || size > KMALLOC_MAX_CACHE_SIZE)
		return 0;
	size = ALIGN_UP(size, align);
	while (size <= KMALLOC_MAX_CACHE_SIZE) {
		const struct kmem_cache *cache =
			slab->kmalloc_caches[KMALLOC_NORMAL][slab->kmalloc_class[(size + 7) / 8]];

		if (!cache)
			return 0; /* none of the kernel's classes is so large */
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
	if (!addr && size <= PAGE_SIZE << MAX_PAGE_ORDER && align <= PAGE_SIZE << MAX_PAGE_ORDER)
		addr = run_alloc(size, align);
	return zero ? zeroed(addr, size) : addr;
}

SLOW void *heap_alloc(size_t size, size_t align, bool zero)
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

/* Is addr in the loader's own code or data? Its program headers lie behind its ELF header. */
static bool is_loader(const void *addr)
{
	const Elf64_Ehdr *elf = (const Elf64_Ehdr *)getauxval(AT_BASE);
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
	KMM_BUG_ON(!is_loader(caller) && !is_loader(addr), "free of %p, which nobody allocated",
		   addr);
}

static void machine_free(void *addr)
{
	struct page *page;
	unsigned long nr;

	if (!cpu_frame(this_cpu, addr, &page))
		return;
	nr = page->slab_cache ? 0 : run_pages(page, addr);
	if (nr) {
		run_free(page, nr);
		return;
	}
	KMM_BUG_ON(!page->slab_cache, "free of %p, which is not allocated", addr);
	kfree(addr);
}

SLOW void heap_free(void *addr, void *caller)
{
	int saved = errno;
	enum entry entry;

	if (!addr || early_has(addr))
		return;
	if (likely(heap_has(addr))) {
		entry = heap_enter();
		machine_free(addr);
		heap_leave(entry);
		if (entry == ENTRY_OWN)
			trim_maybe_start();
	} else if (!huge_free(addr)) {
		free_unknown(addr, caller);
	}
	errno = saved;
}

/* Bytes of what lies in the machine. */
static size_t machine_size(void *addr)
{
	const struct kmm *machine = heap.machine;
	const struct page *page =
		machine->mem_map + (((char *)addr - machine->direct_map) >> PAGE_SHIFT);
	unsigned long nr;

	if (page->slab_cache)
		return page->slab_cache->object_size;
	nr = run_pages(page, addr);
	KMM_BUG_ON(!nr, "%p is not allocated", addr);
	return nr << PAGE_SHIFT;
}

size_t heap_size(void *addr)
{
	size_t size;

	if (!addr)
		return 0;
	if (likely(heap_has(addr)))
		return machine_size(addr);
	if (early_has(addr))
		return early_size(addr);
	size = huge_size(addr);
	KMM_BUG_ON(!size, "%p is not allocated", addr);
	return size;
}

static void *move(void *addr, size_t old, size_t size)
{
	void *moved = heap_alloc(size, MIN_ALIGN, false);

	if (!moved)
		return NULL;
	memcpy(moved, addr, min_t(size_t, old, size));
	heap_free(addr, NULL);
	return moved;
}

/* Give back the end of a run; the machine's other blocks stay as they are. */
static void shrink(void *addr, size_t size)
{
	enum entry entry = heap_enter();
	struct page *page = virt_to_page(addr);

	if (!page->slab_cache)
		run_shrink(page, run_pages(page, addr), size);
	heap_leave(entry);
}

/*
 * In place while it fits and half of it is used; a run shrinks in place, a mapping does both. addr is
 * not NULL, size not 0.
 */
SLOW void *heap_realloc(void *addr, size_t size)
{
	size_t old = heap_size(addr);
	void *resized;

	if (unlikely(size > PTRDIFF_MAX)) {
		errno = ENOMEM;
		return NULL;
	}
	if (unlikely(!heap_has(addr) && !early_has(addr))) {
		if (size <= PAGE_SIZE << MAX_PAGE_ORDER && size < old / 2)
			return move(addr, old, size);
		resized = huge_resize(addr, size);
		if (!resized)
			errno = ENOMEM;
		return resized;
	}
	if (size > old)
		return move(addr, old, size);
	if (size >= old / 2 || old <= 64)
		return addr;
	if (size > KMALLOC_MAX_CACHE_SIZE && heap_has(addr)) {
		shrink(addr, size);
		return addr;
	}
	resized = move(addr, old, size);
	return resized ? resized : addr; /* a smaller block always fits */
}

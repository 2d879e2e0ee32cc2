/* SPDX-License-Identifier: MIT */
/*
 * kmap and kmap_local: windows through which frames outside the direct map are seen. See highmem.h
 * for what they promise.
 *
 *	pkmap area	| A | - | B | A' | ... |	LAST_PKMAP windows of the machine
 *	slot 0's	| C | D | - |  - | ... |	KM_MAX_IDX windows, a stack
 *
 * Invariants. Of the pkmap area: a frame has at most one window; every window with a frame is in
 * the bucket of that frame; one without a frame has no users. A window with a frame and no users
 * (A') is taken down when the search for a free one comes to the area's start, so a frame mapped
 * again and again costs the host nothing, and taking windows down costs one call to the host for
 * each run of them. Of a slot's: windows below `depth` are in use; page[i], where not NULL, is the
 * frame that window i shows, used or not.
 *
 * Both areas are address space only, reserved when first used. A machine without HighMem has none
 * of this (phys->highmem is NULL).
 *
 * Locks: highmem->lock (RANK_KMAP) for the pkmap area; it is held across calls to the host. A
 * slot's windows are its owner's alone.
 *
 * After mm/highmem.c (6.1), whose pkmap area is searched in the same way.
 */
#include "phys/highmem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/host.h"
#include "base/check.h"
#include "phys/alloc.h"
#include "phys/page_alloc.h"

#define PKMAP_BUCKETS 256 /* a power of two */
#define NO_WINDOW     UINT16_MAX

struct pkmap {
	const struct page *page; /* NULL: free */
	u32 nr_users;
	u16 next; /* of its bucket, or NO_WINDOW */
};

struct highmem {
	/* Set at boot, then constant: */
	size_t slot_offset; /* of struct kmap_slot in a slot */

	struct lock lock;  /* RANK_KMAP; protects: */
	char *windows;	   /* NULL until the first kmap; read without the lock, too */
	unsigned int last; /* where the search for a free window stopped */
	struct pkmap window[LAST_PKMAP];
	u16 bucket[PKMAP_BUCKETS]; /* the first window of each */
};

_Static_assert(LAST_PKMAP < NO_WINDOW, "a window's number in a u16");

/* A slot's part; zeros until its first kmap_local. */
struct kmap_slot {
	char *windows;
	u32 depth;
	const struct page *page[KM_MAX_IDX];
};

static bool is_highmem(const struct phys *phys, const struct page *page)
{
	return !page_zone(phys, page)->direct_mapped;
}

/* This thread's slot. Stops the program if page is not a struct page of its machine, before that is
 * looked into. */
static struct kmm_cpu *cpu_of_page(const struct page *page, const char *what)
{
	struct kmm_cpu *cpu = cpu_get();

	KMM_BUG_ON(!page_is_ours(cpu, page), "%s of %p: not a page of this machine", what,
		   (const void *)page);
	return cpu;
}

bool PageHighMem(const struct page *page)
{
	return is_highmem(cpu_of_page(page, __func__)->machine->phys, page);
}

static unsigned long pfn_of(const struct phys *phys, const struct page *page)
{
	return (unsigned long)(page - phys->machine->mem_map);
}

/* Show a frame in a window, with memory behind it: whoever maps it means to touch it. */
static int map_frame(const struct phys *phys, char *window, const struct page *page)
{
	const struct zone *zone = page_zone(phys, page);

	return host_shared_map(window, PAGE_SIZE, zone->memfd,
			       zone_memfd_offset(zone, pfn_of(phys, page)), true);
}

/*
 * The pkmap area
 */

static char *window_addr(const struct highmem *highmem, const struct pkmap *window)
{
	return highmem->windows + (size_t)(window - highmem->window) * PAGE_SIZE;
}

static u16 *bucket_of(struct highmem *highmem, const struct page *page)
{
	/* Fibonacci hashing; what matters of a pointer to a struct page is above its low bits. */
	u64 hash = ((u64)page >> PAGE_STRUCT_SHIFT) * 0x9E3779B97F4A7C15UL;

	return &highmem->bucket[hash >> 32 & (PKMAP_BUCKETS - 1)];
}

static struct pkmap *find_window(struct highmem *highmem, const struct page *page)
{
	u16 i = *bucket_of(highmem, page);

	while (i != NO_WINDOW && highmem->window[i].page != page)
		i = highmem->window[i].next;
	return i == NO_WINDOW ? NULL : &highmem->window[i];
}

static void hash_window(struct highmem *highmem, struct pkmap *window, const struct page *page)
{
	u16 *bucket = bucket_of(highmem, page);

	window->page = page;
	window->next = *bucket;
	*bucket = (u16)(window - highmem->window);
}

static void unhash_window(struct highmem *highmem, struct pkmap *window)
{
	u16 *link = bucket_of(highmem, window->page);

	while (*link != window - highmem->window)
		link = &highmem->window[*link].next;
	*link = window->next;
	window->page = NULL;
}

/* Take down all windows without users; true if there were any. */
static bool flush_unused_locked(struct highmem *highmem)
{
	struct pkmap *end = highmem->window + LAST_PKMAP;
	bool any = false;

	for (struct pkmap *first = highmem->window, *window; first < end; first = window + 1) {
		bool mapped = false;

		for (window = first; window < end && !window->nr_users; window++)
			if (window->page) {
				unhash_window(highmem, window);
				mapped = true;
			}
		/* If the host refuses, an old frame stays in a window until that is mapped over. */
		if (mapped)
			(void)host_shared_unmap(window_addr(highmem, first),
						(size_t)(window - first) * PAGE_SIZE);
		any |= mapped;
	}
	return any;
}

/* The next window without a frame, after one round at most behind a flush; NULL: all are in use. */
static struct pkmap *free_window(struct highmem *highmem)
{
	for (unsigned int left = LAST_PKMAP; left; left--) {
		highmem->last = (highmem->last + 1) % LAST_PKMAP;
		if (highmem->last == 0) {
			flush_unused_locked(highmem);
			left = LAST_PKMAP;
		}
		if (!highmem->window[highmem->last].page)
			return &highmem->window[highmem->last];
	}
	return NULL;
}

static struct pkmap *map_window(const struct phys *phys, const struct page *page)
{
	struct highmem *highmem = phys->highmem;
	struct pkmap *window;
	int err;

	if (!highmem->windows) {
		char *windows = host_reserve(LAST_PKMAP * PAGE_SIZE, PAGE_SIZE);

		if (!windows)
			return NULL;
		WRITE_ONCE(highmem->windows, windows);
	}
	window = free_window(highmem);
	if (!window)
		return NULL;
	err = map_frame(phys, window_addr(highmem, window), page);
	/* Perhaps the process has too many mappings, and the unused windows are some of them. */
	if (err && flush_unused_locked(highmem))
		err = map_frame(phys, window_addr(highmem, window), page);
	if (err)
		return NULL;
	hash_window(highmem, window, page);
	return window;
}

void *kmap(struct page *page)
{
	struct phys *phys = cpu_of_page(page, __func__)->machine->phys;
	struct highmem *highmem = phys->highmem;
	struct pkmap *window;

	if (likely(!is_highmem(phys, page)))
		return page_address(page);
	lock_acquire(&highmem->lock);
	window = find_window(highmem, page);
	if (!window)
		window = map_window(phys, page);
	if (window)
		window->nr_users++;
	lock_release(&highmem->lock);
	return window ? window_addr(highmem, window) : NULL;
}

void kunmap(struct page *page)
{
	struct phys *phys = cpu_of_page(page, __func__)->machine->phys;
	struct highmem *highmem = phys->highmem;
	struct pkmap *window;

	if (likely(!is_highmem(phys, page)))
		return;
	lock_acquire(&highmem->lock);
	window = find_window(highmem, page);
	KMM_BUG_ON(!window || !window->nr_users, "kunmap of frame %lu, which is not kmapped",
		   pfn_of(phys, page));
	window->nr_users--;
	lock_release(&highmem->lock);
}

void *kmap_address(const struct phys *phys, const struct page *page)
{
	struct highmem *highmem = phys->highmem;
	const struct pkmap *window;
	void *addr = NULL;

	if (!READ_ONCE(highmem->windows))
		return NULL;
	lock_acquire(&highmem->lock);
	window = find_window(highmem, page);
	if (window && window->nr_users)
		addr = window_addr(highmem, window);
	lock_release(&highmem->lock);
	return addr;
}

void kmap_flush_unused(void)
{
	struct highmem *highmem = cpu_get()->machine->phys->highmem;

	if (!highmem || !READ_ONCE(highmem->windows))
		return;
	lock_acquire(&highmem->lock);
	flush_unused_locked(highmem);
	lock_release(&highmem->lock);
}

/*
 * A slot's windows
 */

static struct kmap_slot *kmap_slot(const struct highmem *highmem, struct kmm_cpu *cpu)
{
	return percpu_ptr(cpu, highmem->slot_offset);
}

void *kmap_local_page(struct page *page)
{
	struct kmm_cpu *cpu = cpu_of_page(page, __func__);
	struct phys *phys = cpu->machine->phys;
	struct kmap_slot *slot;
	char *window;

	if (likely(!is_highmem(phys, page)))
		return page_address(page);
	slot = kmap_slot(phys->highmem, cpu);
	KMM_BUG_ON(slot->depth == KM_MAX_IDX, "kmap_local of frame %lu: %u deep already",
		   pfn_of(phys, page), slot->depth);
	if (!slot->windows) {
		slot->windows = host_reserve(KM_MAX_IDX * PAGE_SIZE, PAGE_SIZE);
		if (!slot->windows)
			return NULL;
	}
	window = slot->windows + slot->depth * PAGE_SIZE;
	if (slot->page[slot->depth] != page) {
		slot->page[slot->depth] = NULL;
		if (map_frame(phys, window, page))
			return NULL;
		slot->page[slot->depth] = page;
	}
	slot->depth++;
	return window;
}

void kunmap_local(const void *addr)
{
	struct kmm_cpu *cpu = cpu_get();
	const struct highmem *highmem = cpu->machine->phys->highmem;
	struct kmap_slot *slot;
	char *window;

	if (likely(virt_addr_valid(addr)))
		return;
	KMM_BUG_ON(!highmem, "kunmap_local of %p: not an address of this machine", addr);
	slot = kmap_slot(highmem, cpu);
	KMM_BUG_ON(!slot->depth, "kunmap_local of %p: no window is in use", addr);
	window = slot->windows + (slot->depth - 1UL) * PAGE_SIZE;
	KMM_BUG_ON(((unsigned long)addr & PAGE_MASK) != (unsigned long)window,
		   "kunmap_local of %p: not the last of the %u windows in use", addr, slot->depth);
	slot->depth--;
	/* The frame stays in its window for the next one; where bugs are looked for, a late access
	 * is one. */
	if (KMM_DEBUG && !host_shared_unmap(window, PAGE_SIZE))
		slot->page[slot->depth] = NULL;
}

int clear_highpage(struct page *page)
{
	void *addr = kmap_local_page(page);

	if (!addr)
		return -ENOMEM;
	memset(addr, 0, PAGE_SIZE);
	kunmap_local(addr);
	return 0;
}

/*
 * Boot and shutdown
 */

int highmem_boot(struct phys *phys)
{
	struct highmem *highmem;
	bool any = false;
	int err;

	for_each_zone(phys, node, zone)
		any |= !zone->direct_mapped;
	if (!any)
		return 0;
	highmem = aligned_alloc(CACHELINE_SIZE, ALIGN_UP(sizeof(*highmem), CACHELINE_SIZE));
	if (!highmem)
		return -ENOMEM;
	memset(highmem, 0, sizeof(*highmem));
	memset(highmem->bucket, 0xff, sizeof(highmem->bucket)); /* NO_WINDOW */
	err = lock_init(&highmem->lock, "kmap", RANK_KMAP, phys->machine->config.lock_kind);
	if (err)
		goto free_highmem;
	highmem->slot_offset =
		percpu_alloc(phys->machine, sizeof(struct kmap_slot), CACHELINE_SIZE);
	if (!highmem->slot_offset) {
		err = -ENOMEM;
		goto destroy_lock;
	}
	phys->highmem = highmem;
	return 0;

destroy_lock:
	lock_destroy(&highmem->lock);
free_highmem:
	free(highmem);
	return err;
}

unsigned long highmem_release(struct phys *phys)
{
	struct highmem *highmem = phys->highmem;
	struct kmm *machine = phys->machine;
	unsigned long nr_used = 0;

	if (!highmem)
		return 0;
	for (unsigned int i = 0; i < LAST_PKMAP; i++)
		nr_used += highmem->window[i].nr_users != 0;
	if (highmem->windows)
		host_release(highmem->windows, LAST_PKMAP * PAGE_SIZE);
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu)) {
		struct kmap_slot *slot = kmap_slot(highmem, cpu);

		nr_used += slot->depth;
		if (slot->windows)
			host_release(slot->windows, KM_MAX_IDX * PAGE_SIZE);
	}
	/* As the page allocator's own part, not zeroed in the slots: they end too. */
	percpu_free(machine, highmem->slot_offset, sizeof(struct kmap_slot));
	lock_destroy(&highmem->lock);
	free(highmem);
	phys->highmem = NULL;
	return nr_used;
}

const struct lock *highmem_lock(const struct phys *phys)
{
	return phys->highmem ? &phys->highmem->lock : NULL;
}

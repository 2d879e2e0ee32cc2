/* SPDX-License-Identifier: MIT */
/*
 * Allocations with a mapping of their own: those beyond the largest block of pages, those that the
 * machine has no room for, and alignments beyond a block's.
 *
 * A hash table by address says which there are and how long they are, with linear probing and half of
 * it free at least, so that a free of anything else is found out without a look at its memory. It lies
 * in a mapping too, and doubles.
 *
 * Lock: huge_lock (RANK_LEAF), around the table, and not around the calls of the host, but for mremap:
 * when that has moved a mapping, another thread may get the old address before the table knows.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "base/check.h"
#include "base/lock.h"
#include "malloc/heap.h"

#define FIRST_CAPACITY 256UL /* entries: a page */

struct mapping {
	char *addr;  /* NULL: no entry */
	size_t size; /* a multiple of PAGE_SIZE */
};

static struct lock huge_lock;
/* huge_lock protects: */
static struct mapping *table;
static size_t capacity; /* a power of two, or 0 */
static size_t nr_mappings;
static u64 mapped_bytes;

void huge_init(void)
{
	lock_init(&huge_lock, "huge mappings", RANK_LEAF, LOCK_TTAS);
}

struct lock *huge_lock_for_fork(void)
{
	return &huge_lock;
}

static size_t hash(const void *addr)
{
	return (size_t)(((u64)addr >> PAGE_SHIFT) * 0x9e3779b97f4a7c15UL >> 20) & (capacity - 1);
}

/* Where addr is, or the free entry that it would have. */
static struct mapping *find_locked(const void *addr)
{
	size_t i = hash(addr);

	while (table[i].addr && table[i].addr != addr)
		i = (i + 1) & (capacity - 1);
	return &table[i];
}

/* Make sure that there is room for one more. 0 or -ENOMEM. */
static int make_room_locked(void)
{
	struct mapping *old = table;
	size_t old_capacity = capacity, bytes;
	void *larger;

	if (2 * (nr_mappings + 1) <= capacity)
		return 0;
	bytes = max_t(size_t, 2 * capacity, FIRST_CAPACITY) * sizeof(*table);
	larger = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (larger == MAP_FAILED)
		return -ENOMEM;
	table = larger;
	capacity = bytes / sizeof(*table);
	for (size_t i = 0; i < old_capacity; i++)
		if (old[i].addr)
			*find_locked(old[i].addr) = old[i];
	if (old)
		munmap(old, old_capacity * sizeof(*old));
	return 0;
}

static void insert_locked(char *addr, size_t size)
{
	*find_locked(addr) = (struct mapping){addr, size};
	nr_mappings++;
	mapped_bytes += size;
}

/* Take an entry out, and move those behind it that it had pushed away. */
static void remove_locked(struct mapping *entry)
{
	size_t hole = (size_t)(entry - table), i = hole;

	nr_mappings--;
	mapped_bytes -= entry->size;
	for (;;) {
		size_t home;

		i = (i + 1) & (capacity - 1);
		if (!table[i].addr)
			break;
		home = hash(table[i].addr);
		/* Does the hole lie between its home and where it is? */
		if (((i - home) & (capacity - 1)) >= ((i - hole) & (capacity - 1))) {
			table[hole] = table[i];
			hole = i;
		}
	}
	table[hole].addr = NULL;
}

/* A mapping at a multiple of align, by cutting both ends off a larger one. */
static char *map_aligned(size_t size, size_t align)
{
	size_t slack = align > PAGE_SIZE ? align - PAGE_SIZE : 0;
	char *start, *base;

	if (size + slack < size)
		return NULL;
	start = mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		     0);
	if (start == MAP_FAILED)
		return NULL;
	base = (char *)ALIGN_UP((uintptr_t)start, max_t(size_t, align, PAGE_SIZE));
	if (base > start)
		munmap(start, (size_t)(base - start));
	if (start + slack > base)
		munmap(base + size, (size_t)(start + slack - base));
	return base;
}

void *huge_alloc(size_t size, size_t align)
{
	char *addr;
	int error;

	size = ALIGN_UP(size, PAGE_SIZE);
	addr = map_aligned(size, align);
	if (!addr)
		return NULL;
	lock_acquire(&huge_lock);
	error = make_room_locked();
	if (!error)
		insert_locked(addr, size);
	lock_release(&huge_lock);
	if (error) {
		munmap(addr, size);
		return NULL;
	}
	return addr;
}

/* The entry of an address, or NULL. */
static struct mapping *lookup_locked(const void *addr)
{
	struct mapping *entry = capacity ? find_locked(addr) : NULL;

	return entry && entry->addr ? entry : NULL;
}

bool huge_free(void *addr)
{
	struct mapping *entry;
	size_t size = 0;

	if (!addr || (uintptr_t)addr & ~PAGE_MASK)
		return false;
	lock_acquire(&huge_lock);
	entry = lookup_locked(addr);
	if (entry) {
		size = entry->size;
		remove_locked(entry);
	}
	lock_release(&huge_lock);
	if (size)
		munmap(addr, size);
	return size != 0;
}

size_t huge_size(const void *addr)
{
	struct mapping *entry;
	size_t size = 0;

	if (!addr || (uintptr_t)addr & ~PAGE_MASK)
		return 0;
	lock_acquire(&huge_lock);
	entry = lookup_locked(addr);
	if (entry)
		size = entry->size;
	lock_release(&huge_lock);
	return size;
}

void *huge_resize(void *addr, size_t size)
{
	struct mapping *entry;
	void *moved = MAP_FAILED;

	size = ALIGN_UP(size, PAGE_SIZE);
	lock_acquire(&huge_lock);
	entry = lookup_locked(addr);
	if (entry && entry->size == size) {
		moved = addr;
	} else if (entry) {
		moved = mremap(addr, entry->size, size, MREMAP_MAYMOVE);
		if (moved != MAP_FAILED) {
			remove_locked(entry);
			insert_locked(moved, size);
		}
	}
	lock_release(&huge_lock);
	return moved == MAP_FAILED ? NULL : moved;
}

void huge_count(u64 *nr, u64 *bytes)
{
	lock_acquire(&huge_lock);
	*nr = nr_mappings;
	*bytes = mapped_bytes;
	lock_release(&huge_lock);
}

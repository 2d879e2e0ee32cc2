/* SPDX-License-Identifier: MIT */
/*
 * Allocations with a mapping of their own: those beyond the largest block of pages, those that the
 * machine has no room for, alignments beyond a block's, and buffers that realloc makes longer and
 * longer.
 *
 *	addr             size             room
 *	| what was asked | address space  |	of a buffer that has grown; of others size == room
 *
 * A buffer that grows does so into its room, which costs nothing before it is touched, and beyond it by
 * mremap, which moves page tables and no bytes. One of up to a megabyte is kept when it is freed, for the
 * next that grows: programs make such buffers over and over, and new memory costs more than to fill it.
 *
 * A hash table by address says which there are and how long they are, with linear probing and half of
 * it free at least, so that a free of anything else is found out without a look at its memory. It lies
 * in a mapping too, and doubles.
 *
 * Lock: huge_lock (RANK_LEAF), around the table, and not around the calls of the host. When mremap has
 * moved a mapping, another thread may get its old address at once; so while it is at it the mapping is
 * in the table under neither, and only counted, which keeps a place for it.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "base/check.h"
#include "base/lock.h"
#include "malloc/heap.h"

#define FIRST_CAPACITY 256UL	    /* entries */
#define SLACK_MOST     (64UL << 20) /* bytes of room that nobody asked for */
#define SHRINK_LEAST   (64UL << 10) /* bytes that are worth to be cut off */
#define GROWING_MOST   (16UL << 10) /* a quarter of the mappings that the host lets a process have */
#define SPARE_MOST     (1UL << 20)  /* bytes of a free mapping that is kept */

struct mapping {
	char *addr;  /* NULL: no entry */
	size_t size; /* a multiple of PAGE_SIZE */
	size_t room; /* the mapping's length, as much or more */
};

static struct lock huge_lock;
/* huge_lock protects: */
static struct mapping *table;
static size_t capacity;	     /* a power of two, or 0 */
static size_t nr_mappings;   /* those being moved included */
static u64 mapped_bytes;     /* their sizes */
static struct mapping spare; /* a free one, not in the table; addr is NULL: none */

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

/* There is room for it. */
static void insert_locked(const struct mapping *mapping)
{
	*find_locked(mapping->addr) = *mapping;
	mapped_bytes += mapping->size;
}

/* Take an entry out, and move those behind it that it had pushed away. */
static void remove_locked(struct mapping *entry)
{
	size_t hole = (size_t)(entry - table), i = hole;

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

/* A new mapping of so much room. NULL for no memory. */
static void *alloc(size_t size, size_t room, size_t align)
{
	const struct mapping new = {map_aligned(room, align), size, room};
	int error;

	if (!new.addr)
		return NULL;
	lock_acquire(&huge_lock);
	error = make_room_locked();
	if (!error) {
		nr_mappings++;
		insert_locked(&new);
	}
	lock_release(&huge_lock);
	if (error) {
		munmap(new.addr, room);
		return NULL;
	}
	return new.addr;
}

void *huge_alloc(size_t size, size_t align)
{
	size = ALIGN_UP(size, PAGE_SIZE);
	return alloc(size, size, align);
}

/* A quarter more, so that small steps need the host seldom. */
static size_t room_to_grow(size_t size)
{
	return ALIGN_UP(size + min_t(size_t, size / 4, SLACK_MOST), PAGE_SIZE);
}

/* The spare, with so many bytes of it asked for; NULL if it has not as many. */
static void *take_spare(size_t size)
{
	struct mapping taken = {.size = size};

	lock_acquire(&huge_lock);
	if (spare.addr && spare.room >= size && !make_room_locked()) {
		taken.addr = spare.addr;
		taken.room = spare.room;
		spare.addr = NULL;
		nr_mappings++;
		insert_locked(&taken);
	}
	lock_release(&huge_lock);
	return taken.addr;
}

void *huge_alloc_growing(size_t size)
{
	void *addr;

	if (READ_ONCE(nr_mappings) >= GROWING_MOST)
		return NULL;
	size = ALIGN_UP(size, PAGE_SIZE);
	addr = take_spare(size);
	if (!addr)
		addr = alloc(size, room_to_grow(size), PAGE_SIZE);
	return addr ? addr : alloc(size, size, PAGE_SIZE);
}

/* The entry of an address, or NULL. */
static struct mapping *lookup_locked(const void *addr)
{
	struct mapping *entry = capacity ? find_locked(addr) : NULL;

	return entry && entry->addr ? entry : NULL;
}

static void unmap(const struct mapping *mapping)
{
	/* Out of the midst of what the host has joined to one mapping, it may be one too many. */
	if (mapping->addr && munmap(mapping->addr, mapping->room))
		(void)madvise(mapping->addr, mapping->room, MADV_DONTNEED);
}

/* Keep the larger one of the spare and a free mapping, which becomes the other. */
static void spare_locked(struct mapping *free)
{
	const struct mapping before = spare;

	if (free->room > SPARE_MOST || (spare.addr && spare.room >= free->room))
		return;
	spare = *free;
	*free = before;
}

bool huge_free(void *addr)
{
	struct mapping *entry, free = {.addr = NULL};
	bool found;

	if (!addr || (uintptr_t)addr & ~PAGE_MASK)
		return false;
	lock_acquire(&huge_lock);
	entry = lookup_locked(addr);
	found = entry != NULL;
	if (entry) {
		free = *entry;
		remove_locked(entry);
		nr_mappings--;
		spare_locked(&free);
	}
	lock_release(&huge_lock);
	unmap(&free);
	return found;
}

bool huge_trim(void)
{
	struct mapping free;

	lock_acquire(&huge_lock);
	free = spare;
	spare.addr = NULL;
	lock_release(&huge_lock);
	unmap(&free);
	return free.addr != NULL;
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

/* Can it have this size without the host? Then it has. */
static bool resize_locked(struct mapping *entry, size_t size)
{
	if (size > entry->room || size + SHRINK_LEAST <= entry->size)
		return false;
	if (size > entry->size) {
		mapped_bytes += size - entry->size;
		entry->size = size;
	}
	return true;
}

/* Make the mapping longer or shorter, wherever that is. False if the host refuses. */
static bool remap(struct mapping *mapping, size_t size)
{
	size_t room = size > mapping->room ? room_to_grow(size) : size;
	char *addr = mremap(mapping->addr, mapping->room, room, MREMAP_MAYMOVE);

	if (addr == MAP_FAILED && room > size) {
		room = size;
		addr = mremap(mapping->addr, mapping->room, room, MREMAP_MAYMOVE);
	}
	if (addr == MAP_FAILED)
		return false;
	*mapping = (struct mapping){addr, size, room};
	return true;
}

void *huge_resize(void *addr, size_t size)
{
	struct mapping *entry, mapping;
	bool done;

	size = ALIGN_UP(size, PAGE_SIZE);
	lock_acquire(&huge_lock);
	entry = lookup_locked(addr);
	done = !entry || resize_locked(entry, size);
	if (!done) {
		mapping = *entry;
		remove_locked(entry);
	}
	lock_release(&huge_lock);
	if (done)
		return entry ? addr : NULL;
	done = remap(&mapping, size);
	lock_acquire(&huge_lock);
	insert_locked(&mapping);
	lock_release(&huge_lock);
	return done ? mapping.addr : NULL;
}

void huge_count(u64 *nr, u64 *bytes)
{
	lock_acquire(&huge_lock);
	*nr = nr_mappings;
	*bytes = mapped_bytes;
	lock_release(&huge_lock);
}

/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU memory (base/cpu.h): which ranges of a slot are handed out, a bit a cache line, the same
 * for all slots.
 *
 * First fit. Most ranges are magazines, whose alignment leaves single lines free between them; so
 * the search for more than a line begins where two free lines may be neighbours (percpu_full).
 *
 * Lock: machine->slots_lock.
 */
#include "arch/slots.h"
#include "base/bits.h"
#include "base/check.h"

static bool line_used(const struct kmm *machine, size_t line)
{
	return machine->percpu_map[line / 64] >> (line % 64) & 1;
}

static void mark_lines(struct kmm *machine, size_t first, size_t nr)
{
	for (size_t line = first, end = first + nr; line < end;) {
		size_t here = min_t(size_t, 64 - line % 64, end - line);

		machine->percpu_map[line / 64] ^= (~0UL >> (64 - here)) << line % 64;
		line += here;
	}
}

/* The first line from `line` on that is handed out (used), or is not; end if none before it is. */
static size_t next_line(const struct kmm *machine, size_t line, size_t end, bool used)
{
	while (line < end) {
		u64 bits = machine->percpu_map[line / 64];

		bits = (used ? bits : ~bits) >> line % 64;
		if (bits)
			return min_t(size_t, line + __ffs(bits), end);
		line = ALIGN_DOWN(line, 64UL) + 64;
	}
	return end;
}

/* The lowest run of nr free lines that starts at a multiple of align lines; 0 if there is none. */
static size_t find_lines(const struct kmm *machine, size_t nr, size_t align)
{
	size_t start = nr > 1 ? machine->percpu_full : 0;

	for (;;) {
		size_t used;

		start = ALIGN_UP(next_line(machine, start, PERCPU_LINES, false), align);
		if (start + nr > PERCPU_LINES)
			return 0;
		used = next_line(machine, start, start + nr, true);
		if (used == start + nr)
			return start;
		start = used;
	}
}

size_t percpu_alloc(struct kmm *machine, size_t size, size_t align)
{
	size_t nr = ALIGN_UP(size, CACHELINE_SIZE) / CACHELINE_SIZE;
	size_t first;

	KMM_BUG_ON(!size || align > PAGE_SIZE || (align & (align - 1)), "size %zu, align %zu", size,
		   align);
	if (size > PERCPU_SIZE)
		return 0;
	lock_acquire(&machine->slots_lock);
	first = find_lines(machine, nr, max_t(size_t, align / CACHELINE_SIZE, 1));
	if (first)
		mark_lines(machine, first, nr);
	/* What alignment leaves free is mostly one line. */
	if (first && first <= machine->percpu_full + 1UL)
		machine->percpu_full = max_t(u32, machine->percpu_full, first + nr);
	lock_release(&machine->slots_lock);
	return first * CACHELINE_SIZE;
}

void percpu_free(struct kmm *machine, size_t offset, size_t size)
{
	size_t first = offset / CACHELINE_SIZE;
	size_t nr = ALIGN_UP(size, CACHELINE_SIZE) / CACHELINE_SIZE;

	lock_acquire(&machine->slots_lock);
	for (size_t line = first; line < first + nr; line++)
		KMM_BUG_ON(line >= PERCPU_LINES || !line_used(machine, line),
			   "offset %zu, size %zu: not handed out", offset, size);
	mark_lines(machine, first, nr);
	/* The line before may be free, too. */
	machine->percpu_full = min_t(u32, machine->percpu_full, first - 1);
	lock_release(&machine->slots_lock);
}

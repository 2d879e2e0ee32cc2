/* SPDX-License-Identifier: MIT */
/*
 * What the heap can say of itself: mallinfo, malloc_stats, and the summary that KMM_STATS=1 asks for at
 * exit. Nothing here allocates: text goes through one buffer on the stack.
 *
 * Numbers are read while others change them, and exact when nothing runs.
 */
#include <limits.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "arch/host.h"
#include "malloc/heap.h"
#include "malloc/runs.h"
#include "phys/phys.h"
#include "slab/slab.h"

struct summary {
	u64 frames;  /* bytes of pages that slab or a run has */
	u64 objects; /* bytes of objects handed out */
	u64 nr_objects;
	u64 slabs; /* bytes of slabs */
	u64 runs;
	u64 nr_huge, huge;
};

static void add_cache(const struct slab_info *info, void *arg)
{
	struct summary *sum = arg;

	sum->objects += info->active_objs * info->objsize;
	sum->nr_objects += info->active_objs;
	sum->slabs += info->slab_bytes;
}

static void add_zone(const struct phys_zone_info *zone, void *arg)
{
	struct summary *sum = arg;

	sum->frames += (u64)(zone->nr_managed - zone->nr_free) << PAGE_SHIFT;
}

static void heap_sum(struct summary *sum)
{
	enum entry entry = heap_enter();

	*sum = (struct summary){0};
	if (entry != ENTRY_EARLY) {
		phys_for_each_zone(heap.machine, add_zone, sum);
		slab_for_each(heap.machine, add_cache, sum);
		sum->runs = runs_bytes();
	}
	heap_leave(entry);
	huge_count(&sum->nr_huge, &sum->huge);
}

EXPORT struct mallinfo2 mallinfo2(void)
{
	struct summary sum;

	heap_sum(&sum);
	return (struct mallinfo2){
		.arena = sum.frames,
		.hblks = sum.nr_huge,
		.hblkhd = sum.huge,
		.uordblks = sum.objects + sum.runs + sum.huge,
		.fordblks = sum.frames - min_t(u64, sum.frames, sum.objects + sum.runs),
	};
}

static int as_int(size_t value)
{
	return (int)min_t(size_t, value, INT_MAX);
}

EXPORT struct mallinfo mallinfo(void)
{
	struct mallinfo2 wide = mallinfo2();

	return (struct mallinfo){
		.arena = as_int(wide.arena),
		.hblks = as_int(wide.hblks),
		.hblkhd = as_int(wide.hblkhd),
		.uordblks = as_int(wide.uordblks),
		.fordblks = as_int(wide.fordblks),
	};
}

/* A line of at most 256 bytes, past the C library's streams, which may be closed. */
static __attribute__((format(printf, 2, 3))) void say(int fd, const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n > 0 && write(fd, line, min_t(size_t, n, sizeof(line) - 1)) < 0)
		return; /* nowhere to say it */
}

static unsigned long long kib(u64 bytes)
{
	return (unsigned long long)(bytes >> 10);
}

void heap_print_summary(int fd)
{
	struct slab_counters count;
	struct summary sum;
	struct rusage usage;

	if (heap.state != HEAP_READY)
		return;
	heap_sum(&sum);
	slab_count(heap.machine, &count);
	say(fd, "kmm: process %d\n", (int)getpid());
	say(fd,
	    "kmm: in use: %llu KiB in %llu objects, %llu KiB in runs of pages, %llu KiB in %llu "
	    "mappings\n",
	    kib(sum.objects), (unsigned long long)sum.nr_objects, kib(sum.runs), kib(sum.huge),
	    (unsigned long long)sum.nr_huge);
	say(fd, "kmm: held: %llu KiB of pages, %llu KiB of them slabs; resident %llu KiB",
	    kib(sum.frames), kib(sum.slabs), kib(host_rss_bytes()));
	if (!getrusage(RUSAGE_SELF, &usage))
		say(fd, ", at most %ld KiB", usage.ru_maxrss);
	say(fd,
	    "\nkmm: calls: %llu allocations, %llu past the magazines; %llu frees, %llu past them\n",
	    (unsigned long long)(count.alloc_fast + count.alloc_slow),
	    (unsigned long long)count.alloc_slow,
	    (unsigned long long)(count.free_fast + count.free_slow),
	    (unsigned long long)count.free_slow);
}

EXPORT void malloc_stats(void)
{
	heap_print_summary(STDERR_FILENO);
}

__attribute__((destructor)) static void at_exit(void)
{
	if (heap.stats_fd)
		heap_print_summary(heap.stats_fd);
}

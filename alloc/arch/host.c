/* SPDX-License-Identifier: MIT */
/*
 * The Linux host, as host.h describes it: address space and memory by mmap, time, and the numbers
 * of /proc. How much memory it has to give is in hostmem.c.
 *
 * A range is reserved as one inaccessible mapping, and everything later happens inside it with
 * MAP_FIXED, so no other mapping of the process can get in between. "Back to reserved" is a new
 * inaccessible mapping on top.
 *
 * No locks. Of its two variables one is a constant of the host once measured, the other is for
 * tests.
 */
#include "arch/host.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

#define CALIBRATION_NS 20000000ULL

static unsigned long fail_countdown;
static u64 cycles_per_second; /* 0: not measured yet */

void host_fail_nth(unsigned long nth)
{
	__atomic_store_n(&fail_countdown, nth, __ATOMIC_SEQ_CST);
}

bool host_fail_pending(void)
{
	return __atomic_load_n(&fail_countdown, __ATOMIC_SEQ_CST) != 0;
}

static bool fail_now(void)
{
	if (likely(!READ_ONCE(fail_countdown)))
		return false;
	if (__atomic_sub_fetch(&fail_countdown, 1, __ATOMIC_SEQ_CST))
		return false;
	errno = ENOMEM;
	return true;
}

/* An inaccessible mapping: somewhere, or (fixed) on top of what is at addr. */
static void *map_nothing(void *addr, size_t size, int fixed)
{
	return mmap(addr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1,
		    0);
}

void *host_reserve(size_t size, size_t align)
{
	size_t slack = align > PAGE_SIZE ? align - PAGE_SIZE : 0;
	char *start, *base;

	if (fail_now() || size + slack < size)
		return NULL;
	start = map_nothing(NULL, size + slack, 0);
	if (start == MAP_FAILED)
		return NULL;
	base = (char *)ALIGN_UP((uintptr_t)start, align);
	if (base > start)
		munmap(start, (size_t)(base - start));
	if (start + slack > base)
		munmap(base + size, (size_t)(start + slack - base));
	return base;
}

void host_release(void *base, size_t size)
{
	KMM_BUG_ON(munmap(base, size), "munmap(%p, %zu): %s", base, size, strerror(errno));
}

int host_commit(void *addr, size_t size, bool huge)
{
	if (fail_now())
		return -errno;
	if (mmap(addr, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		return -errno;
	/* EINVAL where the kernel has no transparent huge pages: then there is nothing to wish for
	 * either. */
	(void)madvise(addr, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return 0;
}

int host_decommit(void *addr, size_t size)
{
	return map_nothing(addr, size, MAP_FIXED) == MAP_FAILED ? -errno : 0;
}

int host_discard(void *addr, size_t size)
{
	return madvise(addr, size, MADV_DONTNEED) ? -errno : 0;
}

int host_shared_discard(int fd, u64 offset, size_t size)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size)
		       ? -errno
		       : 0;
}

u64 host_resident_bytes(const void *addr, size_t size)
{
	unsigned char resident[4096];
	char *at = (char *)ALIGN_DOWN((uintptr_t)addr, PAGE_SIZE);
	size_t nr_pages = ((size_t)((const char *)addr - at) + size + PAGE_SIZE - 1) >> PAGE_SHIFT;
	u64 bytes = 0;

	while (nr_pages) {
		size_t nr = min_t(size_t, nr_pages, sizeof(resident));

		if (mincore(at, nr << PAGE_SHIFT, resident))
			return 0;
		for (size_t i = 0; i < nr; i++)
			bytes += (resident[i] & 1U) << PAGE_SHIFT;
		at += nr << PAGE_SHIFT;
		nr_pages -= nr;
	}
	return bytes;
}

int host_shared_create(const char *name, size_t size)
{
	int fd, error;

	if (fail_now())
		return -errno;
	fd = memfd_create(name, MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size)) {
		error = errno;
		close(fd);
		return -error;
	}
	return fd;
}

int host_shared_map(void *addr, size_t size, int fd, u64 offset, bool populate)
{
	int error;

	if (fail_now())
		return -errno;
	if (mmap(addr, size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED | (populate ? MAP_POPULATE : 0), fd,
		 (off_t)offset) != MAP_FAILED)
		return 0;
	error = errno;
	/* A fixed mapping that failed half way may have removed the reservation; put it back. */
	(void)map_nothing(addr, size, MAP_FIXED);
	return -error;
}

int host_write_protect(void *addr, size_t size)
{
	if (fail_now())
		return -errno;
	return mprotect(addr, size, PROT_READ) ? -errno : 0;
}

int host_shared_unmap(void *addr, size_t size)
{
	if (map_nothing(addr, size, MAP_FIXED) != MAP_FAILED)
		return 0;
	/* At the limit of mappings even a replacement is refused, but a change of access is not. */
	return mprotect(addr, size, PROT_NONE) ? -errno : 0;
}

void host_shared_close(int fd)
{
	close(fd);
}

u64 host_time_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000ULL + (u64)now.tv_nsec;
}

/* The TSC's rate as the processor states it (CPUID leaf 0x15); 0 if it does not. */
static u64 stated_cycles_per_second(void)
{
	unsigned int denominator, numerator, crystal_hz, unused;

	if (!__get_cpuid(0x15, &denominator, &numerator, &crystal_hz, &unused))
		return 0;
	return denominator && numerator ? (u64)crystal_hz * numerator / denominator : 0;
}

/* Both clocks at one time: the pair of a few that took least, so that none is taken between whose
 * two readings another thread ran. */
static void read_clocks(u64 *ns, u64 *cycles)
{
	u64 least_ns = ~0ULL;

	for (int i = 0; i < 10; i++) {
		u64 before_ns = host_time_ns(), now = host_cycles();
		u64 took_ns = host_time_ns() - before_ns;

		if (took_ns >= least_ns)
			continue;
		least_ns = took_ns;
		*ns = before_ns + took_ns / 2;
		*cycles = now;
	}
}

static u64 measured_cycles_per_second(void)
{
	u64 start_ns, start, end_ns, end;

	read_clocks(&start_ns, &start);
	while (host_time_ns() - start_ns < CALIBRATION_NS)
		;
	read_clocks(&end_ns, &end);
	return (u64)((double)(end - start) * 1e9 / (double)(end_ns - start_ns));
}

double host_cycles_per_second(void)
{
	u64 rate = READ_ONCE(cycles_per_second);

	if (!rate) {
		rate = stated_cycles_per_second();
		if (!rate)
			rate = measured_cycles_per_second();
		/* Two threads may measure at once, and either result is right. */
		WRITE_ONCE(cycles_per_second, rate);
	}
	return (double)rate;
}

int host_current_cpu(void)
{
	int cpu = sched_getcpu();

	return cpu < 0 ? 0 : cpu;
}

/* The first numbers of a small file, as text; false if it cannot be read. Allocates nothing. */
static bool read_small(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, text, size - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	return true;
}

u64 host_rss_bytes(void)
{
	char text[128];
	unsigned long size, resident;

	if (!read_small("/proc/self/statm", text, sizeof(text)) ||
	    sscanf(text, "%lu %lu", &size, &resident) != 2)
		return 0;
	return (u64)resident * PAGE_SIZE;
}

unsigned long host_max_mappings(void)
{
	char text[64];
	unsigned long limit;

	if (!read_small("/proc/sys/vm/max_map_count", text, sizeof(text)) ||
	    sscanf(text, "%lu", &limit) != 1)
		return 65530;
	return limit;
}

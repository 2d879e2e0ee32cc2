/* SPDX-License-Identifier: MIT */
/*
 * The host operating system behind one contract: everything kmm asks of it that is not in the C
 * library. Only alloc/arch calls mmap, madvise, memfd_create and hwloc. Addresses and sizes are
 * multiples of PAGE_SIZE; functions return 0 or -errno unless they say otherwise, take no lock, and
 * may be called by any thread.
 */
#ifndef KMM_ARCH_HOST_H
#define KMM_ARCH_HOST_H

#include "base/types.h"

/* Reserve size bytes of address space, aligned to align (a power of two >= PAGE_SIZE), without
 * access and without memory behind it. NULL when the host refuses. */
void *host_reserve(size_t size, size_t align);
/* Give a reserved range back, whole, whatever was mapped inside it. */
void host_release(void *base, size_t size);

/* Private zeroed memory at a reserved range, readable and writable, committed as it is touched.
 * huge: ask for huge pages (a wish: fails silently where the host has none); else ask for none. */
int host_commit(void *addr, size_t size, bool huge);
/* Back to reserved: its memory returns to the host. */
int host_decommit(void *addr, size_t size);
/* The memory behind a committed range returns to the host, and the range stays as it is: it reads
 * as zeros, and has memory again where it is written to. */
int host_discard(void *addr, size_t size);

/* A new shared-memory object of size bytes, zero-filled as touched. Returns a file descriptor or
 * -errno. */
int host_shared_create(const char *name, size_t size);
/* Map size bytes of it from byte `offset` at addr, which must lie in a reserved range; readable and
 * writable through every mapping. populate: with memory behind it at once (no later page faults).
 * -ENOMEM also when the host's limit of mappings per process is reached; addr is then still
 * reserved. */
int host_shared_map(void *addr, size_t size, int fd, u64 offset, bool populate);
/* Writes to a mapped range fault from now on. -ENOMEM at the limit of mappings. */
int host_write_protect(void *addr, size_t size);
/*
 * Make pages of a mapped shared object fault on every access, without a mapping of the host for them:
 * size bytes at addr, and again every `stride` bytes, nr times. They stay so until the range is mapped
 * anew. After an error some may be so. host_has_guards: can the host (Linux 6.15) do that? It tries.
 */
int host_guard(void *addr, size_t size, size_t stride, unsigned int nr);
bool host_has_guards(void);
/* Back to reserved; the object's content stays. */
int host_shared_unmap(void *addr, size_t size);
/* The memory behind size bytes of it from `offset` on returns to the host: they read as zeros
 * through every mapping. */
int host_shared_discard(int fd, u64 offset, size_t size);
void host_shared_close(int fd);

/* TSC cycles, not serialising. */
static inline u64 host_cycles(void)
{
	return __builtin_ia32_rdtsc();
}

/* Monotonic time. */
u64 host_time_ns(void);
/* TSC cycles per second, measured once against the monotonic clock (20 ms) or read from the CPU. */
double host_cycles_per_second(void);

/* OS number of the CPU this thread runs on, from 0. */
int host_current_cpu(void);

/* Bytes of memory the host could give without swapping (MemAvailable, and the cgroup's limit if
 * lower). */
u64 host_available_bytes(void);
/* The process's resident bytes, as the OS says (statm). */
u64 host_rss_bytes(void);
/* Bytes of a mapped range that memory stands behind now, in whole pages (mincore); 0 for one that
 * is not mapped whole. */
u64 host_resident_bytes(const void *addr, size_t size);
/* The limit of mappings per process (vm.max_map_count); 65530 if it cannot be read. */
unsigned long host_max_mappings(void);

/*
 * For tests. host_available_in reads the files below root instead of the host's own ("" is the
 * host). host_fail_nth makes the nth call from now on that asks the host for memory or address
 * space (host_reserve, _commit, _shared_create, _shared_map, _write_protect) fail once, as if the host had refused;
 * 0: none. host_fail_pending says whether that is still to come.
 */
u64 host_available_in(const char *root);
void host_fail_nth(unsigned long nth);
bool host_fail_pending(void);

#endif

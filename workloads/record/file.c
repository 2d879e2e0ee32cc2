/* SPDX-License-Identifier: MIT */
/*
 * The file of one process's recording; raw.h has its form.
 *
 * Header and hot chunks are mapped shared. The mapping is not inherited by fork, and what says
 * where to write is zero in the child, however it came to be: so a child begins a file of its own
 * with its first event. exec does so by itself. No descriptor is kept, the program might close it:
 * the file is opened again by its name for each chunk of the log. A program that has gone where the
 * name leads nowhere (chroot) gets hot chunks instead, one behind the other, as long as there are
 * some.
 *
 * All system calls go past the C library, where they would be points of cancellation.
 */
#include "workloads/record/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define MOST_BYTES	(64ULL << 30) /* of address space for the mapping */
#define LEAST_BYTES	(1ULL << 20)
#define ALL_SIGNALS	(~0ULL)
#define SIGNALS_IN_WORD sizeof(u64)

/* What fork does keep. */
static struct {
	bool known, wanted;
	u64 clock_hz;
	char folder[PATH_MAX - 64];
} config;

struct record_process *record_process;
struct stream *record_streams;
u16 *record_regions;
bool record_slow_clock;

/* Until there is kmm record's. */
static struct raw_notice no_notice;
struct raw_notice *record_notice = &no_notice;

/* --- the host --- */

u64 record_block_signals(void)
{
	u64 all = ALL_SIGNALS, before = 0;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, SIGNALS_IN_WORD);
	return before;
}

void record_restore_signals(u64 before)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SIGNALS_IN_WORD);
}

void record_lock(void)
{
	while (__atomic_exchange_n(&record_process->lock, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

void record_unlock(void)
{
	__atomic_store_n(&record_process->lock, 0, __ATOMIC_RELEASE);
}

/* No two are equal: a slow clock may stand still while an address goes from thread to thread. */
u64 record_slow_stamp(u32 *cpu)
{
	static u64 latest;
	u64 last = __atomic_load_n(&latest, __ATOMIC_RELAXED), clock, stamp;
	struct timespec now;
	unsigned int number = 0;

	clock_gettime(CLOCK_MONOTONIC, &now);
	syscall(SYS_getcpu, &number, NULL, NULL);
	*cpu = number & 0xfff;
	clock = (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
	do {
		stamp = clock > last ? clock : last + 1;
	} while (!__atomic_compare_exchange_n(&latest, &last, stamp, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_RELAXED));
	return stamp;
}

bool record_populate(void *from, size_t bytes)
{
	/* A kernel before 5.14 does not know it: pages come as they are touched. */
	return !madvise(from, bytes, MADV_POPULATE_WRITE) || errno == EINVAL;
}

static int open_file(const char *path, int flags)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}

static void close_file(int fd)
{
	syscall(SYS_close, fd);
}

/* --- what kmm record wants --- */

/* All of a file of /proc, as far as there is room. */
static size_t read_file(const char *path, char *bytes, size_t room)
{
	int fd = open_file(path, O_RDONLY);
	size_t length = 0;
	ssize_t n;

	if (fd < 0)
		return 0;
	while (length < room && (n = syscall(SYS_read, fd, bytes + length, room - length)) > 0)
		length += (size_t)n;
	close_file(fd);
	return length;
}

/* "tsc:HZ:FOLDER" or "ns:HZ:FOLDER" */
static void parse_config(const char *text)
{
	char *rest;

	record_slow_clock = strncmp(text, "tsc:", 4) != 0;
	text = strchr(text, ':');
	if (!text)
		return;
	config.clock_hz = strtoull(text + 1, &rest, 10);
	if (*rest != ':' || !config.clock_hz || strlen(rest + 1) >= sizeof(config.folder))
		return;
	strcpy(config.folder, rest + 1);
	config.wanted = true;
}

/*
 * The environment as exec gave it: the first calls come before the C library has its own. Where
 * that cannot be read (a program that may be run and not read) it has to be the C library's: until
 * that is there nothing is known.
 */
static void read_config(void)
{
	static char environment[64 << 10];
	size_t length;

	if (config.known)
		return;
	length = read_file("/proc/self/environ", environment, sizeof(environment) - 1);
	for (char *entry = environment; entry < environment + length; entry += strlen(entry) + 1)
		if (!strncmp(entry, "KMM_RECORD=", 11))
			parse_config(entry + 11);
	if (!config.wanted && environ && getenv("KMM_RECORD"))
		parse_config(getenv("KMM_RECORD"));
	config.known = length || environ;
}

/* The counters that kmm record reads at the end; without them its losses are not known. */
static void map_notice(void)
{
	static char path[PATH_MAX];
	void *notice;
	int fd;

	snprintf(path, sizeof(path), "%s/" RAW_NOTICE, config.folder);
	fd = open_file(path, O_RDWR);
	if (fd < 0)
		return;
	notice = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close_file(fd);
	if (notice != MAP_FAILED)
		record_notice = notice;
}

bool record_unwanted(void)
{
	return config.known && !config.wanted;
}

/* Memory for what fork shall wipe. */
bool record_prepare(void)
{
	size_t bytes = ALIGN_UP(sizeof(struct record_process), PAGE_SIZE);
	size_t streams = ALIGN_UP(MAX_STREAMS * sizeof(struct stream), PAGE_SIZE);
	size_t all = bytes + streams + NR_REGIONS * sizeof(*record_regions);
	char *memory;

	if (likely(record_process))
		return true;
	read_config();
	if (!config.wanted)
		return false;
	map_notice();
	memory = mmap(NULL, all, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED || madvise(memory, all, MADV_WIPEONFORK)) {
		config.wanted = false;
		__atomic_fetch_add(&record_notice->lost_processes, 1, __ATOMIC_RELAXED);
		return false;
	}
	record_streams = (struct stream *)(memory + bytes);
	record_regions = (u16 *)(memory + bytes + streams);
	record_process = (struct record_process *)memory;
	return true;
}

/* --- the file --- */

static int open_new_file(u32 *image)
{
	int fd;

	for (*image = 0;; ++*image) {
		snprintf(record_process->path, sizeof(record_process->path), "%s/%d.%u",
			 config.folder, (int)getpid(), *image);
		fd = open_file(record_process->path, O_RDWR | O_CREAT | O_EXCL);
		if (fd >= 0 || errno != EEXIST)
			return fd;
	}
}

static u64 limit_of(int resource)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

	getrlimit((__rlimit_resource_t)resource, &limit);
	return limit.rlim_cur;
}

/* Map the front of fd from a chunk's boundary on: plenty, it costs nothing; but a small part only
 * of what a limit lets the process have. */
static void *map_file(int fd, u64 *bytes)
{
	u64 address_space = limit_of(RLIMIT_AS), file_size = limit_of(RLIMIT_FSIZE);
	char *room, *base;

	for (*bytes = MOST_BYTES; *bytes >= LEAST_BYTES; *bytes /= 4) {
		if (file_size < *bytes ||
		    (address_space != RLIM_INFINITY && address_space / 64 < *bytes &&
		     *bytes > LEAST_BYTES) ||
		    ftruncate(fd, (off_t)*bytes))
			continue;
		room = mmap(NULL, *bytes + RAW_CHUNK_BYTES, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (room == MAP_FAILED)
			continue;
		base = (char *)ALIGN_UP((u64)room, (u64)RAW_CHUNK_BYTES);
		if (mmap(base, *bytes, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) != MAP_FAILED)
			return base;
		munmap(room, *bytes + RAW_CHUNK_BYTES);
	}
	return NULL;
}

static void fill_header(struct raw_header *header, u64 bytes, u32 image)
{
	struct timespec now;
	size_t length;
	u32 cpu;

	*header = (struct raw_header){.chunk_bytes = RAW_CHUNK_BYTES,
				      .pid = getpid(),
				      .parent = getppid(),
				      .image = image,
				      .clock_hz = config.clock_hz,
				      .first_log = bytes / RAW_CHUNK_BYTES,
				      .nr_hot = 1,
				      .lost = no_notice.lost_calls};
	no_notice.lost_calls = 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	header->base = record_stamp(&cpu);
	header->base_ns = (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
	length = read_file("/proc/self/cmdline", header->command, sizeof(header->command) - 1);
	for (size_t i = 0; i + 1 < length; i++)
		if (!header->command[i])
			header->command[i] = ' ';
	memcpy(header->magic, RAW_MAGIC, sizeof(header->magic));
}

bool record_begin_file(void)
{
	u64 bytes;
	u32 image;
	int fd = open_new_file(&image);
	void *base = fd < 0 ? NULL : map_file(fd, &bytes);

	if (fd >= 0)
		close_file(fd);
	if (!base)
		goto lost;
	madvise(base, bytes, MADV_DONTFORK);
	/* No reading ahead, so no large folios: ext4 walks all blocks of one for each page. */
	madvise(base, bytes, MADV_RANDOM);
	madvise(base, bytes, MADV_DONTDUMP);
	if (!record_populate(base, FIRST_BYTES)) {
		munmap(base, bytes);
		goto lost;
	}
	fill_header(base, bytes, image);
	record_process->header = base;
	return true;
lost:
	__atomic_fetch_add(&record_notice->lost_processes, 1, __ATOMIC_RELAXED);
	return false;
}

bool record_write_log(const struct raw_chunk *chunk)
{
	struct raw_header *header = record_process->header;
	u64 number = header->first_log + __atomic_fetch_add(&header->nr_log, 1, __ATOMIC_RELAXED);
	u64 from = number * RAW_CHUNK_BYTES, done = 0;
	ssize_t n = 1;
	int fd;

	/* Beyond the limit there is a signal instead of an error. */
	if (limit_of(RLIMIT_FSIZE) < from + RAW_CHUNK_BYTES)
		return false;
	fd = open_file(record_process->path, O_WRONLY);
	if (fd < 0)
		return false;
	while (done < RAW_CHUNK_BYTES && n > 0) {
		n = syscall(SYS_pwrite64, fd, (const char *)chunk + done, RAW_CHUNK_BYTES - done,
			    from + done);
		done += n > 0 ? (u64)n : 0;
	}
	close_file(fd);
	return done == RAW_CHUNK_BYTES;
}

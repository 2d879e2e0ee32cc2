/* SPDX-License-Identifier: MIT */
/*
 * The .kmt trace: what was allocated and freed, by whom and when. FORMAT.md describes the bytes;
 * this is how programs write and read them.
 *
 * An event is cheap because nearly all of it repeats. What repeats is said once and numbered: a
 * cache (its name), a context (CPU and thread) and a shape (kind of call, cache, sizes, order,
 * flags, node). What is left is a number for the shape, the time since the event before, and for a
 * free which object it frees.
 *
 * Objects have no addresses but ids, dense from 0, in one space for each population (objects,
 * pages). An allocation is not given its id: it takes the id freed last, or the next new one, in
 * the writer and the reader alike (struct kmt_ids). So memory on both sides is for live objects
 * only, an allocation of a live id cannot be written down, and a free of a dead one is found when
 * it is read.
 *
 * Writers and readers belong to one thread at a time. Both stream: neither ever seeks.
 */
#ifndef WORKLOADS_KMT_H
#define WORKLOADS_KMT_H

#include <stdio.h>
#include <sys/types.h>

#include "base/types.h"

#define KMT_VERSION 1

/* Limits of the format: a reader refuses what is beyond them, so no file can make it allocate
 * without bound. */
#define KMT_MAX_BLOCK_EVENTS 65536U
#define KMT_MAX_BLOCK_BYTES  (4U << 20) /* of a block, decompressed */
#define KMT_MAX_SHAPES	     (1U << 20)
#define KMT_MAX_CONTEXTS     (1U << 20)
#define KMT_MAX_CACHES	     (1U << 16)
#define KMT_MAX_NAME	     255U /* bytes of a cache name or of the description */
#define KMT_MAX_SIZE	     (1ULL << 47)
#define KMT_MAX_ORDER	     10U
#define KMT_MAX_CPU	     65535U

enum kmt_population { KMT_OBJECTS, KMT_PAGES, KMT_NR_POPULATIONS };

/* What an event does to its object. */
enum kmt_effect { KMT_ALLOCATES, KMT_FREES, KMT_TOUCHES };

/* Kinds of events; their numbers are the format's: append only. */
#define KMT_KINDS(X)                                                                               \
	X(KMALLOC, "kmalloc", OBJECTS, ALLOCATES)                                                  \
	X(KFREE, "kfree", OBJECTS, FREES)                                                          \
	X(CACHE_ALLOC, "cache_alloc", OBJECTS, ALLOCATES)                                          \
	X(CACHE_FREE, "cache_free", OBJECTS, FREES)                                                \
	X(PAGE_ALLOC, "page_alloc", PAGES, ALLOCATES)                                              \
	X(PAGE_FREE, "page_free", PAGES, FREES)                                                    \
	X(MALLOC, "malloc", OBJECTS, ALLOCATES)                                                    \
	X(CALLOC, "calloc", OBJECTS, ALLOCATES)                                                    \
	X(MEMALIGN, "memalign", OBJECTS, ALLOCATES) /* order: log2 of the alignment */             \
	X(REALLOC, "realloc", OBJECTS, TOUCHES) /* the object keeps its id; requested is new */    \
	X(FREE, "free", OBJECTS, FREES)                                                            \
	X(ACCESS, "access", OBJECTS, TOUCHES) /* arg: offset in the object; requested: bytes */

enum kmt_kind {
#define X(name, text, population, effect) KMT_##name,
	KMT_KINDS(X)
#undef X
		KMT_NR_KINDS
};

/* Shape flags. */
#define KMT_ARG_INLINE 0x01U /* each event has its own arg: a size seldom seen, or an offset */
#define KMT_IMPLIED    0x02U /* a free that the source missed, and the converter put in */
#define KMT_WRITE      0x04U /* ACCESS: a store */

/* GFP flags as the format numbers them: the kernel's own numbers change from release to release. */
#define KMT_GFP_FLAGS(X)                                                                           \
	X(DMA)                                                                                     \
	X(HIGHMEM)                                                                                 \
	X(DMA32)                                                                                   \
	X(MOVABLE)                                                                                 \
	X(RECLAIMABLE)                                                                             \
	X(HIGH)                                                                                    \
	X(IO)                                                                                      \
	X(FS)                                                                                      \
	X(ZERO)                                                                                    \
	X(DIRECT_RECLAIM)                                                                          \
	X(KSWAPD_RECLAIM)                                                                          \
	X(WRITE)                                                                                   \
	X(NOWARN)                                                                                  \
	X(RETRY_MAYFAIL)                                                                           \
	X(NOFAIL)                                                                                  \
	X(NORETRY)                                                                                 \
	X(MEMALLOC)                                                                                \
	X(COMP)                                                                                    \
	X(NOMEMALLOC)                                                                              \
	X(HARDWALL)                                                                                \
	X(THISNODE)                                                                                \
	X(ACCOUNT)                                                                                 \
	X(ZEROTAGS)                                                                                \
	X(ATOMIC)                                                                                  \
	X(OTHER)

enum kmt_gfp_bit {
#define X(name) KMT_GFP_BIT_##name,
	KMT_GFP_FLAGS(X)
#undef X
		KMT_NR_GFP_BITS
};
enum kmt_gfp {
#define X(name) KMT_GFP_##name = 1 << KMT_GFP_BIT_##name,
	KMT_GFP_FLAGS(X)
#undef X
};

#define KMT_NO_CACHE	0xffffffffU
#define KMT_NO_NODE	(-1)
#define KMT_NO_MOBILITY 255U

/* All that repeats from event to event. Frees have no sizes: their object has. */
struct kmt_shape {
	u8 kind;	/* enum kmt_kind */
	u8 flags;	/* KMT_ARG_INLINE, ... */
	u8 order;	/* pages: 0 to KMT_MAX_ORDER */
	u8 migratetype; /* pages: the kernel's number, or KMT_NO_MOBILITY */
	s32 node;	/* asked for, or KMT_NO_NODE */
	u32 gfp;	/* KMT_GFP_* */
	u32 cache;	/* number of its cache, or KMT_NO_CACHE */
	u64 requested;	/* bytes; 0 with KMT_ARG_INLINE */
	u64 allocated;	/* bytes the recorded allocator gave, 0 unknown */
};

struct kmt_event {
	u64 time_ns; /* since the trace began */
	u64 arg;     /* bytes requested, inline or the shape's; ACCESS: offset; frees: 0 */
	u32 id;
	u32 shape;
	s32 tid;
	u16 cpu;
	u8 kind;
	u8 order;
};
_Static_assert(sizeof(struct kmt_event) == 32, "two events a cache line");

/*
 * The account of a trace, kept in its trailer: what it holds, and what of its source it does not. A
 * tag is the format's number for the field: append only.
 */
#define KMT_COUNTS(X)                                                                              \
	X(1, source_lines, "lines or events read from the source")                                 \
	X(2, null_frees, "frees of no object")                                                     \
	X(3, unknown_object_frees, "frees of objects never seen allocated")                        \
	X(4, unknown_page_frees, "frees of pages never seen allocated")                            \
	X(5, missed_object_frees,                                                                  \
	  "allocations of an object still live: its free was not recorded")                        \
	X(6, missed_page_frees, "allocations of a page still live: its free was not recorded")     \
	X(7, split_page_frees, "frees of a part of a block of pages")                              \
	X(8, failed_allocs, "allocations that gave nothing")                                       \
	X(9, page_free_batched, "mm_page_free_batched: the same frees told again")                 \
	X(10, pcpu_drain, "mm_page_pcpu_drain: pages on their way from a list to the buddy")       \
	X(11, other_events, "events of other kinds")                                               \
	X(12, alive_objects, "objects alive at the end")                                           \
	X(13, alive_pages, "blocks of pages alive at the end")                                     \
	X(14, alive_object_bytes, "bytes requested by objects alive at the end")                   \
	X(15, alive_page_bytes, "bytes of pages alive at the end")                                 \
	X(16, peak_objects, "objects alive at once, at most")                                      \
	X(17, peak_pages, "blocks of pages alive at once, at most")                                \
	X(18, peak_object_bytes, "bytes requested by live objects, at most")                       \
	X(19, peak_page_bytes, "bytes of live pages, at most")                                     \
	X(20, duration_ns, "time from the first event to the last")                                \
	X(21, skipped, "lines, or ends of damaged traces, that could not be read: skipped")

struct kmt_counts {
	u64 kinds[KMT_NR_KINDS]; /* events in the trace */
#define X(tag, name, text) u64 name;
	KMT_COUNTS(X)
#undef X
};

const char *kmt_kind_name(enum kmt_kind kind);
enum kmt_population kmt_kind_population(enum kmt_kind kind);
enum kmt_effect kmt_kind_effect(enum kmt_kind kind);
u64 kmt_counts_events(const struct kmt_counts *counts); /* sum over kinds */
u64 kmt_counts_population(const struct kmt_counts *counts, enum kmt_population population);

/* One line of error, without "kmm: " and without a newline. */
#define KMT_ERROR_SIZE 512

/* What a trace says of its source. */
struct kmt_info {
	u32 time_unit_ns;  /* resolution of the source's clock: 1 or 1000; not 0 */
	u64 start_time_ns; /* the source's clock at the first event */
	char description[KMT_MAX_NAME + 1];
};

/* --- writing --- */

struct kmt_writer;

/*
 * Start a trace at path, under a temporary name in its folder until kmt_writer_commit. Something
 * that is no regular file (/dev/null, a pipe) is written directly. info is copied. NULL on an
 * error, with a line in error.
 */
struct kmt_writer *kmt_writer_create(const char *path, const struct kmt_info *info,
				     char error[KMT_ERROR_SIZE]);
/* The same on an open file, which stays the caller's; name is for errors. */
struct kmt_writer *kmt_writer_create_fd(int fd, const char *name, const struct kmt_info *info,
					char error[KMT_ERROR_SIZE]);

/* Number of the cache of that name, a new one if it is new. name is not terminated. 0, or -E2BIG,
 * -ENOMEM. */
int kmt_write_cache(struct kmt_writer *writer, const char *name, size_t length, u32 *cache);

/*
 * Add an event. time_ns counts from the trace's begin and must not go back; it is cut to a multiple
 * of the time unit. arg overrides shape->requested where the shape says KMT_ARG_INLINE. *id is set
 * by an allocation, and read by everything else. 0; -EINVAL for a dead id, a time that goes back or
 * a shape that cannot be; -E2BIG; -ENOMEM; or the file's error. After an error only
 * kmt_writer_abort may follow; kmt_writer_error has the line. About 50 ns.
 */
int kmt_write(struct kmt_writer *writer, u64 time_ns, u32 cpu, s32 tid,
	      const struct kmt_shape *shape, u64 arg, u32 *id);

/* Write what is buffered and the trailer, close, and give the file its name. counts->kinds, the
 * alive_, the peak_ counts and the duration are filled in by the writer. Frees the writer, on an
 * error too: -errno, the line in error. */
int kmt_writer_commit(struct kmt_writer *writer, struct kmt_counts *counts,
		      char error[KMT_ERROR_SIZE]);
/* Forget the trace: nothing is left behind. */
void kmt_writer_abort(struct kmt_writer *writer);
const char *kmt_writer_error(const struct kmt_writer *writer);

/* --- reading --- */

struct kmt_reader;

/* Open a trace; read its header. NULL on an error, with a line in error. */
struct kmt_reader *kmt_open(const char *path, char error[KMT_ERROR_SIZE]);
/* The same from an open file, read forward from where it stands; it stays the caller's. */
struct kmt_reader *kmt_open_fd(int fd, const char *name, char error[KMT_ERROR_SIZE]);
void kmt_close(struct kmt_reader *reader);

/*
 * The next events, at most n. Returns how many; 0 at the end, when trailer and checksums agreed
 * with what was read; -1 on an error: kmt_error has the line. Shapes and caches that the events
 * name are known by then, and stay.
 */
ssize_t kmt_read(struct kmt_reader *reader, struct kmt_event *events, size_t n);

const char *kmt_error(const struct kmt_reader *reader);
const struct kmt_info *kmt_info(const struct kmt_reader *reader);
/* Valid until the next kmt_read. */
const struct kmt_shape *kmt_shapes(const struct kmt_reader *reader, u32 *nr_shapes);
const char *kmt_cache_name(const struct kmt_reader *reader, u32 cache);
u32 kmt_nr_caches(const struct kmt_reader *reader);
/* Ids used so far in a population: every id is below. */
u32 kmt_nr_ids(const struct kmt_reader *reader, enum kmt_population population);
/* The trailer; zeros before kmt_read returned 0. */
const struct kmt_counts *kmt_counts(const struct kmt_reader *reader);

/* Whether these first bytes of a file are a .kmt trace's (of any version). */
bool kmt_is_trace(const void *bytes, size_t length);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The other allocators, and kmm itself, as the benchmark sees them: what a page allocator of someone
 * else's exports to be measured (struct kmm_page_peer), and the table that every allocator becomes
 * (struct object_peer).
 *
 * Every allocator is measured through one table of function pointers of the C library's own types,
 * so that a dlsym'd malloc is called directly, kmm's entry point is called in the very same way,
 * and so is the floor: an "allocator" that pops and pushes a thread-local list. An operation that a
 * peer lacks is NULL; its cases are skipped, and said so, never emulated.
 */
#ifndef KMM_BENCH_PEER_H
#define KMM_BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A page peer: a page allocator in a shared object, measured beside kmm's own on the page events of
 * traces and in suite page (`kmm bench --page-peer lib.so`). It exports one symbol, kmm_page_peer:
 *
 *	#include <bench/peer.h>
 *
 *	const struct kmm_page_peer kmm_page_peer = {
 *		.abi = KMM_PAGE_PEER_ABI, .orders = 0x7ff, .name = "mine", .version = "1.0",
 *		.init = mine_init, .get = mine_get, .put = mine_put, .stats = mine_stats,
 *	};
 *
 *	cc -shared -fPIC -O2 $(pkg-config --cflags kmm) mine.c -o mine.so
 *
 * bench/peers/example_page_peer.c is a whole one.
 *
 * Memory. kmm reserves it, as much as its own machine has, binds it node by node, asks for huge
 * pages as it does for its own, and unmaps it after exit. Frames are numbered from 0 in the range;
 * a frame has KMM_PAGE_PEER_FRAME bytes. The whole range is readable and writable, and zero at
 * first. Between get and put a block is the benchmark's, which writes to it; what is free is the
 * peer's to write to. Other memory that the peer wants it takes where it likes.
 *
 * Threads. get and put are called by several threads at once. cpu says which of them calls: 0 to
 * nr_cpus - 1, no two threads have one number at a time, and each is pinned to a CPU. So what the
 * peer keeps for each cpu number needs no lock, as kmm's own lists of a CPU need none. Any thread
 * may put what another got. While init, stats, drain or exit runs, no other call does.
 *
 * The library stays loaded until the process ends, init is called once, and exit then once.
 */
#define KMM_PAGE_PEER_ABI    1
#define KMM_PAGE_PEER_FRAME  4096
#define KMM_PAGE_PEER_ORDERS 11		/* 0 to 10: blocks of 4 KiB to 4 MiB */
#define KMM_PAGE_PEER_NONE   UINT64_MAX /* from get: no memory */

struct kmm_page_peer_range {
	void *base;	    /* of frame 0; aligned to 4 MiB */
	uint64_t nr_frames; /* a multiple of 1024, and so are the nodes' */
	unsigned int nr_cpus;
	unsigned int nr_nodes;
	/* [nr_nodes + 1]: node n has the frames from node_first[n] on, up to node_first[n + 1]. */
	const uint64_t *node_first;
	const unsigned int *cpu_node; /* [nr_cpus] */
};

/* What of the memory is free. Fields that the peer does not set stay KMM_PAGE_PEER_UNKNOWN. */
#define KMM_PAGE_PEER_UNKNOWN UINT64_MAX
struct kmm_page_peer_stats {
	uint64_t free_frames; /* what is kept for a cpu may be left out, but not after drain */
	uint64_t free_huge;   /* aligned 2 MiB all of whose 512 frames are among free_frames */
	/* By order, free blocks whose buddy is not free. All of them or none. */
	uint64_t free_blocks[KMM_PAGE_PEER_ORDERS];
};

struct kmm_page_peer {
	uint32_t abi;	 /* KMM_PAGE_PEER_ABI; in every version the first field */
	uint32_t orders; /* bit n: order n is served; kmm asks for no other, and says so */
	/* Of up to 31 characters; --page-peer NAME=lib.so gives another. */
	const char *name;
	const char *version; /* or NULL */

	/* Take the range. It and its arrays stay until exit. 0 or -errno. */
	int (*init)(const struct kmm_page_peer_range *range);
	/* A block of 2^order frames: its first frame, a multiple of 2^order; or
	 * KMM_PAGE_PEER_NONE. */
	uint64_t (*get)(unsigned int order, unsigned int cpu);
	/* Take it back; order is the one it was got with. */
	void (*put)(uint64_t frame, unsigned int order, unsigned int cpu);

	/* The rest may be NULL. Without stats, leaks are not looked for and fragmentation is not
	 * known. 0 or -errno. */
	int (*stats)(struct kmm_page_peer_stats *stats);
	/* Put back what is kept for each cpu. */
	void (*drain)(void);
	void (*exit)(void);
};

extern const struct kmm_page_peer kmm_page_peer __attribute__((visibility("default")));

struct object_peer_stats {
	uint64_t allocated_bytes; /* in live objects, rounded up to their classes */
	uint64_t backing_bytes;	  /* held from the OS or the page allocator */
};

/* What one of a library's locks has counted since it was loaded. */
struct object_peer_lock {
	const char *name;
	uint64_t acquired;
	uint64_t contended; /* of these, found held by another thread */
	double wait_ns;	    /* asleep for it */
};

struct object_peer {
	const char *name; /* "kmm", "jemalloc", ..., or as given with --peer */
	/* Of a library, "" where there is nothing to say; NULL in all others. */
	const char *version;
	const char *path;     /* of the shared object */
	const char *settings; /* options in force that are not defaults, "NAME=value ..." */

	void *(*alloc)(size_t size);
	void (*free)(void *object);
	void *(*aligned_alloc)(size_t align, size_t size);
	size_t (*usable_size)(void *object);
	/* nr objects of one size by one call, all or none: returns nr, or 0; and back by one call. NULL:
	 * the allocator has no such call. */
	size_t (*alloc_bulk)(size_t size, size_t nr, void **objects);
	void (*free_bulk)(size_t nr, void **objects);
	/* Current figures; 0, or -errno where the peer cannot say. */
	int (*stats)(const struct object_peer *peer, struct object_peer_stats *stats);
	/* Call visit for each kind of lock, those of all arenas and size classes summed. 0 or -errno.
	 * NULL: the peer does not count. Takes locks itself. */
	int (*locks)(const struct object_peer *peer,
		     void (*visit)(const struct object_peer_lock *lock, void *arg), void *arg);
	/* Give back memory that nobody has used for a while: for allocators that leave the timer to the
	 * program (kmm_age). NULL: it looks at the clock in its calls, or has a thread. */
	void (*age)(const struct object_peer *peer);
	/* Give cached memory back as far as the peer can. */
	void (*trim)(const struct object_peer *peer);
	/* Give back what this thread caches, to the allocator if not to the OS. NULL: the peer
	 * cannot. */
	void (*flush_thread)(const struct object_peer *peer);
	/* allocated_bytes is exact, once each thread has flushed, but for this many bytes a thread;
	 * negative: it counts cached objects too, and says nothing of leaks. */
	int64_t allocated_slack;

	/*
	 * Tables of suite page, kmm's and the page peers', NULL in others. alloc and free above are
	 * of the one order in kmm_target; these are of any, and free_order wants the order that the
	 * block was allocated with. A malloc library serves with alloc(4096 << order).
	 */
	void *(*alloc_order)(unsigned int order);
	void (*free_order)(void *block, unsigned int order);
	/* What is free and how whole, while no thread allocates or frees. drain: first put back what
	 * is kept for each CPU (of kmm: for this thread, and for slots without one). 0 or -errno;
	 * NULL: the peer cannot say. */
	int (*page_stats)(const struct object_peer *peer, bool drain,
			  struct kmm_page_peer_stats *stats);

	void *library;		     /* a malloc library's own */
	struct page_peer *page_peer; /* a page peer's own, bench/peers/page_peers.h */
};

#define PEER_MAX 16

/* Whether the whole process runs under a sanitizer, so that glibc is the only peer. */
extern const bool peers_sanitized;

/*
 * Load a malloc library by dlopen(RTLD_NOW|RTLD_LOCAL); it lives until the process ends. spec is a
 * known name, or NAME=/path/lib.so. 0; -ENOENT when it is not installed; -EINVAL for an unknown
 * name or a library without malloc and free; -ENOTSUP under a sanitizer; error then holds one line.
 * Wants the static TLS reserve and the options that peers_prepare sets.
 */
int object_peer_load(const char *spec, struct object_peer *peer, char *error, size_t error_size);

/* The known malloc libraries, baseline first; ends with NULL. */
extern const char *const object_peer_names[];

/*
 * jemalloc's static TLS needs GLIBC_TUNABLES=glibc.rtld.optional_static_tls before the process
 * starts: set it, and the options that each allocator's authors document for speed (what the user
 * has set stays), and run /proc/self/exe again, once. Call first in main. Returns 0 when nothing
 * (more) is to be done, or -errno.
 */
int peers_prepare(char **argv);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: MIT */
/*
 * The other allocators, and kmm itself, as the benchmark sees them.
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
	const char *name;    /* "kmm", "jemalloc", "glibc", "mimalloc", "tcmalloc", or as given with
				--peer */
	const char *version; /* as the library says, or "" */
	const char *path;    /* of the shared object, or "" */
	const char
		*settings; /* options in force, "NAME=value ..."; "" for the library's defaults */

	void *(*alloc)(size_t size);
	void (*free)(void *object);
	void *(*aligned_alloc)(size_t align, size_t size);
	size_t (*usable_size)(void *object);
	/* Current figures; 0, or -errno where the peer cannot say. */
	int (*stats)(const struct object_peer *peer, struct object_peer_stats *stats);
	/* Call visit for each kind of lock, those of all arenas and size classes summed. 0 or -errno.
	 * NULL: the peer does not count. Takes locks itself. */
	int (*locks)(const struct object_peer *peer,
		     void (*visit)(const struct object_peer_lock *lock, void *arg), void *arg);
	/* Give cached memory back as far as the peer can. */
	void (*trim)(const struct object_peer *peer);
	/* Give back what this thread caches, to the allocator if not to the OS. NULL: the peer
	 * cannot. */
	void (*flush_thread)(const struct object_peer *peer);
	/* allocated_bytes is exact, once each thread has flushed, but for this many bytes a thread;
	 * negative: it counts cached objects too, and says nothing of leaks. */
	int64_t allocated_slack;

	void *library; /* the peer's own */
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

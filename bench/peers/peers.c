/* SPDX-License-Identifier: MIT */
/*
 * Other mallocs in this process.
 *
 * Each library is opened with RTLD_LOCAL and used through dlsym on its own handle, so it keeps to
 * itself: neither it nor anyone else sees its malloc as the process's. Not dlmopen (thread
 * destructors would never run there, and thread caches would leak), not RTLD_DEEPBIND (the
 * sanitizers refuse it). What a library can say of itself is found by the symbols it exports, not
 * by its name, so that
 * --peer NAME=lib.so of another jemalloc has jemalloc's figures too.
 *
 * Loading is for one thread, at start; afterwards everything here is constant.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <link.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/peer.h"
#include "bench/peers/peers_internal.h"

struct known_library {
	const char *name;
	const char *sonames[4]; /* tried in turn */
};

static const struct known_library known_libraries[] = {
	{"jemalloc", {"libjemalloc.so.2"}},
	{"glibc", {"libc.so.6"}},
	{"mimalloc", {"libmimalloc.so.3", "libmimalloc.so.2", "libmimalloc.so"}},
	{"tcmalloc", {"libtcmalloc_minimal.so.4", "libtcmalloc_minimal.so"}},
	{"rpmalloc", {"librpmalloc.so.1", "librpmalloc.so"}},
	{"snmalloc", {"libsnmallocshim.so"}},
};
#define NR_KNOWN (sizeof(known_libraries) / sizeof(known_libraries[0]))

const char *const object_peer_names[] = {"jemalloc", "glibc",	 "mimalloc", "tcmalloc",
					 "rpmalloc", "snmalloc", NULL};
_Static_assert(sizeof(object_peer_names) / sizeof(object_peer_names[0]) == NR_KNOWN + 1,
	       "one name for each known library");

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
const bool peers_sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
	__has_feature(memory_sanitizer)
const bool peers_sanitized = true;
#else
const bool peers_sanitized = false;
#endif
#else
const bool peers_sanitized = false;
#endif

/* Kept reachable, for leak checkers: libraries live until the process ends. */
static struct peer_library *loaded_libraries;

int peers_fail(char *error, size_t error_size, int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(error, error_size, fmt, ap);
	va_end(ap);
	for (char *c = error; error_size && *c; c++)
		if (*c == '\n')
			*c = ' ';
	return status;
}

void *peers_own_symbol(void *handle, const char *symbol)
{
	void *addr = dlsym(handle, symbol);
	struct link_map *map, *owner;
	Dl_info info;

	if (!addr || dlinfo(handle, RTLD_DI_LINKMAP, &map) ||
	    !dladdr1(addr, &info, (void **)&owner, RTLD_DL_LINKMAP))
		return NULL;
	return map == owner ? addr : NULL;
}

static void *own_symbol(const struct peer_library *lib, const char *symbol)
{
	return peers_own_symbol(lib->handle, symbol);
}

bool peers_name_is_reserved(const char *name)
{
	return !strncmp(name, "kmm", 3) || !strcmp(name, "mmap") || !strcmp(name, "floor") ||
	       !strcmp(name, "freelist");
}

/*
 * jemalloc
 */
static int je_read(const struct peer_library *lib, const char *name, void *value, size_t size)
{
	return lib->je_mallctl(name, value, &size, NULL, 0) ? -ENOTSUP : 0;
}

static int je_stats(const struct object_peer *peer, struct object_peer_stats *stats)
{
	const struct peer_library *lib = peer->library;
	uint64_t epoch = 1;
	size_t allocated, resident;

	/* Figures are those of the last time that the epoch was set. */
	if (lib->je_mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)) ||
	    je_read(lib, "stats.allocated", &allocated, sizeof(allocated)) ||
	    je_read(lib, "stats.resident", &resident, sizeof(resident)))
		return -ENOTSUP;
	stats->allocated_bytes = allocated;
	stats->backing_bytes = resident;
	return 0;
}

#define JE_ALL_ARENAS "stats.arenas.4096." /* MALLCTL_ARENAS_ALL */

/* Add a mutex's counters; one that this version lacks counts nothing. */
static void je_add_lock(const struct peer_library *lib, const char *path,
			struct object_peer_lock *lock)
{
	static const char *const counters[] = {"num_ops", "num_wait", "num_spin_acq",
					       "total_wait_time"};
	uint64_t values[4] = {0};
	char name[128];

	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof(name), JE_ALL_ARENAS "%s.%s", path, counters[i]);
		je_read(lib, name, &values[i], sizeof(values[i]));
	}
	lock->acquired += values[0];
	lock->contended += values[1] + values[2];
	lock->wait_ns += (double)values[3];
}

static int je_locks(const struct object_peer *peer,
		    void (*visit)(const struct object_peer_lock *lock, void *arg), void *arg)
{
	static const char *const mutexes[] = {
		"large",       "extent_avail", "extents_dirty", "extents_muzzy", "extents_retained",
		"decay_dirty", "decay_muzzy",  "base",		"tcache_list"};
	const struct peer_library *lib = peer->library;
	struct object_peer_lock bins = {.name = "bins"};
	uint64_t epoch = 1;
	unsigned int nr_bins;
	char path[64];

	if (lib->je_mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)) ||
	    je_read(lib, "arenas.nbins", &nr_bins, sizeof(nr_bins)))
		return -ENOTSUP;
	for (size_t i = 0; i < sizeof(mutexes) / sizeof(mutexes[0]); i++) {
		struct object_peer_lock lock = {.name = mutexes[i]};

		snprintf(path, sizeof(path), "mutexes.%s", mutexes[i]);
		je_add_lock(lib, path, &lock);
		visit(&lock, arg);
	}
	for (unsigned int i = 0; i < nr_bins; i++) {
		snprintf(path, sizeof(path), "bins.%u.mutex", i);
		je_add_lock(lib, path, &bins);
	}
	visit(&bins, arg);
	return 0;
}

static void je_flush_thread(const struct object_peer *peer)
{
	const struct peer_library *lib = peer->library;

	lib->je_mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
}

static void je_trim(const struct object_peer *peer)
{
	const struct peer_library *lib = peer->library;

	je_flush_thread(peer);
	lib->je_mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* 4096: MALLCTL_ARENAS_ALL */
}

static void je_setup(struct peer_library *lib, struct object_peer *peer)
{
	const char *version;
	bool on = true;

	if (!je_read(lib, "version", &version, sizeof(version)))
		snprintf(lib->version, sizeof(lib->version), "%s", version);
	peers_settings(lib->settings, sizeof(lib->settings), "MALLOC_CONF");
	/* By mallctl, as its manual advises: by the environment it may deadlock while the library
	 * starts. */
	if (peers_variable_is_ours("MALLOC_CONF") &&
	    !lib->je_mallctl("background_thread", NULL, NULL, &on, sizeof(on)))
		peers_settings_add(lib->settings, sizeof(lib->settings), "background_thread=true");
	peer->stats = je_stats;
	peer->locks = je_locks;
	peer->trim = je_trim;
	peer->flush_thread = je_flush_thread;
	peer->allocated_slack = 64 << 10; /* it counts its own thread caches */
}

/*
 * mimalloc
 */
static int mi_stats(const struct object_peer *peer, struct object_peer_stats *stats)
{
	const struct peer_library *lib = peer->library;
	size_t elapsed_ms, user_ms, system_ms, rss, peak_rss, commit, peak_commit, faults;

	lib->mi_process_info(&elapsed_ms, &user_ms, &system_ms, &rss, &peak_rss, &commit,
			     &peak_commit, &faults);
	stats->allocated_bytes = 0; /* release builds do not count it */
	stats->backing_bytes = commit;
	return 0;
}

static void mi_flush_thread(const struct object_peer *peer)
{
	((const struct peer_library *)peer->library)->mi_collect(false);
}

static void mi_trim(const struct object_peer *peer)
{
	((const struct peer_library *)peer->library)->mi_collect(true);
}

static void mi_setup(struct peer_library *lib, struct object_peer *peer)
{
	int (*version)(void) = (int (*)(void))own_symbol(lib, "mi_version");
	int v = version();

	/* One decimal digit each. */
	snprintf(lib->version, sizeof(lib->version), "%d.%d.%d", v / 100, v / 10 % 10, v % 10);
	peers_settings(lib->settings, sizeof(lib->settings), "MIMALLOC_LARGE_OS_PAGES");
	peers_settings(lib->settings, sizeof(lib->settings), "MIMALLOC_ALLOW_LARGE_OS_PAGES");
	peer->stats = lib->mi_process_info ? mi_stats : NULL;
	peer->trim = lib->mi_collect ? mi_trim : NULL;
	peer->flush_thread = lib->mi_collect ? mi_flush_thread : NULL;
}

/*
 * tcmalloc
 */
static int tc_stats(const struct object_peer *peer, struct object_peer_stats *stats)
{
	const struct peer_library *lib = peer->library;
	size_t allocated, heap, unmapped;

	if (!lib->tc_property("generic.current_allocated_bytes", &allocated) ||
	    !lib->tc_property("generic.heap_size", &heap) ||
	    !lib->tc_property("tcmalloc.pageheap_unmapped_bytes", &unmapped))
		return -ENOTSUP;
	stats->allocated_bytes = allocated;
	stats->backing_bytes = heap - unmapped;
	return 0;
}

static void tc_flush_thread(const struct object_peer *peer)
{
	((const struct peer_library *)peer->library)->tc_thread_idle();
}

static void tc_trim(const struct object_peer *peer)
{
	const struct peer_library *lib = peer->library;

	if (lib->tc_thread_idle)
		lib->tc_thread_idle();
	lib->tc_release();
}

static void tc_setup(struct peer_library *lib, struct object_peer *peer)
{
	const char *(*version)(int *, int *, const char **) =
		(const char *(*)(int *, int *, const char **))own_symbol(lib, "tc_version");
	int major, minor;
	const char *patch;

	if (version) {
		const char *text = version(&major, &minor, &patch); /* "gperftools 2.10" */
		const char *space = strrchr(text, ' ');

		snprintf(lib->version, sizeof(lib->version), "%s", space ? space + 1 : text);
	}
	peers_settings(lib->settings, sizeof(lib->settings),
		       "TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES");
	peer->stats = tc_stats;
	peer->trim = lib->tc_release ? tc_trim : NULL;
	peer->flush_thread = lib->tc_thread_idle ? tc_flush_thread : NULL;
	peer->allocated_slack = 64 << 10;
}

/*
 * glibc
 */
static int glibc_stats(const struct object_peer *peer, struct object_peer_stats *stats)
{
	const struct peer_library *lib = peer->library;
	struct mallinfo2 info = lib->glibc_mallinfo2();

	stats->allocated_bytes = info.uordblks + info.hblkhd;
	stats->backing_bytes = info.arena + info.hblkhd;
	return 0;
}

static void glibc_trim(const struct object_peer *peer)
{
	((const struct peer_library *)peer->library)->glibc_malloc_trim(0);
}

static void glibc_setup(struct peer_library *lib, struct object_peer *peer)
{
	snprintf(lib->version, sizeof(lib->version), "%s", gnu_get_libc_version());
	peers_settings(lib->settings, sizeof(lib->settings), "GLIBC_TUNABLES");
	peer->stats = lib->glibc_mallinfo2 ? glibc_stats : NULL;
	peer->trim = lib->glibc_malloc_trim ? glibc_trim : NULL;
}

/* Which family the library is of, and so what else it can do. */
static void find_abilities(struct peer_library *lib, struct object_peer *peer)
{
	peer->allocated_slack = -1;
	lib->je_mallctl =
		(int (*)(const char *, void *, size_t *, void *, size_t))own_symbol(lib, "mallctl");
	lib->je_mallocx = (void *(*)(size_t, int))own_symbol(lib, "mallocx");
	lib->je_dallocx = (void (*)(void *, int))own_symbol(lib, "dallocx");
	lib->mi_process_info = (void (*)(size_t *, size_t *, size_t *, size_t *, size_t *, size_t *,
					 size_t *, size_t *))own_symbol(lib, "mi_process_info");
	lib->mi_collect = (void (*)(bool))own_symbol(lib, "mi_collect");
	lib->tc_property = (int (*)(const char *, size_t *))own_symbol(
		lib, "MallocExtension_GetNumericProperty");
	lib->tc_release = (void (*)(void))own_symbol(lib, "MallocExtension_ReleaseFreeMemory");
	lib->tc_thread_idle = (void (*)(void))own_symbol(lib, "MallocExtension_MarkThreadIdle");
	lib->glibc_mallinfo2 = (struct mallinfo2(*)(void))own_symbol(lib, "mallinfo2");
	lib->glibc_malloc_trim = (int (*)(size_t))own_symbol(lib, "malloc_trim");

	if (lib->je_mallctl)
		je_setup(lib, peer);
	else if (own_symbol(lib, "mi_version"))
		mi_setup(lib, peer);
	else if (lib->tc_property)
		tc_setup(lib, peer);
	else if (own_symbol(lib, "gnu_get_libc_version"))
		glibc_setup(lib, peer);
}

static int fill_peer(struct peer_library *lib, struct object_peer *peer, char *error,
		     size_t error_size)
{
	struct link_map *map;

	memset(peer, 0, sizeof(*peer));
	peer->name = lib->name;
	peer->version = lib->version;
	peer->path = lib->path;
	peer->settings = lib->settings;
	peer->library = lib;
	if (!dlinfo(lib->handle, RTLD_DI_LINKMAP, &map))
		snprintf(lib->path, sizeof(lib->path), "%s", map->l_name);

	peer->alloc = (void *(*)(size_t))own_symbol(lib, "malloc");
	peer->free = (void (*)(void *))own_symbol(lib, "free");
	if (!peer->alloc || !peer->free)
		return peers_fail(error, error_size, -EINVAL,
				  "peer %s: %s has no malloc and free of its own", lib->name,
				  lib->path);
	peer->aligned_alloc = (void *(*)(size_t, size_t))own_symbol(lib, "aligned_alloc");
	peer->usable_size = (size_t(*)(void *))own_symbol(lib, "malloc_usable_size");
	find_abilities(lib, peer);

	if (peers_sanitized) {
		/* The sanitizer's allocator stands in for the C library's, so that it checks the
		 * callers. */
		peer->alloc = malloc;
		peer->free = free;
		peer->aligned_alloc = aligned_alloc;
		peer->usable_size = malloc_usable_size;
		peer->stats = NULL;
		peer->locks = NULL;
		peer->trim = NULL;
	}
	return 0;
}

/* Open the first of the names that is there. 0, or what dlopen said of the last. */
static int open_library(struct peer_library *lib, const char *const *sonames, char *error,
			size_t error_size)
{
	const char *why = "no such name";

	/* tcmalloc takes some of its C++ symbols from the global scope. */
	dlopen("libstdc++.so.6", RTLD_NOW | RTLD_GLOBAL);
	for (int i = 0; i < 4 && sonames[i]; i++) {
		lib->handle = dlopen(sonames[i], RTLD_NOW | RTLD_LOCAL);
		if (lib->handle)
			return 0;
		why = dlerror();
	}
	return peers_fail(error, error_size, -ENOENT, "peer %s: %s", lib->name, why);
}

/* Split "NAME" or "NAME=/path" into lib->name and the files to try. */
static int parse_spec(const char *spec, struct peer_library *lib, const char *sonames[4],
		      char *error, size_t error_size)
{
	const char *equals = strchr(spec, '=');
	size_t name_len = equals ? (size_t)(equals - spec) : strlen(spec);

	if (name_len == 0 || name_len >= sizeof(lib->name) || strcspn(spec, ",\"\n ") < name_len)
		return peers_fail(error, error_size, -EINVAL,
				  "peer %s: not NAME or NAME=/path/lib.so", spec);
	memcpy(lib->name, spec, name_len);
	lib->name[name_len] = '\0';
	if (peers_name_is_reserved(lib->name))
		return peers_fail(error, error_size, -EINVAL, "peer %s: the name is taken",
				  lib->name);

	if (equals) {
		if (!equals[1])
			return peers_fail(error, error_size, -EINVAL, "peer %s: no library given",
					  lib->name);
		sonames[0] = equals + 1;
		return 0;
	}
	for (size_t i = 0; i < NR_KNOWN; i++) {
		if (strcmp(known_libraries[i].name, lib->name))
			continue;
		memcpy(sonames, known_libraries[i].sonames, sizeof(known_libraries[i].sonames));
		return 0;
	}
	return peers_fail(error, error_size, -EINVAL,
			  "peer %s: unknown; give its library as %s=/path/lib.so", lib->name,
			  lib->name);
}

int object_peer_load(const char *spec, struct object_peer *peer, char *error, size_t error_size)
{
	const char *sonames[4] = {NULL};
	struct peer_library *lib = calloc(1, sizeof(*lib));
	int status;

	if (!lib)
		return peers_fail(error, error_size, -ENOMEM, "peer %s: no memory", spec);
	status = parse_spec(spec, lib, sonames, error, error_size);
	if (!status && peers_sanitized && strcmp(lib->name, "glibc"))
		status = peers_fail(
			error, error_size, -ENOTSUP,
			"peer %s: not under a sanitizer, which owns the process's malloc",
			lib->name);
	if (!status)
		status = open_library(lib, sonames, error, error_size);
	if (!status)
		status = fill_peer(lib, peer, error, error_size);
	if (status) {
		/* An opened library stays: unloading a malloc is safe for none of them. */
		free(lib);
		return status;
	}
	lib->next = loaded_libraries;
	loaded_libraries = lib;
	return 0;
}

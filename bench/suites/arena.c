/* SPDX-License-Identifier: MIT */
/*
 * jemalloc on a chosen NUMA node; see arena.h. Arenas are made once, by the first thread that wants
 * them, under arenas.lock, and live until the process ends (jemalloc keeps their memory and uses it
 * again).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/peers/peers_internal.h"
#include "bench/suites/arena.h"

/* As jemalloc's manual gives it for version 5. */
struct extent_hooks {
	void *(*alloc)(struct extent_hooks *hooks, void *addr, size_t size, size_t align,
		       bool *zero, bool *commit, unsigned int arena);
	void *others[8]; /* dalloc, destroy, commit, decommit, purge_lazy, purge_forced, split,
			    merge */
};

#define ARENA_FLAG(arena)  ((int)(((arena) + 1) << 20))
#define TCACHE_FLAG(cache) ((int)(((cache) + 2) << 8))
#define TCACHE_NONE	   ((int)(1U << 8))
#define MAX_ARENAS	   4096

static struct {
	pthread_mutex_t lock; /* protects: */
	const struct peer_library *library;
	struct object_peer tables[NR_PLACEMENTS];
	bool made;
	/* Set before `made`, then constant. */
	const struct topology *topology;
	struct extent_hooks hooks, original;
	unsigned int arena_of_node[KMM_MAX_NODES];
	short node_of_arena[MAX_ARENAS];
	int nr_nodes;
	uint64_t bound_bytes[KMM_MAX_NODES]; /* atomic */
} arenas = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* This thread's, between thread_begin and thread_end. */
static _Thread_local int alloc_flags, free_flags, turn;
static _Thread_local unsigned int thread_cache;
static _Thread_local bool has_thread_cache;

static void *bound_alloc(struct extent_hooks *hooks, void *addr, size_t size, size_t align,
			 bool *zero, bool *commit, unsigned int arena)
{
	void *memory = arenas.original.alloc(hooks, addr, size, align, zero, commit, arena);
	int nid = arena < MAX_ARENAS ? arenas.node_of_arena[arena] : NUMA_NO_NODE;

	if (!memory || nid < 0)
		return memory;
	if (topology_bind_memory(arenas.topology, memory, size, nid) >= 0)
		__atomic_fetch_add(&arenas.bound_bytes[nid], size, __ATOMIC_RELAXED);
	madvise(memory, size, MADV_HUGEPAGE); /* own hooks bypass jemalloc's thp:always */
	return memory;
}

static void *alloc_on_node(size_t size)
{
	return arenas.library->je_mallocx(size, alloc_flags);
}

static void *alloc_interleaved(size_t size)
{
	int nid = turn;

	turn = nid + 1 < arenas.nr_nodes ? nid + 1 : 0;
	return arenas.library->je_mallocx(size,
					  ARENA_FLAG(arenas.arena_of_node[nid]) | TCACHE_NONE);
}

static void free_from_arena(void *object)
{
	if (likely(object)) /* free(NULL) does nothing; dallocx has no such promise */
		arenas.library->je_dallocx(object, free_flags);
}

bool arena_possible(const struct object_peer *peer)
{
	const struct peer_library *lib = peer->library;

	return lib && lib->je_mallctl && lib->je_mallocx && lib->je_dallocx &&
	       (!arenas.library || arenas.library == lib);
}

const struct object_peer *arena_table(const struct object_peer *peer, enum placement place)
{
	struct object_peer *table = &arenas.tables[place];

	pthread_mutex_lock(&arenas.lock);
	arenas.library = peer->library;
	*table = *peer;
	table->alloc = place == PLACE_INTERLEAVE ? alloc_interleaved : alloc_on_node;
	table->free = free_from_arena;
	table->aligned_alloc = NULL;
	pthread_mutex_unlock(&arenas.lock);
	return table;
}

static bool is_arena_table(const struct object_peer *peer)
{
	return peer >= arenas.tables && peer < arenas.tables + NR_PLACEMENTS;
}

/* One arena for each node. 0, or what mallctl returned. */
static int make_arenas(const struct bench_case *c)
{
	const struct peer_library *lib = arenas.library;
	struct extent_hooks *original, *hooks = &arenas.hooks;
	size_t size = sizeof(original);
	int status = lib->je_mallctl("arena.0.extent_hooks", &original, &size, NULL, 0);

	if (status)
		return status;
	arenas.original = *original;
	arenas.hooks = *original;
	arenas.hooks.alloc = bound_alloc;
	arenas.topology = c->env->machine->topology;
	arenas.nr_nodes = (int)nr_nodes(c->env);
	memset(arenas.node_of_arena, 0xff, sizeof(arenas.node_of_arena));
	for (int nid = 0; nid < arenas.nr_nodes; nid++) {
		unsigned int arena;

		size = sizeof(arena);
		/* The first extent, for jemalloc's own data, comes before the number is known:
		 * unbound. */
		status = lib->je_mallctl("arenas.create", &arena, &size, &hooks, sizeof(hooks));
		if (status || arena >= MAX_ARENAS)
			return status ? status : -1;
		arenas.arena_of_node[nid] = arena;
		arenas.node_of_arena[arena] = (short)nid;
	}
	arenas.made = true;
	return 0;
}

const char *arena_thread_begin(struct bench_case *c, int nid)
{
	size_t size = sizeof(thread_cache);
	int status = 0;

	if (!is_arena_table(c->peer))
		return NULL;
	if (!c->env->machine)
		return error_line("arenas need a topology");
	pthread_mutex_lock(&arenas.lock);
	if (!arenas.made)
		status = make_arenas(c);
	pthread_mutex_unlock(&arenas.lock);
	if (status)
		return error_line("arenas cannot be made: %s", strerror(status));

	turn = nid;
	free_flags = TCACHE_NONE;
	if (c->peer->alloc != alloc_on_node)
		return NULL;
	status = arenas.library->je_mallctl("tcache.create", &thread_cache, &size, NULL, 0);
	if (status)
		return error_line("no thread cache: %s", strerror(status));
	has_thread_cache = true;
	free_flags = TCACHE_FLAG(thread_cache);
	alloc_flags = ARENA_FLAG(arenas.arena_of_node[nid]) | TCACHE_FLAG(thread_cache);
	return NULL;
}

void arena_thread_end(struct bench_case *c)
{
	if (!is_arena_table(c->peer) || !has_thread_cache)
		return;
	arenas.library->je_mallctl("tcache.destroy", NULL, NULL, &thread_cache,
				   sizeof(thread_cache));
	has_thread_cache = false;
}

uint64_t arena_bound_bytes(int nid)
{
	return __atomic_load_n(&arenas.bound_bytes[nid], __ATOMIC_RELAXED);
}

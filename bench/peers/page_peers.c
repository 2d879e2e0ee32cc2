/* SPDX-License-Identifier: MIT */
/*
 * Page peers; see page_peers.h.
 *
 * A timed loop calls alloc(size) and free(block) of a table. A page peer has get(order, cpu) and
 * put(frame, order, cpu), so each of its tables holds functions of its own (trampolines, one set
 * for each place in slots[]) that stand where kmm's small functions in tables.c stand, and do what
 * those do:
 *
 *	kmm	load the order, call __get_free_pages, which finds the CPU and makes of a frame an
 *		address
 *	peer	load the order and the thread's cpu number, call get, make of a frame an address
 *
 * Both are one indirect call from the loop and one call further. The peer's is through a pointer
 * that never changes, as every call into a shared object is, and is predicted; for that, its CPU is
 * found and its frames are converted for it. There is nothing between, no lookup by name or number.
 *
 * slots[] is written by start, before any thread calls, and constant until stop. The list of loaded
 * peers is for the one thread that loads.
 */
#define _GNU_SOURCE
#include "bench/peers/page_peers.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/host.h"
#include "bench/peers/peers_internal.h"
#include "bench/suites/common.h"
#include "phys/phys.h"

#define ALL_ORDERS ((1U << KMM_PAGE_PEER_ORDERS) - 1)
#define BASE_ALIGN (1UL << 30) /* as the machine's direct map */

_Static_assert(KMM_PAGE_PEER_FRAME == PAGE_SIZE, "frames are pages");
_Static_assert(KMM_PAGE_PEER_ORDERS == NR_PAGE_ORDERS, "every order of kmm's");

struct page_peer {
	char name[32], version[96], path[1024];
	void *handle;
	const struct kmm_page_peer *ops;
	unsigned int number; /* of its slot */

	/* Set by start: */
	bool started;
	struct kmm_page_peer_range range;
	uint64_t node_first[KMM_MAX_NODES + 1];
	unsigned int *cpu_node;
};

/* What the trampolines need, and nothing else. */
static struct slot {
	uint64_t (*get)(unsigned int order, unsigned int cpu);
	void (*put)(uint64_t frame, unsigned int order, unsigned int cpu);
	char *base;
} CACHELINE_ALIGNED slots[PAGE_PEER_MAX];

static struct page_peer *loaded[PAGE_PEER_MAX]; /* reachable, for leak checkers */
static unsigned int nr_loaded;

static inline void *slot_get(const struct slot *slot, unsigned int order)
{
	uint64_t frame = slot->get(order, kmm_target_cpu);

	return unlikely(frame == KMM_PAGE_PEER_NONE) ? NULL : slot->base + (frame << PAGE_SHIFT);
}

static inline void slot_put(const struct slot *slot, void *block, unsigned int order)
{
	/* As free and free_pages: nothing. */
	if (likely(block))
		slot->put((uintptr_t)((char *)block - slot->base) >> PAGE_SHIFT, order,
			  kmm_target_cpu);
}

#define FOR_EACH_SLOT(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

#define TRAMPOLINES(n)                                                                             \
	static void *alloc_##n(size_t size)                                                        \
	{                                                                                          \
		(void)size;                                                                        \
		return slot_get(&slots[n], kmm_target.order);                                      \
	}                                                                                          \
	static void free_##n(void *block)                                                          \
	{                                                                                          \
		slot_put(&slots[n], block, kmm_target.order);                                      \
	}                                                                                          \
	static void *alloc_order_##n(unsigned int order)                                           \
	{                                                                                          \
		return slot_get(&slots[n], order);                                                 \
	}                                                                                          \
	static void free_order_##n(void *block, unsigned int order)                                \
	{                                                                                          \
		slot_put(&slots[n], block, order);                                                 \
	}
FOR_EACH_SLOT(TRAMPOLINES)

static const struct trampolines {
	void *(*alloc)(size_t size);
	void (*free)(void *block);
	void *(*alloc_order)(unsigned int order);
	void (*free_order)(void *block, unsigned int order);
} trampolines[PAGE_PEER_MAX] = {
#define TABLE(n) {alloc_##n, free_##n, alloc_order_##n, free_order_##n},
	FOR_EACH_SLOT(TABLE)};

/*
 * Statistics.
 */
static int free_stats(const struct object_peer *peer, bool drain, struct kmm_page_peer_stats *stats)
{
	const struct kmm_page_peer *ops = peer->page_peer->ops;

	if (drain && ops->drain)
		ops->drain();
	memset(stats, 0xff, sizeof(*stats)); /* KMM_PAGE_PEER_UNKNOWN */
	return ops->stats(stats);
}

/* What is not free, once each CPU's share is put back, has been handed out or is the peer's own,
 * which stays. */
static int allocated_stats(const struct object_peer *peer, struct object_peer_stats *stats)
{
	struct kmm_page_peer_stats free;
	int error = free_stats(peer, true, &free);

	if (error)
		return error;
	if (free.free_frames > peer->page_peer->range.nr_frames)
		return -ENOTSUP;
	stats->allocated_bytes = (peer->page_peer->range.nr_frames - free.free_frames)
				 << PAGE_SHIFT;
	stats->backing_bytes = stats->allocated_bytes;
	return 0;
}

/*
 * Loading.
 */

/* NAME=FILE or FILE. A file of the working folder is meant even without "./", which dlopen would
 * look for among the system's libraries. */
static int parse_spec(const char *spec, struct page_peer *p, char *error, size_t error_size)
{
	const char *equals = strchr(spec, '='), *slash = strchr(spec, '/'), *file = spec;

	if (equals && (!slash || equals < slash)) {
		if ((size_t)(equals - spec) >= sizeof(p->name) || equals == spec)
			return peers_fail(error, error_size, -EINVAL, "%s: not FILE or NAME=FILE",
					  spec);
		memcpy(p->name, spec, (size_t)(equals - spec));
		file = equals + 1;
	}
	if (!*file)
		return peers_fail(error, error_size, -EINVAL, "%s: no library given", spec);
	snprintf(p->path, sizeof(p->path), "%s%s",
		 !strchr(file, '/') && !access(file, F_OK) ? "./" : "", file);
	return 0;
}

static int check_name(const struct page_peer *p, const struct object_peer *others, int nr_others,
		      char *error, size_t error_size)
{
	const char *name = p->name[0] || !p->ops->name ? p->name : p->ops->name; /* too long */
	bool taken = peers_name_is_reserved(p->name);

	if (!p->name[0] || strpbrk(p->name, ",\"/=\n "))
		return peers_fail(error, error_size, -EINVAL,
				  "%s: its name, '%s', cannot stand in results; give another as "
				  "NAME=FILE",
				  p->path, name);
	for (int i = 0; object_peer_names[i]; i++)
		taken |= !strcmp(object_peer_names[i], p->name);
	for (int i = 0; i < nr_others; i++)
		taken |= !strcmp(others[i].name, p->name);
	for (unsigned int i = 0; i < nr_loaded; i++)
		taken |= !strcmp(loaded[i]->name, p->name);
	if (taken)
		return peers_fail(error, error_size, -EEXIST,
				  "%s: the name is taken; give another as NAME=FILE", p->name);
	return 0;
}

static int check_ops(const struct page_peer *p, char *error, size_t error_size)
{
	const struct kmm_page_peer *ops = p->ops;
	const char *lacks = NULL;

	if (ops->abi != KMM_PAGE_PEER_ABI)
		return peers_fail(error, error_size, -EINVAL,
				  "%s: made for version %u of the interface; this kmm has %d",
				  p->path, ops->abi, KMM_PAGE_PEER_ABI);
	if (!ops->init)
		lacks = "init";
	else if (!ops->get)
		lacks = "get";
	else if (!ops->put)
		lacks = "put";
	if (lacks)
		return peers_fail(error, error_size, -EINVAL, "%s: has no %s", p->path, lacks);
	if (!(ops->orders & ALL_ORDERS))
		return peers_fail(error, error_size, -EINVAL, "%s: serves no order from 0 to %d",
				  p->path, KMM_PAGE_PEER_ORDERS - 1);
	return 0;
}

static int open_library(struct page_peer *p, char *error, size_t error_size)
{
	p->handle = dlopen(p->path, RTLD_NOW | RTLD_LOCAL);
	if (!p->handle)
		return peers_fail(error, error_size, -ENOENT, "%s", dlerror());
	p->ops = peers_own_symbol(p->handle, "kmm_page_peer");
	if (!p->ops)
		return peers_fail(error, error_size, -EINVAL, "%s: exports no kmm_page_peer",
				  p->path);
	for (unsigned int i = 0; i < nr_loaded; i++)
		if (loaded[i]->handle == p->handle)
			return peers_fail(error, error_size, -EEXIST, "%s: is loaded as %s already",
					  p->path, loaded[i]->name);
	return check_ops(p, error, error_size);
}

static void fill_table(struct page_peer *p, struct object_peer *peer)
{
	const struct trampolines *functions = &trampolines[p->number];

	*peer = (struct object_peer){
		.name = p->name,
		.version = p->version,
		.path = p->path,
		.settings = "",
		.alloc = functions->alloc,
		.free = functions->free,
		.stats = p->ops->stats ? allocated_stats : NULL,
		.allocated_slack = p->ops->stats ? 0 : -1,
		.alloc_order = functions->alloc_order,
		.free_order = functions->free_order,
		.page_stats = p->ops->stats ? free_stats : NULL,
		.page_peer = p,
	};
}

static int load(struct page_peer *p, const char *spec, const struct object_peer *others,
		int nr_others, char *error, size_t error_size)
{
	int status = parse_spec(spec, p, error, error_size);

	if (!status)
		status = open_library(p, error, error_size);
	if (status)
		return status;
	if (!p->name[0] && p->ops->name && strlen(p->ops->name) < sizeof(p->name))
		strcpy(p->name, p->ops->name);
	if (p->ops->version)
		snprintf(p->version, sizeof(p->version), "%s", p->ops->version);
	return check_name(p, others, nr_others, error, error_size);
}

int page_peer_load(const char *spec, const struct object_peer *others, int nr_others,
		   struct object_peer *peer, char *error, size_t error_size)
{
	struct page_peer *p;
	int status;

	if (nr_loaded == PAGE_PEER_MAX)
		return peers_fail(error, error_size, -ENOSPC, "%s: more than %d page peers", spec,
				  PAGE_PEER_MAX);
	p = calloc(1, sizeof(*p));
	if (!p)
		return peers_fail(error, error_size, -ENOMEM, "%s: no memory", spec);
	p->number = nr_loaded;
	status = load(p, spec, others, nr_others, error, error_size);
	if (status) {
		/* An opened library stays: it may have started what cannot be unloaded. */
		free(p);
		return status;
	}
	fill_table(p, peer);
	loaded[nr_loaded++] = p;
	return 0;
}

/*
 * Memory.
 */

/* Nodes follow one another, and are multiples of the largest block. */
static void find_nodes(struct page_peer *p, const struct kmm *machine)
{
	unsigned int nid = 0;

	for (unsigned long pfn = 0; pfn < machine->nr_frames; pfn += 1UL << MAX_PAGE_ORDER)
		while ((int)nid < pfn_to_nid(machine, pfn))
			p->node_first[++nid] = pfn;
	p->range.nr_nodes = nid + 1;
	p->node_first[nid + 1] = machine->nr_frames;
	p->range.node_first = p->node_first;
}

static int map_memory(struct page_peer *p, const struct kmm *machine)
{
	size_t size = machine->nr_frames << PAGE_SHIFT;
	int error;

	p->range.nr_frames = machine->nr_frames;
	p->range.base = host_reserve(size, BASE_ALIGN);
	if (!p->range.base)
		return -ENOMEM;
	for (unsigned int nid = 0; nid < p->range.nr_nodes; nid++) {
		char *start = (char *)p->range.base + (p->node_first[nid] << PAGE_SHIFT);
		size_t bytes = (p->node_first[nid + 1] - p->node_first[nid]) << PAGE_SHIFT;

		error = host_commit(start, bytes, !machine->config.no_thp);
		if (error) {
			host_release(p->range.base, size);
			return error;
		}
		/* A wish, as for the machine's own. */
		if (!machine->config.no_bind)
			(void)topology_bind_memory(machine->topology, start, bytes, (int)nid);
	}
	return 0;
}

static int find_cpus(struct page_peer *p, const struct kmm *machine, unsigned int nr_cpus)
{
	unsigned int in_machine = topology_nr_cpus(machine->topology);

	p->cpu_node = calloc(nr_cpus, sizeof(*p->cpu_node));
	if (!p->cpu_node)
		return -ENOMEM;
	for (unsigned int cpu = 0; cpu < nr_cpus; cpu++)
		p->cpu_node[cpu] =
			(unsigned int)topology_cpu(machine->topology, cpu % in_machine)->nid;
	p->range.nr_cpus = nr_cpus;
	p->range.cpu_node = p->cpu_node;
	return 0;
}

static void give_back(struct page_peer *p)
{
	host_release(p->range.base, p->range.nr_frames << PAGE_SHIFT);
	free(p->cpu_node);
	p->cpu_node = NULL;
	slots[p->number] = (struct slot){0};
}

int page_peer_start(const struct object_peer *peer, const struct kmm *machine, unsigned int nr_cpus,
		    char *error, size_t error_size)
{
	struct page_peer *p = peer->page_peer;
	int status;

	find_nodes(p, machine);
	status = map_memory(p, machine);
	if (status)
		return peers_fail(error, error_size, status, "the host refuses %lu MiB for it",
				  machine->nr_frames >> (20 - PAGE_SHIFT));
	status = find_cpus(p, machine, nr_cpus);
	slots[p->number] = (struct slot){p->ops->get, p->ops->put, p->range.base};
	if (!status)
		status = p->ops->init(&p->range);
	if (status) {
		give_back(p);
		return peers_fail(error, error_size, status, "its init failed: %s",
				  status < 0 && status > -4096 ? strerror(-status)
							       : "no errno given");
	}
	p->started = true;
	return 0;
}

void page_peer_stop(const struct object_peer *peer)
{
	struct page_peer *p = peer->page_peer;

	if (!p->started)
		return;
	p->started = false;
	if (p->ops->exit)
		p->ops->exit();
	give_back(p);
}

/*
 * Questions.
 */
bool page_peer_serves(const struct object_peer *peer, unsigned int lowest, unsigned int highest)
{
	for (unsigned int order = lowest; peer->page_peer && order <= highest; order++)
		if (order >= KMM_PAGE_PEER_ORDERS || !(peer->page_peer->ops->orders & 1U << order))
			return false;
	return true;
}

const char *page_peer_misplaced(const struct object_peer *peer, const void *block,
				size_t size_bytes, char *line, size_t line_size)
{
	const struct page_peer *p = peer->page_peer;
	uintptr_t offset;
	size_t memory;

	if (!p)
		return NULL;
	memory = p->range.nr_frames << PAGE_SHIFT;
	offset = (uintptr_t)block - (uintptr_t)p->range.base;
	if (offset > memory || size_bytes > memory - offset)
		snprintf(line, line_size, "frame %llu, %zu bytes, is not in its %llu frames",
			 (unsigned long long)(offset >> PAGE_SHIFT), size_bytes,
			 (unsigned long long)p->range.nr_frames);
	else if (offset % size_bytes)
		snprintf(line, line_size, "frame %llu is not aligned to a block of %zu bytes",
			 (unsigned long long)(offset >> PAGE_SHIFT), size_bytes);
	else
		return NULL;
	return line;
}

uint64_t page_peer_nr_frames(const struct object_peer *peer)
{
	return peer->page_peer->range.nr_frames;
}

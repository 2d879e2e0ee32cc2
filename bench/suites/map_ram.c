/* SPDX-License-Identifier: MIT */
/*
 * Cases of vm_map_ram, beside the host's mmap of as many pages of a shared-memory object:
 *
 *	vm_map_ram	 the same pages again and again, as the kernel's own test has it
 *	vm_map_ram_turns 64 sets of pages in turn, so that none is still mapped from the last time
 *
 * An operation maps, writes the first word, and unmaps. Who calls malloc has nothing of the kind.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/host.h"
#include "bench/suites/ranges.h"

#define NR_SETS	  64 /* of pages; as many as a check maps at once */
#define SET_ORDER 4
#define SET_PAGES (1 << SET_ORDER)
#define SET_BYTES (SET_PAGES * PAGE_SIZE)

struct map_ram_kind {
	struct object_suite suite;
	const char *name;
	bool turns;
};

/* A thread's pages. The sets not mapped are a stack, or (turns) a queue. */
struct map_ram_pool {
	bool turns;
	int fd;			     /* of mmap's; -1: kmm's */
	unsigned int first, nr_idle; /* in idle */
	unsigned int nr_mapped;
	unsigned int idle[NR_SETS];
	struct {
		void *addr;
		unsigned int set;
	} mapped[NR_SETS];
	struct page *pages[NR_SETS][SET_PAGES];
};

static _Thread_local struct map_ram_pool *pool FAST_TLS;

static unsigned int set_take(void)
{
	unsigned int at = pool->turns ? pool->first++ : pool->first + pool->nr_idle - 1;

	pool->nr_idle--;
	return pool->idle[at % NR_SETS];
}

static void *set_mapped(void *addr, unsigned int set)
{
	if (!addr) {
		pool->idle[(pool->first + pool->nr_idle++) % NR_SETS] = set;
		return NULL;
	}
	pool->mapped[pool->nr_mapped].addr = addr;
	pool->mapped[pool->nr_mapped++].set = set;
	return addr;
}

/* The last mapped is looked at first. */
static void set_idle(const void *addr)
{
	unsigned int at = pool->nr_mapped - 1;

	while (at && pool->mapped[at].addr != addr)
		at--;
	pool->idle[(pool->first + pool->nr_idle++) % NR_SETS] = pool->mapped[at].set;
	pool->mapped[at] = pool->mapped[--pool->nr_mapped];
}

static void *ram_alloc(size_t size)
{
	unsigned int set;

	if (!pool->nr_idle)
		return NULL;
	set = set_take();
	return set_mapped(
		vm_map_ram(pool->pages[set], (unsigned int)(size >> PAGE_SHIFT), NUMA_NO_NODE),
		set);
}

static void ram_free(void *addr)
{
	set_idle(addr);
	vm_unmap_ram(addr, (unsigned int)(kmm_target.size_bytes >> PAGE_SHIFT));
}

static void *file_alloc(size_t size)
{
	unsigned int set;
	void *addr;

	if (!pool->nr_idle)
		return NULL;
	set = set_take();
	addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, pool->fd,
		    (off_t)(set * SET_BYTES));
	return set_mapped(addr == MAP_FAILED ? NULL : addr, set);
}

static void file_free(void *addr)
{
	set_idle(addr);
	munmap(addr, kmm_target.size_bytes);
}

static int ram_stats(const struct object_peer *peer, struct object_peer_stats *stats)
{
	return kmm_vmalloc_tables[PLACE_LOCAL].stats(peer, stats);
}

static const struct object_peer ram_tables[NR_PLACEMENTS] = {
	[PLACE_LOCAL] = {.name = "kmm", .alloc = ram_alloc, .free = ram_free, .stats = ram_stats},
};

static const struct object_peer file_table = {
	.name = "mmap",
	.alloc = file_alloc,
	.free = file_free,
	.allocated_slack = -1,
};

/* Each set's pages follow each other, as those of mmap's object do: one system call maps them. */
static const char *pages_get(void)
{
	for (unsigned int set = 0; set < NR_SETS; set++) {
		struct page *block = alloc_pages(GFP_KERNEL | __GFP_SHARED, SET_ORDER);

		if (!block)
			return error_line("no memory for %u pages", NR_SETS * SET_PAGES);
		for (unsigned int i = 0; i < SET_PAGES; i++)
			pool->pages[set][i] = block + i;
	}
	return NULL;
}

static const char *thread_setup(struct bench_case *c, int thread)
{
	const struct map_ram_kind *kind =
		container_of((const struct object_suite *)c->arg, struct map_ram_kind, suite);

	(void)thread;
	pool = harness_alloc(sizeof(*pool), true, false);
	if (!pool)
		return error_line("no memory for the harness");
	pool->turns = kind->turns;
	pool->nr_idle = NR_SETS;
	for (unsigned int i = 0; i < NR_SETS; i++)
		pool->idle[i] = i;
	pool->fd = -1;
	if (!strcmp(c->peer->name, "kmm"))
		return pages_get();
	pool->fd = host_shared_create("kmm-bench", NR_SETS * SET_BYTES);
	return pool->fd < 0 ? error_line("a shared-memory object: %s", strerror(-pool->fd)) : NULL;
}

static const char *thread_teardown(struct bench_case *c, int thread)
{
	(void)c;
	(void)thread;
	if (!pool)
		return NULL;
	if (pool->fd >= 0)
		host_shared_close(pool->fd);
	for (unsigned int set = 0; set < NR_SETS; set++)
		if (pool->pages[set][0])
			__free_pages(pool->pages[set][0], SET_ORDER);
	harness_free(pool, sizeof(*pool));
	pool = NULL;
	return NULL;
}

static int node_of(const void *object)
{
	struct page *page = vmalloc_to_page(object);

	return page ? page->nid : NUMA_NO_NODE;
}

#define HOOKS                                                                                      \
	.suite = {                                                                                 \
		.node_of = node_of,                                                                \
		.thread_setup = thread_setup,                                                      \
		.thread_teardown = thread_teardown,                                                \
	}

static const struct map_ram_kind kinds[] = {
	{HOOKS, .name = "vm_map_ram"},
	{HOOKS, .name = "vm_map_ram_turns", .turns = true},
};

static const char *refuse(const struct bench_env *env, const struct object_cases *cases,
			  const struct object_peer *peer)
{
	(void)env;
	(void)cases;
	return peer == &ram_tables[PLACE_LOCAL] || peer == &file_table ? NULL : "";
}

int map_ram_cases_add(const struct bench_env *env, struct case_list *list)
{
	static const size_t sizes[] = {PAGE_SIZE, SET_BYTES};

	for (size_t i = 0; i < ARRAY_SIZE(kinds) * ARRAY_SIZE(sizes); i++) {
		const struct map_ram_kind *kind = &kinds[i / ARRAY_SIZE(sizes)];
		struct object_cases cases = {
			.suite = "vmalloc",
			.name = kind->name,
			.ops = pattern_ops(PATTERN_PAIR),
			.object_suite = &kind->suite,
			.kmm = ram_tables,
			.mmap = &file_table,
			.size_bytes = sizes[i % ARRAY_SIZE(sizes)],
			.count = 1,
			.threads = env->full ? 0 : 1,
			.one_placement = true,
			.refuse = refuse,
		};

		if (sizes[i % ARRAY_SIZE(sizes)] > PAGE_SIZE && !env->full)
			continue;
		if (object_cases_add(env, list, &cases))
			return -ENOMEM;
	}
	return 0;
}

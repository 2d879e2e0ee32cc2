/* SPDX-License-Identifier: MIT */
/*
 * The page allocator against a slow model, from eight threads on four CPUs: one flag a frame says
 * whether somebody has it, and every frame of a block holds a pattern that is looked for when the
 * block is freed, by whichever thread. Between rounds everything stands still and the whole machine
 * is recounted.
 *
 *	table | block | free | block | ...     a thread exchanges a random entry: a block there is
 *	                                       freed, in an empty place a new one is put
 *
 * TEST_OPS is the number of steps of each run, TEST_SEED repeats the steps (not how the threads
 * interleave).
 */
#include <pthread.h>

#include "phys/zone.h"
#include "tests/alloc/phys/machine.h"

#define THREADS 8
#define ROUNDS	5

#ifdef __SANITIZE_THREAD__
#define DEFAULT_OPS 20000
#else
#define DEFAULT_OPS 60000
#endif

static unsigned long nr_ops;

struct model {
	struct kmm *machine;
	enum zone_layout layout;
	struct page **table;
	unsigned long nr_places;
	bool *used; /* [pfn] */
	pthread_barrier_t barrier;
	unsigned long seed;
};

struct worker {
	struct model *model;
	int index;
	unsigned long state;
	unsigned long nr_allocs, nr_frees, nr_refused;
};

static u64 pattern_of(unsigned long pfn, unsigned int order)
{
	return (pfn + 1) * 0x9E3779B97F4A7C15UL ^ order;
}

static u64 *words_of(struct page *page)
{
	return page_address(page);
}

static void claim(struct model *model, struct page *page, unsigned int order)
{
	unsigned long first = page_to_pfn(page);

	ok((first & ((1UL << order) - 1)) == 0, "frame %lu, order %u: not aligned", first, order);
	for (unsigned long i = 0; i < 1UL << order; i++) {
		u64 *words = words_of(page + i);

		ok(!__atomic_exchange_n(&model->used[first + i], true, __ATOMIC_RELAXED),
		   "frame %lu is handed out twice", first + i);
		if (words) {
			words[0] = pattern_of(first + i, order);
			words[PAGE_SIZE / 8 - 1] = ~pattern_of(first + i, order);
		}
	}
}

static void give_up(struct model *model, struct page *page)
{
	unsigned long first = page_to_pfn(page);
	unsigned int order = page->order;

	for (unsigned long i = 0; i < 1UL << order; i++) {
		const u64 *words = words_of(page + i);

		if (words)
			ok(words[0] == pattern_of(first + i, order) &&
				   words[PAGE_SIZE / 8 - 1] == ~pattern_of(first + i, order),
			   "frame %lu of order %u was written by another", first + i, order);
		ok(__atomic_exchange_n(&model->used[first + i], false, __ATOMIC_RELAXED),
		   "frame %lu was free", first + i);
	}
	__free_pages(page, order);
}

static gfp_t random_gfp(unsigned long r)
{
	static const gfp_t zones[] = {
		GFP_KERNEL,
		GFP_KERNEL,
		GFP_HIGHUSER_MOVABLE,
		GFP_ATOMIC,
		GFP_KERNEL | __GFP_DMA32,
		GFP_DMA,
		GFP_KERNEL | __GFP_SHARED,
		GFP_HIGHUSER,
	};
	gfp_t gfp = zones[r % ARRAY_SIZE(zones)];

	if ((r >> 8) % 8 == 0)
		gfp |= __GFP_ZERO;
	if ((r >> 16) % 4 == 0)
		gfp |= __GFP_COMP;
	if ((r >> 24) % 4 == 0)
		gfp |= __GFP_THISNODE;
	return gfp;
}

static void check_place(const struct model *model, const struct page *page, gfp_t gfp, int nid)
{
	enum zone_type wanted = gfp_zone(gfp, model->layout);
	const struct zone *zone = page_zone(model->machine->phys, page);

	if (gfp & __GFP_THISNODE)
		ok(page->nid == nid, "node %d, not %d", page->nid, nid);
	if (wanted == ZONE_SHARED)
		ok(zone->memfd_backed, "gfp %#x: from %s", gfp, zone->name);
	else if (zone->type != ZONE_SHARED)
		ok(zone->type <= wanted, "gfp %#x: from %s", gfp, zone->name);
	else
		ok(wanted >= ZONE_NORMAL, "gfp %#x: from %s", gfp, zone->name);
}

static void step(struct worker *worker)
{
	struct model *model = worker->model;
	unsigned long r = tap_random(&worker->state);
	struct page **place = &model->table[(r >> 8) % model->nr_places];
	/* Acquire and release: who takes a block out of the table sees what was written to it. */
	struct page *page = __atomic_exchange_n(place, NULL, __ATOMIC_ACQ_REL), *other;
	/* Half of the blocks are of order 0, a quarter of order 1, ... */
	unsigned int order = (unsigned int)__builtin_ctzl(r >> 32 | 1UL << MAX_PAGE_ORDER);
	int nid = (int)(r % 3) - 1;
	gfp_t gfp;

	if (page) {
		give_up(model, page);
		worker->nr_frees++;
		return;
	}
	gfp = random_gfp(tap_random(&worker->state));
	page = nid == NUMA_NO_NODE ? alloc_pages(gfp, order) : alloc_pages_node(nid, gfp, order);
	if (!page) {
		worker->nr_refused++;
		return;
	}
	check_place(model, page, gfp, nid == NUMA_NO_NODE ? cpu_get()->nid : nid);
	if ((gfp & __GFP_ZERO) && page_address(page)) {
		const char *bytes = page_address(page);

		ok(bytes[0] == 0 && !memcmp(bytes, bytes + 1, (PAGE_SIZE << order) - 1),
		   "not zero, order %u", order);
	}
	claim(model, page, order);
	worker->nr_allocs++;
	other = __atomic_exchange_n(place, page, __ATOMIC_ACQ_REL);
	if (other)
		give_up(model, other);
	worker->nr_frees += other != NULL;
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	struct model *model = worker->model;

	worker->state = model->seed + (unsigned long)worker->index * 0x9E3779B97F4A7C15UL;
	worker->state += !worker->state;
	kmm_attach(model->machine, worker->index % 4);
	for (int round = 0; round < ROUNDS; round++) {
		for (unsigned long i = 0; i < nr_ops / ROUNDS / THREADS; i++)
			step(worker);
		pthread_barrier_wait(&model->barrier);
		if (worker->index == 0)
			phys_validate(model->machine);
		pthread_barrier_wait(&model->barrier);
	}
	return NULL;
}

static unsigned long count_used(const struct model *model)
{
	unsigned long nr = 0;

	for (unsigned long pfn = 0; pfn < model->machine->nr_frames; pfn++)
		nr += model->used[pfn];
	return nr;
}

static void run(struct kmm_config config, unsigned long nr_places)
{
	struct kmm *machine = boot(config);
	struct model model = {.machine = machine,
			      .layout = config.layout,
			      .nr_places = nr_places,
			      .seed = tap_seed()};
	struct worker workers[THREADS] = {{0}};
	pthread_t threads[THREADS];
	unsigned long before = nr_free(machine, NUMA_NO_NODE), nr_allocs = 0, nr_refused = 0;

	model.table = calloc(nr_places, sizeof(*model.table));
	model.used = calloc(machine->nr_frames, sizeof(*model.used));
	pthread_barrier_init(&model.barrier, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.model = &model, .index = i};
		pthread_create(&threads[i], NULL, work, &workers[i]);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		nr_allocs += workers[i].nr_allocs;
		nr_refused += workers[i].nr_refused;
	}
	printf("# %lu allocations, %lu refused\n", nr_allocs, nr_refused);
	ok(nr_allocs > nr_ops / 16, "only %lu allocations", nr_allocs);
	ok_eq(nr_free(machine, NUMA_NO_NODE), before - count_used(&model));
	for (unsigned long i = 0; i < nr_places; i++)
		if (model.table[i])
			give_up(&model, model.table[i]);
	ok_eq(count_used(&model), 0);
	ok_eq(nr_free(machine, NUMA_NO_NODE), before);
	pthread_barrier_destroy(&model.barrier);
	free(model.table);
	free(model.used);
	shut_down(machine);
}

static void blocks_are_nobody_else_s_on_two_nodes_of_x86_64(void)
{
	run((struct kmm_config){.synthetic = TWO_NODES}, 4096);
}

static void blocks_are_nobody_else_s_on_i386_with_highmem(void)
{
	run((struct kmm_config){.synthetic = TWO_NODES,
				.node_bytes = 464UL << 20,
				.layout = ZONES_I386},
	    4096);
}

static void blocks_are_nobody_else_s_with_tiny_lists_and_ticket_locks(void)
{
	run((struct kmm_config){.synthetic = TWO_NODES,
				.pcp_high = 3,
				.pcp_batch = 2,
				.lock_kind = LOCK_TICKET},
	    4096);
}

static void blocks_are_nobody_else_s_without_lists_and_with_mcs_locks(void)
{
	run((struct kmm_config){.synthetic = TWO_NODES, .no_pcp = true, .lock_kind = LOCK_MCS},
	    4096);
}

/* More places than there are frames. */
static void blocks_are_nobody_else_s_when_memory_always_runs_out(void)
{
	run((struct kmm_config){.node_bytes = 16UL << 20,
				.synthetic = TWO_NODES,
				.lock_kind = LOCK_MUTEX},
	    32768);
}

int main(void)
{
	nr_ops = tap_ops(DEFAULT_OPS);
	RUN(blocks_are_nobody_else_s_on_two_nodes_of_x86_64);
	RUN(blocks_are_nobody_else_s_on_i386_with_highmem);
	RUN(blocks_are_nobody_else_s_with_tiny_lists_and_ticket_locks);
	RUN(blocks_are_nobody_else_s_without_lists_and_with_mcs_locks);
	RUN(blocks_are_nobody_else_s_when_memory_always_runs_out);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* Random work by threads that take turns; see random_work.h. Everything here is protected by
 * work->mutex, which a thread holds through its whole turn. */
#include "tests/alloc/phys/random_work.h"

#include <pthread.h>

#include "arch/topology.h"

#define MAX_THREADS    16
#define MAX_BURST      3000
#define VALIDATE_EVERY 200000
#define COMPARE_EVERY  1000000
#define MAX_STAMPED    65536 /* frames that the stamps may touch: 256 MiB */
#define STAMPED_WHOLE  4     /* blocks up to this order have a stamp in each frame */

/* A block that somebody has. */
struct live {
	struct page *page;
	u64 stamp;
	gfp_t gfp;
	u8 order;
	bool by_address; /* came from __get_free_pages */
};

struct work {
	struct frame_model model;
	struct live *live;
	unsigned long nr_live;
	unsigned long stamp_every; /* frames: more than 1 on large machines, to spare the host */
	unsigned long random;
	u64 last_stamp;
	/* The present phase: which orders, and how many frames are to be in use. */
	unsigned long phase_ends, target;
	unsigned int order_low, order_span; /* span 0: half of order 0, a quarter of order 1, ... */
	bool oldest_first;

	unsigned long nr_ops, nr_done;
	unsigned long validate_at, compare_at;
	struct random_result result;

	pthread_mutex_t mutex;
	pthread_cond_t wake[MAX_THREADS];
	unsigned int nr_threads, turn;
	unsigned int nr_to_drain; /* threads that have to drain before buddyinfo is compared */
	bool stop;
};

struct worker {
	struct work *work;
	unsigned int index;
};

static unsigned long next_random(struct work *work)
{
	return tap_random(&work->random);
}

/*
 * Contents
 */

/* Where the stamp of a frame is; NULL if it has no address, or is to stay untouched. */
static u64 *word_of(const struct work *work, struct page *page)
{
	unsigned long pfn = page_to_pfn(page);
	u64 *words = pfn % work->stamp_every ? NULL : page_address(page);

	/* Anywhere in the frame, so that it is not always the same cache set. */
	return words ? words + pfn * 8 % (PAGE_SIZE / 8) : NULL;
}

static void stamp(const struct work *work, const struct live *live)
{
	unsigned long step = live->order > STAMPED_WHOLE ? (1UL << live->order) - 1 : 1;

	for (unsigned long i = 0; i < 1UL << live->order; i += step) {
		u64 *word = word_of(work, live->page + i);

		if (word)
			*word = live->stamp + i;
	}
}

static void check_stamp(const struct work *work, const struct live *live)
{
	unsigned long step = live->order > STAMPED_WHOLE ? (1UL << live->order) - 1 : 1;

	for (unsigned long i = 0; i < 1UL << live->order; i += step) {
		const u64 *word = word_of(work, live->page + i);

		ok(!word || *word == live->stamp + i, "frame %lu, %lu of order %u, was written to",
		   page_to_pfn(live->page), i, live->order);
	}
}

static void check_zero(struct page *page, unsigned int order)
{
	const char *bytes = page_address(page);

	ok(!bytes || (bytes[0] == 0 && !memcmp(bytes, bytes + 1, (PAGE_SIZE << order) - 1)),
	   "frame %lu, order %u: not zero", page_to_pfn(page), order);
}

/*
 * What to do next
 */

static gfp_t random_gfp(const struct work *work, unsigned long r, unsigned int order)
{
	static const gfp_t kinds[] = {
		GFP_KERNEL,
		GFP_KERNEL,
		GFP_ATOMIC,
		GFP_NOWAIT,
		GFP_NOIO,
		GFP_NOFS | __GFP_RECLAIMABLE,
		GFP_USER,
		GFP_HIGHUSER,
		GFP_HIGHUSER_MOVABLE,
		GFP_HIGHUSER_MOVABLE,
		GFP_KERNEL | __GFP_RECLAIMABLE,
		GFP_KERNEL | __GFP_NORETRY,
		GFP_KERNEL | __GFP_NOMEMALLOC,
		GFP_KERNEL | __GFP_MEMALLOC,
		GFP_HIGHUSER_MOVABLE | __GFP_MEMALLOC,
		GFP_ATOMIC | __GFP_MEMALLOC | __GFP_RECLAIMABLE,
	};
	gfp_t gfp = kinds[r % ARRAY_SIZE(kinds)] | __GFP_NOWARN;

	r >>= 8;
	switch (r % 16) {
	case 0:
		gfp |= __GFP_DMA;
		break;
	case 1:
	case 2:
		gfp |= __GFP_DMA32;
		break;
	case 3:
		gfp |= __GFP_SHARED;
		break;
	default:
		break;
	}
	if ((r >> 8) % 4 == 0)
		gfp |= __GFP_THISNODE;
	if ((r >> 16) % 8 == 0)
		gfp |= __GFP_COMP;
	/* On i386 zeroing HighMem maps it first, which is slow. */
	if (order <= 3 && (r >> 24) % (work->model.layout == ZONES_I386 ? 128 : 16) == 0)
		gfp |= __GFP_ZERO;
	return gfp;
}

static unsigned int random_order(const struct work *work, unsigned long r)
{
	if (work->order_span)
		return work->order_low + (unsigned int)(r % work->order_span);
	return (unsigned int)__builtin_ctzl(r | 1UL << MAX_PAGE_ORDER);
}

static void next_phase(struct work *work)
{
	unsigned long r = next_random(work);
	unsigned long all = work->model.nr_frames;

	work->phase_ends = work->nr_done + 1 + r % 20000;
	r >>= 16;
	switch (r % 6) {
	case 0: /* to the last page */
		work->target = 2 * all;
		break;
	case 1:
		work->target = 0;
		break;
	case 2: /* nearly full */
		work->target = all - all / 16;
		break;
	default:
		work->target = (r >> 8) % all;
		break;
	}
	r = next_random(work);
	work->order_low = (unsigned int)(r % NR_PAGE_ORDERS);
	work->order_span =
		(unsigned int)((r >> 8) % 4 == 0
				       ? 1 + (r >> 16) % (NR_PAGE_ORDERS - work->order_low)
				       : 0);
	work->oldest_first = (r >> 32) % 4 == 0;
}

/*
 * The operations
 */

static struct page *call_alloc(struct work *work, struct live *live, int *nid)
{
	unsigned long r = next_random(work);
	unsigned long addr;

	*nid = cpu_get()->nid;
	if (r % 8 == 0) {
		addr = __get_free_pages(live->gfp, live->order);
		live->by_address = true;
		live->gfp &= ~__GFP_HIGHMEM;
		return addr ? virt_to_page((void *)addr) : NULL;
	}
	if (r % 8 > 4) {
		*nid = (int)((r >> 8) % work->model.nr_nodes);
		return alloc_pages_node(*nid, live->gfp, live->order);
	}
	return alloc_pages(live->gfp, live->order);
}

static void allocate(struct work *work)
{
	struct live live = {.stamp = work->last_stamp += 1UL << NR_PAGE_ORDERS};
	int nid;

	live.order = (u8)random_order(work, next_random(work));
	live.gfp = random_gfp(work, next_random(work), live.order);
	live.page = call_alloc(work, &live, &nid);
	if (!live.page) {
		work->result.nr_refused++;
		/* By address there may be frames and none with an address. */
		if (!(live.by_address && (live.gfp & __GFP_SHARED)))
			model_check_refusal(&work->model, live.gfp, nid, live.order);
		return;
	}
	work->result.nr_allocs++;
	model_take(&work->model, page_to_pfn(live.page), live.order, live.gfp, nid);
	if (live.gfp & __GFP_ZERO)
		check_zero(live.page, live.order);
	if (live.gfp & __GFP_COMP)
		ok(compound_head(live.page + (1UL << live.order) - 1) == live.page,
		   "the last frame of order %u leads elsewhere", live.order);
	stamp(work, &live);
	work->live[work->nr_live++] = live;
}

static void release(struct work *work, unsigned long at)
{
	struct live live = work->live[at];

	work->live[at] = work->live[--work->nr_live];
	check_stamp(work, &live);
	model_give(&work->model, page_to_pfn(live.page), live.order);
	work->result.nr_frees++;
	if (live.by_address)
		free_pages((unsigned long)page_address(live.page), live.order);
	else
		__free_pages(live.page, live.order);
}

/* One allocation or one free, so that memory in use goes towards the target. */
static void step(struct work *work)
{
	unsigned long r = next_random(work);
	bool below = work->model.nr_used < work->target;

	if (work->nr_done >= work->phase_ends)
		next_phase(work);
	work->nr_done++;
	if (work->nr_live && (r & 7) < (below ? 2 : 6)) {
		unsigned long at = work->oldest_first ? 0 : (r >> 8) % work->nr_live;

		/* The last one came a moment ago, and its frame is on top of a list. */
		release(work, (r >> 3) % 4 == 0 ? work->nr_live - 1 : at);
	} else {
		allocate(work);
	}
}

/*
 * Turns
 */

/* Move to another CPU, or leave the slot behind, or empty it; mostly none of these. */
static void move(struct work *work)
{
	unsigned long r = next_random(work);
	unsigned int nr_cpus = topology_nr_cpus(work->model.machine->topology);

	switch (r % 32) {
	case 0:
	case 1:
		kmm_detach();
		break;
	case 2:
		kmm_drain(work->model.machine);
		break;
	case 3:
	case 4:
	case 5:
		ok_eq(kmm_attach(work->model.machine, (int)((r >> 8) % nr_cpus)), 0);
		break;
	default:
		break;
	}
}

static void burst(struct work *work)
{
	unsigned long nr = 1 + next_random(work) % MAX_BURST;

	move(work);
	nr = min_t(unsigned long, nr, work->nr_ops - work->nr_done);
	while (nr--)
		step(work);
	if (work->nr_done >= work->validate_at || work->nr_done == work->nr_ops) {
		work->validate_at = work->nr_done + VALIDATE_EVERY;
		phys_validate(work->model.machine);
		model_check_count(&work->model);
	}
	if (work->nr_done >= work->compare_at || work->nr_done == work->nr_ops) {
		work->compare_at = work->nr_done + COMPARE_EVERY;
		work->nr_to_drain = work->nr_threads;
	}
}

/* Each in turn drains; the last one finds nothing in any list. */
static void drain_turn(struct work *work)
{
	kmm_drain(work->model.machine);
	if (--work->nr_to_drain == 0) {
		model_check_blocks(&work->model);
		work->stop = work->nr_done == work->nr_ops || tap_failures;
	}
}

static void pass(struct work *work, unsigned int next)
{
	work->turn = next;
	pthread_cond_signal(&work->wake[next]);
}

static void *take_turns(void *arg)
{
	struct worker *worker = arg;
	struct work *work = worker->work;

	pthread_mutex_lock(&work->mutex);
	for (;;) {
		unsigned int next = (worker->index + 1) % work->nr_threads;

		while (work->turn != worker->index)
			pthread_cond_wait(&work->wake[worker->index], &work->mutex);
		if (work->stop) {
			pass(work, next);
			break;
		}
		if (work->nr_to_drain)
			drain_turn(work);
		else
			burst(work);
		if (!work->nr_to_drain && !work->stop)
			next = (unsigned int)(next_random(work) % work->nr_threads);
		pass(work, next);
	}
	pthread_mutex_unlock(&work->mutex);
	return NULL;
}

static void run_threads(struct work *work)
{
	struct worker workers[MAX_THREADS];
	pthread_t threads[MAX_THREADS];

	pthread_mutex_init(&work->mutex, NULL);
	for (unsigned int i = 0; i < work->nr_threads; i++) {
		pthread_cond_init(&work->wake[i], NULL);
		workers[i] = (struct worker){.work = work, .index = i};
	}
	for (unsigned int i = 0; i < work->nr_threads; i++)
		pthread_create(&threads[i], NULL, take_turns, &workers[i]);
	for (unsigned int i = 0; i < work->nr_threads; i++)
		pthread_join(threads[i], NULL);
	for (unsigned int i = 0; i < work->nr_threads; i++)
		pthread_cond_destroy(&work->wake[i]);
	pthread_mutex_destroy(&work->mutex);
}

struct random_result random_work(const struct kmm_config *config, unsigned int nr_threads,
				 unsigned long nr_ops, unsigned long seed)
{
	struct work work = {.random = seed,
			    .nr_ops = nr_ops,
			    .nr_threads = nr_threads,
			    .validate_at = min_t(unsigned long, nr_ops / 4, VALIDATE_EVERY),
			    .compare_at = min_t(unsigned long, nr_ops / 4, COMPARE_EVERY)};
	struct kmm *machine = boot(*config);

	model_init(&work.model, machine);
	work.live = malloc(work.model.nr_frames * sizeof(*work.live));
	work.stamp_every = 1 + work.model.nr_frames / MAX_STAMPED;
	next_phase(&work);
	run_threads(&work);
	while (work.nr_live)
		release(&work, work.nr_live - 1);
	kmm_drain(machine);
	model_check_count(&work.model);
	model_check_blocks(&work.model);
	free(work.live);
	model_destroy(&work.model);
	shut_down(machine);
	return work.result;
}

/* SPDX-License-Identifier: MIT */
/*
 * Many more threads than CPUs: what they allocate, hand to each other, free and leave behind on
 * their slots' lists when they end. Nothing may be lost, and nothing handed out twice: whoever gets
 * a block writes its name into each frame, and finds it there before it lets the block go.
 *
 * TEST_THREADS is how many threads live at once, 1000 by default.
 */
#include <pthread.h>

#include "phys/pcp.h"
#include "phys/phys.h"
#include "tests/alloc/phys/frame_model.h"

#define MAX_THREADS  4000
#define NR_EXCHANGES 257
#define NR_OWN	     8
#define NR_STEPS     40
#define NR_WAVES     3

#ifdef __SANITIZE_THREAD__
#define DEFAULT_THREADS 300
#else
#define DEFAULT_THREADS 1000
#endif

/* Blocks on their way from one thread to another, each with its name written in it. */
struct crowd {
	struct kmm *machine;
	struct page *exchange[NR_EXCHANGES];
	pthread_barrier_t all_attached, all_done;
	unsigned long nr_refused;
	unsigned long seed;
};

struct member {
	struct crowd *crowd;
	unsigned int index;
	pthread_t thread;
};

/* What a block's frames say while it is in hands: its order, and who wrote it last. */
static u64 name_of(unsigned int owner, const struct page *page, unsigned int order)
{
	return (u64)owner << 40 | page_to_pfn(page) << 8 | order;
}

static u64 *word_of(struct page *page)
{
	return page_address(page);
}

static void sign(struct page *page, unsigned int owner, unsigned int order)
{
	for (unsigned long i = 0; i < 1UL << order; i++)
		*word_of(page + i) = name_of(owner, page + i, order);
}

static void check_signed(struct page *page, u64 owner, unsigned int order)
{
	for (unsigned long i = 0; i < 1UL << order; i++) {
		u64 want = name_of((unsigned int)owner, page + i, order);

		ok(*word_of(page + i) == want, "frame %lu is %#lx's, not %#lx's",
		   page_to_pfn(page + i), (unsigned long)*word_of(page + i), (unsigned long)want);
	}
}

/* A block from another thread, which said in its first frame who it was and how large it is. */
static void check_received(struct page *page, unsigned int *order)
{
	u64 name = *word_of(page);

	*order = (unsigned int)(name & 0xff);
	ok(*order <= 3, "a block of order %u", *order);
	*order = min_t(unsigned int, *order, 3);
	check_signed(page, name >> 40, *order);
}

static void member_step(struct member *me, unsigned long *random, struct page *own[NR_OWN],
			u8 order[NR_OWN])
{
	struct crowd *crowd = me->crowd;
	unsigned long r = tap_random(random);
	unsigned int i = (unsigned int)(r % NR_OWN), theirs;
	struct page *page;

	if (!own[i]) {
		order[i] = (u8)((r >> 8) % 4);
		own[i] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, order[i]);
		if (own[i])
			sign(own[i], me->index, order[i]);
		else
			__atomic_add_fetch(&crowd->nr_refused, 1, __ATOMIC_RELAXED);
		return;
	}
	check_signed(own[i], me->index, order[i]);
	page = own[i];
	own[i] = NULL;
	if ((r >> 16) % 4) {
		/* Acquire and release: who takes a block sees what was written to it. */
		page = __atomic_exchange_n(&crowd->exchange[(r >> 24) % NR_EXCHANGES], page,
					   __ATOMIC_ACQ_REL);
		if (page) {
			check_received(page, &theirs);
			__free_pages(page, theirs);
		}
		return;
	}
	__free_pages(page, order[i]);
}

/* Attach, work while everybody else does, and end: one in three with its blocks still in the
 * exchange, all with pages on their slot's lists. */
static void *member_run(void *arg)
{
	struct member *me = arg;
	struct crowd *crowd = me->crowd;
	unsigned long random = (crowd->seed + me->index) * 0x9E3779B97F4A7C15UL | 1;
	struct page *own[NR_OWN] = {NULL};
	u8 order[NR_OWN] = {0};

	ok_eq(kmm_attach(crowd->machine, (int)(me->index % 4)), 0);
	pthread_barrier_wait(&crowd->all_attached);
	for (int i = 0; i < NR_STEPS; i++)
		member_step(me, &random, own, order);
	for (unsigned int i = 0; i < NR_OWN; i++) {
		if (!own[i])
			continue;
		check_signed(own[i], me->index, order[i]);
		__free_pages(own[i], order[i]);
	}
	pthread_barrier_wait(&crowd->all_done);
	if (me->index % 3 == 0)
		kmm_detach();
	return NULL;
}

static unsigned int nr_slots(struct kmm *machine)
{
	unsigned int nr = 0;

	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
		nr++;
	return nr;
}

static void run_wave(struct crowd *crowd, struct member *members, unsigned int nr_threads)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256UL << 10);
	for (unsigned int i = 0; i < nr_threads; i++) {
		members[i] = (struct member){.crowd = crowd, .index = i};
		if (pthread_create(&members[i].thread, &attr, member_run, &members[i])) {
			printf("Bail out! the host refuses thread %u\n", i);
			exit(99);
		}
	}
	for (unsigned int i = 0; i < nr_threads; i++)
		pthread_join(members[i].thread, NULL);
	pthread_attr_destroy(&attr);
}

static void take_from_exchange(struct crowd *crowd)
{
	for (unsigned int i = 0; i < NR_EXCHANGES; i++) {
		struct page *page = crowd->exchange[i];
		unsigned int order;

		if (!page)
			continue;
		check_received(page, &order);
		__free_pages(page, order);
		crowd->exchange[i] = NULL;
	}
}

static unsigned int number_of_threads(void)
{
	const char *text = getenv("TEST_THREADS");
	unsigned long nr = text ? strtoul(text, NULL, 0) : DEFAULT_THREADS;

	return (unsigned int)min_t(unsigned long, max_t(unsigned long, nr, 1), MAX_THREADS);
}

static void a_thousand_threads_lose_nothing(void)
{
	static struct member members[MAX_THREADS];
	unsigned int nr_threads = number_of_threads(), slots_after_first = 0;
	struct crowd crowd = {.machine = boot((struct kmm_config){.synthetic = TWO_NODES,
								  .node_bytes = 256UL << 20}),
			      .seed = tap_seed()};
	struct frame_model model;

	model_init(&model, crowd.machine);
	/* On a slot of its own, which is not in the way of the others. */
	kmm_detach();
	pthread_barrier_init(&crowd.all_attached, NULL, nr_threads);
	pthread_barrier_init(&crowd.all_done, NULL, nr_threads);
	for (int wave = 0; wave < NR_WAVES; wave++) {
		run_wave(&crowd, members, nr_threads);
		if (wave == 0)
			slots_after_first = nr_slots(crowd.machine);
		ok(slots_after_first >= nr_threads, "%u slots for %u threads", slots_after_first,
		   nr_threads);
		/* Those who come find the slots of those who went, one a thread and CPU. */
		ok_eq(nr_slots(crowd.machine), slots_after_first);
		phys_validate(crowd.machine);
	}
	printf("# %u slots, %lu allocations refused\n", slots_after_first, crowd.nr_refused);
	ok(crowd.nr_refused == 0, "%lu refused, and there was plenty", crowd.nr_refused);
	take_from_exchange(&crowd);
	model_check_count(&model);
	kmm_drain(crowd.machine);
	model_check_blocks(&model);
	model_destroy(&model);
	pthread_barrier_destroy(&crowd.all_attached);
	pthread_barrier_destroy(&crowd.all_done);
	shut_down(crowd.machine);
}

/* A thread after the other on one CPU, each ending with pages on its lists. */
struct heir {
	struct kmm *machine;
	struct kmm_cpu *slot;
	unsigned long found; /* pages on the lists when it came */
	unsigned long left;
};

static void *inherit(void *arg)
{
	struct heir *heir = arg;
	struct page *pages[12];

	ok_eq(kmm_attach(heir->machine, 1), 0);
	ok(!heir->slot || heir->slot == this_cpu, "a slot of one's own");
	heir->slot = this_cpu;
	heir->found = pcp_nr_pages(this_cpu);
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		pages[i] = alloc_pages(GFP_KERNEL, i % 4);
	for (unsigned int i = 0; i < ARRAY_SIZE(pages); i++)
		__free_pages(pages[i], i % 4);
	heir->left = pcp_nr_pages(this_cpu);
	return NULL;
}

static void each_thread_inherits_what_the_last_one_left(void)
{
	struct heir heir = {.machine = boot((struct kmm_config){0})};
	struct phys_counters first, last;
	struct frame_model model;
	pthread_t thread;

	model_init(&model, heir.machine);
	for (int i = 0; i < 20; i++) {
		unsigned long left = heir.left;

		pthread_create(&thread, NULL, inherit, &heir);
		pthread_join(thread, NULL);
		ok_eq(heir.found, left);
		ok(heir.left > 0, "nothing is left");
		model_check_count(&model);
		if (i == 0)
			phys_count(heir.machine, &first);
	}
	phys_count(heir.machine, &last);
	/* All of them lived on what the first one fetched. */
	ok_eq(last.pcp_refill, first.pcp_refill);
	kmm_drain(heir.machine);
	model_check_blocks(&model);
	model_destroy(&model);
	shut_down(heir.machine);
}

/* One way only: from threads of node 0 to threads of node 1. The pages must find their way home, or
 * the first node would run dry. */
#define NR_LANES 2

struct lane {
	struct kmm *machine;
	unsigned int index;
	unsigned long nr_pages;
	struct page *slots[64];
};

static void *send_pages(void *arg)
{
	struct lane *lane = arg;
	unsigned long sent = 0;

	ok_eq(kmm_attach(lane->machine, (int)lane->index), 0);
	while (sent < lane->nr_pages) {
		struct page **slot = &lane->slots[sent % ARRAY_SIZE(lane->slots)];
		struct page *page;

		/* Acquire: the receiver is done with what lay here. */
		if (__atomic_load_n(slot, __ATOMIC_ACQUIRE)) {
			sched_yield();
			continue;
		}
		page = alloc_pages(GFP_KERNEL | __GFP_THISNODE | __GFP_NOWARN, sent % 4);
		if (!page) {
			ok(false, "node 0 is empty after %lu", sent);
			exit(1);
		}
		sign(page, lane->index, sent % 4);
		/* Release: the receiver sees what is written in it. */
		__atomic_store_n(slot, page, __ATOMIC_RELEASE);
		sent++;
	}
	return NULL;
}

static void *receive_pages(void *arg)
{
	struct lane *lane = arg;
	unsigned long received = 0;

	ok_eq(kmm_attach(lane->machine, (int)(2 + lane->index)), 0);
	while (received < lane->nr_pages) {
		struct page **slot = &lane->slots[received % ARRAY_SIZE(lane->slots)];
		/* Acquire: what the sender wrote. */
		struct page *page = __atomic_load_n(slot, __ATOMIC_ACQUIRE);

		if (!page) {
			sched_yield();
			continue;
		}
		check_signed(page, lane->index, received % 4);
		__free_pages(page, received % 4);
		/* Release: the sender finds the place empty after the free. */
		__atomic_store_n(slot, NULL, __ATOMIC_RELEASE);
		received++;
	}
	return NULL;
}

static void pages_freed_on_another_node_go_back_to_their_own(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.synthetic = TWO_NODES, .node_bytes = 16UL << 20});
	struct lane lanes[NR_LANES] = {{0}};
	pthread_t senders[NR_LANES], receivers[NR_LANES];
	struct frame_model model;

	model_init(&model, machine);
	for (unsigned int i = 0; i < NR_LANES; i++) {
		lanes[i] = (struct lane){.machine = machine, .index = i, .nr_pages = 20000};
		pthread_create(&senders[i], NULL, send_pages, &lanes[i]);
		pthread_create(&receivers[i], NULL, receive_pages, &lanes[i]);
	}
	for (unsigned int i = 0; i < NR_LANES; i++) {
		pthread_join(senders[i], NULL);
		pthread_join(receivers[i], NULL);
	}
	model_check_count(&model);
	phys_validate(machine);
	kmm_drain(machine);
	model_check_blocks(&model);
	model_destroy(&model);
	shut_down(machine);
}

/* Whoever counts finds slots that are being made, and lists at work. */
#define NR_COMERS 16

static void *come_and_work(void *arg)
{
	pthread_barrier_t *barrier = arg;

	for (unsigned int i = 0; i < 2000; i++) {
		struct page *page = alloc_pages(GFP_KERNEL, i % 10);

		if (page)
			__free_pages(page, i % 10);
	}
	pthread_barrier_wait(barrier);
	return NULL;
}

static void note_pageset(const struct phys_pageset_info *pageset, void *arg)
{
	const struct phys_zone_info *zone = arg;

	ok(pageset->nr_pages <= zone->nr_managed, "slot %u has %lu pages", pageset->slot,
	   pageset->nr_pages);
}

static void note_pagesets(const struct phys_zone_info *zone, void *machine)
{
	struct phys_zone_info copy = *zone;

	phys_for_each_pageset(machine, zone, note_pageset, &copy);
}

static void counts_may_be_read_while_threads_come(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	unsigned long all = nr_free(machine, NUMA_NO_NODE);
	pthread_t threads[NR_COMERS];
	pthread_barrier_t barrier;
	struct phys_counters counters;
	struct phys_traffic traffic;
	struct numastat stats;

	pthread_barrier_init(&barrier, NULL, NR_COMERS + 1);
	for (unsigned int i = 0; i < NR_COMERS; i++) {
		pthread_create(&threads[i], NULL, come_and_work, &barrier);
		phys_for_each_zone(machine, note_pagesets, machine);
		phys_count(machine, &counters);
		phys_count_traffic(machine, &traffic);
		phys_numastat(machine, 1, &stats);
		(void)nr_free(machine, 0);
	}
	pthread_barrier_wait(&barrier);
	for (unsigned int i = 0; i < NR_COMERS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
	ok_eq(nr_free(machine, NUMA_NO_NODE), all);
	shut_down(machine);
}

int main(void)
{
	RUN(a_thousand_threads_lose_nothing);
	RUN(each_thread_inherits_what_the_last_one_left);
	RUN(pages_freed_on_another_node_go_back_to_their_own);
	RUN(counts_may_be_read_while_threads_come);
	return done();
}

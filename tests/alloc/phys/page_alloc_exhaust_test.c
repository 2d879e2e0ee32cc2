/* SPDX-License-Identifier: MIT */
/*
 * To the last page and back: every order and several CPUs, with pages waiting on the lists of slots
 * that nobody uses, freed in every kind of sequence and from any CPU. When all is back and drained,
 * the buddy must hold exactly the blocks that it held at boot, which the slow model knows.
 *
 * What a running thread that makes no call has on its lists stays out of reach, as page_alloc.h
 * says; pcp_test looks at that.
 */
#include <pthread.h>

#include "arch/topology.h"
#include "tests/alloc/phys/frame_model.h"

#define STEP	  (TAP_SANITIZED ? 5 : 1) /* of orders, where there are many to go through */
#define LAST_PAGE (__GFP_MEMALLOC | __GFP_NOWARN)

static unsigned long seed;

struct held {
	struct page *page;
	unsigned int order;
};

struct scene {
	struct kmm *machine;
	struct frame_model model;
	struct held *held;
	unsigned long nr_held;
	unsigned long random;
	unsigned int nr_cpus;
};

static void set_scene(struct scene *scene, struct kmm_config config)
{
	scene->machine = boot(config);
	scene->random = seed | 1;
	scene->nr_cpus = topology_nr_cpus(scene->machine->topology);
	scene->nr_held = 0;
	model_init(&scene->model, scene->machine);
	scene->held = malloc((scene->model.nr_frames + 1) * sizeof(*scene->held));
}

/* All must be free by now: it is as it was at boot. */
static void end_scene(struct scene *scene)
{
	ok_eq(scene->nr_held, 0);
	ok_eq(scene->model.nr_used, 0);
	phys_validate(scene->machine);
	kmm_drain(scene->machine);
	model_check_count(&scene->model);
	model_check_blocks(&scene->model);
	model_destroy(&scene->model);
	free(scene->held);
	shut_down(scene->machine);
}

static bool take_as(struct scene *scene, gfp_t gfp, unsigned int order)
{
	struct page *page = alloc_pages(gfp, order);

	if (!page) {
		model_check_refusal(&scene->model, gfp, NUMA_NO_NODE, order);
		return false;
	}
	model_take(&scene->model, page_to_pfn(page), order, gfp, NUMA_NO_NODE);
	scene->held[scene->nr_held++] = (struct held){page, order};
	return true;
}

static bool take_one(struct scene *scene, gfp_t gfp, unsigned int order)
{
	return take_as(scene, gfp | LAST_PAGE, order);
}

static void take_all(struct scene *scene, gfp_t gfp, unsigned int order)
{
	while (!tap_failures && take_one(scene, gfp, order))
		;
}

static void give_one(struct scene *scene, unsigned long at)
{
	struct held held = scene->held[at];

	scene->held[at] = scene->held[--scene->nr_held];
	model_give(&scene->model, page_to_pfn(held.page), held.order);
	__free_pages(held.page, held.order);
}

static void give_all_at_random(struct scene *scene)
{
	while (scene->nr_held)
		give_one(scene, tap_random(&scene->random) % scene->nr_held);
}

/* Every slot that there is has something of everything on its lists, and most have no thread. */
static void leave_pages_on_all_cpus(struct scene *scene)
{
	for (unsigned int cpu = 0; cpu < scene->nr_cpus; cpu++) {
		unsigned long before = scene->nr_held;

		ok_eq(kmm_attach(scene->machine, (int)cpu), 0);
		for (unsigned int i = 0; i < 200; i++)
			take_one(scene, i % 2 ? GFP_KERNEL : GFP_HIGHUSER_MOVABLE, i % 5);
		while (scene->nr_held > before)
			give_one(scene, scene->nr_held - 1);
	}
	ok_eq(kmm_attach(scene->machine, 0), 0);
}

static void exhaust(struct kmm_config config, unsigned int order)
{
	struct scene scene;

	set_scene(&scene, config);
	leave_pages_on_all_cpus(&scene);
	take_all(&scene, GFP_HIGHUSER_MOVABLE, order);
	take_all(&scene, __GFP_SHARED, order);
	if (order == 0)
		ok_eq(scene.model.nr_used, scene.model.nr_frames);
	model_check_count(&scene.model);
	phys_validate(scene.machine);
	give_all_at_random(&scene);
	end_scene(&scene);
}

static void each_order_of_x86_64_can_be_had_to_the_last_block(void)
{
	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order += STEP)
		exhaust((struct kmm_config){.synthetic = TWO_NODES}, order);
}

static void each_order_of_i386_can_be_had_to_the_last_block(void)
{
	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order += STEP)
		exhaust((struct kmm_config){.node_bytes = 912UL << 20, .layout = ZONES_I386},
			order);
}

static void lists_of_any_length_hold_nothing_back(void)
{
	exhaust((struct kmm_config){.no_pcp = true}, 0);
	exhaust((struct kmm_config){.pcp_high = 1, .pcp_batch = 1}, 0);
	exhaust((struct kmm_config){.pcp_high = 2048, .pcp_batch = 7}, 0);
	exhaust((struct kmm_config){.pcp_high = 2048, .pcp_batch = 2048}, 1);
	exhaust((struct kmm_config){.node_bytes = 16UL << 20, .shared_bytes = 4UL << 20}, 0);
	exhaust((struct kmm_config){.node_bytes = 16UL << 20, .layout = ZONES_I386}, 0);
}

/* Large blocks first, and what is left in ever smaller ones; then the other way round, where only
 * what boot left whole is large. */
static void mixed_orders_fill_memory_without_a_gap(void)
{
	struct scene scene;

	set_scene(&scene, (struct kmm_config){.synthetic = TWO_NODES});
	for (int order = MAX_PAGE_ORDER; order >= 0; order--) {
		take_all(&scene, GFP_KERNEL, (unsigned int)order);
		phys_validate(scene.machine);
	}
	take_all(&scene, __GFP_SHARED, 0);
	ok_eq(scene.model.nr_used, scene.model.nr_frames);
	give_all_at_random(&scene);
	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++)
		for (int i = 0; i < 3; i++)
			take_one(&scene, GFP_KERNEL, order);
	take_all(&scene, GFP_KERNEL, 0);
	give_all_at_random(&scene);
	end_scene(&scene);
}

enum sequence { FORWARDS, BACKWARDS, EVEN_THEN_ODD, HALVES, NR_SEQUENCES };

static unsigned long place_in(enum sequence sequence, unsigned long i, unsigned long nr)
{
	unsigned long half = (nr + 1) / 2;

	switch (sequence) {
	case FORWARDS:
		return i;
	case BACKWARDS:
		return nr - 1 - i;
	case EVEN_THEN_ODD:
		return i < half ? 2 * i : 2 * (i - half) + 1;
	default: /* one from the front, one from the back */
		return i % 2 ? nr - 1 - i / 2 : i / 2;
	}
}

static int by_frame(const void *a, const void *b)
{
	const struct held *x = a, *y = b;

	return x->page < y->page ? -1 : x->page > y->page;
}

static void frames_may_come_back_in_any_sequence(void)
{
	static const unsigned int orders[] = {0, 1, 2, 4, 9};

	for (unsigned int s = 0; s < NR_SEQUENCES; s++)
		for (unsigned int o = 0; o < ARRAY_SIZE(orders); o++) {
			struct scene scene;

			set_scene(&scene, (struct kmm_config){.node_bytes = 32UL << 20});
			take_all(&scene, GFP_KERNEL, orders[o]);
			qsort(scene.held, scene.nr_held, sizeof(*scene.held), by_frame);
			for (unsigned long i = 0; i < scene.nr_held; i++) {
				struct held *held = &scene.held[place_in(s, i, scene.nr_held)];

				model_give(&scene.model, page_to_pfn(held->page), held->order);
				__free_pages(held->page, held->order);
			}
			scene.nr_held = 0;
			end_scene(&scene);
		}
}

/* Taken on all CPUs by turns, until none finds any; freed on others. */
static void all_cpus_together_find_every_page(void)
{
	struct scene scene;
	bool found = true;

	set_scene(&scene, (struct kmm_config){.synthetic = "numa:3 core:2 pu:1"});
	for (int round = 0; round < 2; round++) {
		while (found && !tap_failures) {
			found = false;
			for (unsigned int cpu = 0; cpu < scene.nr_cpus; cpu++) {
				ok_eq(kmm_attach(scene.machine, (int)cpu), 0);
				for (int i = 0; i < 300; i++)
					found |= take_one(&scene, GFP_KERNEL, round ? i % 4 : 0);
			}
		}
		if (round == 0)
			ok_eq(scene.model.nr_used, scene.model.nr_frames);
		while (scene.nr_held) {
			if (scene.nr_held % 64 == 0)
				ok_eq(kmm_attach(scene.machine,
						 (int)(tap_random(&scene.random) % scene.nr_cpus)),
				      0);
			give_one(&scene, tap_random(&scene.random) % scene.nr_held);
		}
		found = true;
	}
	end_scene(&scene);
}

/* Each zone has what it keeps from an allocation of GFP_KERNEL's zones, of which only so much of the
 * minimum counts. */
static void check_depth(struct scene *scene, gfp_t gfp, unsigned int eighths)
{
	while (!tap_failures && take_as(scene, gfp | __GFP_NOWARN, 0))
		;
	for (unsigned int i = 0; i < scene->model.nr_zones; i++) {
		const struct phys_zone_info *zone = &scene->model.zones[i];
		unsigned long min = zone->watermark[WMARK_MIN];
		unsigned long keep = zone->lowmem_reserve[ZONE_NORMAL];

		if (zone->type == ZONE_HIGHMEM)
			continue;
		/* What is taken off the minimum is rounded down. */
		ok(zone->nr_free >= keep + min * eighths / 8 &&
			   zone->nr_free <= keep + min * eighths / 8 + 2,
		   "gfp %#x: %s of node %d has %lu pages, minimum %lu, reserve %lu", gfp,
		   zone->name, zone->nid, zone->nr_free, min, keep);
	}
}

static void each_kind_of_caller_stops_at_its_depth(void)
{
	for (int layout = 0; layout < NR_ZONE_LAYOUTS; layout++) {
		struct scene scene;

		set_scene(&scene, (struct kmm_config){.synthetic = TWO_NODES,
						      .layout = (enum zone_layout)layout,
						      .no_pcp = true});
		check_depth(&scene, GFP_KERNEL, 8);
		check_depth(&scene, GFP_NOWAIT, 8);
		check_depth(&scene, GFP_NOIO | __GFP_NOMEMALLOC | __GFP_MEMALLOC, 8);
		check_depth(&scene, GFP_NOWAIT | __GFP_ATOMIC, 6);
		check_depth(&scene, GFP_KERNEL | __GFP_HIGH, 4);
		check_depth(&scene, GFP_ATOMIC, 3);
		take_all(&scene, GFP_KERNEL, 0);
		take_all(&scene, __GFP_SHARED, 0);
		ok_eq(scene.model.nr_used, scene.model.nr_frames);
		give_all_at_random(&scene);
		end_scene(&scene);
	}
}

/* Threads that race for the last page: together with what their lists hold they have all of it. */
struct racer {
	struct kmm *machine;
	pthread_barrier_t *start;
	struct page *first;
	unsigned int index;
	unsigned long nr;
};

static void *race(void *arg)
{
	struct racer *racer = arg;
	struct page *page;

	ok_eq(kmm_attach(racer->machine, (int)racer->index), 0);
	pthread_barrier_wait(racer->start);
	while ((page = alloc_pages(GFP_KERNEL | LAST_PAGE, 0))) {
		page->private = (unsigned long)racer->first;
		racer->first = page;
		racer->nr++;
	}
	/* All have seen the end before one gives anything back. */
	pthread_barrier_wait(racer->start);
	while (racer->index % 2 && racer->first) {
		page = racer->first;
		racer->first = (struct page *)page->private;
		__free_pages(page, 0);
	}
	return NULL;
}

static void threads_that_race_for_the_last_page_miss_none(void)
{
	struct scene scene;
	struct racer racers[4];
	pthread_t threads[4];
	pthread_barrier_t start;
	unsigned long nr = 0;

	set_scene(&scene, (struct kmm_config){.synthetic = TWO_NODES});
	pthread_barrier_init(&start, NULL, 4);
	for (unsigned int i = 0; i < 4; i++) {
		racers[i] = (struct racer){.machine = scene.machine, .start = &start, .index = i};
		pthread_create(&threads[i], NULL, race, &racers[i]);
	}
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (unsigned int i = 0; i < 4; i++)
		nr += racers[i].nr;
	ok(nr <= scene.model.nr_frames, "%lu of %lu frames", nr, scene.model.nr_frames);
	/* The slots of those who ended are idle, and give theirs to who asks. */
	take_all(&scene, GFP_KERNEL, 0);
	for (unsigned int i = 0; i < 4; i += 2)
		while (racers[i].first) {
			struct page *page = racers[i].first;

			racers[i].first = (struct page *)page->private;
			model_take(&scene.model, page_to_pfn(page), 0, GFP_KERNEL, NUMA_NO_NODE);
			scene.held[scene.nr_held++] = (struct held){page, 0};
		}
	ok_eq(scene.model.nr_used, scene.model.nr_frames);
	give_all_at_random(&scene);
	pthread_barrier_destroy(&start);
	end_scene(&scene);
}

/* Again and again: what is lost once would be lost a hundred times. */
static void a_hundred_times_full_and_empty(void)
{
	struct scene scene;

	set_scene(&scene, (struct kmm_config){.node_bytes = 16UL << 20});
	for (int round = 0; round < (TAP_SANITIZED ? 10 : 100) && !tap_failures; round++) {
		take_all(&scene, GFP_KERNEL, (unsigned int)round % NR_PAGE_ORDERS);
		take_all(&scene, GFP_KERNEL, 0);
		ok_eq(scene.model.nr_used, scene.model.nr_frames);
		give_all_at_random(&scene);
	}
	end_scene(&scene);
}

int main(void)
{
	seed = tap_seed();
	RUN(each_order_of_x86_64_can_be_had_to_the_last_block);
	RUN(each_order_of_i386_can_be_had_to_the_last_block);
	RUN(lists_of_any_length_hold_nothing_back);
	RUN(mixed_orders_fill_memory_without_a_gap);
	RUN(frames_may_come_back_in_any_sequence);
	RUN(all_cpus_together_find_every_page);
	RUN(each_kind_of_caller_stops_at_its_depth);
	RUN(threads_that_race_for_the_last_page_miss_none);
	RUN(a_hundred_times_full_and_empty);
	return done();
}

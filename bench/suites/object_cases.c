/* SPDX-License-Identifier: MIT */
/* Which allocators, thread counts and placements a pattern comes in. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/suites/arena.h"
#include "bench/suites/falseshare.h"
#include "bench/suites/objects.h"
#include "bench/suites/slots.h"
#include "bench/suites/xcpu.h"

#define THREADTEST_COUNT (4 * BATCH_COUNT)
#define FALSESHARE_SIZE	 8

uint64_t node_memory_bytes(const struct bench_env *env)
{
	uint64_t least = UINT64_MAX;

	if (!env->machine)
		return 1UL << 30;
	for (unsigned int nid = 0; nid < nr_nodes(env); nid++) {
		struct free_area_counts counts;

		count_free_areas(env->machine, (int)nid, &counts);
		if (counts.nr_managed_pages && counts.nr_managed_pages << PAGE_SHIFT < least)
			least = counts.nr_managed_pages << PAGE_SHIFT;
	}
	if (least == UINT64_MAX)
		return 1UL << 30;
	return least > env->machine->config.shared_bytes ? least - env->machine->config.shared_bytes
							 : least / 2;
}

int batch_count(const struct bench_env *env, size_t object_bytes, uint64_t memory_bytes)
{
	return batch_count_in(object_bytes, memory_bytes, env->nr_threads_max);
}

/* What all threads hold at once, in the timed loop or in a check, leaves a quarter of memory. */
static bool fits(const struct bench_case *c, uint64_t memory_bytes)
{
	int nr = max_t(int, c->count, verify_count(c, c->size_bytes));

	return !memory_bytes ||
	       (uint64_t)nr * (uint64_t)c->threads * c->size_bytes <= memory_bytes / 4 * 3;
}

static int add_case(const struct bench_env *env, struct case_list *list,
		    const struct object_cases *cases, const struct allocator_choice *choice,
		    const char *allocator, int threads, struct bench_case **out)
{
	unsigned int most = max_t(unsigned int, cases->order, cases->most_order);
	const char *refused = cases->refuse ? cases->refuse(env, cases, choice->peer) : NULL;
	struct bench_case *c =
		case_add(env, list, cases->suite, cases->name, allocator, cases->ops, threads);

	if (!c)
		return -ENOMEM;
	c->peer = choice->peer;
	c->arg = (void *)cases->object_suite;
	c->size_bytes = cases->size_bytes;
	c->order = cases->order;
	c->count = cases->count;
	c->memory = cases->memory && threads == (cases->threads ?: env->nr_threads_max);
	c->ops_per_batch = cases->ops_per_batch ? cases->ops_per_batch : (uint64_t)cases->count;
	if (cases->size)
		snprintf(c->size, sizeof(c->size), "%s", cases->size);
	else
		snprintf(c->size, sizeof(c->size), "%zu", cases->size_bytes);
	if (threads > env->nr_threads_max)
		case_skip(c, "one CPU");
	else if (!page_peer_serves(choice->peer, cases->order, most))
		case_skip(c, "%s does not serve %s %s", choice->name,
			  most > cases->order ? "all orders" : "order", c->size);
	else if (refused)
		case_skip(c, "%s", refused);
	else if (!fits(c, cases->memory_bytes))
		case_skip(c, "too little memory");
	if (!c->skipped && cases->count > 1 && cases->count != BATCH_COUNT)
		case_note(c, "%d objects", cases->count);
	if (!c->skipped && cases->note)
		case_note(c, "%s", cases->note);
	if (!c->skipped && cases->note_of && cases->note_of(choice->peer))
		case_note(c, "%s", cases->note_of(choice->peer));
	*out = c;
	return 0;
}

/* Placements that are asked for by name: kmm's tables have them; jemalloc's arenas on a host with
 * nodes. */
static int add_placements(const struct bench_env *env, struct case_list *list,
			  const struct object_cases *cases, const struct allocator_choice *choice,
			  int threads)
{
	bool kmm = !strcmp(choice->name, "kmm"), arenas = arena_possible(choice->peer);

	if (nr_nodes(env) < 2 || cases->one_placement || (!kmm && !arenas))
		return 0;
	for (int place = PLACE_REMOTE; place < NR_PLACEMENTS; place++) {
		struct bench_case *c;
		int status = add_case(env, list, cases, choice, choice->name, threads, &c);

		if (status)
			return status;
		c->placement = placement_names[place];
		if (kmm)
			c->peer = &cases->kmm[place];
		else if (env->emulated)
			case_skip(c, "arenas cannot be bound to emulated nodes");
		else
			c->peer = arena_table(choice->peer, (enum placement)place);
	}
	return 0;
}

static int add_choice(const struct bench_env *env, struct case_list *list,
		      const struct object_cases *cases, const struct allocator_choice *choice,
		      int threads)
{
	const char *copy = !strcmp(choice->name, "kmm")	       ? "kmm-aa"
			   : !strcmp(choice->name, "jemalloc") ? "jemalloc-aa"
							       : NULL;
	struct bench_case *c;
	int status = add_case(env, list, cases, choice, choice->name, threads, &c);

	if (!status && cases->aa && copy)
		status = add_case(env, list, cases, choice, copy, threads, &c);
	if (!status && cases->fine && !strcmp(choice->name, "kmm") &&
	    env->machine->config.kmalloc_classes != KMALLOC_CLASSES_FINE)
		status = add_case(env, list, cases, choice, "kmm-fine", threads, &c);
	return status ? status : add_placements(env, list, cases, choice, threads);
}

int object_cases_add(const struct bench_env *env, struct case_list *list,
		     const struct object_cases *cases)
{
	struct allocator_choice choices[MAX_CHOICES];
	int nr = list_allocators(env, cases->kmm, cases->mmap, choices);
	int threads[2], nr_threads = thread_counts(env, threads);

	if (cases->threads) {
		threads[0] = cases->threads;
		nr_threads = 1;
	}
	for (int i = 0; i < nr; i++) {
		const char *refused =
			cases->refuse ? cases->refuse(env, cases, choices[i].peer) : NULL;

		if (refused && !refused[0])
			continue;
		for (int j = 0; j < nr_threads; j++) {
			int status = add_choice(env, list, cases, &choices[i], threads[j]);

			if (status)
				return status;
		}
	}
	return 0;
}

/* What bulk_api does of an allocator that lacks a call. */
static const char *bulk_api_note(const struct object_peer *peer)
{
	if (peer->alloc_bulk && peer->free_bulk)
		return NULL;
	if (peer->free_bulk)
		return "no such call to allocate: one by one";
	return "no such calls: one by one";
}

static int add_one(const struct bench_env *env, struct case_list *list,
		   const struct object_cases *like, const char *name, const struct case_ops *ops,
		   int threads, int count)
{
	struct object_cases cases = *like;

	cases.name = name;
	cases.ops = ops;
	cases.threads = threads;
	cases.count = count;
	cases.one_placement = true;
	return object_cases_add(env, list, &cases);
}

int object_cases_add_more(const struct bench_env *env, struct case_list *list,
			  const struct object_cases *like, size_t size_bytes)
{
	struct object_cases cases = *like, bulk_api, held;
	const struct case_ops *bulk = pattern_ops(PATTERN_BULK),
			      *bulk_call = pattern_ops(PATTERN_BULK_API);

	cases.size_bytes = size_bytes;
	held = bulk_api = cases;
	held.memory = true;
	bulk_api.note_of = bulk_api_note;
	if (add_one(env, list, &bulk_api, "bulk_api", bulk_call, 0, 64) ||
	    add_one(env, list, &bulk_api, "bulk_api16", bulk_call, 1, 16) ||
	    add_one(env, list, &cases, "repeat", &repeat_ops, 1, 1) ||
	    add_one(env, list, &held, "occupancy", &occupancy_ops, 0, BATCH_COUNT) ||
	    add_one(env, list, &cases, "xcpu", &xcpu_ops, 2, 1) ||
	    add_one(env, list, &held, "remote", &remote_ops, max_t(int, env->nr_threads_max, 2), 1))
		return -ENOMEM;
	return add_one(env, list, &held, "threadtest", bulk, env->nr_threads_max, THREADTEST_COUNT);
}

int object_cases_add_falseshare(const struct bench_env *env, struct case_list *list,
				const struct object_cases *like)
{
	struct object_cases cases = *like;

	cases.size_bytes = FALSESHARE_SIZE;
	if (add_one(env, list, &cases, "falseshare", &falseshare_ops, 0, FALSESHARE_COUNT))
		return -ENOMEM;
	return add_one(env, list, &cases, "falseshare_passive", &falseshare_passive_ops, 0,
		       FALSESHARE_COUNT);
}

/* SPDX-License-Identifier: MIT */
/*
 * Suite tree: look-ups of random addresses among ranges that lie end to end, in kmm's red-black tree.
 * One operation is one look-up; size is the number of ranges. The loop is the one that bench/linux runs
 * over the kernel's trees.
 */
#include "base/rbtree.h"
#include "bench/suites/suites.h"

#include <errno.h>
#include <stdio.h>

#include "bench/suites/common.h"
#include "bench/suites/tree_loop.h"

#define WARM_UP 4096

struct tree_thread {
	uint64_t random, nr_ranges;
	bool wrong;
	struct rb_root root;
	struct tree_range *ranges;
	uint16_t *order; /* that they came in */
	size_t bytes;	 /* of ranges and order, in one mapping */
};

static uint64_t ranges_of(const struct bench_case *c)
{
	return (uint64_t)c->count;
}

static void insert_range(struct rb_root *root, struct tree_range *range)
{
	struct rb_node **link = &root->rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = range->start < rb_entry(parent, struct tree_range, node)->start
			       ? &parent->rb_left
			       : &parent->rb_right;
	}
	rb_link_node(&range->node, parent, link);
	rb_insert(&range->node, root, NULL);
}

static const char *nothing(struct bench_case *c)
{
	(void)c;
	return NULL;
}

/* Ranges come in random order, as areas do. */
static void make_tree(struct tree_thread *state, uint64_t seed)
{
	uint64_t random = seed;

	shuffle_order(state->order, (int)state->nr_ranges, &random);
	for (uint64_t i = 0; i < state->nr_ranges; i++) {
		struct tree_range *range = &state->ranges[state->order[i]];

		tree_range_init(range, state->order[i]);
		insert_range(&state->root, range);
	}
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	const char *error = thread_pin(c, thread);
	uint64_t nr = ranges_of(c);
	struct tree_thread *state;

	*out = NULL;
	if (error)
		return error;
	state = harness_alloc(sizeof(*state), true, false);
	if (!state)
		return error_line("no memory for the harness");
	*out = state;
	state->nr_ranges = nr;
	state->random = c->seed;
	state->bytes = nr * (sizeof(*state->ranges) + sizeof(*state->order));
	state->ranges = harness_alloc(state->bytes, true, false);
	if (!state->ranges)
		return error_line("no memory for the harness");
	state->order = (uint16_t *)(state->ranges + nr);
	make_tree(state, c->seed);
	c->ops->run(c, thread, state, WARM_UP);
	return NULL;
}

static void run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct tree_thread *state = arg;

	(void)c;
	(void)thread;
	if (!loop_tree(state->root.rb_node, state->nr_ranges, n, &state->random))
		state->wrong = true;
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct tree_thread *state = arg;
	const char *error =
		state && state->wrong ? error_line("a look-up found another range") : NULL;

	(void)thread;
	if (state) {
		harness_free(state->ranges, state->bytes);
		harness_free(state, sizeof(*state));
	}
	thread_unpin(c);
	return error;
}

static const struct case_ops tree_ops = {
	.ops_per_batch = 1,
	.prepare = nothing,
	.thread_begin = begin,
	.run = run,
	.thread_end = end,
	.finish = nothing,
};

static int enumerate(const struct bench_env *env, struct case_list *list)
{
	static const int sizes[] = TREE_SIZES;

	if (!env->machine)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct bench_case *c = case_add(env, list, "tree", "rbtree", "kmm", &tree_ops, 1);

		if (!c)
			return -ENOMEM;
		c->count = sizes[i];
		snprintf(c->size, sizeof(c->size), "%d", sizes[i]);
	}
	return 0;
}

const struct suite tree_bench_suite = {
	.name = "tree",
	.summary = "look-ups among ranges in a red-black tree; with --with-linux maple, too",
	.enumerate = enumerate,
};

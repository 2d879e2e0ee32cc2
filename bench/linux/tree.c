// SPDX-License-Identifier: MIT
/*
 * Suite tree: look-ups of random addresses among ranges that lie end to end, in a red-black tree (as
 * vmap areas are kept) and in a maple tree (as an address space's are). One operation is one look-up;
 * size is the number of ranges.
 */
#include "kmm_linux.h"

#include <linux/maple_tree.h>
#include <linux/rbtree.h>
#include <linux/version.h>

#include "tree_loop.h"

static struct rb_root root = RB_ROOT;
static struct tree_range *ranges;
static u64 nr_ranges, tree_random;
static DEFINE_MTREE(maple);

static bool rbtree_run(u64 n)
{
	return loop_tree(root.rb_node, nr_ranges, n, &tree_random);
}

static bool maple_run(u64 n)
{
	u64 nr_wrong = 0;

	while (n--) {
		u64 number = bench_random(&tree_random) % nr_ranges;
		struct tree_range *range = mtree_load(&maple, tree_address(number));

		nr_wrong += range != &ranges[number];
	}
	return !nr_wrong;
}

static void insert_range(struct tree_range *range)
{
	struct rb_node **link = &root.rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = range->start < rb_entry(parent, struct tree_range, node)->start
			       ? &parent->rb_left
			       : &parent->rb_right;
	}
	rb_link_node(&range->node, parent, link);
	rb_insert_color(&range->node, &root);
}

/* Ranges come in random order, as areas do. */
static int make_trees(u16 *order)
{
	u64 random = BENCH_SEED, i;

	shuffle_order(order, nr_ranges, &random);
	for (i = 0; i < nr_ranges; i++) {
		struct tree_range *range = &ranges[order[i]];

		tree_range_init(range, order[i]);
		insert_range(range);
		if (mtree_store_range(&maple, range->start, range->end - 1, range, GFP_KERNEL))
			return say_error("tree: the maple tree has no memory");
	}
	return 0;
}

static int measure_trees(void)
{
	static const struct {
		const char *name;
		bool (*run)(u64 n);
	} kinds[] = {{"rbtree", rbtree_run}, {"maple", maple_run}};
	int error = 0, i;

	for (i = 0; !error && i < ARRAY_SIZE(kinds); i++) {
		struct kmm_case c = {
			.suite = "tree", .name = kinds[i].name, .run = kinds[i].run, .count = 1};

		tree_random = BENCH_SEED;
		snprintf(c.size, sizeof(c.size), "%llu", nr_ranges);
		error = measure_case(&c);
	}
	return error;
}

int tree_cases(void)
{
	static const u64 sizes[] = TREE_SIZES;
	int error = 0, i;

	for (i = 0; !error && i < ARRAY_SIZE(sizes); i++) {
		u16 *order = kvmalloc_array(sizes[i], sizeof(*order), GFP_KERNEL);

		nr_ranges = sizes[i];
		root = RB_ROOT;
		ranges = kvcalloc(nr_ranges, sizeof(*ranges), GFP_KERNEL);
		error = !order || !ranges ? say_error("tree: no memory for %llu ranges", nr_ranges)
					  : make_trees(order);
		error = error ?: measure_trees();
		mtree_destroy(&maple);
		kvfree(ranges);
		kvfree(order);
	}
	return error;
}

/* SPDX-License-Identifier: MIT */
/*
 * The red-black tree against a set kept as an array of flags, with every invariant checked after
 * each step: order, colours, black height, parents, summaries. TEST_OPS sets the number of random
 * operations.
 */
#include "base/rbtree.h"

#include "base/bits.h"
#include "tests/tap/tap.h"

#define NR_KEYS 512

struct item {
	struct rb_node node;
	int key;
	int value;
	int max; /* of the values in its subtree */
};

static struct item items[NR_KEYS];
static bool present[NR_KEYS];

static struct item *item_of(struct rb_node *node)
{
	return rb_entry(node, struct item, node);
}

static bool update_max(struct rb_node *node)
{
	struct item *item = item_of(node);
	int max = item->value;

	if (node->rb_left)
		max = max_t(int, max, item_of(node->rb_left)->max);
	if (node->rb_right)
		max = max_t(int, max, item_of(node->rb_right)->max);
	if (item->max == max)
		return false;
	item->max = max;
	return true;
}

static void insert(struct rb_root *root, struct item *item, rb_update update)
{
	struct rb_node **link = &root->rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = item->key < item_of(parent)->key ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&item->node, parent, link);
	rb_insert(&item->node, root, update);
}

/* Check the subtree of node; returns its black height, adds its nodes to *nr. */
static int check_subtree(struct rb_node *node, struct rb_node *parent, int low, int high,
			 bool summed, int *nr)
{
	struct item *item;
	int left, right, max;

	if (!node)
		return 0;
	item = item_of(node);
	++*nr;
	ok(rb_parent(node) == parent, "key %d has another parent", item->key);
	ok(item->key > low && item->key < high, "key %d outside (%d, %d)", item->key, low, high);
	if (!rb_is_black(node))
		ok(rb_is_black(node->rb_left) && rb_is_black(node->rb_right),
		   "red key %d has a red child", item->key);
	left = check_subtree(node->rb_left, node, low, item->key, summed, nr);
	right = check_subtree(node->rb_right, node, item->key, high, summed, nr);
	ok(left == right, "key %d: black height %d left, %d right", item->key, left, right);
	max = item->value;
	if (node->rb_left)
		max = max_t(int, max, item_of(node->rb_left)->max);
	if (node->rb_right)
		max = max_t(int, max, item_of(node->rb_right)->max);
	if (summed)
		ok(item->max == max, "key %d: summary %d, should be %d", item->key, item->max, max);
	return left + rb_is_black(node);
}

static int depth_of(const struct rb_node *node)
{
	int left, right;

	if (!node)
		return 0;
	left = depth_of(node->rb_left);
	right = depth_of(node->rb_right);
	return 1 + max_t(int, left, right);
}

/* Colours, summaries, and the same keys as `present`, in order, from both ends. */
static void check_tree(const struct rb_root *root, bool summed)
{
	struct rb_node *node = rb_first(root);
	int nr = 0, expected = 0;

	ok(rb_is_black(root->rb_node), "the root is red");
	check_subtree(root->rb_node, NULL, -1, NR_KEYS, summed, &nr);
	for (int key = 0; key < NR_KEYS; key++) {
		if (!present[key])
			continue;
		expected++;
		ok(node && item_of(node)->key == key, "walking up: key %d is missing", key);
		node = node ? rb_next(node) : NULL;
	}
	ok(!node, "walking up: more than expected");
	ok_eq(nr, expected);
	node = rb_last(root);
	for (int key = NR_KEYS; key-- > 0;) {
		if (!present[key])
			continue;
		ok(node && item_of(node)->key == key, "walking down: key %d is missing", key);
		node = node ? rb_prev(node) : NULL;
	}
	ok(!node, "walking down: more than expected");
	ok(depth_of(root->rb_node) <= 2 * (int)ilog2((unsigned long)nr + 1) + 2, "depth %d of %d",
	   depth_of(root->rb_node), nr);
}

static void clear(void)
{
	memset(present, 0, sizeof(present));
	for (int key = 0; key < NR_KEYS; key++)
		items[key] = (struct item){.key = key};
}

static void an_empty_tree_has_no_ends(void)
{
	struct rb_root root = RB_ROOT;

	ok(!rb_first(&root) && !rb_last(&root), "nothing in it");
}

static void sorted_insertion_stays_balanced(void)
{
	struct rb_root root = RB_ROOT;

	clear();
	for (int key = 0; key < NR_KEYS; key++) {
		insert(&root, &items[key], NULL);
		present[key] = true;
	}
	check_tree(&root, false);
	for (int key = NR_KEYS; key-- > 0;) {
		rb_erase(&items[key].node, &root, NULL);
		present[key] = false;
		check_tree(&root, false);
	}
	ok(!root.rb_node, "empty again");
}

static void random_steps(rb_update update, int nr_keys, long ops)
{
	struct rb_root root = RB_ROOT;
	unsigned long state = tap_seed() | 1;

	clear();
	for (long op = 0; op < ops && !tap_failures; op++) {
		int key = (int)(tap_random(&state) % (unsigned long)nr_keys);
		struct item *item = &items[key];

		if (present[key] && update && tap_random(&state) % 4 == 0) {
			item->value = (int)(tap_random(&state) % 100);
			rb_propagate(&item->node, update);
		} else if (present[key]) {
			rb_erase(&item->node, &root, update);
			present[key] = false;
		} else {
			/* What is left in the summary from before must not matter. */
			item->value = (int)(tap_random(&state) % 100);
			item->max = (int)(tap_random(&state) % 100);
			insert(&root, item, update);
			present[key] = true;
		}
		check_tree(&root, update != NULL);
	}
}

static void random_steps_match_a_set(void)
{
	random_steps(NULL, NR_KEYS, (long)tap_ops(3000));
}

static void summaries_follow_random_steps(void)
{
	random_steps(update_max, NR_KEYS, (long)tap_ops(3000));
}

static void summaries_follow_in_small_trees(void)
{
	random_steps(update_max, 7, (long)tap_ops(10000));
}

int main(void)
{
	RUN(an_empty_tree_has_no_ends);
	RUN(sorted_insertion_stays_balanced);
	RUN(random_steps_match_a_set);
	RUN(summaries_follow_random_steps);
	RUN(summaries_follow_in_small_trees);
	return done();
}

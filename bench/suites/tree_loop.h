/* SPDX-License-Identifier: MIT */
/*
 * Ranges in a red-black tree and the loop that looks them up: the same code over kmm's tree and over
 * the kernel's, both of which have nodes with rb_left and rb_right. Include after the tree's header and
 * loops.h.
 *
 * Range i is the addresses from i * TREE_STEP on, end to end with the next.
 */
#ifndef KMM_BENCH_SUITES_TREE_LOOP_H
#define KMM_BENCH_SUITES_TREE_LOOP_H

/* Ranges in a tree: as an address space's mappings, and as the areas of a busy machine. */
#define TREE_SIZES                                                                                 \
	{                                                                                          \
		1000, 65000                                                                        \
	}
#define TREE_STEP 0x10000UL

struct tree_range {
	struct rb_node node;
	uint64_t start, end;
};

static inline void tree_range_init(struct tree_range *range, uint64_t number)
{
	range->start = number * TREE_STEP;
	range->end = range->start + TREE_STEP;
}

/* An address within range number. */
static inline uint64_t tree_address(uint64_t number)
{
	return number * TREE_STEP + TREE_STEP / 2;
}

static inline const struct tree_range *tree_find(const struct rb_node *node, uint64_t address)
{
	while (node) {
		const struct tree_range *range =
			(const struct tree_range *)((const char *)node -
						    offsetof(struct tree_range, node));

		if (address < range->start)
			node = node->rb_left;
		else if (address >= range->end)
			node = node->rb_right;
		else
			return range;
	}
	return NULL;
}

/* n look-ups; false: one found another range or none. */
static inline bool loop_tree(const struct rb_node *root, uint64_t nr_ranges, uint64_t n,
			     uint64_t *random)
{
	uint64_t nr_wrong = 0;

	while (n--) {
		uint64_t number = bench_random(random) % nr_ranges;
		const struct tree_range *range = tree_find(root, tree_address(number));

		nr_wrong += !range || range->start != number * TREE_STEP;
	}
	return !nr_wrong;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * An intrusive red-black tree, which can keep a summary of each subtree in its root (such as a
 * maximum), up to date through every change. The caller searches and compares: the tree knows no
 * keys.
 *
 * Invariants: the root is black; a red node has no red child; every path from a node down to a leaf
 * passes the same number of black nodes; so the depth of n nodes is at most 2 log2(n + 1).
 *
 * To insert: walk down from root->rb_node, remember where you fell out, rb_link_node() there, then
 * rb_insert(). No locks: the owner of the tree has one.
 */
#ifndef KMM_BASE_RBTREE_H
#define KMM_BASE_RBTREE_H

#include "base/compiler.h"
#include "base/types.h"

struct rb_node {
	unsigned long parent_color; /* address of the parent; bit 0 set: black */
	union {
		struct {
			struct rb_node *rb_left, *rb_right;
		};
		struct rb_node *child[2];
	};
};

struct rb_root {
	struct rb_node *rb_node;
};

#define RB_ROOT ((struct rb_root){NULL})

#define rb_entry(ptr, type, member) container_of(ptr, type, member)

/*
 * Make the node's summary again from its own value and its children's summaries (a NULL child has
 * none). Returns whether it changed: if not, no ancestor's can.
 */
typedef bool (*rb_update)(struct rb_node *node);

static inline struct rb_node *rb_parent(const struct rb_node *node)
{
	return (struct rb_node *)(node->parent_color & ~1UL);
}

static inline bool rb_is_black(const struct rb_node *node)
{
	return !node || (node->parent_color & 1);
}

/* Hang a red leaf at *link, which is NULL and belongs to parent (NULL: the root's). */
static inline void rb_link_node(struct rb_node *node, struct rb_node *parent, struct rb_node **link)
{
	node->parent_color = (unsigned long)parent;
	node->rb_left = NULL;
	node->rb_right = NULL;
	*link = node;
}

/* Balance the tree after rb_link_node. update is NULL, or keeps the summaries. O(log n), at most
 * two rotations. */
void rb_insert(struct rb_node *node, struct rb_root *root, rb_update update);
/* Take a node out. O(log n), at most three rotations. */
void rb_erase(struct rb_node *node, struct rb_root *root, rb_update update);
/* The node's own value changed in place (its position did not): bring its and its ancestors'
 * summaries up to date. */
void rb_propagate(struct rb_node *node, rb_update update);

/* In order; NULL at the ends. */
struct rb_node *rb_first(const struct rb_root *root);
struct rb_node *rb_last(const struct rb_root *root);
struct rb_node *rb_next(const struct rb_node *node);
struct rb_node *rb_prev(const struct rb_node *node);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The red-black tree of rbtree.h. Left and right mirror each other, so each case is written once,
 * for side `dir` (0 left, 1 right) of an array of two children.
 *
 * Summaries: a rotation moves nodes only inside one subtree, so it changes the summaries of the two
 * nodes that turn and of nothing above them. A change of the set of nodes is propagated to the root
 * before any rotation.
 *
 * Follows T. Cormen et al., "Introduction to Algorithms", chapter 13, and 14.2 for the summaries.
 */
#include "base/rbtree.h"

#define BLACK 1UL

static void set_parent(struct rb_node *node, struct rb_node *parent)
{
	node->parent_color = (unsigned long)parent | (node->parent_color & BLACK);
}

static void set_black(struct rb_node *node)
{
	node->parent_color |= BLACK;
}

static void set_red(struct rb_node *node)
{
	node->parent_color &= ~BLACK;
}

static unsigned int side_of(const struct rb_node *node, const struct rb_node *parent)
{
	return parent->rb_right == node;
}

/* What hung at old's place below parent (NULL: the root) is now new. */
static void replace_child(struct rb_root *root, struct rb_node *parent, struct rb_node *old,
			  struct rb_node *new)
{
	if (parent)
		parent->child[side_of(old, parent)] = new;
	else
		root->rb_node = new;
}

/*
 * Turn down to side dir; its child on the other side comes up.
 *
 *	    down                 up
 *	   /    \      dir=0    /  \
 *	  a      up    ---->  down  c
 *	        /  \          /  \
 *	       b    c        a    b
 */
static void rotate(struct rb_root *root, struct rb_node *down, unsigned int dir, rb_update update)
{
	struct rb_node *up = down->child[!dir];
	struct rb_node *between = up->child[dir];
	struct rb_node *parent = rb_parent(down);

	down->child[!dir] = between;
	if (between)
		set_parent(between, down);
	replace_child(root, parent, down, up);
	set_parent(up, parent);
	up->child[dir] = down;
	set_parent(down, up);
	if (update) {
		update(down);
		update(up);
	}
}

void rb_propagate(struct rb_node *node, rb_update update)
{
	while (node && update(node))
		node = rb_parent(node);
}

void rb_insert(struct rb_node *node, struct rb_root *root, rb_update update)
{
	struct rb_node *parent, *grand, *uncle;
	unsigned int dir;

	if (update) {
		update(node);
		rb_propagate(rb_parent(node), update);
	}
	/* node is red; the only rule that may be broken is that its parent is too. */
	while ((parent = rb_parent(node)) && !rb_is_black(parent)) {
		grand = rb_parent(parent); /* exists: a red node is not the root */
		dir = side_of(parent, grand);
		uncle = grand->child[!dir];
		if (!rb_is_black(uncle)) {
			set_black(parent);
			set_black(uncle);
			set_red(grand);
			node = grand;
			continue;
		}
		if (side_of(node, parent) != dir) {
			rotate(root, parent, dir, update);
			parent = node;
		}
		set_black(parent);
		set_red(grand);
		rotate(root, grand, !dir, update);
		break;
	}
	set_black(root->rb_node);
}

/* Paths through parent's child on side dir (which may be NULL) are one black node short. */
static void refill_black(struct rb_root *root, struct rb_node *parent, unsigned int dir,
			 rb_update update)
{
	struct rb_node *node, *sibling;

	for (;;) {
		sibling = parent->child[!dir]; /* exists: its side has a black node more */
		if (!rb_is_black(sibling)) {
			set_black(sibling);
			set_red(parent);
			rotate(root, parent, dir, update);
			sibling = parent->child[!dir];
		}
		if (!rb_is_black(sibling->child[!dir]) || !rb_is_black(sibling->child[dir]))
			break;
		set_red(sibling);
		node = parent;
		parent = rb_parent(node);
		if (!rb_is_black(node) || !parent) {
			set_black(node);
			return;
		}
		dir = side_of(node, parent);
	}
	if (rb_is_black(sibling->child[!dir])) {
		set_black(sibling->child[dir]);
		set_red(sibling);
		rotate(root, sibling, !dir, update);
		sibling = parent->child[!dir];
	}
	sibling->parent_color = (sibling->parent_color & ~BLACK) | (parent->parent_color & BLACK);
	set_black(parent);
	set_black(sibling->child[!dir]);
	rotate(root, parent, dir, update);
}

/* Put `next`, the leftmost of node's right subtree, into node's place, colour included. */
static void take_place(struct rb_root *root, struct rb_node *node, struct rb_node *next)
{
	struct rb_node *parent = rb_parent(node);

	replace_child(root, parent, node, next);
	next->parent_color = node->parent_color;
	next->rb_left = node->rb_left;
	set_parent(next->rb_left, next);
	next->rb_right = node->rb_right;
	if (next->rb_right)
		set_parent(next->rb_right, next);
}

void rb_erase(struct rb_node *node, struct rb_root *root, rb_update update)
{
	struct rb_node *gone = node; /* whose place disappears: node, or its successor */
	struct rb_node *orphan, *parent;
	unsigned int dir;
	bool black;

	if (node->rb_left && node->rb_right)
		gone = rb_next(node);
	orphan = gone->rb_left ? gone->rb_left : gone->rb_right;
	parent = rb_parent(gone);
	black = rb_is_black(gone);
	dir = parent ? side_of(gone, parent) : 0;

	replace_child(root, parent, gone, orphan);
	if (orphan)
		set_parent(orphan, parent);
	if (gone != node) {
		take_place(root, node, gone);
		if (parent == node)
			parent = gone;
	}
	if (update) {
		rb_propagate(parent, update);
		if (gone != node) {
			/* Its summary is of its old place: whether it changes says nothing about
			 * those above. */
			update(gone);
			rb_propagate(rb_parent(gone), update);
		}
	}
	if (!black)
		return;
	/* A single child is red, and turns black instead of the node it replaces. */
	if (orphan)
		set_black(orphan);
	else if (parent)
		refill_black(root, parent, dir, update);
}

static struct rb_node *outermost(struct rb_node *node, unsigned int dir)
{
	while (node && node->child[dir])
		node = node->child[dir];
	return node;
}

static struct rb_node *neighbour(const struct rb_node *node, unsigned int dir)
{
	struct rb_node *parent;

	if (node->child[dir])
		return outermost(node->child[dir], !dir);
	while ((parent = rb_parent(node)) && side_of(node, parent) == dir)
		node = parent;
	return parent;
}

struct rb_node *rb_first(const struct rb_root *root)
{
	return outermost(root->rb_node, 0);
}

struct rb_node *rb_last(const struct rb_root *root)
{
	return outermost(root->rb_node, 1);
}

struct rb_node *rb_next(const struct rb_node *node)
{
	return neighbour(node, 1);
}

struct rb_node *rb_prev(const struct rb_node *node)
{
	return neighbour(node, 0);
}

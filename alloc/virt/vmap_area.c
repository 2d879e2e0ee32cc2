/* SPDX-License-Identifier: MIT */
/* The tree of free and the tree of busy address ranges. See vmap_area.h for the invariant; the
 * caller locks. */
#include <errno.h>

#include "base/check.h"
#include "virt/vmap_area.h"

#define range_of(ptr) rb_entry(ptr, struct vmap_range, node)

static unsigned long subtree_max(const struct rb_node *node)
{
	return node ? range_of(node)->max : 0;
}

static unsigned long max_by_children(const struct vmap_range *range)
{
	unsigned long left = subtree_max(range->node.rb_left);
	unsigned long right = subtree_max(range->node.rb_right);
	unsigned long max = range->size;

	max = left > max ? left : max;
	return right > max ? right : max;
}

static bool update_max(struct rb_node *node)
{
	struct vmap_range *range = range_of(node);
	unsigned long max = max_by_children(range);
	bool changed = max != range->max;

	range->max = max;
	return changed;
}

static void tree_insert(struct rb_root *root, struct vmap_range *range, rb_update update)
{
	struct rb_node **link = &root->rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = range->start < range_of(parent)->start ? &parent->rb_left
							      : &parent->rb_right;
	}
	rb_link_node(&range->node, parent, link);
	rb_insert(&range->node, root, update);
}

static void free_insert(struct vmap_space *space, struct vmap_range *range)
{
	range->max = range->size;
	tree_insert(&space->free, range, update_max);
}

static void free_resize(struct vmap_range *range, unsigned long start, unsigned long size)
{
	range->start = start;
	range->size = size;
	rb_propagate(&range->node, update_max);
}

void vmap_space_init(struct vmap_space *space, unsigned long base, unsigned long size,
		     struct vmap_range *first)
{
	*space = (struct vmap_space){.base = base, .size = size, .free = RB_ROOT, .busy = RB_ROOT};
	first->start = base;
	first->size = size;
	free_insert(space, first);
}

/* The lowest free range of at least size bytes: left as long as the left subtree has one. */
static struct vmap_range *lowest_fit(const struct vmap_space *space, unsigned long size)
{
	struct rb_node *node = space->free.rb_node;

	if (subtree_max(node) < size)
		return NULL;
	for (;;) {
		if (subtree_max(node->rb_left) >= size)
			node = node->rb_left;
		else if (range_of(node)->size >= size)
			return range_of(node);
		else
			node = node->rb_right;
	}
}

int vmap_space_take(struct vmap_space *space, unsigned long size, unsigned long align,
		    struct vmap_range *range)
{
	/* A range of this size has an aligned place wherever it starts, so one descent suffices. */
	unsigned long padded = size + align - PAGE_SIZE;
	struct vmap_range *from = padded < size ? NULL : lowest_fit(space, padded);
	unsigned long start, before, after;

	if (!from)
		return -ENOSPC;
	start = ALIGN_UP(from->start, align);
	before = start - from->start;
	after = from->start + from->size - (start + size);
	if (before && after) {
		struct vmap_range *rest = vmap_space_unused(space);

		if (!rest)
			return -ENOMEM;
		free_resize(from, from->start, before);
		rest->start = start + size;
		rest->size = after;
		free_insert(space, rest);
	} else if (before) {
		free_resize(from, from->start, before);
	} else if (after) {
		free_resize(from, start + size, after);
	} else {
		rb_erase(&from->node, &space->free, update_max);
		vmap_space_add_unused(space, from);
	}
	range->start = start;
	range->size = size;
	tree_insert(&space->busy, range, NULL);
	return 0;
}

void vmap_space_cut(struct vmap_space *space, struct vmap_range *range, unsigned long size,
		    struct vmap_range *rest)
{
	rest->start = range->start + size;
	rest->size = range->size - size;
	range->size = size;
	tree_insert(&space->busy, rest, NULL);
}

/* The free ranges around an address that lies in none. */
static void free_neighbours(const struct vmap_space *space, unsigned long addr,
			    struct vmap_range **below, struct vmap_range **above)
{
	struct rb_node *node = space->free.rb_node;

	*below = *above = NULL;
	while (node) {
		if (addr < range_of(node)->start) {
			*above = range_of(node);
			node = node->rb_left;
		} else {
			*below = range_of(node);
			node = node->rb_right;
		}
	}
}

void vmap_space_give(struct vmap_space *space, struct vmap_range *range)
{
	struct vmap_range *below, *above;

	rb_erase(&range->node, &space->busy, NULL);
	free_neighbours(space, range->start, &below, &above);
	if (above && range->start + range->size == above->start) {
		range->size += above->size;
		rb_erase(&above->node, &space->free, update_max);
		vmap_space_add_unused(space, above);
	}
	if (below && below->start + below->size == range->start) {
		free_resize(below, below->start, below->size + range->size);
		vmap_space_add_unused(space, range);
		return;
	}
	free_insert(space, range);
}

void vmap_space_add_unused(struct vmap_space *space, struct vmap_range *range)
{
	range->node.rb_right = space->unused ? &space->unused->node : NULL;
	space->unused = range;
}

struct vmap_range *vmap_space_unused(struct vmap_space *space)
{
	struct vmap_range *range = space->unused;

	if (range)
		space->unused = range->node.rb_right ? range_of(range->node.rb_right) : NULL;
	return range;
}

struct vmap_range *vmap_space_first(const struct vmap_space *space)
{
	struct rb_node *node = rb_first(&space->busy);

	return node ? range_of(node) : NULL;
}

struct vmap_range *vmap_space_next(const struct vmap_range *range)
{
	struct rb_node *node = rb_next(&range->node);

	return node ? range_of(node) : NULL;
}

struct vmap_range *vmap_space_prev(const struct vmap_range *range)
{
	struct rb_node *node = rb_prev(&range->node);

	return node ? range_of(node) : NULL;
}

struct vmap_range *vmap_space_any_free(const struct vmap_space *space)
{
	return space->free.rb_node ? range_of(space->free.rb_node) : NULL;
}

void vmap_space_validate(const struct vmap_space *space)
{
	struct rb_node *free = rb_first(&space->free), *busy = rb_first(&space->busy);
	unsigned long at = space->base;
	bool after_free = false;

	while (free || busy) {
		bool is_free = free && (!busy || range_of(free)->start < range_of(busy)->start);
		struct vmap_range *range = range_of(is_free ? free : busy);

		KMM_BUG_ON(range->start != at, "range %#lx+%#lx, but the one before ends at %#lx",
			   range->start, range->size, at);
		KMM_BUG_ON(!range->size || !IS_ALIGNED(range->size, PAGE_SIZE),
			   "range %#lx of %#lx bytes", range->start, range->size);
		KMM_BUG_ON(is_free && after_free, "two free ranges meet at %#lx", at);
		KMM_BUG_ON(is_free && range->max != max_by_children(range),
			   "free range %#lx says %#lx is the largest below it, not %#lx",
			   range->start, range->max, max_by_children(range));
		at += range->size;
		after_free = is_free;
		if (is_free)
			free = rb_next(free);
		else
			busy = rb_next(busy);
	}
	KMM_BUG_ON(at != space->base + space->size, "ranges end at %#lx, the region at %#lx", at,
		   space->base + space->size);
}

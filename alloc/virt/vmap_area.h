/* SPDX-License-Identifier: MIT */
/*
 * The address space that vmalloc deals out: a region cut into ranges, each free or busy. Ranges of
 * both kinds are in a tree by address; the tree of free ones also keeps the largest size below
 * each node, so that the lowest range that is large enough is found in O(log n), as mm/vmalloc.c
 * does (find_vmap_lowest_match).
 *
 *	base                                                        base + size
 *	|  busy   |    free    | busy |     busy     |     free     |
 *
 * Invariant: the ranges tile the region, and no two free ones are neighbours.
 *
 * A plain data structure: no locks (vmalloc's lock protects it), no memory of its own. Who takes
 * an address range brings the struct for it; giving it back turns that struct into the free range,
 * and structs that merging leaves over come out through vmap_space_unused().
 */
#ifndef KMM_VIRT_VMAP_AREA_H
#define KMM_VIRT_VMAP_AREA_H

#include "base/rbtree.h"
#include "base/types.h"

struct vmap_range {
	struct rb_node node; /* in the tree of free or busy ranges; or unused, by rb_right */
	unsigned long start; /* address */
	unsigned long size;  /* bytes */
	unsigned long max;   /* free only: the largest size in the subtree below, itself included */
};

struct vmap_space {
	unsigned long base, size; /* constant */
	struct rb_root free, busy;
	struct vmap_range *unused; /* structs that no range needs */
};

/* The region becomes one free range, kept in first. */
void vmap_space_init(struct vmap_space *space, unsigned long base, unsigned long size,
		     struct vmap_range *first);

/*
 * Take size bytes at a multiple of align (a power of two; both multiples of PAGE_SIZE), and put
 * them into *range. The lowest free range that has them in any position; exactly the lowest
 * addresses when align is PAGE_SIZE. 0; -ENOSPC when there is none; -ENOMEM when a free range must
 * be cut in the middle and no unused struct is at hand (vmap_space_add_unused, then try again).
 * O(log n).
 */
int vmap_space_take(struct vmap_space *space, unsigned long size, unsigned long align,
		    struct vmap_range *range);

/* Cut a busy range in two: it keeps its first size bytes (less than it has), *rest is the others. Cannot
 * fail. O(log n). */
void vmap_space_cut(struct vmap_space *space, struct vmap_range *range, unsigned long size,
		    struct vmap_range *rest);

/* Make a busy range free, merged with free neighbours. Cannot fail. *range is the space's from now
 * on. O(log n). */
void vmap_space_give(struct vmap_space *space, struct vmap_range *range);

/* Hand in a struct for later, or get one out that is not needed; NULL if there is none. */
void vmap_space_add_unused(struct vmap_space *space, struct vmap_range *range);
struct vmap_range *vmap_space_unused(struct vmap_space *space);

/* Busy ranges in the order of addresses; NULL at the ends. O(1) amortised. */
struct vmap_range *vmap_space_first(const struct vmap_space *space);
struct vmap_range *vmap_space_next(const struct vmap_range *range);
struct vmap_range *vmap_space_prev(const struct vmap_range *range);

/* Any free range, for taking a dead space apart; NULL if none. */
struct vmap_range *vmap_space_any_free(const struct vmap_space *space);

/* Check the invariant; stops the program with what differs. O(n). */
void vmap_space_validate(const struct vmap_space *space);

#endif

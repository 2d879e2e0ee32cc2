/* SPDX-License-Identifier: MIT */
/*
 * GFP flags: which zones an allocation may use, and how hard it may try. Names and meanings after
 * include/linux/gfp_types.h (6.1), values of our own.
 *
 * How hard to try, when a zone has less than its low watermark left (phys/watermark.h):
 *
 *	__GFP_KSWAPD_RECLAIM	wakes reclaim
 *	(any)			the zones down to their min watermark ...
 *	__GFP_HIGH		... to half of it
 *	__GFP_ATOMIC		... to three quarters of it (of the half, with __GFP_HIGH); and may
 *				pass over a NUMA policy that binds
 *	__GFP_MEMALLOC		... to the last page; also passes over the policy
 *	__GFP_NOMEMALLOC	takes both of these back: no deeper than __GFP_HIGH says
 *	__GFP_DIRECT_RECLAIM	may wait: reclaims by itself, as __GFP_IO and __GFP_FS allow, and
 *				fetches what other CPUs' lists hold. The caller holds no lock of kmm's
 *	__GFP_NORETRY		at most one such round, and without the lists if it gained nothing
 *	__GFP_NOFAIL		to the last page in the end; then stops the program instead of giving
 *				NULL (the kernel tries for ever; here nobody could end that).
 *				__GFP_NORETRY beside it wins, and the caller gets NULL
 *	__GFP_NOWARN		a failure is not worth a word, even where the configuration asks for one
 *
 * Without __GFP_DIRECT_RECLAIM no lock is taken but the zones', and slab takes no lock but a
 * cache's own; only this CPU's own lists are looked through for what is missing. (The kernel does
 * not even do that, but has far shorter lists.) What a CPU's list holds is handed out without a
 * look at any watermark: it was counted when it was fetched.
 *
 * The lowest six bits say where the fast path looks: the zone, and the mobility.
 */
#ifndef KMM_PHYS_GFP_H
#define KMM_PHYS_GFP_H

#include "base/types.h"

typedef u32 gfp_t;

/* Zone modifiers and mobility. */
#define __GFP_DMA	  0x01U
#define __GFP_HIGHMEM	  0x02U
#define __GFP_DMA32	  0x04U
#define __GFP_MOVABLE	  0x08U
#define __GFP_RECLAIMABLE 0x10U
/* kmm's own: only frames that can be mapped at a second address (vmalloc) */
#define __GFP_SHARED	  0x20U
#define GFP_ZONEMASK	  (__GFP_DMA | __GFP_HIGHMEM | __GFP_DMA32 | __GFP_SHARED)
#define GFP_MOVABLE_MASK  (__GFP_MOVABLE | __GFP_RECLAIMABLE)
#define GFP_MOVABLE_SHIFT 3

/* Placement. */
#define __GFP_THISNODE 0x40U

/* How hard to try. */
#define __GFP_HIGH	     0x80U
#define __GFP_IO	     0x100U
#define __GFP_FS	     0x200U
#define __GFP_ATOMIC	     0x400U
#define __GFP_DIRECT_RECLAIM 0x800U
#define __GFP_KSWAPD_RECLAIM 0x1000U
#define __GFP_NOWARN	     0x2000U
#define __GFP_NORETRY	     0x4000U
#define __GFP_NOFAIL	     0x8000U
#define __GFP_MEMALLOC	     0x40000U /* may use the reserves whole: no watermark holds */
#define __GFP_NOMEMALLOC     0x80000U /* may use no reserve, whatever else is set */

/* What to do with the pages. */
#define __GFP_ZERO 0x10000U
#define __GFP_COMP 0x20000U

#define __GFP_RECLAIM (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM)

#define GFP_ATOMIC	     (__GFP_HIGH | __GFP_ATOMIC | __GFP_KSWAPD_RECLAIM)
#define GFP_NOWAIT	     __GFP_KSWAPD_RECLAIM
#define GFP_NOIO	     __GFP_RECLAIM
#define GFP_NOFS	     (__GFP_RECLAIM | __GFP_IO)
#define GFP_KERNEL	     (__GFP_RECLAIM | __GFP_IO | __GFP_FS)
#define GFP_USER	     GFP_KERNEL
#define GFP_HIGHUSER	     (GFP_USER | __GFP_HIGHMEM)
#define GFP_HIGHUSER_MOVABLE (GFP_HIGHUSER | __GFP_MOVABLE)
#define GFP_DMA		     __GFP_DMA
#define GFP_DMA32	     __GFP_DMA32

/* What a block's contents allow: a 2 MiB block of frames (a pageblock) holds one kind as far as
 * possible, so that movable contents can be moved out of the way of large blocks. */
enum migratetype {
	MIGRATE_UNMOVABLE,
	MIGRATE_MOVABLE,
	MIGRATE_RECLAIMABLE,
	NR_MIGRATETYPES,
};

/* Both bits at once contradict each other; as in the kernel that is the caller's bug, and counts
 * as unmovable. */
static inline enum migratetype gfp_migratetype(gfp_t gfp)
{
	unsigned int type = (gfp & GFP_MOVABLE_MASK) >> GFP_MOVABLE_SHIFT;

	return type < NR_MIGRATETYPES ? (enum migratetype)type : MIGRATE_UNMOVABLE;
}

#endif

/* SPDX-License-Identifier: MIT */
/*
 * struct page: one per frame, 64 bytes, in mem_map. What a frame is doing is in `type`; who may
 * change the rest follows from that:
 *
 *	PG_TYPE_NONE      never freed, or inside a block                 see below
 *	PG_TYPE_FREE      freed as the head of a block                   zone->lock, or the slot's owner
 *	PG_TYPE_ALLOC     head of an allocated block of `order`          its owner
 *	PG_TYPE_HEAD      the same, of a compound block (__GFP_COMP)     its owner
 *	PG_TYPE_TAIL      another frame of a compound block              head's owner; `head` is set
 *	PG_TYPE_CONTIG    first frame of a run (alloc_contig_pages)      its owner; `nr_contig` is set
 *	PG_TYPE_SLAB      head frame of a slab, allocated through slab   slab's node lock
 *	PG_TYPE_TABLE     a page table                                   the table's lock
 *
 * Which frames are free is the buddy's to say (phys/buddy.h), and the per-CPU lists': free memory
 * is taken and merged without a look at its struct pages. So a frame that is free, or lies inside a
 * block behind its head, is of PG_TYPE_NONE, or of PG_TYPE_FREE from when it was freed itself;
 * never of a type of an allocated head.
 *
 * mem_map is memory that the host gives when it is first written to, and boot writes nothing: a
 * frame's struct page is all zeros, which is PG_TYPE_NONE, until the frame is allocated as a head
 * or becomes the tail of a compound block. So a machine is as large as its user likes and costs
 * what is used of it. Only HighMem's structs have their place and node from boot on, since an
 * address is looked for in them before anything else is known. Frames that boot keeps (mem_map's
 * own) are never given out and stay zeros, too; struct pglist_data knows which those are.
 */
#ifndef KMM_PHYS_PAGE_H
#define KMM_PHYS_PAGE_H

#include "base/compiler.h"
#include "base/list.h"
#include "base/types.h"

enum page_type {
	PG_TYPE_NONE,
	PG_TYPE_FREE,
	PG_TYPE_ALLOC,
	PG_TYPE_HEAD,
	PG_TYPE_TAIL,
	PG_TYPE_CONTIG,
	PG_TYPE_SLAB,
	PG_TYPE_TABLE,
};

struct kmem_cache;

struct page {
	union {
		struct {
			union {
				struct {
					u8 place; /* page_place(), page_zonenum() */
					u8 nid;	  /* set by the first allocation, then constant */
					u8 type;  /* enum page_type; page_set_type() */
					u8 order; /* of the block this frame heads */
				};
				u32 kind; /* the four as one word */
			};
			s32 refcount; /* of an allocated head; 0 while free, and in tails */
		};
		u64 state; /* all five: a free checks them by one compare */
	};

	union {
		struct list_head lru;		    /* the owner's */
		struct {			    /* PG_TYPE_SLAB */
			struct list_head slab_list; /* its node's partial list */
		};
		unsigned long nr_contig; /* PG_TYPE_CONTIG: frames of the run */
	};
	union {
#ifdef __cplusplus
		unsigned long private_; /* `private` is a word of the language */
#else
		unsigned long private; /* PG_TYPE_ALLOC, PG_TYPE_CONTIG: the owner's */
#endif
		struct {	       /* PG_TYPE_SLAB, see slab/page.c */
			u64 slab_free; /* a bit an object that lies free in the slab ... */
			u16 inuse;     /* objects that do not */
			u16 objects;
			/* Every frame of a slab; 0 on all others. For the fast path of kfree.
			 * Single accesses: the slab may be given to another slot meanwhile. */
			u32 slab_key;
		};
		u64 *slab_bitmap; /* ... or where the bits are, with more than 64 objects */
	};
	/* Every frame of a slab points at its cache, so that kfree finds it in one load; NULL
	 * otherwise. */
	struct kmem_cache *slab_cache;
	/* PG_TYPE_TAIL, and the tail frames of a slab: the block's first page. PG_TYPE_ALLOC: the
	 * first of what alloc_pages_exact() gave out; meaningless in others. Single accesses: the
	 * owner of the frame before this one may look, too. */
	struct page *head;
	u32 flags; /* PG_* bits, for reclaim and page cache */
	s32 mapcount;
};

_Static_assert(sizeof(struct page) == 64, "one cache line a frame");

#define PAGE_STRUCT_SHIFT 6 /* log2(sizeof(struct page)) */

/*
 * `place` of a frame: its zone in the lowest three bits; above them the migratetype
 * that its block was last allocated for, which names the per-CPU list that it goes back to. The
 * highest bit is set with the first page flag of a block: no list has such a name, so its free goes
 * the slow way, where flags are looked at and cleared, and the fast path need not look.
 */
#define PLACE_ZONE_BITS 3
#define PLACE_ZONE_MASK ((1U << PLACE_ZONE_BITS) - 1)
#define PLACE_FLAGGED	0x80U

static inline unsigned int page_place(unsigned int zone, unsigned int migratetype)
{
	return zone | migratetype << PLACE_ZONE_BITS;
}

/* enum zone_type of an allocated head, a tail of a compound block, or any HighMem frame;
 * page_to_nid() and pfn_zone() know of all others. */
static inline unsigned int page_zonenum(const struct page *page)
{
	return READ_ONCE(page->place) & PLACE_ZONE_MASK;
}

/* The word `kind` of a frame. Little-endian: place is the lowest byte. */
static inline u32 page_kind(unsigned int place, unsigned int nid, enum page_type type,
			    unsigned int order)
{
	return place | nid << 8 | (u32)type << 16 | (u32)order << 24;
}

/* The word `state` of an allocated head with one reference. */
static inline u64 page_state(u32 kind)
{
	return kind | 1ULL << 32;
}

/* The owner of a block says what it is for. A single store, because the allocator may look at any
 * head to see whether it is free. The owner sets it back to PG_TYPE_ALLOC, or of a compound block
 * PG_TYPE_HEAD, before the block is freed. */
static inline void page_set_type(struct page *page, enum page_type type)
{
	WRITE_ONCE(page->type, (u8)type);
}

/* The owner makes a frame the tail of a block; kind: the head's. Release: who sees a tail sees
 * where its head is. */
static inline void page_make_tail(struct page *page, struct page *head, u32 kind)
{
	const u32 place = kind & (0xffffU & ~PLACE_FLAGGED); /* and node */

	WRITE_ONCE(page->head, head);
	__atomic_store_n(&page->state, place | (u32)PG_TYPE_TAIL << 16, __ATOMIC_RELEASE);
}

/*
 * The first frame of the compound block (__GFP_COMP) that page belongs to. Means nothing for frames
 * of other blocks. Who has no reference may come while the block is freed, and then gets the head
 * that was, or page itself; whether either has a reference to give is for it to find out.
 */
static inline struct page *compound_head(const struct page *page)
{
	struct page *head = NULL;

	/* Acquire: pairs with page_make_tail(). */
	if (__atomic_load_n(&page->type, __ATOMIC_ACQUIRE) == PG_TYPE_TAIL)
		head = READ_ONCE(page->head);
	return head ? head : (struct page *)page;
}

#endif

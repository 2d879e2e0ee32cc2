/* SPDX-License-Identifier: MIT */
/*
 * vmalloc's own state, and what its files share. An area is LIVE (the caller's), LAZY (freed,
 * still mapped, for the next vmalloc of its size or a little less) or neither (being made or being
 * unmapped):
 *
 *	            vmalloc                     vfree
 *	made ------------------------> LIVE ----------------> LAZY, in a stack of this CPU
 *	  ^                             ^  ^                    |  ^
 *	  |                             |  +-- vmalloc: reuse --+  | refill, flush: many at once
 *	  | frames, address,            |                       v  |
 *	  | mmap, page tables           +----- vmalloc: reuse - LAZY, in the machine's lists
 *	  |                                                     | purge: all of that, undone
 *	nothing <-----------------------------------------------+
 *
 * So a lazily freed area is still mapped, in the kernel page tables as in the host's, as the
 * kernel's own lazily freed areas are until they are purged. A use after vfree is therefore not
 * always caught by a fault. What vmap maps goes the same way, but its frames are the caller's, and
 * nobody reuses it: it only waits for the purge.
 *
 * Who asks for a little less than an area has gets its last pages, so that the guard page is where
 * it always is; no call of the host is needed. The pages before them are slack while it is live:
 *
 *	| slack |        the caller's        | guard |
 *	        ^ addr
 *	|------------ nr_pages -------------|		nr_used: the caller's
 *
 * How much is held lazily: the machine's lists hold at most max_lazy_pages after each vfree; blocks that
 * are in use have at most purge_pages that nobody uses any more. What a CPU has for itself, areas in
 * stacks and pieces of vm_map_ram's that it keeps, is bounded in pages and in mappings of the host, and so
 * is the slack of live areas that it gave out in pages. A CPU is a slot of a thread here, and there may be
 * many more of those than the topology has CPUs, all of them idle. So each has to ask (vmap_stack.c) for
 * what it may hold, out of what is there for all: for each CPU of the topology twice cpu_pages,
 * cpu_mappings and slack_pages, which are the most that one may have. Boot sets them so that all of it is
 * half of max_lazy_pages, a quarter of the host's mappings, and a quarter of max_lazy_pages.
 *
 * Invariant: busy ranges of the space == areas of the machine; area_of[page] is the area whose
 * caller's pages start at that page of the region, LIVE or LAZY; nr_lazy_pages == sum of nr_pages
 * over lazy_age; nr_mappings == sum of nr_runs + 1 over all areas of no group, and 3 for each group; over
 * all CPUs and struct virt, the sum of nr_slack_pages == sum of nr_pages - nr_used over LIVE areas; for
 * each of pages, mappings and slack, left + the sum of what CPUs may hold == what is there for all; of
 * slack with struct virt's nr_slack_pages, if that is more than 0.
 *
 * Locks: virt->lock (RANK_VMAP); under it the page tables', the slab's and the page allocator's.
 * Not held while the host maps or unmaps.
 */
#ifndef KMM_VIRT_VIRT_H
#define KMM_VIRT_VIRT_H

#include "base/cpu.h"
#include "base/list.h"
#include "base/lock.h"
#include "base/machine.h"
#include "virt/pgtable.h"
#include "virt/vmalloc.h"
#include "virt/vmap_area.h"

enum vmap_kind {
	VMAP_VMALLOC, /* frames of its own, in blocks */
	VMAP_VMAP,    /* the caller's frames */
	VMAP_RAM,     /* the same, of vm_map_ram */
	VMAP_BLOCK,   /* addresses for small pieces of vm_map_ram's (vmap_block.c) */
};

enum vmap_state {
	VMAP_BUSY, /* being made or being unmapped; not reused */
	VMAP_LIVE,
	VMAP_LAZY,
	VMAP_DEAD, /* of a group (vmap_group.c), unmapped; its addresses wait for the others */
};

struct vmap_area {
	/* Whoever has the area in hand: its caller, a stack's owner, or virt->lock. */
	void *addr;		/* what vmalloc gave or gives for it; as nr_used says */
	unsigned int nr_used;	/* of its pages, the last ones: its caller's, or the last one's */
	u32 state;		/* enum vmap_state */
	struct vmap_area *next; /* below it in a CPU's stack */
	/* Constant while the area is mapped: */
	unsigned int nr_pages; /* without the guard page behind them */
	unsigned int nr_runs;  /* of contiguous frames: mappings of the host */
	s32 home;	       /* the node that it was asked of: reused for that node */
	u16 bin;	       /* of its stack; VMAP_BINS: there is none for its like */
	u8 kind;	       /* enum vmap_kind */
	u8 align_shift;	       /* the alignment that it was asked with: reused for that; PAGE_SHIFT
				* unless the caller wants more */
	/* virt->lock protects: */
	struct vmap_range range;  /* addresses, the guard page's included */
	struct vmap_block *block; /* of a VMAP_BLOCK; constant. Else NULL */
	struct vmap_group *group; /* of areas of one page; constant. Or NULL */
	/* Blocks of frames, through page->lru, in the order of addresses; constant while mapped. */
	struct list_head blocks;
	struct list_head lazy_size; /* in its bucket; the most recently freed first */
	struct list_head lazy_age;  /* among all, the latest last; or its unmapper's list */
	struct virt_cpu *unmapping; /* who is to unmap it and has not begun */
};

/* Areas of one page that share three mappings of the host: vmap_group.c. */
#define VMAP_GROUP_ORDER    8
#define VMAP_GROUP_AREAS    (1U << VMAP_GROUP_ORDER)
#define VMAP_GROUP_MAPPINGS 3

struct vmap_group {
	/* virt->lock protects: */
	struct list_head list; /* of stuck_groups */
	u32 nr_left, nr_ranges;
	/* Constant; in the order of addresses. */
	struct vmap_area *areas[VMAP_GROUP_AREAS];
};

/* Sizes of which a CPU keeps a stack of freed areas: of nr_pages == bin + 1, up to 1 MiB. */
#define VMAP_BINS 256

/*
 * A piece that vm_unmap_ram gave back, still mapped, for a vm_map_ram of the same pages: the last
 * one whose first page and number of pages lead here.
 */
#define VMAP_KEPT 16
struct vmap_kept {
	struct vmap_block *block; /* NULL: none */
	u32 first, nr_pages;	  /* in the block */
};

/* Of what CPUs hold: what one may, or what is left that none may. */
struct vmap_share {
	u32 pages, mappings; /* of areas in stacks and pieces that are kept */
	u32 slack_pages;
};

struct virt_cpu {
	/* The owner writes; anyone may read a counter or a number, and sees some recent value. */
	struct vmalloc_counters count; /* alloc: without the reuses; lazy_pages: unused */
	u32 nr_pages, nr_mappings;     /* in stacks and kept: vmap_area_holds, and a piece's runs */
	s64 nr_slack_pages; /* of areas that it gave out, without those of areas freed here; since
			     * the last flush */
	/* The owner writes, with virt->lock held: what those numbers may be. */
	struct vmap_share may;
	/* The owner's alone: */
	u32 flush_bin;		  /* the stack to make room next */
	struct vmap_block *block; /* where its next piece goes; NULL: none */
	struct vmap_kept kept[VMAP_KEPT];
	/* Recently freed areas of this CPU's home node, the latest on top: it is the one in the
	 * CPU's cache. */
	u64 filled[VMAP_BINS / 64]; /* bitmap: the stack is not empty */
	struct vmap_area *stack[VMAP_BINS];
};

/*
 * Addresses that one CPU deals out in pieces of up to VMAP_PIECE_PAGES pages, in order, each page
 * once; the last page of the 1 MiB is the guard page. A piece goes
 *
 *	unused -> in the making -> live -> kept -> live ... -> dirty (mapped, nobody's) -> unmapped
 *
 * and the whole block goes to the lazy lists once nobody can get any more of it.
 *
 * Invariant, under virt->lock: nr_gone == pages dirty or unmapped; and, once the CPU deals out no
 * more of it, those left over at the end, with the guard page.
 */
#define VMAP_BLOCK_SHIFT 20
#define VMAP_BLOCK_PAGES 255
#define VMAP_PIECE_PAGES 64
#define VMAP_PIECE_KEPT	 0x80U

struct vmap_block {
	struct vmap_area *area; /* constant */
	u32 next;		/* the CPU's that has it: the first unused page */
	/* Of a piece, at its first page. By who has it in hand, or under virt->lock: */
	u8 piece[VMAP_BLOCK_PAGES]; /* pages, with VMAP_PIECE_KEPT while it is kept; 0: none */
	u8 runs[VMAP_BLOCK_PAGES];  /* mappings of the host that it counts for */
	u32 pfn[VMAP_BLOCK_PAGES];  /* of each page that is mapped */
	/* virt->lock protects: */
	struct list_head list; /* of virt->blocks */
	u32 nr_gone;
	bool busy;    /* a piece is being mapped, */
	bool purging; /* or dirty ones unmapped: not all of it agrees */
	bool stuck;   /* the host would not unmap all that is dirty, and that the tables have not */
	u64 dirty[4]; /* bitmap */
};

/*
 * Lists of a node's lazy areas by size: up to VMAP_EXACT pages one for each size, beyond four for each
 * doubling.
 */
#define VMAP_EXACT 512
#define VMAP_SIZES (VMAP_EXACT + 4 * (32 - 9))

struct vmap_pool {
	struct list_head size[VMAP_SIZES];  /* the most recently freed first */
	u64 filled[(VMAP_SIZES + 63) / 64]; /* bitmap: the list is not empty */
};

#define VMAP_BUCKETS 256 /* a hash of areas that are aligned to more than a page */

struct virt {
	/* Set at boot, then constant: */
	struct kmm *machine;
	struct pgtable *kernel;
	unsigned long base, size;   /* the region; base is a multiple of HPAGE_SIZE */
	struct vmap_area **area_of; /* a page of the region each; memory as touched */
	size_t percpu;		    /* struct virt_cpu, from percpu_alloc */
	struct kmem_cache *cache;   /* struct vmap_area */
	u64 max_lazy_pages, purge_pages, nr_shared_pages;
	u32 cpu_pages, cpu_mappings; /* that a CPU may hold at most; tests change them */
	u32 kept_pages;		     /* of a piece that a CPU keeps, at most */
	u32 slack_pages;	     /* that a CPU may give out at most */
	u32 nr_shares;		     /* for all CPUs, each of as much as a CPU may */
	struct vmap_share all;	     /* all of those shares */

	struct lock lock;
	/* lock protects: */
	struct vmap_space space;
	struct vmap_share left; /* that no CPU may hold; read without the lock for a guess */
	u32 nr_holders;		/* CPUs that may hold something in stacks */
	s64 nr_slack_pages;	/* of all CPUs, from before they were flushed */
	u64 nr_mappings;	/* of the host, at most */
	u64 max_mappings;	/* changed by tests only */
	u64 nr_lazy_pages;
	struct list_head lazy_age;
	u64 nr_groups;
	u64 group_from; /* from so many mappings on they are made; UINT64_MAX: never */
	struct list_head stuck_groups; /* whose areas are all dead, still mapped */
	struct list_head stuck;	 /* the host would not unmap them; the next purge asks again */
	struct list_head blocks; /* of small pieces, those not all gone */
	u64 nr_dirty_pages;	 /* in blocks: mapped, and nobody's */
	u64 nr_unmaking;	 /* areas on their way through vmap_areas_unmake, and blocks that */
	u64 nr_unmade;		 /* are purging; and how many ever are through */
	u64 nr_waiting;		 /* threads that wait for them */
	struct vmap_pool *pool;	 /* [node] */
	struct list_head aligned[VMAP_BUCKETS];
	struct list_head others; /* lazy, and nobody reuses them */
};

static inline struct vmap_area **vmap_area_slot(const struct virt *virt, unsigned long addr)
{
	return &virt->area_of[(addr - virt->base) >> PAGE_SHIFT];
}

static inline struct virt_cpu *virt_cpu(const struct virt *virt, struct kmm_cpu *cpu)
{
	return percpu_ptr(cpu, virt->percpu);
}

/* What an area is to be like. */
struct vmap_wish {
	unsigned int nr_pages;
	s32 home;	/* its frames' node, if they can be had there */
	u8 align_shift; /* PAGE_SHIFT or more */
};

/* The stack for areas like that; VMAP_BINS: none. None for those that are aligned
 * to more than a page, for the fast path does not ask for them. */
static inline u16 vmap_bin(const struct vmap_wish *wish)
{
	return wish->align_shift == PAGE_SHIFT && wish->nr_pages <= VMAP_BINS
		       ? (u16)(wish->nr_pages - 1)
		       : VMAP_BINS;
}

/* Mappings of the host that nobody else can have while a CPU holds the area: of a group all, for others
 * of the group may be gone. */
static inline u32 vmap_area_holds(const struct vmap_area *area)
{
	return area->group ? VMAP_GROUP_MAPPINGS : area->nr_runs + 1;
}

/* What a CPU holds becomes so much more, or less. */
static inline void vmap_hold(struct virt_cpu *vcpu, s32 nr_pages, s32 nr_mappings)
{
	WRITE_ONCE(vcpu->nr_pages, vcpu->nr_pages + (u32)nr_pages);
	WRITE_ONCE(vcpu->nr_mappings, vcpu->nr_mappings + (u32)nr_mappings);
}

/* May it hold so much more? */
static inline bool vmap_may_hold(const struct virt_cpu *vcpu, u32 nr_pages, u32 nr_mappings)
{
	return vcpu->nr_pages + nr_pages <= vcpu->may.pages &&
	       vcpu->nr_mappings + nr_mappings <= vcpu->may.mappings;
}

static inline struct vmap_area *vmap_stack_pop(struct virt_cpu *vcpu, unsigned long bin)
{
	struct vmap_area *area = vcpu->stack[bin];

	if (!area)
		return NULL;
	vcpu->stack[bin] = area->next;
	if (!area->next)
		vcpu->filled[bin / 64] &= ~(1UL << bin % 64);
	vmap_hold(vcpu, -(s32)area->nr_pages, -(s32)vmap_area_holds(area));
	return area;
}

/* False if the CPU holds as much as it may. */
static inline bool vmap_stack_push(struct virt_cpu *vcpu, struct vmap_area *area)
{
	if (unlikely(!vmap_may_hold(vcpu, area->nr_pages, vmap_area_holds(area))))
		return false;
	area->next = vcpu->stack[area->bin];
	vcpu->stack[area->bin] = area;
	vcpu->filled[area->bin / 64] |= 1UL << area->bin % 64;
	vmap_hold(vcpu, (s32)area->nr_pages, (s32)vmap_area_holds(area));
	return true;
}

/* An area's slack becomes so many pages, while a CPU has it in hand. */
static inline void vmap_slack_add(struct virt_cpu *vcpu, long nr_pages)
{
	WRITE_ONCE(vcpu->nr_slack_pages, vcpu->nr_slack_pages + nr_pages);
}

/* A counter of this CPU's own; single stores, because vmalloc_count reads beside. */
#define VIRT_COUNT(vcpu, name) WRITE_ONCE((vcpu)->count.name, (vcpu)->count.name + 1)

#define VMALLOC_GFP	 (GFP_KERNEL | __GFP_SHARED | __GFP_NOWARN)
#define VMALLOC_GFP_EASY ((VMALLOC_GFP & ~__GFP_DIRECT_RECLAIM) | __GFP_NORETRY)

/* vmap_map.c: areas that nobody has yet, or has any more. */

/* Make an area with frames of its own: LIVE, or NULL with nothing done. Takes and drops virt->lock;
 * system calls. Purges nothing: the caller does, and tries again. */
struct vmap_area *vmap_area_make(struct virt *virt, struct virt_cpu *vcpu,
				 const struct vmap_wish *wish);
/* The same with wish->nr_pages frames of the caller's, which are memfd-backed; prot: bits of their
 * entries. */
struct vmap_area *vmap_area_make_of(struct virt *virt, struct virt_cpu *vcpu, enum vmap_kind kind,
				    const struct vmap_wish *wish, struct page *const *pages,
				    pgprot_t prot);
/* A block's addresses, LIVE, with nothing mapped; block becomes the area's. NULL: no such. */
struct vmap_area *vmap_area_make_block(struct virt *virt, s32 home, struct vmap_block *block);
/* How many mappings of the host these pages take; and map them at addr, which is in an area that
 * has the right to so many. After an error some may be there: vmap_addresses_unmap. */
unsigned int vmap_pages_runs(const struct virt *virt, struct page *const *pages,
			     unsigned int nr_pages);
int vmap_pages_map(struct virt *virt, struct virt_cpu *vcpu, void *addr, struct page *const *pages,
		   unsigned int nr_pages);
/* Unmap what lies between two addresses. On an error host mappings may be left, but no page
 * tables. */
int vmap_addresses_unmap(struct virt *virt, unsigned long start, unsigned long end);
/* Take areas (BUSY, chained by lazy_age, in no other list, counted in nr_unmaking) apart: page
 * tables, host mappings, frames, addresses, in that order. Neighbours are unmapped by one call.
 * vcpu: the caller's, or one that it holds. */
void vmap_areas_unmake(struct virt *virt, struct virt_cpu *vcpu, struct list_head *areas);

/* A range becomes the space's, with its struct; what the space has too many of goes back to the slab. */
void vmap_range_give_locked(struct virt *virt, struct vmap_range *range);

/* Give an area's frames back to the page allocator. */
void vmap_blocks_free(struct list_head *blocks);
/* Runs of contiguous frames in an area, from first principles. */
unsigned int vmap_runs_count(const struct kmm *machine, const struct vmap_area *area);

/* vmap_group.c */

/* An area of one page, LIVE, and many others for later; NULL if it is not the time for that, or if
 * something ran out: then vmap_area_make. */
struct vmap_area *vmap_group_make(struct virt *virt, struct kmm_cpu *cpu,
				  const struct vmap_wish *wish);
/* As vmap_areas_unmake, of groups' areas; the lock is held, and dropped meanwhile. */
void vmap_group_areas_unmake_locked(struct virt *virt, struct list_head *areas);
/* Try again to unmap groups that nobody has any area of. Returns whether any is gone. */
bool vmap_groups_end_locked(struct virt *virt);

/* vmap_stack.c: areas that a CPU has for its next vmalloc. */

/* A stack of a larger size than nr_pages, up to `most` pages, that is not empty; its top, taken. NULL
 * if there is none, or the CPU may not give away what is too much. */
struct vmap_area *vmap_stack_pop_larger(struct virt *virt, struct virt_cpu *vcpu,
					unsigned int nr_pages, unsigned int most);
/* Let the CPU hold so much more than it does, if there is something left. With the lock held. */
bool vmap_hold_more_locked(struct virt *virt, struct virt_cpu *vcpu, u32 nr_pages, u32 nr_mappings);
/* The same of slack that it gives out. */
bool vmap_slack_more_locked(struct virt *virt, struct virt_cpu *vcpu, u32 nr_pages);
/* As vmap_stack_push, asking for more. */
bool vmap_stack_push_locked(struct virt *virt, struct virt_cpu *vcpu, struct vmap_area *area);
/* Move areas to the lists, of this bin before others, until a quarter of what the CPU may hold is
 * free. With the lock held. */
void vmap_stacks_shrink_locked(struct virt *virt, struct virt_cpu *vcpu, u32 bin);
/* All of them, and the CPU has to ask again; it keeps no piece any more. */
void vmap_stacks_flush(struct virt *virt, struct virt_cpu *vcpu);

/* vmap_lazy.c: areas that nobody has, still mapped. */

/* 0 or -ENOMEM; undone by vmap_lists_destroy. */
int vmap_lists_init(struct virt *virt);
void vmap_lists_destroy(struct virt *virt);
/* This CPU's slow paths. take: an area as wished or a little larger, LIVE, the stack refilled
 * besides; NULL if none. */
struct vmap_area *vmap_lazy_take(struct virt *virt, struct kmm_cpu *cpu,
				 const struct vmap_wish *wish);
/* An area that the caller has in hand is to be used as wish says. */
void vmap_area_use(struct virt *virt, struct vmap_area *area, unsigned int nr_used);
/* put: a LIVE area becomes LAZY; purges when too much is held then. */
void vmap_lazy_put(struct virt *virt, struct kmm_cpu *cpu, struct vmap_area *area);
/* Unmap all that a CPU's stacks and the lists hold. Its owner, or slots_lock held and idle. */
void vmap_lazy_drain(struct virt *virt, struct virt_cpu *vcpu);
/* Something ran out: unmap all that this CPU, idle ones and the lists hold, and wait for other
 * threads that are unmapping. Returns whether there was anything: then what failed is worth another
 * try, up to VMAP_TRIES of them, for others may have been faster. Takes slots_lock if it is free. */
bool vmap_lazy_drain_all(struct kmm *machine, struct kmm_cpu *cpu);
#define VMAP_TRIES 16
/* An area that nobody has any more and no stack takes: to the lists. */
void vmap_lazy_add_locked(struct virt *virt, struct vmap_area *area);
/* Purge if the lists hold too much. */
void vmap_lazy_bound(struct virt *virt, struct virt_cpu *vcpu);
/* Frames held: in the lists, and (not exact while others run) by all CPUs, and as slack. */
u64 vmap_lazy_pages(struct kmm *machine);
/* Recount the lists, with the lock held. */
void vmap_lazy_validate_locked(const struct virt *virt);

/* vmap.c */

/* Can all of them be mapped a second time? */
bool vmap_pages_shared(const struct kmm *machine, struct page *const *pages, unsigned int nr_pages);
/* Make an area of these pages; what is lazy makes way for it. NULL as vmap. */
struct vmap_area *vmap_pages(struct kmm_cpu *cpu, enum vmap_kind kind, struct page *const *pages,
			     unsigned int nr_pages, pgprot_t prot);
/* The live area of that kind that starts at addr; stops the program if there is none. */
struct vmap_area *vmap_area_at(const struct virt *virt, const void *addr, enum vmap_kind kind,
			       const char *call);

/* vmap_block.c: vm_map_ram's small pieces. */

/* Give up what a CPU keeps, and its block. Its owner, or slots_lock held and idle. */
void vmap_blocks_flush(struct virt *virt, struct virt_cpu *vcpu);
/* Unmap what is nobody's in blocks that are in use. Returns whether there was anything. */
bool vmap_blocks_purge(struct virt *virt, struct virt_cpu *vcpu);
/* With the lock held: pages of a block that are mapped; of these, the callers'. */
unsigned int vmap_block_mapped(const struct vmap_block *block);
unsigned int vmap_block_live(const struct vmap_block *block);
/* Check a block against the page tables; false if it is being changed. Lock held. */
bool vmap_block_validate(const struct virt *virt, const struct vmap_block *block);

/* The named locks of the layer, for report. */
void virt_for_each_lock(struct kmm *machine,
			void (*visit)(const char *name, const struct lock_stats *stats, void *arg),
			void *arg);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * vm_map_ram and vm_unmap_ram. What is large is an area as vmap's (vmap.c); what is small is a piece
 * of a block of addresses, of which this CPU deals out one page after the other, so that making a
 * piece takes no address from the tree, and a whole block is unmapped at once:
 *
 *	block	| dirty | live |  kept  | dirty |  live  | next: unused ...        | guard |
 *
 * A piece that is given back is kept, still mapped, until another is kept in its place: the same
 * pages, mapped again meanwhile, take neither lock nor system call. What is neither live nor kept is
 * dirty. A block that is all gone goes to the machine's lazy lists; of blocks with live pieces the
 * dirty parts are unmapped when there are more than purge_pages of them, or when something ran out.
 *
 * Invariant: virt.h, at struct vmap_block. nr_dirty_pages == bits of dirty over virt->blocks.
 * A block's area counts for as many mappings of the host as its pieces do until they are unmapped;
 * then for one more, for the gap, at most.
 *
 * Locks: virt->lock for what it protects in a block; not while the host maps or unmaps, when busy or
 * purging keeps the block from going.
 *
 * After vmap blocks in mm/vmalloc.c (6.1), whose pieces are powers of two, and which keeps no piece.
 */
#include <string.h>

#include "base/check.h"
#include "phys/page.h"
#include "slab/kmalloc.h"
#include "virt/virt.h"
#include "virt/walk.h"

static bool test_dirty(const struct vmap_block *block, u32 page)
{
	return block->dirty[page / 64] >> page % 64 & 1;
}

static u32 nr_dirty(const struct vmap_block *block)
{
	u32 nr = 0;

	for (size_t i = 0; i < ARRAY_SIZE(block->dirty); i++)
		nr += (u32)__builtin_popcountl(block->dirty[i]);
	return nr;
}

static unsigned long page_addr(const struct vmap_block *block, u32 page)
{
	return block->area->range.start + ((unsigned long)page << PAGE_SHIFT);
}

/* Nobody can get any more of it and nobody is at it: it becomes a lazy area. */
static void release_if_gone_locked(struct virt *virt, struct vmap_block *block)
{
	if (block->nr_gone != VMAP_BLOCK_PAGES + 1 || block->busy || block->purging)
		return;
	virt->nr_dirty_pages -= nr_dirty(block);
	list_del(&block->list);
	vmap_lazy_add_locked(virt, block->area);
}

/* A piece that is nobody's any more. */
static void drop_locked(struct virt *virt, struct vmap_kept piece)
{
	struct vmap_block *block = piece.block;

	for (u32 page = piece.first; page < piece.first + piece.nr_pages; page++)
		block->dirty[page / 64] |= 1UL << page % 64;
	WRITE_ONCE(block->piece[piece.first], 0);
	block->nr_gone += piece.nr_pages;
	virt->nr_dirty_pages += piece.nr_pages;
	release_if_gone_locked(virt, block);
}

/* Keep a piece at *kept, where none is, for which the CPU has room; or none. */
static void kept_in(struct virt_cpu *vcpu, struct vmap_kept *kept, struct vmap_kept piece)
{
	*kept = piece;
	if (piece.block)
		vmap_hold(vcpu, (s32)piece.nr_pages, piece.block->runs[piece.first]);
}

/* What is kept there is not from now on. */
static struct vmap_kept kept_out(struct virt_cpu *vcpu, struct vmap_kept *kept)
{
	struct vmap_kept piece = *kept;

	*kept = (struct vmap_kept){NULL, 0, 0};
	if (piece.block)
		vmap_hold(vcpu, -(s32)piece.nr_pages, -(s32)piece.block->runs[piece.first]);
	return piece;
}

/* The CPU deals out no more of its block. */
static void retire_locked(struct virt *virt, struct virt_cpu *vcpu)
{
	struct vmap_block *block = vcpu->block;

	if (!block)
		return;
	vcpu->block = NULL;
	block->nr_gone += VMAP_BLOCK_PAGES + 1 - block->next;
	release_if_gone_locked(virt, block);
}

void vmap_blocks_flush(struct virt *virt, struct virt_cpu *vcpu)
{
	lock_acquire(&virt->lock);
	for (int i = 0; i < VMAP_KEPT; i++) {
		struct vmap_kept piece = kept_out(vcpu, &vcpu->kept[i]);

		if (piece.block)
			drop_locked(virt, piece);
	}
	retire_locked(virt, vcpu);
	lock_release(&virt->lock);
}

/*
 * Purge
 */

/* The next stretch of dirty pages from *page on, which is advanced behind it; its length, 0: none. */
static u32 next_dirty(const struct vmap_block *block, u32 *page)
{
	u32 first;

	while (*page < VMAP_BLOCK_PAGES && !test_dirty(block, *page))
		++*page;
	first = *page;
	while (*page < VMAP_BLOCK_PAGES && test_dirty(block, *page))
		++*page;
	return *page - first;
}

/* Mappings that are gone with a stretch: all its pieces', but for one, the gap. */
static u32 forget_runs_locked(struct vmap_block *block, u32 first, u32 nr_pages)
{
	u32 runs = 0;

	for (u32 page = first; page < first + nr_pages; page++) {
		runs += block->runs[page];
		block->runs[page] = 0;
	}
	block->runs[first] = 1;
	return runs - 1;
}

/* Unmap what is dirty in a block. Takes and drops the lock; the block stays, as it is purging. */
static void clean_locked(struct virt *virt, struct vmap_block *block)
{
	struct vmap_block was = {.area = block->area};
	u32 page = 0, nr;

	memcpy(was.dirty, block->dirty, sizeof(was.dirty));
	block->purging = true;
	virt->nr_unmaking++;
	while ((nr = next_dirty(&was, &page))) {
		u32 first = page - nr, runs;
		int err;

		lock_release(&virt->lock);
		err = vmap_addresses_unmap(virt, page_addr(block, first), page_addr(block, page));
		lock_acquire(&virt->lock);
		/* What the host would not unmap is not in the tables, and tried again later. */
		block->stuck = err;
		if (err)
			break;
		for (u32 i = first; i < page; i++)
			block->dirty[i / 64] &= ~(1UL << i % 64);
		virt->nr_dirty_pages -= nr;
		runs = forget_runs_locked(block, first, nr);
		block->area->nr_runs -= runs;
		virt->nr_mappings -= runs;
	}
	block->purging = false;
	virt->nr_unmaking--;
	virt->nr_unmade++;
	release_if_gone_locked(virt, block);
}

bool vmap_blocks_purge(struct virt *virt, struct virt_cpu *vcpu)
{
	struct vmap_block *block;
	bool any = false;
	u64 nr = 0;

	lock_acquire(&virt->lock);
	list_for_each_entry(block, &virt->blocks, list)
		nr++;
	/* Each once: they come and go while the lock is not held, and so the list is taken from its
	 * head, and what was looked at goes to its end. */
	while (nr-- && !list_empty(&virt->blocks)) {
		block = list_first_entry(&virt->blocks, struct vmap_block, list);
		list_move_tail(&block->list, &virt->blocks);
		if (block->purging || !nr_dirty(block))
			continue;
		clean_locked(virt, block);
		any = true;
	}
	lock_release(&virt->lock);
	if (any)
		VIRT_COUNT(vcpu, purge);
	return any;
}

/*
 * Map
 */

static struct vmap_block *block_new(struct virt *virt, const struct kmm_cpu *cpu)
{
	struct vmap_block *block = kzalloc(sizeof(*block), GFP_KERNEL);

	if (block && !vmap_area_make_block(virt, cpu->nid, block)) {
		kfree(block);
		return NULL;
	}
	return block;
}

/* This CPU's block, with room for a piece. */
static struct vmap_block *block_with_room(struct virt *virt, struct kmm_cpu *cpu, u32 nr_pages)
{
	struct virt_cpu *vcpu = virt_cpu(virt, cpu);
	struct vmap_block *block = vcpu->block;

	if (block && block->next + nr_pages <= VMAP_BLOCK_PAGES)
		return block;
	block = block_new(virt, cpu);
	if (!block)
		return NULL;
	lock_acquire(&virt->lock);
	retire_locked(virt, vcpu);
	lock_release(&virt->lock);
	vmap_lazy_bound(virt, vcpu);
	vcpu->block = block;
	return block;
}

/* The right to so many mappings of the host, for a piece that is being made. */
static bool runs_claim(struct virt *virt, struct vmap_block *block, u32 runs)
{
	bool fits;

	lock_acquire(&virt->lock);
	fits = virt->nr_mappings + runs <= virt->max_mappings;
	if (fits) {
		virt->nr_mappings += runs;
		block->area->nr_runs += runs;
		block->busy = true;
	}
	lock_release(&virt->lock);
	return fits;
}

/* The piece was not mapped whole: unmap it. Where that fails too its addresses are lost until the
 * block is gone. */
static void piece_undo(struct virt *virt, struct vmap_block *block, u32 nr_pages, u32 runs)
{
	u32 first = block->next;
	int err = vmap_addresses_unmap(virt, page_addr(block, first),
				       page_addr(block, first + nr_pages));

	lock_acquire(&virt->lock);
	block->busy = false;
	if (err) {
		block->stuck = true;
		block->next += nr_pages;
		block->runs[first] = (u8)runs;
		drop_locked(virt, (struct vmap_kept){block, first, nr_pages});
	} else {
		virt->nr_mappings -= runs;
		block->area->nr_runs -= runs;
	}
	lock_release(&virt->lock);
}

static void *piece_make(struct virt *virt, struct kmm_cpu *cpu, struct page *const *pages,
			u32 nr_pages)
{
	struct virt_cpu *vcpu = virt_cpu(virt, cpu);
	struct vmap_block *block = block_with_room(virt, cpu, nr_pages);
	u32 runs = vmap_pages_runs(virt, pages, nr_pages), first;
	void *addr;

	if (!block || !runs_claim(virt, block, runs))
		return NULL;
	first = block->next;
	addr = (void *)page_addr(block, first);
	if (vmap_pages_map(virt, vcpu, addr, pages, nr_pages)) {
		piece_undo(virt, block, nr_pages, runs);
		return NULL;
	}
	for (u32 i = 0; i < nr_pages; i++)
		block->pfn[first + i] = (u32)(pages[i] - virt->machine->mem_map);
	block->next += nr_pages;
	lock_acquire(&virt->lock);
	block->busy = false;
	block->runs[first] = (u8)runs;
	WRITE_ONCE(block->piece[first], (u8)nr_pages);
	lock_release(&virt->lock);
	VIRT_COUNT(vcpu, alloc);
	return addr;
}

/* Where a piece of so many pages is kept that begins with this one. */
static struct vmap_kept *kept_at(struct virt_cpu *vcpu, u32 pfn, u32 nr_pages)
{
	return &vcpu->kept[(pfn * 0x9e3779b1U >> 16 ^ nr_pages) % VMAP_KEPT];
}

/* The same pages, kept from the last time. */
static void *kept_take(struct virt *virt, struct virt_cpu *vcpu, struct page *const *pages,
		       u32 nr_pages)
{
	const struct page *mem_map = virt->machine->mem_map;
	struct vmap_kept *kept = kept_at(vcpu, (u32)(pages[0] - mem_map), nr_pages);
	struct vmap_block *block = kept->block;
	struct vmap_kept piece;

	if (!block || kept->nr_pages != nr_pages)
		return NULL;
	for (u32 i = 0; i < nr_pages; i++)
		if (block->pfn[kept->first + i] != (u32)(pages[i] - mem_map))
			return NULL;
	piece = kept_out(vcpu, kept);
	WRITE_ONCE(block->piece[piece.first], (u8)nr_pages);
	VIRT_COUNT(vcpu, reuse);
	return (void *)page_addr(block, piece.first);
}

void *vm_map_ram(struct page **pages, unsigned int count, int node)
{
	struct kmm_cpu *cpu = cpu_get();
	struct virt *virt = cpu->machine->virt;
	struct vmap_area *area;
	void *addr;

	(void)node;
	if (count > VMAP_PIECE_PAGES) {
		area = vmap_pages(cpu, VMAP_RAM, pages, count, PAGE_KERNEL);
		return area ? area->addr : NULL;
	}
	if (!count)
		return NULL;
	addr = kept_take(virt, virt_cpu(virt, cpu), pages, count);
	if (addr || !vmap_pages_shared(cpu->machine, pages, count))
		return addr;
	addr = piece_make(virt, cpu, pages, count);
	for (int i = 0; !addr && i < VMAP_TRIES && vmap_lazy_drain_all(cpu->machine, cpu); i++)
		addr = piece_make(virt, cpu, pages, count);
	return addr;
}

/*
 * Unmap
 */

/* Whether the CPU may hold a piece besides what it does; then areas in stacks make way for it, if
 * that can be enough. */
static bool has_room(struct virt *virt, struct virt_cpu *vcpu, const struct vmap_kept *piece)
{
	u32 runs = piece->block->runs[piece->first];
	bool room = vmap_may_hold(vcpu, piece->nr_pages, runs);

	if (room)
		return true;
	lock_acquire(&virt->lock);
	room = vmap_hold_more_locked(virt, vcpu, piece->nr_pages, runs);
	if (!room && piece->nr_pages <= vcpu->may.pages && runs <= vcpu->may.mappings) {
		vmap_stacks_shrink_locked(virt, vcpu, vcpu->flush_bin % VMAP_BINS);
		room = vmap_may_hold(vcpu, piece->nr_pages, runs);
	}
	lock_release(&virt->lock);
	vmap_lazy_bound(virt, vcpu);
	return room;
}

/* Keep a piece, and drop what was kept in its place; or the other way round. One that is large for
 * what a CPU may hold takes nobody's place. */
static void keep(struct virt *virt, struct virt_cpu *vcpu, struct vmap_kept piece)
{
	struct vmap_kept *kept = kept_at(vcpu, piece.block->pfn[piece.first], piece.nr_pages);
	struct vmap_kept dropped = piece;
	bool dirty;

	if (piece.nr_pages <= virt->kept_pages) {
		struct vmap_kept old = kept_out(vcpu, kept);
		bool room = has_room(virt, vcpu, &piece);

		kept_in(vcpu, kept, room ? piece : old);
		dropped = room ? old : piece;
	}
	if (!dropped.block)
		return;
	lock_acquire(&virt->lock);
	drop_locked(virt, dropped);
	dirty = virt->nr_dirty_pages > virt->purge_pages;
	lock_release(&virt->lock);
	if (dirty)
		vmap_blocks_purge(virt, vcpu);
	vmap_lazy_bound(virt, vcpu);
}

void vm_unmap_ram(const void *mem, unsigned int count)
{
	struct kmm_cpu *cpu = cpu_get();
	struct virt *virt = cpu->machine->virt;
	unsigned long start = ALIGN_DOWN((unsigned long)mem, 1UL << VMAP_BLOCK_SHIFT);
	u32 first = (u32)(((unsigned long)mem - start) >> PAGE_SHIFT);
	struct vmap_area *area;

	if (count > VMAP_PIECE_PAGES) {
		area = vmap_area_at(virt, mem, VMAP_RAM, "vm_unmap_ram");
		KMM_BUG_ON(area->nr_pages != count, "vm_unmap_ram of %p: %u pages of %u", mem,
			   count, area->nr_pages);
		vmap_lazy_put(virt, cpu, area);
		return;
	}
	area = vmap_area_at(virt, (void *)start, VMAP_BLOCK, "vm_unmap_ram");
	KMM_BUG_ON(!count || !IS_ALIGNED((unsigned long)mem, PAGE_SIZE) ||
			   first >= VMAP_BLOCK_PAGES ||
			   READ_ONCE(area->block->piece[first]) != count,
		   "vm_unmap_ram of %p, %u pages: that is not what vm_map_ram gave", mem, count);
	WRITE_ONCE(area->block->piece[first], (u8)(count | VMAP_PIECE_KEPT));
	keep(virt, virt_cpu(virt, cpu), (struct vmap_kept){area->block, first, count});
}

/*
 * Looking
 */

static unsigned int count_pieces(const struct vmap_block *block, unsigned int mask)
{
	unsigned int nr = 0;

	for (u32 page = 0; page < VMAP_BLOCK_PAGES; page++) {
		unsigned int piece = READ_ONCE(block->piece[page]);

		if (!(piece & mask))
			nr += piece & ~VMAP_PIECE_KEPT;
	}
	return nr;
}

unsigned int vmap_block_mapped(const struct vmap_block *block)
{
	return count_pieces(block, 0) + nr_dirty(block);
}

unsigned int vmap_block_live(const struct vmap_block *block)
{
	return count_pieces(block, VMAP_PIECE_KEPT);
}

bool vmap_block_validate(const struct virt *virt, const struct vmap_block *block)
{
	struct pgtable_walk walk;
	u32 left = 0, runs = 0;

	if (block->busy || block->purging || block->stuck)
		return false;
	for (u32 page = 0; page <= VMAP_BLOCK_PAGES; page++) {
		u64 addr = page_addr(block, page);
		bool mapped;

		if (page < VMAP_BLOCK_PAGES) {
			u32 piece = READ_ONCE(block->piece[page]) & ~VMAP_PIECE_KEPT;

			KMM_BUG_ON(piece && left, "block %p: a piece in a piece at page %u",
				   block->area->addr, page);
			left = piece ? piece : left;
			runs += block->runs[page];
		}
		mapped = left || (page < VMAP_BLOCK_PAGES && test_dirty(block, page));
		KMM_BUG_ON(pgtable_walk(virt->kernel, addr, &walk) != mapped,
			   "block %p: page %u is %smapped", block->area->addr, page,
			   mapped ? "not " : "");
		KMM_BUG_ON(mapped && walk.pfn != block->pfn[page],
			   "block %p: page %u is frame %#lx, the tables say %#lx",
			   block->area->addr, page, (u64)block->pfn[page], walk.pfn);
		left -= left != 0;
	}
	KMM_BUG_ON(runs != block->area->nr_runs, "block %p: %u mappings, %u counted",
		   block->area->addr, runs, block->area->nr_runs);
	return true;
}

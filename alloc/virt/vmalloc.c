/* SPDX-License-Identifier: MIT */
/*
 * vmalloc and vfree, under the kernel's names. An area that was freed lately is reused as it is,
 * still mapped:
 *
 *	vmalloc -> this CPU's magazine for the size               fast: no lock, no call
 *	   slow -> the machine's lazy areas; else frames, addresses, mmap, page tables (vmap_map.c)
 *	        -> something ran out: unmap all lazy areas, once more
 *	vfree   -> area_of[page], this CPU's magazine              fast: no lock, no call
 *	   slow -> half the magazine to the machine's lists; purge when they are full
 *
 * From address to area is one load from an array of a pointer for each page of the region. It
 * costs memory only where areas start, low addresses are dealt out first, and so it stays small.
 * The alternatives are dearer: a walk of the page tables to the frame is four loads, the tree
 * O(log n) and a lock.
 *
 * Locks: none on the fast paths. An area's state is written by whoever has the area in hand: its
 * owner until vfree, then the owner of the magazine, then virt->lock. A double free finds the
 * state not LIVE.
 *
 * After mm/vmalloc.c (6.1), which keeps freed address ranges per CPU but unmaps them; keeping them
 * mapped is what makes a pair cost no system call.
 */
#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "phys/page.h"
#include "phys/phys.h"
#include "phys/zone.h"
#include "virt/virt.h"
#include "virt/walk.h"

/*
 * Allocation
 */

static KMM_COLD void *vmalloc_slow(unsigned long size, unsigned int align_shift, int nid)
{
	struct kmm_cpu *cpu = cpu_get();
	struct virt *virt = cpu->machine->virt;
	struct virt_cpu *vcpu = virt_cpu(virt, cpu);
	unsigned long nr_pages = (size >> PAGE_SHIFT) + !!(size & ~PAGE_MASK);
	struct vmap_wish wish = {(unsigned int)nr_pages, nid == NUMA_NO_NODE ? cpu->nid : nid,
				 (u8)align_shift};
	struct vmap_area *area;

	KMM_BUG_ON((u32)wish.home >= cpu->machine->phys->nr_nodes, "node %d: the machine has %u",
		   wish.home, cpu->machine->phys->nr_nodes);
	/* More than all frames is refused before it takes them from everybody. */
	if (!size || nr_pages > virt->nr_shared_pages || 1UL << align_shift > virt->size)
		return NULL;
	area = vmap_lazy_take(virt, cpu, &wish);
	if (area)
		return area->addr;
	area = vmap_area_make(virt, vcpu, &wish);
	if (!area && vmap_lazy_drain_all(cpu->machine, cpu))
		area = vmap_area_make(virt, vcpu, &wish);
	if (!area)
		return NULL;
	VIRT_COUNT(vcpu, alloc);
	return area->addr;
}

static inline void *vmalloc_fast(unsigned long size, int nid)
{
	struct kmm_cpu *cpu = this_cpu;
	unsigned long bin = (size - 1) >> PAGE_SHIFT; /* huge for size 0 */
	struct vmap_magazine *magazine;
	struct vmap_area *area;
	struct virt_cpu *vcpu;
	u32 nr;

	if (unlikely(bin >= VMAP_BINS || cpu == kmm_cpu_detached ||
		     (nid != NUMA_NO_NODE && nid != cpu->nid)))
		return vmalloc_slow(size, PAGE_SHIFT, nid);
	vcpu = virt_cpu(cpu->machine->virt, cpu);
	magazine = &vcpu->magazine[bin];
	nr = magazine->nr;
	if (unlikely(!nr))
		return vmalloc_slow(size, PAGE_SHIFT, nid);
	area = magazine->areas[nr - 1];
	WRITE_ONCE(magazine->nr, nr - 1);
	WRITE_ONCE(area->state, VMAP_LIVE);
	VIRT_COUNT(vcpu, reuse);
	return area->addr;
}

void *vmalloc(unsigned long size)
{
	return vmalloc_fast(size, NUMA_NO_NODE);
}

void *vmalloc_node(unsigned long size, int nid)
{
	return vmalloc_fast(size, nid);
}

void *vzalloc(unsigned long size)
{
	void *addr = vmalloc(size);

	return addr ? memset(addr, 0, ALIGN_UP(size, PAGE_SIZE)) : NULL;
}

void *__vmalloc_node(unsigned long size, unsigned long align, gfp_t gfp, int nid,
		     const void *caller)
{
	void *addr;

	(void)caller;
	KMM_BUG_ON(align & (align - 1), "an alignment of %#lx bytes", align);
	if (align <= PAGE_SIZE)
		addr = vmalloc_fast(size, nid);
	else
		addr = vmalloc_slow(size, ilog2(align), nid);
	if (addr && gfp & __GFP_ZERO)
		memset(addr, 0, ALIGN_UP(size, PAGE_SIZE));
	return addr;
}

/*
 * Free
 */

static KMM_COLD void vfree_slow(const void *addr)
{
	struct kmm_cpu *cpu = cpu_get();
	struct virt *virt = cpu->machine->virt;

	if (addr)
		vmap_lazy_put(virt, cpu, vmap_area_at(virt, addr, VMAP_VMALLOC, "vfree"));
}

void vfree(const void *addr)
{
	struct kmm_cpu *cpu = this_cpu;
	struct vmap_magazine *magazine;
	struct vmap_area *area;
	const struct virt *virt;

	if (unlikely(cpu == kmm_cpu_detached))
		return vfree_slow(addr);
	virt = cpu->machine->virt;
	if (unlikely((unsigned long)addr - virt->base >= virt->size))
		return vfree_slow(addr);
	area = READ_ONCE(*vmap_area_slot(virt, (unsigned long)addr));
	if (unlikely(!area || area->addr != addr || READ_ONCE(area->state) != VMAP_LIVE ||
		     area->bin >= VMAP_BINS || area->home != cpu->nid))
		return vfree_slow(addr);
	magazine = &virt_cpu(virt, cpu)->magazine[area->bin];
	if (unlikely(magazine->nr >= magazine->capacity))
		return vfree_slow(addr);
	WRITE_ONCE(area->state, VMAP_LAZY);
	magazine->areas[magazine->nr] = area;
	WRITE_ONCE(magazine->nr, magazine->nr + 1);
}

/*
 * Looking
 */

struct page *vmalloc_to_page(const void *addr)
{
	struct kmm *machine = cpu_get()->machine;
	struct pgtable_walk walk;

	if (!pgtable_walk(machine->virt->kernel, (u64)addr, &walk))
		return NULL;
	return machine->mem_map + walk.pfn;
}

static void visit_area(const struct virt *virt, const struct vmap_area *area,
		       void (*visit)(const struct vm_area_info *info, void *arg), void *arg)
{
	static const char *const kinds[] = {[VMAP_VMALLOC] = "vmalloc",
					    [VMAP_VMAP] = "vmap",
					    [VMAP_RAM] = "vm_map_ram",
					    [VMAP_BLOCK] = "vm_map_ram"};
	struct vm_area_info info = {.addr = area->addr,
				    .kind = kinds[area->kind],
				    .size_bytes = area->range.size,
				    .nr_pages = area->nr_pages,
				    .nid = NUMA_NO_NODE,
				    .owns_pages = area->kind == VMAP_VMALLOC};
	struct pgtable_walk walk;

	if (area->kind == VMAP_BLOCK)
		info.nr_pages = vmap_block_live(area->block);
	if (pgtable_walk(virt->kernel, (u64)area->addr, &walk))
		info.nid = pfn_to_nid(virt->machine, walk.pfn);
	visit(&info, arg);
}

void vmalloc_for_each(struct kmm *machine,
		      void (*visit)(const struct vm_area_info *info, void *arg), void *arg)
{
	struct virt *virt = machine->virt;
	struct vmap_range *range;

	lock_acquire(&virt->lock);
	for (range = vmap_space_first(&virt->space); range; range = vmap_space_next(range)) {
		const struct vmap_area *area = container_of(range, struct vmap_area, range);

		if (READ_ONCE(area->state) == VMAP_LIVE)
			visit_area(virt, area, visit, arg);
	}
	lock_release(&virt->lock);
}

void vmalloc_for_each_lazy(struct kmm *machine,
			   void (*visit)(const struct vm_area_info *info, void *arg), void *arg)
{
	struct virt *virt = machine->virt;
	const struct vmap_area *area;

	lock_acquire(&virt->lock);
	list_for_each_entry(area, &virt->lazy_age, lazy_age)
		visit_area(virt, area, visit, arg);
	lock_release(&virt->lock);
}

void vmalloc_count(struct kmm *machine, struct vmalloc_counters *sum)
{
	struct kmm_cpu *cpu;

	*sum = (struct vmalloc_counters){0};
	for (cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu)) {
		const struct virt_cpu *vcpu = virt_cpu(machine->virt, cpu);

#define X(name) sum->name += READ_ONCE(vcpu->count.name);
		VMALLOC_COUNTERS(X)
#undef X
	}
	/* A CPU counts the areas that it made and those that it reused, each once. */
	sum->alloc += sum->reuse;
	sum->lazy_pages = vmap_lazy_pages(machine);
}

/* SPDX-License-Identifier: MIT */
/*
 * vmalloc and vfree, under the kernel's names. An area that was freed lately is reused as it is,
 * still mapped:
 *
 *	vmalloc -> this CPU's stack for the size                  fast: no lock, no call
 *	   slow -> a stack of a size up to a quarter larger        no lock either
 *	        -> the machine's lazy areas (vmap_lazy.c), and some for the stack besides
 *	        -> frames, addresses, mmap, page tables: of one area (vmap_map.c), or of 256 areas of
 *	           a page where mappings of the host get few (vmap_group.c)
 *	        -> something ran out: unmap all that is lazy, and again
 *	vfree   -> area_of[page], this CPU's stack                 fast: no lock, no call
 *	   slow -> the CPU may hold more; or many areas go to the machine's lists, and a purge follows
 *	           when those are full
 *
 * From address to area is one load from an array of a pointer for each page of the region. It
 * costs memory only where areas start, low addresses are dealt out first, and so it stays small.
 * The alternatives are dearer: a walk of the page tables to the frame is four loads, the tree
 * O(log n) and a lock.
 *
 * Locks: none on the fast paths. An area's state is written by whoever has the area in hand: its
 * owner until vfree, then the owner of the stack, then virt->lock. A double free finds the
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
	area = vmap_group_make(virt, cpu, &wish);
	if (!area)
		area = vmap_area_make(virt, vcpu, &wish);
	for (int i = 0; !area && i < VMAP_TRIES && vmap_lazy_drain_all(cpu->machine, cpu); i++)
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
	struct vmap_area *area;
	struct virt_cpu *vcpu;
	struct virt *virt;

	if (unlikely(bin >= VMAP_BINS || cpu == kmm_cpu_detached ||
		     (nid != NUMA_NO_NODE && nid != cpu->nid)))
		return vmalloc_slow(size, PAGE_SHIFT, nid);
	virt = cpu->machine->virt;
	vcpu = virt_cpu(virt, cpu);
	area = vmap_stack_pop(vcpu, bin);
	if (unlikely(!area))
		return vmalloc_slow(size, PAGE_SHIFT, nid);
	if (unlikely(area->nr_used != area->nr_pages))
		vmap_area_use(virt, area, area->nr_pages);
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
	struct vmap_area *area;
	const struct virt *virt;
	struct virt_cpu *vcpu;

	if (unlikely(cpu == kmm_cpu_detached))
		return vfree_slow(addr);
	virt = cpu->machine->virt;
	if (unlikely((unsigned long)addr - virt->base >= virt->size))
		return vfree_slow(addr);
	area = READ_ONCE(*vmap_area_slot(virt, (unsigned long)addr));
	if (unlikely(!area || READ_ONCE(area->addr) != addr ||
		     READ_ONCE(area->state) != VMAP_LIVE || area->bin >= VMAP_BINS ||
		     area->home != cpu->nid))
		return vfree_slow(addr);
	vcpu = virt_cpu(virt, cpu);
	if (unlikely(!vmap_stack_push(vcpu, area)))
		return vfree_slow(addr);
	WRITE_ONCE(area->state, VMAP_LAZY);
	if (area->nr_used != area->nr_pages)
		vmap_slack_add(vcpu, (long)area->nr_used - (long)area->nr_pages);
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

/* With the pages that the caller of a live area has, or all of a lazy one. */
static void visit_area(const struct virt *virt, const struct vmap_area *area, unsigned int nr_pages,
		       void (*visit)(const struct vm_area_info *info, void *arg), void *arg)
{
	static const char *const kinds[] = {[VMAP_VMALLOC] = "vmalloc",
					    [VMAP_VMAP] = "vmap",
					    [VMAP_RAM] = "vm_map_ram",
					    [VMAP_BLOCK] = "vm_map_ram"};
	unsigned long size = ((unsigned long)nr_pages + 1) << PAGE_SHIFT;
	unsigned long end = area->range.start + area->range.size;
	struct vm_area_info info = {.addr = (void *)(end - size),
				    .kind = kinds[area->kind],
				    .size_bytes = size,
				    .nr_pages = nr_pages,
				    .nid = NUMA_NO_NODE,
				    .owns_pages = area->kind == VMAP_VMALLOC};
	struct pgtable_walk walk;

	if (area->kind == VMAP_BLOCK)
		info.nr_pages = vmap_block_live(area->block);
	if (pgtable_walk(virt->kernel, (u64)info.addr, &walk))
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
			visit_area(virt, area, READ_ONCE(area->nr_used), visit, arg);
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
		visit_area(virt, area, area->nr_pages, visit, arg);
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

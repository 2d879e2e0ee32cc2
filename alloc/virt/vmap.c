/* SPDX-License-Identifier: MIT */
/*
 * vmap, vunmap, and what is large of vm_map_ram: pages of the caller's at addresses that follow each
 * other. The area is made as vmalloc's are (vmap_map.c), and once unmapped waits among the lazy ones
 * for the next purge (vmap_lazy.c). Nobody reuses it: only by chance would the next caller bring the
 * same pages.
 *
 * Locks: virt->lock, in what is called.
 *
 * After mm/vmalloc.c (6.1), which clears the page tables at once and only flushes the TLB lazily;
 * here the system call that unmaps is what is worth putting off.
 */
#include "base/check.h"
#include "phys/page.h"
#include "phys/zone.h"
#include "virt/virt.h"

bool vmap_pages_shared(const struct kmm *machine, struct page *const *pages, unsigned int nr_pages)
{
	const struct zone *zone = NULL;

	for (unsigned int i = 0; i < nr_pages; i++) {
		unsigned long pfn = (unsigned long)(pages[i] - machine->mem_map);

		if (!zone || pfn < zone->start_pfn || pfn >= zone->end_pfn)
			zone = pfn_zone(machine->phys, pfn);
		if (!zone->memfd_backed)
			return false;
	}
	return true;
}

struct vmap_area *vmap_pages(struct kmm_cpu *cpu, enum vmap_kind kind, struct page *const *pages,
			     unsigned int nr_pages, pgprot_t prot)
{
	struct virt *virt = cpu->machine->virt;
	struct virt_cpu *vcpu = virt_cpu(virt, cpu);
	struct vmap_wish wish = {nr_pages, cpu->nid, PAGE_SHIFT};
	struct vmap_area *area;

	if (!nr_pages || !vmap_pages_shared(cpu->machine, pages, nr_pages))
		return NULL;
	area = vmap_area_make_of(virt, vcpu, kind, &wish, pages, prot);
	for (int i = 0; !area && i < VMAP_TRIES && vmap_lazy_drain_all(cpu->machine, cpu); i++)
		area = vmap_area_make_of(virt, vcpu, kind, &wish, pages, prot);
	return area;
}

void *vmap(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot)
{
	struct vmap_area *area;

	KMM_BUG_ON(flags & ~VM_MAP, "vmap with flags %#lx", flags);
	KMM_BUG_ON(prot != PAGE_KERNEL && prot != PAGE_KERNEL_RO, "vmap with entry bits %#lx",
		   prot);
	area = vmap_pages(cpu_get(), VMAP_VMAP, pages, count, prot);
	return area ? area->addr : NULL;
}

struct vmap_area *vmap_area_at(const struct virt *virt, const void *addr, enum vmap_kind kind,
			       const char *call)
{
	unsigned long offset = (unsigned long)addr - virt->base;
	struct vmap_area *area;

	KMM_BUG_ON(offset >= virt->size, "%s of %p, which is no address of vmalloc", call, addr);
	area = READ_ONCE(*vmap_area_slot(virt, (unsigned long)addr));
	KMM_BUG_ON(!area || READ_ONCE(area->addr) != addr, "%s of %p, where no area starts", call, addr);
	KMM_BUG_ON(READ_ONCE(area->state) != VMAP_LIVE, "%s of %p, which is free already", call,
		   addr);
	KMM_BUG_ON(area->kind != kind, "%s of %p, which another call made", call, addr);
	return area;
}

void vunmap(const void *addr)
{
	struct kmm_cpu *cpu = cpu_get();
	struct virt *virt = cpu->machine->virt;

	if (addr)
		vmap_lazy_put(virt, cpu, vmap_area_at(virt, addr, VMAP_VMAP, "vunmap"));
}

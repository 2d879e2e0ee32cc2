/* SPDX-License-Identifier: MIT */
/*
 * vmap and vunmap: pages of the caller's at addresses that follow each other. The area is made as
 * vmalloc's are (vmap_map.c), and after vunmap waits among the lazy ones for the next purge
 * (vmap_lazy.c). Nobody reuses it: only by chance would the next caller bring the same pages.
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

static bool pages_can_be_mapped(const struct kmm *machine, struct page *const *pages,
				unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		if (!page_zone(machine->phys, pages[i])->memfd_backed)
			return false;
	return true;
}

void *vmap(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot)
{
	struct kmm_cpu *cpu = cpu_get();
	struct virt *virt = cpu->machine->virt;
	struct vmap_wish wish = {count, cpu->nid, PAGE_SHIFT};
	struct vmap_area *area;

	KMM_BUG_ON(flags & ~VM_MAP, "vmap with flags %#lx", flags);
	KMM_BUG_ON(prot != PAGE_KERNEL && prot != PAGE_KERNEL_RO, "vmap with entry bits %#lx",
		   prot);
	if (!count || !pages_can_be_mapped(cpu->machine, pages, count))
		return NULL;
	area = vmap_area_make_of(virt, virt_cpu(virt, cpu), &wish, pages, prot);
	if (!area && vmap_lazy_drain_all(cpu->machine, cpu))
		area = vmap_area_make_of(virt, virt_cpu(virt, cpu), &wish, pages, prot);
	return area ? area->addr : NULL;
}

void vunmap(const void *addr)
{
	struct kmm_cpu *cpu = cpu_get();
	struct virt *virt = cpu->machine->virt;
	unsigned long offset = (unsigned long)addr - virt->base;
	struct vmap_area *area;

	if (!addr)
		return;
	KMM_BUG_ON(offset >= virt->size, "vunmap of %p, which is no address of vmap", addr);
	area = READ_ONCE(*vmap_area_slot(virt, (unsigned long)addr));
	KMM_BUG_ON(!area || area->addr != addr, "vunmap of %p, where no area starts", addr);
	KMM_BUG_ON(area->kind != VMAP_VMAP, "vunmap of %p, which vmap did not make", addr);
	KMM_BUG_ON(READ_ONCE(area->state) != VMAP_LIVE, "vunmap of %p, which is unmapped already",
		   addr);
	vmap_lazy_put(virt, cpu, area);
}

/* SPDX-License-Identifier: MIT */
/*
 * vmalloc: memory that is contiguous in addresses and not in frames. Really mapped: the frames
 * come from the machine's memfd-backed zone, and appear at the area's address with an inaccessible
 * guard page behind. The kernel page tables (virt/pgtable.h) say the same for every area.
 *
 * vmap does it with frames of the caller's. Only those of the memfd-backed zone can be mapped a
 * second time: alloc_pages(GFP_KERNEL | __GFP_SHARED, ...).
 */
#ifndef KMM_VIRT_VMALLOC_H
#define KMM_VIRT_VMALLOC_H

#include <stdio.h>

#include "base/compiler.h"
#include "base/types.h"
#include "phys/gfp.h"
#include "virt/pgtable.h"

KMM_BEGIN_DECLS

/* size bytes (rounded up to pages), page-aligned, readable and writable, contents undefined. NULL
 * for size 0, no frames, no address range, or the host's limit of mappings. Never partly done. Of those an
 * area takes two or more; but when a quarter of them is used areas of a page share a few, if the host can
 * (Linux 6.15, memory not locked by mlockall): 256 take three, and the host's limit is some millions of them.
 */
KMM_API void *vmalloc(unsigned long size);
KMM_API void *vzalloc(unsigned long size);
/* Frames from node nid if it can be had. */
KMM_API void *vmalloc_node(unsigned long size, int nid);
/*
 * As vmalloc_node, at a multiple of align (a power of two, 0 for any; as large as the region allows).
 * Of gfp only __GFP_ZERO counts: the frames are those that vmalloc takes, and it may wait. caller is
 * the kernel's argument and is not looked at. An area that was freed lately is reused for the same
 * size and alignment; without one, also for up to a fifth less.
 */
KMM_API void *__vmalloc_node(unsigned long size, unsigned long align, gfp_t gfp, int nid,
			     const void *caller);
/* Free an area by its first address. Unmapping may come later, in batches. NULL does nothing; an
 * address that starts no live area stops the program. */
KMM_API void vfree(const void *addr);

/* Bits of the entries that a mapping is made with. */
typedef u64 pgprot_t;
#define PAGE_KERNEL    ((pgprot_t)(PTE_WRITE | PTE_ACCESSED | PTE_DIRTY | PTE_GLOBAL | PTE_NX))
#define PAGE_KERNEL_RO ((pgprot_t)(PTE_ACCESSED | PTE_GLOBAL | PTE_NX))

#define VM_MAP 0x4UL /* what vmap makes; the kernel's value */

/*
 * Map count pages, in this order, which may have pages more than once. flags: VM_MAP or 0. prot:
 * PAGE_KERNEL or PAGE_KERNEL_RO, which faults on a write. The pages stay the caller's, and must
 * outlive the mapping. NULL for count 0, for a page that can be mapped only once, and as vmalloc
 * does. Cost: a system call for each run of pages that follow each other in memory.
 */
KMM_API void *vmap(struct page **pages, unsigned int count, unsigned long flags, pgprot_t prot);
/* Unmap an area of vmap by its first address. It happens later, in batches, and until then a use may
 * go unnoticed. NULL does nothing; any other address stops the program. */
KMM_API void vunmap(const void *addr);

/*
 * vmap for a while: count pages, writable. Up to 64 pages it is cheaper, a piece of a block of
 * addresses that this CPU deals out; the same pages again, soon, cost no system call. No guard page
 * between such pieces. node is the kernel's argument and is not looked at.
 */
KMM_API void *vm_map_ram(struct page **pages, unsigned int count, int node);
/* Unmap it, whole: mem and count as they were, or the program stops. Any thread. It happens later,
 * as vunmap's does. */
KMM_API void vm_unmap_ram(const void *mem, unsigned int count);

/* The page behind an address in a live area, by a walk of the kernel page tables; NULL if none. Of an area
 * that was freed it may still be the page that was there, until the area is unmapped. */
KMM_API struct page *vmalloc_to_page(const void *addr);

/* Live areas in address order, with the lock held. */
struct vm_area_info {
	const void *addr;
	const char *kind;	  /* vmallocinfo's word: vmalloc, vmap, vm_map_ram */
	unsigned long size_bytes; /* with the guard page */
	unsigned int nr_pages;	  /* mapped for somebody */
	int nid;		  /* of its first page */
	bool owns_pages;	  /* they are counted in its line; vmap's are the caller's */
};
KMM_API void vmalloc_for_each(struct kmm *machine,
			      void (*visit)(const struct vm_area_info *, void *arg), void *arg);
/* The same for areas that are freed and still mapped, the longest freed first; without what CPUs
 * keep for themselves. */
KMM_API void vmalloc_for_each_lazy(struct kmm *machine,
				   void (*visit)(const struct vm_area_info *, void *arg),
				   void *arg);

/* As PHYS_COUNTERS. lazy_pages: of freed areas, still mapped (a block of vm_map_ram counts whole), and
 * what areas that were reused for fewer pages have more than their callers asked for. */
#define VMALLOC_COUNTERS(X)                                                                        \
	X(alloc)                                                                                   \
	X(reuse)      /* areas taken from the lazy lists, still mapped */                          \
	X(map_calls)  /* mmap calls */                                                             \
	X(purge)      /* batches of lazy areas unmapped */                                         \
	X(lazy_pages) /* held now */
struct vmalloc_counters {
#define X(name) u64 name;
	VMALLOC_COUNTERS(X)
#undef X
};
KMM_API void vmalloc_count(struct kmm *machine, struct vmalloc_counters *sum);

/* Check areas, free ranges and page tables against each other; stops the program with what
 * differs. */
KMM_API void vmalloc_validate(struct kmm *machine);

KMM_END_DECLS
#endif

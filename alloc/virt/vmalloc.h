/* SPDX-License-Identifier: MIT */
/*
 * vmalloc: memory that is contiguous in addresses and not in frames. Really mapped: the frames
 * come from the machine's memfd-backed zone, and appear at the area's address with an inaccessible
 * guard page behind. The kernel page tables (virt/pgtable.h) say the same for every area.
 */
#ifndef KMM_VIRT_VMALLOC_H
#define KMM_VIRT_VMALLOC_H

#include <stdio.h>

#include "base/compiler.h"
#include "base/types.h"

KMM_BEGIN_DECLS

/* size bytes (rounded up to pages), page-aligned, readable and writable, contents undefined. NULL
 * for size 0, no frames, no address range, or the host's limit of mappings. Never partly done. */
KMM_API void *vmalloc(unsigned long size);
KMM_API void *vzalloc(unsigned long size);
/* Frames from node nid if it can be had. */
KMM_API void *vmalloc_node(unsigned long size, int nid);
/* Free an area by its first address. Unmapping may come later, in batches. NULL does nothing; an
 * address that starts no live area stops the program. */
KMM_API void vfree(const void *addr);
/* The page behind an address in a live area, by a walk of the kernel page tables; NULL if none. */
KMM_API struct page *vmalloc_to_page(const void *addr);

/* Live areas in address order, with the lock held. */
struct vm_area_info {
	const void *addr;
	unsigned long size_bytes; /* with the guard page */
	unsigned int nr_pages;
	int nid; /* of its first page */
};
KMM_API void vmalloc_for_each(struct kmm *machine,
			      void (*visit)(const struct vm_area_info *, void *arg), void *arg);

/* As PHYS_COUNTERS. */
#define VMALLOC_COUNTERS(X)                                                                        \
	X(alloc)                                                                                   \
	X(reuse)      /* areas taken from the lazy lists, still mapped */                          \
	X(map_calls)  /* mmap calls */                                                             \
	X(purge)      /* batches of lazy areas unmapped */                                         \
	X(lazy_pages) /* frames mapped by freed areas now */
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

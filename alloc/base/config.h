/* SPDX-License-Identifier: MIT */
/* What a simulated machine is to be. Data, never #ifdef; every field's zero is its default. */
#ifndef KMM_BASE_CONFIG_H
#define KMM_BASE_CONFIG_H

#include "base/lock.h"
#include "base/types.h"

/*
 * Where zones begin and end in physical memory.
 *	x86_64	DMA below 16 MiB, DMA32 below 4 GiB, NORMAL above; SHARED (memfd) at each node's top
 *	i386	DMA below 16 MiB, NORMAL below 896 MiB, HIGHMEM (memfd-backed) above
 *	plain	NORMAL alone, as a process's heap wants it: no vmalloc, which must not be called, and
 *		one set of kmalloc caches for all kinds of pages, aligned to 16 at least
 */
enum zone_layout { ZONES_X86_64, ZONES_I386, ZONES_PLAIN, NR_ZONE_LAYOUTS };

/*
 * Which sizes kmalloc has caches of; all else is rounded up to one of them.
 *	kernel	8 16 32 64 96 128 192 256 512 1k 2k 4k 8k; beyond, powers of two
 *	fine	the multiples of 8 to 128 (of 16 on a plain machine), then 8 sizes to each doubling up
 *		to 32k: of a size beyond 128 a ninth is wasted at worst; beyond, whole pages
 */
enum kmalloc_classes { KMALLOC_CLASSES_KERNEL, KMALLOC_CLASSES_FINE, NR_KMALLOC_CLASSES };

struct kmm_config {
	/* Topology: at most one of the two; neither means this host. Strings need live only through
	 * kmm_boot. */
	const char *synthetic; /* hwloc's, such as "pack:2 [numa(memory=2GB)] core:4 pu:1" */
	const char *xml;       /* path of an hwloc XML file */

	/* Bytes of simulated memory per node, a multiple of 4 MiB. 0: the topology's own when it is
	 * synthetic or XML and fits this host, else a share of this host's free memory, 4 GiB in
	 * all at most. */
	u64 node_bytes;
	u64 shared_bytes; /* x86_64: of these, bytes of the memfd-backed zone; 0: a quarter */

	enum zone_layout layout;
	enum lock_kind lock_kind;

	/* Per-CPU page lists: pages moved at once, pages held at most, per zone, migratetype
	 * and order (each as far as its array has room, phys/pcp.h). 0: tuned from the zone. */
	unsigned int pcp_batch;
	unsigned int pcp_high;

	/* Threads attached at one time, at most; 0: KMM_MAX_SLOTS. Each costs PERCPU_SIZE of
	 * address space. */
	unsigned int max_slots;

	/* Free memory that is kept for those who cannot wait (phys/watermark.h). KiB in all zones
	 * together, 0: computed from the memory there is; and the distance between the watermarks
	 * above that, in ten thousandths of a zone, 1 to 3000, 0: 10. */
	unsigned long min_free_kbytes;
	unsigned int watermark_scale_factor;
	bool no_watermarks; /* keep nothing: anybody may take the last page */

	/* As the kernel's parameters of these names. Debugging of slab caches, NULL for none:
	 * LETTERS[,NAME...][;LETTERS,NAME...]..., with letters F, Z, P, U (slab/slab.h), none for
	 * all of them, - for none; a NAME may end in *. And no merging of like caches. */
	const char *slub_debug;
	bool slab_nomerge;
	enum kmalloc_classes kmalloc_classes;
	bool late_classes; /* plain: a kmalloc cache is made when its class is first wanted */

	bool warn_alloc; /* one line on stderr about the first allocation that fails */
	bool no_pcp;	 /* no per-CPU page lists at all: every page from the buddy */
	bool no_thp;	 /* do not ask for huge pages under the direct map */
	bool no_bind;	 /* leave placement to the OS */
};

#endif

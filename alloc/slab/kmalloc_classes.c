/* SPDX-License-Identifier: MIT */
/*
 * The size classes of kmalloc: which there are, their caches, and each slot's table of them.
 *
 *	kernel	8 16 32 64 96 128 192 256 512 1k 2k 4k 8k            mm/slab_common.c (6.1)
 *	fine	8 16 32 48 .. 112 128 144 160 .. 240 256 288 .. 30k 32k
 *
 * A fine class is a multiple of 16 up to 128, and then of an eighth of the power of two below it:
 * so a size that is rounded up to a multiple of a power of two, as memalign() wants it, is rounded
 * up by the classes to such a multiple again. An object is aligned to the largest power of two that
 * divides its class, as in the kernel since 6.9: to 16 at least, but for the 8-byte ones.
 *
 * Caches of each size are made for each kind of pages. Those for reclaimable and DMA pages have the
 * kernel's sizes always: they are few objects, and a fine size is served by the next one up. On a
 * plain machine, where pages are all of one kind, there is one set of caches.
 *
 * All is set at boot, then constant.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "slab/cache.h"

static const u16 kernel_sizes[NR_KMALLOC_KERNEL] = {8,	 16,  32,   64,	  96,	128, 192,
						    256, 512, 1024, 2048, 4096, 8192};

#define FINE_LINEAR 9  /* classes up to 128: 8, and 8 multiples of 16 */
#define FINE_STEPS  8U /* to each doubling after that */

static unsigned int fine_size(unsigned int class)
{
	unsigned int above;

	if (class < FINE_LINEAR)
		return class ? 16 * class : 8;
	above = class - FINE_LINEAR;
	return (FINE_STEPS + above % FINE_STEPS + 1) << (above / FINE_STEPS + 4);
}

static unsigned int nr_classes(enum kmalloc_classes set)
{
	return set == KMALLOC_CLASSES_FINE ? NR_KMALLOC_FINE : NR_KMALLOC_KERNEL;
}

static unsigned int class_size(enum kmalloc_classes set, unsigned int class)
{
	return set == KMALLOC_CLASSES_FINE ? fine_size(class) : kernel_sizes[class];
}

_Static_assert(PERCPU_SIZE / MAGAZINE_ALIGN - 1 <= UINT16_MAX,
	       "magazine offsets fit the size table");

/* Give a slot its size table. */
void kmalloc_cpu_init(struct slab *slab, struct kmm_cpu *cpu)
{
	struct kmem_cache **caches = slab->kmalloc_caches[KMALLOC_NORMAL];
	u16 *table = percpu_ptr(cpu, slab->size_table);

	table[0] = (u16)(slab->closed_magazine / MAGAZINE_ALIGN);
	for (unsigned int i = 1; i < KMALLOC_TABLE_SIZE; i++) {
		const struct kmem_cache *cache = caches[slab->kmalloc_class[i]];

		table[i] = cache ? (u16)(cache->mag_offset / MAGAZINE_ALIGN) : table[0];
	}
	cpu->kmalloc_table = slab->size_table;
}

static const char *class_name(struct slab *slab, enum kmalloc_type type, unsigned int size)
{
	static const char *const prefixes[NR_KMALLOC_TYPES] = {"kmalloc-", "kmalloc-rcl-",
							       "dma-kmalloc-"};
	char *name = slab->kmalloc_names[slab->nr_kmalloc_names++];
	bool whole = size >= 1024 && size % 1024 == 0;

	snprintf(name, sizeof(slab->kmalloc_names[0]), "%s%u%s", prefixes[type],
		 whole ? size / 1024 : size, whole ? "k" : "");
	return name;
}

static struct kmem_cache *class_cache(struct kmm *machine, enum kmalloc_type type,
				      unsigned int size)
{
	static const slab_flags_t flags[NR_KMALLOC_TYPES] = {
		[KMALLOC_RECLAIM] = SLAB_RECLAIM_ACCOUNT,
		[KMALLOC_DMA] = SLAB_CACHE_DMA,
	};

	/* A slab starts at a multiple of its size, so that more than a page is no waste. */
	return cache_create_boot(machine, class_name(machine->slab, type, size), size, size & -size,
				 flags[type] | SLAB_KMALLOC);
}

/* Caches of a set of sizes, for the machine's own classes. 0 or -ENOMEM. */
static int boot_type(struct kmm *machine, enum kmalloc_type type, enum kmalloc_classes set)
{
	struct kmem_cache **caches = machine->slab->kmalloc_caches[type];
	enum kmalloc_classes own = machine->config.kmalloc_classes;
	unsigned int class = 0;

	for (unsigned int i = 0; i < nr_classes(set); i++) {
		unsigned int size = class_size(set, i);
		struct kmem_cache *cache = class_cache(machine, type, size);

		if (!cache)
			return -ENOMEM;
		while (class < nr_classes(own) && class_size(own, class) <= size)
			caches[class ++] = cache;
	}
	return 0;
}

/* Make the caches. 0 or -ENOMEM, with those made so far on the list. */
int kmalloc_boot(struct kmm *machine)
{
	enum kmalloc_classes own = machine->config.kmalloc_classes;
	struct slab *slab = machine->slab;

	for (unsigned int type = 0; type < NR_KMALLOC_TYPES; type++) {
		int err = 0;

		if (type == KMALLOC_NORMAL)
			err = boot_type(machine, KMALLOC_NORMAL, own);
		else if (machine->config.layout == ZONES_PLAIN)
			memcpy(slab->kmalloc_caches[type], slab->kmalloc_caches[KMALLOC_NORMAL],
			       sizeof(slab->kmalloc_caches[type]));
		else
			err = boot_type(machine, (enum kmalloc_type)type, KMALLOC_CLASSES_KERNEL);
		if (err)
			return err;
	}
	for (unsigned int i = 1, class = 0; i < KMALLOC_TABLE_SIZE; i++) {
		while (class < nr_classes(own) && class_size(own, class) < i * 8)
			class ++;
		slab->kmalloc_class[i] = (u8) class;
	}
	return 0;
}

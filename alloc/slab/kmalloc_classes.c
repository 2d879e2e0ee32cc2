/* SPDX-License-Identifier: MIT */
/*
 * The size classes of kmalloc: which there are, their caches, and each slot's table of them.
 *
 *	kernel	8 16 32 64 96 128 192 256 512 1k 2k 4k 8k            mm/slab_common.c (6.1)
 *	fine	8 16 24 32 .. 120 128 144 160 .. 240 256 288 .. 30k 32k
 *
 * A fine class is a multiple of 8 up to 128, and then of an eighth of the power of two below it:
 * so a size that is rounded up to a multiple of a power of two, as memalign() wants it, is rounded
 * up by the classes to such a multiple again. An object is aligned to the largest power of two that
 * divides its class, as in the kernel since 6.9. On a plain machine, as C wants it of malloc,
 * sizes beyond 8 bytes have multiples of 16 only.
 *
 * Caches of each size are made for each kind of pages. Those for reclaimable and DMA pages have the
 * kernel's sizes always: they are few objects, and a fine size is served by the next one up. On a
 * plain machine, where pages are all of one kind, there is one set of caches.
 *
 * All is set at boot, then constant; but with late_classes, as a process's heap has it, a cache is made
 * when its class is first wanted, because most programs want few, and are short. Two threads may make
 * one at once: the one that finds the other's in place gives its own up.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "slab/cache.h"

static const u16 kernel_sizes[NR_KMALLOC_KERNEL] = {8,	 16,  32,   64,	  96,	128, 192,
						    256, 512, 1024, 2048, 4096, 8192};

static unsigned int fine_size(unsigned int class)
{
	unsigned int above;

	if (class < KMALLOC_FINE_LINEAR)
		return 8 * (class + 1);
	above = class - KMALLOC_FINE_LINEAR;
	return (KMALLOC_FINE_STEPS + above % KMALLOC_FINE_STEPS + 1)
	       << (above / KMALLOC_FINE_STEPS + 4);
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

/* The magazine's page, before anybody reads it: a page that is read first has to be got from the host
 * twice, once as zeros and once to be written to. */
static void touch(struct magazine *mag)
{
	u64 nothing = 0;

	(void)__atomic_compare_exchange_n(&mag->slow_allocs, &nothing, 0, false, __ATOMIC_RELAXED,
					  __ATOMIC_RELAXED);
}

/*
 * Write a class into a slot's size table, for each size of it. The slot's owner calls this when it first
 * wants the class: most programs use few, and then the table's pages and the magazines' cost nothing.
 */
KMM_COLD void kmalloc_open_class(struct kmm_cpu *cpu, size_t size)
{
	const struct kmem_cache *cache = kmalloc_cache(cpu->machine, KMALLOC_NORMAL, size);
	const struct kmm_config *config = &cpu->machine->config;
	unsigned int class = kmalloc_class(config, size);
	unsigned int last = class_size(config->kmalloc_classes, class) / 8, first = last;
	u16 *table = percpu_ptr(cpu, cpu->kmalloc_table);

	while (first > 1 && kmalloc_class(config, 8 * (first - 1)) == class)
		first--;
	touch(cache_magazine(cache, cpu));
	for (unsigned int i = first; i <= last; i++)
		table[i] = (u16)(cache->mag_offset / MAGAZINE_ALIGN);
}

/* Takes slab->lock, as two threads may want the same. */
static const char *class_name(struct slab *slab, enum kmalloc_type type, unsigned int class,
			      unsigned int size)
{
	static const char *const prefixes[NR_KMALLOC_TYPES] = {"kmalloc-", "kmalloc-rcl-",
							       "dma-kmalloc-"};
	unsigned int before = type ? NR_KMALLOC_FINE + (type - 1U) * NR_KMALLOC_KERNEL : 0;
	char *name = slab->kmalloc_names[before + class];
	bool whole = size >= 1024 && size % 1024 == 0;

	lock_acquire(&slab->lock);
	if (!*name) {
		struct text text = text_begin(name, sizeof(slab->kmalloc_names[0]));

		text_add(&text, prefixes[type]);
		text_add_number(&text, whole ? size / 1024 : size);
		text_add(&text, whole ? "k" : "");
	}
	lock_release(&slab->lock);
	return name;
}

static struct kmem_cache *class_cache(struct kmm *machine, enum kmalloc_type type,
				      enum kmalloc_classes set, unsigned int class)
{
	static const slab_flags_t flags[NR_KMALLOC_TYPES] = {
		[KMALLOC_RECLAIM] = SLAB_RECLAIM_ACCOUNT,
		[KMALLOC_DMA] = SLAB_CACHE_DMA,
	};
	unsigned int size = class_size(set, class);
	/* One that came late may be given up again, and so can stand in for no other. */
	slab_flags_t alone = machine->config.late_classes ? SLAB_NO_MERGE : 0;

	/* A slab starts at a multiple of its size, so that more than a page is no waste. */
	return cache_create_boot(machine, class_name(machine->slab, type, class, size), size,
				 size & -size, flags[type] | alone | SLAB_KMALLOC);
}

/* Caches of a set of sizes, for the machine's own classes. 0 or -ENOMEM. */
static int boot_type(struct kmm *machine, enum kmalloc_type type, enum kmalloc_classes set)
{
	struct kmem_cache **caches = machine->slab->kmalloc_caches[type];
	enum kmalloc_classes own = machine->config.kmalloc_classes;
	unsigned int class = 0;

	for (unsigned int i = 0; i < nr_classes(set); i++) {
		struct kmem_cache *cache = class_cache(machine, type, set, i);

		if (!cache)
			return -ENOMEM;
		while (class < nr_classes(own) && class_size(own, class) <= class_size(set, i))
			caches[class ++] = cache;
	}
	return 0;
}

/* A plain machine's one cache for pages of all types. */
static void share(struct slab *slab, unsigned int class, struct kmem_cache *cache)
{
	/* Release: the cache stays before the store that shows it to who takes no lock. */
	for (unsigned int type = 0; type < NR_KMALLOC_TYPES; type++)
		__atomic_store_n(&slab->kmalloc_caches[type][class], cache, __ATOMIC_RELEASE);
}

KMM_COLD struct kmem_cache *kmalloc_late_cache(struct kmm *machine, unsigned int class)
{
	enum kmalloc_classes own = machine->config.kmalloc_classes;
	struct slab *slab = machine->slab;
	struct kmem_cache *cache, *first;

	if (!machine->config.late_classes || class >= nr_classes(own))
		return NULL;
	cache = class_cache(machine, KMALLOC_NORMAL, own, class);
	if (!cache)
		return NULL;
	lock_acquire(&slab->lock);
	first = slab->kmalloc_caches[KMALLOC_NORMAL][class];
	if (first)
		list_del(&cache->list);
	else
		share(slab, class, cache);
	lock_release(&slab->lock);
	if (!first)
		return cache;
	cache_release(cache); /* another thread was faster */
	return first;
}

/* Make the caches, but for those that are to be made late. 0 or -ENOMEM, with those made so far on the
 * list. */
int kmalloc_boot(struct kmm *machine)
{
	enum kmalloc_classes own = machine->config.kmalloc_classes;
	int err;

	if (machine->config.late_classes)
		return 0;
	err = boot_type(machine, KMALLOC_NORMAL, own);
	if (!err && machine->config.layout == ZONES_PLAIN) {
		for (unsigned int class = 0; class < nr_classes(own); class ++)
			share(machine->slab, class,
			      machine->slab->kmalloc_caches[KMALLOC_NORMAL][class]);
		return 0;
	}
	for (unsigned int type = KMALLOC_NORMAL + 1; type < NR_KMALLOC_TYPES && !err; type++)
		err = boot_type(machine, (enum kmalloc_type)type, KMALLOC_CLASSES_KERNEL);
	return err;
}

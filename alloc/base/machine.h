/* SPDX-License-Identifier: MIT */
/*
 * struct kmm: one simulated machine, and the root of all its state. Each layer keeps its own part
 * behind a pointer that only it looks through, so base knows their names and nothing else of them.
 */
#ifndef KMM_BASE_MACHINE_H
#define KMM_BASE_MACHINE_H

#include <pthread.h>

#include "base/compiler.h"
#include "base/config.h"
#include "base/cpu.h"
#include "base/lock.h"

struct topology;
struct phys;
struct slab;
struct virt;

/* What was still allocated at shutdown. */
struct kmm_leaks {
	u64 pages;   /* frames neither free nor the machine's own, leaked objects' too */
	u64 objects; /* slab objects in all caches */
	u64 object_bytes;
	u64 large_kmallocs; /* kmallocs beyond the largest cache */
	u64 vmap_areas;	    /* vmalloc areas */
	u64 kmaps;	    /* windows of kmap and kmap_local still in use */
};

struct kmm {
	/* With defaults filled in; its strings are the machine's own copies. node_bytes stays 0
	 * where the nodes of the topology differ in size, and shared_bytes then too. */
	struct kmm_config config;
	struct topology *topology;
	struct phys *phys;
	struct slab *slab;
	struct virt *virt;

	/* Set at boot, then constant; copied into each slot. */
	struct page *mem_map;
	char *direct_map;
	unsigned long nr_frames;

	const struct kmm_layer *const *layers; /* booted so far, in order */
	unsigned int nr_layers;
	char *slots_base;	  /* reserved for KMM_MAX_SLOTS slots */
	pthread_key_t detach_key; /* its destructor gives a dying thread's slot back */
	s32 pid;		  /* of the process that booted it */

	struct lock slots_lock; /* RANK_MACHINE. slots_lock protects: */
	u32 nr_slots;		/* made so far; grows only; cpu_first/next read it without */
	struct kmm_cpu **idle;	/* [cpu]: slots of that CPU without a thread, last left first */
	u64 *percpu_map;	/* a bit a cache line of a slot: handed out */
	u32 percpu_full;	/* before this line no two neighbours are free */
};

/*
 * One layer of the house. At boot each in turn: boot, then cpu_init of the slots there are (phys
 * boots with the calling thread attached to none, the later ones with it attached to slot 0). At
 * shutdown from the last to the first: cpu_drain of every slot, then shutdown. cpu_init, cpu_adopt
 * and cpu_drain run with slots_lock held, the first and the last with this_cpu pointing at the slot
 * in question, so that what a layer gives to the ones above goes through that slot. They must not
 * ask for per-CPU memory. cpu_adopt may be NULL.
 */
struct kmm_layer {
	const char *name;
	bool not_plain; /* machines of layout ZONES_PLAIN do without it, and those after it */
	/* 0; or -errno, and then nothing is left behind. */
	int (*boot)(struct kmm *machine);
	/* A new slot: its caches may open now. */
	void (*cpu_init)(struct kmm *machine, struct kmm_cpu *cpu);
	/* Another thread has become the slot's owner: forget what was the last one's alone. */
	void (*cpu_adopt)(struct kmm *machine, struct kmm_cpu *cpu);
	/* Give back all that the slot caches; it is this thread's or idle, or the machine ends. */
	void (*cpu_drain)(struct kmm *machine, struct kmm_cpu *cpu);
	/* In the child of a fork: the slot's owner stayed behind, and may have been anywhere. Empty
	 * what the slot caches without a look at it; what that was is lost. May be NULL. */
	void (*cpu_forget)(struct kmm *machine, struct kmm_cpu *cpu);
	/* Give what no slot holds, and nobody has used since the last call, to the layer below. May
	 * be NULL. Only calls that take no slots_lock. */
	void (*age)(struct kmm *machine);
	/* Count leaks, release all. */
	void (*shutdown)(struct kmm *machine, struct kmm_leaks *leaks);
};

extern const struct kmm_layer phys_layer, slab_layer, virt_layer;
/* What a machine is booted from, in order, and then NULL; whatever kmm is linked into says it. */
extern const struct kmm_layer *const kmm_layers[];

/*
 * Say in one line why this thread's boot fails ("what: what is wrong", no newline), for
 * kmm_boot_error(). Returns error, so that a layer can `return boot_refuse(-ENOMEM, "phys: ...",
 * ...)`.
 */
KMM_COLD __attribute__((format(printf, 2, 3))) int boot_refuse(int error, const char *fmt, ...);
/* Forget what an earlier boot was refused for. */
void boot_refuse_nothing(void);
const char *boot_refusal(void);

#endif

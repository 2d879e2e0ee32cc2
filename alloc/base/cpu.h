/* SPDX-License-Identifier: MIT */
/*
 * CPU slots: what a thread owns while it is attached to a machine, and the per-CPU memory behind
 * it.
 *
 * A slot belongs to one thread at a time; nothing in it needs a lock or an atomic from its owner. A
 * machine starts with none and grows one per attached thread, up to KMM_MAX_SLOTS, so there may be
 * more slots than CPUs. A slot that its thread has left keeps its caches, and the next thread on
 * that CPU (or, failing that, node) adopts it. An idle slot may be drained by anyone holding
 * machine->slots_lock. Only when no slot can be made any more does a thread take an idle one of
 * another node, drained first.
 *
 *	machine->slots_base                        one PERCPU_SIZE region a slot, memory as touched
 *	| slot 0                  | slot 1                  | ...
 *	  struct kmm_cpu | phys's part | slab's magazines, handed out by percpu_alloc() ...
 *
 * this_cpu is never NULL: a thread that has not attached points at kmm_cpu_detached, a slot of
 * zeros, where every per-CPU cache is empty and of capacity 0. So fast paths need no test for it:
 * they find nothing, and fall into slow paths, which call cpu_get().
 */
#ifndef KMM_BASE_CPU_H
#define KMM_BASE_CPU_H

#include "base/compiler.h"
#include "base/types.h"

KMM_BEGIN_DECLS

#define PERCPU_SIZE (8UL << 20) /* address space a slot; only what is touched costs memory */

struct kmm_cpu {
	/* Set when the slot is made, then constant. Copies of the machine's, to spare fast paths a
	 * load. */
	struct kmm *machine;
	struct page *mem_map; /* page of frame 0 */
	char *direct_map;     /* address of frame 0 */
	unsigned long nr_frames;
	u32 slot; /* 0 .. KMM_MAX_SLOTS - 1 */
	/* Changed only while the slot is idle, under slots_lock, when a thread of another CPU
	 * adopts it. */
	s32 nid;	   /* the node of that CPU */
	u32 cpu;	   /* the topology's logical CPU */
	u32 kmalloc_table; /* slab's: offset in the slot of its size table; 0 until slab sets it */

	/* machine->slots_lock protects: */
	bool owned;
	u8 idle_age;   /* while idle: calls of slots_age() since a thread had it */
	s32 owner_tid; /* the owning thread, as the OS numbers it */
	struct kmm_cpu *next_idle;
} CACHELINE_ALIGNED;

_Static_assert(sizeof(struct kmm_cpu) == 64, "one cache line");

/* phys's part starts right behind the struct, so that page fast paths need no offset from
 * memory. */
#define PERCPU_PHYS_OFFSET sizeof(struct kmm_cpu)

extern KMM_API __thread struct kmm_cpu *this_cpu __attribute__((tls_model("initial-exec")));
extern KMM_API struct kmm_cpu *const kmm_cpu_detached;

/* Attach to the process's current machine, on the CPU this thread runs on; stops the program if
 * there is none. */
KMM_COLD KMM_API struct kmm_cpu *cpu_attach_slow(void);

/* This thread's slot, attached if it was not. */
static inline struct kmm_cpu *cpu_get(void)
{
	struct kmm_cpu *cpu = this_cpu;

	return likely(cpu != kmm_cpu_detached) ? cpu : cpu_attach_slow();
}

static inline void *percpu_ptr(struct kmm_cpu *cpu, size_t offset)
{
	return (char *)cpu + offset;
}

/*
 * Hand out size bytes (rounded up to cache lines; zeroed, aligned to align, a power of two up to a
 * page) at one offset in every slot of the machine, present and future: the lowest that is free, so
 * the first to ask (phys, at boot) gets PERCPU_PHYS_OFFSET. Returns the offset, or 0 when the
 * region is used up. Takes machine->slots_lock. percpu_free gives the range back; the caller has
 * zeroed it in every slot.
 */
size_t percpu_alloc(struct kmm *machine, size_t size, size_t align);
void percpu_free(struct kmm *machine, size_t offset, size_t size);

/*
 * Every slot ever made, owned or idle: for (cpu = cpu_first(m); cpu; cpu = cpu_next(m, cpu)). Takes
 * no lock. A slot is listed before its layers' cpu_init run, so whoever adds something to every
 * slot and to a list that cpu_init reads, in the order list, then slots, misses none (and may see
 * one twice).
 */
struct kmm_cpu *cpu_first(struct kmm *machine);
struct kmm_cpu *cpu_next(struct kmm *machine, struct kmm_cpu *cpu);

KMM_END_DECLS
#endif

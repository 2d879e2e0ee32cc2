/* SPDX-License-Identifier: MIT */
/*
 * What boot.c needs of the CPU slots beyond base/cpu.h. A slot is either owned by one thread, or on
 * the idle list of its CPU; owned + idle == nr_slots.
 */
#ifndef KMM_ARCH_SLOTS_H
#define KMM_ARCH_SLOTS_H

#include "base/cpu.h"
#include "base/machine.h"

/* Cache lines of a slot: bits of machine->percpu_map. */
#define PERCPU_LINES (PERCPU_SIZE / CACHELINE_SIZE)

/* Make the machine able to have slots, with none so far. Wants machine->topology and config. 0, or
 * -errno and nothing left behind. */
int slots_boot(struct kmm *machine);
/* Give all slots back to the host, whoever owns them; the layers have drained and closed them. */
void slots_shutdown(struct kmm *machine);

/* A layer has just booted: run its cpu_init for the slots there are. Takes slots_lock. */
void slots_open_layer(struct kmm *machine, const struct kmm_layer *layer);
/* A layer is about to end: run its cpu_drain for all slots. Takes slots_lock. */
void slots_drain_layer(struct kmm *machine, const struct kmm_layer *layer);

/* Attach and detach the calling thread, as kmm_attach and kmm_detach say. */
int slot_attach(struct kmm *machine, int cpu);
void slot_detach(void);
/* Drain this thread's slot and all idle ones, as kmm_drain says. */
void slots_drain(struct kmm *machine);

/* Drain slots that have been idle for two calls; a few at a time. Takes slots_lock. */
void slots_age(struct kmm *machine);

/* In the child of a fork that was made with all of the machine's locks held: the slots of threads
 * that are not here, all but this thread's and `keep` (or NULL), become idle and empty. */
void slots_after_fork(struct kmm *machine, const struct kmm_cpu *keep);

/*
 * Let the calling thread use a slot of the machine for a while without being attached to it:
 * returns where it was, for slot_return. On an error (-EAGAIN, -ENOMEM) nothing has changed.
 */
int slot_borrow(struct kmm *machine, struct kmm_cpu **before);
void slot_return(struct kmm_cpu *before);
/* Keep the borrowed slot: the thread is attached through it from now on. 0, or -ENOMEM and still
 * borrowed. */
int slot_keep(void);

/* The process's current machine. current_offer makes it this one if there is none; current_withdraw
 * makes it none if it was this one. */
struct kmm *current_machine(void);
bool current_offer(struct kmm *machine);
void current_withdraw(struct kmm *machine);

#endif

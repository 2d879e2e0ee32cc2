/* SPDX-License-Identifier: MIT */
/*
 * CPU slots (base/cpu.h): making them, attaching threads to them, adopting them, draining them.
 *
 * It lives in arch because slots are the host's memory and CPUs. It knows the layers above only
 * through machine->layers.
 *
 * Locks: slots_lock (RANK_MACHINE, the outermost), for everything but the owner's own use of its
 * slot. The lock is also what orders one owner's last use of a slot before the next owner's first.
 *
 * A thread's end: a pthread key holds the slot, and its destructor gives it back. Destructors run
 * in any order and may allocate again; the thread is then attached again, which arms the key for
 * the next of the rounds that pthread makes. A destructor that does so in the last round leaves a
 * slot owned by nobody. Such slots are found, by asking the OS whether the owner still exists, when
 * slots run out and when they are drained.
 *
 * fork: the child has the one thread that forked, and that thread's slot is good. What other
 * threads owned stays owned for ever: they may have been stopped half way. So may their locks; as
 * with any lock, a process of several threads should not fork while they are inside the machine,
 * unless the child calls exec; or whoever forks holds every lock meanwhile, and the child gives up
 * what those slots cache, by slots_after_fork().
 */
#include "arch/slots.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/host.h"
#include "arch/topology.h"
#include "base/check.h"

/* The slot of a thread that has none: zeros, for ever. */
static char detached[PERCPU_SIZE] __attribute__((aligned(4096)));
struct kmm_cpu *const kmm_cpu_detached = (struct kmm_cpu *)detached;

__thread struct kmm_cpu *this_cpu __attribute__((tls_model("initial-exec"))) =
	(struct kmm_cpu *)detached;

static struct kmm *current;

/* A store that would have been lost in the zeros of all detached threads stops the program
 * instead. */
__attribute__((constructor)) static void protect_detached(void)
{
	(void)mprotect(detached, sizeof(detached), PROT_READ);
}

struct kmm *current_machine(void)
{
	/* Acquire: whoever sees the machine sees it booted. */
	return __atomic_load_n(&current, __ATOMIC_ACQUIRE);
}

bool current_offer(struct kmm *machine)
{
	struct kmm *none = NULL;

	/* Release: the boot stays before the store that shows the machine. */
	return __atomic_compare_exchange_n(&current, &none, machine, false, __ATOMIC_RELEASE,
					   __ATOMIC_RELAXED);
}

void current_withdraw(struct kmm *machine)
{
	(void)__atomic_compare_exchange_n(&current, &machine, NULL, false, __ATOMIC_RELAXED,
					  __ATOMIC_RELAXED);
}

/*
 * All slots
 */

static struct kmm_cpu *slot_at(struct kmm *machine, u32 slot)
{
	return (struct kmm_cpu *)(machine->slots_base + slot * PERCPU_SIZE);
}

struct kmm_cpu *cpu_first(struct kmm *machine)
{
	/* Acquire: whoever sees the slot counted sees its constants. */
	return __atomic_load_n(&machine->nr_slots, __ATOMIC_ACQUIRE) ? slot_at(machine, 0) : NULL;
}

struct kmm_cpu *cpu_next(struct kmm *machine, struct kmm_cpu *cpu)
{
	u32 next = cpu->slot + 1;

	/* Acquire: as in cpu_first. */
	return next < __atomic_load_n(&machine->nr_slots, __ATOMIC_ACQUIRE) ? slot_at(machine, next)
									    : NULL;
}

/* Run a layer's work on a slot in the name of that slot. slots_lock held. */
static void open_in_layer(struct kmm_cpu *cpu, const struct kmm_layer *layer)
{
	struct kmm_cpu *before = this_cpu;

	this_cpu = cpu;
	if (layer->cpu_init)
		layer->cpu_init(cpu->machine, cpu);
	this_cpu = before;
}

static void drain_in_layer(struct kmm_cpu *cpu, const struct kmm_layer *layer)
{
	struct kmm_cpu *before = this_cpu;

	this_cpu = cpu;
	if (layer->cpu_drain)
		layer->cpu_drain(cpu->machine, cpu);
	this_cpu = before;
}

/* Lowest layer last: what the others give back to it goes through its caches. */
static void drain_locked(struct kmm_cpu *cpu)
{
	for (unsigned int i = cpu->machine->nr_layers; i-- > 0;)
		drain_in_layer(cpu, cpu->machine->layers[i]);
}

void slots_open_layer(struct kmm *machine, const struct kmm_layer *layer)
{
	lock_acquire(&machine->slots_lock);
	for (u32 slot = 0; slot < machine->nr_slots; slot++)
		open_in_layer(slot_at(machine, slot), layer);
	lock_release(&machine->slots_lock);
}

void slots_drain_layer(struct kmm *machine, const struct kmm_layer *layer)
{
	lock_acquire(&machine->slots_lock);
	for (u32 slot = 0; slot < machine->nr_slots; slot++)
		drain_in_layer(slot_at(machine, slot), layer);
	lock_release(&machine->slots_lock);
}

/*
 * Making, adopting and leaving a slot. slots_lock held.
 */

/* The lists of idle slots are in order: the first slots have the largest shares of a zone, and should
 * not lie idle while a thread has one of the last. */
static void give_locked(struct kmm_cpu *cpu)
{
	struct kmm_cpu **list = &cpu->machine->idle[cpu->cpu];

	while (*list && (*list)->slot < cpu->slot)
		list = &(*list)->next_idle;
	cpu->owned = false;
	cpu->next_idle = *list;
	*list = cpu;
}

static struct kmm_cpu *pop_idle(struct kmm *machine, unsigned int cpu)
{
	struct kmm_cpu *slot = machine->idle[cpu];

	if (slot)
		machine->idle[cpu] = slot->next_idle;
	return slot;
}

/* An idle slot of this CPU, else of its node; of any (anywhere) drained first and moved to this
 * node. */
static struct kmm_cpu *adopt_locked(struct kmm *machine, unsigned int cpu, bool anywhere)
{
	int nid = topology_cpu(machine->topology, cpu)->nid;
	unsigned int nr_cpus = topology_nr_cpus(machine->topology);
	struct kmm_cpu *slot = pop_idle(machine, cpu);

	for (unsigned int other = 0; !slot && other < nr_cpus; other++) {
		if (!anywhere && topology_cpu(machine->topology, other)->nid != nid)
			continue;
		slot = pop_idle(machine, other);
		if (slot && slot->nid != nid)
			drain_locked(slot);
	}
	if (slot) {
		WRITE_ONCE(slot->cpu, cpu);
		WRITE_ONCE(slot->nid, nid);
	}
	return slot;
}

static int make_locked(struct kmm *machine, unsigned int cpu, struct kmm_cpu **out)
{
	struct kmm_cpu *slot = slot_at(machine, machine->nr_slots);
	int nid = topology_cpu(machine->topology, cpu)->nid;
	int error;

	error = host_commit(slot, PERCPU_SIZE, false);
	if (error)
		return error;
	/* Before its first page is written to, by a thread that may be elsewhere. */
	if (!machine->config.no_bind)
		(void)topology_bind_memory(machine->topology, slot, PERCPU_SIZE, nid);
	slot->machine = machine;
	slot->mem_map = machine->mem_map;
	slot->direct_map = machine->direct_map;
	slot->nr_frames = machine->nr_frames;
	slot->slot = machine->nr_slots;
	slot->cpu = cpu;
	slot->nid = nid;
	/* Release: the constants stay before the count that shows the slot. Shown before it is
	 * opened: see cpu.h. */
	__atomic_store_n(&machine->nr_slots, machine->nr_slots + 1, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < machine->nr_layers; i++)
		open_in_layer(slot, machine->layers[i]);
	*out = slot;
	return 0;
}

/* Slots whose owner ended without giving them back become idle. */
static void find_lost_locked(struct kmm *machine)
{
	pid_t pid = getpid();

	if (pid != machine->pid)
		return; /* forked: see the heading */
	for (u32 i = 0; i < machine->nr_slots; i++) {
		struct kmm_cpu *slot = slot_at(machine, i);

		if (slot->owned && syscall(SYS_tgkill, pid, slot->owner_tid, 0) && errno == ESRCH)
			give_locked(slot);
	}
}

static int take_locked(struct kmm *machine, unsigned int cpu, struct kmm_cpu **out)
{
	int error = -EAGAIN;

	*out = adopt_locked(machine, cpu, false);
	if (!*out && machine->nr_slots < machine->config.max_slots)
		error = make_locked(machine, cpu, out);
	if (!*out) {
		find_lost_locked(machine);
		*out = adopt_locked(machine, cpu, true);
	}
	if (!*out)
		return error;
	(*out)->owned = true;
	(*out)->owner_tid = (s32)syscall(SYS_gettid);
	for (unsigned int i = 0; i < machine->nr_layers; i++)
		if (machine->layers[i]->cpu_adopt)
			machine->layers[i]->cpu_adopt(machine, *out);
	return 0;
}

/* A slot on logical CPU cpu, or on the one the thread runs on (-1). Takes slots_lock. */
static int take(struct kmm *machine, int cpu, struct kmm_cpu **out)
{
	unsigned int nr_cpus = topology_nr_cpus(machine->topology);
	int error;

	if (cpu < 0) {
		int os = host_current_cpu();

		cpu = topology_cpu_of_os(machine->topology, os);
		if (cpu < 0)
			cpu = os % (int)nr_cpus; /* the process was allowed more CPUs since boot */
	}
	lock_acquire(&machine->slots_lock);
	error = take_locked(machine, (unsigned int)cpu, out);
	lock_release(&machine->slots_lock);
	return error;
}

static void give(struct kmm_cpu *cpu)
{
	struct kmm *machine = cpu->machine;

	lock_acquire(&machine->slots_lock);
	give_locked(cpu);
	lock_release(&machine->slots_lock);
}

/*
 * Threads
 */

static void thread_ends(void *slot)
{
	if (this_cpu == slot)
		this_cpu = kmm_cpu_detached;
	give(slot);
}

void slot_detach(void)
{
	struct kmm_cpu *cpu = this_cpu;

	if (cpu == kmm_cpu_detached)
		return;
	pthread_setspecific(cpu->machine->detach_key, NULL);
	this_cpu = kmm_cpu_detached;
	give(cpu);
}

int slot_attach(struct kmm *machine, int cpu)
{
	struct kmm_cpu *slot;
	int error;

	if (cpu < -1 || cpu >= (int)topology_nr_cpus(machine->topology))
		return -EINVAL;
	slot_detach();
	error = take(machine, cpu, &slot);
	if (error)
		return error;
	this_cpu = slot;
	error = slot_keep();
	if (error)
		slot_return(kmm_cpu_detached);
	return error;
}

int slot_borrow(struct kmm *machine, struct kmm_cpu **before)
{
	struct kmm_cpu *slot;
	int error = take(machine, -1, &slot);

	if (error)
		return error;
	*before = this_cpu;
	this_cpu = slot;
	return 0;
}

void slot_return(struct kmm_cpu *before)
{
	struct kmm_cpu *slot = this_cpu;

	this_cpu = before;
	give(slot);
}

int slot_keep(void)
{
	this_cpu->idle_age = 0; /* who only borrows a slot leaves it as it was */
	return -pthread_setspecific(this_cpu->machine->detach_key, this_cpu);
}

struct kmm_cpu *cpu_attach_slow(void)
{
	struct kmm *machine = current_machine();
	int error;

	KMM_BUG_ON(!machine, "no machine: call kmm_boot first");
	error = slot_attach(machine, -1);
	KMM_BUG_ON(error, "this thread cannot attach: %s", strerror(-error));
	return this_cpu;
}

void slots_drain(struct kmm *machine)
{
	lock_acquire(&machine->slots_lock);
	find_lost_locked(machine);
	for (u32 i = 0; i < machine->nr_slots; i++) {
		struct kmm_cpu *slot = slot_at(machine, i);

		if (!slot->owned || slot == this_cpu)
			drain_locked(slot);
	}
	lock_release(&machine->slots_lock);
}

#define SLOT_AGE_DRAINED 2   /* calls */
#define SLOTS_AGE_MOST	 16U /* slots drained a call */

void slots_age(struct kmm *machine)
{
	unsigned int nr = 0;

	lock_acquire(&machine->slots_lock);
	for (u32 i = 0; i < machine->nr_slots && nr < SLOTS_AGE_MOST; i++) {
		struct kmm_cpu *slot = slot_at(machine, i);

		if (slot->owned || slot->idle_age == SLOT_AGE_DRAINED)
			continue;
		if (++slot->idle_age < SLOT_AGE_DRAINED)
			continue;
		drain_locked(slot);
		nr++;
	}
	lock_release(&machine->slots_lock);
}

void slots_after_fork(struct kmm *machine, const struct kmm_cpu *keep)
{
	machine->pid = getpid();
	for (u32 i = 0; i < machine->nr_slots; i++) {
		struct kmm_cpu *slot = slot_at(machine, i);

		if (!slot->owned || slot == keep)
			continue;
		if (slot == this_cpu) {
			slot->owner_tid = (s32)syscall(SYS_gettid);
			continue;
		}
		for (unsigned int layer = machine->nr_layers; layer-- > 0;)
			if (machine->layers[layer]->cpu_forget)
				machine->layers[layer]->cpu_forget(machine, slot);
		give_locked(slot);
	}
}

/*
 * Boot and shutdown
 */

static size_t slots_size(const struct kmm *machine)
{
	return machine->config.max_slots * PERCPU_SIZE;
}

int slots_boot(struct kmm *machine)
{
	int error;

	if (!machine->config.max_slots)
		machine->config.max_slots = KMM_MAX_SLOTS;
	machine->pid = getpid();
	machine->idle = calloc(topology_nr_cpus(machine->topology), sizeof(*machine->idle));
	machine->percpu_map = calloc(PERCPU_LINES / 64, sizeof(u64));
	if (!machine->idle || !machine->percpu_map) {
		error = boot_refuse(-ENOMEM, "CPU slots: no memory");
		goto free_tables;
	}
	machine->percpu_full = sizeof(struct kmm_cpu) / CACHELINE_SIZE;
	machine->percpu_map[0] = (1UL << machine->percpu_full) - 1;
	error = lock_init(&machine->slots_lock, "slots", RANK_MACHINE, machine->config.lock_kind);
	if (error)
		goto free_tables;
	error = -pthread_key_create(&machine->detach_key, thread_ends);
	if (error) {
		boot_refuse(error, "CPU slots: the process has no pthread key left");
		goto destroy_lock;
	}
	machine->slots_base = host_reserve(slots_size(machine), PAGE_SIZE);
	if (!machine->slots_base) {
		error = boot_refuse(-ENOMEM, "CPU slots: the host refuses %lu MiB of address space",
				    slots_size(machine) >> 20);
		goto delete_key;
	}
	return 0;

delete_key:
	pthread_key_delete(machine->detach_key);
destroy_lock:
	lock_destroy(&machine->slots_lock);
free_tables:
	free(machine->idle);
	free(machine->percpu_map);
	return error;
}

/* Is a living thread other than this one still attached? */
static bool others_attached(struct kmm *machine)
{
	s32 tid = (s32)syscall(SYS_gettid);
	bool others = false;

	lock_acquire(&machine->slots_lock);
	find_lost_locked(machine);
	for (u32 i = 0; i < machine->nr_slots; i++)
		others |= slot_at(machine, i)->owned && slot_at(machine, i)->owner_tid != tid;
	lock_release(&machine->slots_lock);
	return others && getpid() == machine->pid;
}

void slots_shutdown(struct kmm *machine)
{
	size_t size = slots_size(machine);

	pthread_key_delete(machine->detach_key);
	/*
	 * A thread that stays attached to a machine that is gone still points at its slot. Should
	 * it use it, it must not meet what was mapped there since, such as another machine's slots:
	 * so the addresses are kept, without memory, and it faults.
	 */
	if (!others_attached(machine) || host_decommit(machine->slots_base, size))
		host_release(machine->slots_base, size);
	lock_destroy(&machine->slots_lock);
	free(machine->idle);
	free(machine->percpu_map);
}

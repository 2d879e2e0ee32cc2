/* SPDX-License-Identifier: MIT */
/*
 * How the heap begins, and how threads come and go.
 *
 * The first call of any function boots the machine: it may come from the loader, before any
 * constructor ran. While it boots, the same thread's calls are served from early.c; others wait. A host
 * that refuses address space (RLIMIT_AS) is asked for half as much, and so on; if it refuses even the
 * smallest machine, each allocation is a mapping.
 *
 * A thread owns a slot of the machine from its first slow path on. The pthread key that gives it back
 * was made before all others, and so its destructor is called first; it puts itself off by one of the
 * rounds that pthread makes, so that what other destructors do meanwhile is as fast as ever. What comes
 * later still (the C library frees buffers of its own at a thread's very end) uses the guest's slot,
 * under a lock, because a slot taken then would be given back by nobody. So do threads beyond the most
 * that a machine can have.
 *
 * Locks: guest_lock, outside of all of the machine's.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "arch/slots.h"
#include "base/check.h"
#include "kmm.h"
#include "malloc/heap.h"

#define MIB	    (1UL << 20)
#define BLOCK_BYTES (PAGE_SIZE << MAX_PAGE_ORDER)
#define LEAST_BYTES (16 * MIB)
#define LEAST_SLOTS 8U
#define SLOTS_SPARE 64U /* for threads that attach at once, before the guest serves the others */

struct heap heap = {.guest_lock = PTHREAD_MUTEX_INITIALIZER};

static __thread bool booting __attribute__((tls_model("initial-exec")));

/* How often the key's destructor has been called for this thread. */
enum { THREAD_LIVES, THREAD_ENDS, THREAD_GONE };
static __thread u8 thread_phase __attribute__((tls_model("initial-exec")));

/* Bytes of address space that the process may have; the machine takes a part of it. */
static u64 address_limit(void)
{
	struct rlimit limit;
	u64 least = UINT64_MAX;

	if (!getrlimit(RLIMIT_AS, &limit) && limit.rlim_cur != RLIM_INFINITY)
		least = limit.rlim_cur;
	if (!getrlimit(RLIMIT_DATA, &limit) && limit.rlim_cur != RLIM_INFINITY)
		least = min_t(u64, least, limit.rlim_cur);
	return least;
}

/* As large as the host's memory; of a limited address space, half. */
static u64 wanted_bytes(u64 limit)
{
	struct sysinfo info;
	u64 bytes = 1024 * MIB;

	if (!sysinfo(&info))
		bytes = (u64)info.totalram * info.mem_unit;
	return min_t(u64, bytes, limit / 2);
}

static int boot_sized(struct kmm_config *config)
{
	u64 limit = address_limit(), bytes = config->node_bytes;
	int error;

	if (!bytes)
		bytes = wanted_bytes(limit);
	if (limit != UINT64_MAX)
		config->max_slots = (unsigned int)max_t(
			u64, LEAST_SLOTS, min_t(u64, limit / 8 / PERCPU_SIZE, KMM_MAX_SLOTS));
	do {
		bytes = max_t(u64, ALIGN_UP(bytes, BLOCK_BYTES), LEAST_BYTES);
		config->node_bytes = bytes;
		error = kmm_boot(config, &heap.machine);
		bytes /= 2;
	} while (error == -ENOMEM && bytes >= LEAST_BYTES);
	return error;
}

/* With the user's options; if these cannot be, say so, and without. */
static int boot_machine(void)
{
	struct kmm_config config, defaults;
	int error;

	options_read(&config, &defaults);
	error = boot_sized(&config);
	if (error == -EINVAL) {
		options_complain(kmm_boot_error());
		error = boot_sized(&defaults);
	}
	return error;
}

/* The slot's owner must be a thread that is there as long as the process. */
static void keep_guest(struct kmm_cpu *cpu)
{
	heap.guest = cpu;
	cpu->owner_tid = heap.pid;
}

/* guest_lock held: make this_cpu the guest's slot. */
static void be_guest_locked(void)
{
	struct kmm_cpu *before;

	if (heap.guest) {
		this_cpu = heap.guest;
		return;
	}
	KMM_BUG_ON(slot_borrow(heap.machine, &before), "no slot for threads that have none");
	keep_guest(this_cpu);
}

/* Where there are few slots it has its own from the beginning. */
static void make_guest(void)
{
	be_guest_locked();
	this_cpu = kmm_cpu_detached;
}

static void thread_ends(void *slot)
{
	if (thread_phase == THREAD_LIVES) {
		thread_phase = THREAD_ENDS;
		if (!pthread_setspecific(heap.key, slot))
			return;
	}
	thread_phase = THREAD_GONE;
	if (this_cpu == slot)
		slot_return(kmm_cpu_detached);
	trim_thread_ends();
}

bool thread_is_ending(void)
{
	return thread_phase != THREAD_LIVES;
}

static bool may_attach(void)
{
	const struct kmm *machine = heap.machine;

	return thread_phase != THREAD_GONE &&
	       (READ_ONCE(machine->nr_slots) + SLOTS_SPARE < machine->config.max_slots ||
		READ_ONCE(heap.guest));
}

/* Give the thread a slot of its own. False when there is none. */
static bool attach(void)
{
	struct kmm_cpu *before;

	if (!may_attach() || slot_borrow(heap.machine, &before))
		return false;
	this_cpu->idle_age = 0; /* it is more than borrowed */
	/* It may call calloc, and that is already served. */
	if (!pthread_setspecific(heap.key, this_cpu))
		return true;
	slot_return(before);
	return false;
}

static SLOW void boot(void)
{
	enum heap_state state = HEAP_FAILED;

	booting = true;
	heap.pid = getpid();
	huge_init();
	if (!boot_machine() && !pthread_key_create(&heap.key, thread_ends) && !fork_init()) {
		/* kmm_boot left this thread attached in the library's own way. */
		kmm_detach();
		if (heap.machine->config.max_slots < KMM_MAX_SLOTS)
			make_guest();
		heap.direct_map_bytes = (u64)heap.machine->nr_frames << PAGE_SHIFT;
		WRITE_ONCE(heap.direct_map, heap.machine->direct_map);
		state = HEAP_READY;
	}
	/* Release: whoever sees the state sees the heap. */
	__atomic_store_n(&heap.state, state, __ATOMIC_RELEASE);
	booting = false;
}

/* Boot, or wait for whoever does. False while this thread is at it, and when it could not be done. */
static bool is_booted(void)
{
	enum heap_state none = HEAP_NONE;

	if (booting)
		return false;
	if (__atomic_load_n(&heap.state, __ATOMIC_ACQUIRE) == HEAP_NONE &&
	    __atomic_compare_exchange_n(&heap.state, &none, HEAP_BOOTING, false, __ATOMIC_ACQUIRE,
					__ATOMIC_ACQUIRE))
		boot();
	/* Acquire: as in boot(). */
	while (__atomic_load_n(&heap.state, __ATOMIC_ACQUIRE) == HEAP_BOOTING)
		sched_yield();
	return __atomic_load_n(&heap.state, __ATOMIC_ACQUIRE) == HEAP_READY;
}

SLOW enum entry heap_enter_slow(void)
{
	int saved = errno;
	enum entry entry = ENTRY_OWN;

	if (!is_booted()) {
		entry = ENTRY_EARLY;
	} else if (this_cpu == kmm_cpu_detached && !attach()) {
		pthread_mutex_lock(&heap.guest_lock);
		be_guest_locked();
		entry = ENTRY_GUEST;
	}
	errno = saved;
	return entry;
}

void heap_leave_guest(void)
{
	this_cpu = kmm_cpu_detached;
	pthread_mutex_unlock(&heap.guest_lock);
}

/* SPDX-License-Identifier: MIT */
/*
 * fork in a program of several threads: the child has one of them, and may allocate.
 *
 *	before	take every lock of the heap, in the order of their ranks: so nothing that a lock protects
 *		is half done in the child's copy
 *	parent	give them back
 *	child	give them back; what the other threads' slots cache is forgotten, and the slots are free
 *		for threads to come
 *
 * What a slot caches needs no lock, so its owner may have been anywhere inside of it, and even a copy of
 * its header and one of its contents may be of different times. So the child takes none of it. Those
 * objects and pages are lost to it: a few megabytes a thread at most. vfork and clone do not come here,
 * nor need to.
 *
 * Our handlers were registered before any of the program's, so they run last before the fork, when
 * those have allocated what they want, and first after it.
 *
 * Locks are taken by hand: several of one rank are held at once, which lock.c does not allow. They are
 * all of kind ttas.
 */
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "arch/slots.h"
#include "base/lock.h"
#include "base/machine.h"
#include "malloc/heap.h"
#include "phys/zone.h"
#include "slab/cache.h"

static void take(struct lock *lock)
{
	/* Acquire: what the lock protects is read after it is ours. */
	while (__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void give(struct lock *lock)
{
	/* Release: as lock_release(). */
	__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}

/* Those inside of slots_lock and the cache list's. */
static void for_each_inner_lock(void (*visit)(struct lock *))
{
	struct slab *slab = heap.machine->slab;
	struct phys *phys = heap.machine->phys;
	struct kmem_cache *cache;

	list_for_each_entry(cache, &slab->caches, list)
		for (u32 nid = 0; nid < cache->nr_nodes; nid++)
			visit(&cache->nodes[nid]->lock);
	visit(&phys->release_lock);
	for_each_zone(phys, node, zone)
		visit(&zone->lock);
	visit(huge_lock_for_fork());
}

static bool is_ready(void)
{
	return __atomic_load_n(&heap.state, __ATOMIC_ACQUIRE) == HEAP_READY;
}

static void before_fork(void)
{
	if (!is_ready())
		return;
	pthread_mutex_lock(&heap.guest_lock);
	take(&heap.machine->slots_lock);
	take(&heap.machine->slab->lock);
	for_each_inner_lock(take);
}

static void give_all(void)
{
	for_each_inner_lock(give);
	give(&heap.machine->slab->lock);
	give(&heap.machine->slots_lock);
}

static void after_fork_in_parent(void)
{
	if (!is_ready())
		return;
	give_all();
	pthread_mutex_unlock(&heap.guest_lock);
}

static void after_fork_in_child(void)
{
	if (!is_ready())
		return;
	heap.pid = getpid();
	if (heap.guest)
		heap.guest->owner_tid = heap.pid;
	slots_after_fork(heap.machine, heap.guest);
	give_all();
	pthread_mutex_init(&heap.guest_lock, NULL);
	trim_after_fork();
}

int fork_init(void)
{
	return pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* SPDX-License-Identifier: MIT */
/*
 * The four kinds of lock.h. Each has a take, a try and a give; one switch on the kind, which is the
 * same for every lock of a machine and so well predicted, leads to them. The uncontended ttas paths
 * are inline in lock.h.
 *
 * Every wait is counted by the thread that waited, once it holds the lock: contention costs the
 * statistics nothing, and no counter is written by two threads at a time.
 *
 * mcs needs a queue node for each lock a thread waits for or holds. The rank order says that a
 * thread holds at most one lock of a rank, so an array by rank, thread-local, is enough.
 *
 * Follows J. Mellor-Crummey and M. Scott, "Algorithms for Scalable Synchronization on Shared-Memory
 * Multiprocessors" (1991), for ticket (proportional back-off) and mcs; T. Anderson (1990) for ttas
 * with exponential back-off. All differ from them in yielding the CPU after a while (lock.h says
 * why).
 */
#include "base/lock.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/check.h"

/* Pauses before a waiter gives up the CPU: some microseconds, more than any critical section. */
#define SPINS_BEFORE_YIELD 128
/* Pauses between two attempts at a ttas lock. */
#define MAX_BACKOFF 64

struct mcs_node {
	struct mcs_node *next;
	u32 waiting;
} CACHELINE_ALIGNED;

static __thread struct mcs_node mcs_nodes[NR_LOCK_RANKS];

/* What this thread holds, by rank. Debug builds only. */
static __thread const struct lock *held_locks[NR_LOCK_RANKS];

static const char *const kind_names[NR_LOCK_KINDS] = {
	[LOCK_TTAS] = "ttas",
	[LOCK_TICKET] = "ticket",
	[LOCK_MCS] = "mcs",
	[LOCK_MUTEX] = "mutex",
};

static u64 cycles(void)
{
	return __builtin_ia32_rdtsc();
}

/* Let time pass: nr pauses, or the CPU itself when *spins says that the wait is already long. */
static void relax(unsigned int *spins, unsigned int nr)
{
	*spins += nr;
	if (*spins > SPINS_BEFORE_YIELD) {
		sched_yield();
		return;
	}
	while (nr--)
		__builtin_ia32_pause();
}

/*
 * ttas
 */

static bool ttas_try(struct lock *lock)
{
	/* Acquire: the critical section stays behind the exchange. */
	return !READ_ONCE(lock->held) && !__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE);
}

static void ttas_wait(struct lock *lock)
{
	unsigned int spins = 0, backoff = 1;

	while (!ttas_try(lock)) {
		relax(&spins, backoff);
		backoff = min_t(unsigned int, backoff * 2, MAX_BACKOFF);
	}
}

/* Each take says whether it had to wait, and since when. */
static bool ttas_take(struct lock *lock, u64 *since)
{
	/* A fast lock is here because the inline path found it held. */
	if (!lock->fast && ttas_try(lock))
		return false;
	*since = cycles();
	ttas_wait(lock);
	return true;
}

static void ttas_give(struct lock *lock)
{
	/* Release: the critical section stays before the store. */
	__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}

/*
 * ticket
 */

static bool ticket_take(struct lock *lock, u64 *since)
{
	/* The ticket orders nothing; what was done under the lock is ordered by `serving`. */
	u32 mine = __atomic_fetch_add(&lock->ticket.next, 1, __ATOMIC_RELAXED);
	unsigned int spins = 0;
	u32 ahead;

	/* Acquire, here and below: the critical section stays behind the load that read our
	 * number. */
	if (likely(__atomic_load_n(&lock->ticket.serving, __ATOMIC_ACQUIRE) == mine))
		return false;
	*since = cycles();
	while ((ahead = mine - __atomic_load_n(&lock->ticket.serving, __ATOMIC_ACQUIRE)) != 0)
		relax(&spins, min_t(u32, ahead, MAX_BACKOFF));
	return true;
}

static bool ticket_try(struct lock *lock)
{
	/* Acquire: should the exchange succeed, `serving` was still this, and its critical section
	 * is over. */
	u32 serving = __atomic_load_n(&lock->ticket.serving, __ATOMIC_ACQUIRE);
	u32 expected = serving;

	return __atomic_compare_exchange_n(&lock->ticket.next, &expected, serving + 1, false,
					   __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void ticket_give(struct lock *lock)
{
	/* Release: the critical section stays before the store. Only the holder writes
	 * `serving`. */
	__atomic_store_n(&lock->ticket.serving, READ_ONCE(lock->ticket.serving) + 1,
			 __ATOMIC_RELEASE);
}

/*
 * mcs
 */

static bool mcs_take(struct lock *lock, u64 *since)
{
	struct mcs_node *node = &mcs_nodes[lock->rank];
	struct mcs_node *ahead;
	unsigned int spins = 0;

	WRITE_ONCE(node->next, NULL);
	WRITE_ONCE(node->waiting, 1);
	/* Release: who comes next finds the node made. Acquire: behind the last holder, if the
	 * queue was empty. */
	ahead = __atomic_exchange_n(&lock->mcs_tail, node, __ATOMIC_ACQ_REL);
	if (likely(!ahead))
		return false;
	*since = cycles();
	/* Release: the holder that reads this link finds `waiting` set. */
	__atomic_store_n(&ahead->next, node, __ATOMIC_RELEASE);
	/* Acquire: the critical section stays behind the load that read our turn. */
	while (__atomic_load_n(&node->waiting, __ATOMIC_ACQUIRE))
		relax(&spins, 1);
	return true;
}

static bool mcs_try(struct lock *lock)
{
	struct mcs_node *node = &mcs_nodes[lock->rank];
	struct mcs_node *nobody = NULL;

	/* Not only for speed: the holder may be this thread, and the node be in use. */
	if (READ_ONCE(lock->mcs_tail))
		return false;
	WRITE_ONCE(node->next, NULL);
	WRITE_ONCE(node->waiting, 1);
	/* Acquire: behind the last holder. Release: who comes next finds the node made. */
	return __atomic_compare_exchange_n(&lock->mcs_tail, &nobody, node, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

static void mcs_give(struct lock *lock)
{
	struct mcs_node *node = &mcs_nodes[lock->rank];
	/* Acquire: the next node is made before it is linked. */
	struct mcs_node *next = __atomic_load_n(&node->next, __ATOMIC_ACQUIRE);
	unsigned int spins = 0;

	if (!next) {
		struct mcs_node *last = node;

		/* Release: the critical section stays before the exchange that leaves the queue
		 * empty. */
		if (__atomic_compare_exchange_n(&lock->mcs_tail, &last, NULL, false,
						__ATOMIC_RELEASE, __ATOMIC_RELAXED))
			return;
		/* Somebody is between its exchange of the tail and its link. */
		while (!(next = __atomic_load_n(&node->next, __ATOMIC_ACQUIRE)))
			relax(&spins, 1);
	}
	/* Release: the critical section stays before the store that ends the wait. */
	__atomic_store_n(&next->waiting, 0, __ATOMIC_RELEASE);
}

/*
 * mutex
 */

static bool mutex_take(struct lock *lock, u64 *since)
{
	if (likely(pthread_mutex_trylock(&lock->mutex) == 0))
		return false;
	*since = cycles();
	pthread_mutex_lock(&lock->mutex);
	return true;
}

/*
 * Rank order
 */

static void check_order(const struct lock *lock)
{
	for (unsigned int rank = lock->rank; rank < NR_LOCK_RANKS; rank++)
		KMM_BUG_ON(held_locks[rank], "lock %s (rank %u) taken while holding %s (rank %u)",
			   lock->name, lock->rank, held_locks[rank]->name, rank);
}

static void note_taken(struct lock *lock)
{
	if (KMM_DEBUG)
		held_locks[lock->rank] = lock;
	WRITE_ONCE(lock->stats.acquired, lock->stats.acquired + 1);
}

/*
 * Any kind
 */

int lock_init(struct lock *lock, const char *name, enum lock_rank rank, enum lock_kind kind)
{
	if ((unsigned int)kind >= NR_LOCK_KINDS || (unsigned int)rank >= NR_LOCK_RANKS)
		return -EINVAL;
	memset(lock, 0, sizeof(*lock));
	lock->name = name;
	lock->rank = (u8)rank;
	lock->kind = (u8)kind;
	lock->fast = kind == LOCK_TTAS && !KMM_DEBUG;
	return kind == LOCK_MUTEX ? -pthread_mutex_init(&lock->mutex, NULL) : 0;
}

void lock_destroy(struct lock *lock)
{
	KMM_DEBUG_ON(held_locks[lock->rank] == lock, "lock %s destroyed while held", lock->name);
	if (lock->kind == LOCK_MUTEX)
		pthread_mutex_destroy(&lock->mutex);
}

void lock_acquire_slow(struct lock *lock)
{
	bool waited = false;
	u64 since = 0;

	if (KMM_DEBUG)
		check_order(lock);
	switch ((enum lock_kind)lock->kind) {
	case LOCK_TTAS:
		waited = ttas_take(lock, &since);
		break;
	case LOCK_TICKET:
		waited = ticket_take(lock, &since);
		break;
	case LOCK_MCS:
		waited = mcs_take(lock, &since);
		break;
	case LOCK_MUTEX:
		waited = mutex_take(lock, &since);
		break;
	case NR_LOCK_KINDS:
		break;
	}
	note_taken(lock);
	if (unlikely(waited)) {
		WRITE_ONCE(lock->stats.contended, lock->stats.contended + 1);
		WRITE_ONCE(lock->stats.wait_cycles, lock->stats.wait_cycles + cycles() - since);
	}
}

bool lock_try_acquire_slow(struct lock *lock)
{
	const struct lock *held = KMM_DEBUG ? held_locks[lock->rank] : NULL;
	bool taken = false;

	KMM_BUG_ON(held && held != lock, "lock %s tried while holding %s, both of rank %u",
		   lock->name, held->name, lock->rank);
	switch ((enum lock_kind)lock->kind) {
	case LOCK_TTAS:
		taken = ttas_try(lock);
		break;
	case LOCK_TICKET:
		taken = ticket_try(lock);
		break;
	case LOCK_MCS:
		taken = mcs_try(lock);
		break;
	case LOCK_MUTEX:
		taken = pthread_mutex_trylock(&lock->mutex) == 0;
		break;
	case NR_LOCK_KINDS:
		break;
	}
	if (taken)
		note_taken(lock);
	return taken;
}

void lock_release_slow(struct lock *lock)
{
	if (KMM_DEBUG) {
		KMM_BUG_ON(held_locks[lock->rank] != lock,
			   "lock %s released by a thread without it", lock->name);
		held_locks[lock->rank] = NULL;
	}
	switch ((enum lock_kind)lock->kind) {
	case LOCK_TTAS:
		ttas_give(lock);
		break;
	case LOCK_TICKET:
		ticket_give(lock);
		break;
	case LOCK_MCS:
		mcs_give(lock);
		break;
	case LOCK_MUTEX:
		pthread_mutex_unlock(&lock->mutex);
		break;
	case NR_LOCK_KINDS:
		break;
	}
}

bool lock_is_held(const struct lock *lock)
{
	if (KMM_DEBUG)
		return held_locks[lock->rank] == lock;
	switch ((enum lock_kind)lock->kind) {
	case LOCK_TTAS:
		return READ_ONCE(lock->held);
	case LOCK_TICKET:
		return READ_ONCE(lock->ticket.next) != READ_ONCE(lock->ticket.serving);
	case LOCK_MCS:
		return READ_ONCE(lock->mcs_tail) != NULL;
	case LOCK_MUTEX: {
		/* Somebody holds it if it cannot be had; to take it for a moment is all pthread
		 * offers. */
		pthread_mutex_t *mutex = (pthread_mutex_t *)&lock->mutex;

		if (pthread_mutex_trylock(mutex))
			return true;
		pthread_mutex_unlock(mutex);
		return false;
	}
	case NR_LOCK_KINDS:
		break;
	}
	return false;
}

u64 lock_atomics(enum lock_kind kind, const struct lock_stats *stats)
{
	switch (kind) {
	case LOCK_TTAS:
		return stats->acquired + stats->contended;
	case LOCK_TICKET:
		return stats->acquired;
	case LOCK_MCS:
		return 2 * stats->acquired - stats->contended;
	case LOCK_MUTEX:
		return 2 * stats->acquired + stats->contended;
	case NR_LOCK_KINDS:
		break;
	}
	return 0;
}

const char *lock_kind_name(enum lock_kind kind)
{
	return (unsigned int)kind < NR_LOCK_KINDS ? kind_names[kind] : "unknown";
}

int lock_kind_parse(const char *word)
{
	for (int kind = 0; kind < NR_LOCK_KINDS; kind++)
		if (!strcmp(word, kind_names[kind]))
			return kind;
	return -EINVAL;
}

/* SPDX-License-Identifier: MIT */
/*
 * Locks with a name, a rank and counters, of a kind chosen at boot.
 *
 *	ttas	test, then test-and-set, with exponential back-off: the cheapest without contention
 *	ticket	first come, first served; all waiters spin on one line
 *	mcs	first come, first served; each waiter spins on its own line (Mellor-Crummey, Scott)
 *	mutex	pthread_mutex: waiters sleep
 *
 * Rank: a thread may only take a lock of a higher rank than any it holds, so no two of one rank.
 * Debug builds (--enable-checks) stop at a violation with both names.
 *
 * The spinning kinds yield the CPU after a bounded number of spins: kmm's threads can be preempted
 * while they hold a lock, which the kernel's cannot.
 */
#ifndef KMM_BASE_LOCK_H
#define KMM_BASE_LOCK_H

#include <pthread.h>

#include "base/compiler.h"
#include "base/types.h"

KMM_BEGIN_DECLS

enum lock_kind { LOCK_TTAS, LOCK_TICKET, LOCK_MCS, LOCK_MUTEX, NR_LOCK_KINDS };

/* The order in which locks nest, outermost first. One line a lock class; the order of code paths is
 * here. */
enum lock_rank {
	RANK_MACHINE,	 /* slots, attach and detach */
	RANK_CACHE_LIST, /* slab: the list of caches */
	RANK_VMAP,	 /* virt: area tree, lazy list */
	RANK_PGTABLE,	 /* virt: one address space's tables */
	RANK_CACHE_NODE, /* slab: partial lists of one cache on one node */
	RANK_RELEASE,	 /* phys: memory on its way back to the host */
	RANK_ZONE,	 /* phys: one zone's free areas */
	RANK_KMAP,	 /* phys: windows to frames outside the direct map */
	RANK_LEAF,	 /* anything that takes no lock inside */
	NR_LOCK_RANKS
};

/* Written under the lock itself, so they cost no atomic read-modify-write; single stores, so that
 * anyone may read them at any time (READ_ONCE), a little behind. */
struct lock_stats {
	u64 acquired;	 /* times taken */
	u64 contended;	 /* of these, times another thread held it on arrival */
	u64 wait_cycles; /* TSC cycles waited in the contended ones */
};

struct mcs_node;

struct lock {
	union {
		u32 held; /* ttas: 0 or 1 */
		struct {
			u32 next, serving;
		} ticket;
		struct mcs_node *mcs_tail;
		pthread_mutex_t mutex;
	};
	/* Constant after lock_init: */
	u8 kind;   /* enum lock_kind */
	u8 rank;   /* enum lock_rank */
	bool fast; /* ttas, and nobody checks ranks: the inline paths below may be taken */
	/* Under the lock; `acquired` shares the first line with what the fast path touches
	 * anyway. */
	struct lock_stats stats;
	const char *name; /* constant */
} CACHELINE_ALIGNED;

/*
 * Make *lock ready and free. name must outlive the lock. Returns 0, or -EINVAL for an unknown kind
 * or rank.
 */
KMM_API int lock_init(struct lock *lock, const char *name, enum lock_rank rank,
		      enum lock_kind kind);
KMM_API void lock_destroy(struct lock *lock);

/* What the inline functions below fall back to: every other kind, contention, and rank checks. */
KMM_API void lock_acquire_slow(struct lock *lock);
KMM_API bool lock_try_acquire_slow(struct lock *lock);
KMM_API void lock_release_slow(struct lock *lock);

/*
 * Take the lock; waits. Not recursive. Without contention: one atomic exchange and one increment.
 * Acquire: no access of the critical section moves up before the exchange that took the lock.
 */
static inline void lock_acquire(struct lock *lock)
{
	if (likely(lock->fast) && likely(!__atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE)))
		WRITE_ONCE(lock->stats.acquired, lock->stats.acquired + 1);
	else
		lock_acquire_slow(lock);
}

/* Take the lock if nobody (this thread included) holds it; true if taken. As it does not wait it
 * cannot deadlock, so it may be tried out of rank order; only another lock of the same rank must
 * not be held. */
static inline bool lock_try_acquire(struct lock *lock)
{
	if (unlikely(!lock->fast))
		return lock_try_acquire_slow(lock);
	if (READ_ONCE(lock->held) || __atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE))
		return false;
	WRITE_ONCE(lock->stats.acquired, lock->stats.acquired + 1);
	return true;
}

/* Give it back. Release: no access of the critical section moves down past the store that frees the
 * lock. */
static inline void lock_release(struct lock *lock)
{
	if (likely(lock->fast))
		__atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
	else
		lock_release_slow(lock);
}

/* Does the calling thread hold it? Exact in debug builds; elsewhere "somebody holds it". */
KMM_API bool lock_is_held(const struct lock *lock);

/*
 * Atomic read-modify-writes (exchange, compare-and-exchange, fetch-and-add) that these acquisitions
 * and their releases did, at least. Without contention an acquisition does one; its release is a
 * store, but for mcs and mutex, where it is one more. One that found the lock held has also tried
 * in vain once (ttas, mutex), or spares the release its own (mcs). Further tries are not counted.
 */
KMM_API u64 lock_atomics(enum lock_kind kind, const struct lock_stats *stats);

/* "ttas", "ticket", "mcs", "mutex"; and back: -EINVAL for another word. */
KMM_API const char *lock_kind_name(enum lock_kind kind);
KMM_API int lock_kind_parse(const char *word);

KMM_END_DECLS
#endif

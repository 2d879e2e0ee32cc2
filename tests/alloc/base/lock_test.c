/* SPDX-License-Identifier: MIT */
/*
 * Locks of every kind: exclusion, counters, try, held, and (in debug builds) the rank order, whose
 * violation stops a child process.
 */
#include "base/lock.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/tap/tap.h"

#define NR_THREADS 4
#define NR_ROUNDS  5000

struct shared {
	struct lock lock;
	u64 count;	     /* under lock, and not atomic */
	unsigned int inside; /* threads in the critical section */
	unsigned int tried;  /* times try_acquire got it */
};

static void *count_up(void *arg)
{
	struct shared *shared = arg;

	for (int i = 0; i < NR_ROUNDS; i++) {
		if (i % 8 == 0 && lock_try_acquire(&shared->lock))
			shared->tried++;
		else
			lock_acquire(&shared->lock);
		ok_eq(__atomic_fetch_add(&shared->inside, 1, __ATOMIC_RELAXED), 0);
		shared->count++;
		if (i % 64 == 0)
			sched_yield(); /* held by a thread that does not run: waiters must let it */
		ok_eq(__atomic_sub_fetch(&shared->inside, 1, __ATOMIC_RELAXED), 0);
		lock_release(&shared->lock);
	}
	return NULL;
}

static void exclude(enum lock_kind kind)
{
	struct shared *shared = aligned_alloc(_Alignof(struct shared), sizeof(*shared));
	pthread_t threads[NR_THREADS];

	memset(shared, 0, sizeof(*shared));
	ok_eq(lock_init(&shared->lock, "test", RANK_LEAF, kind), 0);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_create(&threads[i], NULL, count_up, shared);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	ok_eq(shared->count, NR_THREADS * NR_ROUNDS);
	ok_eq(shared->lock.stats.acquired, NR_THREADS * NR_ROUNDS);
	ok(shared->lock.stats.contended <= shared->lock.stats.acquired, "contended %llu",
	   (unsigned long long)shared->lock.stats.contended);
	ok((shared->lock.stats.contended == 0) == (shared->lock.stats.wait_cycles == 0),
	   "%llu contended, %llu cycles", (unsigned long long)shared->lock.stats.contended,
	   (unsigned long long)shared->lock.stats.wait_cycles);
	lock_destroy(&shared->lock);
	free(shared);
}

static void ttas_excludes(void)
{
	exclude(LOCK_TTAS);
}

static void ticket_excludes(void)
{
	exclude(LOCK_TICKET);
}

static void mcs_excludes(void)
{
	exclude(LOCK_MCS);
}

static void mutex_excludes(void)
{
	exclude(LOCK_MUTEX);
}

struct held_by_other {
	struct lock lock;
	bool taken, waited;
	unsigned int stage;
};

static void *take_and_wait(void *arg)
{
	struct held_by_other *shared = arg;

	shared->taken = lock_try_acquire(&shared->lock);
	__atomic_store_n(&shared->stage, 1, __ATOMIC_RELEASE);
	lock_acquire(&shared->lock);
	shared->waited = true;
	lock_release(&shared->lock);
	return NULL;
}

/* Another thread finds the lock held, then waits for it; all of it is counted. */
static void waiting_is_counted_for_every_kind(void)
{
	for (int kind = 0; kind < NR_LOCK_KINDS; kind++) {
		struct held_by_other *shared =
			aligned_alloc(_Alignof(struct held_by_other), sizeof(*shared));
		pthread_t thread;

		memset(shared, 0, sizeof(*shared));
		lock_init(&shared->lock, "test", RANK_LEAF, (enum lock_kind)kind);
		ok(lock_try_acquire(&shared->lock), "free");
		ok(lock_is_held(&shared->lock), "held");
		pthread_create(&thread, NULL, take_and_wait, shared);
		while (!__atomic_load_n(&shared->stage, __ATOMIC_ACQUIRE))
			sched_yield();
		/* Time to arrive; should it be late, the test is weaker, not wrong. */
		usleep(20000);
		lock_release(&shared->lock);
		pthread_join(thread, NULL);
		ok(!shared->taken, "%s: tried and got a held lock", lock_kind_name(kind));
		ok(shared->waited, "%s", lock_kind_name(kind));
		ok_eq(shared->lock.stats.acquired, 2);
		ok(shared->lock.stats.contended <= 1, "%s", lock_kind_name(kind));
		ok(!lock_is_held(&shared->lock), "%s: free at the end", lock_kind_name(kind));
		lock_destroy(&shared->lock);
		free(shared);
	}
}

static void two_ranks_nest(void)
{
	for (int kind = 0; kind < NR_LOCK_KINDS; kind++) {
		struct lock outer, inner;

		lock_init(&outer, "outer", RANK_CACHE_NODE, (enum lock_kind)kind);
		lock_init(&inner, "inner", RANK_ZONE, (enum lock_kind)kind);
		for (int i = 0; i < 3; i++) {
			lock_acquire(&outer);
			lock_acquire(&inner);
			ok(lock_is_held(&outer) && lock_is_held(&inner), "both");
			lock_release(&outer); /* not the reverse order, and allowed */
			ok(!lock_is_held(&outer) && lock_is_held(&inner), "one");
			lock_release(&inner);
		}
		ok_eq(outer.stats.acquired, 3);
		ok_eq(outer.stats.contended, 0);
		lock_destroy(&outer);
		lock_destroy(&inner);
	}
}

static void unknown_kinds_and_ranks_are_refused(void)
{
	struct lock lock;

	ok_eq(lock_init(&lock, "x", RANK_LEAF, NR_LOCK_KINDS), -EINVAL);
	ok_eq(lock_init(&lock, "x", NR_LOCK_RANKS, LOCK_TTAS), -EINVAL);
	ok_eq(lock_kind_parse("spin"), -EINVAL);
	ok_eq(lock_kind_parse(""), -EINVAL);
	for (int kind = 0; kind < NR_LOCK_KINDS; kind++)
		ok_eq(lock_kind_parse(lock_kind_name((enum lock_kind)kind)), kind);
}

/* Does wrong() stop the process? Its line on stderr is not shown. */
static bool stops(void (*wrong)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		wrong();
		_exit(0);
	}
	return waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGABRT;
}

static void take_out_of_order(void)
{
	struct lock outer, inner;

	lock_init(&outer, "outer", RANK_CACHE_NODE, LOCK_TTAS);
	lock_init(&inner, "inner", RANK_ZONE, LOCK_TTAS);
	lock_acquire(&inner);
	lock_acquire(&outer);
}

static void take_two_of_one_rank(void)
{
	struct lock one, two;

	lock_init(&one, "one", RANK_ZONE, LOCK_MCS);
	lock_init(&two, "two", RANK_ZONE, LOCK_MCS);
	lock_acquire(&one);
	if (lock_try_acquire(&two))
		lock_release(&two);
}

static void release_what_is_not_held(void)
{
	struct lock lock;

	lock_init(&lock, "lock", RANK_ZONE, LOCK_TICKET);
	lock_release(&lock);
}

static void violations_of_the_order_stop_a_debug_build(void)
{
	if (!KMM_DEBUG) {
		skip("built without --enable-checks");
		return;
	}
	ok(stops(take_out_of_order), "inner before outer");
	ok(stops(take_two_of_one_rank), "two of one rank");
	ok(stops(release_what_is_not_held), "release without acquire");
}

int main(void)
{
	RUN(ttas_excludes);
	RUN(ticket_excludes);
	RUN(mcs_excludes);
	RUN(mutex_excludes);
	RUN(waiting_is_counted_for_every_kind);
	RUN(two_ranks_nest);
	RUN(unknown_kinds_and_ranks_are_refused);
	RUN(violations_of_the_order_stop_a_debug_build);
	return done();
}

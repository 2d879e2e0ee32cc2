/* SPDX-License-Identifier: MIT */
/*
 * Giving memory back to the host: at once for malloc_trim, and, when the program idles, by a helper
 * thread that is there only while it has something to do.
 *
 *	free, the slow way	counts the bytes that it moved off the thread's own lists
 *	a megabyte of them	and the machine holds some: the helper starts
 *	helper			every half trim_ms: what was free all that time goes back (kmm_age)
 *				nothing to give, and nobody frees: it ends
 *
 * So what is freed and not used again is with the host after one to two ticks, and a program of little
 * memory never has a second thread. What running threads have at hand (magazines, lists of pages, runs)
 * stays theirs while they sleep: that is bounded, and malloc_trim asks for it.
 *
 * The helper is started by free, which may be called with locks of the C library's held. Those that
 * starting a thread needs are held when the loader frees memory of threads that ended, so a free of the
 * loader's never starts it; nor does one of a thread that ends, or of the child of a vfork, which is in
 * our memory but not our process. A program whose main thread ends by pthread_exit() ends when its last
 * thread does, which may be the helper, a second later.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "arch/host.h"
#include "kmm.h"
#include "malloc/heap.h"
#include "phys/zone.h"

#define NOTED_BYTES   (1UL << 20)  /* freed before it is worth a look */
#define WORTH_BYTES   (4UL << 20)  /* held by the machine, for a thread to be worth it */
#define TICK_BYTES    (64UL << 10) /* freed in a tick, to call it busy */
#define QUIET_TICKS   4		   /* without anything to do, and the helper ends */
#define STACK_BYTES   (64UL << 10)
#define LEAST_TICK_MS 10U
#define AGAIN_NS      100000000ULL /* after a trim, before the next one for less than NOTED_BYTES */

static bool running;	     /* atomic: there is a helper, or one is being started */
static bool trimming;	     /* atomic: a thread is in trim_now */
static u64 freed_bytes;	     /* since it was last looked at; a hint, counts may be lost */
static u64 trimmed_at_bytes; /* noted_bytes when the last trim began */
static u64 trimmed_at_ns;    /* when it ended; 0: the next one is not to be left */
static u64 noted_bytes;	     /* all that was freed, as counted; a hint, too */

/* Bytes of the machine that have memory behind them, roughly. */
static u64 held_bytes(void)
{
	unsigned long nr_pages = 0;

	for_each_zone(heap.machine->phys, node, zone)
		nr_pages += zone->nr_managed - READ_ONCE(zone->buddy.nr_released);
	return (u64)nr_pages << PAGE_SHIFT;
}

/*
 * Has there been a trim so lately, and so little been freed since, that another is not worth its while?
 * A trim empties its thread's lists and those of idle slots, which then fill again the slow way: a program
 * that trims after every few calls would do little else. What such a call leaves is below NOTED_BYTES, and
 * what threads have at hand.
 */
static bool has_just_trimmed(void)
{
	const u64 at_ns = READ_ONCE(trimmed_at_ns);

	return at_ns && READ_ONCE(noted_bytes) - READ_ONCE(trimmed_at_bytes) < NOTED_BYTES &&
	       host_time_ns() - at_ns < AGAIN_NS;
}

bool trim_now(void)
{
	unsigned long bytes = 0;
	enum entry entry;
	u64 noted;

	/* Whoever is at it takes what there is; a second one would only wait for it. */
	if (has_just_trimmed() || __atomic_exchange_n(&trimming, true, __ATOMIC_ACQUIRE))
		return false;
	/* What is freed while this one is at it may be behind it: that is the next one's. */
	noted = READ_ONCE(noted_bytes);
	entry = heap_enter();
	/* All but nothing: single pages in between others are not worth a call of the host each, and some
	 * programs trim often. */
	if (entry != ENTRY_EARLY)
		bytes = kmm_trim(heap.machine, PAGE_SIZE);
	heap_leave(entry);
	bytes += huge_trim();
	WRITE_ONCE(trimmed_at_bytes, noted);
	WRITE_ONCE(trimmed_at_ns, host_time_ns());
	__atomic_store_n(&trimming, false, __ATOMIC_RELEASE);
	return bytes != 0;
}

static void *help(void *arg)
{
	unsigned int tick_ms = max_t(unsigned int, heap.trim_ms / 2, LEAST_TICK_MS);
	const struct timespec tick = {tick_ms / 1000, tick_ms % 1000 * 1000000L};
	int quiet = 0;

	(void)arg;
	while (quiet < QUIET_TICKS) {
		u64 seen = READ_ONCE(freed_bytes);

		clock_nanosleep(CLOCK_MONOTONIC, 0, &tick, NULL);
		quiet = READ_ONCE(freed_bytes) - seen < TICK_BYTES ? quiet + 1 : 0;
		if (kmm_age(heap.machine))
			quiet = 0;
	}
	WRITE_ONCE(freed_bytes, 0);
	__atomic_store_n(&running, false, __ATOMIC_RELEASE);
	return NULL;
}

static SLOW void start(void)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int error;

	if (__atomic_exchange_n(&running, true, __ATOMIC_ACQUIRE))
		return;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	error = pthread_create(&thread, &attr, help, NULL);
	if (error == EINVAL) {
		/* The program's thread-locals want a larger one. */
		pthread_attr_setstacksize(&attr, 16 * STACK_BYTES);
		error = pthread_create(&thread, &attr, help, NULL);
	}
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		__atomic_store_n(&running, false, __ATOMIC_RELEASE);
}

static KMM_COLD void maybe_start(void *caller)
{
	WRITE_ONCE(freed_bytes, 0);
	if (!heap.trim_ms || held_bytes() < WORTH_BYTES || !caller || heap_is_loader(caller) ||
	    thread_is_ending() || getpid() != heap.pid)
		return;
	start();
}

void trim_note(size_t bytes, void *caller)
{
	u64 sum = READ_ONCE(freed_bytes) + bytes;

	WRITE_ONCE(freed_bytes, sum);
	WRITE_ONCE(noted_bytes, READ_ONCE(noted_bytes) + bytes);
	if (unlikely(sum >= NOTED_BYTES) && !__atomic_load_n(&running, __ATOMIC_RELAXED))
		maybe_start(caller);
}

void trim_thread_ends(void)
{
	WRITE_ONCE(trimmed_at_ns, 0);
}

void trim_after_fork(void)
{
	running = false;
	trimming = false;
	freed_bytes = 0;
	trimmed_at_ns = 0;
}

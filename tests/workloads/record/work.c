/* SPDX-License-Identifier: MIT */
/*
 * What the test of kmm record has recorded: work HOW. Its own objects have sizes of 11 mod 16 above
 * 1000, unlike anything of the C library's, and it prints how many of which calls it made, as
 * "malloc N" lines, with the bytes asked for.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/types.h"

#define NR_THREADS 4
#define NR_HANDED  64
#define NR_HELD	   100

struct counts {
	u64 malloc, calloc, memalign, realloc, free, bytes;
};

static struct counts total;
static void *handed[NR_HANDED]; /* from any thread to any */

static void *hide(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

static u64 next_random(u64 *seed)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return *seed >> 33;
}

static size_t own_size(u64 *seed)
{
	return 1003 + 16 * (next_random(seed) % 64);
}

static void add(const struct counts *counts)
{
	__atomic_fetch_add(&total.malloc, counts->malloc, __ATOMIC_RELAXED);
	__atomic_fetch_add(&total.calloc, counts->calloc, __ATOMIC_RELAXED);
	__atomic_fetch_add(&total.memalign, counts->memalign, __ATOMIC_RELAXED);
	__atomic_fetch_add(&total.realloc, counts->realloc, __ATOMIC_RELAXED);
	__atomic_fetch_add(&total.free, counts->free, __ATOMIC_RELAXED);
	__atomic_fetch_add(&total.bytes, counts->bytes, __ATOMIC_RELAXED);
}

static void say(void)
{
	printf("malloc %llu\ncalloc %llu\nmemalign %llu\nrealloc %llu\nfree %llu\nbytes %llu\n",
	       (unsigned long long)total.malloc, (unsigned long long)total.calloc,
	       (unsigned long long)total.memalign, (unsigned long long)total.realloc,
	       (unsigned long long)total.free, (unsigned long long)total.bytes);
	fflush(stdout);
}

static void release(struct counts *counts, void *p)
{
	counts->free += p != NULL;
	if (p)
		free(hide(p));
}

static void *allocate(struct counts *counts, u64 *seed)
{
	size_t size = own_size(seed);
	void *p = NULL;

	counts->bytes += size;
	switch (next_random(seed) % 8) {
	case 0:
		counts->calloc++;
		return hide(calloc(1, size));
	case 1:
		counts->memalign++;
		return posix_memalign(&p, 64, size) ? NULL : hide(p);
	case 2:
		counts->memalign++;
		return hide(aligned_alloc(64, size));
	default:
		counts->malloc++;
		return hide(malloc(size));
	}
}

/* Allocate, resize, hand over to other threads, free. */
static void *churn(void *arg)
{
	struct counts counts = {0};
	u64 seed = (u64)arg, slot;
	void *p;

	for (int i = 0; i < 20000; i++) {
		p = allocate(&counts, &seed);
		if (next_random(&seed) % 4 == 0) {
			size_t size = own_size(&seed);

			p = hide(realloc(p, size));
			counts.realloc++;
			counts.bytes += size;
		}
		memset(p, 1, 16);
		slot = next_random(&seed) % NR_HANDED;
		p = __atomic_exchange_n(&handed[slot], p, __ATOMIC_ACQ_REL);
		release(&counts, p);
	}
	add(&counts);
	return NULL;
}

static void run_threads(int nr, void *(*body)(void *))
{
	pthread_t threads[NR_THREADS];

	for (int i = 0; i < nr; i++)
		if (pthread_create(&threads[i], NULL, body, (void *)(u64)(i + 1)))
			abort();
	for (int i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
}

static void free_handed(void)
{
	struct counts counts = {0};

	for (int i = 0; i < NR_HANDED; i++) {
		release(&counts, handed[i]);
		handed[i] = NULL;
	}
	add(&counts);
}

static void work_threads(void)
{
	run_threads(NR_THREADS, churn);
	free_handed();
	say();
}

/* A thread that does little, whose thread-local destructor frees after those of others. */
static pthread_key_t last_words;

static void say_last(void *p)
{
	struct counts counts = {0};

	release(&counts, p);
	add(&counts);
}

static void *brief(void *arg)
{
	struct counts counts = {0};
	u64 seed = (u64)arg;

	pthread_setspecific(last_words, allocate(&counts, &seed));
	release(&counts, allocate(&counts, &seed));
	add(&counts);
	return NULL;
}

static void work_short_threads(void)
{
	pthread_key_create(&last_words, say_last);
	for (int i = 0; i < 500; i++)
		run_threads(2, brief);
	say();
}

/* The parent goes on while the child works; both say what they did, in turn. */
static void work_fork(void)
{
	pid_t child;

	churn((void *)1);
	child = fork();
	if (!child) {
		total = (struct counts){0};
		churn((void *)2);
		free_handed();
		say();
		_exit(0);
	}
	waitpid(child, NULL, 0);
	free_handed();
	say();
	printf("child %d\n", (int)child);
}

/* Objects that go round: each thread frees what the one before it allocated, which then often is
 * the address that it gets next. */
struct ring_slot {
	_Alignas(64) void *object;
};
static struct ring_slot ring[NR_THREADS];

static void *pass_on(void *arg)
{
	struct counts counts = {0};
	u64 number = (u64)arg - 1, seed = (u64)arg;
	struct ring_slot *from = &ring[number], *to = &ring[(number + 1) % NR_THREADS];

	for (int i = 0; i < 20000; i++) {
		void *p = __atomic_exchange_n(&from->object, NULL, __ATOMIC_ACQ_REL);

		release(&counts, p);
		p = allocate(&counts, &seed);
		if (i % 8 == 0) {
			size_t size = own_size(&seed);

			p = hide(realloc(p, size));
			counts.realloc++;
			counts.bytes += size;
		}
		p = __atomic_exchange_n(&to->object, p, __ATOMIC_ACQ_REL);
		release(&counts, p);
	}
	add(&counts);
	return NULL;
}

static void work_ring(void)
{
	struct counts counts = {0};

	run_threads(NR_THREADS, pass_on);
	for (int i = 0; i < NR_THREADS; i++)
		release(&counts, ring[i].object);
	add(&counts);
	say();
}

/* Sizes and addresses that a word has no room for, from several threads. */
static void *work_large_thread(void *arg)
{
	struct counts counts = {0};
	u64 seed = (u64)arg;

	for (int i = 0; i < 300; i++) {
		size_t size = (1 << 20) + own_size(&seed);
		void *p = hide(malloc(size));

		counts.malloc++;
		counts.bytes += size;
		size = (3 << 20) + own_size(&seed);
		p = hide(realloc(p, size));
		counts.realloc++;
		counts.bytes += size;
		release(&counts, p);
	}
	add(&counts);
	return NULL;
}

static void work_large(void)
{
	run_threads(NR_THREADS, work_large_thread);
	say();
}

static void work_realloc(void)
{
	struct counts counts = {0};
	u64 seed = 5;

	for (int i = 0; i < 200; i++) {
		void *p = hide(malloc(1003));

		counts.malloc++;
		counts.bytes += 1003;
		for (int j = 0; j < 200; j++) {
			size_t size = own_size(&seed);

			p = j % 2 ? hide(realloc(p, size)) : hide(reallocarray(p, 1, size));
			counts.realloc++;
			counts.bytes += size;
		}
		release(&counts, p);
	}
	add(&counts);
	say();
}

/* Everything that is allowed and seldom done; errno stays. */
static void work_odd(void)
{
	struct counts counts = {0};
	void *p, *q;

	errno = 77;
	free(hide(NULL));
	p = hide(valloc(1003));
	q = hide(pvalloc(1003));
	counts.memalign += 2;
	counts.bytes += 2 * 1003;
	release(&counts, p);
	release(&counts, q);
	p = hide(realloc(NULL, 1003));
	counts.malloc++;
	counts.bytes += 1003;
	if (realloc(hide(p), (size_t)hide((void *)(1UL << 62))))
		abort();
	q = hide(realloc(p, (size_t)hide((void *)0)));
	if (q)
		abort();
	counts.free++;
	p = hide(malloc(40 << 20 | 11));
	counts.malloc++;
	counts.bytes += 40 << 20 | 11;
	errno = 77;
	release(&counts, p);
	if (errno != 77 || malloc((size_t)hide((void *)(1UL << 62))) || errno != ENOMEM)
		abort();
	if (calloc((size_t)hide((void *)(1UL << 40)), 1UL << 40))
		abort();
	add(&counts);
	say();
}

/* A handler that allocates, whatever the manual says: it may not while malloc runs, so it comes
 * when the program waits for it, between allocations of the same stream. */
static void handle(int number)
{
	struct counts counts = {0};
	u64 seed = (u64)number;

	release(&counts, allocate(&counts, &seed));
	add(&counts);
}

static void work_signals(void)
{
	struct counts counts = {0};
	u64 seed = 9;

	signal(SIGUSR1, handle);
	for (int i = 0; i < 5000; i++) {
		void *p = allocate(&counts, &seed);

		raise(SIGUSR1);
		release(&counts, p);
	}
	add(&counts);
	say();
}

/* Threads that allocate for the first time when they end. */
static void *say_late(void *unused)
{
	(void)unused;
	pthread_setspecific(last_words, &last_words);
	return NULL;
}

static void allocate_late(void *unused)
{
	struct counts counts = {0};
	u64 seed = (u64)pthread_self();

	(void)unused;
	release(&counts, allocate(&counts, &seed));
	add(&counts);
}

static void work_late(void)
{
	pthread_key_create(&last_words, allocate_late);
	for (int i = 0; i < 200; i++)
		run_threads(NR_THREADS, say_late);
	say();
}

/* Many more events than a chunk holds. */
static void work_many(void)
{
	struct counts counts = {0};
	u64 seed = 3;

	for (int i = 0; i < 100000; i++)
		release(&counts, allocate(&counts, &seed));
	add(&counts);
	say();
}

/* Goes where the recording's file cannot be found. */
static void work_chroot(void)
{
	churn((void *)4);
	/* Without the right to, it stays. */
	if (chdir("/proc/self/task") || chroot("/proc/self/task"))
		errno = 0;
	churn((void *)5);
	free_handed();
	say();
}

/* A child that has no descriptor left for a file of its own. */
static void work_nowhere(void)
{
	struct rlimit none = {0, 0};
	pid_t child;

	churn((void *)6);
	free_handed();
	child = fork();
	if (!child) {
		setrlimit(RLIMIT_NOFILE, &none);
		churn((void *)7);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	say();
}

/* Ends by SIGKILL: what it has said before is in the trace. */
static void work_killed(void)
{
	run_threads(2, churn);
	say();
	kill(getpid(), SIGKILL);
}

/* The same again, as another program. */
static void work_exec(void)
{
	churn((void *)3);
	free_handed();
	say();
	execl("/proc/self/exe", "work", "realloc", (char *)NULL);
}

/* --- how fast --- */

static void *speed(void *arg)
{
	u64 seed = (u64)arg;
	static __thread char *held[4096];

	for (int i = 0; i < 3000000; i++) {
		u64 slot = next_random(&seed) % 4096;
		size_t size = 16 + next_random(&seed) % 240;

		free(held[slot]);
		held[slot] = malloc(size);
		memset(held[slot], 1, size);
	}
	return NULL;
}

static void work_speed(void)
{
	struct timespec from, to;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	run_threads(2, speed);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	printf("%.3f s of processor time\n",
	       (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
}

static const struct {
	const char *name;
	void (*work)(void);
} works[] = {
	{"threads", work_threads}, {"short", work_short_threads},
	{"fork", work_fork},	   {"realloc", work_realloc},
	{"odd", work_odd},	   {"signals", work_signals},
	{"ring", work_ring},	   {"large", work_large},
	{"late", work_late},	   {"many", work_many},
	{"chroot", work_chroot},   {"nowhere", work_nowhere},
	{"killed", work_killed},   {"exec", work_exec},
	{"speed", work_speed},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(works); i++) {
		if (strcmp(argv[1], works[i].name) != 0)
			continue;
		works[i].work();
		return 0;
	}
	return argc > 2 ? atoi(argv[2]) : 2;
}

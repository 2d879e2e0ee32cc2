/* SPDX-License-Identifier: MIT */
/* The malloc family among threads: what each frees of the other, how they end, and fork between them. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/malloc/preload.h"

#define NR_THREADS 8

/*
 * Random work: each thread allocates, writes, hands blocks to others through a table that all share,
 * and frees what it finds there.
 */

struct block {
	size_t size;
	unsigned long seed;
	unsigned char bytes[];
};

#define NR_SHARED 4096
static struct block *shared[NR_SHARED]; /* exchanged atomically */
static unsigned long nr_ops;
static unsigned long first_seed;

static size_t random_size(unsigned long *state)
{
	unsigned long r = tap_random(state);
	unsigned int bits = (unsigned int)(r % 64);

	/* Mostly small, now and then pages, seldom a mapping. */
	if (bits < 56)
		return sizeof(struct block) + (r >> 8) % (1UL << (4 + bits % 8));
	if (bits < 63)
		return sizeof(struct block) + (r >> 8) % (256UL << 10);
	return sizeof(struct block) + (r >> 8) % 1024 * (8UL << 10);
}

/* The first and the last bytes, a large block's inside would take too long. */
static void write_block(struct block *block, size_t size, unsigned long seed)
{
	size_t nr = size - sizeof(*block);

	block->size = size;
	block->seed = seed;
	for (size_t i = 0; i < nr && i < 64; i++) {
		block->bytes[i] = (unsigned char)(seed + i);
		block->bytes[nr - 1 - i] = (unsigned char)(seed + nr - 1 - i);
	}
}

static bool check_block(const struct block *block)
{
	size_t nr = block->size - sizeof(*block);

	for (size_t i = 0; i < nr && i < 64; i++)
		if (block->bytes[i] != (unsigned char)(block->seed + i) ||
		    block->bytes[nr - 1 - i] != (unsigned char)(block->seed + nr - 1 - i))
			return false;
	return true;
}

static struct block *make_block(unsigned long *state)
{
	size_t size = random_size(state), align = 16UL << tap_random(state) % 9;
	struct block *block = NULL;

	switch (tap_random(state) % 8) {
	case 0:
		block = calloc(1, size);
		break;
	case 1:
		if (posix_memalign((void **)&block, align, size))
			block = NULL;
		break;
	case 2:
		block = realloc(malloc(size / 2 + 1), size);
		break;
	default:
		block = malloc(size);
	}
	ok(block != NULL, "no memory for %zu bytes", size);
	if (block)
		write_block(block, size, tap_random(state));
	return block;
}

static struct block *resize_block(struct block *block, unsigned long *state)
{
	size_t size = random_size(state);
	unsigned long seed = block->seed;

	ok(check_block(block), "a block of %zu bytes was written to", block->size);
	block = realloc(block, size);
	ok(block && block->seed == seed, "realloc lost the first bytes");
	if (block)
		write_block(block, size, seed);
	return block;
}

static void *random_worker(void *arg)
{
	unsigned long state = (first_seed + (uintptr_t)arg) | 1;

	for (unsigned long op = 0; op < nr_ops; op++) {
		struct block **slot = &shared[tap_random(&state) % NR_SHARED];
		struct block *block = __atomic_exchange_n(slot, NULL, __ATOMIC_ACQ_REL);

		if (block && tap_random(&state) % 4 == 0) {
			block = resize_block(block, &state);
		} else if (block) {
			ok(check_block(block), "a block of %zu bytes was written to", block->size);
			free(block);
			block = make_block(&state);
		} else {
			block = make_block(&state);
		}
		block = __atomic_exchange_n(slot, block, __ATOMIC_ACQ_REL);
		free(block);
	}
	return NULL;
}

static void run_threads(void *(*work)(void *))
{
	pthread_t threads[NR_THREADS];

	for (uintptr_t i = 0; i < NR_THREADS; i++)
		ok_eq(pthread_create(&threads[i], NULL, work, (void *)(i + 1)), 0);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void free_shared(void)
{
	for (int i = 0; i < NR_SHARED; i++) {
		if (shared[i])
			ok(check_block(shared[i]), "a block was written to");
		free(shared[i]);
		shared[i] = NULL;
	}
}

static void blocks_wander_between_threads_and_stay_whole(void)
{
	first_seed = tap_seed();
	nr_ops = tap_ops(30000);
	run_threads(random_worker);
	free_shared();
}

/*
 * Threads that end. Keys made before and after the heap's own hold memory, and their destructors
 * allocate; as do those of thread-locals in C++, which is registered the same way.
 */

static pthread_key_t keys[8];
static int nr_destroyed; /* atomic */

static void destroy(void *p)
{
	char *again = malloc(300);

	__atomic_add_fetch(&nr_destroyed, 1, __ATOMIC_RELAXED);
	ok(again != NULL, "no memory at a thread's end");
	if (again) {
		memset(again, 1, 300);
		free(again);
	}
	free(p);
}

/* Comes again in each round that there is, with memory of its own. */
static void destroy_stubbornly(void *p)
{
	free(p);
	pthread_setspecific(keys[0], malloc(50));
}

extern void *dso_handle __asm__("__dso_handle") __attribute__((visibility("hidden")));
extern int cxa_thread_atexit(void (*)(void *), void *, void *) __asm__("__cxa_thread_atexit_impl");

static void *short_life(void *arg)
{
	void *kept = NULL;

	for (int i = 0; i < 20; i++) {
		free(kept);
		kept = malloc(10 + (size_t)i * 37);
	}
	for (int i = 1; i < 8; i++)
		pthread_setspecific(keys[i], malloc(100));
	if ((uintptr_t)arg % 8 == 0)
		pthread_setspecific(keys[0], malloc(50));
	cxa_thread_atexit(destroy, kept, &dso_handle);
	return NULL;
}

static void two_thousand_threads_end_and_leave_nothing(void)
{
	enum { ROUNDS = 250, WARM = 25 };
	struct mallinfo2 warm = {0}, after;

	ok_eq(pthread_key_create(&keys[0], destroy_stubbornly), 0);
	for (int i = 1; i < 8; i++)
		ok_eq(pthread_key_create(&keys[i], destroy), 0);
	for (int round = 0; round < ROUNDS; round++) {
		if (round == WARM)
			warm = mallinfo2();
		run_threads(short_life);
	}
	after = mallinfo2();
	/* What the stubborn ones leave in their last round is theirs: one a round. */
	ok(after.uordblks <= warm.uordblks + (ROUNDS - WARM) * 64 + 65536,
	   "%zu bytes in use, %zu before", after.uordblks, warm.uordblks);
	ok(after.arena <= warm.arena + (4 << 20), "%zu bytes held, %zu before", after.arena,
	   warm.arena);
	ok_eq(nr_destroyed, ROUNDS * NR_THREADS * 8);
	for (int i = 0; i < 8; i++)
		pthread_key_delete(keys[i]);
}

/*
 * fork
 */

static bool stop;

static void *busy(void *arg)
{
	unsigned long state = first_seed + 77 + (uintptr_t)arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		struct block *blocks[32];

		for (int i = 0; i < 32; i++)
			blocks[i] = make_block(&state);
		for (int i = 0; i < 32; i++) {
			ok(check_block(blocks[i]), "a block was written to");
			free(blocks[i]);
		}
	}
	return NULL;
}

static void *child_thread(void *arg)
{
	unsigned long state = (uintptr_t)arg | 1;

	for (int i = 0; i < 200; i++) {
		struct block *block = make_block(&state);

		if (!block || !check_block(block))
			return (void *)1;
		free(block);
	}
	return NULL;
}

/* The child allocates by itself, in threads of its own, and forks again. 0 if all is well. */
static int live_as_child(int depth)
{
	pthread_t threads[4];
	int failures = 0, status;
	void *result;
	pid_t pid;

	tap_failures = 0;
	failures += child_thread((void *)99UL) != NULL;
	for (uintptr_t i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, child_thread, (void *)(i + 5)))
			return 50;
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &result);
		failures += result != NULL;
	}
	if (depth > 0) {
		pid = fork();
		if (pid == 0)
			_exit(live_as_child(depth - 1));
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			failures++;
	}
	return failures + tap_failures;
}

static void children_of_busy_threads_allocate(void)
{
	pthread_t threads[NR_THREADS];
	int status;

	first_seed = tap_seed();
	__atomic_store_n(&stop, false, __ATOMIC_RELAXED);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		ok_eq(pthread_create(&threads[i], NULL, busy, (void *)i), 0);
	for (int round = 0; round < 8; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			alarm(60);
			_exit(live_as_child(1));
		}
		ok(pid > 0 && waitpid(pid, &status, 0) == pid, "fork: %s", strerror(errno));
		ok(status == 0, "round %d: the child ended with %#x", round, status);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
}

/* What another thread allocated before the fork, the child may free. */
static void the_child_frees_what_others_allocated(void)
{
	int status;
	pid_t pid;

	first_seed = tap_seed();
	nr_ops = 20000;
	run_threads(random_worker);
	pid = fork();
	if (pid == 0) {
		tap_failures = 0;
		free_shared();
		_exit(tap_failures != 0);
	}
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "the child ended with %#x",
	   status);
	free_shared();
}

static void *many(void *arg)
{
	pthread_barrier_t *barrier = arg;
	char *p = malloc(1000);

	pthread_barrier_wait(barrier);
	ok(p != NULL, "no memory");
	free(p);
	return malloc(8);
}

/* Five hundred at a time, each with a slot of its own. */
static void many_threads_live_at_once(void)
{
	enum { NR = 500 };
	static pthread_t threads[NR];
	pthread_barrier_t barrier;
	pthread_attr_t attr;
	void *left;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 << 10);
	pthread_barrier_init(&barrier, NULL, NR);
	for (int i = 0; i < NR; i++)
		ok_eq(pthread_create(&threads[i], &attr, many, &barrier), 0);
	for (int i = 0; i < NR; i++) {
		pthread_join(threads[i], &left);
		free(left);
	}
	pthread_barrier_destroy(&barrier);
	pthread_attr_destroy(&attr);
}

static void a_library_comes_and_goes(void)
{
	for (int i = 0; i < 20; i++) {
		void *handle = dlopen("libm.so.6", RTLD_NOW);

		ok(handle != NULL, "%s", dlerror());
		if (handle)
			dlclose(handle);
		/* An error's text is memory of the loader's. */
		ok(!dlopen("/nowhere/lib.so", RTLD_NOW), "opened");
		ok(dlerror() != NULL, "no error");
	}
}

int main(int argc, char **argv)
{
	(void)argc;
	preload_self(argv);
	RUN(blocks_wander_between_threads_and_stay_whole);
	RUN(two_thousand_threads_end_and_leave_nothing);
	RUN(many_threads_live_at_once);
	RUN(the_child_frees_what_others_allocated);
	RUN(children_of_busy_threads_allocate);
	RUN(a_library_comes_and_goes);
	return done();
}

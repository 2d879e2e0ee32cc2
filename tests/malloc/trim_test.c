/* SPDX-License-Identifier: MIT */
/* Memory that is freed goes back to the host: at once when asked, and soon when nobody asks. */
#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/malloc/preload.h"

#define MIB (1UL << 20)

#define NR_BLOCKS      200000
#define AT_HAND	       (48 * MIB) /* what a thread may keep for itself, generously */
#define PATIENCE_TICKS 200	  /* of 100 ms: a machine may be busy */

static void *blocks[NR_BLOCKS];

/* Sizes of every way of allocating, 230 MiB in all. */
static size_t size_of(int i)
{
	if (i % 2000 == 0)
		return 200000;
	return i % 50 == 0 ? 20000 : 16 + (size_t)i % 97 * 16;
}

static void allocate(void)
{
	for (int i = 0; i < NR_BLOCKS; i++) {
		blocks[i] = malloc(size_of(i));
		ok(blocks[i] != NULL, "no memory");
		if (blocks[i])
			memset(blocks[i], 1, size_of(i));
	}
}

static void give_back(void)
{
	for (int i = 0; i < NR_BLOCKS; i++)
		free(blocks[i]);
}

static void sleep_a_tick(void)
{
	nanosleep(&(struct timespec){0, 100000000}, NULL);
}

static int nr_threads(void)
{
	DIR *tasks = opendir("/proc/self/task");
	int nr = 0;

	while (tasks && readdir(tasks))
		nr++;
	if (tasks)
		closedir(tasks);
	return nr - 2;
}

static void a_small_program_has_one_thread(void)
{
	for (int round = 0; round < 200; round++) {
		void *p[300];

		for (int i = 0; i < 300; i++)
			p[i] = malloc(1 + (size_t)i * 3);
		for (int i = 0; i < 300; i++)
			free(p[i]);
	}
	ok_eq(nr_threads(), 1);
}

static void trim_gives_memory_back_at_once(void)
{
	unsigned long before, during, after;

	allocate();
	give_back();
	malloc_trim(0);
	before = resident_bytes();
	allocate();
	during = resident_bytes();
	ok(during > before + 150 * MIB, "%lu MiB, %lu before", during / MIB, before / MIB);
	give_back();
	ok_eq(malloc_trim(0), 1);
	after = resident_bytes();
	ok(after < before + 8 * MIB, "%lu MiB after, %lu before, %lu during", after / MIB,
	   before / MIB, during / MIB);
}

/* A trim soon after another may find that little was freed since, and leave it: that bounds what stays. */
static void trims_one_after_the_other_leave_little(void)
{
	unsigned long before, after;

	allocate();
	give_back();
	malloc_trim(0);
	before = resident_bytes();
	for (int round = 0; round < 1000; round++) {
		size_t size = (size_t)(1 + round % 100) * 1000;
		char *p = malloc(size);

		memset(p, 1, size);
		free(p);
		malloc_trim(0);
	}
	after = resident_bytes();
	ok(after < before + 4 * MIB, "%lu KiB after, %lu before", after / 1024, before / 1024);
}

/* 0, or what is wrong. */
static int idle_memory_leaves(void)
{
	unsigned long before, now = 0;

	malloc_trim(0);
	before = resident_bytes();
	allocate();
	if (resident_bytes() < before + 150 * MIB)
		return 1;
	give_back();
	for (int i = 0; i < PATIENCE_TICKS; i++) {
		now = resident_bytes();
		if (now < before + AT_HAND)
			break;
		sleep_a_tick();
	}
	ok(now < before + AT_HAND, "%lu MiB, %lu before", now / MIB, before / MIB);
	return now < before + AT_HAND ? 0 : 2;
}

static void memory_goes_back_when_the_program_idles(void)
{
	ok_eq(idle_memory_leaves(), 0);
}

static void the_helper_ends_when_there_is_nothing_to_do(void)
{
	for (int i = 0; i < PATIENCE_TICKS && nr_threads() > 1; i++)
		sleep_a_tick();
	ok_eq(nr_threads(), 1);
}

static void the_helper_comes_again(void)
{
	ok_eq(idle_memory_leaves(), 0);
}

static void a_child_has_a_helper_of_its_own(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(idle_memory_leaves());
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "the child ended with %#x",
	   status);
}

/* The blocks are a thread's that has ended: what it had at hand goes back, too. */
static void *allocate_and_give_back(void *arg)
{
	(void)arg;
	allocate();
	give_back();
	return NULL;
}

static void what_a_dead_thread_had_goes_back(void)
{
	unsigned long before, now = 0;
	pthread_t thread;

	malloc_trim(0);
	before = resident_bytes();
	ok_eq(pthread_create(&thread, NULL, allocate_and_give_back, NULL), 0);
	pthread_join(thread, NULL);
	for (int i = 0; i < PATIENCE_TICKS; i++) {
		now = resident_bytes();
		if (now < before + 12 * MIB)
			break;
		sleep_a_tick();
	}
	ok(now < before + 12 * MIB, "%lu MiB, %lu before", now / MIB, before / MIB);
}

static void contents_stay_while_memory_goes_back(void)
{
	size_t wrong = 0;

	for (int round = 0; round < 3; round++) {
		allocate();
		for (int i = 0; i < NR_BLOCKS; i++) {
			if (i % 3 == round) {
				free(blocks[i]);
				blocks[i] = NULL;
			}
		}
		malloc_trim(0);
		for (int i = 0; i < NR_BLOCKS; i++) {
			const char *bytes = blocks[i];

			wrong += bytes && (bytes[0] != 1 || bytes[size_of(i) - 1] != 1);
		}
		give_back();
	}
	ok_eq(wrong, 0);
}

/* Ends the process: by the last thread, which must not be a helper that stays. */
static void *outlive(void *arg)
{
	(void)arg;
	sleep_a_tick();
	return NULL;
}

static void a_program_ends_with_its_last_thread(void)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		pthread_t thread;

		alarm(60);
		allocate();
		give_back();
		pthread_create(&thread, NULL, outlive, NULL);
		pthread_exit(NULL);
	}
	ok(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "it ended with %#x", status);
}

int main(int argc, char **argv)
{
	(void)argc;
	preload_self(argv);
	RUN(a_small_program_has_one_thread);
	RUN(trim_gives_memory_back_at_once);
	RUN(trims_one_after_the_other_leave_little);
	RUN(memory_goes_back_when_the_program_idles);
	RUN(the_helper_ends_when_there_is_nothing_to_do);
	RUN(the_helper_comes_again);
	RUN(a_child_has_a_helper_of_its_own);
	RUN(what_a_dead_thread_had_goes_back);
	RUN(contents_stay_while_memory_goes_back);
	RUN(a_program_ends_with_its_last_thread);
	return done();
}

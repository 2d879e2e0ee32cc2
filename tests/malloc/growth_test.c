/* SPDX-License-Identifier: MIT */
/* Buffers that realloc makes longer and longer: what is in them, and what they cost. */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/malloc/preload.h"

#define KIB 1024UL
#define MIB (1024 * KIB)

/* A buffer of numbers, each of which says where it is and whose. */
struct buffer {
	unsigned long *numbers;
	size_t nr;
	unsigned long seed;
};

static unsigned long number_at(const struct buffer *buffer, size_t i)
{
	return (i + 1) * 0x9e3779b97f4a7c15UL ^ buffer->seed;
}

static bool is_whole(const struct buffer *buffer)
{
	for (size_t i = 0; i < buffer->nr; i++)
		if (buffer->numbers[i] != number_at(buffer, i))
			return false;
	return true;
}

/* Give it so many bytes, and fill what is new. False for no memory. */
static bool resize(struct buffer *buffer, size_t bytes)
{
	unsigned long *numbers = realloc(buffer->numbers, bytes);

	if (!numbers)
		return false;
	buffer->numbers = numbers;
	ok((uintptr_t)numbers % 16 == 0, "%p", (void *)numbers);
	ok(malloc_usable_size(numbers) >= bytes, "%zu usable of %zu", malloc_usable_size(numbers),
	   bytes);
	for (; buffer->nr < bytes / sizeof(*numbers); buffer->nr++)
		numbers[buffer->nr] = number_at(buffer, buffer->nr);
	buffer->nr = bytes / sizeof(*numbers);
	return true;
}

static void end(struct buffer *buffer)
{
	free(buffer->numbers);
	*buffer = (struct buffer){NULL, 0, buffer->seed + 1};
}

static void small_steps_keep_the_contents(void)
{
	struct buffer buffer = {NULL, 0, 7};

	for (size_t bytes = 1000; bytes < 12 * MIB; bytes += bytes < 512 * KIB ? 1000 : 30000) {
		ok(resize(&buffer, bytes), "no memory for %zu bytes", bytes);
		if (bytes % 7 == 0)
			ok(is_whole(&buffer), "of %zu bytes some are wrong", bytes);
	}
	ok(is_whole(&buffer), "some are wrong");
	end(&buffer);
}

/* Every series is as long as the last, so memory that it left behind would pile up. */
static void growing_costs_no_more_than_the_buffer(void)
{
	enum { LARGEST = 24, ALLOWED = 6 }; /* MiB */
	struct buffer buffer = {NULL, 0, 9};
	unsigned long before, now, most = 0;

	malloc_trim(0);
	before = resident_bytes();
	for (int series = 0; series < 4; series++) {
		for (size_t bytes = 100 * KIB; bytes < LARGEST * MIB; bytes += 20000) {
			ok(resize(&buffer, bytes), "no memory for %zu bytes", bytes);
			now = resident_bytes();
			most = now > most ? now : most;
		}
		end(&buffer);
	}
	now = resident_bytes();
	ok(most < before + (LARGEST + ALLOWED) * MIB, "%lu KiB, %lu before", most / KIB,
	   before / KIB);
	ok(now < before + ALLOWED * MIB, "%lu KiB at the end, %lu before", now / KIB, before / KIB);
}

static void what_is_cut_off_goes_back(void)
{
	static const size_t less[] = {40 * MIB,	 39 * MIB + 500, 5 * MIB, 300 * KIB, 130 * KIB,
				      100 * KIB, 40 * KIB,	 1000,	  10};
	struct buffer buffer = {NULL, 0, 11};
	unsigned long before;

	for (size_t i = 0; i < sizeof(less) / sizeof(*less); i++) {
		malloc_trim(0);
		before = resident_bytes();
		ok(resize(&buffer, 150 * KIB) && resize(&buffer, 200 * KIB), "no memory");
		ok(resize(&buffer, 64 * MIB), "no memory");
		ok(resize(&buffer, less[i]), "no memory");
		ok(is_whole(&buffer), "%zu bytes: some are wrong", less[i]);
		ok(resident_bytes() < before + less[i] + 8 * MIB, "%lu KiB, %lu before",
		   resident_bytes() / KIB, before / KIB);
		ok(resize(&buffer, less[i] + 3 * MIB), "no memory");
		ok(is_whole(&buffer), "%zu bytes, grown again: some are wrong", less[i]);
		end(&buffer);
	}
}

static void all_that_is_usable_may_be_used(void)
{
	unsigned char *bytes = NULL;

	for (size_t size = 90 * KIB; size < 6 * MIB; size += size / 9) {
		size_t usable;

		bytes = realloc(bytes, size);
		usable = malloc_usable_size(bytes);
		ok(usable >= size && usable <= size + size / 8 + 4096, "%zu usable of %zu", usable,
		   size);
		memset(bytes, 1, usable);
	}
	/* Up and down by a little, which need not move anything. */
	for (int i = 0; i < 1000; i++) {
		size_t size = 4 * MIB + (size_t)(i * 7919 % 100) * KIB;

		bytes = realloc(bytes, size);
		ok(malloc_usable_size(bytes) >= size, "%zu of %zu", malloc_usable_size(bytes),
		   size);
		bytes[size - 1] = 1;
	}
	ok(bytes[0] == 1 && bytes[4 * MIB - 1] == 1, "some are wrong");
	free(bytes);
}

/* So many that the table of them is made longer meanwhile. */
static void many_buffers_grow_at_once(void)
{
	enum { NR = 400 };
	static struct buffer buffers[NR];
	struct mallinfo2 before = mallinfo2(), after;

	for (unsigned long i = 0; i < NR; i++)
		buffers[i] = (struct buffer){NULL, 0, i};
	for (size_t kib = 120; kib < 200; kib += 17)
		for (int i = 0; i < NR; i++)
			ok(resize(&buffers[i], kib * KIB + (size_t)i * 8), "no memory");
	for (int i = 0; i < NR; i++) {
		ok(is_whole(&buffers[i]), "buffer %d: some are wrong", i);
		end(&buffers[i]);
	}
	after = mallinfo2();
	ok_eq(after.hblks, before.hblks);
	ok_eq(after.hblkhd, before.hblkhd);
	ok(after.uordblks < before.uordblks + MIB, "%zu bytes in use, %zu before", after.uordblks,
	   before.uordblks);
}

/* What the host cannot make longer as one is copied. */
static void a_buffer_whose_pages_differ_grows(void)
{
	struct buffer buffer = {NULL, 0, 13};
	char *page;

	ok(resize(&buffer, 150 * KIB) && resize(&buffer, 2 * MIB), "no memory");
	page = (char *)(((uintptr_t)buffer.numbers + MIB) & ~4095UL);
	ok(!mprotect(page, 4096, PROT_READ), "mprotect: %s", strerror(errno));
	errno = 5;
	ok(resize(&buffer, 5 * MIB), "no memory");
	ok_eq(errno, 5);
	ok(is_whole(&buffer), "some are wrong");
	memset(buffer.numbers, 1, 5 * MIB);
	end(&buffer);
}

/* In a child: its address space may not become larger, so every step is a copy. 0 if all is well. */
static int grow_without_mappings(void)
{
	struct buffer buffer = {NULL, 0, 15};
	struct rlimit limit = {1, 1};

	tap_failures = 0;
	ok(resize(&buffer, 150 * KIB), "no memory");
	ok(!setrlimit(RLIMIT_AS, &limit), "setrlimit: %s", strerror(errno));
	for (size_t bytes = 150 * KIB; bytes < 3 * MIB; bytes += 40000)
		ok(resize(&buffer, bytes), "no memory for %zu bytes", bytes);
	ok(is_whole(&buffer), "some are wrong");
	errno = 0;
	ok(!realloc(buffer.numbers, 300 * MIB) && errno == ENOMEM, "errno %d", errno);
	ok(is_whole(&buffer), "some are wrong after a realloc that failed");
	end(&buffer);
	return tap_failures;
}

/* In a child: what the parent had grown, shrunk and grown on. */
static struct buffer inherited;

static int grow_what_the_parent_had(void)
{
	tap_failures = 0;
	ok(is_whole(&inherited), "some are wrong");
	ok(resize(&inherited, 9 * MIB) && is_whole(&inherited), "some are wrong when grown");
	ok(resize(&inherited, MIB) && is_whole(&inherited), "some are wrong when shrunk");
	end(&inherited);
	return tap_failures;
}

static int in_child(int (*work)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(work() != 0);
	return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

static void without_mappings_it_grows_by_copies(void)
{
	ok_eq(in_child(grow_without_mappings), 0);
}

static void a_child_grows_what_its_parent_had(void)
{
	inherited.seed = 17;
	ok(resize(&inherited, 150 * KIB) && resize(&inherited, 3 * MIB), "no memory");
	ok_eq(in_child(grow_what_the_parent_had), 0);
	ok(is_whole(&inherited), "the child wrote to its parent's");
	end(&inherited);
}

/* Threads that take a buffer, resize or free it, and put it back for another. */

#define NR_THREADS 6
#define NR_SHARED  24

static struct buffer shared[NR_SHARED];
static pthread_mutex_t locks[NR_SHARED];
static unsigned long first_seed, nr_ops;

static size_t next_size(const struct buffer *buffer, unsigned long *state)
{
	size_t now = buffer->nr * sizeof(*buffer->numbers);

	if (now < 64 * KIB)
		return 64 * KIB + tap_random(state) % (128 * KIB);
	return tap_random(state) % 5 ? now + tap_random(state) % (64 * KIB)
				     : 1 + tap_random(state) % now;
}

static void *resize_some(void *arg)
{
	unsigned long state = (first_seed + (uintptr_t)arg) | 1;

	for (unsigned long i = 0; i < nr_ops; i++) {
		unsigned long at = tap_random(&state) % NR_SHARED;
		struct buffer *buffer = &shared[at];

		pthread_mutex_lock(&locks[at]);
		ok(resize(buffer, next_size(buffer, &state)), "no memory");
		if (tap_random(&state) % 8 == 0)
			ok(is_whole(buffer), "some are wrong");
		if (tap_random(&state) % 32 == 0)
			end(buffer);
		pthread_mutex_unlock(&locks[at]);
	}
	return NULL;
}

static void threads_grow_and_shrink_each_others_buffers(void)
{
	pthread_t threads[NR_THREADS];

	first_seed = tap_seed();
	nr_ops = tap_ops(3000);
	for (unsigned long i = 0; i < NR_SHARED; i++) {
		pthread_mutex_init(&locks[i], NULL);
		shared[i].seed = i * 1000;
	}
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		ok_eq(pthread_create(&threads[i], NULL, resize_some, (void *)(i + 1)), 0);
	for (int i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < NR_SHARED; i++) {
		ok(is_whole(&shared[i]), "some are wrong");
		end(&shared[i]);
	}
}

int main(int argc, char **argv)
{
	(void)argc;
	preload_self(argv);
	RUN(small_steps_keep_the_contents);
	RUN(growing_costs_no_more_than_the_buffer);
	RUN(what_is_cut_off_goes_back);
	RUN(all_that_is_usable_may_be_used);
	RUN(many_buffers_grow_at_once);
	RUN(a_buffer_whose_pages_differ_grows);
	RUN(without_mappings_it_grows_by_copies);
	RUN(a_child_grows_what_its_parent_had);
	RUN(threads_grow_and_shrink_each_others_buffers);
	return done();
}

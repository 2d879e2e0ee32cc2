/* SPDX-License-Identifier: MIT */
/* Each function of the malloc family by itself: what the C library's manual promises of it. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/malloc/preload.h"

#define KIB 1024UL
#define MIB (1024 * KIB)

/* Sizes around where one way of allocating ends and the next begins. */
static const size_t sizes[] = {
	1,	 2,	      7,       8,	    9,	     15,       16,	 17,	   24,
	31,	 32,	      33,      48,	    63,	     64,       65,	 96,	   127,
	128,	 129,	      200,     255,	    256,     257,      511,	 512,	   513,
	1000,	 1024,	      1025,    2047,	    2048,    2049,     4000,	 4095,	   4096,
	4097,	 8191,	      8192,    8193,	    10000,   16384,    32767,	 32768,	   32769,
	40000,	 65536,	      100000,  128 * KIB,   131073,  200000,   MIB - 1,	 MIB,	   MIB + 1,
	3 * MIB, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 5 * MIB, 16 * MIB, 33 * MIB, 70 * MIB,
};
#define NR_SIZES (sizeof(sizes) / sizeof(*sizes))

/* So that the compiler does not know what a pointer came from, and drop the call. */
static void *hide(void *p)
{
	__asm__ volatile("" : "+r"(p) : : "memory");
	return p;
}

static size_t hide_size(size_t size)
{
	__asm__ volatile("" : "+r"(size));
	return size;
}

static bool is_aligned(const void *p, size_t align)
{
	return ((uintptr_t)p & (align - 1)) == 0;
}

static void fill(void *p, size_t size, unsigned char byte)
{
	memset(p, byte, size);
}

static bool filled(const void *p, size_t size, unsigned char byte)
{
	const unsigned char *bytes = p;

	for (size_t i = 0; i < size; i++)
		if (bytes[i] != byte)
			return false;
	return true;
}

static void malloc_gives_aligned_memory_of_every_size(void)
{
	void *blocks[NR_SIZES];

	for (size_t i = 0; i < NR_SIZES; i++) {
		blocks[i] = hide(malloc(sizes[i]));
		ok(blocks[i] != NULL, "%zu bytes", sizes[i]);
		ok(is_aligned(blocks[i], 16), "%zu bytes at %p", sizes[i], blocks[i]);
		ok(malloc_usable_size(blocks[i]) >= sizes[i], "%zu usable of %zu",
		   malloc_usable_size(blocks[i]), sizes[i]);
		fill(blocks[i], malloc_usable_size(blocks[i]), (unsigned char)i);
	}
	for (size_t i = 0; i < NR_SIZES; i++)
		ok(filled(blocks[i], malloc_usable_size(blocks[i]), (unsigned char)i),
		   "%zu bytes were written to", sizes[i]);
	for (size_t i = 0; i < NR_SIZES; i++)
		free(blocks[i]);
}

static void size_zero_gives_pointers_of_their_own(void)
{
	void *a = hide(malloc(hide_size(0))), *b = hide(malloc(hide_size(0)));
	void *c = hide(calloc(0, 5)), *d = hide(memalign(64, 0));

	ok(a && b && c && d, "%p %p %p %p", a, b, c, d);
	ok(a != b && b != c && a != c && c != d, "%p %p %p %p", a, b, c, d);
	free(a);
	free(b);
	free(c);
	free(d);
	free(NULL);
}

static void calloc_gives_zeros_where_others_wrote(void)
{
	for (size_t i = 0; i < NR_SIZES; i++) {
		unsigned char *block;

		for (int round = 0; round < 3; round++) {
			block = hide(malloc(sizes[i]));
			fill(block, malloc_usable_size(block), 0xa5);
			free(block);
			block = hide(calloc(1, sizes[i]));
			ok(filled(block, sizes[i], 0), "%zu bytes are not zero", sizes[i]);
			fill(block, sizes[i], 0x5a);
			free(block);
		}
	}
}

static void sizes_that_cannot_be_are_refused(void)
{
	static const size_t huge[] = {SIZE_MAX, SIZE_MAX - 4096, (size_t)PTRDIFF_MAX + 1,
				      (size_t)PTRDIFF_MAX, SIZE_MAX / 2 + 100};
	char *kept = hide(malloc(100));

	strcpy(kept, "kept");
	for (size_t i = 0; i < sizeof(huge) / sizeof(*huge); i++) {
		size_t size = hide_size(huge[i]);
		void *p;

#define REFUSED(call)                                                                              \
	do {                                                                                       \
		errno = 0;                                                                         \
		p = hide(call);                                                                    \
		ok(!p && errno == ENOMEM, "%zu: %p, errno %d", size, p, errno);                    \
	} while (0)
		REFUSED(malloc(size));
		REFUSED(calloc(size, 1));
		REFUSED(calloc(1, size));
		REFUSED(realloc(kept, size));
		REFUSED(realloc(NULL, size));
		REFUSED(reallocarray(kept, size, 1));
		REFUSED(memalign(4096, size));
		REFUSED(valloc(size));
		REFUSED(pvalloc(size));
		ok_eq(posix_memalign(&p, 64, size), ENOMEM);
	}
	{
		size_t size = hide_size(SIZE_MAX / 2);
		void *p;

		REFUSED(calloc(size, 3));
		REFUSED(reallocarray(kept, size, 3));
		REFUSED(calloc(hide_size(1UL << 33), hide_size(1UL << 33)));
	}
	ok(!strcmp(kept, "kept"), "a realloc that failed changed its block");
	free(kept);
}

static void every_alignment_is_kept_by_every_size(void)
{
	for (size_t align = 1; align <= 16 * MIB; align *= 2)
		for (size_t i = 0; i<NR_SIZES; i += align> 4096 ? 7 : 1) {
			size_t size = sizes[i];
			void *p = hide(memalign(align, size)), *q = NULL;

			ok(p && is_aligned(p, align), "memalign(%zu, %zu) = %p", align, size, p);
			ok(malloc_usable_size(p) >= size, "%zu usable of %zu",
			   malloc_usable_size(p), size);
			fill(p, size < 64 * KIB ? size : 64 * KIB, 1);
			if (align >= sizeof(void *)) {
				ok_eq(posix_memalign(&q, align, size), 0);
				ok(q && is_aligned(q, align), "posix_memalign(%zu, %zu): %p", align,
				   size, q);
			}
			free(p);
			free(q);
		}
}

static void alignments_that_are_none_are_refused(void)
{
	void *p = &p;

	ok_eq(posix_memalign(&p, 0, 8), EINVAL);
	ok_eq(posix_memalign(&p, 4, 8), EINVAL);
	ok_eq(posix_memalign(&p, 24, 8), EINVAL);
	ok(p == &p, "a refused call wrote its result");
	p = hide(memalign(hide_size(24), 100)); /* rounded up, as the C library does */
	ok(p && is_aligned(p, 32), "memalign(24, 100) = %p", p);
	free(p);
	errno = 0;
	ok(!hide(memalign(hide_size(SIZE_MAX), 8)) && errno == EINVAL, "errno %d", errno);
}

static void the_page_calls_give_pages(void)
{
	char *p = hide(valloc(100)), *q = hide(pvalloc(100)), *r = hide(aligned_alloc(256, 512));

	ok(p && is_aligned(p, 4096), "valloc: %p", p);
	ok(q && is_aligned(q, 4096), "pvalloc: %p", q);
	ok(malloc_usable_size(q) >= 4096, "pvalloc: %zu usable", malloc_usable_size(q));
	ok(r && is_aligned(r, 256), "aligned_alloc: %p", r);
	free(p);
	free(q);
	free(r);
}

/* More lengths than a thread keeps free runs for: whatever is kept or given back, nobody else has it. */
static void runs_of_many_lengths_do_not_overlap(void)
{
	enum { NR = 40 };
	struct {
		char *p;
		size_t size;
	} runs[NR] = {{NULL, 0}};
	unsigned long state = tap_seed();

	for (int i = 0; i < 4000; i++) {
		int at = (int)(tap_random(&state) % NR);
		unsigned char byte = (unsigned char)(at + 1);

		if (runs[at].p) {
			ok(filled(runs[at].p, runs[at].size, byte), "others wrote to run %d", at);
			free(hide(runs[at].p));
		}
		runs[at].size = 33000 + tap_random(&state) % (i % 2 ? 20000 : 800000);
		runs[at].p = hide(i % 3 ? malloc(runs[at].size) : calloc(1, runs[at].size));
		ok(runs[at].p && malloc_usable_size(runs[at].p) >= runs[at].size, "no memory");
		ok(i % 3 || filled(runs[at].p, runs[at].size, 0), "calloc gave dirt");
		fill(runs[at].p, runs[at].size, byte);
	}
	for (int at = 0; at < NR; at++)
		free(runs[at].p);
}

static void errno_stays_over_free(void)
{
	for (size_t i = 0; i < NR_SIZES; i++) {
		void *p = hide(malloc(sizes[i]));

		errno = 123;
		free(p);
		ok_eq(errno, 123);
	}
	errno = 77;
	free(hide(malloc(100)));
	malloc_trim(0);
	ok_eq(errno, 77);
}

static void usable_size_of_null_is_zero(void)
{
	ok_eq(malloc_usable_size(hide(NULL)), 0);
}

static void realloc_keeps_what_fits(void)
{
	for (size_t from = 0; from < NR_SIZES; from += 2)
		for (size_t to = 0; to < NR_SIZES; to += 3) {
			size_t least = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
			unsigned char *p = hide(malloc(sizes[from]));

			fill(p, sizes[from], (unsigned char)(from + 1));
			p = hide(realloc(p, sizes[to]));
			ok(p && malloc_usable_size(p) >= sizes[to], "%zu to %zu", sizes[from],
			   sizes[to]);
			ok(is_aligned(p, 16), "%p", (void *)p);
			ok(filled(p, least, (unsigned char)(from + 1)), "%zu to %zu: not the same",
			   sizes[from], sizes[to]);
			free(p);
		}
}

static void realloc_of_nothing_and_to_nothing(void)
{
	void *p = hide(realloc(NULL, 100));

	ok(p != NULL, "realloc(NULL, 100)");
	fill(p, 100, 1);
	ok(!hide(realloc(p, hide_size(0))), "realloc to 0 frees");
	p = hide(reallocarray(NULL, 10, 10));
	ok(p && malloc_usable_size(p) >= 100, "reallocarray(NULL, 10, 10)");
	free(p);
}

/* A buffer that grows as buffers do, over all borders, and shrinks again. */
static void a_growing_buffer_keeps_its_contents(void)
{
	size_t nr = 0, capacity = 0;
	unsigned *numbers = NULL;

	for (capacity = 1; capacity < 80 * MIB / sizeof(*numbers);
	     capacity = capacity * 3 / 2 + 1) {
		numbers = hide(realloc(numbers, capacity * sizeof(*numbers)));
		for (; nr < capacity; nr++)
			numbers[nr] = (unsigned)nr * 2654435761U;
	}
	for (; nr > 0; nr = nr * 2 / 3) {
		size_t wrong = 0;

		numbers = hide(realloc(numbers, nr * sizeof(*numbers)));
		for (size_t i = 0; i < nr; i += nr / 1000 + 1)
			wrong += numbers[i] != (unsigned)i * 2654435761U;
		ok(!wrong, "of %zu numbers %zu are wrong", nr, wrong);
	}
	free(numbers);
}

static void mallinfo_counts_what_is_in_use(void)
{
	enum { NR = 100 };
	struct mallinfo2 before = mallinfo2(), during, after;
	void *blocks[NR], *large = hide(malloc(100 * MIB));

	for (int i = 0; i < NR; i++)
		blocks[i] = hide(malloc(100000));
	during = mallinfo2();
	ok(during.uordblks >= before.uordblks + 100000 * NR + 100 * MIB, "%zu, %zu before",
	   during.uordblks, before.uordblks);
	ok(during.hblks == before.hblks + 1, "%zu mappings", during.hblks);
	ok(during.hblkhd >= before.hblkhd + 100 * MIB, "%zu bytes mapped", during.hblkhd);
	for (int i = 0; i < NR; i++)
		free(blocks[i]);
	free(large);
	after = mallinfo2();
	ok(after.uordblks + 100000 * NR + 100 * MIB <= during.uordblks, "%zu, %zu during",
	   after.uordblks, during.uordblks);
	ok_eq(after.hblks, before.hblks);
	ok_eq(mallinfo().hblks, (int)after.hblks);
}

static void mallopt_takes_note(void)
{
	ok_eq(mallopt(M_MMAP_THRESHOLD, 1 << 20), 1);
	ok_eq(mallopt(M_ARENA_MAX, 1), 1);
}

/* In a child, whose limit it is. Returns its exit status. */
static int in_child(int (*work)(void))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(work());
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + (status & 0x7f);
}

static int fill_until_refused(void)
{
	struct rlimit limit = {1, 1};
	size_t nr = 0;
	void *p;

	/* Nothing more can be mapped; what the machine has is there already. */
	if (setrlimit(RLIMIT_AS, &limit))
		return 1;
	errno = 0;
	if (hide(malloc(256 * MIB)) || errno != ENOMEM)
		return 2;
	if (hide(calloc(1, 256 * MIB)) || errno != ENOMEM)
		return 3;
	/* Small ones still work, and are given back. */
	for (nr = 0; nr < 10000; nr++) {
		p = hide(malloc(100));
		if (!p)
			return 4;
		fill(p, 100, 1);
		free(p);
	}
	return 0;
}

static void a_limit_of_address_space_is_enomem(void)
{
	ok_eq(in_child(fill_until_refused), 0);
}

/* Mistakes, each of which must end a child by abort(), after a line that begins with "kmm: ". */

static int free_twice(size_t size)
{
	void *p = hide(malloc(size));

	free(p);
	free(hide(p));
	return 0;
}

static int free_object_twice(void)
{
	return free_twice(100);
}

static int free_run_twice(void)
{
	return free_twice(100000);
}

static int free_large_run_twice(void)
{
	return free_twice(10 * MIB);
}

static int free_mapping_twice(void)
{
	return free_twice(100 * MIB);
}

static int free_inside_a_run(void)
{
	char *p = hide(malloc(100000));

	free(hide(p + 4096));
	return 0;
}

static int free_static_memory(void)
{
	static char mine[100];

	free(hide(mine));
	return 0;
}

static int free_stack(void)
{
	long mine[2] = {0, 0};

	free(hide(mine));
	return 0;
}

static int realloc_of_nothing_known(void)
{
	static char mine[4096];

	return hide(realloc(hide(mine), 10)) != NULL;
}

static void stops(int (*mistake)(void))
{
	char text[512] = "";
	int pipes[2], status = 0;
	ssize_t n;
	pid_t pid;

	if (pipe(pipes))
		return;
	pid = fork();
	if (pid == 0) {
		struct rlimit none = {0, 0};

		setrlimit(RLIMIT_CORE, &none);
		dup2(pipes[1], STDERR_FILENO);
		_exit(mistake());
	}
	close(pipes[1]);
	n = read(pipes[0], text, sizeof(text) - 1);
	close(pipes[0]);
	waitpid(pid, &status, 0);
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "the child ended with %#x", status);
	ok(n > 5 && !strncmp(text, "kmm: ", 5) && strchr(text, '\n') == text + n - 1,
	   "it said '%s'", text);
}

static void a_free_of_what_is_not_allocated_stops_the_program(void)
{
	stops(free_object_twice);
	stops(free_run_twice);
	stops(free_large_run_twice);
	stops(free_mapping_twice);
	stops(free_inside_a_run);
	stops(free_static_memory);
	stops(free_stack);
	stops(realloc_of_nothing_known);
}

int main(int argc, char **argv)
{
	(void)argc;
	preload_self(argv);
	RUN(malloc_gives_aligned_memory_of_every_size);
	RUN(size_zero_gives_pointers_of_their_own);
	RUN(calloc_gives_zeros_where_others_wrote);
	RUN(sizes_that_cannot_be_are_refused);
	RUN(every_alignment_is_kept_by_every_size);
	RUN(alignments_that_are_none_are_refused);
	RUN(the_page_calls_give_pages);
	RUN(runs_of_many_lengths_do_not_overlap);
	RUN(errno_stays_over_free);
	RUN(usable_size_of_null_is_zero);
	RUN(realloc_keeps_what_fits);
	RUN(realloc_of_nothing_and_to_nothing);
	RUN(a_growing_buffer_keeps_its_contents);
	RUN(mallinfo_counts_what_is_in_use);
	RUN(mallopt_takes_note);
	RUN(a_limit_of_address_space_is_enomem);
	RUN(a_free_of_what_is_not_allocated_stops_the_program);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* With KMM_OPTIONS=slub_debug=Z a red zone begins where what was asked for ends, and a write into it
 * stops the program at the free: of a program that does no such thing it must stop none. */
#include <malloc.h>
#include <signal.h>
#include <sys/wait.h>

#include "preload.h"

#define MOST 3000

/* volatile, because a compiler that knows what was asked for may leave writes out. */
static void fill(volatile char *object, size_t size)
{
	for (size_t i = 0; i < size; i++)
		object[i] = (char)i;
}

static void what_realloc_leaves_in_place_may_be_filled(void)
{
	for (size_t from = 1; from < MOST; from += 7)
		for (size_t to = from / 2 + 1; to < from + 40; to += 5) {
			char *object = realloc(malloc(from), to);

			fill(object, to);
			free(object);
		}
}

static void what_shrinks_may_grow_again(void)
{
	for (size_t size = 100; size < MOST; size += 13) {
		char *object = malloc(size);

		object = realloc(object, size * 6 / 10);
		object = realloc(object, size);
		fill(object, size);
		free(object);
	}
}

static void whoever_asks_how_much_is_usable_may_use_it(void)
{
	for (size_t size = 1; size < MOST; size += 3) {
		char *object = malloc(size);

		fill(object, malloc_usable_size(object));
		free(object);
	}
}

static void a_write_behind_what_was_asked_for_stops_the_program(void)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		char *object = realloc(malloc(280), 265);

		freopen("/dev/null", "w", stderr);
		fill(object, 280);
		free(object);
		_exit(0);
	}
	ok(pid > 0 && waitpid(pid, &status, 0) == pid, "no child");
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %#x", (unsigned int)status);
}

int main(int argc, char **argv)
{
	(void)argc;
	setenv("KMM_OPTIONS", "slub_debug=Z", 1);
	preload_self(argv);
	RUN(what_realloc_leaves_in_place_may_be_filled);
	RUN(what_shrinks_may_grow_again);
	RUN(whoever_asks_how_much_is_usable_may_use_it);
	RUN(a_write_behind_what_was_asked_for_stops_the_program);
	return done();
}

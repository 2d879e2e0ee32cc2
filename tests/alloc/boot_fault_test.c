/* SPDX-License-Identifier: MIT */
/*
 * A boot in which each request fails in turn, of those to the host and of those to the C library: it
 * is refused, or does without, and leaves nothing behind.
 *
 * The C library's allocators are wrapped at link time (see tests.mk), so that the nth call from the
 * library or from here can be made to fail; hwloc's own calls are not reached.
 */
#include <errno.h>
#include <stdio.h>

#include "arch/host.h"
#include "tests/alloc/footprint.h"

static unsigned long c_countdown;

static bool c_fails(void)
{
	return c_countdown && --c_countdown == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t nr, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
char *__real_strdup(const char *string);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t nr, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__wrap_strdup(const char *string);

void *__wrap_malloc(size_t size)
{
	return c_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t nr, size_t size)
{
	return c_fails() ? NULL : __real_calloc(nr, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return c_fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return c_fails() ? NULL : __real_aligned_alloc(align, size);
}

char *__wrap_strdup(const char *string)
{
	return c_fails() ? NULL : __real_strdup(string);
}

static void arm_c(unsigned long nth)
{
	c_countdown = nth;
}

static bool c_pending(void)
{
	return c_countdown != 0;
}

/* Boot and end a machine with the nth request failing. False when there was no nth. */
static bool fail_nth(const struct kmm_config *config, unsigned long nth, void (*arm)(unsigned long),
		     bool (*pending)(void))
{
	struct footprint before = footprint();
	struct kmm *machine = NULL;
	bool failed;
	char when[32];
	int error;

	snprintf(when, sizeof(when), "request %lu", nth);
	arm(nth);
	error = kmm_boot(config, &machine);
	failed = !pending();
	arm(0);
	/* What is not needed to boot may fail without harm. */
	ok(error == -ENOMEM || error == 0, "%s: %d", when, error);
	ok(!machine == (error != 0), "%s: error %d, machine %p", when, error, (void *)machine);
	if (error)
		ok(failed && *kmm_boot_error(), "%s: no reason, or no line", when);
	else
		ok_eq(kmm_shutdown(machine, NULL), 0);
	nothing_left(before, when);
	return failed;
}

static void sweep(const char *whose, void (*arm)(unsigned long), bool (*pending)(void))
{
	static const struct kmm_config configs[] = {
		{.synthetic = "numa:2 pu:2", .node_bytes = 64 * MIB},
		{.synthetic = "numa:3 pu:1",
		 .node_bytes = 20 * MIB,
		 .shared_bytes = 4 * MIB,
		 .lock_kind = LOCK_MCS},
		/* With HighMem, of which a part has no direct map; and without. */
		{.synthetic = "numa:2 pu:1", .node_bytes = 464 * MIB, .layout = ZONES_I386},
		{.synthetic = "numa:1 pu:1", .node_bytes = 16 * MIB, .layout = ZONES_I386},
	};

	for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
		unsigned long nth = 1;

		while (fail_nth(&configs[i], nth, arm, pending) && nth < 1000)
			nth++;
		ok(nth > 4 && nth < 1000, "%lu requests", nth);
		printf("# a boot of machine %zu makes %lu requests to the %s\n", i, nth - 1, whose);
	}
}

static void a_boot_that_the_host_refuses_anywhere_leaves_nothing(void)
{
	sweep("host", host_fail_nth, host_fail_pending);
}

static void a_boot_that_malloc_refuses_anywhere_leaves_nothing(void)
{
	sweep("C library", arm_c, c_pending);
}

int main(void)
{
	RUN(a_boot_that_the_host_refuses_anywhere_leaves_nothing);
	RUN(a_boot_that_malloc_refuses_anywhere_leaves_nothing);
	return done();
}

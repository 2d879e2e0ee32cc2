/* SPDX-License-Identifier: MIT */
/*
 * A test prints the Test Anything Protocol, one line a test, and its plan at the end.
 *
 *	static void merge_stops_at_zone_end(void) { ok(x == y, "x is %d", x); }
 *	int main(void) { RUN(merge_stops_at_zone_end); return done(); }
 *
 * Each RUN is one TAP line, named after the function with underscores as spaces. ok() that fails
 * prints where and what, and the function's line becomes "not ok"; skip() ends up as "# SKIP why".
 * Threads may call ok().
 */
#ifndef TESTS_TAP_H
#define TESTS_TAP_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sanitizers map memory of their own, and watch threads only for a part of their lives. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TAP_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TAP_SANITIZED 1
#endif
#endif
#ifndef TAP_SANITIZED
#define TAP_SANITIZED 0
#endif

/* Weak: a test of several files has one of each. */
#define TAP_SHARED __attribute__((weak))
TAP_SHARED int tap_nr_run, tap_nr_failed;
TAP_SHARED int tap_failures; /* of the running test; any thread */
TAP_SHARED char tap_skip_why[256];

static inline void tap_comment(const char *file, int line, const char *expr, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static inline void tap_comment(const char *file, int line, const char *expr, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (__atomic_add_fetch(&tap_failures, 1, __ATOMIC_RELAXED) <= 20)
		printf("# %s:%d: %s: %s\n", file, line, expr, why);
}

#define ok(cond, ...)                                                                              \
	do {                                                                                       \
		if (!(cond))                                                                       \
			tap_comment(__FILE__, __LINE__, #cond, __VA_ARGS__);                       \
	} while (0)

#define ok_eq(a, b)                                                                                \
	do {                                                                                       \
		long long tap_a = (long long)(a), tap_b = (long long)(b);                          \
		ok(tap_a == tap_b, "%s = %lld, %s = %lld", #a, tap_a, #b, tap_b);                  \
	} while (0)

#define skip(...) ((void)snprintf(tap_skip_why, sizeof(tap_skip_why), __VA_ARGS__))

static inline void tap_run(const char *name, void (*test)(void))
{
	char title[128];

	tap_failures = 0;
	tap_skip_why[0] = '\0';
	test();
	snprintf(title, sizeof(title), "%s", name);
	for (char *c = title; *c; c++)
		if (*c == '_')
			*c = ' ';
	tap_nr_run++;
	tap_nr_failed += tap_failures != 0;
	printf("%sok %d - %s%s%s\n", tap_failures ? "not " : "", tap_nr_run, title,
	       tap_skip_why[0] && !tap_failures ? " # SKIP " : "",
	       tap_failures ? "" : tap_skip_why);
	fflush(stdout);
}

#define RUN(test) tap_run(#test, test)

static inline int done(void)
{
	printf("1..%d\n", tap_nr_run);
	return tap_nr_failed != 0;
}

/* A seed that changes from run to run; TEST_SEED=n repeats a run. Printed, so that a failure can
 * be. */
static inline unsigned long tap_seed(void)
{
	const char *fixed = getenv("TEST_SEED");
	unsigned long seed = 0;
	FILE *f;

	if (fixed) {
		seed = strtoul(fixed, NULL, 0);
	} else if ((f = fopen("/dev/urandom", "r"))) {
		if (fread(&seed, sizeof(seed), 1, f) != 1)
			seed = 1;
		fclose(f);
	}
	printf("# TEST_SEED=%lu\n", seed);
	return seed;
}

/*
 * How many operations a random test does: what the environment variable says, or what suits a quick
 * run; of that one part in TEST_SHORTER, for builds that are about something else.
 */
static inline unsigned long tap_number(const char *variable, unsigned long quick)
{
	const char *number = getenv(variable), *shorter = getenv("TEST_SHORTER");
	unsigned long parts = shorter ? strtoul(shorter, NULL, 0) : 1;

	if (number)
		return strtoul(number, NULL, 0);
	return parts > 1 && quick > parts ? quick / parts : quick;
}

/* The same of most tests. */
static inline unsigned long tap_ops(unsigned long quick)
{
	return tap_number("TEST_OPS", quick);
}

/* xorshift64*: fast, good enough for tests; state must not be 0. */
static inline unsigned long tap_random(unsigned long *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545F4914F6CDD1DUL;
}

#endif

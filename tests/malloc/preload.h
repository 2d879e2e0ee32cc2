/* SPDX-License-Identifier: MIT */
/*
 * Tests that run on libkmm-malloc.so: the program starts itself again with the library preloaded. It
 * calls the C library's names only, so the same source would run on any malloc.
 */
#ifndef TESTS_MALLOC_PRELOAD_H
#define TESTS_MALLOC_PRELOAD_H

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/tap/tap.h"

#define PRELOAD_LIBRARY "libkmm-malloc.so"

/* Where the library was built. */
static inline const char *preload_path(void)
{
	static char path[PATH_MAX];
	const char *folder = getenv("builddir");
	char relative[PATH_MAX / 2];

	snprintf(relative, sizeof(relative), "%s/.libs/" PRELOAD_LIBRARY, folder ? folder : ".");
	return realpath(relative, path);
}

static inline void preload_skip(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	exit(0);
}

/* Whoever returns from here runs on the library. */
static inline void preload_self(char **argv)
{
	const char *path;
	Dl_info info;
	void *symbol;

	if (TAP_SANITIZED)
		preload_skip("a sanitizer is the allocator itself");
	if (!getenv("TEST_PRELOADED")) {
		path = preload_path();
		if (!path)
			preload_skip(PRELOAD_LIBRARY " was not built");
		setenv("TEST_PRELOADED", "1", 1);
		setenv("LD_PRELOAD", path, 1);
		execv("/proc/self/exe", argv);
		perror("exec");
		exit(99);
	}
	symbol = dlsym(RTLD_DEFAULT, "malloc");
	if (!symbol || !dladdr(symbol, &info) || !strstr(info.dli_fname, PRELOAD_LIBRARY)) {
		printf("Bail out! malloc is not " PRELOAD_LIBRARY "'s\n");
		exit(99);
	}
}

/* The process's resident bytes. */
static inline unsigned long resident_bytes(void)
{
	unsigned long size = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return resident * (unsigned long)sysconf(_SC_PAGESIZE);
}

#endif

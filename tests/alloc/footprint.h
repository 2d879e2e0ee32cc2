/* SPDX-License-Identifier: MIT */
/* What a process has of its host before a machine and after it, which is to be the same. */
#ifndef TESTS_ALLOC_FOOTPRINT_H
#define TESTS_ALLOC_FOOTPRINT_H

#include <dirent.h>

#include "kmm.h"
#include "tests/tap/tap.h"

#define MIB (1UL << 20)

/* Mappings and bytes that the C library may take for itself meanwhile; a sanitizer's takes a lot. A
 * machine left behind, with its 4 GiB of reserved slots, shows in spite of either. */
#define SLACK_MAPPINGS (TAP_SANITIZED ? 200 : 8)
#define SLACK_BYTES    (TAP_SANITIZED ? 1024 * MIB : 16 * MIB)

/* What a process has that a machine could leave behind. */
struct footprint {
	unsigned long nr_fds, nr_mappings, mapped_bytes;
};

static inline struct footprint footprint(void)
{
	struct footprint now = {0};
	DIR *fds = opendir("/proc/self/fd");
	FILE *maps;
	char line[512];
	unsigned long start, end;

	while (fds && readdir(fds))
		now.nr_fds++;
	if (fds)
		closedir(fds);
	maps = fopen("/proc/self/maps", "r");
	while (maps && fgets(line, sizeof(line), maps)) {
		/* The C library's heap, and a sanitizer's, grow as they like; what kmm maps is not
		 * in them. */
		if (strstr(line, "[heap]") || strstr(line, "[stack"))
			continue;
		if (sscanf(line, "%lx-%lx", &start, &end) == 2) {
			now.nr_mappings++;
			now.mapped_bytes += end - start;
		}
	}
	if (maps)
		fclose(maps);
	return now;
}

static inline void nothing_left(struct footprint before, const char *when)
{
	struct footprint after = footprint();

	ok(after.nr_fds == before.nr_fds, "%s: %lu descriptors became %lu", when, before.nr_fds,
	   after.nr_fds);
	ok(after.nr_mappings <= before.nr_mappings + SLACK_MAPPINGS, "%s: %lu mappings became %lu",
	   when, before.nr_mappings, after.nr_mappings);
	ok(after.mapped_bytes <= before.mapped_bytes + SLACK_BYTES, "%s: %lu MiB mapped became %lu",
	   when, before.mapped_bytes >> 20, after.mapped_bytes >> 20);
	ok(this_cpu == kmm_cpu_detached, "%s: still attached", when);
	ok(!kmm_current(), "%s: a current machine", when);
}

#endif

/* SPDX-License-Identifier: MIT */
/* Memory for the probe: 4 KiB pages here, 2 MiB pages there, and what smaps says they are. */
#include <errno.h>
#include <string.h>

#include "arch/host.h"
#include "bench/probe/probe.h"

u64 probe_huge_bytes(FILE *smaps, u64 from, u64 to)
{
	unsigned long long begin, end, kib;
	char line[512];
	bool inside = false;
	u64 bytes = 0;

	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%llx-%llx ", &begin, &end) == 2)
			inside = begin >= from && begin < to;
		else if (inside && sscanf(line, "AnonHugePages: %llu kB", &kib) == 1)
			bytes += kib * 1024;
	}
	return bytes;
}

static u64 huge_bytes(const char *region, u64 bytes)
{
	FILE *smaps = fopen("/proc/self/smaps", "re");
	u64 seen = 0;

	if (smaps) {
		seen = probe_huge_bytes(smaps, (u64)region, (u64)region + bytes);
		fclose(smaps);
	}
	return seen;
}

int probe_memory_begin(struct probe_memory *memory, u64 nr_pages)
{
	size_t bytes = nr_pages * PROBE_PAGE;
	int error;

	/* A gap, so that the two are two mappings. */
	memory->size = 2 * bytes + PROBE_HUGE;
	memory->base = host_reserve(memory->size, PROBE_HUGE);
	if (!memory->base) {
		probe_memory_end(memory);
		return -ENOMEM;
	}
	memory->nr_pages = nr_pages;
	memory->small = memory->base;
	memory->huge = memory->small + bytes + PROBE_HUGE;
	error = host_commit(memory->small, bytes, false);
	if (!error)
		error = host_commit(memory->huge, bytes, true);
	if (error) {
		probe_memory_end(memory);
		return error;
	}
	for (size_t at = 0; at < bytes; at += PROBE_PAGE)
		*(volatile u64 *)(memory->small + at) = 0;
	for (size_t at = 0; at < bytes; at += PROBE_PAGE)
		*(volatile u64 *)(memory->huge + at) = 0;
	memory->huge_bytes = huge_bytes(memory->huge, bytes);
	memory->is_huge = memory->huge_bytes == bytes;
	memory->small_bad_bytes = huge_bytes(memory->small, bytes);
	return 0;
}

void probe_memory_end(struct probe_memory *memory)
{
	if (memory->base)
		host_release(memory->base, memory->size);
	memset(memory, 0, sizeof(*memory));
}

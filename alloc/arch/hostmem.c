/* SPDX-License-Identifier: MIT */
/*
 * How much memory the host could give: what /proc/meminfo says is available, and no more than the
 * room that is left under each memory limit from the process's own control group up to the root
 * (versions 1 and 2).
 *
 * Inside a container the path in /proc/self/cgroup may be the host's view and lead nowhere in the
 * container's mount; its own limits are then at the mount's root, which every walk upwards ends at.
 */
#include "arch/host.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"

#define PATH_BYTES 1024

static const struct cgroup_version {
	const char *mount, *limit, *usage, *reclaimable;
} cgroup_v1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
	       "total_inactive_file"},
  cgroup_v2 = {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"};

/* A number alone in a file; false for "max", or no such file. */
static bool read_number(const char *folder, const char *name, u64 *value)
{
	char path[PATH_BYTES + 64];
	unsigned long long number;
	bool found;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "re");
	if (!f)
		return false;
	found = fscanf(f, "%llu", &number) == 1;
	fclose(f);
	if (found)
		*value = number;
	return found;
}

/* The number behind a word that starts a line of a file; 0 if there is none. */
static u64 read_field(const char *folder, const char *name, const char *word)
{
	char path[PATH_BYTES + 64], line[256];
	unsigned long long number = 0;
	size_t len = strlen(word);
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, word, len) && sscanf(line + len, "%llu", &number) == 1)
			break;
	fclose(f);
	return number;
}

/* The lowest room under the limits of the group at path and of those above it. */
static u64 cgroup_room(const char *root, const struct cgroup_version *version, const char *path)
{
	char folder[PATH_BYTES];
	u64 room = UINT64_MAX, limit, usage;
	size_t top;
	char *slash;

	top = (size_t)snprintf(folder, sizeof(folder), "%s%s", root, version->mount);
	if (top >= sizeof(folder))
		return room;
	snprintf(folder + top, sizeof(folder) - top, "%s", path);
	for (;;) {
		if (read_number(folder, version->limit, &limit) &&
		    read_number(folder, version->usage, &usage)) {
			/* The group's page cache would make way. */
			u64 cache = read_field(folder, "memory.stat", version->reclaimable);

			usage -= min_t(u64, usage, cache);
			room = min_t(u64, room, limit - min_t(u64, limit, usage));
		}
		slash = strrchr(folder + top, '/');
		if (!slash)
			return room;
		*slash = '\0';
	}
}

u64 host_available_in(const char *root)
{
	char path[PATH_BYTES], line[PATH_BYTES];
	u64 bytes;
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc", root);
	bytes = read_field(path, "meminfo", "MemAvailable:") * 1024;
	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	f = fopen(path, "re");
	if (!f)
		return bytes;
	/* "hierarchy:controllers:path"; version 2 is hierarchy 0 without controllers. */
	while (fgets(line, sizeof(line), f)) {
		char *controllers = strchr(line, ':');
		char *group = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!group)
			continue;
		*group++ = '\0';
		group[strcspn(group, "\n")] = '\0';
		if (!strcmp(controllers + 1, "memory"))
			bytes = min_t(u64, bytes, cgroup_room(root, &cgroup_v1, group));
		else if (!strcmp(controllers + 1, ""))
			bytes = min_t(u64, bytes, cgroup_room(root, &cgroup_v2, group));
	}
	fclose(f);
	return bytes;
}

u64 host_available_bytes(void)
{
	return host_available_in("");
}

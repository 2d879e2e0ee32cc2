/* SPDX-License-Identifier: MIT */
/*
 * What the peers want to find in the environment when the process starts, and why.
 *
 *	GLIBC_TUNABLES
 *		glibc.rtld.optional_static_tls: jemalloc's thread-local data does not fit the
 *		reserve for libraries that are loaded late. glibc's own malloc keeps its defaults:
 *		with huge pages (glibc.malloc.hugetlb=1) it zeroes 2 MiB for each large block's
 *		header, a hundred times slower.
 *	MALLOC_CONF
 *		jemalloc's TUNING.md, "prioritizing CPU utilization": background threads (switched
 *		on by mallctl in peers.c), metadata_thp:auto, decay times of 30 s. thp:always:
 *		kmm's memory asks for huge pages too.
 *	MIMALLOC_LARGE_OS_PAGES, MIMALLOC_ALLOW_LARGE_OS_PAGES
 *		mimalloc's readme, "Environment Options": large pages where the OS gives them; on
 *		Linux also MADV_HUGEPAGE. The name changed in 2.1, so both are set.
 *	tcmalloc
 *		Nothing: gperftools has no option for transparent huge pages, and its manual
 *		advises larger thread caches only against contention.
 *
 * A variable that the user has set is the user's: it stays as it is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/peer.h"
#include "bench/peers/peers_internal.h"

#define PREPARED "KMM_PEERS_PREPARED" /* holds our pid once we have run ourselves again */

static const char *const tunables[] = {
	"glibc.rtld.optional_static_tls=16384",
	NULL,
};

static const struct {
	const char *name, *value;
} variables[] = {
	{"MALLOC_CONF", "metadata_thp:auto,thp:always,dirty_decay_ms:30000,muzzy_decay_ms:30000"},
	{"MIMALLOC_LARGE_OS_PAGES", "1"},
	{"MIMALLOC_ALLOW_LARGE_OS_PAGES", "1"},
};
#define NR_VARIABLES (sizeof(variables) / sizeof(variables[0]))

/* Whether a colon-separated list of name=value has this name, up to its '='. */
static bool has_tunable(const char *list, const char *tunable)
{
	size_t name_len = strcspn(tunable, "=") + 1;

	while (list) {
		if (!strncmp(list, tunable, name_len))
			return true;
		list = strchr(list, ':');
		if (list)
			list++;
	}
	return false;
}

char *peers_merge_tunables(const char *user, const char *const *ours, bool *added)
{
	size_t size = user ? strlen(user) + 1 : 1;
	char *merged;

	for (int i = 0; ours[i]; i++)
		size += strlen(ours[i]) + 1;
	merged = malloc(size);
	if (!merged)
		return NULL;
	strcpy(merged, user ? user : "");
	*added = false;
	for (int i = 0; ours[i]; i++) {
		if (has_tunable(user, ours[i]))
			continue;
		if (*merged)
			strcat(merged, ":");
		strcat(merged, ours[i]);
		*added = true;
	}
	return merged;
}

void peers_settings_add(char *settings, size_t size, const char *text)
{
	size_t used = strlen(settings);

	snprintf(settings + used, size - used, "%s%s", used ? " " : "", text);
}

void peers_settings(char *settings, size_t size, const char *variable)
{
	const char *value = getenv(variable);
	char text[400];

	if (!value)
		return;
	snprintf(text, sizeof(text), "%s=%s", variable, value);
	peers_settings_add(settings, size, text);
}

bool peers_variable_is_ours(const char *variable)
{
	const char *value = getenv(variable);

	for (size_t i = 0; i < NR_VARIABLES; i++)
		if (!strcmp(variables[i].name, variable))
			return value && !strcmp(value, variables[i].value);
	return false;
}

int peers_prepare(char **argv)
{
	const char *done = getenv(PREPARED);
	char pid[24], *merged;
	bool added;

	if (peers_sanitized)
		return 0;
	for (size_t i = 0; i < NR_VARIABLES; i++)
		if (setenv(variables[i].name, variables[i].value, 0))
			return -errno;

	/* exec keeps the pid, so this is true of the second run of this process and of none of its
	 * children. */
	snprintf(pid, sizeof(pid), "%d", getpid());
	if (done && !strcmp(done, pid))
		return 0;

	merged = peers_merge_tunables(getenv("GLIBC_TUNABLES"), tunables, &added);
	if (!merged)
		return -ENOMEM;
	if (!added) {
		free(merged);
		return 0;
	}
	if (setenv("GLIBC_TUNABLES", merged, 1) || setenv(PREPARED, pid, 1)) {
		free(merged);
		return -errno;
	}
	free(merged);
	execv("/proc/self/exe", argv);
	return -errno;
}

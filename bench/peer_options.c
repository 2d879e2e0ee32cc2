/* SPDX-License-Identifier: MIT */
/* Which peers take part: the known ones that are installed, and those given with --peer. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/command.h"
#include "bench/options.h"

/* Whether --peer gives `name` a library, or names it again. */
static bool given(const struct common_options *common, const char *name)
{
	size_t length = strlen(name);

	for (int i = 0; i < common->nr_peers; i++) {
		const char *spec = common->peers[i];

		if (!strncmp(spec, name, length) && (spec[length] == '=' || !spec[length]))
			return true;
	}
	return false;
}

void say_missing(const char *const *missing, int nr_missing)
{
	for (int i = 0; i < nr_missing; i++)
		fprintf(stderr, "%s%s%s", i ? ", " : "not installed, so skipped: ", missing[i],
			i == nr_missing - 1 ? "\n" : "");
}

int load_peers(const struct common_options *common, struct object_peer *peers, int *nr_peers,
	       const char **missing, int *nr_missing)
{
	char line[256];
	int error;

	*nr_peers = *nr_missing = 0;
	for (int i = 0; object_peer_names[i] && *nr_peers < PEER_MAX; i++) {
		const char *name = object_peer_names[i];

		if (!list_has(common->allocators, name) || given(common, name))
			continue;
		error = object_peer_load(name, &peers[*nr_peers], line, sizeof(line));
		if (!error) {
			++*nr_peers;
			continue;
		}
		if (*nr_missing < PEER_MAX)
			missing[(*nr_missing)++] = name;
	}
	for (int i = 0; i < common->nr_peers; i++) {
		if (*nr_peers == PEER_MAX)
			return complain("--peer: %s: more than %d allocators", common->peers[i],
					PEER_MAX);
		if (object_peer_load(common->peers[i], &peers[*nr_peers], line, sizeof(line)))
			return complain("--peer: %s", line);
		++*nr_peers;
	}
	return EXIT_OK;
}

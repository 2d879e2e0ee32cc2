/* SPDX-License-Identifier: MIT */
/* Which peers take part: the known ones that are installed, and those given with --peer and
 * --page-peer. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/command.h"
#include "bench/options/options.h"

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
		for (int j = 0; j < *nr_peers; j++)
			if (!strcmp(peers[j].name, peers[*nr_peers].name))
				return complain("--peer: %s: the name is taken", peers[j].name);
		++*nr_peers;
	}
	return EXIT_OK;
}

int load_page_peers(const struct common_options *common, const struct object_peer *peers,
		    int nr_peers, const struct kmm *machine, unsigned int nr_cpus,
		    struct object_peer *page_peers, int *nr_page_peers)
{
	char line[512];

	*nr_page_peers = 0;
	for (int i = 0; i < common->nr_page_peers; i++) {
		struct object_peer *peer = &page_peers[i];

		if (page_peer_load(common->page_peers[i], peers, nr_peers, peer, line,
				   sizeof(line)))
			return complain("--page-peer: %s", line);
		if (machine && page_peer_start(peer, machine, nr_cpus, line, sizeof(line)))
			return complain("--page-peer: %s: %s", peer->name, line);
		++*nr_page_peers;
	}
	return EXIT_OK;
}

void stop_page_peers(const struct object_peer *page_peers, int nr_page_peers)
{
	for (int i = 0; i < nr_page_peers; i++)
		page_peer_stop(&page_peers[i]);
}

/* SPDX-License-Identifier: MIT */
/* Reading the options of fleet_options.h. Tables are told apart by their names, in the column size. */
#include "bench/options/fleet_options.h"

#include <string.h>
#include <sys/stat.h>

#include "bench/command.h"
#include "bench/options/options.h"

int fleet_options_add(struct fleet_options *options, const char *path)
{
	struct fleet_profile *profile = &options->profiles[options->nr];
	char line[FLEET_ERROR_SIZE];
	struct stat st;

	if (options->nr == FLEETS_MAX)
		return complain("--fleet: %s: more than %d tables", path, FLEETS_MAX);
	/* Each allocator's process reads it again (alone.h). */
	if (!stat(path, &st) && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return complain("--fleet: %s: not a file that can be read more than once", path);
	if (fleet_read(path, profile, line))
		return complain("%s", line);
	options->nr++;
	for (int i = 0; i < options->nr - 1; i++)
		if (!strcmp(options->profiles[i].name, profile->name))
			return complain("--fleet: %s: there is a table %s already", path,
					profile->name);
	return EXIT_OK;
}

int fleet_options_size(struct fleet_options *options, const char *text)
{
	if (parse_size(text, &options->bytes) || options->bytes < FLEET_BYTES_LEAST)
		return complain("--fleet-size: %s: not a size of 1M or more", text);
	return EXIT_OK;
}

void fleet_options_free(struct fleet_options *options)
{
	for (int i = 0; i < options->nr; i++)
		fleet_free(&options->profiles[i]);
	options->nr = 0;
}

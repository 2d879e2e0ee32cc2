/* SPDX-License-Identifier: MIT */
/* Looking into folders of results, for tests. */
#ifndef TESTS_BENCH_RESULTS_FOLDER_H
#define TESTS_BENCH_RESULTS_FOLDER_H

#include <dirent.h>
#include <stdio.h>

/* Entries of a folder, hidden ones too. -1: it is not there. */
static inline int nr_entries(const char *path)
{
	DIR *d = opendir(path);
	int nr = -2; /* . and .. */

	if (!d)
		return -1;
	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

/* The text of a file below the folder, until the next call; empty if it is not there. */
static inline const char *slurp(const char *folder, const char *name)
{
	static char text[1 << 16];
	char path[512];
	size_t got = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "r");
	if (file) {
		got = fread(text, 1, sizeof(text) - 1, file);
		fclose(file);
	}
	text[got] = '\0';
	return text;
}

#endif

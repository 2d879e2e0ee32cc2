/* SPDX-License-Identifier: MIT */
/*
 * What a run that ended early has measured, made into a run of its own by the process that watched
 * it: rows from the journal, other files as far as they were written. Every case that was planned
 * has a row, and a note if it has not all its figures.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/results/results_internal.h"

/* Drop a row that was not written to its end, and go on behind the last whole one. */
static int reopen_table(struct results *results, enum csv_table table)
{
	char path[PATH_MAX + 64];
	long whole = 0, at = 0;
	FILE *file;
	int c, error;

	snprintf(path, sizeof(path), "%s/%s.csv", results->tmp, csv_table_names[table]);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while ((c = getc(file)) != EOF) {
		at++;
		if (c == '\n')
			whole = at;
	}
	error = ferror(file) ? -EIO : 0;
	fclose(file);
	if (error || truncate(path, whole))
		return error ? error : -errno;
	fclose(results->files
		       [table]); /* nothing is in its buffer: this process has written nothing */
	results->files[table] = fopen(path, "ae");
	return results->files[table] ? 0 : -errno;
}

/* The two that only the commit writes begin anew: it may have begun with them. */
static int begin_again(struct results *results, enum csv_table table)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.csv", csv_table_names[table]);
	fclose(results->files[table]);
	results->files[table] = results_create(results, name);
	return results->files[table] ? csv_header(results, table) : -errno;
}

static int reopen_tables(struct results *results)
{
	int error = 0;

	for (enum csv_table i = 0; !error && i < NR_CSV_TABLES; i++)
		error = i == CSV_throughput || i == CSV_raw ? begin_again(results, i)
							    : reopen_table(results, i);
	return error;
}

/* Is this the case that `running` names, perhaps with a remark behind it? */
static bool is_running(const struct measurement *m, const char *running)
{
	char name[RESULTS_CASE_NAME];
	size_t length;

	results_case_name(m, name, sizeof(name));
	length = strlen(name);
	return !strncmp(name, running, length) && (!running[length] || running[length] == ' ');
}

/* Put a word in front of a row's note. */
static int note_first(struct measured *row, const char *word)
{
	const char *before = row->key.note;
	char *note;

	if (asprintf(&note, "%s%s%s", word, before[0] ? "; " : "", before) < 0)
		return -ENOMEM;
	free((char *)before);
	row->key.note = note;
	return 0;
}

/* Rows that are not what they were planned to be say so; the others have come sample by sample. */
static int finish_rows(struct results *results, const char *running, const char *mark)
{
	int error = 0;

	for (size_t i = 0; !error && i < results->nr_rows; i++) {
		struct measured *row = &results->rows[i];

		measured_summarise(row);
		if (mark && is_running(&row->key, running))
			error = note_first(row, mark);
		else if (!row->key.nr_samples && !strstr(row->key.note, "skipped: "))
			error = note_first(row, "not run: the run ended early");
	}
	return error;
}

bool results_keep(struct results *results, const char *running, const char *mark, const char *why)
{
	bool any = false;

	if (journal_read(results))
		return false;
	for (size_t i = 0; i < results->nr_rows; i++)
		any |= results->rows[i].key.nr_samples > 0;
	if (!any || finish_rows(results, running, mark))
		return false;
	results->incomplete = strdup(why);
	return results->incomplete && !reopen_tables(results) && !results_finish(results);
}

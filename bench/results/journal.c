/* SPDX-License-Identifier: MIT */
/*
 * What the measuring process has in its memory alone until it commits, on its way there: so that
 * the parent can write a run whose process was ended before. A file in the run's temporary folder,
 * of records
 *
 *	size, kind | machine.json's members, or a remark             each a text
 *	size, kind | threads, ops, nr_samples | six texts | samples  a struct measurement
 *
 * each appended by one write: whatever ends the writer, all records but perhaps the last are whole.
 * One that a full disk cuts short is taken back, so that those behind it can be read.
 * It is a process's own language, read by the program that wrote it, and gone when the run is
 * whole.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/results/results_internal.h"

struct head {
	uint32_t size; /* of what follows */
	uint32_t kind; /* enum journal_kind */
};

struct row_head {
	int32_t threads, nr_samples;
	uint64_t ops;
};

#define NR_TEXTS 6

static void texts_of(struct measurement *m, const char **texts[NR_TEXTS])
{
	const char **const all[NR_TEXTS] = {&m->suite,	   &m->name, &m->allocator,
					    &m->placement, &m->size, &m->note};

	memcpy(texts, all, sizeof(all));
}

int journal_open(struct results *results)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/" JOURNAL_NAME, results->tmp);
	results->journal = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	return results->journal < 0 ? -errno : 0;
}

void journal_remove(struct results *results)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/" JOURNAL_NAME, results->tmp);
	unlink(path);
}

/* What does not get there is missed only by a run that ends early. */
static void append(struct results *results, const char *record, size_t size)
{
	ssize_t written;

	if (results->journal_torn)
		return;
	written = write(results->journal, record, size);
	if (written > 0 && (size_t)written < size)
		results->journal_torn =
			ftruncate(results->journal,
				  lseek(results->journal, 0, SEEK_CUR) - written) != 0;
}

void journal_text(struct results *results, enum journal_kind kind, const char *text)
{
	const struct head head = {(uint32_t)strlen(text) + 1, kind};
	char *record = malloc(sizeof(head) + head.size);

	if (!record)
		return;
	memcpy(record, &head, sizeof(head));
	memcpy(record + sizeof(head), text, head.size);
	append(results, record, sizeof(head) + head.size);
	free(record);
}

void journal_row(struct results *results, enum journal_kind kind, const struct measurement *m)
{
	struct row_head row = {m->threads, m->nr_samples, m->ops};
	size_t samples_size = (size_t)m->nr_samples * sizeof(*m->samples);
	struct head head = {(uint32_t)(sizeof(row) + samples_size), kind};
	struct measurement copy = *m;
	const char **texts[NR_TEXTS];
	char *record, *at;

	texts_of(&copy, texts);
	for (int i = 0; i < NR_TEXTS; i++)
		head.size += (uint32_t)strlen(*texts[i] ? *texts[i] : "") + 1;
	record = malloc(sizeof(head) + head.size);
	if (!record)
		return;
	memcpy(record, &head, sizeof(head));
	memcpy(record + sizeof(head), &row, sizeof(row));
	at = record + sizeof(head) + sizeof(row);
	for (int i = 0; i < NR_TEXTS; i++)
		at = stpcpy(at, *texts[i] ? *texts[i] : "") + 1;
	if (samples_size)
		memcpy(at, m->samples, samples_size);
	append(results, record, sizeof(head) + head.size);
	free(record);
}

/*
 * Reading, by the parent.
 */

/* The whole file, removed or not: a commit that fails behind that has lost nothing. Or NULL. */
static char *read_all(int file, size_t *size)
{
	struct stat st;
	char *all;
	size_t got = 0;
	ssize_t n;

	if (fstat(file, &st) || !(all = malloc((size_t)st.st_size + 1)))
		return NULL;
	while (got < (size_t)st.st_size &&
	       (n = pread(file, all + got, (size_t)st.st_size - got, (off_t)got)) > 0)
		got += (size_t)n;
	*size = got;
	return all;
}

/* A row's own memory: its samples grow, what else it has may change. */
static int merge(struct results *results, enum journal_kind kind, const struct measurement *m)
{
	struct measured *row = measured_find(results, m);

	if (!row)
		return measured_add(results, m);
	if (kind == JOURNAL_SAMPLE)
		return measured_extend(row, m);
	return measured_replace(row, m);
}

static int take_row(struct results *results, enum journal_kind kind, char *record, size_t size)
{
	struct measurement m = {0};
	const char **texts[NR_TEXTS];
	char *at = record + sizeof(struct row_head), *end = record + size;
	struct row_head row;
	double *samples;
	int error;

	memcpy(&row, record, sizeof(row));
	m.threads = row.threads;
	m.nr_samples = row.nr_samples;
	m.ops = row.ops;
	texts_of(&m, texts);
	for (int i = 0; i < NR_TEXTS; i++) {
		*texts[i] = at;
		at += strnlen(at, (size_t)(end - at)) + 1;
		if (at > end)
			return -EINVAL;
	}
	if ((size_t)(end - at) != (size_t)m.nr_samples * sizeof(*samples))
		return -EINVAL;
	m.samples = samples = malloc((size_t)(end - at) + 1); /* aligned */
	if (!samples)
		return -ENOMEM;
	memcpy(samples, at, (size_t)(end - at));
	error = merge(results, kind, &m);
	free(samples);
	return error;
}

static int take(struct results *results, enum journal_kind kind, char *record, size_t size)
{
	switch (kind) {
	case JOURNAL_MACHINE:
		free(results->machine_json);
		results->machine_json = strndup(record, size);
		return results->machine_json ? 0 : -ENOMEM;
	case JOURNAL_REMARK:
		remark_add(results, record);
		return 0;
	case JOURNAL_PLANNED:
	case JOURNAL_SAMPLE:
	case JOURNAL_ROW:
		return take_row(results, kind, record, size);
	}
	return -EINVAL;
}

int journal_read(struct results *results)
{
	size_t size = 0, at = 0;
	char *all = read_all(results->journal, &size);
	int error = all ? 0 : -ENOMEM;

	while (!error && size - at >= sizeof(struct head)) {
		struct head head;

		memcpy(&head, all + at, sizeof(head));
		at += sizeof(head);
		if (head.size > size - at)
			break;
		error = take(results, (enum journal_kind)head.kind, all + at, head.size);
		at += head.size;
	}
	free(all);
	return error;
}

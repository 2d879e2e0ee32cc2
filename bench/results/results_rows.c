/* SPDX-License-Identifier: MIT */
/*
 * The measurements of a run, kept until its end: only then are the noise floor, the ratio to
 * jemalloc and the verdict of each row known. Repetitions are copied; strings too, so that callers
 * may reuse theirs.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/results/results_internal.h"

#define BASELINE "jemalloc"

static char *copy_text(const char *text)
{
	return strdup(text ? text : "");
}

static void free_row(struct measured *row)
{
	free((char *)row->key.suite);
	free((char *)row->key.name);
	free((char *)row->key.allocator);
	free((char *)row->key.placement);
	free((char *)row->key.size);
	free((char *)row->key.note);
	free((double *)row->key.samples);
}

void measured_free(struct results *results)
{
	for (size_t i = 0; i < results->nr_rows; i++)
		free_row(&results->rows[i]);
	free(results->rows);
}

static struct measured *new_row(struct results *results)
{
	if (results->nr_rows == results->room_rows) {
		size_t room = results->room_rows ? 2 * results->room_rows : 256;
		struct measured *rows = realloc(results->rows, room * sizeof(*rows));

		if (!rows)
			return NULL;
		results->rows = rows;
		results->room_rows = room;
	}
	return &results->rows[results->nr_rows];
}

/* Make *row a copy of m, with memory of its own. 0 or -ENOMEM. */
static int fill_row(struct measured *row, const struct measurement *m)
{
	size_t samples_size = (size_t)m->nr_samples * sizeof(*m->samples);
	double *samples;

	*row = (struct measured){.key = *m, .vs_jemalloc = NAN};
	row->key.suite = copy_text(m->suite);
	row->key.name = copy_text(m->name);
	row->key.allocator = copy_text(m->allocator);
	row->key.placement = copy_text(m->placement);
	row->key.size = copy_text(m->size);
	row->key.note = copy_text(m->note);
	row->key.samples = samples = malloc(samples_size + 1);
	if (!row->key.suite || !row->key.name || !row->key.allocator || !row->key.placement ||
	    !row->key.size || !row->key.note || !samples) {
		free_row(row);
		return -ENOMEM;
	}
	if (samples_size)
		memcpy(samples, m->samples, samples_size);
	return 0;
}

void measured_summarise(struct measured *row)
{
	row->summary = stats_summarise(row->key.samples, row->key.nr_samples);
}

int measured_add(struct results *results, const struct measurement *m)
{
	struct measured *row = new_row(results);
	int error = row ? fill_row(row, m) : -ENOMEM;

	if (error)
		return error;
	measured_summarise(row);
	results->nr_rows++;
	return 0;
}

void results_case_name(const struct measurement *m, char *name, size_t size)
{
	snprintf(name, size, "%s/%s%s%s/%s/%s/threads:%d", m->suite, m->name, m->size[0] ? "/" : "",
		 m->size, m->allocator, m->placement, m->threads);
}

int results_measured(struct results *results, const struct measurement *m)
{
	journal_row(results, JOURNAL_ROW, m);
	return measured_add(results, m);
}

void results_sample(struct results *results, const struct measurement *m)
{
	journal_row(results, JOURNAL_SAMPLE, m);
}

int results_planned(struct results *results, const struct measurement *m)
{
	journal_row(results, JOURNAL_PLANNED, m);
	return 0;
}

int measured_replace(struct measured *row, const struct measurement *m)
{
	struct measured filled;
	int error = fill_row(&filled, m);

	if (error)
		return error;
	free_row(row);
	*row = filled;
	return 0;
}

int measured_extend(struct measured *row, const struct measurement *more)
{
	struct measurement all = *more;
	size_t nr = (size_t)row->key.nr_samples, nr_more = (size_t)more->nr_samples;
	double *samples = malloc((nr + nr_more + 1) * sizeof(*samples));
	int error;

	if (!samples)
		return -ENOMEM;
	memcpy(samples, row->key.samples, nr * sizeof(*samples));
	memcpy(samples + nr, more->samples, nr_more * sizeof(*samples));
	all.samples = samples;
	all.nr_samples = (int)(nr + nr_more);
	all.ops += row->key.ops;
	error = measured_replace(row, &all);
	free(samples);
	return error;
}

/* The same case on another allocator. */
static bool same_case(const struct measurement *a, const struct measurement *b)
{
	return a->threads == b->threads && !strcmp(a->name, b->name) && !strcmp(a->size, b->size) &&
	       !strcmp(a->suite, b->suite) && !strcmp(a->placement, b->placement);
}

struct measured *measured_find(const struct results *results, const struct measurement *m)
{
	for (size_t i = 0; i < results->nr_rows; i++)
		if (same_case(&results->rows[i].key, m) &&
		    !strcmp(results->rows[i].key.allocator, m->allocator))
			return &results->rows[i];
	return NULL;
}

static const struct measured *find(const struct results *results, const struct measurement *like,
				   const char *allocator, size_t allocator_length)
{
	for (size_t i = 0; i < results->nr_rows; i++) {
		const struct measured *row = &results->rows[i];

		if (row->key.nr_samples && same_case(&row->key, like) &&
		    strlen(row->key.allocator) == allocator_length &&
		    !strncmp(row->key.allocator, allocator, allocator_length))
			return row;
	}
	return NULL;
}

static void compute_noise_floor(struct results *results)
{
	struct aa_pair *pairs = calloc(results->nr_rows + 1, sizeof(*pairs));
	int nr = 0;

	for (size_t i = 0; pairs && i < results->nr_rows; i++) {
		const struct measurement *copy = &results->rows[i].key;
		size_t length = strlen(copy->allocator);
		const struct measured *first;

		if (length <= 3 || strcmp(copy->allocator + length - 3, "-aa") || !copy->nr_samples)
			continue;
		first = find(results, copy, copy->allocator, length - 3);
		if (first)
			pairs[nr++] = (struct aa_pair){first->key.samples, copy->samples,
						       first->key.nr_samples, copy->nr_samples};
	}
	results->noise_floor = stats_noise_floor(pairs, nr);
	results->nr_aa_pairs = nr;
	free(pairs);
}

static void compare_to_baseline(struct results *results, struct measured *row)
{
	const struct measured *base = find(results, &row->key, BASELINE, strlen(BASELINE));

	if (!base || !row->key.nr_samples)
		return;
	row->vs_jemalloc = row->summary.median / base->summary.median;
	if (base != row)
		row->verdict =
			stats_verdict(row->key.samples, row->key.nr_samples, base->key.samples,
				      base->key.nr_samples, results->noise_floor);
}

/*
 * A row that was not run keeps its placement, but for local: that column is how readers choose the
 * rows to take figures from, and this one has none.
 */
static const char *placement_column(const struct measurement *m)
{
	return m->nr_samples || strcmp(m->placement, "local") ? m->placement : "none";
}

static int write_row(struct results *results, const struct measured *row)
{
	const struct measurement *m = &row->key;
	bool same = row->verdict == VERDICT_SAME;
	char note[256];
	int error;
	struct throughput_row out = {
		.suite = m->suite,
		.name = m->name,
		.allocator = m->allocator,
		.threads = m->threads,
		.placement = placement_column(m),
		.size = m->size,
		.ops = (int64_t)m->ops,
		.ns_per_op = row->summary.median,
		.ci_low_ns = row->summary.ci.low,
		.ci_high_ns = row->summary.ci.high,
		.ops_per_s = 1e9 * m->threads / row->summary.median,
		.vs_jemalloc = row->vs_jemalloc,
		.note = note,
	};

	snprintf(note, sizeof(note), "%s%s%s", m->note, same && m->note[0] ? "; " : "",
		 same ? "same" : "");
	error = csv_throughput(results, &out);
	for (int i = 0; !error && i < m->nr_samples; i++) {
		struct raw_row raw = {m->suite, m->name, m->allocator, m->threads, m->placement,
				      m->size,	i,	 m->samples[i]};

		error = csv_raw(results, &raw);
	}
	return error;
}

int measured_write(struct results *results)
{
	int error = 0;

	compute_noise_floor(results);
	for (size_t i = 0; !error && i < results->nr_rows; i++) {
		compare_to_baseline(results, &results->rows[i]);
		error = write_row(results, &results->rows[i]);
	}
	return error;
}

const struct measured *results_rows(const struct results *results, size_t *nr)
{
	*nr = results->nr_rows;
	return results->rows;
}

double results_noise_floor(const struct results *results)
{
	return results->noise_floor;
}

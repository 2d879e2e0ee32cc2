/* SPDX-License-Identifier: MIT */
/* The table of a run; see summary.h. Only what ran locally: other placements are in the files. */
#include "bench/results/summary.h"

#include <math.h>
#include <string.h>

#include "base/compiler.h"

/* Always there; between them and the floor come the first few that the user has brought along. */
static const char *const columns[] = {"kmm", "jemalloc", "mimalloc", "tcmalloc", "glibc", "mmap"};
#define MAX_OTHERS  4
#define MAX_COLUMNS (ARRAY_SIZE(columns) + MAX_OTHERS + 1)
static const char *const cases[] = {"pair", "shuffle", "mixed"};

static bool is_main_case(const struct measurement *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (!strcmp(m->name, cases[i]))
			return true;
	return false;
}

/* The rest is in the files; but of a run without main cases all is shown. */
static bool shows_all(const struct measured *rows, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (is_main_case(&rows[i].key))
			return false;
	return true;
}

static bool in_table(const struct measurement *m, bool all)
{
	return (all ? strcmp(m->suite, "floor") != 0 : is_main_case(m)) &&
	       !strcmp(m->placement, "local");
}

static bool same_line(const struct measurement *a, const struct measurement *b)
{
	return a->threads == b->threads && !strcmp(a->suite, b->suite) &&
	       !strcmp(a->name, b->name) && !strcmp(a->size, b->size) &&
	       !strcmp(a->placement, b->placement);
}

static const struct measured *cell(const struct measured *rows, size_t nr,
				   const struct measurement *line, const char *allocator)
{
	for (size_t i = 0; i < nr; i++)
		if (same_line(&rows[i].key, line) && !strcmp(rows[i].key.allocator, allocator))
			return &rows[i];
	return NULL;
}

/* The list that is popped and pushed, in as many threads: no allocator can be faster. */
static const struct measured *floor_cell(const struct measured *rows, size_t nr, int threads)
{
	for (size_t i = 0; i < nr; i++)
		if (!strcmp(rows[i].key.suite, "floor") && !strcmp(rows[i].key.name, "list_pair") &&
		    rows[i].key.threads == threads)
			return &rows[i];
	return NULL;
}

static bool is_first(const struct measured *rows, size_t at)
{
	for (size_t i = 0; i < at; i++)
		if (same_line(&rows[i].key, &rows[at].key))
			return false;
	return true;
}

static bool is_copy(const char *allocator)
{
	size_t length = strlen(allocator);

	return length > 3 && !strcmp(allocator + length - 3, "-aa");
}

/* The names of the table's columns; returns how many. */
static size_t choose_columns(const struct measured *rows, size_t nr, bool all,
			     const char *names[MAX_COLUMNS])
{
	size_t n = ARRAY_SIZE(columns);

	memcpy(names, columns, sizeof(columns));
	for (size_t i = 0; i < nr && n < MAX_COLUMNS - 1; i++) {
		bool known = !in_table(&rows[i].key, all) || !rows[i].key.nr_samples ||
			     is_copy(rows[i].key.allocator);

		for (size_t j = 0; j < n; j++)
			known |= !strcmp(names[j], rows[i].key.allocator);
		if (!known)
			names[n++] = rows[i].key.allocator;
	}
	names[n++] = "floor";
	return n;
}

/* The column of the Linux kernel, if it took part. */
static const char *kernel_name(const char *const *names, size_t nr_names)
{
	for (size_t i = 0; i < nr_names; i++)
		if (!strncmp(names[i], "linux-", 6))
			return names[i];
	return NULL;
}

static void print_line(const struct measured *rows, size_t nr, const struct measurement *line,
		       const char *const *names, size_t nr_names, FILE *out)
{
	const char *linux_name = kernel_name(names, nr_names);
	const struct measured *kmm = cell(rows, nr, line, "kmm"),
			      *kernel = linux_name ? cell(rows, nr, line, linux_name) : NULL;
	char name[64];

	snprintf(name, sizeof(name), "%s/%s", line->suite, line->name);
	fprintf(out, "%-16s %8s %3d", name, line->size, line->threads);
	for (size_t i = 0; i < nr_names; i++) {
		const struct measured *m = i < nr_names - 1 ? cell(rows, nr, line, names[i])
							    : floor_cell(rows, nr, line->threads);

		if (m && m->key.nr_samples)
			fprintf(out, " %9.*f", m->summary.median < 1000 ? 1 : 0, m->summary.median);
		else
			fprintf(out, " %9s", "-");
	}
	if (kmm && isfinite(kmm->vs_jemalloc))
		fprintf(out, "  %6.2f %-6s", kmm->vs_jemalloc, verdict_name(kmm->verdict));
	else if (kernel)
		fprintf(out, "  %13s", "");
	if (kmm && kernel && kmm->key.nr_samples && kernel->key.nr_samples)
		fprintf(out, "  %9.2f", kmm->summary.median / kernel->summary.median);
	fputc('\n', out);
}

/*
 * What has no figures, a line a note and allocator: every case of which no row has any by its name,
 * of others the sizes.
 */
struct listing {
	const struct measured *rows;
	size_t nr;
	FILE *out;
	size_t column;
};

#define LISTING_WIDTH 100

static bool same_cause(const struct measured *a, const struct measured *b)
{
	return !strcmp(a->key.note, b->key.note) && !strcmp(a->key.allocator, b->key.allocator);
}

static bool same_name(const struct measured *a, const struct measured *b)
{
	return !strcmp(a->key.suite, b->key.suite) && !strcmp(a->key.name, b->key.name) &&
	       !strcmp(a->key.allocator, b->key.allocator);
}

/* Has the row's case no figures at all on its allocator? */
static bool is_all_missing(const struct listing *listing, const struct measured *row)
{
	for (size_t i = 0; i < listing->nr; i++)
		if (listing->rows[i].key.nr_samples && same_name(&listing->rows[i], row))
			return false;
	return true;
}

/* Is there a row before this one that is listed as the same? */
static bool is_listed(const struct listing *listing, const struct measured *row, bool all)
{
	for (const struct measured *before = listing->rows; before < row; before++)
		if (!before->key.nr_samples && same_cause(before, row) && same_name(before, row) &&
		    (all || !strcmp(before->key.size, row->key.size)))
			return true;
	return false;
}

static void list_case(struct listing *listing, const struct measured *row, bool all)
{
	char name[RESULTS_CASE_NAME];
	size_t length;

	snprintf(name, sizeof(name), "%s/%s%s%s", row->key.suite, row->key.name,
		 all || !row->key.size[0] ? "" : "/", all ? "" : row->key.size);
	length = strlen(name) + 1;
	if (listing->column + length > LISTING_WIDTH) {
		fputs("\n   ", listing->out);
		listing->column = 3;
	}
	fprintf(listing->out, " %s", name);
	listing->column += length;
}

static void list_cause(struct listing *listing, const struct measured *first)
{
	listing->column =
		(size_t)fprintf(listing->out, "%s: %s:", first->key.note, first->key.allocator);
	for (const struct measured *row = first; row < listing->rows + listing->nr; row++) {
		bool all;

		if (row->key.nr_samples || !same_cause(first, row))
			continue;
		all = is_all_missing(listing, row);
		if (!is_listed(listing, row, all))
			list_case(listing, row, all);
	}
	fputc('\n', listing->out);
}

static void list_missing(const struct measured *rows, size_t nr, FILE *out)
{
	struct listing listing = {rows, nr, out, 0};

	for (size_t i = 0; i < nr; i++) {
		bool first = !rows[i].key.nr_samples;

		for (size_t j = 0; first && j < i; j++)
			first = rows[j].key.nr_samples || !same_cause(&rows[j], &rows[i]);
		if (first)
			list_cause(&listing, &rows[i]);
	}
}

static void print_incomplete(const struct results *results, const struct measured *rows, size_t nr,
			     FILE *out)
{
	size_t with_figures = 0;

	for (size_t i = 0; i < nr; i++)
		with_figures += rows[i].key.nr_samples != 0;
	fprintf(out, "incomplete: %s; %zu of %zu rows have figures\n", results_incomplete(results),
		with_figures, nr);
}

void summary_print(const struct results *results, FILE *out)
{
	double noise_floor = results_noise_floor(results);
	const char *names[MAX_COLUMNS];
	bool any = false;
	size_t nr, nr_names;
	const struct measured *rows = results_rows(results, &nr);

	const bool all = shows_all(rows, nr);

	nr_names = choose_columns(rows, nr, all, names);

	for (size_t i = 0; i < nr; i++) {
		if (!in_table(&rows[i].key, all) || !is_first(rows, i))
			continue;
		if (!any) {
			fprintf(out, "\n%-16s %8s %3s", "ns per operation", "size", "thr");
			for (size_t j = 0; j < nr_names; j++)
				fprintf(out, " %9.9s", names[j]);
			fputs("  kmm/jemalloc", out);
			fputs(kernel_name(names, nr_names) ? "   kmm/linux\n" : "\n", out);
			any = true;
		}
		print_line(rows, nr, &rows[i].key, names, nr_names, out);
	}
	if (any)
		fputs("size: order in suite page, bytes elsewhere; floor: popping and pushing a "
		      "thread's own list\n",
		      out);
	if (isfinite(noise_floor))
		fprintf(out,
			"noise floor (an allocator against itself): %.1f %%; what lies within is "
			"\"same\"\n",
			100 * noise_floor);
	fputs(results_remarks(results), out);
	list_missing(rows, nr, out);
	if (results_incomplete(results))
		print_incomplete(results, rows, nr, out);
	fprintf(out, "results: %s\n", results_path(results));
}

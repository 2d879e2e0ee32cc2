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

static void print_line(const struct measured *rows, size_t nr, const struct measurement *line,
		       const char *const *names, size_t nr_names, FILE *out)
{
	const struct measured *kmm = cell(rows, nr, line, "kmm");
	char name[64];

	snprintf(name, sizeof(name), "%s/%s", line->suite, line->name);
	fprintf(out, "%-16s %8s %3d", name, line->size, line->threads);
	for (size_t i = 0; i < nr_names; i++) {
		const struct measured *m = i < nr_names - 1 ? cell(rows, nr, line, names[i])
							    : floor_cell(rows, nr, line->threads);

		if (m && m->key.nr_samples)
			fprintf(out, " %8.*f", m->summary.median < 1000 ? 1 : 0, m->summary.median);
		else
			fprintf(out, " %8s", "-");
	}
	if (kmm && isfinite(kmm->vs_jemalloc))
		fprintf(out, "  %6.2f %s", kmm->vs_jemalloc, verdict_name(kmm->verdict));
	fputc('\n', out);
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
				fprintf(out, " %8.8s", names[j]);
			fputs("  kmm/jemalloc\n", out);
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
	fprintf(out, "results: %s\n", results_path(results));
}

/* SPDX-License-Identifier: MIT */
/*
 * What the kernel of linux_run.h says, as rows of a run:
 *
 *	sample		throughput.csv and raw.csv, when all have come
 *	skipped		throughput.csv: a row without figures
 *	round, event	fragmentation.csv
 *	state		FILE.TRACE.linux-X.Y.txt, as /proc has it
 *	pageblock, free	pageblocks.TRACE.linux-X.Y.csv, free.TRACE.linux-X.Y.csv
 */
#include "bench/run/linux_run.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/host.h"
#include "bench/options/choose.h"
#include "bench/results/fragmentation.h"
#include "bench/suites/loops.h"

#define NAME	    80
#define MAX_CASES   1000
#define MAX_SAMPLES 128 /* of a case: a round each, or a repetition */

struct linux_case {
	char suite[NAME], name[NAME], size[NAME];
	u64 count, ops;
	double samples[MAX_SAMPLES];
	int nr_samples;
	char skipped[96]; /* or why it has none */
};

struct linux_rows {
	struct results *results;
	struct progress *progress;
	const struct choice *choice; /* or NULL */
	char allocator[32], release[64];
	struct linux_case *cases;
	size_t nr_cases;
	/* Of the ageing case under way: the first round's, and the last one's. */
	char ageing[NAME];
	double huge_first, huge_last;
	u64 last_round;
	FILE *file; /* that the last line went to */
	char file_name[4 * NAME];
};

struct linux_rows *linux_rows_new(struct results *results, struct progress *progress,
				  const struct choice *choice)
{
	struct linux_rows *rows = calloc(1, sizeof(*rows));

	if (rows) {
		rows->results = results;
		rows->progress = progress;
		rows->choice = choice;
	}
	return rows;
}

void linux_rows_free(struct linux_rows *rows)
{
	if (!rows)
		return;
	if (rows->file)
		fclose(rows->file);
	free(rows->cases);
	free(rows);
}

/* "6.1.90" -> "linux-6.1" */
static int take_release(struct linux_rows *rows, const char *release)
{
	size_t length = strcspn(release, ".");

	if (release[length])
		length += 1 + strspn(release + length + 1, "0123456789");
	snprintf(rows->release, sizeof(rows->release), "%s", release);
	snprintf(rows->allocator, sizeof(rows->allocator), "linux-%.*s", (int)length, release);
	return 0;
}

static struct linux_case *case_of(struct linux_rows *rows, const struct linux_line *line)
{
	struct linux_case *c;

	for (size_t i = rows->nr_cases; i-- > 0;) {
		c = &rows->cases[i];
		if (!strcmp(c->suite, line->suite) && !strcmp(c->name, line->name) &&
		    !strcmp(c->size, line->size))
			return c;
	}
	if (rows->nr_cases == MAX_CASES)
		return NULL;
	c = realloc(rows->cases, (rows->nr_cases + 1) * sizeof(*c));
	if (!c)
		return NULL;
	rows->cases = c;
	c += rows->nr_cases++;
	memset(c, 0, sizeof(*c));
	snprintf(c->suite, NAME, "%s", line->suite);
	snprintf(c->name, NAME, "%s", line->name);
	snprintf(c->size, NAME, "%s", line->size);
	c->count = line->count;
	return c;
}

static double ns_of(double cycles)
{
	return cycles * 1e9 / host_cycles_per_second();
}

static bool wanted(const struct linux_rows *rows, const char *suite, const char *name,
		   const char *size)
{
	struct bench_case c = {
		.suite = suite,
		.name = name,
		.allocator = rows->allocator,
		.placement = "local",
		.threads = 1,
	};

	snprintf(c.size, sizeof(c.size), "%s", size);
	return !rows->choice || !strcmp(suite, "replay") || choose_wants(rows->choice, &c);
}

static int take_sample(struct linux_rows *rows, const struct linux_line *line)
{
	struct linux_case *c;
	char what[4 * NAME];

	if (strlen(line->suite) >= NAME || strlen(line->name) >= NAME || strlen(line->size) >= NAME)
		return -ENAMETOOLONG;
	if (!wanted(rows, line->suite, line->name, line->size))
		return 0;
	c = case_of(rows, line);
	if (!c)
		return -ENOMEM;
	if (!c->nr_samples && rows->progress) {
		snprintf(what, sizeof(what), "%s/%s/%s of %s", c->suite, c->name, c->size,
			 rows->allocator);
		progress_step(rows->progress, LINUX_SECONDS / 80.0, what);
	}
	if (c->nr_samples == MAX_SAMPLES)
		return -E2BIG;
	c->samples[c->nr_samples++] = ns_of((double)line->cycles) / (double)line->ops;
	c->ops += line->ops;
	return 0;
}

static int take_skipped(struct linux_rows *rows, const struct linux_line *line)
{
	const struct linux_line sample = {
		.suite = "replay", .name = line->name, .size = "trace", .count = 1};
	struct linux_case *c;

	if (strlen(line->name) >= NAME)
		return -ENAMETOOLONG;
	c = case_of(rows, &sample);
	if (!c)
		return -ENOMEM;
	c->nr_samples = 0; /* of the repetitions before it */
	c->ops = 0;
	snprintf(c->skipped, sizeof(c->skipped), "skipped: %.80s", line->text);
	for (char *at = c->skipped; *at; at++)
		if (*at == ',' || *at == '"')
			*at = ' ';
	return 0;
}

static int take_memory(struct linux_rows *rows, const struct linux_line *line)
{
	const struct free_area_counts *free = &line->free;
	bool round = line->kind == LINUX_ROUND;
	struct fragmentation_row row = {
		.trace = line->name,
		.allocator = rows->allocator,
		.event = (s64)line->number,
		.time_ns = round ? (s64)ns_of((double)line->time) : (s64)line->time,
		.requested_bytes = (s64)line->requested_bytes,
		.allocated_bytes = (s64)line->allocated_bytes,
		.backing_bytes =
			(s64)((free->nr_managed_pages - free->nr_buddy_pages) << PAGE_SHIFT),
		.rss_bytes = CSV_UNKNOWN_WHOLE,
		.internal_frag =
			internal_fragmentation(line->requested_bytes, line->allocated_bytes),
		.huge_free_ratio = huge_free_ratio(free),
	};

	if (round && !wanted(rows, "page", line->name, line->size))
		return 0;
	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
		row.indices.unusable_free_index[order] = unusable_free_index(free, order);
		row.indices.fragmentation_index[order] = fragmentation_index(free, order);
	}
	if (round) {
		snprintf(rows->ageing, sizeof(rows->ageing), "%.70s", line->name);
		if (!line->number)
			rows->huge_first = row.huge_free_ratio;
		rows->huge_last = row.huge_free_ratio;
		rows->last_round = line->number;
	}
	return rows->results ? results_fragmentation(rows->results, &row) : 0;
}

static void remark_ageing(struct linux_rows *rows)
{
	if (rows->ageing[0] && rows->last_round && rows->results)
		results_remark(rows->results,
			       "%s of %s: of its free memory %.1f %% is in free blocks of 2 MiB, "
			       "then %.1f %% after %llu rounds",
			       rows->ageing, rows->allocator, 100 * rows->huge_first,
			       100 * rows->huge_last, (unsigned long long)rows->last_round);
	rows->ageing[0] = '\0';
	rows->last_round = 0;
}

/* The file of that name, which lines come to one after the other. */
static FILE *file_of(struct linux_rows *rows, const char *name, const char *header)
{
	bool failed;

	if (rows->file && !strcmp(rows->file_name, name))
		return rows->file;
	failed = rows->file && fclose(rows->file);
	rows->file = NULL;
	if (failed)
		return NULL;
	rows->file = results_file(rows->results, name);
	snprintf(rows->file_name, sizeof(rows->file_name), "%s", name);
	if (rows->file && ftell(rows->file) == 0)
		fputs(header, rows->file);
	return rows->file;
}

static int take_text(struct linux_rows *rows, const struct linux_line *line)
{
	char name[3 * NAME];
	FILE *file;

	if (!rows->results)
		return 0;
	if (line->kind == LINUX_STATE) {
		snprintf(name, sizeof(name), "%.70s.%.70s.%s.txt", line->file, line->name,
			 rows->allocator);
		file = file_of(rows, name, "");
		return file && fprintf(file, "%s\n", line->text) > 0 ? 0 : -EIO;
	}
	snprintf(name, sizeof(name), "%s.%.70s.%s.csv",
		 line->kind == LINUX_PAGEBLOCK ? "pageblocks" : "free", line->name,
		 rows->allocator);
	file = file_of(rows, name, "when,pfn,order,migratetype\n");
	return file && fprintf(file, "%s,%llu,%u,%u\n", line->file, (unsigned long long)line->pfn,
			       line->order, line->migratetype) > 0
		       ? 0
		       : -EIO;
}

int linux_rows_line(const struct linux_line *line, void *arg)
{
	struct linux_rows *rows = arg;

	if (line->kind == LINUX_ROUND && !line->number)
		remark_ageing(rows);
	switch (line->kind) {
	case LINUX_HELLO:
		return take_release(rows, line->text);
	case LINUX_SAMPLE:
		return take_sample(rows, line);
	case LINUX_SKIPPED:
		return take_skipped(rows, line);
	case LINUX_ROUND:
	case LINUX_EVENT:
		return take_memory(rows, line);
	case LINUX_STATE:
	case LINUX_PAGEBLOCK:
	case LINUX_FREE_BLOCK:
		return take_text(rows, line);
	default:
		return 0;
	}
}

static int add_case(struct linux_rows *rows, const struct linux_case *c)
{
	char note[96];
	struct measurement row = {
		.suite = c->suite,
		.name = c->name,
		.allocator = rows->allocator,
		.placement = "local",
		.size = c->size,
		.threads = 1,
		.ops = c->ops,
		.samples = c->samples,
		.nr_samples = c->nr_samples,
		.note = note,
	};

	if (c->skipped[0])
		snprintf(note, sizeof(note), "%s", c->skipped);
	else if (c->count > 1 && c->count != BATCH_COUNT)
		snprintf(note, sizeof(note), "uml; one CPU; %llu objects",
			 (unsigned long long)c->count);
	else
		snprintf(note, sizeof(note), "uml; one CPU%s",
			 strcmp(c->name, "maple") ? "" : "; kmm has no maple tree");
	return results_measured(rows->results, &row);
}

int linux_rows_finish(struct linux_rows *rows)
{
	int error = 0;

	remark_ageing(rows);
	if (rows->file && fclose(rows->file))
		error = -EIO;
	rows->file = NULL;
	for (size_t i = 0; !error && i < rows->nr_cases; i++)
		error = add_case(rows, &rows->cases[i]);
	if (!error && rows->nr_cases)
		results_remark(rows->results,
			       "%s is Linux %s as a process (User Mode Linux) on one CPU",
			       rows->allocator, rows->release);
	return error;
}

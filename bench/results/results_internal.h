/* SPDX-License-Identifier: MIT */
/* What the parts of the results writer share: results.c (folder), results_csv.c (rows),
 * results_rows.c (measurements and how they compare), machine_json.c, journal.c and keep.c
 * (runs that end early). */
#ifndef KMM_BENCH_RESULTS_INTERNAL_H
#define KMM_BENCH_RESULTS_INTERNAL_H

#include <limits.h>
#include <stdio.h>

#include "bench/options/options.h"
#include "bench/results/results.h"

enum csv_table {
#define TABLE_INDEX(name, columns) CSV_##name,
	CSV_TABLES(TABLE_INDEX)
#undef TABLE_INDEX
		NR_CSV_TABLES
};

struct results {
	char dir[PATH_MAX];  /* the folder of all runs, as given */
	char tmp[PATH_MAX];  /* this run's, until the commit */
	char path[PATH_MAX]; /* this run's, from then on */
	FILE *files[NR_CSV_TABLES];
	int journal;	   /* of a run that goes on; see journal.c */
	bool journal_torn; /* its last record is not whole: nothing can come behind it */

	struct measured *rows; /* in the order they came */
	size_t nr_rows, room_rows;
	double noise_floor; /* set by measured_write */
	int nr_aa_pairs;

	char remarks[16384];
	char *machine_json; /* the members known at results_describe */
	char *incomplete;   /* why the run ended early; NULL: it did not */
};

extern const char *const csv_table_names[NR_CSV_TABLES];

/* results.c. Make a file in the temporary folder; NULL and errno. */
FILE *results_create(const struct results *results, const char *name);
void remark_add(struct results *results, const char *line);
/* As results_commit(), without a word. */
int results_finish(struct results *results);

/* Write a file's header line. 0 or -errno. */
int csv_header(struct results *results, enum csv_table table);
int csv_throughput(struct results *results, const struct throughput_row *row);
int csv_raw(struct results *results, const struct raw_row *row);

/*
 * In memory: another row; the row of the same case and allocator, or NULL; a row's next samples,
 * and all of it anew, either without its summary, which is then to be made. 0 or -ENOMEM.
 */
int measured_add(struct results *results, const struct measurement *m);
struct measured *measured_find(const struct results *results, const struct measurement *m);
int measured_extend(struct measured *row, const struct measurement *more);
int measured_replace(struct measured *row, const struct measurement *m);
void measured_summarise(struct measured *row);
/* Compute noise floor, ratios and verdicts, and write throughput.csv and raw.csv. 0 or -errno. */
int measured_write(struct results *results);
void measured_free(struct results *results);

#define JOURNAL_NAME "journal"
enum journal_kind {
	JOURNAL_MACHINE, /* what results_describe gathered */
	JOURNAL_REMARK,
	JOURNAL_PLANNED, /* a row without figures, because the case is still to be run */
	JOURNAL_SAMPLE,	 /* a row's next samples */
	JOURNAL_ROW,	 /* a row's whole */
};
/* Open it, 0 or -errno, and remove it; append a record, as far as the disk takes it. */
int journal_open(struct results *results);
void journal_remove(struct results *results);
void journal_text(struct results *results, enum journal_kind kind, const char *text);
void journal_row(struct results *results, enum journal_kind kind, const struct measurement *m);
/* Take everything that another process has appended into memory. 0 or -errno. */
int journal_read(struct results *results);

/* Print the whole object: what results_describe gathered, whether the run is whole, and the noise
 * floor. Errors stay in the stream. */
void machine_json_print(const struct results *results, FILE *out);

#endif

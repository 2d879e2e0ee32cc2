/* SPDX-License-Identifier: MIT */
/* What the parts of the results writer share: results.c (folder), results_csv.c (rows),
 * results_rows.c (measurements and how they compare), machine_json.c. */
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

	struct measured *rows; /* in the order they came */
	size_t nr_rows, room_rows;
	double noise_floor; /* set by measured_write */
	int nr_aa_pairs;

	char remarks[16384];
	char *machine_json; /* the members known at results_describe */
};

/* Write every file's header line. 0 or -errno. */
int csv_headers(struct results *results);
int csv_throughput(struct results *results, const struct throughput_row *row);
int csv_raw(struct results *results, const struct raw_row *row);

/* Compute noise floor, ratios and verdicts, and write throughput.csv and raw.csv. 0 or -errno. */
int measured_write(struct results *results);
void measured_free(struct results *results);

/* Print the whole object: what results_describe gathered, and the noise floor. Errors stay in the
 * stream. */
void machine_json_print(const struct results *results, FILE *out);

#endif

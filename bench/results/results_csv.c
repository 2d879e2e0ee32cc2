/* SPDX-License-Identifier: MIT */
/*
 * The CSV files, row by row (RFC 4180: a field with a comma, quote or line break is quoted). The
 * lists of columns in results.h are expanded here into header lines and into one writer a file.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/results/results_internal.h"

static void print_text(FILE *out, csv_text text)
{
	if (!text)
		return;
	if (!strpbrk(text, ",\"\r\n")) {
		fputs(text, out);
		return;
	}
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

static void print_whole(FILE *out, csv_whole whole)
{
	if (whole != CSV_UNKNOWN_WHOLE)
		fprintf(out, "%" PRId64, whole);
}

static void print_real(FILE *out, csv_real real)
{
	if (isfinite(real))
		fprintf(out, "%.6g", real);
}

static void print_orders(FILE *out, csv_orders orders)
{
	for (int j = 0; j < NR_PAGE_ORDERS; j++) {
		if (j)
			fputc(',', out);
		print_real(out, orders.unusable_free_index[j]);
		fputc(',', out);
		print_real(out, orders.fragmentation_index[j]);
	}
}

static void print_name_text(FILE *out, const char *name)
{
	fputs(name, out);
}
#define print_name_whole print_name_text
#define print_name_real	 print_name_text

static void print_name_orders(FILE *out, const char *name)
{
	(void)name; /* two names an order, not one */
	for (int j = 0; j < NR_PAGE_ORDERS; j++)
		fprintf(out, "%sunusable_free_index_%d,fragmentation_index_%d", j ? "," : "", j, j);
}

/* The errno of a write that failed is gone; what could not be written fails again. */
static int stream_error(FILE *out)
{
	if (!ferror(out))
		return 0;
	return fflush(out) ? -errno : -EIO;
}

#define PRINT_NAME(type, field, name)                                                              \
	if (i++)                                                                                   \
		fputc(',', out);                                                                   \
	print_name_##type(out, name);
#define PRINT_FIELD(type, field, name)                                                             \
	if (i++)                                                                                   \
		fputc(',', out);                                                                   \
	print_##type(out, row->field);
#define WRITER(table, columns)                                                                     \
	static int write_##table##_header(FILE *out)                                               \
	{                                                                                          \
		int i = 0;                                                                         \
                                                                                                   \
		columns(PRINT_NAME) fputc('\n', out);                                              \
		return stream_error(out);                                                          \
	}                                                                                          \
	static int write_##table##_row(FILE *out, const struct table##_row *row)                   \
	{                                                                                          \
		int i = 0;                                                                         \
                                                                                                   \
		columns(PRINT_FIELD) fputc('\n', out);                                             \
		return stream_error(out);                                                          \
	}
CSV_TABLES(WRITER)

int csv_header(struct results *results, enum csv_table which)
{
	switch (which) {
#define WRITE_HEADER(table, columns)                                                               \
	case CSV_##table:                                                                          \
		return write_##table##_header(results->files[CSV_##table]);
		CSV_TABLES(WRITE_HEADER)
#undef WRITE_HEADER
	case NR_CSV_TABLES:
		break;
	}
	return -EINVAL;
}

int csv_throughput(struct results *results, const struct throughput_row *row)
{
	return write_throughput_row(results->files[CSV_throughput], row);
}

int csv_raw(struct results *results, const struct raw_row *row)
{
	return write_raw_row(results->files[CSV_raw], row);
}

int results_latency(struct results *results, const struct latency_row *row)
{
	return write_latency_row(results->files[CSV_latency], row);
}

int results_fragmentation(struct results *results, const struct fragmentation_row *row)
{
	return write_fragmentation_row(results->files[CSV_fragmentation], row);
}

int results_numa(struct results *results, const struct numa_row *row)
{
	return write_numa_row(results->files[CSV_numa], row);
}

int results_locks(struct results *results, const struct locks_row *row)
{
	return write_locks_row(results->files[CSV_locks], row);
}

int results_paths(struct results *results, const struct paths_row *row)
{
	return write_paths_row(results->files[CSV_paths], row);
}

int results_caches(struct results *results, const struct caches_row *row)
{
	return write_caches_row(results->files[CSV_caches], row);
}

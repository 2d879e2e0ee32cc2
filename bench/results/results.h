/* SPDX-License-Identifier: MIT */
/*
 * One run's folder of results: CSV files, machine.json, and how they come to be whole or not at
 * all.
 *
 * Everything is written to DIR/.tmp-<host>-<pid> and renamed to DIR/<UTC time>-<host> by
 * results_commit, which then moves the symlink DIR/latest; what stands in DIR before is never
 * touched. Of a run that ends early results_keep makes a folder of what there is. Each file's
 * columns are declared once below: the list makes the row's struct, the header line and the writer.
 * For one process and one thread.
 */
#ifndef KMM_BENCH_RESULTS_H
#define KMM_BENCH_RESULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/peer.h"
#include "bench/results/stats.h"
#include "kmm.h"

/*
 * COLUMN(type, field, "name in the file"). Types: text; whole (int64_t); real (double; not finite:
 * left empty); orders (struct order_indices: two columns an order, "<name>_j", as the kernel's
 * unusable_free_index and fragmentation_index).
 */
#define THROUGHPUT_COLUMNS(COLUMN)                                                                 \
	COLUMN(text, suite, "suite")                                                               \
	COLUMN(text, name, "case")                                                                 \
	COLUMN(text, allocator, "allocator")                                                       \
	COLUMN(whole, threads, "threads")                                                          \
	COLUMN(text, placement, "placement")                                                       \
	COLUMN(text, size, "size")                                                                 \
	COLUMN(whole, ops, "ops")                                                                  \
	COLUMN(real, ns_per_op, "ns_per_op")                                                       \
	COLUMN(real, ci_low_ns, "ci_low_ns")                                                       \
	COLUMN(real, ci_high_ns, "ci_high_ns")                                                     \
	COLUMN(real, ops_per_s, "ops_per_s")                                                       \
	COLUMN(real, vs_jemalloc, "vs_jemalloc")                                                   \
	COLUMN(text, note, "note")

#define LATENCY_COLUMNS(COLUMN)                                                                    \
	COLUMN(text, suite, "suite")                                                               \
	COLUMN(text, name, "case")                                                                 \
	COLUMN(text, allocator, "allocator")                                                       \
	COLUMN(whole, threads, "threads")                                                          \
	COLUMN(text, placement, "placement")                                                       \
	COLUMN(real, p50_ns, "p50_ns")                                                             \
	COLUMN(real, p90_ns, "p90_ns")                                                             \
	COLUMN(real, p99_ns, "p99_ns")                                                             \
	COLUMN(real, p999_ns, "p999_ns")                                                           \
	COLUMN(real, p9999_ns, "p9999_ns")                                                         \
	COLUMN(real, max_ns, "max_ns")

#define FRAGMENTATION_COLUMNS(COLUMN)                                                              \
	COLUMN(text, trace, "trace")                                                               \
	COLUMN(text, allocator, "allocator")                                                       \
	COLUMN(whole, event, "event")                                                              \
	COLUMN(whole, time_ns, "time_ns")                                                          \
	COLUMN(whole, requested_bytes, "requested_bytes")                                          \
	COLUMN(whole, allocated_bytes, "allocated_bytes")                                          \
	COLUMN(whole, backing_bytes, "backing_bytes")                                              \
	COLUMN(whole, rss_bytes, "rss_bytes")                                                      \
	COLUMN(real, internal_frag, "internal_frag")                                               \
	COLUMN(orders, indices, "")                                                                \
	COLUMN(real, huge_free_ratio, "huge_free_ratio")

#define NUMA_COLUMNS(COLUMN)                                                                       \
	COLUMN(text, suite, "suite")                                                               \
	COLUMN(text, name, "case")                                                                 \
	COLUMN(text, allocator, "allocator")                                                       \
	COLUMN(text, cpu_node, "cpu_node")                                                         \
	COLUMN(text, memory_node, "memory_node")                                                   \
	COLUMN(real, ns_per_op, "ns_per_op")                                                       \
	COLUMN(real, local_ratio, "local_ratio")

#define LOCKS_COLUMNS(COLUMN)                                                                      \
	COLUMN(text, suite, "suite")                                                               \
	COLUMN(text, name, "case")                                                                 \
	COLUMN(whole, threads, "threads")                                                          \
	COLUMN(text, lock, "lock")                                                                 \
	COLUMN(whole, acquired, "acquired")                                                        \
	COLUMN(whole, contended, "contended")                                                      \
	COLUMN(whole, wait_cycles, "wait_cycles")

#define PATHS_COLUMNS(COLUMN)                                                                      \
	COLUMN(text, suite, "suite")                                                               \
	COLUMN(text, name, "case")                                                                 \
	COLUMN(text, allocator, "allocator")                                                       \
	COLUMN(whole, threads, "threads")                                                          \
	COLUMN(text, placement, "placement")                                                       \
	COLUMN(text, size, "size")                                                                 \
	COLUMN(text, path, "path")                                                                 \
	COLUMN(whole, count, "count")                                                              \
	COLUMN(real, per_1000_ops, "per_1000_ops")

#define CACHES_COLUMNS(COLUMN)                                                                     \
	COLUMN(text, suite, "suite")                                                               \
	COLUMN(text, name, "case")                                                                 \
	COLUMN(text, allocator, "allocator")                                                       \
	COLUMN(text, size, "size")                                                                 \
	COLUMN(whole, event, "event")                                                              \
	COLUMN(text, cache, "cache")                                                               \
	COLUMN(whole, object_bytes, "object_bytes")                                                \
	COLUMN(whole, objects, "objects")                                                          \
	COLUMN(whole, requested_bytes, "requested_bytes")                                          \
	COLUMN(whole, allocated_bytes, "allocated_bytes")                                          \
	COLUMN(whole, slabs, "slabs")                                                              \
	COLUMN(whole, partial_slabs, "partial_slabs")                                              \
	COLUMN(whole, slab_bytes, "slab_bytes")                                                    \
	COLUMN(real, utilisation, "utilisation")

#define RAW_COLUMNS(COLUMN)                                                                        \
	COLUMN(text, suite, "suite")                                                               \
	COLUMN(text, name, "case")                                                                 \
	COLUMN(text, allocator, "allocator")                                                       \
	COLUMN(whole, threads, "threads")                                                          \
	COLUMN(text, placement, "placement")                                                       \
	COLUMN(text, size, "size")                                                                 \
	COLUMN(whole, repetition, "repetition")                                                    \
	COLUMN(real, ns_per_op, "ns_per_op")

/* CSV_TABLE(name, COLUMNS): the file is name.csv. Order is that of enum csv_table. */
#define CSV_TABLES(TABLE)                                                                          \
	TABLE(throughput, THROUGHPUT_COLUMNS)                                                      \
	TABLE(latency, LATENCY_COLUMNS)                                                            \
	TABLE(fragmentation, FRAGMENTATION_COLUMNS)                                                \
	TABLE(numa, NUMA_COLUMNS)                                                                  \
	TABLE(locks, LOCKS_COLUMNS)                                                                \
	TABLE(paths, PATHS_COLUMNS)                                                                \
	TABLE(caches, CACHES_COLUMNS)                                                              \
	TABLE(raw, RAW_COLUMNS)

struct order_indices {
	double unusable_free_index[NR_PAGE_ORDERS], fragmentation_index[NR_PAGE_ORDERS];
};

typedef const char *csv_text; /* NULL: left empty */
typedef int64_t csv_whole;
typedef double csv_real;
typedef struct order_indices csv_orders;

#define CSV_FIELD(type, field, name) csv_##type field;
#define CSV_ROW(name, columns)                                                                     \
	struct name##_row {                                                                        \
		columns(CSV_FIELD)                                                                 \
	};
CSV_TABLES(CSV_ROW)
#undef CSV_ROW
#undef CSV_FIELD

/* A value that is not known: an empty field. */
#define CSV_UNKNOWN_WHOLE INT64_MIN

struct results;

/*
 * Make DIR (and the folders above it) and the run's temporary folder in it, and remove temporary
 * folders of runs whose process is gone. *out and 0; or -errno, after one line of complaint.
 */
int results_open(const char *dir, struct results **out);
/* Remove the temporary folder, if it is still there, and free. */
void results_discard(struct results *results);
/* Free, and leave the folder to another process. */
void results_close(struct results *results);

/* Whether the run's folder has its name, be it another process that committed it. */
bool results_committed(const struct results *results);

/* The folder that results_commit will have made, such as "results/20260101T120000Z-host". */
const char *results_path(const struct results *results);

/*
 * One measured case. samples are its repetitions: the wall time of each over the operations of one
 * thread, so that perfect scaling leaves ns_per_op as it is and multiplies ops_per_s. raw.csv gets
 * them; throughput.csv their median, its 95 % interval, and, at the commit, the ratio to jemalloc.
 * nr_samples 0: a case that was not run; note says why.
 */
struct measurement {
	const char *suite, *name, *allocator, *placement, *size;
	int threads;
	uint64_t ops; /* operations timed, of all threads and repetitions */
	const double *samples;
	int nr_samples;
	const char *note; /* "emulated", ... joined by "; "; or NULL */
};

/* "suite/case/size/allocator/placement/threads:N", as --benchmark_filter and messages name it. */
#define RESULTS_CASE_NAME 160
void results_case_name(const struct measurement *measurement, char *name, size_t size);

/*
 * For runs that end early, ahead of results_measured(): that a case is to be run, or skipped
 * (without samples); and one or more samples of it (with the operations of these alone). If
 * results_measured() comes, these count for nothing. results_planned returns 0.
 */
int results_planned(struct results *results, const struct measurement *measurement);
void results_sample(struct results *results, const struct measurement *measurement);

/* Add a row; strings and samples are copied. 0 or -errno; a failed write also fails the commit. */
int results_measured(struct results *results, const struct measurement *measurement);
int results_latency(struct results *results, const struct latency_row *row);
int results_fragmentation(struct results *results, const struct fragmentation_row *row);
int results_numa(struct results *results, const struct numa_row *row);
int results_locks(struct results *results, const struct locks_row *row);
int results_paths(struct results *results, const struct paths_row *row);
int results_caches(struct results *results, const struct caches_row *row);

/* A file of another kind in the run's folder, opened to be added to; the caller closes it. NULL and
 * errno. */
FILE *results_file(struct results *results, const char *name);

/* A line for the summary on the terminal; beyond a hundred or so they are left out. */
void results_remark(struct results *results, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* What machine.json says of the machine, its options and the allocators. Call once, before the
 * commit. 0 or -errno. */
int results_describe(struct results *results, struct kmm *machine, const struct object_peer *peers,
		     int nr_peers, int argc, char **argv);

/*
 * Finish every file, rename the folder, move `latest`. 0; or -errno after one line of complaint,
 * with the temporary folder still to be discarded.
 */
int results_commit(struct results *results);

/*
 * Another process, which wrote to the folder, has ended before it committed: commit what it had
 * measured, as far as that is known here, and leave `latest` where it is. machine.json says why; so
 * do the rows of cases without figures, and that of the case `running` (results_case_name), which
 * gets `mark`, if not NULL, before its note. False, without a word: nothing was measured, or it
 * cannot be written; the folder is still to be discarded. In a process that has added nothing
 * itself.
 */
bool results_keep(struct results *results, const char *running, const char *mark, const char *why);
/* Why; NULL for a whole run. */
const char *results_incomplete(const struct results *results);

/* After the commit, for the summary: the rows of throughput.csv and how they compare. */
struct measured {
	struct measurement key; /* without samples once committed */
	struct stats_summary summary;
	double vs_jemalloc;   /* NAN: no jemalloc row */
	enum verdict verdict; /* against jemalloc, beside the noise floor */
};
const char *results_remarks(const struct results *results); /* each line ends with a newline */
const struct measured *results_rows(const struct results *results, size_t *nr);
double results_noise_floor(const struct results *results); /* NAN without an A/A pair */

#endif

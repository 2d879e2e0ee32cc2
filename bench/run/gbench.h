/* SPDX-License-Identifier: MIT */
/*
 * Google Benchmark for C: register callbacks, run them interleaved at random, get every
 * repetition's time back.
 *
 * All of a repetition's iterations are one call over the C boundary, and what each thread does
 * before that call is not timed. The time of a repetition is the wall time of the timed part,
 * averaged over its threads, which a barrier starts together. No C++ exception leaves these
 * functions. For one thread of one process.
 */
#ifndef KMM_BENCH_GBENCH_H
#define KMM_BENCH_GBENCH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct gbench_ops {
	void (*begin)(void *user, int thread);		 /* in each thread, not timed */
	void (*run)(void *user, int thread, uint64_t n); /* timed */
	void (*end)(void *user, int thread);		 /* in each thread, not timed */
};

struct gbench_result {
	int threads;
	int repetition;	     /* from 0 */
	uint64_t iterations; /* of one thread */
	double wall_ns;	     /* of the timed part */
};

/* Is this argument one of Google Benchmark's? */
int gbench_is_flag(const char *argument);

/*
 * Take the --benchmark_* flags of argv (argv[0] is the program's name), over the defaults: 9
 * repetitions, interleaved at random. Call once. 0; or -EINVAL, and error holds one line that names
 * the flag.
 */
int gbench_init(int argc, char **argv, char *error, size_t error_size);

/* What the flags say, for who plans the time: repetitions; seconds of one repetition or 0 if it was
 * not said; whether cases are only to be listed; and whether a case's name passes
 * --benchmark_filter. */
int gbench_repetitions(void);
double gbench_min_time(void);
int gbench_list_only(void);
int gbench_selected(const char *name);

/* One case, with the iterations of each thread in each repetition. 0; -EEXIST for a name
 * registered before; -EINVAL; -ENOMEM. */
int gbench_register(const char *name, int threads, uint64_t iterations,
		    const struct gbench_ops *ops, void *user);

/*
 * Run all that is registered. Google Benchmark tells of a case's repetitions when the last of them
 * is done: then result is called for each. Before that, for who may not live to see it, and unless
 * it is NULL: measured, at the end of each repetition, in a thread of it, by a clock of our own (so
 * a few ns differ) and without the repetition's number. 0; or -EIO, when Google Benchmark itself
 * failed: error then holds one line.
 */
typedef void gbench_report(void *user, const struct gbench_result *result);
int gbench_run(gbench_report *result, gbench_report *measured, char *error, size_t error_size);

#ifdef __cplusplus
}
#endif
#endif

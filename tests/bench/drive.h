/* SPDX-License-Identifier: MIT */
/* A driver of cases, for tests of the suites: all threads of a case begin before one runs. */
#ifndef TESTS_BENCH_DRIVE_H
#define TESTS_BENCH_DRIVE_H

#include "bench/suite.h"

/* What a case is called in a message. */
#define CASE_FORMAT  "%s/%s %s size %s threads %d: "
#define CASE_ARGS(c) (c)->suite, (c)->name, (c)->allocator, (c)->size, (c)->threads

struct kmm *boot(const char *synthetic, uint64_t node_bytes);
/* As many threads as the machine has CPUs, and no peers. */
struct bench_env env_of(struct kmm *machine);
/* This process ready for peers, which takes its arguments, and all that are installed: how many, or -errno. */
int load_peers(char **argv, struct object_peer *peers);
/* The cases of all suites into a new list, whose cases the caller frees. */
void enumerate_all(const struct bench_env *env, struct case_list *list);
struct bench_case *find_case(struct case_list *list, const char *suite, const char *name);

/* Operations that are enough for a check. */
uint64_t few(const struct bench_case *c);
/* Run a case; damage, if any, is done between prepare and the threads. NULL or the first error
 * line. */
const char *drive(struct bench_case *c, uint64_t n, bool latency,
		  void (*damage)(struct bench_case *));

#endif

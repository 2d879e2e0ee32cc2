/* SPDX-License-Identifier: MIT */
/* Which cases kmm bench runs: those of the chosen suites that pass every filter. */
#ifndef KMM_BENCH_CHOOSE_H
#define KMM_BENCH_CHOOSE_H

#include "bench/suite.h"

/* Words of the command line, each a list separated by commas; NULL: all. Google Benchmark's filter
 * (gbench.h) comes in addition. */
struct choice {
	const char *suites, *cases, *allocators;
	const char *one; /* NULL; or a case's full name, and only it is wanted */
};

/* All return an exit status, after one line of complaint where it is not EXIT_OK. */

/* Is every word of `suites` a suite's name? Needs no machine. */
int choose_check_suites(const struct choice *choice);
/* Fill an empty list with the cases. A word that is the name of nothing is refused, and so is a
 * choice of no case. */
int choose_cases(const struct choice *choice, const struct bench_env *env, struct case_list *list);
/* Does a case pass --case and the filter? Its suite and its allocator are not looked at. */
bool choose_wants(const struct choice *choice, const struct bench_case *c);
/* Print their names, a line each; behind a case that is skipped, why. */
int choose_print(const struct case_list *list);

#endif

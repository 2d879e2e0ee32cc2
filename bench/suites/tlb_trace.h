/* SPDX-License-Identifier: MIT */
#ifndef KMM_BENCH_SUITES_TLB_TRACE_H
#define KMM_BENCH_SUITES_TLB_TRACE_H

#include "bench/suite.h"

/* Add the cases of suite tlb that read traces. 0 or -ENOMEM. */
int tlb_trace_cases(const struct bench_env *env, struct case_list *list);

#endif

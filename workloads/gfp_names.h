/* SPDX-License-Identifier: MIT */
/* The names that tracepoints print for GFP flags ("GFP_KERNEL|__GFP_ZERO"), as the trace format's
 * bits. */
#ifndef WORKLOADS_GFP_NAMES_H
#define WORKLOADS_GFP_NAMES_H

#include <stddef.h>

#include "base/types.h"

/* KMT_GFP_* of the names, joined by '|'; "none" and "0" are 0. A name or number that is not known
 * adds KMT_GFP_OTHER. */
u32 gfp_from_names(const char *names, size_t length);

#endif

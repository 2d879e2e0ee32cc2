/* SPDX-License-Identifier: MIT */
/* The options of case fleet: its tables, and how many live bytes they are scaled to. */
#ifndef KMM_BENCH_FLEET_OPTIONS_H
#define KMM_BENCH_FLEET_OPTIONS_H

#include "bench/suites/fleet.h"

struct fleet_options {
	struct fleet_profile profiles[FLEETS_MAX];
	int nr;
	u64 bytes; /* 0: the default */
};

/* --fleet FILE and --fleet-size SIZE: EXIT_OK, or EXIT_BAD_INPUT after the one line of complaint. */
int fleet_options_add(struct fleet_options *options, const char *path);
int fleet_options_size(struct fleet_options *options, const char *text);
void fleet_options_free(struct fleet_options *options);

#endif

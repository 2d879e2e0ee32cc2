/* SPDX-License-Identifier: MIT */
/* Filling in and judging a configuration, for boot.c. */
#ifndef KMM_BOOT_CONFIG_H
#define KMM_BOOT_CONFIG_H

#include "base/machine.h"

/* What needs no topology: 0, or -EINVAL with a line for kmm_boot_error(). */
int config_check(const struct kmm_config *config);
/* Replace each zero that means a default, now that machine->topology is known, and compare with
 * what the host has: 0, -EINVAL or -ENOMEM with a line. */
int config_fill(struct kmm *machine);

#endif

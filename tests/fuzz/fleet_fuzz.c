/* SPDX-License-Identifier: MIT */
/* Any bytes as a table of sizes, rates and live counts: a good one has entries that are in range. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "workloads/fleet.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct fleet_profile profile;
	char error[FLEET_ERROR_SIZE] = "";
	FILE *in = length ? fmemopen((void *)bytes, length, "r") : fopen("/dev/null", "r");

	if (!in)
		abort();
	if (fleet_read_stream(in, "table.csv", &profile, error)) {
		if (!error[0] || strchr(error, '\n') || profile.entries)
			abort();
	} else {
		if (!profile.nr || profile.nr > FLEET_MAX_ENTRIES || strcmp(profile.name, "table"))
			abort();
		for (size_t i = 0; i < profile.nr; i++) {
			const struct fleet_entry *entry = &profile.entries[i];

			if (!entry->size_bytes || entry->size_bytes > 1UL << 40 ||
			    !(entry->per_second >= 1e-15 && entry->per_second <= 1e15) ||
			    !(entry->live >= 1e-15 && entry->live <= 1e15))
				abort();
		}
		fleet_free(&profile);
	}
	fclose(in);
	return 0;
}

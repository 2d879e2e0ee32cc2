/* SPDX-License-Identifier: MIT */
/*
 * What a long-running program allocates, as a table: of each size, how many objects are allocated
 * a second and how many live. By Little's law an object of a size lives live / rate on average.
 *
 * As a file: lines "size,alloc_rate,num_live" with a whole number of bytes and two numbers, blanks
 * around them allowed. Lines that are empty or begin with # say nothing, and the first line may be
 * those three names.
 */
#ifndef WORKLOADS_FLEET_H
#define WORKLOADS_FLEET_H

#include <stddef.h>
#include <stdio.h>

#include "base/types.h"

#define FLEET_ERROR_SIZE  320
#define FLEET_NAME_SIZE	  24
#define FLEET_MAX_ENTRIES 65536

struct fleet_entry {
	u64 size_bytes;	   /* 1 to 2^40 */
	double per_second; /* 1e-15 to 1e15 */
	double live;	   /* the same */
};

struct fleet_profile {
	char name[FLEET_NAME_SIZE]; /* the file's, without folders and .csv, cut off */
	const struct fleet_entry *entries;
	size_t nr; /* 1 or more */
};

/* The table that kmm has of its own. */
extern const struct fleet_profile fleet_server;

/*
 * Read a file; entries without a rate or without live objects are left out. 0; or -1 with one line,
 * "FILE:LINE: what is wrong", in error. fleet_free frees what fleet_read took.
 */
int fleet_read(const char *path, struct fleet_profile *profile, char error[FLEET_ERROR_SIZE]);
/* The same from a stream, which stays the caller's; path is for the name and for errors. */
int fleet_read_stream(FILE *in, const char *path, struct fleet_profile *profile,
		      char error[FLEET_ERROR_SIZE]);
void fleet_free(struct fleet_profile *profile);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * Traces of memory accesses, read forward: what a program fetched, loaded and stored, and where.
 * Plain or compressed with zstd.
 *
 *	lackey		text of `valgrind --tool=lackey --trace-mem=yes`. A modify is a load
 *			and a store
 *	ChampSim	records of 64 bytes, one an instruction: its fetch, then its loads, then
 *			its stores; sizes are not recorded, and each is taken as one byte
 *	kmt		events `access' of a .kmt trace, whose objects are given places
 */
#ifndef WORKLOADS_ACCESS_H
#define WORKLOADS_ACCESS_H

#include "base/types.h"
#include "workloads/text_input.h"

enum access_kind { ACCESS_LOAD, ACCESS_STORE, ACCESS_FETCH, ACCESS_NR_KINDS };

struct access {
	u64 address;
	u32 bytes; /* 1 or more */
	u32 kind;
};

enum access_format { ACCESS_DETECT, ACCESS_LACKEY, ACCESS_CHAMPSIM, ACCESS_KMT };

struct access_reader;

/* Read from fd, which stays the caller's; name is for errors. If the format is not said, text is
 * taken for lackey's, what begins as .kmt for that, and all else for ChampSim's. A .kmt trace must
 * be a file, and is read from its begin. NULL with a line in error. */
struct access_reader *access_open_fd(int fd, const char *name, enum access_format format,
				     char error[KMT_ERROR_SIZE]);
void access_close(struct access_reader *reader);

#define ACCESS_MIN_ROOM 8 /* what one record may give */

/* The next accesses, up to room (ACCESS_MIN_ROOM or more). Returns how many; 0 at the end; -1 on an
 * error, with a line in access_error. */
ssize_t access_read(struct access_reader *reader, struct access *out, size_t room);
const char *access_error(const struct access_reader *reader);
/* "lackey", "ChampSim" or "kmt". */
const char *access_format_name(const struct access_reader *reader);

#endif

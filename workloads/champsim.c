/* SPDX-License-Identifier: MIT */
/*
 * ChampSim's records of instructions (its input_instr), 64 bytes each, little-endian:
 *
 *	 0  8  address of the instruction
 *	 8  1  is it a branch: 0 or 1
 *	 9  1  was it taken: 0 or 1
 *	10  6  registers: two written, four read
 *	16 16  two addresses stored to, 0: none
 *	32 32  four addresses loaded from, 0: none
 */
#include <string.h>

#include "workloads/access_internal.h"

#define RECORD_BYTES 64
#define NR_STORES    2
#define NR_LOADS     4

struct champsim_record {
	u64 ip;
	u8 is_branch, branch_taken;
	u8 registers[6];
	u64 stores[NR_STORES];
	u64 loads[NR_LOADS];
};
_Static_assert(sizeof(struct champsim_record) == RECORD_BYTES, "as it lies in the file");
_Static_assert(1 + NR_STORES + NR_LOADS <= ACCESS_MIN_ROOM, "a record's accesses always fit");

static inline size_t add(struct access *out, size_t n, u64 address, u32 kind)
{
	/* Written always, counted if it is one: no branch to guess. */
	out[n] = (struct access){.address = address, .bytes = 1, .kind = kind};
	return n + (address != 0);
}

static int bad_record(struct access_reader *reader)
{
	unsigned long long nr = reader->nr_read;

	return access_fail(reader,
			   " record %llu (at byte %llu) is not ChampSim's: a flag is not 0 or 1",
			   nr, nr * RECORD_BYTES);
}

/* Accesses of a record at out[0 .. 8); returns how many, -1: the record is bad. */
static inline ssize_t take(const char *bytes, struct access *out)
{
	struct champsim_record record;
	size_t n = 1;

	memcpy(&record, bytes, sizeof(record));
	if (record.is_branch > 1 || record.branch_taken > 1)
		return -1;
	out[0] = (struct access){.address = record.ip, .bytes = 1, .kind = ACCESS_FETCH};
	for (int i = 0; i < NR_LOADS; i++)
		n = add(out, n, record.loads[i], ACCESS_LOAD);
	for (int i = 0; i < NR_STORES; i++)
		n = add(out, n, record.stores[i], ACCESS_STORE);
	return (ssize_t)n;
}

ssize_t champsim_read(struct access_reader *reader, struct access *out, size_t room)
{
	size_t length, used = 0, n = 0;
	const char *bytes;
	int got = text_peek(reader->input, RECORD_BYTES, &bytes, &length);

	if (got <= 0)
		return got;
	if (length < RECORD_BYTES)
		return access_fail(reader, " truncated: the last record has %zu of %d bytes",
				   length, RECORD_BYTES);
	while (used + RECORD_BYTES <= length && n + ACCESS_MIN_ROOM <= room) {
		ssize_t nr = take(bytes + used, out + n);

		if (nr < 0)
			return bad_record(reader);
		n += (size_t)nr;
		used += RECORD_BYTES;
		reader->nr_read++;
	}
	text_skip(reader->input, used);
	return (ssize_t)n;
}

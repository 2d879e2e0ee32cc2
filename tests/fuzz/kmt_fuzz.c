/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a .kmt trace: an error or events, never a crash, a hang or memory without bound.
 * Checksums would keep nearly all mutations out, so what is fed is a file whose checksums are made
 * right first.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "workloads/access.h"
#include "workloads/crc32c.h"
#include "workloads/kmt_format.h"

/* Put the checksums that the bytes should have where they belong, as far as the blocks can be
 * followed. */
static void mend_checksums(uint8_t *bytes, size_t length)
{
	struct kmt_file_header file;
	struct kmt_block_header block;
	size_t at;

	if (length < sizeof(file))
		return;
	memcpy(&file, bytes, sizeof(file));
	if (file.header_bytes < sizeof(file) || file.header_bytes > length)
		return;
	file.checksum = 0;
	file.checksum = crc32c(crc32c(0, &file, sizeof(file)), bytes + sizeof(file),
			       file.header_bytes - sizeof(file));
	memcpy(bytes, &file, sizeof(file));
	for (at = file.header_bytes; length - at >= sizeof(block);
	     at += sizeof(block) + block.stored_bytes) {
		memcpy(&block, bytes + at, sizeof(block));
		if (block.stored_bytes > length - at - sizeof(block))
			return;
		block.checksum = 0;
		block.checksum = crc32c(crc32c(0, &block, sizeof(block)),
					bytes + at + sizeof(block), block.stored_bytes);
		memcpy(bytes + at, &block, sizeof(block));
	}
}

/* The same as a trace of accesses. */
static void read_accesses(int fd)
{
	struct access some[ACCESS_MIN_ROOM];
	char error[KMT_ERROR_SIZE] = "";
	struct access_reader *reader;
	ssize_t n = 0;

	lseek(fd, 0, SEEK_SET);
	reader = access_open_fd(fd, "input", ACCESS_KMT, error);
	while (reader && (n = access_read(reader, some, ACCESS_MIN_ROOM)) > 0)
		for (ssize_t i = 0; i < n; i++)
			if (some[i].kind > ACCESS_STORE || !some[i].bytes)
				abort();
	if ((!reader && !error[0]) || (n < 0 && !access_error(reader)[0]))
		abort();
	access_close(reader);
}

static void read_it(const uint8_t *bytes, size_t length)
{
	int fd = memfd_create("kmt_fuzz", MFD_CLOEXEC);
	struct kmt_event events[64];
	char error[KMT_ERROR_SIZE];
	struct kmt_reader *r;

	if (fd < 0 || write(fd, bytes, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET))
		abort();
	r = kmt_open_fd(fd, "input", error);
	if (r) {
		ssize_t n;

		while ((n = kmt_read(r, events, 64)) > 0)
			;
		/* An error has its line, and stays. */
		if (n < 0 && (!kmt_error(r)[0] || kmt_read(r, events, 64) >= 0))
			abort();
	}
	kmt_close(r);
	read_accesses(fd);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	uint8_t *copy = malloc(length + 1);

	if (!copy)
		return 0;
	memcpy(copy, bytes, length);
	read_it(copy, length);
	mend_checksums(copy, length);
	read_it(copy, length);
	free(copy);
	return 0;
}

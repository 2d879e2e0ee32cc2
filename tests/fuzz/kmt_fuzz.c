/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a .kmt trace: an error or events, never a crash, a hang or memory without bound.
 * Checksums would keep nearly all mutations out, so what is fed is a file whose checksums are made
 * right first.
 */
#include "tests/fuzz/access_fuzz.h"
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

static void read_it(const uint8_t *bytes, size_t length)
{
	int fd = memory_file(bytes, length);
	struct kmt_event events[64];
	char error[KMT_ERROR_SIZE];
	struct kmt_reader *r;

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
	/* The same as a trace of accesses. */
	lseek(fd, 0, SEEK_SET);
	fuzz_accesses(fd, ACCESS_KMT);
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

/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as what a recorded process left: an error, nothing, or a trace, never a crash. Once as
 * they are; once as the words of three chunks, two hot and one in the log, in a file whose header
 * is sound but for its first byte's wishes, since a whole file would be zeros mostly.
 */
#include <errno.h>
#include <string.h>

#include "tests/fuzz/memory_file.h"
#include "workloads/record/merge.h"
#include "workloads/record/raw.h"

static void merge(int fd)
{
	struct record_process process;
	char error[KMT_ERROR_SIZE] = "";
	int result;

	result = record_merge(fd, "input", "/dev/null", NULL, &process, error);
	if (result && result != -ENODATA && !error[0])
		abort();
	close(fd);
}

static void put(int fd, const void *bytes, size_t length, off_t at)
{
	if (pwrite(fd, bytes, length, at) != (ssize_t)length)
		abort();
}

static void merge_words(const uint8_t *bytes, size_t length)
{
	struct raw_header header = {.magic = RAW_MAGIC,
				    .chunk_bytes = RAW_CHUNK_BYTES,
				    .clock_hz = bytes[0] & 1 ? 1 : 2000000000,
				    .base = bytes[0] & 2 ? UINT64_MAX : 100,
				    .first_log = bytes[0] & 4 ? 2 : 3,
				    .nr_hot = bytes[0] & 8 ? UINT64_MAX : 3,
				    .nr_log = bytes[0] & 16 ? UINT64_MAX : 1};
	struct raw_chunk chunk = {RAW_CHUNK_MAGIC, bytes[0] & 32 ? UINT64_MAX - 5 : 100, 0, 1, 2};
	size_t third = length / 3 & ~(size_t)7;
	int fd = memory_file(NULL, 0);

	if (ftruncate(fd, (off_t)4 * RAW_CHUNK_BYTES))
		abort();
	if (third > RAW_CHUNK_BYTES - sizeof(chunk))
		third = RAW_CHUNK_BYTES - sizeof(chunk);
	put(fd, &header, sizeof(header), 0);
	for (int i = 1; i <= 3; i++) {
		off_t at = (off_t)i * RAW_CHUNK_BYTES;

		/* The copy in the log is the second's, or later. */
		chunk.serial = i == 3 && bytes[0] & 64 ? 2 : (u64)i;
		put(fd, &chunk, sizeof(chunk), at);
		put(fd, bytes + (size_t)(i - 1) * third, third, at + (off_t)sizeof(chunk));
	}
	merge(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	merge(memory_file(bytes, length));
	if (length)
		merge_words(bytes, length);
	return 0;
}

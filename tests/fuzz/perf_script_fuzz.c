/* SPDX-License-Identifier: MIT */
/* Any bytes as a perf script text (or what claims to be zstd of one), through to a trace that must
 * then be good. */
#include <string.h>

#include "tests/fuzz/memory_file.h"
#include "workloads/convert.h"

/* What the converter wrote, the reader takes. */
static void read_back(int fd, const struct kmt_counts *counts)
{
	struct kmt_event events[64];
	char error[KMT_ERROR_SIZE];
	struct kmt_reader *r;
	uint64_t nr = 0;
	ssize_t n;

	lseek(fd, 0, SEEK_SET);
	r = kmt_open_fd(fd, "trace", error);
	if (!r)
		abort();
	while ((n = kmt_read(r, events, 64)) > 0)
		nr += (uint64_t)n;
	if (n < 0 || nr != kmt_counts_events(counts))
		abort();
	kmt_close(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct convert_options options = {0};
	char error[KMT_ERROR_SIZE] = "";
	struct kmt_counts counts;
	int in = memory_file(bytes, length), out = memory_file(bytes, 0);

	if (!convert_trace(in, "text", NULL, out, &options, &counts, error))
		read_back(out, &counts);
	else if (!error[0] || strchr(error, '\n'))
		abort();
	close(in);
	close(out);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* See kmt_traces.h. */
#define _GNU_SOURCE
#include "tests/workloads/kmt_traces.h"

#include <sys/mman.h>
#include <unistd.h>

#include "tests/tap/tap.h"

const struct kmt_info trace_info = {
	.time_unit_ns = 1000, .start_time_ns = 12345000, .description = "a test"};

int memory_file(const void *bytes, size_t length)
{
	int fd = memfd_create("kmt_test", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET))
		abort();
	return fd;
}

struct kmt_shape shape_of(enum kmt_kind kind)
{
	return (struct kmt_shape){.kind = (u8)kind,
				  .migratetype = KMT_NO_MOBILITY,
				  .node = KMT_NO_NODE,
				  .cache = KMT_NO_CACHE};
}

struct kmt_writer *writer_to(int fd)
{
	char error[KMT_ERROR_SIZE];
	struct kmt_writer *w = kmt_writer_create_fd(fd, "test.kmt", &trace_info, error);

	if (!w) {
		printf("# %s\n", error);
		abort();
	}
	return w;
}

ssize_t read_all_events(int fd, char error[KMT_ERROR_SIZE])
{
	struct kmt_event events[100];
	struct kmt_reader *r;
	ssize_t n, sum = 0;

	lseek(fd, 0, SEEK_SET);
	r = kmt_open_fd(fd, "test.kmt", error);
	if (!r)
		return -1;
	while ((n = kmt_read(r, events, 100)) > 0)
		sum += n;
	if (n < 0)
		memcpy(error, kmt_error(r), KMT_ERROR_SIZE);
	kmt_close(r);
	return n < 0 ? -1 : sum;
}

int small_trace(void)
{
	int fd = memory_file("", 0);
	struct kmt_writer *w = writer_to(fd);
	struct kmt_shape alloc = shape_of(KMT_CACHE_ALLOC), pages = shape_of(KMT_PAGE_ALLOC);
	struct kmt_shape free_object = shape_of(KMT_CACHE_FREE),
			 free_page = shape_of(KMT_PAGE_FREE);
	struct kmt_shape sized = shape_of(KMT_MALLOC), access_to = shape_of(KMT_ACCESS);
	struct kmt_counts counts = {.null_frees = 7};
	char error[KMT_ERROR_SIZE];
	u32 ids[12], page;

	sized.flags = access_to.flags = KMT_ARG_INLINE;
	alloc.requested = 100;
	alloc.allocated = 104;
	pages.order = 3;
	pages.requested = pages.allocated = 32768;
	pages.gfp = KMT_GFP_MOVABLE | KMT_GFP_ZERO;
	ok_eq(kmt_write_cache(w, "dentry", 6, &alloc.cache), 0);
	for (u32 i = 0; i < 12; i++)
		ok_eq(kmt_write(w, i * 1500, i & 1, 100 + (s32)i / 3, i & 2 ? &sized : &alloc,
				i * 1000, &ids[i]),
		      0);
	ok_eq(kmt_write(w, 99000, 0, -1, &pages, 0, &page), 0);
	ok_eq(kmt_write(w, 99000, 0, -1, &access_to, 64, &ids[3]), 0);
	ok_eq(kmt_write(w, 99000, 0, -1, &free_page, 0, &page), 0);
	for (u32 i = 0; i < 6; i++)
		ok_eq(kmt_write(w, 100000, 1, 7, &free_object, 0, &ids[i * 2]), 0);
	ok_eq(kmt_writer_commit(w, &counts, error), 0);
	return fd;
}

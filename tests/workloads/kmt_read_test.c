/* SPDX-License-Identifier: MIT */
/* The .kmt reader: whatever is not as it was written is an error that says where, never a crash. */
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "tests/tap/tap.h"
#include "tests/workloads/kmt_traces.h"
#include "workloads/crc32c.h"

static void a_small_trace_reads_back(void)
{
	char error[KMT_ERROR_SIZE] = "";
	int fd = small_trace();
	struct kmt_event events[64];
	struct kmt_reader *r;
	u32 nr_shapes;

	ok_eq(read_all_events(fd, error), 21);
	lseek(fd, 0, SEEK_SET);
	r = kmt_open_fd(fd, "test.kmt", error);
	ok(r != NULL, "%s", error);
	ok(!strcmp(kmt_info(r)->description, "a test"), "%s", kmt_info(r)->description);
	ok_eq(kmt_info(r)->start_time_ns, 12345000);
	ok_eq(kmt_read(r, events, 64), 21);
	ok_eq(events[3].time_ns, 4000); /* 4500, cut to the clock's resolution */
	ok_eq(events[3].arg, 3000);
	ok_eq(events[4].arg, 100);
	ok_eq(events[12].tid, -1);
	ok_eq(events[12].order, 3);
	ok_eq(events[13].kind, KMT_ACCESS);
	ok_eq(events[13].arg, 64);
	ok_eq(kmt_shapes(r, &nr_shapes)[events[12].shape].gfp, KMT_GFP_MOVABLE | KMT_GFP_ZERO);
	ok(!strcmp(kmt_cache_name(r, 0), "dentry"), "%s", kmt_cache_name(r, 0));
	ok_eq(kmt_read(r, events, 64), 0);
	ok_eq(kmt_counts(r)->null_frees, 7);
	ok_eq(kmt_counts(r)->kinds[KMT_CACHE_FREE], 6);
	ok_eq(kmt_counts(r)->alive_objects, 6);
	ok_eq(kmt_counts(r)->peak_objects, 12);
	ok_eq(kmt_counts(r)->peak_page_bytes, 32768);
	ok_eq(kmt_counts(r)->alive_pages, 0);
	kmt_close(r);
	close(fd);
}

static u8 *contents(int fd, size_t *length)
{
	struct stat status;
	u8 *bytes;

	fstat(fd, &status);
	*length = (size_t)status.st_size;
	bytes = malloc(*length + 1);
	if (!bytes || pread(fd, bytes, *length, 0) != (ssize_t)*length)
		abort();
	return bytes;
}

static void a_trace_cut_anywhere_is_an_error(void)
{
	char error[KMT_ERROR_SIZE];
	int fd = small_trace();
	size_t length;
	u8 *bytes = contents(fd, &length);

	for (size_t cut = 0; cut < length; cut++) {
		int cut_fd = memory_file(bytes, cut);

		ok(read_all_events(cut_fd, error) < 0, "cut at %zu of %zu", cut, length);
		ok(!strncmp(error, "test.kmt: ", 10) && !strchr(error, '\n'), "%s", error);
		close(cut_fd);
	}
	free(bytes);
	close(fd);
}

static void every_changed_byte_is_an_error(void)
{
	char error[KMT_ERROR_SIZE];
	int fd = small_trace();
	size_t length;
	u8 *bytes = contents(fd, &length);

	for (size_t at = 0; at < length; at++) {
		for (int bit = 0; bit < 8; bit++) {
			int changed;

			bytes[at] ^= (u8)(1 << bit);
			changed = memory_file(bytes, length);
			ok(read_all_events(changed, error) < 0, "bit %d of byte %zu", bit, at);
			close(changed);
			bytes[at] ^= (u8)(1 << bit);
		}
	}
	free(bytes);
	close(fd);
}

static void bytes_behind_the_trailer_are_an_error(void)
{
	char error[KMT_ERROR_SIZE];
	int fd = small_trace();

	lseek(fd, 0, SEEK_END);
	ok_eq(write(fd, "x", 1), 1);
	ok_eq(read_all_events(fd, error), -1);
	ok(strstr(error, "behind the trailer") != NULL, "%s", error);
	close(fd);
}

static void errors_say_what_and_where(void)
{
	char error[KMT_ERROR_SIZE];
	int fd = small_trace(), bad;
	size_t length;
	u8 *bytes = contents(fd, &length);
	size_t first_block = sizeof(struct kmt_file_header) + strlen(trace_info.description);

	bytes[first_block + sizeof(struct kmt_block_header) + 20] ^= 1;
	bad = memory_file(bytes, length);
	ok_eq(read_all_events(bad, error), -1);
	ok(!strcmp(error, "test.kmt: block 0 at byte 46: checksum is wrong"), "%s", error);
	close(bad);

	bytes[8] = 9;
	bad = memory_file(bytes, length);
	ok_eq(read_all_events(bad, error), -1);
	ok(!strcmp(error, "test.kmt: version 9 of the format; this program reads version 1"), "%s",
	   error);
	close(bad);

	bad = memory_file("", 0);
	ok_eq(read_all_events(bad, error), -1);
	ok(!strcmp(error, "test.kmt: the file is empty"), "%s", error);
	close(bad);

	bad = memory_file("once upon a time", 16);
	ok_eq(read_all_events(bad, error), -1);
	ok(!strcmp(error, "test.kmt: not a .kmt trace"), "%s", error);
	close(bad);

	ok(kmt_open("/nonexistent/a.kmt", error) == NULL, "opened");
	ok(!strcmp(error, "/nonexistent/a.kmt: No such file or directory"), "%s", error);
	free(bytes);
	close(fd);
}

/* A trace with a good header, and one block of these bytes with a good checksum. */
static int forged_trace(u32 type, u32 nr_events, u32 claimed_bytes, const void *raw,
			size_t raw_bytes)
{
	size_t room = ZSTD_compressBound(raw_bytes), header_bytes, stored;
	struct kmt_block_header block = {
		.type = type, .nr_events = nr_events, .raw_bytes = claimed_bytes};
	struct kmt_counts counts = {0};
	char error[KMT_ERROR_SIZE];
	int fd = memory_file("", 0);
	u8 *packed = malloc(room);

	if (kmt_writer_commit(writer_to(fd), &counts, error))
		abort();
	header_bytes = sizeof(struct kmt_file_header) + strlen(trace_info.description);
	if (!packed || ftruncate(fd, (off_t)header_bytes) || lseek(fd, 0, SEEK_END) < 0)
		abort();
	stored = ZSTD_compress(packed, room, raw, raw_bytes, 1);
	block.stored_bytes = (u32)stored;
	block.checksum = crc32c(crc32c(0, &block, sizeof(block)), packed, stored);
	if (write(fd, &block, sizeof(block)) != sizeof(block) ||
	    write(fd, packed, stored) != (ssize_t)stored)
		abort();
	free(packed);
	return fd;
}

static void refused(int fd, const char *why)
{
	char error[KMT_ERROR_SIZE] = "";

	ok(read_all_events(fd, error) < 0, "read");
	ok(strstr(error, why) != NULL, "wanted '%s', got '%s'", why, error);
	close(fd);
}

static void a_forged_block_cannot_make_the_reader_trust_it(void)
{
	/* defs: a context, a malloc shape and a free shape; then columns. */
	static const u8 defs[] = {2, 0, 14, 3, 6, 0,   0, 255, 1, 0, 0, 8,
				  0, 3, 10, 0, 0, 255, 1, 0,   0, 0, 0};
	u8 raw[64];
	static u8 zeros[8 << 20];
	size_t n = sizeof(defs);

#define FORGE(heads, contexts, times, ids, behind, ...)                                            \
	(memcpy(raw, (u8[]){(u8)n, heads, contexts, times, ids, 0}, 6), memcpy(raw + 6, defs, n),  \
	 memcpy(raw + 6 + n, (u8[]){__VA_ARGS__}, heads + contexts + times + ids + behind),        \
	 forged_trace(KMT_BLOCK_EVENTS, 1, (u32)(6 + n + heads + contexts + times + ids + behind), \
		      raw, 6 + n + heads + contexts + times + ids + behind))
	/* What is good but for the missing trailer shows that the forgery itself is not what is
	 * refused. */
	refused(FORGE(1, 1, 1, 0, 0, 1, 0, 0), "the trailer is missing");
	refused(FORGE(1, 1, 1, 0, 0, 5, 0, 0), "shape or thread out of range");
	refused(FORGE(1, 1, 1, 0, 0, 1, 9, 0), "shape or thread out of range");
	refused(FORGE(1, 1, 1, 1, 0, 3, 0, 0, 0), "free of object 0, which is not live");
	refused(FORGE(1, 1, 1, 0, 0, 3, 0, 0), "its ids are cut");
	refused(FORGE(1, 0, 1, 0, 0, 1, 0), "its threads are cut");
	refused(FORGE(1, 1, 0, 0, 0, 1, 0), "its events are cut");
	refused(FORGE(1, 1, 1, 1, 0, 1, 0, 0, 0), "behind its last event");
	refused(FORGE(1, 1, 1, 0, 1, 1, 0, 0, 0), "behind its columns");
	refused(FORGE(1, 1, 10, 0, 0, 1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1),
		"time out of range");
	refused(FORGE(1, 1, 10, 0, 0, 1, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2), "cut");
#undef FORGE
	refused(forged_trace(KMT_BLOCK_EVENTS, 1, 100, zeros, sizeof(zeros)), "cannot decompress");
	refused(forged_trace(KMT_BLOCK_EVENTS, 1, 0xffffffff, zeros, 10),
		"larger than a block may be");
	refused(forged_trace(KMT_BLOCK_EVENTS, 0x1000000, 10, zeros, 10),
		"larger than a block may be");
	refused(forged_trace(KMT_BLOCK_EVENTS, 1, 20, zeros, 10), "decompresses to 10 bytes");
	refused(forged_trace(KMT_BLOCK_EVENTS, 1, 6, zeros, 6), "its events are cut");
	refused(forged_trace(KMT_BLOCK_EVENTS, 0, 6, zeros, 6), "without events");
	refused(forged_trace(KMT_BLOCK_EVENTS, 1, 6, "\xff\xff\xff\xff\xff\x01", 6),
		"columns do not fit");
	refused(forged_trace(KMT_BLOCK_TRAILER, 0, 3, "\x80\x02\x01", 3),
		"the trailer tells of 1 kmalloc");
	refused(forged_trace(KMT_BLOCK_TRAILER, 0, 2, "\x0c\x01", 2), "other live objects");
	refused(forged_trace(0x41414141, 0, 2, "\x0c\x01", 2), "no block begins here");
}

int main(void)
{
	RUN(a_small_trace_reads_back);
	RUN(a_trace_cut_anywhere_is_an_error);
	RUN(every_changed_byte_is_an_error);
	RUN(bytes_behind_the_trailer_are_an_error);
	RUN(errors_say_what_and_where);
	RUN(a_forged_block_cannot_make_the_reader_trust_it);
	return done();
}

/* SPDX-License-Identifier: MIT */
/*
 * The .kmt format: what is written is read, and whatever is not as it was written is an error,
 * never a crash. Small traces live in memory files, so that every byte of one can be cut off or
 * changed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "tests/tap/tap.h"
#include "workloads/crc32c.h"
#include "workloads/kmt_format.h"

static const struct kmt_info info = {
	.time_unit_ns = 1000, .start_time_ns = 12345000, .description = "a test"};

static int memory_file(const void *bytes, size_t length)
{
	int fd = memfd_create("kmt_test", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET))
		abort();
	return fd;
}

static struct kmt_shape shape_of(enum kmt_kind kind)
{
	return (struct kmt_shape){.kind = (u8)kind,
				  .migratetype = KMT_NO_MOBILITY,
				  .node = KMT_NO_NODE,
				  .cache = KMT_NO_CACHE};
}

static struct kmt_writer *writer_to(int fd)
{
	char error[KMT_ERROR_SIZE];
	struct kmt_writer *w = kmt_writer_create_fd(fd, "test.kmt", &info, error);

	if (!w) {
		printf("# %s\n", error);
		abort();
	}
	return w;
}

/* Read all of fd: events, or -1 and the error. */
static ssize_t read_all_events(int fd, char error[KMT_ERROR_SIZE])
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

/* Some events of every sort; a few hundred bytes. */
static int small_trace(void)
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
	size_t first_block = sizeof(struct kmt_file_header) + strlen(info.description);

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
	header_bytes = sizeof(struct kmt_file_header) + strlen(info.description);
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

static void the_writer_refuses_what_cannot_be(void)
{
	struct kmt_shape shape = shape_of(KMT_FREE);
	struct kmt_writer *w;
	u32 id = 5;
	int fd;

#define REFUSED(time, cpu, arg, error)                                                             \
	do {                                                                                       \
		fd = memory_file("", 0);                                                           \
		w = writer_to(fd);                                                                 \
		ok_eq(kmt_write(w, time, cpu, 1, &shape, arg, &id), error);                        \
		ok(kmt_writer_error(w)[0], "no line");                                             \
		kmt_writer_abort(w);                                                               \
		close(fd);                                                                         \
	} while (0)
	REFUSED(0, 0, 0, -EINVAL); /* a free of nothing live */
	shape = shape_of(KMT_MALLOC);
	REFUSED(0, 70000, 0, -EINVAL);
	REFUSED(0, 0, 1ULL << 63, -EINVAL);
	shape.requested = 1ULL << 63;
	REFUSED(0, 0, 0, -EINVAL);
	shape = shape_of(KMT_PAGE_ALLOC);
	shape.order = KMT_MAX_ORDER + 1;
	REFUSED(0, 0, 0, -EINVAL);
	shape = shape_of(KMT_CACHE_ALLOC);
	REFUSED(0, 0, 0, -EINVAL); /* no cache */
#undef REFUSED
	fd = memory_file("", 0);
	w = writer_to(fd);
	shape = shape_of(KMT_MALLOC);
	ok_eq(kmt_write(w, 5000, 0, 1, &shape, 0, &id), 0);
	ok_eq(kmt_write(w, 4000, 0, 1, &shape, 0, &id), -EINVAL); /* time goes back */
	kmt_writer_abort(w);
	close(fd);
}

static void ids_are_dense_and_the_last_freed_is_taken_first(void)
{
	struct kmt_shape alloc = shape_of(KMT_MALLOC), release = shape_of(KMT_FREE);
	int fd = memory_file("", 0);
	struct kmt_writer *w = writer_to(fd);
	u32 id, other;

	for (u32 i = 0; i < 5; i++) {
		ok_eq(kmt_write(w, 0, 0, 1, &alloc, 0, &id), 0);
		ok_eq(id, i);
	}
	id = 1;
	ok_eq(kmt_write(w, 0, 0, 1, &release, 0, &id), 0);
	id = 3;
	ok_eq(kmt_write(w, 0, 0, 1, &release, 0, &id), 0);
	ok_eq(kmt_write(w, 0, 0, 1, &alloc, 0, &other), 0);
	ok_eq(other, 3);
	ok_eq(kmt_write(w, 0, 0, 1, &alloc, 0, &other), 0);
	ok_eq(other, 1);
	ok_eq(kmt_write(w, 0, 0, 1, &alloc, 0, &other), 0);
	ok_eq(other, 5);
	kmt_writer_abort(w);
	close(fd);
}

/* One random event, as written. */
struct written {
	struct kmt_event event;
	struct kmt_shape shape;
	char cache[24];
};

static struct written *random_trace(int fd, size_t nr, unsigned long *seed)
{
	struct written *all = calloc(nr, sizeof(*all));
	struct kmt_writer *w = writer_to(fd);
	struct kmt_counts counts = {0};
	char error[KMT_ERROR_SIZE];
	u32 *live = calloc(nr, sizeof(*live)), nr_live = 0;
	u64 now = 0;

	for (size_t i = 0; i < nr; i++) {
		unsigned long r = tap_random(seed), s = tap_random(seed);
		bool release = nr_live && (r & 15) < 7;
		struct kmt_shape shape = shape_of(release  ? KMT_KFREE
						  : r & 16 ? KMT_CACHE_ALLOC
							   : KMT_CALLOC);
		struct written *e = &all[i];
		u64 arg = (s >> 8) % (1UL << (s & 47));
		u32 victim = nr_live ? (u32)(s % nr_live) : 0, id = release ? live[victim] : 0;

		now += (r >> 8) % 3000 * ((r & 32) != 0);
		if (!release) {
			shape.requested = r >> 10 & 1023;
			shape.allocated = shape.requested + 3;
			shape.gfp = (u32)(r >> 20 & 0xffff);
			shape.node = (s32)(r >> 40 & 3) - 1;
		}
		if (shape.kind == KMT_CACHE_ALLOC) {
			snprintf(e->cache, sizeof(e->cache), "cache %lu", r >> 30 & 63);
			if (kmt_write_cache(w, e->cache, strlen(e->cache), &shape.cache))
				abort();
		} else if (!release && r & 64) {
			shape.flags = KMT_ARG_INLINE;
			shape.requested = 0;
		}
		e->event = (struct kmt_event){.time_ns = now / 1000 * 1000,
					      .arg = shape.flags ? arg : shape.requested,
					      .tid = (s32)(s >> 50 & 31) - 1,
					      .cpu = (u16)(s >> 40 & 3),
					      .kind = shape.kind};
		if (kmt_write(w, now, e->event.cpu, e->event.tid, &shape, arg, &id)) {
			ok(false, "event %zu: %s", i, kmt_writer_error(w));
			abort();
		}
		e->event.id = id;
		e->shape = shape;
		if (release)
			live[victim] = live[--nr_live];
		else
			live[nr_live++] = id;
	}
	ok_eq(kmt_writer_commit(w, &counts, error), 0);
	free(live);
	return all;
}

static void random_events_come_back_as_written(void)
{
	const char *wanted = getenv("KMT_TEST_EVENTS");
	size_t nr = wanted ? strtoul(wanted, NULL, 0) : 200000, at = 0;
	unsigned long seed = tap_seed() | 1;
	int fd = memory_file("", 0), wrong = 0;
	struct written *all = random_trace(fd, nr, &seed);
	char error[KMT_ERROR_SIZE];
	struct kmt_event events[777];
	struct kmt_reader *r;
	ssize_t n;

	lseek(fd, 0, SEEK_SET);
	r = kmt_open_fd(fd, "test.kmt", error);
	ok(r != NULL, "%s", error);
	while ((n = kmt_read(r, events, 1 + tap_random(&seed) % 777)) > 0) {
		for (ssize_t i = 0; i < n && wrong < 5; i++, at++) {
			const struct kmt_event *e = &events[i], *x = &all[at].event;
			u32 nr_shapes;
			const struct kmt_shape *shape = &kmt_shapes(r, &nr_shapes)[e->shape];
			struct kmt_shape want = all[at].shape;

			want.cache = shape->cache;
			if (e->time_ns != x->time_ns || e->arg != x->arg || e->id != x->id ||
			    e->tid != x->tid || e->cpu != x->cpu || e->kind != x->kind ||
			    memcmp(shape, &want, sizeof(want)) ||
			    (shape->kind == KMT_CACHE_ALLOC &&
			     strcmp(kmt_cache_name(r, shape->cache), all[at].cache))) {
				ok(false, "event %zu differs", at);
				wrong++;
			}
		}
	}
	ok(n == 0, "%s", kmt_error(r));
	ok_eq(at, nr);
	kmt_close(r);
	free(all);
	close(fd);
}

static void a_trace_gets_its_name_when_it_is_whole(void)
{
	char folder[] = "/tmp/kmt_test.XXXXXX", path[64], error[KMT_ERROR_SIZE];
	struct kmt_counts counts = {0};
	struct kmt_writer *w;

	if (!mkdtemp(folder))
		abort();
	snprintf(path, sizeof(path), "%s/a.kmt", folder);
	w = kmt_writer_create(path, &info, error);
	ok(w && access(path, F_OK), "there too early");
	kmt_writer_abort(w);
	ok(rmdir(folder) == 0, "something was left behind");
	ok(kmt_writer_create(path, &info, error) == NULL, "made without a folder");
	if (mkdir(folder, 0700))
		abort();
	w = kmt_writer_create(path, &info, error);
	ok_eq(kmt_writer_commit(w, &counts, error), 0);
	ok(!access(path, F_OK), "not there");
	unlink(path);
	ok(rmdir(folder) == 0, "something was left behind");
	w = kmt_writer_create("/dev/full", &info, error);
	ok(w == NULL && strstr(error, "No space left"), "%s", w ? "made" : error);
}

static void checksums_are_those_of_the_standard(void)
{
	unsigned long seed = tap_seed() | 1;
	u8 bytes[300];

	ok_eq(crc32c(0, "123456789", 9), 0xe3069283);
	ok_eq(crc32c_portable(0, "123456789", 9), 0xe3069283);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (u8)(tap_random(&seed) >> 32);
	for (size_t n = 0; n < sizeof(bytes); n++) {
		ok_eq(crc32c(0, bytes, n), crc32c_portable(0, bytes, n));
		ok_eq(crc32c(crc32c(0, bytes, n / 3), bytes + n / 3, n - n / 3),
		      crc32c(0, bytes, n));
	}
}

int main(void)
{
	RUN(a_small_trace_reads_back);
	RUN(a_trace_cut_anywhere_is_an_error);
	RUN(every_changed_byte_is_an_error);
	RUN(bytes_behind_the_trailer_are_an_error);
	RUN(errors_say_what_and_where);
	RUN(a_forged_block_cannot_make_the_reader_trust_it);
	RUN(the_writer_refuses_what_cannot_be);
	RUN(ids_are_dense_and_the_last_freed_is_taken_first);
	RUN(random_events_come_back_as_written);
	RUN(a_trace_gets_its_name_when_it_is_whole);
	RUN(checksums_are_those_of_the_standard);
	return done();
}

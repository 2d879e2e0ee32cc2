/* SPDX-License-Identifier: MIT */
/* Access traces: lackey's text and ChampSim's records, what they say and what is wrong with them. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>
#include <zstd.h>

#include "base/compiler.h"
#include "tests/tap/tap.h"
#include "workloads/access.h"

static int memory_file(const void *bytes, size_t length)
{
	int fd = memfd_create("access_test", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, length) != (ssize_t)length || lseek(fd, 0, SEEK_SET))
		abort();
	return fd;
}

/* Read all of it, room accesses at a time. Returns how many there are, -1 for an error. */
static ssize_t read_all(const void *bytes, size_t length, enum access_format format, size_t room,
			struct access *out, size_t out_room, char error[KMT_ERROR_SIZE])
{
	int fd = memory_file(bytes, length);
	struct access_reader *reader = access_open_fd(fd, "trace", format, error);
	struct access some[64];
	ssize_t n = -1, nr = 0;

	while (reader && (n = access_read(reader, some, room)) > 0) {
		for (ssize_t i = 0; i < n; i++, nr++)
			if ((size_t)nr < out_room)
				out[nr] = some[i];
	}
	if (reader && n < 0)
		snprintf(error, KMT_ERROR_SIZE, "%s", access_error(reader));
	access_close(reader);
	close(fd);
	return n < 0 ? -1 : nr;
}

static void is_access(const struct access *access, enum access_kind kind, u64 address, u32 bytes)
{
	ok(access->kind == kind && access->address == address && access->bytes == bytes,
	   "kind %u, address %#llx, %u bytes", access->kind, (unsigned long long)access->address,
	   access->bytes);
}

static const char lackey[] = "==7== Lackey, an example Valgrind tool\n"
			     "==7== \n"
			     "I  0401ab70,3\n"
			     " S 1fff000638,8\n"
			     "\n"
			     " L 0,1\n"
			     "--7-- a warning\n"
			     " M ffffffffffffffff,65535\n"
			     "==7==\n";

static void lackey_tells_kind_address_and_bytes(void)
{
	char error[KMT_ERROR_SIZE] = "";
	struct access got[8];

	ok_eq(read_all(lackey, sizeof(lackey) - 1, ACCESS_DETECT, 64, got, 8, error), 5);
	is_access(&got[0], ACCESS_FETCH, 0x401ab70, 3);
	is_access(&got[1], ACCESS_STORE, 0x1fff000638, 8);
	is_access(&got[2], ACCESS_LOAD, 0, 1);
	is_access(&got[3], ACCESS_LOAD, ~0UL, 65535);
	is_access(&got[4], ACCESS_STORE, ~0UL, 65535);
	ok(!error[0], "%s", error);
}

static void bad_lackey(const char *text, const char *place)
{
	char error[KMT_ERROR_SIZE] = "";

	ok_eq(read_all(text, strlen(text), ACCESS_DETECT, 64, NULL, 0, error), -1);
	ok(!strncmp(error, place, strlen(place)), "%s", error);
	ok(!strchr(error, '\n'), "%s", error);
}

static void a_bad_line_is_named(void)
{
	bad_lackey("I  0401ab70,3\nX  0401ab70,3\n", "trace:2: neither");
	bad_lackey("I  ,3\n", "trace:1: neither");
	bad_lackey("I  12g,3\n", "trace:1: neither");
	bad_lackey("I  12345678901234567,3\n", "trace:1: neither");
	bad_lackey("I  12,\n", "trace:1: neither");
	bad_lackey("I  12,0\n", "trace:1: neither");
	bad_lackey("I  12,65536\n", "trace:1: neither");
	bad_lackey("I  12,3 \n", "trace:1: neither");
	bad_lackey(" I 12,3\n", "trace:1: neither");
	bad_lackey("I\n", "trace:1: neither");
	bad_lackey("I  12,3\nI  12,3", "trace:2: truncated");
	bad_lackey("", "trace:1: the file is empty");
}

static void an_endless_line_is_an_error(void)
{
	size_t length = TEXT_LINE_MAX + 100;
	char *text = malloc(length), error[KMT_ERROR_SIZE] = "";

	if (!text)
		abort();
	memset(text, '=', length);
	ok_eq(read_all(text, length, ACCESS_LACKEY, 64, NULL, 0, error), -1);
	ok(!strncmp(error, "trace:1: neither", 16), "%s", error);
	free(text);
}

struct record {
	u64 ip;
	u8 is_branch, branch_taken, registers[6];
	u64 stores[2], loads[4];
};

static const struct record records[] = {
	{.ip = 0x401000},
	{.ip = 0x401004, .loads = {0x7000, 0, 0x7010}, .stores = {0, 0x8000}},
	{.ip = 0x401008, .is_branch = 1, .branch_taken = 1},
};

static void champsim_tells_fetch_loads_and_stores(void)
{
	char error[KMT_ERROR_SIZE] = "";
	struct access got[8];

	ok_eq(read_all(records, sizeof(records), ACCESS_DETECT, 8, got, 8, error), 6);
	is_access(&got[0], ACCESS_FETCH, 0x401000, 1);
	is_access(&got[1], ACCESS_FETCH, 0x401004, 1);
	is_access(&got[2], ACCESS_LOAD, 0x7000, 1);
	is_access(&got[3], ACCESS_LOAD, 0x7010, 1);
	is_access(&got[4], ACCESS_STORE, 0x8000, 1);
	is_access(&got[5], ACCESS_FETCH, 0x401008, 1);
	ok(!error[0], "%s", error);
}

static void a_bad_record_is_named(void)
{
	char error[KMT_ERROR_SIZE] = "";
	struct record bad[3];

	memcpy(bad, records, sizeof(bad));
	bad[2].branch_taken = 2;
	ok_eq(read_all(bad, sizeof(bad), ACCESS_DETECT, 64, NULL, 0, error), -1);
	ok(!strcmp(error, "trace: record 2 (at byte 128) is not ChampSim's: a flag is not 0 or 1"),
	   "%s", error);
	ok_eq(read_all(records, sizeof(records) - 1, ACCESS_DETECT, 64, NULL, 0, error), -1);
	ok(!strcmp(error, "trace: truncated: the last record has 63 of 64 bytes"), "%s", error);
}

static int kmt_trace(u64 offset)
{
	struct kmt_shape alloc = {.kind = KMT_MALLOC,
				  .flags = KMT_ARG_INLINE,
				  .node = KMT_NO_NODE,
				  .cache = KMT_NO_CACHE},
			 release = alloc, load = alloc, store = alloc;
	struct kmt_info info = {.time_unit_ns = 1};
	struct kmt_counts counts = {0};
	char error[KMT_ERROR_SIZE];
	int fd = memory_file("", 0);
	struct kmt_writer *w = kmt_writer_create_fd(fd, "trace", &info, error);
	u32 a, b, c;

	if (!w)
		abort();
	release.kind = KMT_FREE;
	release.flags = 0;
	load.kind = store.kind = KMT_ACCESS;
	load.requested = store.requested = 8;
	store.flags |= KMT_WRITE;
	ok_eq(kmt_write(w, 0, 0, 1, &alloc, 100, &a), 0);
	ok_eq(kmt_write(w, 0, 0, 1, &alloc, 5000, &b), 0);
	ok_eq(kmt_write(w, 0, 0, 1, &load, 92, &a), 0);
	ok_eq(kmt_write(w, 0, 0, 1, &store, 4096, &b), 0);
	ok_eq(kmt_write(w, 0, 0, 1, &release, 0, &a), 0);
	ok_eq(kmt_write(w, 0, 0, 1, &alloc, 97, &c), 0);
	ok_eq(kmt_write(w, 0, 0, 1, &load, offset, &c), 0);
	ok_eq(kmt_writer_commit(w, &counts, error), 0);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void objects_of_a_kmt_trace_have_places(void)
{
	char error[KMT_ERROR_SIZE] = "";
	struct access got[8];
	int fd = kmt_trace(1);
	struct access_reader *reader = access_open_fd(fd, "trace", ACCESS_DETECT, error);

	ok(reader != NULL, "%s", error);
	if (!reader)
		return;
	ok_eq(access_read(reader, got, 8), 3);
	ok_eq(access_read(reader, got + 3, 8), 0);
	is_access(&got[0], ACCESS_LOAD, (1UL << 32) + 92, 8);
	is_access(&got[1], ACCESS_STORE, (1UL << 32) + 4096 + 4096, 8); /* on pages */
	is_access(&got[2], ACCESS_LOAD, (1UL << 32) + 1, 8);		/* where the first was */
	access_close(reader);
	close(fd);
	fd = kmt_trace(90);
	reader = access_open_fd(fd, "trace", ACCESS_DETECT, error);
	ok(reader && access_read(reader, got, 8) < 0, "an access beyond the object");
	ok(!strcmp(access_error(reader), "trace: 8 bytes at 90 of an object of 97"), "%s",
	   access_error(reader));
	access_close(reader);
	close(fd);
}

/* Many lines, so that every place where a chunk can end is met. */
static size_t long_text(char **text)
{
	size_t length = 0;
	unsigned long seed = 5;

	*text = malloc(2 << 20);
	if (!*text)
		abort();
	for (int i = 0; i < 60000; i++)
		length += (size_t)sprintf(*text + length, "%s%lx,%lu\n", i % 3 ? " L " : "I  ",
					  tap_random(&seed) >> tap_random(&seed) % 60,
					  1 + tap_random(&seed) % 64);
	return length;
}

static void compressed_is_as_plain(void)
{
	char *text, error[KMT_ERROR_SIZE] = "";
	size_t length = long_text(&text), room = ZSTD_compressBound(length), packed_length;
	struct access *plain = calloc(60000, sizeof(*plain)),
		      *packed = calloc(60000, sizeof(*plain));
	char *bytes = malloc(room);

	if (!plain || !packed || !bytes)
		abort();
	packed_length = ZSTD_compress(bytes, room, text, length, 3);
	ok_eq(read_all(text, length, ACCESS_DETECT, 64, plain, 60000, error), 60000);
	ok_eq(read_all(bytes, packed_length, ACCESS_DETECT, 8, packed, 60000, error), 60000);
	ok(!memcmp(plain, packed, 60000 * sizeof(*plain)), "they differ");
	ok_eq(read_all(bytes, packed_length / 2, ACCESS_DETECT, 64, NULL, 0, error), -1);
	ok(strstr(error, "truncated") != NULL, "%s", error);
	free(bytes);
	free(plain);
	free(packed);
	free(text);
}

static void other_compression_is_named(void)
{
	static const char xz[64] = "\xfd"
				   "7zXZ\0";
	static const char gzip[64] = "\x1f\x8b\x08";
	char error[KMT_ERROR_SIZE] = "";

	ok_eq(read_all(xz, sizeof(xz), ACCESS_CHAMPSIM, 64, NULL, 0, error), -1);
	ok(!strcmp(error, "trace: compressed with xz: give it as `xz -dc TRACE' into a pipe"), "%s",
	   error);
	ok_eq(read_all(gzip, sizeof(gzip), ACCESS_DETECT, 64, NULL, 0, error), -1);
	ok(strstr(error, "compressed with gzip") != NULL, "%s", error);
	/* Whoever says that it is ChampSim's may have an instruction at 0x88b1f. */
	ok_eq(read_all(gzip, sizeof(gzip), ACCESS_CHAMPSIM, 64, NULL, 0, error), 1);
}

/* Frames that end where the reader's chunk (a power of two, below 1 MiB) does, one and two of them. */
static void frames_may_end_with_a_chunk(void)
{
	size_t length = 1 << 20, room = ZSTD_compressBound(length), packed_length;
	struct record *many = malloc(length);
	char *bytes = malloc(2 * room), error[KMT_ERROR_SIZE] = "";

	if (!many || !bytes)
		abort();
	for (size_t i = 0; i < length / sizeof(*many); i++)
		many[i] = (struct record){.ip = 0x401000 + i, .loads = {i + 1}};
	for (size_t part = length; part >= 4096; part /= 2) {
		ssize_t nr = (ssize_t)(2 * part / sizeof(*many));

		packed_length = ZSTD_compress(bytes, room, many, part, 1);
		ok_eq(read_all(bytes, packed_length, ACCESS_CHAMPSIM, 64, NULL, 0, error), nr);
		memcpy(bytes + packed_length, bytes, packed_length);
		ok_eq(read_all(bytes, 2 * packed_length, ACCESS_CHAMPSIM, 64, NULL, 0, error),
		      2 * nr);
	}
	free(bytes);
	free(many);
}

int main(void)
{
	RUN(lackey_tells_kind_address_and_bytes);
	RUN(a_bad_line_is_named);
	RUN(an_endless_line_is_an_error);
	RUN(champsim_tells_fetch_loads_and_stores);
	RUN(a_bad_record_is_named);
	RUN(objects_of_a_kmt_trace_have_places);
	RUN(compressed_is_as_plain);
	RUN(other_compression_is_named);
	RUN(frames_may_end_with_a_chunk);
	return done();
}

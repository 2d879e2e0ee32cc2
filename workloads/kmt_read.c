/* SPDX-License-Identifier: MIT */
/*
 * Reads .kmt traces, forward only, one block in memory. Nothing in the file is trusted: lengths are
 * bounded before memory is taken, a block is decompressed only when its checksum is right, and
 * every number is checked against what was defined before it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "workloads/crc32c.h"
#include "workloads/kmt_reader.h"

/* The same about the file's header. */
__attribute__((format(printf, 2, 3))) static int fail_header(struct kmt_reader *r, const char *fmt,
							     ...)
{
	va_list ap;
	int n = snprintf(r->error, sizeof(r->error), "%.300s: ", r->name);

	va_start(ap, fmt);
	vsnprintf(r->error + n, sizeof(r->error) - (size_t)n, fmt, ap);
	va_end(ap);
	r->failed = true;
	return -1;
}

/* Bytes read, fewer than length only at the end of the file; -errno. */
static ssize_t read_all(struct kmt_reader *r, void *bytes, size_t length)
{
	size_t got = 0;

	while (got < length) {
		ssize_t n = read(r->fd, (u8 *)bytes + got, length - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		got += (size_t)n;
	}
	r->offset += got;
	return (ssize_t)got;
}

static int reserve_bytes(u8 **buffer, size_t *room, size_t wanted)
{
	u8 *p;

	if (wanted <= *room)
		return 0;
	p = realloc(*buffer, wanted);
	if (!p)
		return -ENOMEM;
	*buffer = p;
	*room = wanted;
	return 0;
}

static int split_columns(struct kmt_reader *r, size_t raw_bytes)
{
	struct kmt_cursor c = {r->raw, r->raw + raw_bytes};
	u64 bytes[KMT_NR_COLUMNS];

	for (int i = 0; i < KMT_NR_COLUMNS; i++)
		if (!kmt_get(&c, &bytes[i]))
			return kmt_reader_fail(r, "its columns do not fit");
	for (int i = 0; i < KMT_NR_COLUMNS; i++) {
		if (bytes[i] > (u64)(c.end - c.at))
			return kmt_reader_fail(r, "its columns do not fit");
		r->columns[i] = (struct kmt_cursor){c.at, c.at + bytes[i]};
		c.at += bytes[i];
	}
	if (c.at != c.end)
		return kmt_reader_fail(r, "bytes behind its columns");
	return 0;
}

/* The trailer, and nothing behind it. */
static int read_end(struct kmt_reader *r, size_t raw_bytes)
{
	u8 behind;

	if (kmt_read_trailer(r, raw_bytes))
		return -1;
	if (read_all(r, &behind, 1) != 0)
		return kmt_reader_fail(r, "bytes behind the trailer");
	r->ended = true;
	return 0;
}

/* Read, check and decompress the next block, be it of events or the trailer. */
static int read_block(struct kmt_reader *r)
{
	struct kmt_block_header header, zeroed;
	ssize_t got;
	size_t raw;

	if (r->offset != r->block_offset && r->block_offset)
		r->nr_blocks++;
	r->block_offset = r->offset;
	got = read_all(r, &header, sizeof(header));
	if (got < 0)
		return kmt_reader_fail(r, "%s", strerror((int)-got));
	if (!got)
		return kmt_reader_fail(r, "truncated: the trailer is missing");
	if (got < (ssize_t)sizeof(header))
		return kmt_reader_fail(r, "truncated in the block's header");
	if (header.type != KMT_BLOCK_EVENTS && header.type != KMT_BLOCK_TRAILER)
		return kmt_reader_fail(r, "no block begins here");
	if (header.number != r->nr_blocks)
		return kmt_reader_fail(r, "its number is %u", header.number);
	if (header.raw_bytes > KMT_MAX_BLOCK_BYTES || header.nr_events > KMT_MAX_BLOCK_EVENTS ||
	    header.stored_bytes > ZSTD_COMPRESSBOUND(KMT_MAX_BLOCK_BYTES))
		return kmt_reader_fail(r, "larger than a block may be");
	/* Padding: the decoder may look at, but not use, a byte behind the last. */
	if (reserve_bytes(&r->raw, &r->raw_room, (size_t)header.raw_bytes + 16) ||
	    reserve_bytes(&r->stored, &r->stored_room, header.stored_bytes))
		return kmt_reader_fail(r, "no memory for the block");
	got = read_all(r, r->stored, header.stored_bytes);
	if (got < 0)
		return kmt_reader_fail(r, "%s", strerror((int)-got));
	if (got < (ssize_t)header.stored_bytes)
		return kmt_reader_fail(r, "truncated: %u bytes wanted, %zd there",
				       header.stored_bytes, got);
	zeroed = header;
	zeroed.checksum = 0;
	if (crc32c(crc32c(0, &zeroed, sizeof(zeroed)), r->stored, header.stored_bytes) !=
	    header.checksum)
		return kmt_reader_fail(r, "checksum is wrong");
	raw = ZSTD_decompressDCtx(r->zstd, r->raw, header.raw_bytes, r->stored,
				  header.stored_bytes);
	if (ZSTD_isError(raw))
		return kmt_reader_fail(r, "cannot decompress: %s", ZSTD_getErrorName(raw));
	if (raw != header.raw_bytes)
		return kmt_reader_fail(r, "decompresses to %zu bytes, not to %u", raw,
				       header.raw_bytes);
	if (header.type == KMT_BLOCK_TRAILER)
		return read_end(r, raw);
	if (!header.nr_events)
		return kmt_reader_fail(r, "a block without events");
	r->nr_left = header.nr_events;
	return split_columns(r, raw) || kmt_read_definitions(r) ? -1 : 0;
}

/* Decode up to n events of the open block. The state is in locals, so that it stays in
 * registers. */
static ssize_t decode(struct kmt_reader *r, struct kmt_event *events, size_t n)
{
	struct kmt_cursor heads = r->columns[KMT_COL_HEADS], times = r->columns[KMT_COL_TIMES];
	struct kmt_cursor ids = r->columns[KMT_COL_IDS];
	const u32 unit = r->info.time_unit_ns, nr_shapes = r->nr_shapes;
	u64 now = r->now, context = r->context;

	if (n > r->nr_left)
		n = r->nr_left;
	for (size_t i = 0; i < n; i++) {
		struct kmt_event *event = &events[i];
		u64 head, delta, id, arg;
		const struct kmt_step *step;

		if (unlikely(!kmt_get(&heads, &head) || !kmt_get(&times, &delta)))
			return kmt_reader_fail(r, "its events are cut");
		if (unlikely(head & 1 && !kmt_get(&r->columns[KMT_COL_CONTEXTS], &context)))
			return kmt_reader_fail(r, "its threads are cut");
		head >>= 1;
		if (unlikely(head >= nr_shapes || context >= r->nr_contexts))
			return kmt_reader_fail(r, "shape or thread out of range");
		if (unlikely(__builtin_add_overflow(now, delta, &now) || now > INT64_MAX / unit))
			return kmt_reader_fail(r, "time out of range");
		step = &r->steps[head];
		arg = r->shapes[head].requested;
		if (unlikely(step->is_inline && !kmt_get(&r->columns[KMT_COL_ARGS], &arg)))
			return kmt_reader_fail(r, "its arguments are cut");
		if (unlikely(arg > KMT_MAX_SIZE))
			return kmt_reader_fail(r, "size out of range");
		if (step->effect == KMT_ALLOCATES) {
			id = kmt_ids_alloc(&r->account.ids[step->population]);
			if (unlikely(id == KMT_NONE))
				return kmt_reader_fail(r, "no memory for live objects");
		} else {
			if (unlikely(!kmt_get(&ids, &id)))
				return kmt_reader_fail(r, "its ids are cut");
			if (unlikely(!(
				    step->effect == KMT_FREES
					    ? kmt_ids_free(&r->account.ids[step->population], id)
					    : kmt_ids_live(&r->account.ids[step->population], id))))
				return kmt_reader_fail(r, "%s of object %llu, which is not live",
						       kmt_kind_name(step->kind),
						       (unsigned long long)id);
		}
		r->account.kinds[step->kind]++;
		*event = (struct kmt_event){.time_ns = now * unit,
					    .arg = arg,
					    .id = (u32)id,
					    .shape = (u32)head,
					    .tid = r->contexts[context].tid,
					    .cpu = (u16)r->contexts[context].cpu,
					    .kind = step->kind,
					    .order = step->order};
	}
	r->columns[KMT_COL_HEADS] = heads;
	r->columns[KMT_COL_TIMES] = times;
	r->columns[KMT_COL_IDS] = ids;
	r->now = now;
	r->context = context;
	r->nr_left -= (u32)n;
	if (!r->nr_left)
		for (int i = 0; i < KMT_NR_COLUMNS; i++)
			if (r->columns[i].at != r->columns[i].end)
				return kmt_reader_fail(r, "bytes behind its last event");
	return (ssize_t)n;
}

ssize_t kmt_read(struct kmt_reader *r, struct kmt_event *events, size_t n)
{
	if (r->failed)
		return -1;
	while (!r->nr_left && !r->ended)
		if (read_block(r))
			return -1;
	return r->ended || !n ? 0 : decode(r, events, n);
}

static int read_header(struct kmt_reader *r)
{
	struct kmt_file_header header, zeroed;
	ssize_t got = read_all(r, &header, sizeof(header));

	if (got < 0)
		return fail_header(r, "%s", strerror((int)-got));
	if (!got)
		return fail_header(r, "the file is empty");
	if (!kmt_is_trace(&header, (size_t)got))
		return fail_header(r, "not a .kmt trace");
	if (got < 10)
		return fail_header(r, "truncated in the file's header");
	if (header.version != KMT_VERSION)
		return fail_header(r, "version %u of the format; this program reads version %u",
				   header.version, KMT_VERSION);
	if (got < (ssize_t)sizeof(header))
		return fail_header(r, "truncated in the file's header");
	if (header.description_bytes > KMT_MAX_NAME ||
	    header.header_bytes != sizeof(header) + header.description_bytes)
		return fail_header(r, "the file's header has a wrong length");
	got = read_all(r, r->info.description, header.description_bytes);
	if (got < (ssize_t)header.description_bytes)
		return fail_header(r, "truncated in the file's header");
	zeroed = header;
	zeroed.checksum = 0;
	if (crc32c(crc32c(0, &zeroed, sizeof(zeroed)), r->info.description,
		   header.description_bytes) != header.checksum)
		return fail_header(r, "checksum of the file's header is wrong");
	if (!header.time_unit_ns || header.flags)
		return fail_header(r, "the file's header asks for what this program does not know");
	r->info.time_unit_ns = header.time_unit_ns;
	r->info.start_time_ns = header.start_time_ns;
	r->block_offset = 0;
	return 0;
}

struct kmt_reader *kmt_open_fd(int fd, const char *name, char error[KMT_ERROR_SIZE])
{
	struct kmt_reader *r = calloc(1, sizeof(*r));

	if (r) {
		r->fd = fd;
		r->name = strdup(name);
		r->zstd = ZSTD_createDCtx();
		for (int i = 0; i < KMT_NR_POPULATIONS; i++)
			kmt_ids_init(&r->account.ids[i]);
	}
	if (!r || !r->name || !r->zstd) {
		snprintf(error, KMT_ERROR_SIZE, "%.300s: no memory for a trace's buffers", name);
		kmt_close(r);
		return NULL;
	}
	if (read_header(r)) {
		memcpy(error, r->error, KMT_ERROR_SIZE);
		kmt_close(r);
		return NULL;
	}
	return r;
}

struct kmt_reader *kmt_open(const char *path, char error[KMT_ERROR_SIZE])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct kmt_reader *r;

	if (fd < 0) {
		snprintf(error, KMT_ERROR_SIZE, "%.300s: %s", path, strerror(errno));
		return NULL;
	}
	r = kmt_open_fd(fd, path, error);
	if (r)
		r->own_fd = true;
	else
		close(fd);
	return r;
}

void kmt_close(struct kmt_reader *r)
{
	if (!r)
		return;
	if (r->own_fd)
		close(r->fd);
	ZSTD_freeDCtx(r->zstd);
	for (u32 i = 0; i < r->nr_caches; i++)
		free(r->caches[i]);
	for (int i = 0; i < KMT_NR_POPULATIONS; i++)
		free(r->account.ids[i].next);
	free(r->caches);
	free(r->contexts);
	free(r->shapes);
	free(r->steps);
	free(r->raw);
	free(r->stored);
	free(r->name);
	free(r);
}

const char *kmt_error(const struct kmt_reader *r)
{
	return r->error;
}

const struct kmt_info *kmt_info(const struct kmt_reader *r)
{
	return &r->info;
}

const struct kmt_shape *kmt_shapes(const struct kmt_reader *r, u32 *nr_shapes)
{
	*nr_shapes = r->nr_shapes;
	return r->shapes;
}

const char *kmt_cache_name(const struct kmt_reader *r, u32 cache)
{
	return cache < r->nr_caches ? r->caches[cache] : "";
}

u32 kmt_nr_caches(const struct kmt_reader *r)
{
	return r->nr_caches;
}

u32 kmt_nr_ids(const struct kmt_reader *r, enum kmt_population population)
{
	return r->account.ids[population].nr;
}

const struct kmt_counts *kmt_counts(const struct kmt_reader *r)
{
	return &r->counts;
}

bool kmt_is_trace(const void *bytes, size_t length)
{
	return length >= 4 &&
	       !memcmp(bytes, KMT_MAGIC, length < KMT_MAGIC_BYTES ? length : KMT_MAGIC_BYTES);
}

/* SPDX-License-Identifier: MIT */
/*
 * Writes .kmt traces. Events are split into columns as they come; a block's columns are compressed
 * and written when it is full. A trace that gets a name is written under a temporary one first, so
 * a file of that name is whole or not there.
 */
#define _GNU_SOURCE /* asprintf, mkostemp, O_TMPFILE */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "workloads/crc32c.h"
#include "workloads/kmt_writer.h"

#define ZSTD_LEVEL 9

static int write_all(struct kmt_writer *w, const void *bytes, size_t length)
{
	const u8 *p = bytes;

	while (length) {
		ssize_t n = write(w->fd, p, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kmt_writer_fail(w, -errno, "%s", strerror(errno));
		p += n;
		length -= (size_t)n;
	}
	return 0;
}

static int write_block(struct kmt_writer *w, u32 type, u32 nr_events, const u8 *raw,
		       size_t raw_bytes)
{
	struct kmt_block_header header = {.type = type,
					  .nr_events = nr_events,
					  .raw_bytes = (u32)raw_bytes,
					  .number = w->nr_blocks};
	size_t stored =
		ZSTD_compressCCtx(w->zstd, w->stored, w->stored_room, raw, raw_bytes, ZSTD_LEVEL);
	int error;

	if (ZSTD_isError(stored))
		return kmt_writer_fail(w, -EIO, "cannot compress: %s", ZSTD_getErrorName(stored));
	header.stored_bytes = (u32)stored;
	header.checksum = crc32c(crc32c(0, &header, sizeof(header)), w->stored, stored);
	w->nr_blocks++;
	error = write_all(w, &header, sizeof(header));
	return error ? error : write_all(w, w->stored, stored);
}

int kmt_writer_flush(struct kmt_writer *w)
{
	u8 *p = w->raw;
	int error;

	if (!w->nr_events)
		return 0;
	for (int i = 0; i < KMT_NR_COLUMNS; i++)
		p = kmt_put_varint(p, (u64)(w->columns[i].at - w->columns[i].begin));
	for (int i = 0; i < KMT_NR_COLUMNS; i++) {
		struct kmt_column_out *column = &w->columns[i];
		size_t bytes = (size_t)(column->at - column->begin);

		memcpy(p, column->begin, bytes);
		p += bytes;
		column->at = column->begin;
	}
	error = write_block(w, KMT_BLOCK_EVENTS, w->nr_events, w->raw, (size_t)(p - w->raw));
	w->nr_events = 0;
	return error;
}

bool kmt_writer_full(const struct kmt_writer *w)
{
	if (w->nr_events == KMT_MAX_BLOCK_EVENTS)
		return true;
	for (int i = 0; i < KMT_NR_COLUMNS; i++)
		if (w->columns[i].at - w->columns[i].begin >
		    (ptrdiff_t)(COLUMN_BYTES_MAX - 4 * DEF_BYTES_MAX))
			return true;
	return false;
}

static int remember_size(struct kmt_writer *w, enum kmt_population population, u32 id, u64 size)
{
	if (id >= w->sizes_room[population]) {
		u32 room = w->account.ids[population].room;
		u64 *sizes = realloc(w->sizes[population], room * sizeof(*sizes));

		if (!sizes)
			return kmt_writer_fail(w, -ENOMEM, "no memory for live objects");
		w->sizes[population] = sizes;
		w->sizes_room[population] = room;
	}
	w->sizes[population][id] = size;
	w->live_bytes[population] += size;
	if (w->live_bytes[population] > w->peak_bytes[population])
		w->peak_bytes[population] = w->live_bytes[population];
	if (w->account.ids[population].live > w->peak_live[population])
		w->peak_live[population] = w->account.ids[population].live;
	return 0;
}

/* Carry out what the event does to the ids. */
static int apply(struct kmt_writer *w, const struct kmt_shape *shape, u64 size, u32 *id)
{
	enum kmt_population population = kmt_kind_population(shape->kind);
	enum kmt_effect effect = kmt_kind_effect(shape->kind);
	struct kmt_ids *ids = &w->account.ids[population];
	struct kmt_column_out *column = &w->columns[KMT_COL_IDS];

	if (effect == KMT_ALLOCATES) {
		*id = kmt_ids_alloc(ids);
		if (*id == KMT_NONE)
			return kmt_writer_fail(w, -ENOMEM, "no memory for live objects");
		return remember_size(w, population, *id, size);
	}
	if (!kmt_ids_live(ids, *id))
		return kmt_writer_fail(w, -EINVAL, "%s of object %u, which is not live",
				       kmt_kind_name(shape->kind), *id);
	column->at = kmt_put_varint(column->at, *id);
	if (shape->kind == KMT_ACCESS)
		return 0;
	w->live_bytes[population] -= w->sizes[population][*id];
	if (effect == KMT_TOUCHES)
		return remember_size(w, population, *id, size);
	kmt_ids_free(ids, *id);
	return 0;
}

int kmt_write(struct kmt_writer *w, u64 time_ns, u32 cpu, s32 tid, const struct kmt_shape *shape,
	      u64 arg, u32 *id)
{
	bool is_inline = shape->flags & KMT_ARG_INLINE;
	struct kmt_column_out *columns = w->columns;
	u64 time = time_ns / w->time_unit_ns;
	u32 number = 0, context = 0;
	int error;

	if (kmt_writer_full(w) && (error = kmt_writer_flush(w)))
		return error;
	if (time_ns > INT64_MAX)
		return kmt_writer_fail(w, -EINVAL, "time %llu ns is out of range",
				       (unsigned long long)time_ns);
	if (time < w->now)
		return kmt_writer_fail(w, -EINVAL, "time goes back");
	if (cpu > KMT_MAX_CPU)
		return kmt_writer_fail(w, -EINVAL, "CPU %u is out of range", cpu);
	if (arg > KMT_MAX_SIZE)
		return kmt_writer_fail(w, -EINVAL, "size %llu is out of range",
				       (unsigned long long)arg);
	if ((error = kmt_find_context(w, cpu, tid, &context)) ||
	    (error = kmt_find_shape(w, shape, &number)) ||
	    (error = apply(w, shape, is_inline ? arg : shape->requested, id)))
		return error;

	/* The first event of a block says its context, whatever came before. */
	bool switches = context != w->context || !w->nr_events;

	columns[KMT_COL_HEADS].at =
		kmt_put_varint(columns[KMT_COL_HEADS].at, (u64)number << 1 | switches);
	if (switches)
		columns[KMT_COL_CONTEXTS].at =
			kmt_put_varint(columns[KMT_COL_CONTEXTS].at, context);
	columns[KMT_COL_TIMES].at = kmt_put_varint(columns[KMT_COL_TIMES].at, time - w->now);
	if (is_inline)
		columns[KMT_COL_ARGS].at = kmt_put_varint(columns[KMT_COL_ARGS].at, arg);
	w->context = context;
	w->now = time;
	w->nr_events++;
	w->account.kinds[shape->kind]++;
	return 0;
}

static int write_trailer(struct kmt_writer *w, struct kmt_counts *counts)
{
	u8 *p = w->raw;

	memcpy(counts->kinds, w->account.kinds, sizeof(counts->kinds));
	counts->alive_objects = w->account.ids[KMT_OBJECTS].live;
	counts->alive_pages = w->account.ids[KMT_PAGES].live;
	counts->alive_object_bytes = w->live_bytes[KMT_OBJECTS];
	counts->alive_page_bytes = w->live_bytes[KMT_PAGES];
	counts->peak_objects = w->peak_live[KMT_OBJECTS];
	counts->peak_pages = w->peak_live[KMT_PAGES];
	counts->peak_object_bytes = w->peak_bytes[KMT_OBJECTS];
	counts->peak_page_bytes = w->peak_bytes[KMT_PAGES];
	counts->duration_ns = w->now * w->time_unit_ns;
	for (u32 kind = 0; kind < KMT_NR_KINDS; kind++) {
		p = kmt_put_varint(p, KMT_KIND_TAG + kind);
		p = kmt_put_varint(p, counts->kinds[kind]);
	}
#define X(tag, field, text)                                                                        \
	p = kmt_put_varint(p, tag);                                                                \
	p = kmt_put_varint(p, counts->field);
	KMT_COUNTS(X)
#undef X
	return write_block(w, KMT_BLOCK_TRAILER, 0, w->raw, (size_t)(p - w->raw));
}

static int write_header(struct kmt_writer *w, const struct kmt_info *info)
{
	struct kmt_file_header header = {
		.magic = KMT_MAGIC,
		.version = KMT_VERSION,
		.time_unit_ns = info->time_unit_ns,
		.start_time_ns = info->start_time_ns,
		.description_bytes = (u32)strlen(info->description),
	};
	int error;

	header.header_bytes = (u32)sizeof(header) + header.description_bytes;
	header.checksum = crc32c(crc32c(0, &header, sizeof(header)), info->description,
				 header.description_bytes);
	error = write_all(w, &header, sizeof(header));
	return error ? error : write_all(w, info->description, header.description_bytes);
}

static void writer_free(struct kmt_writer *w)
{
	if (w->own_fd && w->fd >= 0)
		close(w->fd);
	ZSTD_freeCCtx(w->zstd);
	for (int i = 0; i < KMT_NR_COLUMNS; i++)
		free(w->columns[i].begin);
	for (int i = 0; i < KMT_NR_POPULATIONS; i++) {
		free(w->account.ids[i].next);
		free(w->sizes[i]);
	}
	free(w->raw);
	free(w->stored);
	free(w->shapes);
	free(w->contexts);
	free(w->caches);
	free(w->shape_index.slots);
	free(w->context_index.slots);
	free(w->cache_index.slots);
	free(w->temporary);
	free(w->name);
	free(w);
}

static struct kmt_writer *writer_new(int fd, const char *name, const struct kmt_info *info)
{
	struct kmt_writer *w = calloc(1, sizeof(*w));
	bool whole;

	if (!w)
		return NULL;
	w->fd = fd;
	w->name = strdup(name);
	w->time_unit_ns = info->time_unit_ns;
	w->zstd = ZSTD_createCCtx();
	w->raw = malloc(KMT_MAX_BLOCK_BYTES);
	w->stored_room = ZSTD_compressBound(KMT_MAX_BLOCK_BYTES);
	w->stored = malloc(w->stored_room);
	whole = w->name && w->zstd && w->raw && w->stored;
	for (int i = 0; i < KMT_NR_COLUMNS; i++) {
		w->columns[i].begin = w->columns[i].at = malloc(COLUMN_BYTES_MAX);
		whole &= w->columns[i].begin != NULL;
	}
	for (int i = 0; i < KMT_NR_POPULATIONS; i++)
		kmt_ids_init(&w->account.ids[i]);
	if (!whole) {
		writer_free(w);
		return NULL;
	}
	return w;
}

struct kmt_writer *kmt_writer_create_fd(int fd, const char *name, const struct kmt_info *info,
					char error[KMT_ERROR_SIZE])
{
	struct kmt_writer *w = writer_new(fd, name, info);

	if (!w) {
		snprintf(error, KMT_ERROR_SIZE, "%.300s: no memory for a trace's buffers", name);
		return NULL;
	}
	if (write_header(w, info)) {
		memcpy(error, w->error, KMT_ERROR_SIZE);
		writer_free(w);
		return NULL;
	}
	return w;
}

/*
 * Open a file to be named later. Best one without any name, which is gone when this process is,
 * however it ends; where the file system has none, one under a temporary name. *temporary is a name
 * beside path, to be freed.
 */
static int open_temporary(const char *path, char **temporary, bool *nameless)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	mode_t mask = umask(0);
	int fd = -1;

	umask(mask);
	if (folder && asprintf(temporary, "%s.XXXXXX", path) < 0)
		*temporary = NULL;
	if (folder && *temporary) {
		fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
		*nameless = fd >= 0;
		if (fd < 0 && (fd = mkostemp(*temporary, O_CLOEXEC)) >= 0)
			fchmod(fd, 0666 & ~mask);
	}
	free(folder);
	return fd;
}

struct kmt_writer *kmt_writer_create(const char *path, const struct kmt_info *info,
				     char error[KMT_ERROR_SIZE])
{
	struct kmt_writer *w;
	struct stat status;
	char *temporary = NULL;
	bool nameless = false;
	int fd;

	if (!stat(path, &status) && !S_ISREG(status.st_mode))
		fd = open(path, O_WRONLY | O_CLOEXEC);
	else
		fd = open_temporary(path, &temporary, &nameless);
	if (fd < 0) {
		snprintf(error, KMT_ERROR_SIZE, "%.300s: %s", path, strerror(errno));
		free(temporary);
		return NULL;
	}
	w = kmt_writer_create_fd(fd, path, info, error);
	if (!w) {
		close(fd);
		if (temporary && !nameless)
			unlink(temporary);
		free(temporary);
		return NULL;
	}
	w->own_fd = true;
	w->temporary = temporary;
	w->nameless = nameless;
	return w;
}

/* Give a nameless file its temporary name: mkstemp finds one that is free, and linkat takes it
 * over. */
static int name_file(struct kmt_writer *w)
{
	char open_file[64];
	int fd = mkostemp(w->temporary, O_CLOEXEC);

	if (fd < 0)
		return -1;
	close(fd);
	unlink(w->temporary);
	snprintf(open_file, sizeof(open_file), "/proc/self/fd/%d", w->fd);
	if (linkat(AT_FDCWD, open_file, AT_FDCWD, w->temporary, AT_SYMLINK_FOLLOW))
		return -1;
	w->nameless = false;
	return 0;
}

int kmt_writer_commit(struct kmt_writer *w, struct kmt_counts *counts, char error[KMT_ERROR_SIZE])
{
	int result = kmt_writer_flush(w);

	if (!result)
		result = write_trailer(w, counts);
	if (!result && w->nameless && name_file(w))
		result = kmt_writer_fail(w, -errno, "%s", strerror(errno));
	if (!result && w->own_fd) {
		int fd = w->fd;

		w->fd = -1;
		/* The file system's last chance to say that the disk is full. */
		if (close(fd) || (w->temporary && rename(w->temporary, w->name)))
			result = kmt_writer_fail(w, -errno, "%s", strerror(errno));
	}
	if (result) {
		memcpy(error, w->error, KMT_ERROR_SIZE);
		kmt_writer_abort(w);
		return result;
	}
	writer_free(w);
	return 0;
}

void kmt_writer_abort(struct kmt_writer *w)
{
	if (!w)
		return;
	if (w->temporary && !w->nameless)
		unlink(w->temporary);
	writer_free(w);
}

const char *kmt_writer_error(const struct kmt_writer *w)
{
	return w->error;
}

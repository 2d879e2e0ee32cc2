/* SPDX-License-Identifier: MIT */
/*
 * See merge.h. The objects of the trace are found by address, as in convert.c; a realloc's object
 * is without one between its two halves, and waits in the run that has the event.
 */
#include "workloads/record/merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "workloads/live_map.h"
#include "workloads/record/chunks.h"

/* Sizes beyond seldom repeat: they are written with each event instead of as shapes. */
#define SHAPE_SIZE_MAX 4096

struct merge {
	const char *name, *out;
	const struct raw_header *header; /* as it was read, and held to be sound */
	struct raw_chunks chunks;
	struct kmt_writer *writer; /* NULL until the first event */
	struct record_process *process;
	struct live_map objects; /* address -> id */
	u64 now;		 /* the clock, from the first event; never back */
	u64 begin;
	u32 cpu;
	s32 tid;
	char *error;
};

static int no_memory(struct merge *m)
{
	snprintf(m->error, KMT_ERROR_SIZE, "no memory for live objects");
	return -ENOMEM;
}

static int cannot_read(struct merge *m, int error)
{
	snprintf(m->error, KMT_ERROR_SIZE, "%.300s: %s", m->name, strerror(-error));
	return error;
}

/* Clock ticks in ns, for 500 years. */
static u64 ticks_ns(const struct merge *m, u64 ticks)
{
	return (u64)((unsigned __int128)ticks * 1000000000 / m->header->clock_hz);
}

static int begin(struct merge *m, u64 clock)
{
	const struct raw_header *header = m->header;
	struct kmt_info info = {.time_unit_ns = 1};

	m->begin = m->now = clock;
	info.start_time_ns =
		header->base_ns + (clock > header->base ? ticks_ns(m, clock - header->base) : 0);
	snprintf(info.description, sizeof(info.description), "%.200s (pid %d)", m->process->command,
		 m->process->pid);
	m->writer = kmt_writer_create(m->out, &info, m->error);
	return m->writer ? 0 : -EIO;
}

static int put(struct merge *m, enum kmt_kind kind, u32 align, u64 size, u8 flags, u32 *id)
{
	bool own_shape = size <= SHAPE_SIZE_MAX;
	struct kmt_shape shape = {.kind = (u8)kind,
				  .flags = flags | (own_shape ? 0 : KMT_ARG_INLINE),
				  .order = (u8)align,
				  .migratetype = KMT_NO_MOBILITY,
				  .node = KMT_NO_NODE,
				  .cache = KMT_NO_CACHE,
				  .requested = own_shape ? size : 0};
	int error = kmt_write(m->writer, ticks_ns(m, m->now - m->begin), m->cpu, m->tid, &shape,
			      own_shape ? 0 : size, id);

	if (error)
		memcpy(m->error, kmt_writer_error(m->writer), KMT_ERROR_SIZE);
	return error;
}

/* Something is at this address from now on: what was before is gone, whether we saw it or not. */
static int make_free(struct merge *m, u64 address)
{
	u32 id = live_map_get(&m->objects, address);

	if (id == LIVE_MAP_NONE)
		return 0;
	m->process->counts.missed_object_frees++;
	live_map_remove(&m->objects, address);
	return put(m, KMT_FREE, 0, 0, KMT_IMPLIED, &id);
}

static int allocate(struct merge *m, const struct raw_record *r, enum kmt_kind kind)
{
	u32 id;
	int error;

	if (!r->address) {
		m->process->counts.failed_allocs++;
		return 0;
	}
	if (r->size > KMT_MAX_SIZE || r->align > 47) {
		m->process->counts.other_events++;
		return 0;
	}
	error = make_free(m, r->address);
	if (!error)
		error = put(m, kind, r->align, r->size, 0, &id);
	if (error)
		return error;
	return live_map_add(&m->objects, r->address, id) ? no_memory(m) : 0;
}

static int release(struct merge *m, u64 address)
{
	u32 id = live_map_get(&m->objects, address);

	if (!address) {
		m->process->counts.null_frees++;
		return 0;
	}
	if (id == LIVE_MAP_NONE) {
		m->process->counts.unknown_object_frees++;
		return 0;
	}
	live_map_remove(&m->objects, address);
	return put(m, KMT_FREE, 0, 0, 0, &id);
}

/* Put an object where realloc has moved it, or left it. */
static int place(struct merge *m, u64 address, u32 id)
{
	int error = make_free(m, address);

	if (error)
		return error;
	return live_map_add(&m->objects, address, id) ? no_memory(m) : 0;
}

static int begin_realloc(struct merge *m, struct raw_run *run)
{
	u64 old = run->record.address;

	run->realloc_id = live_map_get(&m->objects, old);
	run->realloc_old = old;
	m->process->counts.unknown_object_frees += run->realloc_id == LIVE_MAP_NONE;
	live_map_remove(&m->objects, old);
	return 0;
}

static int end_realloc(struct merge *m, const struct raw_run *run)
{
	const struct raw_record *r = &run->record;
	u32 id = run->realloc_id;
	int error;

	if (!r->address && !r->size)
		return id == LIVE_MAP_NONE ? 0 : put(m, KMT_FREE, 0, 0, 0, &id);
	if (!r->address || r->size > KMT_MAX_SIZE) {
		m->process->counts.failed_allocs++;
		return id == LIVE_MAP_NONE ? 0 : place(m, run->realloc_old, id);
	}
	/* An object from before the recording begins with its new size. */
	if (id == LIVE_MAP_NONE)
		return allocate(m, r, KMT_MALLOC);
	error = place(m, r->address, id);
	return error ? error : put(m, KMT_REALLOC, 0, r->size, 0, &id);
}

static int apply(struct merge *m, struct raw_run *run)
{
	const struct raw_record *r = &run->record;

	switch (r->kind) {
	case RAW_MALLOC:
		return allocate(m, r, KMT_MALLOC);
	case RAW_CALLOC:
		return allocate(m, r, KMT_CALLOC);
	case RAW_MEMALIGN:
		return allocate(m, r, KMT_MEMALIGN);
	case RAW_FREE:
		return release(m, r->address);
	case RAW_OLD:
		return begin_realloc(m, run);
	default:
		return end_realloc(m, run);
	}
}

static int merge_events(struct merge *m, const volatile sig_atomic_t *stop)
{
	struct raw_run *run;
	int result;

	while ((result = raw_chunks_peek(&m->chunks, &run)) > 0) {
		const struct raw_record *r = &run->record;

		if (!m->writer && (result = begin(m, r->clock)))
			return result;
		if (r->clock > m->now)
			m->now = r->clock;
		m->cpu = r->cpu;
		m->tid = r->tid;
		m->process->counts.source_lines += r->kind != RAW_OLD;
		result = apply(m, run);
		if (result)
			return result;
		if (stop && *stop) {
			snprintf(m->error, KMT_ERROR_SIZE, "interrupted");
			return -EINTR;
		}
		raw_chunks_pass(&m->chunks);
	}
	if (result < 0)
		return cannot_read(m, result);
	return m->writer ? 0 : -ENODATA;
}

/* --- files --- */

static int bad(const char *name, const char *what, char error[KMT_ERROR_SIZE])
{
	snprintf(error, KMT_ERROR_SIZE, "%.300s: %s", name, what);
	return -EINVAL;
}

static int read_header(int fd, const char *name, struct raw_header *header,
		       char error[KMT_ERROR_SIZE])
{
	ssize_t n = pread(fd, header, sizeof(*header), 0);

	if (n < 0)
		return bad(name, strerror(errno), error);
	if (n != sizeof(*header))
		return n ? bad(name, "is cut off in its header", error) : -ENODATA;
	if (!header->magic[0])
		return -ENODATA; /* begun, and never used */
	if (memcmp(header->magic, RAW_MAGIC, sizeof(header->magic)))
		return bad(name, "is no raw recording of this version", error);
	if (header->chunk_bytes != RAW_CHUNK_BYTES || !header->clock_hz || !header->nr_hot ||
	    !header->first_log)
		return bad(name, "has a header that cannot be", error);
	return 0;
}

static void describe(const struct raw_header *header, struct record_process *process)
{
	*process = (struct record_process){.pid = header->pid,
					   .parent = header->parent,
					   .image = header->image,
					   .lost = READ_ONCE(header->lost)};
	for (size_t i = 0; i < sizeof(process->command) - 1 && header->command[i]; i++) {
		unsigned char c = (unsigned char)header->command[i];

		process->command[i] = c < ' ' || c == 127 ? '?' : (char)c;
	}
}

int record_describe(int fd, const char *name, struct record_process *process,
		    char error[KMT_ERROR_SIZE])
{
	struct raw_header header;
	int result = read_header(fd, name, &header, error);

	if (!result)
		describe(&header, process);
	return result;
}

int record_merge(int fd, const char *name, const char *out, const volatile sig_atomic_t *stop,
		 struct record_process *process, char error[KMT_ERROR_SIZE])
{
	struct merge m = {.name = name, .out = out, .process = process, .error = error};
	struct raw_header header;
	struct stat status;
	int result = read_header(fd, name, &header, error);

	if (result)
		return result;
	describe(&header, process);
	if (fstat(fd, &status))
		return bad(name, strerror(errno), error);
	/* A file of less than a chunk has a header, no more. */
	if (status.st_size < RAW_CHUNK_BYTES)
		return -ENODATA;
	m.header = &header;
	result = raw_chunks_begin(&m.chunks, fd);
	result = result ? cannot_read(&m, result) : merge_events(&m, stop);
	raw_chunks_end(&m.chunks);
	if (result)
		kmt_writer_abort(m.writer);
	else
		result = kmt_writer_commit(m.writer, &process->counts, error);
	live_map_free(&m.objects);
	return result;
}

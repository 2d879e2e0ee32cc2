/* SPDX-License-Identifier: MIT */
/*
 * See convert.h. Both sources end in allocate(), free_object() and free_pages_at(), which keep what
 * is live where: objects by address in one map; pages by frame number in another, every frame of a
 * block, so that an allocation over a part of a live block is seen for what it is.
 */
#include "workloads/convert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "workloads/live_map.h"
#include "workloads/perf_script.h"
#include "workloads/text_input.h"

/* A live block of pages, by its id. */
struct block {
	u64 pfn;
	u32 pages_left; /* of 1 << order */
	u8 order;
};

struct conversion {
	const struct convert_options *options;
	const char *out;
	int out_fd;
	struct kmt_writer *writer; /* NULL until the first event says when the trace begins */
	struct kmt_counts counts;
	u64 begin_ns;
	u64 time_ns; /* of the current event, from begin_ns */
	u32 cpu;
	s32 tid;
	u64 arg;  /* an allocation's size where its shape has none */
	u8 flags; /* a free's KMT_IMPLIED */

	struct live_map objects; /* address -> id */
	struct live_map frames;	 /* frame number -> id of its block */
	struct block *blocks;
	u32 blocks_room;
	char *error; /* KMT_ERROR_SIZE bytes; the sources add file and line */
};

static int put(struct conversion *c, const struct kmt_shape *shape, u64 arg, u32 *id)
{
	int error = kmt_write(c->writer, c->time_ns, c->cpu, c->tid, shape, arg, id);

	if (error)
		memcpy(c->error, kmt_writer_error(c->writer), KMT_ERROR_SIZE);
	return error;
}

static int no_memory(struct conversion *c)
{
	snprintf(c->error, KMT_ERROR_SIZE, "no memory for live objects");
	return -ENOMEM;
}

static int put_free(struct conversion *c, enum kmt_kind kind, u8 flags, u8 order, u32 id)
{
	struct kmt_shape shape = {.kind = kind,
				  .flags = flags,
				  .order = order,
				  .migratetype = KMT_NO_MOBILITY,
				  .node = KMT_NO_NODE,
				  .cache = KMT_NO_CACHE};

	return put(c, &shape, 0, &id);
}

static enum kmt_kind free_of(enum kmt_kind alloc)
{
	return alloc == KMT_CACHE_ALLOC ? KMT_CACHE_FREE
	       : alloc == KMT_KMALLOC	? KMT_KFREE
					: KMT_FREE;
}

static int allocate_object(struct conversion *c, u64 address, const struct kmt_shape *shape)
{
	u32 id = live_map_get(&c->objects, address);
	int error;

	if (!address) {
		c->counts.failed_allocs++;
		return 0;
	}
	if (id != LIVE_MAP_NONE) {
		c->counts.missed_object_frees++;
		live_map_remove(&c->objects, address);
		error = put_free(c, free_of(shape->kind), KMT_IMPLIED, 0, id);
		if (error)
			return error;
	}
	error = put(c, shape, c->arg, &id);
	if (error)
		return error;
	return live_map_add(&c->objects, address, id) ? no_memory(c) : 0;
}

static int free_object(struct conversion *c, u64 address, enum kmt_kind kind)
{
	u32 id = live_map_get(&c->objects, address);

	if (!address) {
		c->counts.null_frees++;
		return 0;
	}
	if (id == LIVE_MAP_NONE) {
		c->counts.unknown_object_frees++;
		return 0;
	}
	live_map_remove(&c->objects, address);
	return put_free(c, kind, c->flags, 0, id);
}

/* Forget what is left of a block, and say that it is free. */
static int end_block(struct conversion *c, u32 id, u8 flags)
{
	struct block *block = &c->blocks[id];

	/* A frame of it that was freed alone may belong to another block by now. */
	for (u64 i = 0; block->pages_left && i < 1ULL << block->order; i++) {
		if (live_map_get(&c->frames, block->pfn + i) != id)
			continue;
		live_map_remove(&c->frames, block->pfn + i);
		block->pages_left--;
	}
	return put_free(c, KMT_PAGE_FREE, flags, block->order, id);
}

static int allocate_pages(struct conversion *c, u64 pfn, const struct kmt_shape *shape)
{
	u64 nr_pages = 1ULL << shape->order;
	int error;
	u32 id;

	if (!pfn || pfn == UINT64_MAX) {
		c->counts.failed_allocs++;
		return 0;
	}
	for (u64 i = 0; i < nr_pages; i++) {
		id = live_map_get(&c->frames, pfn + i);
		if (id == LIVE_MAP_NONE)
			continue;
		c->counts.missed_page_frees++;
		error = end_block(c, id, KMT_IMPLIED);
		if (error)
			return error;
	}
	error = put(c, shape, 0, &id);
	if (error)
		return error;
	if (id >= c->blocks_room) {
		u32 room = id < 512 ? 1024 : id * 2;
		struct block *blocks = realloc(c->blocks, room * sizeof(*blocks));

		if (!blocks)
			return no_memory(c);
		c->blocks = blocks;
		c->blocks_room = room;
	}
	c->blocks[id] = (struct block){pfn, (u32)nr_pages, shape->order};
	for (u64 i = 0; i < nr_pages; i++)
		if (live_map_add(&c->frames, pfn + i, id))
			return no_memory(c);
	return 0;
}

/* A free may be of a whole block, of a part of one, or reach over several. */
static int free_pages_at(struct conversion *c, u64 pfn, u32 order)
{
	bool known = false, split = false;
	int error = 0;

	for (u64 i = 0; !error && i < 1ULL << order; i++) {
		u32 id = live_map_get(&c->frames, pfn + i);
		struct block *block;

		if (id == LIVE_MAP_NONE)
			continue;
		known = true;
		block = &c->blocks[id];
		if (block->pfn == pfn && block->order == order && block->pages_left == 1U << order)
			return end_block(c, id, c->flags);
		split = true;
		live_map_remove(&c->frames, pfn + i);
		if (!--block->pages_left)
			error = end_block(c, id, 0);
	}
	c->counts.unknown_page_frees += !known;
	c->counts.split_page_frees += split;
	return error;
}

static int begin(struct conversion *c, const char *source, u64 begin_ns, u32 time_unit_ns)
{
	struct kmt_info info = {.time_unit_ns = time_unit_ns, .start_time_ns = begin_ns};
	const char *description = c->options->description ? c->options->description : source;

	snprintf(info.description, sizeof(info.description), "%s", description);
	c->begin_ns = begin_ns;
	c->writer = c->out ? kmt_writer_create(c->out, &info, c->error)
			   : kmt_writer_create_fd(c->out_fd, "temporary trace", &info, c->error);
	return c->writer ? 0 : -EIO;
}

/* --- perf script text --- */

static int perf_cache(struct conversion *c, const struct perf_event *event, u32 *cache)
{
	char unnamed[32];
	const char *name = event->name;
	size_t length = event->name_length;
	int error;

	if (!name) {
		/* Kernels before 6.1 do not say which: take one cache a size. */
		length = (size_t)snprintf(unnamed, sizeof(unnamed), "unnamed-%llu",
					  (unsigned long long)event->allocated);
		name = unnamed;
	}
	error = kmt_write_cache(c->writer, name, length, cache);
	if (error)
		memcpy(c->error, kmt_writer_error(c->writer), KMT_ERROR_SIZE);
	return error;
}

static int perf_alloc(struct conversion *c, const struct perf_event *event)
{
	struct kmt_shape shape = {.kind = KMT_KMALLOC,
				  .migratetype = KMT_NO_MOBILITY,
				  .node = event->node < KMM_MAX_NODES ? event->node : KMT_NO_NODE,
				  .gfp = event->gfp,
				  .cache = KMT_NO_CACHE,
				  .requested = event->requested,
				  .allocated = event->allocated};

	if (event->kind == PERF_PAGE_ALLOC) {
		shape.kind = KMT_PAGE_ALLOC;
		shape.order = (u8)event->order;
		if (event->migratetype >= 0 && event->migratetype < (s32)KMT_NO_MOBILITY)
			shape.migratetype = (u8)event->migratetype;
		shape.requested = shape.allocated = PAGE_SIZE << event->order;
		return allocate_pages(c, event->address, &shape);
	}
	if (event->kind == PERF_CACHE_ALLOC) {
		int error = perf_cache(c, event, &shape.cache);

		if (error)
			return error;
		shape.kind = KMT_CACHE_ALLOC;
	}
	return allocate_object(c, event->address, &shape);
}

static int perf_apply(struct conversion *c, const struct perf_event *event)
{
	switch (event->kind) {
	case PERF_KMALLOC:
	case PERF_CACHE_ALLOC:
	case PERF_PAGE_ALLOC:
		return perf_alloc(c, event);
	case PERF_KFREE:
		return free_object(c, event->address, KMT_KFREE);
	case PERF_CACHE_FREE:
		return free_object(c, event->address, KMT_CACHE_FREE);
	case PERF_PAGE_FREE:
		return free_pages_at(c, event->address, event->order);
	case PERF_PAGE_FREE_BATCHED:
		c->counts.page_free_batched++;
		return 0;
	case PERF_PCPU_DRAIN:
		c->counts.pcpu_drain++;
		return 0;
	default:
		c->counts.other_events++;
		return 0;
	}
}

static int perf_event(struct conversion *c, const char *source, const struct perf_event *event)
{
	int error = c->writer ? 0 : begin(c, source, event->time_ns, event->time_unit_ns);

	if (error)
		return error;
	if (event->time_ns < c->begin_ns + c->time_ns && c->options->lenient) {
		c->counts.skipped++;
		return 0;
	}
	if (event->time_ns < c->begin_ns + c->time_ns) {
		snprintf(c->error, KMT_ERROR_SIZE, "time goes back");
		return -EINVAL;
	}
	c->time_ns = event->time_ns - c->begin_ns;
	c->cpu = event->cpu;
	c->tid = event->tid;
	c->counts.source_lines++;
	return perf_apply(c, event);
}

static bool enough(const struct conversion *c, u64 seen)
{
	return c->options->events && seen >= c->options->first + c->options->events;
}

static int convert_text(struct conversion *c, struct text_input *input)
{
	struct perf_event event;
	const char *line, *problem;
	size_t length;
	u64 seen = 0;
	int result = 1, error;

	while (!enough(c, seen) && (result = text_line(input, &line, &length)) > 0) {
		problem = perf_script_parse(line, length, &event);
		if (problem && c->options->lenient) {
			c->counts.skipped++;
			continue;
		}
		if (problem) {
			snprintf(c->error, KMT_ERROR_SIZE, "%s:%llu: %s", text_name(input),
				 (unsigned long long)text_line_number(input), problem);
			return -EINVAL;
		}
		if (event.kind == PERF_BLANK || seen++ < c->options->first)
			continue;
		error = perf_event(c, text_name(input), &event);
		if (error) {
			char what[KMT_ERROR_SIZE];

			memcpy(what, c->error, KMT_ERROR_SIZE);
			snprintf(c->error, KMT_ERROR_SIZE, "%.200s:%llu: %.200s", text_name(input),
				 (unsigned long long)text_line_number(input), what);
			return error;
		}
	}
	if (result < 0 && c->options->lenient && seen) {
		c->counts.skipped++;
		return 0;
	}
	if (result < 0) {
		memcpy(c->error, text_error(input), KMT_ERROR_SIZE);
		return -EINVAL;
	}
	return 0;
}

/* --- .kmt: ids are the addresses --- */

static int kmt_apply(struct conversion *c, struct kmt_reader *reader, const struct kmt_event *event)
{
	u32 nr_shapes, id;
	struct kmt_shape shape = kmt_shapes(reader, &nr_shapes)[event->shape];
	u64 address = (u64)event->id + 1;
	int error;

	c->flags = shape.flags & KMT_IMPLIED;
	if (shape.cache != KMT_NO_CACHE) {
		const char *name = kmt_cache_name(reader, shape.cache);

		error = kmt_write_cache(c->writer, name, strlen(name), &shape.cache);
		if (error) {
			memcpy(c->error, kmt_writer_error(c->writer), KMT_ERROR_SIZE);
			return error;
		}
	}
	/* A block's frames are told apart by its id: give each the room of the largest. */
	if (kmt_kind_population(event->kind) == KMT_PAGES)
		return kmt_kind_effect(event->kind) == KMT_ALLOCATES
			       ? allocate_pages(c, address << KMT_MAX_ORDER, &shape)
			       : free_pages_at(c, address << KMT_MAX_ORDER, shape.order);
	if (kmt_kind_effect(event->kind) == KMT_FREES)
		return free_object(c, address, event->kind);
	if (kmt_kind_effect(event->kind) == KMT_ALLOCATES)
		return allocate_object(c, address, &shape);
	id = live_map_get(&c->objects, address);
	if (id == LIVE_MAP_NONE) {
		c->counts.unknown_object_frees += shape.kind == KMT_REALLOC;
		return 0;
	}
	return put(c, &shape, event->arg, &id);
}

static int kmt_event(struct conversion *c, struct kmt_reader *reader, const struct kmt_event *event)
{
	const struct kmt_info *info = kmt_info(reader);
	int error = 0;

	if (!c->writer)
		error = begin(c, info->description, info->start_time_ns + event->time_ns,
			      info->time_unit_ns);
	if (error)
		return error;
	c->time_ns = info->start_time_ns + event->time_ns - c->begin_ns;
	c->cpu = event->cpu;
	c->tid = event->tid;
	c->arg = event->arg;
	return kmt_apply(c, reader, event);
}

/* What the source's own trailer counted is still true of all of it. */
static void inherit_counts(struct kmt_counts *counts, const struct kmt_counts *source)
{
	struct kmt_counts sum = *source;

#define X(tag, field, text) sum.field += counts->field;
	KMT_COUNTS(X)
#undef X
	*counts = sum;
}

static int convert_kmt(struct conversion *c, struct kmt_reader *reader)
{
	struct kmt_event events[256];
	u64 seen = 0;
	ssize_t n = 0;
	int error;

	while (!enough(c, seen) && (n = kmt_read(reader, events, ARRAY_SIZE(events))) > 0) {
		for (ssize_t i = 0; i < n && !enough(c, seen); i++) {
			if (seen++ < c->options->first || events[i].time_ns < c->options->begin_ns)
				continue;
			if (c->options->end_ns && events[i].time_ns >= c->options->end_ns)
				continue;
			error = kmt_event(c, reader, &events[i]);
			if (error)
				return error;
		}
	}
	if (n < 0 && c->options->lenient && seen) {
		c->counts.skipped++;
		c->counts.source_lines = seen - c->options->first;
		return 0;
	}
	if (n < 0) {
		memcpy(c->error, kmt_error(reader), KMT_ERROR_SIZE);
		return -EINVAL;
	}
	if (!n && !c->options->first && !c->options->begin_ns && !c->options->end_ns)
		inherit_counts(&c->counts, kmt_counts(reader));
	else
		c->counts.source_lines = seen - c->options->first;
	return 0;
}

/* --- either --- */

/* A source that cannot be looked at twice (a pipe) is taken for text. */
static bool holds_kmt(int fd)
{
	u8 bytes[8];
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);

	return n > 0 && kmt_is_trace(bytes, (size_t)n);
}

static int convert_source(struct conversion *c, int fd, const char *name)
{
	struct text_input *input;
	struct kmt_reader *reader;
	int error;

	if (holds_kmt(fd)) {
		reader = kmt_open_fd(fd, name, c->error);
		if (!reader)
			return -EINVAL;
		error = convert_kmt(c, reader);
		kmt_close(reader);
		return error;
	}
	input = text_open_fd(fd, name, c->error);
	if (!input)
		return -EINVAL;
	error = convert_text(c, input);
	text_close(input);
	return error;
}

int convert_trace(int fd, const char *name, const char *out, int out_fd,
		  const struct convert_options *options, struct kmt_counts *counts,
		  char error[KMT_ERROR_SIZE])
{
	struct conversion c = {.options = options, .out = out, .out_fd = out_fd, .error = error};
	int result = convert_source(&c, fd, name);

	if (!result && !c.writer) {
		snprintf(error, KMT_ERROR_SIZE, "%.300s: holds no events%s", name,
			 options->first ? " there" : "");
		result = -EINVAL;
	}
	if (result)
		kmt_writer_abort(c.writer);
	else
		result = kmt_writer_commit(c.writer, &c.counts, error);
	*counts = c.counts;
	live_map_free(&c.objects);
	live_map_free(&c.frames);
	free(c.blocks);
	return result;
}

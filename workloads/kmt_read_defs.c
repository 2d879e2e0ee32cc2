/* SPDX-License-Identifier: MIT */
/* The parts of a .kmt trace that are not events: what its blocks define, its trailer, and
 * errors. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "workloads/kmt_reader.h"

int kmt_reader_fail(struct kmt_reader *r, const char *fmt, ...)
{
	va_list ap;
	int n;

	n = snprintf(r->error, sizeof(r->error), "%.300s: block %u at byte %llu: ", r->name,
		     r->nr_blocks, (unsigned long long)r->block_offset);
	va_start(ap, fmt);
	vsnprintf(r->error + n, sizeof(r->error) - (size_t)n, fmt, ap);
	va_end(ap);
	r->failed = true;
	return -1;
}

static int reserve(void **array, u32 *room, u32 nr, size_t size)
{
	u32 bigger = *room ? *room * 2 : 64;
	void *p;

	if (nr < *room)
		return 0;
	p = realloc(*array, bigger * size);
	if (!p)
		return -ENOMEM;
	*array = p;
	*room = bigger;
	return 0;
}

static int define_cache(struct kmt_reader *r, struct kmt_cursor *defs)
{
	u64 length;
	char *name;

	if (!kmt_get(defs, &length) || length > KMT_MAX_NAME ||
	    length > (u64)(defs->end - defs->at))
		return kmt_reader_fail(r, "the name of cache %u does not fit", r->nr_caches);
	if (memchr(defs->at, 0, length))
		return kmt_reader_fail(r, "the name of cache %u holds a zero byte", r->nr_caches);
	if (r->nr_caches == KMT_MAX_CACHES)
		return kmt_reader_fail(r, "more than %u caches", KMT_MAX_CACHES);
	name = strndup((const char *)defs->at, length);
	if (!name ||
	    reserve((void **)&r->caches, &r->caches_room, r->nr_caches, sizeof(*r->caches))) {
		free(name);
		return kmt_reader_fail(r, "no memory for cache names");
	}
	defs->at += length;
	r->caches[r->nr_caches++] = name;
	return 0;
}

static int define_context(struct kmt_reader *r, struct kmt_cursor *defs)
{
	u64 cpu, tid;

	if (!kmt_get(defs, &cpu) || !kmt_get(defs, &tid))
		return kmt_reader_fail(r, "a thread's definition is cut");
	if (cpu > KMT_MAX_CPU || kmt_unzigzag(tid) != (s32)kmt_unzigzag(tid))
		return kmt_reader_fail(r, "CPU or thread number out of range");
	if (r->nr_contexts == KMT_MAX_CONTEXTS)
		return kmt_reader_fail(r, "more than %u threads on CPUs", KMT_MAX_CONTEXTS);
	if (reserve((void **)&r->contexts, &r->contexts_room, r->nr_contexts, sizeof(*r->contexts)))
		return kmt_reader_fail(r, "no memory for threads");
	r->contexts[r->nr_contexts++] = (struct kmt_context){(u32)cpu, (s32)kmt_unzigzag(tid)};
	return 0;
}

static int define_shape(struct kmt_reader *r, struct kmt_cursor *defs)
{
	u64 node, gfp, cache, requested, allocated;
	u32 steps_room = r->shapes_room;
	struct kmt_shape shape;
	const char *problem;

	if (defs->end - defs->at < 4)
		return kmt_reader_fail(r, "a shape's definition is cut");
	memcpy(&shape, defs->at, 4);
	defs->at += 4;
	if (!kmt_get(defs, &node) || !kmt_get(defs, &gfp) || !kmt_get(defs, &cache) ||
	    !kmt_get(defs, &requested) || !kmt_get(defs, &allocated))
		return kmt_reader_fail(r, "a shape's definition is cut");
	if (node > 2 * KMM_MAX_NODES || gfp > UINT32_MAX || cache > KMT_MAX_CACHES)
		return kmt_reader_fail(r, "shape %u: node, GFP flags or cache out of range",
				       r->nr_shapes);
	shape.node = (s32)kmt_unzigzag(node);
	shape.gfp = (u32)gfp;
	shape.cache = cache ? (u32)(cache - 1) : KMT_NO_CACHE;
	shape.requested = requested;
	shape.allocated = allocated;
	problem = kmt_shape_problem(&shape, r->nr_caches);
	if (problem)
		return kmt_reader_fail(r, "shape %u: %s", r->nr_shapes, problem);
	if (r->nr_shapes == KMT_MAX_SHAPES)
		return kmt_reader_fail(r, "more than %u shapes", KMT_MAX_SHAPES);
	if (reserve((void **)&r->steps, &steps_room, r->nr_shapes, sizeof(*r->steps)) ||
	    reserve((void **)&r->shapes, &r->shapes_room, r->nr_shapes, sizeof(*r->shapes)))
		return kmt_reader_fail(r, "no memory for shapes");
	r->steps[r->nr_shapes] =
		(struct kmt_step){.kind = shape.kind,
				  .order = shape.order,
				  .population = (u8)kmt_kind_population(shape.kind),
				  .effect = (u8)kmt_kind_effect(shape.kind),
				  .is_inline = shape.flags & KMT_ARG_INLINE};
	r->shapes[r->nr_shapes++] = shape;
	return 0;
}

int kmt_read_definitions(struct kmt_reader *r)
{
	struct kmt_cursor *defs = &r->columns[KMT_COL_DEFS];
	u64 what;
	int error = 0;

	while (!error && defs->at < defs->end) {
		if (!kmt_get(defs, &what))
			return kmt_reader_fail(r, "a definition is cut");
		if (what == KMT_DEF_CACHE)
			error = define_cache(r, defs);
		else if (what == KMT_DEF_CONTEXT)
			error = define_context(r, defs);
		else if (what == KMT_DEF_SHAPE)
			error = define_shape(r, defs);
		else
			error = kmt_reader_fail(r, "unknown definition %llu",
						(unsigned long long)what);
	}
	return error;
}

static u64 *count_of_tag(struct kmt_counts *counts, u64 tag)
{
	if (tag >= KMT_KIND_TAG && tag < KMT_KIND_TAG + KMT_NR_KINDS)
		return &counts->kinds[tag - KMT_KIND_TAG];
#define X(number, field, text)                                                                     \
	if (tag == (number))                                                                       \
		return &counts->field;
	KMT_COUNTS(X)
#undef X
	return NULL;
}

int kmt_read_trailer(struct kmt_reader *r, size_t raw_bytes)
{
	struct kmt_cursor c = {r->raw, r->raw + raw_bytes};
	struct kmt_counts counts = {0};

	while (c.at < c.end) {
		u64 tag, value, *count;

		if (!kmt_get(&c, &tag) || !kmt_get(&c, &value))
			return kmt_reader_fail(r, "the trailer is cut");
		count = count_of_tag(&counts, tag);
		if (count)
			*count = value;
	}
	for (int kind = 0; kind < KMT_NR_KINDS; kind++)
		if (counts.kinds[kind] != r->account.kinds[kind])
			return kmt_reader_fail(
				r, "the trailer tells of %llu %s events, the trace has %llu",
				(unsigned long long)counts.kinds[kind], kmt_kind_name(kind),
				(unsigned long long)r->account.kinds[kind]);
	if (counts.alive_objects != r->account.ids[KMT_OBJECTS].live ||
	    counts.alive_pages != r->account.ids[KMT_PAGES].live)
		return kmt_reader_fail(
			r, "the trailer tells of other live objects than the trace has");
	r->counts = counts;
	return 0;
}

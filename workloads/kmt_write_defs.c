/* SPDX-License-Identifier: MIT */
/* What a .kmt trace says once: caches, contexts and shapes, found again by what they are. */
#include <errno.h>
#include <stdarg.h>

#include "workloads/kmt_writer.h"

int kmt_writer_fail(struct kmt_writer *w, int error, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(w->error, sizeof(w->error), "%.300s: ", w->name);

	va_start(ap, fmt);
	vsnprintf(w->error + n, sizeof(w->error) - (size_t)n, fmt, ap);
	va_end(ap);
	return error;
}

static size_t shape_length(const void *thing)
{
	(void)thing;
	return sizeof(struct kmt_shape);
}

static size_t context_length(const void *thing)
{
	(void)thing;
	return sizeof(struct kmt_context_key);
}

static size_t name_length(const void *thing)
{
	return 1 + (size_t)((const struct kmt_name *)thing)->length;
}

int kmt_write_cache(struct kmt_writer *w, const char *name, size_t length, u32 *cache)
{
	struct kmt_column_out *defs = &w->columns[KMT_COL_DEFS];
	struct kmt_name key = {.length = (u8)length};
	u32 *slot;

	if (length > KMT_MAX_NAME)
		return kmt_writer_fail(w, -E2BIG, "the name of a cache is longer than %u bytes",
				       KMT_MAX_NAME);
	if (kmt_index_reserve(&w->cache_index, (void **)&w->caches, sizeof(key), name_length))
		return kmt_writer_fail(w, -ENOMEM, "no memory for cache names");
	memcpy(key.text, name, length);
	slot = kmt_index_slot(&w->cache_index, w->caches, sizeof(key), &key, name_length(&key));
	if (!*slot) {
		if (w->nr_caches == KMT_MAX_CACHES)
			return kmt_writer_fail(w, -E2BIG, "more than %u caches", KMT_MAX_CACHES);
		if (kmt_writer_full(w)) {
			int error = kmt_writer_flush(w);

			if (error)
				return error;
		}
		if (defs->at - defs->begin > (ptrdiff_t)(COLUMN_BYTES_MAX - 3 * DEF_BYTES_MAX))
			return kmt_writer_fail(w, -E2BIG,
					       "too many caches without an event between them");
		w->caches[w->nr_caches++] = key;
		*slot = ++w->cache_index.nr;
		defs->at = kmt_put_varint(defs->at, KMT_DEF_CACHE);
		defs->at = kmt_put_varint(defs->at, length);
		memcpy(defs->at, name, length);
		defs->at += length;
	}
	*cache = *slot - 1;
	return 0;
}

int kmt_find_context(struct kmt_writer *w, u32 cpu, s32 tid, u32 *number)
{
	struct kmt_column_out *defs = &w->columns[KMT_COL_DEFS];
	struct kmt_context_key key = {cpu, tid};
	u32 *slot;

	if (likely(w->nr_contexts && w->contexts[w->context].cpu == cpu &&
		   w->contexts[w->context].tid == tid)) {
		*number = w->context;
		return 0;
	}
	if (kmt_index_reserve(&w->context_index, (void **)&w->contexts, sizeof(key),
			      context_length))
		return kmt_writer_fail(w, -ENOMEM, "no memory for threads");
	slot = kmt_index_slot(&w->context_index, w->contexts, sizeof(key), &key, sizeof(key));
	if (!*slot) {
		if (w->nr_contexts == KMT_MAX_CONTEXTS)
			return kmt_writer_fail(w, -E2BIG, "more than %u threads on CPUs",
					       KMT_MAX_CONTEXTS);
		w->contexts[w->nr_contexts++] = key;
		*slot = ++w->context_index.nr;
		defs->at = kmt_put_varint(defs->at, KMT_DEF_CONTEXT);
		defs->at = kmt_put_varint(defs->at, cpu);
		defs->at = kmt_put_varint(defs->at, kmt_zigzag(tid));
	}
	*number = *slot - 1;
	return 0;
}

int kmt_find_shape(struct kmt_writer *w, const struct kmt_shape *key, u32 *number)
{
	struct kmt_column_out *defs = &w->columns[KMT_COL_DEFS];
	const char *problem;
	u32 *slot;
	u8 *p;

	if (kmt_index_reserve(&w->shape_index, (void **)&w->shapes, sizeof(*key), shape_length))
		return kmt_writer_fail(w, -ENOMEM, "no memory for shapes");
	slot = kmt_index_slot(&w->shape_index, w->shapes, sizeof(*key), key, sizeof(*key));
	*number = *slot - 1;
	if (likely(*slot))
		return 0;
	if (w->nr_shapes == KMT_MAX_SHAPES)
		return kmt_writer_fail(w, -E2BIG, "more than %u kinds of calls", KMT_MAX_SHAPES);
	problem = kmt_shape_problem(key, w->nr_caches);
	if (problem)
		return kmt_writer_fail(w, -EINVAL, "%s", problem);
	w->shapes[w->nr_shapes++] = *key;
	*slot = ++w->shape_index.nr;
	*number = *slot - 1;
	p = kmt_put_varint(defs->at, KMT_DEF_SHAPE);
	*p++ = key->kind;
	*p++ = key->flags;
	*p++ = key->order;
	*p++ = key->migratetype;
	p = kmt_put_varint(p, kmt_zigzag(key->node));
	p = kmt_put_varint(p, key->gfp);
	p = kmt_put_varint(p, key->cache == KMT_NO_CACHE ? 0 : (u64)key->cache + 1);
	p = kmt_put_varint(p, key->requested);
	defs->at = kmt_put_varint(p, key->allocated);
	return 0;
}

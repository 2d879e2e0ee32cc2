/* SPDX-License-Identifier: MIT */
/* See kmt_merge.h. Ids and caches are numbered anew: each source has a table from its own to the merged
 * trace's. */
#include "workloads/kmt_merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"

#define NR_EVENTS 1024 /* read at a time */

struct source {
	struct kmt_reader *reader;
	struct kmt_event *events;
	ssize_t nr, at;
	u64 start_ns;
	u32 *ids[KMT_NR_POPULATIONS]; /* of the merged trace, by own */
	u32 room[KMT_NR_POPULATIONS];
	u32 *caches;
	u32 nr_caches;
};

struct merge {
	struct source *sources;
	size_t nr;
	struct kmt_writer *writer;
	u64 start_ns;
	char *error;
};

static int no_memory(const struct merge *m)
{
	snprintf(m->error, KMT_ERROR_SIZE, "no memory to merge traces");
	return -ENOMEM;
}

/* The source's next event is there, or nr is 0. */
static int refill(struct merge *m, struct source *s)
{
	if (s->at < s->nr)
		return 0;
	s->at = 0;
	s->nr = kmt_read(s->reader, s->events, NR_EVENTS);
	if (s->nr >= 0)
		return 0;
	memcpy(m->error, kmt_error(s->reader), KMT_ERROR_SIZE);
	return -EINVAL;
}

/* The source whose next event is earliest; NULL: all have ended. */
static struct source *earliest(struct merge *m)
{
	struct source *first = NULL;
	u64 first_ns = 0;

	for (size_t i = 0; i < m->nr; i++) {
		struct source *s = &m->sources[i];
		u64 ns = s->nr ? s->start_ns + s->events[s->at].time_ns : 0;

		if (s->nr && (!first || ns < first_ns)) {
			first = s;
			first_ns = ns;
		}
	}
	return first;
}

static int map_cache(struct merge *m, struct source *s, u32 *cache)
{
	const char *name = kmt_cache_name(s->reader, *cache);
	u32 nr = kmt_nr_caches(s->reader);
	u32 *caches;
	int error;

	if (nr > s->nr_caches) {
		caches = realloc(s->caches, nr * sizeof(*caches));
		if (!caches)
			return no_memory(m);
		for (u32 i = s->nr_caches; i < nr; i++)
			caches[i] = KMT_NO_CACHE;
		s->caches = caches;
		s->nr_caches = nr;
	}
	if (s->caches[*cache] == KMT_NO_CACHE) {
		error = kmt_write_cache(m->writer, name, strlen(name), &s->caches[*cache]);
		if (error) {
			memcpy(m->error, kmt_writer_error(m->writer), KMT_ERROR_SIZE);
			return error;
		}
	}
	*cache = s->caches[*cache];
	return 0;
}

/* The merged trace's id of an object, to be filled in by its allocation. */
static u32 *map_id(struct source *s, enum kmt_population p, u32 id)
{
	u32 room = s->room[p] ? s->room[p] : 1024;
	u32 *ids;

	while (room <= id)
		room *= 2;
	if (room > s->room[p]) {
		ids = realloc(s->ids[p], room * sizeof(*ids));
		if (!ids)
			return NULL;
		s->ids[p] = ids;
		s->room[p] = room;
	}
	return &s->ids[p][id];
}

static int put(struct merge *m, struct source *s, const struct kmt_event *event)
{
	u32 nr_shapes, *id = map_id(s, kmt_kind_population(event->kind), event->id);
	struct kmt_shape shape = kmt_shapes(s->reader, &nr_shapes)[event->shape];
	int error = id ? 0 : no_memory(m);

	if (!error && shape.cache != KMT_NO_CACHE)
		error = map_cache(m, s, &shape.cache);
	if (error)
		return error;
	error = kmt_write(m->writer, s->start_ns + event->time_ns - m->start_ns, event->cpu,
			  event->tid, &shape, event->arg, id);
	if (error)
		memcpy(m->error, kmt_writer_error(m->writer), KMT_ERROR_SIZE);
	return error;
}

static int open_sources(struct merge *m, const char *const *paths, struct kmt_info *info)
{
	int error = 0;

	m->start_ns = UINT64_MAX;
	info->time_unit_ns = UINT32_MAX;
	for (size_t i = 0; i < m->nr && !error; i++) {
		struct source *s = &m->sources[i];

		s->reader = kmt_open(paths[i], m->error);
		if (!s->reader)
			return -EINVAL;
		s->events = calloc(NR_EVENTS, sizeof(*s->events));
		if (!s->events)
			return no_memory(m);
		s->start_ns = kmt_info(s->reader)->start_time_ns;
		if (s->start_ns > INT64_MAX / 2) {
			snprintf(m->error, KMT_ERROR_SIZE, "%.300s: begins at %llu ns, too late",
				 paths[i], (unsigned long long)s->start_ns);
			return -EINVAL;
		}
		m->start_ns = min_t(u64, m->start_ns, s->start_ns);
		info->time_unit_ns =
			min_t(u32, info->time_unit_ns, kmt_info(s->reader)->time_unit_ns);
		error = refill(m, s);
	}
	/* Clocks of 1 us that began between microseconds need the finer unit. */
	for (size_t i = 0; i < m->nr && !error; i++)
		if ((m->sources[i].start_ns - m->start_ns) % info->time_unit_ns)
			info->time_unit_ns = 1;
	info->start_time_ns = m->start_ns;
	return error;
}

static int merge_events(struct merge *m)
{
	struct source *s;
	int error;

	while ((s = earliest(m))) {
		error = put(m, s, &s->events[s->at++]);
		if (error || (error = refill(m, s)))
			return error;
	}
	return 0;
}

static void sum_counts(const struct merge *m, struct kmt_counts *sum)
{
	*sum = (struct kmt_counts){0};
	for (size_t i = 0; i < m->nr; i++) {
		const struct kmt_counts *counts = kmt_counts(m->sources[i].reader);
#define X(tag, field, text) sum->field += counts->field;
		KMT_COUNTS(X)
#undef X
	}
}

int kmt_merge(const char *const *paths, size_t nr, const char *out, const char *description,
	      struct kmt_counts *counts, char error[KMT_ERROR_SIZE])
{
	struct merge m = {.nr = nr, .error = error};
	struct kmt_info info = {0};
	int result;

	m.sources = calloc(nr, sizeof(*m.sources));
	if (!m.sources)
		return no_memory(&m);
	result = open_sources(&m, paths, &info);
	if (!result) {
		snprintf(info.description, sizeof(info.description), "%s", description);
		m.writer = kmt_writer_create(out, &info, error);
		result = m.writer ? merge_events(&m) : -EIO;
	}
	if (!result) {
		sum_counts(&m, counts);
		result = kmt_writer_commit(m.writer, counts, error);
	} else {
		kmt_writer_abort(m.writer);
	}
	for (size_t i = 0; i < nr; i++) {
		struct source *s = &m.sources[i];

		kmt_close(s->reader);
		free(s->events);
		free(s->caches);
		for (int p = 0; p < KMT_NR_POPULATIONS; p++)
			free(s->ids[p]);
	}
	free(m.sources);
	return result;
}

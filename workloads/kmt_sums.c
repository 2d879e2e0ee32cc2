/* SPDX-License-Identifier: MIT */
/* See kmt_sums.h. */
#include "workloads/kmt_sums.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"

void kmt_sums_begin(struct kmt_sums *sums)
{
	*sums = (struct kmt_sums){.last_cpu = KMT_MAX_CPU + 1};
}

void kmt_sums_end(struct kmt_sums *sums)
{
	for (int i = 0; i < KMT_NR_POPULATIONS; i++)
		free(sums->sizes[i]);
	live_map_free(&sums->threads);
	live_map_free(&sums->cpus);
}

static int count_new(struct live_map *map, u64 key, u32 *nr)
{
	if (live_map_get(map, key) != LIVE_MAP_NONE)
		return 0;
	++*nr;
	return live_map_add(map, key, 0);
}

static int count_context(struct kmt_sums *sums, const struct kmt_event *event)
{
	if (event->cpu == sums->last_cpu && event->tid == sums->last_tid)
		return 0;
	sums->last_cpu = event->cpu;
	sums->last_tid = event->tid;
	if (count_new(&sums->cpus, event->cpu, &sums->nr_cpus) ||
	    count_new(&sums->threads, (u32)event->tid, &sums->nr_threads))
		return -ENOMEM;
	return 0;
}

static int make_room(struct kmt_sums *sums, enum kmt_population p, u32 id)
{
	u32 room = sums->room[p] ? sums->room[p] : 1024;
	u64 *sizes;

	if (id < sums->room[p])
		return 0;
	while (room <= id)
		room *= 2;
	sizes = realloc(sums->sizes[p], room * sizeof(*sizes));
	if (!sizes)
		return -ENOMEM;
	sums->sizes[p] = sizes;
	sums->room[p] = room;
	return 0;
}

/* A new size of an object, which it did not have before. */
static void hold(struct kmt_sums *sums, enum kmt_population p, const struct kmt_event *event,
		 u64 bytes)
{
	sums->sizes[p][event->id] = bytes;
	sums->bytes[event->kind] += bytes;
	sums->live_bytes[p] += bytes;
	if (sums->live_bytes[p] > sums->peak_bytes[p]) {
		sums->peak_bytes[p] = sums->live_bytes[p];
		sums->peak_event[p] = sums->nr_events[p];
	}
	if (sums->live[p] > sums->peak[p])
		sums->peak[p] = sums->live[p];
}

static int add(struct kmt_sums *sums, const struct kmt_shape *shape, const struct kmt_event *event)
{
	enum kmt_population p = kmt_kind_population(event->kind);
	enum kmt_effect effect = kmt_kind_effect(event->kind);

	if (count_context(sums, event) || make_room(sums, p, event->id))
		return -ENOMEM;
	sums->events[event->kind]++;
	sums->nr_events[p]++;
	sums->duration_ns = event->time_ns;
	if (event->kind == KMT_ACCESS) {
		sums->bytes[event->kind] += shape->requested;
		return 0;
	}
	if (effect != KMT_ALLOCATES)
		sums->live_bytes[p] -= sums->sizes[p][event->id];
	if (effect == KMT_FREES) {
		sums->implied += shape->flags & KMT_IMPLIED ? 1 : 0;
		sums->bytes[event->kind] += sums->sizes[p][event->id];
		sums->live[p]--;
		return 0;
	}
	sums->live[p] += effect == KMT_ALLOCATES;
	hold(sums, p, event, event->arg);
	return 0;
}

int kmt_sums_add(struct kmt_sums *sums, const struct kmt_reader *reader,
		 const struct kmt_event *events, size_t n)
{
	u32 nr_shapes;
	const struct kmt_shape *shapes = kmt_shapes(reader, &nr_shapes);

	for (size_t i = 0; i < n; i++)
		if (add(sums, &shapes[events[i].shape], &events[i]))
			return -ENOMEM;
	return 0;
}

bool kmt_sums_differ(const struct kmt_sums *sums, const struct kmt_counts *counts, char *line,
		     size_t size)
{
	const struct {
		const char *what;
		u64 told, counted;
	} figures[] = {
		{"objects alive at the end", counts->alive_objects, sums->live[KMT_OBJECTS]},
		{"blocks of pages alive at the end", counts->alive_pages, sums->live[KMT_PAGES]},
		{"bytes of objects alive at the end", counts->alive_object_bytes,
		 sums->live_bytes[KMT_OBJECTS]},
		{"bytes of pages alive at the end", counts->alive_page_bytes,
		 sums->live_bytes[KMT_PAGES]},
		{"objects alive at once", counts->peak_objects, sums->peak[KMT_OBJECTS]},
		{"blocks of pages alive at once", counts->peak_pages, sums->peak[KMT_PAGES]},
		{"bytes of objects alive at once", counts->peak_object_bytes,
		 sums->peak_bytes[KMT_OBJECTS]},
		{"bytes of pages alive at once", counts->peak_page_bytes,
		 sums->peak_bytes[KMT_PAGES]},
		{"ns from the first event to the last", counts->duration_ns, sums->duration_ns},
	};

	for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
		if (figures[i].told == figures[i].counted)
			continue;
		snprintf(line, size, "the trailer tells of %llu %s, the trace has %llu",
			 (unsigned long long)figures[i].told, figures[i].what,
			 (unsigned long long)figures[i].counted);
		return true;
	}
	return false;
}

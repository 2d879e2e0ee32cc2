/* SPDX-License-Identifier: MIT */
/* See page_events.h. */
#include "tests/bench/run/page_events.h"

#include <stdlib.h>
#include <string.h>

#include "tests/tap/tap.h"
#include "workloads/kmt.h"

#define SEED	 20261123UL
#define NR_LARGE 1000 /* events */

/* Blocks that are live, and the numbers of dead ones, of which the last is given out first. */
struct maker {
	struct page_events *events;
	unsigned long random;
	struct page_event *live;
	u32 *dead;
	u32 nr_live, nr_dead, pages;
	u8 type; /* that most are of, until memory has been filled once more */
};

static u32 draw(struct maker *m, u32 below)
{
	return (u32)(tap_random(&m->random) >> 32) % below;
}

static void make_alloc(struct maker *m, unsigned int order)
{
	u8 type = draw(m, 4) ? m->type : (u8)draw(m, NR_MIGRATETYPES);
	struct page_event event = {.order = (u8)order, .type = type};

	event.id = m->nr_dead ? m->dead[--m->nr_dead] : m->events->nr_ids++;
	m->live[m->nr_live++] = event;
	m->pages += 1U << order;
	m->events->events[m->events->nr++] = event;
}

static void make_free(struct maker *m)
{
	u32 i = draw(m, m->nr_live);
	struct page_event event = m->live[i];

	m->live[i] = m->live[--m->nr_live];
	m->dead[m->nr_dead++] = event.id;
	m->pages -= 1U << event.order;
	event.is_free = true;
	m->events->events[m->events->nr++] = event;
}

/* Half are single pages, a quarter are pairs, and so on; one now and then is large, at the beginning,
 * when there is a block that large. */
static unsigned int draw_order(struct maker *m)
{
	u32 bits = draw(m, 256);

	if (bits < 4 && m->events->nr < NR_LARGE)
		return 4 + draw(m, 7);
	return bits & 1 ? 0 : bits & 2 ? 1 : bits & 4 ? 2 : draw(m, 4);
}

void page_events_make(struct page_events *events, size_t nr, u32 most_pages)
{
	struct maker m = {.events = events, .random = SEED, .type = MIGRATE_MOVABLE};
	u32 target = most_pages;

	*events = (struct page_events){.events = calloc(nr, sizeof(*events->events))};
	m.live = calloc(nr, sizeof(*m.live));
	m.dead = calloc(nr, sizeof(*m.dead));
	if (!events->events || !m.live || !m.dead)
		abort();
	while (events->nr < nr) {
		unsigned int order = draw_order(&m);

		/* Up to the target, down to another one, and up again; with some of either on the way. */
		if (m.nr_live && (draw(&m, 4) == 0) == (m.pages < target)) {
			make_free(&m);
		} else if (m.pages + (1U << order) <= most_pages) {
			make_alloc(&m, order);
		} else {
			make_free(&m);
		}
		if (m.pages + 16 >= most_pages) {
			target = draw(&m, most_pages / 2);
		} else if (m.pages <= target && target < most_pages / 2) {
			target = most_pages;
			m.type = (u8)draw(&m, NR_MIGRATETYPES);
		}
	}
	free(m.live);
	free(m.dead);
}

static enum migratetype type_of(u32 gfp)
{
	return gfp & KMT_GFP_MOVABLE	   ? MIGRATE_MOVABLE
	       : gfp & KMT_GFP_RECLAIMABLE ? MIGRATE_RECLAIMABLE
					   : MIGRATE_UNMOVABLE;
}

static void append(struct page_events *events, const struct page_event *event)
{
	if (!(events->nr & (events->nr - 1))) {
		size_t room = events->nr ? events->nr * 2 : 1;

		events->events = realloc(events->events, room * sizeof(*event));
		if (!events->events)
			abort();
	}
	events->events[events->nr++] = *event;
}

int page_events_read(struct page_events *events, const char *path, char *error)
{
	struct kmt_reader *reader = kmt_open(path, error);
	struct kmt_event got[64];
	ssize_t n = 0;
	u32 nr_shapes;

	*events = (struct page_events){0};
	while (reader && (n = kmt_read(reader, got, 64)) > 0)
		for (ssize_t i = 0; i < n; i++) {
			struct page_event event = {.id = got[i].id, .order = got[i].order};

			if (kmt_kind_population(got[i].kind) != KMT_PAGES)
				continue;
			event.is_free = got[i].kind == KMT_PAGE_FREE;
			event.type = (u8)type_of(kmt_shapes(reader, &nr_shapes)[got[i].shape].gfp);
			append(events, &event);
		}
	if (reader && n < 0)
		snprintf(error, KMT_ERROR_SIZE, "%s", kmt_error(reader));
	if (reader)
		events->nr_ids = kmt_nr_ids(reader, KMT_PAGES);
	kmt_close(reader);
	return reader && !n ? 0 : -1;
}

static int write_event(struct kmt_writer *writer, const struct page_event *event, u64 time_ns)
{
	static const u32 gfps[] = {[MIGRATE_UNMOVABLE] = 0,
				   [MIGRATE_MOVABLE] = KMT_GFP_MOVABLE,
				   [MIGRATE_RECLAIMABLE] = KMT_GFP_RECLAIMABLE};
	struct kmt_shape shape = {.kind = event->is_free ? KMT_PAGE_FREE : KMT_PAGE_ALLOC,
				  .migratetype = KMT_NO_MOBILITY,
				  .node = KMT_NO_NODE,
				  .cache = KMT_NO_CACHE};
	u32 id = event->id;
	int error;

	if (!event->is_free) {
		shape.order = event->order;
		shape.gfp = KMT_GFP_DIRECT_RECLAIM | gfps[event->type];
	}
	error = kmt_write(writer, time_ns, 0, 0, &shape, 0, &id);
	return error ?: id == event->id ? 0 : -1;
}

int page_events_write(const struct page_events *events, const char *path, char *error)
{
	struct kmt_info info = {.time_unit_ns = 1, .description = "made up"};
	struct kmt_writer *writer = kmt_writer_create(path, &info, error);
	struct kmt_counts counts = {0};

	for (size_t i = 0; writer && i < events->nr; i++)
		if (write_event(writer, &events->events[i], i * 1000)) {
			snprintf(error, KMT_ERROR_SIZE, "%s: event %zu cannot be written", path, i);
			kmt_writer_abort(writer);
			return -1;
		}
	return writer ? kmt_writer_commit(writer, &counts, error) : -1;
}

void page_events_free(struct page_events *events)
{
	free(events->events);
}

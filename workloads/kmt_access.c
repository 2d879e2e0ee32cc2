/* SPDX-License-Identifier: MIT */
/*
 * Accesses of a .kmt trace. It has objects instead of addresses, so each object is given a place:
 * the one freed last of its size, or else the next bytes of an endless heap. Sizes are rounded up
 * to 16 bytes, from 128 bytes on to one of eight to each doubling; from a page on they are pages.
 * Pages that the trace allocates are nobody's here: it does not tell of accesses to them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "workloads/access_internal.h"

#define NO_PLACE   UINT32_MAX
#define HEAP_BASE  (1UL << 32)
#define HEAP_END   (1UL << 56)
#define PAGE	   4096UL
#define NR_CLASSES (64 * 8)
#define EVENTS	   256

struct place {
	u64 address, room, size; /* size: what its object may touch */
	u32 next;		 /* free, of the same class */
};

struct kmt_access {
	struct kmt_reader *reader;
	u64 heap; /* the next bytes of it */
	struct place *places;
	u32 nr_places, places_room;
	u32 free[NR_CLASSES]; /* lists of places */
	u32 *place_of;	      /* [id] */
	u32 ids_room;
	bool any;
};

/* Eight to each doubling; small sizes by sixteenths. */
static u64 round_size(u64 size)
{
	unsigned int shift;

	if (size <= 128)
		return size ? (size + 15) & ~15UL : 16;
	if (size >= PAGE)
		return (size + PAGE - 1) & ~(PAGE - 1);
	shift = 60U - (unsigned int)__builtin_clzl(size - 1);
	return (size + (1UL << shift) - 1) >> shift << shift;
}

/* Of a rounded size. Pages share a class with others of nearly their size: what is taken from it is
 * looked at again. */
static unsigned int class_of(u64 room)
{
	unsigned int top = 63U - (unsigned int)__builtin_clzl(room);

	return top * 8 + (unsigned int)(room >> (top - 3) & 7);
}

static int out_of_memory(struct access_reader *reader)
{
	return access_fail(reader, " no memory for its objects");
}

/* A new place of so much room. */
static int new_place(struct access_reader *reader, u64 room, u32 *place)
{
	struct kmt_access *k = reader->kmt;

	if (room > HEAP_END - k->heap)
		return access_fail(reader, " its objects take more than 2^56 bytes");
	if (k->nr_places == k->places_room) {
		u32 wanted = k->places_room ? 2 * k->places_room : 1024;
		struct place *places = realloc(k->places, wanted * sizeof(*places));

		if (!places)
			return out_of_memory(reader);
		k->places = places;
		k->places_room = wanted;
	}
	if (room >= PAGE)
		k->heap = (k->heap + PAGE - 1) & ~(PAGE - 1);
	*place = k->nr_places++;
	k->places[*place] = (struct place){.address = k->heap, .room = room};
	k->heap += room;
	return 0;
}

static int take_place(struct access_reader *reader, u32 id, u64 size)
{
	struct kmt_access *k = reader->kmt;
	u64 room = round_size(size);
	u32 *list = &k->free[class_of(room)], place = *list;

	if (id >= k->ids_room) {
		u32 wanted = id < 1U << 30 ? 2 * (id | 511) : UINT32_MAX;
		u32 *place_of = realloc(k->place_of, wanted * sizeof(*place_of));

		if (!place_of)
			return out_of_memory(reader);
		k->place_of = place_of;
		k->ids_room = wanted;
	}
	if (place != NO_PLACE && k->places[place].room >= room)
		*list = k->places[place].next;
	else if (new_place(reader, room, &place))
		return -1;
	k->places[place].size = size ? size : 1;
	k->place_of[id] = place;
	return 0;
}

static void free_place(struct kmt_access *k, u32 id)
{
	u32 place = k->place_of[id], *list = &k->free[class_of(k->places[place].room)];

	k->places[place].next = *list;
	*list = place;
}

static int take_access(struct access_reader *reader, const struct kmt_event *event,
		       const struct kmt_shape *shape, struct access *out)
{
	const struct place *place = &reader->kmt->places[reader->kmt->place_of[event->id]];
	u64 bytes = shape->requested ? shape->requested : 1;

	if (bytes > place->size || event->arg > place->size - bytes)
		return access_fail(reader, " %llu bytes at %llu of an object of %llu",
				   (unsigned long long)bytes, (unsigned long long)event->arg,
				   (unsigned long long)place->size);
	*out = (struct access){.address = place->address + event->arg,
			       .bytes = (u32)min_t(u64, bytes, UINT32_MAX),
			       .kind = shape->flags & KMT_WRITE ? ACCESS_STORE : ACCESS_LOAD};
	reader->kmt->any = true;
	return 1;
}

/* 1: an access; 0: none; -1. */
static int take_event(struct access_reader *reader, const struct kmt_event *event,
		      const struct kmt_shape *shape, struct access *out)
{
	u64 size = event->arg > shape->allocated ? event->arg : shape->allocated;

	if (kmt_kind_population(event->kind) != KMT_OBJECTS)
		return 0;
	if (event->kind == KMT_ACCESS)
		return take_access(reader, event, shape, out);
	if (kmt_kind_effect(event->kind) != KMT_ALLOCATES)
		free_place(reader->kmt, event->id);
	if (kmt_kind_effect(event->kind) == KMT_FREES)
		return 0;
	return take_place(reader, event->id, size);
}

ssize_t kmt_access_read(struct access_reader *reader, struct access *out, size_t room)
{
	struct kmt_access *k = reader->kmt;
	struct kmt_event events[EVENTS];
	size_t n = 0;

	while (!n) {
		ssize_t got = kmt_read(k->reader, events, room < EVENTS ? room : EVENTS);
		const struct kmt_shape *shapes;
		u32 nr_shapes;

		if (got < 0) {
			snprintf(reader->error, sizeof(reader->error), "%s", kmt_error(k->reader));
			return -1;
		}
		if (!got && !k->any)
			return access_fail(reader, " no accesses are in it, only who had memory");
		if (!got)
			return 0;
		shapes = kmt_shapes(k->reader, &nr_shapes);
		for (ssize_t i = 0; i < got; i++) {
			int taken =
				take_event(reader, &events[i], &shapes[events[i].shape], out + n);

			if (taken < 0)
				return -1;
			n += (size_t)taken;
		}
	}
	return (ssize_t)n;
}

int kmt_access_open(struct access_reader *reader, int fd)
{
	struct kmt_access *k = calloc(1, sizeof(*k));

	reader->kmt = k;
	if (!k)
		return out_of_memory(reader);
	k->heap = HEAP_BASE;
	memset(k->free, 0xff, sizeof(k->free));
	k->reader = kmt_open_fd(fd, text_name(reader->input), reader->error);
	return k->reader ? 0 : -1;
}

void kmt_access_close(struct access_reader *reader)
{
	if (!reader->kmt)
		return;
	kmt_close(reader->kmt->reader);
	free(reader->kmt->places);
	free(reader->kmt->place_of);
	free(reader->kmt);
}

/* SPDX-License-Identifier: MIT */
/*
 * Chunks of a raw recording, merged by time: a heap of those that are being read, each by the time
 * of its next event, and a list of those whose time has not come yet. A chunk is in the heap from
 * its first event to its last, so there are about as many as threads at work.
 *
 * Many events of a thread have one stamp, its latest: among equal times the chunk that was begun
 * first goes first, which of a thread's chunks is the earlier.
 *
 * A realloc takes part twice: at the time it began, when its old address became free, and at the
 * time it returned.
 *
 * The file is not trusted: any words are events, and what is none is passed over.
 */
#include "workloads/record/chunks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"

/* What stands in front of an event. */
struct prefixes {
	bool sized, placed;
	u64 size, address;
	u32 align;
};

static void set_clock(struct raw_run *run, u64 clock)
{
	/* A signal's handler may have noted calls between an event's stamp and its words. */
	if (clock > run->now)
		run->now = clock;
}

/* A word that is no event. */
static void take_word(struct raw_run *run, struct prefixes *has, u64 word)
{
	u64 value = RAW_VALUE(word);

	switch (RAW_KIND(word)) {
	case RAW_CLOCK:
		set_clock(run, run->chunk->base + RAW_WORD_CLOCK(word));
		run->cpu = RAW_WORD_CPU(word);
		break;
	case RAW_TIME:
		set_clock(run, value);
		break;
	case RAW_THREAD:
		run->tid = (s32)(u32)value;
		break;
	case RAW_SIZE:
		has->size = value;
		has->sized = true;
		break;
	case RAW_ALIGN:
		has->align = value < 63 ? (u32)value : 63;
		break;
	case RAW_ADDRESS:
		has->address = value;
		has->placed = true;
		break;
	default: /* what a killed thread began */
		*has = (struct prefixes){0};
	}
}

/* Does a head of RAW_REALLOC follow, with nothing but what belongs to it in front? */
static bool is_whole_realloc(const struct raw_run *run)
{
	for (const u64 *at = run->at; at < run->end; at++) {
		u32 kind = RAW_KIND(READ_ONCE(*at));

		if (kind == RAW_REALLOC)
			return true;
		if (kind != RAW_CLOCK && kind != RAW_TIME && kind != RAW_SIZE &&
		    kind != RAW_ADDRESS)
			return false;
	}
	return false;
}

/* Decode the event behind run->at. False at the chunk's end. */
static bool decode(struct raw_run *run)
{
	struct prefixes has = {0};
	bool after_old = run->record.kind == RAW_OLD;

	while (run->at < run->end) {
		u64 word = READ_ONCE(*run->at++);
		u32 kind = RAW_KIND(word);
		bool head = kind != RAW_NOTHING && kind < RAW_NR_HEADS;

		if (kind == RAW_OLD ? !is_whole_realloc(run) : kind == RAW_REALLOC && !after_old)
			kind = RAW_NOTHING;
		if (kind == RAW_NOTHING || (!head && kind != RAW_OLD)) {
			take_word(run, &has, kind == RAW_NOTHING ? 0 : word);
			continue;
		}
		run->record = (struct raw_record){
			.kind = kind,
			.align = has.align,
			.cpu = run->cpu,
			.tid = run->tid,
			.clock = run->now,
			.address = has.placed ? has.address : RAW_WORD_ADDRESS(word),
			.size = has.sized ? has.size : RAW_WORD_SIZE(word)};
		return true;
	}
	return false;
}

static bool before(const struct raw_run *a, const struct raw_run *b)
{
	if (a->record.clock != b->record.clock)
		return a->record.clock < b->record.clock;
	return a->chunk->serial < b->chunk->serial;
}

static void sift_down(struct raw_chunks *chunks, u32 at)
{
	struct raw_run **heap = chunks->heap, *run = heap[at];

	for (;;) {
		u32 child = 2 * at + 1;

		if (child >= chunks->nr)
			break;
		child += child + 1 < chunks->nr && before(heap[child + 1], heap[child]);
		if (!before(heap[child], run))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = run;
}

static void sift_up(struct raw_chunks *chunks, u32 at)
{
	struct raw_run **heap = chunks->heap, *run = heap[at];

	for (; at && before(run, heap[(at - 1) / 2]); at = (at - 1) / 2)
		heap[at] = heap[(at - 1) / 2];
	heap[at] = run;
}

/* The next waiting chunk's time has come. */
static int begin_chunk(struct raw_chunks *chunks)
{
	const struct raw_chunk *chunk = chunks->waiting[chunks->next_waiting++];
	struct raw_run *run;

	if (chunks->nr == chunks->room) {
		u32 room = chunks->room ? chunks->room * 2 : 64;
		struct raw_run **heap = realloc(chunks->heap, room * sizeof(*heap));

		if (!heap)
			return -ENOMEM;
		chunks->heap = heap;
		chunks->room = room;
	}
	run = malloc(sizeof(*run));
	if (!run)
		return -ENOMEM;
	*run = (struct raw_run){.at = (const u64 *)(chunk + 1),
				.end = (const u64 *)((const char *)chunk + RAW_CHUNK_BYTES),
				.chunk = chunk,
				.now = chunk->base,
				.cpu = chunk->cpu & 0xfff,
				.tid = chunk->tid};
	if (!decode(run)) {
		free(run);
		return 0;
	}
	chunks->heap[chunks->nr++] = run;
	sift_up(chunks, chunks->nr - 1);
	return 0;
}

static int compare_bases(const void *a, const void *b)
{
	const struct raw_chunk *x = *(const struct raw_chunk *const *)a;
	const struct raw_chunk *y = *(const struct raw_chunk *const *)b;

	if (x->base != y->base)
		return x->base < y->base ? -1 : 1;
	if (x->serial != y->serial)
		return x->serial < y->serial ? -1 : 1;
	return x < y ? -1 : x > y;
}

/* Those that were used: without magic one was taken, and its thread killed before it was begun. */
static void list_chunks(struct raw_chunks *chunks, const void *from, u64 nr)
{
	for (u64 i = 0; i < nr; i++) {
		const struct raw_chunk *chunk =
			(const void *)((const char *)from + i * RAW_CHUNK_BYTES);

		if (READ_ONCE(chunk->magic) == RAW_CHUNK_MAGIC)
			chunks->waiting[chunks->nr_waiting++] = chunk;
	}
}

/* Of two with one serial the copy in the log was not finished, or not yet begun again in place:
 * the hot one, whole in any case, stays. */
static void drop_copies(struct raw_chunks *chunks, const struct raw_map *map)
{
	const struct raw_chunk **list = chunks->waiting;
	const char *hot = (const char *)map->header, *hot_end = hot + map->nr_hot * RAW_CHUNK_BYTES;
	u64 nr = 0;

	for (u64 i = 0; i < chunks->nr_waiting; i++) {
		const struct raw_chunk *chunk = list[i], *last = nr ? list[nr - 1] : NULL;

		if (!last || last->base != chunk->base || last->serial != chunk->serial)
			list[nr++] = chunk;
		else if ((const char *)chunk >= hot && (const char *)chunk < hot_end)
			list[nr - 1] = chunk;
	}
	chunks->nr_waiting = nr;
}

int raw_chunks_begin(struct raw_chunks *chunks, const struct raw_map *map)
{
	const char *hot = (const char *)map->header;

	*chunks = (struct raw_chunks){0};
	chunks->waiting = malloc((map->nr_hot + map->nr_log + 1) * sizeof(*chunks->waiting));
	if (!chunks->waiting)
		return -ENOMEM;
	if (map->nr_hot > 1)
		list_chunks(chunks, hot + RAW_CHUNK_BYTES, map->nr_hot - 1);
	list_chunks(chunks, map->log, map->nr_log);
	qsort(chunks->waiting, chunks->nr_waiting, sizeof(*chunks->waiting), compare_bases);
	drop_copies(chunks, map);
	return 0;
}

int raw_chunks_peek(struct raw_chunks *chunks, struct raw_run **run)
{
	while (chunks->next_waiting < chunks->nr_waiting &&
	       (!chunks->nr ||
		chunks->waiting[chunks->next_waiting]->base <= chunks->heap[0]->record.clock)) {
		int error = begin_chunk(chunks);

		if (error)
			return error;
	}
	if (!chunks->nr)
		return 0;
	*run = chunks->heap[0];
	return 1;
}

void raw_chunks_pass(struct raw_chunks *chunks)
{
	struct raw_run *run = chunks->heap[0];

	if (!decode(run)) {
		free(run);
		chunks->heap[0] = chunks->heap[--chunks->nr];
		if (!chunks->nr)
			return;
	}
	sift_down(chunks, 0);
}

void raw_chunks_end(struct raw_chunks *chunks)
{
	for (u32 i = 0; i < chunks->nr; i++)
		free(chunks->heap[i]);
	free(chunks->heap);
	free(chunks->waiting);
}

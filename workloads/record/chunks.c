/* SPDX-License-Identifier: MIT */
/*
 * Chunks of a raw recording, merged by time: a heap of those that are being read, each by the time
 * of its next event, and a list of those whose time has not come yet. A chunk is in the heap from
 * its first event to its last, so there are about as many as threads at work.
 *
 * A realloc takes part twice: at the time it began, when its old address became free, and at the time
 * it returned.
 *
 * The file is not trusted: any words are events, and what is none is passed over.
 */
#include "workloads/record/chunks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"

static const struct raw_chunk *chunk_at(const struct raw_chunks *chunks, u32 number)
{
	const char *file = (const char *)chunks->header;

	return (const struct raw_chunk *)(file + (size_t)number * RAW_CHUNK_BYTES);
}

/* Decode the event behind run->at. False at the chunk's end. */
static bool decode(struct raw_run *run)
{
	u64 size = 0, clock = 0, span = 0, align = 0;
	u32 has = 0;

	while (run->at < run->end) {
		u64 word = READ_ONCE(*run->at++);
		u32 kind = RAW_KIND(word), tails = kind == RAW_REALLOC ? 2 : 1;
		struct raw_record *record = &run->record;

		if (kind >= RAW_TIME && kind <= RAW_SPAN)
			has |= 1U << kind;
		switch (kind) {
		case RAW_TIME:
			clock = RAW_VALUE(word);
			continue;
		case RAW_SIZE:
			size = RAW_VALUE(word);
			continue;
		case RAW_ALIGN:
			align = RAW_VALUE(word);
			continue;
		case RAW_SPAN:
			span = RAW_VALUE(word);
			continue;
		case RAW_THREAD:
			run->tid = (s32)(u32)RAW_VALUE(word);
			continue;
		default:
			break;
		}
		if (kind == RAW_NOTHING || kind >= RAW_NR_HEADS || run->end - run->at < tails ||
		    RAW_KIND(run->at[0]) != RAW_TAIL ||
		    (tails == 2 && RAW_KIND(run->at[1]) != RAW_TAIL)) {
			/* What a killed thread began. */
			has = 0;
			continue;
		}
		if (!(has & 1U << RAW_TIME))
			clock = run->base + RAW_TAIL_CLOCK(run->at[0]);
		if (!(has & 1U << RAW_SIZE))
			size = RAW_TAIL_SIZE(run->at[0]);
		if (!(has & 1U << RAW_SPAN) && tails == 2)
			span = RAW_TAIL_SPAN(run->at[1]);
		/* A signal's handler may have noted calls between an event's stamp and its words. */
		clock = clock < run->last ? run->last : clock;
		*record = (struct raw_record){.kind = kind,
					      .cpu = RAW_CPU(word),
					      .tid = run->tid,
					      .clock = clock,
					      .address = word >> 16,
					      .size = size};
		if (has & 1U << RAW_ALIGN)
			record->align = align < 63 ? (u32)align : 63;
		if (tails == 2) {
			record->old = run->at[1] >> 16;
			record->old_clock = clock - span;
			if (span > clock || record->old_clock < run->last)
				record->old_clock = run->last;
		}
		run->last = clock;
		run->begun = false;
		run->due = tails == 2 ? record->old_clock : clock;
		run->at += tails;
		return true;
	}
	return false;
}

static bool before(const struct raw_run *a, const struct raw_run *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
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
	u32 number = chunks->waiting[chunks->next_waiting++];
	const struct raw_chunk *chunk = chunk_at(chunks, number);
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
				.base = chunk->base,
				.order = number};
	if (!decode(run)) {
		free(run);
		return 0;
	}
	chunks->heap[chunks->nr++] = run;
	sift_up(chunks, chunks->nr - 1);
	return 0;
}

struct by_base {
	u64 base;
	u32 number;
};

static int compare_bases(const void *a, const void *b)
{
	const struct by_base *x = a, *y = b;

	if (x->base != y->base)
		return x->base < y->base ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

int raw_chunks_begin(struct raw_chunks *chunks, const struct raw_header *header, size_t bytes)
{
	size_t nr = bytes / RAW_CHUNK_BYTES;
	struct by_base *bases;

	*chunks = (struct raw_chunks){.header = header, .bytes = bytes};
	if (nr > READ_ONCE(header->nr_chunks))
		nr = READ_ONCE(header->nr_chunks);
	bases = malloc((nr + 1) * sizeof(*bases));
	chunks->waiting = malloc((nr + 1) * sizeof(*chunks->waiting));
	if (!bases || !chunks->waiting) {
		free(bases);
		free(chunks->waiting);
		return -ENOMEM;
	}
	for (u32 i = 1; i < nr; i++) {
		const struct raw_chunk *chunk = chunk_at(chunks, i);

		/* Without: taken, and killed before anything was in it. */
		if (READ_ONCE(chunk->magic) == RAW_CHUNK_MAGIC)
			bases[chunks->nr_waiting++] = (struct by_base){chunk->base, i};
	}
	qsort(bases, chunks->nr_waiting, sizeof(*bases), compare_bases);
	for (u32 i = 0; i < chunks->nr_waiting; i++)
		chunks->waiting[i] = bases[i].number;
	free(bases);
	return 0;
}

int raw_chunks_peek(struct raw_chunks *chunks, struct raw_run **run)
{
	while (chunks->next_waiting < chunks->nr_waiting &&
	       (!chunks->nr || chunk_at(chunks, chunks->waiting[chunks->next_waiting])->base <=
				       chunks->heap[0]->due)) {
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

	if (run->record.kind == RAW_REALLOC && !run->begun) {
		run->begun = true;
		run->due = run->record.clock;
	} else if (!decode(run)) {
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

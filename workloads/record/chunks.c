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
 * Chunks are read, not mapped: pages of them may never have been written, and on a full tmpfs
 * even to look at such a page through a mapping is a SIGBUS.
 *
 * The process may still be running. So hot chunks are copied when they are listed, before the
 * length of the log is read: what is begun again after that is in the copy, and what was before is
 * in the log.
 *
 * The file is not trusted: any words are events, and what is none is passed over.
 */
#include "workloads/record/chunks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"

#define MAX_TRIES 1000 /* of copying a chunk that is begun again meanwhile */

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
		u32 kind = RAW_KIND(*at);

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
		u64 word = *run->at++;
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

static void end_run(struct raw_run *run)
{
	free(run->chunk);
	free(run);
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

/* As much as there is of the front of a chunk; the rest is zeros. 0 or an error. */
static int read_chunk(int fd, u64 number, void *chunk, size_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t n = pread(fd, (char *)chunk + done, bytes - done,
				  (off_t)(number * RAW_CHUNK_BYTES + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	memset((char *)chunk + done, 0, bytes - done);
	return 0;
}

/* Up to its last word that is not zero. */
static size_t used_bytes(const struct raw_chunk *chunk)
{
	const u64 *first = (const u64 *)(chunk + 1);
	const u64 *at = (const u64 *)((const char *)chunk + RAW_CHUNK_BYTES);

	while (at > first && !at[-1])
		at--;
	return (size_t)((const char *)at - (const char *)chunk);
}

/*
 * A chunk that may be written to meanwhile, *bytes of it: what stood there at the end of the first
 * reading has all words in front of it in the second, since chunks are written from their front.
 */
static int read_front(int fd, u64 number, struct raw_chunk *buffer, size_t *bytes)
{
	int error = read_chunk(fd, number, buffer, RAW_CHUNK_BYTES);

	if (error)
		return error;
	*bytes = used_bytes(buffer);
	return read_chunk(fd, number, buffer, *bytes);
}

/* A chunk of the log. */
static int load_chunk(struct raw_chunks *chunks, struct raw_waiting *waiting)
{
	int error;

	waiting->hot = malloc(RAW_CHUNK_BYTES);
	if (!waiting->hot)
		return -ENOMEM;
	error = read_front(chunks->fd, waiting->number, waiting->hot, &waiting->bytes);
	/* By which it was put in order. */
	waiting->hot->base = waiting->base;
	waiting->hot->serial = waiting->serial;
	return error;
}

/* The next waiting chunk's time has come. */
static int begin_chunk(struct raw_chunks *chunks)
{
	struct raw_waiting *waiting = &chunks->waiting[chunks->next_waiting];
	struct raw_chunk *chunk;
	struct raw_run *run;
	int error = waiting->hot ? 0 : load_chunk(chunks, waiting);

	if (error)
		return error;
	chunk = waiting->hot;
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
				.end = (const u64 *)((const char *)chunk + waiting->bytes),
				.chunk = chunk,
				.now = chunk->base,
				.cpu = chunk->cpu & 0xfff,
				.tid = chunk->tid};
	waiting->hot = NULL;
	chunks->next_waiting++;
	if (!decode(run)) {
		end_run(run);
		return 0;
	}
	chunks->heap[chunks->nr++] = run;
	sift_up(chunks, chunks->nr - 1);
	return 0;
}

/* Copies of one chunk stand together, the hot one first. */
static int compare_bases(const void *a, const void *b)
{
	const struct raw_waiting *x = a, *y = b;

	if (x->base != y->base)
		return x->base < y->base ? -1 : 1;
	if (x->serial != y->serial)
		return x->serial < y->serial ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static bool is_same(const struct raw_chunk *a, const struct raw_chunk *b)
{
	return a->magic == b->magic && a->base == b->base && a->serial == b->serial;
}

/* A hot chunk into a buffer, as it was at one time: *bytes of it, or 0 if it is not in use. */
static int copy_hot(int fd, u64 number, struct raw_chunk *buffer, size_t *bytes)
{
	struct raw_chunk before, after;

	*bytes = 0;
	for (int i = 0; i < MAX_TRIES; i++) {
		size_t used;
		int error = read_chunk(fd, number, &before, sizeof(before));

		/* One without magic was taken, and its thread killed before it was begun. */
		if (error || before.magic != RAW_CHUNK_MAGIC)
			return error;
		error = read_front(fd, number, buffer, &used);
		if (!error)
			error = read_chunk(fd, number, &after, sizeof(after));
		if (error)
			return error;
		if (is_same(buffer, &before) && is_same(&after, &before)) {
			*bytes = used;
			return 0;
		}
	}
	return 0;
}

static int list_hot(struct raw_chunks *chunks, u64 nr)
{
	struct raw_chunk *buffer = malloc(RAW_CHUNK_BYTES);
	int error = buffer ? 0 : -ENOMEM;

	for (u64 number = 1; number < nr && !error; number++) {
		struct raw_chunk *copy;
		size_t bytes;

		error = copy_hot(chunks->fd, number, buffer, &bytes);
		if (error || !bytes)
			continue;
		copy = malloc(bytes);
		if (copy)
			chunks->waiting[chunks->nr_waiting++] =
				(struct raw_waiting){buffer->base, buffer->serial, number,
						     memcpy(copy, buffer, bytes), bytes};
		else
			error = -ENOMEM;
	}
	free(buffer);
	return error;
}

static int list_log(struct raw_chunks *chunks, u64 first, u64 nr)
{
	for (u64 number = first; number < first + nr; number++) {
		struct raw_chunk chunk;
		int error = read_chunk(chunks->fd, number, &chunk, sizeof(chunk));

		if (error)
			return error;
		if (chunk.magic == RAW_CHUNK_MAGIC)
			chunks->waiting[chunks->nr_waiting++] = (struct raw_waiting){
				.base = chunk.base, .serial = chunk.serial, .number = number};
	}
	return 0;
}

/* Of two with one serial the copy in the log may be unfinished, unless the hot one has been begun
 * again since it was listed: then it is the log's that has all. */
static int drop_copies(struct raw_chunks *chunks)
{
	struct raw_waiting *list = chunks->waiting;
	u64 nr = 0;

	for (u64 i = 0; i < chunks->nr_waiting; i++) {
		struct raw_waiting *last = nr ? &list[nr - 1] : NULL;
		struct raw_chunk now;
		int error;

		if (!last || last->base != list[i].base || last->serial != list[i].serial) {
			list[nr++] = list[i];
			if (nr <= i)
				list[i].hot = NULL;
			continue;
		}
		error = last->hot ? read_chunk(chunks->fd, last->number, &now, sizeof(now)) : 0;
		if (error)
			return error;
		if (last->hot && !list[i].hot && !is_same(&now, last->hot)) {
			free(last->hot);
			*last = list[i];
		} else {
			free(list[i].hot);
			list[i].hot = NULL;
		}
	}
	chunks->nr_waiting = nr;
	return 0;
}

/* The header as it is by now, with no more chunks than the file has. */
static int read_header(int fd, struct raw_header *header)
{
	struct stat status;
	u64 nr;
	int error = read_chunk(fd, 0, header, sizeof(*header));

	if (!error && fstat(fd, &status))
		error = -errno;
	if (error)
		return error;
	nr = (u64)status.st_size / RAW_CHUNK_BYTES;
	header->first_log = min_t(u64, header->first_log, nr);
	header->nr_hot = min_t(u64, header->nr_hot, header->first_log);
	header->nr_log = min_t(u64, header->nr_log, nr - header->first_log);
	return 0;
}

int raw_chunks_begin(struct raw_chunks *chunks, int fd)
{
	struct raw_waiting *waiting;
	struct raw_header header;
	u64 nr_hot;
	int error = read_header(fd, &header);

	*chunks = (struct raw_chunks){.fd = fd};
	if (error)
		return error;
	nr_hot = header.nr_hot;
	chunks->waiting = malloc((nr_hot + 1) * sizeof(*chunks->waiting));
	if (!chunks->waiting)
		return -ENOMEM;
	error = list_hot(chunks, nr_hot);
	if (!error)
		error = read_header(fd, &header);
	if (error)
		return error;
	waiting = realloc(chunks->waiting, (nr_hot + header.nr_log + 1) * sizeof(*waiting));
	if (!waiting)
		return -ENOMEM;
	chunks->waiting = waiting;
	error = list_log(chunks, header.first_log, header.nr_log);
	if (error)
		return error;
	qsort(waiting, chunks->nr_waiting, sizeof(*waiting), compare_bases);
	return drop_copies(chunks);
}

int raw_chunks_peek(struct raw_chunks *chunks, struct raw_run **run)
{
	while (chunks->next_waiting < chunks->nr_waiting &&
	       (!chunks->nr ||
		chunks->waiting[chunks->next_waiting].base <= chunks->heap[0]->record.clock)) {
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
		end_run(run);
		chunks->heap[0] = chunks->heap[--chunks->nr];
		if (!chunks->nr)
			return;
	}
	sift_down(chunks, 0);
}

void raw_chunks_end(struct raw_chunks *chunks)
{
	for (u32 i = 0; i < chunks->nr; i++)
		end_run(chunks->heap[i]);
	for (u64 i = chunks->next_waiting; i < chunks->nr_waiting; i++)
		free(chunks->waiting[i].hot);
	free(chunks->heap);
	free(chunks->waiting);
}

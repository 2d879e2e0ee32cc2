/* SPDX-License-Identifier: MIT */
/* The checks of verify.h. */
#include <string.h>

#include "bench/suites/verify.h"

#define VERIFY_TOUCHES                                                                             \
	1024 /* pages touched by a check: each may cost a fault, in every run of every case */
#define VERIFY_PLACES 64 /* of one large object, at most */
#define VERIFY_PAIR   64

int verify_count(const struct bench_case *c, size_t size_bytes)
{
	size_t pages = (size_bytes + PAGE_SIZE - 1) / PAGE_SIZE;
	size_t count = VERIFY_TOUCHES / min_t(size_t, pages, VERIFY_PLACES);
	size_t most = c->count > 1 ? (size_t)c->count : VERIFY_PAIR;

	if (size_bytes < PAGE_SIZE)
		count = BATCH_COUNT;

	if (count > most)
		count = most;
	return count < 8 ? 8 : (int)count;
}

/* The places of a large object's words: its first, its last, and starts of pages between. */
static char *next_word(const char *object, size_t size, const char *at)
{
	const char *last = object + size - sizeof(uint64_t);
	size_t step = ALIGN_UP(size / VERIFY_PLACES, PAGE_SIZE);
	const char *page = (const char *)ALIGN_UP((uintptr_t)at + 1, PAGE_SIZE) + step - PAGE_SIZE;

	if (at == last)
		return NULL;
	return (char *)(page < last ? page : last);
}

void verify_fill(void *object, size_t size, uint64_t salt, uint64_t number)
{
	char *at = object;
	uint64_t word;

	if (size > PAGE_SIZE) {
		for (; at; at = next_word(object, size, at)) {
			word = verify_word(at, salt, number);
			memcpy(at, &word, sizeof(word));
		}
		return;
	}
	for (; size >= sizeof(word); at += sizeof(word), size -= sizeof(word)) {
		word = verify_word(at, salt, number);
		memcpy(at, &word, sizeof(word));
	}
	word = verify_word(at, salt, number);
	memcpy(at, &word, size);
}

long verify_check(const void *object, size_t size, uint64_t salt, uint64_t number)
{
	const char *at = object;
	uint64_t word;

	if (size > PAGE_SIZE) {
		for (; at; at = next_word(object, size, at)) {
			word = verify_word(at, salt, number);
			if (memcmp(at, &word, sizeof(word)))
				return at - (const char *)object;
		}
		return -1;
	}
	for (; size >= sizeof(word); at += sizeof(word), size -= sizeof(word)) {
		word = verify_word(at, salt, number);
		if (memcmp(at, &word, sizeof(word)))
			return at - (const char *)object;
	}
	word = verify_word(at, salt, number);
	return memcmp(at, &word, size) ? at - (const char *)object : -1;
}

/* Heap sort of object numbers by address: qsort would call malloc, which is one of the peers. */
static void sift_down(const struct verify_set *set, int root, int nr)
{
	uint16_t *heap = set->sorted;

	for (int child; (child = 2 * root + 1) < nr; root = child) {
		uint16_t swap = heap[root];

		if (child + 1 < nr &&
		    (uintptr_t)set->objects[heap[child + 1]] > (uintptr_t)set->objects[heap[child]])
			child++;
		if ((uintptr_t)set->objects[heap[child]] <= (uintptr_t)set->objects[swap])
			return;
		heap[root] = heap[child];
		heap[child] = swap;
	}
}

static void sort_by_address(struct verify_set *set)
{
	for (int i = 0; i < set->count; i++)
		set->sorted[i] = (uint16_t)i;
	for (int i = set->count / 2 - 1; i >= 0; i--)
		sift_down(set, i, set->count);
	for (int i = set->count - 1; i > 0; i--) {
		uint16_t swap = set->sorted[0];

		set->sorted[0] = set->sorted[i];
		set->sorted[i] = swap;
		sift_down(set, 0, i);
	}
}

static const char *check_apart(struct verify_set *set)
{
	sort_by_address(set);
	for (int i = 1; i < set->count; i++) {
		int low = set->sorted[i - 1], high = set->sorted[i];

		if (set->objects[low] == set->objects[high])
			return error_line("%p was handed out twice", set->objects[low]);
		if ((char *)set->objects[low] + set->sizes[low] > (char *)set->objects[high])
			return error_line(
				"object %d at %p of %zu bytes reaches into object %d at %p", low,
				set->objects[low], set->sizes[low], high, set->objects[high]);
	}
	return NULL;
}

static const char *check_words(const struct verify_set *set, int number)
{
	long offset =
		verify_check(set->objects[number], set->sizes[number], set->salt, (uint64_t)number);

	if (offset < 0)
		return NULL;
	return error_line("object %d at %p: the word at byte %ld is not what was written", number,
			  set->objects[number], offset);
}

static const char *allocate_all(struct bench_case *c, struct verify_set *set)
{
	char line[160];

	for (int i = 0; i < set->count; i++) {
		void *object = c->peer->alloc(set->sizes[i]);

		if (!object) {
			for (int j = 0; j < i; j++)
				c->peer->free(set->objects[j]);
			return case_no_memory(c, "for object %d of %d", i, set->count);
		}
		if (page_peer_misplaced(c->peer, object, set->sizes[i], line, sizeof(line)))
			return error_line("object %d: %s", i, line);
		if ((uintptr_t)object % 8)
			return error_line("object %d at %p is not aligned to 8 bytes", i, object);
		set->objects[i] = object;
	}
	return NULL;
}

const char *verify_run(struct bench_case *c, struct verify_set *set,
		       void (*visit)(struct bench_case *c, const void *object, void *arg),
		       void *arg)
{
	const char *error = allocate_all(c, set);

	if (!error)
		error = check_apart(set);
	if (error)
		return error;
	for (int i = 0; i < set->count; i++)
		verify_fill(set->objects[i], set->sizes[i], set->salt, (uint64_t)i);
	for (int i = 0; i < set->count; i++) {
		error = check_words(set, i);
		if (error)
			return error;
		if (visit)
			visit(c, set->objects[i], arg);
	}
	/* Again right before each free, so that a free that damages its neighbours is seen. */
	for (int i = 0; i < set->count; i++) {
		int number = set->order[i];

		error = check_words(set, number);
		if (error)
			return error;
		c->peer->free(set->objects[number]);
	}
	return NULL;
}

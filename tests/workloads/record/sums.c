/* SPDX-License-Identifier: MIT */
/*
 * sums TRACE: what a trace holds of the objects of work.c, in the words of work.c, and what it says
 * of frees that it missed or did not know. "threads N": how many threads took part; "went N":
 * objects that one thread allocated and another freed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/compiler.h"
#include "workloads/kmt.h"

struct object {
	u64 size;
	s32 tid;
};

static struct object objects[1 << 20];
static s32 tids[1 << 16];
static size_t nr_tids;
static u64 kinds[KMT_NR_KINDS], bytes, went;

static bool own(u64 size)
{
	return size > 1000 && size % 16 == 11;
}

static void note_thread(s32 tid)
{
	for (size_t i = 0; i < nr_tids; i++)
		if (tids[i] == tid)
			return;
	if (nr_tids < ARRAY_SIZE(tids))
		tids[nr_tids++] = tid;
}

static void take(const struct kmt_event *event)
{
	struct object *object = &objects[event->id % ARRAY_SIZE(objects)];
	bool frees = kmt_kind_effect(event->kind) == KMT_FREES;
	u64 size = frees ? object->size : event->arg;

	if (!frees)
		*object = (struct object){size, event->tid};
	if (!own(size))
		return;
	kinds[event->kind]++;
	note_thread(event->tid);
	if (frees)
		went += event->tid != object->tid;
	else
		bytes += size;
}

int main(int argc, char **argv)
{
	static struct kmt_event events[512];
	char error[KMT_ERROR_SIZE];
	struct kmt_reader *reader;
	const struct kmt_counts *counts;
	ssize_t n;

	if (argc != 2 || !(reader = kmt_open(argv[1], error)))
		return fprintf(stderr, "%s\n", error), 2;
	while ((n = kmt_read(reader, events, ARRAY_SIZE(events))) > 0)
		for (ssize_t i = 0; i < n; i++)
			take(&events[i]);
	if (n < 0)
		return fprintf(stderr, "%s\n", kmt_error(reader)), 2;
	counts = kmt_counts(reader);
	for (int kind = KMT_MALLOC; kind <= KMT_MEMALIGN; kind++)
		printf("%s %llu\n", kmt_kind_name(kind), (unsigned long long)kinds[kind]);
	printf("realloc %llu\nfree %llu\nbytes %llu\n", (unsigned long long)kinds[KMT_REALLOC],
	       (unsigned long long)kinds[KMT_FREE], (unsigned long long)bytes);
	printf("threads %zu\nwent %llu\nmissed %llu\nunknown %llu\nnull %llu\nfailed %llu\n",
	       nr_tids, (unsigned long long)went, (unsigned long long)counts->missed_object_frees,
	       (unsigned long long)counts->unknown_object_frees,
	       (unsigned long long)counts->null_frees, (unsigned long long)counts->failed_allocs);
	kmt_close(reader);
	return 0;
}

/* SPDX-License-Identifier: MIT */
/* What is asked of a page allocator, one block at a time: made up, or the page events of a .kmt trace. */
#ifndef TESTS_BENCH_RUN_PAGE_EVENTS_H
#define TESTS_BENCH_RUN_PAGE_EVENTS_H

#include "phys/gfp.h"

struct page_event {
	u32 id; /* of the block; numbered as in .kmt traces */
	bool is_free;
	u8 order, type; /* of an allocation */
};

struct page_events {
	struct page_event *events;
	size_t nr;
	u32 nr_ids;
};

/* Churn of blocks of all types, small ones above all, with most_pages in use at most and again and
 * again. Always the same. */
void page_events_make(struct page_events *events, size_t nr, u32 most_pages);
/* 0, or -1 with a line in error[KMT_ERROR_SIZE]. */
int page_events_read(struct page_events *events, const char *path, char *error);
int page_events_write(const struct page_events *events, const char *path, char *error);
void page_events_free(struct page_events *events);

#endif

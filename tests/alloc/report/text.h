/* SPDX-License-Identifier: MIT */
/* Reports caught as text, and read back. */
#ifndef TESTS_REPORT_TEXT_H
#define TESTS_REPORT_TEXT_H

#include <errno.h>

#include "report/report.h"
#include "tests/alloc/phys/machine.h"

#define REPORT_TEXT_SIZE (1UL << 16)

/* The text, to be freed. */
static inline char *report_text(int (*show)(struct kmm *, FILE *), struct kmm *machine)
{
	char *text = calloc(1, REPORT_TEXT_SIZE);
	FILE *out = text ? fmemopen(text, REPORT_TEXT_SIZE, "w") : NULL;

	if (!out || show(machine, out) || fclose(out)) {
		printf("Bail out! no text\n");
		exit(99);
	}
	return text;
}

/* The number behind the first line that begins with name, whatever the spaces around it; -1: there
 * is no such line. */
static inline long long report_value(const char *text, const char *name)
{
	const size_t length = strlen(name);

	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += strspn(line, " \n");
		if (!strncmp(line, name, length) && line[length] == ' ')
			return atoll(line + length);
	}
	return -1;
}

/* A stream that takes nothing is reported as an error. */
static inline void report_fails_on_a_full_disk(int (*show)(struct kmm *, FILE *))
{
	struct kmm *machine = boot((struct kmm_config){0});
	FILE *full = fopen("/dev/full", "w");

	if (!full) {
		skip("no /dev/full");
	} else {
		setvbuf(full, NULL, _IONBF, 0);
		ok_eq(show(machine, full), -EIO);
		fclose(full);
	}
	shut_down(machine);
}

/* Random work that leaves blocks allocated, in *head through page->private; give them back with
 * report_undo. */
static inline struct page *report_work(unsigned long *seed, unsigned long nr_ops, gfp_t gfp)
{
	struct page *live[256] = {NULL}, *head = NULL;

	for (unsigned long i = 0; i < nr_ops; i++) {
		struct page **at = &live[tap_random(seed) % ARRAY_SIZE(live)];

		if (*at) {
			__free_pages(*at, (unsigned int)(*at)->private);
			*at = NULL;
		} else {
			unsigned int order = (unsigned int)(tap_random(seed) % 5);

			*at = alloc_pages(gfp, order);
			if (*at)
				(*at)->private = order;
		}
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(live); i++)
		if (live[i]) {
			live[i]->lru.next = (struct list_head *)head;
			head = live[i];
		}
	return head;
}

static inline unsigned long report_undo(struct page *head)
{
	unsigned long nr_pages = 0;

	while (head) {
		struct page *next = (struct page *)head->lru.next;
		unsigned int order = (unsigned int)head->private;

		nr_pages += 1UL << order;
		__free_pages(head, order);
		head = next;
	}
	return nr_pages;
}

#endif

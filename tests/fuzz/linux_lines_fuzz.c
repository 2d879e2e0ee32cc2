/* SPDX-License-Identifier: MIT */
/* Any bytes as lines of the kernel's: a good one has fields in range, and a bad one a reason. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/run/linux_lines.h"
#include "tests/fuzz/fuzz.h"

static void check(const struct linux_line *line)
{
	const struct free_area_counts *free_blocks = &line->free;

	switch (line->kind) {
	case LINUX_SAMPLE:
		if (!line->ops || !line->cycles || !line->suite[0] || !line->name[0])
			abort();
		break;
	case LINUX_ROUND:
	case LINUX_EVENT:
		if (free_blocks->nr_buddy_pages > free_blocks->nr_managed_pages || !line->name[0])
			abort();
		break;
	case LINUX_STATE:
		if (!line->file[0] || strchr(line->file, '/') || strchr(line->text, '\n'))
			abort();
		break;
	case LINUX_PAGEBLOCK:
	case LINUX_FREE_BLOCK:
		if (line->order > MAX_PAGE_ORDER || line->pfn & ((1UL << line->order) - 1))
			abort();
		break;
	case LINUX_HELLO:
		if (!line->text[0])
			abort();
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	char *text = malloc(length + 1), *at, *end;
	char error[LINUX_LINE_ERROR];

	if (!text)
		abort();
	if (length)
		memcpy(text, bytes, length);
	text[length] = '\0';
	for (at = text; at; at = end) {
		struct linux_line line;

		end = strchr(at, '\n');
		if (end)
			*end++ = '\0';
		error[0] = '\0';
		if (!linux_line_parse(at, &line, error))
			check(&line);
		else if (!error[0] || strchr(error, '\n'))
			abort();
	}
	free(text);
	return 0;
}

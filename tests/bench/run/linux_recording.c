/* SPDX-License-Identifier: MIT */
/* See linux_recording.h. */
#include "tests/bench/run/linux_recording.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/run/linux_lines.h"
#include "tests/tap/tap.h"

const char *const when_names[NR_WHENS] = {"before", "end", "drained"};

static void append(struct blocks *blocks, const struct linux_line *line)
{
	if (!(blocks->nr & (blocks->nr - 1))) {
		size_t room = blocks->nr ? blocks->nr * 2 : 1;

		blocks->blocks = realloc(blocks->blocks, room * sizeof(struct block));
		if (!blocks->blocks)
			abort();
	}
	blocks->blocks[blocks->nr++] =
		(struct block){line->pfn, (u8)line->order, (u8)line->migratetype};
}

int recording_take(const struct linux_line *line, void *arg)
{
	struct recording *r = arg;

	if (line->kind == LINUX_HELLO)
		snprintf(r->release, sizeof(r->release), "%s", line->text);
	if (line->kind != LINUX_PAGEBLOCK && line->kind != LINUX_FREE_BLOCK)
		return 0;
	if (line->migratetype >= NR_MIGRATETYPES)
		return -EINVAL;
	for (int i = 0; i < NR_WHENS; i++)
		if (!strcmp(line->file, when_names[i]))
			append(line->kind == LINUX_PAGEBLOCK ? &r->pageblocks[i] : &r->free[i],
			       line);
	return 0;
}

static void widen(struct recording *r, const struct blocks *blocks, u64 *end)
{
	for (size_t i = 0; i < blocks->nr; i++) {
		const struct block *b = &blocks->blocks[i];

		r->base = min_t(u64, r->base, b->pfn);
		*end = max_t(u64, *end, b->pfn + (1UL << b->order));
	}
}

bool recording_has(const struct recording *r, const struct block *block)
{
	return block->pfn >= r->base && block->pfn < r->base + r->nr_pages;
}

bool recording_complete(struct recording *r)
{
	u64 end = 0;

	r->base = ~0ULL;
	for (int i = 0; i < NR_WHENS; i++) {
		if (!r->free[i].nr || !r->pageblocks[i].nr)
			return false;
		widen(r, &r->free[i], &end);
	}
	r->base &= ~((1UL << MAX_PAGE_ORDER) - 1);
	r->type_order = r->pageblocks[0].blocks[0].order;
	for (size_t i = 0; i < r->pageblocks[0].nr; i++)
		if (r->pageblocks[0].blocks[i].pfn < end)
			end = max_t(u64, end,
				    r->pageblocks[0].blocks[i].pfn + (1UL << r->type_order));
	r->nr_pages = (u32)(end - r->base);
	for (int i = 0; i < NR_WHENS; i++) {
		const struct blocks *of = &r->pageblocks[i];
		u32 nr = (r->nr_pages >> r->type_order) + 2;

		r->types[i] = malloc(nr);
		if (!r->types[i])
			abort();
		memset(r->types[i], MIGRATE_MOVABLE, nr);
		for (size_t j = 0; j < of->nr; j++)
			if (recording_has(r, &of->blocks[j]))
				r->types[i][(of->blocks[j].pfn - r->base) >> r->type_order] =
					of->blocks[j].type;
	}
	return true;
}

void recording_free(struct recording *r)
{
	for (int i = 0; i < NR_WHENS; i++) {
		free(r->free[i].blocks);
		free(r->pageblocks[i].blocks);
		free(r->types[i]);
	}
}

void count_blocks(const struct blocks *blocks, unsigned long nr[NR_PAGE_ORDERS])
{
	memset(nr, 0, NR_PAGE_ORDERS * sizeof(*nr));
	for (size_t i = 0; i < blocks->nr; i++)
		nr[blocks->blocks[i].order]++;
}

void recording_read(struct recording *r, const char *path)
{
	FILE *file = fopen(path, "r");
	char text[512], error[LINUX_LINE_ERROR];
	struct linux_line line;

	ok(file, "%s: %s", path, strerror(errno));
	while (file && fgets(text, sizeof(text), file)) {
		text[strcspn(text, "\n")] = '\0';
		ok(!linux_line_parse(text, &line, error) && !recording_take(&line, r), "%s: %s",
		   path, text);
	}
	if (file)
		fclose(file);
}

static void write_blocks(FILE *file, const struct recording *r, const char *kind, enum when when,
			 const struct blocks *blocks)
{
	for (size_t i = 0; i < blocks->nr; i++)
		if (recording_has(r, &blocks->blocks[i]))
			fprintf(file, "%s t %s %lu %u %u\n", kind, when_names[when],
				(unsigned long)blocks->blocks[i].pfn, blocks->blocks[i].order,
				blocks->blocks[i].type);
}

void recording_write(const struct recording *r, const char *path)
{
	FILE *file = fopen(path, "w");

	ok(file, "%s: %s", path, strerror(errno));
	if (!file)
		return;
	fprintf(file, "kmm-linux 1 %s\n", r->release);
	for (int when = 0; when < NR_WHENS; when++) {
		write_blocks(file, r, "pageblock", (enum when)when, &r->pageblocks[when]);
		write_blocks(file, r, "free", (enum when)when, &r->free[when]);
	}
	fprintf(file, "end\n");
	fclose(file);
}

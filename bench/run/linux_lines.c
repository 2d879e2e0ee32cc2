/* SPDX-License-Identifier: MIT */
/* See linux_lines.h. */
#include "bench/run/linux_lines.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define VERSION	    1
#define MAX_NUMBER  (1ULL << 63)
#define MAX_MANAGED (1ULL << 40) /* pages */
#define MAX_TYPE    7		 /* of blocks, whatever the kernel has */

/* A line, word by word. wrong: what the first bad word was to be. */
struct words {
	char *at;
	const char *wrong;
};

static const char *next_word(struct words *words, const char *what)
{
	char *word = words->at, *c;

	for (c = word; *c && *c != ' '; c++)
		if (!isalnum((unsigned char)*c) && !strchr("-_./", *c))
			break;
	if (c == word || (*c && *c != ' ')) {
		words->wrong = words->wrong ?: what;
		return "";
	}
	words->at = *c ? c + 1 : c;
	*c = '\0';
	return word;
}

static u64 next_number(struct words *words, const char *what, u64 max)
{
	const char *word = next_word(words, what);
	u64 number = 0;

	for (const char *c = word; *c; c++) {
		const u64 digit = (u64)(*c - '0');

		if (!isdigit((unsigned char)*c) || digit > max || number > (max - digit) / 10) {
			words->wrong = words->wrong ?: what;
			return 0;
		}
		number = number * 10 + digit;
	}
	return number;
}

static u64 any_number(struct words *words, const char *what)
{
	return next_number(words, what, MAX_NUMBER - 1);
}

/* All that is left. */
static const char *rest(struct words *words)
{
	char *text = words->at;

	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
			*c = ' ';
	words->at += strlen(text);
	return text;
}

/* It becomes a part of a file's name. */
static void no_folder(struct words *words, const char *word)
{
	if (strchr(word, '/'))
		words->wrong = words->wrong ?: "names without folders";
}

static void parse_hello(struct words *words, struct linux_line *line)
{
	if (any_number(words, "a version") != VERSION)
		words->wrong = words->wrong ?: "version 1";
	line->text = next_word(words, "a release");
	no_folder(words, line->text);
}

static void parse_sample(struct words *words, struct linux_line *line)
{
	line->suite = next_word(words, "a suite");
	line->name = next_word(words, "a case");
	line->size = next_word(words, "a size");
	line->count = next_number(words, "a count", 65536);
	line->ops = any_number(words, "operations");
	line->cycles = any_number(words, "cycles");
	if (!line->ops || !line->cycles)
		words->wrong = words->wrong ?: "operations and cycles that are not 0";
}

static void parse_memory(struct words *words, struct linux_line *line)
{
	struct free_area_counts *free = &line->free;

	line->name = next_word(words, "a name");
	if (line->kind == LINUX_ROUND)
		line->size = next_word(words, "a size");
	line->number = any_number(words, "a number");
	line->time = any_number(words, "a time");
	line->requested_bytes = any_number(words, "bytes");
	line->allocated_bytes = any_number(words, "bytes");
	free->nr_managed_pages = next_number(words, "pages", MAX_MANAGED);
	free->nr_pcp_pages = next_number(words, "pages", MAX_MANAGED);
	for (unsigned int order = 0; order < NR_PAGE_ORDERS; order++) {
		free->nr_blocks[order] = next_number(words, "free blocks", MAX_MANAGED >> order);
		free->nr_buddy_pages += free->nr_blocks[order] << order;
	}
	if (free->nr_buddy_pages + free->nr_pcp_pages > free->nr_managed_pages)
		words->wrong = words->wrong ?: "no more free pages than there are pages";
}

static void parse_state(struct words *words, struct linux_line *line)
{
	line->name = next_word(words, "a trace");
	line->file = next_word(words, "a file");
	no_folder(words, line->name);
	no_folder(words, line->file);
	line->text = rest(words);
}

static void parse_block(struct words *words, struct linux_line *line)
{
	line->name = next_word(words, "a trace");
	line->file = next_word(words, "when");
	no_folder(words, line->name);
	no_folder(words, line->file);
	line->pfn = next_number(words, "a page", MAX_MANAGED);
	line->order = (unsigned int)next_number(words, "an order", MAX_PAGE_ORDER);
	line->migratetype = (unsigned int)next_number(words, "a migratetype", MAX_TYPE);
	if (line->pfn & ((1ULL << line->order) - 1))
		words->wrong = words->wrong ?: "a block on its own boundary";
}

static void parse_skipped(struct words *words, struct linux_line *line)
{
	line->name = next_word(words, "a trace");
	no_folder(words, line->name);
	line->text = rest(words);
}

static void parse_error(struct words *words, struct linux_line *line)
{
	line->text = rest(words);
}

static void parse_end(struct words *words, struct linux_line *line)
{
	(void)words;
	(void)line;
}

static const struct {
	const char *word;
	void (*parse)(struct words *words, struct linux_line *line);
} kinds[] = {
	[LINUX_HELLO] = {"kmm-linux", parse_hello}, [LINUX_SAMPLE] = {"sample", parse_sample},
	[LINUX_ROUND] = {"round", parse_memory},    [LINUX_EVENT] = {"event", parse_memory},
	[LINUX_STATE] = {"state", parse_state},	    [LINUX_PAGEBLOCK] = {"pageblock", parse_block},
	[LINUX_FREE_BLOCK] = {"free", parse_block}, [LINUX_SKIPPED] = {"skipped", parse_skipped},
	[LINUX_ERROR] = {"error", parse_error},	    [LINUX_END] = {"end", parse_end},
};

int linux_line_parse(char *text, struct linux_line *line, char error[LINUX_LINE_ERROR])
{
	struct words words = {.at = text};
	const char *word = next_word(&words, "a kind of line");

	*line = (struct linux_line){0};
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(word, kinds[i].word))
			continue;
		line->kind = (enum linux_line_kind)i;
		kinds[i].parse(&words, line);
		if (*words.at)
			words.wrong = words.wrong ?: "nothing more";
		if (!words.wrong)
			return 0;
		snprintf(error, LINUX_LINE_ERROR, "%s: %s was wanted", word, words.wrong);
		return -EINVAL;
	}
	snprintf(error, LINUX_LINE_ERROR, "not a line of the benchmark's");
	return -EINVAL;
}

/* SPDX-License-Identifier: MIT */
/* Presets as text: there and back, and what is refused, with its line. */
#include "virt/tlb_file.h"

#include <string.h>

#include "tests/tap/tap.h"

#define HEAD "kmm-tlb 1\nname x\nlevels 4\n"
#define L1   "l1 T 64 4 all 4K plru\n"

static struct tlb_file file;
static char error[TLB_FILE_ERROR];

static int parse(const char *text)
{
	error[0] = '\0';
	return tlb_file_parse(text, strlen(text), &file, error);
}

static void refused(const char *text, const char *why)
{
	ok(parse(text) == -22, "taken: %s", text);
	ok(strstr(error, why) == error, "\"%s\", not \"%s\"", error, why);
	ok(!strchr(error, '\n'), "more than a line");
}

/* The same but for blanks, which a file has as dashes. */
static bool same_name(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != (*b == ' ' ? '-' : *b))
			return false;
	return *a == *b;
}

static void same_array(const struct tlb_geometry *a, const struct tlb_geometry *b)
{
	ok_eq(a->entries, b->entries);
	if (!a->entries || !b->entries)
		return;
	ok(same_name(a->name, b->name), "%s, %s", a->name, b->name);
	ok_eq(a->ways, b->ways);
	ok_eq(a->kinds, b->kinds);
	ok_eq(a->levels, b->levels);
	ok_eq(a->hash, b->hash);
	ok_eq(a->replacement, b->replacement);
}

static void same_config(const struct tlb_config *a, const struct tlb_config *b)
{
	for (int i = 0; i < TLB_MAX_ARRAYS; i++) {
		same_array(&a->arrays[0][i], &b->arrays[0][i]);
		same_array(&a->arrays[1][i], &b->arrays[1][i]);
	}
	for (int i = 0; i < TLB_MAX_CACHES; i++)
		same_array(&a->caches[i], &b->caches[i]);
	ok_eq(a->lines.entries, b->lines.entries);
	ok_eq(a->lines.ways, b->lines.ways);
	ok_eq(a->l2_hit_cycles, b->l2_hit_cycles);
	ok_eq(a->walk_cycles, b->walk_cycles);
	ok_eq(a->ref_cycles, b->ref_cycles);
	ok_eq(a->far_cycles, b->far_cycles);
	ok_eq(a->pcid, b->pcid);
	ok_eq(a->global, b->global);
}

static void there_and_back(const struct tlb_preset *preset)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	ok_eq(tlb_file_write(preset, out), 0);
	fclose(out);
	ok(!tlb_file_parse(text, length, &file, error), "%s: %s", preset->name, error);
	ok(!strcmp(file.preset.name, preset->name), "%s", file.preset.name);
	ok(!strcmp(file.preset.processor, preset->processor), "%s", file.preset.processor);
	ok(!strncmp(file.preset.sources, preset->sources, strlen(preset->sources)), "%s",
	   file.preset.sources);
	ok_eq(file.preset.max_levels, preset->max_levels);
	same_config(&file.preset.config, &preset->config);
	free(text);
}

static void presets_come_back_the_same(void)
{
	/* Those of the 32-bit processors have tables that a file cannot say. */
	for (const struct tlb_preset *preset = tlb_presets; preset->name; preset++)
		if (preset->max_levels >= 4)
			there_and_back(preset);
}

static void lines_and_far_cycles_come_back(void)
{
	struct tlb_preset preset = *tlb_find_preset("goldencove");

	preset.config.lines = (struct tlb_geometry){.name = "lines", .entries = 24576, .ways = 16};
	preset.config.far_cycles = 300;
	there_and_back(&preset);
}

static void the_least_is_taken(void)
{
	ok(!parse(HEAD L1), "%s", error);
	ok_eq(file.preset.config.arrays[0][0].entries, 64);
	ok_eq(file.preset.config.arrays[0][0].replacement, TLB_PLRU);
	ok(!parse("kmm-tlb 1\n\n# of people\nname\tx # a word\nlevels 5\n  " L1 "cycles far 9"),
	   "%s", error);
	ok_eq(file.preset.config.far_cycles, 9);
}

static void what_is_wrong_is_said_with_its_line(void)
{
	refused("", "the file is empty");
	refused("kmm-tlb 2\n", "1: not `kmm-tlb 1'");
	refused("kmm-tlb 1\nname x\n", "no levels");
	refused("kmm-tlb 1\nlevels 4\n" L1, "no name");
	refused(HEAD, "contradicts itself");
	refused(HEAD L1 "colour red\n", "5: colour: not known");
	refused(HEAD "l1 T 64 4 all 4K\n", "4: l1: not NAME");
	refused(HEAD "l1 T 64 5 all 4K lru\n", "4: 64 entries are not so many ways");
	refused(HEAD "l1 T 0 0 all 4K lru\n", "4: no entries");
	refused(HEAD "l1 T 99999 4 all 4K lru\n", "4: 99999: not a number up to 65535");
	refused(HEAD "l1 T -4 4 all 4K lru\n", "4: -4: not a number");
	refused(HEAD "l1 T 64 4 some 4K lru\n", "4: some: not known here");
	refused(HEAD "l1 T 64 4 all 4K+ lru\n", "4: : not known here");
	refused(HEAD "l1 T 64 4 all 4K mru\n", "4: mru: not lru or plru");
	refused(HEAD "l1 T 64 4 all 4K lru bash 4\n", "4: bash: not `hash BITS'");
	refused(HEAD "l1 T 64 4 all 4K lru hash 3\n", "contradicts itself");
	refused(HEAD "l1 T 24 6 all 4K plru\n", "contradicts itself");
	refused(HEAD L1 L1, "contradicts itself");
	refused(HEAD L1 "lines 16 4\nlines 16 4\n", "6: lines: given twice");
	refused(HEAD L1 "cycles l3 4\n", "5: cycles: l3: not l2");
	refused(HEAD L1 "cycles l2 4\ncycles l2 4\n", "6: cycles l2: given twice");
	refused(HEAD L1 "has wings\n", "5: has: not pcid or global");
	refused("kmm-tlb 1\nname x\nlevels 3\n", "3: levels: not 4 or 5");
	refused("kmm-tlb 1\nname x\nname y\n", "3: name: given twice");
	refused("kmm-tlb 1\nname x y\n", "2: name: not one word");
	refused("kmm-tlb 1\nprocessor a\nprocessor b\n", "3: given twice");
	refused("kmm-tlb 1\na b c d e f g h i j\n", "2: more than 9 words");
	refused("kmm-tlb 1\nname x\r\n", "2: a control character");
}

static void zeros_and_long_lines_are_refused(void)
{
	static char text[1000] = "kmm-tlb 1\nname ";

	ok_eq(tlb_file_parse("kmm-tlb 1\nna\0me", 15, &file, error), -22);
	ok(!strcmp(error, "2: a control character"), "%s", error);
	memset(text + 15, 'x', 900);
	refused(text, "2: longer than 255 characters");
	memset(text + 15, '\0', 900);
	memset(text + 15, 'x', TLB_NAME_SIZE);
	refused(text, "2: xxxx");
}

int main(void)
{
	RUN(presets_come_back_the_same);
	RUN(lines_and_far_cycles_come_back);
	RUN(the_least_is_taken);
	RUN(what_is_wrong_is_said_with_its_line);
	RUN(zeros_and_long_lines_are_refused);
	return done();
}

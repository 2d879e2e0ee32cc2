/* SPDX-License-Identifier: MIT */
/* Presets from text and to text; see tlb_file.h for the format. */
#include "virt/tlb_file.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define MAX_WORDS 9
#define MAX_LINE  256

struct parser {
	struct tlb_file *file;
	char *error;
	int line;
	bool has_cycles[4];
	char *words[MAX_WORDS + 1];
	int nr_words;
};

static int refuse(struct parser *parser, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int refuse(struct parser *parser, const char *fmt, ...)
{
	int length = 0;
	va_list ap;

	if (parser->line)
		length = snprintf(parser->error, TLB_FILE_ERROR, "%d: ", parser->line);
	va_start(ap, fmt);
	vsnprintf(parser->error + length, (size_t)(TLB_FILE_ERROR - length), fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/*
 * Words.
 */
static int take_number(struct parser *parser, const char *word, u32 max, u32 *number)
{
	u32 n = 0;
	const char *c = word;

	for (; *c >= '0' && *c <= '9' && n <= max; c++)
		n = n * 10 + (u32)(*c - '0');
	if (c == word || *c || n > max)
		return refuse(parser, "%.40s: not a number up to %u", word, max);
	*number = n;
	return 0;
}

struct flag {
	const char *name;
	u8 bits;
};

static const struct flag kinds[] = {{"all", TLB_ALL},
				    {"load", TLB_LOADS},
				    {"store", TLB_STORES},
				    {"fetch", TLB_INSTRUCTIONS},
				    {NULL, 0}};
static const struct flag pages[] = {
	{"4K", TLB_LEVEL(1)}, {"2M", TLB_LEVEL(2)}, {"1G", TLB_LEVEL(3)}, {NULL, 0}};
static const struct flag levels[] = {{"2", TLB_LEVEL(2)},
				     {"3", TLB_LEVEL(3)},
				     {"4", TLB_LEVEL(4)},
				     {"5", TLB_LEVEL(5)},
				     {NULL, 0}};

/* Names with + between them. */
static int take_flags(struct parser *parser, char *word, const struct flag *flags, u8 *bits)
{
	char *rest = word, *name;

	*bits = 0;
	while ((name = strsep(&rest, "+"))) {
		const struct flag *flag = flags;

		while (flag->name && strcmp(flag->name, name))
			flag++;
		if (!flag->name)
			return refuse(parser, "%.40s: not known here", name);
		*bits |= flag->bits;
	}
	return 0;
}

static int take_name(struct parser *parser, const char *word, char name[TLB_NAME_SIZE])
{
	if (strlen(word) >= TLB_NAME_SIZE)
		return refuse(parser, "%.40s: longer than %d characters", word, TLB_NAME_SIZE - 1);
	strcpy(name, word);
	return 0;
}

static int take_size(struct parser *parser, char **words, struct tlb_geometry *geometry)
{
	u32 entries, ways;
	int error = take_number(parser, words[0], UINT16_MAX, &entries);

	if (!error)
		error = take_number(parser, words[1], TLB_MAX_WAYS, &ways);
	if (error)
		return error;
	if (!entries)
		return refuse(parser, "no entries");
	if (ways ? entries % ways : entries > TLB_MAX_WAYS)
		return refuse(parser, "%u entries are not so many ways", entries);
	geometry->entries = (u16)entries;
	geometry->ways = (u16)ways;
	return 0;
}

/* REPLACEMENT [hash BITS], the words from here on. */
static int take_rest(struct parser *parser, char **words, struct tlb_geometry *geometry)
{
	u32 bits = 0;

	if (!strcmp(words[0], "plru"))
		geometry->replacement = TLB_PLRU;
	else if (strcmp(words[0], "lru"))
		return refuse(parser, "%.40s: not lru or plru", words[0]);
	if (!words[1])
		return 0;
	if (strcmp(words[1], "hash") || !words[2])
		return refuse(parser, "%.40s: not `hash BITS'", words[1]);
	if (take_number(parser, words[2], 16, &bits))
		return -EINVAL;
	geometry->hash = (u8)bits;
	return 0;
}

/*
 * Lines.
 */
static int line_l(struct parser *parser, int depth)
{
	struct tlb_geometry *array = parser->file->preset.config.arrays[depth];
	char *name, **words = parser->words;
	int i = 0, error;

	while (i < TLB_MAX_ARRAYS && array[i].entries)
		i++;
	if (i == TLB_MAX_ARRAYS)
		return refuse(parser, "more than %d of %s", TLB_MAX_ARRAYS, words[0]);
	if (parser->nr_words != 7 && parser->nr_words != 9)
		return refuse(parser,
			      "%s: not NAME ENTRIES WAYS KINDS PAGES REPLACEMENT [hash BITS]",
			      words[0]);
	name = parser->file->l_names[depth][i];
	array[i].name = name;
	error = take_name(parser, words[1], name);
	if (!error)
		error = take_flags(parser, words[4], kinds, &array[i].kinds);
	if (!error)
		error = take_flags(parser, words[5], pages, &array[i].levels);
	if (!error)
		error = take_rest(parser, words + 6, &array[i]);
	return error ? error : take_size(parser, words + 2, &array[i]);
}

static int line_l1(struct parser *parser)
{
	return line_l(parser, 0);
}

static int line_l2(struct parser *parser)
{
	return line_l(parser, 1);
}

static int line_cache(struct parser *parser)
{
	struct tlb_geometry *cache = parser->file->preset.config.caches;
	char **words = parser->words;
	int i = 0, error;

	while (i < TLB_MAX_CACHES && cache[i].entries)
		i++;
	if (i == TLB_MAX_CACHES)
		return refuse(parser, "more than %d of cache", TLB_MAX_CACHES);
	if (parser->nr_words != 6 && parser->nr_words != 8)
		return refuse(parser,
			      "cache: not NAME ENTRIES WAYS LEVELS REPLACEMENT [hash BITS]");
	cache[i].name = parser->file->cache_names[i];
	error = take_name(parser, words[1], parser->file->cache_names[i]);
	if (!error)
		error = take_flags(parser, words[4], levels, &cache[i].levels);
	if (!error)
		error = take_rest(parser, words + 5, &cache[i]);
	return error ? error : take_size(parser, words + 2, &cache[i]);
}

static int line_lines(struct parser *parser)
{
	struct tlb_geometry *lines = &parser->file->preset.config.lines;

	if (parser->nr_words != 3)
		return refuse(parser, "lines: not ENTRIES WAYS");
	if (lines->entries)
		return refuse(parser, "lines: given twice");
	lines->name = "lines";
	return take_size(parser, parser->words + 1, lines);
}

static int line_cycles(struct parser *parser)
{
	static const char *const names[] = {"l2", "walk", "reference", "far"};
	struct tlb_config *config = &parser->file->preset.config;
	u16 *const where[] = {&config->l2_hit_cycles, &config->walk_cycles, &config->ref_cycles,
			      &config->far_cycles};
	u32 cycles;

	if (parser->nr_words != 3)
		return refuse(parser, "cycles: not l2, walk, reference or far, and a number");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(parser->words[1], names[i]))
			continue;
		if (parser->has_cycles[i])
			return refuse(parser, "cycles %s: given twice", names[i]);
		parser->has_cycles[i] = true;
		if (take_number(parser, parser->words[2], UINT16_MAX, &cycles))
			return -EINVAL;
		*where[i] = (u16)cycles;
		return 0;
	}
	return refuse(parser, "cycles: %.40s: not l2, walk, reference or far", parser->words[1]);
}

static int line_has(struct parser *parser)
{
	if (parser->nr_words == 2 && !strcmp(parser->words[1], "pcid"))
		parser->file->preset.config.pcid = true;
	else if (parser->nr_words == 2 && !strcmp(parser->words[1], "global"))
		parser->file->preset.config.global = true;
	else
		return refuse(parser, "has: not pcid or global");
	return 0;
}

static int line_levels(struct parser *parser)
{
	const char *word = parser->words[1];

	if (parser->nr_words != 2 || (strcmp(word, "4") && strcmp(word, "5")))
		return refuse(parser, "levels: not 4 or 5");
	if (parser->file->preset.max_levels)
		return refuse(parser, "levels: given twice");
	parser->file->preset.max_levels = (u8)(*word - '0');
	return 0;
}

static int line_name(struct parser *parser)
{
	if (parser->nr_words != 2)
		return refuse(parser, "name: not one word");
	if (parser->file->name[0])
		return refuse(parser, "name: given twice");
	return take_name(parser, parser->words[1], parser->file->name);
}

/* A line's text after its first word, and whatever is there already before it. */
static int add_text(struct parser *parser, const char *text, char *to, size_t size, bool more)
{
	size_t used = strlen(to), length = strlen(text);

	if (used && !more)
		return refuse(parser, "given twice");
	if (used + length + 2 > size)
		return refuse(parser, "more than %zu characters of it", size - 2);
	memcpy(to + used, text, length + 1);
	if (more)
		memcpy(to + used + length, "\n", 2);
	return 0;
}

static const struct keyword {
	const char *name;
	int (*take)(struct parser *parser);
} keywords[] = {
	{"name", line_name},   {"levels", line_levels}, {"l1", line_l1},	 {"l2", line_l2},
	{"cache", line_cache}, {"lines", line_lines},	{"cycles", line_cycles}, {"has", line_has},
};

static int take_words(struct parser *parser, char *line)
{
	char *word, *rest = line;

	line[strcspn(line, "#")] = '\0';
	parser->nr_words = 0;
	while ((word = strsep(&rest, " \t"))) {
		if (!*word)
			continue;
		if (parser->nr_words == MAX_WORDS)
			return refuse(parser, "more than %d words", MAX_WORDS);
		parser->words[parser->nr_words++] = word;
	}
	parser->words[parser->nr_words] = NULL;
	if (!parser->nr_words)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++)
		if (!strcmp(keywords[i].name, parser->words[0]))
			return keywords[i].take(parser);
	return refuse(parser, "%.40s: not known", parser->words[0]);
}

static int take_line(struct parser *parser, char *line)
{
	struct tlb_file *file = parser->file;

	for (char *c = line; *c; c++)
		if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
			return refuse(parser, "a control character");
	if (parser->line == 1)
		return strcmp(line, "kmm-tlb 1") ? refuse(parser, "not `kmm-tlb 1'") : 0;
	if (!strncmp(line, "processor ", 10))
		return add_text(parser, line + 10, file->processor, sizeof(file->processor), false);
	if (!strncmp(line, "source ", 7))
		return add_text(parser, line + 7, file->sources, sizeof(file->sources), true);
	return take_words(parser, line);
}

static int take_lines(struct parser *parser, const char *text, size_t length)
{
	char line[MAX_LINE];
	int error = 0;

	if (length > TLB_FILE_MAX)
		return refuse(parser, "more than %d bytes", TLB_FILE_MAX);
	for (size_t at = 0; at < length && !error;) {
		const char *end = memchr(text + at, '\n', length - at);
		size_t bytes = end ? (size_t)(end - text) - at : length - at;

		parser->line++;
		if (bytes >= sizeof(line))
			return refuse(parser, "longer than %d characters", MAX_LINE - 1);
		memcpy(line, text + at, bytes);
		line[bytes] = '\0';
		if (memchr(line, '\0', bytes))
			return refuse(parser, "a control character");
		error = take_line(parser, line);
		at += bytes + 1;
	}
	return error;
}

static int check_whole(struct parser *parser)
{
	struct tlb_file *file = parser->file;
	struct tlb *tlb;
	int error;

	if (!parser->line)
		return refuse(parser, "the file is empty");
	parser->line = 0;
	if (!file->name[0])
		return refuse(parser, "no name");
	if (!file->preset.max_levels)
		return refuse(parser, "no levels");
	error = tlb_create(&file->preset.config, &tlb);
	if (error == -ENOMEM)
		return refuse(parser, "no memory");
	if (error)
		return refuse(parser,
			      "contradicts itself or is too large (every kind needs one l1 for "
			      "4K; plru a power of two of ways; hash as many bits as sets have)");
	tlb_destroy(tlb);
	return 0;
}

int tlb_file_parse(const char *text, size_t length, struct tlb_file *file,
		   char error[TLB_FILE_ERROR])
{
	struct parser parser = {.file = file, .error = error};
	int status;

	memset(file, 0, sizeof(*file));
	file->preset.name = file->name;
	file->preset.processor = file->processor;
	file->preset.sources = file->sources;
	file->preset.config.name = file->name;
	file->preset.config.paging = tlb_paging_4_level;
	status = take_lines(&parser, text, length);
	return status ? status : check_whole(&parser);
}

/*
 * Writing.
 */
static void write_flags(const struct flag *flags, u8 bits, FILE *out)
{
	const char *before = " ";

	for (; flags->name && bits; flags++) {
		if ((bits & flags->bits) != flags->bits)
			continue;
		fprintf(out, "%s%s", before, flags->name);
		bits &= (u8)~flags->bits;
		before = "+";
	}
}

static void write_name(const char *name, FILE *out)
{
	for (; *name; name++)
		fputc(*name == ' ' ? '-' : *name, out);
}

static void write_rest(const struct tlb_geometry *geometry, FILE *out)
{
	fputs(geometry->replacement == TLB_PLRU ? " plru" : " lru", out);
	if (geometry->hash)
		fprintf(out, " hash %u", geometry->hash);
	fputc('\n', out);
}

static void write_arrays(const struct tlb_config *config, int depth, FILE *out)
{
	for (int i = 0; i < TLB_MAX_ARRAYS; i++) {
		const struct tlb_geometry *array = &config->arrays[depth][i];

		if (!array->entries)
			continue;
		fprintf(out, "l%d ", depth + 1);
		write_name(array->name, out);
		fprintf(out, " %u %u", array->entries, array->ways);
		write_flags(kinds, array->kinds, out);
		write_flags(pages, array->levels, out);
		write_rest(array, out);
	}
}

static void write_sources(const char *text, FILE *out)
{
	while (*text) {
		int length = (int)strcspn(text, "\n");

		fprintf(out, "source %.*s\n", length, text);
		text += length + (text[length] == '\n');
	}
}

int tlb_file_write(const struct tlb_preset *preset, FILE *out)
{
	const struct tlb_config *config = &preset->config;

	fprintf(out, "kmm-tlb 1\nname %s\nprocessor %s\n", preset->name, preset->processor);
	write_sources(preset->sources, out);
	fprintf(out, "levels %u\n", preset->max_levels);
	write_arrays(config, 0, out);
	write_arrays(config, 1, out);
	for (int i = 0; i < TLB_MAX_CACHES; i++) {
		if (!config->caches[i].entries)
			continue;
		fputs("cache ", out);
		write_name(config->caches[i].name, out);
		fprintf(out, " %u %u", config->caches[i].entries, config->caches[i].ways);
		write_flags(levels, config->caches[i].levels, out);
		write_rest(&config->caches[i], out);
	}
	if (config->lines.entries)
		fprintf(out, "lines %u %u\n", config->lines.entries, config->lines.ways);
	fprintf(out, "cycles l2 %u\ncycles walk %u\ncycles reference %u\ncycles far %u\n",
		config->l2_hit_cycles, config->walk_cycles, config->ref_cycles, config->far_cycles);
	fputs(config->pcid ? "has pcid\n" : "", out);
	fputs(config->global ? "has global\n" : "", out);
	return ferror(out) ? -EIO : 0;
}

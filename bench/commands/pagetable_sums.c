/* SPDX-License-Identifier: MIT */
/* Ranges, formats and sums of kmm pagetable: what can be said without a table. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/options/options.h"
#include "bench/commands/pagetable.h"
#include "virt/walk.h"

/* The number that text begins with; *end behind it. */
static int hex_begin(const char *text, u64 *number, const char **end)
{
	char *stop;

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
		text += 2;
	if (!isxdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	*number = strtoull(text, &stop, 16);
	*end = stop;
	/* "0x0x1" is no number, though strtoull takes a second prefix. */
	return errno || memchr(text, 'x', (size_t)(stop - text)) ||
			       memchr(text, 'X', (size_t)(stop - text))
		       ? -EINVAL
		       : 0;
}

int va_parse(const char *text, u64 *va)
{
	const char *end;

	return hex_begin(text, va, &end) || *end ? -EINVAL : 0;
}

int va_range_parse(const char *text, struct va_range *range)
{
	u64 start, size = PAGE_SIZE, end;
	const char *rest;

	if (hex_begin(text, &start, &rest))
		return -EINVAL;
	if (*rest == '-') {
		if (va_parse(rest + 1, &end) || end <= start)
			return -EINVAL;
		size = end - start;
	} else if (*rest == '+') {
		if (parse_size(rest + 1, &size))
			return -EINVAL;
	} else if (*rest) {
		return -EINVAL;
	}
	if (start + (size - 1) < start)
		return -EINVAL;
	*range = (struct va_range){start, start + (size - 1), text};
	return 0;
}

void format_cut(const struct pgtable_format *format, char cut[FORMAT_CUT_SIZE])
{
	int length = 0;

	for (unsigned int level = format->levels; level; level--)
		length += snprintf(cut + length, FORMAT_CUT_SIZE - (size_t)length, "%u+",
				   format->index_bits[level]);
	snprintf(cut + length, FORMAT_CUT_SIZE - (size_t)length, "%u", format->page_shift);
}

static bool same_name(const char *given, const char *name)
{
	for (; *given && *name; given++, name++)
		if (*given != *name && !(*given == '-' && *name == '_'))
			return false;
	return *given == *name;
}

const struct pgtable_format *format_find(const char *name)
{
	char cut[FORMAT_CUT_SIZE];

	for (int i = 0; i < PGTABLE_NR_FORMATS; i++) {
		format_cut(pgtable_formats[i], cut);
		if (same_name(name, pgtable_formats[i]->name) || !strcmp(name, cut))
			return pgtable_formats[i];
	}
	return NULL;
}

bool format_has_range(const struct pgtable_format *format, const struct va_range *range)
{
	return pgtable_va_valid(format, range->start) && pgtable_va_valid(format, range->last) &&
	       (!format->canonical || (s64)(range->start ^ range->last) >= 0);
}

/* A table of a level is there for each entry of the level above that covers a mapped page. */
void format_sum(const struct pgtable_format *format, const struct va_range *ranges, int nr_ranges,
		struct pgtable_use *use)
{
	*use = (struct pgtable_use){0};
	for (unsigned int level = format->levels; level; level--) {
		u64 table_bytes = (u64)format->entry_bytes << format->index_bits[level], nr = 0;

		for (int i = 0; i < nr_ranges && level < format->levels; i++) {
			unsigned int shift = pgtable_level_shift(format, level + 1);
			u64 first = ranges[i].start >> shift, last = ranges[i].last >> shift;

			nr += last - first + 1;
			if (i && ranges[i - 1].last >> shift == first)
				nr--;
		}
		if (level == format->levels)
			nr = 1;
		use->bytes[level] = nr * max_t(u64, table_bytes, PAGE_SIZE);
		use->total_bytes += use->bytes[level];
		if (level <= 3 && level < format->levels)
			use->vm_pte_bytes += use->bytes[level];
	}
}

const char *bytes_text(u64 bytes, char text[BYTES_TEXT_SIZE])
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned int unit = 0;

	while (unit + 1 < ARRAY_SIZE(units) && bytes >> (10 * (unit + 1)))
		unit++;
	if (bytes & ((1UL << (10 * unit)) - 1))
		snprintf(text, BYTES_TEXT_SIZE, "%.1f %s",
			 (double)bytes / (double)(1UL << (10 * unit)), units[unit]);
	else
		snprintf(text, BYTES_TEXT_SIZE, "%llu %s", (unsigned long long)bytes >> (10 * unit),
			 units[unit]);
	return text;
}

static bool has_all(const struct pgtable_format *format, const struct va_range *ranges,
		    int nr_ranges)
{
	for (int i = 0; i < nr_ranges; i++)
		if (!format_has_range(format, &ranges[i]))
			return false;
	return true;
}

void print_sums(const struct pgtable_format *chosen, const struct va_range *ranges, int nr_ranges)
{
	char total[BYTES_TEXT_SIZE], vm_pte[BYTES_TEXT_SIZE], flat[BYTES_TEXT_SIZE];
	char half[BYTES_TEXT_SIZE], cut[FORMAT_CUT_SIZE];
	struct pgtable_use use;

	puts("memory for these ranges in pages of the smallest size, by format, and what one flat "
	     "table of all its\naddresses would take");
	printf("  %-12s %-15s %12s %12s %12s  %s\n", "format", "address", "tables", "VmPTE", "flat",
	       "flat, lower half");
	for (int i = 0; i < PGTABLE_NR_FORMATS; i++) {
		const struct pgtable_format *format = pgtable_formats[i];
		u64 flat_bytes = pgtable_flat_bytes(format);
		bool has = has_all(format, ranges, nr_ranges);

		format_cut(format, cut);
		if (has)
			format_sum(format, ranges, nr_ranges, &use);
		printf("%c %-12s %-15s %12s %12s %12s  %s\n", format == chosen ? '*' : ' ',
		       format->name, cut, has ? bytes_text(use.total_bytes, total) : "-",
		       has ? bytes_text(use.vm_pte_bytes, vm_pte) : "-",
		       bytes_text(flat_bytes, flat),
		       format->canonical ? bytes_text(flat_bytes / 2, half) : "-");
	}
}

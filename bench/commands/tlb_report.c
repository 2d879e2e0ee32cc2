/* SPDX-License-Identifier: MIT */
/* What kmm tlb prints; see tlb.h. */
#include <stdarg.h>
#include <string.h>

#include "bench/commands/tlb.h"

#define LABEL_WIDTH  22
#define NUMBER_WIDTH 16

const char *tlb_page_name(const struct tlb_paging *paging, unsigned int level)
{
	static const struct {
		unsigned int shift;
		const char *name;
	} names[] = {{12, "4K"}, {21, "2M"}, {22, "4M"}, {30, "1G"}};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].shift == paging->shift[level])
			return names[i].name;
	return "?";
}

/* A line of the table, put together so that no spaces are left at its end. */
struct row {
	char text[256];
	size_t length;
};

__attribute__((format(printf, 2, 3))) static void row_add(struct row *row, const char *fmt, ...)
{
	size_t room = sizeof(row->text) - row->length;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(row->text + row->length, room, fmt, ap);
	va_end(ap);
	row->length += min_t(size_t, (size_t)n, room - 1);
}

static void row_end(struct row *row, FILE *out)
{
	while (row->length && row->text[row->length - 1] == ' ')
		row->length--;
	fprintf(out, "%.*s\n", (int)row->length, row->text);
	row->length = 0;
}

static void row_label(struct row *row, const char *label)
{
	row->length = 0;
	row_add(row, "%-*s", LABEL_WIDTH, label);
}

/* A number, and its share of another. */
static void row_share(struct row *row, u64 n, u64 of)
{
	row_add(row, " %*llu", NUMBER_WIDTH, (unsigned long long)n);
	if (of)
		row_add(row, " %6.2f%%", 100.0 * (double)n / (double)of);
	else
		row_add(row, " %7s", "-");
}

static void print_found(const struct tlb_job *job, const char *label, enum tlb_found found,
			FILE *out)
{
	struct row row;

	row_label(&row, label);
	for (int i = 0; i < job->nr_variants; i++)
		row_share(&row, job->variants[i].counts.found[found],
			  job->variants[i].counts.accesses);
	row_end(&row, out);
}

/* A counter, by its place in the counts. */
static u64 counter(const struct tlb_variant *variant, size_t offset)
{
	return *(const u64 *)((const char *)&variant->counts + offset);
}

static void print_counter(const struct tlb_job *job, const char *label, size_t offset, FILE *out)
{
	struct row row;

	row_label(&row, label);
	for (int i = 0; i < job->nr_variants; i++)
		row_add(&row, " %*llu %7s", NUMBER_WIDTH,
			(unsigned long long)counter(&job->variants[i], offset), "");
	row_end(&row, out);
}

static void print_per(const struct tlb_job *job, const char *label, size_t offset, size_t per,
		      FILE *out)
{
	struct row row;

	row_label(&row, label);
	for (int i = 0; i < job->nr_variants; i++) {
		u64 n = counter(&job->variants[i], offset), of = counter(&job->variants[i], per);

		if (of)
			row_add(&row, " %*.3f %7s", NUMBER_WIDTH, (double)n / (double)of, "");
		else
			row_add(&row, " %*s %7s", NUMBER_WIDTH, "-", "");
	}
	row_end(&row, out);
}

static const struct tlb_array_counts *array_counts(const struct tlb_variant *variant, size_t offset)
{
	return (const struct tlb_array_counts *)((const char *)&variant->counts + offset);
}

/* Misses of one array, where any variant has looked into it. */
static void print_array(const struct tlb_job *job, size_t offset, const char *where, FILE *out)
{
	struct row row;
	char label[64];
	u64 lookups = 0;

	for (int i = 0; i < job->nr_variants; i++)
		lookups += array_counts(&job->variants[i], offset)->lookups;
	if (!lookups)
		return;
	snprintf(label, sizeof(label), "  %s %s", where,
		 array_counts(&job->variants[0], offset)->name);
	row_label(&row, label);
	for (int i = 0; i < job->nr_variants; i++)
		row_share(&row, array_counts(&job->variants[i], offset)->misses,
			  array_counts(&job->variants[i], offset)->lookups);
	row_end(&row, out);
}

static void print_heads(const struct tlb_job *job, FILE *out)
{
	struct row row;
	char head[64];

	row_label(&row, "");
	for (int i = 0; i < job->nr_variants; i++) {
		snprintf(head, sizeof(head), "%s pages, %u levels",
			 tlb_page_name(&job->config.paging, job->variants[i].leaf),
			 job->variants[i].levels);
		row_add(&row, " %*s", NUMBER_WIDTH + 8, head);
	}
	row_end(&row, out);
}

#define COUNT(name) offsetof(struct tlb_counts, name)

static void print_system(const struct tlb_job *job, FILE *out)
{
	print_counter(job, "context switches", COUNT(switches), out);
	print_counter(job, "kernel entries", COUNT(kernel_entries), out);
	print_counter(job, "loads of CR3", COUNT(cr3_loads), out);
	print_counter(job, "  that flushed", COUNT(flushes), out);
}

void tlb_report(const struct tlb_job *job, const char *what, FILE *out)
{
	fprintf(out, "%s: %s\n%s\n%s", job->preset->name, job->preset->processor, what,
		job->nr_outside ? "" : "\n");
	if (job->nr_outside)
		fprintf(out,
			"%llu of them are at addresses that tables of %u levels do not have: no "
			"program has these figures\n\n",
			(unsigned long long)job->nr_outside, tlb_job_levels(job));
	print_heads(job, out);
	print_counter(job, "lookups", COUNT(accesses), out);
	print_found(job, "found in L1", TLB_IN_L1, out);
	print_found(job, "found in L2", TLB_IN_L2, out);
	print_found(job, "walks", TLB_WALKED, out);
	print_counter(job, "memory references", COUNT(references), out);
	if (job->config.lines.entries)
		print_counter(job, "of them far", COUNT(far_references), out);
	print_per(job, "references a walk", COUNT(references), COUNT(walks), out);
	print_counter(job, "cycles, modelled", COUNT(cycles), out);
	print_per(job, "cycles a lookup", COUNT(cycles), COUNT(accesses), out);
	if (job->schedule.kernel_every || job->schedule.switch_every)
		print_system(job, out);
	fputs("misses, of lookups\n", out);
	for (size_t depth = 0; depth < TLB_DEPTH; depth++)
		for (size_t i = 0; i < TLB_MAX_ARRAYS; i++)
			print_array(job, COUNT(arrays[depth][i]), depth ? "L2" : "L1", out);
	for (size_t i = 0; i < TLB_MAX_CACHES; i++)
		print_array(job, COUNT(caches[i]), "walk cache", out);
}

static void print_geometry(const struct tlb_config *config, const struct tlb_geometry *geometry,
			   const char *where, FILE *out)
{
	unsigned int ways = geometry->ways ? geometry->ways : geometry->entries;

	if (!geometry->entries)
		return;
	fprintf(out, "  %-12s %-10s %5u entries, ", where, geometry->name, geometry->entries);
	if (ways == geometry->entries)
		fputs("fully associative", out);
	else
		fprintf(out, "%u ways of %u sets", ways, geometry->entries / ways);
	fprintf(out, ", %s", geometry->replacement == TLB_PLRU ? "pseudo-LRU" : "LRU");
	if (geometry->hash)
		fprintf(out, ", sets by an xor of twice %u bits", geometry->hash);
	for (unsigned int level = 1; level <= 3 && geometry->kinds; level++)
		if (geometry->levels & TLB_LEVEL(level) && level <= config->paging.levels)
			fprintf(out, ", %s", tlb_page_name(&config->paging, level));
	fputc('\n', out);
}

/* Text of several lines, each indented. */
static void print_indented(const char *text, FILE *out)
{
	while (*text) {
		int length = (int)strcspn(text, "\n");

		fprintf(out, "    %.*s\n", length, text);
		text += length + (text[length] == '\n');
	}
}

void tlb_print_preset(const struct tlb_preset *preset, FILE *out)
{
	const struct tlb_config *config = &preset->config;

	fprintf(out, "%s: %s\n", preset->name, preset->processor);
	for (int i = 0; i < TLB_MAX_ARRAYS; i++)
		print_geometry(config, &config->arrays[0][i], "L1", out);
	for (int i = 0; i < TLB_MAX_ARRAYS; i++)
		print_geometry(config, &config->arrays[1][i], "L2", out);
	for (int i = 0; i < TLB_MAX_CACHES; i++)
		print_geometry(config, &config->caches[i], "walk cache", out);
	fprintf(out, "  cycles       %u for a hit in L2, %u for a walk and %u for each reference\n",
		config->l2_hit_cycles, config->walk_cycles, config->ref_cycles);
	if (config->lines.entries)
		fprintf(out, "               %u more beyond %u lines of tables\n",
			config->far_cycles, config->lines.entries);
	fprintf(out, "  %s PCIDs, %s global entries\n  sources\n", config->pcid ? "has" : "no",
		config->global ? "has" : "no");
	print_indented(preset->sources, out);
}

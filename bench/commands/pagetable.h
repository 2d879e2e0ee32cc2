/* SPDX-License-Identifier: MIT */
/* kmm pagetable: what its files share. */
#ifndef KMM_BENCH_PAGETABLE_H
#define KMM_BENCH_PAGETABLE_H

#include <stdio.h>

#include "virt/pgtable.h"

/* Addresses, both ends included, so that the last of the space is one. */
struct va_range {
	u64 start, last;
	const char *text; /* as given */
};

/* START, START-END or START+SIZE: addresses in hexadecimal, END not included, SIZE as --memory has
 * it; START alone is one page of 4 KiB. 0 or -EINVAL. */
int va_range_parse(const char *text, struct va_range *range);
/* An address in hexadecimal, with 0x or without. 0 or -EINVAL. */
int va_parse(const char *text, u64 *va);

/* The format of a name (a hyphen is as good as an underscore) or of a cut such as 9+9+9+9+12; NULL
 * if there is none. */
const struct pgtable_format *format_find(const char *name);
/* How the format cuts an address: "9+9+9+9+12". */
#define FORMAT_CUT_SIZE 32
void format_cut(const struct pgtable_format *format, char cut[FORMAT_CUT_SIZE]);

/* Is each address of the range one of the format, all in one half of a canonical space? */
bool format_has_range(const struct pgtable_format *format, const struct va_range *range);
/* Bytes of tables that map the ranges (sorted, none over another), without larger leaves. */
void format_sum(const struct pgtable_format *format, const struct va_range *ranges, int nr_ranges,
		struct pgtable_use *use);

/* "256 GiB", "16 KiB", "1.5 MiB". */
#define BYTES_TEXT_SIZE 24
const char *bytes_text(u64 bytes, char text[BYTES_TEXT_SIZE]);

/* How va is cut into indices, a line a level. */
void print_cut(const struct pgtable_format *format, u64 va);
/* The tables as a tree, at most max_lines of it. */
void print_tree(struct pgtable *table, unsigned long max_lines);
/* For each format, what its tables take for the ranges, and one flat table. */
void print_sums(const struct pgtable_format *chosen, const struct va_range *ranges, int nr_ranges);

/* What a look at a process found (pagetable_pid.c). */
struct pid_pages {
	bool frames_shown; /* else only which pages are there is known */
	u64 nr_mappings, nr_present, nr_swapped;
	u64 nr_wrong;	  /* translations that are not as the kernel said */
	u64 nr_changed;	  /* at a second look */
	u64 vm_pte_bytes; /* the kernel's own count */
};
/* Map what the process has present into the empty table. EXIT_OK, or EXIT_BAD_INPUT after the one
 * line of complaint. */
int pid_map(long pid, struct pgtable *table, bool huge, struct pid_pages *pages);
/* A line of /proc/PID/maps: its addresses, and entry bits for its rights. 0 or -EINVAL. */
int maps_line_parse(const char *line, struct va_range *range, u64 *prot);

#endif

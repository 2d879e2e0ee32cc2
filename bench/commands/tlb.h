/* SPDX-License-Identifier: MIT */
/*
 * kmm tlb, in parts: what was asked for (tlb.c), presets that are files (tlb_preset.c), one or more
 * TLBs that see the same accesses (tlb_run.c), and what is printed of them (tlb_report.c). --probe
 * is in probe.h.
 */
#ifndef KMM_BENCH_TLB_H
#define KMM_BENCH_TLB_H

#include <stdio.h>

#include "virt/tlb.h"
#include "virt/tlb_file.h"
#include "workloads/access.h"

#define TLB_MAX_VARIANTS 6

/* One TLB: pages of one size, in tables of so many levels. */
struct tlb_variant {
	unsigned int leaf;   /* level of the pages' entries */
	unsigned int levels; /* of the tables */
	struct tlb *tlb;
	struct tlb_counts counts; /* once it has run */
};

/* What happens beside the accesses. */
struct tlb_schedule {
	u64 kernel_every; /* accesses from one system call to the next; 0: none */
	u64 kernel_pages; /* pages of code, and as many of data, that each touches */
	u64 switch_every; /* accesses from one context switch to the next; 0: none */
	u32 nr_processes; /* that take turns, each with these accesses in a space of its own */
};

struct tlb_job {
	const struct tlb_preset *preset;
	struct tlb_config config; /* the preset's, with what the user has changed */
	struct tlb_schedule schedule;
	struct tlb_variant variants[TLB_MAX_VARIANTS];
	int nr_variants;
	u64 nr_accesses; /* fed so far */
	u64 nr_outside;	 /* of them, at addresses that the smallest tables do not have */
};

/* Of the variants' tables, the fewest. */
unsigned int tlb_job_levels(const struct tlb_job *job);

/* Make the variants' TLBs. 0 or -errno. */
int tlb_job_begin(struct tlb_job *job);
/* Every variant sees these next. One that reaches into the next page is two. */
void tlb_job_feed(struct tlb_job *job, const struct access *accesses, size_t nr);
/* Read the counts and free the TLBs. */
void tlb_job_end(struct tlb_job *job);

/* Print what the variants counted, side by side. what: a line that says of what. */
void tlb_report(const struct tlb_job *job, const char *what, FILE *out);
/* Print a preset: its arrays, and where the numbers are from. */
void tlb_print_preset(const struct tlb_preset *preset, FILE *out);

/* Read the preset of a file. An exit status, after a line if it is bad. */
int tlb_read_preset(const char *path, struct tlb_file *file);
/* May a preset be called so? */
bool tlb_is_name(const char *name);

/* "4K", "2M", "1G": the page that a leaf of this level maps. */
const char *tlb_page_name(const struct tlb_paging *paging, unsigned int level);
/* Does the processor have pages of this level? */
bool tlb_has_pages(const struct tlb_config *config, unsigned int level);

#endif

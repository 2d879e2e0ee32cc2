/* SPDX-License-Identifier: MIT */
/*
 * kmm tlb --probe: the TLBs of the machine that it runs on, measured.
 *
 *	memory.c	a region of 4 KiB pages, and one of 2 MiB pages
 *	chain.c		chains of pointers: lines of the first, one a page, and as many packed
 *			into few pages of the second. They are the same to an L1 data cache:
 *			what differs is translation
 *	steps.c		where its cost rises, along the number of pages
 *	model.c		what the model gives a chain, and the costs that fit best
 *	fit.c		the geometry under which these are nearest to what was measured
 *	check.c		patterns that nothing was fitted to: measured, and modelled
 *	probe.c		from begin to end
 *	report.c	what was found, what was not to be seen, and the preset
 *
 * Cycles are the core's: a chain of multiplications tells how many pass in one of the clock's.
 */
#ifndef KMM_BENCH_PROBE_H
#define KMM_BENCH_PROBE_H

#include <stdio.h>

#include "bench/run/progress.h"
#include "virt/tlb.h"

#define PROBE_PAGE	 4096UL
#define PROBE_LINE	 64UL
#define PROBE_LINES	 (PROBE_PAGE / PROBE_LINE)
#define PROBE_HUGE	 (2UL << 20)
#define PROBE_HUGE_PAGES (PROBE_HUGE / PROBE_PAGE)
#define PROBE_MAX_POINTS 160
#define PROBE_MAX_REPS	 15
#define PROBE_QUIET	 0.25 /* of repetitions the lower quartile: what disturbs them only adds */

/*
 * Memory.
 */
struct probe_memory {
	char *small, *huge;  /* two regions, each aligned to 2 MiB */
	u64 nr_pages;	     /* of 4 KiB, in each */
	u64 huge_bytes;	     /* of the region of huge pages, those that smaps says are */
	u64 small_bad_bytes; /* of the other, those that are huge all the same */
	bool is_huge;	     /* all of the region of huge pages is */
	void *base;
	size_t size;
};

/* Two regions of nr_pages (a multiple of PROBE_HUGE_PAGES), written to. 0 or -errno. */
int probe_memory_begin(struct probe_memory *memory, u64 nr_pages);
void probe_memory_end(struct probe_memory *memory);
/* From text in smaps' format: bytes of AnonHugePages of the mappings that begin in [from, to). */
u64 probe_huge_bytes(FILE *smaps, u64 from, u64 to);

/*
 * Chains.
 */
enum probe_layout {
	PROBE_DENSE,  /* pages side by side */
	PROBE_SPREAD, /* any pages of the whole region */
	PROBE_SPAN,   /* any pages of a part of it, the same number of larger and larger parts */
	PROBE_STRIDE, /* every 512th: one for each entry of the level above */
	PROBE_LARGE,  /* a line of every page of 2 MiB */
	PROBE_NR_LAYOUTS
};

extern const char *const probe_layout_names[PROBE_NR_LAYOUTS];

/* The lines of a chain in the order of its visits, as byte offsets into the region that it is of,
 * and where the same lines are when packed. A seed is a chain. */
struct probe_chain {
	u32 nr;
	u64 *lines, *packed; /* [nr] */
};

/* Of nr lines, 1 up to probe_chain_limit, in the region's first `span' pages. 0, -EINVAL or
 * -ENOMEM. */
int probe_chain_make(struct probe_chain *chain, enum probe_layout layout, u32 nr, u64 span,
		     u64 seed);
void probe_chain_free(struct probe_chain *chain);
/* How long a chain of a layout can be. */
u64 probe_chain_limit(enum probe_layout layout, u64 span);
/* Write the pointers, at base; the last points to the first. Returns the first. */
void **probe_chain_link(char *base, const u64 *offsets, u32 nr);
/* The clock: the cycles for which this thread has run. Others that have its CPU in between do not
 * count. */
u64 probe_cycles(void);
/* Follow nr pointers (a multiple of 8) from *at, and leave there where that led. Clock cycles. */
u64 probe_chain_run(void ***at, u64 nr);
/* How many of the core's cycles pass in one of the clock's, now. */
double probe_core_per_clock(void);

/* One chain, measured. */
struct probe_point {
	enum probe_layout layout;
	u32 nr;
	u64 span; /* pages */
	u64 seed;
	double spread, packed; /* core cycles an access: lower quartiles */
	double noise;	       /* half the distance between the quartiles of spread - packed */
	int reps;
	double samples[2][PROBE_MAX_REPS]; /* spread, packed */
};

struct probe_points {
	struct probe_point at[PROBE_MAX_POINTS];
	int nr;
	u64 nr_pages;
	u64 small_base, huge_base; /* where the regions are */
	bool huge;		   /* the region of huge pages is of huge pages */
};

/* Add points of a layout with from .. to lines, each step times as many as the one before. 0,
 * or -E2BIG. */
int probe_plan(struct probe_points *points, enum probe_layout layout, double from, double to,
	       double step);
/* Add points of PROBE_SPAN with nr lines, in spans of nr pages up to all. 0, or -E2BIG. */
int probe_plan_spans(struct probe_points *points, u32 nr);
/* One repetition more of a point. 0 or -errno. */
int probe_measure(const struct probe_memory *memory, struct probe_point *point);

/*
 * Steps: a curve is taken as a row of levels, and rises between them.
 */
#define PROBE_MAX_STEPS 6

struct probe_step {
	int first;    /* index of the first value after it */
	double below; /* medians of the levels on its two sides */
	double above;
};

/*
 * Find where `values` rise by least_rise or more and by more than the noise, which is the values'
 * own. Returns how many of steps[] (up to PROBE_MAX_STEPS).
 */
int probe_steps(const double *values, int nr, double least_rise, struct probe_step *steps);

/*
 * Fit.
 */
struct probe_fit {
	struct tlb_config config;
	bool saw_l1, saw_l2, saw_large, saw_lines; /* saw_l2: and walks */
	double l2_cycles, walk_cycles, ref_cycles, far_cycles;
	double error; /* of the points themselves: mean of |modelled - measured| / measured */
};

/* The model of these points. 0, or -ENOMEM. Tells the progress of PROBE_FIT_STAGES parts of
 * stage_seconds each. What is not seen is as large there as was looked for. */
#define PROBE_FIT_STAGES 5
int probe_fit(const struct probe_points *points, struct probe_fit *fit, struct progress *progress,
	      double stage_seconds);
/* Cycles of translation that the model gives a point's chain: spread, or its packed twin. */
double probe_model(const struct tlb_config *config, const struct probe_points *points,
		   const struct probe_point *point, bool packed);

/*
 * Check.
 */
#define PROBE_MAX_CHECKS 64

struct probe_check {
	char name[48];
	double measured; /* cycles an access in pages of 4 KiB: the lower quartile */
	double packed;	 /* the same lines, packed */
	double modelled; /* cycles an access of translation, apart from packed ones */
	int reps;
	double samples[2][PROBE_MAX_REPS];
};

/*
 * Patterns that no chain has, by a rule that is fixed (see check.c): strides, random, zipf. One
 * repetition more of each, if config is NULL; else what the model with it gives them. Returns how
 * many there are, or -errno.
 */
int probe_checks(const struct probe_memory *memory, const struct tlb_config *config,
		 struct probe_check checks[PROBE_MAX_CHECKS]);
/* |packed + modelled - measured| / measured */
double probe_check_error(const struct probe_check *check);

/*
 * The whole.
 */
struct probe {
	struct probe_memory memory;
	struct probe_points points;
	struct probe_fit fit;
	struct probe_check checks[PROBE_MAX_CHECKS];
	int nr_checks, reps;
	struct progress progress;
	double seconds; /* that it may take */
	char processor[96];
	bool virtual;
	int cpu;	  /* that it stayed on; -1: on any */
	double cpu_share; /* of a CPU's time that it had while it measured */
	double load;	  /* the host's load average at the end of that */
};

/* Print what was found, and not; where something was, write the preset to path (NULL: nowhere): whole, in
 * the place of a file or of a link to one; into it, where it is a pipe or a device. An exit status. */
int probe_report(const struct probe *probe, const char *path, const char *name);
/* Whether a preset can be written there, asked before half a minute is measured. EXIT_OK, or a complaint. */
int probe_check_path(const char *path);

/* The command: how long it may take, where the preset goes (NULL: nowhere), its name. An exit
 * status. */
int probe_run(double seconds, const char *out, const char *name);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * The cases of the kmm command in the kernel: what its files share.
 *
 * A late initcall (main.c) runs the cases one after the other on the only CPU, says what it measured in
 * lines on the host's stdout (say.c; the lines are those of bench/run/linux_lines.h), and turns the
 * kernel off. The loops and what they draw are the command's own (loops.h), and so are the clock, the
 * time-stamp counter, and the sizes, which the command hands in as parameters.
 *
 * No locks: one thread.
 */
#ifndef KMM_BENCH_LINUX_H
#define KMM_BENCH_LINUX_H

#include <linux/gfp.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "loops.h"

#define NR_ORDERS  11 /* 0 to 10, whatever the kernel has */
#define HUGE_ORDER 9

/* Of the command line: kmm_bench.NAME=VALUE. */
extern int param_threads;	   /* that the command's cases have at most */
extern unsigned long param_memory; /* bytes of kmm's machine, whose batches these cases take */
extern int param_repetitions;	   /* of a case, in the round under way */
extern int param_ms;		   /* of one repetition, at least */

/* Cycles, as everything in a run is timed. */
static inline u64 cycles_now(void)
{
	return __builtin_ia32_rdtsc();
}

/* A line on the host's stdout. */
void say(const char *fmt, ...) __printf(1, 2);
/* The line that makes the run a failure; then say nothing of the case. Always -EIO. */
int say_error(const char *fmt, ...) __printf(1, 2);

enum pattern { PAIR, BULK, SHUFFLE, MIXED, BULK_CALL };

struct kmm_case {
	const char *suite, *name;
	char size[16];
	enum pattern pattern;
	loop_alloc *alloc;
	loop_free *release;
	size_t (*alloc_bulk)(size_t size, size_t count, void **objects);
	void (*free_bulk)(size_t count, void **objects);
	size_t size_bytes;
	int count;
	/* Not NULL: a case of its own kind, of n operations; false: a result was wrong. */
	bool (*run)(u64 n);
};

/* Check, warm up, time, check again, and say a line for each repetition. 0 or -errno. */
int measure_case(const struct kmm_case *c);

int page_cases(void);
int slab_cases(void);
int kmalloc_cases(void);
int tree_cases(void);
int ageing_cases(void);
int replay_cases(void);

/* Blocks of 2^block_order pages as a malloc: page.c. */
extern unsigned int block_order;
void *block_alloc(size_t size);
void block_free(void *block);

/* The page allocator's memory: state.c. */
struct free_blocks {
	u64 managed_pages, pcp_pages;
	u64 nr[NR_ORDERS];
};
void count_free(struct free_blocks *free);
u64 free_pages_of(const struct free_blocks *free); /* in the buddy */
/* " managed pcp n0 n1 ... n10", to end a line. */
char *free_blocks_text(const struct free_blocks *free, char *text, size_t size);
#define FREE_TEXT 320
/* Every line of /proc/NAME, as `state TRACE NAME LINE`. */
void say_proc(const char *trace, const char *name);
/* Every pageblock, as `pageblock TRACE WHEN PFN ORDER TYPE`, and every free block of the buddy in
 * the order of its lists, as `free TRACE WHEN PFN ORDER TYPE`. */
void say_free_blocks(const char *trace, const char *when);
/* No pages on lists of CPUs from here on; and again. */
void pcp_off(void);
void pcp_on(void);
void pcp_drain(void);

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What the kernel of bench/linux says on its stdout, line by line:
 *
 *	kmm-linux 1 RELEASE					first
 *	sample SUITE CASE SIZE COUNT OPS CYCLES			a repetition of a case
 *	round CASE SIZE NUMBER CYCLES REQUESTED ALLOCATED FREE	memory after a round of ageing
 *	event TRACE NUMBER NS REQUESTED ALLOCATED FREE		memory after so many events of a trace
 *	state TRACE FILE TEXT					a line of /proc/FILE at a trace's end
 *	pageblock TRACE WHEN PFN ORDER TYPE			a pageblock; WHEN: before, end, drained
 *	free TRACE WHEN PFN ORDER TYPE				a free block of the buddy, after those that
 *								come before it on its list
 *	skipped TRACE TEXT					it is not replayed to its end, and why
 *	error TEXT						and nothing else comes
 *	end							last
 *
 * FREE is MANAGED PCP N0 ... N10: pages the page allocator has, pages on lists of CPUs, free blocks by
 * order. TYPE is a migratetype, by the kernel's number. Sizes are bytes. Words are letters, digits and -_./ ; numbers decimal, below 2^63.
 *
 * Pure functions on one line.
 */
#ifndef KMM_BENCH_RUN_LINUX_LINES_H
#define KMM_BENCH_RUN_LINUX_LINES_H

#include "phys/page_alloc.h"

enum linux_line_kind {
	LINUX_HELLO,
	LINUX_SAMPLE,
	LINUX_ROUND,
	LINUX_EVENT,
	LINUX_STATE,
	LINUX_PAGEBLOCK,
	LINUX_FREE_BLOCK,
	LINUX_SKIPPED,
	LINUX_ERROR,
	LINUX_END,
};

/* Fields that the kind has; strings are in the line that was parsed. */
struct linux_line {
	enum linux_line_kind kind;
	const char *suite, *name, *size; /* name: of the case or the trace */
	const char *text;		 /* HELLO: the release; STATE, SKIPPED, ERROR */
	const char *file;		 /* STATE; of PAGEBLOCK and FREE_BLOCK: when */
	u64 count, ops, cycles;		 /* SAMPLE */
	u64 number, time;		 /* ROUND: in cycles, EVENT: in ns */
	u64 requested_bytes, allocated_bytes;
	struct free_area_counts free;
	u64 pfn; /* PAGEBLOCK, FREE_BLOCK */
	unsigned int order, migratetype;
};

#define LINUX_LINE_ERROR 160

/* Take one line, without its newline, apart; it is changed. 0; or -EINVAL, and what is wrong with it
 * in error. */
int linux_line_parse(char *text, struct linux_line *line, char error[LINUX_LINE_ERROR]);

#endif

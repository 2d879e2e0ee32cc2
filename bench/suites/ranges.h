/* SPDX-License-Identifier: MIT */
/*
 * Ranges of pages as the kernel's own test of vmalloc takes them (lib/test_vmalloc.c, 6.12): the
 * same names, sizes, alignments and things done, in words of our own.
 *
 *	fix_size		a page
 *	random_size		1 to 100 pages
 *	full_fit		a page, while every other one of as many areas as make the space full
 *				of holes is free
 *	long_busy_list		100 pages and a page, while many areas of a page are held
 *	fix_align		5 pages at 32 KiB, all of it written
 *	random_size_align	1 to 10 pages at up to 4 MiB, all of it written
 *	align_shift		a page at each alignment up to 64 MiB, all of it written
 *	fix_size_N, ...		the same while N areas of a page are held
 *
 * Each operation is an allocation, a write (the first byte's word where nothing else is said, as in
 * the kernel) and the free. How many areas there are is scaled to the host: each of kmm's takes two
 * of its mappings, and Linux allows a process 65,530; beyond, areas of a page can share them where Linux
 * is 6.15 or later. What cannot be had is a row that is skipped, with a note.
 */
#ifndef KMM_BENCH_SUITES_RANGES_H
#define KMM_BENCH_SUITES_RANGES_H

#include "bench/suites/objects.h"

/* map_ram.c: vm_map_ram and vm_map_ram_turns. 0 or -ENOMEM. */
int map_ram_cases_add(const struct bench_env *env, struct case_list *list);

/* map_unmap.c: map_unmap. 0 or -ENOMEM. */
int map_unmap_cases_add(const struct bench_env *env, struct case_list *list);

/* Append them; like says the suite, its hooks and kmm's tables. 0 or -ENOMEM. */
int range_cases_add(const struct bench_env *env, struct case_list *list,
		    const struct object_cases *like);

#endif

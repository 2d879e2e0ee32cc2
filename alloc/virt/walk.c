/* SPDX-License-Identifier: MIT */
/*
 * The walk as a function: of the format's own straight code where there is one, else generic. See
 * walk.h for what a walk beside a writer sees.
 */
#include "virt/walk.h"

const struct pgtable_format pgtable_x86_64 = PGTABLE_FORMAT_X86_64;

/*
 * Neither walk is instrumented by the thread sanitizer: it may read a page that was a table when
 * it came there, and throws the value away (free_gen). That race is meant; the sanitizer would
 * name it. clang instruments atomic accesses even where no_sanitize is said, and has an attribute
 * of its own.
 */
#ifndef __has_attribute
#define __has_attribute(x) 0
#endif
#if __has_attribute(disable_sanitizer_instrumentation)
#define RACY_READER __attribute__((disable_sanitizer_instrumentation))
#else
#define RACY_READER __attribute__((no_sanitize("thread")))
#endif

RACY_READER static __attribute__((noinline)) bool walk_any_format(const struct pgtable *table,
								  u64 va, struct pgtable_walk *walk)
{
	return pgtable_walk_format(table->format, table, va, walk);
}

RACY_READER bool pgtable_walk(const struct pgtable *table, u64 va, struct pgtable_walk *walk)
{
	if (likely(table->format == &pgtable_x86_64))
		return pgtable_walk_format(&walk_x86_64, table, va, walk);
	return walk_any_format(table, va, walk);
}

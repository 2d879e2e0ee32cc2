/* SPDX-License-Identifier: MIT */
/*
 * The walks as functions: straight code for each format that there is a constant of, and generic
 * code for any other. A table has its format's (table->walkers) from the beginning. See walk.h for
 * what a walk beside a writer sees.
 */
#include "virt/table.h"
#include "virt/walk_batch.h"

#define X(format, FORMAT)                                                                          \
	const struct pgtable_format pgtable_##format = PGTABLE_FORMAT_##FORMAT;                    \
	static const struct pgtable_format constant_##format = PGTABLE_FORMAT_##FORMAT;
PGTABLE_FORMATS(X)
#undef X

const struct pgtable_format *const pgtable_formats[] = {
#define X(format, FORMAT) &pgtable_##format,
	PGTABLE_FORMATS(X)
#undef X
};
_Static_assert(ARRAY_SIZE(pgtable_formats) == PGTABLE_NR_FORMATS, "all of them");

struct pgtable_walkers {
	bool (*walk)(const struct pgtable *table, u64 va, struct pgtable_walk *walk);
	bool (*access)(struct pgtable *table, u64 va, u32 access, struct pgtable_walk *walk);
	size_t (*batch)(const struct pgtable *table, const u64 *va, size_t nr,
			struct pgtable_walk *walks);
};

/*
 * No walk is instrumented by the thread sanitizer: it may read a page that was a table when it came
 * there, and throws the value away (free_gen). That race is meant; the sanitizer would name it.
 * clang instruments atomic accesses even where no_sanitize is said, and has an attribute of its
 * own.
 */
#ifndef __has_attribute
#define __has_attribute(x) 0
#endif
#if __has_attribute(disable_sanitizer_instrumentation)
#define RACY_READER __attribute__((disable_sanitizer_instrumentation))
#else
#define RACY_READER __attribute__((no_sanitize("thread")))
#endif

KMM_ALWAYS_INLINE bool access_format(const struct pgtable_format *format, struct pgtable *table,
				     u64 va, u32 access, struct pgtable_walk *walk)
{
	if (unlikely(!pgtable_va_valid(format, va))) {
		*walk = (struct pgtable_walk){0};
		return false;
	}
	for (;;) {
		enum pgtable_step step = pgtable_access_once(format, table, va, access, walk);

		if (likely(step == PGTABLE_END))
			return true;
		if (step == PGTABLE_FAULT)
			return false;
		if (step == PGTABLE_MARK)
			pgtable_mark(table, va, access);
	}
}

#define WALKERS(name, format)                                                                      \
	RACY_READER static bool walk_##name(const struct pgtable *table, u64 va,                   \
					    struct pgtable_walk *walk)                             \
	{                                                                                          \
		return pgtable_walk_format(format, table, va, walk);                               \
	}                                                                                          \
	RACY_READER static bool access_##name(struct pgtable *table, u64 va, u32 access,           \
					      struct pgtable_walk *walk)                           \
	{                                                                                          \
		return access_format(format, table, va, access, walk);                             \
	}                                                                                          \
	RACY_READER static size_t batch_##name(const struct pgtable *table, const u64 *va,         \
					       size_t nr, struct pgtable_walk *walks)              \
	{                                                                                          \
		return pgtable_walk_batch_format(format, table, va, nr, walks);                    \
	}                                                                                          \
	static const struct pgtable_walkers walkers_##name = {walk_##name, access_##name,          \
							      batch_##name};

#define X(format, FORMAT) WALKERS(format, &constant_##format)
PGTABLE_FORMATS(X)
#undef X
WALKERS(any, table->format)

const struct pgtable_walkers *pgtable_walkers_of(const struct pgtable_format *format)
{
#define X(name, NAME)                                                                              \
	if (format == &pgtable_##name)                                                             \
		return &walkers_##name;
	PGTABLE_FORMATS(X)
#undef X
	return &walkers_any;
}

RACY_READER bool pgtable_walk(const struct pgtable *table, u64 va, struct pgtable_walk *walk)
{
	/* The one that nearly all are of, without a call through a pointer. */
	if (likely(table->format == &pgtable_x86_64))
		return pgtable_walk_format(&constant_x86_64, table, va, walk);
	return table->walkers->walk(table, va, walk);
}

bool pgtable_access(struct pgtable *table, u64 va, u32 access, struct pgtable_walk *walk)
{
	return table->walkers->access(table, va, access, walk);
}

size_t pgtable_walk_batch(const struct pgtable *table, const u64 *va, size_t nr,
			  struct pgtable_walk *walks)
{
	return table->walkers->batch(table, va, nr, walks);
}

size_t pgtable_access_batch(struct pgtable *table, const u64 *va, size_t nr, u32 access,
			    struct pgtable_walk *walks)
{
	const struct pgtable_walkers *walkers = table->walkers;
	size_t nr_through = 0;

	for (size_t i = 0; i < nr; i++) {
		if (i % PGTABLE_GROUP == 0)
			walkers->batch(table, va + i, min_t(size_t, nr - i, PGTABLE_GROUP),
				       walks + i);
		nr_through += walkers->access(table, va[i], access, &walks[i]);
	}
	return nr_through;
}

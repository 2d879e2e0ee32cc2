/* SPDX-License-Identifier: MIT */
/*
 * Case map_unmap: what keeping page tables costs beside everything else that vmalloc does. A range of
 * 4 KiB pages is mapped and unmapped in kmm's tables, by one call each; an operation is a page of it.
 * The tables of the range come and go with it. Each thread has an address space of its own; frames
 * need not exist, for tables hold only their numbers.
 *
 * Before and after the timed runs every page of the range is translated and compared.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/suites/ranges.h"

#define BASE	  (1UL << 40)
#define FIRST_PFN 0x12345UL

struct map_thread {
	struct pgtable *table;
	int status; /* of the first call that failed */
};

/* Map, compare, unmap, compare. */
static const char *check(const struct bench_case *c, struct pgtable *table)
{
	uint64_t nr_pages = c->size_bytes >> PAGE_SHIFT;
	int status = pgtable_map(table, BASE, FIRST_PFN, nr_pages, PTE_WRITE, false);
	struct pgtable_walk walk;

	if (status)
		return error_line("cannot map %llu pages: %s", (unsigned long long)nr_pages,
				  strerror(-status));
	for (uint64_t i = 0; i < nr_pages; i++)
		if (!pgtable_walk(table, BASE + (i << PAGE_SHIFT), &walk) || walk.level != 1 ||
		    walk.pfn != FIRST_PFN + i)
			return error_line("page %llu is not mapped to its frame",
					  (unsigned long long)i);
	status = pgtable_unmap(table, BASE, nr_pages);
	if (status)
		return error_line("cannot unmap: %s", strerror(-status));
	for (uint64_t i = 0; i < nr_pages; i++)
		if (pgtable_walk(table, BASE + (i << PAGE_SHIFT), &walk))
			return error_line("page %llu is still mapped", (unsigned long long)i);
	return table->nr_tables == 1 ? NULL : error_line("empty tables are left");
}

static const char *prepare(struct bench_case *c)
{
	return kmm_attach(c->env->machine, 0) < 0 ? error_line("cannot attach to CPU 0") : NULL;
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	const char *error = thread_pin(c, thread);
	struct map_thread *state;

	*out = NULL;
	if (error)
		return error;
	state = harness_alloc(sizeof(*state), true, false);
	if (!state)
		return error_line("no memory for the harness");
	*out = state;
	if (pgtable_create(&pgtable_x86_64, &state->table))
		return error_line("no page table");
	error = check(c, state->table);
	if (!error)
		c->ops->run(c, thread, state, 2);
	return error;
}

static void run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	uint64_t nr_pages = c->size_bytes >> PAGE_SHIFT;
	struct map_thread *state = arg;
	struct pgtable *table = state->table;

	(void)thread;
	while (n-- && !state->status) {
		state->status = pgtable_map(table, BASE, FIRST_PFN, nr_pages, PTE_WRITE, false);
		if (!state->status)
			state->status = pgtable_unmap(table, BASE, nr_pages);
	}
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct map_thread *state = arg;
	const char *error = NULL;

	(void)thread;
	if (state && state->status)
		error = error_line("in a timed run: %s", strerror(-state->status));
	else if (state && state->table)
		error = check(c, state->table);
	if (state) {
		pgtable_destroy(state->table);
		harness_free(state, sizeof(*state));
	}
	thread_unpin(c);
	return error;
}

static const char *finish(struct bench_case *c)
{
	(void)c;
	return NULL;
}

static const struct case_ops ops = {
	.prepare = prepare,
	.thread_begin = begin,
	.run = run,
	.thread_end = end,
	.finish = finish,
};

int map_unmap_cases_add(const struct bench_env *env, struct case_list *list)
{
	static const size_t sizes[] = {2UL << 20, 64UL << 20};
	int threads[2], nr = thread_counts(env, threads);

	if (!env->machine)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (int j = 0; j < nr; j++) {
			struct bench_case *c = case_add(env, list, "vmalloc", "map_unmap", "kmm",
							&ops, threads[j]);

			if (!c)
				return -ENOMEM;
			c->size_bytes = sizes[i];
			c->ops_per_batch = sizes[i] >> PAGE_SHIFT;
			snprintf(c->size, sizeof(c->size), "%zu", sizes[i]);
		}
	}
	return 0;
}

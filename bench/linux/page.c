// SPDX-License-Identifier: MIT
/*
 * Suite page: pair, bulk and shuffle of every order; the same of order 0 in what is left when a share of
 * memory is in use, three quarters of it scattered, as the command's fillNN cases have it.
 */
#include "kmm_linux.h"

#define FILL_FLAGS (GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)

unsigned int block_order;

void *block_alloc(size_t size)
{
	return (void *)__get_free_pages(GFP_KERNEL, block_order);
}

void block_free(void *block)
{
	free_pages((unsigned long)block, block_order);
}

static const struct {
	const char *name;
	enum pattern pattern;
} patterns[] = {{"pair", PAIR}, {"bulk", BULK}, {"shuffle", SHUFFLE}};

static int measure_patterns(const char *prefix, unsigned int order, u64 memory)
{
	struct free_blocks free;
	u64 available;
	int error = 0, i;

	count_free(&free);
	available = free_pages_of(&free) << PAGE_SHIFT;
	block_order = order;
	for (i = 0; !error && i < ARRAY_SIZE(patterns); i++) {
		char name[24];
		struct kmm_case c = {
			.suite = "page",
			.name = name,
			.pattern = patterns[i].pattern,
			.alloc = block_alloc,
			.release = block_free,
			.size_bytes = PAGE_SIZE << order,
			.count = 1,
		};

		if (c.pattern != PAIR)
			c.count = batch_count_in(c.size_bytes, memory, param_threads);
		/* The command's machine may be larger. */
		while (c.count > 16 && c.count * c.size_bytes > available / 2)
			c.count /= 2;
		snprintf(name, sizeof(name), "%s%s", prefix, patterns[i].name);
		snprintf(c.size, sizeof(c.size), "%u", order);
		error = measure_case(&c);
	}
	return error;
}

struct fill {
	void **blocks;
	u64 nr;
};

/* Blocks up to percent and three quarters of the rest, then random ones back until percent is left. */
static int fill(struct fill *f, unsigned int percent)
{
	struct free_blocks free;
	u64 keep, take, used, random = BENCH_SEED;

	pcp_drain();
	count_free(&free);
	used = free.managed_pages - free_pages_of(&free);
	keep = free.managed_pages * percent / 100;
	take = keep + (free.managed_pages - keep) / 4 * 3;
	keep -= min(used, keep);
	take -= min(used, take);
	while (f->nr < take) {
		void *block = (void *)__get_free_pages(FILL_FLAGS, 0);

		if (!block)
			break;
		f->blocks[f->nr++] = block;
	}
	if (f->nr < keep)
		return say_error("page/fill%u: no memory after %llu pages of %llu", percent, f->nr,
				 keep);
	while (f->nr > keep) {
		u64 i = bench_random(&random) % f->nr;

		free_page((unsigned long)f->blocks[i]);
		f->blocks[i] = f->blocks[--f->nr];
	}
	return 0;
}

static int fill_cases(unsigned int percent)
{
	struct free_blocks free;
	struct fill f = {0};
	char prefix[16];
	int error;

	count_free(&free);
	f.blocks = kvmalloc_array(free.managed_pages, sizeof(void *), GFP_KERNEL);
	if (!f.blocks)
		return say_error("page/fill%u: no memory for the harness", percent);
	error = fill(&f, percent);
	snprintf(prefix, sizeof(prefix), "fill%u/", percent);
	if (!error)
		error = measure_patterns(prefix, 0, param_memory / 100 * (100 - percent));
	while (f.nr)
		free_page((unsigned long)f.blocks[--f.nr]);
	kvfree(f.blocks);
	return error;
}

int page_cases(void)
{
	static const unsigned int steps[] = {0, 50, 90, 95};
	unsigned int order;
	int error = 0, i;

	for (order = 0; !error && order < NR_ORDERS; order++)
		error = measure_patterns("", order, param_memory);
	for (i = 0; !error && i < ARRAY_SIZE(steps); i++)
		error = fill_cases(steps[i]);
	return error;
}

/* SPDX-License-Identifier: MIT */
/*
 * stress: each operation frees the block of a random slot and puts a block of a random order there,
 * whose contents say where it lies and which it is. They are read back when it is freed: a block
 * handed out twice, or one that reaches into another, is found at the next free of either.
 *
 *	order:      0    1    2    3   ...
 *	drawn:     1/2  1/4  1/8  1/16 ...  up to 10
 *
 * Written and read are all words of a block's first page, and the first and last word of each page
 * after it. The time of that is in ns_per_op, for every allocator alike: the row says checked.
 */
#include <string.h>

#include "bench/suites/page_cases.h"

#define MAX_SLOTS 1024

struct slot {
	void *block;
	uint64_t number;
	unsigned int order;
};

struct stress {
	struct object_thread *objects;
	const char *error; /* the first, after which nothing more is done */
	uint64_t random, salt, next_number;
	int nr_slots;
	struct slot slots[MAX_SLOTS];
};

static inline char *last_word(char *page)
{
	return page + PAGE_SIZE - sizeof(uint64_t);
}

static void fill(const struct stress *stress, const struct slot *slot)
{
	char *page = slot->block;

	verify_fill(page, PAGE_SIZE, stress->salt, slot->number);
	for (unsigned long i = 1; i < 1UL << slot->order; i++) {
		page += PAGE_SIZE;
		verify_fill(page, sizeof(uint64_t), stress->salt, slot->number);
		verify_fill(last_word(page), sizeof(uint64_t), stress->salt, slot->number);
	}
}

/* The offset of the first word found wrong, or -1. */
static long check(const struct stress *stress, const struct slot *slot)
{
	char *page = slot->block;
	long offset = verify_check(page, PAGE_SIZE, stress->salt, slot->number);

	for (unsigned long i = 1; offset < 0 && i < 1UL << slot->order; i++) {
		page += PAGE_SIZE;
		if (verify_check(page, sizeof(uint64_t), stress->salt, slot->number) >= 0 ||
		    verify_check(last_word(page), sizeof(uint64_t), stress->salt, slot->number) >=
			    0)
			offset = page - (char *)slot->block;
	}
	return offset;
}

static void empty(struct bench_case *c, struct stress *stress, struct slot *slot)
{
	long offset = slot->block ? check(stress, slot) : -1;

	if (offset >= 0)
		stress->error = error_line(
			"block %llu of order %u at %p: byte %ld is not what was written: it is "
			"another's too",
			(unsigned long long)slot->number, slot->order, slot->block, offset);
	else if (slot->block)
		block_free(c->peer, slot->block, slot->order);
	slot->block = NULL;
}

static void put(struct bench_case *c, struct stress *stress, struct slot *slot)
{
	slot->order = random_order(bench_random(&stress->random), MAX_PAGE_ORDER);
	slot->number = stress->next_number++ & 0xffff;
	slot->block = block_alloc(c->peer, slot->order);
	if (slot->block)
		stress->error = block_misplaced(c->peer, slot->block, slot->order);
	if (slot->block && !stress->error)
		fill(stress, slot);
	else if (!slot->block)
		stress->error = case_no_memory(c, "for a block of order %u", slot->order);
}

static void run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct stress *stress = arg;

	(void)thread;
	for (n *= c->ops_per_batch; n && !stress->error; n--) {
		struct slot *slot =
			&stress->slots[bench_random(&stress->random) % (uint64_t)stress->nr_slots];

		empty(c, stress, slot);
		if (!stress->error)
			put(c, stress, slot);
	}
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	struct stress *stress = harness_alloc(sizeof(*stress), true, false);
	const char *error;

	*out = stress;
	if (!stress)
		return error_line("no memory for the harness");
	stress->nr_slots = min_t(int, c->count, MAX_SLOTS);
	error = objects_thread_begin(c, thread, &stress->objects);
	if (error)
		return error;
	stress->random = stress->objects->random;
	stress->salt = stress->objects->verify.salt;
	for (int i = 0; i < stress->nr_slots && !stress->error; i++)
		put(c, stress, &stress->slots[i]);
	return stress->error;
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct stress *stress = arg;
	const char *error = NULL, *other;

	for (int i = 0; stress && i < stress->nr_slots; i++)
		if (!stress->error || stress->error == case_given_up(c))
			empty(c, stress, &stress->slots[i]);
	if (stress)
		error = stress->error;
	other = objects_thread_end(c, thread, stress ? stress->objects : NULL);
	harness_free(stress, sizeof(*stress));
	return error ? error : other;
}

const struct case_ops stress_ops = {
	.prepare = objects_prepare,
	.thread_begin = begin,
	.run = run,
	.thread_end = end,
	.finish = objects_finish,
};

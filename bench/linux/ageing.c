// SPDX-License-Identifier: MIT
/*
 * Ageing, as the command's cases ageing and ageing_mixed have it (bench/suites/page_ageing.c), with one
 * thread: memory is filled to 90 %, a random half is freed, and 100 rounds replace a share of what is
 * held. Each page of a block begins with a word of its own that is looked at before the block is freed.
 *
 * The array of blocks is taken first, and counts as memory in use.
 */
#include "kmm_linux.h"

#define NR_ROUNDS    100
#define PERCENT_FULL 90
#define NR_CLASSES   2
#define FLAGS	     (GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)

static const struct kind {
	const char *name, *size;
	unsigned int most; /* order */
	struct {
		unsigned int share, churn; /* in 1000: of all blocks; of the class, a round */
	} classes[NR_CLASSES];
} kinds[] = {
	{"ageing", "0", 0, {{1000, 100}, {0, 0}}},
	{"ageing_mixed", "0-4", 4, {{900, 108}, {100, 30}}},
};

struct block {
	void *block;
	u32 number;
	u32 order;
};

static struct {
	const struct kind *kind;
	u64 random, salt, pages, cycles;
	u32 next_number;
	struct {
		struct block *blocks;
		u64 nr;
	} classes[NR_CLASSES];
} age;

static int allocate(int class)
{
	struct block *block = &age.classes[class].blocks[age.classes[class].nr];
	unsigned int i;

	block->order = age.kind->most ? random_order(bench_random(&age.random), age.kind->most) : 0;
	block->number = age.next_number++ & 0xffff;
	block->block = (void *)__get_free_pages(FLAGS, block->order);
	if (!block->block)
		return say_error("page/%s: no memory for a block of order %u after %llu pages",
				 age.kind->name, block->order, age.pages);
	for (i = 0; i < 1 << block->order; i++) {
		u64 *word = block->block + i * PAGE_SIZE;

		*word = verify_word(word, age.salt, block->number);
	}
	age.classes[class].nr++;
	age.pages += 1 << block->order;
	return 0;
}

static int release(int class, u64 at)
{
	struct block *block = &age.classes[class].blocks[at];
	unsigned int i;

	for (i = 0; i < 1 << block->order; i++) {
		u64 *word = block->block + i * PAGE_SIZE;

		if (*word != verify_word(word, age.salt, block->number))
			return say_error("page/%s: a page of a block of order %u is another's too",
					 age.kind->name, block->order);
	}
	free_pages((unsigned long)block->block, block->order);
	age.pages -= 1 << block->order;
	*block = age.classes[class].blocks[--age.classes[class].nr];
	return 0;
}

static int release_random(int class, u64 nr)
{
	int error = 0;

	while (!error && nr--)
		error = release(class, bench_random(&age.random) % age.classes[class].nr);
	return error;
}

static u64 nr_churned(int class)
{
	return age.classes[class].nr * age.kind->classes[class].churn / 1000;
}

static int one_round(void)
{
	u64 nr[NR_CLASSES] = {nr_churned(0), nr_churned(1)};
	int error = release_random(0, nr[0]);

	error = error ?: release_random(1, nr[1]);
	while (!error && nr[0] + nr[1]) {
		int class = bench_random(&age.random) % (nr[0] + nr[1]) >= nr[0];

		nr[class]--;
		error = allocate(class);
	}
	return error;
}

static void say_round(unsigned int number)
{
	struct free_blocks free;
	char text[FREE_TEXT];

	count_free(&free);
	say("round %s %s %u %llu %llu %llu%s", age.kind->name, age.kind->size, number, age.cycles,
	    age.pages << PAGE_SHIFT, age.pages << PAGE_SHIFT,
	    free_blocks_text(&free, text, sizeof(text)));
}

static int rounds(void)
{
	unsigned int i;
	int error = 0;

	say_round(0);
	for (i = 1; !error && i <= NR_ROUNDS; i++) {
		u64 nr = nr_churned(0) + nr_churned(1), begin = cycles_now(), cycles;

		error = one_round();
		cycles = cycles_now() - begin;
		age.cycles += cycles;
		if (error)
			break;
		say("sample page %s %s 1 %llu %llu", age.kind->name, age.kind->size, nr, cycles);
		say_round(i);
	}
	return error;
}

static int fill_and_halve(u64 pages)
{
	int error = 0, class;

	while (!error && age.pages < pages)
		error = allocate(bench_random(&age.random) % 1000 >= age.kind->classes[0].share);
	for (class = 0; !error && class < NR_CLASSES; class ++)
		error = release_random(class, age.classes[class].nr / 2);
	return error;
}

static int ageing_case(const struct kind *kind)
{
	struct free_blocks free;
	u64 random = thread_seed(BENCH_SEED, 0), used, pages;
	int error = 0, class;

	memset(&age, 0, sizeof(age));
	age.kind = kind;
	age.salt = bench_random(&random);
	age.random = bench_random(&random) | 1;
	count_free(&free);
	for (class = 0; class < NR_CLASSES; class ++) {
		/* The second class is a tenth of all blocks. */
		u64 room = class ? free.managed_pages / 4 : free.managed_pages;

		age.classes[class].blocks = kvmalloc_array(room, sizeof(struct block), GFP_KERNEL);
		if (!age.classes[class].blocks)
			error = say_error("page/%s: no memory for the harness", kind->name);
	}
	pcp_drain();
	count_free(&free);
	used = free.managed_pages - free_pages_of(&free);
	pages = free.managed_pages * PERCENT_FULL / 100;
	error = error ?: fill_and_halve(pages - min(pages, used));
	error = error ?: rounds();
	for (class = 0; class < NR_CLASSES; class ++) {
		while (!error && age.classes[class].nr)
			error = release(class, age.classes[class].nr - 1);
		kvfree(age.classes[class].blocks);
	}
	return error;
}

int ageing_cases(void)
{
	int error = 0, i;

	for (i = 0; !error && i < ARRAY_SIZE(kinds); i++)
		error = ageing_case(&kinds[i]);
	return error;
}

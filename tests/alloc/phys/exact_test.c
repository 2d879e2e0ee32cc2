/* SPDX-License-Identifier: MIT */
/* Memory that is no power of two, and blocks split into frames. */
#include "phys/page_alloc.h"

#include <pthread.h>

#include "tests/alloc/phys/machine.h"
#include "tests/tap/dies.h"

static void every_size_takes_just_its_pages(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	unsigned long before = nr_free(machine, NUMA_NO_NODE);

	for (unsigned long nr = 1; nr <= 1024; nr += nr < 70 ? 1 : 53) {
		size_t size = nr * PAGE_SIZE - nr % 3;
		char *addr = alloc_pages_exact(size, GFP_KERNEL);

		ok(addr && !((unsigned long)addr & ~PAGE_MASK), "%lu pages: %p", nr, addr);
		if (!addr)
			continue;
		ok_eq(nr_free(machine, NUMA_NO_NODE), before - nr);
		memset(addr, 0x77, size);
		for (unsigned long i = 0; i < nr; i++) {
			const struct page *page = virt_to_page(addr + i * PAGE_SIZE);

			ok(page->order == 0 && page->type == PG_TYPE_ALLOC && page->refcount == 1,
			   "%lu pages: frame %lu is no single frame", nr, i);
		}
		phys_validate(machine);
		free_pages_exact(addr, size);
		ok_eq(nr_free(machine, NUMA_NO_NODE), before);
		phys_validate(machine);
	}
	shut_down(machine);
}

static void what_is_given_back_is_in_large_blocks(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct free_area_counts before, after;
	void *addr;

	kmm_drain(machine);
	count_free_areas(machine, NUMA_NO_NODE, &before);
	/* 513 of 1024: blocks of 1, 2, 4 ... 256 frames come back. */
	addr = alloc_pages_exact(513 * PAGE_SIZE, GFP_KERNEL);
	kmm_drain(machine);
	count_free_areas(machine, NUMA_NO_NODE, &after);
	ok_eq(after.nr_buddy_pages, before.nr_buddy_pages - 513);
	for (unsigned int order = 0; order < 9; order++)
		ok(after.nr_blocks[order] == before.nr_blocks[order] + 1,
		   "order %u: %llu, was %llu", order, (unsigned long long)after.nr_blocks[order],
		   (unsigned long long)before.nr_blocks[order]);
	free_pages_exact(addr, 513 * PAGE_SIZE);
	shut_down(machine);
}

static void sizes_that_cannot_be_give_nothing(void)
{
	struct kmm *machine = boot((struct kmm_config){0});

	ok(!alloc_pages_exact(0, GFP_KERNEL), "size 0");
	ok(!alloc_pages_exact((PAGE_SIZE << MAX_PAGE_ORDER) + 1, GFP_KERNEL), "more than 4 MiB");
	ok(!alloc_pages_exact(SIZE_MAX, GFP_KERNEL), "all there is");
	free_pages_exact(NULL, 100);
	shut_down(machine);
}

static void flags_and_nodes_are_as_asked(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	char *addr;

	for (int nid = 0; nid < 2; nid++) {
		addr = alloc_pages_exact_nid(nid, 5 * PAGE_SIZE, GFP_KERNEL);
		ok_eq(virt_to_page(addr)->nid, nid);
		memset(addr, 0xff, 5 * PAGE_SIZE);
		free_pages_exact(addr, 5 * PAGE_SIZE);
	}
	addr = alloc_pages_exact(5 * PAGE_SIZE, GFP_KERNEL | __GFP_ZERO | __GFP_COMP);
	ok(addr[0] == 0 && !memcmp(addr, addr + 1, 5 * PAGE_SIZE - 1), "not zero");
	free_pages_exact(addr, 5 * PAGE_SIZE);
	shut_down(machine);
	machine = boot((struct kmm_config){.node_bytes = 1UL << 30, .layout = ZONES_I386});
	addr = alloc_pages_exact(3 * PAGE_SIZE, GFP_HIGHUSER);
	ok(addr && page_address(virt_to_page(addr)) == addr, "HighMem has no address");
	free_pages_exact(addr, 3 * PAGE_SIZE);
	ok(!alloc_pages_exact(3 * PAGE_SIZE, GFP_KERNEL | __GFP_SHARED), "an address of HighMem");
	shut_down(machine);
}

static void a_split_block_is_single_frames(void)
{
	struct kmm *machine = boot((struct kmm_config){0});

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order += 2) {
		struct page *page = alloc_pages(GFP_KERNEL, order);
		unsigned long before = nr_free(machine, NUMA_NO_NODE), nr = 1UL << order;

		split_page(page, order);
		phys_validate(machine);
		for (unsigned long i = 0; i < nr; i++) {
			/* Odd ones first, so that neither half of a pair is the last of it. */
			unsigned long j = nr == 1 ? 0 : i < nr / 2 ? 2 * i + 1 : 2 * i - nr;

			ok_eq(page[j].refcount, 1);
			__free_pages(page + j, 0);
			ok_eq(nr_free(machine, NUMA_NO_NODE), before + i + 1);
		}
	}
	shut_down(machine);
}

static void wrong_frees_and_splits_stop_the_program(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	char *addr = alloc_pages_exact(5 * PAGE_SIZE, GFP_KERNEL);
	struct page *other = alloc_pages(GFP_KERNEL, 3);
	struct page *comp = alloc_pages(GFP_KERNEL | __GFP_COMP, 3);

	ok_dies("not allocated with", free_pages_exact(addr, 4 * PAGE_SIZE));
	ok_dies("not allocated with", free_pages_exact(addr, 5 * PAGE_SIZE + 1));
	ok_dies("not allocated with", free_pages_exact(addr, 0));
	ok_dies("not allocated with", free_pages_exact(addr, SIZE_MAX));
	ok_dies("no such memory", free_pages_exact(addr + PAGE_SIZE, 4 * PAGE_SIZE));
	ok_dies("no such memory", free_pages_exact(page_address(other), 8 * PAGE_SIZE));
	ok_dies("not the start", free_pages_exact(addr + 8, 5 * PAGE_SIZE));
	ok_dies("not the start", free_pages_exact(&addr, 5 * PAGE_SIZE));
	ok_dies("already", {
		free_pages_exact(addr, 5 * PAGE_SIZE);
		free_pages_exact(addr, 5 * PAGE_SIZE);
	});
	ok_dies("split", split_page(other, 2));
	ok_dies("split", split_page(other + 1, 0));
	ok_dies("split", split_page(comp, 3));
	ok_dies("double free", {
		split_page(other, 3);
		__free_pages(other, 0);
		__free_pages(other, 0);
	});
	__free_pages(other, 3);
	__free_pages(comp, 3);
	free_pages_exact(addr, 5 * PAGE_SIZE);
	shut_down(machine);
}

/* What a compound block or a slab left in a frame behind the memory does not look like a part of
 * it. */
static void frames_behind_the_memory_may_have_been_anything(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, 3), *single[8];
	struct page *again;

	__free_pages(page, 3);
	again = alloc_pages(GFP_KERNEL, 3);
	ok(again == page, "the hottest block comes first");
	split_page(again, 3);
	for (unsigned int i = 0; i < 8; i++)
		single[i] = again + i;
	for (unsigned int i = 0; i < 3; i++)
		__free_pages(single[i], 0);
	for (unsigned int i = 3; i < 8; i++)
		ok(single[i]->head != page, "frame %u still belongs to %p", i, (void *)page);
	for (unsigned int i = 3; i < 8; i++)
		__free_pages(single[i], 0);
	shut_down(machine);
}

/* A free looks at the frame behind its own, whose owner is at work meanwhile. */
static void *free_three_pages(void *addr)
{
	free_pages_exact(addr, 3 * PAGE_SIZE);
	return NULL;
}

static void the_frame_behind_the_memory_may_be_in_use(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	unsigned long rounds = tap_ops(50);

	for (unsigned long i = 0; i < rounds; i++) {
		char *addr = alloc_pages_exact(3 * PAGE_SIZE, GFP_KERNEL), *behind;
		pthread_t thread;

		/* What was cut off is the hottest. */
		behind = alloc_pages_exact(PAGE_SIZE, GFP_KERNEL);
		ok(behind == addr + 3 * PAGE_SIZE, "%p, not behind %p", (void *)behind,
		   (void *)addr);
		pthread_create(&thread, NULL, free_three_pages, addr);
		for (int n = 0; n < 1000; n++) {
			free_pages_exact(behind, PAGE_SIZE);
			behind = alloc_pages_exact(PAGE_SIZE, GFP_KERNEL);
		}
		pthread_join(thread, NULL);
		free_pages_exact(behind, PAGE_SIZE);
	}
	shut_down(machine);
}

static void memory_of_every_size_at_random(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	unsigned long state = tap_seed() | 1, ops = tap_ops(2000);
	struct {
		char *addr;
		size_t size;
	} live[16] = {{0}};
	unsigned long before = nr_free(machine, NUMA_NO_NODE);

	for (unsigned long i = 0; i < ops; i++) {
		unsigned int at = tap_random(&state) % 16;
		char *addr = live[at].addr;
		size_t size = live[at].size;

		if (addr) {
			for (size_t b = 0; b < size; b += PAGE_SIZE)
				ok(addr[b] == (char)at, "%p + %zu: another's", (void *)addr, b);
			free_pages_exact(addr, size);
		}
		size = tap_random(&state) % (tap_random(&state) % 8 ? 9 * PAGE_SIZE : 4UL << 20) +
		       1;
		addr = alloc_pages_exact(size, GFP_KERNEL | __GFP_NORETRY);
		if (addr)
			for (size_t b = 0; b < size; b += PAGE_SIZE)
				addr[b] = (char)at;
		live[at].addr = addr;
		live[at].size = size;
	}
	for (unsigned int at = 0; at < 16; at++)
		free_pages_exact(live[at].addr, live[at].size);
	ok_eq(nr_free(machine, NUMA_NO_NODE), before);
	shut_down(machine);
}

int main(void)
{
	RUN(every_size_takes_just_its_pages);
	RUN(what_is_given_back_is_in_large_blocks);
	RUN(sizes_that_cannot_be_give_nothing);
	RUN(flags_and_nodes_are_as_asked);
	RUN(a_split_block_is_single_frames);
	RUN(wrong_frees_and_splits_stop_the_program);
	RUN(frames_behind_the_memory_may_have_been_anything);
	RUN(the_frame_behind_the_memory_may_be_in_use);
	RUN(memory_of_every_size_at_random);
	return done();
}

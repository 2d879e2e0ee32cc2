/* SPDX-License-Identifier: MIT */
/*
 * Frees that cannot be, each in a child that must stop and say what is wrong. What a frame was
 * before decides how much can be known of it: of a frame in the middle of a free block it is only
 * sure that no block begins there, so such cases ask for "free of frame" alone.
 */
#include "phys/page_alloc.h"
#include "phys/zone.h"

#include "tests/alloc/phys/machine.h"
#include "tests/tap/dies.h"

static void a_block_is_freed_once_whatever_its_order(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 128UL << 20});

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
		struct page *page = alloc_pages(GFP_KERNEL, order), *next;

		ok_dies("double free", {
			__free_pages(page, order);
			__free_pages(page, order);
		});
		/* With another one freed between, it is not the hottest any more. */
		next = alloc_pages(GFP_KERNEL, order);
		ok_dies("double free", {
			__free_pages(page, order);
			__free_pages(next, order);
			__free_pages(page, order);
		});
		__free_pages(next, order);
		__free_pages(page, order);
	}
	shut_down(machine);
}

static void a_compound_block_is_freed_once(void)
{
	struct kmm *machine = boot((struct kmm_config){0});

	for (unsigned int order = 0; order <= 9; order += 3) {
		struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, order);

		ok_dies("free of frame", {
			__free_pages(page, order);
			__free_pages(page, order);
		});
		__free_pages(page, order);
	}
	shut_down(machine);
}

/* In the buddy it may have become a part of something larger. */
static void a_free_is_known_after_the_lists_are_drained(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct kmm *bare;

	for (unsigned int order = 0; order <= 3; order += 3) {
		struct page *page = alloc_pages(GFP_KERNEL, order);

		ok_dies("free of frame", {
			__free_pages(page, order);
			kmm_drain(machine);
			__free_pages(page, order);
		});
		__free_pages(page, order);
	}
	shut_down(machine);
	bare = boot((struct kmm_config){.no_pcp = true});
	for (unsigned int order = 0; order <= 9; order++) {
		struct page *page = alloc_pages(GFP_KERNEL, order);

		ok_dies("free of frame", {
			__free_pages(page, order);
			__free_pages(page, order);
		});
		__free_pages(page, order);
	}
	shut_down(bare);
}

/* Two halves of a block come back and merge: neither can come again. */
static void a_free_is_known_after_a_merge(void)
{
	struct kmm *machine = boot((struct kmm_config){.no_pcp = true});

	for (unsigned int order = 0; order < MAX_PAGE_ORDER; order += 3) {
		struct page *pages[4096], *low = NULL, *high = NULL;
		unsigned int nr = 0;

		/* Until there is a pair of buddies. */
		while (!high && nr < ARRAY_SIZE(pages)) {
			unsigned long pfn;

			pages[nr] = alloc_pages(GFP_KERNEL, order);
			if (!pages[nr])
				break;
			pfn = page_to_pfn(pages[nr]) ^ (1UL << order);
			for (unsigned int i = 0; i < nr; i++)
				if (page_to_pfn(pages[i]) == pfn) {
					low = pages[i] < pages[nr] ? pages[i] : pages[nr];
					high = pages[i] < pages[nr] ? pages[nr] : pages[i];
				}
			nr++;
		}
		ok(high, "no two buddies of order %u", order);
		if (high) {
			ok_dies("free of frame", {
				__free_pages(low, order);
				__free_pages(high, order);
				__free_pages(high, order);
			});
			ok_dies("free of frame", {
				__free_pages(high, order);
				__free_pages(low, order);
				__free_pages(low, order);
			});
		}
		while (nr)
			__free_pages(pages[--nr], order);
	}
	shut_down(machine);
}

/* By another CPU, to whose lists it does not belong, or of another node. */
static void a_free_is_known_on_another_cpu(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	struct page *page = alloc_pages(GFP_KERNEL, 1);

	for (int cpu = 1; cpu < 4; cpu++) {
		ok_dies("free of frame", {
			__free_pages(page, 1);
			kmm_attach(machine, cpu);
			__free_pages(page, 1);
		});
		ok_dies("free of frame", {
			kmm_attach(machine, cpu);
			__free_pages(page, 1);
			kmm_attach(machine, 0);
			__free_pages(page, 1);
		});
	}
	__free_pages(page, 1);
	shut_down(machine);
}

static void an_address_is_freed_once(void)
{
	struct kmm *machine = boot((struct kmm_config){0});

	for (unsigned int order = 0; order <= 6; order += 3) {
		unsigned long addr = __get_free_pages(GFP_KERNEL, order);

		ok_dies("double free", {
			free_pages(addr, order);
			free_pages(addr, order);
		});
		ok_dies("not the start of a page", free_pages(addr + 8, order));
		ok_dies("not the start of a page", free_pages(addr + 2048, order));
		ok_dies("not the start of a page", free_pages(addr + PAGE_SIZE - 1, order));
		if (order)
			ok_dies("free of frame", free_pages(addr + PAGE_SIZE, order));
		free_pages(addr, order);
	}
	ok_dies("not the start of a page", free_pages((unsigned long)&machine & PAGE_MASK, 0));
	ok_dies("not the start of a page",
		free_pages((unsigned long)machine->direct_map + (machine->nr_frames << PAGE_SHIFT),
			   0));
	ok_dies("not the start of a page",
		free_pages((unsigned long)machine->direct_map - PAGE_SIZE, 0));
	ok_dies("not the start of a page", free_pages(~0UL, 0));
	ok_dies("not the start of a page", free_pages(PAGE_SIZE, 0));
	shut_down(machine);
}

static void the_order_must_be_the_blocks_own(void)
{
	static const unsigned int none[] = {
		MAX_PAGE_ORDER + 1, 15,	       16, 31, 32, 63, 255, 256, 259, 0x103, 0x10000, ~0U,
		1U << 31,	    0x80000003};
	struct kmm *machine = boot((struct kmm_config){.node_bytes = 128UL << 20});

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
		struct page *page = alloc_pages(GFP_KERNEL, order);
		char want[48];

		snprintf(want, sizeof(want), "allocated with order %u", order);
		for (unsigned int wrong = 0; wrong <= MAX_PAGE_ORDER; wrong++)
			if (wrong != order)
				ok_dies(want, __free_pages(page, wrong));
		for (unsigned int i = 0; i < ARRAY_SIZE(none); i++)
			ok_dies(want, __free_pages(page, none[i]));
		__free_pages(page, order);
	}
	shut_down(machine);
}

static void a_block_is_freed_at_its_first_frame(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	static const gfp_t kinds[] = {GFP_KERNEL, GFP_KERNEL | __GFP_COMP};

	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++)
		for (unsigned int order = 1; order <= 4; order++) {
			struct page *page = alloc_pages(kinds[k], order);

			for (unsigned long i = 1; i < 1UL << order; i += 1 + i / 3) {
				ok_dies("free of frame", __free_pages(page + i, 0));
				ok_dies("free of frame", __free_pages(page + i, order));
			}
			__free_pages(page, order);
		}
	shut_down(machine);
}

static void a_stranger_is_no_page(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct kmm *other = boot((struct kmm_config){0});
	struct page *foreign = alloc_pages(GFP_KERNEL, 0), *page;
	struct page local, *heap = malloc(sizeof(*heap));
	struct page *mem_map = machine->mem_map;

	/* They look as well as they can. */
	local = *foreign;
	*heap = *foreign;
	kmm_attach(machine, 0);
	page = alloc_pages(GFP_KERNEL, 0);
	for (unsigned int order = 0; order <= 3; order += 3) {
		ok_dies("not a page", __free_pages(&local, order));
		ok_dies("not a page", __free_pages(heap, order));
		ok_dies("not a page", __free_pages(NULL, order));
		ok_dies("not a page", __free_pages((struct page *)~0UL, order));
		ok_dies("not a page", __free_pages(foreign, order));
		ok_dies("not a page", __free_pages(mem_map + machine->nr_frames, order));
		ok_dies("not a page", __free_pages(mem_map + (1UL << 40), order));
		ok_dies("not a page", __free_pages(mem_map - 1, order));
		for (unsigned long offset = 1; offset < sizeof(*page); offset *= 2)
			ok_dies("not a page",
				__free_pages((struct page *)((char *)page + offset), order));
	}
	__free_pages(page, 0);
	free(heap);
	shut_down(machine);
	kmm_attach(other, 0);
	__free_pages(foreign, 0);
	shut_down(other);
}

static void what_boot_and_others_keep_is_not_freed(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	unsigned long addr = (unsigned long)kmalloc(64, GFP_KERNEL) & PAGE_MASK;
	struct page *table = alloc_pages(GFP_KERNEL, 0);
	struct page *mem_map = machine->mem_map;
	bool reserved = false;

	for (unsigned long pfn = 0; pfn < machine->nr_frames && !reserved; pfn++)
		if (pfn_is_reserved(machine->phys, pfn)) {
			ok_dies("reserved", __free_pages(mem_map + pfn, 0));
			ok_dies("reserved", __free_pages(mem_map + pfn, 3));
			reserved = true;
		}
	ok(reserved, "boot keeps nothing");
	ok_dies("free of frame", free_pages(addr, 0));
	page_set_type(table, PG_TYPE_TABLE);
	ok_dies("it is in use", __free_pages(table, 0));
	page_set_type(table, PG_TYPE_ALLOC);
	__free_pages(table, 0);
	kmm_shutdown(machine, &(struct kmm_leaks){0});
}

int main(void)
{
	RUN(a_block_is_freed_once_whatever_its_order);
	RUN(a_compound_block_is_freed_once);
	RUN(a_free_is_known_after_the_lists_are_drained);
	RUN(a_free_is_known_after_a_merge);
	RUN(a_free_is_known_on_another_cpu);
	RUN(an_address_is_freed_once);
	RUN(the_order_must_be_the_blocks_own);
	RUN(a_block_is_freed_at_its_first_frame);
	RUN(a_stranger_is_no_page);
	RUN(what_boot_and_others_keep_is_not_freed);
	return done();
}

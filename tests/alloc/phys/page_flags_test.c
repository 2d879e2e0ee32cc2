/* SPDX-License-Identifier: MIT */
/* Page flags: each alone, by several threads at once, over the life of a block; and compound
 * blocks. */
#include "phys/page_flags.h"

#include <pthread.h>

#include "tests/alloc/phys/machine.h"
#include "tests/tap/dies.h"

static struct page *block;

#define EACH_FUNCTION(name, Name)                                                                  \
	static void check_##name(struct page *page, u32 others)                                    \
	{                                                                                          \
		const u32 bit = PAGE_FLAG(PG_##name);                                              \
                                                                                                   \
		page->flags = others;                                                              \
		ok(!Page##Name(page), #name " is set");                                            \
		SetPage##Name(page);                                                               \
		ok(Page##Name(page) && page->flags == (others | bit), "Set " #name);               \
		ok(TestSetPage##Name(page), #name " was set");                                     \
		ok(TestClearPage##Name(page) && page->flags == others, "TestClear " #name);        \
		ok(!TestClearPage##Name(page), #name " was clear");                                \
		ok(!TestSetPage##Name(page) && page->flags == (others | bit), "TestSet " #name);   \
		ClearPage##Name(page);                                                             \
		ok(!Page##Name(page) && page->flags == others, "Clear " #name);                    \
		__SetPage##Name(page);                                                             \
		ok(page->flags == (others | bit), "__Set " #name);                                 \
		__ClearPage##Name(page);                                                           \
		ok(page->flags == others, "__Clear " #name);                                       \
		page->flags = 0;                                                                   \
	}
PAGE_FLAGS(EACH_FUNCTION)
#undef EACH_FUNCTION

static void each_flag_is_one_bit_and_leaves_the_others(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct page *page = alloc_pages(GFP_KERNEL, 0);

	ok_eq(page->flags, 0);
#define CHECK(name, Name)                                                                          \
	check_##name(page, 0);                                                                     \
	check_##name(page, ~PAGE_FLAG(PG_##name));
	PAGE_FLAGS(CHECK)
#undef CHECK
	__free_pages(page, 0);
	shut_down(machine);
}

static void a_compound_block_has_its_heads_flags(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, 3);

	SetPageDirty(page + 5);
	ok(PageDirty(page) && PageDirty(page + 7), "set on a tail");
	ok(TestClearPageDirty(page + 1) && !PageDirty(page), "cleared on a tail");
	for (unsigned int i = 1; i < 8; i++)
		ok_eq(page[i].flags, 0);
	__free_pages(page, 3);
	shut_down(machine);
}

static void compound_blocks_say_what_they_are(void)
{
	struct kmm *machine = boot((struct kmm_config){0});

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
		struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, order);
		unsigned long nr = 1UL << order;

		ok_eq(PageHead(page), order > 0);
		ok_eq(PageCompound(page), order > 0);
		ok_eq(compound_order(page), order);
		ok_eq(compound_nr(page), nr);
		ok_eq(page_size(page), PAGE_SIZE << order);
		for (unsigned long i = 1; i < nr; i++)
			ok(PageTail(page + i) && !PageHead(page + i) && PageCompound(page + i) &&
				   compound_head(page + i) == page && compound_nr(page + i) == 1,
			   "order %u: frame %lu is no tail", order, i);
		__free_pages(page, order);
		/* Nothing of it is left, wherever its frames are used next. */
		for (unsigned long i = 0; i < nr; i++)
			ok(!PageCompound(page + i) && compound_head(page + i) == page + i,
			   "order %u: frame %lu still a part", order, i);
		page = alloc_pages(GFP_KERNEL, order);
		ok(!PageCompound(page) && compound_order(page) == 0 && page_size(page) == PAGE_SIZE,
		   "order %u is compound without being asked", order);
		__free_pages(page, order);
	}
	shut_down(machine);
}

static void slabs_say_what_they_are(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct kmem_cache *cache = kmem_cache_create("large", 3000, 0, 0, NULL);
	void *object = kmem_cache_alloc(cache, GFP_KERNEL);
	struct page *head = compound_head(virt_to_page(object));
	unsigned int order = head->order;

	ok(order > 0, "objects of 3000 bytes in slabs of one frame");
	ok(PageHead(head) && compound_order(head) == order, "the head");
	for (unsigned long i = 0; i < 1UL << order; i++)
		ok(PageSlab(head + i) && compound_head(head + i) == head &&
			   PageTail(head + i) == !!i,
		   "frame %lu", i);
	kmem_cache_free(cache, object);
	kmem_cache_destroy(cache);
	kmm_drain(machine);
	ok(!PageSlab(head) && !PageCompound(head) && !PageTail(head + 1), "a freed slab");
	shut_down(machine);
}

/* By the fast path (order 0), the slow one (other node, compound) and the last put. */
static void flags_end_with_the_block(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	const struct {
		int nid;
		unsigned int order;
		gfp_t gfp;
	} kinds[] = {{0, 0, 0}, {0, 2, 0}, {0, 2, __GFP_COMP}, {1, 0, 0}, {0, 7, 0}};

	for (unsigned int k = 0; k < ARRAY_SIZE(kinds); k++)
		for (unsigned int put = 0; put < 2; put++) {
			const gfp_t gfp = GFP_KERNEL | __GFP_THISNODE | kinds[k].gfp;
			const unsigned int order = kinds[k].order;
			struct page *page = alloc_pages_node(kinds[k].nid, gfp, order);

			SetPageDirty(page);
			SetPageUptodate(page);
			SetPageReferenced(page);
			SetPageSwapBacked(page);
			SetPageWorkingset(page);
			if (put)
				put_page(page);
			else
				__free_pages(page, order);
			ok_eq(page->flags, 0);
			page = alloc_pages_node(kinds[k].nid, gfp, order);
			ok_eq(page->flags, 0);
			__free_pages(page, order);
		}
	shut_down(machine);
}

static void a_block_that_somebody_has_is_not_freed(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	struct page *large = alloc_pages(GFP_KERNEL | __GFP_COMP, 4);

#define DIES(name, Name)                                                                           \
	if (PAGE_FLAGS_CHECK_AT_FREE & PAGE_FLAG(PG_##name)) {                                     \
		SetPage##Name(page);                                                               \
		ok_dies("flags " #name, __free_pages(page, 0));                                    \
		ok_dies("flags " #name, free_page((unsigned long)page_address(page)));             \
		ok_dies("flags " #name, put_page(page));                                           \
		ClearPage##Name(page);                                                             \
		SetPage##Name(large + 3);                                                          \
		ok_dies("flags " #name, __free_pages(large, 4));                                   \
		ClearPage##Name(large);                                                            \
	}
	PAGE_FLAGS(DIES)
#undef DIES
	page->mapcount = 2;
	ok_dies("mapped 2 times", put_page(page));
	page->mapcount = 0;
	__free_pages(page, 0);
	__free_pages(large, 4);
	shut_down(machine);
}

#define NR_THREADS 4

static unsigned long under_lock; /* by who has PG_locked of block */

static void *toggle(void *arg)
{
	unsigned long id = (unsigned long)arg, ops = tap_ops(20000), nr = 0;

	for (unsigned long i = 0; i < ops; i++) {
		switch (id) {
		case 0:
			nr += TestSetPageDirty(block) + !TestClearPageDirty(block);
			break;
		case 1:
			nr += TestSetPageLRU(block) + !TestClearPageLRU(block);
			break;
		default:
			SetPageActive(block);
			ClearPageError(block);
		}
		if (i % 8 == 0) {
			while (TestSetPageLocked(block))
				sched_yield();
			under_lock++;
			ClearPageLocked(block);
		}
	}
	ok_eq(nr, 0);
	return NULL;
}

static void threads_change_flags_without_losing_others(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	pthread_t threads[NR_THREADS];

	block = alloc_pages(GFP_KERNEL | __GFP_COMP, 1);
	SetPageUptodate(block);
	under_lock = 0;
	for (unsigned long i = 0; i < NR_THREADS; i++)
		pthread_create(&threads[i], NULL, toggle, (void *)i);
	for (unsigned long i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	ok_eq(under_lock, NR_THREADS * ((tap_ops(20000) + 7) / 8));
	ok_eq(block->flags, PAGE_FLAG(PG_uptodate) | PAGE_FLAG(PG_active));
	ClearPageActive(block);
	__free_pages(block, 1);
	shut_down(machine);
}

int main(void)
{
	RUN(each_flag_is_one_bit_and_leaves_the_others);
	RUN(a_compound_block_has_its_heads_flags);
	RUN(compound_blocks_say_what_they_are);
	RUN(slabs_say_what_they_are);
	RUN(flags_end_with_the_block);
	RUN(a_block_that_somebody_has_is_not_freed);
	RUN(threads_change_flags_without_losing_others);
	return done();
}

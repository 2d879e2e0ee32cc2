/* SPDX-License-Identifier: MIT */
/* The page allocator's interface on small machines: where blocks come from, what they hold, what is
 * refused. */
#include "phys/page_alloc.h"

#include <dirent.h>
#include <errno.h>

#include "arch/host.h"
#include "phys/zone.h"
#include "tests/alloc/phys/machine.h"
#include "tests/tap/dies.h"

static void every_order_is_aligned_and_writable_and_comes_back(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	unsigned long before = nr_free(machine, NUMA_NO_NODE);

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
		struct page *page = alloc_pages(GFP_KERNEL, order);

		ok(page != NULL, "order %u: no memory", order);
		if (!page)
			continue;
		ok_eq(page_to_pfn(page) & ((1UL << order) - 1), 0);
		ok_eq((unsigned long)page_address(page) & ((PAGE_SIZE << order) - 1), 0);
		ok_eq(page->order, order);
		ok_eq(page->refcount, 1);
		ok(virt_to_page(page_address(page)) == page, "order %u: address leads elsewhere",
		   order);
		ok(virt_addr_valid(page_address(page)), "order %u: address not valid", order);
		memset(page_address(page), 0xa5, PAGE_SIZE << order);
		ok_eq(nr_free(machine, NUMA_NO_NODE), before - (1UL << order));
		phys_validate(machine);
		__free_pages(page, order);
		ok_eq(nr_free(machine, NUMA_NO_NODE), before);
		phys_validate(machine);
	}
	ok(!virt_addr_valid(&before), "the stack is in the direct map");
	shut_down(machine);
}

static void orders_beyond_the_largest_are_refused(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct phys_counters counters;

	ok(!alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER + 1), "order 11");
	ok(!alloc_pages(GFP_KERNEL, 256), "order 256");
	ok(!alloc_pages(GFP_KERNEL, ~0U), "order -1");
	ok_eq(__get_free_pages(GFP_KERNEL, MAX_PAGE_ORDER + 1), 0);
	phys_count(machine, &counters);
	ok_eq(counters.fail, 4);
	shut_down(machine);
}

static void zero_gives_zeros_in_reused_memory(void)
{
	struct kmm *machine = boot((struct kmm_config){0});

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
		size_t size = PAGE_SIZE << order;
		char *addr = (char *)__get_free_pages(GFP_KERNEL, order);

		memset(addr, 0xff, size);
		free_pages((unsigned long)addr, order);
		addr = (char *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, order);
		ok(addr && addr[0] == 0 && !memcmp(addr, addr + 1, size - 1),
		   "order %u is not zero", order);
		free_pages((unsigned long)addr, order);
	}
	char *page = (char *)get_zeroed_page(GFP_KERNEL);

	ok(page && page[0] == 0 && !memcmp(page, page + 1, PAGE_SIZE - 1), "get_zeroed_page");
	free_page((unsigned long)page);
	free_page(0);
	shut_down(machine);
}

static void tails_of_a_compound_block_lead_to_its_head(void)
{
	struct kmm *machine = boot((struct kmm_config){0});

	for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order += 2) {
		struct page *page = alloc_pages(GFP_KERNEL | __GFP_COMP, order);

		for (unsigned long i = 0; i < 1UL << order; i++)
			ok(compound_head(page + i) == page, "order %u, frame %lu", order, i);
		phys_validate(machine);
		__free_pages(page, order);
	}
	shut_down(machine);
}

static void owners_may_say_what_a_block_is_for(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct page *page = alloc_pages(GFP_KERNEL, 1);

	page_set_type(page, PG_TYPE_TABLE);
	phys_validate(machine);
	ok_dies("it is in use", __free_pages(page, 1));
	page_set_type(page, PG_TYPE_ALLOC);
	__free_pages(page, 1);
	shut_down(machine);
}

static enum zone_type zone_of(gfp_t gfp)
{
	struct page *page = alloc_pages(gfp, 0);
	enum zone_type type = page ? (enum zone_type)page_zonenum(page) : NR_ZONE_TYPES;

	if (page)
		__free_pages(page, 0);
	return type;
}

static void gfp_flags_choose_the_zone_on_x86_64(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.node_bytes = 4352UL << 20, .shared_bytes = 64UL << 20});
	struct page *page;

	ok_eq(zone_of(GFP_KERNEL), ZONE_NORMAL);
	ok_eq(zone_of(GFP_HIGHUSER_MOVABLE), ZONE_NORMAL);
	ok_eq(zone_of(GFP_KERNEL | __GFP_DMA32), ZONE_DMA32);
	ok_eq(zone_of(GFP_KERNEL | __GFP_DMA), ZONE_DMA);
	ok_eq(zone_of(GFP_KERNEL | __GFP_SHARED), ZONE_SHARED);
	page = alloc_pages(GFP_DMA, 3);
	ok(page_to_pfn(page) + 8 <= (16UL << 20) >> PAGE_SHIFT, "DMA above 16 MiB");
	__free_pages(page, 3);
	page = alloc_pages(GFP_DMA32, 9);
	ok(page_to_pfn(page) + 512 <= (4UL << 30) >> PAGE_SHIFT, "DMA32 above 4 GiB");
	__free_pages(page, 9);
	page = alloc_pages(GFP_KERNEL | __GFP_SHARED, 4);
	ok(page_address(page) != NULL, "the direct map covers Shared");
	memset(page_address(page), 1, PAGE_SIZE << 4);
	__free_pages(page, 4);
	shut_down(machine);
}

/* HighMem has frames and no addresses: its contents are looked at through the memfd. */
static void highmem_on_i386_has_no_address(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.node_bytes = 1UL << 30, .layout = ZONES_I386});
	struct page *page;
	struct zone *zone;
	unsigned long addr;
	char *window;

	ok_eq(zone_of(GFP_KERNEL), ZONE_NORMAL);
	ok_eq(zone_of(GFP_KERNEL | __GFP_DMA32), ZONE_NORMAL);
	ok_eq(zone_of(GFP_HIGHUSER), ZONE_HIGHMEM);
	ok_eq(zone_of(GFP_KERNEL | __GFP_SHARED), ZONE_HIGHMEM);

	addr = __get_free_pages(GFP_HIGHUSER, 0);
	ok(page_zonenum(virt_to_page((void *)addr)) == ZONE_NORMAL, "an address of HighMem");
	free_pages(addr, 0);
	/* Twice: what an earlier one leaves on a list must not be found by the fast path. */
	ok_eq(__get_free_pages(GFP_KERNEL | __GFP_SHARED, 2), 0);
	ok_eq(__get_free_pages(GFP_KERNEL | __GFP_SHARED, 2), 0);

	page = alloc_pages(GFP_HIGHUSER, 2);
	ok(page_address(page) == NULL, "an address outside the direct map");
	zone = page_zone(machine->phys, page);
	window = host_reserve(4 * PAGE_SIZE, PAGE_SIZE);
	ok_eq(host_shared_map(window, 4 * PAGE_SIZE, zone->memfd,
			      zone_memfd_offset(zone, page_to_pfn(page)), false),
	      0);
	memset(window, 0xff, 4 * PAGE_SIZE);
	__free_pages(page, 2);
	ok(alloc_pages(GFP_HIGHUSER | __GFP_ZERO, 2) == page, "the hottest block comes first");
	ok(window[0] == 0 && !memcmp(window, window + 1, 4 * PAGE_SIZE - 1),
	   "zeroed through the memfd");
	host_release(window, 4 * PAGE_SIZE);
	__free_pages(page, 2);
	shut_down(machine);
}

static void nodes_are_as_asked(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	struct page *page;

	for (int cpu = 0; cpu < 4; cpu++) {
		kmm_attach(machine, cpu);
		for (unsigned int order = 0; order <= 4; order++) {
			page = alloc_pages(GFP_KERNEL, order);
			ok_eq(page->nid, cpu / 2);
			__free_pages(page, order);
			for (int nid = NUMA_NO_NODE; nid < 2; nid++) {
				page = alloc_pages_node(nid, GFP_KERNEL | __GFP_THISNODE, order);
				ok_eq(page->nid, nid == NUMA_NO_NODE ? cpu / 2 : nid);
				__free_pages(page, order);
			}
		}
	}
	ok_dies("node 2", alloc_pages_node(2, GFP_KERNEL, 0));
	shut_down(machine);
}

static void thisnode_fails_when_the_node_is_empty_and_others_are_not(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	unsigned long on_node = nr_free(machine, 1), nr = 0;
	struct page *page, *first = NULL;

	while ((page = alloc_pages_node(1, GFP_HIGHUSER | __GFP_THISNODE | __GFP_MEMALLOC, 0))) {
		page->private = (unsigned long)first;
		first = page;
		ok_eq(page->nid, 1);
		nr++;
	}
	ok_eq(nr, on_node);
	ok_eq(nr_free(machine, 1), 0);
	page = alloc_pages_node(1, GFP_KERNEL, 0);
	ok(page && page->nid == 0, "without THISNODE the next node serves");
	__free_pages(page, 0);
	while ((page = first)) {
		first = (struct page *)page->private;
		__free_pages(page, 0);
	}
	ok_eq(nr_free(machine, 1), on_node);
	shut_down(machine);
}

/* All frames of the machine, one by one, and back in a random order: none lost, none twice, all
 * merged again. */
static void exhaust(struct kmm_config config, gfp_t gfp, unsigned int order)
{
	struct kmm *machine = boot(config);
	unsigned long state = tap_seed() | 1, nr = 0, max, free_before;
	struct free_area_counts before, after;
	struct page **pages, *page;

	kmm_drain(machine);
	count_free_areas(machine, NUMA_NO_NODE, &before);
	free_before = before.nr_buddy_pages;
	max = before.nr_managed_pages >> order;
	pages = malloc((max + 1) * sizeof(*pages));
	while (nr <= max && (page = alloc_pages(gfp | __GFP_MEMALLOC, order)))
		pages[nr++] = page;
	ok(nr <= max, "more blocks than there are frames");
	if (order == 0)
		ok_eq(nr, free_before);
	ok_eq(nr_free(machine, NUMA_NO_NODE), free_before - (nr << order));
	phys_validate(machine);
	for (unsigned long i = nr; i-- > 0;) {
		unsigned long j = tap_random(&state) % (i + 1);

		page = pages[j];
		pages[j] = pages[i];
		__free_pages(page, order);
	}
	phys_validate(machine);
	kmm_drain(machine);
	count_free_areas(machine, NUMA_NO_NODE, &after);
	ok(!memcmp(&before, &after, sizeof(before)), "free blocks differ from before");
	free(pages);
	shut_down(machine);
}

static void all_frames_can_be_had_and_given_back(void)
{
	exhaust((struct kmm_config){0}, GFP_KERNEL, 0);
	exhaust((struct kmm_config){.synthetic = TWO_NODES}, GFP_KERNEL, 0);
	exhaust((struct kmm_config){.no_pcp = true}, GFP_KERNEL, 0);
	exhaust((struct kmm_config){.pcp_high = 2048, .pcp_batch = 7}, GFP_KERNEL, 0);
	exhaust((struct kmm_config){.node_bytes = 960UL << 20, .layout = ZONES_I386}, GFP_HIGHUSER,
		0);
	exhaust((struct kmm_config){0}, GFP_KERNEL, 3);
	exhaust((struct kmm_config){0}, GFP_KERNEL, 9);
	exhaust((struct kmm_config){0}, GFP_KERNEL, 10);
}

static void small_leftovers_on_lists_merge_when_a_large_block_is_wanted(void)
{
	struct kmm *machine =
		boot((struct kmm_config){.node_bytes = 16UL << 20, .shared_bytes = 4UL << 20});
	struct page *pages[4];
	unsigned long nr = 0;

	/* Few of the largest blocks are whole: mem_map and slab took parts. Single frames freed to
	 * this CPU's list keep more of them broken, and have to be fetched back. */
	while (nr < ARRAY_SIZE(pages) && (pages[nr] = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER)))
		nr++;
	ok(nr >= 1 && nr < 4, "%lu blocks", nr);
	for (unsigned long i = 0; i < nr; i++)
		__free_pages(pages[i], MAX_PAGE_ORDER);
	for (int round = 0; round < 3; round++) {
		struct page *single[3072];
		unsigned long nr_single = 0, nr_again = 0;

		while (nr_single < ARRAY_SIZE(single) &&
		       (single[nr_single] = alloc_pages(GFP_KERNEL, round)))
			nr_single++;
		for (unsigned long i = 0; i < nr_single; i++)
			__free_pages(single[i], (unsigned int)round);
		while (nr_again < nr && (pages[nr_again] = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER)))
			nr_again++;
		ok_eq(nr_again, nr);
		for (unsigned long i = 0; i < nr_again; i++)
			__free_pages(pages[i], MAX_PAGE_ORDER);
	}
	shut_down(machine);
}

static void wrong_frees_stop_the_program(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct kmm *other = boot((struct kmm_config){0});
	struct page *foreign = alloc_pages(GFP_KERNEL, 0);
	struct page local = {.type = PG_TYPE_ALLOC};
	struct page *page, *large, *comp, *mem_map;
	unsigned long addr;

	kmm_attach(machine, 0);
	page = alloc_pages(GFP_KERNEL, 0);
	large = alloc_pages(GFP_KERNEL, 4);
	comp = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
	addr = (unsigned long)page_address(page);
	mem_map = machine->mem_map;
	ok_dies("double free", {
		__free_pages(page, 0);
		__free_pages(page, 0);
	});
	ok_dies("double free", {
		__free_pages(large, 4);
		__free_pages(large, 4);
	});
	ok_dies("double free", {
		__free_pages(page, 0);
		kmm_drain(machine);
		__free_pages(page, 0);
	});
	ok_dies("double free", {
		free_pages(addr, 0);
		free_pages(addr, 0);
	});
	ok_dies("allocated with order 0", __free_pages(page, 1));
	ok_dies("allocated with order 4", __free_pages(large, 3));
	ok_dies("allocated with order 0", __free_pages(page, 256));
	ok_dies("allocated with order 4", __free_pages(large, 1U << 31));
	ok_dies("begins no block", __free_pages(comp + 1, 0));
	ok_dies("begins no block", __free_pages(comp + 3, 2));
	ok_dies("begins no block", __free_pages(large + 5, 0));
	ok_dies("not a page", __free_pages(&local, 0));
	ok_dies("not a page", __free_pages(foreign, 0));
	ok_dies("not a page", __free_pages(mem_map + machine->nr_frames, 0));
	ok_dies("not a page", __free_pages(mem_map - 1, 0));
	ok_dies("not a page", __free_pages((struct page *)((char *)page + 8), 0));
	ok_dies("not the start of a page", free_pages(addr + 8, 0));
	ok_dies("not the start of a page", free_pages(addr + 2048, 0));
	ok_dies("not the start of a page", free_pages((unsigned long)&addr & PAGE_MASK, 0));
	for (unsigned long pfn = 0; pfn < machine->nr_frames; pfn++)
		if (pfn_is_reserved(machine->phys, pfn)) {
			ok_dies("reserved", __free_pages(mem_map + pfn, 0));
			break;
		}
	__free_pages(page, 0);
	__free_pages(large, 4);
	__free_pages(comp, 2);
	shut_down(machine);
	kmm_attach(other, 0);
	__free_pages(foreign, 0);
	shut_down(other);
}

static void pages_not_freed_are_leaks(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct kmm_leaks leaks;

	alloc_pages(GFP_KERNEL, 0);
	alloc_pages(GFP_KERNEL | __GFP_SHARED, 3);
	ok_eq(kmm_shutdown(machine, &leaks), -EBUSY);
	ok_eq(leaks.pages, 9);
}

/* mem_map's own frames: 64 bytes a frame are 1.56 %. */
static void mem_map_costs_what_it_should(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});

	for (int nid = 0; nid < 2; nid++) {
		struct free_area_counts counts;

		count_free_areas(machine, nid, &counts);
		ok_eq(counts.nr_managed_pages, (64UL << 20 >> PAGE_SHIFT) * 63 / 64 - 1);
	}
	shut_down(machine);
}

static int nr_open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int nr = 0;

	while (dir && readdir(dir))
		nr++;
	if (dir)
		closedir(dir);
	return nr;
}

/* Every call to the host fails in turn: boot says so, leaves nothing, and the next boot works. (All
 * calls but one, in which virt asks for address space: it asks again for less.) */
static void a_boot_that_fails_anywhere_leaves_nothing(void)
{
	static const enum zone_layout layouts[] = {ZONES_X86_64, ZONES_I386};

	for (unsigned int l = 0; l < ARRAY_SIZE(layouts); l++) {
		const struct kmm_config config = {
			.synthetic = TWO_NODES, .node_bytes = 512UL << 20, .layout = layouts[l]};
		int files = nr_open_files();
		unsigned long nth = 1, nr_survived = 0;

		for (;; nth++) {
			struct kmm *machine;
			bool pending;
			int err;

			host_fail_nth(nth);
			err = kmm_boot(&config, &machine);
			pending = host_fail_pending();
			host_fail_nth(0);
			if (!err)
				shut_down(machine);
			ok_eq(nr_open_files(), files);
			if (pending)
				break;
			ok(!err || err == -ENOMEM, "call %lu to the host failed, and boot says %d",
			   nth, err);
			ok(!err || *kmm_boot_error(), "call %lu: no reason is given", nth);
			nr_survived += !err;
		}
		/* Without huge pages, or guards in mappings. */
		ok(nr_survived <= 2, "%lu boots went well without what they asked for",
		   nr_survived);
		ok(nth > 12, "boot asks the host for %lu things only", nth - 1);
	}
}

int main(void)
{
	RUN(every_order_is_aligned_and_writable_and_comes_back);
	RUN(orders_beyond_the_largest_are_refused);
	RUN(zero_gives_zeros_in_reused_memory);
	RUN(tails_of_a_compound_block_lead_to_its_head);
	RUN(owners_may_say_what_a_block_is_for);
	RUN(gfp_flags_choose_the_zone_on_x86_64);
	RUN(highmem_on_i386_has_no_address);
	RUN(nodes_are_as_asked);
	RUN(thisnode_fails_when_the_node_is_empty_and_others_are_not);
	RUN(all_frames_can_be_had_and_given_back);
	RUN(small_leftovers_on_lists_merge_when_a_large_block_is_wanted);
	RUN(wrong_frees_stop_the_program);
	RUN(pages_not_freed_are_leaks);
	RUN(mem_map_costs_what_it_should);
	RUN(a_boot_that_fails_anywhere_leaves_nothing);
	return done();
}

/* SPDX-License-Identifier: MIT */
/*
 * mem_map that is touched as frames are used: what boot costs on machines of every size, that each
 * way to hand out a frame says which node and zone it is of, and that a frame which nobody ever had
 * is known as such.
 */
#include <string.h>

#include "arch/host.h"
#include "base/check.h"
#include "phys/page_alloc.h"
#include "phys/page_flags.h"
#include "phys/page_ref.h"
#include "phys/zone.h"
#include "tests/alloc/phys/machine.h"
#include "tests/tap/dies.h"

#define MIB (1UL << 20)
#define GIB (1UL << 30)

/* What boot may touch of a machine whatever its size: slot 0, tables, slabs, the library's code. */
#define BOOT_BYTES (2 * MIB)

static void boot_touches_little(u64 bytes, enum zone_layout layout)
{
	const struct kmm_config config = {
		.synthetic = ONE_NODE, .node_bytes = bytes, .layout = layout, .no_thp = true};
	u64 before = host_rss_bytes(), start = host_time_ns(), took, rss;
	struct kmm *machine;

	if (kmm_boot(&config, &machine)) {
		skip("this host does not let a process have so many addresses");
		return;
	}
	took = host_time_ns() - start;
	rss = host_rss_bytes() - before;
	if (before && !TAP_SANITIZED)
		ok(rss < BOOT_BYTES, "%llu MiB: %llu KiB resident after boot",
		   (unsigned long long)bytes >> 20, (unsigned long long)rss >> 10);
	ok(host_resident_bytes(machine->mem_map, machine->nr_frames * sizeof(struct page)) < MIB,
	   "%llu bytes of mem_map",
	   (unsigned long long)host_resident_bytes(machine->mem_map,
						   machine->nr_frames * sizeof(struct page)));
	printf("# %llu MiB: %llu KiB resident after boot, which took %llu us\n",
	       (unsigned long long)bytes >> 20, (unsigned long long)rss >> 10,
	       (unsigned long long)took / 1000);
	kmm_shutdown(machine, &(struct kmm_leaks){0});
}

static void a_large_machine_costs_no_more_than_a_small_one(void)
{
	u64 room = host_available_bytes();

	boot_touches_little(64 * MIB, ZONES_X86_64);
	for (u64 bytes = 256 * MIB; bytes <= 256 * GIB && bytes <= room; bytes *= 4)
		boot_touches_little(bytes, ZONES_X86_64);
}

/* A plain machine may be larger than the host. */
static void a_plain_machine_of_any_size_costs_the_same(void)
{
	boot_touches_little(24 * GIB, ZONES_PLAIN);
	boot_touches_little(256 * GIB, ZONES_PLAIN);
	boot_touches_little(1024 * GIB, ZONES_PLAIN);
}

/* Every frame of a block says what an owner may ask of it. */
static void check_frames(struct kmm *machine, const struct page *page, unsigned long nr, int nid)
{
	for (unsigned long i = 0; i < nr; i++) {
		const struct zone *zone = pfn_zone(machine->phys, page_to_pfn(page + i));

		ok(page[i].nid == nid && page_to_nid(page + i) == nid,
		   "frame %lu of node %u, not %d", i, page[i].nid, nid);
		ok(page_zone(machine->phys, page + i) == zone, "frame %lu of zone %s", i,
		   zone->name);
	}
}

static void whoever_gets_a_frame_finds_its_node_and_zone(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});

	for (int nid = 0; nid < 2; nid++) {
		struct page *page = alloc_pages_node(nid, GFP_KERNEL, 3), *bulk[40] = {0};
		char *exact;

		check_frames(machine, page, 1, nid);
		split_page(page, 3);
		check_frames(machine, page, 8, nid);
		for (int i = 0; i < 8; i++)
			__free_pages(page + i, 0);
		for (unsigned int order = 0; order <= MAX_PAGE_ORDER; order++) {
			page = alloc_pages_node(nid, GFP_KERNEL | __GFP_COMP, order);
			check_frames(machine, page, 1UL << order, nid);
			ok_eq(page_count(page + (1UL << order) - 1), 1);
			__free_pages(page, order);
		}
		exact = alloc_pages_exact_nid(nid, 37 * PAGE_SIZE, GFP_KERNEL);
		check_frames(machine, virt_to_page(exact), 37, nid);
		free_pages_exact(exact, 37 * PAGE_SIZE);
		ok_eq(alloc_pages_bulk_node(GFP_KERNEL, nid, 40, bulk), 40);
		for (int i = 0; i < 40; i++) {
			check_frames(machine, bulk[i], 1, nid);
			__free_pages(bulk[i], 0);
		}
	}
	shut_down(machine);
}

static void any_frame_tells_its_node_used_or_not(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	const struct pglist_data *nodes = machine->phys->nodes;

	for (unsigned long pfn = 0; pfn < machine->nr_frames; pfn++)
		ok_eq(page_to_nid(pfn_to_page(pfn)), pfn >= nodes[1].start_pfn);
	shut_down(machine);
}

/* The lowest frame whose struct page nobody has written to. */
static struct page *untouched(const struct kmm *machine)
{
	static const struct page zeros;

	for (struct page *page = machine->mem_map;; page++)
		if (!memcmp(page, &zeros, sizeof(zeros)) &&
		    !pfn_is_reserved(machine->phys, page_to_pfn(page)))
			return page;
}

static void a_frame_that_nobody_had_cannot_be_given_back(void)
{
	struct kmm *machine = boot((struct kmm_config){0});
	struct kmem_cache *cache = kmem_cache_create("test", 64, 0, 0, NULL);
	struct page *page = untouched(machine);
	void *addr = page_address(page);

	ok_dies("begins no block", __free_pages(page, 0));
	ok_dies("begins no block", __free_pages(page, 9));
	ok_dies("begins no block", free_pages((unsigned long)addr, 0));
	ok_dies("0 references", put_page(page));
	ok_dies("0 references", get_page(page));
	ok_dies("not from kmalloc", kfree(addr));
	ok_dies("not from kmalloc", kfree((char *)addr + 64));
	ok_dies("not from kmalloc", (void)ksize(addr));
	ok_dies("in no slab", kmem_cache_free(cache, addr));
	ok_dies("no such memory", free_pages_exact(addr, PAGE_SIZE));
	ok_dies("split as a block", split_page(page, 0));
	ok(!get_page_unless_zero(page), "a reference to a frame that nobody had");
	ok(!PageCompound(page) && !PageSlab(page) && !PageDirty(page) && !page_count(page),
	   "it says something of itself");
	kmem_cache_destroy(cache);
	shut_down(machine);
}

/* Reports and counts of a machine do not touch what it does not use. */
static void reports_leave_unused_mem_map_alone(void)
{
	struct kmm *machine = boot((struct kmm_config){.node_bytes = GIB});
	const size_t size = machine->nr_frames * sizeof(struct page);
	u64 before = host_resident_bytes(machine->mem_map, size), after;
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	show_vmstat(machine, out);
	show_zoneinfo(machine, out);
	show_buddyinfo(machine, out);
	show_pagetypeinfo(machine, out);
	show_vmallocinfo(machine, out);
	show_slabinfo(machine, out);
	fclose(out);
	free(text);
	after = host_resident_bytes(machine->mem_map, size);
	/* The frames on per-CPU lists are looked at. */
	ok(after <= before + 256 * 1024, "%llu bytes of mem_map, %llu before",
	   (unsigned long long)after, (unsigned long long)before);
	kmm_shutdown(machine, &(struct kmm_leaks){0});
}

static void highmem_knows_its_zone_before_it_is_used(void)
{
	struct kmm *machine = boot((struct kmm_config){.layout = ZONES_I386, .node_bytes = GIB});
	const struct zone *high = &machine->phys->nodes[0].zones[ZONE_HIGHMEM];
	struct page *page = pfn_to_page(high->end_pfn - 1);

	ok(PageHighMem(page) && page_zone(machine->phys, page) == high, "a frame of HighMem");
	ok(!page_address(page), "an address without kmap");
	ok_dies("begins no block", __free_pages(page, 0));
	shut_down(machine);
}

int main(void)
{
	RUN(a_large_machine_costs_no_more_than_a_small_one);
	RUN(a_plain_machine_of_any_size_costs_the_same);
	RUN(whoever_gets_a_frame_finds_its_node_and_zone);
	RUN(any_frame_tells_its_node_used_or_not);
	RUN(a_frame_that_nobody_had_cannot_be_given_back);
	RUN(reports_leave_unused_mem_map_alone);
	RUN(highmem_knows_its_zone_before_it_is_used);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* What runs out while an area is made leaves no trace: frames, addresses, the host's mappings,
 * struct memory. */
#include <errno.h>
#include <sys/mman.h>

#include "arch/host.h"
#include "machine.h"
#include "slab/cache.h"
#include "state.h"
#include "tests/tap/dies.h"
#include "virt/virt.h"

#define MIB (1UL << 20)

static struct kmm *machine;

/* Allocate until it fails; areas are chained through their first word. Returns the chain. */
static void **fill(unsigned long size, unsigned long *nr)
{
	void **chain = NULL, **addr;

	for (*nr = 0; (addr = vmalloc(size)); ++*nr) {
		*addr = chain;
		chain = addr;
	}
	return chain;
}

static void empty(void **chain)
{
	while (chain) {
		void **next = *chain;

		vfree(chain);
		chain = next;
	}
}

static void frames_that_run_out_give_null_and_nothing_else(void)
{
	static const unsigned long sizes[] = {PAGE_SIZE, 7 * PAGE_SIZE, 300 * PAGE_SIZE, 8 * MIB};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct state before = state_now(machine), full;
		unsigned long nr, again;
		void **chain = fill(sizes[i], &nr);

		ok(nr >= 24 * MIB / sizes[i], "%lu areas of %lu bytes", nr, sizes[i]);
		full = state_now(machine);
		ok(!vmalloc(sizes[i]), "one more");
		check_state(machine, &full, __func__);
		empty(chain);
		check_state(machine, &before, __func__);
		/* All of it can be had again, also in other pieces. */
		empty(fill(sizes[i], &again));
		ok(again == nr, "%lu areas the first time, %lu the second", nr, again);
	}
}

static void lazy_areas_make_way_when_frames_run_out(void)
{
	unsigned long nr;
	void **chain = fill(4 * PAGE_SIZE, &nr);
	void *addr;

	/* Lazily held up to the bound, as areas of four pages; another size needs their frames. */
	for (unsigned long i = 0; i < nr / 20; i++) {
		void **next = *chain;

		vfree(chain);
		chain = next;
	}
	addr = vmalloc(32 * PAGE_SIZE);
	ok(addr, "no memory beside %lu lazy areas", nr / 20);
	vfree(addr);
	empty(chain);
	vmalloc_validate(machine);
}

static void the_limit_of_mappings_gives_null_and_nothing_else(void)
{
	struct virt *virt = machine->virt;
	u64 limit = virt->max_mappings;
	struct state before = state_now(machine), full;
	void **chain, **next, *addr;
	unsigned long nr;

	virt->max_mappings = 201;
	chain = fill(2 * PAGE_SIZE, &nr);
	ok_eq(nr, 100); /* a mapping and its guard page each */
	full = state_now(machine);
	ok_eq(full.nr_mappings, 200);
	ok(!vmalloc(PAGE_SIZE), "beyond the limit");
	check_state(machine, &full, __func__);
	/* Areas held lazily give their mappings up. */
	next = *chain;
	vfree(chain);
	ok_eq(virt->nr_mappings, 200);
	addr = vmalloc(8 * PAGE_SIZE);
	ok(addr, "a lazy area does not make way");
	ok_eq(virt->nr_mappings, 200);
	vfree(addr);
	virt->max_mappings = limit;
	empty(next);
	check_state(machine, &before, __func__);
}

/* Leave the Shared zone without two free frames side by side; returns the chain of those taken. */
static struct page *scatter_frames(void)
{
	struct page *kept = NULL, *page;

	while ((page = alloc_pages(GFP_KERNEL | __GFP_SHARED | __GFP_MEMALLOC, 0))) {
		page->private = (unsigned long)kept;
		kept = page;
	}
	for (struct page **link = &kept; (page = *link);) {
		if (page_to_pfn(page) % 2) {
			*link = (struct page *)page->private;
			__free_pages(page, 0);
		} else {
			link = (struct page **)&page->private;
		}
	}
	return kept;
}

static void free_chain(struct page *page)
{
	while (page) {
		struct page *next = (struct page *)page->private;

		__free_pages(page, 0);
		page = next;
	}
}

/* Use up the host's mappings but for `spare`, by pages of alternating access; returns how many
 * pages alternate. */
static unsigned long use_up_mappings(char *base, unsigned long nr_pages, unsigned long spare)
{
	unsigned long nr = 0;

	while (nr < nr_pages && !mprotect(base + 2 * nr * PAGE_SIZE, PAGE_SIZE, PROT_READ))
		nr++;
	for (; spare >= 2; spare -= 2, nr--)
		mprotect(base + 2 * (nr - 1) * PAGE_SIZE, PAGE_SIZE, PROT_NONE);
	return nr;
}

static void mappings_that_the_host_refuses_are_undone(void)
{
	unsigned long max = host_max_mappings();
	struct state before = state_now(machine);
	size_t size = 2 * max * PAGE_SIZE;
	struct page *kept;
	char *base;

	if (max > 300000) {
		skip("this host allows %lu mappings", max);
		return;
	}
	base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ok(base != MAP_FAILED, "cannot reserve %zu bytes", size);
	kept = scatter_frames();
	/* With no mapping to spare nothing can be mapped; with some the area is left half mapped,
	 * and undone. */
	for (unsigned long spare = 0; spare <= 6; spare += 2) {
		unsigned long nr = use_up_mappings(base, max, spare);
		void *addr = vmalloc(40 * PAGE_SIZE);

		mprotect(base, size, PROT_NONE);
		ok(nr < max, "the host allows more than %lu mappings", max);
		ok(!addr, "40 runs with %lu mappings", spare);
		vfree(addr);
	}
	free_chain(kept);
	munmap(base, size);
	check_state(machine, &before, __func__);
}

/* The library's calls come here (see tests.mk). A host that will not unmap is hard to come by. */
static bool unmap_fails;

int __real_host_shared_unmap(void *addr, size_t size);
int __wrap_host_shared_unmap(void *addr, size_t size);

int __wrap_host_shared_unmap(void *addr, size_t size)
{
	return unmap_fails ? -ENOMEM : __real_host_shared_unmap(addr, size);
}

static void areas_that_the_host_will_not_unmap_are_tried_again(void)
{
	struct virt *virt = machine->virt;
	struct state before = state_now(machine), now;
	void *addr = vmalloc(20 * PAGE_SIZE), *small = vmalloc(PAGE_SIZE), *other;

	vfree(addr);
	vfree(small);
	unmap_fails = true;
	now = state_now(machine);
	unmap_fails = false;
	ok(!vmalloc_to_page(addr), "in the page tables still");
	/* They keep their frames, their addresses and their mappings, and nobody gets them. */
	ok(now.nr_free + 21 <= before.nr_free, "%lu pages free, were %lu", now.nr_free,
	   before.nr_free);
	ok(now.nr_mappings >= before.nr_mappings + 4, "%lu mappings", now.nr_mappings);
	ok(!list_empty(&virt->stuck), "no area waits");
	vmalloc_validate(machine);
	other = vmalloc(20 * PAGE_SIZE);
	ok(other != addr, "an area that is not in the page tables is reused");
	ok_dies("free already", vfree(addr));
	vfree(other);
	check_state(machine, &before, __func__);
	ok(list_empty(&virt->stuck), "not tried again");
	ok_eq(virt->nr_unmaking, 0);
}

static void scattered_frames_make_an_area_all_the_same(void)
{
	struct state before = state_now(machine);
	struct page *kept = scatter_frames();
	struct vmap_area *area;
	unsigned long *addr;

	addr = vmalloc(40 * PAGE_SIZE);
	ok(addr, "no memory");
	area = *vmap_area_slot(machine->virt, (unsigned long)addr);
	ok_eq(area->nr_runs, 40);
	for (unsigned long page = 0; page < 40; page++)
		addr[page * 512] = page;
	for (unsigned long page = 0; page < 40; page++)
		ok(addr[page * 512] == page && *(unsigned long *)page_address(
						       vmalloc_to_page(addr + page * 512)) == page,
		   "page %lu", page);
	vmalloc_validate(machine);
	vfree(addr);
	free_chain(kept);
	check_state(machine, &before, __func__);
}

/* 4 MiB of single frames are a large area all the same, without a large leaf; and when frames lie
 * together again, the next one has them. */
static void a_large_area_falls_back_to_small_leaves(void)
{
	struct state before = state_now(machine);
	struct page *kept = scatter_frames();
	struct pgtable_walk walk;
	char *addr = vmalloc(4 * MIB);

	ok(addr, "no memory");
	for (unsigned long at = 0; addr && at < 4 * MIB; at += PAGE_SIZE) {
		addr[at] = (char)(at >> PAGE_SHIFT);
		ok(pgtable_walk(kernel_pgtable(machine), (u64)addr + at, &walk) && walk.level == 1,
		   "%#lx: level %u", at, walk.level);
	}
	vmalloc_validate(machine);
	vfree(addr);
	kmm_drain(machine);
	free_chain(kept);
	kmm_drain(machine);
	addr = vmalloc(4 * MIB);
	ok(addr && pgtable_walk(kernel_pgtable(machine), (u64)addr, &walk) && walk.level == 2,
	   "level %u", walk.level);
	vfree(addr);
	check_state(machine, &before, __func__);
}

static void addresses_that_run_out_give_null(void)
{
	struct virt *virt = machine->virt;
	struct vmap_area *filler = kmem_cache_alloc(virt->cache, GFP_KERNEL);
	struct state before = state_now(machine);
	void *addr;

	/* The whole region but 3 pages, taken behind vmalloc's back. It counts for no mapping. */
	filler->state = VMAP_BUSY;
	filler->nr_runs = -1U;
	filler->unmapping = NULL;
	filler->group = NULL;
	ok_eq(vmap_space_take(&virt->space, virt->size - 3 * PAGE_SIZE, PAGE_SIZE, &filler->range),
	      0);
	ok(!vmalloc(3 * PAGE_SIZE), "4 pages of addresses, of 3");
	ok(!vmalloc(4 * MIB), "4 MiB of addresses, of 3 pages");
	addr = vmalloc(2 * PAGE_SIZE);
	ok(addr, "3 pages of addresses, of 3");
	vfree(addr);
	/* Lazily held, it has the addresses that this one needs. */
	addr = vmalloc(PAGE_SIZE);
	ok(addr, "a lazy area does not make way");
	vfree(addr);
	kmm_drain(machine);
	vmap_space_give(&virt->space, &filler->range);
	check_state(machine, &before, __func__);
}

/* Take all frames, chained through their lists; returns the chain. */
static struct page *take_all_frames(void)
{
	struct page *chain = NULL, *page;

	for (int order = MAX_PAGE_ORDER; order >= 0; order--)
		while ((page = alloc_pages(GFP_KERNEL, (unsigned int)order))) {
			page->private = (unsigned long)chain;
			chain = page;
		}
	return chain;
}

static void give_frames(struct page *chain)
{
	while (chain) {
		struct page *next = (struct page *)chain->private;

		__free_pages(chain, chain->order);
		chain = next;
	}
}

/*
 * An area of the last frames, and no struct left for a range that may have to be cut: reclaiming
 * would take the list of caches, which ranks before the lock that is held. (A build with checks
 * stops at that; any other shows it by the count of that lock.)
 */
static void a_spare_range_is_not_worth_a_reclaim_under_the_lock(void)
{
	struct page *chain, *block;
	void **structs = NULL, **one, *addr;
	struct virt *virt;
	u64 nr_listed;

	machine = machine_boot_config(1, (struct kmm_config){.node_bytes = 32 * MIB,
							     .shared_bytes = 8 * MIB,
							     .no_watermarks = true});
	virt = machine->virt;
	block = alloc_pages(GFP_KERNEL | __GFP_SHARED, MAX_PAGE_ORDER);
	chain = take_all_frames();
	while ((one = kmem_cache_alloc(virt->cache, GFP_NOWAIT))) {
		*one = structs;
		structs = one;
	}
	one = structs;
	structs = *one;
	kmem_cache_free(virt->cache, one);
	ok(!virt->space.unused, "there is a spare range");
	__free_pages(block, MAX_PAGE_ORDER);

	nr_listed = machine->slab->lock.stats.acquired;
	addr = vmalloc(4 * MIB);
	ok_eq(machine->slab->lock.stats.acquired, nr_listed);
	vfree(addr);
	give_frames(chain);
	for (; structs; structs = one) {
		one = *structs;
		kmem_cache_free(virt->cache, structs);
	}
	machine_end(machine);
}

int main(void)
{
	machine = machine_boot(1, 64 * MIB, 32 * MIB, ZONES_X86_64);
	RUN(frames_that_run_out_give_null_and_nothing_else);
	RUN(lazy_areas_make_way_when_frames_run_out);
	RUN(the_limit_of_mappings_gives_null_and_nothing_else);
	RUN(mappings_that_the_host_refuses_are_undone);
	RUN(areas_that_the_host_will_not_unmap_are_tried_again);
	RUN(scattered_frames_make_an_area_all_the_same);
	RUN(a_large_area_falls_back_to_small_leaves);
	RUN(addresses_that_run_out_give_null);
	machine_end(machine);
	RUN(a_spare_range_is_not_worth_a_reclaim_under_the_lock);
	return done();
}

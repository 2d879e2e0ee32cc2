/* SPDX-License-Identifier: MIT */
/* Mappings of the caller's own pages (vmap), and areas with an alignment (__vmalloc_node). */
#include "machine.h"
#include "tests/tap/dies.h"
#include "virt/virt.h"

#define MIB	 (1UL << 20)
#define NR_PAGES 24

static struct kmm *machine;

static void pages_get(struct page **pages, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		pages[i] = alloc_pages(GFP_KERNEL | __GFP_SHARED, 0);
}

static void pages_put(struct page **pages, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		__free_pages(pages[i], 0);
}

/* Backwards, so that no two follow each other in memory. */
static void pages_reverse(struct page **pages, unsigned int nr)
{
	for (unsigned int i = 0; i < nr / 2; i++) {
		struct page *swap = pages[i];

		pages[i] = pages[nr - 1 - i];
		pages[nr - 1 - i] = swap;
	}
}

static void write_to(void *addr)
{
	*(volatile char *)addr = 1;
}

static void read_from(void *addr)
{
	(void)*(volatile char *)addr;
}

static void pages_appear_in_their_order(void)
{
	struct page *pages[NR_PAGES];
	unsigned long *addr;

	pages_get(pages, NR_PAGES);
	for (int turn = 0; turn < 2; turn++) {
		addr = vmap(pages, NR_PAGES, VM_MAP, PAGE_KERNEL);
		ok(addr, "no mapping");
		for (unsigned long i = 0; i < NR_PAGES; i++) {
			addr[i * 512] = i + 100;
			ok_eq(*(unsigned long *)page_address(pages[i]), i + 100);
			ok(vmalloc_to_page(&addr[i * 512 + 511]) == pages[i], "page %lu", i);
		}
		ok(!vmalloc_to_page(addr + NR_PAGES * 512), "the guard page has a frame");
		ok_eq(signal_of_child(write_to, addr + NR_PAGES * 512), SIGSEGV);
		vmalloc_validate(machine);
		vunmap(addr);
		pages_reverse(pages, NR_PAGES);
	}
	kmm_drain(machine);
	ok(!vmalloc_to_page(addr), "still in the tables");
	ok_eq(signal_of_child(read_from, addr), SIGSEGV);
	/* The pages were the caller's all the while. */
	for (unsigned long i = 0; i < NR_PAGES; i++)
		ok_eq(*(unsigned long *)page_address(pages[NR_PAGES - 1 - i]), i + 100);
	pages_put(pages, NR_PAGES);
}

/* Of a larger block only the first page's struct may ever have been looked at. */
static void pages_of_a_larger_block_can_be_mapped(void)
{
	struct page *block = alloc_pages(GFP_KERNEL | __GFP_SHARED, 3), *pages[8];
	char *addr;

	for (int i = 0; i < 8; i++)
		pages[i] = block + 7 - i;
	addr = vmap(pages, 8, VM_MAP, PAGE_KERNEL);
	ok(addr, "no mapping");
	for (unsigned long i = 0; addr && i < 8; i++)
		ok(vmalloc_to_page(addr + i * PAGE_SIZE) == pages[i], "page %lu", i);
	vmalloc_validate(machine);
	vunmap(addr);
	kmm_drain(machine);
	__free_pages(block, 3);
}

static void a_large_block_is_mapped_by_a_large_leaf(void)
{
	static struct page *pages[512 + 1];
	struct page *block = alloc_pages(GFP_KERNEL | __GFP_SHARED, 9);
	struct pgtable_walk walk;
	char *addr;

	for (int i = 0; i < 512; i++)
		pages[i] = block + i;
	pages[512] = block;
	addr = vmap(pages, 513, VM_MAP, PAGE_KERNEL);
	ok(addr && pgtable_walk(kernel_pgtable(machine), (u64)addr + MIB, &walk), "not mapped");
	ok_eq(walk.level, 2);
	ok(vmalloc_to_page(addr + MIB) == block + 256, "another page");
	ok(pgtable_walk(kernel_pgtable(machine), (u64)addr + 2 * MIB, &walk), "not mapped");
	ok_eq(walk.level, 1);
	vmalloc_validate(machine);
	vunmap(addr);
	kmm_drain(machine);
	ok(!vmalloc_to_page(addr + MIB), "still mapped");
	__free_pages(block, 9);
}

/* The classic ring buffer: its pages twice, one after the other. */
static void a_page_may_be_mapped_more_than_once(void)
{
	struct page *pages[2 * 3];
	char *ring;

	pages_get(pages, 3);
	memcpy(pages + 3, pages, 3 * sizeof(*pages));
	ring = vmap(pages, 6, VM_MAP, PAGE_KERNEL);
	ok(ring, "no mapping");
	strcpy(ring + 3 * PAGE_SIZE - 4, "round");
	/* Two addresses are two objects to the compiler. */
	__asm__ volatile("" : : : "memory");
	ok(!memcmp(ring + 6 * PAGE_SIZE - 4, "roun", 4), "not the same pages");
	ok_eq(ring[0], 'd');
	vmalloc_validate(machine);
	vunmap(ring);
	kmm_drain(machine);
	pages_put(pages, 3);
}

static void a_mapping_to_read_faults_on_a_write(void)
{
	struct page *pages[3];
	struct pgtable_walk walk;
	char *addr;

	pages_get(pages, 3);
	strcpy(page_address(pages[1]), "read me");
	addr = vmap(pages, 3, 0, PAGE_KERNEL_RO);
	ok(addr && !strcmp(addr + PAGE_SIZE, "read me"), "not readable");
	for (int i = 0; i < 3; i++)
		ok_eq(signal_of_child(write_to, addr + (unsigned long)i * PAGE_SIZE), SIGSEGV);
	ok_eq(signal_of_child(read_from, addr), 0);
	ok(pgtable_walk(kernel_pgtable(machine), (u64)addr, &walk) && !(walk.entry & PTE_WRITE),
	   "the tables say writable");
	vunmap(addr);
	kmm_drain(machine);
	/* The page itself stays as it was. */
	strcpy(page_address(pages[1]), "written");
	pages_put(pages, 3);
}

static void pages_that_have_one_address_only_are_refused(void)
{
	struct page *pages[2] = {alloc_pages(GFP_KERNEL | __GFP_SHARED, 0),
				 alloc_pages(GFP_KERNEL, 0)};

	ok(!vmap(pages, 2, VM_MAP, PAGE_KERNEL), "a page of the direct map at a second address");
	ok(!vmap(pages, 0, VM_MAP, PAGE_KERNEL), "no pages");
	vunmap(NULL);
	pages_put(pages, 2);
}

static void what_is_unmapped_lazily_is_bounded_and_counted(void)
{
	struct page *pages[NR_PAGES];
	struct vmalloc_counters count;
	u64 most = 0;

	kmm_drain(machine);
	pages_get(pages, NR_PAGES);
	for (unsigned int i = 0; i < 1000; i++) {
		void *addr = vmap(pages, NR_PAGES, VM_MAP, PAGE_KERNEL);

		ok(addr, "no mapping, the %uth time", i);
		vunmap(addr);
		vmalloc_count(machine, &count);
		most = max_t(u64, most, count.lazy_pages);
	}
	ok(most > 10 * NR_PAGES, "at most %lu pages were lazy", most);
	ok(most <= machine->virt->max_lazy_pages, "%lu pages were lazy, of %lu", most,
	   machine->virt->max_lazy_pages);
	kmm_drain(machine);
	vmalloc_count(machine, &count);
	ok_eq(count.lazy_pages, 0);
	ok_eq(machine->virt->nr_mappings, 0);
	pages_put(pages, NR_PAGES);
}

static void callers_bugs_stop_the_program(void)
{
	struct page *pages[2];
	char *mapped, *area = vmalloc(PAGE_SIZE), on_stack[8];

	pages_get(pages, 2);
	mapped = vmap(pages, 2, VM_MAP, PAGE_KERNEL);
	ok_dies("another call made", vfree(mapped));
	ok_dies("another call made", vunmap(area));
	ok_dies("where no area starts", vunmap(mapped + PAGE_SIZE));
	ok_dies("no address of vmalloc", vunmap(on_stack));
	ok_dies("free already", vunmap(mapped); vunmap(mapped));
	ok_dies("flags", vmap(pages, 2, 0x100, PAGE_KERNEL));
	ok_dies("entry bits", vmap(pages, 2, VM_MAP, PTE_USER));
	ok_dies("alignment", __vmalloc_node(PAGE_SIZE, 3 * PAGE_SIZE, GFP_KERNEL, 0, NULL));
	vunmap(mapped);
	vfree(area);
	kmm_drain(machine);
	pages_put(pages, 2);
}

static void areas_are_aligned_as_they_were_asked_for(void)
{
	void *addrs[64];

	for (unsigned int shift = 0; shift <= 30; shift++) {
		addrs[shift] = __vmalloc_node((shift % 5 + 1) * PAGE_SIZE, 1UL << shift,
					      GFP_KERNEL | __GFP_ZERO, NUMA_NO_NODE, NULL);
		/* The region is smaller than the largest of them. */
		if (shift < 26)
			ok(addrs[shift], "no memory aligned to 2^%u", shift);
		ok(IS_ALIGNED((unsigned long)addrs[shift], 1UL << shift),
		   "%p is not aligned to 2^%u", addrs[shift], shift);
	}
	vmalloc_validate(machine);
	for (unsigned int shift = 0; shift <= 30; shift++)
		vfree(addrs[shift]);
	for (unsigned int shift = 31; shift < 64; shift++)
		ok(!__vmalloc_node(PAGE_SIZE, 1UL << shift, GFP_KERNEL, NUMA_NO_NODE, NULL),
		   "memory aligned to 2^%u", shift);
	vmalloc_validate(machine);
	kmm_drain(machine);
}

static void an_alignment_is_reused_for_its_own_kind(void)
{
	struct vmalloc_counters before, after;
	void *addr = __vmalloc_node(3 * PAGE_SIZE, MIB, GFP_KERNEL, NUMA_NO_NODE, NULL), *other;

	vfree(addr);
	vmalloc_count(machine, &before);
	for (int i = 0; i < 10; i++) {
		other = __vmalloc_node(3 * PAGE_SIZE, MIB, GFP_KERNEL, NUMA_NO_NODE, NULL);
		ok(other == addr, "another address");
		vfree(other);
	}
	vmalloc_count(machine, &after);
	ok_eq(after.reuse - before.reuse, 10);
	ok_eq(after.map_calls, before.map_calls);
	other = vmalloc(3 * PAGE_SIZE);
	ok(other != addr, "an aligned place for who did not ask");
	vfree(other);
	other = __vmalloc_node(3 * PAGE_SIZE, 4 * MIB, GFP_KERNEL, NUMA_NO_NODE, NULL);
	ok(IS_ALIGNED((unsigned long)other, 4 * MIB), "%p", other);
	vfree(other);
	kmm_drain(machine);
}

static void memory_is_zeroed_where_that_is_asked_for(void)
{
	for (int turn = 0; turn < 3; turn++) {
		char *addr = __vmalloc_node(3 * PAGE_SIZE, 16 * PAGE_SIZE, GFP_KERNEL | __GFP_ZERO,
					    NUMA_NO_NODE, NULL);

		for (unsigned long at = 0; at < 3 * PAGE_SIZE; at++)
			ok(!addr[at], "byte %lu is %d", at, addr[at]);
		memset(addr, 0x77, 3 * PAGE_SIZE);
		vfree(addr);
	}
	kmm_drain(machine);
}

static void vmallocinfo_names_the_kinds(void)
{
	struct page *pages[2];
	void *mapped, *other, *area = vmalloc(20 * PAGE_SIZE);
	char *text = NULL, expected[256];
	size_t size;
	FILE *out = open_memstream(&text, &size);

	pages_get(pages, 2);
	mapped = vmap(pages, 2, VM_MAP, PAGE_KERNEL);
	other = vmap(pages, 1, VM_MAP, PAGE_KERNEL);
	vunmap(other);
	ok(area < mapped && mapped < other, "addresses are not dealt out from below");
	ok_eq(show_vmallocinfo(machine, out), 0);
	fclose(out);
	snprintf(expected, sizeof(expected),
		 "0x%016lx-0x%016lx   86016 vmalloc pages=20 N0=20\n"
		 "0x%016lx-0x%016lx   12288 vmap\n"
		 "0x%016lx-0x%016lx    8192 unpurged vm_area\n",
		 (unsigned long)area, (unsigned long)area + 21 * PAGE_SIZE, (unsigned long)mapped,
		 (unsigned long)mapped + 3 * PAGE_SIZE, (unsigned long)other,
		 (unsigned long)other + 2 * PAGE_SIZE);
	ok(!strcmp(text, expected), "\"%s\", not \"%s\"", text, expected);
	free(text);
	vunmap(mapped);
	vfree(area);
	kmm_drain(machine);
	pages_put(pages, 2);
}

int main(void)
{
	machine = machine_boot(1, 64 * MIB, 16 * MIB, ZONES_X86_64);
	RUN(pages_appear_in_their_order);
	RUN(pages_of_a_larger_block_can_be_mapped);
	RUN(a_large_block_is_mapped_by_a_large_leaf);
	RUN(a_page_may_be_mapped_more_than_once);
	RUN(a_mapping_to_read_faults_on_a_write);
	RUN(pages_that_have_one_address_only_are_refused);
	RUN(what_is_unmapped_lazily_is_bounded_and_counted);
	RUN(callers_bugs_stop_the_program);
	RUN(areas_are_aligned_as_they_were_asked_for);
	RUN(an_alignment_is_reused_for_its_own_kind);
	RUN(memory_is_zeroed_where_that_is_asked_for);
	RUN(vmallocinfo_names_the_kinds);
	machine_end(machine);
	return done();
}

/* SPDX-License-Identifier: MIT */
/*
 * vmalloc as its users see it: memory that holds what is written, guard pages, failures that leave nothing
 * behind, and bugs of the caller that stop the program.
 */
#include <pthread.h>

#include "arch/host.h"
#include "machine.h"
#include "virt/virt.h"

#define MIB (1UL << 20)

static struct kmm *machine;

static u64 shared_pages_free(void)
{
	struct free_area_counts counts;

	kmm_drain(machine);
	count_free_areas(machine, NUMA_NO_NODE, &counts);
	return counts.nr_buddy_pages + counts.nr_pcp_pages;
}

static struct vmalloc_counters counters(void)
{
	struct vmalloc_counters sum;

	vmalloc_count(machine, &sum);
	return sum;
}

static unsigned long nr_pages_of(unsigned long size)
{
	return (size + PAGE_SIZE - 1) / PAGE_SIZE;
}

/* First and last word of each page say whose it is. */
static void stamp(void *addr, unsigned long size, unsigned long value)
{
	unsigned long *words = addr;

	for (unsigned long page = 0; page < nr_pages_of(size); page++) {
		words[page * 512] = value + page;
		words[page * 512 + 511] = ~(value + page);
	}
}

static void check_stamp(const void *addr, unsigned long size, unsigned long value)
{
	const unsigned long *words = addr;

	for (unsigned long page = 0; page < nr_pages_of(size); page++)
		ok(words[page * 512] == value + page && words[page * 512 + 511] == ~(value + page),
		   "page %lu of %p has %#lx, %#lx, not %#lx", page, addr, words[page * 512],
		   words[page * 512 + 511], value + page);
}

static void memory_of_any_size_holds_what_is_written(void)
{
	static const unsigned long sizes[] = {1,	   4096,     4097,	  16 * 4096,
					      16 * 4096 + 1, 100000, 511 * 4096UL, 512 * 4096UL,
					      MIB * 4,	   5 * MIB + 123};
	void *addrs[ARRAY_SIZE(sizes)];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		addrs[i] = vmalloc(sizes[i]);
		ok(addrs[i] && IS_ALIGNED((unsigned long)addrs[i], PAGE_SIZE), "%lu bytes at %p",
		   sizes[i], addrs[i]);
		stamp(addrs[i], sizes[i], i << 32);
	}
	vmalloc_validate(machine);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		check_stamp(addrs[i], sizes[i], i << 32);
		vfree(addrs[i]);
	}
	vmalloc_validate(machine);
	ok(!vmalloc(0), "0 bytes");
	ok(!vmalloc(~0UL), "all bytes");
	ok(!vmalloc(~0UL - 4094), "a size that wraps when rounded up");
	ok(!vmalloc(1UL << 40), "1 TiB");
	vfree(NULL);
}

static void vzalloc_clears_memory_that_was_used(void)
{
	unsigned char *addr = vmalloc(3 * PAGE_SIZE);

	memset(addr, 0xaa, 3 * PAGE_SIZE);
	vfree(addr);
	addr = vzalloc(2 * PAGE_SIZE + 1);
	for (unsigned long i = 0; i < 3 * PAGE_SIZE; i++)
		ok(!addr[i], "byte %lu is %#x", i, addr[i]);
	vfree(addr);
}

static void a_freed_area_is_reused_without_a_system_call(void)
{
	struct vmalloc_counters before, after;
	void *addr = vmalloc(3 * PAGE_SIZE), *large = vmalloc(40 * PAGE_SIZE);

	vfree(addr);
	vfree(large);
	before = counters();
	ok(before.lazy_pages >= 43, "%lu lazy pages", before.lazy_pages);
	for (int i = 0; i < 100; i++) {
		ok(vmalloc(3 * PAGE_SIZE) == addr, "another address");
		ok(vmalloc(39 * PAGE_SIZE + 1) == large, "another address");
		vfree(addr);
		vfree(large);
	}
	after = counters();
	ok_eq(after.reuse - before.reuse, 200);
	ok_eq(after.alloc - before.alloc, 200);
	ok_eq(after.map_calls, before.map_calls);
	kmm_drain(machine);
	ok_eq(counters().lazy_pages, 0);
}

static void touch(void *addr)
{
	*(volatile char *)addr = 1;
}

static void a_write_past_the_end_faults(void)
{
	static const unsigned long sizes[] = {1, 4096, 64 * 4096UL, 4 * MIB};
	char *addrs[ARRAY_SIZE(sizes)];

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		addrs[i] = vmalloc(sizes[i]);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned long size = nr_pages_of(sizes[i]) * PAGE_SIZE;

		ok_eq(signal_of_child(touch, addrs[i] + size), SIGSEGV);
		ok_eq(signal_of_child(touch, addrs[i] + size - 1), 0);
		ok(!vmalloc_to_page(addrs[i] + size), "the guard page has a frame");
		vfree(addrs[i]);
	}
	kmm_drain(machine);
	ok_eq(signal_of_child(touch, addrs[1]), SIGSEGV);
}

static void a_frame_has_two_addresses(void)
{
	char *addr = vmalloc(MIB);

	for (unsigned long at = 0; at < MIB; at += 1000) {
		struct page *page = vmalloc_to_page(addr + at);
		char *direct = page ? page_address(page) : NULL;

		ok(direct, "%#lx has no frame in the direct map", at);
		if (!direct)
			break;
		addr[at] = (char)at;
		ok(direct[at % PAGE_SIZE] == (char)at, "%#lx: not what was written", at);
		direct[at % PAGE_SIZE] ^= 0x55;
		ok_eq(addr[at], (char)at ^ 0x55);
	}
	vfree(addr);
}

static void a_large_area_is_mapped_by_large_leaves(void)
{
	char *addr = vmalloc(4 * MIB);
	struct pgtable_walk walk;

	ok(pgtable_walk(kernel_pgtable(machine), (u64)addr + 3 * MIB, &walk), "not mapped");
	ok_eq(walk.level, 2);
	vfree(addr);
}

int main(void)
{
	machine = machine_boot(2, 128 * MIB, 64 * MIB, ZONES_X86_64);
	RUN(memory_of_any_size_holds_what_is_written);
	RUN(vzalloc_clears_memory_that_was_used);
	RUN(a_freed_area_is_reused_without_a_system_call);
	RUN(a_write_past_the_end_faults);
	RUN(a_frame_has_two_addresses);
	RUN(a_large_area_is_mapped_by_large_leaves);
	printf("# %lu\n", shared_pages_free());
	machine_end(machine);
	return done();
}

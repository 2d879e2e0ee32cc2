/* SPDX-License-Identifier: MIT */
/* The layer on machines of every kind: boot, leaks at shutdown, and the i386 layout's HighMem. */
#include <errno.h>

#include "machine.h"
#include "virt/virt.h"

#define MIB (1UL << 20)

static void leaked_areas_are_counted(void)
{
	struct kmm *machine = machine_boot(1, 64 * MIB, 0, ZONES_X86_64);
	struct kmm_leaks leaks;
	int err;

	(void)!vmalloc(PAGE_SIZE);
	(void)!vmalloc(2 * MIB);
	vfree(vmalloc(PAGE_SIZE));
	err = kmm_shutdown(machine, &leaks);
	ok_eq(err, -EBUSY);
	ok_eq(leaks.vmap_areas, 2);
	ok_eq(leaks.pages, 513);
	ok_eq(leaks.objects, 0);
	ok_eq(leaks.large_kmallocs, 0);
}

static void highmem_is_mapped_where_the_direct_map_is_not(void)
{
	struct kmm *machine = machine_boot(1, 1024 * MIB, 0, ZONES_I386);
	unsigned char *addr = vzalloc(5 * PAGE_SIZE);
	struct page *page;

	for (unsigned long i = 0; i < 5; i++) {
		page = vmalloc_to_page(addr + i * PAGE_SIZE);
		ok(page && !page_address(page), "page %lu is not of HighMem", i);
		ok_eq(addr[i * PAGE_SIZE], 0);
		addr[i * PAGE_SIZE] = (unsigned char)i;
	}
	for (unsigned long i = 0; i < 5; i++)
		ok_eq(addr[i * PAGE_SIZE], i);
	vmalloc_validate(machine);
	vfree(addr);
	machine_end(machine);
}

static void machines_come_and_go_with_what_is_lazily_held(void)
{
	for (int i = 0; i < 5; i++) {
		struct kmm *machine =
			machine_boot(1 + (unsigned int)i % 2, 32 * MIB, 0, ZONES_X86_64);
		void *addrs[50];

		for (int j = 0; j < 50; j++)
			addrs[j] = vmalloc((unsigned long)(j + 1) * 3000);
		for (int j = 0; j < 50; j++)
			vfree(addrs[j]);
		machine_end(machine);
	}
}

/* A small machine keeps little, and one of the least size next to nothing. */
static void a_small_machine_works_within_its_bounds(void)
{
	struct kmm *machine = machine_boot(1, 16 * MIB, 4 * MIB, ZONES_X86_64);
	struct vmalloc_counters sum;
	void *addr;

	ok(machine->virt->max_lazy_pages <= 256, "%lu pages may be held",
	   machine->virt->max_lazy_pages);
	for (int i = 0; i < 200; i++) {
		addr = vmalloc((unsigned long)(i % 40 + 1) * PAGE_SIZE);
		ok(addr, "no memory after %d areas", i);
		vfree(addr);
	}
	vmalloc_count(machine, &sum);
	ok(sum.lazy_pages <= machine->virt->max_lazy_pages + machine->virt->cpu_pages,
	   "%lu pages held", sum.lazy_pages);
	vmalloc_validate(machine);
	machine_end(machine);
}

static void count_lock(const char *name, const struct lock_stats *stats, void *arg)
{
	int *found = arg;

	found[0] += !strcmp(name, "vmap") && stats->acquired > 0;
	found[1] += !strcmp(name, "page_table") && stats->acquired > 0;
}

static void its_locks_are_named(void)
{
	struct kmm *machine = machine_boot(1, 32 * MIB, 0, ZONES_X86_64);
	int found[2] = {0, 0};

	vfree(vmalloc(PAGE_SIZE));
	virt_for_each_lock(machine, count_lock, found);
	ok_eq(found[0], 1);
	ok_eq(found[1], 1);
	machine_end(machine);
}

int main(void)
{
	RUN(leaked_areas_are_counted);
	RUN(highmem_is_mapped_where_the_direct_map_is_not);
	RUN(machines_come_and_go_with_what_is_lazily_held);
	RUN(a_small_machine_works_within_its_bounds);
	RUN(its_locks_are_named);
	return done();
}

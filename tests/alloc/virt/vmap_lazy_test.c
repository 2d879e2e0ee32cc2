/* SPDX-License-Identifier: MIT */
/* What is held lazily: how much, for whom, and that it is unmapped in the end. */
#include <pthread.h>

#include "machine.h"
#include "tests/tap/dies.h"
#include "virt/virt.h"

#define MIB (1UL << 20)

static struct kmm *machine;

static struct vmalloc_counters counters(void)
{
	struct vmalloc_counters sum;

	vmalloc_count(machine, &sum);
	return sum;
}

/* All that the bounds in virt.h allow, with one CPU slot in use for each thread. */
static u64 bound(unsigned int nr_slots)
{
	const struct virt *virt = machine->virt;

	return virt->max_lazy_pages + nr_slots * (virt->cpu_pages + virt->slack_pages);
}

static void what_is_held_is_bounded(void)
{
	unsigned long nr_ops = tap_number("LAZY_OPS", 5000), random = tap_seed() | 1;
	void *live[200] = {NULL};
	u64 most = 0;

	for (unsigned long op = 0; op < nr_ops; op++) {
		void **addr = &live[tap_random(&random) % ARRAY_SIZE(live)];

		if (*addr) {
			vfree(*addr);
			*addr = NULL;
			most = counters().lazy_pages > most ? counters().lazy_pages : most;
			ok(counters().lazy_pages <= bound(1), "%lu pages held, bound %lu",
			   counters().lazy_pages, bound(1));
		} else {
			/* What was freed at first is too small for what is wanted later. */
			*addr = vmalloc(1 + tap_random(&random) %
						    ((20 + 60 * (op * 4 / nr_ops)) * PAGE_SIZE));
		}
		if (op % 256 == 0)
			vmalloc_validate(machine);
	}
	ok(most > machine->virt->max_lazy_pages / 2, "never more than %lu pages held", most);
	ok(counters().purge > 0, "nothing was purged");
	for (size_t i = 0; i < ARRAY_SIZE(live); i++)
		vfree(live[i]);
	vmalloc_validate(machine);
	kmm_drain(machine);
	ok_eq(counters().lazy_pages, 0);
	ok_eq(machine->virt->kernel->nr_mapped, 0);
	ok_eq(machine->virt->kernel->nr_tables, 1);
	ok_eq(machine->virt->nr_mappings, 0);
}

/* Does it lie in the nr_pages pages at area? */
static bool is_of(const void *addr, const void *area, unsigned long nr_pages)
{
	return (unsigned long)addr - (unsigned long)area < nr_pages * PAGE_SIZE;
}

static void a_freed_area_serves_its_size_and_node_only(void)
{
	void *addr = vmalloc_node(50 * PAGE_SIZE, 1), *other;

	vfree(addr);
	other = vmalloc_node(50 * PAGE_SIZE, 0);
	ok(!is_of(other, addr, 50), "an area of node 1 for node 0");
	vfree(other);
	other = vmalloc_node(39 * PAGE_SIZE, 1);
	ok(!is_of(other, addr, 50), "an area of 50 pages for 39");
	vfree(other);
	other = vmalloc_node(51 * PAGE_SIZE, 1);
	ok(!is_of(other, addr, 50), "an area of 50 pages for 51");
	vfree(other);
	other = vmalloc_node(50 * PAGE_SIZE, 1);
	ok(other == addr, "not reused");
	vfree(other);
	other = __vmalloc_node(50 * PAGE_SIZE, 2 * PAGE_SIZE, GFP_KERNEL, 1, NULL);
	ok(!is_of(other, addr, 50), "an area of no alignment for two pages'");
	vfree(other);
	addr = other;
	other = __vmalloc_node(50 * PAGE_SIZE, 2 * PAGE_SIZE, GFP_KERNEL, 1, NULL);
	ok(other == addr, "not reused with its alignment");
	vfree(other);
	/* These share a list: 50 pages with 306; and 50 of node 2 with 50 of node 0. */
	other = __vmalloc_node((50 + VMAP_BUCKETS) * PAGE_SIZE, 2 * PAGE_SIZE, GFP_KERNEL, 1, NULL);
	ok(!is_of(other, addr, 50), "an area of 50 pages for 306");
	vfree(other);
	addr = __vmalloc_node(50 * PAGE_SIZE, 2 * PAGE_SIZE, GFP_KERNEL, 2, NULL);
	vfree(addr);
	other = __vmalloc_node(50 * PAGE_SIZE, 2 * PAGE_SIZE, GFP_KERNEL, 0, NULL);
	ok(!is_of(other, addr, 50), "an area of node 2 for node 0");
	vfree(other);
	kmm_drain(machine);
}

static void count_lazy(const struct vm_area_info *info, void *arg)
{
	*(unsigned long *)arg += info->nr_pages;
}

/* Pages of live areas, as vmallocinfo has them, of those that begin at addr. */
struct line {
	const void *addr;
	unsigned long nr_pages, size_bytes;
};

static void find_line(const struct vm_area_info *info, void *arg)
{
	struct line *line = arg;

	if (info->addr == line->addr) {
		line->nr_pages = info->nr_pages;
		line->size_bytes = info->size_bytes;
	}
}

static void poke(void *addr)
{
	*(volatile char *)addr = 1;
}

/* The last pages of it, so that what follows is the guard page; and what is before them is counted. */
static void check_smaller(char *area, unsigned long nr_pages, unsigned long want)
{
	u64 held = counters().lazy_pages;
	struct vmalloc_counters before = counters();
	char *addr = vmalloc(want * PAGE_SIZE);
	struct line line = {.addr = addr};

	ok(addr == area + (nr_pages - want) * PAGE_SIZE, "%lu pages of %lu at %p of %p", want,
	   nr_pages, addr, area);
	ok_eq(counters().map_calls, before.map_calls);
	ok_eq(counters().reuse - before.reuse, 1);
	ok_eq(counters().lazy_pages, held - want);
	memset(addr, 0x5a, want * PAGE_SIZE);
	ok(!vmalloc_to_page(addr + want * PAGE_SIZE), "the guard page has a frame");
	ok_eq(signal_of_child(poke, addr + want * PAGE_SIZE), SIGSEGV);
	vmalloc_for_each(machine, find_line, &line);
	ok_eq(line.nr_pages, want);
	ok_eq(line.size_bytes, (want + 1) * PAGE_SIZE);
	vmalloc_validate(machine);
	if (addr != area)
		ok_dies("where no area starts", vfree(area));
	vfree(addr);
	ok_eq(counters().lazy_pages, held);
	ok_dies("free already", vfree(addr));
	vmalloc_validate(machine);
}

/* From a CPU's stack, of 40 pages; from the lists, of 300 and of a size that shares its list. */
static void an_area_serves_a_fifth_less(void)
{
	static const unsigned long sizes[] = {8, 40, 256, 300, 560};
	unsigned long nr_lazy;

	kmm_drain(machine);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		unsigned long nr = sizes[i];
		char *area = vmalloc(nr * PAGE_SIZE);

		vfree(area);
		check_smaller(area, nr, nr - 1);
		check_smaller(area, nr, nr - nr / 5);
		check_smaller(area, nr, nr);
		kmm_drain(machine);
		nr_lazy = 0;
		vmalloc_for_each_lazy(machine, count_lazy, &nr_lazy);
		ok_eq(nr_lazy, 0);
	}
	ok_eq(machine->virt->kernel->nr_mapped, 0);
}

/* The CPU gives away so much and no more; what it gave comes back with the areas. */
static void slack_is_bounded(void)
{
	struct virt *virt = machine->virt;
	enum { NR = 400 };
	void *areas[NR];
	u64 slack;

	kmm_drain(machine);
	for (int i = 0; i < NR; i++)
		areas[i] = vmalloc(10 * PAGE_SIZE);
	for (int i = 0; i < NR; i++)
		vfree(areas[i]);
	for (int i = 0; i < NR; i++)
		areas[i] = vmalloc(8 * PAGE_SIZE);
	kmm_drain(machine);
	slack = counters().lazy_pages;
	ok(slack <= virt->slack_pages && slack + 2 > virt->slack_pages, "%lu pages, of %u", slack,
	   virt->slack_pages);
	vmalloc_validate(machine);
	for (int i = 0; i < NR; i++)
		vfree(areas[i]);
	kmm_drain(machine);
	ok_eq(counters().lazy_pages, 0);
	ok_eq(virt->kernel->nr_mapped, 0);
}

/*
 * A CPU that holds as much as it may gives to the lists, and takes from them when it runs empty.
 * Bounded once by pages, once by the host's mappings; two sizes, for a stack alone may not be enough to
 * make room.
 */
static void check_exchange(unsigned long nr_pages)
{
	struct virt *virt = machine->virt;
	const struct virt_cpu *vcpu = virt_cpu(virt, cpu_get());
	enum { NR = 500 };
	struct vmalloc_counters before;
	static void *addrs[2 * NR];
	bool full = false;

	kmm_drain(machine);
	for (int i = 0; i < 2 * NR; i++)
		addrs[i] = vmalloc((nr_pages + (unsigned long)(i / NR)) * PAGE_SIZE);
	before = counters();
	for (int i = 0; i < 2 * NR; i++) {
		vfree(addrs[i]);
		ok(vcpu->nr_pages <= virt->cpu_pages && vcpu->nr_mappings <= virt->cpu_mappings,
		   "%u pages, %u mappings are held", vcpu->nr_pages, vcpu->nr_mappings);
		full |= virt->nr_lazy_pages > 0;
	}
	ok(full, "never too much");
	ok(vcpu->nr_pages > virt->cpu_pages / 3 || vcpu->nr_mappings > virt->cpu_mappings / 3,
	   "%u pages, %u mappings are left", vcpu->nr_pages, vcpu->nr_mappings);
	vmalloc_validate(machine);
	ok_eq(counters().lazy_pages - before.lazy_pages, (2 * nr_pages + 1) * NR);
	for (int i = 0; i < 2 * NR; i++)
		addrs[i] = vmalloc((nr_pages + (unsigned long)(i / NR)) * PAGE_SIZE);
	ok_eq(counters().reuse - before.reuse, 2 * NR);
	ok_eq(counters().map_calls, before.map_calls);
	vmalloc_validate(machine);
	for (int i = 0; i < 2 * NR; i++)
		vfree(addrs[i]);
	kmm_drain(machine);
	ok_eq(vcpu->nr_pages, 0);
	ok_eq(vcpu->nr_mappings, 0);
}

static void a_cpu_exchanges_areas_with_the_lists(void)
{
	u32 cpu_mappings = machine->virt->cpu_mappings;

	check_exchange(2);
	machine->virt->cpu_mappings = 100;
	check_exchange(1);
	machine->virt->cpu_mappings = cpu_mappings;
}

/* Neighbours are unmapped by one call, so an area between two that stay is not. */
static void a_purge_leaves_live_neighbours_alone(void)
{
	char *addrs[64];

	for (int i = 0; i < 64; i++) {
		addrs[i] = vmalloc(3 * PAGE_SIZE);
		memset(addrs[i], i, 3 * PAGE_SIZE);
	}
	for (int i = 0; i < 64; i++)
		if (i % 5 == 1 || i % 5 == 2 || i == 40)
			vfree(addrs[i]);
	kmm_drain(machine);
	vmalloc_validate(machine);
	for (int i = 0; i < 64; i++) {
		if (i % 5 == 1 || i % 5 == 2 || i == 40) {
			ok(!vmalloc_to_page(addrs[i]), "area %d is still mapped", i);
			continue;
		}
		for (unsigned long at = 0; at < 3 * PAGE_SIZE; at += 512)
			ok(addrs[i][at] == (char)i, "area %d has %d at %lu", i, addrs[i][at], at);
		vfree(addrs[i]);
	}
	kmm_drain(machine);
}

static void *free_here(void *addr)
{
	kmm_attach(machine, 2); /* of node 1 */
	vfree(addr);
	return NULL;
}

/* What another node's CPU frees does not stay there: it goes to the lists, for its own node. */
static void an_area_freed_by_another_node_comes_home(void)
{
	void *addr = vmalloc(2 * PAGE_SIZE);
	pthread_t thread;

	pthread_create(&thread, NULL, free_here, addr);
	pthread_join(thread, NULL);
	ok(vmalloc(2 * PAGE_SIZE) == addr, "not reused");
	vfree(addr);
	kmm_drain(machine);
}

static void *fill_stack_here(void *arg)
{
	void *addrs[8];

	(void)arg;
	kmm_attach(machine, 1);
	for (int i = 0; i < 8; i++)
		addrs[i] = vmalloc(PAGE_SIZE);
	for (int i = 0; i < 8; i++)
		vfree(addrs[i]);
	return NULL;
}

static void areas_of_a_thread_that_ended_make_way(void)
{
	struct virt *virt = machine->virt;
	u64 limit = virt->max_mappings;
	pthread_t thread;
	void *addr;

	kmm_drain(machine);
	pthread_create(&thread, NULL, fill_stack_here, NULL);
	pthread_join(thread, NULL);
	ok_eq(counters().lazy_pages, 8);
	virt->max_mappings = virt->nr_mappings + 1;
	addr = vmalloc(3 * PAGE_SIZE);
	ok(addr, "an idle CPU's areas do not make way");
	virt->max_mappings = limit;
	ok_eq(counters().lazy_pages, 0);
	vfree(addr);
	kmm_drain(machine);
}

int main(void)
{
	machine = machine_boot(3, 64 * MIB, 32 * MIB, ZONES_X86_64);
	RUN(what_is_held_is_bounded);
	RUN(a_freed_area_serves_its_size_and_node_only);
	RUN(an_area_serves_a_fifth_less);
	RUN(slack_is_bounded);
	RUN(a_cpu_exchanges_areas_with_the_lists);
	RUN(a_purge_leaves_live_neighbours_alone);
	RUN(an_area_freed_by_another_node_comes_home);
	RUN(areas_of_a_thread_that_ended_make_way);
	machine_end(machine);
	return done();
}

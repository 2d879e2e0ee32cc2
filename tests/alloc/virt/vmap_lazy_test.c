/* SPDX-License-Identifier: MIT */
/* What is held lazily: how much, for whom, and that it is unmapped in the end. */
#include <pthread.h>

#include "machine.h"
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

	return virt->max_lazy_pages + nr_slots * VMAP_BINS * virt->magazine_pages;
}

static void what_is_held_is_bounded(void)
{
	unsigned long nr_ops = nr_operations("LAZY_OPS", 5000), random = tap_seed() | 1;
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
			*addr = vmalloc(1 + tap_random(&random) % (80 * PAGE_SIZE));
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

static void a_freed_area_serves_its_size_and_node_only(void)
{
	void *addr = vmalloc_node(50 * PAGE_SIZE, 1), *other;

	vfree(addr);
	other = vmalloc_node(50 * PAGE_SIZE, 0);
	ok(other != addr, "an area of node 1 for node 0");
	vfree(other);
	other = vmalloc_node(49 * PAGE_SIZE, 1);
	ok(other != addr, "an area of 50 pages for 49");
	vfree(other);
	other = vmalloc_node(50 * PAGE_SIZE, 1);
	ok(other == addr, "not reused");
	vfree(other);
	/* These share a bucket: 50 pages with 1074; and 50 of node 2 with 50 of node 0. */
	other = vmalloc_node((50 + VMAP_BUCKETS) * PAGE_SIZE, 1);
	ok(other != addr, "an area of 50 pages for 1074");
	vfree(other);
	addr = vmalloc_node(50 * PAGE_SIZE, 2);
	vfree(addr);
	other = vmalloc_node(50 * PAGE_SIZE, 0);
	ok(other != addr, "an area of node 2 for node 0");
	vfree(other);
	kmm_drain(machine);
}

/* A magazine that overflows gives half to the lists, and one that runs empty takes from them. */
static void magazines_exchange_halves_with_the_lists(void)
{
	struct virt *virt = machine->virt;
	const struct vmap_magazine *magazine = &virt_cpu(virt, cpu_get())->magazine[1];
	u32 capacity = magazine->capacity;
	void *addrs[VMAP_MAG_AREAS * 3];
	struct vmalloc_counters before;

	ok(capacity > 2, "capacity %u", capacity);
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++)
		addrs[i] = vmalloc(2 * PAGE_SIZE);
	before = counters();
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		vfree(addrs[i]);
		ok(magazine->nr <= capacity && (i < capacity || magazine->nr >= capacity / 2),
		   "%u in the magazine after %zu frees", magazine->nr, i + 1);
	}
	vmalloc_validate(machine);
	ok_eq(counters().lazy_pages - before.lazy_pages, 2 * ARRAY_SIZE(addrs));
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++)
		addrs[i] = vmalloc(2 * PAGE_SIZE);
	ok_eq(counters().reuse - before.reuse, ARRAY_SIZE(addrs));
	ok_eq(counters().map_calls, before.map_calls);
	vmalloc_validate(machine);
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++)
		vfree(addrs[i]);
	kmm_drain(machine);
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

static void *fill_magazine_here(void *arg)
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
	pthread_create(&thread, NULL, fill_magazine_here, NULL);
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
	RUN(magazines_exchange_halves_with_the_lists);
	RUN(a_purge_leaves_live_neighbours_alone);
	RUN(an_area_freed_by_another_node_comes_home);
	RUN(areas_of_a_thread_that_ended_make_way);
	machine_end(machine);
	return done();
}

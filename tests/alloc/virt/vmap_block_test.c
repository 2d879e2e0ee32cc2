/* SPDX-License-Identifier: MIT */
/* vm_map_ram: pieces of blocks, kept and dirty ones, and what bounds them. */
#include <errno.h>
#include <pthread.h>

#include "machine.h"
#include "tests/tap/dies.h"
#include "virt/virt.h"

#define MIB	 (1UL << 20)
#define NR_PAGES 1024

static struct kmm *machine;
static struct page *pages[NR_PAGES]; /* backwards: a mapping of the host each */

static struct vmalloc_counters counters(void)
{
	struct vmalloc_counters sum;

	vmalloc_count(machine, &sum);
	return sum;
}

/* All is given back, of this thread and of those that ended. */
static void check_empty(void)
{
	kmm_drain(machine);
	vmalloc_validate(machine);
	ok_eq(counters().lazy_pages, 0);
	ok_eq(machine->virt->nr_mappings, 0);
	ok_eq(machine->virt->nr_dirty_pages, 0);
	ok_eq(machine->virt->kernel->nr_mapped, 0);
	ok_eq(machine->virt->kernel->nr_tables, 1);
	ok(list_empty(&machine->virt->blocks), "a block is left");
}

static void pages_of_any_number_appear_in_their_order(void)
{
	static const unsigned int counts[] = {1, 2, 3, 31, 63, 64, 65, 255, 256, 1000};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		unsigned int nr = counts[i];
		unsigned long *addr = vm_map_ram(pages, nr, NUMA_NO_NODE);

		ok(addr, "%u pages: NULL", nr);
		for (unsigned long page = 0; page < nr; page++) {
			addr[page * 512] = page ^ nr;
			ok_eq(*(unsigned long *)page_address(pages[page]), page ^ nr);
			ok(vmalloc_to_page(&addr[page * 512 + 511]) == pages[page], "page %lu",
			   page);
		}
		vmalloc_validate(machine);
		vm_unmap_ram(addr, nr);
		vmalloc_validate(machine);
	}
	ok(!vm_map_ram(pages, 0, NUMA_NO_NODE), "no pages");
	check_empty();
}

static void the_same_pages_again_cost_no_system_call(void)
{
	void *addr = vm_map_ram(pages, 3, NUMA_NO_NODE), *other;
	struct vmalloc_counters before = counters();

	for (int i = 0; i < 100; i++) {
		vm_unmap_ram(addr, 3);
		ok(vm_map_ram(pages, 3, NUMA_NO_NODE) == addr, "another address");
	}
	ok_eq(counters().map_calls, before.map_calls);
	ok_eq(counters().reuse - before.reuse, 100);
	ok_eq(counters().alloc - before.alloc, 100);
	/* What is live is nobody else's; and as many pages are not the same pages. */
	other = vm_map_ram(pages, 3, NUMA_NO_NODE);
	ok(other && other != addr, "a live piece was given again");
	vm_unmap_ram(other, 3);
	vm_unmap_ram(addr, 3);
	for (unsigned int i = 1; i < 200; i++) {
		char *piece = vm_map_ram(pages + i, 3, NUMA_NO_NODE);

		ok(vmalloc_to_page(piece) == pages[i], "the pages of another");
		ok(vmalloc_to_page(piece + 2 * PAGE_SIZE) == pages[i + 2], "the pages of another");
		vm_unmap_ram(piece, 3);
	}
	check_empty();
}

/* A block that is dealt out to the last page is still its CPU's. */
static void a_block_may_be_used_up_exactly(void)
{
	enum { NR_PIECES = VMAP_BLOCK_PAGES / 5 };
	void *pieces[NR_PIECES];

	for (int turn = 0; turn < 4; turn++) {
		kmm_drain(machine);
		for (int i = 0; i < NR_PIECES; i++)
			pieces[i] = vm_map_ram(pages + 5 * i, 5, NUMA_NO_NODE);
		for (int i = 0; i < NR_PIECES; i++)
			vm_unmap_ram(pieces[i], 5);
		vmalloc_validate(machine);
		/* Other pages drop what is kept; then the block is gone before it is retired. */
		for (int i = 0; i < NR_PIECES && turn % 2; i++)
			vm_unmap_ram(vm_map_ram(pages + 500 + 2 * i, 2, NUMA_NO_NODE), 2);
		vmalloc_validate(machine);
	}
	check_empty();
}

static void what_nobody_uses_is_bounded(void)
{
	struct virt *virt = machine->virt;
	u64 most = 0, bound = virt->max_lazy_pages + virt->purge_pages + VMAP_BLOCK_PAGES +
			      VMAP_KEPT * virt->kept_pages;
	unsigned long random = tap_seed() | 1;

	for (int i = 0; i < 4000; i++) {
		unsigned int nr = 1 + tap_random(&random) % VMAP_PIECE_PAGES;
		void *addr = vm_map_ram(pages + tap_random(&random) % (NR_PAGES - nr), nr, 0);

		ok(addr, "the %dth: NULL", i);
		vm_unmap_ram(addr, nr);
		most = max_t(u64, most, counters().lazy_pages);
		if (i % 256 == 0)
			vmalloc_validate(machine);
	}
	ok(most > bound / 4 && most <= bound, "%lu pages were held, the bound is %lu", most, bound);
	ok(counters().purge > 0, "nothing was purged");
	check_empty();
}

/* A live page in each block keeps its addresses, not what else was mapped there. */
static void dirty_parts_of_a_block_in_use_are_unmapped(void)
{
	struct virt *virt = machine->virt;
	enum { NR_BLOCKS = 40 };
	void *live[NR_BLOCKS];

	for (int i = 0; i < NR_BLOCKS; i++) {
		live[i] = vm_map_ram(pages + i, 1, NUMA_NO_NODE);
		*(int *)live[i] = i;
		for (int j = 0; j < 3; j++)
			vm_unmap_ram(vm_map_ram(pages + 100 * j + i, 64, NUMA_NO_NODE), 64);
		vm_unmap_ram(vm_map_ram(pages + i, 62, NUMA_NO_NODE), 62);
		ok(virt->nr_dirty_pages <= virt->purge_pages, "%lu dirty pages",
		   virt->nr_dirty_pages);
	}
	vmalloc_validate(machine);
	kmm_drain(machine);
	ok_eq(virt->nr_dirty_pages, 0);
	ok_eq(virt->kernel->nr_mapped, NR_BLOCKS);
	vmalloc_validate(machine);
	for (int i = 0; i < NR_BLOCKS; i++) {
		ok_eq(*(int *)live[i], i);
		vm_unmap_ram(live[i], 1);
	}
	check_empty();
}

static void the_limit_of_mappings_gives_null_and_nothing_else(void)
{
	struct virt *virt = machine->virt;
	u64 limit = virt->max_mappings;
	void *piece, *other;

	kmm_drain(machine);
	virt->max_mappings = 41;
	piece = vm_map_ram(pages, 40, NUMA_NO_NODE);
	ok(piece, "40 mappings and a gap, of 41");
	ok(!vm_map_ram(pages + 40, 1, NUMA_NO_NODE), "42 mappings, of 41");
	ok(!vm_map_ram(pages, 100, NUMA_NO_NODE), "100 mappings more, of 41");
	vmalloc_validate(machine);
	/* What is kept makes way. */
	vm_unmap_ram(piece, 40);
	other = vm_map_ram(pages + 40, 40, NUMA_NO_NODE);
	ok(other, "a kept piece does not make way");
	vm_unmap_ram(other, 40);
	virt->max_mappings = limit;
	check_empty();
}

static void pages_that_have_one_address_only_are_refused(void)
{
	struct page *mixed[2] = {pages[0], alloc_pages(GFP_KERNEL, 0)};

	ok(!vm_map_ram(mixed, 2, NUMA_NO_NODE), "a page of the direct map at a second address");
	__free_pages(mixed[1], 0);
	check_empty();
}

static void callers_bugs_stop_the_program(void)
{
	char *addr = vm_map_ram(pages, 4, NUMA_NO_NODE), *area = vmalloc(PAGE_SIZE);
	char *large = vm_map_ram(pages, 100, NUMA_NO_NODE), on_stack[8];

	ok_dies("not what vm_map_ram gave", vm_unmap_ram(addr, 3));
	ok_dies("not what vm_map_ram gave", vm_unmap_ram(addr + PAGE_SIZE, 3));
	ok_dies("not what vm_map_ram gave", vm_unmap_ram(addr + 1, 4));
	ok_dies("not what vm_map_ram gave", vm_unmap_ram(addr, 4); vm_unmap_ram(addr, 4));
	ok_dies("99 pages of 100", vm_unmap_ram(large, 99));
	ok_dies("free already", vm_unmap_ram(large, 100); vm_unmap_ram(large, 100));
	ok_dies("no address of vmalloc", vm_unmap_ram(on_stack, 1));
	ok_dies("vm_unmap_ram of", vm_unmap_ram(area, 1));
	ok_dies("where no area starts", vfree(addr + PAGE_SIZE));
	ok_dies("another call made", vfree(large));
	ok_dies("another call made", vunmap(large));
	vm_unmap_ram(addr, 4);
	vm_unmap_ram(large, 100);
	vfree(area);
	check_empty();
}

static void vmallocinfo_shows_blocks_and_areas(void)
{
	void *piece = vm_map_ram(pages, 3, NUMA_NO_NODE), *large = vm_map_ram(pages, 65, 0);
	char *text = NULL, expected[256];
	unsigned long block = ALIGN_DOWN((unsigned long)piece, MIB), low = (unsigned long)large;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	ok_eq(show_vmallocinfo(machine, out), 0);
	fclose(out);
	ok(block < low, "addresses are not dealt out from below");
	snprintf(expected, sizeof(expected),
		 "0x%016lx-0x%016lx %7lu vm_map_ram\n0x%016lx-0x%016lx %7lu vm_map_ram\n", block,
		 block + MIB, MIB, low, low + 66 * PAGE_SIZE, 66 * PAGE_SIZE);
	ok(!strcmp(text, expected), "\"%s\", not \"%s\"", text, expected);
	free(text);
	vm_unmap_ram(piece, 3);
	vm_unmap_ram(large, 65);
	check_empty();
}

/* The host will not unmap, for once; or something happens while it does (see tests.mk). */
static bool unmap_fails;
static void (*while_unmapping)(void);

int __real_host_shared_unmap(void *addr, size_t size);
int __wrap_host_shared_unmap(void *addr, size_t size);

int __wrap_host_shared_unmap(void *addr, size_t size)
{
	void (*call)(void) = __atomic_load_n(&while_unmapping, __ATOMIC_RELAXED);

	if (call) {
		__atomic_store_n(&while_unmapping, NULL, __ATOMIC_RELAXED);
		call();
	}
	return unmap_fails ? -ENOMEM : __real_host_shared_unmap(addr, size);
}

static void what_the_host_will_not_unmap_is_tried_again(void)
{
	char *live = vm_map_ram(pages, 2, NUMA_NO_NODE);

	vm_unmap_ram(vm_map_ram(pages + 2, 60, NUMA_NO_NODE), 60);
	unmap_fails = true;
	kmm_drain(machine);
	unmap_fails = false;
	ok_eq(machine->virt->nr_dirty_pages, 60);
	vmalloc_validate(machine);
	kmm_drain(machine);
	ok_eq(machine->virt->nr_dirty_pages, 0);
	vmalloc_validate(machine);
	vm_unmap_ram(live, 2);
	check_empty();
}

/* Another thread: attached, then at the limit of mappings while this one unmaps. */
static struct {
	pthread_barrier_t attached, go;
	int returned;
	void *area;
} other;

static void *ask_at_the_limit(void *arg)
{
	(void)arg;
	kmm_attach(machine, 0);
	pthread_barrier_wait(&other.attached);
	pthread_barrier_wait(&other.go);
	other.area = vmalloc(PAGE_SIZE);
	__atomic_store_n(&other.returned, 1, __ATOMIC_RELEASE);
	vfree(other.area);
	return NULL;
}

/* Until it waits for what is unmapped here; or has returned, which is wrong. */
static void let_it_ask(void)
{
	struct virt *virt = machine->virt;
	u64 nr_waiting = 0;

	pthread_barrier_wait(&other.go);
	while (!nr_waiting && !__atomic_load_n(&other.returned, __ATOMIC_ACQUIRE)) {
		usleep(100);
		lock_acquire(&virt->lock);
		nr_waiting = virt->nr_waiting;
		lock_release(&virt->lock);
	}
	ok(nr_waiting, "it did not wait");
}

static void who_is_at_the_limit_waits_for_those_who_unmap(void)
{
	struct virt *virt = machine->virt;
	struct virt_cpu *vcpu = virt_cpu(virt, cpu_get());
	u64 limit = virt->max_mappings;
	pthread_t thread;
	void *live;

	kmm_drain(machine);
	pthread_barrier_init(&other.attached, NULL, 2);
	pthread_barrier_init(&other.go, NULL, 2);
	pthread_create(&thread, NULL, ask_at_the_limit, NULL);
	pthread_barrier_wait(&other.attached);
	live = vm_map_ram(pages, 1, NUMA_NO_NODE);
	vm_unmap_ram(vm_map_ram(pages + 1, 20, NUMA_NO_NODE), 20);
	vmap_blocks_flush(virt, vcpu);
	virt->max_mappings = virt->nr_mappings;
	__atomic_store_n(&while_unmapping, let_it_ask, __ATOMIC_RELAXED);
	ok(vmap_blocks_purge(virt, vcpu), "nothing was dirty");
	ok(!__atomic_load_n(&while_unmapping, __ATOMIC_RELAXED), "nothing was unmapped");
	pthread_join(thread, NULL);
	ok(other.area, "NULL, while another thread made room");
	virt->max_mappings = limit;
	vm_unmap_ram(live, 1);
	pthread_barrier_destroy(&other.attached);
	pthread_barrier_destroy(&other.go);
	check_empty();
}

/*
 * Threads: each has pages of its own, maps and unmaps them at random and hands some to the next
 * thread, which unmaps them.
 */
#define NR_THREADS 4
#define NR_LIVE	   16
#define NR_OWN	   (NR_PAGES / NR_THREADS)

struct parcel {
	unsigned long *addr;
	unsigned int first, nr;
};

static struct parcel letterbox[NR_THREADS]; /* addr NULL: empty */
static unsigned long seed;

static void parcel_check(const struct parcel *parcel)
{
	for (unsigned long i = 0; i < parcel->nr; i++)
		ok(vmalloc_to_page(parcel->addr + i * 512) == pages[parcel->first + i] &&
			   parcel->addr[i * 512] == parcel->first + i,
		   "page %u has %lu", parcel->first, parcel->addr[i * 512]);
}

static void parcel_drop(struct parcel *parcel)
{
	parcel_check(parcel);
	vm_unmap_ram(parcel->addr, parcel->nr);
	parcel->addr = NULL;
}

static void parcel_make(struct parcel *parcel, unsigned long me, unsigned long *random)
{
	unsigned long nr =
		tap_random(random) % 16 ? 1 + tap_random(random) % 8 : 1 + tap_random(random) % 80;

	parcel->nr = (unsigned int)nr;
	parcel->first = (unsigned int)(me * NR_OWN + tap_random(random) % (NR_OWN - nr));
	parcel->addr = vm_map_ram(pages + parcel->first, parcel->nr, NUMA_NO_NODE);
	ok(parcel->addr, "NULL");
	/* A page is always written with the same number, through whichever of its addresses. */
	for (unsigned long i = 0; parcel->addr && i < nr; i++)
		__atomic_store_n(&parcel->addr[i * 512], parcel->first + i, __ATOMIC_RELAXED);
}

static void parcel_receive(unsigned long me)
{
	struct parcel parcel = {.addr = __atomic_load_n(&letterbox[me].addr, __ATOMIC_ACQUIRE)};

	if (!parcel.addr)
		return;
	parcel.first = letterbox[me].first;
	parcel.nr = letterbox[me].nr;
	__atomic_store_n(&letterbox[me].addr, NULL, __ATOMIC_RELEASE);
	parcel_drop(&parcel);
}

static void parcel_send(struct parcel *parcel, unsigned long me)
{
	struct parcel *box = &letterbox[(me + 1) % NR_THREADS];

	if (__atomic_load_n(&box->addr, __ATOMIC_ACQUIRE))
		return;
	box->first = parcel->first;
	box->nr = parcel->nr;
	__atomic_store_n(&box->addr, parcel->addr, __ATOMIC_RELEASE);
	parcel->addr = NULL;
}

static void *map_and_unmap(void *arg)
{
	unsigned long me = (unsigned long)arg, random = (seed ^ (me + 1) * 0x9e3779b97f4a7c15) | 1;
	unsigned long nr_ops = tap_number("BLOCK_OPS", 3000);
	struct parcel live[NR_LIVE] = {0};

	kmm_attach(machine, (int)me % 2);
	for (unsigned long op = 0; op < nr_ops; op++) {
		struct parcel *parcel = &live[tap_random(&random) % NR_LIVE];

		if (!parcel->addr)
			parcel_make(parcel, me, &random);
		else if (tap_random(&random) % 2)
			parcel_send(parcel, me);
		else
			parcel_drop(parcel);
		parcel_receive(me);
		if (op % 1000 == 999)
			kmm_drain(machine);
	}
	for (int i = 0; i < NR_LIVE; i++)
		if (live[i].addr)
			parcel_drop(&live[i]);
	return NULL;
}

static void threads_keep_their_pieces_apart(void)
{
	pthread_t threads[NR_THREADS];

	seed = tap_seed();
	for (unsigned long i = 0; i < NR_THREADS; i++)
		pthread_create(&threads[i], NULL, map_and_unmap, (void *)i);
	for (int i = 0; i < 20; i++) {
		vmalloc_validate(machine);
		usleep(1000);
	}
	for (unsigned long i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned long i = 0; i < NR_THREADS; i++)
		parcel_receive(i);
	check_empty();
}

int main(void)
{
	machine = machine_boot(1, 128 * MIB, 64 * MIB, ZONES_X86_64);
	for (unsigned int i = NR_PAGES; i-- > 0;)
		pages[i] = alloc_pages(GFP_KERNEL | __GFP_SHARED, 0);
	RUN(pages_of_any_number_appear_in_their_order);
	RUN(the_same_pages_again_cost_no_system_call);
	RUN(a_block_may_be_used_up_exactly);
	RUN(what_nobody_uses_is_bounded);
	RUN(dirty_parts_of_a_block_in_use_are_unmapped);
	RUN(the_limit_of_mappings_gives_null_and_nothing_else);
	RUN(pages_that_have_one_address_only_are_refused);
	RUN(callers_bugs_stop_the_program);
	RUN(vmallocinfo_shows_blocks_and_areas);
	RUN(what_the_host_will_not_unmap_is_tried_again);
	RUN(who_is_at_the_limit_waits_for_those_who_unmap);
	RUN(threads_keep_their_pieces_apart);
	for (unsigned int i = 0; i < NR_PAGES; i++)
		__free_pages(pages[i], 0);
	machine_end(machine);
	return done();
}

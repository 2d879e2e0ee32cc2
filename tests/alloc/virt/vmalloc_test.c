/* SPDX-License-Identifier: MIT */
/*
 * vmalloc as its users see it: memory that holds what is written, guard pages, failures that leave
 * nothing behind, and bugs of the caller that stop the program.
 */
#include <pthread.h>

#include "machine.h"
#include "tests/tap/dies.h"

#define MIB (1UL << 20)

static struct kmm *machine;

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
	static const unsigned long sizes[] = {
		1,	4096,	      4097,	    16 * 4096, 16 * 4096 + 1,
		100000, 511 * 4096UL, 512 * 4096UL, MIB * 4,   5 * MIB + 123};
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

static void callers_bugs_stop_the_program(void)
{
	char *addr = vmalloc(3 * PAGE_SIZE), *large = vmalloc(MIB),
	     *purged = vmalloc(5 * PAGE_SIZE);
	struct page *page = alloc_pages(GFP_KERNEL, 0);
	char on_stack[64];

	ok_dies("free already", vfree(addr); vfree(addr));
	ok_dies("free already", vfree(large); vfree(large));
	ok_dies("where no area starts", vfree(addr + PAGE_SIZE));
	ok_dies("where no area starts", vfree(addr + 8));
	ok_dies("where no area starts", vfree(addr + 3 * PAGE_SIZE));
	ok_dies("no address of vmalloc", vfree(on_stack));
	ok_dies("no address of vmalloc", vfree(page_address(page)));
	ok_dies("no address of vmalloc", vfree((void *)~0UL));
	ok_dies("node 9", vmalloc_node(PAGE_SIZE, 9));
	vfree(purged);
	kmm_drain(machine);
	ok_dies("where no area starts", vfree(purged));
	__free_pages(page, 0);
	vfree(addr);
	vfree(large);
}

static void a_node_is_had_if_it_can_be(void)
{
	void *chain[200];
	int nr = 0;

	for (int round = 0; round < 3; round++) {
		for (int nid = 0; nid < 2; nid++) {
			void *addr = vmalloc_node(20 * PAGE_SIZE, nid);

			ok_eq(vmalloc_to_page(addr)->nid, nid);
			vfree(addr);
			addr = vmalloc_node(PAGE_SIZE, nid);
			ok_eq(vmalloc_to_page(addr)->nid, nid);
			vfree(addr);
		}
	}
	kmm_drain(machine);
	/* More than one node's shared memory: the rest comes from the other. */
	while (nr < 200 && (chain[nr] = vmalloc_node(MIB, 1)))
		nr++;
	ok(nr > 64 && nr <= 128, "%d MiB of 64 on each node", nr);
	ok_eq(vmalloc_to_page(chain[0])->nid, 1);
	ok_eq(vmalloc_to_page(chain[64])->nid, 0);
	while (nr)
		vfree(chain[--nr]);
}

static void a_page_is_found_behind_each_address_of_an_area_and_nowhere_else(void)
{
	char *addr = vmalloc(20 * PAGE_SIZE);

	for (unsigned long page = 0; page < 20; page++)
		ok(vmalloc_to_page(addr + page * PAGE_SIZE) &&
			   vmalloc_to_page(addr + page * PAGE_SIZE) ==
				   vmalloc_to_page(addr + page * PAGE_SIZE + 4095),
		   "page %lu", page);
	ok(!vmalloc_to_page(&addr), "an address of the stack has a frame");
	ok(!vmalloc_to_page(NULL), "NULL has a frame");
	ok(!vmalloc_to_page((void *)0x8000000000000000), "a hole has a frame");
	vfree(addr);
}

/*
 * Threads: each allocates, stamps, checks and frees at random; and hands every other area to the
 * next thread, which frees it.
 */
#define NR_THREADS 4
#define NR_LIVE	   40

struct parcel {
	void *addr;
	unsigned long size, value;
};

static struct parcel letterbox[NR_THREADS]; /* addr NULL: empty */
static unsigned long seed;
static bool greedy; /* ask for more than there is */
static unsigned long nr_refused;

static void parcel_free(struct parcel *parcel)
{
	check_stamp(parcel->addr, parcel->size, parcel->value);
	vfree(parcel->addr);
	parcel->addr = NULL;
}

static struct parcel parcel_make(unsigned long *random)
{
	static const unsigned long limits[] = {PAGE_SIZE, 8 * PAGE_SIZE, 64 * PAGE_SIZE, 2 * MIB};
	struct parcel parcel;

	parcel.size = tap_random(random) % 64 ? tap_random(random) % 3 : 3;
	parcel.size = 1 + tap_random(random) % (greedy ? 8 * MIB : limits[parcel.size]);
	parcel.value = tap_random(random);
	parcel.addr = tap_random(random) % 4
			      ? vmalloc(parcel.size)
			      : vmalloc_node(parcel.size, (int)(tap_random(random) % 2));
	if (parcel.addr)
		stamp(parcel.addr, parcel.size, parcel.value);
	else
		__atomic_fetch_add(&nr_refused, 1, __ATOMIC_RELAXED);
	return parcel;
}

/* Give a parcel to the next thread if its letterbox is empty. */
static void parcel_send(struct parcel *parcel, unsigned long me)
{
	struct parcel *box = &letterbox[(me + 1) % NR_THREADS];

	/* Acquire: after the receiver's last reads. Release: the parcel before its address. */
	if (__atomic_load_n(&box->addr, __ATOMIC_ACQUIRE))
		return;
	box->size = parcel->size;
	box->value = parcel->value;
	__atomic_store_n(&box->addr, parcel->addr, __ATOMIC_RELEASE);
	parcel->addr = NULL;
}

static void parcel_receive(unsigned long me)
{
	struct parcel parcel = {.addr = __atomic_load_n(&letterbox[me].addr, __ATOMIC_ACQUIRE)};

	if (!parcel.addr)
		return;
	parcel.size = letterbox[me].size;
	parcel.value = letterbox[me].value;
	__atomic_store_n(&letterbox[me].addr, NULL, __ATOMIC_RELEASE);
	parcel_free(&parcel);
}

static void *allocate_and_free(void *arg)
{
	unsigned long me = (unsigned long)arg, random = (seed ^ (me + 1) * 0x9e3779b97f4a7c15) | 1;
	unsigned long nr_ops = tap_number("VMALLOC_OPS", 3000) / (greedy ? 20 : 1);
	struct parcel live[NR_LIVE] = {0};

	kmm_attach(machine, (int)me);
	for (unsigned long op = 0; op < nr_ops; op++) {
		struct parcel *parcel = &live[tap_random(&random) % NR_LIVE];

		if (!parcel->addr)
			*parcel = parcel_make(&random);
		else if (tap_random(&random) % 2)
			parcel_send(parcel, me);
		else
			parcel_free(parcel);
		parcel_receive(me);
		if (op % 1000 == 999)
			kmm_drain(machine);
	}
	for (int i = 0; i < NR_LIVE; i++)
		if (live[i].addr)
			parcel_free(&live[i]);
	return NULL;
}

static void run_threads(void)
{
	pthread_t threads[NR_THREADS];

	seed = tap_seed();
	nr_refused = 0;
	for (unsigned long i = 0; i < NR_THREADS; i++)
		pthread_create(&threads[i], NULL, allocate_and_free, (void *)i);
	for (int i = 0; i < 20; i++) {
		struct vmalloc_counters now = counters();

		ok(now.reuse <= now.alloc, "%lu reused of %lu", now.reuse, now.alloc);
		vmalloc_validate(machine);
		usleep(1000);
	}
	for (unsigned long i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned long i = 0; i < NR_THREADS; i++)
		parcel_receive(i);
	vmalloc_validate(machine);
	phys_validate(machine);
}

static void threads_keep_their_memory_apart(void)
{
	greedy = false;
	run_threads();
	ok_eq(nr_refused, 0);
}

static void threads_short_of_memory_keep_it_apart(void)
{
	void *all;

	greedy = true;
	run_threads();
	ok(nr_refused > 0, "there was memory enough");
	/* What the others held lazily was theirs to keep; now nobody holds anything. */
	kmm_drain(machine);
	all = vmalloc(120 * MIB);
	ok(all, "not all memory came back");
	vfree(all);
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
	RUN(a_node_is_had_if_it_can_be);
	RUN(a_page_is_found_behind_each_address_of_an_area_and_nowhere_else);
	RUN(callers_bugs_stop_the_program);
	RUN(threads_keep_their_memory_apart);
	RUN(threads_short_of_memory_keep_it_apart);
	machine_end(machine);
	return done();
}

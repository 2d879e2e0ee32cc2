/* SPDX-License-Identifier: MIT */
/*
 * Areas of a page that share mappings of the host: each is an area as any other, guard page and all, and
 * there are many more of them than the host allows mappings. Where the host cannot do it the tests are
 * skipped, but for what is left behind then.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "arch/host.h"
#include "machine.h"
#include "state.h"
#include "virt/virt.h"

#define MIB	 (1UL << 20)
#define NR_AREAS 3000

static struct kmm *machine;
static unsigned long *areas[NR_AREAS];
static u64 group_from;

/* The nth of these calls fails, if it is that kind's (see tests.mk). */
enum { NOTHING, UNMAP, GUARD, MAP, FRAMES };
static int failing;
static int guard_err = -EINVAL; /* what the host says of locked memory */
static unsigned int fail_at;	/* 0: always */
static unsigned int nr_calls;

static bool fails(int kind)
{
	return failing == kind && (!fail_at || ++nr_calls == fail_at);
}

int __real_host_shared_unmap(void *addr, size_t size);
int __real_host_guard(void *addr, size_t size, size_t stride, unsigned int nr);
int __real_host_shared_map(void *addr, size_t size, int fd, u64 offset, bool populate);
struct page *__real_alloc_pages_node(int nid, gfp_t gfp, unsigned int order);
int __wrap_host_shared_unmap(void *addr, size_t size);
int __wrap_host_guard(void *addr, size_t size, size_t stride, unsigned int nr);
int __wrap_host_shared_map(void *addr, size_t size, int fd, u64 offset, bool populate);
struct page *__wrap_alloc_pages_node(int nid, gfp_t gfp, unsigned int order);

int __wrap_host_shared_unmap(void *addr, size_t size)
{
	return fails(UNMAP) ? -ENOMEM : __real_host_shared_unmap(addr, size);
}

int __wrap_host_guard(void *addr, size_t size, size_t stride, unsigned int nr)
{
	return fails(GUARD) ? guard_err : __real_host_guard(addr, size, stride, nr);
}

int __wrap_host_shared_map(void *addr, size_t size, int fd, u64 offset, bool populate)
{
	return fails(MAP) ? -ENOMEM : __real_host_shared_map(addr, size, fd, offset, populate);
}

struct page *__wrap_alloc_pages_node(int nid, gfp_t gfp, unsigned int order)
{
	return fails(FRAMES) ? NULL : __real_alloc_pages_node(nid, gfp, order);
}

static u64 nr_mappings(void)
{
	return machine->virt->nr_mappings;
}

static void get(unsigned long i)
{
	areas[i] = vmalloc(PAGE_SIZE);
	ok(areas[i], "area %lu: NULL", i);
	if (areas[i])
		areas[i][0] = areas[i][511] = i;
}

static void put(unsigned long i)
{
	ok(areas[i][0] == i && areas[i][511] == i, "area %lu has %lu, %lu", i, areas[i][0],
	   areas[i][511]);
	vfree(areas[i]);
	areas[i] = NULL;
}

static void poke(void *addr)
{
	*(volatile char *)addr = 1;
}

static void many_areas_take_few_mappings(void)
{
	struct state before = state_now(machine), now;

	for (unsigned long i = 0; i < NR_AREAS; i++)
		get(i);
	vmalloc_validate(machine);
	ok(nr_mappings() < NR_AREAS / 50, "%lu mappings", nr_mappings());
	for (unsigned long i = 0; i < NR_AREAS; i++) {
		struct page *page = vmalloc_to_page(areas[i]);

		ok(page && *(unsigned long *)page_address(page) == i, "area %lu: frame %p", i,
		   page);
		ok(!vmalloc_to_page((char *)areas[i] + PAGE_SIZE), "area %lu: no guard page", i);
	}
	for (unsigned long i = 0; i < NR_AREAS; i += 97) {
		ok_eq(signal_of_child(poke, (char *)areas[i] + PAGE_SIZE), SIGSEGV);
		ok_eq(signal_of_child(poke, (char *)areas[i] + PAGE_SIZE / 2), 0);
	}
	now = state_now(machine);
	ok_eq(now.nr_areas - before.nr_areas, NR_AREAS);
	for (unsigned long i = 0; i < NR_AREAS; i++)
		put(i);
	check_state(machine, &before, __func__);
	ok_eq(machine->virt->nr_groups, 0);
}

/* Each is unmapped by itself, and its frame is free for others at once. */
static void an_area_is_unmapped_without_its_group(void)
{
	struct state before = state_now(machine), full, half;
	unsigned long *gone;

	for (unsigned long i = 0; i < NR_AREAS; i++)
		get(i);
	full = state_now(machine);
	gone = areas[8];
	for (unsigned long i = 0; i < NR_AREAS; i++)
		if (i % 16)
			put(i);
	half = state_now(machine);
	ok(half.nr_free + 16 >= full.nr_free + NR_AREAS / 16 * 15, "%lu pages free, were %lu",
	   half.nr_free, full.nr_free);
	ok_eq(half.nr_mapped, (NR_AREAS + 15) / 16);
	ok_eq(signal_of_child(poke, gone), SIGSEGV);
	for (unsigned long i = 0; i < NR_AREAS; i += 16) {
		ok_eq(signal_of_child(poke, (char *)areas[i] + PAGE_SIZE), SIGSEGV);
		put(i);
	}
	check_state(machine, &before, __func__);
	ok_eq(machine->virt->nr_groups, 0);
}

/* Whatever the host or the page allocator refuses, there is an area all the same, of its own, or NULL;
 * and in the end nothing is left. */
static void what_fails_leaves_nothing_behind(void)
{
	static const unsigned int most[] = {[GUARD] = 3, [MAP] = 3, [FRAMES] = 2};

	for (int kind = GUARD; kind <= FRAMES; kind++) {
		for (unsigned int n = 0; n <= most[kind]; n++) {
			struct state before = state_now(machine);

			failing = kind;
			fail_at = n;
			nr_calls = 0;
			areas[0] = vmalloc(PAGE_SIZE);
			failing = NOTHING;
			ok(areas[0] || !n, "failure %u of kind %d gave NULL", n, kind);
			/* A host that makes no guard pages is not asked again. */
			if (host_has_guards())
				ok_eq(machine->virt->group_from == UINT64_MAX,
				      kind == GUARD && n < most[kind]);
			machine->virt->group_from = 0;
			if (areas[0])
				poke(areas[0]);
			vmalloc_validate(machine);
			vfree(areas[0]);
			check_state(machine, &before, __func__);
			ok_eq(machine->virt->nr_groups, 0);
		}
	}
}

static void what_cannot_be_unmapped_is_tried_again(void)
{
	struct state before = state_now(machine);

	for (int kind = UNMAP; kind <= GUARD; kind++) {
		for (unsigned long i = 0; i < 600; i++)
			get(i);
		for (unsigned long i = 0; i < 600; i++)
			if (kind == UNMAP || i % 3)
				put(i);
		failing = kind;
		fail_at = 0;
		kmm_drain(machine);
		failing = NOTHING;
		ok(machine->virt->nr_groups > 0, "no group is left");
		vmalloc_validate(machine);
		for (unsigned long i = 0; i < 600; i++)
			if (areas[i])
				put(i);
		check_state(machine, &before, __func__);
		ok_eq(machine->virt->nr_groups, 0);
	}
}

/* Not for locked memory, but if there was no memory for a page table: areas wait, not frames for their
 * group. */
static void what_the_host_refuses_for_now_is_tried_again(void)
{
	struct state before = state_now(machine), full, half;
	const struct virt *virt = machine->virt;

	for (unsigned long i = 0; i < NR_AREAS; i++)
		get(i);
	full = state_now(machine);
	for (unsigned long i = 0; i < NR_AREAS; i++)
		if (i % 16)
			put(i);
	failing = GUARD;
	fail_at = 0;
	guard_err = -ENOMEM;
	kmm_drain(machine);
	failing = NOTHING;
	guard_err = -EINVAL;
	ok(!list_empty(&virt->stuck), "nothing waits to be unmapped");
	vmalloc_validate(machine);
	half = state_now(machine);
	ok(list_empty(&virt->stuck), "areas are stuck");
	ok(half.nr_free + 16 >= full.nr_free + NR_AREAS / 16 * 15, "%lu pages free, were %lu",
	   half.nr_free, full.nr_free);
	for (unsigned long i = 0; i < NR_AREAS; i += 16)
		put(i);
	check_state(machine, &before, __func__);
	ok_eq(virt->nr_groups, 0);
}

/* Their mappings are what is missing, and nothing else is lazy. */
static void groups_that_were_stuck_make_way(void)
{
	struct virt *virt = machine->virt;
	u64 limit = virt->max_mappings;

	kmm_drain(machine);
	get(0);
	put(0);
	failing = UNMAP;
	fail_at = 0;
	kmm_drain(machine);
	failing = NOTHING;
	ok_eq(virt->nr_groups, 1);
	ok_eq(virt->nr_lazy_pages, 0);
	virt->max_mappings = nr_mappings() + 1;
	areas[0] = vmalloc(2 * PAGE_SIZE);
	ok(areas[0], "no mappings, but a group has some that nobody uses");
	virt->max_mappings = limit;
	vfree(areas[0]);
	kmm_drain(machine);
	ok_eq(virt->nr_groups, 0);
	ok_eq(nr_mappings(), 0);
}

/* The host makes no guard pages of locked memory: an area's frame then waits for the group to end. */
static void areas_of_locked_memory_end_with_their_group(void)
{
	struct state before = state_now(machine), half;
	enum { NR = 2 * VMAP_GROUP_AREAS };
	char *low;

	for (unsigned long i = 0; i < NR; i++)
		get(i);
	low = (char *)areas[0];
	for (unsigned long i = 1; i < NR; i++)
		low = (char *)areas[i] < low ? (char *)areas[i] : low;
	/* Guard pages cannot be made resident, which it says though all is locked then. */
	(void)syscall(SYS_mlock, low, NR * 2 * PAGE_SIZE);
	if (!host_guard(low + PAGE_SIZE, PAGE_SIZE, PAGE_SIZE, 1))
		skip("this process may not lock memory");
	for (unsigned long i = 0; i < NR; i++)
		if (i % 16)
			put(i);
	half = state_now(machine);
	ok_eq(half.nr_mapped, NR / 16);
	ok_eq(half.nr_areas, before.nr_areas + NR / 16);
	ok(list_empty(&machine->virt->stuck), "areas are stuck");
	for (unsigned long i = 0; i < NR; i += 16)
		put(i);
	check_state(machine, &before, __func__);
	ok_eq(machine->virt->nr_groups, 0);
}

static void groups_respect_the_limit_of_mappings(void)
{
	struct virt *virt = machine->virt;
	u64 limit = virt->max_mappings;
	unsigned long nr = 0;

	kmm_drain(machine);
	virt->max_mappings = 7;
	while (nr < NR_AREAS && (areas[nr] = vmalloc(PAGE_SIZE)))
		areas[nr][0] = areas[nr][511] = nr, nr++;
	ok_eq(nr, 2 * VMAP_GROUP_AREAS);
	ok_eq(nr_mappings(), 6);
	put(--nr);
	get(nr++);
	while (nr)
		put(--nr);
	virt->max_mappings = limit;
	kmm_drain(machine);
	ok_eq(nr_mappings(), 0);
}

/* Threads: each gets and puts pages of its own at random; some are put by another. */
#define NR_THREADS 4
#define NR_OWN	   (NR_AREAS / NR_THREADS)

static unsigned long *given[NR_THREADS];
static unsigned long seed;

static void *get_and_put(void *arg)
{
	unsigned long me = (unsigned long)arg, random = (seed ^ (me + 1) * 0x9e3779b97f4a7c15) | 1;
	unsigned long nr_ops = tap_number("GROUP_OPS", 10000), *other;

	kmm_attach(machine, (int)me % 2);
	for (unsigned long op = 0; op < nr_ops; op++) {
		unsigned long i = me * NR_OWN + tap_random(&random) % NR_OWN;

		if (!areas[i])
			get(i);
		else if (tap_random(&random) % 8)
			put(i);
		else {
			other = __atomic_exchange_n(&given[(me + 1) % NR_THREADS], areas[i],
						    __ATOMIC_ACQ_REL);
			areas[i] = NULL;
			vfree(other);
		}
		other = __atomic_exchange_n(&given[me], NULL, __ATOMIC_ACQ_REL);
		vfree(other);
		if (op % 1000 == 999)
			kmm_drain(machine);
	}
	for (unsigned long i = me * NR_OWN; i < (me + 1) * NR_OWN; i++)
		if (areas[i])
			put(i);
	return NULL;
}

static void threads_keep_their_areas_apart(void)
{
	pthread_t threads[NR_THREADS];

	kmm_drain(machine);
	seed = tap_seed();
	for (unsigned long i = 0; i < NR_THREADS; i++)
		pthread_create(&threads[i], NULL, get_and_put, (void *)i);
	for (int i = 0; i < 10; i++) {
		vmalloc_validate(machine);
		usleep(1000);
	}
	for (unsigned long i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned long i = 0; i < NR_THREADS; i++)
		vfree(given[i]);
	kmm_drain(machine);
	vmalloc_validate(machine);
	ok_eq(nr_mappings(), 0);
	ok_eq(machine->virt->kernel->nr_mapped, 0);
	ok_eq(machine->virt->nr_groups, 0);
}

/* Until then each area is by itself. */
static void groups_come_when_mappings_are_used(void)
{
	struct virt *virt = machine->virt;

	kmm_drain(machine);
	virt->group_from = 20;
	for (unsigned long i = 0; i < 10; i++)
		get(i);
	ok_eq(virt->nr_groups, 0);
	ok_eq(nr_mappings(), 20);
	get(10);
	ok_eq(virt->nr_groups, 1);
	for (unsigned long i = 0; i < 11; i++)
		put(i);
	kmm_drain(machine);
	virt->group_from = 0;
}

static void skip_all(void)
{
	skip("this host has no guard pages without mappings");
}

int main(void)
{
	machine = machine_boot(2, 128 * MIB, 64 * MIB, ZONES_X86_64);
	group_from = machine->virt->group_from;
	machine->virt->group_from = 0;
	RUN(what_fails_leaves_nothing_behind);
	if (host_has_guards()) {
		ok(group_from <= machine->virt->max_mappings, "no groups, ever");
		RUN(many_areas_take_few_mappings);
		RUN(an_area_is_unmapped_without_its_group);
		RUN(what_cannot_be_unmapped_is_tried_again);
		RUN(what_the_host_refuses_for_now_is_tried_again);
		RUN(groups_that_were_stuck_make_way);
		RUN(areas_of_locked_memory_end_with_their_group);
		RUN(groups_respect_the_limit_of_mappings);
		RUN(groups_come_when_mappings_are_used);
		RUN(threads_keep_their_areas_apart);
	} else {
		RUN(skip_all);
	}
	machine_end(machine);
	return done();
}

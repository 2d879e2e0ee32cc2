/* SPDX-License-Identifier: MIT */
/* kmap and kmap_local on an i386 machine with 128 MiB of HighMem, and on one without. */
#include "phys/highmem.h"

#include <errno.h>
#include <pthread.h>

#include "arch/host.h"
#include "tests/alloc/phys/machine.h"
#include "tests/tap/dies.h"

#define I386 ((struct kmm_config){.node_bytes = 1UL << 30, .layout = ZONES_I386})

/* More frames than kmap has windows. */
#define NR_FRAMES (LAST_PKMAP + 8)

static struct page *frames[NR_FRAMES];

static void take_frames(unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		frames[i] = alloc_pages(GFP_HIGHUSER, 0);
		if (!frames[i] || !PageHighMem(frames[i])) {
			printf("Bail out! frame %u is not of HighMem\n", i);
			exit(99);
		}
	}
}

static void give_frames(unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		__free_pages(frames[i], 0);
}

static void lowmem_has_its_address_already(void)
{
	static const enum zone_layout layouts[] = {ZONES_X86_64, ZONES_I386};

	for (unsigned int l = 0; l < ARRAY_SIZE(layouts); l++) {
		struct kmm *machine = boot((struct kmm_config){.layout = layouts[l]});
		struct page *page = alloc_pages(GFP_HIGHUSER, 0);
		void *addr = page_address(page);

		ok(!PageHighMem(page), "HighMem in 64 MiB");
		host_fail_nth(1);
		ok(kmap(page) == addr, "kmap");
		for (int i = 0; i < 2 * KM_MAX_IDX; i++)
			ok(kmap_local_page(page) == addr, "kmap_local");
		kunmap_local((char *)addr + 17);
		ok(host_fail_pending(), "the host was asked for something");
		host_fail_nth(0);
		kunmap(page);
		kmap_flush_unused();
		ok_dies("not an address", kunmap_local(&addr));
		__free_pages(page, 0);
		shut_down(machine);
	}
}

static void a_page_that_is_not_the_machines_is_refused(void)
{
	static const enum zone_layout layouts[] = {ZONES_X86_64, ZONES_I386};

	for (unsigned int l = 0; l < ARRAY_SIZE(layouts); l++) {
		struct kmm *machine = boot((struct kmm_config){.layout = layouts[l]});
		struct page local = {0}, *mem_map = machine->mem_map, *foreign[6];

		memset(&local, 0xff, sizeof(local)); /* no such node */
		foreign[0] = NULL;
		foreign[1] = &local;
		foreign[2] = mem_map - 1;
		foreign[3] = mem_map + machine->nr_frames;
		foreign[4] = (struct page *)~0UL;
		foreign[5] = (struct page *)((char *)mem_map + 8);
		for (unsigned int i = 0; i < ARRAY_SIZE(foreign); i++) {
			ok_dies("kmap of", (void)kmap(foreign[i]));
			ok_dies("not a page of this machine", kunmap(foreign[i]));
			ok_dies("kmap_local_page of", (void)kmap_local_page(foreign[i]));
			ok_dies("not a page of this machine", (void)PageHighMem(foreign[i]));
			ok_dies("not a page of this machine", (void)clear_highpage(foreign[i]));
		}
		shut_down(machine);
	}
}

static void a_frame_has_one_address_while_it_is_kmapped(void)
{
	struct kmm *machine = boot(I386);
	char *first, *other;

	take_frames(2);
	ok(page_address(frames[0]) == NULL, "an address before kmap");
	first = kmap(frames[0]);
	other = kmap(frames[1]);
	ok(first && other && first != other, "two frames at %p and %p", first, other);
	ok(kmap(frames[0]) == first, "the second kmap gives another address");
	ok(page_address(frames[0]) == first, "page_address differs from kmap");
	memset(first, 0x5a, PAGE_SIZE);
	memset(other, 0xa5, PAGE_SIZE);
	kunmap(frames[0]);
	ok(page_address(frames[0]) == first, "the other user's window is gone");
	ok(first[0] == 0x5a && first[PAGE_SIZE - 1] == 0x5a, "contents");
	kunmap(frames[0]);
	ok(page_address(frames[0]) == NULL, "an address after the last kunmap");
	/* Whatever became of the window, the contents are the frame's. */
	kmap_flush_unused();
	first = kmap(frames[0]);
	ok(first && first[0] == 0x5a && first[PAGE_SIZE - 1] == 0x5a, "contents after kunmap");
	kunmap(frames[0]);
	kunmap(frames[1]);
	ok_dies("not kmapped", kunmap(frames[0]));
	give_frames(2);
	shut_down(machine);
}

static void a_window_without_users_serves_the_same_frame_again(void)
{
	struct kmm *machine = boot(I386);
	void *addr;

	take_frames(1);
	addr = kmap(frames[0]);
	kunmap(frames[0]);
	host_fail_nth(1);
	ok(kmap(frames[0]) == addr, "not at the same address");
	ok(host_fail_pending(), "the host was asked for a new mapping");
	host_fail_nth(0);
	kunmap(frames[0]);
	give_frames(1);
	shut_down(machine);
}

static void all_windows_can_be_had_and_no_more(void)
{
	struct kmm *machine = boot(I386);

	take_frames(NR_FRAMES);
	for (unsigned int i = 0; i < LAST_PKMAP; i++) {
		unsigned int *addr = kmap(frames[i]);

		ok(addr != NULL, "no window %u", i);
		if (addr)
			*addr = i;
	}
	ok(kmap(frames[LAST_PKMAP]) == NULL, "one window too many");
	ok(kmap(frames[7]) == page_address(frames[7]), "a mapped frame needs no window");
	kunmap(frames[7]);
	for (unsigned int i = 0; i < LAST_PKMAP; i++)
		ok_eq(*(unsigned int *)page_address(frames[i]), i);
	/* The only one without users is found, wherever the search stands. */
	kunmap(frames[700]);
	ok(kmap(frames[LAST_PKMAP]) != NULL, "a window came free");
	ok(kmap(frames[700]) == NULL, "... and serves one frame");
	kunmap(frames[3]);
	ok(kmap(frames[700]) != NULL, "another came free");
	ok_eq(*(unsigned int *)page_address(frames[700]), 700);
	for (unsigned int i = 0; i <= LAST_PKMAP; i++)
		if (i != 3)
			kunmap(frames[i]);
	give_frames(NR_FRAMES);
	shut_down(machine);
}

static void windows_are_taken_down_when_the_search_comes_round(void)
{
	struct kmm *machine = boot(I386);
	unsigned int nr_gone = 0;

	take_frames(NR_FRAMES);
	for (unsigned int i = 0; i < NR_FRAMES; i++) {
		unsigned int *addr = kmap(frames[i]);

		ok(addr != NULL, "no window for frame %u", i);
		if (addr)
			*addr = i * 3;
		kunmap(frames[i]);
	}
	/* The last few came after the round, and still have their windows: they need no host. */
	for (unsigned int i = NR_FRAMES; i-- > 0;) {
		unsigned int *addr;

		host_fail_nth(1);
		addr = kmap(frames[i]);
		nr_gone += !host_fail_pending();
		host_fail_nth(0);
		if (!addr) /* right after a round, when there is nothing unused to take down */
			addr = kmap(frames[i]);
		ok(addr && *addr == i * 3, "frame %u", i);
		if (addr)
			kunmap(frames[i]);
	}
	ok(nr_gone >= NR_FRAMES - 16 && nr_gone < NR_FRAMES, "%u of %u windows were gone", nr_gone,
	   NR_FRAMES);
	give_frames(NR_FRAMES);
	shut_down(machine);
}

/* What the host refuses is tried again without the unused windows, or given up; nothing is lost. */
static void kmap_survives_a_host_that_refuses(void)
{
	struct kmm *machine = boot(I386);
	char *addr;

	take_frames(3);
	host_fail_nth(1);
	ok(kmap(frames[0]) == NULL, "without address space");
	host_fail_nth(2);
	ok(kmap(frames[0]) == NULL, "without a mapping");
	ok(!host_fail_pending(), "the second call came");
	ok(page_address(frames[0]) == NULL, "an address without a mapping");
	addr = kmap(frames[0]);
	ok(addr != NULL, "the third time");
	host_fail_nth(1);
	ok(kmap(frames[1]) == NULL, "nothing is unused");
	kunmap(frames[0]);
	host_fail_nth(1);
	addr = kmap(frames[2]);
	ok(addr && !host_fail_pending(), "something is unused");
	memset(addr, 1, PAGE_SIZE);
	kunmap(frames[2]);
	host_fail_nth(0);
	give_frames(3);
	shut_down(machine);
}

static void kmap_locals_nest_and_end_last_made_first(void)
{
	struct kmm *machine = boot(I386);
	char *addr[KM_MAX_IDX];

	take_frames(KM_MAX_IDX + 1);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < KM_MAX_IDX; i++) {
			addr[i] = kmap_local_page(frames[i]);
			ok(addr[i] != NULL, "no window %d", i);
			memset(addr[i], i + round, PAGE_SIZE);
		}
		for (int i = 0; i < KM_MAX_IDX; i++)
			ok(addr[i][0] == i + round && addr[i][PAGE_SIZE - 1] == i + round,
			   "window %d is another's", i);
		ok_dies("16 deep", kmap_local_page(frames[KM_MAX_IDX]));
		ok_dies("not the last", kunmap_local(addr[0]));
		for (int i = KM_MAX_IDX; i-- > 0;)
			kunmap_local(addr[i] + (unsigned int)i);
		ok_dies("no window is in use", kunmap_local(addr[0]));
	}
	/* The same frame twice is two windows, and kmap has a third. */
	addr[0] = kmap_local_page(frames[5]);
	addr[1] = kmap_atomic(frames[5]);
	addr[2] = kmap(frames[5]);
	addr[0][9] = 77;
	ok(addr[1] != addr[0] && addr[1][9] == 77 && addr[2][9] == 77, "three views of a frame");
	kunmap(frames[5]);
	kunmap_atomic(addr[1]);
	kunmap_local(addr[0]);
	give_frames(KM_MAX_IDX + 1);
	shut_down(machine);
}

static void kmap_local_survives_a_host_that_refuses(void)
{
	struct kmm *machine = boot(I386);
	char *addr;

	take_frames(2);
	for (unsigned long nth = 1; nth <= 2; nth++) {
		host_fail_nth(nth);
		ok(kmap_local_page(frames[0]) == NULL, "call %lu was refused", nth);
		ok(!host_fail_pending(), "there was a call %lu", nth);
	}
	addr = kmap_local_page(frames[0]);
	ok(addr != NULL, "afterwards");
	memset(addr, 3, PAGE_SIZE);
	kunmap_local(addr);
	/* A window that failed half way shows nothing, not its old frame. */
	host_fail_nth(1);
	ok(kmap_local_page(frames[1]) == NULL, "another frame");
	addr = kmap_local_page(frames[0]);
	ok(addr && addr[0] == 3, "the first frame again");
	kunmap_local(addr);
	give_frames(2);
	shut_down(machine);
}

static bool all_bytes(struct page *page, unsigned int order, char value)
{
	bool good = true;

	for (unsigned long i = 0; i < 1UL << order; i++) {
		char *addr = kmap_local_page(page + i);

		good &= addr[0] == value && !memcmp(addr, addr + 1, PAGE_SIZE - 1);
		kunmap_local(addr);
	}
	return good;
}

static void zeroed_blocks_are_zero_in_every_frame(void)
{
	struct kmm *machine = boot(I386);

	for (unsigned int order = 0; order <= 5; order++) {
		struct page *page = alloc_pages(GFP_HIGHUSER, order);
		unsigned long pfn = page_to_pfn(page), before;

		for (unsigned long i = 0; i < 1UL << order; i++)
			memset(kmap(page + i), 0xff, PAGE_SIZE);
		/* A frame that somebody has kmapped is zeroed like the others. */
		for (unsigned long i = 1; i < 1UL << order; i++)
			kunmap(page + i);
		__free_pages(page, order);
		page = alloc_pages(GFP_HIGHUSER | __GFP_ZERO, order);
		ok_eq(page_to_pfn(page), pfn);
		ok(all_bytes(page, order, 0), "order %u is not zero", order);
		kunmap(page);
		before = nr_free(machine, NUMA_NO_NODE);
		__free_pages(page, order);
		/* What cannot be zeroed is not given out. */
		kmap_flush_unused();
		for (unsigned long nth = 1;; nth++) {
			bool pending;

			host_fail_nth(nth);
			page = alloc_pages(GFP_HIGHUSER | __GFP_ZERO | __GFP_NORETRY, order);
			pending = host_fail_pending();
			host_fail_nth(0);
			ok(!!page == pending, "call %lu to the host", nth);
			if (!page)
				continue;
			ok_eq(nr_free(machine, NUMA_NO_NODE), before);
			__free_pages(page, order);
			break;
		}
	}
	shut_down(machine);
}

static void windows_in_use_at_shutdown_are_leaks(void)
{
	struct kmm *machine = boot(I386);
	struct kmm_leaks leaks;

	take_frames(3);
	kmap(frames[0]);
	kmap(frames[0]);
	kmap(frames[1]);
	kunmap(frames[1]);
	kmap(frames[2]);
	kmap_local_page(frames[1]);
	ok_eq(kmm_shutdown(machine, &leaks), -EBUSY);
	ok_eq(leaks.kmaps, 3);
	ok_eq(leaks.pages, 3);
}

/* Threads kmap the same few frames over and over: all see the same address, nobody loses it. */
#define NR_THREADS 4
#define NR_COMMON  24

static struct kmm *shared_machine;

static void *kmap_over_and_over(void *arg)
{
	unsigned long id = (unsigned long)arg, state = id * 77 + 1, ops = tap_ops(4000);
	unsigned long *local;

	kmm_attach(shared_machine, (int)id % 2);
	for (unsigned long i = 0; i < ops; i++) {
		unsigned int f = (unsigned int)(tap_random(&state) % NR_COMMON);
		unsigned long *addr = kmap(frames[f]);

		ok(addr && addr == page_address(frames[f]), "frame %u at two addresses", f);
		if (addr)
			__atomic_fetch_add(&addr[id], 1, __ATOMIC_RELAXED);
		if (i % 16 == 0) {
			local = kmap_local_page(frames[f]);
			if (local)
				__atomic_fetch_add(&local[NR_THREADS], 1, __ATOMIC_RELAXED);
			kunmap_local(local);
		}
		if (i % 64 == 0)
			kmap_flush_unused();
		kunmap(frames[f]);
	}
	kmm_detach();
	return NULL;
}

static void threads_see_a_frame_at_one_address(void)
{
	unsigned long sum[NR_THREADS + 1] = {0}, ops = tap_ops(4000);
	pthread_t threads[NR_THREADS];

	shared_machine = boot(I386);
	for (unsigned int i = 0; i < NR_COMMON; i++)
		frames[i] = alloc_pages(GFP_HIGHUSER | __GFP_ZERO, 0);
	for (unsigned long i = 0; i < NR_THREADS; i++)
		pthread_create(&threads[i], NULL, kmap_over_and_over, (void *)i);
	for (unsigned long i = 0; i < NR_THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned int f = 0; f < NR_COMMON; f++) {
		unsigned long *addr = kmap(frames[f]);

		for (unsigned int i = 0; i <= NR_THREADS; i++)
			sum[i] += addr[i];
		kunmap(frames[f]);
	}
	for (unsigned int i = 0; i < NR_THREADS; i++)
		ok_eq(sum[i], ops);
	ok_eq(sum[NR_THREADS], NR_THREADS * ((ops + 15) / 16));
	give_frames(NR_COMMON);
	shut_down(shared_machine);
}

int main(void)
{
	RUN(lowmem_has_its_address_already);
	RUN(a_page_that_is_not_the_machines_is_refused);
	RUN(a_frame_has_one_address_while_it_is_kmapped);
	RUN(a_window_without_users_serves_the_same_frame_again);
	RUN(all_windows_can_be_had_and_no_more);
	RUN(windows_are_taken_down_when_the_search_comes_round);
	RUN(kmap_survives_a_host_that_refuses);
	RUN(kmap_locals_nest_and_end_last_made_first);
	RUN(kmap_local_survives_a_host_that_refuses);
	RUN(zeroed_blocks_are_zero_in_every_frame);
	RUN(windows_in_use_at_shutdown_are_leaks);
	RUN(threads_see_a_frame_at_one_address);
	return done();
}

/* SPDX-License-Identifier: MIT */
/*
 * Fault sweep: each way to get an area is gone again and again, and the nth time that it asks the
 * page allocator for pages, or the host for a mapping, it gets none, for every n until it asks no
 * more; then with none from the nth time on. It must succeed, or give NULL and leave nothing behind.
 *
 * The linker puts the functions below between virt and those two (--wrap).
 */
#include "arch/host.h"
#include "state.h"
#include "tests/tap/fail_nth.h"

#include <errno.h>

#define MIB (1UL << 20)

struct page *__real_alloc_pages(gfp_t gfp, unsigned int order);
struct page *__real_alloc_pages_node(int nid, gfp_t gfp, unsigned int order);
int __real_host_shared_map(void *addr, size_t size, int fd, u64 offset, bool populate);
int __real_host_write_protect(void *addr, size_t size);
struct page *__wrap_alloc_pages(gfp_t gfp, unsigned int order);
struct page *__wrap_alloc_pages_node(int nid, gfp_t gfp, unsigned int order);
int __wrap_host_shared_map(void *addr, size_t size, int fd, u64 offset, bool populate);
int __wrap_host_write_protect(void *addr, size_t size);

struct page *__wrap_alloc_pages(gfp_t gfp, unsigned int order)
{
	return fails() ? NULL : __real_alloc_pages(gfp, order);
}

struct page *__wrap_alloc_pages_node(int nid, gfp_t gfp, unsigned int order)
{
	return fails() ? NULL : __real_alloc_pages_node(nid, gfp, order);
}

int __wrap_host_shared_map(void *addr, size_t size, int fd, u64 offset, bool populate)
{
	return fails() ? -ENOMEM : __real_host_shared_map(addr, size, fd, offset, populate);
}

int __wrap_host_write_protect(void *addr, size_t size)
{
	return fails() ? -ENOMEM : __real_host_write_protect(addr, size);
}

static struct kmm *machine;

#define NR_PAGES 40
static struct page *pages[2 * NR_PAGES]; /* the second half is the first again */

/* What is tried; each writes to what it got, and gives it back after `armed` is off. */
static void *get_one(void)
{
	return vmalloc(PAGE_SIZE);
}

static void *get_some(void)
{
	return vzalloc(37 * PAGE_SIZE);
}

static void *get_many(void)
{
	return vmalloc(5 * MIB + 1);
}

static void *get_aligned(void)
{
	return __vmalloc_node(7 * PAGE_SIZE, 4 * MIB, GFP_KERNEL, NUMA_NO_NODE, NULL);
}

static void *map_pages(void)
{
	return vmap(pages, NR_PAGES, VM_MAP, PAGE_KERNEL);
}

static void *map_to_read(void)
{
	return vmap(pages, NR_PAGES, VM_MAP, PAGE_KERNEL_RO);
}

static void *map_piece(void)
{
	return vm_map_ram(pages, NR_PAGES, NUMA_NO_NODE);
}

static void *map_large(void)
{
	return vm_map_ram(pages, 2 * NR_PAGES, NUMA_NO_NODE);
}

static void put_piece(void *addr)
{
	vm_unmap_ram(addr, NR_PAGES);
}

static void put_large(void *addr)
{
	vm_unmap_ram(addr, 2 * NR_PAGES);
}

static void put_pages(void *addr)
{
	vunmap(addr);
}

static void put_area(void *addr)
{
	vfree(addr);
}

static const struct way {
	const char *name;
	void *(*get)(void);
	void (*put)(void *addr);
	unsigned long nr_pages;
	bool read_only;
} ways[] = {
	{"a page", get_one, put_area, 1, false},
	{"37 pages", get_some, put_area, 37, false},
	{"5 MiB", get_many, put_area, 1281, false},
	{"aligned", get_aligned, put_area, 7, false},
	{"vmap", map_pages, put_pages, NR_PAGES, false},
	{"vmap to read", map_to_read, put_pages, NR_PAGES, true},
	{"vm_map_ram", map_piece, put_piece, NR_PAGES, false},
	{"vm_map_ram of many", map_large, put_large, 2 * NR_PAGES, false},
};

/* Once, with the nth request refused. Returns whether there was an nth. */
static bool try_once(const struct way *way, unsigned long n, const struct state *before)
{
	char *addr, what[80];

	calls = nr_failed = 0;
	fail_at = n;
	armed = true;
	addr = way->get();
	armed = false;
	ok(addr || nr_failed, "%s gave NULL, and nothing failed", way->name);
	for (unsigned long i = 0; addr && !way->read_only && i < way->nr_pages; i++)
		addr[i * PAGE_SIZE] = (char)i;
	for (unsigned long i = 0; addr && i < way->nr_pages; i++)
		ok(vmalloc_to_page(addr + i * PAGE_SIZE), "%s, failure %lu: no page %lu", way->name,
		   n, i);
	ok(!addr || !vmalloc_to_page(addr + way->nr_pages * PAGE_SIZE), "the guard page is mapped");
	if (addr)
		way->put(addr);
	snprintf(what, sizeof(what), "%s, failure %lu", way->name, n);
	check_state(machine, before, what);
	return nr_failed;
}

static void sweep(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct state before = state_now(machine);
		unsigned long n = 1;

		while (n < 2000 && try_once(&ways[i], n, &before))
			n++;
		ok(n > 4 && n < 2000, "%s asks %lu times", ways[i].name, n - 1);
	}
}

static void one_failure_leaves_nothing_behind(void)
{
	from_then_on = false;
	sweep();
}

static void a_host_that_is_full_leaves_nothing_behind(void)
{
	from_then_on = true;
	sweep();
}

int main(void)
{
	machine = machine_boot(1, 64 * MIB, 24 * MIB, ZONES_X86_64);
	/* Backwards: a mapping each. */
	for (unsigned int i = NR_PAGES; i-- > 0;)
		pages[i] = pages[i + NR_PAGES] = alloc_pages(GFP_KERNEL | __GFP_SHARED, 0);
	RUN(one_failure_leaves_nothing_behind);
	RUN(a_host_that_is_full_leaves_nothing_behind);
	for (unsigned int i = 0; i < NR_PAGES; i++)
		__free_pages(pages[i], 0);
	machine_end(machine);
	return done();
}

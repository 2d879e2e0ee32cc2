/* SPDX-License-Identifier: MIT */
/*
 * The host memory behind a machine's frames.
 *
 *	direct map   | anonymous, huge pages | memfd | anonymous | memfd |   direct_map + pfn * 4096
 *	mem_map      | node 0's structs              | node 1's          |   mem_map + pfn * 64
 *
 * Both are one reserved range each, so that pointers convert by arithmetic, and each node's part is
 * bound to it. HighMem has memory (a memfd) and a struct page for every frame, but no place in the
 * direct map: its addresses stay reserved, without access, so that nothing else comes to lie there.
 *
 * mem_map follows the kernel's SPARSEMEM_VMEMMAP: the frames that hold a node's structs are taken
 * from the node at boot, and appear at the virtual address of mem_map. Here too they are taken
 * (reserved in memblock, and so missing from the zone's managed pages); what appears at mem_map is
 * host memory of the same size on the same node, given as it is touched, and the reserved frames'
 * own place in the direct map is never touched, so the host pays for them once at most. The
 * descriptors of a node's pageblocks (128 bytes each 2 MiB) are paid for likewise. A plain machine
 * may be larger than the host's memory, so there is nothing to be paid for: none of its frames are
 * taken, and all of a node is one range that nobody has touched.
 */
#include "phys/mem_map.h"

#include <errno.h>
#include <stdio.h>

#include "arch/host.h"
#include "arch/topology.h"
#include "base/compiler.h"

#define DIRECT_MAP_ALIGN (1UL << 30)

/* What an alignment leaves over has to be given back, call by call, and far away lies in other page
 * tables: a process's heap has the alignment that is of use. */
static size_t direct_map_align(const struct kmm *machine)
{
	return machine->config.layout == ZONES_PLAIN ? PAGE_SIZE << MAX_PAGE_ORDER
						     : DIRECT_MAP_ALIGN;
}

static char *zone_addr(const struct phys *phys, const struct zone *zone)
{
	return phys->machine->direct_map + (zone->start_pfn << PAGE_SHIFT);
}

static size_t zone_bytes(const struct zone *zone)
{
	return (zone->end_pfn - zone->start_pfn) << PAGE_SHIFT;
}

/* A wish: results say where memory really is, and an emulated node cannot be bound. */
static void bind(const struct phys *phys, void *addr, size_t size, int nid)
{
	if (!phys->machine->config.no_bind)
		(void)topology_bind_memory(phys->machine->topology, addr, size, nid);
}

static int map_anonymous(const struct phys *phys, const struct zone *zone)
{
	int err =
		host_commit(zone_addr(phys, zone), zone_bytes(zone), !phys->machine->config.no_thp);

	if (!err)
		bind(phys, zone_addr(phys, zone), zone_bytes(zone), zone->nid);
	return err;
}

/* The kernel keeps a binding with the shared object, so a mapping made only to set it will do for
 * HighMem. */
static int bind_unmapped(const struct phys *phys, const struct zone *zone)
{
	void *window = host_reserve(zone_bytes(zone), PAGE_SIZE);
	int err;

	if (!window)
		return -ENOMEM;
	err = host_shared_map(window, zone_bytes(zone), zone->memfd, 0, false);
	if (!err)
		bind(phys, window, zone_bytes(zone), zone->nid);
	host_release(window, zone_bytes(zone));
	return err;
}

static int map_shared(const struct phys *phys, struct zone *zone)
{
	char name[48];
	int err;

	snprintf(name, sizeof(name), "kmm %s node %d", zone->name, zone->nid);
	zone->memfd = host_shared_create(name, zone_bytes(zone));
	if (zone->memfd < 0)
		return zone->memfd;
	if (!zone->direct_mapped)
		return bind_unmapped(phys, zone);
	err = host_shared_map(zone_addr(phys, zone), zone_bytes(zone), zone->memfd, 0, false);
	if (!err)
		bind(phys, zone_addr(phys, zone), zone_bytes(zone), zone->nid);
	return err;
}

int memory_map(struct phys *phys)
{
	struct kmm *machine = phys->machine;

	machine->direct_map =
		host_reserve(phys->nr_frames << PAGE_SHIFT, direct_map_align(machine));
	if (!machine->direct_map)
		return boot_refuse(-ENOMEM, "phys: the host refuses %lu MiB of address space",
				   phys->nr_frames >> (20 - PAGE_SHIFT));
	for_each_zone(phys, node, zone) {
		int err = zone->memfd_backed ? map_shared(phys, zone) : map_anonymous(phys, zone);

		if (err)
			return boot_refuse(
				err, "phys: the host refuses %zu MiB for %s on node %d (errno %d)",
				zone_bytes(zone) >> 20, zone->name, zone->nid, -err);
	}
	return 0;
}

/* Frames of a node that its structs cost: below HighMem and what is shared where there is room, as
 * the kernel's mem_map is in low memory, and shared memory is precious. */
static int reserve_node(struct memblock *mb, struct pglist_data *node, u64 size)
{
	u64 limit = 0, base;
	int err;

	for (int type = 0; type < NR_ZONE_TYPES; type++)
		if (zone_populated(&node->zones[type]) && type < ZONE_HIGHMEM)
			limit = max_t(u64, limit, (u64)node->zones[type].end_pfn << PAGE_SHIFT);
	err = memblock_alloc(mb, size, PAGE_SIZE, 0, limit, node->nid, &base);
	if (err)
		err = memblock_alloc(mb, size, PAGE_SIZE, 0, UINT64_MAX, node->nid, &base);
	if (err)
		return err;
	node->reserved_start_pfn = base >> PAGE_SHIFT;
	node->reserved_end_pfn = (base + size) >> PAGE_SHIFT;
	return 0;
}

/* All other structs are zeros, and become something when their frames are allocated. */
static void init_highmem_structs(struct page *mem_map, const struct pglist_data *node)
{
	for (const struct zone *zone = node->zones; zone < node->zones + NR_ZONE_TYPES; zone++)
		for (unsigned long pfn = zone->start_pfn; pfn < zone->end_pfn; pfn++) {
			if (zone->direct_mapped)
				break;
			mem_map[pfn].kind =
				page_kind(zone->type, (unsigned int)node->nid, PG_TYPE_NONE, 0);
		}
}

size_t pageblocks_bytes(const struct pglist_data *node)
{
	return ALIGN_UP(nr_pageblocks(node->start_pfn, node->end_pfn) * sizeof(struct pageblock),
			PAGE_SIZE);
}

static int create_pageblocks(struct phys *phys, struct pglist_data *node)
{
	size_t size = pageblocks_bytes(node);
	int err;

	node->pageblocks = host_reserve(size, PAGE_SIZE);
	if (!node->pageblocks)
		return -ENOMEM;
	err = host_commit(node->pageblocks, size, false);
	if (!err)
		bind(phys, node->pageblocks, size, node->nid);
	return err;
}

int mem_map_create(struct phys *phys, struct memblock *mb)
{
	struct kmm *machine = phys->machine;

	machine->mem_map = host_reserve(phys->nr_frames * sizeof(struct page),
					machine->config.no_thp ? PAGE_SIZE : HPAGE_SIZE);
	if (!machine->mem_map)
		return boot_refuse(-ENOMEM, "phys: the host refuses address space for mem_map");
	for (struct pglist_data *node = phys->nodes; node < phys->nodes + phys->nr_nodes; node++) {
		void *slice = machine->mem_map + node->start_pfn;
		size_t size = (node->end_pfn - node->start_pfn) * sizeof(struct page);
		int err = host_commit(slice, size, !machine->config.no_thp);

		if (!err)
			err = create_pageblocks(phys, node);
		if (!err && machine->config.layout != ZONES_PLAIN)
			err = reserve_node(mb, node, size + pageblocks_bytes(node));
		if (err)
			return boot_refuse(err, "phys: no memory for mem_map of node %d (errno %d)",
					   node->nid, -err);
		bind(phys, slice, size, node->nid);
		init_highmem_structs(machine->mem_map, node);
	}
	return 0;
}

void memory_release(struct phys *phys)
{
	struct kmm *machine = phys->machine;

	for (unsigned int i = 0; phys->nodes && i < phys->nr_nodes; i++)
		if (phys->nodes[i].pageblocks)
			host_release(phys->nodes[i].pageblocks, pageblocks_bytes(&phys->nodes[i]));
	if (machine->mem_map)
		host_release(machine->mem_map, phys->nr_frames * sizeof(struct page));
	if (machine->direct_map)
		host_release(machine->direct_map, phys->nr_frames << PAGE_SHIFT);
	for_each_zone(phys, node, zone)
		if (zone->memfd >= 0)
			host_shared_close(zone->memfd);
	machine->mem_map = NULL;
	machine->direct_map = NULL;
}

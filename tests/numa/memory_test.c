/* SPDX-License-Identifier: MIT */
/* On a machine with nodes: every page of a node of kmm's lies on that node, as the kernel says. */
#include "tests/numa/guest.h"

#define NODE_BYTES   (32UL << 20)
#define STRUCTS_PAGE (PAGE_SIZE / sizeof(struct page))

static struct page *pages[NODE_BYTES >> PAGE_SHIFT];
static void *addresses[NODE_BYTES >> PAGE_SHIFT];

/* All that the node has to give, touched; how many pages. */
static size_t take_node(int nid, gfp_t gfp)
{
	size_t nr = 0;

	while (nr < ARRAY_SIZE(pages) &&
	       (pages[nr] = alloc_pages_node(nid, gfp | __GFP_THISNODE, 0))) {
		ok_eq(page_to_nid(pages[nr]), nid);
		addresses[nr] = page_address(pages[nr]);
		*(volatile char *)addresses[nr] = 1;
		nr++;
	}
	return nr;
}

static void give_node(size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		__free_page(pages[i]);
}

/* The structs of the frames that are taken. */
static void check_structs(struct kmm *machine, size_t nr, int nid)
{
	size_t nr_structs = 0;

	for (size_t i = 0; i < nr; i++)
		if (i == 0 || ((uintptr_t)pages[i] ^ (uintptr_t)pages[i - 1]) & PAGE_MASK)
			addresses[nr_structs++] = (void *)((uintptr_t)pages[i] & PAGE_MASK);
	check_pages_on(machine->topology, addresses, nr_structs, nid, "mem_map");
	ok(nr_structs * STRUCTS_PAGE >= nr, "%zu pages of structs for %zu frames", nr_structs, nr);
}

/* Whole, from whatever node the thread runs on. */
static void check_machine(const struct kmm_config *config)
{
	struct kmm *machine = boot_machine(config);
	unsigned int nr_cpus = topology_nr_cpus(machine->topology);

	for (int nid = 0; nid < (int)topology_nr_nodes(machine->topology); nid++) {
		struct free_area_counts counts;
		size_t nr;

		/* Of another node, if the node has CPUs: what touches a page must not matter. */
		move_to_cpu(machine, nid ? 0 : nr_cpus - 1);
		count_free_areas(machine, nid, &counts);
		nr = take_node(nid, GFP_KERNEL);
		ok(nr == counts.nr_buddy_pages + counts.nr_pcp_pages && nr > 4096,
		   "node %d gave %zu pages of %llu", nid, nr,
		   (unsigned long long)counts.nr_buddy_pages);
		check_pages_on(machine->topology, addresses, nr, nid, "memory");
		check_structs(machine, nr, nid);
		give_node(nr);
	}
	shut_down(machine);
}

static void every_page_and_its_struct_lie_on_their_node(void)
{
	check_machine(&(struct kmm_config){.node_bytes = NODE_BYTES, .no_watermarks = true});
}

static void without_huge_pages_too(void)
{
	check_machine(&(struct kmm_config){
		.node_bytes = NODE_BYTES, .no_watermarks = true, .no_thp = true});
}

static void a_plain_machine_is_bound_too(void)
{
	check_machine(&(struct kmm_config){
		.node_bytes = NODE_BYTES, .no_watermarks = true, .layout = ZONES_PLAIN});
}

static void an_i386_machine_is_bound_too(void)
{
	check_machine(&(struct kmm_config){
		.node_bytes = NODE_BYTES, .no_watermarks = true, .layout = ZONES_I386});
}

/* HighMem is bound before it has an address, by a mapping made only for that. */
static void HighMem_lies_on_its_node(void)
{
	struct kmm_config config = {.node_bytes = 400UL << 20, .layout = ZONES_I386};
	struct kmm *machine = boot_machine(&config);
	const int nid = 2;

	move_to_cpu(machine, 0);
	for (size_t i = 0; i < 64; i++) {
		pages[i] = alloc_pages_node(nid, GFP_HIGHUSER | __GFP_THISNODE, 0);
		ok(pages[i] && PageHighMem(pages[i]) && page_to_nid(pages[i]) == nid,
		   "no HighMem of node %d", nid);
		addresses[i] = kmap(pages[i]);
		memset(addresses[i], 1, PAGE_SIZE);
	}
	check_pages_on(machine->topology, addresses, 64, nid, "HighMem");
	for (size_t i = 0; i < 64; i++) {
		kunmap(pages[i]);
		__free_page(pages[i]);
	}
	shut_down(machine);
}

/* What was given back to the host comes again from where it was. */
static void memory_given_back_comes_again_on_its_node(void)
{
	struct kmm_config config = {.node_bytes = NODE_BYTES, .no_watermarks = true};
	struct kmm *machine = boot_machine(&config);
	int nodes[] = {1, 2};
	size_t nr;

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		move_to_cpu(machine, 0);
		nr = take_node(nodes[i], GFP_KERNEL);
		give_node(nr);
		ok(kmm_trim(machine, 0) >= nr * PAGE_SIZE / 2, "little was given back");
		ok_eq(ask_node(machine->topology, addresses[nr / 2]), -1);
		ok_eq(take_node(nodes[i], GFP_KERNEL), nr);
		check_pages_on(machine->topology, addresses, nr, nodes[i], "memory taken again");
		give_node(nr);
	}
	shut_down(machine);
}

static void without_binding_memory_lies_where_it_is_touched(void)
{
	struct kmm_config config = {.node_bytes = NODE_BYTES, .no_bind = true};
	struct kmm *machine = boot_machine(&config);
	size_t nr;

	move_to_cpu(machine, topology_nr_cpus(machine->topology) - 1);
	ok(this_cpu->nid != 0, "one node for all CPUs");
	nr = take_node(0, GFP_KERNEL);
	ok(nr > 4096, "%zu pages", nr);
	check_pages_on(machine->topology, addresses, nr, this_cpu->nid, "memory that is not bound");
	give_node(nr);
	shut_down(machine);
}

/* Binding is a wish: nobody ends for want of memory on one node while another has some. */
static void what_the_hosts_node_has_not_comes_from_another(void)
{
	struct kmm_config config = {.node_bytes = 208UL << 20, .no_watermarks = true};
	struct kmm *machine = boot_machine(&config);
	const struct topology *topo = machine->topology;
	size_t nr_on[2] = {0, 0}, nr = 0;
	int nid = 0;

	for (int i = 0; i < (int)topology_nr_nodes(topo); i++)
		if (topology_node(topo, i)->memory_bytes < topology_node(topo, nid)->memory_bytes)
			nid = i;
	ok(topology_node(topo, nid)->memory_bytes < config.node_bytes, "it has enough");
	while ((pages[nr] = alloc_pages_node(nid, GFP_KERNEL | __GFP_THISNODE, MAX_PAGE_ORDER))) {
		char *block = page_address(pages[nr++]);

		for (size_t at = 0; at < PAGE_SIZE << MAX_PAGE_ORDER; at += PAGE_SIZE)
			block[at] = 1;
		nr_on[ask_node(topo, block) == nid]++;
	}
	ok(nr > 40 && nr_on[0] && nr_on[1], "of %zu blocks %zu on the node", nr, nr_on[1]);
	while (nr--)
		__free_pages(pages[nr], MAX_PAGE_ORDER);
	shut_down(machine);
}

/* A slot made from afar: all of what its owner will use. */
static void a_CPUs_slot_lies_on_its_node(void)
{
	struct kmm_config config = {.node_bytes = NODE_BYTES};
	struct kmm *machine = boot_machine(&config);
	const struct topology *topo = machine->topology;

	for (unsigned int cpu = 0; cpu < topology_nr_cpus(topo); cpu++) {
		size_t nr = 0;

		ok_eq(topology_bind_thread(topo, topology_nr_cpus(topo) - 1 - cpu), 0);
		ok_eq(kmm_attach(machine, (int)cpu), 0);
		ok_eq(this_cpu->nid, topology_cpu(topo, cpu)->nid);
		kfree(kmalloc(64, GFP_KERNEL));
		for (char *at = (char *)this_cpu; at < (char *)this_cpu + PERCPU_SIZE;
		     at += PAGE_SIZE)
			if (ask_node(topo, at) >= 0)
				addresses[nr++] = at;
		ok(nr > 0, "an empty slot");
		check_pages_on(topo, addresses, nr, topology_cpu(topo, cpu)->nid, "slot");
	}
	shut_down(machine);
}

int main(void)
{
	RUN(every_page_and_its_struct_lie_on_their_node);
	RUN(without_huge_pages_too);
	RUN(a_plain_machine_is_bound_too);
	RUN(an_i386_machine_is_bound_too);
	RUN(HighMem_lies_on_its_node);
	RUN(memory_given_back_comes_again_on_its_node);
	RUN(without_binding_memory_lies_where_it_is_touched);
	RUN(what_the_hosts_node_has_not_comes_from_another);
	RUN(a_CPUs_slot_lies_on_its_node);
	return done();
}

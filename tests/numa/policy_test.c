/* SPDX-License-Identifier: MIT */
/*
 * On a machine with nodes: where policies take pages from, in which order full nodes are passed over, and
 * what numastat counts of it. The kernel is asked where each page is, in which order it would fall back
 * itself, and what it counts of the same work under the same policy.
 */
#include <linux/mempolicy.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/numa/guest.h"

#define NODE_BYTES (32UL << 20)
#define NR_PAGES   2048
/* What the kernel allocates for itself meanwhile; a page's worth of page table, mostly. */
#define NOISE (NR_PAGES / 4)
#define TRIES 5

static struct page *pages[3 * NODE_BYTES >> PAGE_SHIFT];
static void *addresses[ARRAY_SIZE(pages)];

static struct kmm *boot_small(void)
{
	struct kmm_config config = {
		.node_bytes = NODE_BYTES, .no_watermarks = true, .no_thp = true};

	return boot_machine(&config);
}

/* Up to nr pages as the policy has them. */
static size_t take(size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++) {
		pages[i] = alloc_page(GFP_KERNEL);
		if (!pages[i])
			break;
		addresses[i] = page_address(pages[i]);
		*(volatile char *)addresses[i] = 1;
	}
	return i;
}

static void give(size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		__free_page(pages[i]);
}

/* kmm's opinion of where each page is, as the kernel's. */
static void check_opinion(const struct topology *topo, size_t nr)
{
	static int nids[ARRAY_SIZE(pages)];

	ask_nodes(topo, addresses, nr, nids);
	for (size_t i = 0; i < nr; i++)
		ok(page_to_nid(pages[i]) == nids[i], "page %zu: on node %d, and %d says the kernel",
		   i, page_to_nid(pages[i]), nids[i]);
}

static void local_is_the_CPUs_own_node(void)
{
	struct kmm *machine = boot_small();

	for (unsigned int cpu = 0; cpu < topology_nr_cpus(machine->topology); cpu++) {
		move_to_cpu(machine, cpu);
		ok_eq(kmm_set_mempolicy(cpu & 1 ? KMM_MPOL_LOCAL : KMM_MPOL_DEFAULT, 0), 0);
		ok_eq(take(NR_PAGES), NR_PAGES);
		check_pages_on(machine->topology, addresses, NR_PAGES,
			       topology_cpu(machine->topology, cpu)->nid, "local");
		give(NR_PAGES);
	}
	shut_down(machine);
}

static void bind_and_preferred_are_the_nodes_of_the_mask(void)
{
	struct kmm *machine = boot_small();

	for (unsigned int cpu = 0; cpu < topology_nr_cpus(machine->topology); cpu++) {
		move_to_cpu(machine, cpu);
		for (int nid = 0; nid < (int)topology_nr_nodes(machine->topology); nid++) {
			ok_eq(kmm_set_mempolicy(KMM_MPOL_BIND, 1UL << nid), 0);
			ok_eq(take(NR_PAGES), NR_PAGES);
			check_pages_on(machine->topology, addresses, NR_PAGES, nid, "bind");
			give(NR_PAGES);
			ok_eq(kmm_set_mempolicy(KMM_MPOL_PREFERRED, 1UL << nid), 0);
			ok_eq(take(NR_PAGES), NR_PAGES);
			check_pages_on(machine->topology, addresses, NR_PAGES, nid, "preferred");
			give(NR_PAGES);
		}
	}
	shut_down(machine);
}

static void interleave_is_each_node_in_turn(void)
{
	struct kmm *machine = boot_small();
	int nr_nodes = (int)topology_nr_nodes(machine->topology);

	move_to_cpu(machine, 1);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_INTERLEAVE, (1UL << nr_nodes) - 1), 0);
	ok_eq(take(NR_PAGES), NR_PAGES);
	check_opinion(machine->topology, NR_PAGES);
	for (size_t i = 0; i < NR_PAGES; i++)
		ok_eq(page_to_nid(pages[i]), (int)(i % (size_t)nr_nodes));
	give(NR_PAGES);
	shut_down(machine);
}

/* A bound thread gets nothing from elsewhere, a preferring one does. */
static void a_full_node_ends_bind_and_not_preferred(void)
{
	struct kmm *machine = boot_small();
	size_t nr, all;

	move_to_cpu(machine, 0);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_BIND, 1UL << 2), 0);
	nr = take(ARRAY_SIZE(pages));
	ok(nr > 4096 && nr < NODE_BYTES >> PAGE_SHIFT, "%zu pages", nr);
	check_pages_on(machine->topology, addresses, nr, 2, "bind");
	give(nr);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_PREFERRED, 1UL << 2), 0);
	all = take(ARRAY_SIZE(pages));
	ok(all > 2 * nr, "%zu of %zu", all, nr);
	check_opinion(machine->topology, all);
	give(all);
	shut_down(machine);
}

/* The order in which the kernel itself would pass from node to node, from what it said when it booted. */
static bool kernel_order(const struct topology *topo, int from, int *order)
{
	static char log[1 << 20];
	int n = klogctl(3, log, sizeof(log) - 1); /* 3: read all that is there */
	const char *at;
	char line[64], *end;

	log[n > 0 ? n : 0] = '\0';
	snprintf(line, sizeof(line),
		 "Fallback order for Node %d: ", topology_node(topo, from)->os_index);
	at = strstr(log, line);
	if (!at)
		return false;
	at += strlen(line);
	for (unsigned int i = 0; i < topology_nr_nodes(topo); i++, at = end) {
		long os_index = strtol(at, &end, 10);

		order[i] = -1;
		for (int nid = 0; nid < (int)topology_nr_nodes(topo); nid++)
			if (topology_node(topo, nid)->os_index == os_index)
				order[i] = nid;
	}
	return true;
}

static void full_nodes_are_passed_over_in_the_kernels_order(void)
{
	for (int from = 0; from < 3; from++) {
		struct kmm *machine = boot_small();
		int want[MAX_NODES], got[MAX_NODES], nr_got = 0;
		u64 seen = 0;
		size_t nr;

		move_to_cpu(machine, 0);
		if (!kernel_order(machine->topology, from, want))
			skip("the kernel did not say its order");
		ok_eq(kmm_set_mempolicy(KMM_MPOL_PREFERRED, 1UL << from), 0);
		nr = take(ARRAY_SIZE(pages));
		check_opinion(machine->topology, nr);
		for (size_t i = 0; i < nr; i++) {
			int nid = page_to_nid(pages[i]);

			if (!(seen >> nid & 1))
				got[nr_got++] = nid;
			seen |= 1UL << nid;
		}
		ok_eq(nr_got, topology_nr_nodes(machine->topology));
		for (int i = 0; i < nr_got && !*tap_skip_why; i++)
			ok(got[i] == want[i],
			   "from node %d, place %d: node %d, and %d of the kernel", from, i, got[i],
			   want[i]);
		give(nr);
		shut_down(machine);
	}
}

/* What kmm counts when a node is full is what the kernel says of the pages. */
static void numastat_says_where_pages_are(void)
{
	struct kmm *machine = boot_small();
	int nr_nodes = (int)topology_nr_nodes(machine->topology);
	const int preferred = 1;
	static int nids[ARRAY_SIZE(pages)];
	struct numastat before[MAX_NODES], after;
	size_t nr, nr_on[MAX_NODES] = {0};

	move_to_cpu(machine, 0);
	for (int nid = 0; nid < nr_nodes; nid++)
		phys_numastat(machine, nid, &before[nid]);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_PREFERRED, 1UL << preferred), 0);
	nr = take(ARRAY_SIZE(pages));
	ask_nodes(machine->topology, addresses, nr, nids);
	for (size_t i = 0; i < nr; i++)
		nr_on[nids[i] < 0 ? 0 : nids[i]]++;
	for (int nid = 0; nid < nr_nodes; nid++) {
		bool hit = nid == preferred, local = nid == this_cpu->nid;

		phys_numastat(machine, nid, &after);
		ok(nr_on[nid] > 0, "no page on node %d", nid);
		ok_eq(after.numa_hit - before[nid].numa_hit, hit ? nr_on[nid] : 0);
		ok_eq(after.numa_miss - before[nid].numa_miss, hit ? 0 : nr_on[nid]);
		ok_eq(after.numa_foreign - before[nid].numa_foreign, hit ? nr - nr_on[nid] : 0);
		ok_eq(after.local_node - before[nid].local_node, local ? nr_on[nid] : 0);
		ok_eq(after.other_node - before[nid].other_node, local ? 0 : nr_on[nid]);
		ok_eq(after.interleave_hit - before[nid].interleave_hit, 0);
	}
	give(nr);
	shut_down(machine);
}

static const struct twin {
	const char *what;
	enum mempolicy_mode mode;
	int kernel_mode;
	u64 nodes;
} twins[] = {
	{"default", KMM_MPOL_DEFAULT, MPOL_DEFAULT, 0},
	{"bind 0", KMM_MPOL_BIND, MPOL_BIND, 1},
	{"bind 1", KMM_MPOL_BIND, MPOL_BIND, 2},
	{"bind 1,2", KMM_MPOL_BIND, MPOL_BIND, 6},
	{"preferred 2", KMM_MPOL_PREFERRED, MPOL_PREFERRED, 4},
	{"interleave 0-2", KMM_MPOL_INTERLEAVE, MPOL_INTERLEAVE, 7},
	{"interleave 1,2", KMM_MPOL_INTERLEAVE, MPOL_INTERLEAVE, 6},
};

static u64 os_mask(const struct topology *topo, u64 nodes)
{
	u64 mask = 0;

	for (int nid = 0; nid < (int)topology_nr_nodes(topo); nid++)
		if (nodes >> nid & 1)
			mask |= 1UL << topology_node(topo, nid)->os_index;
	return mask;
}

/* NR_PAGES of the kernel's own under the policy: what it counted. */
static void count_kernel(const struct topology *topo, const struct twin *twin,
			 struct numastat *delta)
{
	int nr_nodes = (int)topology_nr_nodes(topo);
	unsigned long mask = os_mask(topo, twin->nodes);
	struct numastat before[MAX_NODES];
	char *memory = mmap(NULL, NR_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ok(memory != MAP_FAILED, "mmap");
	madvise(memory, NR_PAGES * PAGE_SIZE, MADV_NOHUGEPAGE);
	for (int nid = 0; nid < nr_nodes; nid++)
		kernel_numastat(topo, nid, &before[nid]);
	ok(!syscall(SYS_set_mempolicy, twin->kernel_mode, mask ? &mask : NULL, mask ? 64 : 0),
	   "set_mempolicy");
	for (size_t i = 0; i < NR_PAGES; i++)
		memory[i * PAGE_SIZE] = 1;
	syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0);
	for (int nid = 0; nid < nr_nodes; nid++) {
		kernel_numastat(topo, nid, &delta[nid]);
#define X(name) delta[nid].name -= before[nid].name;
		NUMASTAT(X)
#undef X
	}
	munmap(memory, NR_PAGES * PAGE_SIZE);
}

static void count_kmm(struct kmm *machine, const struct twin *twin, struct numastat *delta)
{
	int nr_nodes = (int)topology_nr_nodes(machine->topology);
	struct numastat before[MAX_NODES];

	for (int nid = 0; nid < nr_nodes; nid++)
		phys_numastat(machine, nid, &before[nid]);
	ok_eq(kmm_set_mempolicy(twin->mode, twin->nodes), 0);
	ok_eq(take(NR_PAGES), NR_PAGES);
	for (int nid = 0; nid < nr_nodes; nid++) {
		phys_numastat(machine, nid, &delta[nid]);
#define X(name) delta[nid].name -= before[nid].name;
		NUMASTAT(X)
#undef X
	}
	give(NR_PAGES);
}

/* Of NR_PAGES a third cannot be had: the kernel's turn may begin at another node than kmm's. */
static bool same_count(u64 kmm, u64 kernel)
{
	return kernel + 1 >= kmm && kernel <= kmm + NOISE;
}

static bool same_counts(const struct numastat *kmm, const struct numastat *kernel, int nr_nodes)
{
	bool same = true;

	for (int nid = 0; nid < nr_nodes; nid++) {
#define X(name) same &= same_count(kmm[nid].name, kernel[nid].name);
		NUMASTAT(X)
#undef X
	}
	return same;
}

static void numastat_counts_as_the_kernel_does_under_each_policy(void)
{
	struct kmm *machine = boot_small();
	const struct topology *topo = machine->topology;
	int nr_nodes = (int)topology_nr_nodes(topo);

	for (unsigned int cpu = 0; cpu < topology_nr_cpus(topo); cpu += 3)
		for (size_t i = 0; i < ARRAY_SIZE(twins); i++) {
			struct numastat kernel[MAX_NODES], kmm[MAX_NODES];
			bool same = false;

			move_to_cpu(machine, cpu);
			/* Other work of the kernel's may fall into a try. */
			for (int try = 0; try < TRIES && !same; try++) {
				count_kernel(topo, &twins[i], kernel);
				count_kmm(machine, &twins[i], kmm);
				same = same_counts(kmm, kernel, nr_nodes);
			}
			for (int nid = 0; nid < nr_nodes; nid++) {
#define X(name)                                                                                    \
	ok(same_count(kmm[nid].name, kernel[nid].name),                                            \
	   "CPU %u, %s, node %d: " #name " %llu, and %llu of the kernel", cpu, twins[i].what, nid, \
	   (unsigned long long)kmm[nid].name, (unsigned long long)kernel[nid].name);
				NUMASTAT(X)
#undef X
			}
		}
	shut_down(machine);
}

/* To the kernel, too, a page of a node's is a hit of that node, by whomever it is touched. */
static void the_kernel_counts_kmms_memory_as_hits_of_its_node(void)
{
	struct kmm *machine = boot_small();
	const struct topology *topo = machine->topology;

	move_to_cpu(machine, 0);
	for (int nid = 0; nid < (int)topology_nr_nodes(topo); nid++) {
		struct numastat before, after;

		ok_eq(kmm_set_mempolicy(KMM_MPOL_BIND, 1UL << nid), 0);
		kernel_numastat(topo, nid, &before);
		ok_eq(take(NR_PAGES), NR_PAGES);
		kernel_numastat(topo, nid, &after);
		ok(after.numa_hit - before.numa_hit >= NR_PAGES, "node %d: %llu hits", nid,
		   (unsigned long long)(after.numa_hit - before.numa_hit));
		ok((nid ? after.other_node - before.other_node
			: after.local_node - before.local_node) >= NR_PAGES,
		   "node %d: %llu local, %llu not", nid,
		   (unsigned long long)(after.local_node - before.local_node),
		   (unsigned long long)(after.other_node - before.other_node));
		give(NR_PAGES);
	}
	shut_down(machine);
}

int main(void)
{
	RUN(local_is_the_CPUs_own_node);
	RUN(bind_and_preferred_are_the_nodes_of_the_mask);
	RUN(interleave_is_each_node_in_turn);
	RUN(a_full_node_ends_bind_and_not_preferred);
	RUN(full_nodes_are_passed_over_in_the_kernels_order);
	RUN(numastat_says_where_pages_are);
	RUN(numastat_counts_as_the_kernel_does_under_each_policy);
	RUN(the_kernel_counts_kmms_memory_as_hits_of_its_node);
	return done();
}

/* SPDX-License-Identifier: MIT */
/*
 * NUMA policies and numastat on emulated machines. All threads here run on CPUs of node 0.
 *
 *	two nodes	CPUs 0, 1 | CPUs 2, 3
 *	three nodes	the third has memory and no CPU (tests/fixtures/cpuless-node.xml)
 */
#include "phys/mempolicy.h"

#include <errno.h>
#include <pthread.h>

#include "arch/topology.h"
#include "phys/pcp.h"
#include "tests/alloc/phys/machine.h"

static struct kmm *boot_three(void)
{
	static char path[4096];
	const char *dir = getenv("srcdir");

	snprintf(path, sizeof(path), "%s/tests/fixtures/cpuless-node.xml", dir ? dir : ".");
	return boot((struct kmm_config){.xml = path});
}

/* Pages taken one by one, chained through ->private. */
static struct page *take_all(gfp_t gfp, int nid, unsigned long *nr)
{
	struct page *page, *last = NULL;

	for (*nr = 0; (page = alloc_pages_node(nid, gfp, 0)); ++*nr) {
		page->private = (unsigned long)last;
		last = page;
	}
	return last;
}

static void give_all(struct page *page)
{
	while (page) {
		struct page *next = (struct page *)page->private;

		__free_pages(page, 0);
		page = next;
	}
}

/* The node of a page that alloc_pages gives; NUMA_NO_NODE if it gives none. */
static int node_of(gfp_t gfp)
{
	struct page *page = alloc_pages(gfp, 0);
	int nid = page ? page->nid : NUMA_NO_NODE;

	if (page)
		__free_pages(page, 0);
	return nid;
}

static void masks_that_cannot_be_are_refused(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	enum mempolicy_mode mode;
	u64 nodes;

	ok_eq(kmm_set_mempolicy(KMM_MPOL_INTERLEAVE, 3), 0);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_DEFAULT, 1), -EINVAL);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_LOCAL, 2), -EINVAL);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_BIND, 0), -EINVAL);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_INTERLEAVE, 0), -EINVAL);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_BIND, 4), -EINVAL);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_PREFERRED, 5), -EINVAL);
	ok_eq(kmm_set_mempolicy(KMM_NR_MPOLS, 1), -EINVAL);
	kmm_get_mempolicy(&mode, &nodes);
	ok(mode == KMM_MPOL_INTERLEAVE && nodes == 3, "changed all the same");
	ok_eq(kmm_set_mempolicy(KMM_MPOL_PREFERRED, 0), 0);
	kmm_get_mempolicy(&mode, &nodes);
	ok(mode == KMM_MPOL_LOCAL && nodes == 0, "preferring no node is local");
	ok_eq(kmm_set_mempolicy(KMM_MPOL_PREFERRED, 3), 0);
	kmm_get_mempolicy(&mode, &nodes);
	ok(mode == KMM_MPOL_PREFERRED && nodes == 1, "preferring two is the lower one");
	shut_down(machine);
}

static void interleave_goes_round_the_mask(void)
{
	struct kmm *machine = boot_three();
	struct numastat stat;

	ok_eq(topology_nr_nodes(machine->topology), 3);
	for (u64 mask = 1; mask < 8; mask++) {
		int last = -1;

		ok_eq(kmm_set_mempolicy(KMM_MPOL_INTERLEAVE, mask), 0);
		for (int i = 0; i < 9; i++) {
			int nid = node_of(GFP_KERNEL), want = last;

			do
				want = (want + 1) % 3;
			while (!(mask >> want & 1));
			ok(nid == want, "mask %llx, page %d: node %d", (unsigned long long)mask, i,
			   nid);
			last = want;
		}
	}
	for (int nid = 0; nid < 3; nid++) {
		phys_numastat(machine, nid, &stat);
		/* 9 alone, 9/2 (5 or 4) with each other, 3 with both */
		ok(stat.interleave_hit >= 9 + 4 + 4 + 3 && stat.interleave_hit <= 9 + 5 + 5 + 3,
		   "node %d: %llu", nid, (unsigned long long)stat.interleave_hit);
		ok(stat.numa_hit >= stat.interleave_hit, "node %d", nid);
		ok_eq(stat.numa_miss + stat.numa_foreign, 0);
	}
	ok_eq(kmm_set_mempolicy(KMM_MPOL_DEFAULT, 0), 0);
	ok_eq(node_of(GFP_KERNEL), 0);
	shut_down(machine);
}

static void a_full_node_is_passed_over_in_its_turn(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	struct page *all, *pages[8];
	struct numastat before[2], after[2];
	unsigned long nr;

	all = take_all(GFP_KERNEL | __GFP_THISNODE | __GFP_MEMALLOC, 1, &nr);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_INTERLEAVE, 3), 0);
	for (int nid = 0; nid < 2; nid++)
		phys_numastat(machine, nid, &before[nid]);
	for (int i = 0; i < 8; i++) {
		pages[i] = alloc_pages(GFP_KERNEL, 0);
		ok_eq(pages[i]->nid, 0);
	}
	for (int nid = 0; nid < 2; nid++)
		phys_numastat(machine, nid, &after[nid]);
	ok_eq(after[0].numa_hit - before[0].numa_hit, 4);
	ok_eq(after[0].interleave_hit - before[0].interleave_hit, 4);
	ok_eq(after[0].numa_miss - before[0].numa_miss, 4);
	ok_eq(after[1].numa_foreign - before[1].numa_foreign, 4);
	ok_eq(after[1].interleave_hit - before[1].interleave_hit, 0);
	for (int i = 0; i < 8; i++)
		__free_pages(pages[i], 0);
	give_all(all);
	shut_down(machine);
}

static void bind_takes_from_no_other_node(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	struct page *all, *rest;
	unsigned long nr, of_1 = nr_free(machine, 1);

	ok_eq(kmm_set_mempolicy(KMM_MPOL_BIND, 2), 0);
	for (int i = 0; i < 100; i++)
		ok_eq(node_of(GFP_KERNEL), 1);
	/* What names a node does not ask the policy. */
	for (int nid = 0; nid < 2; nid++) {
		struct page *page = alloc_pages_node(nid, GFP_KERNEL, 0);

		ok_eq(page->nid, nid);
		__free_pages(page, 0);
	}
	ok_eq(node_of(GFP_KERNEL | __GFP_THISNODE), 0);
	ok_eq(node_of(GFP_KERNEL | __GFP_SHARED), 1);
	/* DMA is on node 0 alone, so the policy does not hold there. */
	ok_eq(node_of(GFP_KERNEL | __GFP_DMA), 0);

	all = take_all(GFP_KERNEL, NUMA_NO_NODE, &nr);
	ok(nr > of_1 / 2 && nr < of_1, "%lu pages of %lu", nr, of_1);
	for (struct page *page = all; page; page = (struct page *)page->private)
		if (page->nid != 1) {
			ok(false, "a page of node %d", page->nid);
			break;
		}
	ok_eq(node_of(GFP_KERNEL), NUMA_NO_NODE);
	ok_eq(node_of(GFP_NOWAIT), NUMA_NO_NODE);
	rest = take_all(GFP_NOWAIT | __GFP_THISNODE | __GFP_MEMALLOC, 1, &nr);
	ok(nr > 16, "%lu pages were kept", nr);
	ok_eq(node_of(GFP_ATOMIC), 0);
	ok_eq(node_of(GFP_NOWAIT | __GFP_MEMALLOC), 0);
	ok_eq(node_of(GFP_KERNEL | __GFP_NOFAIL), 0);
	ok_eq(node_of(GFP_KERNEL), NUMA_NO_NODE);
	kmm_set_mempolicy(KMM_MPOL_DEFAULT, 0);
	give_all(rest);
	ok_eq(node_of(GFP_KERNEL), 0);
	give_all(all);
	shut_down(machine);
}

static u64 zone_locks(struct kmm *machine)
{
	u64 acquired = 0;

	for_each_zone(machine->phys, node, zone)
		acquired += zone->lock.stats.acquired;
	return acquired;
}

static void policies_that_include_this_node_cost_nothing(void)
{
	static const struct {
		enum mempolicy_mode mode;
		u64 nodes;
		bool fast;
	} policies[] = {
		{KMM_MPOL_DEFAULT, 0, true},   {KMM_MPOL_LOCAL, 0, true},
		{KMM_MPOL_BIND, 1, true},      {KMM_MPOL_BIND, 3, true},
		{KMM_MPOL_PREFERRED, 1, true}, {KMM_MPOL_PREFERRED, 2, false},
		{KMM_MPOL_BIND, 2, false},
	};
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		struct phys_counters before, after;
		u64 locks;

		ok_eq(kmm_set_mempolicy(policies[i].mode, policies[i].nodes), 0);
		node_of(GFP_KERNEL);
		phys_count(machine, &before);
		locks = zone_locks(machine);
		for (int n = 0; n < 100; n++)
			ok_eq(node_of(GFP_KERNEL), policies[i].fast ? 0 : 1);
		ok((zone_locks(machine) == locks) == policies[i].fast, "policy %zu", i);
		phys_count(machine, &after);
		ok_eq(after.pcp_alloc - before.pcp_alloc, policies[i].fast ? 100 : 0);
	}
	shut_down(machine);
}

static void preferred_falls_back_when_its_node_is_full(void)
{
	struct kmm *machine = boot_three();
	struct numastat before, after, foreign;
	struct page *all;
	unsigned long nr;

	ok_eq(kmm_set_mempolicy(KMM_MPOL_PREFERRED, 1UL << 2), 0);
	ok_eq(node_of(GFP_KERNEL), 2);
	all = take_all(GFP_KERNEL | __GFP_THISNODE, 2, &nr);
	phys_numastat(machine, 0, &before);
	ok_eq(node_of(GFP_KERNEL), 0);
	phys_numastat(machine, 0, &after);
	phys_numastat(machine, 2, &foreign);
	ok_eq(after.numa_miss - before.numa_miss, 1);
	ok_eq(after.local_node - before.local_node, 1);
	ok(foreign.numa_foreign >= 1, "node 2 was preferred");
	ok_eq(foreign.local_node, 0); /* it has no CPUs */
	give_all(all);
	shut_down(machine);
}

/* A thread on CPU 1 sets a policy and ends; the next one there gets its slot and not its policy. */
static void *set_and_leave(void *machine)
{
	kmm_attach(machine, 1);
	ok_eq(kmm_set_mempolicy(KMM_MPOL_BIND, 2), 0);
	ok_eq(node_of(GFP_KERNEL), 1);
	return this_cpu;
}

static void *look_and_leave(void *machine)
{
	enum mempolicy_mode mode;
	u64 nodes;

	kmm_attach(machine, 1);
	kmm_get_mempolicy(&mode, &nodes);
	ok(mode == KMM_MPOL_DEFAULT && !nodes, "policy %d", (int)mode);
	ok_eq(node_of(GFP_KERNEL), 0);
	ok(pcp_stack_for(phys_cpu(this_cpu), GFP_KERNEL, 0)->nr > 0, "the lists are not used");
	return this_cpu;
}

static void a_policy_ends_with_its_thread(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	void *first, *second;
	pthread_t thread;

	pthread_create(&thread, NULL, set_and_leave, machine);
	pthread_join(thread, &first);
	pthread_create(&thread, NULL, look_and_leave, machine);
	pthread_join(thread, &second);
	ok(first == second, "another slot");
	ok_eq(node_of(GFP_KERNEL), 0);
	shut_down(machine);
}

/* Who has a policy that keeps it from its lists is asked for them like everybody. */
static void a_request_to_drain_is_seen_through_a_policy(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	struct page *page;

	ok_eq(node_of(GFP_KERNEL), 0);
	ok(pcp_nr_pages(this_cpu) > 0, "nothing is held");
	ok_eq(kmm_set_mempolicy(KMM_MPOL_BIND, 2), 0);
	pcp_close(this_cpu);
	page = alloc_pages(GFP_KERNEL, 0);
	ok_eq(page->nid, 1);
	ok_eq(pcp_nr_pages(this_cpu), 0);
	__free_pages(page, 0);
	shut_down(machine);
}

/*
 * Every allocation is a hit or a miss, and local or other, of the node that its page is of; every
 * miss is foreign to another node.
 */
static void check_sums(struct kmm *machine, u64 nr_allocs, const u64 *nr_of_node)
{
	struct numastat sum = {0};

	for (int nid = 0; nid < (int)topology_nr_nodes(machine->topology); nid++) {
		struct numastat stat;

		phys_numastat(machine, nid, &stat);
		ok_eq(stat.numa_hit + stat.numa_miss, nr_of_node[nid]);
		ok_eq(stat.local_node + stat.other_node, nr_of_node[nid]);
		ok(stat.interleave_hit <= stat.numa_hit, "node %d", nid);
#define X(name) sum.name += stat.name;
		NUMASTAT(X)
#undef X
	}
	ok_eq(sum.numa_hit + sum.numa_miss, nr_allocs);
	ok_eq(sum.numa_foreign, sum.numa_miss);
}

static void numastat_adds_up(void)
{
	enum { HELD = 512 };
	struct kmm *machine = boot_three();
	unsigned long state = tap_seed() | 1, nr_ops = tap_ops(100000);
	static struct page *held[HELD];
	u64 nr_allocs = 0, nr_of_node[3] = {0};
	static unsigned int orders[HELD];

	/* What boot and this thread's slab have allocated by now. */
	for (int nid = 0; nid < 3; nid++) {
		struct numastat stat;

		phys_numastat(machine, nid, &stat);
		nr_of_node[nid] = stat.numa_hit + stat.numa_miss;
		nr_allocs += nr_of_node[nid];
	}
	for (unsigned long op = 0; op < nr_ops; op++) {
		unsigned long r = tap_random(&state);
		unsigned int i = (unsigned int)(r % HELD), order = (unsigned int)(r >> 16) % 5;
		int nid = (int)(r >> 24 & 3) - 1;
		gfp_t gfp = r >> 32 & 1 ? GFP_KERNEL | __GFP_ZERO : GFP_HIGHUSER_MOVABLE;

		if (r >> 33 & 1)
			gfp |= __GFP_THISNODE;
		if (!(r >> 40 & 0xff))
			kmm_set_mempolicy((enum mempolicy_mode)((r >> 48) % KMM_NR_MPOLS),
					  r >> 52 & 7);
		if (held[i]) {
			__free_pages(held[i], orders[i]);
			held[i] = NULL;
			continue;
		}
		held[i] = alloc_pages_node(nid, gfp, order);
		if (held[i]) {
			orders[i] = order;
			nr_allocs++;
			nr_of_node[held[i]->nid]++;
		}
	}
	check_sums(machine, nr_allocs, nr_of_node);
	for (unsigned int i = 0; i < HELD; i++)
		if (held[i])
			__free_pages(held[i], orders[i]);
	shut_down(machine);
}

/* What the fast path handed out while the slot was node 0's stays node 0's. */
static void a_slot_that_moves_takes_its_counts_along(void)
{
	struct kmm *machine = boot((struct kmm_config){.synthetic = TWO_NODES});
	struct numastat before[2], after[2];

	for (int nid = 0; nid < 2; nid++)
		phys_numastat(machine, nid, &before[nid]);
	for (int i = 0; i < 10; i++)
		ok_eq(node_of(GFP_KERNEL), 0);
	phys_layer.cpu_drain(machine, this_cpu);
	this_cpu->nid = 1;
	for (int i = 0; i < 20; i++)
		ok_eq(node_of(GFP_KERNEL), 1);
	for (int nid = 0; nid < 2; nid++) {
		phys_numastat(machine, nid, &after[nid]);
		ok_eq(after[nid].numa_hit - before[nid].numa_hit, 10 + 10 * nid);
		ok_eq(after[nid].local_node - before[nid].local_node, 10 + 10 * nid);
		ok_eq(after[nid].other_node - before[nid].other_node, 0);
	}
	phys_layer.cpu_drain(machine, this_cpu);
	this_cpu->nid = 0;
	ok_eq(node_of(GFP_KERNEL), 0);
	phys_numastat(machine, 1, &before[1]);
	ok_eq(before[1].numa_hit, after[1].numa_hit);
	shut_down(machine);
}

int main(void)
{
	RUN(masks_that_cannot_be_are_refused);
	RUN(interleave_goes_round_the_mask);
	RUN(a_full_node_is_passed_over_in_its_turn);
	RUN(bind_takes_from_no_other_node);
	RUN(policies_that_include_this_node_cost_nothing);
	RUN(preferred_falls_back_when_its_node_is_full);
	RUN(a_policy_ends_with_its_thread);
	RUN(a_request_to_drain_is_seen_through_a_policy);
	RUN(numastat_adds_up);
	RUN(a_slot_that_moves_takes_its_counts_along);
	return done();
}

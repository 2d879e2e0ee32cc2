/* SPDX-License-Identifier: MIT */
/*
 * NUMA policies and counters; see mempolicy.h, and pcp.h for where they live.
 *
 * Invariant of a slot's numastat: what the fast path handed out is not counted, as it is a hit of
 * the slot's own node by definition; it follows from
 *
 *	blocks that stacks handed out == fast path's + slow_pops
 *
 * of which numa_folded (fast path's) were counted when the slot last moved to another node. Only
 * the slot's owner writes; others read single words.
 */
#include "phys/mempolicy.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "phys/alloc.h"
#include "phys/pcp.h"

bool mempolicy_is_local(const struct mempolicy *policy, int nid)
{
	switch (policy->mode) {
	case KMM_MPOL_BIND:
		return policy->nodes >> nid & 1;
	case KMM_MPOL_PREFERRED:
		return policy->nodes == 1UL << nid;
	case KMM_MPOL_INTERLEAVE:
		return false;
	default:
		return true;
	}
}

int mempolicy_next_node(struct mempolicy *policy)
{
	/* Those above the last one; from the start again if there are none. Node 63 has none. */
	u64 later = policy->nodes & ~1UL << policy->last;

	policy->last = __ffs(later ? later : policy->nodes);
	return (int)policy->last;
}

int kmm_set_mempolicy(enum mempolicy_mode mode, u64 nodemask)
{
	struct kmm_cpu *cpu = cpu_get();
	struct phys *phys = cpu->machine->phys;
	struct mempolicy *policy = &phys_cpu(cpu)->policy;
	const u64 online = phys_all_nodes(phys);

	if ((unsigned int)mode >= KMM_NR_MPOLS || nodemask & ~online)
		return -EINVAL;
	if (mode == KMM_MPOL_PREFERRED && !nodemask)
		mode = KMM_MPOL_LOCAL;
	if ((mode == KMM_MPOL_DEFAULT || mode == KMM_MPOL_LOCAL) != !nodemask)
		return -EINVAL;
	if (mode == KMM_MPOL_PREFERRED)
		nodemask &= -nodemask;
	/* Whoever is last when the first one's turn is next. */
	*policy = (struct mempolicy){.mode = mode, .nodes = nodemask, .last = KMM_MAX_NODES - 1};
	pcp_set_rows(phys, cpu);
	return 0;
}

void kmm_get_mempolicy(enum mempolicy_mode *mode, u64 *nodemask)
{
	const struct mempolicy *policy = &phys_cpu(cpu_get())->policy;

	*mode = policy->mode;
	*nodemask = policy->nodes;
}

void mempolicy_reset(struct phys *phys, struct kmm_cpu *cpu)
{
	struct mempolicy *policy = &phys_cpu(cpu)->policy;

	if (policy->mode == KMM_MPOL_DEFAULT)
		return;
	*policy = (struct mempolicy){.mode = KMM_MPOL_DEFAULT};
	pcp_set_rows(phys, cpu);
}

/*
 * Counters
 */

#define numa_count(stat, name, n) WRITE_ONCE((stat)->name, (stat)->name + (n))

void numa_account(struct kmm_cpu *cpu, int nid, int preferred)
{
	struct numastat *stats = phys_cpu(cpu)->numa;

	if (nid == preferred) {
		numa_count(&stats[nid], numa_hit, 1);
	} else {
		numa_count(&stats[nid], numa_miss, 1);
		numa_count(&stats[preferred], numa_foreign, 1);
	}
	if (nid == cpu->nid)
		numa_count(&stats[nid], local_node, 1);
	else
		numa_count(&stats[nid], other_node, 1);
}

void numa_account_interleaved(struct kmm_cpu *cpu, int nid)
{
	numa_count(&phys_cpu(cpu)->numa[nid], interleave_hit, 1);
}

static u64 nr_popped(const struct phys_cpu *pcpu)
{
	const struct pcp_stack *stack = (const struct pcp_stack *)pcpu->stack;
	u64 nr = 0;

	for (size_t i = 0; i < sizeof(pcpu->stack) / sizeof(*stack); i++)
		nr += READ_ONCE(stack[i].allocs);
	return nr;
}

/* Blocks handed out by the fast path since the slot is its node's. */
static u64 fast_blocks(const struct phys_cpu *pcpu)
{
	u64 elsewhere = READ_ONCE(pcpu->slow_pops) + READ_ONCE(pcpu->numa_folded);
	u64 popped = nr_popped(pcpu);

	/* Another thread's pop may show before or after what is counted of it. */
	return popped > elsewhere ? popped - elsewhere : 0;
}

void numa_fold(struct phys_cpu *pcpu)
{
	u64 nr = fast_blocks(pcpu);

	numa_count(&pcpu->numa[pcpu->nid], numa_hit, nr);
	numa_count(&pcpu->numa[pcpu->nid], local_node, nr);
	WRITE_ONCE(pcpu->numa_folded, pcpu->numa_folded + nr);
}

void phys_numastat(struct kmm *machine, int nid, struct numastat *sum)
{
	memset(sum, 0, sizeof(*sum));
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu)) {
		const struct phys_cpu *pcpu = phys_cpu(cpu);
		u64 nr_fast = READ_ONCE(pcpu->nid) == nid ? fast_blocks(pcpu) : 0;

#define X(name) sum->name += READ_ONCE(pcpu->numa[nid].name);
		NUMASTAT(X)
#undef X
		sum->numa_hit += nr_fast;
		sum->local_node += nr_fast;
	}
}

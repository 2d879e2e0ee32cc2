/* SPDX-License-Identifier: MIT */
/*
 * Address spaces: what CR3, PCIDs and invalidations do to the TLBs, and what Linux does with them.
 *
 * Linux remembers TLB_ASIDS address spaces a CPU. Slot i runs with PCID i + 1, and with page-table
 * isolation in user mode with PCID (i + 1) | 2048. A slot whose mappings were changed while it
 * did not run, or that is given to another space, is stale: the next load of each of its PCIDs
 * flushes it.
 */
#include "base/check.h"
#include "virt/tlb_cpu.h"

#define USER_PCID 0x800U /* X86_CR3_PTI_PCID_USER_BIT */

enum mode { KERNEL, USER };
#define STALE_BOTH (1U << KERNEL | 1U << USER)

/*
 * The processor.
 */
static void set_pcid(struct tlb *tlb, u16 pcid)
{
	tlb->pcid = pcid;
	tlb->pcid_bits[0] = (u64)pcid << TLB_PCID_SHIFT;
	tlb->pcid_bits[1] = tlb->use_global ? TLB_GLOBAL_BIT : tlb->pcid_bits[0];
}

static void drop_all(struct tlb *tlb, u64 mask, u64 want)
{
	for (int depth = 0; depth < TLB_DEPTH; depth++)
		for (int i = 0; i < TLB_MAX_ARRAYS; i++)
			tlb_array_drop(&tlb->arrays[depth][i], mask, want);
	for (int i = 0; i < TLB_MAX_CACHES; i++)
		tlb_array_drop(&tlb->caches[i], mask, want);
}

void tlb_load_cr3(struct tlb *tlb, u16 pcid, bool keep)
{
	KMM_BUG_ON(pcid > 4095, "PCID %u", pcid);
	if (!tlb->config.pcid)
		pcid = 0;
	tlb->cr3_loads++;
	set_pcid(tlb, pcid);
	if (keep && tlb->config.pcid)
		return;
	tlb->flushes++;
	/* Page-walk caches hold nothing global. */
	drop_all(tlb, TLB_GLOBAL_BIT | TLB_PCID_BITS, tlb->pcid_bits[0]);
}

void tlb_flush_all(struct tlb *tlb)
{
	tlb->flushes++;
	drop_all(tlb, 0, 0);
}

static void drop_page(struct tlb *tlb, u64 va, unsigned int how, u64 mask, u64 want)
{
	const struct tlb_paging *paging = &tlb->config.paging;
	unsigned int level = tlb->ports[how & (TLB_GLOBAL - 1)].leaf;

	for (int depth = 0; depth < TLB_DEPTH; depth++)
		for (int i = 0; i < TLB_MAX_ARRAYS; i++)
			tlb_array_drop_page(&tlb->arrays[depth][i], paging, va, level, mask, want);
}

void tlb_invpcid(struct tlb *tlb, u16 pcid, u64 va, unsigned int how)
{
	u64 pcid_bits = (u64)(tlb->config.pcid ? pcid : 0) << TLB_PCID_SHIFT;

	KMM_BUG_ON(pcid > 4095, "PCID %u", pcid);
	tlb->invalidated_pages++;
	drop_page(tlb, va, how, TLB_GLOBAL_BIT | TLB_PCID_BITS, pcid_bits);
	for (int i = 0; i < TLB_MAX_CACHES; i++)
		tlb_array_drop(&tlb->caches[i], TLB_PCID_BITS, pcid_bits);
}

void tlb_invlpg(struct tlb *tlb, u64 va, unsigned int how)
{
	tlb_invpcid(tlb, tlb->pcid, va, how);
	drop_page(tlb, va, how, TLB_GLOBAL_BIT, TLB_GLOBAL_BIT);
}

/*
 * Linux.
 */
static u16 pcid_of(const struct tlb *tlb, unsigned int asid, enum mode mode)
{
	u16 pcid = (u16)(asid + 1);

	return mode == USER && tlb->config.pti == TLB_PTI_PCID ? (u16)(pcid | USER_PCID) : pcid;
}

static enum mode mode_of(const struct tlb *tlb)
{
	return tlb->in_kernel || tlb->config.pti == TLB_PTI_OFF ? KERNEL : USER;
}

void tlb_first_space(struct tlb *tlb)
{
	set_pcid(tlb, tlb->config.pcid ? pcid_of(tlb, 0, mode_of(tlb)) : 0);
}

/* Load CR3 for the slot that runs, in the mode that the CPU is in. */
static void load(struct tlb *tlb)
{
	struct tlb_asid *asid = &tlb->asids[tlb->asid];
	enum mode mode = mode_of(tlb);

	tlb_load_cr3(tlb, pcid_of(tlb, tlb->asid, mode), !(asid->stale >> mode & 1));
	asid->stale &= (u8) ~(1U << mode);
}

void tlb_switch(struct tlb *tlb, u32 space)
{
	unsigned int asid = 0;

	KMM_BUG_ON(!space, "address space 0");
	if (tlb->asids[tlb->asid].space == space)
		return;
	/* Where it begins is no switch. */
	tlb->switches += tlb->asids[tlb->asid].space != 0;
	while (asid < TLB_ASIDS && tlb->asids[asid].space != space)
		asid++;
	if (asid == TLB_ASIDS) {
		asid = tlb->next_asid;
		tlb->next_asid = (asid + 1) % TLB_ASIDS;
		tlb->asids[asid] = (struct tlb_asid){.space = space, .stale = STALE_BOTH};
	}
	tlb->asid = asid;
	load(tlb);
}

void tlb_enter_kernel(struct tlb *tlb)
{
	tlb->kernel_entries++;
	tlb->in_kernel = true;
	if (tlb->config.pti != TLB_PTI_OFF)
		load(tlb);
}

void tlb_exit_kernel(struct tlb *tlb)
{
	tlb->in_kernel = false;
	if (tlb->config.pti != TLB_PTI_OFF)
		load(tlb);
}

static bool runs(const struct tlb *tlb, u32 space)
{
	return tlb->asids[tlb->asid].space == space;
}

/* All that is not the kernel's shared part, of the slot that runs: now, and in its other mode. */
static void flush_space(struct tlb *tlb)
{
	tlb->asids[tlb->asid].stale = STALE_BOTH;
	load(tlb);
}

static void flush_pages(struct tlb *tlb, u64 va, u64 nr_pages, unsigned int how)
{
	unsigned int level = tlb->ports[how & (TLB_GLOBAL - 1)].leaf;
	enum mode other = mode_of(tlb) == KERNEL ? USER : KERNEL;

	for (u64 i = 0; i < nr_pages; i++, va += 1UL << tlb->config.paging.shift[level]) {
		tlb_invlpg(tlb, va, how);
		if (tlb->config.pti == TLB_PTI_PCID)
			tlb_invpcid(tlb, pcid_of(tlb, tlb->asid, other), va, how);
	}
}

/* The other slots have the kernel's part too, where it is not global. */
static void others_are_stale(struct tlb *tlb)
{
	for (unsigned int i = 0; i < TLB_ASIDS; i++)
		if (i != tlb->asid && tlb->asids[i].space)
			tlb->asids[i].stale = STALE_BOTH;
}

static void flush(struct tlb *tlb, u64 va, u64 nr_pages, unsigned int how)
{
	if (how & TLB_GLOBAL && nr_pages > TLB_FLUSH_CEILING) {
		tlb_flush_all(tlb);
		return;
	}
	if (how & TLB_GLOBAL && !tlb->use_global)
		others_are_stale(tlb);
	if (nr_pages > TLB_FLUSH_CEILING)
		flush_space(tlb);
	else
		flush_pages(tlb, va, nr_pages, how);
}

static void forget(struct tlb *tlb, u32 space)
{
	for (unsigned int i = 0; i < TLB_ASIDS; i++)
		if (tlb->asids[i].space == space)
			tlb->asids[i].stale = STALE_BOTH;
}

void tlb_shootdown(struct tlb *const *cpus, unsigned int nr, unsigned int from, u64 va,
		   u64 nr_pages, unsigned int how)
{
	struct tlb *self;
	u32 space;

	KMM_BUG_ON(from >= nr, "CPU %u of %u", from, nr);
	self = cpus[from];
	space = self->asids[self->asid].space;
	self->shootdowns++;
	for (unsigned int i = 0; i < nr; i++) {
		if (i != from && !(how & TLB_GLOBAL) && !runs(cpus[i], space)) {
			forget(cpus[i], space);
			continue;
		}
		if (i != from) {
			self->ipis_sent++;
			cpus[i]->ipis_received++;
		}
		flush(cpus[i], va, nr_pages, how);
	}
}

/* SPDX-License-Identifier: MIT */
/*
 * What a CPU's stacks do besides push and pop (virt.h): which larger area serves, and what goes to the
 * machine's lists when the CPU holds too much.
 *
 * Locks: a stack is its CPU's own, or idle and under slots_lock; the lists need virt->lock.
 */
#include "base/bits.h"
#include "virt/virt.h"

/* The first stack from bin on that is not empty; VMAP_BINS: none. */
static u32 next_filled(const struct virt_cpu *vcpu, u32 bin)
{
	u64 word;

	if (bin >= VMAP_BINS)
		return VMAP_BINS;
	word = vcpu->filled[bin / 64] & ~0UL << bin % 64;
	for (bin /= 64; !word; word = vcpu->filled[bin])
		if (++bin == VMAP_BINS / 64)
			return VMAP_BINS;
	return bin * 64 + __ffs(word);
}

struct vmap_area *vmap_stack_pop_larger(struct virt_cpu *vcpu, unsigned int nr_pages,
					unsigned int most)
{
	u32 bin = next_filled(vcpu, nr_pages);

	return bin < VMAP_BINS && bin < most ? vmap_stack_pop(vcpu, bin) : NULL;
}

static u32 depth(const struct virt_cpu *vcpu, u32 bin)
{
	u32 nr = 0;

	for (const struct vmap_area *area = vcpu->stack[bin]; area; area = area->next)
		nr++;
	return nr;
}

/* All of a stack but the topmost `keep` go to the lists, the longest freed first. */
static void flush_locked(struct virt *virt, struct virt_cpu *vcpu, u32 bin, u32 keep)
{
	struct vmap_area *kept = NULL, *reversed = NULL, *area;

	for (; keep && vcpu->stack[bin]; keep--) {
		area = vmap_stack_pop(vcpu, bin);
		area->next = kept;
		kept = area;
	}
	while ((area = vmap_stack_pop(vcpu, bin))) {
		area->next = reversed;
		reversed = area;
	}
	for (; reversed; reversed = area) {
		area = reversed->next;
		vmap_lazy_add_locked(virt, reversed);
	}
	for (; kept; kept = area) {
		area = kept->next;
		vmap_stack_push(virt, vcpu, kept);
	}
}

static bool holds_much(const struct virt *virt, const struct virt_cpu *vcpu)
{
	return vcpu->nr_pages > virt->cpu_pages / 4 * 3 ||
	       vcpu->nr_mappings > virt->cpu_mappings / 4 * 3;
}

void vmap_stacks_shrink_locked(struct virt *virt, struct virt_cpu *vcpu, u32 bin)
{
	flush_locked(virt, vcpu, bin, depth(vcpu, bin) / 2);
	while (holds_much(virt, vcpu)) {
		u32 other = next_filled(vcpu, vcpu->flush_bin);

		if (other == VMAP_BINS)
			other = next_filled(vcpu, 0);
		if (other == VMAP_BINS)
			return;
		flush_locked(virt, vcpu, other, 0);
		vcpu->flush_bin = other + 1;
	}
}

void vmap_stacks_flush_locked(struct virt *virt, struct virt_cpu *vcpu)
{
	for (u32 bin = 0; (bin = next_filled(vcpu, bin)) < VMAP_BINS; bin++)
		flush_locked(virt, vcpu, bin, 0);
}

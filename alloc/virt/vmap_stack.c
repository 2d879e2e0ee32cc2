/* SPDX-License-Identifier: MIT */
/*
 * What a CPU's stacks do besides push and pop (virt.h): how much it may hold, which larger area serves,
 * and what goes to the machine's lists when the CPU holds too much.
 *
 * A CPU may hold nothing at first. When it comes to its bound it may hold twice as much from then on, as
 * long as something is left of what is there for all, up to a share, which is smaller where more CPUs
 * hold something than there are shares. It gives all of that up when it is flushed; so what an idle one
 * has comes back when something runs out, or its slot is drained. What a live thread may hold stays its
 * own until then, though shares are smaller meanwhile; so one that comes late may get nothing, and uses
 * the lists. After a fork what other threads had stays with their slots, which are owned for ever in the
 * child.
 *
 * Locks: a stack is its CPU's own, or idle and under slots_lock; the lists and what CPUs may hold need
 * virt->lock.
 */
#include "base/bits.h"
#include "virt/virt.h"

/* How much a CPU gets at first, as a part of the share it can have. */
#define FIRST_PART 16

static bool can_raise(u32 may, u32 least, u32 most, u32 left)
{
	return least <= may || (least <= most && least - may <= left);
}

/* Let *may be `least` or more out of *left, up to `most`. False, with nothing done, if it cannot be. */
static bool raise(u32 *may, u32 least, u32 most, u32 *left)
{
	u32 wish = min_t(u32, most, max_t(u32, max_t(u32, 2 * *may, least), most / FIRST_PART));
	u32 more;

	if (least <= *may)
		return true;
	if (!can_raise(*may, least, most, *left))
		return false;
	more = min_t(u32, wish - *may, *left);
	WRITE_ONCE(*left, *left - more);
	WRITE_ONCE(*may, *may + more);
	return true;
}

/* The share of one size for each CPU that holds anything, this one included. */
static u32 share_of(const struct virt *virt, const struct virt_cpu *vcpu, u32 size)
{
	u32 nr_holders = virt->nr_holders + !vcpu->may.mappings;

	return nr_holders <= virt->nr_shares ? size
					     : (u32)((u64)size * virt->nr_shares / nr_holders);
}

bool vmap_hold_more_locked(struct virt *virt, struct virt_cpu *vcpu, u32 nr_pages, u32 nr_mappings)
{
	u32 most_pages = share_of(virt, vcpu, virt->cpu_pages);
	u32 most_mappings = share_of(virt, vcpu, virt->cpu_mappings);
	struct vmap_share *may = &vcpu->may, *left = &virt->left;
	bool held = may->mappings;

	nr_pages += vcpu->nr_pages;
	nr_mappings += vcpu->nr_mappings;
	/* One is of no use without the other. */
	if (!can_raise(may->pages, nr_pages, most_pages, left->pages) ||
	    !can_raise(may->mappings, nr_mappings, most_mappings, left->mappings))
		return false;
	raise(&may->pages, nr_pages, most_pages, &left->pages);
	raise(&may->mappings, nr_mappings, most_mappings, &left->mappings);
	virt->nr_holders += !held && may->mappings;
	return true;
}

bool vmap_slack_more_locked(struct virt *virt, struct virt_cpu *vcpu, u32 nr_pages)
{
	s64 least = vcpu->nr_slack_pages + nr_pages;

	return least <= vcpu->may.slack_pages || raise(&vcpu->may.slack_pages, (u32)least,
						       virt->slack_pages, &virt->left.slack_pages);
}

/* The same, which takes the lock only if there is something to be had. */
static bool slack_more(struct virt *virt, struct virt_cpu *vcpu, u32 nr_pages)
{
	s64 least = vcpu->nr_slack_pages + nr_pages;
	bool enough = least <= vcpu->may.slack_pages;

	if (!enough && least <= virt->slack_pages &&
	    least - vcpu->may.slack_pages <= READ_ONCE(virt->left.slack_pages)) {
		lock_acquire(&virt->lock);
		enough = vmap_slack_more_locked(virt, vcpu, nr_pages);
		lock_release(&virt->lock);
	}
	return enough;
}

bool vmap_stack_push_locked(struct virt *virt, struct virt_cpu *vcpu, struct vmap_area *area)
{
	return vmap_stack_push(vcpu, area) ||
	       (vmap_hold_more_locked(virt, vcpu, area->nr_pages, vmap_area_holds(area)) &&
		vmap_stack_push(vcpu, area));
}

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

struct vmap_area *vmap_stack_pop_larger(struct virt *virt, struct virt_cpu *vcpu,
					unsigned int nr_pages, unsigned int most)
{
	u32 bin = next_filled(vcpu, nr_pages);

	return bin < VMAP_BINS && bin < most && slack_more(virt, vcpu, bin + 1 - nr_pages)
		       ? vmap_stack_pop(vcpu, bin)
		       : NULL;
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
		vmap_stack_push(vcpu, kept);
	}
}

static bool holds_much(const struct virt_cpu *vcpu)
{
	return vcpu->nr_pages > vcpu->may.pages / 4 * 3 ||
	       vcpu->nr_mappings > vcpu->may.mappings / 4 * 3;
}

void vmap_stacks_shrink_locked(struct virt *virt, struct virt_cpu *vcpu, u32 bin)
{
	flush_locked(virt, vcpu, bin, depth(vcpu, bin) / 2);
	while (holds_much(vcpu)) {
		u32 other = next_filled(vcpu, vcpu->flush_bin);

		if (other == VMAP_BINS)
			other = next_filled(vcpu, 0);
		if (other == VMAP_BINS)
			return;
		flush_locked(virt, vcpu, other, 0);
		vcpu->flush_bin = other + 1;
	}
}

/* What is out of slack that was given out by CPUs that were flushed since; some of it others took back. */
static u32 slack_out(const struct virt *virt)
{
	return (u32)max_t(s64, 0, virt->nr_slack_pages);
}

/* Slack that is out stays accounted for, but not to this CPU: the areas may be freed on another. */
static void give_up_locked(struct virt *virt, struct virt_cpu *vcpu)
{
	struct vmap_share *may = &vcpu->may;
	u32 left = virt->left.slack_pages + may->slack_pages + slack_out(virt);

	virt->nr_holders -= may->mappings != 0;
	virt->left.pages += may->pages;
	virt->left.mappings += may->mappings;
	virt->nr_slack_pages += vcpu->nr_slack_pages;
	WRITE_ONCE(vcpu->nr_slack_pages, 0);
	WRITE_ONCE(virt->left.slack_pages, left - slack_out(virt));
	*may = (struct vmap_share){0};
}

void vmap_stacks_flush(struct virt *virt, struct virt_cpu *vcpu)
{
	lock_acquire(&virt->lock);
	for (u32 bin = 0; (bin = next_filled(vcpu, bin)) < VMAP_BINS; bin++)
		flush_locked(virt, vcpu, bin, 0);
	give_up_locked(virt, vcpu);
	lock_release(&virt->lock);
}

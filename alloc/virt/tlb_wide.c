/* SPDX-License-Identifier: MIT */
/*
 * Wide sets, too many slots to search at each miss: chains find a tag, a queue finds the oldest.
 *
 *	heads[hash] -> slot -> next[slot] -> ... -> the number of slots
 *
 *	order, of a set:  | taken so far | at: the oldest, then by age, as of sorted_at |
 *
 * The queue is a set's slots sorted by stamp at some time. A slot in it that has been touched
 * since is passed over; one that has not is older than all that was touched, so it is the oldest
 * there is. When the queue is used up it is sorted anew, which costs one pass where slots were
 * replaced in turn.
 */
#include <errno.h>
#include <stdlib.h>

#include "virt/tlb_array.h"

struct tlb_wide_queue {
	u32 at;
	u32 sorted_at; /* stamps up to this were there when it was sorted */
};

#define MIN_HEADS_BITS 4U
#define MAX_HEADS_BITS 11U

struct tlb_wide {
	u16 *heads;		       /* [hash of a page number] */
	u16 *next;		       /* [slot] */
	u16 *order;		       /* [slot]: of each set in its place */
	struct tlb_wide_queue *queues; /* [set] */
	u8 heads_shift;
};

static inline u16 *head_of(const struct tlb_wide *wide, u64 number)
{
	return &wide->heads[tlb_hash(number) >> wide->heads_shift];
}

int tlb_wide_init(struct tlb_array *array)
{
	u32 nr_slots = array->nr_sets * array->stride;
	struct tlb_wide *wide = tlb_zeroed(sizeof(*wide));
	u32 bits = MIN_HEADS_BITS;

	array->wide = wide;
	if (!wide)
		return -ENOMEM;
	while (bits < MAX_HEADS_BITS && 1U << bits < 8 * nr_slots)
		bits++;
	wide->heads_shift = (u8)(64 - bits);
	wide->heads = tlb_zeroed(sizeof(*wide->heads) << bits);
	wide->next = tlb_zeroed(nr_slots * sizeof(*wide->next));
	wide->order = tlb_zeroed(nr_slots * sizeof(*wide->order));
	wide->queues = tlb_zeroed(array->nr_sets * sizeof(*wide->queues));
	if (!wide->heads || !wide->next || !wide->order || !wide->queues)
		return -ENOMEM;
	for (u32 slot = 0; slot < nr_slots; slot++)
		wide->order[slot] = (u16)slot;
	for (u64 head = 0; head < 1UL << bits; head++)
		wide->heads[head] = (u16)nr_slots;
	tlb_wide_reorder(array);
	return 0;
}

void tlb_wide_free(struct tlb_array *array)
{
	if (!array->wide)
		return;
	free(array->wide->heads);
	free(array->wide->next);
	free(array->wide->order);
	free(array->wide->queues);
	free(array->wide);
}

u32 tlb_wide_find(const struct tlb_array *array, u64 tag, u64 number)
{
	u32 end = array->nr_sets * array->stride, slot = *head_of(array->wide, number);

	while (slot != end && array->tags[slot] != tag)
		slot = array->wide->next[slot];
	return slot == end ? TLB_NO_SLOT : slot;
}

KMM_ALWAYS_INLINE void unlink_slot(struct tlb_array *array, u32 slot)
{
	u16 *link = head_of(array->wide, array->tags[slot] & TLB_NUMBER_BITS);

	while (*link != slot)
		link = &array->wide->next[*link];
	*link = array->wide->next[slot];
}

void tlb_wide_unlink(struct tlb_array *array, u32 slot)
{
	unlink_slot(array, slot);
}

void tlb_wide_reorder(struct tlb_array *array)
{
	for (u32 set = 0; set < array->nr_sets; set++)
		array->wide->queues[set].at = array->ways;
}

/* By insertion: the order is mostly what it was. */
static void sort(const struct tlb_array *array, u16 *order)
{
	u32 latest = array->stamps[order[0]];

	for (u32 i = 1; i < array->ways; i++) {
		u16 slot = order[i];
		u32 stamp = array->stamps[slot], to = i;

		if (likely(stamp >= latest)) {
			latest = stamp;
			continue;
		}
		for (; to && array->stamps[order[to - 1]] > stamp; to--)
			order[to] = order[to - 1];
		order[to] = slot;
	}
}

static inline u32 oldest(struct tlb_array *array, u32 first)
{
	/* Mostly there is one set only: spare it the division. */
	u32 set = first ? first / array->stride : 0;
	struct tlb_wide_queue *queue = &array->wide->queues[set];
	u16 *order = array->wide->order + first;

	for (;;) {
		while (queue->at < array->ways) {
			u32 slot = order[queue->at++];

			if (array->stamps[slot] <= queue->sorted_at)
				return slot;
		}
		sort(array, order);
		queue->at = 0;
		/* Nothing has the clock's own time yet: it is the fill's. */
		queue->sorted_at = array->clock - 1;
	}
}

u32 tlb_wide_replace(struct tlb_array *array, u32 first, u64 tag, u64 number)
{
	u32 slot = oldest(array, first);
	u16 *head = head_of(array->wide, number);

	if (array->tags[slot])
		unlink_slot(array, slot);
	array->tags[slot] = tag;
	array->wide->next[slot] = *head;
	*head = (u16)slot;
	return slot;
}

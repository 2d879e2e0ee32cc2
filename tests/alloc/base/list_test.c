/* SPDX-License-Identifier: MIT */
/* The intrusive list against an array of the same moves. */
#include "base/list.h"

#include "tests/tap/tap.h"

#define NR_ITEMS 16

struct item {
	int id;
	struct list_head link;
};

static struct item items[NR_ITEMS];

static void fill(struct list_head *head, int nr)
{
	INIT_LIST_HEAD(head);
	for (int i = 0; i < nr; i++) {
		items[i].id = i;
		list_add_tail(&items[i].link, head);
	}
}

/* Same items in the same order, forwards and backwards. */
static __attribute__((noinline)) void same(struct list_head *head, const int *expected, int nr)
{
	struct list_head *at = head;
	struct item *item;
	int i = 0;

	list_for_each_entry(item, head, link) {
		ok(i < nr && item->id == expected[i], "at %d: %d", i, item->id);
		i++;
	}
	ok_eq(i, nr);
	for (i = nr; i-- > 0;) {
		at = at->prev;
		ok_eq(list_entry(at, struct item, link)->id, expected[i]);
	}
	ok(at->prev == head, "the circle closes");
}

static void an_empty_list_is_its_own_neighbour(void)
{
	struct list_head head = LIST_HEAD_INIT(head);

	ok(list_empty(&head), "static initialiser");
	INIT_LIST_HEAD(&head);
	ok(list_empty(&head), "run-time initialiser");
	same(&head, NULL, 0);
}

static void add_goes_first_and_add_tail_last(void)
{
	struct list_head head;

	fill(&head, 3);
	items[3].id = 3;
	list_add(&items[3].link, &head);
	same(&head, (const int[]){3, 0, 1, 2}, 4);
	ok_eq(list_first_entry(&head, struct item, link)->id, 3);
	ok_eq(list_last_entry(&head, struct item, link)->id, 2);
}

static void the_loop_survives_removal_of_its_entry(void)
{
	struct list_head head;
	struct item *item, *next;

	fill(&head, 6);
	list_for_each_entry_safe(item, next, &head, link) {
		if (item->id % 2 == 0) {
			list_del(&item->link);
			memset(&item->link, 0xff, sizeof(item->link));
		}
	}
	same(&head, (const int[]){1, 3, 5}, 3);
}

static void a_deleted_and_initialised_node_can_be_deleted_again(void)
{
	struct list_head head;

	fill(&head, 2);
	list_del_init(&items[0].link);
	ok(list_empty(&items[0].link), "alone");
	list_del_init(&items[0].link);
	same(&head, (const int[]){1}, 1);
}

static void random_moves_match_an_array(void)
{
	struct list_head head;
	int order[NR_ITEMS];
	unsigned long state = tap_seed() | 1;

	fill(&head, NR_ITEMS);
	for (int i = 0; i < NR_ITEMS; i++)
		order[i] = i;
	for (int step = 0; step < 2000; step++) {
		int from = (int)(tap_random(&state) % NR_ITEMS), id = order[from];

		memmove(order + from, order + from + 1,
			sizeof(int) * (size_t)(NR_ITEMS - 1 - from));
		if (tap_random(&state) & 1) {
			list_move_tail(&items[id].link, &head);
			order[NR_ITEMS - 1] = id;
		} else {
			list_move(&items[id].link, &head);
			memmove(order + 1, order, sizeof(int) * (NR_ITEMS - 1));
			order[0] = id;
		}
		same(&head, order, NR_ITEMS);
	}
}

int main(void)
{
	RUN(an_empty_list_is_its_own_neighbour);
	RUN(add_goes_first_and_add_tail_last);
	RUN(the_loop_survives_removal_of_its_entry);
	RUN(a_deleted_and_initialised_node_can_be_deleted_again);
	RUN(random_moves_match_an_array);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* Intrusive, circular, doubly linked list: the head is a node of its own, so no operation has a
 * special case. */
#ifndef KMM_BASE_LIST_H
#define KMM_BASE_LIST_H

#include "base/compiler.h"
#include "base/types.h"

struct list_head {
	struct list_head *next, *prev;
};

#define LIST_HEAD_INIT(name)                                                                       \
	{                                                                                          \
		&(name), &(name)                                                                   \
	}

static inline void INIT_LIST_HEAD(struct list_head *head)
{
	head->next = head;
	head->prev = head;
}

static inline bool list_empty(const struct list_head *head)
{
	return head->next == head;
}

static inline void list_insert_between(struct list_head *node, struct list_head *prev,
				       struct list_head *next)
{
	node->prev = prev;
	node->next = next;
	prev->next = node;
	next->prev = node;
}

static inline void list_add(struct list_head *node, struct list_head *head)
{
	list_insert_between(node, head, head->next);
}

static inline void list_add_tail(struct list_head *node, struct list_head *head)
{
	list_insert_between(node, head->prev, head);
}

static inline void list_del(struct list_head *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
}

static inline void list_del_init(struct list_head *node)
{
	list_del(node);
	INIT_LIST_HEAD(node);
}

static inline void list_move(struct list_head *node, struct list_head *head)
{
	list_del(node);
	list_add(node, head);
}

static inline void list_move_tail(struct list_head *node, struct list_head *head)
{
	list_del(node);
	list_add_tail(node, head);
}

#define list_entry(ptr, type, member)	     container_of(ptr, type, member)
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)
#define list_last_entry(head, type, member)  list_entry((head)->prev, type, member)

/* The link of an entry, by arithmetic: at the end of a walk `entry` is not one, and may not be
 * looked into. */
#define list_link(entry, member)                                                                   \
	((struct list_head *)((char *)(entry) + offsetof(__typeof__(*(entry)), member)))

#define list_for_each_entry(pos, head, member)                                                     \
	for (pos = list_first_entry(head, __typeof__(*pos), member);                               \
	     list_link(pos, member) != (head);                                                     \
	     pos = list_first_entry(&pos->member, __typeof__(*pos), member))

/* The entry may be removed, or freed, inside the loop. */
#define list_for_each_entry_safe(pos, tmp, head, member)                                           \
	for (pos = list_first_entry(head, __typeof__(*pos), member),                               \
	    tmp = list_first_entry(list_link(pos, member), __typeof__(*pos), member);              \
	     list_link(pos, member) != (head);                                                     \
	     pos = tmp, tmp = list_first_entry(list_link(tmp, member), __typeof__(*tmp), member))

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What a kernel said of its free memory: the blocks of its lists, in their order, and the types of its
 * pageblocks, before a replay, at its end and when all was freed. From a run or from a file of its lines.
 */
#ifndef KMM_TESTS_LINUX_RECORDING_H
#define KMM_TESTS_LINUX_RECORDING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/types.h"
#include "phys/page.h"

struct linux_line;

enum when { BEFORE, END, DRAINED, NR_WHENS };
extern const char *const when_names[NR_WHENS];

struct block {
	u64 pfn;
	u8 order, type;
};

struct blocks {
	struct block *blocks;
	size_t nr;
};

/* What a kernel said of one trace. */
struct recording {
	char release[64];
	bool made_up; /* page_events_make, in the fixture's own memory */
	struct blocks free[NR_WHENS], pageblocks[NR_WHENS];
	/* Of all of it, when it is whole: */
	u64 base; /* pfn 0 in the tables here */
	u32 nr_pages;
	unsigned int type_order;
	u8 *types[NR_WHENS];
};

/* One line of the kernel's; r: a struct recording, zeroed at first. 0, or -EINVAL. */
int recording_take(const struct linux_line *line, void *r);
/* All lines are there: make the tables. false: there is nothing in it. */
bool recording_complete(struct recording *r);
void recording_free(struct recording *r);

/* Zones begin and end with memory that is never free. */
bool recording_has(const struct recording *r, const struct block *block);
void count_blocks(const struct blocks *blocks, unsigned long nr[NR_PAGE_ORDERS]);

/* As a file of lines; what is wrong with it is a failed test. */
void recording_read(struct recording *r, const char *path);
void recording_write(const struct recording *r, const char *path);

#endif

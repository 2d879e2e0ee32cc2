/* SPDX-License-Identifier: MIT */
/*
 * Every named lock of a machine with its counters, like the kernel's /proc/lock_stat cut down to
 * what is counted here. Locks of one name (a zone's on each node, a cache's on each node) are one
 * line, summed.
 *
 * The counters are read while others may be counting: a line may be a little behind, never torn.
 */
#include "report/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "phys/phys.h"
#include "slab/slab.h"
#include "virt/virt.h"

struct lock_sum {
	char *name; /* a copy: a cache may end, and its name with it, before it is printed */
	struct lock_stats stats;
};

struct lock_sums {
	struct lock_sum *sums;
	size_t nr, room;
	bool out_of_memory;
};

void for_each_lock(struct kmm *machine,
		   void (*visit)(const char *, const struct lock_stats *, void *), void *arg)
{
	visit(machine->slots_lock.name, &machine->slots_lock.stats, arg);
	phys_for_each_lock(machine, visit, arg);
	slab_for_each_lock(machine, visit, arg);
	virt_for_each_lock(machine, visit, arg);
}

static struct lock_sum *find_sum(struct lock_sums *all, const char *name)
{
	struct lock_sum *grown;
	char *copy;

	for (size_t i = 0; i < all->nr; i++)
		if (!strcmp(all->sums[i].name, name))
			return &all->sums[i];
	if (all->nr == all->room) {
		all->room = all->room ? all->room * 2 : 32;
		grown = realloc(all->sums, all->room * sizeof(*grown));
		if (!grown)
			return NULL;
		all->sums = grown;
	}
	copy = strdup(name);
	if (!copy)
		return NULL;
	all->sums[all->nr] = (struct lock_sum){.name = copy};
	return &all->sums[all->nr++];
}

static void add_lock(const char *name, const struct lock_stats *stats, void *arg)
{
	struct lock_sums *all = arg;
	struct lock_sum *sum = all->out_of_memory ? NULL : find_sum(all, name);

	if (!sum) {
		all->out_of_memory = true;
		return;
	}
	sum->stats.acquired += READ_ONCE(stats->acquired);
	sum->stats.contended += READ_ONCE(stats->contended);
	sum->stats.wait_cycles += READ_ONCE(stats->wait_cycles);
}

int show_locks(struct kmm *machine, FILE *out)
{
	struct lock_sums all = {0};

	for_each_lock(machine, add_lock, &all);
	fprintf(out, "%-24s %14s %14s %16s\n", "lock", "acquired", "contended", "wait_cycles");
	for (size_t i = 0; i < all.nr; i++) {
		fprintf(out, "%-24s %14llu %14llu %16llu\n", all.sums[i].name,
			(unsigned long long)all.sums[i].stats.acquired,
			(unsigned long long)all.sums[i].stats.contended,
			(unsigned long long)all.sums[i].stats.wait_cycles);
		free(all.sums[i].name);
	}
	free(all.sums);
	if (all.out_of_memory)
		return -ENOMEM;
	return ferror(out) ? -EIO : 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * arch/topology.h once more, for a library that may not have hwloc in it: hwloc calls malloc, brings
 * libraries of its own, and takes longer to look around than many programs run.
 *
 * CPUs are those that the process may run on; nodes those that it may have memory from, which one
 * system call says. With a single one, as nearly always, that is all. Else /sys/devices/system/node
 * says which CPUs are near each node, and how far they are from each other.
 *
 * No locks; constant once loaded. One topology a process, so it lies in static memory.
 */
#include "arch/topology_tables.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/compiler.h"

#define MAX_OS_CPUS  8192
#define MAX_OS_NODES 1024 /* the kernel wants room for all there could be */

#define MPOL_PREFERRED	    1
#define MPOL_F_MEMS_ALLOWED (1 << 2)

#define DISTANCE_LOCAL 10
#define DISTANCE_FAR   20

static struct topology flat;

#define NODES_FOLDER "/sys/devices/system/node/"

/* A file below NODES_FOLDER, as text; false if it cannot be read. */
static bool read_text(const char *name, char *text, size_t size)
{
	char path[96];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), NODES_FOLDER "%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, size - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static bool read_node_text(int os_node, const char *name, char *text, size_t size)
{
	char path[48];

	snprintf(path, sizeof(path), "node%d/%s", os_node, name);
	return read_text(path, text, size);
}

/* The next stretch of a list such as 0-3,8,10-11, which *text moves behind; false at the end. */
static bool list_next(char **text, long *first, long *last)
{
	if (**text < '0' || **text > '9')
		return false;
	*first = *last = strtol(*text, text, 10);
	if (**text == '-')
		*last = strtol(*text + 1, text, 10);
	*text += **text == ',';
	return true;
}

/* The CPUs of a list are near node nid. */
static void take_cpu_list(struct topology *topo, int nid, char *text)
{
	long first, last;

	while (list_next(&text, &first, &last))
		for (unsigned int cpu = 0; cpu < topo->nr_cpus; cpu++)
			if (topo->cpus[cpu].os_index >= first && topo->cpus[cpu].os_index <= last)
				topo->cpus[cpu].nid = nid;
}

/* How far it is from node nid to the kernel's node os_node, which may be none of ours. */
static void take_distance(struct topology *topo, int nid, long os_node, long distance)
{
	for (unsigned int to = 0; to < topo->nr_nodes; to++)
		if (topo->nodes[to].os_index == os_node && distance > 0)
			topo->distance[nid][to] = (u16)min_t(long, distance, UINT16_MAX);
}

/* The kernel's line has a distance for each node that it has online, in ascending order; their numbers
 * may have holes, and ours may be fewer. */
static void take_distances(struct topology *topo, int nid, char *text, char *online)
{
	long first, last;

	while (list_next(&online, &first, &last)) {
		for (long os_node = first; os_node <= last; os_node++) {
			char *end = text;
			long distance = strtol(text, &end, 10);

			if (end == text)
				return;
			take_distance(topo, nid, os_node, distance);
			text = end;
		}
	}
}

static void load_cpus(struct topology *topo)
{
	static cpu_set_t mask[MAX_OS_CPUS / CPU_SETSIZE];

	/* Returns how many bytes the kernel has written, unlike sched_getaffinity(). */
	long bytes = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);

	for (int os = 0; os < bytes * 8 && topo->nr_cpus < KMM_MAX_CPUS; os++)
		if (CPU_ISSET_S(os, sizeof(mask), mask))
			topo->cpus[topo->nr_cpus++] = (struct topology_cpu){.os_index = os};
	if (!topo->nr_cpus)
		topo->nr_cpus = 1;
}

static void load_nodes(struct topology *topo)
{
	unsigned long mask[MAX_OS_NODES / 64] = {0};

	if (!syscall(SYS_get_mempolicy, NULL, mask, MAX_OS_NODES, NULL, MPOL_F_MEMS_ALLOWED))
		for (int word = 0; word < MAX_OS_NODES / 64; word++)
			for (; mask[word] && topo->nr_nodes < KMM_MAX_NODES;
			     mask[word] &= mask[word] - 1)
				topo->nodes[topo->nr_nodes++].os_index =
					word * 64 + (int)__ffs(mask[word]);
	if (!topo->nr_nodes)
		topo->nr_nodes = 1;
}

static void load_places(struct topology *topo)
{
	char text[4096], online[4096];

	for (unsigned int from = 0; from < topo->nr_nodes; from++)
		for (unsigned int to = 0; to < topo->nr_nodes; to++)
			topo->distance[from][to] = from == to ? DISTANCE_LOCAL : DISTANCE_FAR;
	if (topo->nr_nodes == 1)
		return;
	if (!read_text("online", online, sizeof(online)))
		online[0] = '\0';
	for (unsigned int nid = 0; nid < topo->nr_nodes; nid++) {
		int os_node = topo->nodes[nid].os_index;

		if (read_node_text(os_node, "cpulist", text, sizeof(text)))
			take_cpu_list(topo, (int)nid, text);
		if (read_node_text(os_node, "distance", text, sizeof(text)))
			take_distances(topo, (int)nid, text, online);
	}
}

int topology_load(const char *synthetic, const char *xml, struct topology **out, char *error,
		  size_t error_size)
{
	struct topology *topo = &flat;

	*out = NULL;
	if (synthetic || xml) {
		snprintf(error, error_size, "topology: there is no hwloc here");
		return -EINVAL;
	}
	memset(topo->nodes, 0, sizeof(topo->nodes));
	topo->nr_nodes = topo->nr_cpus = 0;
	load_cpus(topo);
	load_nodes(topo);
	load_places(topo);
	for (unsigned int cpu = 0; cpu < topo->nr_cpus; cpu++)
		topo->nodes[topo->cpus[cpu].nid].nr_cpus++;
	*out = topo;
	return 0;
}

void topology_free(struct topology *topo)
{
	(void)topo;
}

int topology_bind_memory(const struct topology *topo, void *addr, size_t size, int nid)
{
	unsigned long mask[MAX_OS_NODES / 64] = {0};
	int os;

	if (nid < 0 || (unsigned int)nid >= topo->nr_nodes)
		return -EINVAL;
	if (topo->nr_nodes == 1)
		return 1;
	os = topo->nodes[nid].os_index;
	mask[os / 64] |= 1UL << os % 64;
	/* Not MPOL_BIND, under which the kernel kills a process for want of memory on one node while
	 * others have some. */
	if (!syscall(SYS_mbind, addr, size, MPOL_PREFERRED, mask, MAX_OS_NODES, 0))
		return 0;
	return errno == EPERM || errno == ENOSYS ? 1 : -errno;
}

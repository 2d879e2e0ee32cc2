/* SPDX-License-Identifier: MIT */
/*
 * What libkmm-malloc.so makes of the kernel's nodes (alloc/malloc/topology.c), on hosts that are made up:
 * its system calls and the files that it opens are answered here.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/topology_tables.h"
#include "tests/tap/tap.h"

struct file {
	const char *name, *text;
};

/* A host: CPUs 0 .. nr_cpus - 1, nodes to have memory from, and files of sysfs. */
struct host {
	int nr_cpus;
	unsigned long nodes;
	struct file files[12];
};

static const struct host *host;
static bool mbind_refused;
static unsigned long bound_to;

int __wrap_open(const char *path, int flags, ...);
long __wrap_syscall(long number, ...);

int __wrap_open(const char *path, int flags, ...)
{
	static const char folder[] = "/sys/devices/system/node/";
	int fd;

	(void)flags;
	for (const struct file *file = host->files; file->name; file++) {
		if (strncmp(path, folder, strlen(folder)) ||
		    strcmp(path + strlen(folder), file->name))
			continue;
		fd = memfd_create(file->name, 0);
		if (fd < 0 || write(fd, file->text, strlen(file->text)) < 0 ||
		    lseek(fd, 0, SEEK_SET))
			return -1;
		return fd;
	}
	errno = ENOENT;
	return -1;
}

long __wrap_syscall(long number, ...)
{
	unsigned long arg[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < (number == SYS_sched_getaffinity ? 3
			     : number == SYS_mbind	     ? 6
							     : 5);
	     i++)
		arg[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (number == SYS_sched_getaffinity) {
		memset((void *)arg[2], 0, 8);
		for (int cpu = 0; cpu < host->nr_cpus; cpu++)
			CPU_SET_S((size_t)cpu, 8, (cpu_set_t *)arg[2]);
		return 8;
	}
	if (number == SYS_get_mempolicy) {
		*(unsigned long *)arg[1] = host->nodes;
		return 0;
	}
	if (number == SYS_mbind && !mbind_refused) {
		bound_to = *(unsigned long *)arg[3];
		return 0;
	}
	errno = EPERM;
	return -1;
}

static struct topology *load(const struct host *of)
{
	struct topology *topo;
	char error[100];

	host = of;
	ok_eq(topology_load(NULL, NULL, &topo, error, sizeof(error)), 0);
	return topo;
}

/* Nodes 0, 2 and 5 of the kernel's; the process may not have memory of 2. */
static const struct host sparse = {
	.nr_cpus = 6,
	.nodes = 1UL << 0 | 1UL << 5,
	.files = {{"online", "0,2,5\n"},
		  {"node0/cpulist", "0-1\n"},
		  {"node2/cpulist", "2-3\n"},
		  {"node5/cpulist", "4,5\n"},
		  {"node0/distance", "10 12 31\n"},
		  {"node2/distance", "12 10 22\n"},
		  {"node5/distance", "32 22 10\n"}},
};

static void distances_are_of_the_nodes_that_are_online(void)
{
	const struct topology *topo = load(&sparse);

	ok_eq(topology_nr_nodes(topo), 2);
	ok_eq(topology_node(topo, 0)->os_index, 0);
	ok_eq(topology_node(topo, 1)->os_index, 5);
	ok_eq(topology_distance(topo, 0, 0), 10);
	ok_eq(topology_distance(topo, 0, 1), 31);
	ok_eq(topology_distance(topo, 1, 0), 32);
	ok_eq(topology_distance(topo, 1, 1), 10);
}

static void cpus_are_near_the_node_that_lists_them(void)
{
	static const int nids[] = {0, 0, 0, 0, 1, 1}; /* 2 and 3 are near none that we have */
	const struct topology *topo = load(&sparse);

	ok_eq(topology_nr_cpus(topo), 6);
	for (unsigned int cpu = 0; cpu < 6; cpu++)
		ok_eq(topology_cpu(topo, cpu)->nid, nids[cpu]);
	ok_eq(topology_node(topo, 0)->nr_cpus, 4);
	ok_eq(topology_node(topo, 1)->nr_cpus, 2);
}

static void a_host_without_files_has_the_usual_distances(void)
{
	static const struct host bare = {.nr_cpus = 2, .nodes = 1UL << 1 | 1UL << 3};
	static const struct host no_online = {.nr_cpus = 2,
					      .nodes = 1UL << 1 | 1UL << 3,
					      .files = {{"node1/distance", "10 40\n"}}};
	static const struct host cut_short = {.nr_cpus = 2,
					      .nodes = 1UL << 1 | 1UL << 3,
					      .files = {{"online", "1-3\n"},
							{"node1/distance", "10 15\n"},
							{"node3/distance", "x\n"}}};
	const struct host *const hosts[] = {&bare, &no_online, &cut_short};

	for (size_t i = 0; i < 3; i++) {
		const struct topology *topo = load(hosts[i]);

		ok_eq(topology_nr_nodes(topo), 2);
		ok_eq(topology_distance(topo, 0, 0), 10);
		ok_eq(topology_distance(topo, 0, 1), 20);
		ok_eq(topology_distance(topo, 1, 0), 20);
		ok_eq(topology_distance(topo, 1, 1), 10);
	}
}

static void one_node_needs_no_files(void)
{
	static const struct host single = {
		.nr_cpus = 3,
		.nodes = 1UL << 4,
		.files = {{"online", "0-4\n"}, {"node4/distance", "99 99 99 99 99\n"}}};
	const struct topology *topo = load(&single);

	ok_eq(topology_nr_nodes(topo), 1);
	ok_eq(topology_nr_cpus(topo), 3);
	ok_eq(topology_distance(topo, 0, 0), 10);
	ok_eq(topology_bind_memory(topo, NULL, 4096, 0), 1);
}

static void memory_is_bound_to_the_kernels_number(void)
{
	const struct topology *topo = load(&sparse);

	ok_eq(topology_bind_memory(topo, NULL, 4096, 1), 0);
	ok_eq(bound_to, 1UL << 5);
	ok_eq(topology_bind_memory(topo, NULL, 4096, 2), -EINVAL);
	mbind_refused = true;
	ok_eq(topology_bind_memory(topo, NULL, 4096, 0), 1);
	mbind_refused = false;
}

int main(void)
{
	RUN(distances_are_of_the_nodes_that_are_online);
	RUN(cpus_are_near_the_node_that_lists_them);
	RUN(a_host_without_files_has_the_usual_distances);
	RUN(one_node_needs_no_files);
	RUN(memory_is_bound_to_the_kernels_number);
	return done();
}

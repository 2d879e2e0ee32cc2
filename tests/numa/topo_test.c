/* SPDX-License-Identifier: MIT */
/* On a machine with nodes: kmm's topology, and what `kmm topo' prints of it, against sysfs. */
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/numa/guest.h"

static struct topology *load(void)
{
	char why[256];
	struct topology *topo;

	if (topology_load(NULL, NULL, &topo, why, sizeof(why))) {
		printf("Bail out! %s\n", why);
		exit(1);
	}
	return topo;
}

/* Is the CPU in a list like 0-1,4? */
static bool in_list(const char *list, int cpu)
{
	while (*list >= '0' && *list <= '9') {
		char *end;
		long first = strtol(list, &end, 10), last = first;

		if (*end == '-')
			last = strtol(end + 1, &end, 10);
		if (cpu >= first && cpu <= last)
			return true;
		list = *end == ',' ? end + 1 : end;
	}
	return false;
}

static unsigned long long mem_total_kib(const char *meminfo)
{
	const char *at = strstr(meminfo, "MemTotal:");

	return at ? strtoull(at + strlen("MemTotal:"), NULL, 10) : 0;
}

static void nodes_have_the_CPUs_that_the_kernel_gives_them(void)
{
	struct topology *topo = load();
	int nr_cpuless = 0;

	ok(!topology_emulated(topo), "emulated");
	ok(topology_nr_nodes(topo) == 3, "%u nodes", topology_nr_nodes(topo));
	ok(topology_nr_cpus(topo) == 4, "%u CPUs", topology_nr_cpus(topo));
	for (int nid = 0; nid < (int)topology_nr_nodes(topo); nid++) {
		const char *list = node_file(topo, nid, "cpulist");

		for (unsigned int cpu = 0; cpu < topology_nr_cpus(topo); cpu++)
			ok((topology_cpu(topo, cpu)->nid == nid) ==
				   in_list(list, topology_cpu(topo, cpu)->os_index),
			   "CPU %u is on node %d, and the kernel's node %d has %s", cpu,
			   topology_cpu(topo, cpu)->nid, nid, list);
		nr_cpuless += topology_node(topo, nid)->nr_cpus == 0;
	}
	ok_eq(nr_cpuless, 1);
	topology_free(topo);
}

static void nodes_have_the_memory_that_the_kernel_gives_them(void)
{
	struct topology *topo = load();

	for (int nid = 0; nid < (int)topology_nr_nodes(topo); nid++)
		ok_eq(topology_node(topo, nid)->memory_bytes >> 10,
		      mem_total_kib(node_file(topo, nid, "meminfo")));
	topology_free(topo);
}

static void distances_are_the_kernels(void)
{
	struct topology *topo = load();
	int nr_far = 0;

	for (int from = 0; from < (int)topology_nr_nodes(topo); from++) {
		const char *at = node_file(topo, from, "distance");
		char *end;

		/* The kernel's line is in the order of its own numbers. */
		for (int os = 0; os < (int)topology_nr_nodes(topo); os++, at = end) {
			unsigned long want = strtoul(at, &end, 10);

			for (int to = 0; to < (int)topology_nr_nodes(topo); to++)
				if (topology_node(topo, to)->os_index == os)
					ok_eq(topology_distance(topo, from, to), want);
			nr_far += want > 10;
		}
	}
	ok(nr_far == 6, "%d distances above 10", nr_far);
	topology_free(topo);
}

/* Run `kmm topo' on the CPUs this thread may run on. */
static char *kmm_topo(int *status)
{
	static char text[8192];
	size_t n = 0;
	ssize_t got;
	int fds[2];
	pid_t pid;

	if (pipe(fds) || (pid = fork()) < 0) {
		perror("kmm topo");
		exit(1);
	}
	if (!pid) {
		dup2(fds[1], STDOUT_FILENO);
		close(fds[0]);
		close(fds[1]);
		execlp("kmm", "kmm", "topo", (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	while (n < sizeof(text) - 1 && (got = read(fds[0], text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	close(fds[0]);
	waitpid(pid, status, 0);
	return text;
}

static void the_command_prints_nodes_and_distances(void)
{
	struct topology *topo = load();
	int status;
	char *text = kmm_topo(&status);
	char line[128];

	ok(status == 0, "status %d: %s", status, text);
	ok(strstr(text, "CPUs      4\nnodes     3\n"), "%s", text);
	for (int nid = 0; nid < (int)topology_nr_nodes(topo); nid++) {
		const struct topology_node *node = topology_node(topo, nid);
		unsigned long mib = (unsigned long)(node->memory_bytes >> 20);
		int cpu = first_cpu(topo, nid);
		char os[16] = "";

		if (node->os_index != nid)
			snprintf(os, sizeof(os), " (OS %d)", node->os_index);
		if (node->nr_cpus)
			snprintf(line, sizeof(line), "node %d%s: %lu MiB, 2 CPUs: %d-%d\n", nid, os,
				 mib, cpu, cpu + 1);
		else
			snprintf(line, sizeof(line), "node %d%s: %lu MiB, no CPUs\n", nid, os, mib);
		ok(strstr(text, line), "no line '%s' in %s", line, text);
		snprintf(line, sizeof(line), "%5d %5u %5u %5u\n", nid,
			 topology_distance(topo, nid, 0), topology_distance(topo, nid, 1),
			 topology_distance(topo, nid, 2));
		ok(strstr(text, line), "no line '%s' in %s", line, text);
	}
	ok(!strstr(text, "emulated"), "%s", text);
	ok(strstr(text, "MiB simulated"), "no machine could be booted: %s", text);
	topology_free(topo);
}

/* A process that is allowed one node's CPUs has the others' memory, without CPUs. */
static void a_process_on_one_node_keeps_all_memory(void)
{
	cpu_set_t all, node_1;
	int status;
	char *text;

	sched_getaffinity(0, sizeof(all), &all);
	CPU_ZERO(&node_1);
	CPU_SET(2, &node_1);
	CPU_SET(3, &node_1);
	ok_eq(sched_setaffinity(0, sizeof(node_1), &node_1), 0);
	text = kmm_topo(&status);
	sched_setaffinity(0, sizeof(all), &all);
	ok(status == 0, "status %d: %s", status, text);
	ok(strstr(text, "CPUs      2\nnodes     3\n"), "%s", text);
	ok(strstr(text, "2 CPUs: 0-1\n"), "%s", text);
	ok(strstr(strstr(text, "no CPUs") ? strstr(text, "no CPUs") + 1 : "", "no CPUs"), "%s",
	   text);
}

int main(void)
{
	RUN(nodes_have_the_CPUs_that_the_kernel_gives_them);
	RUN(nodes_have_the_memory_that_the_kernel_gives_them);
	RUN(distances_are_the_kernels);
	RUN(the_command_prints_nodes_and_distances);
	RUN(a_process_on_one_node_keeps_all_memory);
	return done();
}

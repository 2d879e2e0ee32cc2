/* SPDX-License-Identifier: MIT */
/*
 * On a machine with nodes: libkmm-malloc.so gives a thread memory of its CPU's node, and of another when
 * that has no more. Nodes are the kernel's numbers; CPUs 0 and 1 are of node 0, CPUs 2 and 3 of node 1,
 * which has less memory than the last test takes.
 */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/malloc/preload.h"

#define PAGE_BYTES 4096UL
#define NR_CPUS	   4
#define NR_SMALL   2000
#define LARGE	   (3UL << 20)
#define PIECE	   (1UL << 20)
#define NR_PIECES  208

static void pin(unsigned int cpu)
{
	cpu_set_t mask;

	CPU_ZERO(&mask);
	CPU_SET(cpu, &mask);
	ok(!sched_setaffinity(0, sizeof(mask), &mask), "CPU %u", cpu);
}

static int node_of(const void *address)
{
	void *page = (void *)((uintptr_t)address & ~(PAGE_BYTES - 1));
	int status = -1;

	ok(!syscall(SYS_move_pages, 0, 1UL, &page, NULL, &status, 0), "move_pages");
	return status;
}

static void check_node(const char *what, const void *address, int nid)
{
	ok(node_of(address) == nid, "%s: on node %d, not %d", what, node_of(address), nid);
}

static void *allocate_pinned(void *arg)
{
	unsigned int cpu = *(unsigned int *)arg;
	static __thread char *objects[NR_SMALL];
	char *large;

	pin(cpu);
	for (size_t i = 0; i < NR_SMALL; i++) {
		objects[i] = malloc(16 + i);
		memset(objects[i], 1, 16 + i);
	}
	for (size_t i = 0; i < NR_SMALL; i += 7)
		check_node("small", objects[i], (int)cpu / 2);
	large = malloc(LARGE);
	memset(large, 1, LARGE);
	for (size_t at = 0; at < LARGE; at += 16 * PAGE_BYTES)
		check_node("large", large + at, (int)cpu / 2);
	free(large);
	for (size_t i = 0; i < NR_SMALL; i++)
		free(objects[i]);
	return NULL;
}

static void a_pinned_thread_has_memory_of_its_node(void)
{
	pthread_t ids[NR_CPUS];
	unsigned int cpus[NR_CPUS];

	for (unsigned int cpu = 0; cpu < NR_CPUS; cpu++) {
		cpus[cpu] = cpu;
		pthread_create(&ids[cpu], NULL, allocate_pinned, &cpus[cpu]);
		pthread_join(ids[cpu], NULL);
	}
}

static void *take_much(void *arg)
{
	static char *pieces[NR_PIECES];
	int nr_on[2] = {0, 0}, *status = arg;

	for (size_t i = 0; i < NR_PIECES; i++) {
		pieces[i] = malloc(PIECE);
		if (!pieces[i]) {
			*status = 2;
			return NULL;
		}
		for (size_t at = 0; at < PIECE; at += PAGE_BYTES)
			pieces[i][at] = 1;
		nr_on[node_of(pieces[i]) == 1]++;
	}
	*status = nr_on[0] && nr_on[1] ? 0 : 3;
	return NULL;
}

/* A process of its own, which may be killed for want of memory; its thread begins on the node. */
static int take_much_there(void)
{
	int status = 4;
	pthread_t id;

	pin(2);
	if (!pthread_create(&id, NULL, take_much, &status))
		pthread_join(id, NULL);
	return status;
}

static void what_the_node_has_not_comes_from_another(void)
{
	pid_t pid = fork();
	int status = 0;

	if (!pid)
		_exit(take_much_there());
	ok(waitpid(pid, &status, 0) == pid, "fork");
	ok(!WIFSIGNALED(status), "killed by signal %d", WTERMSIG(status));
	ok(!WIFEXITED(status) || !WEXITSTATUS(status), "status %d: %s", WEXITSTATUS(status),
	   WEXITSTATUS(status) == 2 ? "no memory" : "all of it on one node");
}

int main(int argc, char **argv)
{
	(void)argc;
	preload_self(argv);
	RUN(a_pinned_thread_has_memory_of_its_node);
	RUN(what_the_node_has_not_comes_from_another);
	return done();
}

/* SPDX-License-Identifier: MIT */
#include "tests/numa/guest.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BATCH 512

static void bail_out(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	fflush(stdout);
	exit(1);
}

static int nid_of_os(const struct topology *topo, int os_index)
{
	for (unsigned int nid = 0; nid < topology_nr_nodes(topo); nid++)
		if (topology_node(topo, (int)nid)->os_index == os_index)
			return (int)nid;
	return -1;
}

void ask_nodes(const struct topology *topo, void *const *pages, size_t nr, int *nids)
{
	while (nr) {
		size_t batch = min_t(size_t, nr, BATCH);
		int status[BATCH];

		/* Without nodes to move to it only tells. */
		if (syscall(SYS_move_pages, 0, batch, pages, NULL, status, 0) < 0)
			bail_out("move_pages");
		for (size_t i = 0; i < batch; i++)
			nids[i] = status[i] < 0 ? -1 : nid_of_os(topo, status[i]);
		pages += batch;
		nids += batch;
		nr -= batch;
	}
}

int ask_node(const struct topology *topo, const void *page)
{
	void *pages[1] = {(void *)(uintptr_t)page};
	int nid;

	ask_nodes(topo, pages, 1, &nid);
	return nid;
}

size_t check_pages_on(const struct topology *topo, void *const *pages, size_t nr, int nid,
		      const char *what)
{
	int *nids = malloc(nr * sizeof(*nids) + 1);
	size_t nr_elsewhere = 0, first = 0;

	if (!nids)
		bail_out("malloc");
	ask_nodes(topo, pages, nr, nids);
	for (size_t i = nr; i-- > 0;) {
		if (nids[i] == nid)
			continue;
		nr_elsewhere++;
		first = i;
	}
	ok(!nr_elsewhere, "%s: %zu of %zu pages are not on node %d, the first is page %zu on %d",
	   what, nr_elsewhere, nr, nid, first, nids[first]);
	free(nids);
	return nr_elsewhere;
}

const char *node_file(const struct topology *topo, int nid, const char *name)
{
	static char text[4096];
	char path[128];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/%s",
		 topology_node(topo, nid)->os_index, name);
	f = fopen(path, "re");
	if (!f)
		bail_out(path);
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	return text;
}

void kernel_numastat(const struct topology *topo, int nid, struct numastat *stat)
{
	const char *text = node_file(topo, nid, "numastat");

#define X(name)                                                                                    \
	do {                                                                                       \
		const char *at = strstr(text, #name " ");                                          \
                                                                                                   \
		if (!at)                                                                           \
			bail_out("numastat without " #name);                                       \
		stat->name = strtoull(at + sizeof(#name), NULL, 10);                               \
	} while (0);
	NUMASTAT(X)
#undef X
}

struct kmm *boot_machine(const struct kmm_config *config)
{
	struct kmm *machine;
	int error = kmm_boot(config, &machine);

	if (error) {
		errno = -error;
		bail_out(kmm_boot_error());
	}
	if (topology_nr_nodes(machine->topology) > MAX_NODES) {
		errno = E2BIG;
		bail_out("too many nodes");
	}
	return machine;
}

void move_to_cpu(struct kmm *machine, unsigned int cpu)
{
	ok_eq(topology_bind_thread(machine->topology, cpu), 0);
	ok_eq(kmm_attach(machine, -1), 0);
	ok_eq(this_cpu->cpu, cpu);
}

int first_cpu(const struct topology *topo, int nid)
{
	for (unsigned int cpu = 0; cpu < topology_nr_cpus(topo); cpu++)
		if (topology_cpu(topo, cpu)->nid == nid)
			return (int)cpu;
	return -1;
}

void shut_down(struct kmm *machine)
{
	ok_eq(topology_unbind_thread(machine->topology), 0);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

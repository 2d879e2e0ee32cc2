/* SPDX-License-Identifier: MIT */
/*
 * Topologies: this host, strings, recorded XML, and what is not one.
 *
 *	two-nodes.xml	 2 packages of 1 node, 2 cores, 4 CPUs; distances 10 and 21
 *	cpuless-node.xml 2 packages of 1 node, 2 CPUs; a third node, which hwloc gives all CPUs
 */
#include "arch/topology.h"

#include <errno.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/host.h"
#include "tests/tap/tap.h"

static char why[256];

static struct topology *load(const char *synthetic, const char *xml)
{
	struct topology *topo;
	int error = topology_load(synthetic, xml, &topo, why, sizeof(why));

	if (error) {
		printf("Bail out! %s: %d\n", why, error);
		exit(1);
	}
	return topo;
}

static struct topology *load_fixture(const char *name)
{
	const char *srcdir = getenv("srcdir");
	char path[512];

	snprintf(path, sizeof(path), "%s/tests/fixtures/%s", srcdir ? srcdir : ".", name);
	return load(NULL, path);
}

/* Refused with this error, and one line that mentions the word. */
static void refused(const char *synthetic, const char *xml, int error, const char *word)
{
	struct topology *topo = (struct topology *)1;

	memset(why, 'x', sizeof(why));
	ok(topology_load(synthetic, xml, &topo, why, sizeof(why)) == error, "'%s' '%s': %s",
	   synthetic ? synthetic : "", xml ? xml : "", why);
	ok(!topo, "a topology in spite of the error");
	ok(memchr(why, '\0', sizeof(why)) && !strchr(why, '\n') && strlen(why) > 10, "'%s'", why);
	ok(strstr(why, word), "'%s' does not say '%s'", why, word);
}

static void this_host_has_a_node_and_a_cpu(void)
{
	struct topology *topo = load(NULL, NULL);
	unsigned int nr = 0;

	ok(!topology_emulated(topo), "real");
	ok(topology_nr_nodes(topo) >= 1 && topology_nr_cpus(topo) >= 1, "something");
	for (unsigned int nid = 0; nid < topology_nr_nodes(topo); nid++) {
		nr += topology_node(topo, (int)nid)->nr_cpus;
		ok_eq(topology_distance(topo, (int)nid, (int)nid), 10);
	}
	ok_eq(nr, topology_nr_cpus(topo));
	for (unsigned int cpu = 0; cpu < topology_nr_cpus(topo); cpu++)
		ok_eq(topology_cpu_of_os(topo, topology_cpu(topo, cpu)->os_index), cpu);
	ok_eq(topology_cpu_of_os(topo, 1 << 20), -1);
	ok_eq(topology_cpu_of_os(topo, -1), -1);
	ok(strlen(topology_description(topo)) > 0, "described");
	topology_free(topo);
}

static void a_thread_moves_to_the_cpu_it_is_bound_to(void)
{
	struct topology *topo = load(NULL, NULL);
	cpu_set_t before, after;

	sched_getaffinity(0, sizeof(before), &before);
	for (unsigned int cpu = 0; cpu < topology_nr_cpus(topo); cpu++) {
		int error = topology_bind_thread(topo, cpu);

		if (error) {
			skip("the host does not bind: %s", strerror(-error));
			break;
		}
		ok_eq(host_current_cpu(), topology_cpu(topo, cpu)->os_index);
	}
	ok_eq(topology_bind_thread(topo, topology_nr_cpus(topo)), -EINVAL);
	ok_eq(topology_unbind_thread(topo), 0);
	sched_getaffinity(0, sizeof(after), &after);
	ok(CPU_EQUAL(&before, &after), "as it was");
	topology_free(topo);
}

/* A thread that pinned itself first does not shrink the machine. */
static void a_pinned_thread_still_loads_the_whole_host(void)
{
	struct topology *topo = load(NULL, NULL), *again;

	topology_bind_thread(topo, 0);
	again = load(NULL, NULL);
	ok_eq(topology_nr_cpus(again), topology_nr_cpus(topo));
	topology_unbind_thread(topo);
	topology_free(again);
	topology_free(topo);
}

static void host_memory_binds_where_there_are_nodes(void)
{
	struct topology *topo = load(NULL, NULL);
	size_t size = 16 * PAGE_SIZE;
	char *memory = host_reserve(size, PAGE_SIZE);
	int result, node;

	host_commit(memory, size, false);
	for (int nid = 0; nid < (int)topology_nr_nodes(topo); nid++) {
		result = topology_bind_memory(topo, memory, size, nid);
		ok(result == 0 || result == 1, "node %d: %s", nid, strerror(-result));
		if (topology_nr_nodes(topo) == 1)
			ok_eq(result, 1);
	}
	ok_eq(topology_bind_memory(topo, memory, size, -1), -EINVAL);
	ok_eq(topology_bind_memory(topo, memory, size, (int)topology_nr_nodes(topo)), -EINVAL);
	memory[0] = 1;
	node = topology_memory_node(topo, memory);
	ok(node == NUMA_NO_NODE || (node >= 0 && node < (int)topology_nr_nodes(topo)), "node %d",
	   node);
	host_release(memory, size);
	topology_free(topo);
}

static void a_string_gives_nodes_and_distances_by_package(void)
{
	struct topology *topo = load("pack:2 [numa(memory=2GiB)] core:4 pu:1", NULL);

	ok(topology_emulated(topo), "emulated");
	ok_eq(topology_nr_nodes(topo), 2);
	ok_eq(topology_nr_cpus(topo), 8);
	for (unsigned int cpu = 0; cpu < 8; cpu++)
		ok_eq(topology_cpu(topo, cpu)->nid, cpu / 4);
	for (int nid = 0; nid < 2; nid++) {
		ok_eq(topology_node(topo, nid)->memory_bytes, 2UL << 30);
		ok_eq(topology_node(topo, nid)->nr_cpus, 4);
	}
	ok_eq(topology_distance(topo, 0, 0), 10);
	ok_eq(topology_distance(topo, 0, 1), 30);
	ok_eq(topology_distance(topo, 1, 0), 30);
	ok(!strcmp(topology_description(topo), "synthetic: pack:2 [numa(memory=2GiB)] core:4 pu:1"),
	   "%s", topology_description(topo));
	topology_free(topo);

	topo = load("pack:2 numa:2 core:2 pu:1", NULL);
	ok_eq(topology_nr_nodes(topo), 4);
	ok_eq(topology_distance(topo, 0, 1), 20);
	ok_eq(topology_distance(topo, 1, 2), 30);
	ok_eq(topology_distance(topo, 3, 2), 20);
	topology_free(topo);
}

static void logical_order_is_not_os_order(void)
{
	/* The PUs carry OS numbers 3, 1, 2, 0, and hwloc puts each pair in the order of its
	 * lowest. */
	struct topology *topo = load("numa:2 core:2 pu:1(indexes=3,1,2,0)", NULL);
	bool differs = false;

	for (unsigned int cpu = 0; cpu < 4; cpu++) {
		const struct topology_cpu *info = topology_cpu(topo, cpu);

		differs |= info->os_index != (int)cpu;
		ok_eq(info->nid, cpu / 2);
		ok_eq(info->nid == 0, info->os_index == 0 || info->os_index == 2);
	}
	ok(differs, "the example shows nothing");
	topology_free(topo);
}

static void an_emulated_topology_binds_nothing_and_pins_to_the_host(void)
{
	struct topology *topo = load("numa:4 pu:16", NULL);
	char *memory = host_reserve(PAGE_SIZE, PAGE_SIZE);
	cpu_set_t before, mask;

	host_commit(memory, PAGE_SIZE, false);
	memory[0] = 1;
	ok_eq(topology_bind_memory(topo, memory, PAGE_SIZE, 3), 1);
	ok_eq(topology_memory_node(topo, memory), NUMA_NO_NODE);
	host_release(memory, PAGE_SIZE);
	sched_getaffinity(0, sizeof(before), &before);
	for (unsigned int cpu = 0; cpu < 64; cpu += 7) {
		int result = topology_bind_thread(topo, cpu);

		if (result < 0) {
			skip("the host does not bind: %s", strerror(-result));
			break;
		}
		ok_eq(result, 1);
		sched_getaffinity(0, sizeof(mask), &mask);
		ok_eq(CPU_COUNT(&mask), 1);
		CPU_AND(&mask, &mask, &before);
		ok_eq(CPU_COUNT(&mask), 1);
	}
	ok_eq(topology_unbind_thread(topo), 0);
	ok_eq(topology_cpu_of_os(topo, 64 + 5), 5);
	topology_free(topo);
}

static void xml_brings_its_own_distances(void)
{
	struct topology *topo = load_fixture("two-nodes.xml");

	ok(topology_emulated(topo), "emulated");
	ok_eq(topology_nr_nodes(topo), 2);
	ok_eq(topology_nr_cpus(topo), 8);
	ok_eq(topology_distance(topo, 0, 1), 21);
	ok_eq(topology_distance(topo, 1, 1), 10);
	ok_eq(topology_node(topo, 1)->memory_bytes, 2UL << 30);
	ok(!strncmp(topology_description(topo), "xml: ", 5), "%s", topology_description(topo));
	topology_free(topo);
}

static void a_node_without_cpus_of_its_own_is_memory_only(void)
{
	struct topology *topo = load_fixture("cpuless-node.xml");
	int nr_cpuless = 0;

	ok_eq(topology_nr_nodes(topo), 3);
	ok_eq(topology_nr_cpus(topo), 4);
	for (int nid = 0; nid < 3; nid++) {
		if (topology_node(topo, nid)->nr_cpus)
			continue;
		nr_cpuless++;
		ok_eq(topology_node(topo, nid)->memory_bytes, 4UL << 30);
	}
	ok_eq(nr_cpuless, 1);
	for (unsigned int cpu = 0; cpu < 4; cpu++)
		ok_eq(topology_node(topo, topology_cpu(topo, cpu)->nid)->nr_cpus, 2);
	topology_free(topo);
}

/* Print into a file and read it back. */
static char *printed(const struct topology *topo, int (*print)(const struct topology *, FILE *))
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	ok_eq(print(topo, out), 0);
	fclose(out);
	return text;
}

static char folder[] = "/tmp/kmm-topology-test-XXXXXX";

static const char *write_file(const char *text, size_t size)
{
	static char path[sizeof(folder) + 16];
	FILE *f;

	snprintf(path, sizeof(path), "%s/topology.xml", folder);
	f = fopen(path, "w");
	if (!f || fwrite(text, 1, size, f) != size || fclose(f)) {
		printf("Bail out! cannot write %s\n", path);
		exit(1);
	}
	return path;
}

static void exported_xml_loads_again_with_its_distances(void)
{
	struct topology *topo = load("pack:2 numa:2 core:1 pu:1", NULL), *again;
	char *xml = printed(topo, topology_print_xml);

	again = load(NULL, write_file(xml, strlen(xml)));
	ok_eq(topology_nr_nodes(again), 4);
	for (int from = 0; from < 4; from++)
		for (int to = 0; to < 4; to++)
			ok_eq(topology_distance(again, from, to),
			      topology_distance(topo, from, to));
	ok(strstr(xml, "NUMALatency"), "the defaults are in the export");
	free(xml);
	topology_free(again);
	topology_free(topo);
}

static void the_text_names_nodes_memory_cpus_and_distances(void)
{
	struct topology *topo = load_fixture("cpuless-node.xml");
	char *text = printed(topo, topology_print);

	ok(strstr(text, "(emulated)"), "%s", text);
	ok(strstr(text, "2048 MiB, 2 CPUs: 0-1\n"), "%s", text);
	ok(strstr(text, "2048 MiB, 2 CPUs: 2-3\n"), "%s", text);
	ok(strstr(text, "4096 MiB, no CPUs\n"), "%s", text);
	ok(strstr(text, "distances\n"), "%s", text);
	free(text);
	topology_free(topo);
}

static void a_full_stream_is_an_error(void)
{
	struct topology *topo = load("pu:2", NULL);
	FILE *full = fopen("/dev/full", "w");

	if (full) {
		ok_eq(topology_print(topo, full), -ENOSPC);
		clearerr(full);
		ok_eq(topology_print_xml(topo, full), -ENOSPC);
		fclose(full);
	}
	topology_free(topo);
}

static void bad_strings_are_refused_in_one_line(void)
{
	static const char *const bad[] = {"",	    "banana",	    "pack:2 foo:3",   "pack:-1",
					  "pu:",    "pack:2 [numa", "core:2(memory=", "pu:2 core:2",
					  "\n\n\n", "pack:2:3",	    "numa:0x",	      "] pu:1"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		refused(bad[i], NULL, -EINVAL, "synthetic topology");
}

static void too_many_cpus_or_nodes_are_refused_before_they_are_made(void)
{
	struct topology *topo = load("pu:1024", NULL);

	ok_eq(topology_nr_cpus(topo), 1024);
	topology_free(topo);
	topo = load("numa:64 pu:1", NULL);
	ok_eq(topology_nr_nodes(topo), 64);
	topology_free(topo);
	refused("pu:1025", NULL, -E2BIG, "1024");
	refused("pack:4000000000 core:4000000000 pu:4", NULL, -E2BIG, "1024");
	refused("pack:99999999999999999999999 pu:1", NULL, -E2BIG, "1024");
	refused("numa:65 pu:1", NULL, -E2BIG, "64");
}

static void bad_files_are_refused_in_one_line(void)
{
	static const char no_cpu[] = "<?xml version=\"1.0\"?>\n<topology version=\"2.0\">\n"
				     "<object type=\"Machine\" os_index=\"0\"/></topology>\n";
	struct topology *topo = load("pack:2 numa:2 pu:2", NULL);
	char *xml = printed(topo, topology_print_xml);
	char garbage[4096];
	unsigned long state = tap_seed() | 1;

	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (char)tap_random(&state);
	refused(NULL, "/nonexistent/topology.xml", -ENOENT, "/nonexistent/topology.xml");
	refused(NULL, folder, -EINVAL, "not a file");
	refused(NULL, "/dev/zero", -EINVAL, "not a file");
	refused(NULL, write_file("", 0), -EINVAL, "empty");
	refused(NULL, write_file(garbage, sizeof(garbage)), -EINVAL, "topology.xml");
	refused(NULL, write_file("hello\n", 6), -EINVAL, "topology.xml");
	refused(NULL, write_file("<html></html>\n", 14), -EINVAL, "topology.xml");
	refused(NULL, write_file(no_cpu, strlen(no_cpu)), -EINVAL, "topology.xml");
	refused(NULL, write_file(xml, strlen(xml) / 2), -EINVAL, "topology.xml");
	refused("pu:1", "/tmp/x.xml", -EINVAL, "only one");
	free(xml);
	topology_free(topo);
}

static void an_unreadable_file_is_refused(void)
{
	const char *path = write_file("x", 1);

	if (geteuid() == 0) {
		skip("root reads everything");
		return;
	}
	chmod(path, 0);
	refused(NULL, path, -EACCES, path);
	chmod(path, 0600);
}

static void what_is_quoted_is_cut_and_clean(void)
{
	char text[2000];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	text[3] = '\n';
	text[4] = '\033';
	refused(text, NULL, -EINVAL, "aaa??aaa");
	ok(strstr(why, "..."), "cut: %s", why);
}

int main(void)
{
	if (!mkdtemp(folder)) {
		printf("Bail out! cannot make %s\n", folder);
		return 1;
	}
	RUN(this_host_has_a_node_and_a_cpu);
	RUN(a_thread_moves_to_the_cpu_it_is_bound_to);
	RUN(a_pinned_thread_still_loads_the_whole_host);
	RUN(host_memory_binds_where_there_are_nodes);
	RUN(a_string_gives_nodes_and_distances_by_package);
	RUN(logical_order_is_not_os_order);
	RUN(an_emulated_topology_binds_nothing_and_pins_to_the_host);
	RUN(xml_brings_its_own_distances);
	RUN(a_node_without_cpus_of_its_own_is_memory_only);
	RUN(exported_xml_loads_again_with_its_distances);
	RUN(the_text_names_nodes_memory_cpus_and_distances);
	RUN(a_full_stream_is_an_error);
	RUN(bad_strings_are_refused_in_one_line);
	RUN(too_many_cpus_or_nodes_are_refused_before_they_are_made);
	RUN(bad_files_are_refused_in_one_line);
	RUN(an_unreadable_file_is_refused);
	RUN(what_is_quoted_is_cut_and_clean);
	unlink(write_file("", 0));
	rmdir(folder);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* The topology for people (`kmm topo`), and as hwloc's XML. */
#include "arch/topology_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int stream_result(FILE *out)
{
	if (fflush(out))
		return -errno;
	return ferror(out) ? -EIO : 0;
}

/* CPUs of a node as ranges: "0-3,8-11". */
static void print_cpus(const struct topology *topo, int nid, FILE *out)
{
	const char *comma = "";

	for (unsigned int cpu = 0, end; cpu < topo->nr_cpus; cpu = end) {
		end = cpu + 1;
		if (topo->cpus[cpu].nid != nid)
			continue;
		while (end < topo->nr_cpus && topo->cpus[end].nid == nid)
			end++;
		fprintf(out, end - cpu > 1 ? "%s%u-%u" : "%s%u", comma, cpu, end - 1);
		comma = ",";
	}
}

static void print_node(const struct topology *topo, int nid, FILE *out)
{
	const struct topology_node *node = &topo->nodes[nid];

	fprintf(out, "node %d", nid);
	if (node->os_index != nid)
		fprintf(out, " (OS %d)", node->os_index);
	if (node->memory_bytes)
		fprintf(out, ": %llu MiB", (unsigned long long)(node->memory_bytes >> 20));
	else
		fputs(": memory unknown", out);
	if (node->nr_cpus) {
		fprintf(out, ", %u CPU%s: ", node->nr_cpus, node->nr_cpus > 1 ? "s" : "");
		print_cpus(topo, nid, out);
	} else {
		fputs(", no CPUs", out);
	}
	fputc('\n', out);
}

static void print_distances(const struct topology *topo, FILE *out)
{
	fputs("distances\n     ", out);
	for (unsigned int to = 0; to < topo->nr_nodes; to++)
		fprintf(out, " %5u", to);
	fputc('\n', out);
	for (unsigned int from = 0; from < topo->nr_nodes; from++) {
		fprintf(out, "%5u", from);
		for (unsigned int to = 0; to < topo->nr_nodes; to++)
			fprintf(out, " %5u", topo->distance[from][to]);
		fputc('\n', out);
	}
}

/* What a kind of cores is called; NULL if hwloc does not know. */
static const char *kind_name(const struct hwloc_info_s *infos, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		if (!strcmp(infos[i].name, "CoreType"))
			return infos[i].value;
	return NULL;
}

/* Where cores differ, how many of which kind, the least powerful first: " (8 IntelAtom, 8 IntelCore)". */
static void print_kinds(const struct topology *topo, FILE *out)
{
	int nr = hwloc_cpukinds_get_nr(topo->hw, 0);
	hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
	const char *before = " (";

	for (int kind = 0; cpus && nr > 1 && kind < nr; kind++) {
		unsigned int nr_infos = 0;
		struct hwloc_info_s *infos = NULL;
		const char *name;
		int nr_cores;

		if (hwloc_cpukinds_get_info(topo->hw, (unsigned int)kind, cpus, NULL, &nr_infos,
					    &infos, 0))
			continue;
		name = kind_name(infos, nr_infos);
		nr_cores = hwloc_get_nbobjs_inside_cpuset_by_type(topo->hw, cpus, HWLOC_OBJ_CORE);
		fprintf(out, "%s%d ", before, nr_cores);
		before = ", ";
		if (name)
			fputs(name, out);
		else
			fprintf(out, "of kind %d", kind);
	}
	if (*before == ',')
		fputc(')', out);
	hwloc_bitmap_free(cpus);
}

int topology_print(const struct topology *topo, FILE *out)
{
	int packages = hwloc_get_nbobjs_by_type(topo->hw, HWLOC_OBJ_PACKAGE);
	int cores = hwloc_get_nbobjs_by_type(topo->hw, HWLOC_OBJ_CORE);

	fprintf(out, "topology  %s%s\n", topo->description, topo->emulated ? " (emulated)" : "");
	fprintf(out, "packages  %d\n", packages > 0 ? packages : 0);
	fprintf(out, "cores     %d", cores > 0 ? cores : 0);
	print_kinds(topo, out);
	fputc('\n', out);
	fprintf(out, "CPUs      %u\n", topo->nr_cpus);
	fprintf(out, "nodes     %u\n", topo->nr_nodes);
	for (unsigned int nid = 0; nid < topo->nr_nodes; nid++)
		print_node(topo, (int)nid, out);
	if (topo->nr_nodes > 1)
		print_distances(topo, out);
	return stream_result(out);
}

int topology_print_xml(const struct topology *topo, FILE *out)
{
	char *xml;
	int length;

	if (hwloc_topology_export_xmlbuffer(topo->hw, &xml, &length, 0))
		return errno ? -errno : -ENOMEM;
	fputs(xml, out);
	hwloc_free_xmlbuffer(topo->hw, xml);
	return stream_result(out);
}

/* SPDX-License-Identifier: MIT */
/*
 * Loading a topology through hwloc, and reading it into tables: nodes, CPUs with their nearest
 * node, distances (topology_tables.h). After that hwloc is asked only to bind (binding.c) and to
 * print (topology_print.c).
 *
 * What hwloc leaves to its user:
 * - a synthetic string or XML file takes the place of the host, but binds report success and do
 *   nothing: such a topology is `emulated`, unless hwloc says that the file describes this very
 *   host;
 * - this host is cut down to the CPUs that the process may run on;
 * - a synthetic topology has no distances, and a host of one node no matrix: defaults are filled
 *   in, and given to hwloc, so that an exported XML carries them;
 * - the nodes near a CPU may be several (with CPU-less nodes, HBM, CXL): the nearest is the one
 *   whose CPUs are the fewest, the first of those in hwloc's order.
 */
#include "arch/topology_impl.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <hwloc/distances.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISTANCE_LOCAL	 10
#define DISTANCE_PACKAGE 20
#define DISTANCE_FAR	 30

/* Where a load says what is wrong. */
struct complaint {
	const char *kind, *name; /* "synthetic topology", its string */
	char *text;
	size_t size;
};

/* One line: what came from outside is quoted, cut to a size that is easy to read, and free of
 * control characters. */
static int complain(const struct complaint *to, int error, const char *what)
{
	char quoted[100] = "";
	size_t len = 0;

	for (const char *c = to->name; c && *c && len < sizeof(quoted) - 4; c++)
		quoted[len++] = iscntrl((unsigned char)*c) ? '?' : *c;
	if (to->name && strlen(to->name) > len)
		memcpy(quoted + len, "...", 4);
	if (to->text && to->size)
		snprintf(to->text, to->size, to->name ? "%s '%s': %s" : "%s%s: %s", to->kind,
			 quoted, what);
	return error;
}

/*
 * The CPUs that a synthetic string asks for: the product of its numbers, outside of attributes
 * "(...)" and attached memory "[...]". hwloc makes each of them before it can be asked how many
 * there are. Strings that are wrong in other ways are hwloc's to refuse. Stops above the limit.
 */
static unsigned long synthetic_cpus(const char *text)
{
	unsigned long product = 1;
	int depth = 0;

	while (*text && product <= KMM_MAX_CPUS) {
		if (*text == '(' || *text == '[')
			depth++;
		else if (*text == ')' || *text == ']')
			depth -= depth > 0;
		else if (depth == 0 && isdigit((unsigned char)*text)) {
			char *end;
			unsigned long count = strtoul(text, &end, 10);

			/* Digits inside a word, such as L2, are its name. */
			product *= count ? min_t(unsigned long, count, KMM_MAX_CPUS + 1) : 1;
			text = end;
			continue;
		} else if (depth == 0 && isalpha((unsigned char)*text)) {
			while (isalnum((unsigned char)*text))
				text++;
			continue;
		}
		text++;
	}
	return product;
}

static int set_synthetic(struct topology *topo, const char *text, const struct complaint *to)
{
	if (synthetic_cpus(text) > KMM_MAX_CPUS)
		return complain(to, -E2BIG, "more than 1024 CPUs");
	if (hwloc_topology_set_synthetic(topo->hw, text))
		return complain(to, -EINVAL, "not a synthetic topology that hwloc knows");
	snprintf(topo->description, sizeof(topo->description), "synthetic: %s", text);
	return 0;
}

static int set_xml(struct topology *topo, const char *path, const struct complaint *to)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int error;

	if (fd < 0) {
		error = errno;
		return complain(to, -error, strerror(error));
	}
	error = fstat(fd, &st);
	close(fd);
	if (error || !S_ISREG(st.st_mode))
		return complain(to, -EINVAL, "not a file");
	if (st.st_size == 0)
		return complain(to, -EINVAL, "empty file");
	if (hwloc_topology_set_xml(topo->hw, path))
		return complain(to, -EINVAL, "not an hwloc XML topology");
	snprintf(topo->description, sizeof(topo->description), "xml: %s", path);
	return 0;
}

/* Leave only the CPUs that this process may use; nodes that lose all of theirs stay, as memory. */
static void restrict_to_process(struct topology *topo)
{
	const struct host_cpus *allowed = host_cpus();
	hwloc_bitmap_t set = hwloc_bitmap_alloc();

	for (int cpu = 0; set && cpu < MAX_HOST_CPUS; cpu++)
		if (CPU_ISSET_S(cpu, sizeof(allowed->mask), allowed->mask))
			hwloc_bitmap_set(set, (unsigned int)cpu);
	/* Refused if nothing would be left: then the mask is of no use. */
	if (set && allowed->nr)
		(void)hwloc_topology_restrict(topo->hw, set, 0);
	hwloc_bitmap_free(set);
}

static int nearest_node(const struct topology *topo, hwloc_obj_t pu)
{
	int nearest = 0, fewest = KMM_MAX_CPUS + 1;

	for (unsigned int nid = 0; nid < topo->nr_nodes; nid++) {
		hwloc_obj_t node = topology_node_obj(topo, nid);
		int nr_cpus;

		if (!hwloc_bitmap_isset(node->cpuset, pu->os_index))
			continue;
		nr_cpus = hwloc_bitmap_weight(node->cpuset);
		if (nr_cpus < fewest) {
			fewest = nr_cpus;
			nearest = (int)nid;
		}
	}
	return nearest;
}

static int read_objects(struct topology *topo, const struct complaint *to)
{
	int nr_nodes = hwloc_get_nbobjs_by_type(topo->hw, HWLOC_OBJ_NUMANODE);
	int nr_cpus = hwloc_get_nbobjs_by_type(topo->hw, HWLOC_OBJ_PU);

	if (nr_nodes < 1 || nr_cpus < 1)
		return complain(to, -EINVAL, "no memory node or no CPU in it");
	if (nr_nodes > KMM_MAX_NODES)
		return complain(to, -E2BIG, "more than 64 memory nodes");
	if (nr_cpus > KMM_MAX_CPUS)
		return complain(to, -E2BIG, "more than 1024 CPUs");
	topo->nr_nodes = (unsigned int)nr_nodes;
	topo->nr_cpus = (unsigned int)nr_cpus;
	for (unsigned int nid = 0; nid < topo->nr_nodes; nid++) {
		hwloc_obj_t node = topology_node_obj(topo, nid);

		topo->nodes[nid].os_index = (int)node->os_index;
		topo->nodes[nid].memory_bytes = node->attr->numanode.local_memory;
	}
	for (unsigned int cpu = 0; cpu < topo->nr_cpus; cpu++) {
		hwloc_obj_t pu = hwloc_get_obj_by_type(topo->hw, HWLOC_OBJ_PU, cpu);

		topo->cpus[cpu].os_index = (int)pu->os_index;
		topo->cpus[cpu].nid = nearest_node(topo, pu);
		topo->nodes[topo->cpus[cpu].nid].nr_cpus++;
	}
	return 0;
}

static hwloc_obj_t package_of(hwloc_obj_t obj)
{
	while (obj && obj->type != HWLOC_OBJ_PACKAGE)
		obj = obj->parent;
	return obj;
}

static void default_distances(struct topology *topo)
{
	for (unsigned int from = 0; from < topo->nr_nodes; from++) {
		hwloc_obj_t package = package_of(topology_node_obj(topo, from));

		for (unsigned int to = 0; to < topo->nr_nodes; to++) {
			bool same = package && package_of(topology_node_obj(topo, to)) == package;

			topo->distance[from][to] = from == to ? DISTANCE_LOCAL
						   : same     ? DISTANCE_PACKAGE
							      : DISTANCE_FAR;
		}
	}
}

/* A distance in the SLIT's scale, from one in a scale where a node is `local` away from itself. */
static u16 slit_distance(u64 value, u64 local)
{
	u64 scaled = local && value < UINT64_MAX / DISTANCE_LOCAL ? value * DISTANCE_LOCAL / local
								  : value;

	return (u16)min_t(u64, scaled, UINT16_MAX);
}

/* Take hwloc's latencies between nodes into the table. False if it has none. */
static bool read_distances(struct topology *topo)
{
	struct hwloc_distances_s *matrix;
	unsigned int nr = 1;

	if (hwloc_distances_get_by_type(topo->hw, HWLOC_OBJ_NUMANODE, &nr, &matrix,
					HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) ||
	    nr == 0)
		return false;
	/* With fewer objects than nodes, the others keep the defaults. An object may be gone
	 * (NULL). */
	for (unsigned int i = 0; i < matrix->nbobjs; i++) {
		for (unsigned int j = 0; j < matrix->nbobjs; j++) {
			if (!matrix->objs[i] || !matrix->objs[j])
				continue;
			topo->distance[matrix->objs[i]->logical_index]
				      [matrix->objs[j]->logical_index] =
				slit_distance(matrix->values[i * matrix->nbobjs + j],
					      matrix->values[i * matrix->nbobjs + i]);
		}
	}
	hwloc_distances_release(topo->hw, matrix);
	return true;
}

/* Let hwloc know the table, for exports. What it cannot take is not lost, only not exported. */
static void give_distances(struct topology *topo)
{
	hwloc_obj_t objs[KMM_MAX_NODES];
	hwloc_distances_add_handle_t handle;
	hwloc_uint64_t *values;

	values = calloc((size_t)topo->nr_nodes * topo->nr_nodes, sizeof(*values));
	if (!values)
		return;
	for (unsigned int from = 0; from < topo->nr_nodes; from++) {
		objs[from] = topology_node_obj(topo, from);
		for (unsigned int to = 0; to < topo->nr_nodes; to++)
			values[from * topo->nr_nodes + to] = topo->distance[from][to];
	}
	handle = hwloc_distances_add_create(
		topo->hw, "NUMALatency",
		HWLOC_DISTANCES_KIND_FROM_USER | HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0);
	if (handle &&
	    !hwloc_distances_add_values(topo->hw, handle, topo->nr_nodes, objs, values, 0))
		(void)hwloc_distances_add_commit(topo->hw, handle, 0);
	free(values);
}

static void describe_host(struct topology *topo)
{
	if (hwloc_topology_export_synthetic(topo->hw, topo->description, sizeof(topo->description),
					    0) > 0)
		return;
	/* hwloc can write only symmetric machines as a string. */
	snprintf(topo->description, sizeof(topo->description), "host: %u nodes, %u CPUs",
		 topo->nr_nodes, topo->nr_cpus);
}

static int load(struct topology *topo, const char *synthetic, const char *xml,
		const struct complaint *to)
{
	int error;

	if (hwloc_topology_init(&topo->hw)) {
		topo->hw = NULL;
		return complain(to, -ENOMEM, "hwloc could not start");
	}
	error = synthetic ? set_synthetic(topo, synthetic, to) : xml ? set_xml(topo, xml, to) : 0;
	if (error)
		return error;
	if (hwloc_topology_load(topo->hw))
		return complain(to, -EINVAL, "hwloc cannot load it");
	topo->emulated = !hwloc_topology_is_thissystem(topo->hw);
	if (!topo->emulated)
		restrict_to_process(topo);
	error = read_objects(topo, to);
	if (error)
		return error;
	default_distances(topo);
	if (!read_distances(topo) && topo->nr_nodes > 1)
		give_distances(topo);
	/* hwloc brings some of its tables up to date on first use; do it now, while one thread
	 * knows of it. */
	(void)hwloc_topology_refresh(topo->hw);
	if (!topo->description[0])
		describe_host(topo);
	return 0;
}

int topology_load(const char *synthetic, const char *xml, struct topology **out, char *error,
		  size_t error_size)
{
	struct complaint to = {
		.kind = synthetic ? "synthetic topology"
			: xml	  ? "topology file"
				  : "this host",
		.name = synthetic ? synthetic : xml,
		.text = error,
		.size = error_size,
	};
	struct topology *topo;
	int result;

	*out = NULL;
	if (synthetic && xml)
		return complain(&to, -EINVAL, "a topology file is given too, only one can be");
	topo = calloc(1, sizeof(*topo));
	if (!topo)
		return complain(&to, -ENOMEM, "no memory");
	result = load(topo, synthetic, xml, &to);
	if (result) {
		topology_free(topo);
		return result;
	}
	*out = topo;
	return 0;
}

void topology_free(struct topology *topo)
{
	if (!topo)
		return;
	if (topo->hw)
		hwloc_topology_destroy(topo->hw);
	free(topo);
}

/* SPDX-License-Identifier: MIT */
/*
 * On a machine with nodes: the benchmark's placements. jemalloc's arenas of each node, which the ratios
 * refer to, hand out memory of that node; the cases find what they say, kmm's and jemalloc's alike.
 */
#include "bench/suites/arena.h"
#include "tests/bench/drive.h"
#include "tests/numa/guest.h"

#define NODE_BYTES (64UL << 20)
#define NR_OBJECTS 600

static struct object_peer peers[PEER_MAX];
static int nr_peers;

static struct bench_env env_with_peers(struct kmm *machine)
{
	struct bench_env env = env_of(machine);

	env.peers = peers;
	env.nr_peers = nr_peers;
	env.nr_threads_max = 1;
	return env;
}

static struct kmm *boot_small(void)
{
	struct kmm_config config = {.node_bytes = NODE_BYTES};

	return boot_machine(&config);
}

static int farthest(const struct topology *topo, int from)
{
	int far = from;

	for (int nid = 0; nid < (int)topology_nr_nodes(topo); nid++)
		if (topology_distance(topo, from, nid) > topology_distance(topo, from, far))
			far = nid;
	return far;
}

/* Objects by the case's own table, between its begin and its end. */
static void check_objects(struct bench_case *c, bool interleave, size_t size)
{
	const struct topology *topo = c->env->machine->topology;
	int nr_nodes = (int)topology_nr_nodes(topo);
	static void *objects[NR_OBJECTS];
	static int nids[NR_OBJECTS];

	for (size_t i = 0; i < NR_OBJECTS; i++) {
		objects[i] = c->peer->alloc(size);
		memset(objects[i], 1, size);
	}
	ask_nodes(topo, objects, NR_OBJECTS, nids);
	for (size_t i = 0; i < NR_OBJECTS; i++)
		ok(nids[i] == (interleave ? (nids[0] + (int)(i % (size_t)nr_nodes)) % nr_nodes
					  : farthest(topo, 0)),
		   "%s: object %zu of %zu bytes is on node %d", c->placement, i, size, nids[i]);
	for (size_t i = 0; i < NR_OBJECTS; i++)
		c->peer->free(objects[i]);
}

static const struct object_peer *find_jemalloc(void)
{
	for (int i = 0; i < nr_peers; i++)
		if (arena_possible(&peers[i]))
			return &peers[i];
	return NULL;
}

static void jemallocs_arenas_hand_out_their_nodes_memory(void)
{
	static const size_t sizes[] = {64, 1024, 5000, 100000};
	struct kmm *machine = boot_small();
	struct bench_env env = env_with_peers(machine);
	const struct object_peer *jemalloc = find_jemalloc();
	struct case_list list;

	enumerate_all(&env, &list);
	for (int place = PLACE_REMOTE; jemalloc && place < NR_PLACEMENTS; place++) {
		struct bench_case *c = find_case(&list, "kmalloc", "shuffle");
		void *state = NULL;
		const char *error;

		c->allocator = "jemalloc";
		c->peer = arena_table(jemalloc, (enum placement)place);
		c->placement = placement_names[place];
		error = c->ops->prepare(c);
		if (!error)
			error = c->ops->thread_begin(c, 0, &state);
		for (size_t i = 0; !error && i < ARRAY_SIZE(sizes); i++)
			check_objects(c, place == PLACE_INTERLEAVE, sizes[i]);
		ok(!error, "%s", error);
		error = c->ops->thread_end(c, 0, state);
		ok(!error, "%s", error);
		error = c->ops->finish(c);
		ok(!error, "%s", error);
	}
	if (!jemalloc)
		skip("no jemalloc here");
	free(list.cases);
	shut_down(machine);
}

/* One of kmm's and jemalloc's kind in each of these suites and placements. */
static void check_case(struct bench_case *c)
{
	const struct topology *topo = c->env->machine->topology;
	int nr_nodes = (int)topology_nr_nodes(topo);
	const char *error = drive(c, few(c), false, NULL);
	double share = 1.0 / nr_nodes;

	ok(!error, CASE_FORMAT "%s", CASE_ARGS(c), error);
	ok(c->has_numa && c->cpu_node == 0, CASE_FORMAT "CPU on node %d", CASE_ARGS(c),
	   c->cpu_node);
	if (!strcmp(c->placement, placement_names[PLACE_INTERLEAVE]))
		ok(c->local_ratio > share - 0.1 && c->local_ratio < share + 0.1,
		   CASE_FORMAT "interleaved, %.2f local", CASE_ARGS(c), c->local_ratio);
	else
		ok(c->memory_node == farthest(topo, 0) && c->local_ratio == 0,
		   CASE_FORMAT "remote, on node %d, %.2f local", CASE_ARGS(c), c->memory_node,
		   c->local_ratio);
}

static void cases_find_their_memory_where_their_placement_says(void)
{
	struct kmm *machine = boot_small();
	struct bench_env env = env_with_peers(machine);
	struct case_list list;
	int nr_kmm = 0, nr_jemalloc = 0;

	enumerate_all(&env, &list);
	for (size_t i = 0; i < list.nr; i++) {
		struct bench_case *c = &list.cases[i];
		bool kmm = !strcmp(c->allocator, "kmm"),
		     jemalloc = !strcmp(c->allocator, "jemalloc");

		if (c->skipped || !(kmm || jemalloc) || strcmp(c->name, "shuffle") ||
		    !strcmp(c->placement, placement_names[PLACE_LOCAL]))
			continue;
		check_case(c);
		nr_kmm += kmm;
		nr_jemalloc += jemalloc;
	}
	ok(nr_kmm >= 4, "%d placed cases of kmm's", nr_kmm);
	ok(nr_jemalloc >= 4 || !find_jemalloc(), "%d placed cases of jemalloc's", nr_jemalloc);
	free(list.cases);
	shut_down(machine);
}

int main(int argc, char **argv)
{
	(void)argc;
	nr_peers = load_peers(argv, peers);
	if (nr_peers < 0) {
		fprintf(stderr, "peers: %s\n", strerror(-nr_peers));
		return 1;
	}
	RUN(jemallocs_arenas_hand_out_their_nodes_memory);
	RUN(cases_find_their_memory_where_their_placement_says);
	return done();
}

/* SPDX-License-Identifier: MIT */
/*
 * The page allocator against the slow model (random_work.h): all orders, zones, nodes and CPUs, each
 * run on another kind of machine.
 *
 * TEST_OPS is the number of operations of all runs together (100000000 takes some minutes: `make
 * check-long`), TEST_SEED repeats them.
 */
#include "tests/alloc/phys/random_work.h"

#define NR_RUNS	 8
#define OPS_EACH (TAP_SANITIZED ? 20000UL : 100000UL)

static unsigned long nr_ops, seed;

static void run(struct kmm_config config, unsigned int nr_threads)
{
	struct random_result result;

	result = random_work(&config, nr_threads, nr_ops, seed++ * 0x9E3779B97F4A7C15UL | 1);
	printf("# %lu allocations, %lu frees, %lu refused\n", result.nr_allocs, result.nr_frees,
	       result.nr_refused);
	ok(result.nr_allocs > nr_ops / 8, "only %lu allocations", result.nr_allocs);
}

static void the_model_agrees_on_one_node_of_x86_64(void)
{
	run((struct kmm_config){.synthetic = ONE_NODE}, 3);
}

static void the_model_agrees_on_two_nodes_of_x86_64(void)
{
	run((struct kmm_config){.synthetic = TWO_NODES, .lock_kind = LOCK_TICKET}, 4);
}

/* More threads than CPUs, and a node of five pieces of 4 MiB. */
static void the_model_agrees_on_three_small_nodes(void)
{
	run((struct kmm_config){.synthetic = "numa:3 core:2 pu:1",
				.node_bytes = 20UL << 20,
				.shared_bytes = 4UL << 20},
	    8);
}

/* Sparse: only what is touched costs memory. */
static void the_model_agrees_where_a_node_has_normal_memory(void)
{
	if (TAP_SANITIZED) {
		skip("a sanitizer takes long over so many frames");
		return;
	}
	run((struct kmm_config){.synthetic = "numa:2 core:2 pu:1",
				.node_bytes = 4UL << 30,
				.shared_bytes = 64UL << 20},
	    4);
}

static void the_model_agrees_on_i386_with_highmem(void)
{
	run((struct kmm_config){.synthetic = TWO_NODES,
				.node_bytes = 480UL << 20,
				.layout = ZONES_I386,
				.lock_kind = LOCK_MCS},
	    4);
}

static void the_model_agrees_on_i386_of_16_MiB(void)
{
	run((struct kmm_config){.synthetic = ONE_NODE,
				.node_bytes = 16UL << 20,
				.layout = ZONES_I386,
				.lock_kind = LOCK_MUTEX},
	    3);
}

static void the_model_agrees_with_tiny_lists(void)
{
	run((struct kmm_config){.synthetic = TWO_NODES, .pcp_high = 3, .pcp_batch = 2}, 5);
}

static void the_model_agrees_without_lists(void)
{
	run((struct kmm_config){.synthetic = TWO_NODES, .no_pcp = true}, 3);
}

int main(void)
{
	nr_ops = tap_ops(NR_RUNS * OPS_EACH) / NR_RUNS;
	seed = tap_seed();
	RUN(the_model_agrees_on_one_node_of_x86_64);
	RUN(the_model_agrees_on_two_nodes_of_x86_64);
	RUN(the_model_agrees_on_three_small_nodes);
	RUN(the_model_agrees_where_a_node_has_normal_memory);
	RUN(the_model_agrees_on_i386_with_highmem);
	RUN(the_model_agrees_on_i386_of_16_MiB);
	RUN(the_model_agrees_with_tiny_lists);
	RUN(the_model_agrees_without_lists);
	return done();
}

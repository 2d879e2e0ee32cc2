/* SPDX-License-Identifier: MIT */
/*
 * Machines nobody thought of: random topologies, sizes, layouts, lists and locks, each booted,
 * worked on against the slow model (random_work.h), recounted, and shut down without a leak.
 *
 * TEST_OPS is the number of operations of all machines together; TEST_SEED repeats them.
 */
#include "tests/alloc/phys/random_work.h"

#define OPS_EACH    20000
#define NR_MACHINES (TAP_SANITIZED ? 5 : 20)

static const char *const topologies[] = {
	"numa:1 pu:1",	      "numa:1 core:2 pu:1",	   "numa:1 core:3 pu:2",
	"numa:2 pu:1",	      "pack:2 [numa] core:2 pu:1", "numa:3 pu:1",
	"numa:3 core:2 pu:1", "numa:4 core:2 pu:1",
};

static unsigned long below(unsigned long *state, unsigned long limit)
{
	return tap_random(state) % limit;
}

static struct kmm_config random_config(unsigned long *state)
{
	struct kmm_config config = {
		.synthetic = topologies[below(state, ARRAY_SIZE(topologies))],
		.node_bytes = (4 + below(state, 17)) << 22,
		.layout = (enum zone_layout)below(state, NR_ZONE_LAYOUTS),
		.lock_kind = (enum lock_kind)below(state, NR_LOCK_KINDS),
		.no_pcp = below(state, 8) == 0,
		.no_bind = below(state, 2),
	};

	/* Now and then one that reaches HighMem. */
	if (config.layout == ZONES_I386 && below(state, 3) == 0)
		config.node_bytes = (220 + below(state, 10)) << 22;
	if (config.layout == ZONES_X86_64 && below(state, 2))
		config.shared_bytes = (1 + below(state, (config.node_bytes >> 22) - 1)) << 22;
	if (below(state, 2)) {
		config.pcp_high = 1 + (unsigned int)below(state, below(state, 2) ? 8 : 3000);
		config.pcp_batch = (unsigned int)below(state, config.pcp_high + 1);
	}
	return config;
}

static void print_config(const struct kmm_config *config, unsigned int nr_threads)
{
	printf("# machine: \"%s\", node_bytes %llu MiB, shared_bytes %llu MiB, layout %d, lock %d, "
	       "pcp_high %u, pcp_batch %u, no_pcp %d; %u threads\n",
	       config->synthetic, (unsigned long long)config->node_bytes >> 20,
	       (unsigned long long)config->shared_bytes >> 20, (int)config->layout,
	       (int)config->lock_kind, config->pcp_high, config->pcp_batch, config->no_pcp,
	       nr_threads);
}

static void the_model_agrees_on_machines_made_at_random(void)
{
	unsigned long nr_ops = tap_ops(NR_MACHINES * OPS_EACH), nr_machines = 0;
	unsigned long state = tap_seed() | 1;

	for (; nr_ops >= OPS_EACH && !tap_failures; nr_ops -= OPS_EACH) {
		struct kmm_config config = random_config(&state);
		unsigned int nr_threads = 1 + (unsigned int)below(&state, 6);

		random_work(&config, nr_threads, OPS_EACH, tap_random(&state) | 1);
		if (tap_failures)
			print_config(&config, nr_threads);
		nr_machines++;
	}
	printf("# %lu machines\n", nr_machines);
}

int main(void)
{
	RUN(the_model_agrees_on_machines_made_at_random);
	return done();
}

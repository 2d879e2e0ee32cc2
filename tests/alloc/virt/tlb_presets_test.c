/* SPDX-License-Identifier: MIT */
/* Every preset can be made, and holds as many pages as its processor is said to. */
#include "tests/tap/tap.h"
#include "virt/tlb.h"

static struct tlb *create(const struct tlb_config *config)
{
	struct tlb *tlb = NULL;
	int error = tlb_create(config, &tlb);

	ok(!error, "%s: %s", config->name, strerror(-error));
	return tlb;
}

/* Are all of nr_pages neighbours, touched in turn, found there or nearer from the second round on? */
static bool all_found(const struct tlb_config *config, u64 nr_pages, unsigned int how,
		      enum tlb_found where)
{
	u64 shift = config->paging.shift[1 + (how & TLB_LEAF_MASK) / 4];
	struct tlb *tlb = create(config);
	bool all = true;

	for (int round = 0; tlb && round < 3; round++)
		for (u64 page = 0; page < nr_pages; page++)
			all &= tlb_access(tlb, (1UL << 30) + (page << shift), how) <= where ||
			       round == 0;
	tlb_destroy(tlb);
	return all;
}

static void all_can_be_made_in_every_way_they_allow(void)
{
	for (const struct tlb_preset *preset = tlb_presets; preset->name; preset++) {
		struct tlb_config config = preset->config;

		ok(tlb_find_preset(preset->name) == preset, "%s", preset->name);
		ok(preset->sources && preset->processor, "%s: no sources", preset->name);
		tlb_destroy(create(&config));
		ok(config.paging.levels <= preset->max_levels, "%s: levels", preset->name);
		if (preset->max_levels == 5) {
			config.paging = tlb_paging_5_level;
			tlb_destroy(create(&config));
		}
		config.pti = config.pcid ? TLB_PTI_PCID : TLB_PTI_ON;
		tlb_destroy(create(&config));
	}
	ok(!tlb_find_preset("pentium 9"), "found what there is not");
}

static void each_reaches_as_far_as_it_is_said_to(void)
{
	static const struct {
		const char *name;
		unsigned int how;
		u64 l1, l2; /* pages; l2 0: there is none */
	} reaches[] = {
		{"i486", TLB_LOAD, 32, 0},
		{"p6", TLB_LOAD, 64, 0},
		{"p6", TLB_FETCH, 32, 0},
		{"p6", TLB_STORE | TLB_LEAF_2, 8, 0},
		{"haswell", TLB_LOAD, 64, 1024},
		{"haswell", TLB_FETCH, 128, 1024},
		{"haswell", TLB_LOAD | TLB_LEAF_2, 32, 1024},
		{"skylake", TLB_LOAD, 64, 1536},
		{"skylake", TLB_FETCH | TLB_LEAF_2, 8, 1536},
		{"skylake", TLB_LOAD | TLB_LEAF_3, 4, 16},
		{"zen4", TLB_LOAD, 72, 3072},
		{"zen4", TLB_FETCH, 64, 512},
		{"goldencove", TLB_LOAD, 96, 2048},
		{"goldencove", TLB_STORE, 16, 2048},
		{"goldencove", TLB_FETCH, 256, 2048},
	};

	for (size_t i = 0; i < ARRAY_SIZE(reaches); i++) {
		const struct tlb_config *config = &tlb_find_preset(reaches[i].name)->config;
		unsigned int how = reaches[i].how;

		ok(all_found(config, reaches[i].l1, how, TLB_IN_L1), "%s, %#x: L1 is smaller",
		   reaches[i].name, how);
		ok(!all_found(config, reaches[i].l1 + 1, how, TLB_IN_L1), "%s, %#x: L1 is larger",
		   reaches[i].name, how);
		if (!reaches[i].l2)
			continue;
		ok(all_found(config, reaches[i].l2, how, TLB_IN_L2), "%s, %#x: L2 is smaller",
		   reaches[i].name, how);
		ok(!all_found(config, reaches[i].l2 + 1, how, TLB_IN_L2), "%s, %#x: L2 is larger",
		   reaches[i].name, how);
	}
}

int main(void)
{
	RUN(all_can_be_made_in_every_way_they_allow);
	RUN(each_reaches_as_far_as_it_is_said_to);
	return done();
}

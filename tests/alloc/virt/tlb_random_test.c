/* SPDX-License-Identifier: MIT */
/*
 * The TLB model against the slow one: random geometries, and on each random accesses, runs of
 * them, loads of CR3 and invalidations. Where each access was found, and every counter, must be the
 * same.
 * TEST_OPS: operations in all.
 */
#include "slow_tlb.h"
#include "tests/tap/tap.h"
#include "virt/tlb_cpu.h"

#define OPS_A_TLB 4000

static struct slow_tlb slow;

static u64 below(unsigned long *seed, u64 n)
{
	return tap_random(seed) % n;
}

/* Of up to 128 entries, or of one set of TLB_MAX_WAYS. */
static struct tlb_geometry random_geometry(unsigned long *seed)
{
	static const u16 ways[] = {1, 2, 3, 4, 5, 6, 8, 12, 16, 17, 24, 32, 33, 40, 64, 72, 512};
	struct tlb_geometry geometry = {.name = "random", .kinds = TLB_ALL};
	u16 nr_sets, way = ways[below(seed, ARRAY_SIZE(ways))];

	nr_sets = way > 128 ? 1 : (u16)(1 + below(seed, 128U / way));
	geometry.entries = (u16)(way * nr_sets);
	geometry.ways = nr_sets == 1 && below(seed, 2) ? 0 : way;
	if (way <= 64 && !(way & (way - 1)) && below(seed, 2))
		geometry.replacement = TLB_PLRU;
	if (nr_sets > 1 && !(nr_sets & (nr_sets - 1)) && below(seed, 2))
		geometry.hash = (u8)__builtin_ctz(nr_sets);
	return geometry;
}

static void random_l1(struct tlb_config *config, unsigned long *seed)
{
	int nr = 0;

	for (u8 kinds = 0; kinds < 2; kinds++) {
		u8 levels = TLB_LEVEL(1) | TLB_LEVEL(2) | TLB_LEVEL(3);

		config->arrays[0][nr] = random_geometry(seed);
		config->arrays[0][nr].kinds = kinds ? TLB_INSTRUCTIONS | TLB_STORES : TLB_LOADS;
		config->arrays[0][nr].levels = TLB_LEVEL(1);
		switch (below(seed, 3)) {
		case 0: /* all sizes in one */
			config->arrays[0][nr++].levels = levels;
			break;
		case 1: /* larger ones in another */
			config->arrays[0][nr + 1] = random_geometry(seed);
			config->arrays[0][nr + 1].kinds = config->arrays[0][nr].kinds;
			config->arrays[0][nr + 1].levels = TLB_LEVEL(2);
			nr += 2;
			break;
		default: /* larger ones in pieces */
			nr++;
		}
	}
}

/* Each level mostly has a cache of its own. */
static void random_caches(struct tlb_config *config, unsigned long *seed)
{
	bool own = below(seed, 4);

	for (int i = 0; i < TLB_MAX_CACHES; i++)
		config->caches[i] = random_geometry(seed);
	for (int level = 2; level <= TLB_MAX_LEVELS; level++)
		if (below(seed, 4))
			config->caches[own ? level - 2 : (int)below(seed, 2)].levels |=
				(u8)TLB_LEVEL(level);
}

static struct tlb_config random_config(unsigned long *seed)
{
	const struct tlb_paging *pagings[] = {&tlb_paging_i386, &tlb_paging_pae,
					      &tlb_paging_4_level, &tlb_paging_5_level};
	struct tlb_config config = {.name = "random", .paging = *pagings[below(seed, 4)]};

	random_l1(&config, seed);
	if (below(seed, 4)) {
		config.arrays[1][0] = random_geometry(seed);
		config.arrays[1][0].levels = TLB_LEVEL(1) | (below(seed, 2) ? TLB_LEVEL(2) : 0);
	}
	random_caches(&config, seed);
	if (!below(seed, 4))
		config.lines = random_geometry(seed);
	config.pcid = below(seed, 2);
	config.global = below(seed, 2);
	if (below(seed, 2))
		config.pti = config.pcid ? TLB_PTI_PCID : TLB_PTI_ON;
	return config;
}

/* Pages near each other and far apart, each always of one size: what follows from its number. */
static u64 random_va(unsigned long *seed, u64 nr_pages, unsigned int *how)
{
	u64 page = below(seed, below(seed, 2) ? nr_pages : 8), region = page % 7;

	*how = (unsigned int)(below(seed, 3) | (region < 4	 ? 0
						: region - 3 < 3 ? (region - 3) << 2
								 : 0));
	if (page % 5 == 0)
		*how |= TLB_GLOBAL;
	return region << 40 | page * 0x9E3779B1 % 3 << 30 | (page % 11) << 21 | page / 7 << 12 |
	       (page % 5 == 0 ? 1UL << 47 : 0) | below(seed, 4096);
}

/* As if the array had seen so many lookups that its clock is about to wrap. */
static void wind_clock(struct tlb_array *array, u32 left)
{
	if (array->stamps && array->clock < TLB_CLOCK_MAX / 2)
		array->clock = TLB_CLOCK_MAX - left;
}

/* Addresses of one sort, sometimes more than a batch. */
static void random_run(struct tlb *tlb, unsigned long *seed, u64 nr_pages)
{
	static u64 va[3000];
	size_t nr = below(seed, 100) ? below(seed, 64) : below(seed, ARRAY_SIZE(va));
	unsigned int sort = 0, how;

	for (size_t i = 0; i < nr; i++) {
		va[i] = random_va(seed, nr_pages, &how);
		/* An address has one leaf level and is global or not; its kind is free. */
		if (!i)
			sort = how;
		else if ((how ^ sort) & ~TLB_KIND_MASK)
			va[i] = va[i - 1];
		slow_access(&slow, va[i], sort);
	}
	tlb_run(tlb, va, nr, sort);
}

static void random_step(struct tlb *tlb, unsigned long *seed, u64 nr_pages)
{
	unsigned int how;
	u64 va = random_va(seed, nr_pages, &how);
	u16 pcid = (u16)below(seed, 3);
	enum tlb_found want;
	bool keep;

	switch (below(seed, 200)) {
	case 0:
	case 1:
		keep = below(seed, 4);
		tlb_load_cr3(tlb, pcid, keep);
		slow_load_cr3(&slow, pcid, keep);
		break;
	case 2:
	case 3:
		tlb_invlpg(tlb, va, how);
		slow_invlpg(&slow, va, how);
		break;
	case 4:
		tlb_invpcid(tlb, pcid, va, how);
		slow_invpcid(&slow, pcid, va, how);
		break;
	case 5:
		if (below(seed, 20))
			break;
		tlb_flush_all(tlb);
		slow_flush_all(&slow);
		break;
	case 6:
		for (int i = 0; i < TLB_MAX_ARRAYS; i++)
			wind_clock(&tlb->arrays[below(seed, 2)][i], 1 + (u32)below(seed, 100));
		wind_clock(&tlb->caches[below(seed, 3)], 1 + (u32)below(seed, 30));
		wind_clock(&tlb->lines, 1 + (u32)below(seed, 30));
		break;
	case 7:
	case 8:
	case 9:
	case 10:
		random_run(tlb, seed, nr_pages);
		break;
	default:
		want = slow_access(&slow, va, how);
		ok_eq(tlb_access(tlb, va, how), want);
	}
}

static void same_counts(const struct slow_array *want, const struct tlb_array_counts *got)
{
	ok_eq(got->lookups, want->lookups);
	ok_eq(got->misses, want->misses);
}

static void compare(const struct tlb *tlb)
{
	struct tlb_counts counts;

	tlb_validate(tlb);
	tlb_read_counts(tlb, &counts);
	ok_eq(counts.walks, slow.walks);
	ok_eq(counts.references, slow.references);
	ok_eq(counts.far_references, slow.lines.misses);
	for (int depth = 0; depth < TLB_DEPTH; depth++)
		for (int i = 0; i < TLB_MAX_ARRAYS; i++)
			same_counts(&slow.arrays[depth][i], &counts.arrays[depth][i]);
	for (int i = 0; i < TLB_MAX_CACHES; i++)
		same_counts(&slow.caches[i], &counts.caches[i]);
}

static void both_models_agree(void)
{
	unsigned long seed = tap_seed() | 1, ops = tap_ops(400000);

	for (unsigned long done_ops = 0; done_ops < ops && !tap_failures; done_ops += OPS_A_TLB) {
		struct tlb_config config = random_config(&seed);
		u64 nr_pages = 1 + below(&seed, 400);
		struct tlb *tlb = NULL;

		ok_eq(tlb_create(&config, &tlb), 0);
		if (!tlb)
			return;
		slow_init(&slow, &config);
		tlb_load_cr3(tlb, 1, false);
		slow_load_cr3(&slow, 1, false);
		for (int i = 0; i < OPS_A_TLB && !tap_failures; i++)
			random_step(tlb, &seed, nr_pages);
		compare(tlb);
		tlb_destroy(tlb);
	}
}

int main(void)
{
	RUN(both_models_agree);
	return done();
}

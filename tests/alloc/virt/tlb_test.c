/* SPDX-License-Identifier: MIT */
/*
 * The TLB model against sequences worked out by hand: replacement, sets, kinds, page sizes, and
 * what walks read.
 */
#include <errno.h>

#include "tests/tap/tap.h"
#include "virt/tlb_cpu.h"

#define P(n) ((u64)(n) << 12)
#define GIB  (1UL << 30)
#define MIB2 (1UL << 21)

/* 4 KiB pages only, one L1 for everything, no L2, no page-walk caches. */
static struct tlb_config one_array(u16 entries, u16 ways, u8 replacement)
{
	struct tlb_config config = {.name = "one", .paging = tlb_paging_4_level};

	config.arrays[0][0] = (struct tlb_geometry){.name = "all",
						    .entries = entries,
						    .ways = ways,
						    .kinds = TLB_ALL,
						    .levels = TLB_LEVEL(1),
						    .replacement = replacement};
	return config;
}

static struct tlb *create(const struct tlb_config *config)
{
	struct tlb *tlb = NULL;
	int error = tlb_create(config, &tlb);

	if (error) {
		printf("Bail out! tlb_create: %s\n", strerror(-error));
		exit(1);
	}
	return tlb;
}

/* Access these pages; the answer has a letter for each: h(it in L1), 2, w(alk). */
static void expect(struct tlb *tlb, const char *pages, const char *want, unsigned int how)
{
	char got[64] = "";

	for (size_t i = 0; pages[i]; i++)
		got[i] = "h2w"[tlb_access(tlb, P(pages[i] - 'A'), how)];
	ok(!strcmp(got, want), "%s gave %s, not %s", pages, got, want);
	tlb_validate(tlb);
}

static void lru_evicts_the_least_recently_used(void)
{
	struct tlb_config config = one_array(4, 0, TLB_LRU);
	struct tlb *tlb = create(&config);

	expect(tlb, "ABCD", "wwww", 0);
	/* A is touched, so B is the oldest, then C, D, A. */
	expect(tlb, "AE", "hw", 0);
	expect(tlb, "ACDE", "hhhh", 0);
	expect(tlb, "BA", "ww", 0);
	tlb_destroy(tlb);
}

static void pseudo_lru_evicts_where_the_tree_points(void)
{
	struct tlb_config config = one_array(4, 0, TLB_PLRU);
	struct tlb *tlb = create(&config);

	/* After D the root points left, at A and B, and their node at A. Touching A turns the root
	 * to C and D, whose node points to C: E evicts C, where true LRU would evict B. */
	expect(tlb, "ABCDAE", "wwwwhw", 0);
	expect(tlb, "BADE", "hhhh", 0);
	/* Root and node now point: after D and E (in C's place) to the left; after A, to B. */
	expect(tlb, "C", "w", 0);
	expect(tlb, "B", "w", 0);
	tlb_destroy(tlb);
}

static void sets_are_the_low_bits_of_the_page_number(void)
{
	struct tlb_config config = one_array(4, 2, TLB_LRU);
	struct tlb *tlb = create(&config);

	/* A, C, E and G share a set; B is alone in the other. */
	expect(tlb, "ABCAEACB", "wwwhwhwh", 0);
	tlb_destroy(tlb);
}

static void any_number_of_sets_will_do(void)
{
	struct tlb_config config = one_array(6, 2, TLB_LRU);
	struct tlb *tlb = create(&config);

	/* Three sets: A, D, G, J | B, E | C. */
	expect(tlb, "ABCDE", "wwwww", 0);
	expect(tlb, "ADBEC", "hhhhh", 0);
	expect(tlb, "GDA", "whw", 0);
	expect(tlb, "BEC", "hhh", 0);
	tlb_destroy(tlb);
}

static void a_hash_folds_two_groups_of_bits(void)
{
	struct tlb_config config = one_array(4, 1, TLB_LRU);
	struct tlb *tlb;

	config.arrays[0][0].hash = 2;
	tlb = create(&config);
	/* Page 0 and 5 (01 01) are of set 0, 4 (01 00) and 1 of set 1. */
	ok_eq(tlb_access(tlb, P(0), 0), TLB_WALKED);
	ok_eq(tlb_access(tlb, P(4), 0), TLB_WALKED);
	ok_eq(tlb_access(tlb, P(0), 0), TLB_IN_L1);
	ok_eq(tlb_access(tlb, P(1), 0), TLB_WALKED);
	ok_eq(tlb_access(tlb, P(4), 0), TLB_WALKED);
	ok_eq(tlb_access(tlb, P(5), 0), TLB_WALKED);
	ok_eq(tlb_access(tlb, P(0), 0), TLB_WALKED);
	tlb_destroy(tlb);
}

/* L1 of two for data and two for instructions, and an L2 of four for both. */
static struct tlb_config split(void)
{
	struct tlb_config config = one_array(2, 0, TLB_LRU);

	config.arrays[0][0].kinds = TLB_DATA;
	config.arrays[0][1] = config.arrays[0][0];
	config.arrays[0][1].kinds = TLB_INSTRUCTIONS;
	config.arrays[1][0] = config.arrays[0][0];
	config.arrays[1][0].entries = 4;
	config.arrays[1][0].kinds = TLB_ALL;
	config.l2_hit_cycles = 7;
	config.walk_cycles = 5;
	config.ref_cycles = 10;
	return config;
}

static void split_first_levels_share_a_second(void)
{
	struct tlb_config config = split();
	struct tlb *tlb = create(&config);
	struct tlb_counts counts;

	expect(tlb, "AB", "ww", TLB_LOAD);
	expect(tlb, "A", "2", TLB_FETCH);
	expect(tlb, "AB", "hh", TLB_STORE);
	expect(tlb, "C", "w", TLB_LOAD);
	/* L1 for data had A, B, used in this order; C took A's place. A came to L2 first, and a
	 * fetch has used it since; D is the fourth there. */
	expect(tlb, "DA", "w2", TLB_LOAD);
	/* L2 has A (used last), B, C, D: E evicts B, which L1 lost to D. */
	expect(tlb, "EB", "ww", TLB_LOAD);
	tlb_read_counts(tlb, &counts);
	ok_eq(counts.accesses, 10);
	ok_eq(counts.found[TLB_IN_L1], 2);
	ok_eq(counts.found[TLB_IN_L2], 2);
	ok_eq(counts.walks, 6);
	ok_eq(counts.references, 24);
	ok_eq(counts.cycles, 2 * 7 + 6 * 5 + 24 * 10);
	ok_eq(counts.arrays[0][1].lookups, 1);
	ok_eq(counts.arrays[0][1].misses, 1);
	ok_eq(counts.arrays[1][0].lookups, 8);
	ok_eq(counts.arrays[1][0].misses, 6);
	ok(!counts.arrays[0][2].name && !counts.caches[0].name, "arrays that are not there");
	tlb_destroy(tlb);
}

/* References of one access that must walk. */
static u64 refs(struct tlb *tlb, u64 va, unsigned int how)
{
	struct tlb_counts before, after;

	tlb_read_counts(tlb, &before);
	tlb_access(tlb, va, how);
	tlb_read_counts(tlb, &after);
	ok_eq(after.walks, before.walks + 1);
	return after.references - before.references;
}

/* A TLB that holds one page of each size, so that nearly every access walks. */
static struct tlb_config walker(const struct tlb_paging *paging)
{
	struct tlb_config config = {.name = "walker", .paging = *paging};

	for (u8 i = 0; i < 3; i++)
		config.arrays[0][i] = (struct tlb_geometry){.name = "page",
							    .entries = 1,
							    .kinds = TLB_ALL,
							    .levels = (u8)TLB_LEVEL(i + 1)};
	config.caches[0] =
		(struct tlb_geometry){.name = "PDE", .entries = 2, .levels = TLB_LEVEL(2)};
	config.caches[1] =
		(struct tlb_geometry){.name = "PDPTE", .entries = 1, .levels = TLB_LEVEL(3)};
	config.caches[2] =
		(struct tlb_geometry){.name = "PML4E", .entries = 1, .levels = TLB_LEVEL(4)};
	return config;
}

static void a_walk_reads_what_the_walk_caches_lack(void)
{
	struct tlb_config config = walker(&tlb_paging_4_level);
	struct tlb *tlb = create(&config);

	ok_eq(refs(tlb, 0, TLB_LEAF_1), 4);
	ok_eq(refs(tlb, P(1), TLB_LEAF_1), 1);	   /* the directory's entry is there */
	ok_eq(refs(tlb, MIB2, TLB_LEAF_1), 2);	   /* the one above it */
	ok_eq(refs(tlb, P(2), TLB_LEAF_1), 1);	   /* two directory entries fit */
	ok_eq(refs(tlb, 2 * MIB2, TLB_LEAF_1), 2); /* and the older one, MIB2's, went */
	ok_eq(refs(tlb, MIB2 + P(1), TLB_LEAF_1), 2);
	ok_eq(refs(tlb, GIB, TLB_LEAF_1), 3);
	ok_eq(refs(tlb, 512 * GIB, TLB_LEAF_1), 4);
	ok_eq(refs(tlb, 512 * GIB + P(1), TLB_LEAF_1), 1);
	tlb_destroy(tlb);
}

static void larger_pages_end_the_walk_sooner(void)
{
	struct tlb_config config = walker(&tlb_paging_4_level);
	struct tlb *tlb = create(&config);

	ok_eq(refs(tlb, 0, TLB_LEAF_2), 3);
	ok_eq(refs(tlb, MIB2, TLB_LEAF_2), 1);
	/* A leaf is in no walk cache: the directory's cache has nothing of it. */
	ok_eq(refs(tlb, MIB2, TLB_LEAF_1), 2);
	ok_eq(refs(tlb, GIB, TLB_LEAF_3), 1);
	ok_eq(refs(tlb, 512 * GIB, TLB_LEAF_3), 2);
	tlb_destroy(tlb);
}

static void a_fifth_level_is_one_reference_more(void)
{
	struct tlb_config config = walker(&tlb_paging_5_level);
	struct tlb *tlb = create(&config);

	ok_eq(refs(tlb, 0, TLB_LEAF_1), 5);
	ok_eq(refs(tlb, P(1), TLB_LEAF_1), 1);
	ok_eq(refs(tlb, 512 * GIB, TLB_LEAF_1), 5); /* nothing caches level 5 */
	tlb_destroy(tlb);
	config.caches[3] =
		(struct tlb_geometry){.name = "PML5E", .entries = 1, .levels = TLB_LEVEL(5)};
	tlb = create(&config);
	ok_eq(refs(tlb, 0, TLB_LEAF_1), 5);
	ok_eq(refs(tlb, 512 * GIB, TLB_LEAF_1), 4);
	tlb_destroy(tlb);
}

static void other_formats_have_their_own_levels(void)
{
	struct tlb_config config = walker(&tlb_paging_i386);
	struct tlb *tlb = create(&config);

	ok_eq(refs(tlb, 0, TLB_LEAF_1), 2);
	ok_eq(refs(tlb, P(1023), TLB_LEAF_1), 1);
	ok_eq(refs(tlb, P(1024), TLB_LEAF_1), 2);
	ok_eq(refs(tlb, 4UL << 20, TLB_LEAF_2), 1);
	/* 4 MiB: the same page at its end. */
	ok_eq(tlb_access(tlb, (8UL << 20) - 1, TLB_LEAF_2), TLB_IN_L1);
	tlb_destroy(tlb);
	config = walker(&tlb_paging_pae);
	tlb = create(&config);
	ok_eq(refs(tlb, 0, TLB_LEAF_1), 3);
	ok_eq(refs(tlb, P(512), TLB_LEAF_1), 2);
	tlb_destroy(tlb);
}

static void a_page_too_large_for_l1_is_held_in_pieces(void)
{
	struct tlb_config config = one_array(4, 0, TLB_LRU);
	struct tlb *tlb;

	config.arrays[1][0] = config.arrays[0][0];
	config.arrays[1][0].levels = TLB_LEVEL(2);
	tlb = create(&config);
	ok_eq(refs(tlb, MIB2, TLB_LEAF_2), 3);
	ok_eq(tlb_access(tlb, MIB2 + P(1), TLB_LEAF_2), TLB_IN_L2);
	ok_eq(tlb_access(tlb, MIB2 + P(2), TLB_LEAF_2), TLB_IN_L2);
	ok_eq(tlb_access(tlb, MIB2, TLB_LEAF_2), TLB_IN_L1);
	/* All pieces go with the page. */
	tlb_invlpg(tlb, MIB2 + P(77), TLB_LEAF_2);
	ok_eq(tlb_access(tlb, MIB2, TLB_LEAF_2), TLB_WALKED);
	ok_eq(tlb_access(tlb, MIB2 + P(1), TLB_LEAF_2), TLB_IN_L2);
	tlb_destroy(tlb);
}

static void the_same_number_at_two_sizes_is_two_pages(void)
{
	struct tlb_config config = one_array(4, 0, TLB_LRU);
	struct tlb *tlb;

	config.arrays[0][0].levels = TLB_LEVEL(1) | TLB_LEVEL(2) | TLB_LEVEL(3);
	tlb = create(&config);
	ok_eq(tlb_access(tlb, P(1), TLB_LEAF_1), TLB_WALKED);
	ok_eq(tlb_access(tlb, MIB2, TLB_LEAF_2), TLB_WALKED);
	ok_eq(tlb_access(tlb, GIB, TLB_LEAF_3), TLB_WALKED);
	ok_eq(tlb_access(tlb, P(1), TLB_LEAF_1), TLB_IN_L1);
	ok_eq(tlb_access(tlb, 2 * MIB2 - 1, TLB_LEAF_2), TLB_IN_L1);
	ok_eq(tlb_access(tlb, 2 * GIB - 1, TLB_LEAF_3), TLB_IN_L1);
	tlb_destroy(tlb);
}

static void both_halves_of_the_space_are_told_apart(void)
{
	struct tlb_config config = one_array(4, 0, TLB_LRU);
	struct tlb *tlb = create(&config);

	ok_eq(tlb_access(tlb, 0xffff888000000000, 0), TLB_WALKED);
	ok_eq(tlb_access(tlb, 0x0000888000000000, 0), TLB_WALKED);
	ok_eq(tlb_access(tlb, 0xffff888000000fff, 0), TLB_IN_L1);
	tlb_destroy(tlb);
}

static void a_run_of_accesses_is_as_one_by_one(void)
{
	struct tlb_config config = split();
	struct tlb *one = create(&config), *run = create(&config);
	struct tlb_counts a, b;
	u64 va[500], seed = 7;

	for (size_t i = 0; i < ARRAY_SIZE(va); i++) {
		va[i] = P(tap_random(&seed) % 6);
		tlb_access(one, va[i], TLB_LOAD);
	}
	tlb_run(run, va, ARRAY_SIZE(va), TLB_LOAD);
	tlb_read_counts(one, &a);
	tlb_read_counts(run, &b);
	ok(!memcmp(&a, &b, sizeof(a)), "%llu and %llu walks", (unsigned long long)a.walks,
	   (unsigned long long)b.walks);
	tlb_destroy(one);
	tlb_destroy(run);
}

static void refused(const struct tlb_config *config, const char *what)
{
	struct tlb *tlb = NULL;

	ok_eq(tlb_create(config, &tlb), -EINVAL);
	ok(!tlb, "%s", what);
}

static void configurations_that_contradict_themselves_are_refused(void)
{
	struct tlb_config config = one_array(12, 5, TLB_LRU);

	refused(&config, "entries that are no multiple of the ways");
	config = one_array(12, 6, TLB_PLRU);
	refused(&config, "a tree of six");
	config = one_array(1024, 0, TLB_LRU);
	refused(&config, "too many ways");
	config = one_array(12, 4, TLB_LRU);
	config.arrays[0][0].hash = 2;
	refused(&config, "a hash over three sets");
	config = one_array(4, 0, TLB_LRU);
	config.arrays[0][0].kinds = TLB_DATA;
	refused(&config, "no L1 for instructions");
	config = one_array(4, 0, TLB_LRU);
	config.arrays[0][1] = config.arrays[0][0];
	refused(&config, "two for the same");
	config = one_array(4, 0, TLB_LRU);
	config.paging.shift[2] = 12;
	refused(&config, "a level of no bits");
	config = one_array(4, 0, TLB_LRU);
	config.pti = TLB_PTI_PCID;
	refused(&config, "PCIDs for isolation, and no PCIDs");
	config.pti = TLB_PTI_ON;
	config.pcid = true;
	refused(&config, "isolation without PCIDs, and PCIDs");
	config = walker(&tlb_paging_4_level);
	config.caches[3] = config.caches[0];
	refused(&config, "two caches for a level");
}

/* One entry, so that each access to another page walks; 8 entries of tables a line. */
static void references_beyond_the_lines_that_are_held_are_far(void)
{
	struct tlb_config config = one_array(1, 1, TLB_LRU);
	struct tlb_counts counts;
	struct tlb *tlb;

	config.lines = (struct tlb_geometry){.name = "lines", .entries = 8};
	config.pcid = true;
	config.ref_cycles = 10;
	config.far_cycles = 100;
	tlb = create(&config);
	tlb_access(tlb, P(0), 0); /* four levels, four lines */
	tlb_access(tlb, P(7), 0); /* the same ones */
	tlb_access(tlb, P(8), 0); /* another at level 1 */
	tlb_access(tlb, P(512), 0); /* another at level 1, the next entry at level 2 */
	tlb_access(tlb, P(8 * 512), 0); /* others at levels 1 and 2: now 8 are held */
	tlb_read_counts(tlb, &counts);
	ok_eq(counts.walks, 5);
	ok_eq(counts.references, 20);
	ok_eq(counts.far_references, 8);
	ok_eq(counts.cycles, 20 * 10 + 8 * 100);
	/* What empties a TLB leaves the data caches as they are. */
	tlb_flush_all(tlb);
	tlb_access(tlb, P(1), 0);
	tlb_read_counts(tlb, &counts);
	ok_eq(counts.far_references, 8);
	/* Another address space has tables of its own. */
	tlb_load_cr3(tlb, 5, true);
	tlb_access(tlb, P(1), 0);
	tlb_read_counts(tlb, &counts);
	ok_eq(counts.far_references, 12);
	tlb_validate(tlb);
	tlb_destroy(tlb);
}

static void a_line_of_an_i386_table_has_16_entries(void)
{
	struct tlb_config config = one_array(1, 1, TLB_LRU);
	struct tlb_counts counts;
	struct tlb *tlb;

	config.paging = tlb_paging_i386;
	config.lines = (struct tlb_geometry){.name = "lines", .entries = 8};
	tlb = create(&config);
	tlb_access(tlb, P(0), 0);
	tlb_access(tlb, P(15), 0);
	tlb_read_counts(tlb, &counts);
	ok_eq(counts.far_references, 2);
	tlb_access(tlb, P(16), 0);
	tlb_read_counts(tlb, &counts);
	ok_eq(counts.far_references, 3);
	tlb_destroy(tlb);
}

int main(void)
{
	RUN(lru_evicts_the_least_recently_used);
	RUN(pseudo_lru_evicts_where_the_tree_points);
	RUN(sets_are_the_low_bits_of_the_page_number);
	RUN(any_number_of_sets_will_do);
	RUN(a_hash_folds_two_groups_of_bits);
	RUN(split_first_levels_share_a_second);
	RUN(a_walk_reads_what_the_walk_caches_lack);
	RUN(larger_pages_end_the_walk_sooner);
	RUN(a_fifth_level_is_one_reference_more);
	RUN(other_formats_have_their_own_levels);
	RUN(a_page_too_large_for_l1_is_held_in_pieces);
	RUN(the_same_number_at_two_sizes_is_two_pages);
	RUN(both_halves_of_the_space_are_told_apart);
	RUN(a_run_of_accesses_is_as_one_by_one);
	RUN(references_beyond_the_lines_that_are_held_are_far);
	RUN(a_line_of_an_i386_table_has_16_entries);
	RUN(configurations_that_contradict_themselves_are_refused);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* kmm tlb --probe: its memory; its chains, that they visit what they say, each line once; and the
 * patterns that nothing is fitted to. */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "arch/host.h"
#include "bench/probe/probe.h"
#include "tests/tap/tap.h"

#define PAGES 4096UL

/* Follow the chain for one round; lines are counted, whose numbers are in [0, PAGES * 64). */
static u32 visit(char *base, const u64 *offsets, u32 nr, u8 *seen)
{
	void **first = probe_chain_link(base, offsets, nr), **at = first;
	u32 visited = 0;

	do {
		seen[((char *)at - base) / 64]++;
		at = *at;
		visited++;
	} while (at != first && visited <= nr);
	return visited;
}

static u32 nr_seen(const u8 *seen, u64 nr, u8 times)
{
	u32 lines = 0;

	for (u64 i = 0; i < nr; i++)
		lines += seen[i] == times;
	return lines;
}

/* How many of the offsets' pages are different. */
static u32 nr_pages_of(const u64 *offsets, u32 nr)
{
	static u8 pages[PAGES];
	u32 found = 0;

	memset(pages, 0, sizeof(pages));
	for (u32 i = 0; i < nr; i++)
		found += !pages[offsets[i] / PROBE_PAGE]++;
	return found;
}

static void check_chain(enum probe_layout layout, u32 nr, u64 span, char *memory, u8 *seen)
{
	struct probe_chain chain;
	int lines[2][64] = {{0}};

	if (probe_chain_make(&chain, layout, nr, span, nr + 3)) {
		ok(false, "%s: %u lines", probe_layout_names[layout], nr);
		return;
	}
	memset(seen, 0, PAGES * 64);
	ok_eq(visit(memory, chain.lines, nr, seen), nr);
	ok_eq(nr_seen(seen, PAGES * 64, 1), nr);
	ok_eq(nr_pages_of(chain.lines, nr), nr);
	memset(seen, 0, PAGES * 64);
	ok_eq(visit(memory, chain.packed, nr, seen), nr);
	ok_eq(nr_seen(seen, PAGES * 64, 1), nr);
	ok_eq(nr_pages_of(chain.packed, nr), (nr + 63) / 64);
	for (u32 i = 0; i < nr; i++) {
		ok(chain.lines[i] < span * PROBE_PAGE, "beyond its span");
		lines[0][chain.lines[i] / 64 % 64]++;
		lines[1][chain.packed[i] / 64 % 64]++;
	}
	ok(!memcmp(lines[0], lines[1], sizeof(lines[0])),
	   "%s: %u lines: other sets of a cache packed", probe_layout_names[layout], nr);
	probe_chain_free(&chain);
}

static void chains_visit_every_line_once(void)
{
	static const u32 lengths[] = {1, 2, 7, 8, 63, 64, 65, 1000, PAGES};
	char *memory = aligned_alloc(PROBE_HUGE, PAGES * PROBE_PAGE);
	u8 *seen = malloc(PAGES * 64);

	for (int layout = 0; layout < PROBE_NR_LAYOUTS && memory && seen; layout++)
		for (size_t i = 0; i < ARRAY_SIZE(lengths); i++)
			if (lengths[i] <= probe_chain_limit((enum probe_layout)layout, PAGES))
				check_chain((enum probe_layout)layout, lengths[i], PAGES, memory,
					    seen);
	check_chain(PROBE_SPAN, 100, 128, memory, seen);
	free(memory);
	free(seen);
}

static void strides_and_large_pages_have_an_entry_each(void)
{
	struct probe_chain chain;
	u64 entries[8] = {0};

	for (int large = 0; large < 2; large++) {
		memset(entries, 0, sizeof(entries));
		ok_eq(probe_chain_make(&chain, large ? PROBE_LARGE : PROBE_STRIDE, 8, PAGES, 5), 0);
		for (u32 i = 0; i < 8; i++)
			entries[chain.lines[i] / PROBE_HUGE]++;
		for (int i = 0; i < 8; i++)
			ok_eq(entries[i], 1);
		probe_chain_free(&chain);
	}
}

static void a_seed_is_a_chain(void)
{
	struct probe_chain a, b, c;

	ok_eq(probe_chain_make(&a, PROBE_SPREAD, 500, PAGES, 1), 0);
	ok_eq(probe_chain_make(&b, PROBE_SPREAD, 500, PAGES, 1), 0);
	ok_eq(probe_chain_make(&c, PROBE_SPREAD, 500, PAGES, 2), 0);
	ok(!memcmp(a.lines, b.lines, 500 * sizeof(*a.lines)), "another");
	ok(memcmp(a.lines, c.lines, 500 * sizeof(*a.lines)), "the same");
	probe_chain_free(&a);
	probe_chain_free(&b);
	probe_chain_free(&c);
}

static void chains_that_have_no_room_are_refused(void)
{
	struct probe_chain chain;

	ok(probe_chain_make(&chain, PROBE_DENSE, 0, PAGES, 1) < 0, "no lines");
	ok(probe_chain_make(&chain, PROBE_DENSE, PAGES + 1, PAGES, 1) < 0, "more than pages");
	ok(probe_chain_make(&chain, PROBE_STRIDE, 9, PAGES, 1) < 0, "more than entries");
}

static void running_follows_the_chain(void)
{
	static char memory[64 * 64] __attribute__((aligned(4096)));
	struct probe_chain chain;
	void **at, **first;

	ok_eq(probe_chain_make(&chain, PROBE_DENSE, 64, 64, 1), 0);
	first = at = probe_chain_link(memory, chain.packed, 64);
	probe_chain_run(&at, 8);
	ok(at == (void **)(memory + chain.packed[8]), "elsewhere");
	probe_chain_run(&at, 56);
	ok(at == first, "not round");
	ok(probe_core_per_clock() > 0, "no clock");
	probe_chain_free(&chain);
}

static void smaps_is_read_where_the_region_is(void)
{
	char text[] = "1000-3000 rw-p 00000000 00:00 0 \nSize: 8 kB\nAnonHugePages:      4 kB\n"
		      "200000-600000 rw-p 00000000 00:00 0 \nAnonHugePages:   2048 kB\n"
		      "600000-800000 rw-p 00000000 00:00 0 \nAnonHugePages:   1024 kB\n"
		      "800000-900000 rw-p 00000000 00:00 0 \nAnonHugePages:      8 kB\n";
	FILE *smaps = fmemopen(text, sizeof(text) - 1, "r");

	ok_eq(probe_huge_bytes(smaps, 0x200000, 0x800000), 3072 * 1024);
	rewind(smaps);
	ok_eq(probe_huge_bytes(smaps, 0x900000, 0xa00000), 0);
	fclose(smaps);
}

/* As the host refuses the nth thing that is asked of it, nothing is left. */
static void memory_that_is_refused_leaves_nothing(void)
{
	struct probe_memory memory = {0};
	unsigned long nth = 1;

	for (; nth < 10; nth++) {
		host_fail_nth(nth);
		if (!probe_memory_begin(&memory, PROBE_HUGE_PAGES))
			break;
		ok(!memory.base && !memory.size, "something is left");
	}
	host_fail_nth(0);
	ok_eq(nth, 4);
	probe_memory_end(&memory);
	ok(!memory.base, "not given back");
}

static void without_huge_pages_that_is_seen(void)
{
	struct probe_memory memory = {0};

	if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)) {
		skip("the host cannot go without huge pages");
		return;
	}
	ok_eq(probe_memory_begin(&memory, 2 * PROBE_HUGE_PAGES), 0);
	ok(!memory.is_huge, "there are huge pages");
	ok_eq(memory.huge_bytes, 0);
	ok_eq(memory.small_bad_bytes, 0);
	probe_memory_end(&memory);
	prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
}

/* Every pattern of the rule is there once, and has a name of its own; the model is asked for each. */
static void unseen_patterns_follow_the_rule(void)
{
	static struct probe_check checks[PROBE_MAX_CHECKS];
	const struct tlb_config *config = &tlb_find_preset("skylake")->config;
	struct probe_memory memory = {0};
	int nr;

	ok_eq(probe_memory_begin(&memory, 4096), 0);
	nr = probe_checks(&memory, config, checks);
	/* 256 KiB, 512 KiB .. 16 MiB: seven footprints, of four sorts each. */
	ok_eq(nr, 28);
	ok(!strcmp(checks[0].name, "random over 256 KiB"), "%s", checks[0].name);
	ok(!strcmp(checks[1].name, "zipf over 256 KiB"), "%s", checks[1].name);
	ok(!strcmp(checks[2].name, "stride of 4 KiB over 256 KiB"), "%s", checks[2].name);
	ok(!strcmp(checks[3].name, "stride of 8 KiB over 256 KiB"), "%s", checks[3].name);
	ok(!strcmp(checks[26].name, "stride of 52 KiB over 16 MiB"), "%s", checks[26].name);
	ok(!strcmp(checks[27].name, "stride of 64 KiB over 16 MiB"), "%s", checks[27].name);
	/* 64 pages are what Skylake's L1 holds. */
	ok(checks[2].modelled < 0.01, "%g cycles in L1", checks[2].modelled);
	ok(checks[24].modelled > 1, "%g cycles beyond L2", checks[24].modelled);
	probe_memory_end(&memory);
}

int main(void)
{
	RUN(chains_visit_every_line_once);
	RUN(strides_and_large_pages_have_an_entry_each);
	RUN(a_seed_is_a_chain);
	RUN(chains_that_have_no_room_are_refused);
	RUN(running_follows_the_chain);
	RUN(smaps_is_read_where_the_region_is);
	RUN(memory_that_is_refused_leaves_nothing);
	RUN(without_huge_pages_that_is_seen);
	RUN(unseen_patterns_follow_the_rule);
	return done();
}

/* SPDX-License-Identifier: MIT */
/*
 * Address spaces in the TLB model: PCIDs, global entries, invalidations, page-table isolation and
 * shootdowns; and at random, that no translation is used after it was shot down.
 */
#include "tests/tap/dies.h"
#include "virt/tlb_cpu.h"

#define P(n)   ((u64)(n) << 12)
#define KERNEL 0xffffffff81000000UL

static struct tlb_config config_of(bool pcid, enum tlb_pti pti)
{
	struct tlb_config config = {.name = "spaces",
				    .paging = tlb_paging_4_level,
				    .pcid = pcid,
				    .global = true,
				    .pti = (u8)pti};

	config.arrays[0][0] = (struct tlb_geometry){.name = "L1",
						    .entries = 8,
						    .kinds = TLB_ALL,
						    .levels = TLB_LEVEL(1) | TLB_LEVEL(2)};
	config.arrays[1][0] = config.arrays[0][0];
	config.arrays[1][0].entries = 48; /* a wide one */
	config.caches[0] =
		(struct tlb_geometry){.name = "PDE", .entries = 4, .levels = TLB_LEVEL(2)};
	return config;
}

static struct tlb *create(bool pcid, enum tlb_pti pti)
{
	struct tlb_config config = config_of(pcid, pti);
	struct tlb *tlb = NULL;

	if (tlb_create(&config, &tlb)) {
		printf("Bail out! tlb_create\n");
		exit(1);
	}
	return tlb;
}

static bool walks(struct tlb *tlb, u64 va, unsigned int how)
{
	enum tlb_found found = tlb_access(tlb, va, how);

	tlb_validate(tlb);
	return found == TLB_WALKED;
}

static u64 flushes(const struct tlb *tlb)
{
	struct tlb_counts counts;

	tlb_read_counts(tlb, &counts);
	return counts.flushes;
}

static void without_pcid_cr3_takes_all_but_global_entries(void)
{
	struct tlb *tlb = create(false, TLB_PTI_OFF);
	struct tlb_counts counts;

	ok(walks(tlb, P(1), 0) && walks(tlb, KERNEL, TLB_GLOBAL), "new");
	tlb_load_cr3(tlb, 5, true);
	ok(walks(tlb, P(1), 0), "the user's went");
	ok(!walks(tlb, KERNEL, TLB_GLOBAL), "the global one stayed");
	/* The page-walk caches went too: both walks read all of four levels. */
	tlb_read_counts(tlb, &counts);
	ok_eq(counts.references, 12);
	tlb_destroy(tlb);
}

static void with_pcid_each_space_keeps_its_own(void)
{
	struct tlb *tlb = create(true, TLB_PTI_OFF);

	tlb_load_cr3(tlb, 1, true);
	ok(walks(tlb, P(1), 0), "new in 1");
	tlb_load_cr3(tlb, 2, true);
	ok(walks(tlb, P(1), 0), "another space's is not used");
	ok(walks(tlb, KERNEL, TLB_GLOBAL), "new");
	tlb_load_cr3(tlb, 1, true);
	ok(!walks(tlb, P(1), 0) && !walks(tlb, KERNEL, TLB_GLOBAL), "kept, and shared");
	tlb_load_cr3(tlb, 2, false);
	ok(walks(tlb, P(1), 0), "2 was flushed");
	tlb_load_cr3(tlb, 1, true);
	ok(!walks(tlb, P(1), 0), "1 was not");
	ok_eq(flushes(tlb), 1);
	tlb_destroy(tlb);
}

static void invlpg_takes_the_page_and_global_ones(void)
{
	struct tlb *tlb = create(true, TLB_PTI_OFF);
	struct tlb_counts counts;

	tlb_load_cr3(tlb, 2, true);
	walks(tlb, P(1), 0);
	tlb_load_cr3(tlb, 1, true);
	walks(tlb, P(1), 0);
	walks(tlb, P(2), 0);
	walks(tlb, P(3), TLB_GLOBAL);
	tlb_invlpg(tlb, P(1) + 5, 0);
	tlb_invlpg(tlb, P(3), 0);
	ok(!walks(tlb, P(2), 0), "the neighbour stayed");
	tlb_read_counts(tlb, &counts);
	ok_eq(counts.references, 4 + 4 + 1 + 1);
	ok(walks(tlb, P(1), 0) && walks(tlb, P(3), TLB_GLOBAL), "they went");
	tlb_read_counts(tlb, &counts);
	ok_eq(counts.references, 10 + 4 + 1); /* and with them the PCID's page-walk cache */
	tlb_load_cr3(tlb, 2, true);
	ok(!walks(tlb, P(1), 0), "the other PCID's stayed");
	tlb_invpcid(tlb, 1, P(1), 0);
	ok(!walks(tlb, P(1), 0), "another PCID's went, not this one's");
	tlb_load_cr3(tlb, 1, true);
	ok(walks(tlb, P(1), 0), "that one");
	tlb_flush_all(tlb);
	ok(walks(tlb, P(3), TLB_GLOBAL), "global ones too");
	tlb_destroy(tlb);
}

/* A system call of one kernel page, amid two user pages: walks of that in the steady state. */
static u64 walks_of_a_call(bool pcid, enum tlb_pti pti)
{
	struct tlb *tlb = create(pcid, pti);
	struct tlb_counts before, after;

	tlb_switch(tlb, 1);
	for (int i = 0; i < 5; i++) {
		tlb_read_counts(tlb, &before);
		tlb_access(tlb, P(1), 0);
		tlb_access(tlb, P(2), 0);
		tlb_enter_kernel(tlb);
		tlb_access(tlb, KERNEL, TLB_GLOBAL);
		tlb_exit_kernel(tlb);
		tlb_read_counts(tlb, &after);
	}
	ok_eq(after.kernel_entries, 5);
	ok_eq(after.cr3_loads, 1 + (pti ? 10 : 0));
	tlb_destroy(tlb);
	return after.walks - before.walks;
}

static void isolation_costs_walks_unless_there_are_pcids(void)
{
	ok_eq(walks_of_a_call(false, TLB_PTI_OFF), 0);
	ok_eq(walks_of_a_call(true, TLB_PTI_OFF), 0);
	ok_eq(walks_of_a_call(false, TLB_PTI_ON), 3);
	ok_eq(walks_of_a_call(true, TLB_PTI_PCID), 0);
}

static void isolation_gives_each_mode_entries_of_its_own(void)
{
	struct tlb *tlb = create(true, TLB_PTI_PCID);

	tlb_switch(tlb, 1);
	ok(walks(tlb, P(1), 0), "new");
	tlb_enter_kernel(tlb);
	ok(walks(tlb, P(1), 0), "the kernel reads the user's page through its own tables");
	tlb_exit_kernel(tlb);
	ok(!walks(tlb, P(1), 0), "kept");
	tlb_destroy(tlb);
}

static void the_first_space_is_no_switch(void)
{
	struct tlb *tlb = create(true, TLB_PTI_OFF);
	struct tlb_counts counts;

	for (u32 i = 0; i < 4; i++)
		tlb_switch(tlb, 1 + i / 2);
	tlb_read_counts(tlb, &counts);
	ok_eq(counts.switches, 1);
	ok_eq(counts.cr3_loads, 2);
	tlb_destroy(tlb);
}

static void six_spaces_are_remembered(void)
{
	struct tlb *tlb = create(true, TLB_PTI_OFF);

	for (u32 space = 1; space <= 6; space++) {
		tlb_switch(tlb, space);
		ok(walks(tlb, P(1), 0), "space %u", space);
	}
	for (u32 space = 1; space <= 6; space++) {
		tlb_switch(tlb, space);
		ok(!walks(tlb, P(1), 0), "space %u again", space);
	}
	ok_eq(flushes(tlb), 6);
	/* The seventh takes the slot of the first, and that then another's. */
	tlb_switch(tlb, 7);
	ok(walks(tlb, P(1), 0), "the seventh does not see the first's");
	tlb_switch(tlb, 3);
	ok(!walks(tlb, P(1), 0), "the third is still there");
	tlb_switch(tlb, 1);
	ok(walks(tlb, P(1), 0), "the first is not");
	ok_eq(flushes(tlb), 8);
	tlb_destroy(tlb);
}

static void a_shootdown_interrupts_those_that_run_the_space(void)
{
	struct tlb *cpus[5] = {NULL};
	struct tlb_counts counts;

	for (int i = 0; i < 4; i++) {
		cpus[i] = create(true, TLB_PTI_OFF);
		tlb_switch(cpus[i], i == 2 ? 9 : 1);
		tlb_access(cpus[i], P(1), 0);
		tlb_access(cpus[i], P(2), 0);
	}
	tlb_switch(cpus[3], 9);
	ok_dies("CPU 4 of 4", tlb_shootdown(cpus, 4, 4, P(1), 1, 0));
	tlb_shootdown(cpus, 4, 0, P(1), 1, 0);
	tlb_read_counts(cpus[0], &counts);
	ok_eq(counts.shootdowns, 1);
	ok_eq(counts.ipis_sent, 1);
	ok_eq(counts.invalidated_pages, 1);
	tlb_read_counts(cpus[1], &counts);
	ok_eq(counts.ipis_received, 1);
	tlb_read_counts(cpus[2], &counts);
	ok_eq(counts.ipis_received, 0);
	ok(walks(cpus[0], P(1), 0) && walks(cpus[1], P(1), 0), "it went where the space runs");
	ok(!walks(cpus[1], P(2), 0), "and it alone");
	ok(!walks(cpus[2], P(1), 0), "another space's page did not");
	tlb_switch(cpus[3], 1);
	ok(walks(cpus[3], P(1), 0) && walks(cpus[3], P(2), 0), "who comes back flushes");
	/* More than the ceiling: the whole space. */
	tlb_shootdown(cpus, 4, 1, P(100), TLB_FLUSH_CEILING + 1, 0);
	ok(walks(cpus[1], P(2), 0) && walks(cpus[0], P(2), 0), "all of it went");
	/* The kernel's part interrupts everybody. */
	tlb_access(cpus[2], KERNEL, TLB_GLOBAL);
	tlb_shootdown(cpus, 4, 0, KERNEL, 1, TLB_GLOBAL);
	ok(walks(cpus[2], KERNEL, TLB_GLOBAL), "the kernel's page went");
	tlb_read_counts(cpus[0], &counts);
	ok_eq(counts.ipis_sent, 1 + 3);
	for (int i = 0; i < 4; i++)
		tlb_destroy(cpus[i]);
}

/*
 * At random: CPUs switch, enter and leave the kernel, touch pages and shoot them down. A page
 * that was shot down must be walked for before it is found again, on every CPU, in every space
 * and mode.
 */
#define CPUS   3
#define SPACES 9
#define PAGES  6 /* the first of them the kernel's */

static struct {
	struct tlb *cpus[CPUS];
	u32 space[CPUS];
	bool in_kernel[CPUS];
	bool walked[CPUS][SPACES][2][PAGES];
} world;

static u64 page_va(u64 page)
{
	return page ? P(page) : KERNEL;
}

static void random_access(enum tlb_pti pti, u64 cpu, u64 page)
{
	bool mode = world.in_kernel[cpu] && pti != TLB_PTI_OFF;
	u32 space = page || pti != TLB_PTI_OFF ? world.space[cpu] : 0;
	bool *walked = &world.walked[cpu][space][mode][page];

	if (tlb_access(world.cpus[cpu], page_va(page), page ? 0 : TLB_GLOBAL) == TLB_WALKED)
		*walked = true;
	else
		ok(*walked, "cpu %d, space %u, page %d: used after it was shot down", (int)cpu,
		   space, (int)page);
}

static void random_shootdown(u64 cpu, u64 page, u64 nr_pages)
{
	tlb_shootdown(world.cpus, CPUS, (unsigned int)cpu, page_va(page), nr_pages,
		      page ? 0 : TLB_GLOBAL);
	if (!page)
		nr_pages = 1; /* of those here, the kernel's alone is in the range */
	for (int other = 0; other < CPUS; other++)
		for (u32 space = 0; space < SPACES; space++)
			for (u64 p = page; p < PAGES && p < page + nr_pages; p++)
				if (!page || space == world.space[cpu])
					world.walked[other][space][0][p] =
						world.walked[other][space][1][p] = false;
}

static void random_step(enum tlb_pti pti, unsigned long *seed)
{
	u64 cpu = tap_random(seed) % CPUS, page = tap_random(seed) % PAGES;

	switch (tap_random(seed) % 16) {
	case 0:
		world.space[cpu] = 1 + (u32)tap_random(seed) % (SPACES - 1);
		tlb_switch(world.cpus[cpu], world.space[cpu]);
		break;
	case 1:
	case 2:
		world.in_kernel[cpu] = !world.in_kernel[cpu];
		if (world.in_kernel[cpu])
			tlb_enter_kernel(world.cpus[cpu]);
		else
			tlb_exit_kernel(world.cpus[cpu]);
		break;
	case 3:
		random_shootdown(cpu, page, page ? 1 + tap_random(seed) % 3 : 1);
		break;
	case 4:
		if (tap_random(seed) % 4 == 0)
			random_shootdown(cpu, page, 40);
		break;
	default:
		random_access(pti, cpu, page);
	}
}

static void nothing_shot_down_is_used(void)
{
	unsigned long seed = tap_seed() | 1, ops = tap_ops(200000);
	static const struct {
		bool pcid;
		enum tlb_pti pti;
	} modes[] = {{false, TLB_PTI_OFF},
		     {true, TLB_PTI_OFF},
		     {false, TLB_PTI_ON},
		     {true, TLB_PTI_PCID}};

	for (size_t m = 0; m < ARRAY_SIZE(modes); m++) {
		memset(&world, 0, sizeof(world));
		for (int i = 0; i < CPUS; i++) {
			world.cpus[i] = create(modes[m].pcid, modes[m].pti);
			world.space[i] = 1;
			tlb_switch(world.cpus[i], 1);
		}
		for (unsigned long i = 0; i < ops / ARRAY_SIZE(modes); i++)
			random_step(modes[m].pti, &seed);
		for (int i = 0; i < CPUS; i++) {
			tlb_validate(world.cpus[i]);
			tlb_destroy(world.cpus[i]);
		}
	}
}

int main(void)
{
	RUN(without_pcid_cr3_takes_all_but_global_entries);
	RUN(with_pcid_each_space_keeps_its_own);
	RUN(invlpg_takes_the_page_and_global_ones);
	RUN(isolation_costs_walks_unless_there_are_pcids);
	RUN(isolation_gives_each_mode_entries_of_its_own);
	RUN(the_first_space_is_no_switch);
	RUN(six_spaces_are_remembered);
	RUN(a_shootdown_interrupts_those_that_run_the_space);
	RUN(nothing_shot_down_is_used);
	return done();
}

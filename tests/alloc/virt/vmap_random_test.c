/* SPDX-License-Identifier: MIT */
/*
 * Every call of vmalloc's at random, against a model: a table of what is live, with its addresses
 * and what was written there. Now and then memory or mappings are short, and then a call may give
 * NULL; else it may not.
 */
#include "machine.h"
#include "virt/virt.h"

#define MIB	 (1UL << 20)
#define NR_SLOTS 120
#define NR_PAGES 512 /* of ours, for vmap and vm_map_ram; page i holds i in its first word */
#define MOST_OWN 300 /* pages of a vmalloc */
#define MOST_MAP 90

enum kind { OWN, ALIGNED, MAPPED, RAM, NR_KINDS };

static const char *const words[NR_KINDS] = {
	[OWN] = "vmalloc", [ALIGNED] = "vmalloc", [MAPPED] = "vmap", [RAM] = "vm_map_ram"};

struct slot {
	char *addr; /* NULL: empty */
	enum kind kind;
	unsigned long nr_pages, stamp;
	unsigned int page[MOST_MAP]; /* of ours */
};

static struct kmm *machine;
static struct page *pages[NR_PAGES];
static struct slot slots[NR_SLOTS];
static unsigned long nr_own_pages; /* live, of vmalloc's own frames */
static unsigned long random_state;

static unsigned long draw(unsigned long below)
{
	return tap_random(&random_state) % below;
}

/* The guard page is the area's, but a piece of vm_map_ram's may have none. */
static unsigned long end_of(const struct slot *slot)
{
	return (unsigned long)slot->addr + (slot->nr_pages + (slot->kind != RAM)) * PAGE_SIZE;
}

static void check_apart(const struct slot *slot)
{
	for (int i = 0; i < NR_SLOTS; i++) {
		const struct slot *other = &slots[i];

		if (other == slot || !other->addr)
			continue;
		ok(end_of(other) <= (unsigned long)slot->addr ||
			   end_of(slot) <= (unsigned long)other->addr,
		   "%s %p+%lu overlaps %s %p+%lu", words[slot->kind], slot->addr, slot->nr_pages,
		   words[other->kind], other->addr, other->nr_pages);
	}
}

static unsigned long *word_at(const struct slot *slot, unsigned long page)
{
	return (unsigned long *)(slot->addr + page * PAGE_SIZE);
}

static void check_slot(const struct slot *slot)
{
	for (unsigned long i = 0; i < slot->nr_pages; i++) {
		bool own = slot->kind == OWN || slot->kind == ALIGNED;
		unsigned long want = own ? slot->stamp + i : slot->page[i];
		const struct page *page = vmalloc_to_page(word_at(slot, i));

		ok(*word_at(slot, i) == want, "%s %p: page %lu has %#lx, not %#lx",
		   words[slot->kind], slot->addr, i, *word_at(slot, i), want);
		ok(own ? page != NULL : page == pages[slot->page[i]], "%s %p: page %lu is %p",
		   words[slot->kind], slot->addr, i, page);
	}
	if (slot->kind != RAM)
		ok(!vmalloc_to_page(word_at(slot, slot->nr_pages)), "%p: a guard page is mapped",
		   slot->addr);
}

static void make_own(struct slot *slot)
{
	unsigned long align = slot->kind == ALIGNED ? PAGE_SIZE << draw(11) : PAGE_SIZE;
	gfp_t gfp = draw(4) ? GFP_KERNEL : GFP_KERNEL | __GFP_ZERO;

	slot->nr_pages = 1 + draw(draw(4) ? 20 : MOST_OWN);
	slot->addr = __vmalloc_node(slot->nr_pages * PAGE_SIZE - draw(PAGE_SIZE), align, gfp,
				    draw(2) ? NUMA_NO_NODE : (int)draw(2), NULL);
	if (!slot->addr)
		return;
	ok(IS_ALIGNED((unsigned long)slot->addr, align), "%p is not aligned to %#lx", slot->addr,
	   align);
	nr_own_pages += slot->nr_pages;
	slot->stamp = tap_random(&random_state);
	for (unsigned long i = 0; i < slot->nr_pages; i++) {
		ok(!(gfp & __GFP_ZERO) || !*word_at(slot, i), "%p is not zeroed", slot->addr);
		*word_at(slot, i) = slot->stamp + i;
	}
}

/* Some of our pages: a stretch, or one here and one there. */
static void make_mapping(struct slot *slot)
{
	struct page *chosen[MOST_MAP];
	unsigned long first, spread = draw(2) ? 1 : 7;

	slot->nr_pages = 1 + draw(draw(4) ? 8 : MOST_MAP);
	/* Few first pages, so that the same are mapped again. */
	first = draw(8);
	for (unsigned long i = 0; i < slot->nr_pages; i++) {
		slot->page[i] = (unsigned int)((first + i * spread) % NR_PAGES);
		chosen[i] = pages[slot->page[i]];
	}
	if (slot->kind == MAPPED)
		slot->addr = vmap(chosen, (unsigned int)slot->nr_pages, VM_MAP,
				  draw(2) ? PAGE_KERNEL : PAGE_KERNEL_RO);
	else
		slot->addr = vm_map_ram(chosen, (unsigned int)slot->nr_pages, NUMA_NO_NODE);
}

static void slot_make(struct slot *slot, bool may_fail)
{
	slot->kind = (enum kind)draw(NR_KINDS);
	if (slot->kind == OWN || slot->kind == ALIGNED)
		make_own(slot);
	else
		make_mapping(slot);
	ok(slot->addr || may_fail, "%s of %lu pages: NULL", words[slot->kind], slot->nr_pages);
	if (slot->addr)
		check_apart(slot);
}

static void slot_free(struct slot *slot)
{
	check_slot(slot);
	if (slot->kind == MAPPED) {
		vunmap(slot->addr);
	} else if (slot->kind == RAM) {
		vm_unmap_ram(slot->addr, (unsigned int)slot->nr_pages);
	} else {
		vfree(slot->addr);
		nr_own_pages -= slot->nr_pages;
	}
	slot->addr = NULL;
}

static void count_line(const struct vm_area_info *info, void *arg)
{
	unsigned long *nr_pages = arg;

	for (int kind = ALIGNED; kind < NR_KINDS; kind++)
		if (!strcmp(info->kind, words[kind]))
			nr_pages[kind] += info->nr_pages;
}

/* Pages by kind, as vmallocinfo would have them. */
static void check_sums(void)
{
	unsigned long seen[NR_KINDS] = {0}, want[NR_KINDS] = {0};

	vmalloc_validate(machine);
	vmalloc_for_each(machine, count_line, seen);
	for (int i = 0; i < NR_SLOTS; i++)
		if (slots[i].addr)
			want[slots[i].kind == OWN ? ALIGNED : slots[i].kind] += slots[i].nr_pages;
	for (int kind = ALIGNED; kind < NR_KINDS; kind++)
		ok(seen[kind] == want[kind], "%s: %lu pages, not %lu", words[kind], seen[kind],
		   want[kind]);
}

static void run(void)
{
	struct virt *virt = machine->virt;
	unsigned long nr_ops = tap_number("VMAP_OPS", TAP_SANITIZED ? 5000 : 20000),
		      limit = virt->max_mappings;
	unsigned long nr_null = 0;

	random_state = tap_seed() | 1;
	for (unsigned long op = 0; op < nr_ops; op++) {
		struct slot *slot = &slots[draw(NR_SLOTS)];
		bool few_mappings = op / 1000 % 4 == 3;

		virt->max_mappings = few_mappings ? 400 : limit;
		/* Areas of a page alone, or in groups where the host can. */
		virt->group_from = op / 500 % 2 ? 0 : UINT64_MAX;
		if (slot->addr) {
			slot_free(slot);
		} else {
			slot_make(slot, few_mappings || nr_own_pages > virt->nr_shared_pages / 2);
			nr_null += !slot->addr;
		}
		if (!draw(500))
			kmm_drain(machine);
		if (op % 256 == 0)
			check_sums();
	}
	virt->max_mappings = limit;
	ok(nr_null > 0 || nr_ops < 5000, "nothing was ever short");
	for (int i = 0; i < NR_SLOTS; i++)
		if (slots[i].addr)
			slot_free(&slots[i]);
	kmm_drain(machine);
	check_sums();
	ok_eq(virt->nr_mappings, 0);
	ok_eq(virt->kernel->nr_mapped, 0);
	ok_eq(virt->kernel->nr_tables, 1);
}

static void run_on(u64 node_bytes, u64 shared_bytes, enum zone_layout layout)
{
	machine = machine_boot(2, node_bytes, shared_bytes, layout);
	for (unsigned long i = 0; i < NR_PAGES; i++) {
		unsigned long *word;

		pages[i] = alloc_pages(GFP_KERNEL | __GFP_SHARED, 0);
		word = vm_map_ram(&pages[i], 1, NUMA_NO_NODE);
		*word = i;
		vm_unmap_ram(word, 1);
	}
	run();
	for (unsigned int i = 0; i < NR_PAGES; i++)
		__free_pages(pages[i], 0);
	machine_end(machine);
}

static void every_call_agrees_with_the_model(void)
{
	run_on(64 * MIB, 16 * MIB, ZONES_X86_64);
}

/* Its frames have no other address. */
static void every_call_agrees_with_the_model_in_high_memory(void)
{
	run_on(1024 * MIB, 0, ZONES_I386);
}

int main(void)
{
	RUN(every_call_agrees_with_the_model);
	RUN(every_call_agrees_with_the_model_in_high_memory);
	return done();
}

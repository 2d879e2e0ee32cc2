/* SPDX-License-Identifier: MIT */
/*
 * Whole machines: every bad configuration refused in one line, boot and shutdown that leave nothing
 * behind, several machines at once, threads that attach by themselves, and leaks reported.
 */
#include "kmm.h"

#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/host.h"
#include "tests/alloc/footprint.h"
#include "tests/tap/tap.h"

#define SMALL_NODE (64 * MIB)

static struct kmm *boot(const struct kmm_config *config)
{
	struct kmm *machine;
	int error = kmm_boot(config, &machine);

	if (error) {
		printf("Bail out! no machine: %s (%d)\n", kmm_boot_error(), error);
		exit(1);
	}
	return machine;
}

static void refused(struct kmm_config config, int error, const char *word)
{
	struct kmm *machine = (struct kmm *)1;
	struct footprint before = footprint();
	int result = kmm_boot(&config, &machine);

	ok(result == error, "%s: %d, not %d", word, result, error);
	ok(!machine, "%s: a machine in spite of the error", word);
	ok(strstr(kmm_boot_error(), word) && !strchr(kmm_boot_error(), '\n'),
	   "'%s' does not say '%s'", kmm_boot_error(), word);
	nothing_left(before, word);
}

static void each_bad_configuration_is_refused_in_one_line(void)
{
	refused((struct kmm_config){.synthetic = "pu:1", .xml = "x.xml"}, -EINVAL, "topology");
	refused((struct kmm_config){.synthetic = "nonsense"}, -EINVAL, "nonsense");
	refused((struct kmm_config){.xml = "/nonexistent.xml"}, -ENOENT, "/nonexistent.xml");
	refused((struct kmm_config){.layout = NR_ZONE_LAYOUTS}, -EINVAL, "layout");
	refused((struct kmm_config){.lock_kind = NR_LOCK_KINDS}, -EINVAL, "lock_kind");
	refused((struct kmm_config){.node_bytes = SMALL_NODE + 4096}, -EINVAL, "node_bytes");
	refused((struct kmm_config){.node_bytes = 4 * MIB}, -EINVAL, "node_bytes");
	refused((struct kmm_config){.node_bytes = SMALL_NODE, .shared_bytes = SMALL_NODE}, -EINVAL,
		"shared_bytes");
	refused((struct kmm_config){.node_bytes = SMALL_NODE, .shared_bytes = MIB}, -EINVAL,
		"shared_bytes");
	refused((struct kmm_config){.pcp_batch = 64, .pcp_high = 63}, -EINVAL, "pcp_batch");
	refused((struct kmm_config){.pcp_high = 1U << 31}, -EINVAL, "pcp_high");
	refused((struct kmm_config){.pcp_batch = 1U << 31}, -EINVAL, "pcp_batch");
	refused((struct kmm_config){.watermark_scale_factor = 3001}, -EINVAL,
		"watermark_scale_factor");
	refused((struct kmm_config){.no_watermarks = true, .min_free_kbytes = 1024}, -EINVAL,
		"no_watermarks");
	refused((struct kmm_config){.node_bytes = SMALL_NODE, .min_free_kbytes = SMALL_NODE >> 11},
		-EINVAL, "min_free_kbytes");
}

static void memory_that_the_host_has_not_is_refused_with_both_amounts(void)
{
	refused((struct kmm_config){.node_bytes = 1UL << 43}, -ENOMEM, "8192.00 GiB");
	ok(strstr(kmm_boot_error(), "this host has"), "%s", kmm_boot_error());
	refused((struct kmm_config){.synthetic = "numa:2 pu:1", .node_bytes = 1UL << 62}, -ENOMEM,
		"2 nodes");
}

static void *no_error_here(void *unused)
{
	ok(!*kmm_boot_error(), "'%s'", kmm_boot_error());
	return unused;
}

static void the_error_is_each_threads_own(void)
{
	struct kmm_config bad = {.synthetic = "nonsense"};
	struct kmm *machine;
	pthread_t thread;

	kmm_boot(&bad, &machine);
	ok(*kmm_boot_error(), "a line");
	pthread_create(&thread, NULL, no_error_here, NULL);
	pthread_join(thread, NULL);
}

static void use_everything(void)
{
	struct kmem_cache *cache = kmem_cache_create("boot-test", 200, 0, 0, NULL);
	struct page *pages[64];
	void *objects[200], *area = vmalloc(3 * PAGE_SIZE + 1);

	ok(cache != NULL && area != NULL, "%p %p", (void *)cache, area);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		pages[i] = alloc_pages(GFP_KERNEL, (unsigned int)i % 4);
		ok(pages[i] != NULL, "block %zu", i);
	}
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		objects[i] =
			i % 2 ? kmalloc(i * 40, GFP_KERNEL) : kmem_cache_alloc(cache, GFP_KERNEL);
		ok(objects[i] != NULL, "object %zu", i);
	}
	if (area)
		memset(area, 1, 3 * PAGE_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		if (i % 2)
			kfree(objects[i]);
		else
			kmem_cache_free(cache, objects[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
		__free_pages(pages[i], (unsigned int)i % 4);
	vfree(area);
	ok_eq(kmem_cache_destroy(cache), 0);
}

static void a_machine_comes_and_goes(void)
{
	struct kmm_config config = {.node_bytes = SMALL_NODE};
	struct kmm_leaks leaks;
	struct footprint before;

	for (int round = 0; round < 5; round++) {
		struct kmm *machine;

		/* The first round lets the C library and hwloc settle. */
		if (round == 1)
			before = footprint();
		machine = boot(&config);
		ok(kmm_current() == machine, "current");
		ok(this_cpu->machine == machine, "attached");
		use_everything();
		ok_eq(kmm_shutdown(machine, &leaks), 0);
		if (round >= 1)
			nothing_left(before, "after a round");
	}
}

static void every_kind_of_machine_boots(void)
{
	static const char *const topologies[] = {NULL, "pack:2 [numa] core:2 pu:1", "numa:4 pu:1"};

	for (int kind = 0; kind < NR_LOCK_KINDS; kind++) {
		for (int layout = 0; layout < NR_ZONE_LAYOUTS; layout++) {
			for (size_t i = 0; i < ARRAY_SIZE(topologies); i++) {
				struct kmm_config config = {
					.synthetic = topologies[i],
					.node_bytes = 512 * MIB,
					.layout = (enum zone_layout)layout,
					.lock_kind = (enum lock_kind)kind,
				};
				struct kmm *machine = boot(&config);
				struct kmm_leaks leaks;

				/* vmalloc wants memfd-backed frames; i386 has them above 896 MiB
				 * only. */
				if (layout == ZONES_X86_64 || (layout == ZONES_I386 && i == 2))
					use_everything();
				ok_eq(kmm_shutdown(machine, &leaks), 0);
			}
		}
	}
}

static void defaults_are_filled_in(void)
{
	struct kmm_config config = {.synthetic = "numa:2(memory=268435456) pu:1"};
	char own[] = "numa:2(memory=268435456) pu:1";
	struct kmm *machine;

	config.synthetic = own;
	machine = boot(&config);
	memset(own, 'x', sizeof(own) - 1); /* the machine has its own copy */
	ok_eq(machine->config.node_bytes, 256 * MIB);
	ok_eq(machine->config.shared_bytes, 64 * MIB);
	ok(!strcmp(machine->config.synthetic, "numa:2(memory=268435456) pu:1"), "%s",
	   machine->config.synthetic);
	ok_eq(kmm_shutdown(machine, NULL), 0);

	/* A topology larger than this host gets a share of what there is. */
	config = (struct kmm_config){.synthetic = "numa:2(memory=70368744177664) pu:1"};
	machine = boot(&config);
	ok(machine->config.node_bytes >= 16 * MIB && machine->config.node_bytes <= 2048 * MIB,
	   "%llu", (unsigned long long)machine->config.node_bytes);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

static void what_is_not_freed_is_reported(void)
{
	struct kmm_config config = {.node_bytes = SMALL_NODE};
	struct kmm *machine = boot(&config);
	struct kmm_leaks leaks;

	ok(alloc_pages(GFP_KERNEL, 3) != NULL, "pages");
	ok(kmalloc(100, GFP_KERNEL) != NULL, "object");
	ok(kmalloc(1 << 20, GFP_KERNEL) != NULL, "large");
	ok(vmalloc(5 * PAGE_SIZE) != NULL, "area");
	ok_eq(kmm_shutdown(machine, &leaks), -EBUSY);
	/* 8 + 256 for the large one + 5 of the area + one slab at least. */
	ok(leaks.pages >= 8 + 256 + 5 + 1, "%llu pages", (unsigned long long)leaks.pages);
	ok(leaks.objects >= 1 && leaks.object_bytes >= 100, "%llu objects, %llu bytes",
	   (unsigned long long)leaks.objects, (unsigned long long)leaks.object_bytes);
	ok_eq(leaks.large_kmallocs, 1);
	ok_eq(leaks.vmap_areas, 1);
}

static void *churn(void *machine)
{
	void *objects[32];

	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
			objects[i] = kmalloc(8 << (i % 8), GFP_KERNEL);
		for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
			kfree(objects[i]);
		__free_pages(alloc_pages(GFP_KERNEL, 1), 1);
	}
	ok(this_cpu->machine == machine, "attached by itself");
	return NULL;
}

static void threads_attach_by_themselves_and_leave_nothing(void)
{
	struct kmm_config config = {.node_bytes = SMALL_NODE};
	struct kmm *machine = boot(&config);
	struct kmm_leaks leaks;
	pthread_t threads[8];

	for (int round = 0; round < 10; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
			pthread_create(&threads[i], NULL, churn, machine);
		for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
			pthread_join(threads[i], NULL);
	}
	ok(machine->nr_slots <= 9, "%u slots for 8 threads and main", machine->nr_slots);
	ok_eq(kmm_shutdown(machine, &leaks), 0);
}

static void a_drain_gives_every_cached_page_back(void)
{
	struct kmm_config config = {.node_bytes = SMALL_NODE};
	struct kmm *machine = boot(&config);
	struct free_area_counts counts;
	pthread_t thread;

	use_everything();
	pthread_create(&thread, NULL, churn, machine);
	pthread_join(thread, NULL);
	kmm_drain(machine);
	count_free_areas(machine, NUMA_NO_NODE, &counts);
	ok_eq(counts.nr_pcp_pages, 0);
	kmm_detach();
	kmm_drain(machine);
	ok(this_cpu == kmm_cpu_detached, "a drain attaches nobody");
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

static void two_machines_live_side_by_side(void)
{
	struct kmm_config config = {.node_bytes = SMALL_NODE};
	struct kmm *first = boot(&config), *second;
	struct page *page = alloc_page(GFP_KERNEL), *other;

	second = boot(&config);
	ok(kmm_current() == first && this_cpu->machine == first, "the first stays where it is");
	__free_page(page);
	ok_eq(kmm_attach(second, 0), 0);
	ok(this_cpu->machine == second, "moved");
	other = alloc_page(GFP_KERNEL);
	ok(other && pfn_to_page(page_to_pfn(other)) == other, "pages of the second");
	kmm_drain(first);
	ok_eq(kmm_shutdown(first, NULL), 0);
	ok(!kmm_current(), "none is current");
	ok(this_cpu->machine == second, "and the thread stays where it is");
	__free_page(other);
	ok_eq(kmm_shutdown(second, NULL), 0);
	ok(this_cpu == kmm_cpu_detached, "nowhere");
}

static void attaching_wants_a_cpu_that_exists(void)
{
	struct kmm_config config = {.synthetic = "numa:2 pu:2", .node_bytes = SMALL_NODE};
	struct kmm *machine = boot(&config);

	ok_eq(kmm_attach(machine, 4), -EINVAL);
	ok_eq(kmm_attach(machine, -2), -EINVAL);
	for (int cpu = 0; cpu < 4; cpu++) {
		ok_eq(kmm_attach(machine, cpu), 0);
		ok_eq(this_cpu->cpu, cpu);
		ok_eq(this_cpu->nid, cpu / 2);
	}
	ok_eq(kmm_attach(machine, -1), 0);
	kmm_detach();
	kmm_detach();
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

struct stayer {
	struct kmm *machine;
	pthread_barrier_t attached, done;
};

static void *stay_attached(void *arg)
{
	struct stayer *stayer = arg;

	kmm_attach(stayer->machine, -1);
	pthread_barrier_wait(&stayer->attached);
	pthread_barrier_wait(&stayer->done);
	return NULL;
}

static void the_slot_of_a_thread_that_stayed_is_not_given_to_another_machine(void)
{
	struct kmm_config config = {.node_bytes = SMALL_NODE};
	struct stayer stayer = {.machine = boot(&config)};
	char *slots = stayer.machine->slots_base;
	pthread_t thread;

	pthread_barrier_init(&stayer.attached, NULL, 2);
	pthread_barrier_init(&stayer.done, NULL, 2);
	pthread_create(&thread, NULL, stay_attached, &stayer);
	pthread_barrier_wait(&stayer.attached);
	ok_eq(kmm_shutdown(stayer.machine, NULL), 0);
	for (int i = 0; i < 3; i++) {
		struct kmm *machine = boot(&config);

		ok(machine->slots_base != slots, "the stayer points into this machine");
		ok_eq(kmm_shutdown(machine, NULL), 0);
	}
	pthread_barrier_wait(&stayer.done);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&stayer.attached);
	pthread_barrier_destroy(&stayer.done);
}

/* What kmm.h says of fork: the child's copy is whole, and what becomes of it is not the parent's. */
static void a_forked_child_has_a_machine_of_its_own(void)
{
	struct kmm_config config = {
		.synthetic = "numa:1 core:2 pu:1", .node_bytes = 64UL << 20, .no_thp = true};
	struct kmm *machine, *own;
	struct kmm_leaks leaks;
	int status = -1;
	char *object;
	pid_t child;

	ok_eq(kmm_boot(&config, &machine), 0);
	object = strcpy(kmalloc(64, GFP_KERNEL), "parent");
	fflush(stdout);
	child = fork();
	if (child == 0) {
		bool good = !strcmp(object, "parent");

		strcpy(object, "child");
		kfree(object);
		for (int i = 0; i < 1000; i++)
			good &= alloc_pages(GFP_KERNEL, 0) != NULL;
		phys_validate(machine);
		good &= kmm_shutdown(machine, &leaks) == -EBUSY && leaks.pages == 1000;
		good &= kmm_boot(&config, &own) == 0 && vmalloc(1 << 20) != NULL;
		good &= kmm_shutdown(own, &leaks) == -EBUSY && leaks.vmap_areas == 1;
		_exit(good ? 0 : 1);
	}
	ok(waitpid(child, &status, 0) == child && status == 0, "child: status %#x", status);
	ok(!strcmp(object, "parent"), "the child wrote \"%s\"", object);
	kfree(object);
	phys_validate(machine);
	ok_eq(kmm_shutdown(machine, NULL), 0);
}

int main(void)
{
	RUN(each_bad_configuration_is_refused_in_one_line);
	RUN(memory_that_the_host_has_not_is_refused_with_both_amounts);
	RUN(the_error_is_each_threads_own);
	RUN(a_machine_comes_and_goes);
	RUN(every_kind_of_machine_boots);
	RUN(defaults_are_filled_in);
	RUN(what_is_not_freed_is_reported);
	RUN(threads_attach_by_themselves_and_leave_nothing);
	RUN(a_drain_gives_every_cached_page_back);
	RUN(two_machines_live_side_by_side);
	RUN(attaching_wants_a_cpu_that_exists);
	RUN(the_slot_of_a_thread_that_stayed_is_not_given_to_another_machine);
	RUN(a_forked_child_has_a_machine_of_its_own);
	return done();
}

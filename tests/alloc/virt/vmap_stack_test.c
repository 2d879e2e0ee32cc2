/* SPDX-License-Identifier: MIT */
/*
 * What CPUs hold for themselves is bounded over all of them, however many threads there are, and idle:
 *
 *	thread 0	attaches, holds as much as it may, waits
 *	thread 1	the same
 *	...				then the main thread counts, and needs mappings of its own
 */
#include <pthread.h>
#include <semaphore.h>

#include "machine.h"
#include "virt/virt.h"

#define MIB	   (1UL << 20)
#define NR_THREADS 32
#define NR_PAGES   (VMAP_PIECE_PAGES + VMAP_KEPT)

static struct kmm *machine;
static struct page *pages[NR_PAGES];
static pthread_t threads[NR_THREADS];
static sem_t did, end;

/* What a thread does before it waits, after it, and how many are at it. */
struct job {
	void (*work)(void);
	void (*after)(void);
	int nr_threads;
};

static void *do_and_wait(void *arg)
{
	const struct job *job = arg;
	static int nr;

	kmm_attach(machine, __atomic_fetch_add(&nr, 1, __ATOMIC_RELAXED) % 4);
	job->work();
	sem_post(&did);
	sem_wait(&end);
	if (job->after)
		job->after();
	return NULL;
}

/* One after the other. */
static void start(struct job *job)
{
	for (int i = 0; i < job->nr_threads; i++) {
		pthread_create(&threads[i], NULL, do_and_wait, job);
		sem_wait(&did);
	}
}

static void finish(const struct job *job)
{
	for (int i = 0; i < job->nr_threads; i++)
		sem_post(&end);
	for (int i = 0; i < job->nr_threads; i++)
		pthread_join(threads[i], NULL);
}

/* What all slots hold. */
static struct vmap_share held(void)
{
	struct vmap_share sum = {0};

	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu)) {
		const struct virt_cpu *vcpu = virt_cpu(machine->virt, cpu);

		sum.pages += READ_ONCE(vcpu->nr_pages);
		sum.mappings += READ_ONCE(vcpu->nr_mappings);
		sum.slack_pages += (u32)max_t(s64, 0, READ_ONCE(vcpu->nr_slack_pages));
	}
	return sum;
}

/* After a drain with no other thread attached all is left for the next. */
static void check_all_is_left(void)
{
	const struct virt *virt = machine->virt;

	kmm_drain(machine);
	vmalloc_validate(machine);
	ok_eq(virt->left.pages, virt->all.pages);
	ok_eq(virt->left.mappings, virt->all.mappings);
	ok_eq(virt->left.slack_pages, virt->all.slack_pages);
	ok_eq(virt->nr_holders, 0);
	ok_eq(virt->nr_mappings, 0);
	ok_eq(virt->kernel->nr_mapped, 0);
}

static void hold_areas(void)
{
	const struct virt *virt = machine->virt;
	unsigned long nr = min_t(u32, virt->cpu_mappings / 2, virt->cpu_pages) + 10;
	void **areas = calloc(nr, sizeof(*areas));

	for (unsigned long i = 0; i < nr; i++)
		ok(areas[i] = vmalloc(PAGE_SIZE), "area %lu: NULL", i);
	for (unsigned long i = 0; i < nr; i++)
		vfree(areas[i]);
	free(areas);
}

/* Each page is a run of its own. */
static void hold_pieces(void)
{
	for (int i = 0; i < VMAP_KEPT; i++) {
		void *piece = vm_map_ram(pages + i, VMAP_PIECE_PAGES, NUMA_NO_NODE);

		ok(piece, "piece %d: NULL", i);
		if (piece)
			vm_unmap_ram(piece, VMAP_PIECE_PAGES);
	}
}

static void check_bounds(void)
{
	const struct virt *virt = machine->virt;
	struct vmap_share sum = held();

	vmalloc_validate(machine);
	ok(sum.mappings > 0 && sum.mappings <= virt->max_mappings / 4,
	   "%u mappings are held, of %lu", sum.mappings, virt->max_mappings);
	ok(sum.pages > 0 && sum.pages <= virt->max_lazy_pages / 2, "%u pages are held, of %lu",
	   sum.pages, virt->max_lazy_pages);
	/* What is not theirs comes back; what is theirs, and one area or block each, is not everything. */
	kmm_drain(machine);
	ok(virt->nr_mappings <= virt->max_mappings / 4 + 2 * NR_THREADS,
	   "%lu mappings of %lu stay with idle threads", virt->nr_mappings, virt->max_mappings);
}

static void idle_threads_hold_a_part_of_what_there_is(void)
{
	struct job of_areas = {.work = hold_areas, .nr_threads = NR_THREADS};
	struct job of_pieces = {.work = hold_pieces, .nr_threads = NR_THREADS};

	start(&of_areas);
	check_bounds();
	finish(&of_areas);
	check_all_is_left();
	start(&of_pieces);
	check_bounds();
	finish(&of_pieces);
	check_all_is_left();
}

/* Where nothing is left a thread goes without, by the lists, and is no worse off than that. */
static void who_comes_late_uses_the_lists(void)
{
	struct job job = {.work = hold_areas, .nr_threads = NR_THREADS};
	struct virt *virt = machine->virt;
	struct vmalloc_counters before, now;
	struct vmap_share left;
	void *area;

	start(&job);
	kmm_drain(machine);
	left = virt->left;
	virt->left.pages = virt->left.mappings = 0;
	vfree(vmalloc(3 * PAGE_SIZE));
	vmalloc_count(machine, &before);
	for (int i = 0; i < 100; i++) {
		area = vmalloc(3 * PAGE_SIZE);
		ok(area, "NULL");
		vfree(area);
	}
	vmalloc_count(machine, &now);
	ok_eq(now.reuse - before.reuse, 100);
	ok_eq(now.map_calls, before.map_calls);
	ok_eq(virt_cpu(virt, this_cpu)->nr_pages, 0);
	virt->left.pages = left.pages;
	virt->left.mappings = left.mappings;
	finish(&job);
	check_all_is_left();
}

/* The more CPUs hold something the less each may; each still may hold something. */
static void a_share_is_smaller_where_many_hold_something(void)
{
	const struct virt *virt = machine->virt;
	struct job job = {.work = hold_areas, .nr_threads = NR_THREADS};
	struct vmap_share first, now;

	hold_areas();
	first = virt_cpu(virt, this_cpu)->may;
	ok(first.mappings == virt->cpu_mappings || first.pages == virt->cpu_pages,
	   "the first may hold %u pages, %u mappings", first.pages, first.mappings);
	kmm_drain(machine);
	start(&job);
	hold_areas();
	now = virt_cpu(virt, this_cpu)->may;
	ok(now.mappings < first.mappings && now.pages < first.pages,
	   "%u pages, %u mappings; the first had %u, %u", now.pages, now.mappings, first.pages,
	   first.mappings);
	finish(&job);
	check_all_is_left();
}

/*
 * Slack: areas of 5 pages serve 4.
 */

static __thread void **areas_of_four;

static unsigned long nr_of_four(void)
{
	return machine->virt->slack_pages + 10;
}

static void give_slack(void)
{
	unsigned long nr = nr_of_four();

	areas_of_four = calloc(nr, sizeof(*areas_of_four));
	for (unsigned long i = 0; i < nr; i++) {
		/* One at a time, so that few are held in stacks. */
		vfree(vmalloc(5 * PAGE_SIZE));
		ok(areas_of_four[i] = vmalloc(4 * PAGE_SIZE), "area %lu: NULL", i);
	}
}

static void take_slack_back(void)
{
	for (unsigned long i = 0; i < nr_of_four(); i++)
		vfree(areas_of_four[i]);
	free(areas_of_four);
}

static void slack_is_bounded_over_all_threads(void)
{
	struct job job = {
		.work = give_slack, .after = take_slack_back, .nr_threads = NR_THREADS / 2};
	const struct virt *virt = machine->virt;
	u32 slack;

	start(&job);
	slack = held().slack_pages;
	vmalloc_validate(machine);
	ok(slack > 0 && slack <= virt->max_lazy_pages / 4, "%u pages of slack, of %lu", slack,
	   virt->max_lazy_pages);
	finish(&job);
	check_all_is_left();
}

int main(void)
{
	machine = machine_boot(2, 256 * MIB, 128 * MIB, ZONES_X86_64);
	machine->virt->group_from = UINT64_MAX;
	sem_init(&did, 0, 0);
	sem_init(&end, 0, 0);
	for (int i = 0; i < NR_PAGES; i++)
		pages[NR_PAGES - 1 - i] = alloc_pages(GFP_KERNEL | __GFP_SHARED, 0);
	RUN(idle_threads_hold_a_part_of_what_there_is);
	RUN(who_comes_late_uses_the_lists);
	RUN(a_share_is_smaller_where_many_hold_something);
	RUN(slack_is_bounded_over_all_threads);
	for (int i = 0; i < NR_PAGES; i++)
		__free_pages(pages[i], 0);
	machine_end(machine);
	return done();
}

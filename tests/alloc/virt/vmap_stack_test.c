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

/* Pages are of no use without mappings. */
static void who_gets_no_mappings_takes_no_pages(void)
{
	struct virt *virt = machine->virt;
	u32 left = virt->left.mappings;

	virt->left.mappings = 0;
	vfree(vmalloc(PAGE_SIZE));
	ok_eq(virt_cpu(virt, this_cpu)->may.pages, 0);
	ok_eq(virt->left.pages, virt->all.pages);
	virt->left.mappings = left;
	check_all_is_left();
}

/* Areas go to the lists to make room for a piece: these hold no more than they may, at once. */
static void room_for_a_piece_keeps_the_lists_bounded(void)
{
	struct virt *virt = machine->virt;
	struct virt_cpu *vcpu = virt_cpu(virt, this_cpu);
	u64 max_lazy_pages = virt->max_lazy_pages, purge_pages = virt->purge_pages;
	struct vmap_share left, may;
	u32 held_pages;

	hold_areas();
	left = virt->left;
	may = vcpu->may;
	virt->left.pages = virt->left.mappings = 0;
	vcpu->may.mappings = vcpu->nr_mappings;
	virt->max_lazy_pages = virt->nr_lazy_pages;
	virt->purge_pages = 0;
	held_pages = vcpu->nr_pages;
	vm_unmap_ram(vm_map_ram(pages, VMAP_PIECE_PAGES, NUMA_NO_NODE), VMAP_PIECE_PAGES);
	ok(vcpu->nr_pages < held_pages, "%u pages in stacks, and there was room", vcpu->nr_pages);
	ok(virt->nr_lazy_pages <= virt->max_lazy_pages, "%lu pages in the lists, of %lu",
	   virt->nr_lazy_pages, virt->max_lazy_pages);
	virt->max_lazy_pages = max_lazy_pages;
	virt->purge_pages = purge_pages;
	virt->left.pages = left.pages;
	virt->left.mappings = left.mappings;
	vcpu->may = may;
	check_all_is_left();
}

/* A piece of more mappings than the CPU can get moves nothing out of the stacks. */
static void a_piece_that_can_never_fit_takes_no_place(void)
{
	struct virt *virt = machine->virt;
	const struct virt_cpu *vcpu = virt_cpu(virt, this_cpu);
	u32 left = virt->left.mappings - 40;
	void *areas[10];

	virt->left.mappings = 40;
	for (int i = 0; i < 10; i++)
		areas[i] = vmalloc(PAGE_SIZE);
	for (int i = 0; i < 10; i++)
		vfree(areas[i]);
	ok_eq(vcpu->nr_pages, 10);
	vm_unmap_ram(vm_map_ram(pages, VMAP_PIECE_PAGES, NUMA_NO_NODE), VMAP_PIECE_PAGES);
	ok_eq(vcpu->nr_pages, 10);
	virt->left.mappings += left;
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

/* What one thread gave out another takes back: none of it is out then, whoever may. */
static void **handed_over[NR_THREADS];

static void hand_over(void)
{
	static int nr;

	handed_over[__atomic_fetch_add(&nr, 1, __ATOMIC_RELAXED)] = areas_of_four;
}

static void slack_comes_back_from_other_threads(void)
{
	struct job job = {.work = give_slack, .after = hand_over, .nr_threads = 4};
	const struct virt *virt = machine->virt;

	start(&job);
	finish(&job);
	kmm_drain(machine);
	vmalloc_validate(machine);
	ok(virt->left.slack_pages < virt->all.slack_pages, "slack is out, and all is left");
	for (int i = 0; i < job.nr_threads; i++) {
		areas_of_four = handed_over[i];
		take_slack_back();
	}
	check_all_is_left();
	ok_eq(vmap_lazy_pages(machine), 0);
}

/* Who asks and finds no larger area, or may have none, gives nothing away. */
static void slack_is_claimed_by_use(void)
{
	const struct virt *virt = machine->virt;
	const struct virt_cpu *vcpu = virt_cpu(virt, this_cpu);
	void *area = vmalloc(8 * PAGE_SIZE);

	ok_eq(vcpu->may.slack_pages, 0);
	vfree(vmalloc(9 * PAGE_SIZE));
	vfree(__vmalloc_node(8 * PAGE_SIZE, 4 * PAGE_SIZE, GFP_KERNEL, NUMA_NO_NODE, NULL));
	ok_eq(vcpu->may.slack_pages, 0);
	vfree(area);
	area = vmalloc(7 * PAGE_SIZE);
	ok_eq(vcpu->nr_slack_pages, 1);
	ok(vcpu->may.slack_pages > 0, "slack that nobody claimed");
	vfree(area);
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
	RUN(who_gets_no_mappings_takes_no_pages);
	RUN(room_for_a_piece_keeps_the_lists_bounded);
	RUN(a_piece_that_can_never_fit_takes_no_place);
	RUN(slack_is_bounded_over_all_threads);
	RUN(slack_comes_back_from_other_threads);
	RUN(slack_is_claimed_by_use);
	for (int i = 0; i < NR_PAGES; i++)
		__free_pages(pages[i], 0);
	machine_end(machine);
	return done();
}

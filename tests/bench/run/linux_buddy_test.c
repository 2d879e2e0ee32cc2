/* SPDX-License-Identifier: MIT */
/*
 * kmm's buddy beside Linux's. A kernel (bench/linux) has told the free blocks of its buddy before page
 * events, when they had been replayed with the lists of CPUs off, and when all was freed again: list
 * by list, in order. The same free blocks are given to kmm's buddy, and the same events replayed.
 * What the two leave free differs, by design, and each difference gets its name:
 *
 *	Linux, recorded  ==  Linux, modelled (linux_buddy.h): every list, from head to tail
 *	  |  a step at a time from Linux's policy to kmm's, with what each does to the counts by order
 *	kmm, modelled (kmm_buddy.h)  ==  kmm: every allocation
 *
 * And the frames that Linux leaves free are, as blocks, the same blocks in kmm.
 *
 * What was recorded is in tests/fixtures/linux/free-6.1.txt; where a kernel has been built
 * (make bench-linux), it is asked anew. KMM_LINUX_BUDDY_OUT=FILE keeps what it says of the made-up events.
 */
#include "tests/bench/run/linux_buddy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/run/linux_run.h"
#include "phys/buddy.h"
#include "tests/bench/run/kmm_buddy.h"
#include "tests/bench/run/linux_recording.h"
#include "tests/bench/run/page_events.h"
#include "tests/tap/tap.h"
#include "workloads/kmt.h"

#define NR_EVENTS  70000
#define MOST_PAGES 9500
#define MEMORY	   (64UL << 20) /* of the kernel that they are for */

/*
 * kmm's buddy over pages that stand for no memory
 */

struct real {
	struct buddy buddy;
	struct free_area area[NR_MIGRATETYPES];
	struct page *pages;
	struct pageblock *blocks;
};

static void real_init(struct real *real, const struct recording *r)
{
	const u64 nr = nr_pageblocks(0, r->nr_pages);

	real->pages = calloc(r->nr_pages, sizeof(*real->pages));
	real->blocks = aligned_alloc(CACHELINE_SIZE, nr * sizeof(*real->blocks));
	if (!real->pages || !real->blocks)
		abort();
	memset(real->blocks, 0, nr * sizeof(*real->blocks));
	real->buddy.area = real->area;
	buddy_init(&real->buddy, real->pages, real->blocks, 0, r->nr_pages, 0, 0);
	for (u64 i = 0; i < nr; i++)
		real->blocks[i].migratetype =
			r->types[BEFORE][(i << PAGEBLOCK_ORDER) >> r->type_order];
}

static void real_destroy(struct real *real)
{
	buddy_validate_lists(&real->buddy, "kmm");
	free(real->pages);
	free(real->blocks);
}

static u32 real_take(void *arg, unsigned int order, enum migratetype type)
{
	struct real *real = arg;
	struct page *page;

	return buddy_take(&real->buddy, order, type, 1, &page) ? (u32)(page - real->pages)
							       : NO_BLOCK;
}

static void real_give(void *arg, u32 pfn, unsigned int order)
{
	struct real *real = arg;

	buddy_give(&real->buddy, real->pages + pfn, order);
}

static void real_count(struct real *real, unsigned long nr[NR_PAGE_ORDERS])
{
	memset(nr, 0, NR_PAGE_ORDERS * sizeof(*nr));
	buddy_count(&real->buddy, NR_MIGRATETYPES, nr);
}

/*
 * Replays
 */

struct allocator {
	u32 (*take)(void *arg, unsigned int order, enum migratetype type);
	void (*give)(void *arg, u32 pfn, unsigned int order);
	void *arg;
};

static u32 linux_take(void *arg, unsigned int order, enum migratetype type)
{
	return linux_buddy_take(arg, order, type);
}

static void linux_give(void *arg, u32 pfn, unsigned int order)
{
	linux_buddy_give(arg, pfn, order);
}

static u32 slow_take(void *arg, unsigned int order, enum migratetype type)
{
	return kmm_buddy_take(arg, order, type);
}

static void slow_give(void *arg, u32 pfn, unsigned int order)
{
	kmm_buddy_give(arg, pfn, order);
}

/* Where each event's block was, and which are live at the end. */
struct replay {
	u32 *at;     /* by event; of allocations */
	u32 *blocks; /* by id; NO_BLOCK: dead */
	u8 *orders;
};

static void give_before(const struct recording *r, const struct allocator *to)
{
	for (size_t i = 0; i < r->free[BEFORE].nr; i++) {
		const struct block *b = &r->free[BEFORE].blocks[i];

		to->give(to->arg, (u32)(b->pfn - r->base), b->order);
	}
}

static bool replay(struct replay *p, const struct page_events *events, const struct allocator *a)
{
	p->at = calloc(events->nr, sizeof(*p->at));
	p->blocks = malloc((events->nr_ids + 1) * sizeof(*p->blocks));
	p->orders = calloc(events->nr_ids + 1, 1);
	if (!p->at || !p->blocks || !p->orders)
		abort();
	memset(p->blocks, 0xff, events->nr_ids * sizeof(*p->blocks));
	for (size_t i = 0; i < events->nr; i++) {
		const struct page_event *e = &events->events[i];

		if (e->is_free) {
			a->give(a->arg, p->blocks[e->id], p->orders[e->id]);
			p->blocks[e->id] = NO_BLOCK;
			continue;
		}
		p->at[i] = a->take(a->arg, e->order, (enum migratetype)e->type);
		ok(p->at[i] != NO_BLOCK, "event %zu: no block of order %u", i, e->order);
		if (p->at[i] == NO_BLOCK)
			return false;
		p->blocks[e->id] = p->at[i];
		p->orders[e->id] = e->order;
	}
	return true;
}

static void drain(struct replay *p, const struct page_events *events, const struct allocator *a)
{
	for (u32 id = 0; id < events->nr_ids; id++)
		if (p->blocks[id] != NO_BLOCK)
			a->give(a->arg, p->blocks[id], p->orders[id]);
}

static void replay_free(struct replay *p)
{
	free(p->at);
	free(p->blocks);
	free(p->orders);
}

static struct linux_policy linux_policy(const struct recording *r)
{
	return (struct linux_policy){.pageblock_order = r->type_order};
}

static void linux_init(struct linux_buddy *b, struct linux_policy policy, const struct recording *r)
{
	linux_buddy_init(b, policy, r->nr_pages, r->types[BEFORE], r->type_order);
	for (size_t i = 0; i < r->free[BEFORE].nr; i++) {
		const struct block *block = &r->free[BEFORE].blocks[i];

		linux_buddy_add(b, (u32)(block->pfn - r->base), block->order,
				(enum migratetype)block->type);
	}
}

/* Every list from head to tail, and the types of all pageblocks. */
static void check_lists(const struct linux_buddy *b, const struct recording *r, enum when when)
{
	unsigned int order = NR_PAGE_ORDERS, type = NR_MIGRATETYPES;
	unsigned long nr[NR_PAGE_ORDERS], total = 0;
	u32 at = NO_BLOCK;

	for (size_t i = 0; i < r->free[when].nr; i++) {
		const struct block *block = &r->free[when].blocks[i];

		if (block->order != order || block->type != type)
			at = NO_BLOCK;
		order = block->order;
		type = block->type;
		at = linux_buddy_next(b, order, (enum migratetype)type, at);
		ok(at == block->pfn - r->base, "%s, order %u, type %u: page %u is listed, not %lu",
		   when_names[when], order, type, at, (unsigned long)(block->pfn - r->base));
		if (at == NO_BLOCK)
			return;
	}
	linux_buddy_count(b, nr);
	for (order = 0; order < NR_PAGE_ORDERS; order++)
		total += nr[order];
	ok_eq(total, r->free[when].nr);
	for (size_t i = 0; i < r->pageblocks[when].nr; i++) {
		u64 number = (r->pageblocks[when].blocks[i].pfn - r->base) >> r->type_order;

		if (!recording_has(r, &r->pageblocks[when].blocks[i]))
			continue;
		ok(b->types[number] == r->types[when][number],
		   "%s: pageblock %lu is of type %u, not %u", when_names[when],
		   (unsigned long)number, b->types[number], r->types[when][number]);
	}
}

static void check_linux_is_as_modelled(const struct recording *r, const struct page_events *events)
{
	struct linux_buddy buddy;
	struct allocator a = {linux_take, linux_give, &buddy};
	struct replay p;

	linux_init(&buddy, linux_policy(r), r);
	check_lists(&buddy, r, BEFORE);
	if (replay(&p, events, &a)) {
		check_lists(&buddy, r, END);
		drain(&p, events, &a);
		check_lists(&buddy, r, DRAINED);
	}
	replay_free(&p);
	linux_buddy_destroy(&buddy);
}

static void check_kmm_is_as_modelled(const struct recording *r, const struct page_events *events)
{
	struct kmm_buddy slow;
	struct real real;
	struct allocator a = {slow_take, slow_give, &slow}, b = {real_take, real_give, &real};
	struct replay p, q;

	kmm_buddy_init(&slow, r->nr_pages, r->types[BEFORE], r->type_order);
	real_init(&real, r);
	give_before(r, &a);
	give_before(r, &b);
	if ((int)replay(&p, events, &a) + replay(&q, events, &b) == 2)
		for (size_t i = 0; i < events->nr; i++)
			ok(p.at[i] == q.at[i], "event %zu, order %u: page %u, modelled %u", i,
			   events->events[i].order, q.at[i], p.at[i]);
	replay_free(&p);
	replay_free(&q);
	kmm_buddy_destroy(&slow);
	real_destroy(&real);
}

/* In whatever order they are freed, page by page. */
static void check_same_frames_same_blocks(const struct recording *r, enum when when)
{
	const struct blocks *blocks = &r->free[when];
	unsigned long in_linux[NR_PAGE_ORDERS], in_kmm[NR_PAGE_ORDERS], random = 1;
	u32 *frames = malloc(r->nr_pages * sizeof(*frames)), nr = 0;
	struct real real;

	if (!frames)
		abort();
	for (size_t i = 0; i < blocks->nr; i++)
		for (u64 j = 0; j < 1UL << blocks->blocks[i].order; j++)
			frames[nr++] = (u32)(blocks->blocks[i].pfn - r->base + j);
	real_init(&real, r);
	while (nr) {
		u32 i = (u32)(tap_random(&random) >> 32) % nr;

		real_give(&real, frames[i], 0);
		frames[i] = frames[--nr];
	}
	count_blocks(blocks, in_linux);
	real_count(&real, in_kmm);
	for (int order = 0; order < NR_PAGE_ORDERS; order++)
		ok(in_kmm[order] == in_linux[order], "%s, order %d: %lu blocks, Linux has %lu",
		   when_names[when], order, in_kmm[order], in_linux[order]);
	free(frames);
	real_destroy(&real);
}

/*
 * From Linux to kmm, step by step
 */

#define NR_STEPS 3

static const char *const step_names[NR_STEPS] = {
	"pageblocks are of 2 MiB",
	"free memory is of its pageblock's type",
	"the fullest pageblock that serves first",
};

static void count_step(const struct recording *r, const struct page_events *events, int step,
		       unsigned long nr[NR_PAGE_ORDERS])
{
	const struct linux_policy policy = {PAGEBLOCK_ORDER, step > 0};
	struct linux_buddy buddy;
	struct real real;
	struct allocator a = {linux_take, linux_give, &buddy}, b = {real_take, real_give, &real};
	struct replay p;

	if (step < NR_STEPS - 1) {
		linux_init(&buddy, policy, r);
		replay(&p, events, &a);
		linux_buddy_count(&buddy, nr);
		linux_buddy_destroy(&buddy);
	} else {
		real_init(&real, r);
		give_before(r, &b);
		replay(&p, events, &b);
		real_count(&real, nr);
		real_destroy(&real);
	}
	replay_free(&p);
}

static void print_counts(const char *what, const unsigned long nr[NR_PAGE_ORDERS],
			 const unsigned long less[NR_PAGE_ORDERS])
{
	printf("# %-40s", what);
	for (int order = 0; order < NR_PAGE_ORDERS; order++)
		printf(less ? " %+5ld" : " %5ld", (long)(nr[order] - (less ? less[order] : 0)));
	putchar('\n');
}

static unsigned long pages_from(const unsigned long nr[NR_PAGE_ORDERS], unsigned int order)
{
	unsigned long pages = 0;

	for (; order < NR_PAGE_ORDERS; order++)
		pages += nr[order] << order;
	return pages;
}

static void check_differences(const struct recording *r, const struct page_events *events)
{
	static const unsigned long orders[NR_PAGE_ORDERS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
	unsigned long nr[NR_STEPS + 1][NR_PAGE_ORDERS];
	char name[48];

	count_blocks(&r->free[END], nr[0]);
	print_counts("free blocks at the end, by order", orders, NULL);
	snprintf(name, sizeof(name), "Linux %.32s", r->release);
	print_counts(name, nr[0], NULL);
	for (int step = 0; step < NR_STEPS; step++) {
		count_step(r, events, step, nr[step + 1]);
		print_counts(step_names[step], nr[step + 1], nr[step]);
		ok_eq(pages_from(nr[step + 1], 0), pages_from(nr[0], 0));
	}
	print_counts("kmm", nr[NR_STEPS], NULL);
	/* What its policy is for. Events made by somebody else may be such that it does not help. */
	if (r->made_up)
		ok(pages_from(nr[NR_STEPS], HPAGE_ORDER) > pages_from(nr[0], HPAGE_ORDER),
		   "of free blocks of 2 MiB kmm keeps %lu pages, Linux %lu",
		   pages_from(nr[NR_STEPS], HPAGE_ORDER), pages_from(nr[0], HPAGE_ORDER));
}

static void check_all(struct recording *r, const struct page_events *events)
{
	for (int when = 0; when < NR_WHENS; when++)
		check_same_frames_same_blocks(r, (enum when)when);
	/* Later releases choose in other ways. */
	if (!strncmp(r->release, "6.1.", 4))
		check_linux_is_as_modelled(r, events);
	check_kmm_is_as_modelled(r, events);
	check_differences(r, events);
}

/*
 * Recordings
 */

static void source_path(const char *name, char *path, size_t size)
{
	const char *srcdir = getenv("srcdir");

	snprintf(path, size, "%s/%s", srcdir ? srcdir : ".", name);
}

/* Run the kernel that has been built; false, and the test is skipped, if there is none. */
static bool record(struct recording *r, const char *trace, u64 memory_bytes)
{
	char script[PATH_MAX], kernel[PATH_MAX];
	struct replay_trace opened;
	struct linux_plan plan = {.suites = "replay",
				  .memory_bytes = memory_bytes,
				  .traces = &opened,
				  .nr_traces = 1,
				  .line = recording_take,
				  .arg = r};
	int status;

	source_path("scripts/linux", script, sizeof(script));
	plan.kernel = linux_kernel(script, false, true, kernel);
	if (!plan.kernel) {
		skip("no kernel has been built: make bench-linux builds it");
		return false;
	}
	status = replay_trace_open(trace, &opened);
	ok_eq(status, EXIT_OK);
	if (status)
		return false;
	status = linux_run(&plan);
	replay_trace_close(&opened);
	if (status == EXIT_BAD_INPUT)
		skip("the kernel cannot be run here");
	ok(!status || status == EXIT_BAD_INPUT, "%s: status %d", trace, status);
	return !status;
}

static void check(struct recording *r, const struct page_events *events, const char *keep)
{
	bool whole = recording_complete(r);

	ok(whole, "no free blocks were told");
	if (whole && keep)
		recording_write(r, keep);
	if (whole)
		check_all(r, events);
	recording_free(r);
}

static void each_difference_to_a_recorded_kernel_has_a_name(void)
{
	struct page_events events;
	struct recording r = {.made_up = true};
	char path[PATH_MAX];

	page_events_make(&events, NR_EVENTS, MOST_PAGES);
	source_path("tests/fixtures/linux/free-6.1.txt", path, sizeof(path));
	recording_read(&r, path);
	check(&r, &events, NULL);
	page_events_free(&events);
}

static void each_difference_to_a_running_kernel_has_a_name(void)
{
	char path[] = "linux_buddy_XXXXXX.kmt", error[KMT_ERROR_SIZE];
	int fd = mkstemps(path, 4);
	struct page_events events;
	struct recording r = {0};

	page_events_make(&events, NR_EVENTS, MOST_PAGES);
	ok(fd >= 0 && !page_events_write(&events, path, error), "%s: %s", path, error);
	if (record(&r, path, MEMORY)) {
		check(&r, &events, getenv("KMM_LINUX_BUDDY_OUT"));
	}
	close(fd);
	unlink(path);
	page_events_free(&events);
}

static void each_difference_after_a_real_trace_has_a_name(void)
{
	char path[PATH_MAX], error[KMT_ERROR_SIZE] = "";
	struct page_events events;
	struct recording r = {0};

	source_path("workloads/samples/kbuild.kmt", path, sizeof(path));
	if (record(&r, path, 512UL << 20)) {
		ok(!page_events_read(&events, path, error), "%s", error);
		check(&r, &events, NULL);
		page_events_free(&events);
	}
}

int main(void)
{
	RUN(each_difference_to_a_recorded_kernel_has_a_name);
	RUN(each_difference_to_a_running_kernel_has_a_name);
	RUN(each_difference_after_a_real_trace_has_a_name);
	return done();
}

/* SPDX-License-Identifier: MIT */
/*
 * freelist: what a slab is for. The simplest allocator of objects cuts pages into objects and keeps those
 * that are free in one list. It is fast, and it never gives a page back, since it does not know of any
 * that nothing in it is live; nor does it fill up the pages that nearly all are, so that others become free.
 *
 *	begin	allocate many; then free a random half, or (freelist_runs) every second run of neighbours
 *	round	free a random half of what is live, and allocate as many
 *
 *	page:	[live|free|live|free]	the list hands out what was freed last, wherever it is
 *	slab:	[live|live|live|live]	the fullest slab first, so that the others drain
 *
 * A sample is what an allocator holds when asked to give back what it can: kmm shrinks the cache. When a
 * random half has been freed no slab of many objects is free, and neither can give anything back; it is
 * the rounds that make a difference. Of runs slabs become free at once.
 */
#include <errno.h>
#include <string.h>

#include "bench/suites/freelist.h"
#include "bench/suites/slots.h"

#define NR_ROUNDS   50
#define OBJECT_SIZE 64
#define CHURNED                                                                                    \
	2 /* a round replaces one in so many of the live: more than CPUs and nodes keep at hand */

struct freelist_suite {
	struct object_suite suite;
	bool runs;
};

struct freelist {
	struct object_thread *objects;
	const char *error; /* the first, after which nothing more is done */
	uint64_t random;
	int nr_live;
	void *slots[FREELIST_OBJECTS]; /* the live ones first */
};

/*
 * The free list.
 */
struct free_object {
	struct free_object *next;
};

static struct {
	struct free_object *head;
	void *pages; /* linked by their last words, which no object has */
	uint64_t nr_pages, nr_live;
} heap;

#define LINK_OF(page) ((void **)((char *)(page) + PAGE_SIZE) - 1)

static bool add_page(void)
{
	void *page = (void *)__get_free_pages(GFP_KERNEL, 0);

	if (!page)
		return false;
	*LINK_OF(page) = heap.pages;
	heap.pages = page;
	heap.nr_pages++;
	/* the last object would reach into the link */
	for (size_t at = 0; at + OBJECT_SIZE < PAGE_SIZE; at += OBJECT_SIZE) {
		struct free_object *object = (struct free_object *)((char *)page + at);

		object->next = heap.head;
		heap.head = object;
	}
	return true;
}

static void *list_alloc(size_t size)
{
	struct free_object *object;

	(void)size;
	if (unlikely(!heap.head) && !add_page())
		return NULL;
	object = heap.head;
	heap.head = object->next;
	heap.nr_live++;
	return object;
}

static void list_free(void *memory)
{
	struct free_object *object = memory;

	if (!object)
		return;
	object->next = heap.head;
	heap.head = object;
	heap.nr_live--;
}

static int list_stats(const struct object_peer *peer, struct object_peer_stats *stats)
{
	(void)peer;
	stats->allocated_bytes = heap.nr_live * OBJECT_SIZE;
	stats->backing_bytes = heap.nr_pages << PAGE_SHIFT;
	return 0;
}

/* The end of the list and of all that was allocated from it. */
static void list_end(void)
{
	while (heap.pages) {
		void *page = heap.pages;

		heap.pages = *LINK_OF(page);
		free_pages((unsigned long)page, 0);
	}
	memset(&heap, 0, sizeof(heap));
}

const struct object_peer freelist_table = {
	.name = "freelist",
	.alloc = list_alloc,
	.free = list_free,
	.stats = list_stats,
};

/*
 * The case.
 */
static uint64_t live_bytes; /* after begin and after each round */

static bool is_freed(struct freelist *freelist, const struct freelist_suite *suite, int i)
{
	return suite->runs ? i / FREELIST_RUN % 2 : (int)(bench_random(&freelist->random) >> 63);
}

static bool put(struct bench_case *c, struct freelist *freelist)
{
	void **slot = &freelist->slots[freelist->nr_live];

	*slot = c->peer->alloc(c->size_bytes);
	if (!*slot) {
		freelist->error = case_no_memory(c, "for an object after %d", freelist->nr_live);
		return false;
	}
	slot_stamp(slot);
	freelist->nr_live++;
	return true;
}

/* Free the object of a slot, and have the last one's there. */
static bool take(struct bench_case *c, struct freelist *freelist, int at)
{
	void **slot = &freelist->slots[at], **last = &freelist->slots[freelist->nr_live - 1];

	if (!slot_is_sound(slot) || !slot_is_sound(last)) {
		freelist->error = slot_error(slot_is_sound(slot) ? last : slot);
		return false;
	}
	c->peer->free(*slot);
	if (slot != last) {
		*slot = *last;
		slot_stamp(slot);
	}
	*last = NULL;
	freelist->nr_live--;
	return true;
}

static void fill_and_halve(struct bench_case *c, struct freelist *freelist)
{
	const struct freelist_suite *suite = container_of((const struct object_suite *)c->arg,
							  const struct freelist_suite, suite);

	while (freelist->nr_live < FREELIST_OBJECTS && put(c, freelist))
		;
	/* From the end, so that the last one's place is one that has been decided on. */
	for (int i = FREELIST_OBJECTS - 1; i >= 0 && !freelist->error; i--)
		if (is_freed(freelist, suite, i))
			take(c, freelist, i);
}

static void run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	struct freelist *freelist = arg;

	(void)thread;
	while (n--) {
		int nr = (int)c->ops_per_batch, until = freelist->nr_live - nr;

		while (!freelist->error && freelist->nr_live > until)
			take(c, freelist,
			     (int)draw_below(bench_random(&freelist->random), freelist->nr_live));
		while (!freelist->error && nr--)
			put(c, freelist);
	}
	live_bytes = (uint64_t)freelist->nr_live * OBJECT_SIZE;
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	struct freelist *freelist = harness_alloc(sizeof(*freelist), true, false);
	const char *error;

	*out = freelist;
	if (!freelist)
		return error_line("no memory for the harness");
	error = objects_thread_begin(c, thread, &freelist->objects);
	if (error)
		return error;
	freelist->random = freelist->objects->random;
	fill_and_halve(c, freelist);
	live_bytes = (uint64_t)freelist->nr_live * OBJECT_SIZE;
	c->ops_per_batch = max_t(uint64_t, (uint64_t)freelist->nr_live / CHURNED, 1);
	return freelist->error;
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct freelist *freelist = arg;
	const char *error, *other;

	if (!freelist)
		return objects_thread_end(c, thread, NULL);
	error = freelist->error;
	freelist->error = NULL;
	while (freelist->nr_live && !freelist->error)
		take(c, freelist, freelist->nr_live - 1);
	error = error ? error : freelist->error;
	other = objects_thread_end(c, thread, freelist->objects);
	harness_free(freelist, sizeof(*freelist));
	return error ? error : other;
}

static const char *finish(struct bench_case *c)
{
	const char *error = objects_finish(c);

	if (c->peer == &freelist_table)
		list_end();
	return error;
}

static void add_case_cache(const struct slab_info *info, void *arg)
{
	struct round_sample *sample = arg;

	if (!strncmp(info->name, "bench-", 6))
		sample->backing_bytes += info->slab_bytes;
}

static void sample(struct bench_case *c, struct round_sample *sample)
{
	*sample = (struct round_sample){.requested_bytes = live_bytes, .held_known = true};
	if (c->peer == &freelist_table) {
		sample->backing_bytes = heap.nr_pages << PAGE_SHIFT;
		return;
	}
	kmem_cache_shrink(kmm_target.cache);
	slab_for_each(c->env->machine, add_case_cache, sample);
}

const struct case_ops freelist_ops = {
	.prepare = objects_prepare,
	.thread_begin = begin,
	.run = run,
	.thread_end = end,
	.finish = finish,
	.nr_rounds = NR_ROUNDS,
	.sample = sample,
};

/* Others' malloc has no cache to shrink, and takes no pages from kmm. */
static const char *freelist_refused(const struct bench_env *env, const struct object_cases *cases,
				    const struct object_peer *peer)
{
	return env->machine && (peer == cases->kmm || peer == &freelist_table) ? NULL : "";
}

int freelist_cases_add(const struct bench_env *env, struct case_list *list,
		       const struct object_cases *like)
{
	static struct freelist_suite random_half, runs;
	struct object_cases cases = *like;
	int status;

	random_half = (struct freelist_suite){*like->object_suite, false};
	runs = (struct freelist_suite){*like->object_suite, true};
	cases.name = "freelist";
	cases.ops = &freelist_ops;
	cases.object_suite = &random_half.suite;
	cases.mmap = &freelist_table;
	cases.size_bytes = OBJECT_SIZE;
	cases.count = 1;
	cases.threads = 1;
	cases.one_placement = true;
	cases.refuse = freelist_refused;
	status = object_cases_add(env, list, &cases);
	cases.name = "freelist_runs";
	cases.object_suite = &runs.suite;
	return status ? status : object_cases_add(env, list, &cases);
}

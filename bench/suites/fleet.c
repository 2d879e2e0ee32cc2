/* SPDX-License-Identifier: MIT */
/*
 * fleet: the heap of a long-running program, as a table of sizes, rates and live counts says
 * (workloads/fleet.h), scaled to so many live bytes.
 *
 * A number of slots each hold an object. One of a size lives for a time drawn from an exponential
 * distribution whose mean is the table's, live / rate, so that its death is memoryless; then it is
 * freed, and another comes into its slot, of a size drawn by the rates. In the long run the slots' sizes
 * are those of the table's live objects, and so they are drawn at the start. Which slot is next, and what
 * comes into it, is drawn before each round by a heap of times of death, and is the same for every
 * allocator; what is timed is the calls and the writing.
 *
 * Who allocates an object writes to it: a word at its start and its end, made of its address and its
 * slot's, and one in each page between. The first and last are looked at before it is freed.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/suites/fleet.h"

#define NR_ROUNDS     20
#define ROUND_OPS     50000
#define LARGEST_SHARE 8 /* no object has more than one part in so many of the live bytes */
#define LEAST_SLOTS   64
#define NOTED_PERCENT 0.05 /* of the table's bytes that are left out */

struct fleet_suite {
	struct object_suite suite;
	const struct fleet_profile *profile;
	uint64_t live_bytes;
};

struct slot {
	void *object; /* NULL: none */
	uint64_t size;
};

struct death {
	double time; /* in the table's seconds */
	uint32_t slot;
};

struct step {
	uint32_t slot, size;
};

struct fleet {
	struct object_thread *objects;
	const struct fleet_suite *suite;
	const char *error; /* the first, after which nothing more is done */
	size_t state_bytes;
	uint64_t random;
	double *by_live,
		*by_rate;   /* [profile->nr]: the sums up to each entry; one left out adds 0 */
	struct slot *slots; /* [nr_slots] */
	struct death *heap; /* [nr_slots]: no entry dies before the one at (i - 1) / 2 */
	struct step *steps; /* [ROUND_OPS] */
	size_t nr_slots, nr_steps; /* drawn and not yet taken */
};

uint64_t fleet_largest_bytes(uint64_t live_bytes)
{
	return min_t(uint64_t, live_bytes / LARGEST_SHARE, KMALLOC_MAX_SIZE);
}

static bool is_left_out(const struct fleet_suite *suite, size_t entry)
{
	return suite->profile->entries[entry].size_bytes > fleet_largest_bytes(suite->live_bytes);
}

/* Slots that hold as many bytes as wanted, on average; *left_out: percent of the table's bytes. */
static size_t slots_wanted(const struct fleet_suite *suite, double *left_out)
{
	double live = 0, live_bytes = 0, all_bytes = 0;

	for (size_t i = 0; i < suite->profile->nr; i++) {
		const struct fleet_entry *entry = &suite->profile->entries[i];
		double bytes = entry->live * (double)entry->size_bytes;

		all_bytes += bytes;
		if (is_left_out(suite, i))
			continue;
		live += entry->live;
		live_bytes += bytes;
	}
	*left_out = 100 - 100 * live_bytes / all_bytes;
	if (live_bytes <= 0)
		return 0;
	return (size_t)fmax(LEAST_SLOTS, (double)suite->live_bytes * live / live_bytes);
}

/*
 * What is drawn.
 */

/* Above 0, up to 1. */
static double draw_share(struct fleet *fleet)
{
	return (double)((bench_random(&fleet->random) >> 11) + 1) * 0x1p-53;
}

/* An entry, by the sums of their weights. */
static size_t draw_entry(struct fleet *fleet, const double *sums)
{
	size_t low = 0, high = fleet->suite->profile->nr - 1;
	double at = draw_share(fleet) * sums[high];

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (sums[middle] < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static double draw_life(struct fleet *fleet, size_t entry)
{
	const struct fleet_entry *of = &fleet->suite->profile->entries[entry];

	return -log(draw_share(fleet)) * of->live / of->per_second;
}

static void sink(struct death *heap, size_t nr, size_t at)
{
	struct death death = heap[at];

	for (size_t child; (child = 2 * at + 1) < nr; at = child) {
		if (child + 1 < nr && heap[child + 1].time < heap[child].time)
			child++;
		if (heap[child].time >= death.time)
			break;
		heap[at] = heap[child];
	}
	heap[at] = death;
}

static void set_weights(struct fleet *fleet)
{
	const struct fleet_profile *profile = fleet->suite->profile;
	double live = 0, rate = 0;

	for (size_t i = 0; i < profile->nr; i++) {
		if (!is_left_out(fleet->suite, i)) {
			live += profile->entries[i].live;
			rate += profile->entries[i].per_second;
		}
		fleet->by_live[i] = live;
		fleet->by_rate[i] = rate;
	}
}

static void draw_population(struct fleet *fleet)
{
	for (size_t i = 0; i < fleet->nr_slots; i++) {
		size_t entry = draw_entry(fleet, fleet->by_live);

		fleet->slots[i].size = fleet->suite->profile->entries[entry].size_bytes;
		fleet->heap[i] = (struct death){draw_life(fleet, entry), (uint32_t)i};
	}
	for (size_t i = fleet->nr_slots / 2; i-- > 0;)
		sink(fleet->heap, fleet->nr_slots, i);
}

/* Draw the steps of the next round, outside of what is timed. */
static void plan(struct bench_case *c, int thread, void *arg)
{
	struct fleet *fleet = arg;
	struct death *next = &fleet->heap[0];

	(void)c;
	(void)thread;
	for (; fleet->nr_steps < ROUND_OPS; fleet->nr_steps++) {
		size_t entry = draw_entry(fleet, fleet->by_rate);

		fleet->steps[fleet->nr_steps] = (struct step){
			next->slot, (uint32_t)fleet->suite->profile->entries[entry].size_bytes};
		next->time += draw_life(fleet, entry);
		sink(fleet->heap, fleet->nr_slots, 0);
	}
}

/*
 * What is done.
 */
static inline uint64_t word_of(const struct slot *slot)
{
	return (uint64_t)slot->object ^ (uint64_t)slot * 0x9E3779B97F4A7C15UL;
}

static inline char *last_of(const struct slot *slot)
{
	return (char *)slot->object + slot->size - sizeof(uint64_t);
}

static inline void write_object(const struct slot *slot)
{
	uint64_t word = word_of(slot);

	if (slot->size < 2 * sizeof(word)) {
		memcpy(slot->object, &word, min_t(size_t, slot->size, sizeof(word)));
		return;
	}
	memcpy(slot->object, &word, sizeof(word));
	for (size_t at = PAGE_SIZE; at + sizeof(word) < slot->size; at += PAGE_SIZE)
		memcpy((char *)slot->object + at, &word, sizeof(word));
	memcpy(last_of(slot), &word, sizeof(word));
}

static inline bool is_sound(const struct slot *slot)
{
	uint64_t word = word_of(slot);

	if (slot->size < 2 * sizeof(word))
		return !memcmp(slot->object, &word, min_t(size_t, slot->size, sizeof(word)));
	return !memcmp(slot->object, &word, sizeof(word)) &&
	       !memcmp(last_of(slot), &word, sizeof(word));
}

static const char *unsound(const struct slot *slot)
{
	return error_line(
		"the object of %llu bytes at %p is another's too: its first or last word is "
		"not what was written",
		(unsigned long long)slot->size, slot->object);
}

static const char *take(struct bench_case *c, struct slot *slot, uint64_t size)
{
	slot->size = size;
	slot->object = c->peer->alloc(size);
	if (unlikely(!slot->object))
		return case_no_memory(c, "for an object of %llu bytes", (unsigned long long)size);
	write_object(slot);
	return NULL;
}

static void run(struct bench_case *c, int thread, void *arg, uint64_t n)
{
	void (*release)(void *) = c->peer->free;
	struct fleet *fleet = arg;

	while (n-- && !fleet->error) {
		if (!fleet->nr_steps)
			plan(c, thread, fleet);
		for (size_t i = 0; i < ROUND_OPS && !fleet->error; i++) {
			struct slot *slot = &fleet->slots[fleet->steps[i].slot];

			if (unlikely(!is_sound(slot))) {
				fleet->error = unsound(slot);
				break;
			}
			release(slot->object);
			fleet->error = take(c, slot, fleet->steps[i].size);
		}
		fleet->nr_steps = 0;
	}
}

static void each_held(struct bench_case *c, int thread, void *arg, held_visit *visit, void *to)
{
	struct fleet *fleet = arg;

	(void)thread;
	for (size_t i = 0; i < fleet->nr_slots; i++)
		if (fleet->slots[i].object)
			visit(c, &fleet->slots[i].object, fleet->slots[i].size, to);
}

static void *carve(char **at, size_t bytes)
{
	void *piece = *at;

	*at += ALIGN_UP(bytes, CACHELINE_SIZE);
	return piece;
}

static struct fleet *make_state(struct bench_case *c)
{
	const struct fleet_suite *suite =
		container_of((const struct object_suite *)c->arg, const struct fleet_suite, suite);
	double left_out;
	size_t nr = slots_wanted(suite, &left_out), nr_entries = suite->profile->nr;
	size_t bytes = sizeof(struct fleet) + 2 * nr_entries * sizeof(double) +
		       nr * (sizeof(struct slot) + sizeof(struct death)) +
		       ROUND_OPS * sizeof(struct step) + PAGE_SIZE;
	char *at = harness_alloc(bytes, true, false);
	struct fleet *fleet;

	if (!at)
		return NULL;
	fleet = carve(&at, sizeof(*fleet));
	fleet->suite = suite;
	fleet->state_bytes = bytes;
	fleet->nr_slots = nr;
	fleet->by_live = carve(&at, nr_entries * sizeof(double));
	fleet->by_rate = carve(&at, nr_entries * sizeof(double));
	fleet->slots = carve(&at, nr * sizeof(struct slot));
	fleet->heap = carve(&at, nr * sizeof(struct death));
	fleet->steps = carve(&at, ROUND_OPS * sizeof(struct step));
	return fleet;
}

static const char *begin(struct bench_case *c, int thread, void **out)
{
	struct fleet *fleet = make_state(c);
	const char *error;

	*out = fleet;
	if (!fleet)
		return error_line("no memory for the harness");
	error = objects_thread_begin(c, thread, &fleet->objects);
	if (error)
		return error;
	fleet->random = fleet->objects->random;
	set_weights(fleet);
	draw_population(fleet);
	for (size_t i = 0; i < fleet->nr_slots && !fleet->error; i++)
		fleet->error = take(c, &fleet->slots[i], fleet->slots[i].size);
	return fleet->error;
}

static const char *end(struct bench_case *c, int thread, void *arg)
{
	struct fleet *fleet = arg;
	const char *error, *other;

	if (!fleet)
		return objects_thread_end(c, thread, NULL);
	error = fleet->error;
	for (size_t i = 0; i < fleet->nr_slots; i++) {
		struct slot *slot = &fleet->slots[i];

		if (!slot->object)
			continue;
		if (!error && !is_sound(slot))
			error = unsound(slot);
		c->peer->free(slot->object);
	}
	other = objects_thread_end(c, thread, fleet->objects);
	harness_free(fleet, fleet->state_bytes);
	return error ? error : other;
}

const struct case_ops fleet_ops = {
	.ops_per_batch = ROUND_OPS,
	.prepare = objects_prepare,
	.thread_begin = begin,
	.run = run,
	.thread_end = end,
	.finish = objects_finish,
	.nr_rounds = NR_ROUNDS,
	.alone = true,
	.plan = plan,
	.held = each_held,
};

static const char *fleet_refused(const struct bench_env *env, const struct object_cases *cases,
				 const struct object_peer *peer)
{
	double left_out;

	(void)env;
	(void)peer;
	return slots_wanted(container_of(cases->object_suite, const struct fleet_suite, suite),
			    &left_out)
		       ? NULL
		       : "no object of the table is small enough";
}

int fleet_cases_add(const struct bench_env *env, struct case_list *list,
		    const struct object_cases *like)
{
	static struct fleet_suite suites_of[FLEETS_MAX];
	const struct fleet_profile *profiles = env->nr_fleets ? env->fleets : &fleet_server;
	uint64_t bytes = env->fleet_bytes ?: env->full ? FLEET_BYTES_FULL : FLEET_BYTES_QUICK;
	int nr = env->nr_fleets ?: 1, status = 0;

	bytes = min_t(uint64_t, bytes, node_memory_bytes(env) / 4);
	for (int i = 0; !status && i < nr && i < FLEETS_MAX; i++) {
		struct object_cases cases = *like;
		double left_out;
		char note[64];

		suites_of[i] = (struct fleet_suite){*like->object_suite, &profiles[i], bytes};
		slots_wanted(&suites_of[i], &left_out);
		snprintf(note, sizeof(note), "%llu MiB live; %.1f %% of the table's bytes left out",
			 (unsigned long long)(bytes >> 20), left_out);
		if (left_out < NOTED_PERCENT)
			*strchr(note, ';') = '\0';
		cases.name = "fleet";
		cases.ops = &fleet_ops;
		cases.object_suite = &suites_of[i].suite;
		cases.size = profiles[i].name;
		cases.size_bytes = PAGE_SIZE;
		cases.count = 1;
		cases.threads = 1;
		cases.one_placement = true;
		cases.memory = true;
		cases.fine = true;
		cases.note = note;
		cases.refuse = fleet_refused;
		status = object_cases_add(env, list, &cases);
	}
	return status;
}

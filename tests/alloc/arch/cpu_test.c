/* SPDX-License-Identifier: MIT */
/*
 * CPU slots on a machine without memory: two nodes of two CPUs, and one layer that only counts what
 * it is told.
 *
 *	node 0: CPUs 0, 1	node 1: CPUs 2, 3
 */
#include <errno.h>
#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/slots.h"
#include "arch/topology.h"
#include "base/check.h"
#include "tests/tap/tap.h"

static int inits[KMM_MAX_SLOTS], drains[KMM_MAX_SLOTS];

static void count_init(struct kmm *machine, struct kmm_cpu *cpu)
{
	ok(lock_is_held(&machine->slots_lock), "slots_lock held");
	ok(this_cpu == cpu, "in the name of the slot");
	inits[cpu->slot]++;
}

static void count_drain(struct kmm *machine, struct kmm_cpu *cpu)
{
	ok(lock_is_held(&machine->slots_lock), "slots_lock held");
	ok(this_cpu == cpu, "in the name of the slot");
	drains[cpu->slot]++;
}

static const struct kmm_layer counting = {
	.name = "counting", .cpu_init = count_init, .cpu_drain = count_drain};
static const struct kmm_layer *const layers[] = {&counting};

static struct kmm *machine_up(void)
{
	struct kmm *machine = aligned_alloc(_Alignof(struct kmm), sizeof(*machine));
	char why[256] = "";

	memset(machine, 0, sizeof(*machine));
	memset(inits, 0, sizeof(inits));
	memset(drains, 0, sizeof(drains));
	machine->layers = layers;
	machine->nr_layers = 1;
	machine->nr_frames = 1234;
	if (topology_load("pack:2 [numa] core:2 pu:1", NULL, &machine->topology, why,
			  sizeof(why)) ||
	    slots_boot(machine)) {
		printf("Bail out! no machine: %s %s\n", why, boot_refusal());
		exit(1);
	}
	return machine;
}

static void machine_down(struct kmm *machine)
{
	slot_detach();
	slots_shutdown(machine);
	topology_free(machine->topology);
	free(machine);
}

static void a_detached_thread_has_a_slot_of_zeros(void)
{
	const char *bytes = (const char *)this_cpu;
	size_t nr_set = 0;

	ok(this_cpu == kmm_cpu_detached, "never NULL");
	for (size_t i = 0; i < PERCPU_SIZE; i++)
		nr_set += bytes[i] != 0;
	ok_eq(nr_set, 0);
	slot_detach(); /* does nothing */
	ok(this_cpu == kmm_cpu_detached, "still");
}

static void a_slot_carries_the_machines_constants(void)
{
	struct kmm *machine = machine_up();

	ok(!cpu_first(machine), "none yet");
	ok_eq(slot_attach(machine, 2), 0);
	ok(this_cpu->machine == machine && this_cpu->nr_frames == 1234, "copies");
	ok_eq(this_cpu->slot, 0);
	ok_eq(this_cpu->cpu, 2);
	ok_eq(this_cpu->nid, 1);
	ok(cpu_first(machine) == this_cpu && !cpu_next(machine, this_cpu), "the only one");
	ok(cpu_get() == this_cpu, "attached already");
	ok_eq(inits[0], 1);
	ok_eq(slot_attach(machine, 4), -EINVAL);
	ok_eq(slot_attach(machine, -2), -EINVAL);
	ok(this_cpu->slot == 0 && this_cpu != kmm_cpu_detached, "a refusal changes nothing");
	machine_down(machine);
}

static void a_left_slot_is_adopted_on_its_cpu_then_on_its_node(void)
{
	struct kmm *machine = machine_up();
	struct kmm_cpu *first;

	slot_attach(machine, 0);
	first = this_cpu;
	slot_detach();
	slot_attach(machine, 0);
	ok(this_cpu == first, "same CPU");
	slot_attach(machine, 1);
	ok(this_cpu == first && first->cpu == 1 && first->nid == 0, "same node, now CPU 1");
	slot_attach(machine, 3);
	ok(this_cpu != first && this_cpu->nid == 1, "another node: a new slot");
	ok_eq(machine->nr_slots, 2);
	ok_eq(drains[0], 0);
	machine_down(machine);
}

static void *attach_once(void *machine)
{
	ok_eq(slot_attach(machine, -1), 0);
	ok(this_cpu != kmm_cpu_detached, "attached");
	return NULL;
}

static void threads_one_after_the_other_share_a_slot_a_node(void)
{
	struct kmm *machine = machine_up();

	for (int i = 0; i < 200; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, attach_once, machine);
		pthread_join(thread, NULL);
	}
	ok(machine->nr_slots <= 2, "%u slots after 200 threads on 2 nodes", machine->nr_slots);
	for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
		ok(!cpu->owned, "slot %u is owned", cpu->slot);
	machine_down(machine);
}

static void *attach_by_use(void *machine)
{
	struct kmm_cpu *cpu = cpu_get();

	ok(cpu->machine == machine, "the current machine");
	ok(cpu == this_cpu, "and it stays");
	return NULL;
}

static void use_attaches_to_the_current_machine(void)
{
	struct kmm *machine = machine_up(), other;
	pthread_t thread;

	ok(!current_machine(), "none");
	ok(current_offer(machine), "taken");
	ok(!current_offer(&other), "the first stays");
	ok(current_machine() == machine, "the first");
	pthread_create(&thread, NULL, attach_by_use, machine);
	pthread_join(thread, NULL);
	current_withdraw(&other);
	ok(current_machine() == machine, "only its own word counts");
	current_withdraw(machine);
	ok(!current_machine(), "none again");
	machine_down(machine);
}

/* A destructor that uses the machine in each of the rounds that pthread makes, also the last. */
static pthread_key_t late_key;

static void use_late(void *round)
{
	cpu_get();
	if ((uintptr_t)round < PTHREAD_DESTRUCTOR_ITERATIONS)
		pthread_setspecific(late_key, (void *)((uintptr_t)round + 1));
}

static void *end_late(void *unused)
{
	cpu_get();
	pthread_setspecific(late_key, (void *)1);
	return unused;
}

static void slots_used_from_late_destructors_are_found_again(void)
{
	struct kmm *machine;
	pthread_t thread;
	int nr_owned = 0;

	if (TAP_SANITIZED) {
		skip("a sanitizer leaves a thread before its last destructors");
		return;
	}
	machine = machine_up();
	current_offer(machine);
	/* A later key than the machine's, so its destructor runs after the machine's. */
	pthread_key_create(&late_key, use_late);
	for (int i = 0; i < 20; i++) {
		pthread_create(&thread, NULL, end_late, NULL);
		pthread_join(thread, NULL);
	}
	/* A joined thread may be known to the OS for a moment longer, which on a busy machine is long. */
	for (int tries = 0; tries < 20000; tries++) {
		slots_drain(machine);
		nr_owned = 0;
		for (struct kmm_cpu *cpu = cpu_first(machine); cpu; cpu = cpu_next(machine, cpu))
			nr_owned += cpu->owned;
		if (!nr_owned)
			break;
		usleep(1000);
	}
	ok_eq(nr_owned, 0);
	current_withdraw(machine);
	pthread_key_delete(late_key);
	machine_down(machine);
}

#define NR_CROWD 1100

static pthread_barrier_t all_attached;
static u8 slot_seen[KMM_MAX_SLOTS];

static void *attach_and_meet(void *machine)
{
	int error = slot_attach(machine, -1);

	ok_eq(error, 0);
	if (!error)
		ok_eq(__atomic_fetch_add(&slot_seen[this_cpu->slot], 1, __ATOMIC_RELAXED), 0);
	pthread_barrier_wait(&all_attached);
	return NULL;
}

static void a_thousand_threads_have_a_slot_each(void)
{
	struct kmm *machine = machine_up();
	pthread_t *threads = calloc(NR_CROWD, sizeof(*threads));
	pthread_attr_t small;
	unsigned int nr = 0;

	memset(slot_seen, 0, sizeof(slot_seen));
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 256 * 1024);
	pthread_barrier_init(&all_attached, NULL, NR_CROWD + 1);
	while (nr < NR_CROWD && !pthread_create(&threads[nr], &small, attach_and_meet, machine))
		nr++;
	if (nr < NR_CROWD) {
		printf("Bail out! only %u threads\n", nr);
		exit(1);
	}
	pthread_barrier_wait(&all_attached);
	for (unsigned int i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
	ok_eq(machine->nr_slots, NR_CROWD);
	for (unsigned int i = 0; i < NR_CROWD; i++)
		ok(slot_seen[i] == 1 && inits[i] == 1, "slot %u: %u threads, %d inits", i,
		   slot_seen[i], inits[i]);
	slots_drain(machine);
	for (unsigned int i = 0; i < NR_CROWD; i++)
		ok_eq(drains[i], 1);
	pthread_barrier_destroy(&all_attached);
	pthread_attr_destroy(&small);
	free(threads);
	machine_down(machine);
}

/* However they end: who comes next has the first. */
static void the_first_of_the_idle_slots_is_adopted(void)
{
	struct kmm *machine = machine_up();
	pthread_t threads[50];

	pthread_barrier_init(&all_attached, NULL, ARRAY_SIZE(threads) + 1);
	memset(slot_seen, 0, sizeof(slot_seen));
	for (unsigned int i = 0; i < ARRAY_SIZE(threads); i++)
		if (pthread_create(&threads[i], NULL, attach_and_meet, machine)) {
			printf("Bail out! only %u threads\n", i);
			exit(1);
		}
	pthread_barrier_wait(&all_attached);
	for (unsigned int i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	for (unsigned int cpu = 0; cpu < 4; cpu++) {
		u32 last = 0, nr = 0;

		for (struct kmm_cpu *slot = machine->idle[cpu]; slot; slot = slot->next_idle) {
			ok(!nr++ || slot->slot > last, "slot %u behind %u", slot->slot, last);
			last = slot->slot;
		}
	}
	pthread_barrier_destroy(&all_attached);
	machine_down(machine);
}

static void beyond_the_last_slot_comes_eagain_then_adoption_from_another_node(void)
{
	struct kmm *machine = machine_up();
	struct kmm_cpu **before = calloc(KMM_MAX_SLOTS, sizeof(*before)), *unused;
	int home, nr = 0;

	while (nr < KMM_MAX_SLOTS && !slot_borrow(machine, &before[nr]))
		nr++;
	ok_eq(nr, KMM_MAX_SLOTS);
	ok_eq(slot_borrow(machine, &unused), -EAGAIN);
	home = this_cpu->nid;
	slot_return(before[--nr]);
	slot_detach();
	/* One idle slot, of node `home`; ask for one on the other node. */
	ok_eq(slot_attach(machine, home == 0 ? 3 : 0), 0);
	ok_eq(this_cpu->nid, !home);
	ok_eq(drains[this_cpu->slot], 1);
	ok_eq(inits[this_cpu->slot], 1);
	free(before);
	machine_down(machine);
}

struct sleeper {
	struct kmm *machine;
	u32 slot;
	pthread_barrier_t attached, done;
};

static void *sleep_attached(void *arg)
{
	struct sleeper *sleeper = arg;

	slot_attach(sleeper->machine, 1);
	sleeper->slot = this_cpu->slot;
	pthread_barrier_wait(&sleeper->attached);
	pthread_barrier_wait(&sleeper->done);
	return NULL;
}

static void drain_takes_own_and_idle_slots_and_leaves_others(void)
{
	struct sleeper sleeper = {.machine = machine_up()};
	struct kmm *machine = sleeper.machine;
	pthread_t thread;
	u32 idle, own;

	pthread_barrier_init(&sleeper.attached, NULL, 2);
	pthread_barrier_init(&sleeper.done, NULL, 2);
	pthread_create(&thread, NULL, sleep_attached, &sleeper);
	pthread_barrier_wait(&sleeper.attached);
	slot_attach(machine, 0);
	idle = this_cpu->slot;
	slot_attach(machine, 2);
	own = this_cpu->slot;
	slots_drain(machine);
	ok_eq(drains[idle], 1);
	ok_eq(drains[own], 1);
	ok_eq(drains[sleeper.slot], 0);
	slot_detach();
	slots_drain(machine); /* from a thread of no machine */
	ok_eq(drains[own], 2);
	ok(this_cpu == kmm_cpu_detached, "and of none afterwards");
	slots_drain_layer(machine, &counting);
	ok_eq(drains[sleeper.slot], 1);
	slots_open_layer(machine, &counting);
	ok_eq(inits[sleeper.slot], 2);
	pthread_barrier_wait(&sleeper.done);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&sleeper.attached);
	pthread_barrier_destroy(&sleeper.done);
	machine_down(machine);
}

static void a_borrowed_slot_leaves_the_thread_where_it_was(void)
{
	struct kmm *machine = machine_up(), *other = machine_up();
	struct kmm_cpu *home, *before;

	slot_attach(machine, 0);
	home = this_cpu;
	ok_eq(slot_borrow(other, &before), 0);
	ok(this_cpu->machine == other && before == home, "away");
	slot_return(before);
	ok(this_cpu == home && home->owned, "home");
	machine_down(machine);
	machine_down(other);
}

static void a_forked_child_keeps_its_slot(void)
{
	struct sleeper sleeper = {.machine = machine_up()};
	struct kmm *machine = sleeper.machine;
	pthread_t thread;
	int status = -1;
	pid_t child;

	pthread_barrier_init(&sleeper.attached, NULL, 2);
	pthread_barrier_init(&sleeper.done, NULL, 2);
	pthread_create(&thread, NULL, sleep_attached, &sleeper);
	pthread_barrier_wait(&sleeper.attached);
	slot_attach(machine, 3);
	child = fork();
	if (child == 0) {
		u32 own = this_cpu->slot;

		/* The other thread is not here, but what it was doing may be half done. */
		slots_drain(machine);
		_exit(drains[own] == 1 && drains[sleeper.slot] == 0 ? 0 : 1);
	}
	ok(waitpid(child, &status, 0) == child && status == 0, "child: status %#x", status);
	pthread_barrier_wait(&sleeper.done);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&sleeper.attached);
	pthread_barrier_destroy(&sleeper.done);
	machine_down(machine);
}

/*
 * Per-CPU memory
 */

static void percpu_memory_starts_right_behind_the_slot(void)
{
	struct kmm *machine = machine_up();

	ok_eq(percpu_alloc(machine, 100, 1), PERCPU_PHYS_OFFSET);
	ok_eq(percpu_alloc(machine, 1, 64), PERCPU_PHYS_OFFSET + 128);
	ok_eq(percpu_alloc(machine, 64, 4096), 4096);
	ok_eq(percpu_alloc(machine, 64, 8), PERCPU_PHYS_OFFSET + 192); /* the gap is not lost */
	ok_eq(percpu_alloc(machine, PERCPU_SIZE, 64), 0);
	ok_eq(percpu_alloc(machine, PERCPU_SIZE + 1, 64), 0);
	ok_eq(percpu_alloc(machine, SIZE_MAX - 63, 64), 0);
	percpu_free(machine, PERCPU_PHYS_OFFSET, 100);
	ok_eq(percpu_alloc(machine, 64, 128), 128);
	machine_down(machine);
}

/*
 *	line  | 1 | 2 3 | 4 | 5    | 6 7   | 8 9 |
 *	      | a |  b  | c | free | freed |  d  |
 */
static void a_line_left_free_joins_what_is_freed_behind_it(void)
{
	struct kmm *machine = machine_up();
	const size_t line = CACHELINE_SIZE;

	ok_eq(percpu_alloc(machine, line, 1), 1 * line);
	ok_eq(percpu_alloc(machine, 2 * line, 2 * line), 2 * line);
	ok_eq(percpu_alloc(machine, line, 1), 4 * line);
	ok_eq(percpu_alloc(machine, 2 * line, 2 * line), 6 * line);
	ok_eq(percpu_alloc(machine, 2 * line, 2 * line), 8 * line);
	percpu_free(machine, 6 * line, 2 * line);
	ok_eq(percpu_alloc(machine, 3 * line, 1), 5 * line);
	machine_down(machine);
}

static void percpu_memory_runs_out_and_comes_back(void)
{
	struct kmm *machine = machine_up();
	size_t nr = 0, offset;

	while ((offset = percpu_alloc(machine, 1000, 64)))
		nr++;
	ok_eq(nr, (PERCPU_SIZE - sizeof(struct kmm_cpu)) / 1024);
	for (size_t i = 0; i < nr; i++)
		percpu_free(machine, PERCPU_PHYS_OFFSET + i * 1024, 1000);
	ok_eq(percpu_alloc(machine, PERCPU_SIZE - sizeof(struct kmm_cpu), 1), PERCPU_PHYS_OFFSET);
	machine_down(machine);
}

static void random_percpu_ranges_never_overlap(void)
{
	struct kmm *machine = machine_up();
	unsigned long state = tap_seed() | 1;
	struct {
		size_t offset, size;
	} ranges[64] = {{0}};

	slot_attach(machine, 0);
	for (int step = 0; step < 3000; step++) {
		size_t i = tap_random(&state) % ARRAY_SIZE(ranges);
		char *memory = percpu_ptr(this_cpu, ranges[i].offset);

		if (ranges[i].offset) {
			for (size_t at = 0; at < ranges[i].size; at++)
				if (memory[at] != (char)i) {
					ok(0, "byte %zu of range %zu was overwritten", at, i);
					break;
				}
			memset(memory, 0, ranges[i].size);
			percpu_free(machine, ranges[i].offset, ranges[i].size);
			ranges[i].offset = 0;
		} else {
			size_t align = 1UL << (tap_random(&state) % 13);

			ranges[i].size = 1 + tap_random(&state) % 3000;
			ranges[i].offset = percpu_alloc(machine, ranges[i].size, align);
			ok(ranges[i].offset && ranges[i].offset % align == 0, "align %zu: %zu",
			   align, ranges[i].offset);
			memory = percpu_ptr(this_cpu, ranges[i].offset);
			ok(memory[0] == 0 && memory[ranges[i].size - 1] == 0, "zeroed");
			memset(memory, (int)i, ranges[i].size);
		}
	}
	machine_down(machine);
}

int main(void)
{
	RUN(a_detached_thread_has_a_slot_of_zeros);
	RUN(a_slot_carries_the_machines_constants);
	RUN(a_left_slot_is_adopted_on_its_cpu_then_on_its_node);
	RUN(threads_one_after_the_other_share_a_slot_a_node);
	RUN(use_attaches_to_the_current_machine);
	RUN(slots_used_from_late_destructors_are_found_again);
	RUN(a_thousand_threads_have_a_slot_each);
	RUN(the_first_of_the_idle_slots_is_adopted);
	RUN(beyond_the_last_slot_comes_eagain_then_adoption_from_another_node);
	RUN(drain_takes_own_and_idle_slots_and_leaves_others);
	RUN(a_borrowed_slot_leaves_the_thread_where_it_was);
	RUN(a_forked_child_keeps_its_slot);
	RUN(percpu_memory_starts_right_behind_the_slot);
	RUN(a_line_left_free_joins_what_is_freed_behind_it);
	RUN(percpu_memory_runs_out_and_comes_back);
	RUN(random_percpu_ranges_never_overlap);
	return done();
}

/* SPDX-License-Identifier: MIT */
/* Random work by threads that take turns; see random_work.h. Everything here is protected by
 * work->mutex, which a thread holds through its whole turn. */
#include "tests/alloc/phys/random_work.h"

#include <pthread.h>

#include "arch/topology.h"
#include "tests/alloc/phys/random_ops.h"

#define MAX_THREADS    16
#define MAX_BURST      3000
#define VALIDATE_EVERY 200000
#define COMPARE_EVERY  1000000

struct work {
	struct random_ops ops;
	unsigned long nr_ops;
	unsigned long validate_at, compare_at;

	pthread_mutex_t mutex;
	pthread_cond_t wake[MAX_THREADS];
	unsigned int nr_threads, turn;
	unsigned int nr_to_drain; /* threads that have to drain before buddyinfo is compared */
	bool stop;
};

struct worker {
	struct work *work;
	unsigned int index;
};

/* Move to another CPU, or leave the slot behind, or empty it; mostly none of these. */
static void move(struct work *work)
{
	unsigned long r = next_random(&work->ops);
	unsigned int nr_cpus = topology_nr_cpus(work->ops.model.machine->topology);

	switch (r % 32) {
	case 0:
	case 1:
		kmm_detach();
		break;
	case 2:
		kmm_drain(work->ops.model.machine);
		break;
	case 3:
	case 4:
	case 5:
		ok_eq(kmm_attach(work->ops.model.machine, (int)((r >> 8) % nr_cpus)), 0);
		break;
	default:
		break;
	}
}

static void burst(struct work *work)
{
	unsigned long nr = 1 + next_random(&work->ops) % MAX_BURST;

	move(work);
	nr = min_t(unsigned long, nr, work->nr_ops - work->ops.nr_done);
	while (nr--)
		random_step(&work->ops);
	if (work->ops.nr_done >= work->validate_at || work->ops.nr_done == work->nr_ops) {
		work->validate_at = work->ops.nr_done + VALIDATE_EVERY;
		phys_validate(work->ops.model.machine);
		model_check_count(&work->ops.model);
	}
	if (work->ops.nr_done >= work->compare_at || work->ops.nr_done == work->nr_ops) {
		work->compare_at = work->ops.nr_done + COMPARE_EVERY;
		work->nr_to_drain = work->nr_threads;
	}
}

/* Each in turn drains; the last one finds nothing in any list. */
static void drain_turn(struct work *work)
{
	kmm_drain(work->ops.model.machine);
	if (--work->nr_to_drain == 0) {
		model_check_blocks(&work->ops.model);
		work->stop = work->ops.nr_done == work->nr_ops || tap_failures;
	}
}

static void pass(struct work *work, unsigned int next)
{
	work->turn = next;
	pthread_cond_signal(&work->wake[next]);
}

static void *take_turns(void *arg)
{
	struct worker *worker = arg;
	struct work *work = worker->work;

	pthread_mutex_lock(&work->mutex);
	for (;;) {
		unsigned int next = (worker->index + 1) % work->nr_threads;

		while (work->turn != worker->index)
			pthread_cond_wait(&work->wake[worker->index], &work->mutex);
		if (work->stop) {
			pass(work, next);
			break;
		}
		if (work->nr_to_drain)
			drain_turn(work);
		else
			burst(work);
		if (!work->nr_to_drain && !work->stop)
			next = (unsigned int)(next_random(&work->ops) % work->nr_threads);
		pass(work, next);
	}
	pthread_mutex_unlock(&work->mutex);
	return NULL;
}

static void run_threads(struct work *work)
{
	struct worker workers[MAX_THREADS];
	pthread_t threads[MAX_THREADS];

	pthread_mutex_init(&work->mutex, NULL);
	for (unsigned int i = 0; i < work->nr_threads; i++) {
		pthread_cond_init(&work->wake[i], NULL);
		workers[i] = (struct worker){.work = work, .index = i};
	}
	for (unsigned int i = 0; i < work->nr_threads; i++)
		pthread_create(&threads[i], NULL, take_turns, &workers[i]);
	for (unsigned int i = 0; i < work->nr_threads; i++)
		pthread_join(threads[i], NULL);
	for (unsigned int i = 0; i < work->nr_threads; i++)
		pthread_cond_destroy(&work->wake[i]);
	pthread_mutex_destroy(&work->mutex);
}

struct random_result random_work(const struct kmm_config *config, unsigned int nr_threads,
				 unsigned long nr_ops, unsigned long seed)
{
	struct kmm *machine = boot(*config);
	struct work work = {.nr_ops = nr_ops,
			    .nr_threads = nr_threads,
			    .validate_at = min_t(unsigned long, nr_ops / 4, VALIDATE_EVERY),
			    .compare_at = min_t(unsigned long, nr_ops / 4, COMPARE_EVERY)};

	random_ops_init(&work.ops, machine, seed);
	run_threads(&work);
	random_ops_end(&work.ops);
	shut_down(machine);
	return work.ops.result;
}

/* SPDX-License-Identifier: MIT */
/* The order of a case's callbacks over its threads; see case_run.h. */
#include "config.h"

#include "bench/run/case_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/suites/common.h"

struct measurement case_measurement(const struct bench_case *c)
{
	return (struct measurement){.suite = c->suite,
				    .name = c->name,
				    .allocator = c->allocator,
				    .placement = c->placement,
				    .size = c->size,
				    .threads = c->threads,
				    .note = c->note};
}

void case_name(const struct bench_case *c, char *name, size_t size)
{
	const struct measurement m = case_measurement(c);

	results_case_name(&m, name, size);
}

void case_and_size(const struct bench_case *c, bool with_placement, char *name, size_t size)
{
	with_placement = with_placement && strcmp(c->placement, "local");
	snprintf(name, size, "%s%s%s%s%s", c->name, c->size[0] ? "/" : "", c->size,
		 with_placement ? "/" : "", with_placement ? c->placement : "");
}

static void must_hold(const struct bench_case *c, const char *error)
{
	char name[CASE_NAME];

	if (!error)
		return;
	case_name(c, name, sizeof(name));
	complain("%s: %s", name, error);
	_exit(EXIT_FAILED);
}

/* Whether the thread's error is that an allocator has no memory, which is kmm's only to answer for. */
static bool is_tolerated(const struct bench_case *c, const char *error)
{
	return error && error == __atomic_load_n(&c->gave_up, __ATOMIC_ACQUIRE) &&
	       strncmp(c->allocator, "kmm", 3);
}

static void must_hold_or_give_up(const struct bench_case *c, const char *error)
{
	if (!is_tolerated(c, error))
		must_hold(c, error);
}

static bool has_given_up(const struct case_run *run)
{
	return run->c->skipped || __atomic_load_n(&run->c->gave_up, __ATOMIC_ACQUIRE);
}

int case_run_init(struct case_run *run, struct bench_case *c)
{
	*run = (struct case_run){.c = c, .states = calloc((size_t)c->threads, sizeof(void *))};
	pthread_mutex_init(&run->mutex, NULL);
	pthread_cond_init(&run->changed, NULL);
	return run->states ? 0 : -ENOMEM;
}

void case_run_destroy(struct case_run *run)
{
	pthread_cond_destroy(&run->changed);
	pthread_mutex_destroy(&run->mutex);
	free(run->states);
}

static void prepare(struct case_run *run)
{
	if (run->before)
		run->before(run);
	if (run->c->ops->prepare)
		must_hold(run->c, run->c->ops->prepare(run->c));
	pthread_mutex_lock(&run->mutex);
	run->prepared = true;
	pthread_cond_broadcast(&run->changed);
	pthread_mutex_unlock(&run->mutex);
}

static void begin(void *user, int thread)
{
	struct case_run *run = user;

	if (run->c->skipped)
		return;
	if (!thread) {
		prepare(run);
	} else {
		pthread_mutex_lock(&run->mutex);
		while (!run->prepared)
			pthread_cond_wait(&run->changed, &run->mutex);
		pthread_mutex_unlock(&run->mutex);
	}
	run->states[thread] = NULL;
	if (run->c->ops->thread_begin)
		must_hold_or_give_up(
			run->c, run->c->ops->thread_begin(run->c, thread, &run->states[thread]));
}

static void work(void *user, int thread, uint64_t n)
{
	struct case_run *run = user;

	if (!has_given_up(run))
		run->c->ops->run(run->c, thread, run->states[thread], n);
}

static void end(void *user, int thread)
{
	struct case_run *run = user;

	if (run->c->skipped)
		return;
	if (run->c->ops->thread_end)
		must_hold_or_give_up(run->c,
				     run->c->ops->thread_end(run->c, thread, run->states[thread]));
	pthread_mutex_lock(&run->mutex);
	if (thread) {
		run->nr_ended++;
		pthread_cond_broadcast(&run->changed);
		pthread_mutex_unlock(&run->mutex);
		return;
	}
	while (run->nr_ended < run->c->threads - 1)
		pthread_cond_wait(&run->changed, &run->mutex);
	run->nr_ended = 0;
	run->prepared = false;
	pthread_mutex_unlock(&run->mutex);
	if (run->c->ops->finish)
		must_hold(run->c, run->c->ops->finish(run->c));
	if (run->c->gave_up)
		case_skip(run->c, "%s", run->c->gave_up);
}

const struct gbench_ops case_run_gbench_ops = {begin, work, end};

static void work_run(struct case_run *run, int thread, uint64_t n, void *arg)
{
	(void)arg;
	work(run, thread, n);
}

const struct case_work case_work_run = {.work = work_run};

struct own_thread {
	struct case_run *run;
	int thread;
	uint64_t n;
	const struct case_work *work;
	void *arg;
	pthread_barrier_t *barrier;
	bool *works; /* set by thread 0 when all have begun */
	pthread_t id;
	double wall_ns;
};

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void *own_thread(void *arg)
{
	struct own_thread *own = arg;
	double started;

	begin(own->run, own->thread);
	pthread_barrier_wait(own->barrier);
	if (!own->thread)
		*own->works = !has_given_up(own->run);
	if (!own->thread && *own->works && own->work->before)
		own->work->before(own->run, own->arg);
	pthread_barrier_wait(own->barrier);
	started = now_ns();
	if (*own->works)
		own->work->work(own->run, own->thread, own->n, own->arg);
	own->wall_ns = now_ns() - started;
	pthread_barrier_wait(own->barrier);
	if (!own->thread && *own->works && own->work->after)
		own->work->after(own->run, own->arg);
	pthread_barrier_wait(own->barrier);
	end(own->run, own->thread);
	return NULL;
}

double case_run_once(struct case_run *run, uint64_t n, const struct case_work *case_work, void *arg)
{
	int threads = run->c->threads;
	struct own_thread *own = calloc((size_t)threads, sizeof(*own));
	pthread_barrier_t barrier;
	double wall_ns;
	bool works;

	must_hold(run->c, own ? NULL : "no memory for threads");
	pthread_barrier_init(&barrier, NULL, (unsigned int)threads);
	for (int i = 0; i < threads; i++) {
		own[i] = (struct own_thread){run, i, n, case_work, arg, &barrier, &works, 0, 0};
		if (i && pthread_create(&own[i].id, NULL, own_thread, &own[i]))
			must_hold(run->c, "cannot start a thread");
	}
	own_thread(&own[0]);
	for (int i = 1; i < threads; i++)
		pthread_join(own[i].id, NULL);
	wall_ns = own[0].wall_ns;
	pthread_barrier_destroy(&barrier);
	free(own);
	return wall_ns;
}

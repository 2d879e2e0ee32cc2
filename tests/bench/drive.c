/* SPDX-License-Identifier: MIT */
#include "tests/bench/drive.h"

#include <pthread.h>

#include "bench/results/latency.h"
#include "tests/tap/tap.h"

#define MAX_THREADS 16

struct driver_thread {
	struct bench_case *c;
	int thread;
	uint64_t n;
	bool latency;
	pthread_barrier_t *barrier;
	const char *error;
};

static void *drive_thread(void *arg)
{
	struct driver_thread *t = arg;
	const struct case_ops *ops = t->c->ops;
	const char *error, *other;
	void *state = NULL;

	error = ops->thread_begin(t->c, t->thread, &state);
	pthread_barrier_wait(t->barrier);
	if (!error)
		ops->run(t->c, t->thread, state, t->n);
	if (!error && t->latency && ops->latency) {
		struct latency_hist *hist = calloc(1, sizeof(*hist));

		ops->latency(t->c, t->thread, state, 100, hist);
		ok(hist->count >= 100, "%s/%s: %lu latencies", t->c->suite, t->c->name,
		   (unsigned long)hist->count);
		free(hist);
	}
	pthread_barrier_wait(t->barrier);
	other = ops->thread_end(t->c, t->thread, state);
	t->error = error ? error : other;
	return NULL;
}

const char *drive(struct bench_case *c, uint64_t n, bool latency,
		  void (*damage)(struct bench_case *))
{
	const char *error = c->ops->prepare(c), *other;
	struct driver_thread threads[MAX_THREADS];
	pthread_t ids[MAX_THREADS];
	pthread_barrier_t barrier;

	if (error)
		return error;
	if (damage)
		damage(c);
	pthread_barrier_init(&barrier, NULL, (unsigned int)c->threads);
	for (int i = c->threads - 1; i >= 0; i--) {
		threads[i] = (struct driver_thread){c, i, n, latency, &barrier, NULL};
		if (i)
			pthread_create(&ids[i], NULL, drive_thread, &threads[i]);
		else
			drive_thread(&threads[0]);
	}
	for (int i = 0; i < c->threads; i++) {
		if (i)
			pthread_join(ids[i], NULL);
		if (!error)
			error = threads[i].error;
	}
	pthread_barrier_destroy(&barrier);
	other = c->ops->finish(c);
	return error ? error : other;
}

uint64_t few(const struct bench_case *c)
{
	return case_ops_per_batch(c) > 1 ? 1 : 100;
}

void enumerate_all(const struct bench_env *env, struct case_list *list)
{
	memset(list, 0, sizeof(*list));
	for (int i = 0; suites[i]; i++)
		ok_eq(suites[i]->enumerate(env, list), 0);
}

struct kmm *boot(const char *synthetic, uint64_t node_bytes)
{
	struct kmm_config config = {.synthetic = synthetic, .node_bytes = node_bytes};
	struct kmm *machine;
	int status = kmm_boot(&config, &machine);

	ok(status == 0, "kmm_boot: %d: %s", status, kmm_boot_error());
	return machine;
}

struct bench_env env_of(struct kmm *machine)
{
	int nr_cpus = (int)topology_nr_cpus(machine->topology);

	return (struct bench_env){
		.machine = machine,
		.emulated = topology_emulated(machine->topology),
		.nr_threads_max = nr_cpus < MAX_THREADS ? nr_cpus : MAX_THREADS,
	};
}

struct bench_case *find_case(struct case_list *list, const char *suite, const char *name)
{
	for (size_t i = 0; i < list->nr; i++)
		if (!strcmp(list->cases[i].suite, suite) && !strcmp(list->cases[i].name, name))
			return &list->cases[i];
	ok(false, "no %s/%s", suite, name);
	return NULL;
}

int load_peers(char **argv, struct object_peer *peers)
{
	int err = peers_prepare(argv), nr = 0;

	for (int i = 0; !err && object_peer_names[i]; i++) {
		char error[256];

		nr += !object_peer_load(object_peer_names[i], &peers[nr], error, sizeof(error));
	}
	return err ? err : nr;
}

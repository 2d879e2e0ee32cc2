/* SPDX-License-Identifier: MIT */
/* kmm tlb --probe from begin to end: see probe.h. */
#include "bench/probe/probe.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "arch/host.h"
#include "bench/command.h"

#define MAX_REGION (1UL << 30)
#define MIN_REGION (16UL << 20)
#define LEAST_REPS 3
#define MOST_REPS  PROBE_MAX_REPS

/* Of the time; the rest is for the fit. */
#define SWEEPS_SHARE 0.7

/*
 * The machine.
 */
static void read_processor(struct probe *probe)
{
	FILE *cpuinfo = fopen("/proc/cpuinfo", "re");
	char line[4096];

	strcpy(probe->processor, "unknown processor");
	while (cpuinfo && fgets(line, sizeof(line), cpuinfo)) {
		char *colon = strchr(line, ':');

		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "model name", 10) && colon)
			snprintf(probe->processor, sizeof(probe->processor), "%.90s",
				 colon + 1 + strspn(colon + 1, " "));
		if (!strncmp(line, "flags", 5) && strstr(line, " hypervisor"))
			probe->virtual = true;
	}
	if (cpuinfo)
		fclose(cpuinfo);
}

/* Stay on one CPU: another may be of another sort, and its TLBs know nothing. */
static void stay(struct probe *probe, cpu_set_t *were)
{
	int cpu = sched_getcpu();
	cpu_set_t one;

	probe->cpu = -1;
	CPU_ZERO(were);
	if (cpu < 0 || sched_getaffinity(0, sizeof(*were), were))
		return;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (!sched_setaffinity(0, sizeof(one), &one))
		probe->cpu = cpu;
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Of each of the two regions: together a quarter of what is to be had, and less for less time. */
static u64 region_pages(double seconds)
{
	u64 bytes = min_t(u64, host_available_bytes() / 8, MAX_REGION);

	if (seconds < 5)
		bytes = min_t(u64, bytes, 64UL << 20);
	bytes = max_t(u64, bytes, MIN_REGION) & ~(PROBE_HUGE - 1);
	return bytes / PROBE_PAGE;
}

/*
 * Measuring: sweeps over all points and patterns, so that each one's repetitions are spread over
 * all of the time, and see the same weather.
 */
static int plan(struct probe *probe)
{
	struct probe_points *points = &probe->points;
	double coarse = probe->seconds < 5 ? 2 : 1; /* fewer points for less time */
	int error;

	points->nr_pages = probe->memory.nr_pages;
	points->small_base = (u64)probe->memory.small;
	points->huge_base = (u64)probe->memory.huge;
	points->huge = probe->memory.is_huge;
	error = probe_plan(points, PROBE_DENSE, 16, 65536, pow(1.15, coarse));
	if (!error)
		error = probe_plan(points, PROBE_SPREAD, 64, 65536, pow(1.25, coarse));
	if (!error)
		error = probe_plan(points, PROBE_STRIDE, 4, 65536, pow(1.2, coarse));
	if (!error && points->huge)
		error = probe_plan(points, PROBE_LARGE, 8, 65536, pow(1.15, coarse));
	return error ? error : probe_plan_spans(points, 6144);
}

/* step_seconds: of the expected time, for each point. */
static int sweep(struct probe *probe, double step_seconds)
{
	int error = 0;

	for (int i = 0; i < probe->points.nr && !error; i++) {
		struct probe_point *point = &probe->points.at[i];

		progress_step(&probe->progress, step_seconds, probe_layout_names[point->layout]);
		error = probe_measure(&probe->memory, point);
	}
	if (error)
		return error;
	probe->nr_checks = probe_checks(&probe->memory, NULL, probe->checks);
	probe->reps++;
	return min_t(int, probe->nr_checks, 0);
}

static double seconds_since(u64 began_ns)
{
	return (double)(host_time_ns() - began_ns) * 1e-9;
}

/* The first sweep tells how many more there is time for. */
static int measure(struct probe *probe)
{
	double share = SWEEPS_SHARE * probe->seconds, first, step;
	u64 began = host_time_ns();
	int error = sweep(probe, share / MOST_REPS / probe->points.nr), reps;

	first = seconds_since(began);
	reps = (int)fmin(fmax(share / first, LEAST_REPS), MOST_REPS);
	/* The time that is expected is what it takes, not what it may take. */
	step = first / probe->points.nr;
	progress_add(&probe->progress, first * (reps - 1) - share * (MOST_REPS - 1) / MOST_REPS);
	while (!error && probe->reps < reps &&
	       (probe->reps < LEAST_REPS || seconds_since(began) < 1.5 * share))
		error = sweep(probe, step);
	return error;
}

/* Less memory where there is not so much, down to the least that tells anything. */
static int take_memory(struct probe *probe)
{
	u64 nr_pages = region_pages(probe->seconds);
	int error = probe_memory_begin(&probe->memory, nr_pages);

	while (error == -ENOMEM && nr_pages / 2 * PROBE_PAGE >= MIN_REGION) {
		nr_pages = nr_pages / 2 & ~(PROBE_HUGE_PAGES - 1);
		error = probe_memory_begin(&probe->memory, nr_pages);
	}
	return error;
}

/* All that takes time. 0 or -errno. */
static int probe_machine(struct probe *probe)
{
	double stage_seconds = (1 - SWEEPS_SHARE) * probe->seconds / PROBE_FIT_STAGES;
	double cpu = cpu_seconds();
	u64 began = host_time_ns();
	int error = plan(probe);

	if (!error)
		error = measure(probe);
	probe->cpu_share = (cpu_seconds() - cpu) / seconds_since(began);
	if (getloadavg(&probe->load, 1) != 1)
		probe->load = 0;
	if (!error)
		error = probe_fit(&probe->points, &probe->fit, &probe->progress, stage_seconds);
	if (error || !probe->fit.saw_l1)
		return error;
	probe->nr_checks = probe_checks(&probe->memory, &probe->fit.config, probe->checks);
	return min_t(int, probe->nr_checks, 0);
}

int probe_run(double seconds, const char *path, const char *name)
{
	struct probe *probe = calloc(1, sizeof(*probe));
	cpu_set_t cpus;
	int error, status = path ? probe_check_path(path) : EXIT_OK;

	if (status || !probe) {
		free(probe);
		return status ? status : complain("--probe: %s", strerror(ENOMEM));
	}
	probe->seconds = seconds;
	read_processor(probe);
	stay(probe, &cpus);
	error = take_memory(probe);
	if (!error) {
		progress_start(&probe->progress, seconds, NULL);
		error = probe_machine(probe);
		progress_finish(&probe->progress);
	}
	status =
		error ? complain("--probe: %s", strerror(-error)) : probe_report(probe, path, name);
	if (probe->cpu >= 0)
		sched_setaffinity(0, sizeof(cpus), &cpus);
	probe_memory_end(&probe->memory);
	free(probe);
	return status;
}

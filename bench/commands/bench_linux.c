/* SPDX-License-Identifier: MIT */
/* kmm bench --with-linux; see bench_linux.h. */
#include "bench/commands/bench_linux.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/suites/objects.h"
#include "bench/suites/page_cases.h"

#define LINUX_MEMORY (1UL << 30) /* of its kernel, at most; and at least: */
#define LINUX_LEAST  (256UL << 20)

/* What of the kernel's cases is wanted, by commas; ageing is of suite page. */
static void linux_suites(const struct bench_linux *b, char *list, size_t size)
{
	static const char *const names[][2] = {{"page", "page"},
					       {"slab", "slab"},
					       {"kmalloc", "kmalloc"},
					       {"tree", "tree"},
					       {"page", "ageing"}};
	size_t used = 0;

	list[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (list_has(b->choice->suites, names[i][0]))
			used += (size_t)snprintf(list + used, size - used, "%s,", names[i][1]);
	snprintf(list + used, size - used, "replay");
}

struct bench_linux bench_linux_plan(const struct bench_env *env,
				    const struct common_options *common,
				    const struct choice *choice, const struct replay_trace *traces,
				    int nr_traces)
{
	uint64_t bytes = page_memory_bytes(env);

	return (struct bench_linux){
		.common = common,
		.choice = choice,
		.plan =
			{
				.memory_bytes = bytes < LINUX_MEMORY
							? max_t(uint64_t, bytes, LINUX_LEAST)
							: LINUX_MEMORY,
				.batch_memory_bytes = node_memory_bytes(env),
				.threads = env->nr_threads_max,
				.traces = traces,
				.nr_traces = nr_traces,
				.line = linux_rows_line,
			},
	};
}

/* What kmm's machine is like after a trace, as `kmm show' has it, beside the kernel's. */
static int show_state(const struct bench_linux *b, struct results *results,
		      const struct replay_trace *trace, const char *report, const char *events)
{
	char name[160], memory[32];
	FILE *file;
	pid_t pid;
	int status = 0;

	snprintf(name, sizeof(name), "%s.%s-%s.kmm.txt", report, trace->name, events);
	snprintf(memory, sizeof(memory), "%llu",
		 (unsigned long long)b->common->config.node_bytes ?: LINUX_MEMORY);
	file = results_file(results, name);
	if (!file)
		return -errno;
	pid = fork();
	if (!pid) {
		dup2(fileno(file), STDOUT_FILENO);
		execl("/proc/self/exe", "kmm", "show", "--memory", memory, "--events", events,
		      report, trace->path, NULL);
		_exit(EXIT_FAILED);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	fclose(file);
	return pid < 0 || status ? -EIO : 0;
}

static int show_states(const struct bench_linux *b, struct results *results)
{
	static const char *const events[] = {"page", "object"};
	static const char *const reports[] = {"buddyinfo", "slabinfo"};
	int error = 0;

	for (int i = 0; i < b->plan.nr_traces; i++)
		for (size_t j = 0; j < ARRAY_SIZE(events) * ARRAY_SIZE(reports) && !error; j++)
			error = show_state(b, results, &b->plan.traces[i], reports[j / 2],
					   events[j % 2]);
	return error;
}

int bench_linux_run(struct bench_linux *b, struct results *results, struct progress *progress)
{
	struct linux_plan *plan = &b->plan;
	char script[PATH_MAX], kernel[PATH_MAX], list[64];
	struct linux_rows *rows;
	int status;

	if (script_path("linux", script, sizeof(script)))
		return complain("linux: no such script in the data folder");
	plan->kernel = linux_kernel(script, false, false, kernel);
	if (!plan->kernel)
		return EXIT_BAD_INPUT;
	rows = linux_rows_new(results, progress, b->choice);
	if (!rows)
		return complain("linux: no memory");
	linux_suites(b, list, sizeof(list));
	plan->suites = list;
	plan->arg = rows;
	status = linux_run(plan);
	if (!status && show_states(b, results))
		status = complain("linux: cannot keep what kmm is like beside it");
	if (linux_rows_finish(rows))
		status = complain("linux: cannot keep the results");
	linux_rows_free(rows);
	return status;
}

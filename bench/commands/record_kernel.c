/* SPDX-License-Identifier: MIT */
/*
 * kmm record --kernel: perf records the kernel's kmem events, perf script prints them, and the
 * converter makes a trace of that. What is missing is said in one line before anything runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/compiler.h"
#include "bench/command.h"
#include "bench/commands/record.h"
#include "workloads/convert.h"

/* mm_page_free_batched and others only tell again what these do. */
static const char *const events[] = {
	"kmalloc",	    "kmalloc_node",	     "kfree",
	"kmem_cache_alloc", "kmem_cache_alloc_node", "kmem_cache_free",
	"mm_page_alloc",    "mm_page_free",
};

/* Where tracefs is mounted. */
static const char *tracing(void)
{
	const char *told = getenv("KMM_TRACEFS");

	if (told)
		return told;
	/* Without the right to look it is that one all the same. */
	return access("/sys/kernel/tracing/events", F_OK) && errno != EACCES
		       ? "/sys/kernel/debug/tracing"
		       : "/sys/kernel/tracing";
}

static int perf_is_there(void)
{
	const char *folders = getenv("PATH");
	char path[PATH_MAX];

	while (folders && *folders) {
		size_t length = strcspn(folders, ":");

		snprintf(path, sizeof(path), "%.*s/perf", (int)length, folders);
		if (!access(path, X_OK))
			return EXIT_OK;
		folders += length + (folders[length] == ':');
	}
	return complain("--kernel: perf is not installed (Debian: linux-perf)");
}

/* The events of the list that this kernel has, as perf wants them. Since 6.1 kmalloc stands for its
 * _node, too. */
static int list_events(char *list, size_t size)
{
	char path[PATH_MAX];
	size_t length = 0;

	list[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		snprintf(path, sizeof(path), "%s/events/kmem/%s/id", tracing(), events[i]);
		if (access(path, F_OK)) {
			if (errno == EACCES)
				return complain(
					"--kernel: no right to the kernel's events: it wants "
					"root");
			continue;
		}
		if (access(path, R_OK))
			return complain("--kernel: no right to the kernel's events: it wants root");
		length += (size_t)snprintf(list + length, size - length, "%skmem:%s",
					   length ? "," : "", events[i]);
	}
	if (length)
		return EXIT_OK;
	snprintf(path, sizeof(path), "%s/events", tracing());
	if (access(path, F_OK))
		return complain("--kernel: %s: tracefs is not mounted, or may not be read",
				tracing());
	return complain("--kernel: %s/kmem: the kernel has no kmem tracepoints", path);
}

/* perf script's text into a trace, while it is printed. */
static int convert_data(const struct record_options *options, const char *data)
{
	struct convert_options convert = {.description = options->command[0]};
	char error[KMT_ERROR_SIZE];
	struct kmt_counts counts;
	int pipe_ends[2], result, wait_status = 0;
	pid_t pid;

	if (pipe2(pipe_ends, O_CLOEXEC))
		return complain("no pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return complain("no process: %s", strerror(errno));
	if (!pid) {
		dup2(pipe_ends[1], STDOUT_FILENO);
		execlp("perf", "perf", "script", "-i", data, "-F",
		       "trace:comm,tid,cpu,time,event,trace", (char *)NULL);
		_exit(127);
	}
	close(pipe_ends[1]);
	result = convert_trace(pipe_ends[0], "perf script", options->out, -1, &convert, &counts,
			       error);
	close(pipe_ends[0]);
	while (waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
		;
	if (result)
		return complain("%s", error);
	if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status)) {
		unlink(options->out);
		return complain("perf script failed");
	}
	if (!options->quiet)
		fprintf(stderr, "%s: %llu events of the kernel\n", options->out,
			(unsigned long long)kmt_counts_events(&counts));
	return EXIT_OK;
}

/* perf record OPTIONS -- COMMAND... */
static char **perf_command(const struct record_options *options, char *data, char *list)
{
	static char *const fixed[] = {"perf", "record", "-q", "--no-buildid-cache", "-m", "32M"};
	size_t nr = 0, room = ARRAY_SIZE(fixed) + 7;
	char **command;

	while (options->command[nr])
		nr++;
	command = calloc(room + nr, sizeof(*command));
	if (!command)
		return NULL;
	memcpy(command, fixed, sizeof(fixed));
	room = ARRAY_SIZE(fixed);
	if (options->all_cpus)
		command[room++] = "-a";
	command[room++] = "-e";
	command[room++] = list;
	command[room++] = "-o";
	command[room++] = data;
	command[room++] = "--";
	memcpy(command + room, options->command, nr * sizeof(*command));
	return command;
}

int record_kernel(const struct record_options *options)
{
	char list[512], data[PATH_MAX], **command;
	struct record_folder folder = {0};
	struct stat file;
	int wait_status, status = perf_is_there();
	pid_t pid;

	if (!status)
		status = list_events(list, sizeof(list));
	if (!status)
		status = record_folder_make(&folder, options->out);
	if (status)
		return status;
	snprintf(data, sizeof(data), "%s/perf.data", folder.path);
	command = perf_command(options, data, list);
	status = command ? record_run(command, NULL, &wait_status, &pid) : complain("no memory");
	free(command);
	if (!status && (stat(data, &file) || !file.st_size))
		status = complain("--kernel: perf has recorded nothing");
	else if (!status)
		status = convert_data(options, data);
	unlink(data);
	record_folder_remove(&folder);
	if (status)
		return status;
	return record_exit(wait_status);
}

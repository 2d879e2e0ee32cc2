/* SPDX-License-Identifier: MIT */
/* Finding, starting and reading the kernel of linux_run.h. */
#define _GNU_SOURCE
#include "bench/run/linux_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/host.h"
#include "bench/command.h"

#define MOST_WAIT_MS 120000 /* for a line: a replay says little */
#define SPARE_BYTES  (512UL << 20)
#define END_MS	     5000 /* from its last line to its end */
#define MAX_LINE     1024
#define ID	     "kmm-linux-%d" /* of its folder below /tmp, and who runs it */
#define NAME	     64
#define SHARED	     "/dev/shm" /* where it keeps its memory, in a file */

const char *linux_kernel(const char *script, bool build, bool quiet, char path[PATH_MAX])
{
	char command[PATH_MAX + 64], *end;
	FILE *out;
	bool got;
	int status;

	if (strchr(script, '\'')) {
		if (!quiet)
			complain("linux: %s: cannot be run from a path with an apostrophe", script);
		return NULL;
	}
	snprintf(command, sizeof(command), "'%s'%s%s", script, build ? "" : " --cached",
		 quiet ? " 2>/dev/null" : "");
	fflush(NULL);
	out = popen(command, "re");
	got = out && fgets(path, PATH_MAX, out);
	status = out ? pclose(out) : -1;
	if (!got || status)
		return NULL;
	end = strchr(path, '\n');
	if (end)
		*end = '\0';
	return path;
}

/* One kernel under way. */
struct kernel {
	const struct linux_plan *plan;
	pid_t pid;
	int out;      /* its stdout */
	FILE *errors; /* its stderr */
	bool hello, ended;
	char text[MAX_LINE];
	size_t length;
};

static void exec_kernel(const struct linux_plan *plan, pid_t runner, int traces, int out,
			int errors)
{
	char memory[32], batch[64], threads[48], repetitions[48], suites[96], iomem[64], id[NAME];
	/* Would come before SHARED. */
	static const char *const temporary[] = {"TMPDIR", "TMP", "TEMP"};
	int null = open("/dev/null", O_RDWR);
	char *argv[] = {"linux",
			memory,
			batch,
			threads,
			repetitions,
			suites,
			id,
			"uml_dir=/tmp/",
			"con=null",
			"con0=null",
			"ssl=null",
			"stderr=1",
			"slab_nomerge",
			traces >= 0 ? iomem : NULL,
			NULL};

	snprintf(memory, sizeof(memory), "mem=%lluM", (unsigned long long)plan->memory_bytes >> 20);
	snprintf(batch, sizeof(batch), "kmm_bench.memory=%llu",
		 (unsigned long long)plan->batch_memory_bytes);
	snprintf(threads, sizeof(threads), "kmm_bench.threads=%d", plan->threads);
	snprintf(repetitions, sizeof(repetitions), "kmm_bench.repetitions=%d",
		 plan->repetitions ?: 9);
	snprintf(suites, sizeof(suites), "kmm_bench.suites=%s",
		 plan->suites ?: "page,slab,kmalloc,tree,ageing,replay");
	snprintf(id, sizeof(id), "umid=" ID, (int)runner);
	snprintf(iomem, sizeof(iomem), "iomem=kmmtrace,/proc/self/fd/%d", traces);
	for (size_t i = 0; i < ARRAY_SIZE(temporary); i++)
		unsetenv(temporary[i]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(errors, STDERR_FILENO);
	if (traces >= 0)
		fcntl(traces, F_SETFD, 0);
	execv(plan->kernel, argv);
	dprintf(STDERR_FILENO, "%s: %s\n", plan->kernel, strerror(errno));
	_exit(127);
}

static int start(struct kernel *k, int traces)
{
	pid_t runner = getpid();
	int pipes[2];

	k->errors = tmpfile();
	if (!k->errors || pipe2(pipes, O_CLOEXEC))
		return complain("linux: cannot be started: %s", strerror(errno));
	fflush(NULL);
	k->pid = fork();
	if (!k->pid)
		exec_kernel(k->plan, runner, traces, pipes[1], fileno(k->errors));
	close(pipes[1]);
	k->out = pipes[0];
	if (k->pid < 0)
		return complain("linux: cannot start a process: %s", strerror(errno));
	return EXIT_OK;
}

static int take_line(struct kernel *k, char *text)
{
	char error[LINUX_LINE_ERROR], shown[48];
	struct linux_line line;

	snprintf(shown, sizeof(shown), "%.47s", text);
	if (linux_line_parse(text, &line, error) || (!k->hello && line.kind != LINUX_HELLO)) {
		complain("linux: \"%s\": %s", shown,
			 k->hello ? error : "not the benchmark's kernel");
		return EXIT_FAILED;
	}
	k->hello = true;
	k->ended = line.kind == LINUX_END;
	if (line.kind == LINUX_ERROR) {
		complain("linux: %s", line.text);
		return EXIT_FAILED;
	}
	if (k->plan->line && k->plan->line(&line, k->plan->arg)) {
		complain("linux: cannot keep the results");
		return EXIT_FAILED;
	}
	return EXIT_OK;
}

/* All whole lines of what has come. */
static int take_lines(struct kernel *k)
{
	char *at = k->text, *end;
	int status = EXIT_OK;

	while (!status && !k->ended && (end = memchr(at, '\n', k->length))) {
		*end = '\0';
		k->length -= (size_t)(end + 1 - at);
		status = take_line(k, at);
		at = end + 1;
	}
	memmove(k->text, at, k->length);
	if (!status && k->length == sizeof(k->text)) {
		complain("linux: a line of more than %d bytes", MAX_LINE);
		return EXIT_FAILED;
	}
	return status;
}

/* A machine in which shared memory is small, as a container's often is, ends it when it touches more. */
static bool shared_memory_is_small(const struct linux_plan *plan)
{
	struct statvfs fs;

	return !statvfs(SHARED, &fs) &&
	       (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize < plan->memory_bytes;
}

/* The last thing it had to say beside the lines, if anything. */
static int complain_of_end(struct kernel *k, int wait_status)
{
	char line[200] = "no reason given", next[200];

	if (WIFSIGNALED(wait_status) && shared_memory_is_small(k->plan))
		return complain("linux: needs %llu MB in " SHARED,
				(unsigned long long)k->plan->memory_bytes >> 20);
	rewind(k->errors);
	while (fgets(next, sizeof(next), k->errors))
		if (next[0] != '\n')
			snprintf(line, sizeof(line), "%.*s", (int)strcspn(next, "\n"), next);
	complain("linux: ended early (%s %d): %s", WIFSIGNALED(wait_status) ? "signal" : "status",
		 WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : WEXITSTATUS(wait_status), line);
	return k->hello ? EXIT_FAILED : EXIT_BAD_INPUT;
}

static int read_lines(struct kernel *k)
{
	struct pollfd poll_fd = {.fd = k->out, .events = POLLIN};
	int status = EXIT_OK;

	while (!status && !k->ended) {
		int ready = poll(&poll_fd, 1, MOST_WAIT_MS);
		ssize_t n;

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0) {
			complain("linux: said nothing for %d s", MOST_WAIT_MS / 1000);
			return EXIT_FAILED;
		}
		n = read(k->out, k->text + k->length, sizeof(k->text) - k->length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return EXIT_OK; /* ended: whether well, is seen by its status */
		k->length += (size_t)n;
		status = take_lines(k);
	}
	return status;
}

/* It turns itself off after its last line; else it is stopped. */
static int wait_for(struct kernel *k, bool stop)
{
	int wait_status = 0, waited_ms = 0;

	while (!stop && k->ended && waited_ms < END_MS) {
		if (waitpid(k->pid, &wait_status, WNOHANG) == k->pid)
			return wait_status;
		usleep(10000);
		waited_ms += 10;
	}
	if (stop || k->ended)
		kill(k->pid, SIGKILL);
	while (waitpid(k->pid, &wait_status, 0) < 0 && errno == EINTR)
		;
	return wait_status;
}

/* What it leaves where it does not end by itself: a folder with its number and a socket. */
void linux_remove_leavings(pid_t runner)
{
	static const char *const files[] = {"/pid", "/mconsole", ""};
	char path[NAME];

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "/tmp/" ID "%s", (int)runner, files[i]);
		remove(path);
	}
}

static int end(struct kernel *k, int status)
{
	int wait_status = 0;

	if (k->pid > 0) {
		wait_status = wait_for(k, status != EXIT_OK);
		linux_remove_leavings(getpid());
	}
	if (!status && !k->ended)
		status = complain_of_end(k, wait_status);
	if (k->errors)
		fclose(k->errors);
	if (k->out >= 0)
		close(k->out);
	return status;
}

int linux_run(const struct linux_plan *plan)
{
	struct kernel k = {.plan = plan, .out = -1};
	int traces = -1, status;

	if (host_available_bytes() < plan->memory_bytes + SPARE_BYTES)
		return complain("linux: needs %llu MB of memory",
				(unsigned long long)(plan->memory_bytes + SPARE_BYTES) >> 20);
	status = linux_traces_write(plan->traces, plan->nr_traces, &traces);
	status = status ? status : start(&k, traces);
	status = status ? status : read_lines(&k);
	status = end(&k, status);
	if (traces >= 0)
		close(traces);
	return status;
}

/* SPDX-License-Identifier: MIT */
/* See replay_trace.h. */
#define _GNU_SOURCE /* O_TMPFILE */
#include "bench/replay/replay_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/command.h"
#include "bench/replay/replay.h"
#include "workloads/convert.h"

/* "results/kbuild.perf.txt.zst" -> "kbuild" */
static void name_of(const char *file, char *name, size_t size)
{
	const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
	size_t length = strcspn(base, ".");

	if (!length)
		length = strlen(base);
	snprintf(name, size, "%.*s", (int)length, base);
	for (char *c = name; *c; c++)
		if (*c == ',' || *c == '"' || (unsigned char)*c < ' ')
			*c = '_';
}

int trace_file_open(const char *file, int *fd)
{
	struct stat status;

	*fd = open(file, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return complain("%s: %s", file, strerror(errno));
	if (!fstat(*fd, &status) && S_ISDIR(status.st_mode)) {
		close(*fd);
		return complain("%s: is a directory", file);
	}
	return EXIT_OK;
}

static bool holds_kmt(int fd)
{
	u8 bytes[8];
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);

	return n > 0 && kmt_is_trace(bytes, (size_t)n);
}

static int temporary_file(void)
{
	const char *folder = getenv("TMPDIR");
	char path[4096];
	int fd;

	if (!folder || !*folder)
		folder = "/tmp";
	fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* Not every file system can. */
	if (snprintf(path, sizeof(path), "%s/kmm-trace.XXXXXX", folder) >= (int)sizeof(path))
		return -1;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

/* Put a .kmt of what fd holds in fd's place. */
static int convert_to_temporary(const char *file, int *fd)
{
	struct convert_options options = {0};
	char error[KMT_ERROR_SIZE];
	struct kmt_counts counts;
	int temporary = temporary_file();

	if (temporary < 0)
		return complain("%s: no temporary file for the converted trace: %s", file,
				strerror(errno));
	if (convert_trace(*fd, file, NULL, temporary, &options, &counts, error)) {
		close(temporary);
		return complain("%s", error);
	}
	close(*fd);
	*fd = temporary;
	return EXIT_OK;
}

/* Read a trace through once, so that what is wrong with it is said before anything is replayed. */
static int read_through(const char *file, struct replay_trace *trace)
{
	char error[KMT_ERROR_SIZE];
	struct kmt_event events[512];
	struct kmt_reader *reader;
	ssize_t n;

	if (lseek(trace->fd, 0, SEEK_SET) < 0)
		return complain("%s: %s", file, strerror(errno));
	reader = kmt_open_fd(trace->fd, file, error);
	if (!reader)
		return complain("%s", error);
	do {
		n = kmt_read(reader, events, ARRAY_SIZE(events));
		for (ssize_t i = 0; i < n; i++) {
			if (events[i].kind != KMT_REALLOC && events[i].kind != KMT_ACCESS)
				continue;
			complain("%s: holds %s events, which cannot be replayed yet", file,
				 kmt_kind_name(events[i].kind));
			kmt_close(reader);
			return EXIT_BAD_INPUT;
		}
	} while (n > 0);
	if (n < 0) {
		complain("%s", kmt_error(reader));
		kmt_close(reader);
		return EXIT_BAD_INPUT;
	}
	trace->counts = *kmt_counts(reader);
	for (int i = 0; i < KMT_NR_POPULATIONS; i++)
		trace->nr_ids[i] = kmt_nr_ids(reader, i);
	kmt_close(reader);
	return EXIT_OK;
}

int replay_trace_open(const char *file, struct replay_trace *trace)
{
	int status;

	*trace = (struct replay_trace){.fd = -1};
	name_of(file, trace->name, sizeof(trace->name));
	status = trace_file_open(file, &trace->fd);
	if (status)
		return status;
	if (!holds_kmt(trace->fd))
		status = convert_to_temporary(file, &trace->fd);
	if (!status)
		status = read_through(file, trace);
	if (status) {
		replay_trace_close(trace);
		return status;
	}
	fcntl(trace->fd, F_SETFD, 0);
	snprintf(trace->path, sizeof(trace->path), "/dev/fd/%d", trace->fd);
	return EXIT_OK;
}

void replay_trace_close(struct replay_trace *trace)
{
	if (trace->fd >= 0)
		close(trace->fd);
	trace->fd = -1;
}

static void print_count(FILE *out, u64 count, const char *what)
{
	if (count)
		fprintf(out, "  %12llu  %s\n", (unsigned long long)count, what);
}

void trace_counts_print(const struct kmt_counts *counts, FILE *out)
{
	for (int kind = 0; kind < KMT_NR_KINDS; kind++)
		print_count(out, counts->kinds[kind], kmt_kind_name(kind));
#define X(tag, field, text) print_count(out, counts->field, text);
	KMT_COUNTS(X)
#undef X
}

void replay_trace_print(const struct replay_trace *trace, FILE *out)
{
	fprintf(out, "%s: %llu object events, %llu page events\n", trace->name,
		(unsigned long long)kmt_counts_population(&trace->counts, KMT_OBJECTS),
		(unsigned long long)kmt_counts_population(&trace->counts, KMT_PAGES));
	trace_counts_print(&trace->counts, out);
}

int replay_check(const char *file)
{
	struct replay_trace trace;
	struct stat status;
	int error;

	if (!stat(file, &status) && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
		return EXIT_OK; /* a pipe can be read but once */
	error = replay_trace_open(file, &trace);
	if (!error)
		replay_trace_close(&trace);
	return error;
}
